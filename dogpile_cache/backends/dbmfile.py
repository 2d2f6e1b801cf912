"""A dbm file that is opened for one operation at a time, under a lock.

A record is its checksum and its bytes. A file whose structure or checksums do
not hold, or whose writer died half-way, is moved aside and begun afresh.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import struct
import tempfile
import zlib
from collections.abc import Callable, MutableMapping
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from importlib import import_module
from typing import Any, Protocol, TypeVar

from dogpile.cache.backends.filelock import FileLock
from dogpile.cache.backends.files import CacheFile, Report
from dogpile.cache.backends.forkgate import ForkGate
from dogpile.cache.exception import BackendError, BackendUnavailable

_T = TypeVar("_T")

# Of all that the dbm modules make: the first are there if a database is.
_MAIN = ("", ".db", ".dat", ".pag")
_SUFFIXES = (*_MAIN, ".dir", ".bak", "-wal", "-shm", "-journal")
_KIN = _SUFFIXES[len(_MAIN) :]
# How long to wait for the lock, which nobody holds for longer than an operation.
_PATIENCE = 30.0
# The system refuses; the file itself may be as good as ever.
_REFUSALS = {
    errno.EACCES,
    errno.EAGAIN,
    errno.EBUSY,
    errno.EFBIG,
    errno.EINTR,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENODEV,
    errno.ENOENT,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.EPERM,
    errno.EROFS,
    getattr(errno, "EDQUOT", errno.ENOSPC),
    getattr(errno, "ESTALE", errno.EIO),
}
# These may be half-written after such an error, even if they could be closed,
# or say nothing of a full disk: it is left some room.
_FRAGILE = {"dbm.gnu", "dbm.ndbm"}
_ROOM = 65_536
_HALF_WRITTEN = {
    errno.EFBIG,
    errno.EIO,
    errno.ENOSPC,
    getattr(errno, "EDQUOT", errno.ENOSPC),
}
# What the lock's file says: a writer is at it, or was, and when.
_WRITING = b"writing"
_QUIET = b"written "
_STAMP_SIZE = 8
# These see to it themselves that a writer's death leaves no traces.
_TRANSACTIONAL = {"dbm.sqlite3"}
# SQLite has locks for the whole process, and connections that no child may use.
_FORK_GATE = ForkGate(0.5)
_GATED = {"dbm.sqlite3"}

_OURS = b"\xd2"
_CHECKSUM = struct.Struct(">I")
_HEAD = len(_OURS) + _CHECKSUM.size
# A 1.x release wrote metadata as JSON first: not for us, but not broken.
_FOREIGN = b"{"


class BrokenFile(BackendError):
    """A dbm file's structure or its records do not hold."""


class Lock(Protocol):
    """What a DBM file asks of its lock."""

    def read(self) -> AbstractContextManager[Any]:
        """Hold the reading side for a ``with`` block."""

    def write(self) -> AbstractContextManager[Any]:
        """Hold the writing side for a ``with`` block."""


def pack(value: bytes) -> bytes:
    """Return a value as a record."""
    return b"".join((_OURS, _CHECKSUM.pack(zlib.crc32(value)), value))


class Table:
    """The records of an open dbm file.

    :param database: the open file, or an empty dictionary in its place.
    :param failed: makes an error of this package from an error of a dbm
        module; told whether the file's structure may be to blame.
    :param reserve: asks for room for so many bytes, before they are written.
    """

    def __init__(
        self,
        database: MutableMapping[bytes, bytes],
        failed: Callable[[Exception, bool], BackendError],
        reserve: Callable[[int], None] | None = None,
    ) -> None:
        self._database = database
        self._failed = failed
        self._reserve = reserve

    def get(self, name: bytes) -> bytes | None:
        """Return the value of a record, ``None`` if there is none.

        :raises BrokenFile: the record is not as it was written.
        """
        try:
            record = self._database[name]
        except KeyError:
            return None
        except Exception as error:  # each dbm module has errors of its own
            raise self._failed(error, True) from error
        value = record[_HEAD:]
        if record[:_HEAD] == _OURS + _CHECKSUM.pack(zlib.crc32(value)):
            return value
        if record.startswith(_FOREIGN):
            return None
        raise self._failed(ValueError("a record's checksum does not hold"), True)

    def put(self, name: bytes, record: bytes) -> None:
        """Write a record that was made by :func:`pack`."""
        if self._reserve is not None:
            self._reserve(len(record))
        try:
            self._database[name] = record
        except Exception as error:  # as above
            # With an errno it is a refusal, of a large value for example.
            is_damage = not getattr(error, "errno", None)
            raise self._failed(error, is_damage) from error

    def remove(self, name: bytes) -> None:
        """Remove a record; it is no error if there is none."""
        try:
            del self._database[name]
        except KeyError:
            return
        except Exception as error:  # as above
            raise self._failed(error, True) from error


