"""The embedded default: a cache in one SQLite file, shared by many processes."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from dogpile.cache.api import (
    NO_VALUE,
    RECORD_PREFIX,
    BackendArguments,
    BackendSetType,
    BytesBackend,
    Capabilities,
    KeyType,
    Lease,
    LeasingBackend,
    SerializedReturnType,
)
from dogpile.cache.backends.files import CacheFile, cache_folder
from dogpile.cache.backends.sqlite_file import SUFFIXES, Link, SqliteFile
from dogpile.cache.backends.sqlite_tables import (
    GET,
    PUT,
    Native,
    Row,
    Tables,
    Wish,
    size_of,
)
from dogpile.cache.clock import SYSTEM_CLOCK
from dogpile.cache.exception import (
    BackendError,
    ConfigurationError,
    ValidationError,
    ValueTooLarge,
)

_NAME = "dogpile.cache.sqlite"
# The first that knows ON CONFLICT DO UPDATE.
_OLDEST_SQLITE = (3, 24)
_SYNCHRONOUS = ("off", "normal", "full")
_TIMEOUT = 5.0
# Seconds after which a reader looks whether the file still bears its name.
_GLANCE = 0.1
# A look after a write takes as long as a third of it. So many writes without a
# lull (seconds) between them have one each, and those that follow once in so many
# seconds: what is written to a file that is gone is gone with it, as if it had
# been deleted a moment later. To make a new file takes longer.
_LULL = 0.01
_ALL_LOOKED_AT = 16
_BETWEEN_LOOKS = 0.001
# Of so many writes one looks for entries that have lapsed.
_WALK_EVERY = 256
# Where one look finds more than this, the next write looks on.
_MANY = 8
_BIGGEST = 2**63 - 1
# What the long way sees to, where the short one fails.
_MENDED = (sqlite3.Error, OSError, OverflowError, UnicodeEncodeError)


class SqliteBackend(BytesBackend, LeasingBackend):
    """Keeps values in an SQLite file, for all processes of one machine.

    Keys are strings, bytes or integers.

    :param arguments: ``filename``, else ``default.sqlite`` in the platform's
        cache folder; ``max_entries`` and ``max_bytes`` (of keys and values),
        beyond which the entries written longest ago are evicted (a read does
        not count: it would make a write of each hit); ``synchronous``:
        ``"normal"``, ``"off"``, or ``"full"``, which alone keeps the last
        writes when the machine loses its power; ``timeout``: seconds to wait
        for the locks of other processes.
    :raises ValidationError: an argument is of no use.
    :raises ConfigurationError: this Python's SQLite is too old.
    """

    capabilities: Capabilities = Capabilities(
        leases=True, scope="machine", lasting=True, ttl=True, multi=True
    )
    argument_names: frozenset[str] = frozenset(
        {"filename", "max_entries", "max_bytes", "synchronous", "timeout"}
    )

    def __init__(self, arguments: BackendArguments) -> None:
        super().__init__(arguments)
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise ConfigurationError(
                f"{_NAME} needs SQLite 3.24 or later; this Python has "
                f"{sqlite3.sqlite_version}"
            )
        self._max_bytes = _limit(arguments, "max_bytes")
        self._tables = Tables(
            self._now,
            max_entries=_limit(arguments, "max_entries"),
            max_bytes=self._max_bytes,
        )
        self._cache_file = CacheFile(_filename(arguments), _NAME, SUFFIXES)
        self._file = SqliteFile(
            self._cache_file,
            self._tables.set_up,
            self._tell_broken,
            synchronous=_synchronous(arguments),
            timeout=_timeout(arguments),
        )
        self.filename: str = self._file.path
        self._is_bounded = self._tables.is_bounded
        self._looked = 0.0
        self._wrote = self._saw = -_LULL
        self._in_a_row = 0
        # The first write looks: some processes do not write more.
        self._writes = -1

    def get_serialized(self, key: KeyType) -> SerializedReturnType:
        """Return the bytes stored under the key, or :data:`NO_VALUE`."""
        if key.__class__ is not str:
            return self._get(key)
        try:
            link = self._file.idle.pop()
        except IndexError:
            return self._get(key)
        try:
            row = link.execute(GET, (key,)).fetchone()
        except BaseException as error:
            self._file.keep_or_drop(link, error)
            if isinstance(error, _MENDED):
                return self._get(key)
            raise
        self._file.idle.append(link)
        now = self.clock.source.time()
        if not -_GLANCE < now - self._looked < _GLANCE and self._is_gone(link, now):
            return self._get(key)
        if row is None:
            return NO_VALUE
        value, ends = row
        if ends is not None and ends <= now:
            return NO_VALUE
        return value  # type: ignore[no-any-return]  # the column holds bytes

    def get_serialized_multi(
        self, keys: Sequence[KeyType]
    ) -> Sequence[SerializedReturnType]:
        """Return the bytes stored under each key, in their order."""
        if not keys:
            return []
        natives = [_native(key) for key in keys]
        found = self._file.run("get_multi", partial(self._tables.read, natives))
        return [found.get(native, NO_VALUE) for native in natives]

    def set_serialized(
        self, key: KeyType, value: bytes, ttl: float | None = None
    ) -> None:
        """Store bytes under the key, and void its lease.

        :param ttl: seconds after which they are gone.
        """
        if (
            key.__class__ is not str
            or self._is_bounded
            or key.startswith(RECORD_PREFIX)
        ):
            return self._set("set", [(key, value)], ttl)
        ends = None if ttl is None else self.clock.source.time() + ttl
        try:
            link = self._file.idle.pop()
        except IndexError:
            return self._set("set", [(key, value)], ttl)
        try:
            link.execute(PUT, (key, value, ends))
            # Not written into the void? Only a look after the write can tell.
            now = SYSTEM_CLOCK.source.monotonic()
            in_a_row = self._in_a_row + 1 if now - self._wrote < _LULL else 0
            self._wrote, self._in_a_row = now, in_a_row
            is_gone = False
            if in_a_row < _ALL_LOOKED_AT or now - self._saw > _BETWEEN_LOOKS:
                is_gone = os.lstat(self.filename).st_ino != link.identity[1]
                self._saw = now
        except BaseException as error:
            self._file.keep_or_drop(link, error)
            if isinstance(error, _MENDED):
                return self._set("set", [(key, value)], ttl)
            raise
        self._file.idle.append(link)
        if is_gone:
            return self._set("set", [(key, value)], ttl)
        self._writes += 1
        if not self._writes % _WALK_EVERY:
            self._walk()
        return None

    def set_serialized_multi(
        self, mapping: Mapping[KeyType, bytes], ttl: float | None = None
    ) -> None:
        """Store the bytes of each key, or of none, and void the keys' leases.

        :param ttl: seconds after which they are gone.
        """
        if mapping:
            self._set("set_multi", mapping.items(), ttl)

    def delete(self, key: KeyType) -> None:
        """Remove the value, and void its lease."""
        self._file.run("delete", partial(self._tables.delete, [_native(key)]))
        self._count_write()

    def delete_multi(self, keys: Sequence[KeyType]) -> None:
        """Remove the values of all the keys, and void their leases."""
        if keys:
            natives = [_native(key) for key in keys]
            self._file.run("delete_multi", partial(self._tables.delete, natives))
            self._count_write()

    def lease(
        self,
        key: KeyType,
        seconds: float,
        *,
        after: str | None = None,
        steal: bool = False,
    ) -> Lease:
        """Ask for the right to create the value of a key, and read the key."""
        wish = Wish({_native(key): key}, seconds, after, steal)
        [lease] = self._file.run("lease", partial(self._tables.lease, wish))
        return lease

    def lease_multi(self, keys: Sequence[KeyType], seconds: float) -> list[Lease]:
        """Ask for the leases of many keys, in one transaction."""
        if not keys:
            return []
        wish = Wish({_native(key): key for key in keys}, seconds)
        leases = self._file.run("lease_multi", partial(self._tables.lease, wish))
        by_key = dict(zip(wish.keys, leases, strict=True))
        return [by_key[_native(key)] for key in keys]

    def renew(self, lease: Lease, seconds: float) -> bool:
        """Let a lease end later; return whether it is still the caller's."""
        native = _native(lease.key)
        step = partial(self._tables.renew, native, lease.token, seconds)
        return self._file.run("renew", step)

    def commit(
        self, lease: Lease, value: BackendSetType, *, ttl: float | None = None
    ) -> bool:
        """Store the created value and end the lease, in one step.

        :return: False where the lease was voided, stolen or has ended.
        """
        [is_kept] = self._commit("commit", [(lease, value)], ttl)
        return is_kept

    def commit_multi(
        self,
        values: Sequence[tuple[Lease, BackendSetType]],
        *,
        ttl: float | None = None,
    ) -> list[bool]:
        """Store many created values, in one transaction."""
        return self._commit("commit_multi", values, ttl) if values else []

    def release(self, lease: Lease, failure: bytes | None = None) -> None:
        """End a lease without a value."""
        self._release("release", [lease], failure)

    def release_multi(
        self, leases: Sequence[Lease], failure: bytes | None = None
    ) -> None:
        """End many leases without a value, in one transaction."""
        if leases:
            self._release("release_multi", leases, failure)

    def is_leased(self, key: KeyType) -> bool:
        """Return whether somebody holds the lease of the key now."""
        return self._file.run(
            "is_leased", partial(self._tables.is_leased, _native(key))
        )

    def iter_keys(self, start: str) -> Iterator[str]:
        """Yield the keys that begin so, in their order, a page at a time."""
        after: str | None = None
        while True:
            step = partial(self._tables.keys, start, after)
            page = self._file.run("iter_keys", step)
            yield from page.keys
            if page.last is None:
                return
            after = page.last

    def close(self) -> None:
        """Close the file; it may be used again after."""
        self._file.close()

    def _now(self) -> float:
        # A region hands its own clock over later.
        return self.clock.time()

    def _get(self, key: KeyType) -> SerializedReturnType:
        native = _native(key)
        found = self._file.run("get", partial(self._tables.read, [native]))
        return found.get(native, NO_VALUE)

    def _is_gone(self, link: Link, now: float) -> bool:
        self._looked = now
        self._file.trim()
        return not self._file.is_current(link)

    def _set(
        self,
        operation: str,
        items: Iterable[tuple[KeyType, bytes]],
        ttl: float | None,
    ) -> None:
        rows = self._rows(operation, items, ttl)
        evicted = self._file.run(operation, partial(self._tables.store, rows))
        self._tell_evicted(evicted)
        self._count_write()

    def _rows(
        self,
        operation: str,
        items: Iterable[tuple[KeyType, Any]],
        ttl: float | None,
    ) -> list[Row]:
        ends = None if ttl is None else self.clock.source.time() + ttl
        rows: list[Row] = [(_native(key), value, ends) for key, value in items]
        if self._max_bytes is not None:
            most = max(map(size_of, rows), default=0)
            if most > self._max_bytes:
                raise ValueTooLarge(
                    _NAME,
                    operation,
                    f"{most} bytes are more than max_bytes, {self._max_bytes}",
                )
        return rows

    def _commit(
        self,
        operation: str,
        values: Sequence[tuple[Lease, BackendSetType]],
        ttl: float | None,
    ) -> list[bool]:
        items = [(lease.key, value) for lease, value in values]
        rows = self._rows(operation, items, ttl)
        tokens = [lease.token for lease, _ in values]
        step = partial(self._tables.commit, rows, tokens)
        kept, evicted = self._file.run(operation, step)
        self._tell_evicted(evicted)
        self._count_write()
        return kept

    def _release(
        self, operation: str, leases: Sequence[Lease], failure: bytes | None
    ) -> None:
        whose = [(_native(lease.key), lease.token) for lease in leases]
        self._file.run(operation, partial(self._tables.release, whose, failure))

    def _count_write(self) -> None:
        self._writes += 1
        if not self._writes % _WALK_EVERY:
            self._walk()

    def _walk(self) -> None:
        self._file.trim()
        # What was to be written is written; a walk that fails can wait.
        with suppress(BackendError):
            evicted = self._file.run("evict", self._tables.walk)
            self._tell_evicted(evicted)
            if len(evicted) > _MANY:
                self._writes = -1

    def _tell_evicted(self, keys: Sequence[Native]) -> None:
        if keys and self.report is not None:
            self.report("evict", {"keys": keys})

    def _tell_broken(self, operation: str, aside: str) -> None:
        self._cache_file.tell_broken(operation, aside, self.report)


