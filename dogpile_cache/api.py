"""The contract between a region and a backend."""

from __future__ import annotations

import contextlib
import enum
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from dogpile.cache.clock import SYSTEM_CLOCK, Clock
from dogpile.cache.exception import CantDeserializeException

__all__ = [
    "NO_VALUE",
    "BackendArguments",
    "BackendFormatted",
    "BackendSetType",
    "BytesBackend",
    "CacheBackend",
    "CacheMutex",
    "CacheReturnType",
    "CachedValue",
    "CantDeserializeException",
    "Capabilities",
    "DefaultSerialization",
    "Deserializer",
    "KeyManglerType",
    "KeyType",
    "Lease",
    "MetaDataType",
    "NoValue",
    "NoValueType",
    "SerializedReturnType",
    "Serializer",
    "ValuePayload",
]

#: The format of stored values; one of another version is a miss.
value_version = 3


#: How the keys of generation records begin.
RECORD_PREFIX = "dogpile:g:"


class NoValue(enum.Enum):
    """The type of :data:`NO_VALUE`."""

    NO_VALUE = "NO_VALUE"

    @property
    def payload(self) -> NoValue:
        """The token itself, so that a miss can be read like a value."""
        return self

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "<dogpile.cache.api.NoValue object>"

    def __str__(self) -> str:
        return "NoValue.NO_VALUE"


#: There is no such value. False, and yet not ``None``, which may be cached.
NO_VALUE: Final = NoValue.NO_VALUE

NoValueType: TypeAlias = Literal[NoValue.NO_VALUE]
# A user's own value: the one place where anything may pass.
ValuePayload: TypeAlias = Any
# A string mostly; else whatever the backend takes for a key.
KeyType: TypeAlias = Any
MetaDataType: TypeAlias = Mapping[str, Any]
BackendArguments: TypeAlias = Mapping[str, Any]
KeyManglerType: TypeAlias = Callable[[Any], Any]
Serializer: TypeAlias = Callable[[Any], bytes]
Deserializer: TypeAlias = Callable[[bytes], Any]


class CachedValue(NamedTuple):
    """A stored value: the payload, and what is known about it.

    The metadata has short keys, absent where they say nothing: ``ct`` when
    the creation started (seconds since the epoch), ``v`` the format's
    version, ``d`` seconds the creation took, ``x`` seconds it is fresh for,
    ``g`` its grace in seconds, ``t`` the generations it was created under,
    ``e`` a validator, ``f`` ``[failures, retry_at]``, ``n`` the version of
    the code that created it, ``c`` whether the creator itself chose ``x``.
    """

    payload: ValuePayload
    metadata: MetaDataType

    @property
    def cached_time(self) -> float:
        """When its creation started, in seconds since the epoch."""
        return float(self.metadata["ct"])

    @property
    def age(self) -> float:
        """The seconds since its creation started, by the clock of now."""
        return SYSTEM_CLOCK.time() - self.cached_time


CacheReturnType: TypeAlias = CachedValue | NoValueType
SerializedReturnType: TypeAlias = bytes | NoValueType
BackendFormatted: TypeAlias = CacheReturnType | SerializedReturnType
BackendSetType: TypeAlias = CachedValue | bytes


