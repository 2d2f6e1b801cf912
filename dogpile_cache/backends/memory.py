"""Values in this process's memory, bounded if asked, without a lock on a hit."""

from __future__ import annotations

import contextlib
import math
import pickle
import sys
from collections import OrderedDict, deque
from collections.abc import Mapping, MutableMapping, Sequence
from threading import Lock
from typing import Any, Protocol

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
from dogpile.cache.exception import ValidationError

_NEVER_FRESH = -math.inf
_FOREVER = math.inf
# The share of the entries that are on probation, as in the paper.
_SMALL = 0.1


class _Gone:
    """The payload of an entry that was dropped, whoever still holds it."""

    __slots__ = ()


GONE: Any = _Gone()


class Entry:
    """A stored value, laid out so that a hit is a look-up and a comparison.

    An entry is changed in place when its key is written to, so that whoever
    remembers the entry need not look the key up again. Who reads it without
    a lock reads the payload first and the times after it.
    """

    __slots__ = ("born", "epoch", "hit", "payload", "rest", "until")

    def __init__(
        self,
        payload: Any,
        born: float,
        until: float,
        epoch: object,
        rest: Mapping[str, Any] | None,
    ) -> None:
        self.payload = payload
        #: When its creation started, in seconds since the epoch.
        self.born = born
        #: It is fresh before that time, whoever asks.
        self.until = until
        #: It was judged under this epoch of the backend's generations.
        self.epoch = epoch
        #: It was read since the hand of the eviction last passed.
        self.hit = False
        #: Metadata beyond ``ct`` and ``v``; ``None`` for none.
        self.rest = rest

    def drop(self) -> None:
        """Make the entry useless to whoever remembers it."""
        self.epoch = None
        self.until = _NEVER_FRESH
        self.payload = GONE

    def metadata(self) -> dict[str, Any]:
        """Return the metadata as every backend has it."""
        metadata = {"ct": self.born, "v": value_version}
        if self.rest is not None:
            metadata.update(self.rest)
        return metadata


