"""How often a bounded region has what is asked for: S3-FIFO, LRU, W-TinyLFU."""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import rivals
from measure import OURS, Effort, Figure, Limit, Readings, Row, memory_region

_LRU = "LRU"
_TINY = "theine"
_KEYS = 100_000
_REQUESTS = 100_000
_SIZES = (1_000, 10_000)
_SKEWS = (0.9, 1.0, 1.1)
# A scan of so many keys that come once, whenever so many requests have passed.
_SCAN, _PAUSE = 2_500, 10_000

#: Returns whether a key is there, and stores it if it is not.
Ask = Callable[[int], bool]


def _zipf(skew: float, effort: Effort) -> list[int]:
    """Return keys, the n-th of which comes with a weight of 1/n**skew."""
    weights = (1 / rank**skew for rank in range(1, effort.times(_KEYS) + 1))
    steps = list(itertools.accumulate(weights))
    chance = random.Random(f"{skew} {effort.turn}")
    return [
        bisect.bisect(steps, chance.random() * steps[-1])
        for _ in range(effort.times(_REQUESTS))
    ]


def _with_scans(trace: list[int], effort: Effort) -> Iterator[int]:
    new = itertools.count(10 * _KEYS)
    for number, key in enumerate(trace):
        if number % effort.times(_PAUSE) == 0:
            yield from itertools.islice(new, effort.times(_SCAN))
        yield key


def _of_region(size: int, policy: str) -> Ask:
    region = memory_region(max_entries=size, policy=policy)
    created: list[int] = []

    def creator() -> int:
        created.append(1)
        return 1

    def ask(key: int) -> bool:
        created.clear()
        region.get_or_create(key, creator)
        return not created

    return ask


def _of_theine(size: int) -> Ask:
    from theine import Cache

    cache: Any = Cache(size)

    def ask(key: int) -> bool:
        name = str(key)
        _, is_hit = cache.get(name)
        if not is_hit:
            cache.set(name, 1)
        return bool(is_hit)

    return ask


def _contestants(size: int) -> dict[str, Ask]:
    found = {_LRU: _of_region(size, "lru"), OURS: _of_region(size, "s3fifo")}
    if rivals.find("theine") is not None:
        found[_TINY] = _of_theine(size)
    return found


def hit_ratio(effort: Effort) -> Readings:
    """Measure the share of hits, for each skew and size, with and without scans."""
    readings: Readings = {}
    for skew in _SKEWS:
        zipf = _zipf(skew, effort)
        for scans, trace in (("", zipf), (" + scans", list(_with_scans(zipf, effort)))):
            for size in _SIZES:
                found = _contestants(effort.times(size))
                readings[_title(skew, scans, size)] = {
                    name: sum(map(ask, trace)) / len(trace)
                    for name, ask in found.items()
                }
    return readings


def _title(skew: float, scans: str, size: int) -> str:
    return f"Zipf {skew}{scans}, {size:,} entries"


_LIMITS = (
    Limit(0.0, _LRU, at_least=True, points=True),
    Limit(-0.02, _TINY, at_least=True, points=True),
)

FIGURES = (
    Figure(
        "hit-ratio",
        "Hits of 100,000 requests for 100,000 keys (theine: W-TinyLFU)",
        tuple(
            Row(_title(skew, scans, size), "%", _LIMITS, _LRU)
            for skew in _SKEWS
            for scans in ("", " + scans")
            for size in _SIZES
        ),
        hit_ratio,
        with_classic=False,
    ),
)