class CacheMutex(ABC):
    """A lock of the 1.x kind; any class with ``acquire`` and ``release``."""

    @abstractmethod
    def acquire(self, wait: bool = True) -> bool:
        """Take the lock.

        :param wait: whether to wait until it is free.
        :return: whether it was taken.
        """

    @abstractmethod
    def release(self) -> None:
        """Give the lock back."""

    @abstractmethod
    def locked(self) -> bool:
        """Return whether somebody holds it."""

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        return hasattr(other, "acquire") and hasattr(other, "release")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can do beyond ``get``, ``put`` and ``delete``.

    :param leases: it has ``lease``, ``renew``, ``commit`` and ``release``,
        and its ``put`` and ``delete`` void the leases of the keys they touch.
    :param scope: how far its values are shared: ``"process"``,
        ``"machine"`` or ``"cluster"``.
    :param inline: it never blocks, so that event loops call it in place.
    :param native_async: it has ``aget_serialized``, ``alease`` and so on.
    :param lasting: it never loses a record alone, so that a missing
        generation record means that nothing was ever invalidated.
    :param ttl: its writing methods take ``ttl=``, the seconds after which
        nobody will want the value.
    :param multi: its multi forms are one round trip each.
    :param network: it is reached over a network that may fail.
    """

    leases: bool = False
    scope: Literal["process", "machine", "cluster"] = "process"
    inline: bool = False
    native_async: bool = False
    lasting: bool = True
    ttl: bool = False
    multi: bool = False
    network: bool = False


class Lease(NamedTuple):
    """What a backend answers to who asks to create a value.

    :param key: the key, mangled.
    :param token: the holder's token: the caller's own if ``granted``.
    :param granted: whether the caller may create.
    :param found: what is stored under the key, read in the same step.
    :param failure: what the holder left when its creation failed.
    :param state: whatever the backend needs at the commit.
    """

    key: KeyType
    token: str
    granted: bool
    found: BackendFormatted = NO_VALUE
    failure: bytes | None = None
    state: Any = None


class CacheBackend:
    """Stores and retrieves values; third parties subclass it.

    ``get``, ``put`` (or ``set``, its 1.x name) and ``delete`` are all that
    must be written. Values are :class:`CachedValue`, keys are mangled.

    :param arguments: the ``arguments`` of ``configure()``, typically a
        dictionary; the backend must not change it.
    """

    #: What turns keys into keys that this backend takes; ``None`` for all.
    key_mangler: KeyManglerType | None = None
    #: With both, the region hands over bytes (the 1.x way to say so).
    serializer: Serializer | None = None
    deserializer: Deserializer | None = None
    capabilities: Capabilities = Capabilities()
    #: The arguments it understands, for the check of settings.
    argument_names: frozenset[str] = frozenset()
    #: What tells the backend the time; a region hands its own over.
    clock: Clock = SYSTEM_CLOCK
    #: Called with an event's name and its details; a region hands its own over.
    report: Callable[[str, Mapping[str, Any]], None] | None = None

    def __init__(self, arguments: BackendArguments) -> None:
        """Store the arguments; no I/O is done here."""

    @classmethod
    def from_config_dict(
        cls, config_dict: Mapping[str, Any], prefix: str
    ) -> CacheBackend:
        """Build a backend from the settings whose names bear a prefix."""
        size = len(prefix)
        return cls(
            {
                name[size:]: value
                for name, value in config_dict.items()
                if name.startswith(prefix)
            }
        )

    def get(self, key: KeyType) -> BackendFormatted:
        """Return the value stored under the key, or :data:`NO_VALUE`."""
        raise NotImplementedError(f"{type(self).__name__}.get")

    def put(self, key: KeyType, value: BackendSetType) -> None:
        """Store a value under the key."""
        if type(self).set is CacheBackend.set:
            raise NotImplementedError(f"{type(self).__name__}.put")
        self.set(key, value)

    def set(self, key: KeyType, value: BackendSetType) -> None:
        """Store a value under the key (the 1.x name of ``put``)."""
        if type(self).put is CacheBackend.put:
            raise NotImplementedError(f"{type(self).__name__}.set")
        self.put(key, value)

    def delete(self, key: KeyType) -> None:
        """Remove the value; it is no error if there is none."""
        raise NotImplementedError(f"{type(self).__name__}.delete")

    def get_multi(self, keys: Sequence[KeyType]) -> Sequence[BackendFormatted]:
        """Return what is stored under each key, in their order."""
        return [self.get(key) for key in keys]

    def set_multi(self, mapping: Mapping[KeyType, BackendSetType]) -> None:
        """Store each value under its key."""
        for key, value in mapping.items():
            self.set(key, value)

    def delete_multi(self, keys: Sequence[KeyType]) -> None:
        """Remove the values of all the keys."""
        for key in keys:
            # A backend may be as plain as ``dict.pop``; delete is idempotent.
            with contextlib.suppress(KeyError):
                self.delete(key)

    def get_serialized(self, key: KeyType) -> SerializedReturnType:
        """Return the bytes stored under the key, or :data:`NO_VALUE`."""
        return self.get(key)  # type: ignore[return-value]  # bytes were put in

    def get_serialized_multi(
        self, keys: Sequence[KeyType]
    ) -> Sequence[SerializedReturnType]:
        """Return the bytes stored under each key, in their order."""
        return self.get_multi(keys)  # type: ignore[return-value]  # as above

    def set_serialized(self, key: KeyType, value: bytes) -> None:
        """Store bytes under the key."""
        self.set(key, value)

    def set_serialized_multi(self, mapping: Mapping[KeyType, bytes]) -> None:
        """Store the bytes of each key."""
        self.set_multi(mapping)

    def has_lock_timeout(self) -> bool:
        """Return whether the backend's mutexes end by themselves."""
        return False

    def get_mutex(self, key: KeyType) -> CacheMutex | None:
        """Return a 1.x mutex for the key, or ``None`` to leave it to the region."""
        return None

    def close(self) -> None:
        """Give back clients, files and threads; it may be used again after."""


