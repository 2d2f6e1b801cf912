"""A lock that is a file: shared by readers, or kept by one writer alone."""

from __future__ import annotations

import errno
import os
import struct
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dogpile.cache.backends.files import POSIX, CacheFile
from dogpile.cache.clock import SYSTEM_CLOCK
from dogpile.cache.exception import BackendError, BackendUnavailable, UnsafeFile

_BACKEND = "dogpile.cache.dbm"
_BUSY = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}
_NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}
# Windows keeps others from reading a locked byte: lock one that nobody reads.
_LOCKED_BYTE = 1 << 30
_FIRST_PAUSE = 0.0002
_LONGEST_PAUSE = 0.01
# In the lock's file: the note, and after it when a writer last wished to write.
_LONGEST_NOTE = 64
_WISH = struct.Struct(">d")
# A wish is renewed more often than that. Readers give way to it, for shared
# locks that follow upon each other would keep a writer out for ever.
_WISH_HOLDS = 0.05
_GIVE_WAY = 0.25


class AbstractFileLock:
    """A lock with a reading and a writing side; subclass it for your own.

    It is given the name of a file, which it need not use, and must work among
    threads. Used as a mutex (``acquire``, ``release``) it is its writing side.

    :param filename: a name for a lock file.
    """

    def __init__(self, filename: str) -> None:
        raise NotImplementedError(f"{type(self).__name__}.__init__")

    def acquire(self, wait: bool = True) -> bool:
        """Take the writing side.

        :param wait: whether to wait until it is free.
        :return: whether it was taken.
        """
        return bool(self.acquire_write_lock(wait))

    def release(self) -> None:
        """Give the writing side back."""
        self.release_write_lock()

    @contextmanager
    def read(self) -> Iterator[None]:
        """Hold the reading side for a ``with`` block."""
        self.acquire_read_lock(True)
        try:
            yield
        finally:
            self.release_read_lock()

    @contextmanager
    def write(self) -> Iterator[None]:
        """Hold the writing side for a ``with`` block."""
        self.acquire_write_lock(True)
        try:
            yield
        finally:
            self.release_write_lock()

    @property
    def is_open(self) -> bool:
        """Whether this thread holds one of the sides; may be left out."""
        raise NotImplementedError(f"{type(self).__name__}.is_open")

    def acquire_read_lock(self, wait: bool) -> bool | None:
        """Take the reading side, beside others who read."""
        raise NotImplementedError(f"{type(self).__name__}.acquire_read_lock")

    def acquire_write_lock(self, wait: bool) -> bool | None:
        """Take the writing side, alone."""
        raise NotImplementedError(f"{type(self).__name__}.acquire_write_lock")

    def release_read_lock(self) -> None:
        """Give the reading side back."""
        raise NotImplementedError(f"{type(self).__name__}.release_read_lock")

    def release_write_lock(self) -> None:
        """Give the writing side back."""
        raise NotImplementedError(f"{type(self).__name__}.release_write_lock")


