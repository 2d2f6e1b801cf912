"""Connections to one SQLite file: opened safely, mended, never kept over a fork."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, SupportsIndex, TypeVar

from dogpile.cache.backends.files import CacheFile, Identity
from dogpile.cache.clock import SYSTEM_CLOCK
from dogpile.cache.exception import (
    BackendError,
    BackendUnavailable,
    ValueTooLarge,
)

T = TypeVar("T")

#: The file itself, and what SQLite lays beside it.
SUFFIXES = ("", "-wal", "-shm", "-journal")

# SQLite's own waiting gets long and unfair: short waits, and many of them.
_SHORT_WAIT = 0.02
_PAUSE = 0.001
_IDLE_KEPT = 8
_DRAIN = 1.0
_DRAIN_FOR_FORK = 0.5
_WAL_KEPT = 16 * 1024 * 1024
# Of a connection, in KiB: SQLite counts bytes where it is negative.
_PAGES_KEPT = -4096
_RESTARTS = 8


class Link:
    """One connection; who took it is alone with it until it is given back.

    :param connection: in autocommit mode.
    :param identity: of the file that it is connected to.
    """

    __slots__ = (
        "__weakref__",
        "_cursor",
        "connection",
        "execute",
        "executemany",
        "identity",
    )

    def __init__(self, connection: sqlite3.Connection, identity: Identity) -> None:
        self.connection: sqlite3.Connection = connection
        self.identity: Identity = identity
        # One cursor for all: to make one takes as long as a third of a read.
        cursor = connection.cursor()
        self.execute: Callable[..., sqlite3.Cursor] = cursor.execute
        self.executemany: Callable[..., sqlite3.Cursor] = cursor.executemany
        self._cursor = cursor

    def close(self) -> None:
        """Close it; what it has not committed is undone."""
        with suppress(sqlite3.Error):
            # First, for SQLite keeps the file open as long as a statement lives.
            self._cursor.close()
            self.connection.close()


class SqliteFile:
    """A file and the connections to it.

    Take an idle connection (``idle.pop()``) and give it back with
    ``idle.append()``; or let :meth:`run` see to it, and to all that may fail.

    :param file: where it lies.
    :param set_up: makes the tables in a new file, and checks an old one; called
        with a connection, the backend's name and the file's.
    :param tell_broken: called with the operation and the new name of a file
        that was moved aside.
    :param synchronous: SQLite's setting of this name.
    :param timeout: seconds to wait for others' locks.
    """

    def __init__(
        self,
        file: CacheFile,
        set_up: Callable[[sqlite3.Connection, str, str], None],
        tell_broken: Callable[[str, str], None],
        *,
        synchronous: str,
        timeout: float,
    ) -> None:
        self.idle: list[Link] = []
        # What is left of it when nobody refers to this object any more.
        self._rest = [self.idle]
        self.name: str = file.backend
        self.path: str = file.path
        self.timeout = timeout
        self._file = file
        self._set_up = set_up
        self._tell_broken = tell_broken
        self._synchronous = synchronous
        # Weakly: one that an interrupted thread lost is nobody's to wait for.
        self._links: weakref.WeakSet[Link] = weakref.WeakSet()
        self._opening = threading.Lock()
        self._held_for_fork = False
        weakref.finalize(self, _close_all, self._rest)
        _files.add(self)

    def run(self, operation: str, work: Callable[[Link], T]) -> T:
        """Do some work with a connection, and again where that may help.

        It is repeated, from its beginning, where others hold a lock, where
        the file was broken, and where it was deleted or replaced meanwhile.

        :param work: called with a connection that is in no transaction.
        :raises BackendUnavailable: others held a lock for too long.
        :raises BackendError: anything else that SQLite or the system refuse.
        """
        trial = _Trial(self, operation)
        while True:
            link = self._take(trial)
            try:
                result = work(link)
            except sqlite3.Error as error:
                trial.recover(link, error)
                continue
            except OverflowError as error:
                self.drop(link)
                raise ValueTooLarge(
                    self.name, operation, "more bytes than SQLite takes"
                ) from error
            except BaseException:
                self.drop(link)
                raise
            if self.is_current(link):
                self.idle.append(link)
                return result
            trial.restart(link)

    def is_current(self, link: Link) -> bool:
        """Return whether the file of a connection still bears its name."""
        return self._file.identity() == link.identity

    def drop(self, link: Link) -> None:
        """Close a connection; what it has not committed is undone."""
        self._links.discard(link)
        link.close()

    def keep_or_drop(self, link: Link, error: BaseException) -> None:
        """Give a connection back if only others' locks were in its way."""
        if isinstance(error, sqlite3.Error) and _is_busy(error):
            try:
                link.connection.rollback()
            except sqlite3.Error:
                self.drop(link)
            else:
                self.idle.append(link)
        else:
            self.drop(link)

    def trim(self) -> None:
        """Close one of the idle connections where a crowd left many."""
        if len(self.idle) > _IDLE_KEPT:
            with suppress(IndexError):
                self.drop(self.idle.pop(0))

    def close(self) -> None:
        """Close all connections, waiting a second for those in use."""
        with self._opening:
            self._drain(_DRAIN)

    def move_aside(self, link: Link, operation: str) -> None:
        """Give way to a new file, unless somebody else did that already."""
        self.drop(link)
        aside = None
        with self._opening:
            self._drain(_DRAIN)
            self._file.make_folder(operation)
            with self._file.guard(operation, self.timeout):
                if self._file.identity() == link.identity:
                    aside = self._file.move_aside(operation)
        if aside is not None:
            self._tell_broken(operation, aside)

    def failure(self, operation: str, error: sqlite3.Error) -> BackendError:
        """Return the error that names the file, for an error of SQLite."""
        return self._file.failure(operation, error)

    def _take(self, trial: _Trial) -> Link:
        while True:
            try:
                return self.idle.pop()
            except IndexError:
                self._open(trial)

    def _open(self, trial: _Trial) -> None:
        """Add an idle connection."""
        aside = None
        with self._opening:
            if self.idle:
                return
            try:
                self._file.make_folder(trial.operation)
                with self._file.guard(trial.operation, self.timeout):
                    try:
                        link = self._connect(trial.operation)
                    except sqlite3.Error as error:
                        if not _is_broken(error):
                            raise
                        aside = self._file.move_aside(trial.operation)
                        link = self._connect(trial.operation)
            except sqlite3.Error as error:
                trial.wait_or_raise(error)
                return
            if link is None:
                trial.count_restart()
                return
            self._links.add(link)
            self.idle.append(link)
        if aside is not None:
            self._tell_broken(trial.operation, aside)

    def _connect(self, operation: str) -> Link | None:
        """Open the file; ``None`` where it was exchanged meanwhile."""
        identity = self._file.prepare(operation)
        connection = sqlite3.connect(
            self.path,
            timeout=min(self.timeout, _SHORT_WAIT),
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            # Names of an enumeration and a constant: SQL knows no parameters here.
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT}")
            connection.execute(f"PRAGMA cache_size = {_PAGES_KEPT}")
            self._set_up(connection, self.name, self.path)
            if not self._is_what_was_checked(operation, connection, identity):
                connection.close()
                return None
        except sqlite3.Error:
            connection.close()
            if self._file.identity() != identity:
                return None
            raise
        except BaseException:
            connection.close()
            raise
        return Link(connection, identity)

    def _is_what_was_checked(
        self, operation: str, connection: sqlite3.Connection, identity: Identity
    ) -> bool:
        """Say whether these files are those that SQLite has opened."""
        self._file.check(operation)
        [mode] = connection.execute("PRAGMA journal_mode").fetchone()
        is_whole = mode != "wal" or os.path.lexists(self.path + "-wal")
        return is_whole and self._file.identity() == identity

    def _drain(self, seconds: float) -> None:
        """Close all connections; call it with ``_opening`` held."""
        deadline = SYSTEM_CLOCK.monotonic() + seconds
        # Nobody takes another one meanwhile, or busy threads would never end.
        idle, gate = self.idle, _Gate()
        self._exchange_idle(gate)
        while self._links:
            try:
                link = list.pop(idle or gate)
            except IndexError:
                if SYSTEM_CLOCK.monotonic() >= deadline:
                    break
                SYSTEM_CLOCK.sleep(_PAUSE)
            else:
                self.drop(link)
        self._exchange_idle([])

    def _exchange_idle(self, idle: list[Link]) -> None:
        self._rest[0] = self.idle = idle

    def before_fork(self) -> None:
        """Close all: what SQLite knows about its locks must not be inherited."""
        if self._opening.acquire(timeout=_DRAIN):
            self._held_for_fork = True
        self._drain(_DRAIN_FOR_FORK)

    def after_fork_in_parent(self) -> None:
        """Let connections be opened again."""
        if self._held_for_fork:
            self._held_for_fork = False
            self._opening.release()

    def after_fork_in_child(self) -> None:
        """Begin anew; connections that could not be closed are never touched."""
        _inherited.extend([*self._links, self.idle])
        self._exchange_idle([])
        self._links = weakref.WeakSet()
        self._opening = threading.Lock()
        self._held_for_fork = False


