"""The locks of a Redis client, as mutexes of the kind that 1.x knows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn

from dogpile.cache.api import BackendArguments, CacheMutex, KeyType
from dogpile.cache.backends.network import flag_in, seconds_in, seconds_or_none
from dogpile.cache.exception import ValidationError


class Mutexes:
    """Makes mutexes, as the ``lock_...`` arguments of 1.x ask for them.

    :param arguments: the backend's.
    :param fail: raises a client's error as one of ours.
    :param thread_local: whether only the thread that took a mutex may release
        it, where ``thread_local_lock`` does not say.
    """

    def __init__(
        self,
        arguments: BackendArguments,
        fail: Callable[[str, Exception], NoReturn],
        *,
        thread_local: bool,
    ) -> None:
        self.timeout: float | None = seconds_or_none(arguments, "lock_timeout")
        self._fail = fail
        self._prefix = _prefix_in(arguments)
        self._options = {
            "timeout": self.timeout,
            "sleep": seconds_in(arguments, "lock_sleep", 0.1),
            "blocking": flag_in(arguments, "lock_blocking", True),
            "blocking_timeout": seconds_in(arguments, "lock_blocking_timeout", None),
            "thread_local": flag_in(arguments, "thread_local_lock", thread_local),
        }

    def mutex(self, client: Any, key: KeyType) -> CacheMutex:
        """Return the mutex of a key."""
        name = f"{self._prefix}{key}"
        return _Mutex(client.lock(name, **self._options), self._fail)


class _Mutex(CacheMutex):
    __slots__ = ("_fail", "_lock")

    def __init__(self, lock: Any, fail: Callable[[str, Exception], NoReturn]) -> None:
        self._lock = lock
        self._fail = fail

    def acquire(self, wait: bool = True) -> bool:
        return bool(self._ask("acquire", blocking=wait))

    def release(self) -> None:
        self._ask("release")

    def locked(self) -> bool:
        return bool(self._ask("locked"))

    def _ask(self, operation: str, **options: Any) -> Any:
        try:
            return getattr(self._lock, operation)(**options)
        except Exception as error:  # noqa: BLE001 - _fail() raises it as ours
            self._fail(f"get_mutex().{operation}", error)


def _prefix_in(arguments: BackendArguments) -> str:
    prefix = arguments.get("lock_prefix") or "_lock"
    if not isinstance(prefix, str) or not re.fullmatch(r"[\w\-.:]{2,10}", prefix):
        raise ValidationError(
            "lock_prefix= must be 2 to 10 letters, digits or any of _-.:"
        )
    return prefix