class FileLock(AbstractFileLock):
    """A lock among threads and processes that ends with its holder.

    The file is made when it is first taken; it may be deleted while nobody
    holds it. Where the platform has no shared locks (Windows), readers exclude
    each other too. A thread that holds it must not wait for it again.

    :param filename: the name of the lock file.
    """

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self._file = CacheFile(filename, _BACKEND)
        self._held: dict[int, int] = {}
        self._opened: set[int] = set()
        _locks.add(self)

    @property
    def is_open(self) -> bool:
        """Whether this thread holds one of the sides."""
        return threading.get_ident() in self._held

    @contextmanager
    def hold(self, operation: str, seconds: float, *, alone: bool) -> Iterator[None]:
        """Hold one of the sides for a ``with`` block.

        :param operation: what it is held for, for the errors.
        :param seconds: how long to wait for it at most.
        :param alone: whether it is the writing side.
        :raises BackendUnavailable: others kept it for longer.
        """
        try:
            is_taken = self._acquire(operation, seconds, alone=alone)
        except BackendError as error:
            # Nobody writes where not even the lock's file can be made.
            if alone or not isinstance(error.__cause__, FileNotFoundError):
                raise
            is_taken = True
        if not is_taken:
            raise BackendUnavailable(
                _BACKEND,
                operation,
                f"{self._file.path} was held by others for {seconds:g} s",
            )
        try:
            yield
        finally:
            self._release()

    def acquire_read_lock(self, wait: bool) -> bool:
        """Take the reading side, beside others who read."""
        return self._acquire("lock", None if wait else 0.0, alone=False)

    def acquire_write_lock(self, wait: bool) -> bool:
        """Take the writing side, alone."""
        return self._acquire("lock", None if wait else 0.0, alone=True)

    def release_read_lock(self) -> None:
        """Give the reading side back."""
        self._release()

    def release_write_lock(self) -> None:
        """Give the writing side back."""
        self._release()

    @property
    def note(self) -> bytes:
        """A few bytes in the lock's file, at most 64, for who holds it next.

        Read and write it while holding the lock: it outlives its writer, and
        so it can tell that one died half-way. Empty at first.
        """
        descriptor = self._held.get(threading.get_ident())
        if descriptor is None:
            return b""
        os.lseek(descriptor, 0, os.SEEK_SET)
        return os.read(descriptor, _LONGEST_NOTE).rstrip(b"\0")

    @note.setter
    def note(self, note: bytes) -> None:
        descriptor = self._held[threading.get_ident()]
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, note.ljust(_LONGEST_NOTE, b"\0"))

    def forget(self) -> None:
        """Hold nothing any more, in the child of a fork: the parent does."""
        for descriptor in self._opened:
            # Not unlocked: lock and unlock are of the parent, too.
            with suppress(OSError):
                os.close(descriptor)
        self._opened = set()
        self._held = {}

    def _acquire(self, operation: str, seconds: float | None, *, alone: bool) -> bool:
        deadline = None if seconds is None else SYSTEM_CLOCK.monotonic() + seconds
        while True:
            descriptor = self._open(operation, alone=alone)
            self._opened.add(descriptor)
            try:
                if not _locked_by(descriptor, deadline, alone=alone):
                    self._close(descriptor)
                    return False
                if self._is_the_lock(descriptor):
                    self._held[threading.get_ident()] = descriptor
                    return True
            except OSError as error:
                self._close(descriptor)
                raise self._file.failure(operation, error) from error
            except BaseException:
                self._close(descriptor)
                raise
            self._close(descriptor)

    def _open(self, operation: str, *, alone: bool) -> int:
        try:
            return self._file.open(operation)
        except UnsafeFile:
            raise
        except BackendError as error:
            cause = error.__cause__
            # Who may only read can share the lock of those who write.
            if alone or getattr(cause, "errno", None) not in _READ_ONLY:
                raise
            return self._file.open(operation, flags=os.O_RDONLY)

    def _is_the_lock(self, descriptor: int) -> bool:
        # A lock file that was deleted meanwhile keeps nobody out.
        if not POSIX:
            return True
        try:
            there = os.lstat(self._file.path)
        except FileNotFoundError:
            return False
        return os.path.samestat(os.fstat(descriptor), there)

    def _release(self) -> None:
        descriptor = self._held.pop(threading.get_ident(), None)
        if descriptor is None:
            return
        # By name, for a fork may have doubled the descriptor.
        with suppress(OSError):
            _unlock(descriptor)
        self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        self._opened.discard(descriptor)
        os.close(descriptor)


class ThreadLock(AbstractFileLock):
    """A lock among the threads of this process alone; makes no file.

    :param filename: not used.
    """

    def __init__(self, filename: str = "") -> None:
        self._mutex = threading.Lock()
        _locks.add(self)

    def acquire_read_lock(self, wait: bool) -> bool:
        """Take the lock: readers exclude each other, too."""
        return self._mutex.acquire(wait)

    def acquire_write_lock(self, wait: bool) -> bool:
        """Take the lock."""
        return self._mutex.acquire(wait)

    def release_read_lock(self) -> None:
        """Give the lock back."""
        self._mutex.release()

    def release_write_lock(self) -> None:
        """Give the lock back."""
        self._mutex.release()

    def forget(self) -> None:
        """Be free, in the child of a fork."""
        self._mutex = threading.Lock()


def _locked_by(descriptor: int, deadline: float | None, *, alone: bool) -> bool:
    # Real time, whatever clock the cache goes by: others wait in it too.
    waits = deadline is None or SYSTEM_CLOCK.monotonic() < deadline
    if waits and not alone:
        _give_way(descriptor)
    if _lock(descriptor, alone=alone, wait=deadline is None and POSIX):
        return True
    pause = _FIRST_PAUSE
    while True:
        now = SYSTEM_CLOCK.monotonic()
        if deadline is not None and now >= deadline:
            return False
        if alone:
            _wish(descriptor, now)
        SYSTEM_CLOCK.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
        if _lock(descriptor, alone=alone, wait=False):
            if alone:
                _wish(descriptor, -_WISH_HOLDS)
            return True


def _wish(descriptor: int, now: float) -> None:
    # Only a courtesy: a full disk must not keep a reader's file from being read.
    with suppress(OSError):
        os.lseek(descriptor, _LONGEST_NOTE, os.SEEK_SET)
        os.write(descriptor, _WISH.pack(now))


def _give_way(descriptor: int) -> None:
    end = None
    while True:
        os.lseek(descriptor, _LONGEST_NOTE, os.SEEK_SET)
        wish = os.read(descriptor, _WISH.size)
        if len(wish) < _WISH.size:
            return
        now = SYSTEM_CLOCK.monotonic()
        if end is None:
            end = now + _GIVE_WAY
        if now >= end or not 0 <= now - _WISH.unpack(wish)[0] < _WISH_HOLDS:
            return
        SYSTEM_CLOCK.sleep(_FIRST_PAUSE)


def _lock(descriptor: int, *, alone: bool, wait: bool) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            side = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
            fcntl.flock(descriptor, side if wait else side | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        # Where files cannot be locked, threads and processes share unguarded.
        if error.errno in _NO_LOCKS_HERE:
            return True
        raise
    return True


def _unlock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _after_fork() -> None:
    for lock in list(_locks):
        lock.forget()


_locks: weakref.WeakSet[FileLock | ThreadLock] = weakref.WeakSet()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