class DBMFile:
    """A dbm file of the kind that this Python makes, or that it was made as.

    :param filename: its name; the dbm modules may lengthen it.
    :param backend: the registered name of the backend, for the errors.
    :param lock: what readers share and a writer holds alone.
    """

    def __init__(
        self, filename: str | os.PathLike[str], backend: str, lock: Lock
    ) -> None:
        self._file = CacheFile(filename, backend, _SUFFIXES)
        self._lock = lock
        self._notes = lock if isinstance(lock, FileLock) else None
        self._index: tuple[object, Any] | None = None

    @property
    def path(self) -> str:
        """The file's absolute name."""
        return self._file.path

    def read(
        self, operation: str, action: Callable[[Table], _T], report: Report | None
    ) -> _T:
        """Open the file for reading and act; one that is not there is empty.

        :raises BackendError: the system refuses; it names the file.
        """
        try:
            if not self._exists(operation):
                return action(self._table(operation, {}))
            self._file.make_folder(operation)
            with self._holding(operation, alone=False):
                return self._looked_into(operation, action)
        except BrokenFile:
            # Who mends it must be alone with it, and so looks once more.
            return self.write(operation, action, report)

    def write(
        self, operation: str, action: Callable[[Table], _T], report: Report | None
    ) -> _T:
        """Open the file for writing and act; it is made if it is not there.

        :raises BackendError: the system refuses; it names the file.
        """
        self._file.make_folder(operation)
        aside = None
        try:
            with self._holding(operation, alone=True):
                try:
                    return self._written(operation, action)
                except BrokenFile:
                    aside = self._file.move_aside(operation)
                return self._written(operation, action)
        finally:
            # At the end, for the warning may be an error.
            if aside is not None:
                self._file.tell_broken(operation, aside, report, stacklevel=4)

    def _holding(self, operation: str, *, alone: bool) -> AbstractContextManager[Any]:
        if isinstance(self._lock, FileLock):
            return self._lock.hold(operation, _PATIENCE, alone=alone)
        return self._lock.write() if alone else self._lock.read()

    def _written(self, operation: str, action: Callable[[Table], _T]) -> _T:
        if self._exists(operation):
            self._quiet_note(operation)
        else:
            self._create(operation)
        return self._changed(operation, action)

    def _looked_into(self, operation: str, action: Callable[[Table], _T]) -> _T:
        state = self._state(self._quiet_note(operation))
        self._file.check(operation)
        index = self._index
        if index is not None and index[0] == state:
            return action(self._table(operation, index[1]))
        kind = self._kind(operation)
        with _gate(kind):
            database = self._open(operation, kind, "r")
            if kind == "dbm.dumb" and state is not None:
                # It has no file open, but an index that takes long to parse.
                self._index = state, database
                return action(self._table(operation, database))
            try:
                return action(self._table(operation, database))
            finally:
                self._close(operation, database)

    def _changed(self, operation: str, action: Callable[[Table], _T]) -> _T:
        self._file.check(operation)
        kind = self._kind(operation)
        with _gate(kind):
            return self._changed_as(kind, operation, action)

    def _changed_as(
        self, kind: str, operation: str, action: Callable[[Table], _T]
    ) -> _T:
        database = self._open(operation, kind, "w")
        is_whole = True
        try:
            self._note(operation, _QUIET if kind in _TRANSACTIONAL else _WRITING)
            reserve = partial(self._reserve, operation) if kind in _FRAGILE else None
            return action(self._table(operation, database, reserve))
        except BackendError as error:
            number = getattr(error.__cause__, "errno", None)
            is_whole = kind not in _FRAGILE or number not in _HALF_WRITTEN
            raise
        finally:
            self._close(operation, database)
            if is_whole:
                self._note(operation, _QUIET + os.urandom(_STAMP_SIZE).hex().encode())

    def _table(
        self,
        operation: str,
        database: Any,
        reserve: Callable[[int], None] | None = None,
    ) -> Table:
        return Table(database, partial(self._failure, operation), reserve)

    def _reserve(self, operation: str, size: int) -> None:
        try:
            found = os.statvfs(os.path.dirname(self.path))
        except (AttributeError, OSError):
            return  # not known here
        if found.f_bavail * found.f_frsize < 2 * size + _ROOM:
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise self._file.failure(operation, error)

    def _state(self, note: bytes) -> object:
        """Return what changes when the index of a dbm.dumb does, if known."""
        if len(note) <= len(_QUIET):
            return None
        try:
            found = os.lstat(self.path + ".dir")
        except OSError:
            return None
        return note, found.st_ino, found.st_mtime_ns, found.st_size

    def _kind(self, operation: str) -> str:
        import dbm

        kind = dbm.whichdb(self.path)
        if kind:
            return kind
        for suffix in _MAIN:
            # It says the same where the system did not let it look.
            try:
                with suppress(FileNotFoundError):
                    os.close(os.open(self.path + suffix, os.O_RDONLY))
            except OSError as error:
                raise self._failure(operation, error, True) from error
        raise self._failure(operation, ValueError("no dbm module knows it"), True)

    def _open(
        self, operation: str, kind: str, flag: str
    ) -> Any:  # the modules' classes have no common name
        try:
            module = import_module(kind)
        except ImportError as error:
            raise BackendUnavailable(
                self._file.backend,
                operation,
                f"{self.path} was made by {kind}, which this Python lacks",
            ) from error
        try:
            return module.open(self.path, flag, 0o600)
        except Exception as error:  # each dbm module has errors of its own
            raise self._failure(operation, error, True) from error

    def _close(self, operation: str, database: Any) -> None:
        try:
            database.close()
        except Exception as error:  # as above
            raise self._failure(operation, error, True) from error

    def _create(self, operation: str) -> None:
        # In a folder of our own first: the dbm modules follow symbolic links
        # that somebody may have put where the file is to be.
        import dbm

        folder, base = os.path.split(self.path)
        try:
            self._remove_kin()
            fresh = tempfile.mkdtemp(prefix=f"{base}.new-", dir=folder)
            try:
                with _FORK_GATE:  # as whatever kind it is made
                    dbm.open(os.path.join(fresh, base), "n", 0o600).close()
                for name in sorted(os.listdir(fresh)):
                    os.chmod(os.path.join(fresh, name), 0o600)
                    os.replace(os.path.join(fresh, name), os.path.join(folder, name))
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
        except OSError as error:
            raise self._file.failure(operation, error) from error

    def _remove_kin(self) -> None:
        for suffix in _KIN:
            # They would be taken for the new file's.
            with suppress(FileNotFoundError):
                os.unlink(self.path + suffix)

    def _exists(self, operation: str) -> bool:
        for suffix in _MAIN:
            try:
                found = os.lstat(self.path + suffix)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise self._file.failure(operation, error) from error
            # An empty file is what programs make to have a name.
            if suffix or found.st_size or not stat.S_ISREG(found.st_mode):
                return True
        return False

    def _quiet_note(self, operation: str) -> bytes:
        """Return the note of the last writer.

        :raises BrokenFile: it died before it was done.
        """
        note = self._notes.note if self._notes is not None else b""
        if note.startswith(_WRITING):
            error = ValueError("its writer died half-way")
            raise self._failure(operation, error, True)
        return note

    def _note(self, operation: str, note: bytes) -> None:
        if self._notes is None:
            return
        try:
            self._notes.note = note
        except OSError as error:
            raise self._file.failure(operation, error) from error

    def _failure(
        self, operation: str, error: Exception, is_damage: bool
    ) -> BackendError:
        if is_damage and not _is_refusal(error):
            reason = f"{self.path}: {type(error).__name__}: {error}"
            return BrokenFile(self._file.backend, operation, reason)
        return self._file.failure(operation, error)


def _gate(kind: str) -> AbstractContextManager[Any]:
    return _FORK_GATE if kind in _GATED else nullcontext()


def _is_refusal(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in _REFUSALS:
        return True
    # What dbm.sqlite3 says of a locked file, a full disk, another's tables.
    return type(error.__context__).__name__ == "OperationalError" or isinstance(
        error, MemoryError
    )
