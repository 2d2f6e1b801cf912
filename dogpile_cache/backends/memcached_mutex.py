"""A lock of the 1.x kind, in memcached."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any, NoReturn

from dogpile.cache.api import CacheMutex
from dogpile.cache.backends.memcached_settings import expiry, mangle_key
from dogpile.cache.clock import SYSTEM_CLOCK, Clock

#: Seconds after which a lock ends whose holder set no time.
LONGEST_LOCK = 60


class MemcachedLock(CacheMutex):
    """A lock that lies in memcached, for all processes that use the server.

    It ends by itself. Regions do not need it: they take leases.

    :param client_fn: returns a client of memcached.
    :param key: the key that it is about.
    :param timeout: seconds after which it ends; 0 for a minute.
    :param fail: raises a client's error as one of ours.
    """

    def __init__(
        self,
        client_fn: Callable[[], Any],
        key: str,
        timeout: float = 0,
        *,
        clock: Clock = SYSTEM_CLOCK,
        fail: Callable[[str, BaseException], NoReturn] | None = None,
    ) -> None:
        self.client_fn = client_fn
        self.key: str = f"~m:{mangle_key(key)}"
        self.timeout = timeout
        self._clock = clock
        self._fail = fail
        self._token = b""

    def acquire(self, wait: bool = True) -> bool:
        """Take the lock, and say whether it was taken."""
        token = os.urandom(12).hex().encode("ascii")
        pause = 0.01
        while not self._add(token):
            if not wait:
                return False
            self._clock.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            pause = min(pause * 1.5, 0.25)
        self._token = token
        return True

    def _add(self, token: bytes) -> bool:
        time = expiry(self.timeout or LONGEST_LOCK, self._clock.time)
        return bool(self._ask("acquire", "add", token, time))

    def locked(self) -> bool:
        """Return whether somebody holds it."""
        return self._ask("locked", "get") is not None

    def release(self) -> None:
        """Give the lock back, unless it has ended and is somebody else's by now."""
        token, self._token = self._token, b""
        if not token or self._ask("release", "get") == token:
            self._ask("release", "delete")

    def _ask(self, operation: str, method: str, *args: Any) -> Any:
        try:
            return getattr(self.client_fn(), method)(self.key, *args)
        except Exception as error:
            if self._fail is None:
                raise
            self._fail(f"get_mutex().{operation}", error)
