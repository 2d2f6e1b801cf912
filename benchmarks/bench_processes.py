"""Four processes at once, on one file: a crowd, and plain reading and writing."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import rivals
from measure import (
    FLOOR,
    OURS,
    Effort,
    Figure,
    Limit,
    Readings,
    Row,
    at_most,
    percentile,
)

_PROCESSES = 4
_THREADS = 8
_SLOW = 0.05
_CREATOR = "creator"
_CROWDS = 5
_SECONDS = 0.5
_KEYS = 1_000
# What is stored: a text whose pickle is 1 kB.
VALUE = "x" * 1_000
_PATIENCE = 120


class Store(Protocol):
    """What is hammered."""

    def get(self, key: str) -> Any:
        """Return a value."""

    def put(self, key: str, value: Any) -> Any:
        """Store a value."""


class RawStore:
    """``sqlite3`` alone, one connection a thread."""

    def __init__(self, folder: str) -> None:
        self._path = str(Path(folder, "raw.sqlite"))
        self._local = threading.local()

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection of this thread."""
        found = getattr(self._local, "connection", None)
        if found is None:
            found = sqlite3.connect(self._path, timeout=5, isolation_level=None)
            found.execute("PRAGMA journal_mode = WAL")
            found.execute("PRAGMA synchronous = NORMAL")
            found.execute(
                "CREATE TABLE IF NOT EXISTS cache "
                "(key TEXT PRIMARY KEY, value BLOB, until REAL)"
            )
            self._local.connection = found
        connection: sqlite3.Connection = found
        return connection

    def get(self, key: str) -> Any:
        """Return a value that has not lapsed."""
        row = self.connection.execute(
            "SELECT value, until FROM cache WHERE key = ?", (key,)
        ).fetchone()
        if row is not None and time.time() < row[1]:
            return pickle.loads(row[0])
        return None

    def put(self, key: str, value: Any) -> None:
        """Store a value for an hour."""
        self.connection.execute(
            "INSERT INTO cache VALUES (?, ?, ?) ON CONFLICT (key) "
            "DO UPDATE SET value = excluded.value, until = excluded.until",
            (key, pickle.dumps(value, 5), time.time() + 3600),
        )

    def get_multi(self, keys: list[str]) -> list[Any]:
        """Return the values of many keys, by one statement."""
        marks = ",".join("?" * len(keys))
        rows = self.connection.execute(
            f"SELECT key, value, until FROM cache WHERE key IN ({marks})", keys
        )
        now = time.time()
        found = {key: pickle.loads(value) for key, value, until in rows if now < until}
        return [found.get(key) for key in keys]


class DiskcacheStore:
    """``diskcache``, as it is out of the box."""

    def __init__(self, folder: str) -> None:
        import diskcache

        self._cache = diskcache.Cache(str(Path(folder, "diskcache")))
        self.get: Callable[[str], Any] = self._cache.get

    def put(self, key: str, value: Any) -> None:
        """Store a value for an hour."""
        self._cache.set(key, value, expire=3600)


def file_region(folder: str, *, is_classic: bool = False) -> Any:
    """Return a region on a file; of the 1.x release, on the one it can."""
    from dogpile.cache import make_region

    name = "dbm" if is_classic else "sqlite"
    return make_region().configure(
        f"dogpile.cache.{name}",
        expiration_time=3600,
        arguments={"filename": str(Path(folder, f"region.{name}"))},
    )


class RegionStore:
    """A region on a file."""

    def __init__(self, folder: str, *, is_classic: bool = False) -> None:
        region = file_region(folder, is_classic=is_classic)
        self.get: Callable[[str], Any] = region.get
        self.put: Callable[[str, Any], Any] = region.set
        self.get_or_create: Callable[[str, Any], Any] = region.get_or_create


class ClassicStore(RegionStore):
    """The 1.x release on a file."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder, is_classic=True)


def contestants(effort: Effort) -> dict[str, type]:
    """Return the stores that there are."""
    if effort.is_classic:
        return {FLOOR: RawStore, OURS: ClassicStore}
    found: dict[str, type] = {FLOOR: RawStore, OURS: RegionStore}
    if rivals.find("diskcache") is not None:
        found["diskcache"] = DiskcacheStore
    return found


def _together(work: Callable[..., None], *given: Any) -> list[Any]:
    """Run work in all the processes, and return what they send."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(_PROCESSES)
    answers = context.Queue()
    crowd = [
        context.Process(target=work, args=(number, ready, answers, *given))
        for number in range(_PROCESSES)
    ]
    for process in crowd:
        process.start()
    try:
        return [_answer(answers, crowd) for _ in crowd]
    finally:
        for process in crowd:
            process.join(1)
            process.kill()


def _answer(answers: Any, crowd: list[Any]) -> Any:
    """Return what the next process sends; who has died will not send any more."""
    for _ in range(_PATIENCE):
        try:
            return answers.get(timeout=1)
        except queue.Empty:
            if any(process.exitcode for process in crowd):
                break
    raise RuntimeError("a process of the crowd ended without an answer")