class MemoryBackend(CacheBackend):
    """A dictionary in this process; hands out the very objects it was given.

    :param arguments: ``cache_dict``: a mapping of your own to keep values in
        (unbounded by us); ``max_entries``; ``max_bytes`` (an estimate, see
        :func:`size_of`); ``policy``: which entries go first, ``"s3fifo"`` or
        ``"lru"``; ``copy``: hand out private copies.
    :raises ValidationError: an argument is no use.
    """

    capabilities = Capabilities(inline=True)
    argument_names = frozenset(
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
        #: What entries were judged under; replaced at each invalidation.
        self.epoch: object = object()
        #: Whether there are entries of an earlier epoch.
        self.is_mixed = False
        #: The generation records, where no eviction reaches them.
        self.records: dict[str, str] = {}
        self.lock = Lock()
        self._given: MutableMapping[KeyType, Any] | None = given
        self._copies = bool(arguments.get("copy"))
        policy = arguments.get("policy", "s3fifo")
        self._entries: dict[KeyType, Entry] = {}
        self._eviction: _Eviction | None = None
        if policy == "lru":
            ordered: OrderedDict[KeyType, Entry] = OrderedDict()
            self._entries = ordered
            self._eviction = _Lru(ordered, max_entries, max_bytes)
        elif policy != "s3fifo":
            raise ValidationError(f"policy is 's3fifo' or 'lru', not {policy!r}")
        elif bounded:
            self._eviction = _S3Fifo(self._entries, max_entries, max_bytes)

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
        entry = self._entries.get(key)
        if entry is None:
            return NO_VALUE
        entry.hit = True
        if self._eviction is not None:
            self._eviction.touch(key)
        return self.value_of(entry)

    def value_of(self, entry: Entry) -> BackendFormatted:
        """Return an entry as a value, :data:`NO_VALUE` if it was dropped."""
        payload = entry.payload
        if payload is GONE:
            return NO_VALUE
        if entry.rest is _RAW:
            raw: bytes = payload
            return raw
        if self._copies:
            payload = pickle.loads(pickle.dumps(payload, 5))  # noqa: S301 - our own
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

        :param until: it is fresh before that time, whoever asks.
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
            payload = pickle.loads(pickle.dumps(payload, 5))  # noqa: S301 - our own
        return self.place(key, payload, born, until, rest)

    def place(
        self,
        key: KeyType,
        payload: Any,
        born: float,
        until: float,
        rest: Mapping[str, Any] | None,
    ) -> Entry:
        """Store a payload; the caller holds :attr:`lock`.

        :return: the entry, which may have been evicted already.
        """
        entry = self._entries.get(key)
        if entry is None:
            entry = Entry(payload, born, until, self.epoch, rest)
            self._entries[key] = entry
            if self._eviction is not None:
                self._eviction.admit(key, payload)
        else:
            # Nobody may see the new payload with the old one's times.
            entry.until = _NEVER_FRESH
            entry.rest = rest
            entry.payload = payload
            entry.born = born
            entry.epoch = self.epoch
            entry.until = until
            if self._eviction is not None:
                self._eviction.resize(key, payload)
        if self._eviction is not None:
            evicted = self._eviction.evict()
            if evicted and self.report is not None:
                self.report("evict", {"keys": evicted})
        return entry

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

    def start_epoch(self, *, is_end: bool) -> None:
        """Note that entries have to be judged anew; the caller holds the lock.

        :param is_end: none of them is good any more.
        """
        self.epoch = object()
        self.is_mixed = not is_end
        if is_end:
            self._drop_all()

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

    def __len__(self) -> int:
        return len(self._entries if self._given is None else self._given)


class MemoryPickleBackend(DefaultSerialization, MemoryBackend):
    """The same, through the codec: each reader has an object of its own."""

    @property
    def entries(self) -> None:
        """``None``: each hit has to be decoded."""
        return


# The metadata of what is stored as bytes, as opposed to a CachedValue.
_RAW: Mapping[str, Any] = {"raw": True}


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


class _Eviction(Protocol):
    """Which entries go when there are too many; called under the lock."""

    def touch(self, key: KeyType) -> None:
        """Note a hit."""

    def admit(self, key: KeyType, payload: Any) -> None:
        """Note a new entry."""

    def resize(self, key: KeyType, payload: Any) -> None:
        """Note that an entry has another payload."""

    def forget(self, key: KeyType) -> None:
        """Note that an entry is gone."""

    def clear(self) -> None:
        """Note that all entries are gone."""

    def evict(self) -> list[KeyType]:
        """Drop entries until the bounds hold, and return their keys."""


class _Bounds:
    """How many entries and bytes there may be, and are."""

    def __init__(self, max_entries: int | None, max_bytes: int | None) -> None:
        self.max_entries = sys.maxsize if max_entries is None else max_entries
        self.max_bytes = max_bytes
        self.bytes = 0
        self._sizes: dict[KeyType, int] = {}

    def weigh(self, key: KeyType, payload: Any) -> None:
        """Note how large the value of a key is."""
        if self.max_bytes is None:
            return
        size = size_of(payload) + sys.getsizeof(key)
        self.bytes += size - self._sizes.get(key, 0)
        self._sizes[key] = size

    def drop(self, key: KeyType) -> None:
        """Note that a key is gone."""
        if self.max_bytes is not None:
            self.bytes -= self._sizes.pop(key, 0)

    def clear(self) -> None:
        """Note that all keys are gone."""
        self._sizes.clear()
        self.bytes = 0

    def are_exceeded(self, count: int) -> bool:
        """Return whether an entry has to go."""
        if count > self.max_entries:
            return True
        return self.max_bytes is not None and self.bytes > self.max_bytes and count > 0


class _S3Fifo:
    """Three queues; a hit is one mark, and moves nothing.

    Yang, Zhang, Qiu, Yue, Vigfusson: *FIFO Queues are All You Need for Cache
    Eviction*, SOSP 2023.
    """

    def __init__(
        self,
        entries: dict[KeyType, Entry],
        max_entries: int | None,
        max_bytes: int | None,
    ) -> None:
        self._entries = entries
        self._bounds = _Bounds(max_entries, max_bytes)
        self._small: deque[KeyType] = deque()
        self._main: deque[KeyType] = deque()
        # Hashes of the keys that went from the small queue, in their order.
        self._ghosts: dict[int, None] = {}

    def touch(self, key: KeyType) -> None:
        """Do nothing: the entry bears the mark."""

    def admit(self, key: KeyType, payload: Any) -> None:
        """Queue a new entry: on probation, unless it was here lately."""
        self._bounds.weigh(key, payload)
        if self._ghosts.pop(hash(key), _ABSENT) is None:
            self._main.append(key)
        else:
            self._small.append(key)
        if len(self._small) + len(self._main) > 2 * len(self._entries) + 64:
            self._compact()

    def resize(self, key: KeyType, payload: Any) -> None:
        """Weigh an entry anew."""
        self._bounds.weigh(key, payload)

    def forget(self, key: KeyType) -> None:
        """Leave the key in its queue, where it is passed over later."""
        self._bounds.drop(key)

    def clear(self) -> None:
        """Start anew."""
        self._small.clear()
        self._main.clear()
        self._ghosts.clear()
        self._bounds.clear()

    def evict(self) -> list[KeyType]:
        """Drop entries until the bounds hold."""
        evicted: list[KeyType] = []
        while self._bounds.are_exceeded(len(self._entries)):
            small = len(self._small) > _SMALL * len(self._entries)
            if small or not self._main:
                self._from_small(evicted)
            else:
                self._from_main(evicted)
        return evicted

    def _from_small(self, evicted: list[KeyType]) -> None:
        if not self._small:
            self._from_main(evicted)
            return
        key = self._small.popleft()
        entry = self._entries.get(key)
        if entry is None:
            return
        if entry.hit:
            entry.hit = False
            self._main.append(key)
            return
        self._drop(key, entry, evicted)
        self._ghosts[hash(key)] = None
        if len(self._ghosts) > len(self._entries):
            del self._ghosts[next(iter(self._ghosts))]

    def _from_main(self, evicted: list[KeyType]) -> None:
        while self._main:
            key = self._main.popleft()
            entry = self._entries.get(key)
            if entry is None:
                continue
            if entry.hit:
                entry.hit = False
                self._main.append(key)
                continue
            self._drop(key, entry, evicted)
            return

    def _drop(self, key: KeyType, entry: Entry, evicted: list[KeyType]) -> None:
        del self._entries[key]
        entry.drop()
        self._bounds.drop(key)
        evicted.append(key)

    def _compact(self) -> None:
        # Keys that were deleted and stored again stand in a queue twice.
        seen: set[KeyType] = set()
        for queue in (self._main, self._small):
            kept = [k for k in queue if k in self._entries and k not in seen]
            seen.update(kept)
            queue.clear()
            queue.extend(dict.fromkeys(kept))


_ABSENT = object()


class _Lru:
    """The least recently used entry goes first."""

    def __init__(
        self,
        entries: OrderedDict[KeyType, Entry],
        max_entries: int | None,
        max_bytes: int | None,
    ) -> None:
        self._entries = entries
        self._bounds = _Bounds(max_entries, max_bytes)

    def touch(self, key: KeyType) -> None:
        """Move the entry to the end of the queue."""
        with contextlib.suppress(KeyError):  # another thread has just dropped it
            self._entries.move_to_end(key)

    def admit(self, key: KeyType, payload: Any) -> None:
        """Weigh a new entry, which stands at the end already."""
        self._bounds.weigh(key, payload)

    def resize(self, key: KeyType, payload: Any) -> None:
        """Weigh an entry anew: it was used."""
        self._bounds.weigh(key, payload)
        self.touch(key)

    def forget(self, key: KeyType) -> None:
        """Weigh an entry no longer."""
        self._bounds.drop(key)

    def clear(self) -> None:
        """Start anew."""
        self._bounds.clear()

    def evict(self) -> list[KeyType]:
        """Drop entries until the bounds hold."""
        evicted: list[KeyType] = []
        while self._bounds.are_exceeded(len(self._entries)):
            key, entry = self._entries.popitem(last=False)
            entry.drop()
            self._bounds.drop(key)
            evicted.append(key)
        return evicted


def size_of(value: Any, limit: int = 1000) -> int:
    """Estimate the bytes of memory that a value takes.

    :param limit: how many objects inside it are looked at; the rest is taken
        to be like them.
    """
    todo = [value]
    seen: set[int] = set()
    total = 0
    while todo and len(seen) < limit:
        item = todo.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        total += sys.getsizeof(item)
        if isinstance(item, Mapping):
            todo.extend(item.keys())
            todo.extend(item.values())
        elif isinstance(item, (list, tuple, set, frozenset, deque)):
            todo.extend(item)
        elif hasattr(item, "__dict__"):
            todo.append(vars(item))
    if todo:
        total += total * len(todo) // len(seen)
    return total


def _bound(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValidationError(f"{name} takes a number from 1 on, not {value!r}")
    return value
