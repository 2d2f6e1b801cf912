"""The embedded default beside ``sqlite3`` alone, and beside diskcache: 1 kB."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from bench_processes import VALUE, contestants
from measure import (
    FLOOR,
    OURS,
    Effort,
    Figure,
    Limit,
    Readings,
    Row,
    Run,
    Stopwatch,
    by_turns,
)

_KEYS = [f"key:{number}" for number in range(100)]


@contextlib.contextmanager
def filled(effort: Effort) -> Iterator[dict[str, Any]]:
    """Return stores that hold a value for each of a hundred keys."""
    with tempfile.TemporaryDirectory() as folder:
        stores = {name: make(folder) for name, make in contestants(effort).items()}
        for store in stores.values():
            for key in _KEYS:
                store.put(key, VALUE)
        yield stores


def _each_key(call: Callable[..., Any], *given: Any) -> Run:
    def run(count: int) -> float:
        keys = (_KEYS * (count // len(_KEYS) + 1))[:count]
        with Stopwatch() as watch:
            for key in keys:
                call(key, *given)
        return watch.seconds

    return run


def single(effort: Effort) -> Readings:
    """Measure reading, writing, and ``get_or_create`` of what is there."""
    with filled(effort) as stores:
        gets = {name: _each_key(store.get) for name, store in stores.items()}
        puts = {name: _each_key(store.put, VALUE) for name, store in stores.items()}
        # By hand, a hit is a get.
        asks = {
            **gets,
            OURS: _each_key(stores[OURS].get_or_create, _creator),
        }
        how: dict[str, Any] = {"turns": 20, "number": 500}
        if effort.is_classic:
            how = {"turns": 3, "number": 100}
        return {
            "get": by_turns(gets, effort, **how),
            "get_or_create, a hit": by_turns(asks, effort, **how),
            # Not the least: a checkpoint now and then is a part of it.
            "put": by_turns(puts, effort, pick=statistics.median, **how),
        }


def _creator() -> str:
    raise AssertionError("it is there")


def _limits(bound: float) -> tuple[Limit, ...]:
    return (Limit(bound, FLOOR), Limit(1.0, "diskcache"))


FIGURES = (
    Figure(
        "sqlite",
        "One process, 1 kB, on sqlite (1.5.0: dbm)",
        (
            Row("get", "µs", _limits(1.30)),
            Row("get_or_create, a hit", "µs", _limits(1.35)),
            Row("put", "µs", _limits(1.30)),
        ),
        single,
    ),
)