# A crowd: every thread of every process asks for the same missing key.


def crowd(effort: Effort) -> Readings:
    """Let 4 x 8 threads ask for a missing value at once."""
    calls: dict[str, float] = {}
    tail: dict[str, float] = {}
    for name in contestants(effort):
        if name == FLOOR:
            continue
        with tempfile.TemporaryDirectory() as folder:
            # First by one alone: 1.5.0 fails if several make the file at once.
            _asker(name, folder, effort)("warm", str)
            keys = [f"key:{number}" for number in range(effort.times(_CROWDS))]
            waits = _together(_crowd, name, folder, keys, effort)
            tail[name] = percentile([w for found in waits for w in found], 0.99)
            calls[name] = float(max(Path(folder, k).stat().st_size for k in keys))
    return {
        "32 threads: calls": calls,
        "32 threads: p99 of the wait": {_CREATOR: _SLOW, **tail},
    }


def _crowd(
    number: int,
    ready: Any,
    answers: Any,
    name: str,
    folder: str,
    keys: list[str],
    effort: Effort,
) -> None:
    ask = _asker(name, folder, effort)
    ask(f"warm:{number}", str)
    waits: list[float] = []
    here = threading.Barrier(_THREADS, action=ready.wait)

    def come() -> None:
        for key in keys:
            here.wait()
            began = perf_counter()
            ask(key, lambda key=key: _created(Path(folder, key)))
            waits.append(perf_counter() - began)

    crowd = [threading.Thread(target=come) for _ in range(_THREADS)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    answers.put(waits)


def _asker(name: str, folder: str, effort: Effort) -> Callable[[str, Any], Any]:
    if name == "diskcache":
        import diskcache

        cache = diskcache.Cache(str(Path(folder, "diskcache")))
        return lambda key, creator: cache.memoize(name=key)(creator)()
    asker: Callable[[str, Any], Any] = contestants(effort)[name](folder).get_or_create
    return asker


def _created(counter: Path) -> str:
    # Whoever appends a byte has called: no process misses another's.
    file = os.open(counter, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, b".")
    os.close(file)
    time.sleep(_SLOW)
    return VALUE


# Hammering: each process reads and writes as often as it can.


def hammering(effort: Effort) -> Readings:
    """Count the operations of four processes at once."""
    readings: Readings = {}
    for title, writes in (("9 reads, 1 write", 10), ("writes", 1)):
        rates: dict[str, float] = {}
        errors: dict[str, float] = {}
        names = list(contestants(effort))
        for name in names if effort.turn % 2 else reversed(names):
            with tempfile.TemporaryDirectory() as folder:
                _fill(contestants(effort)[name](folder), effort)
                found = _together(_hammer, name, folder, writes, effort)
            rates[name] = sum(rate for rate, _ in found)
            errors[name] = float(sum(failed for _, failed in found))
        readings[f"4 processes, {title}"] = rates
        readings[f"4 processes, {title}: errors"] = errors
    return readings


def _fill(store: Store, effort: Effort) -> None:
    for number in range(effort.times(_KEYS)):
        store.put(f"key:{number}", VALUE)


def _hammer(
    number: int,
    ready: Any,
    answers: Any,
    name: str,
    folder: str,
    writes: int,
    effort: Effort,
) -> None:
    store: Store = contestants(effort)[name](folder)
    count = effort.times(_KEYS)
    keys = [f"key:{(n * 7 + number * 13) % count}" for n in range(count)]
    store.get(keys[0])
    done = failed = 0
    ready.wait()
    began = perf_counter()
    until = began + _SECONDS * effort.scale
    while perf_counter() < until:
        key = keys[done % count]
        try:
            if done % writes == 0:
                store.put(key, VALUE)
            else:
                store.get(key)
        except Exception:  # noqa: BLE001 - whatever it is, it is counted
            failed += 1
        done += 1
    answers.put((done / (perf_counter() - began), failed))


_FASTER = (Limit(0.75, at_least=True), Limit(1.0, "diskcache", at_least=True))

FIGURES = (
    Figure(
        "processes",
        "A crowd in four processes, on sqlite (1.5.0: dbm), a creator of 50 ms",
        (
            Row("32 threads: calls", "calls", at_most(1)),
            Row(
                "32 threads: p99 of the wait",
                "ms",
                (Limit(1.30, _CREATOR),),
                _CREATOR,
            ),
        ),
        crowd,
        is_parallel=True,
    ),
    Figure(
        "hammering",
        "Operations of four processes at once, 1 kB, on sqlite",
        (
            Row("4 processes, 9 reads, 1 write", "1/s", _FASTER),
            Row("4 processes, 9 reads, 1 write: errors", "errors", at_most(0)),
            Row("4 processes, writes", "1/s", _FASTER),
            Row("4 processes, writes: errors", "errors", at_most(0)),
        ),
        hammering,
        with_classic=False,
        is_parallel=True,
    ),
)
