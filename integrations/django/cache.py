"""The backend of ``CACHES``: a thin handle on a region of the process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from dogpile.cache.integrations.django.cache_async import AsyncTwins
from dogpile.cache.integrations.django.cache_keys import Pattern
from dogpile.cache.integrations.django.cache_lock import CacheLock
from dogpile.cache.integrations.django.cache_steps import run

__all__ = ["DogpileCache"]


class DogpileCache(AsyncTwins):
    """A cache of Django's on a region.

    ``BACKEND`` of an alias of ``CACHES``. ``LOCATION`` is the name of a region of
    ``DOGPILE_CACHE_REGIONS``, a URL, or a backend's name; with
    ``OPTIONS["backend"]`` it names a region of the alias's own. ``OPTIONS`` takes
    the settings of a region, ``MAX_ENTRIES`` and ``CULL_FREQUENCY``.

    Where methods take ``policy``, that is ``tags=``, which
    :meth:`invalidate_tags` takes, and other fields of
    :class:`~dogpile.cache.Policy`, such as ``grace=``.
    """

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """Return a value, or the default."""
        made = self.make_and_validate_key(key, version)
        return self._found(self._store.get(made, ignore_expiration=False), default)

    def get_many(
        self, keys: Iterable[Any], version: int | None = None
    ) -> dict[Any, Any]:
        """Return the values that there are, by key, in one round trip."""
        return run(self._get_many_steps(keys, version))

    def has_key(self, key: Any, version: int | None = None) -> bool:
        """Return whether there is a value."""
        return run(self._has_steps(self.make_and_validate_key(key, version)))

    def get_or_set(
        self,
        key: Any,
        default: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        **policy: Any,
    ) -> Any:
        """Return a value; of a whole crowd one thread creates it where need be.

        :param default: the value, or a function that returns it.
        """
        return run(self._get_or_set_steps(key, default, timeout, version, policy))

    def set(  # type: ignore[override]  # None says nothing of nx and xx
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        nx: bool = False,
        xx: bool = False,
        **policy: Any,
    ) -> bool:
        """Store a value; return whether it was."""
        return run(self._set_steps(key, value, timeout, version, policy, nx=nx, xx=xx))

    def set_many(
        self,
        data: dict[Any, Any],
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        **policy: Any,
    ) -> list[Any]:
        """Store values in one round trip; return the keys of those that failed."""
        return run(self._set_many_steps(data, timeout, version, policy))

    def add(
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        **policy: Any,
    ) -> bool:
        """Store a value unless there is one; return whether it was stored."""
        return run(self._add_steps(key, value, timeout, version, policy))

    def touch(
        self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        """Have a value live from now on; return whether there is one."""
        return run(self._touch_steps(key, timeout, version))

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Remove a value; return whether there was one."""
        return run(self._delete_steps(key, version))

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """Remove values in one round trip."""
        run(self._delete_many_steps(keys, version))

    def clear(self) -> None:
        """Remove all values of the alias, and of no other ``KEY_PREFIX``."""
        run(self._clear_steps())

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add to a number, whose time goes on; return the sum.

        :raises ValueError: there is none.
        """
        return run(self._incr_steps(key, delta, version))

    def incr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Give a value another version, which it bears for the time it has left.

        :raises ValueError: there is none.
        """
        return run(self._incr_version_steps(key, delta, version))

    # Beyond Django

    def ttl(self, key: Any, version: int | None = None) -> int | None:
        """Return the whole seconds that a value has left; 0 for none."""
        return run(self._ttl_steps(key, version))

    def persist(self, key: Any, version: int | None = None) -> bool:
        """Have a value live for ever; return whether there is one."""
        return self.touch(key, None, version)

    def expire(self, key: Any, timeout: Any, version: int | None = None) -> bool:
        """Have a value live for some seconds; return whether there is one."""
        return self.touch(key, timeout, version)

    def iter_keys(
        self, pattern: str = "*", version: int | None = None
    ) -> Iterator[str]:
        """Yield the keys of values that match a pattern, such as ``"user:*"``.

        :raises ConfigurationError: the backend cannot tell its keys.
        """
        wanted = Pattern(self, pattern, version)
        for made in self._store.iter_keys(wanted.start):
            if wanted.fills_page(made):
                found = self._store.get_multi(wanted.page, ignore_expiration=False)
                for key in wanted.living(found):
                    yield key
        found = self._store.get_multi(wanted.page, ignore_expiration=False)
        for key in wanted.living(found):
            yield key

    def keys(self, pattern: str = "*", version: int | None = None) -> list[str]:
        """Return the keys of values that match a pattern."""
        return list(self.iter_keys(pattern, version))

    def delete_pattern(self, pattern: str, version: int | None = None) -> int:
        """Remove what matches a pattern; return how many that were."""
        wanted = Pattern(self, pattern, version)
        found = [
            made for made in self._store.iter_keys(wanted.start) if wanted.matches(made)
        ]
        self._store.delete_multi(found)
        return len(found)

    def invalidate_tags(self, *tags: Any, hard: bool = True) -> None:
        """Invalidate what was stored with one of the tags."""
        run(self._invalidate_steps(tags, hard=hard))

    def lock(
        self,
        key: Any,
        version: int | None = None,
        timeout: float | None = 60,
        sleep: float = 0.1,
        *,
        blocking: bool = True,
        blocking_timeout: float | None = None,
    ) -> CacheLock:
        """Return a lock that all processes share which share the cache's values.

        It is a context manager, of threads and of event loops. Unlike the rest
        of a cache it raises where the server does not answer.

        :param timeout: seconds after which it ends by itself, whoever holds it.
        :param sleep: seconds between two tries.
        :param blocking: whether to wait for it.
        :param blocking_timeout: seconds to wait at most; ``None`` for ever.
        """
        return CacheLock(
            self._store,
            f"{self.make_and_validate_key(key, version)}:lock",
            lifetime=self._lifetime(timeout),
            sleep=sleep,
            blocking=blocking,
            blocking_timeout=blocking_timeout,
        )

    def on(self, event: str, listener: Callable[[Any], object]) -> Callable[[], None]:
        """Call a function at each event of a kind, as a region's ``on()`` does.

        :param event: such as ``"backend_error"``, or ``"*"``.
        :return: what ends it.
        """
        return self._store.on(event, listener)

    def stats(self) -> dict[str, float]:
        """Return counts of events, from the first time they were asked for."""
        return self._store.stats()
