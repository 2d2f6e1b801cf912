"""What one writes by hand instead: a dictionary, and a time to compare with.

Nothing here protects anything: no lock, one creation a caller, no bound.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import time
from types import SimpleNamespace
from typing import Any

HOUR = 3600.0


def remember_one(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Cache a function of one argument."""
    store: dict[Any, tuple[Any, float]] = {}

    def call(a: Any) -> Any:
        entry = store.get(a)
        if entry is not None and time() < entry[1]:
            return entry[0]
        value = fn(a)
        store[a] = value, time() + HOUR
        return value

    return call


def remember_two(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Cache a function of two arguments, one of which has a default."""
    store: dict[Any, tuple[Any, float]] = {}

    def call(a: Any, b: Any = 0) -> Any:
        entry = store.get((a, b))
        if entry is not None and time() < entry[1]:
            return entry[0]
        value = fn(a, b)
        store[a, b] = value, time() + HOUR
        return value

    return call


def remember_coroutine(
    fn: Callable[[Any], Awaitable[Any]],
) -> Callable[[Any], Awaitable[Any]]:
    """Cache a coroutine function of one argument."""
    store: dict[Any, tuple[Any, float]] = {}

    async def call(a: Any) -> Any:
        entry = store.get(a)
        if entry is not None and time() < entry[1]:
            return entry[0]
        value = await fn(a)
        store[a] = value, time() + HOUR
        return value

    return call


def region() -> SimpleNamespace:
    """Return closures with the signatures that a region's operations have."""
    store: dict[Any, tuple[Any, float]] = {}

    def get(
        key: Any, expiration_time: Any = None, ignore_expiration: Any = None
    ) -> Any:
        entry = store.get(key)
        if entry is not None and time() < entry[1]:
            return entry[0]
        return None

    def get_or_create(
        key: Any,
        creator: Callable[[], Any],
        expiration_time: Any = None,
        should_cache_fn: Any = None,
        creator_args: Any = None,
        *,
        in_place: bool = False,
        **policy: Any,
    ) -> Any:
        entry = store.get(key)
        if entry is not None and time() < entry[1]:
            return entry[0]
        value = creator()
        store[key] = value, time() + HOUR
        return value

    def put(key: Any, value: Any) -> None:
        store[key] = value, time() + HOUR

    def get_multi(keys: Any) -> list[Any]:
        now = time()
        values = []
        for key in keys:
            entry = store.get(key)
            if entry is not None and now < entry[1]:
                values.append(entry[0])
            else:
                values.append(None)
        return values

    return SimpleNamespace(
        get=get, get_or_create=get_or_create, put=put, get_multi=get_multi
    )


def region_missing() -> SimpleNamespace:
    """Return a ``get_or_create`` that is mostly called with new keys."""
    store: dict[Any, tuple[Any, float]] = {}

    def get_or_create(
        key: Any,
        creator: Callable[[], Any],
        expiration_time: Any = None,
        should_cache_fn: Any = None,
        creator_args: Any = None,
        *,
        in_place: bool = False,
        **policy: Any,
    ) -> Any:
        try:
            value, until = store[key]
            if time() < until:
                return value
        except KeyError:
            pass
        value = creator()
        store[key] = value, time() + HOUR
        return value

    return SimpleNamespace(get_or_create=get_or_create)
