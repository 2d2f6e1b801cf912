"""One creator per key among processes, and the fence that refuses a late write.

Backends that grant leases themselves are used as they are. The others get
leases here: from the 1.x mutex that they offer, or inside this process alone.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dogpile.cache.api import (
    BackendSetType,
    CacheBackend,
    CacheMutex,
    KeyType,
    Lease,
    LeasingBackend,
)
from dogpile.cache.clock import SYSTEM_CLOCK, Clock

_serials = itertools.count(1)
_STRIPES = 64


class Fence:
    """Leases for a backend that has none: safe inside this process.

    A commit and a write of one key exclude each other, so that nothing that
    was created before a write comes after it. With a mutex of the backend's
    own, only its holder creates.

    :param suffix: of the names of its methods: ``"_serialized"`` for one of
        bytes, else empty.
    """

    def __init__(self, backend: CacheBackend, suffix: str) -> None:
        self._read = getattr(backend, f"get{suffix}")
        self._write = getattr(backend, f"set{suffix}")
        self._write_multi = getattr(backend, f"set{suffix}_multi")
        self._remove = backend.delete
        self._remove_multi = _idempotent(backend)
        self._mutex_for = backend.get_mutex
        self._stripes = [threading.Lock() for _ in range(_STRIPES)]
        self._tokens: dict[KeyType, str] = {}
        _fences.add(self)

    def lease(
        self,
        key: KeyType,
        seconds: float,
        *,
        after: str | None = None,
        steal: bool = False,
    ) -> Lease:
        """Grant the lease if the backend's mutex is free (or has none)."""
        mutex = self._mutex_for(key)
        if mutex is not None and not _acquired(mutex):
            if not steal:
                return Lease(key, "busy", granted=False, found=self._read(key))
            mutex = None  # its holder gives it back
        token = str(next(_serials))
        self._tokens[key] = token
        state = None if mutex is None else _Mutex(mutex)
        return Lease(key, token, granted=True, found=self._read(key), state=state)

    def lease_multi(self, keys: list[KeyType], seconds: float) -> list[Lease]:
        """Grant the leases of many keys."""
        return [self.lease(key, seconds) for key in keys]

    def renew(self, lease: Lease, seconds: float) -> bool:
        """Say whether the lease still holds; it does not end by itself."""
        return self._tokens.get(lease.key) == lease.token

    def commit(
        self, lease: Lease, value: BackendSetType, *, ttl: float | None = None
    ) -> bool:
        """Store the value unless the key was written to in between."""
        try:
            with self._stripe(lease.key):
                if not self._is_ended(lease):
                    return False
                self._write(lease.key, value)
                return True
        finally:
            _give_back(lease)

    def release(self, lease: Lease, failure: bytes | None = None) -> None:
        """End the lease."""
        self._is_ended(lease)
        _give_back(lease)

    def _is_ended(self, lease: Lease) -> bool:
        """End a lease unless it was voided, or is somebody else's by now."""
        if self._tokens.get(lease.key) != lease.token:
            return False
        self._tokens.pop(lease.key, None)
        return True

    def set(
        self, key: KeyType, value: BackendSetType, *, ttl: float | None = None
    ) -> None:
        """Store a value, and void the key's lease."""
        with self._stripe(key):
            self._tokens.pop(key, None)
            self._write(key, value)
            self._tokens.pop(key, None)

    def delete(self, key: KeyType) -> None:
        """Delete a value, and void the key's lease."""
        with self._stripe(key):
            self._tokens.pop(key, None)
            # A backend may be as plain as ``dict.pop``; delete is idempotent.
            with contextlib.suppress(KeyError):
                self._remove(key)
            self._tokens.pop(key, None)

    def commit_multi(
        self,
        values: list[tuple[Lease, BackendSetType]],
        *,
        ttl: float | None = None,
    ) -> list[bool]:
        """Store the values of the keys that were not written to in between."""
        leases = [lease for lease, _ in values]
        stripes = self._all_stripes([lease.key for lease in leases])
        for stripe in stripes:
            stripe.acquire()
        try:
            held = [self._is_ended(lease) for lease in leases]
            kept = {
                lease.key: value
                for (lease, value), is_held in zip(values, held, strict=True)
                if is_held
            }
            if kept:
                self._write_multi(kept)
            return held
        finally:
            for stripe in stripes:
                stripe.release()
            for lease in leases:
                _give_back(lease)

    def release_multi(self, leases: list[Lease], failure: bytes | None = None) -> None:
        """End many leases."""
        for lease in leases:
            self.release(lease, failure)

    def set_multi(self, mapping: Mapping[KeyType, BackendSetType]) -> None:
        """Store values, and void the keys' leases."""
        self._fenced(list(mapping), self._write_multi, mapping)

    def delete_multi(self, keys: Sequence[KeyType]) -> None:
        """Delete values, and void the keys' leases."""
        self._fenced(list(keys), self._remove_multi, keys)

    def _fenced(
        self, keys: list[KeyType], write: Callable[[Any], Any], given: Any
    ) -> None:
        stripes = self._all_stripes(keys)
        for stripe in stripes:
            stripe.acquire()
        try:
            for key in keys:
                self._tokens.pop(key, None)
            write(given)
            for key in keys:
                self._tokens.pop(key, None)
        finally:
            for stripe in stripes:
                stripe.release()

    def _all_stripes(self, keys: list[KeyType]) -> list[threading.Lock]:
        # In one order for all, so that nobody waits in a circle.
        numbers = sorted({hash(key) % _STRIPES for key in keys})
        return [self._stripes[number] for number in numbers]

    def is_leased(self, key: KeyType) -> bool:
        """Return whether somebody creates the value now."""
        mutex = self._mutex_for(key)
        locked = getattr(mutex, "locked", None)
        return bool(locked and locked()) or key in self._tokens

    def forget(self) -> None:
        """Start anew in the child of a fork."""
        self._stripes = [threading.Lock() for _ in range(_STRIPES)]
        self._tokens = {}

    def _stripe(self, key: KeyType) -> threading.Lock:
        return self._stripes[hash(key) % _STRIPES]