class LeasingBackend(CacheBackend):
    """A backend that grants leases: one creator per key in its whole scope."""

    capabilities: Capabilities = Capabilities(leases=True)

    def lease(
        self,
        key: KeyType,
        seconds: float,
        *,
        after: str | None = None,
        steal: bool = False,
    ) -> Lease:
        """Ask for the right to create the value of a key, and read the key.

        A lease that nobody holds (any more) is granted. A failed one counts
        as free, except to the caller who waited for it, who is told.

        :param key: the key, mangled.
        :param seconds: when the lease ends unless it is renewed.
        :param after: the token that the caller has been waiting for.
        :param steal: take it even from a holder that is alive; with ``after``
            from that one alone, so that of many who wait one takes over.
        """
        raise NotImplementedError(f"{type(self).__name__}.lease")

    def renew(self, lease: Lease, seconds: float) -> bool:
        """Let a lease end later.

        :param seconds: from now.
        :return: whether the lease is still the caller's.
        """
        raise NotImplementedError(f"{type(self).__name__}.renew")

    def commit(
        self, lease: Lease, value: BackendSetType, *, ttl: float | None = None
    ) -> bool:
        """Store the created value and end the lease, in one step.

        :param ttl: seconds after which nobody will want the value.
        :return: False where the lease was voided, stolen or has ended: then
            nothing is stored.
        """
        raise NotImplementedError(f"{type(self).__name__}.commit")

    def release(self, lease: Lease, failure: bytes | None = None) -> None:
        """End a lease without a value.

        :param failure: what those who wait for it are to be told.
        """
        raise NotImplementedError(f"{type(self).__name__}.release")

    def lease_multi(self, keys: Sequence[KeyType], seconds: float) -> list[Lease]:
        """Ask for the leases of many keys, in as few steps as can be."""
        return [self.lease(key, seconds) for key in keys]

    def commit_multi(
        self,
        values: Sequence[tuple[Lease, BackendSetType]],
        *,
        ttl: float | None = None,
    ) -> list[bool]:
        """Store many created values, in as few steps as can be."""
        return [self.commit(lease, value, ttl=ttl) for lease, value in values]

    def release_multi(
        self, leases: Sequence[Lease], failure: bytes | None = None
    ) -> None:
        """End many leases without a value."""
        for lease in leases:
            self.release(lease, failure)

    def is_leased(self, key: KeyType) -> bool:
        """Return whether somebody holds the lease of the key now."""
        raise NotImplementedError(f"{type(self).__name__}.is_leased")


class DefaultSerialization:
    """Pickle, as the serializer of a backend (a 1.x name)."""

    serializer: Serializer | None = staticmethod(pickle.dumps)
    deserializer: Deserializer | None = staticmethod(pickle.loads)


class BytesBackend(DefaultSerialization, CacheBackend):
    """A backend whose values are bytes; the region sees to the coding."""

    def get(self, key: KeyType) -> BackendFormatted:
        """Return the bytes stored under the key, or :data:`NO_VALUE`."""
        return self.get_serialized(key)

    def get_multi(self, keys: Sequence[KeyType]) -> Sequence[BackendFormatted]:
        """Return the bytes stored under each key, in their order."""
        return self.get_serialized_multi(keys)

    def set(self, key: KeyType, value: BackendSetType) -> None:
        """Store bytes under the key."""
        self.set_serialized(key, value)  # type: ignore[arg-type]  # bytes

    put = set

    def set_multi(self, mapping: Mapping[KeyType, BackendSetType]) -> None:
        """Store the bytes of each key."""
        self.set_serialized_multi(mapping)  # type: ignore[arg-type]  # bytes

    def get_serialized(self, key: KeyType) -> SerializedReturnType:
        """Return the bytes stored under the key, or :data:`NO_VALUE`."""
        raise NotImplementedError(f"{type(self).__name__}.get_serialized")

    def get_serialized_multi(
        self, keys: Sequence[KeyType]
    ) -> Sequence[SerializedReturnType]:
        """Return the bytes stored under each key, in their order."""
        return [self.get_serialized(key) for key in keys]

    def set_serialized(self, key: KeyType, value: bytes) -> None:
        """Store bytes under the key."""
        raise NotImplementedError(f"{type(self).__name__}.set_serialized")

    def set_serialized_multi(self, mapping: Mapping[KeyType, bytes]) -> None:
        """Store the bytes of each key."""
        for key, value in mapping.items():
            self.set_serialized(key, value)


def missing_methods(backend: type) -> Iterable[str]:
    """Return which of the three methods of a backend a class lacks."""
    base: type = CacheBackend

    def has(*names: str) -> bool:
        return any(
            getattr(backend, name, None)
            not in (None, getattr(base, name), getattr(BytesBackend, name, None))
            for name in names
        )

    serialized = has("get_serialized") and has("set_serialized")
    if not (has("get") or serialized):
        yield "get"
    if not (has("put", "set") or serialized):
        yield "put"
    if not has("delete"):
        yield "delete"
