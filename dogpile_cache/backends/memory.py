"""Values in this process's memory, bounded if asked, without a lock on a hit."""

from __future__ import annotations

import math
import os
import pickle
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from threading import RLock
from typing import Any

from dogpile.cache.api import (
    NO_VALUE,
    BackendArguments,
    BackendFormatted,
    BackendSetType,
    CacheBackend,
    CachedValue,
    Capabilities,
    DefaultSerialization,
    KeyType,
    value_version,
)
from dogpile.cache.backends.eviction import Eviction, Lru, S3Fifo
from dogpile.cache.exception import Unserializable, ValidationError

_NEVER_FRESH = -math.inf
_FOREVER = math.inf


class _Gone:
    """The payload of an entry that was dropped, whoever still holds it."""

    __slots__ = ()


GONE: Any = _Gone()
#: In place of readers: none of them has judged it.
UNJUDGED: object = object()


class _Reader:
    """All who judge alike, as long as one of them or of their entries is there."""

    __slots__ = ("__weakref__",)


def _readers() -> weakref.WeakValueDictionary[Any, _Reader]:
    return weakref.WeakValueDictionary()


class Entry:
    """A stored value, laid out so that a hit is a look-up and a comparison.

    A write makes another entry and drops the old one, so that no reader has
    the payload of one write and the times of the next. Who reads an entry
    without a lock reads the payload first: if it was dropped, the times say so.
    """

    __slots__ = ("born", "payload", "reader", "rest", "until")

    def __init__(
        self,
        payload: Any,
        born: float,
        until: float,
        reader: object,
        rest: Mapping[str, Any] | None,
    ) -> None:
        self.payload: Any = payload
        #: When its creation started, in seconds since the epoch.
        self.born: float = born
        #: It is fresh before that time to the readers that it was judged for.
        self.until: float = until
        #: These readers, of one epoch: see :meth:`MemoryBackend.reader`. ``None``
        #: once it was dropped.
        self.reader: object = reader
        #: Metadata beyond ``ct`` and ``v``; ``None`` for none.
        self.rest: Mapping[str, Any] | None = rest

    def drop(self) -> None:
        """Make the entry useless to whoever remembers it."""
        self.reader = None
        self.until = _NEVER_FRESH
        self.payload = GONE

    def metadata(self) -> dict[str, Any]:
        """Return the metadata as every backend has it."""
        metadata = {"ct": self.born, "v": value_version}
        if self.rest is not None:
            metadata.update(self.rest)
        return metadata


class MarkedEntry(Entry):
    """An entry of a backend that evicts."""

    __slots__ = ("hit",)

    #: It was read since the hand of the eviction last passed.
    hit: bool


