"""Values in a dbm file, and beside them the leases of who creates them."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from dogpile.cache.api import (
    NO_VALUE,
    BackendArguments,
    BackendSetType,
    BytesBackend,
    CacheMutex,
    Capabilities,
    KeyType,
    Lease,
    LeasingBackend,
    SerializedReturnType,
)
from dogpile.cache.backends.dbmfile import DBMFile, Table, pack
from dogpile.cache.backends.filelock import AbstractFileLock, FileLock, ThreadLock
from dogpile.cache.backends.network import seconds_in
from dogpile.cache.exception import ValidationError

__all__ = ["AbstractFileLock", "DBMBackend", "FileLock"]

_NAME = "dogpile.cache.dbm"
# The first byte of a record's name says what it is of a key.
_VALUE_OF = b"v"
_LEASE_OF = b"l"
# Some dbm modules refuse long keys, and dbm.ndbm may lose others beside them.
_LONGEST_KEY = 250
# No UTF-8 holds this byte.
_HASHED = b"\xff"
# A token, when the lease ends, the seconds it was given, whether it failed;
# then what it left when it failed.
_LEASE = struct.Struct(">16sdd?")
# How far the clock may be set back before leases count as ended.
_SLACK = 1.0
_TOKEN_SIZE = 16
# Overwritten, not deleted: dbm.dumb gives deleted room to nobody.
_NO_LEASE = pack(b"")

_T = TypeVar("_T")


class DBMBackend(BytesBackend, LeasingBackend):
    """Values in a dbm file that the threads and processes of a machine share.

    :param arguments: ``filename``: of the file, which this Python's dbm module
        may lengthen; ``lock_timeout``: the seconds of a lease; ``rw_lockfile``:
        another name for the lock file (``filename`` + ``.rw.lock``), ``False``
        for a lock among threads alone; ``dogpile_lockfile``: the same for the
        1.x mutex (``.dogpile.lock``), ``False`` for none; ``lock_factory``: a
        class of locks, see :class:`AbstractFileLock`.
    :raises ValidationError: an argument is missing or no use.
    """

    capabilities: Capabilities = Capabilities(
        leases=True, scope="machine", lasting=True, multi=True
    )
    argument_names: frozenset[str] = frozenset(
        {
            "distributed_lock",
            "dogpile_lockfile",
            "filename",
            "lock_factory",
            "lock_sleep",
            "lock_timeout",
            "rw_lockfile",
            "thread_local_lock",
        }
    )

    def __init__(self, arguments: BackendArguments) -> None:
        filename = _filename(arguments)
        self._locks = _lock_factory(arguments)
        rw_lockfile = arguments.get("rw_lockfile")
        dogpile_lockfile = arguments.get("dogpile_lockfile")
        if rw_lockfile is False:
            lock: AbstractFileLock = ThreadLock()
        else:
            lock = self._locks(_lockfile(rw_lockfile, filename, ".rw.lock"))
        self._file = DBMFile(filename, _NAME, lock)
        self._dogpile_lockfile = (
            None
            if dogpile_lockfile is False
            else _lockfile(dogpile_lockfile, self.filename, ".dogpile.lock")
        )
        # Any: what it returns is a CacheMutex by its methods, not by its class.
        self._mutexes: dict[int, Callable[[str], Any]] = {}
        #: The seconds of a lease, where the region's policy names none.
        self.lock_timeout: float | None = seconds_in(arguments, "lock_timeout", None)

    @property
    def filename(self) -> str:
        """The file's absolute name, as the dbm module is given it."""
        return self._file.path

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.filename}>"

    def get_serialized(self, key: KeyType) -> SerializedReturnType:
        """Return the bytes stored under the key, or :data:`NO_VALUE`."""
        return self._read("get", partial(_found, key=_encoded(key)))

    def get_serialized_multi(
        self, keys: Sequence[KeyType]
    ) -> Sequence[SerializedReturnType]:
        """Return the bytes stored under each key, in their order."""
        if not keys:
            return []
        names = [_encoded(key) for key in keys]
        return self._read("get_multi", partial(_all_found, keys=names))

    def set_serialized(self, key: KeyType, value: bytes) -> None:
        """Store bytes under the key, and void its lease.

        :raises BackendError: the file cannot be written to; it is named.
        """
        records = {_encoded(key): pack(value)}
        self._write("put", partial(_store, records=records))

    def set_serialized_multi(self, mapping: Mapping[KeyType, bytes]) -> None:
        """Store the bytes of each key, and void their leases."""
        if mapping:
            records = {_encoded(key): pack(value) for key, value in mapping.items()}
            self._write("put_multi", partial(_store, records=records))

    def delete(self, key: KeyType) -> None:
        """Remove the value, and void the key's lease."""
        self.delete_multi([key])

    def delete_multi(self, keys: Sequence[KeyType]) -> None:
        """Remove the values of all the keys, and void their leases."""
        if keys:
            names = [_encoded(key) for key in keys]
            self._write("delete", partial(_remove, keys=names))

    def lease(
        self,
        key: KeyType,
        seconds: float,
        *,
        after: str | None = None,
        steal: bool = False,
    ) -> Lease:
        """Ask for the right to create the value of a key, and read the key."""
        ask = partial(self._ask, key=key, after=after, steal=steal)
        if after is not None and not steal:
            # Who waits asks often: let them read beside each other.
            lease = self._read("lease", ask)
            if lease.token:
                return lease
        return self._write("lease", partial(self._grant, ask=ask, seconds=seconds))

    def lease_multi(self, keys: Sequence[KeyType], seconds: float) -> list[Lease]:
        """Ask for the leases of many keys in one step."""
        if not keys:
            return []
        asks = [partial(self._ask, key=key) for key in keys]
        return self._write(
            "lease", partial(self._grant_all, asks=asks, seconds=seconds)
        )

    def renew(self, lease: Lease, seconds: float) -> bool:
        """Let a lease end later, if it is still the caller's."""
        return self._write("renew", partial(self._renew, lease=lease, seconds=seconds))

    def commit(
        self, lease: Lease, value: BackendSetType, *, ttl: float | None = None
    ) -> bool:
        """Store the created value and end the lease, in one step."""
        return self.commit_multi([(lease, value)])[0]

    def commit_multi(
        self,
        values: Sequence[tuple[Lease, BackendSetType]],
        *,
        ttl: float | None = None,
    ) -> list[bool]:
        """Store many created values in one step; a file outlives every ttl."""
        if not values:
            return []
        # A region hands over bytes, for there is a serializer.
        packed = [(lease, pack(value)) for lease, value in values]  # type: ignore[arg-type]
        return self._write("commit", partial(self._commit_all, packed=packed))

    def release(self, lease: Lease, failure: bytes | None = None) -> None:
        """End a lease without a value."""
        self.release_multi([lease], failure)

    def release_multi(
        self, leases: Sequence[Lease], failure: bytes | None = None
    ) -> None:
        """End many leases without a value, in one step."""
        if leases:
            self._write(
                "release", partial(self._release_all, leases=leases, failure=failure)
            )

    def is_leased(self, key: KeyType) -> bool:
        """Return whether somebody holds the lease of the key now."""
        return self._read("is_leased", partial(self._is_leased, key=_encoded(key)))

    def get_mutex(self, key: KeyType) -> CacheMutex | None:
        """Return a 1.x mutex, or ``None`` where ``dogpile_lockfile`` is false.

        One lock file serves all keys: a thread that holds the mutex of one
        key is given those of others, everybody else waits.
        """
        if self._dogpile_lockfile is None:
            return None
        # Anew in the child of a fork: what the parent holds is the parent's.
        mutex_for = self._mutexes.get(os.getpid())
        if mutex_for is None:
            from dogpile.cache.legacy import KeyReentrantMutex

            made = KeyReentrantMutex.factory(self._locks(self._dogpile_lockfile))
            # Two threads that ask at once must be given the same.
            mutex_for = self._mutexes.setdefault(os.getpid(), made)
        mutex: CacheMutex = mutex_for(key)
        return mutex

    def _read(self, operation: str, action: Callable[[Table], _T]) -> _T:
        return self._file.read(operation, action, self.report)

    def _write(self, operation: str, action: Callable[[Table], _T]) -> _T:
        return self._file.write(operation, action, self.report)

    def _ask(
        self,
        table: Table,
        key: KeyType,
        after: str | None = None,
        steal: bool = False,
    ) -> Lease:
        # Without a token: it is free.
        name = _encoded(key)
        found = _found(table, name)
        held = self._held(table, name)
        if held is not None and held.failure is None:
            is_taken = steal and after in (None, held.token)
        else:
            is_taken = held is None or held.token != after
        if held is None or is_taken:
            return Lease(key, "", granted=False, found=found)
        return Lease(key, held.token, False, found, held.failure)

    def _grant(
        self, table: Table, ask: Callable[[Table], Lease], seconds: float
    ) -> Lease:
        lease = ask(table)
        if lease.token:
            return lease
        token = os.urandom(_TOKEN_SIZE).hex()
        self._hold(table, _encoded(lease.key), token, seconds)
        return lease._replace(token=token, granted=True)

    def _grant_all(
        self, table: Table, asks: Sequence[Callable[[Table], Lease]], seconds: float
    ) -> list[Lease]:
        return [self._grant(table, ask, seconds) for ask in asks]

    def _renew(self, table: Table, lease: Lease, seconds: float) -> bool:
        name = _encoded(lease.key)
        if self._held_by(table, name, lease) is None:
            return False
        self._hold(table, name, lease.token, seconds)
        return True

    def _commit_all(
        self, table: Table, packed: Sequence[tuple[Lease, bytes]]
    ) -> list[bool]:
        return [self._commit(table, lease, record) for lease, record in packed]

    def _commit(self, table: Table, lease: Lease, record: bytes) -> bool:
        name = _encoded(lease.key)
        if self._held_by(table, name, lease) is None:
            return False
        _store(table, {name: record})
        return True

    def _release_all(
        self, table: Table, leases: Sequence[Lease], failure: bytes | None
    ) -> None:
        for lease in leases:
            name = _encoded(lease.key)
            held = self._held_by(table, name, lease)
            if held is None:
                continue
            if failure is None:
                table.put(_LEASE_OF + name, _NO_LEASE)
            else:
                # For as long again, so that all who wait have time to ask.
                self._hold(table, name, held.token, held.seconds, failure)

    def _is_leased(self, table: Table, key: bytes) -> bool:
        held = self._held(table, key)
        return held is not None and held.failure is None

    def _held_by(self, table: Table, name: bytes, lease: Lease) -> _Held | None:
        held = self._held(table, name)
        if held is None or held.failure is not None or held.token != lease.token:
            return None
        return held

    def _held(self, table: Table, name: bytes) -> _Held | None:
        record = table.get(_LEASE_OF + name)
        if not record or len(record) < _LEASE.size:
            return None
        token, end, seconds, has_failed = _LEASE.unpack_from(record)
        # Ended, or of a time when the clock was further on.
        if not 0 < end - self.clock.time() <= seconds + _SLACK:
            return None
        failure = record[_LEASE.size :] if has_failed else None
        return _Held(token.hex(), seconds, failure)

    def _hold(
        self,
        table: Table,
        name: bytes,
        token: str,
        seconds: float,
        failure: bytes | None = None,
    ) -> None:
        end = self.clock.time() + seconds
        head = _LEASE.pack(bytes.fromhex(token), end, seconds, failure is not None)
        table.put(_LEASE_OF + name, pack(head + (failure or b"")))


