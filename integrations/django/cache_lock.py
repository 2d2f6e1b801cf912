"""A lock in a cache: one holder among all processes that share its values."""

from __future__ import annotations

import asyncio
import secrets
import threading
from types import TracebackType
from typing import Any

from dogpile.cache import NO_VALUE, CachedValue, CacheRegion, CreationTimeout
from dogpile.cache.integrations.django.cache_values import Add

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self


class CacheLock:
    """A lock; ``DogpileCache.lock()`` makes it.

    Whoever acquired it, a thread or a task, is who may release it.

    :param store: the region that it lies in.
    :param key: of its entry.
    :param lifetime: seconds after which it ends by itself; ``None`` for never.
    :param sleep: seconds between two tries.
    :param blocking: whether to wait for it.
    :param blocking_timeout: seconds to wait at most; ``None`` for ever.
    """

    def __init__(
        self,
        store: CacheRegion,
        key: str,
        *,
        lifetime: float | None,
        sleep: float,
        blocking: bool,
        blocking_timeout: float | None,
    ) -> None:
        if lifetime == 0:
            raise ValueError("a lock takes a timeout of more than 0 seconds, or None")
        self._store = store
        self._key = key
        self._lifetime = lifetime
        self._sleep = sleep
        self._blocking = blocking
        self._patience = blocking_timeout
        # By thread or task: the entry may be somebody else's when it has ended.
        self._tokens: dict[object, str] = {}

    def acquire(
        self, blocking: bool | None = None, blocking_timeout: float | None = None
    ) -> bool:
        """Take the lock.

        :param blocking: whether to wait for it, unlike the lock itself says.
        :param blocking_timeout: seconds to wait at most, likewise.
        :return: whether it was taken.
        """
        token = secrets.token_hex(16)
        until = self._end(blocking, blocking_timeout)
        while not self._is_taken(
            self._store.update(self._key, Add(token), expiration_time=self._lifetime)
        ):
            if self._store.clock.monotonic() + self._sleep > until:
                return False
            self._store.clock.sleep(self._sleep)
        self._tokens[_owner()] = token
        return True

    async def aacquire(
        self, blocking: bool | None = None, blocking_timeout: float | None = None
    ) -> bool:
        """Take the lock; the twin of ``acquire()``."""
        token = secrets.token_hex(16)
        until = self._end(blocking, blocking_timeout)
        while not self._is_taken(
            await self._store.aupdate(
                self._key, Add(token), expiration_time=self._lifetime
            )
        ):
            if self._store.clock.monotonic() + self._sleep > until:
                return False
            await self._store.clock.asleep(self._sleep)
        self._tokens[_owner()] = token
        return True

    def release(self) -> None:
        """Give the lock back.

        :raises RuntimeError: it is not this thread's or task's (any more).
        """
        end = self._ending()
        self._check(self._store.update(self._key, end))

    async def arelease(self) -> None:
        """Give the lock back; the twin of ``release()``."""
        end = self._ending()
        self._check(await self._store.aupdate(self._key, end))

    def extend(self, seconds: float) -> bool:
        """Have the lock end later.

        :param seconds: from now.
        :return: whether it is still this thread's or task's.
        """
        return self._is_taken(self._store.update(self._key, self._extending(seconds)))

    async def aextend(self, seconds: float) -> bool:
        """Have the lock end later; the twin of ``extend()``."""
        change = self._extending(seconds)
        return self._is_taken(await self._store.aupdate(self._key, change))

    def locked(self) -> bool:
        """Return whether somebody holds it."""
        found = self._store.get(self._key, ignore_expiration=False)
        return self._is_taken(found)

    async def alocked(self) -> bool:
        """Return whether somebody holds it; the twin of ``locked()``."""
        found = await self._store.aget(self._key, ignore_expiration=False)
        return self._is_taken(found)

    def __enter__(self) -> Self:
        if not self.acquire():
            raise self._refused()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    async def __aenter__(self) -> Self:
        if not await self.aacquire():
            raise self._refused()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.arelease()

    def _end(self, blocking: bool | None, patience: float | None) -> float:
        """Return the time after which nobody waits any more."""
        if not (self._blocking if blocking is None else blocking):
            return float("-inf")
        seconds = self._patience if patience is None else patience
        if seconds is None:
            return float("inf")
        return self._store.clock.monotonic() + seconds

    def _ending(self) -> Expire:
        token = self._tokens.pop(_owner(), None)
        if token is None:
            raise RuntimeError(
                f"the lock {self._key!r} was not acquired by this thread or task"
            )
        return Expire(token, self._store.clock.time())

    def _extending(self, seconds: float) -> Extend:
        token = self._tokens.get(_owner(), "")
        return Extend(token, self._store.clock.time(), seconds)

    def _check(self, released: Any) -> None:
        if released is NO_VALUE:
            raise RuntimeError(
                f"the lock {self._key!r} had ended before it was released: what it "
                "guarded took longer than its timeout"
            )

    def _refused(self) -> CreationTimeout:
        return CreationTimeout(f"the lock {self._key!r} is held by somebody else")

    @staticmethod
    def _is_taken(found: Any) -> bool:
        return found is not NO_VALUE


class Extend:
    """Have an entry end later, if it is still the holder's.

    :param now: seconds since the epoch.
    """

    def __init__(self, token: str, now: float, seconds: float) -> None:
        self._token = token
        self._times = {"ct": now, "x": seconds}

    def __call__(self, old: CachedValue | None) -> Any:
        """Return the entry with another end, or leave somebody else's."""
        if old is None or old.payload != self._token:
            return NO_VALUE
        return old._replace(metadata={**old.metadata, **self._times})


class Expire(Extend):
    """End an entry, if it is still the holder's."""

    def __init__(self, token: str, now: float) -> None:
        # It ended a second ago. No server takes a lifetime of nothing.
        super().__init__(token, now - 1.0, 0.5)


def _owner() -> object:
    """Return what stands for this task, or else for this thread."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident() if task is None else task
