"""A value that is there: decorated, by key, awaited, and by eight threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from timeit import Timer
from typing import Any

import floors
import rivals
from measure import (
    FLOOR,
    OURS,
    Effort,
    Figure,
    Readings,
    Row,
    Run,
    Stopwatch,
    by_turns,
    median,
    memory_region,
    ratio,
)

_THREADS = 8


def one(a: Any) -> Any:
    """Return what is to be remembered."""
    return a


def two(a: Any, b: Any = 0) -> Any:
    """Return what is to be remembered."""
    return a, b


async def awaited(a: Any) -> Any:
    """Return what is to be remembered."""
    return a


def _contest(
    statement: str, callees: Mapping[str, Any], effort: Effort
) -> dict[str, float]:
    """Time a statement, in which ``f`` is one contestant after the other."""
    runs: dict[str, Run] = {}
    for name, callee in callees.items():
        names = {"f": callee, "creator": _creator}
        exec(statement, names)
        runs[name] = Timer(statement, globals=names).timeit
    return by_turns(runs, effort)


def _creator() -> str:
    return "value"


def _decorated(fn: Callable[..., Any], *, is_classic: bool) -> Callable[..., Any]:
    region = memory_region()
    how = {}
    if is_classic:
        # Its usual key generator takes no argument by name.
        from dogpile.cache.util import kwarg_function_key_generator

        how["function_key_generator"] = kwarg_function_key_generator
    cached: Callable[..., Any] = region.cache_on_arguments(**how)(fn)
    return cached


def _rivals(fn: Callable[..., Any], effort: Effort) -> dict[str, Any]:
    if effort.is_classic:
        return {}
    return {name: make(fn) for name, make in rivals.decorators().items()}


def decorated(effort: Effort) -> Readings:
    """Measure hits of decorated functions."""
    is_classic = effort.is_classic
    first = {
        FLOOR: floors.remember_one(one),
        OURS: _decorated(one, is_classic=False),
        **_rivals(one, effort),
    }
    second = {
        FLOOR: floors.remember_two(two),
        OURS: _decorated(two, is_classic=is_classic),
        **_rivals(two, effort),
    }
    return {
        "f(1)": _contest("f(1)", first, effort),
        "f(1, b=2)": _contest("f(1, b=2)", second, effort),
    }


def region(effort: Effort) -> Readings:
    """Measure hits by key, the operation looked up before and on the region."""
    mine, floor = memory_region(), floors.region()
    mine.set("key", "value")
    floor.put("key", "value")
    readings: Readings = {}
    for name, call in (("get", "f('key')"), ("get_or_create", "f('key', creator)")):
        callees = {FLOOR: getattr(floor, name), OURS: getattr(mine, name)}
        readings[f"{name}(key)"] = _contest(call, callees, effort)
        dotted = call.replace("f(", f"f.{name}(")
        callees = {FLOOR: floor, OURS: mine}
        readings[f"region.{name}(key)"] = _contest(dotted, callees, effort)
    return readings


def coroutine(effort: Effort) -> Readings:
    """Measure awaited hits."""
    callees: dict[str, Any] = {
        FLOOR: floors.remember_coroutine(awaited),
        OURS: memory_region().cache_on_arguments()(awaited),
    }
    if rivals.find("cashews") is not None:
        from cashews import Cache

        cache = Cache()
        cache.setup("mem://")
        callees["cashews"] = cache(ttl="1h")(awaited)
    return {"await f(1)": asyncio.run(_awaits(callees, effort))}


async def _awaits(callees: Mapping[str, Any], effort: Effort) -> dict[str, float]:
    for callee in callees.values():
        await callee(1)
    loops = {name: _Awaits(callee) for name, callee in callees.items()}
    for loop in loops.values():
        await loop.measure(100)
    # The turns of by_turns(), which cannot await.
    counts = {
        name: max(1, round(0.002 * effort.scale / loop.least))
        for name, loop in loops.items()
    }
    for turn in range(effort.times(30)):
        for name in list(loops)[:: 1 if turn % 2 else -1]:
            await loops[name].measure(counts[name])
    return {name: loop.least for name, loop in loops.items()}


class _Awaits:
    def __init__(self, callee: Callable[[Any], Awaitable[Any]]) -> None:
        self._callee = callee
        self.least = 1.0

    async def measure(self, count: int) -> None:
        f = self._callee
        with Stopwatch() as watch:
            for _ in range(count):
                await f(1)
        self.least = min(self.least, watch.seconds / count)


def threads(effort: Effort) -> Readings:
    """Measure hits of eight threads at once: seconds of all for one hit of each."""
    callees = {
        FLOOR: floors.remember_one(one),
        OURS: memory_region().cache_on_arguments()(one),
        **_rivals(one, effort),
    }
    runs = {name: _InThreads(callee) for name, callee in callees.items()}
    number = 2_000 if effort.is_classic else 10_000
    taken = by_turns(runs, effort, turns=9, number=number, pick=median)
    return {"f(1) in 8 threads": {n: t / _THREADS for n, t in taken.items()}}


class _InThreads:
    def __init__(self, callee: Callable[[Any], Any]) -> None:
        self._callee = callee
        for key in range(_THREADS):
            callee(key)

    def __call__(self, count: int) -> float:
        ready = threading.Barrier(_THREADS + 1)
        crowd = [
            threading.Thread(target=self._hammer, args=(key, count, ready))
            for key in range(_THREADS)
        ]
        for thread in crowd:
            thread.start()
        ready.wait()
        began = perf_counter()
        for thread in crowd:
            thread.join()
        return perf_counter() - began

    def _hammer(self, key: int, count: int, ready: threading.Barrier) -> None:
        f = self._callee
        ready.wait()
        for _ in range(count):
            f(key)


FIGURES = (
    Figure(
        "hits",
        "A decorated function, in memory",
        (Row("f(1)", "ns", ratio(1.15)), Row("f(1, b=2)", "ns", ratio(1.15))),
        decorated,
    ),
    Figure(
        "region",
        "A region in memory",
        (
            Row("get(key)", "ns", ratio(1.15)),
            Row("region.get(key)", "ns", ratio(1.15)),
            Row("get_or_create(key)", "ns", ratio(1.15)),
            Row("region.get_or_create(key)", "ns", ratio(1.15)),
        ),
        region,
    ),
    Figure(
        "await",
        "A decorated coroutine function, in memory",
        (Row("await f(1)", "ns", ratio(1.20)),),
        coroutine,
        with_classic=False,
    ),
    Figure(
        "threads",
        "Eight threads at once, in memory",
        (Row("f(1) in 8 threads", "ns", ratio(1.30)),),
        threads,
        is_parallel=True,
    ),
)