class _Gate(list[Link]):
    """Takes connections back, and hands out none."""

    def pop(self, _index: SupportsIndex = -1) -> Link:
        raise IndexError


class _Trial:
    """One operation, and what was already done to make it succeed."""

    __slots__ = ("_deadline", "_file", "_is_mended", "_restarts", "operation")

    def __init__(self, file: SqliteFile, operation: str) -> None:
        self.operation = operation
        self._file = file
        self._deadline: float | None = None
        self._is_mended = False
        self._restarts = 0

    def recover(self, link: Link, error: sqlite3.Error) -> None:
        """Do what lets the work be repeated, or raise."""
        if not self._file.is_current(link):
            self.restart(link)
        elif _is_busy(error):
            self._file.keep_or_drop(link, error)
            self.wait_or_raise(error)
        elif _is_broken(error) and not self._is_mended:
            self._is_mended = True
            self._file.move_aside(link, self.operation)
        elif "disk I/O error" in str(error) and not self._restarts:
            # A connection may be broken where its file is not.
            self.restart(link)
        else:
            self._file.drop(link)
            self.wait_or_raise(error)

    def restart(self, link: Link) -> None:
        """Close the connections to a file that is gone."""
        self._file.drop(link)
        self._file.close()
        self.count_restart()

    def count_restart(self) -> None:
        """Raise where the file is another one each time."""
        self._restarts += 1
        if self._restarts > _RESTARTS:
            raise BackendUnavailable(
                self._file.name, self.operation, "its file is replaced all the time"
            )

    def wait_or_raise(self, error: sqlite3.Error) -> None:
        """Wait for a lock that others have; raise any other error."""
        if isinstance(error, sqlite3.DataError):
            raise ValueTooLarge(
                self._file.name, self.operation, "more bytes than SQLite takes"
            ) from error
        if not _is_busy(error):
            raise self._file.failure(self.operation, error) from error
        now = SYSTEM_CLOCK.monotonic()
        if self._deadline is None:
            self._deadline = now + self._file.timeout
        if now >= self._deadline:
            raise BackendUnavailable(
                self._file.name,
                self.operation,
                f"{self._file.path} was locked by others for {self._file.timeout:g} s",
            ) from error
        SYSTEM_CLOCK.sleep(_PAUSE)


def _is_busy(error: sqlite3.Error) -> bool:
    # By their words: Python 3.10 does not tell SQLite's codes.
    text = str(error)
    return "is locked" in text or text == "locking protocol"


def _is_broken(error: sqlite3.Error) -> bool:
    if type(error) is sqlite3.DatabaseError:
        return True
    text = str(error)
    return "no such table" in text or text.startswith("Could not decode")


def _close_all(rest: list[list[Link]]) -> None:
    while rest[0]:
        rest[0].pop().close()


def _before_fork() -> None:
    for file in sorted(_files, key=id):
        file.before_fork()


def _after_fork_in_parent() -> None:
    for file in list(_files):
        file.after_fork_in_parent()


def _after_fork_in_child() -> None:
    for file in list(_files):
        file.after_fork_in_child()


_files: weakref.WeakSet[SqliteFile] = weakref.WeakSet()
# Closing one would undo what the parent's threads were doing, or wait for them.
_inherited: list[Any] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