class _Held(NamedTuple):
    token: str
    seconds: float
    failure: bytes | None


def _found(table: Table, key: bytes) -> SerializedReturnType:
    value = table.get(_VALUE_OF + key)
    return NO_VALUE if value is None else value


def _all_found(table: Table, keys: Sequence[bytes]) -> list[SerializedReturnType]:
    return [_found(table, key) for key in keys]


def _store(table: Table, records: Mapping[bytes, bytes]) -> None:
    for key, record in records.items():
        # First: who dies in between must not leave a lease for an older value.
        if table.get(_LEASE_OF + key):
            table.put(_LEASE_OF + key, _NO_LEASE)
        table.put(_VALUE_OF + key, record)


def _remove(table: Table, keys: Sequence[bytes]) -> None:
    for key in keys:
        table.remove(_LEASE_OF + key)
        table.remove(_VALUE_OF + key)


def _encoded(key: KeyType) -> bytes:
    if not isinstance(key, str):
        raise ValidationError(
            f"{_NAME} takes strings for keys, not {type(key).__name__}; "
            "give the region a key_mangler that makes strings of them"
        )
    # Any string at all, even one that is no valid Unicode, has its own bytes.
    encoded = key.encode("utf-8", "surrogatepass")
    if len(encoded) <= _LONGEST_KEY:
        return encoded
    return _HASHED + hashlib.sha256(encoded).digest()


