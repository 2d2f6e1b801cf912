"""What the processes of a crowd do; they import it, and so does who starts them."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from ctypes import c_uint64
from typing import Any, NamedTuple

from crowd import PATIENCE, race, result, start, wait_until

from dogpile.cache import NO_VALUE, CacheRegion, ProxyBackend, make_region
from dogpile.cache.api import Lease
from dogpile.cache.clock import SYSTEM_CLOCK, Clock

_spawn = multiprocessing.get_context("spawn")

#: How many processes there are, and keys in a storm.
SIZE = 4
KEYS = 3


class Stage:
    """What the processes share: a start, a count, and the truth about each key."""

    def __init__(self) -> None:
        self.start = _spawn.Barrier(SIZE)
        self.count = _spawn.Value(c_uint64)
        self.arrived = _spawn.Value(c_uint64)
        # Writes are made one after the other; each has a number. A key's value
        # is the number of the write that it is made by, or made after.
        self.writing = _spawn.Lock()
        self.begun = _spawn.RawArray(c_uint64, KEYS)
        self.ended = _spawn.RawArray(c_uint64, KEYS)

    def reset(self) -> None:
        """Begin another scene."""
        self.start.reset()
        self.count.value = self.arrived.value = 0
        for key in range(KEYS):
            self.begun[key] = self.ended[key] = 0


class Play:
    """Some processes that do the same thing at once."""

    def __init__(self) -> None:
        self.stage = Stage()
        self._pool = ProcessPoolExecutor(
            SIZE, mp_context=_spawn, initializer=_enter, initargs=(self.stage,)
        )

    def everywhere(self, act: Callable[..., Any], *given: Any) -> list[Any]:
        """Call a function in each process, and return what each returned."""
        jobs = [self._pool.submit(_act, act, number, given) for number in range(SIZE)]
        return [job.result(2 * PATIENCE) for job in jobs]

    def close(self) -> None:
        """End the processes, even those that hang."""
        processes = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
            process.join(PATIENCE)


_stage: Stage
_regions: dict[tuple[str, str], CacheRegion] = {}


def _enter(stage: Stage) -> None:
    global _stage  # noqa: PLW0603 - what comes with the process's start
    _stage = stage


def _act(act: Callable[..., Any], number: int, given: tuple[Any, ...]) -> Any:
    # So that each of the processes gets one, and none gets two.
    _stage.start.wait(PATIENCE)
    return act(number, *given)


def region_of(
    kind: str, filename: str, *, clock: Clock = SYSTEM_CLOCK, **settings: Any
) -> CacheRegion:
    """Return this process's region over a file; the same for the same file."""
    region = _regions.get((kind, filename))
    if region is None:
        region = make_region(clock=clock, expiration_time=1000).configure(
            f"dogpile.cache.{kind}", arguments={"filename": filename}, **settings
        )
        _regions[kind, filename] = region
    return region


def _await_all(count: int) -> None:
    """Return when all have come as far as to make their call."""
    wait_until(lambda: _stage.arrived.value >= count)


def _arrive() -> None:
    with _stage.arrived.get_lock():
        _stage.arrived.value += 1


def _note_call() -> None:
    with _stage.count.get_lock():
        _stage.count.value += 1


def create(number: int, kind: str, filename: str, threads: int) -> list[Any]:
    """Ask for one key in many threads; the creator waits for all of them."""
    region = region_of(kind, filename)

    def creator() -> str:
        _note_call()
        _await_all(SIZE * threads)
        return f"of process {number}"

    def ask() -> Any:
        _arrive()
        return region.get_or_create("key", creator)

    return race(*[ask] * threads)


class Refused(ProxyBackend):
    """Notes when it was not granted a lease."""

    is_refused = False

    def lease(self, key: Any, seconds: float, **how: Any) -> Lease:
        lease = super().lease(key, seconds, **how)
        if not lease.granted:
            self.is_refused = True
        return lease


def fail(number: int, kind: str, filename: str, threads: int) -> list[Told]:
    """Ask for one key whose creator fails; return what each thread was told."""
    region = region_of(kind, filename, wrap=[Refused])
    leads: list[bool] = []

    def creator() -> str:
        _note_call()
        leads.append(True)
        _await_all(SIZE)
        raise LookupError("no such page", 404)

    def ask() -> LookupError:
        try:
            region.get_or_create("key", creator)
        except LookupError as error:
            return error
        raise AssertionError("there was no error")

    def watch() -> None:
        # Whoever comes after the error would try again: let all wait for it.
        wait_until(lambda: waiting(region) == threads - 1)
        wait_until(lambda: leads or region.backend.is_refused)
        _arrive()

    watcher = start(watch)
    errors = race(*[ask] * threads)
    result(watcher)
    return [Told(repr(error), error.__cause__ in errors, id(error)) for error in errors]


def waiting(region: CacheRegion) -> int:
    """Return how many threads of this process wait for the key."""
    flight = region.storage.flights._flights.get("key")
    return 0 if flight is None else len(flight.waiters)


