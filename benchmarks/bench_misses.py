"""A value that is not there, in memory: what creating it costs beside the creator."""

from __future__ import annotations

from collections.abc import Callable
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
    memory_region,
    ratio,
)

_KEYS = [f"key:{number}" for number in range(10_000)]


def _creator() -> str:
    return "value"


def _one(a: Any) -> Any:
    return a


def _by_key(make: Callable[[], Any]) -> Run:
    def run(count: int) -> float:
        get_or_create = make().get_or_create
        keys = _KEYS[:count]
        with Stopwatch() as watch:
            for key in keys:
                get_or_create(key, _creator)
        return watch.seconds

    return run


def _by_argument(make: Callable[[Any], Any]) -> Run:
    def run(count: int) -> float:
        f = make(_one)
        with Stopwatch() as watch:
            for argument in range(count):
                f(argument)
        return watch.seconds

    return run


def _decorated(fn: Callable[..., Any]) -> Any:
    return memory_region().cache_on_arguments()(fn)


def misses(effort: Effort) -> Readings:
    """Measure creations of values that nobody else wants."""
    by_key = {
        FLOOR: _by_key(floors.region_missing),
        OURS: _by_key(memory_region),
    }
    by_argument = {FLOOR: by_key[FLOOR], OURS: _by_argument(_decorated)}
    if not effort.is_classic:
        for name in rivals.decorators():
            by_argument[name] = _by_argument(
                lambda fn, name=name: rivals.decorators()[name](fn)  # type: ignore[misc]
            )
    how: dict[str, Any] = {"turns": 9, "number": len(_KEYS)}
    return {
        "get_or_create(key), a miss": by_turns(by_key, effort, **how),
        "f(1), a miss": by_turns(by_argument, effort, **how),
    }


FIGURES = (
    Figure(
        "misses",
        "Misses, in memory",
        (
            Row("get_or_create(key), a miss", "ns", ratio(6)),
            Row("f(1), a miss", "ns", ratio(8)),
        ),
        misses,
    ),
)
