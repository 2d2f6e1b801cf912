"""Which entries of this process's memory go when there are too many."""

from __future__ import annotations

import contextlib
import sys
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any, Protocol

from dogpile.cache.api import KeyType

# The share of the entries that are on probation, as in the paper.
_SMALL = 0.1


class Droppable(Protocol):
    """What an eviction asks of an entry."""

    #: It was read since the hand of the eviction last passed.
    hit: bool

    def drop(self) -> None:
        """Make the entry useless to whoever remembers it."""


class Eviction(Protocol):
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


class S3Fifo:
    """Three queues; a hit is one mark, and moves nothing.

    Yang, Zhang, Qiu, Yue, Vigfusson: *FIFO Queues are All You Need for Cache
    Eviction*, SOSP 2023.
    """

    def __init__(
        self,
        entries: dict[KeyType, Any],
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

    def _drop(self, key: KeyType, entry: Droppable, evicted: list[KeyType]) -> None:
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


class Lru:
    """The least recently used entry goes first."""

    def __init__(
        self,
        entries: OrderedDict[KeyType, Any],
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
