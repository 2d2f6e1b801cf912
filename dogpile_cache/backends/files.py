"""A cache's file: made for its owner alone, and opened only where that holds."""

from __future__ import annotations

import errno
import os
import stat
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

from dogpile.cache.clock import SYSTEM_CLOCK
from dogpile.cache.exception import (
    BackendError,
    BackendUnavailable,
    ConfigurationError,
    UnsafeFile,
)

#: What tells one file from another of the same name: device and inode.
Identity: TypeAlias = tuple[int, int]
Report: TypeAlias = Callable[[str, Mapping[str, Any]], None]

#: Windows keeps files that are in use, and its modes and owners say nothing.
POSIX = os.name == "posix"

_FOREIGN_HANDS = stat.S_IWGRP | stat.S_IWOTH
_OPEN_SAFELY = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_ELSEWHERE = "choose another filename="
_REMEDIES = {
    errno.EACCES: f"{_ELSEWHERE}, or let this user write to it",
    errno.EPERM: f"{_ELSEWHERE}, or let this user write to it",
    errno.EROFS: _ELSEWHERE,
    errno.EISDIR: _ELSEWHERE,
    errno.ENOTDIR: _ELSEWHERE,
    errno.ENAMETOOLONG: _ELSEWHERE,
    errno.ENOSPC: f"make room on the disk, or {_ELSEWHERE}",
}
# Python 3.10 shows of SQLite's errors the text alone.
_REMEDIES_OF_SQLITE = {
    "database or disk is full": _REMEDIES[errno.ENOSPC],
    "attempt to write a readonly database": _REMEDIES[errno.EACCES],
    "unable to open database file": _REMEDIES[errno.EACCES],
}
_BROKEN_KEPT = 9
_TRIES = 8
_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.05


def cache_folder() -> str:
    """Return the folder where this platform keeps a user's caches.

    It is ``dogpile.cache`` in ``$XDG_CACHE_HOME`` or ``~/.cache``, in
    ``~/Library/Caches`` on macOS, in ``%LOCALAPPDATA%`` on Windows.

    :raises ConfigurationError: the user has no home folder.
    """
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser(r"~\AppData\Local")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        if not os.path.isabs(base):
            base = os.path.expanduser("~/.cache")
    if not os.path.isabs(base):
        raise ConfigurationError(
            "this user has no home folder to keep a cache in; "
            'say where with arguments={"filename": ...}'
        )
    return os.path.join(base, "dogpile.cache")