def _native(key: KeyType) -> Native:
    """Return what SQLite takes in place of the key, a different one for each.

    Bytes that begin with 0xFF stand for what it does not take, and for bytes
    that begin with 0xFF.
    """
    if isinstance(key, str):
        try:
            key.encode()
        except UnicodeEncodeError:
            return b"\xff\x00" + key.encode("utf-8", "surrogatepass")
        return str.__str__(key)
    if isinstance(key, bytes):
        return b"\xff\xff" + key if key.startswith(b"\xff") else bytes(key)
    if isinstance(key, int) and not isinstance(key, bool):
        if -_BIGGEST <= key <= _BIGGEST:
            return int(key)
        return b"\xff\x01" + str(int(key)).encode()
    raise ConfigurationError(
        f"{_NAME} takes keys that are strings, bytes or integers, not "
        f"{type(key).__qualname__}; give the region a key_mangler that makes "
        "strings of them"
    )


def _filename(arguments: BackendArguments) -> str:
    filename = arguments.get("filename")
    if filename is None:
        return os.path.join(cache_folder(), "default.sqlite")
    if not isinstance(filename, str | os.PathLike):
        raise ValidationError(
            f"{_NAME}: filename is a string or a path, not {type(filename).__name__}"
        )
    path = os.fsdecode(filename)
    if path in ("", ":memory:") or "\0" in path:
        raise ValidationError(
            f"{_NAME}: filename {path!r} names no file; to keep values in memory "
            "use dogpile.cache.memory_pickle"
        )
    return path


def _limit(arguments: BackendArguments, name: str) -> int | None:
    limit = arguments.get(name)
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ValidationError(
            f"{_NAME}: {name} is a whole number from 1 on, or None for no limit; "
            f"it is {limit!r}"
        )
    return limit


def _synchronous(arguments: BackendArguments) -> str:
    synchronous = arguments.get("synchronous", "normal")
    if synchronous not in _SYNCHRONOUS:
        raise ValidationError(
            f"{_NAME}: synchronous is one of {', '.join(_SYNCHRONOUS)}; "
            f"it is {synchronous!r}"
        )
    return str(synchronous)


def _timeout(arguments: BackendArguments) -> float:
    timeout = arguments.get("timeout", _TIMEOUT)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout < 0:
        raise ValidationError(
            f"{_NAME}: timeout is a number of seconds from 0 on; it is {timeout!r}"
        )
    return float(timeout)
