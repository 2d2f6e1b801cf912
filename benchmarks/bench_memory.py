"""What an entry takes beside its key and value, and how a bounded region grows."""

from __future__ import annotations

import gc
import multiprocessing
import sys
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import floors
from measure import (
    FLOOR,
    OURS,
    Effort,
    Figure,
    Readings,
    Row,
    at_most,
    memory_region,
)

_ENTRIES = 50_000
_BOUND = 10_000
_PASSING = 1_000_000


def _growth(work: Callable[[list[str]], Any], keys: list[str]) -> int:
    """Return the bytes that are there after some work, and were not before."""
    work(keys[:10])  # what is loaded is loaded
    gc.collect()
    tracemalloc.start()
    try:
        kept = work(keys)
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
        del kept
        return size
    finally:
        tracemalloc.stop()


def _one(a: Any) -> Any:
    return a


def _puts(store: Any, keys: list[str]) -> Any:
    put = getattr(store, "put", None) or store.set
    for key in keys:
        put(key, key)
    return store


def _creations(store: Any, keys: list[str]) -> Any:
    get_or_create = store.get_or_create
    for key in keys:
        get_or_create(key, _creator)
    return store


def _creator() -> str:
    return "value"


def _decorated(keys: list[str]) -> Any:
    cached = memory_region().cache_on_arguments()(_one)
    for key in keys:
        cached(key)
    return cached


def entries(effort: Effort) -> Readings:
    """Measure the bytes of an entry beside key and value."""
    count = effort.times(_ENTRIES)
    keys = [f"key:{number:08}" for number in range(count)]
    bound: dict[str, Any] = {} if effort.is_classic else {"max_entries": count}
    floor = _growth(lambda some: _puts(floors.region(), some), keys) / count
    grown = {
        "put": _growth(lambda some: _puts(memory_region(), some), keys),
        "put, bounded": _growth(lambda some: _puts(memory_region(**bound), some), keys),
        "get_or_create": _growth(lambda some: _creations(memory_region(), some), keys),
        # Its keys it makes itself.
        "decorated": _growth(_decorated, keys) - _own_keys(keys),
    }
    return {
        f"an entry, {name}": {FLOOR: floor, OURS: size / count}
        for name, size in grown.items()
    }


def _own_keys(keys: list[str]) -> int:
    cached = memory_region().cache_on_arguments()(_one)
    made = getattr(cached, "key", None)
    if made is None:  # the 1.x release: a prefix and the argument
        made = f"{__name__}:_one|{{}}".format
    return sum(sys.getsizeof(made(key)) for key in keys)


def bounded(effort: Effort) -> Readings:
    """Measure how a region of 10,000 entries grows over 1,000,000 keys."""
    passing, most = effort.times(_PASSING), effort.times(_BOUND)
    return {
        f"growth, {work.__name__[1:]}": {OURS: _alone(work, passing, most) / 2**20}
        for work in (_get_or_create, _decorated_function)
    }


def _alone(work: Callable[[int, int], None], passing: int, most: int) -> int:
    """Return the bytes that a process of its own grows by, at most."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(work, 10, 10).result()  # what is loaded is loaded
        before = pool.submit(_most_resident).result()
        pool.submit(work, passing, most).result()
        return pool.submit(_most_resident).result() - before


def _get_or_create(passing: int, most: int) -> None:
    get_or_create = memory_region(max_entries=most).get_or_create
    for number in range(passing):
        key = f"key:{number:08}"
        get_or_create(key, lambda key=key: key * 8)


def _decorated_function(passing: int, most: int) -> None:
    cached = memory_region(max_entries=most).cache_on_arguments()(_one)
    for number in range(passing):
        cached(f"key:{number:08}" * 8)


def _most_resident() -> int:
    """Return the most bytes of memory that this process ever had."""
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [x for x in status.read_text().splitlines() if "VmHWM" in x]
        return int(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


FIGURES = (
    Figure(
        "memory",
        "Memory beside key and value, 50,000 entries",
        tuple(
            Row(f"an entry, {name}", "bytes", at_most(200))
            for name in ("put", "put, bounded", "get_or_create", "decorated")
        ),
        entries,
    ),
    Figure(
        "growth",
        "A process whose region is bounded to 10,000 entries, over 1,000,000 keys",
        (
            Row("growth, get_or_create", "MiB", at_most(40)),
            Row("growth, decorated_function", "MiB", at_most(40)),
        ),
        bounded,
        with_classic=False,
    ),
)