class MemoryBackend(CacheBackend):
    """A dictionary in this process; hands out the very objects it was given.

    :param arguments: ``cache_dict``: a mapping of your own to keep values in
        (unbounded by us); ``max_entries``; ``max_bytes`` (an estimate, see
        ``size_of`` of the room ``eviction``); ``policy``: which entries go
        first, ``"s3fifo"`` or ``"lru"``; ``copy``: hand out private copies.
    :raises ValidationError: an argument is no use.
    """

    capabilities: Capabilities = Capabilities(inline=True)
    argument_names: frozenset[str] = frozenset(
        {"cache_dict", "max_entries", "max_bytes", "policy", "copy"}
    )

    def __init__(self, arguments: BackendArguments) -> None:
        given = arguments.get("cache_dict")
        max_entries = _bound("max_entries", arguments.get("max_entries"))
        max_bytes = _bound("max_bytes", arguments.get("max_bytes"))
        bounded = max_entries is not None or max_bytes is not None
        if given is not None and bounded:
            raise ValidationError(
                "max_entries and max_bytes do not go with cache_dict: "
                "a mapping of your own keeps its own bounds"
            )
        if given is not None and arguments.get("copy"):
            raise ValidationError(
                "copy does not go with cache_dict: a mapping of your own hands out "
                "what it was given; dogpile.cache.memory_pickle makes copies"
            )
        #: Replaced at each invalidation.
        self.epoch: object = object()
        self._readers = _readers()
        #: Whether there are entries of several readers; else all are this one's.
        self.is_mixed: bool = False
        self.only_reader: object = None
        #: Called when one of these two has changed; by whose they are.
        self.watchers: weakref.WeakKeyDictionary[Any, Callable[[], None]] = (
            weakref.WeakKeyDictionary()
        )
        #: The generation records, where no eviction reaches them.
        self.records: dict[str, str] = {}
        # Who is told of an eviction may write in turn.
        self.lock: RLock = RLock()
        _backends.add(self)
        self._given: MutableMapping[KeyType, Any] | None = given
        self._copies = bool(arguments.get("copy"))
        policy = arguments.get("policy", "s3fifo")
        self._entries: dict[KeyType, Entry] = {}
        self._eviction: Eviction | None = None
        if policy == "lru":
            ordered: OrderedDict[KeyType, Entry] = OrderedDict()
            self._entries = ordered
            self._eviction = Lru(ordered, max_entries, max_bytes)
        elif policy != "s3fifo":
            raise ValidationError(f"policy is 's3fifo' or 'lru', not {policy!r}")
        elif bounded:
            self._eviction = S3Fifo(self._entries, max_entries, max_bytes)
        self._kind = Entry if self._eviction is None else MarkedEntry

    @property
    def entries(self) -> dict[KeyType, Entry] | None:
        """The entries by key, for a region that reads them itself.

        ``None`` where each hit has to go through :meth:`get`.
        """
        by_value = self._given is not None or self._copies
        if by_value or isinstance(self._entries, OrderedDict):
            return None
        return self._entries

    @property
    def is_bounded(self) -> bool:
        """Whether hits have to be marked."""
        return self._eviction is not None

    @property
    def _cache(self) -> MutableMapping[KeyType, Any]:
        # What 1.x programs look into, and clear.
        return _View(self) if self._given is None else self._given

    def get(self, key: KeyType) -> BackendFormatted:
        """Return the value stored under the key, or :data:`NO_VALUE`."""
        if self._given is not None:
            found: BackendFormatted = self._given.get(key, NO_VALUE)
            return found
        while True:
            entry = self._entries.get(key)
            if entry is None:
                return NO_VALUE
            payload = entry.payload
            # One that is dropped has left its place before that.
            if payload is not GONE:
                break
        if self._eviction is not None:
            entry.hit = True  # type: ignore[attr-defined]  # a marked one
            self._eviction.touch(key)
        if entry.rest is _RAW:
            raw: bytes = payload
            return raw
        if self._copies:
            payload = _copied(payload)
        return CachedValue(payload, entry.metadata())

    def set(self, key: KeyType, value: BackendSetType) -> None:
        """Store a value under the key."""
        if self._given is not None:
            self._given[key] = value
            return
        with self.lock:
            self.insert(key, value, _NEVER_FRESH)

    put = set

    def insert(self, key: KeyType, value: BackendSetType, until: float) -> Entry:
        """Store a value; the caller holds :attr:`lock`.

        :param until: it is fresh before that time.
        """
        if isinstance(value, CachedValue):
            payload, metadata = value
            born = metadata["ct"]
            rest: Mapping[str, Any] | None = None
            if len(metadata) > 2:
                rest = {n: metadata[n] for n in metadata if n not in ("ct", "v")}
        else:
            payload, born, rest = value, 0.0, _RAW
        if self._copies and rest is not _RAW:
            payload = _copied(payload)
        return self.place(key, payload, born, until, rest)

    def place(
        self,
        key: KeyType,
        payload: Any,
        born: float,
        until: float,
        rest: Mapping[str, Any] | None,
        reader: object = UNJUDGED,
    ) -> Entry:
        """Store a payload; the caller holds :attr:`lock`.

        :param reader: of whom it is known whether it is fresh to them.
        :return: the entry, which may have been evicted already.
        """
        if reader is not self.only_reader:
            self._admit(reader)
        entry = self._kind(payload, born, until, reader, rest)
        old = self._entries.get(key)
        if self._eviction is not None:
            # Before anybody finds it, who may set the mark.
            entry.hit = old is not None and old.hit  # type: ignore[attr-defined]
        self._entries[key] = entry
        if old is not None:
            old.drop()
        if self._eviction is not None:
            if old is None:
                self._eviction.admit(key, payload)
            else:
                self._eviction.resize(key, payload)
            evicted = self._eviction.evict()
            if evicted and self.report is not None:
                self.report("evict", {"keys": evicted})
        return entry

    def _admit(self, reader: object) -> None:
        """Note a reader before there is an entry of it."""
        if self.is_mixed or reader is UNJUDGED:  # that is fresh to nobody
            return
        if self.only_reader is None:
            self.only_reader = reader
        else:
            self.is_mixed = True
        self._tell()

    def _tell(self) -> None:
        for watcher in list(self.watchers.values()):
            watcher()

    def delete(self, key: KeyType) -> None:
        """Remove the value; it is no error if there is none."""
        if self._given is not None:
            self._given.pop(key, None)
            return
        with self.lock:
            self.remove(key)

    def remove(self, key: KeyType) -> None:
        """Remove the value; the caller holds :attr:`lock`."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        entry.drop()
        if self._eviction is not None:
            self._eviction.forget(key)

    def get_multi(self, keys: Sequence[KeyType]) -> list[BackendFormatted]:
        """Return what is stored under each key, in their order."""
        return [self.get(key) for key in keys]

    def iter_keys(self, start: str) -> Iterator[str]:
        """Yield the keys that begin so; under ``lru`` the least used first."""
        for key in list(self._entries if self._given is None else self._given):
            if isinstance(key, str) and key.startswith(start):
                yield key

    def reader(self, who: object) -> object:
        """Return what all entries bear that such a reader has judged in this epoch.

        :param who: what its judgement depends on; hashable.
        """
        found = self._readers.get(who)
        if found is None:
            found = self._readers.setdefault(who, _Reader())
        return found

    def start_epoch(self, *, is_end: bool) -> None:
        """Note that entries have to be judged anew; the caller holds the lock.

        :param is_end: none of them is good any more.
        """
        # First these: whoever finds the new epoch must not find readers of the old.
        self._readers = _readers()
        self.epoch = object()
        if is_end:
            self._drop_all()
        else:
            self.is_mixed = True
            self._tell()

    def clear(self) -> None:
        """Remove every value."""
        if self._given is not None:
            self._given.clear()
            return
        with self.lock:
            self._drop_all()

    def _drop_all(self) -> None:
        dropped = list(self._entries.values())
        self._entries.clear()
        if self._eviction is not None:
            self._eviction.clear()
        for entry in dropped:
            entry.drop()
        self.is_mixed, self.only_reader = False, None
        self._tell()

    def __len__(self) -> int:
        return len(self._entries if self._given is None else self._given)

    def forget(self) -> None:
        """Be free in the child of a fork: a lost thread may hold the lock."""
        self.lock = RLock()


_backends: weakref.WeakSet[MemoryBackend] = weakref.WeakSet()


def _after_fork() -> None:
    for backend in list(_backends):
        backend.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class MemoryPickleBackend(DefaultSerialization, MemoryBackend):
    """The same, through the codec: each reader has an object of its own."""

    @property
    def entries(self) -> None:
        """``None``: each hit has to be decoded."""
        return


# The metadata of what is stored as bytes, as opposed to a CachedValue.
_RAW: Mapping[str, Any] = {"raw": True}


def _copied(payload: Any) -> Any:
    try:
        return pickle.loads(pickle.dumps(payload, 5))  # noqa: S301 - our own
    except Exception as error:  # a class may refuse in any way
        raise Unserializable(
            f"a {type(payload).__qualname__} cannot be copied: {type(error).__name__}; "
            "leave copy out, or do not cache it"
        ) from error


class _View(MutableMapping[Any, Any]):
    """The stored values as a mapping, under its 1.x name."""

    def __init__(self, backend: MemoryBackend) -> None:
        self._backend = backend

    def __getitem__(self, key: KeyType) -> Any:
        value = self._backend.get(key)
        if value is NO_VALUE:
            raise KeyError(key)
        return value

    def __setitem__(self, key: KeyType, value: Any) -> None:
        self._backend.set(key, value)

    def __delitem__(self, key: KeyType) -> None:
        if self._backend.get(key) is NO_VALUE:
            raise KeyError(key)
        self._backend.delete(key)

    def __iter__(self) -> Any:
        return iter(list(self._backend._entries))  # noqa: SLF001 - its own view

    def __len__(self) -> int:
        return len(self._backend)

    def clear(self) -> None:
        self._backend.clear()


def _bound(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValidationError(f"{name} takes a number from 1 on, not {value!r}")
    return value
