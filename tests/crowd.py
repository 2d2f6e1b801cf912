"""Crowds for races: callers, creators that wait for their cue, regions to share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from dogpile.cache import (
    NO_VALUE,
    BackendError,
    CacheBackend,
    CacheRegion,
    make_region,
)
from dogpile.cache.clock import Clock
from dogpile.cache.testing import FakeClock
from dogpile.cache.testing.concurrency import in_child

_T = TypeVar("_T")

#: Real seconds after which something must be wrong; nothing waits that long.
PATIENCE = 30.0

#: Every way from a region to a backend that this package brings along.
KINDS = (
    "memory",
    "memory, heard",
    "memory, lru",
    "memory_pickle",
    "sqlite",
    "dbm",
    "dictionary",
    "mutex",
)
#: Those whose values several regions of a machine share.
SHARED = ("sqlite", "dbm")


class DictionaryBackend(CacheBackend):
    """The design document's example, as it stands there."""

    def __init__(self, arguments: Any) -> None:
        self.cache: dict[Any, Any] = {}

    def get(self, key: Any) -> Any:
        return self.cache.get(key, NO_VALUE)

    def put(self, key: Any, value: Any) -> None:
        self.cache[key] = value

    def delete(self, key: Any) -> None:
        self.cache.pop(key)


class MutexBackend(DictionaryBackend):
    """A backend of 1.x: who creates holds its mutex."""

    def __init__(self, arguments: Any) -> None:
        super().__init__(arguments)
        self._mutexes: dict[Any, Any] = {}

    def get_mutex(self, key: Any) -> Any:
        return self._mutexes.setdefault(key, threading.Lock())


class Maker:
    """Makes regions, and closes them in the end.

    :param folder: for their files; those of one name share a file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: list[CacheRegion] = []

    def __call__(
        self,
        kind: str,
        *,
        clock: Clock | None = None,
        wrap: Iterable[Any] = (),
        **settings: Any,
    ) -> CacheRegion:
        backend: Any = f"dogpile.cache.{kind.partition(',')[0]}"
        arguments: dict[str, Any] = {}
        if kind in SHARED:
            arguments["filename"] = str(self.folder / f"cache.{kind}")
        elif kind in _CLASSES:
            backend = _CLASSES[kind]
        elif kind == "memory, lru":
            arguments["policy"] = "lru"
        settings.setdefault("expiration_time", 60)
        region = make_region(clock=FakeClock() if clock is None else clock)
        region.configure(backend, arguments=arguments, wrap=[*wrap], **settings)
        if kind == "memory, heard":
            # Whoever listens makes the region take the long way.
            region.on("*", lambda event: None)
        self._made.append(region)
        return region

    def close(self) -> None:
        for region in self._made:
            region.close()


_CLASSES = {"dictionary": DictionaryBackend, "mutex": MutexBackend}


class Creator:
    """Creates when it is told to, and knows how often it was asked.

    :param result: returned, or raised if it is an error.
    """

    def __init__(self, result: Any = "new") -> None:
        self.result = result
        self.calls = 0
        self._lock = threading.Lock()
        self._asked = threading.Semaphore(0)
        self._cue = threading.Event()
        self._ended = threading.Semaphore(0)

    def __call__(self) -> Any:
        with self._lock:
            self.calls += 1
        self._asked.release()
        try:
            if not self._cue.wait(PATIENCE):
                raise TimeoutError("nobody told this creator to go on")
            if isinstance(self.result, BaseException):
                raise self.result
            return self.result
        finally:
            self._ended.release()

    @property
    def plain(self) -> Callable[[], Any]:
        """This creator as a function without parameters."""

        def create() -> Any:
            return self()

        return create

    def await_call(self) -> None:
        """Return when it was asked once more."""
        assert self._asked.acquire(timeout=PATIENCE), "the creator was not called"

    def await_end(self) -> None:
        """Return when it has ended once more."""
        assert self._ended.acquire(timeout=PATIENCE), "the creator has not ended"

    def finish(self) -> None:
        """Let it end, now and whenever it is called again."""
        self._cue.set()


def never() -> Any:
    """Fail: the creator of a test in which nothing is to be created."""
    raise AssertionError("this was not to be created")


def start(act: Callable[..., _T], *given: Any, **how: Any) -> Future[_T]:
    """Call a function in a thread of its own, which does not outlive the tests."""
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(act(*given, **how))
        except BaseException as error:  # noqa: BLE001 - it is the result
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def result(future: Future[_T]) -> _T:
    """Return what a call returned; one that hangs is an error."""
    return future.result(PATIENCE)


def results(futures: Iterable[Future[_T]]) -> list[_T]:
    """Return what all the calls returned."""
    return [result(future) for future in futures]


def error(future: Future[Any]) -> BaseException:
    """Return what a call raised; one that hangs, or returns, is an error."""
    raised = future.exception(PATIENCE)
    assert raised is not None, f"nothing was raised, but {future.result()!r} returned"
    return raised


def errors(futures: Iterable[Future[Any]]) -> list[BaseException]:
    """Return what all the calls raised."""
    return [error(future) for future in futures]


def race(*acts: Callable[[], _T]) -> list[_T]:
    """Call functions at once, each in a thread of its own."""
    barrier = threading.Barrier(len(acts))

    def begin(act: Callable[[], _T]) -> _T:
        barrier.wait(PATIENCE)
        return act()

    return results([start(begin, act) for act in acts])


def settle(region: CacheRegion) -> None:
    """Return when no refresh is under way in the background."""
    assert region.storage.pending.wait(PATIENCE), "a refresh has not ended"


def clock_of(region: CacheRegion) -> FakeClock:
    """Return a region's clock."""
    assert isinstance(region.clock, FakeClock)
    return region.clock


def wait_until(is_so: Callable[[], Any]) -> None:
    """Return as soon as something is so, for which nobody can be told to wait."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, "it has not come to that"
        time.sleep(0.001)


def pass_until_done(
    clock: FakeClock, crowd: Iterable[Future[Any]], *, step: float = 0.01
) -> None:
    """Let time pass for those that look at a lease now and then.

    :param step: seconds; large ones where nobody's lease may end too early.
    """

    def is_done() -> bool:
        clock.advance(step)
        return all(each.done() for each in crowd)

    wait_until(is_done)


class Interrupting(FakeClock):
    """Calls something when it is asked for the time, once."""

    between: Callable[[], Any] | None = None

    def time(self) -> float:
        """Return the time, after what comes in between."""
        act, self.between = self.between, None
        if act is not None:
            act()
        return super().time()


def fork_amid(
    work: Callable[[int], object], use: Callable[[], object]
) -> tuple[list[int], list[BackendError]]:
    """Fork five times, while three threads are busy.

    :param work: what a thread does again and again; it is given its number.
    :param use: what a child does.
    :return: the exit codes of the children, and the threads' errors.
    """
    stop = threading.Event()
    errors: list[BackendError] = []

    def work_on(number: int) -> None:
        try:
            while not stop.is_set():
                work(number)
        except BackendError as error:
            errors.append(error)

    threads = [threading.Thread(target=work_on, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    codes = [in_child(use) for _ in range(5)]
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    return codes, errors
