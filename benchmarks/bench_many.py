"""A hundred keys at once, all of which are there: in memory and on sqlite."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from timeit import Timer
from typing import Any

import floors
from bench_processes import VALUE, RawStore, file_region
from measure import (
    FLOOR,
    OURS,
    Effort,
    Figure,
    Readings,
    Row,
    Run,
    by_turns,
    memory_region,
    ratio,
)

_KEYS = [f"key:{number}" for number in range(100)]


def _run(call: Callable[..., Any], *given: Any) -> Run:
    return Timer(lambda: call(_KEYS, *given)).timeit


def _creator(*keys: Any) -> Any:
    raise AssertionError("they are there")


def _both(region: Any, raw: Any, effort: Effort) -> tuple[dict[str, float], ...]:
    for key in _KEYS:
        region.set(key, VALUE)
        raw.put(key, VALUE)
    assert raw.get_multi(_KEYS) == region.get_multi(_KEYS)
    floor = _run(raw.get_multi)
    gets = {FLOOR: floor, OURS: _run(region.get_multi)}
    asks = {FLOOR: floor, OURS: _run(region.get_or_create_multi, _creator)}
    how: dict[str, Any] = {"turns": 20, "seconds": 0.005}
    return by_turns(gets, effort, **how), by_turns(asks, effort, **how)


def many(effort: Effort) -> Readings:
    """Measure the multi forms."""
    with tempfile.TemporaryDirectory() as folder:
        on_file = file_region(folder, is_classic=effort.is_classic)
        file_gets, file_asks = _both(on_file, RawStore(folder), effort)
    gets, asks = _both(memory_region(), floors.region(), effort)
    return {
        "get_multi, sqlite": file_gets,
        "get_or_create_multi, sqlite": file_asks,
        "get_multi, memory": gets,
        "get_or_create_multi, memory": asks,
    }


FIGURES = (
    Figure(
        "many",
        "A hundred keys at once, all hits (1.5.0: dbm for sqlite)",
        (
            Row("get_multi, sqlite", "µs", ratio(1.25)),
            Row("get_or_create_multi, sqlite", "µs", ratio(1.35)),
            Row("get_multi, memory", "µs", ratio(1.25)),
            Row("get_or_create_multi, memory", "µs", ratio(1.35)),
        ),
        many,
    ),
)
