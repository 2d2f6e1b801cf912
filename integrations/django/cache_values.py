"""How values go into the cache, and what is done to one that is there."""

from __future__ import annotations

import pickle
import random
import threading
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async

from dogpile.cache import NO_VALUE, CachedValue, CoroutineCreatorError
from dogpile.cache.integrations.django.apart import run_apart

# Nobody can change these: whoever has one may have the same one.
_IMMUTABLE = (str, bytes, int, float, bool, type(None))


class Plain:
    """For a backend of bytes: the region's codec makes the copies."""

    def pack(self, value: Any) -> Any:
        """Return what is stored for a value."""
        return value

    def unpack(self, stored: Any) -> Any:
        """Return the value of what was stored."""
        return stored

    def loose(self, value: Any) -> Any:
        """Return what stands for a value that is not stored."""
        return value

    def shared(self, value: Any) -> Any:
        """Return a copy of what a whole crowd was given."""
        if type(value) in _IMMUTABLE:
            return value
        try:
            return pickle.loads(pickle.dumps(value, 5))  # noqa: S301 - our own
        except Exception:  # noqa: BLE001 - a class may refuse; it was not stored, then
            return value


class Loose:
    """A value that could not be stored, among pickles."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value: Any = value


class Pickled:
    """For a backend of objects: Django's caches hand out copies."""

    def pack(self, value: Any) -> Any:
        """Return what is stored for a value."""
        return pickle.dumps(value, 5)

    def unpack(self, stored: Any) -> Any:
        """Return the value of what was stored."""
        if isinstance(stored, Loose):
            return stored.value
        return pickle.loads(stored)  # noqa: S301 - it never left this process

    def loose(self, value: Any) -> Any:
        """Return what stands for a value that is not stored."""
        return Loose(value)

    def shared(self, value: Any) -> Any:
        """Return the value: what a crowd was given is a pickle for each to open."""
        return value


class Making:
    """Creates the value of a ``get_or_set()``.

    :param default: the value, or a function that returns it; for event loops
        it may be a coroutine function, or an awaitable.
    :param lifetime: seconds; 0 to store nothing, ``None`` for ever.
    :param jitter: the share by which the lifetime is shortened at random.
    :param should_cache_fn: says of the value whether to store it.
    :param is_uncommitted: asked after the creation whether its transaction has
        written what the value is made of.
    :param on_refusal: called with the error of a value that cannot be pickled.
    """

    def __init__(
        self,
        values: Plain | Pickled,
        default: Any,
        lifetime: float | None,
        *,
        jitter: float,
        should_cache_fn: Callable[[Any], bool] | None,
        is_uncommitted: Callable[[], bool],
        on_refusal: Callable[[Exception], None],
    ) -> None:
        self._values = values
        self._default = default
        if jitter and lifetime is not None:
            lifetime *= 1.0 - jitter * random.random()  # noqa: S311 - no secret
        self._lifetime = lifetime
        self._should_cache_fn = should_cache_fn
        self._is_uncommitted = is_uncommitted
        self._on_refusal = on_refusal
        self._thread = threading.get_ident()

    def value(self) -> Any:
        """Return the value, past the cache."""
        return self._default() if callable(self._default) else self._default

    async def avalue(self) -> Any:
        """Return the value, past the cache; the twin of ``value()``.

        A plain function runs where Django runs what is not asynchronous: its
        database connections are there.
        """
        value = self._default
        if iscoroutinefunction(value):
            value = value()
        elif callable(value):
            value = await sync_to_async(value)()
        return await value if hasattr(value, "__await__") else value

    def create(self, creation: Any) -> Any:
        """Create it in a thread: the caller's, or one of the background."""
        if threading.get_ident() == self._thread:
            return self._made(creation, self.value())
        return self._made(creation, run_apart(self.value))

    async def acreate(self, creation: Any) -> Any:
        """Create it in an event loop."""
        return self._made(creation, await self.avalue())

    def _made(self, creation: Any, value: Any) -> Any:
        if hasattr(value, "__await__"):
            discard(value)
            named = getattr(self._default, "__qualname__", repr(self._default))
            raise CoroutineCreatorError(
                f"{named} returns an awaitable, which get_or_set() cannot await: use "
                "aget_or_set()"
            )
        wanted = self._should_cache_fn
        is_unwanted = wanted is not None and not wanted(value)
        if self._lifetime == 0 or is_unwanted or self._is_uncommitted():
            return creation.skip(self._values.loose(value))
        creation.expires(self._lifetime)
        try:
            return self._values.pack(value)
        except Exception as error:  # noqa: BLE001 - a class may refuse in any way
            self._on_refusal(error)
            return creation.skip(self._values.loose(value))


def discard(default: Any) -> None:
    """End a coroutine that nobody needed."""
    close = getattr(default, "close", None)
    if close is not None and hasattr(default, "__await__"):
        close()


# What update() is given


class Add:
    """Store a payload where there is none."""

    def __init__(self, payload: Any) -> None:
        self._payload = payload

    def __call__(self, old: CachedValue | None) -> Any:
        """Return the payload, or leave what is there."""
        return self._payload if old is None else NO_VALUE


class Replace:
    """Store a payload where there is one."""

    def __init__(self, payload: Any) -> None:
        self._payload = payload

    def __call__(self, old: CachedValue | None) -> Any:
        """Return the payload, or leave that there is none."""
        return NO_VALUE if old is None else self._payload


class Increment:
    """Add to a number; its time goes on."""

    def __init__(self, values: Plain | Pickled, delta: Any) -> None:
        self._values = values
        self._delta = delta

    def __call__(self, old: CachedValue | None) -> Any:
        """Return the sum in the place of the number."""
        if old is None:
            return NO_VALUE
        number = self._values.unpack(old.payload) + self._delta
        return old._replace(payload=self._values.pack(number))


class Touch:
    """Have a value live for a time from now on.

    :param lifetime: seconds; ``None`` for ever.
    :param now: returns the seconds since the epoch.
    """

    def __init__(self, lifetime: float | None, now: Callable[[], float]) -> None:
        self._lifetime = lifetime
        self._now = now

    def __call__(self, old: CachedValue | None) -> Any:
        """Return the value with another lifetime."""
        if old is None:
            return NO_VALUE
        metadata = {**old.metadata, "ct": self._now(), "x": self._lifetime}
        return old._replace(metadata=metadata)


class Put:
    """Store a value as it is, with all that is known about it."""

    def __init__(self, value: CachedValue) -> None:
        self._value = value

    def __call__(self, old: CachedValue | None) -> Any:
        """Return the value, whatever is there."""
        return self._value
