"""What each link of the codec chain costs, for 100 B, 10 kB and 1 MB.

    python benchmarks/bench_codecs.py

prints a table in reStructuredText: microseconds to write and to read a value,
and the bytes that are stored, medians of several interleaved rounds.
"""

from __future__ import annotations

import functools
import pickle
import statistics
import timeit
from collections.abc import Callable
from typing import Any, NamedTuple

from dogpile.cache.api import CachedValue, value_version
from dogpile.cache.codecs import Chain

ROUNDS = 7
SECONDS_A_ROUND = 0.03
SIZES = {"100 B": 100, "10 kB": 10_000, "1 MB": 1_000_000}
KEY = "benchmarks.bench_codecs:rows|7"
METADATA = {"ct": 1_700_000_000.25, "v": value_version}
SIGNING_KEY = "a signing key for the benchmark"
FERNET_KEY = "fernet:" + "A" * 43 + "="

CHAINS: dict[str, dict[str, Any]] = {
    "pickle": {},
    "json": {"serializer": "json"},
    "msgpack": {"serializer": "msgpack"},
    "pickle, zlib": {"compressor": "zlib"},
    "pickle, zlib level 1": {"compressor": "zlib", "compression_level": 1},
    "pickle, zstd": {"compressor": "zstd"},
    "pickle, lz4": {"compressor": "lz4"},
    "pickle, hmac-sha256": {"signing_key": SIGNING_KEY},
    "pickle, aes-gcm": {"encryption_key": SIGNING_KEY},
    "pickle, fernet": {"encryption_key": FERNET_KEY},
    "pickle, zstd, aes-gcm, hmac-sha256": {
        "compressor": "zstd",
        "encryption_key": SIGNING_KEY,
        "signing_key": SIGNING_KEY,
    },
}


class Cost(NamedTuple):
    """Microseconds to write and to read, and bytes."""

    write: float
    read: float
    size: int


def rows(size: int) -> list[dict[str, Any]]:
    """Return rows as a database has them, of about so many pickled bytes."""
    made: list[dict[str, Any]] = []
    while len(pickle.dumps(made, 5)) < size:
        wanted = max(1, int(len(made) * 0.05))
        made.extend(row(len(made) + n) for n in range(wanted))
    return made


def row(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"user {number * 7919 % 10_007}",
        "score": number * 0.37,
        "tags": ["red", "green", "blue"][: number % 4],
    }


def measure(steps: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median of microseconds of each step, interleaved."""
    timers = {name: timeit.Timer(step) for name, step in steps.items()}
    counts = {name: count(timer) for name, timer in timers.items()}
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, timer in timers.items():
            taken[name].append(timer.timeit(counts[name]) / counts[name] * 1e6)
    return {name: statistics.median(times) for name, times in taken.items()}


def count(timer: timeit.Timer) -> int:
    once = max(timer.timeit(1), 1e-7)
    return max(1, int(SECONDS_A_ROUND / once))


def cost_of_chains(size: int) -> dict[str, Cost]:
    value = CachedValue(rows(size), METADATA)
    pickled = pickle.dumps(value.payload, 5)
    steps: dict[str, Callable[[], object]] = {
        "write pickle alone": lambda: pickle.dumps(value.payload, 5),
        "read pickle alone": lambda: pickle.loads(pickled),
    }
    sizes = {"pickle alone": len(pickled)}
    for name, settings in CHAINS.items():
        chain = Chain(**settings, context="benchmark")
        raw = chain.encode(KEY, value)
        sizes[name] = len(raw)
        steps[f"write {name}"] = functools.partial(chain.encode, KEY, value)
        steps[f"read {name}"] = functools.partial(chain.decode, KEY, raw)
    taken = measure(steps)
    return {
        name: Cost(taken[f"write {name}"], taken[f"read {name}"], sizes[name])
        for name in sizes
    }


def main() -> None:
    costs = {title: cost_of_chains(size) for title, size in SIZES.items()}
    names = list(next(iter(costs.values())))
    print(".. list-table:: Microseconds to write, to read; bytes stored")
    print("   :header-rows: 1")
    print()
    for cells in (
        ["links", *costs],
        *([name, *(cell(column[name]) for column in costs.values())] for name in names),
    ):
        for position, text in enumerate(cells):
            print(f"   {'-' if position else '* -'} {text}".replace("   - ", "     - "))


def cell(cost: Cost) -> str:
    return f"{figure(cost.write)} / {figure(cost.read)}; {cost.size:,}"


def figure(microseconds: float) -> str:
    return f"{microseconds:.1f}" if microseconds < 100 else f"{microseconds:,.0f}"


if __name__ == "__main__":
    main()