class CacheFile:
    """A cache's file and the kin that lie beside it under longer names.

    Every method that takes an ``operation`` raises :class:`UnsafeFile` where
    somebody else could have written the file, and :class:`BackendError`,
    which names the file, where the system refuses.

    :param path: the file's name; made absolute, ``~`` is understood.
    :param backend: the registered name of the backend, for the errors.
    :param suffixes: of all files that belong to the cache, such as
        ``("", "-wal")``; the first is of the one whose identity counts.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        backend: str,
        suffixes: Sequence[str] = ("",),
    ) -> None:
        self.path: str = os.path.abspath(os.path.expanduser(os.fspath(path)))
        self.folder: str = os.path.dirname(self.path)
        self.backend = backend
        self.suffixes: tuple[str, ...] = tuple(suffixes)
        self._lock_path = self.path + ".lock"

    def prepare(self, operation: str) -> Identity:
        """Make the folder and an empty file where missing, and check them.

        Call it under :meth:`guard`.

        :return: the identity of the file, to compare with later.
        """
        for _ in range(_TRIES):
            self.make_folder(operation)
            if self.identity() is None:
                # Kin of a file that is gone would be taken for the new one's.
                self._remove_kin(operation)
                self._create(operation)
            self.check(operation)
            identity = self.identity()
            if identity is not None:
                return identity
        raise BackendUnavailable(
            self.backend, operation, f"{self.path} is deleted all the time"
        )

    def make_folder(self, operation: str) -> None:
        """Make the folder, 0700, and those above it; refuse an unsafe one."""
        try:
            missing = []
            folder = self.folder
            while not os.path.lexists(folder):
                missing.append(folder)
                folder = os.path.dirname(folder)
            for folder in reversed(missing):
                with suppress(FileExistsError):
                    os.mkdir(folder, 0o700)
            self._check_folder(operation)
        except OSError as error:
            raise self.failure(operation, error, self.folder) from error

    def check(self, operation: str) -> None:
        """Refuse the file, or one of its kin, unless it is the user's alone.

        The files are not opened: closing them would drop the locks that
        SQLite holds on them elsewhere in this process.
        """
        for suffix in self.suffixes:
            path = self.path + suffix
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self.failure(operation, error, path) from error
            self._check_file(operation, path, found)

    def open(
        self, operation: str, suffix: str = "", flags: int = os.O_RDWR | os.O_CREAT
    ) -> int:
        """Open one of the files, 0600 if it is new, and check what was opened.

        :return: the descriptor; the caller closes it.
        """
        path = self.path + suffix
        try:
            descriptor = os.open(path, flags | _OPEN_SAFELY, 0o600)
        except OSError as error:
            with suppress(OSError):
                self._check_file(operation, path, os.lstat(path))
            raise self.failure(operation, error, path) from error
        try:
            self._check_file(operation, path, os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def identity(self) -> Identity | None:
        """Return what tells this file from another, or ``None`` if missing."""
        try:
            found = os.lstat(self.path + self.suffixes[0])
        except OSError:
            return None
        return found.st_dev, found.st_ino

    @contextmanager
    def guard(self, operation: str, seconds: float) -> Iterator[None]:
        """Keep others from opening, making or moving the file meanwhile.

        The folder must be there. It works among threads and processes, and
        ends with its holder.

        :param seconds: how long to wait for it at most.
        :raises BackendUnavailable: others kept it for longer.
        """
        descriptor = self._locked(operation, seconds)
        try:
            yield
        finally:
            # Unlocked by name, for a fork may have doubled the descriptor.
            with suppress(OSError):
                _unlock(descriptor)
            os.close(descriptor)

    def move_aside(self, operation: str) -> str:
        """Rename a broken file and its kin to ``<name>.broken-<number>``.

        Call it under :meth:`guard`. Nine are kept; then the last gives way.

        :return: the new name, without the suffixes.
        """
        for number in range(1, _BROKEN_KEPT + 1):
            aside = f"{self.path}.broken-{number}"
            if not any(os.path.lexists(aside + suffix) for suffix in self.suffixes):
                break
        for suffix in self.suffixes:
            try:
                os.replace(self.path + suffix, aside + suffix)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self.failure(operation, error, self.path + suffix) from error
        return aside

    def tell_broken(
        self, operation: str, aside: str, report: Report | None, stacklevel: int = 2
    ) -> None:
        """Warn, once for each file moved aside, and report it as an event.

        :param stacklevel: whose line the warning names: 1 for the caller's.
        """
        text = (
            f"{self.path} is broken; it was moved to {aside}, and the cache "
            "begins afresh"
        )
        if report is not None:
            error = BackendError(self.backend, operation, text)
            report(
                "backend_error",
                {"backend": self.backend, "operation": operation, "error": error},
            )
        warnings.warn(text, RuntimeWarning, stacklevel=stacklevel + 1)

    def failure(
        self, operation: str, error: Exception, path: str | None = None
    ) -> BackendError:
        """Return the error that names the file, for an error of the system."""
        if isinstance(error, OSError) and error.strerror:
            reason, remedy = error.strerror, _REMEDIES.get(error.errno or 0)
        else:
            reason = str(error) or type(error).__name__
            remedy = _REMEDIES_OF_SQLITE.get(reason)
        told = reason + (f" ({remedy})" if remedy else "")
        return BackendError(self.backend, operation, f"{path or self.path}: {told}")

    def _check_folder(self, operation: str) -> None:
        found = os.stat(self.folder)
        if not stat.S_ISDIR(found.st_mode):
            raise self._unsafe(
                operation, self.folder, f"is not a folder ({_ELSEWHERE})"
            )
        if not POSIX:
            return
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            raise self._unsafe(
                operation,
                self.folder,
                "may be written to by everybody (choose another folder, or take "
                "that right away with chmod o-w)",
            )
        link = os.lstat(self.folder)
        if stat.S_ISLNK(link.st_mode) and link.st_uid not in (0, os.geteuid()):
            raise self._unsafe(
                operation,
                self.folder,
                "is a symbolic link made by another user (name the folder that it "
                "leads to in filename=, if you trust it)",
            )

    def _check_file(self, operation: str, path: str, found: os.stat_result) -> None:
        if stat.S_ISLNK(found.st_mode):
            raise self._unsafe(
                operation,
                path,
                "is a symbolic link, which a cache does not follow (name the file that "
                "it leads to in filename=, or remove the link)",
            )
        if not stat.S_ISREG(found.st_mode):
            raise self._unsafe(operation, path, f"is not a regular file ({_ELSEWHERE})")
        if not POSIX:
            return
        if found.st_uid != os.geteuid():
            raise self._unsafe(
                operation,
                path,
                "belongs to another user (let each user have a file of their own, by "
                "another filename=, or give it to this one with chown)",
            )
        if found.st_mode & _FOREIGN_HANDS:
            raise self._unsafe(
                operation,
                path,
                "may be written to by others (if you trust what is in it, take "
                "that right away with chmod go-w)",
            )

    def _unsafe(self, operation: str, path: str, reason: str) -> UnsafeFile:
        return UnsafeFile(self.backend, operation, f"{path} {reason}")

    def _create(self, operation: str) -> None:
        # It gets its name only when it is closed: closing a file drops every
        # lock that another thread's SQLite has on it by then.
        path = self.path + self.suffixes[0]
        fresh = f"{path}.new-{os.getpid()}"
        try:
            with suppress(FileNotFoundError):
                os.unlink(fresh)
            _make_empty(fresh)
            try:
                os.link(fresh, path)
            finally:
                os.unlink(fresh)
        except FileExistsError:
            return
        except (OSError, AttributeError):
            # Not every file system has links. A real refusal comes again.
            self._create_in_place(operation, path)

    def _create_in_place(self, operation: str, path: str) -> None:
        try:
            _make_empty(path)
        except FileExistsError:
            return
        except OSError as error:
            raise self.failure(operation, error, path) from error

    def _remove_kin(self, operation: str) -> None:
        for suffix in self.suffixes[1:]:
            try:
                os.unlink(self.path + suffix)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self.failure(operation, error, self.path + suffix) from error

    def _locked(self, operation: str, seconds: float) -> int:
        # Real time, whatever clock the cache goes by: others wait in it too.
        deadline = SYSTEM_CLOCK.monotonic() + seconds
        pause = _FIRST_PAUSE
        while True:
            descriptor = self.open(operation, ".lock")
            try:
                if _lock(descriptor) and self._is_the_lock(descriptor):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
            if SYSTEM_CLOCK.monotonic() >= deadline:
                raise BackendUnavailable(
                    self.backend,
                    operation,
                    f"{self._lock_path} was held by others for {seconds:g} s",
                )
            SYSTEM_CLOCK.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _is_the_lock(self, descriptor: int) -> bool:
        # A lock file that was deleted meanwhile keeps nobody out.
        if not POSIX:
            return True
        try:
            return os.path.samestat(os.fstat(descriptor), os.lstat(self._lock_path))
        except FileNotFoundError:
            return False


def _make_empty(path: str) -> None:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPEN_SAFELY
    os.close(os.open(path, flags, 0o600))


def _lock(descriptor: int) -> bool:
    """Lock a file without waiting; return whether it was free."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Where files cannot be locked, their backends' own locks must do.
        return error.errno in _NO_LOCKS_HERE
    return True


def _unlock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_UN)
