"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dogpile.cache.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dogpile.cache.clock import Mutex

# What a thread in acquire() may lag behind advance(), in real seconds.
_GLANCE = 0.005
_SECOND = 1_000_000_000


class FakeClock(Clock):
    """A clock that stands still until :meth:`advance` or :meth:`jump`.

    Whoever waits on it takes no real time; :meth:`wait_for_sleepers` says
    when everybody who should wait does, so that no test guesses::

        thread.start()  # it calls clock.sleep(30)
        clock.wait_for_sleepers(1)
        clock.advance(30)
        thread.join()

    It may be used by many threads and event loops at once.

    :param start: what the wall clock shows at first.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self.source: Clock = self
        # Whole nanoseconds: ten times 0.1 seconds must be one second.
        self._wall = _nanoseconds(start)
        self._steady: float = 0
        self._lock = threading.Lock()
        self._ticket = itertools.count()
        self._sleepers: list[_Sleeper] = []
        self._watchers: list[tuple[int, _Alarm]] = []

    def __repr__(self) -> str:
        return f"<FakeClock at {self.time()}, {self.sleepers} waiting>"

    def time(self) -> float:
        """Return the seconds since the epoch."""
        return self._wall / _SECOND

    def monotonic(self) -> float:
        """Return the seconds that were advanced."""
        return self._steady / _SECOND

    def advance(self, seconds: float) -> None:
        """Let time pass, and wake who waited for it, the earliest first.

        :raises ValueError: the seconds are negative; see :meth:`jump`.
        """
        if seconds < 0:
            raise ValueError(f"time passes forwards: {seconds}; see FakeClock.jump()")
        with self._lock:
            self._wall += _nanoseconds(seconds)
            self._steady += _nanoseconds(seconds)
            while self._sleepers and self._sleepers[0].when <= self._steady:
                heapq.heappop(self._sleepers).alarm.ring()

    def jump(self, seconds: float) -> None:
        """Set the wall clock forwards or back; no time passes by it."""
        with self._lock:
            self._wall += _nanoseconds(seconds)

    @property
    def sleepers(self) -> int:
        """How many threads and tasks wait on this clock now.

        :meth:`advance` counts out whom it wakes before it returns.
        """
        return len(self._sleepers)

    def wait_for_sleepers(self, count: int, timeout: float = 5.0) -> None:
        """Block this thread until so many wait on this clock.

        :param timeout: real seconds after which something must be wrong.
        :raises TimeoutError: fewer do by then.
        """
        alarm = _ThreadAlarm()
        with self._watching(count, alarm):
            if not alarm.wait(timeout):
                raise self._too_few(count, timeout)

    async def await_for_sleepers(self, count: int, timeout: float = 5.0) -> None:
        """Suspend this task until so many wait on this clock.

        :param timeout: real seconds after which something must be wrong.
        :raises TimeoutError: fewer do by then.
        """
        alarm = _TaskAlarm()
        with self._watching(count, alarm):
            await asyncio.wait([alarm.future], timeout=timeout)
            if not alarm.future.done():
                raise self._too_few(count, timeout)

    def sleep(self, seconds: float) -> None:
        """Block this thread until the clock was advanced that far.

        :raises ValueError: the seconds are negative, as for ``time.sleep``.
        """
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        if not _nanoseconds(seconds):
            return
        alarm = _ThreadAlarm()
        with self._sleeping(seconds, alarm):
            alarm.wait(None)

    async def asleep(self, seconds: float) -> None:
        """Suspend this task until the clock was advanced that far."""
        if _nanoseconds(seconds) <= 0:
            await asyncio.sleep(0)
            return
        alarm = _TaskAlarm()
        with self._sleeping(seconds, alarm):
            await alarm.future

    def acquire(self, mutex: Mutex, seconds: float | None) -> bool:
        """Block this thread until the mutex is free.

        A thread cannot wait for a mutex and for :meth:`advance` at once: it
        waits for the mutex, and looks at the clock every few milliseconds.

        :param mutex: what to acquire.
        :param seconds: the time that may pass meanwhile; ``None`` for any.
        :return: whether it was acquired.
        """
        if mutex.acquire(False):
            return True
        if seconds is None:
            with self._sleeping(math.inf, _Flag()):
                return mutex.acquire()
        if _nanoseconds(seconds) <= 0:
            return False
        alarm = _Flag()
        with self._sleeping(seconds, alarm):
            while not alarm.rung:
                if mutex.acquire(timeout=_GLANCE):
                    return True
        # It may have become free just before the time had passed.
        return mutex.acquire(False)

    @contextmanager
    def _sleeping(self, seconds: float, alarm: _Alarm) -> Iterator[None]:
        with self._lock:
            when = self._steady + _nanoseconds(seconds)
            sleeper = _Sleeper(when, next(self._ticket), alarm)
            heapq.heappush(self._sleepers, sleeper)
            self._tell_watchers()
        try:
            yield
        finally:
            with self._lock:
                # Interrupted, cancelled or the mutex is free: it still lies there.
                if sleeper in self._sleepers:
                    self._sleepers.remove(sleeper)
                    heapq.heapify(self._sleepers)

    @contextmanager
    def _watching(self, count: int, alarm: _Alarm) -> Iterator[None]:
        watcher = (count, alarm)
        with self._lock:
            self._watchers.append(watcher)
            self._tell_watchers()
        try:
            yield
        finally:
            with self._lock:
                self._watchers.remove(watcher)

    def _tell_watchers(self) -> None:
        for count, alarm in self._watchers:
            if len(self._sleepers) >= count:
                alarm.ring()

    def _too_few(self, count: int, timeout: float) -> TimeoutError:
        return TimeoutError(
            f"{self.sleepers} of {count} wait on the clock after {timeout} s"
        )


def _nanoseconds(seconds: float) -> float:
    return seconds if math.isinf(seconds) else round(seconds * _SECOND)


class _Alarm(Protocol):
    def ring(self) -> None:
        """Wake who waits for it; it may be called more than once."""


class _Sleeper(NamedTuple):
    when: float  # in nanoseconds, or infinite
    ticket: int  # tells apart, and keeps in order, who wakes at the same time
    alarm: _Alarm


class _Flag:
    def __init__(self) -> None:
        self.rung = False

    def ring(self) -> None:
        self.rung = True


class _ThreadAlarm:
    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        self._rung.set()

    def wait(self, timeout: float | None) -> bool:
        return self._rung.wait(timeout)


class _TaskAlarm:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self._loop.create_future()

    def ring(self) -> None:
        # The loop may have been closed with the task still in it.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self.future.done():
            self.future.set_result(None)