def _idempotent(backend: CacheBackend) -> Callable[[Sequence[KeyType]], None]:
    """Return a ``delete_multi`` to which a missing key is no error."""
    if type(backend).delete_multi is not CacheBackend.delete_multi:
        return backend.delete_multi

    def delete_multi(keys: Sequence[KeyType]) -> None:
        for key in keys:
            with contextlib.suppress(KeyError):
                backend.delete(key)

    return delete_multi


def _acquired(mutex: CacheMutex) -> bool:
    return bool(mutex.acquire(False))


class _Mutex:
    """A mutex that is given back once, however often its lease is ended."""

    __slots__ = ("_mutex",)

    def __init__(self, mutex: CacheMutex) -> None:
        self._mutex: CacheMutex | None = mutex

    def release(self) -> None:
        mutex, self._mutex = self._mutex, None
        if mutex is not None:
            mutex.release()


def _give_back(lease: Lease) -> None:
    if lease.state is not None:
        lease.state.release()


_fences: weakref.WeakSet[Fence] = weakref.WeakSet()


class Renewer:
    """Renews the leases that this process holds, in one thread of its own.

    The thread starts with the first creation that takes longer than a third
    of its lease, and ends when there is nothing left to renew.
    """

    def __init__(self) -> None:
        self._held: dict[int, _Held] = {}
        self._wakeup = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wakes_at = 0.0
        # Whether the thread has not looked at what came last.
        self._is_new = False

    def keep(
        self, backend: LeasingBackend, lease: Lease, seconds: float, clock: Clock
    ) -> int:
        """Renew a lease until :meth:`drop`.

        :param seconds: the time of the lease; a third of it is the pause.
        :return: a handle for ``drop``.
        """
        handle = next(_serials)
        due = clock.monotonic() + seconds / 3
        with self._wakeup:
            self._held[handle] = _Held(backend, lease, seconds, clock, due)
            self._is_new = True
            if self._thread is None:
                self._start()
            elif due < self._wakes_at:
                self._wakeup.notify()
        return handle

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="dogpile-renewer", daemon=True)
        # There are no more threads when the interpreter ends: the lease is
        # not renewed then, and may end before its creation.
        with contextlib.suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def drop(self, handle: int) -> None:
        """Renew a lease no longer."""
        self._held.pop(handle, None)

    def forget(self) -> None:
        """Start anew in the child of a fork: threads do not survive it."""
        self._held = {}
        self._wakeup = threading.Condition()
        self._thread = None

    def renew_due(self) -> float:
        """Renew what is due now.

        :return: seconds until the next one is due.
        """
        pause = _IDLE
        for handle, held in list(self._held.items()):
            left = held.due - held.clock.monotonic()
            if left <= 0:
                left = self._renew(handle, held)
            pause = min(pause, left)
        return pause

    def _renew(self, handle: int, held: _Held) -> float:
        try:
            is_ours = held.backend.renew(held.lease, held.seconds)
        except Exception:  # noqa: BLE001 - the next try may reach the backend
            is_ours = True
        if not is_ours:
            self._held.pop(handle, None)
            return _IDLE
        held.due = held.clock.monotonic() + held.seconds / 3
        return held.seconds / 3

    def _run(self) -> None:
        while True:
            self._is_new = False
            pause = self.renew_due()
            with self._wakeup:
                if self._is_new:
                    continue
                self._wakes_at = SYSTEM_CLOCK.monotonic() + pause
                told = self._wakeup.wait(pause)
                if not told and not self._held:
                    self._thread = None
                    return


class _Held:
    __slots__ = ("backend", "clock", "due", "lease", "seconds")

    def __init__(
        self,
        backend: LeasingBackend,
        lease: Lease,
        seconds: float,
        clock: Clock,
        due: float,
    ) -> None:
        self.backend = backend
        self.lease = lease
        self.seconds = seconds
        self.clock = clock
        self.due = due


# How long the thread waits for more to do before it ends.
_IDLE = 5.0

RENEWER = Renewer()


def pauses() -> Callable[[], float]:
    """Return what gives the pauses between two looks at somebody's lease.

    Short ones first, for creators that are quick; then a fifteenth of the time
    that was waited for already, which is as much as a wait gets longer by them;
    at most 250 ms.
    """
    steps = itertools.chain((0.0005, 0.001), _shares(0.002))
    return lambda: next(steps)


def _shares(shortest: float) -> Iterator[float]:
    waited = 0.0
    while True:
        pause = min(max(waited / 15, shortest), _LONGEST_PAUSE)
        waited += pause
        yield pause


_LONGEST_PAUSE = 0.25


def _after_fork() -> None:
    RENEWER.forget()
    for fence in list(_fences):
        fence.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
