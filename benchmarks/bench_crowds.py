"""Many callers who want one missing value: threads, coroutines, a failing creator."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import rivals
from measure import (
    OURS,
    Effort,
    Figure,
    Limit,
    Readings,
    Row,
    at_most,
    memory_region,
    percentile,
)

# Seconds that the creator takes, and the contestant that is this ideal.
_SLOW = 0.05
_CREATOR = "creator"
_THREADS = 50
_COROUTINES = 1_000
_FAILING = 20
_CROWDS = 5

#: Asked for one key by all; calls the creator that it was made with.
Ask = Callable[[str], Any]


class Crowd(NamedTuple):
    """What came of a crowd: calls of the creator, and the waits of its callers."""

    calls: int
    waits: list[float]


def _crowd(make: Callable[[Callable[[], Any]], Ask], count: int, key: str) -> Crowd:
    """Let threads ask for a key at once."""
    calls: list[float] = []
    waits: list[float] = []

    def creator() -> str:
        calls.append(1)
        time.sleep(_SLOW)
        return "value"

    ask = make(creator)
    ready = threading.Barrier(count)

    def come() -> None:
        ready.wait()
        began = perf_counter()
        ask(key)
        waits.append(perf_counter() - began)

    crowd = [threading.Thread(target=come) for _ in range(count)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    return Crowd(len(calls), waits)


def _by_key(creator: Callable[[], Any]) -> Ask:
    region = memory_region()
    return lambda key: region.get_or_create(key, creator)


def _others(folder: str) -> dict[str, Callable[[Callable[[], Any]], Ask]]:
    found: dict[str, Callable[[Callable[[], Any]], Ask]] = {}
    for name, make in rivals.decorators().items():
        found[name] = lambda creator, make=make: make(lambda _key: creator())  # type: ignore[misc]
    if rivals.find("diskcache") is not None:
        import diskcache

        cache = diskcache.Cache(folder)
        found["diskcache"] = lambda creator: cache.memoize(expire=3600)(
            lambda _key: creator()
        )
    return found


def threads(effort: Effort) -> Readings:
    """Let fifty threads ask for a missing value at once."""
    with tempfile.TemporaryDirectory() as folder:
        makers = {OURS: _by_key}
        if not effort.is_classic:
            makers.update(_others(folder))
        crowds = {
            name: [
                _crowd(make, effort.times(_THREADS), f"key:{number}")
                for number in range(effort.times(_CROWDS))
            ]
            for name, make in makers.items()
        }
    calls = {n: float(max(c.calls for c in found)) for n, found in crowds.items()}
    waits = {n: [w for c in found for w in c.waits] for n, found in crowds.items()}
    tail = {name: percentile(found, 0.99) for name, found in waits.items()}
    return {
        "50 threads: calls": calls,
        "50 threads: p99 of the wait": {_CREATOR: _SLOW, **tail},
    }


def coroutines(effort: Effort) -> Readings:
    """Let a thousand coroutines ask for a missing value at once."""
    count = effort.times(_COROUTINES)
    calls: list[str] = []

    async def creator() -> str:
        calls.append("")
        await asyncio.sleep(_SLOW)
        return "value"

    region = memory_region()
    cached = memory_region().cache_on_arguments()(_behind(creator))
    asks = {
        "aget_or_create": lambda: region.aget_or_create("key", creator),
        "decorated": lambda: cached(1),
    }
    if rivals.find("cashews") is not None:
        from cashews import Cache

        cache = Cache()
        cache.setup("mem://")
        locked = cache(ttl="1h", lock=True)(_behind(creator))
        asks["cashews"] = lambda: locked(1)
    seconds, called = {}, {}
    for name, ask in asks.items():
        calls.clear()
        seconds[name] = asyncio.run(_gathered(ask, count))
        called[name] = float(len(calls))
    readings: Readings = {}
    for name in ("aget_or_create", "decorated"):
        own = {OURS: seconds.pop(name)}
        readings[f"{name}: calls"] = {OURS: called.pop(name)}
        readings[f"{name}: all have it after"] = {_CREATOR: _SLOW, **own}
    readings["decorated: calls"].update(called)
    readings["decorated: all have it after"].update(seconds)
    return readings


def _behind(creator: Callable[[], Any]) -> Callable[[Any], Any]:
    async def slow(a: Any) -> Any:
        return await creator()

    return slow


async def _gathered(ask: Callable[[], Any], count: int) -> float:
    began = perf_counter()
    await asyncio.gather(*(ask() for _ in range(count)))
    return perf_counter() - began


class _Failed(Exception):
    """What the creator raises."""


def failures(effort: Effort) -> Readings:
    """Let twenty threads ask for a value whose creator fails."""
    calls: list[str] = []
    ends: list[float] = []
    region = memory_region()

    def creator() -> Any:
        calls.append("")
        time.sleep(_SLOW)
        raise _Failed

    ready = threading.Barrier(_FAILING + 1)

    def come() -> None:
        ready.wait()
        try:
            region.get_or_create("key", creator)
        except _Failed:
            ends.append(perf_counter())

    crowd = [threading.Thread(target=come) for _ in range(_FAILING)]
    for thread in crowd:
        thread.start()
    ready.wait()
    began = perf_counter()
    for thread in crowd:
        thread.join()
    assert len(ends) == _FAILING
    return {
        "20 threads, an error: calls": {OURS: float(len(calls))},
        "20 threads, an error: all have it after": {
            _CREATOR: _SLOW,
            OURS: max(ends) - began,
        },
    }


def _waiting(name: str, bound: float) -> Row:
    return Row(name, "ms", (Limit(bound, _CREATOR),), _CREATOR)


FIGURES = (
    Figure(
        "crowd",
        "A crowd of threads, a missing value, a creator of 50 ms",
        (
            Row("50 threads: calls", "calls", at_most(1)),
            _waiting("50 threads: p99 of the wait", 1.10),
        ),
        threads,
        is_parallel=True,
    ),
    Figure(
        "coroutines",
        "A thousand coroutines, a missing value, a creator of 50 ms",
        (
            Row("aget_or_create: calls", "calls", at_most(1)),
            _waiting("aget_or_create: all have it after", 1.4),
            Row("decorated: calls", "calls", at_most(1)),
            _waiting("decorated: all have it after", 1.4),
        ),
        coroutines,
        with_classic=False,
    ),
    Figure(
        "failures",
        "A crowd of threads, a creator that fails after 50 ms",
        (
            Row("20 threads, an error: calls", "calls", at_most(1)),
            _waiting("20 threads, an error: all have it after", 1.1),
        ),
        failures,
        is_parallel=True,
    ),
)
