"""The public core: a locking interface around a value-creation function.

Its levels of usage, from rudimentary to a cache, are told in ``docs/lock.rst``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from dogpile.cache.clock import SYSTEM_CLOCK

ValueAndTime: TypeAlias = tuple[Any, float]

_log = logging.getLogger(__name__)


class NeedRegenerationException(Exception):
    """Raised by a reading function that has no value to give."""


class _Unchanged:
    """Nobody created anything: the value that was read is the answer."""


_UNCHANGED = _Unchanged()


class Lock:
    """Lets one caller create a value, while others use the one there is.

    ``with Lock(…) as value:`` reads the value; where it has expired, or there
    is none, one thread creates it under the mutex. Threads that find an old
    value use it meanwhile; those that find none wait.

    :param mutex: has ``acquire(blocking)`` and ``release()``.
    :param creator: returns ``(value, time)``: the new value, and when it was
        created, in seconds since the epoch.
    :param value_and_created_fn: returns the same of the value there is, or
        raises :class:`NeedRegenerationException`.
    :param expiretime: seconds a value is good for; ``None`` for ever.
    :param async_creator: is handed the mutex when an old value exists; it
        creates the value later and then releases the mutex.
    """

    def __init__(
        self,
        mutex: Any,
        creator: Callable[[], ValueAndTime],
        value_and_created_fn: Callable[[], ValueAndTime],
        expiretime: float | None,
        async_creator: Callable[[Any], object] | None = None,
    ) -> None:
        self.mutex = mutex
        self.creator = creator
        self.value_and_created_fn = value_and_created_fn
        self.expiretime = expiretime
        self.async_creator = async_creator

    def __enter__(self) -> Any:
        old = self._read()
        if old is not None and not self._is_expired(old[1]):
            return old[0]
        created = self._create(old)
        if isinstance(created, _Unchanged):
            # Only a caller with an old value leaves without creating.
            return old[0] if old is not None else None
        return created[0]

    def __exit__(self, *exc_info: object) -> Literal[False]:
        return False

    def _read(self) -> ValueAndTime | None:
        try:
            value, created = self.value_and_created_fn()
        except NeedRegenerationException:
            return None
        return (value, created) if created > 0 else None

    def _is_expired(self, created: float) -> bool:
        if self.expiretime is None:
            return False
        return SYSTEM_CLOCK.time() - created > self.expiretime

    def _create(self, old: ValueAndTime | None) -> ValueAndTime | _Unchanged:
        if old is None:
            self.mutex.acquire()
        elif not self.mutex.acquire(False):
            return _UNCHANGED
        handed_over = False
        try:
            if old is None:
                # Somebody else may have created it while this thread waited.
                old = self._read()
                if old is not None and not self._is_expired(old[1]):
                    return old
            if old is not None and self.async_creator is not None:
                self.async_creator(self.mutex)
                handed_over = True
                return old
            _log.debug("creating a value")
            return self.creator()
        finally:
            if not handed_over:
                self.mutex.release()
