"""Where the time comes from, and how to wait for it to pass."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class TimeSource(Protocol):
        """Anything that tells the time, as the module :mod:`time` does."""

        def time(self) -> float:
            """Return the seconds since the epoch."""

        def monotonic(self) -> float:
            """Return seconds that never go back."""

    class Mutex(Protocol):
        """Anything that can be waited for, as a :class:`threading.Lock`."""

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            """Wait until the mutex is free, for at most ``timeout`` seconds."""

        def release(self) -> None:
            """Free the mutex."""


class Clock:
    """The system's clock.

    A subclass that goes by another time (``FakeClock`` of the test kit)
    overrides each method, and sets :attr:`source` to itself.
    """

    #: What tells the time in the shortest way: the module, so that whoever
    #: replaces ``time.time`` in a test is heard by the region too.
    source: TimeSource = time

    def time(self) -> float:
        """Return the seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block this thread.

        :param seconds: for how long.
        """
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """Suspend this task.

        :param seconds: for how long.
        """
        import asyncio

        await asyncio.sleep(seconds)

    def acquire(self, mutex: Mutex, seconds: float | None) -> bool:
        """Block this thread until the mutex is free.

        :param mutex: what to acquire.
        :param seconds: how long to wait at most; ``None`` for ever.
        :return: whether it was acquired.
        """
        if seconds is None:
            return mutex.acquire()
        return mutex.acquire(timeout=min(max(seconds, 0.0), _LONGEST_WAIT))


# Longer than any wait that is meant, shorter than what the platforms refuse.
_LONGEST_WAIT = 4_000_000.0

SYSTEM_CLOCK = Clock()