def _filename(arguments: BackendArguments) -> str:
    filename = arguments.get("filename")
    if not isinstance(filename, (str, os.PathLike)) or not os.fspath(filename):
        given = (
            f"something of type {type(filename).__name__}" if filename else "nothing"
        )
        raise ValidationError(
            f'{_NAME} needs arguments={{"filename": ...}}, the name of the file '
            f"to keep values in; it was given {given}"
        )
    return os.path.abspath(os.path.expanduser(os.fsdecode(filename)))


def _lockfile(name: object, filename: str, suffix: str) -> str:
    if name is None or name is True:
        return filename + suffix
    if not isinstance(name, (str, os.PathLike)) or not os.fspath(name):
        raise ValidationError(
            f"a lock file of {_NAME} has a name, or is False for none; "
            f"it was given something of type {type(name).__name__}"
        )
    return os.path.abspath(os.path.expanduser(os.fsdecode(name)))


def _lock_factory(arguments: BackendArguments) -> Callable[[str], AbstractFileLock]:
    factory = arguments.get("lock_factory")
    if factory is None:
        return FileLock
    if not callable(factory):
        raise ValidationError(
            f"the lock_factory of {_NAME} is called with a file's name and returns "
            f"a lock; it was given something of type {type(factory).__name__}"
        )
    made: Callable[[str], AbstractFileLock] = factory
    return made