class Told(NamedTuple):
    """An error that a thread was told of.

    :param has_cause: it is one of another thread's.
    """

    text: str
    has_cause: bool
    identity: int


class Ahead(Clock):
    """The system's clock, and some seconds more."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.source = self

    def time(self) -> float:
        return super().time() + self.seconds

    def monotonic(self) -> float:
        return super().monotonic() + self.seconds


def read(number: int, kind: str, filename: str, seconds: float, new: Any) -> Any:
    """Let the time of this process pass, then read or create."""
    region = region_of(kind, filename, clock=Ahead())
    assert isinstance(region.clock, Ahead)
    region.clock.seconds += seconds

    def creator() -> Any:
        _note_call()
        return new

    return region.get_or_create("key", creator)


def read_strictly(number: int, kind: str, filename: str, new: Any) -> Any:
    """Read or create, asking each time whether anybody has invalidated."""
    region = region_of(kind, filename, generation_ttl=0)

    def creator() -> Any:
        _note_call()
        return new

    return region.get_or_create("key", creator)


class Wrong(NamedTuple):
    """A value that is older than a write that had ended before it was asked for."""

    operation: str
    key: int
    found: Any
    ended: int


class Weather(NamedTuple):
    """What a process saw in a storm."""

    wrong: list[Wrong]
    counts: Counter[str]


class Storm:
    """One thread's share of a storm.

    :param region: asks each time whether anybody has invalidated.
    :param seed: of what it does, and in which order.
    """

    def __init__(self, region: CacheRegion, seed: int) -> None:
        self.region = region
        self.dice = random.Random(seed)
        self.weather = Weather([], Counter())

    def rage(self, rounds: int) -> Weather:
        """Do so many things."""
        names = {
            "get_or_create": 40,
            "get": 20,
            "get_or_create_multi": 10,
            "put": 12,
            "delete": 12,
            "invalidate": 6,
        }
        for name in self.dice.choices([*names], [*names.values()], k=rounds):
            self.weather.counts[name] += 1
            getattr(self, name)(self.dice.randrange(KEYS))
        return self.weather

    def create(self, key: int) -> int:
        """Create a value: what has begun by now, it comes after."""
        begun = int(_stage.begun[key])
        self.weather.counts["created"] += 1
        time.sleep(self.dice.uniform(0, 0.004))
        return begun

    def get_or_create(self, key: int) -> None:
        with self.checked("get_or_create", [key]) as found:
            value = self.region.get_or_create(f"{key}", lambda: self.create(key))
            found.append(value)

    def get(self, key: int) -> None:
        with self.checked("get", [key]) as found:
            found.append(self.region.get(f"{key}"))

    def get_or_create_multi(self, key: int) -> None:
        keys = self.dice.sample(range(KEYS), 2)

        def create(*names: str) -> list[int]:
            return [self.create(int(name)) for name in names]

        with self.checked("get_or_create_multi", keys) as found:
            names = [f"{each}" for each in keys]
            found.extend(self.region.get_or_create_multi(names, create))

    def put(self, key: int) -> None:
        with self.written([key]):
            self.region.put(f"{key}", int(_stage.begun[key]))

    def delete(self, key: int) -> None:
        with self.written([key]):
            self.region.delete(f"{key}")

    def invalidate(self, key: int) -> None:
        with self.written(range(KEYS)):
            self.region.invalidate()

    @contextmanager
    def written(self, keys: Any) -> Iterator[None]:
        """Number a write of some keys; no other one begins before it has ended."""
        with _stage.writing:
            for key in keys:
                _stage.begun[key] += 1
            yield
            for key in keys:
                _stage.ended[key] = _stage.begun[key]

    @contextmanager
    def checked(self, operation: str, keys: Any) -> Iterator[list[Any]]:
        """Compare what is found with what had ended before it was asked for."""
        ended = [int(_stage.ended[key]) for key in keys]
        found: list[Any] = []
        yield found
        for key, value, limit in zip(keys, found, ended, strict=True):
            if value is not NO_VALUE and value < limit:
                self.weather.wrong.append(Wrong(operation, key, value, limit))


def storm(number: int, kind: str, filename: str, threads: int, rounds: int) -> Weather:
    """Read, create, write and invalidate in many threads."""
    region = region_of(kind, filename, generation_ttl=0)
    refused: list[Any] = []
    region.on("refused_commit", refused.append)
    storms = [Storm(region, number * 1000 + each) for each in range(threads)]
    weathers = race(*[lambda each=each: each.rage(rounds) for each in storms])
    counts: Counter[str] = Counter(refused=len(refused))
    for weather in weathers:
        counts.update(weather.counts)
    return Weather([wrong for each in weathers for wrong in each.wrong], counts)


def busy(number: int, kind: str, filename: str, rounds: int) -> int:
    """Write and read large values of one's own, and count those that were lost."""
    region = region_of(kind, filename)
    lost = 0
    for each in range(rounds):
        value = f"{number} {each} " * 1000
        region.put(f"of {number}", value)
        lost += region.get(f"of {number}") != value
    return lost


def threads_of_dogpile() -> list[str]:
    """Return the names of the threads that the package has started."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("dogpile")]
