"""A region's view of its backend: keys mangled, values coded, records read along."""

from __future__ import annotations

import math
import os
import random
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from dogpile.cache.api import (
    NO_VALUE,
    CacheBackend,
    CachedValue,
    Capabilities,
    KeyManglerType,
    KeyType,
    NoValueType,
    value_version,
)
from dogpile.cache.clock import Clock
from dogpile.cache.events import Events
from dogpile.cache.exception import CodecError
from dogpile.cache.flight import Flight, FlightTable
from dogpile.cache.invalidation import (
    NEVER,
    RegionInvalidationStrategy,
    record_key,
    renewed,
    was_soft,
)
from dogpile.cache.lease import Fence, pauses
from dogpile.cache.policy import (
    FRESH,
    MISS,
    STALE,
    Policy,
    Verdict,
    fresh_until,
    invalidity,
    judge,
)
from dogpile.cache.resilience import Guard

#: How often a lost record is tried to be written before it is written anyway.
PLACING_TRIES = 20


class Coder(Protocol):
    """From values to bytes and back: ``codecs.Chain``."""

    @property
    def is_unguarded_pickle(self) -> bool:
        """Whether whoever can write bytes has code run where they are read."""

    def encode(self, key: KeyType, value: CachedValue) -> bytes:
        """Return a value as bytes."""

    def decode(self, key: KeyType, raw: bytes) -> CachedValue:
        """Return bytes as a value."""

    def is_current(self, key: KeyType, raw: bytes) -> bool:
        """Return whether bytes were written as they would be now."""

    def encode_failure(self, key: KeyType, error: BaseException) -> bytes:
        """Return a creator's error as bytes."""

    def decode_failure(self, key: KeyType, raw: bytes) -> BaseException:
        """Return bytes as a creator's error."""


class Storage:
    """What a region reads from and writes to.

    The operations of the backend are in :attr:`ops`, by the same name
    whatever the backend: ``get``, ``get_multi``, ``set``, ``set_multi``,
    ``delete``, ``delete_multi``, ``lease``, ``renew``, ``commit``,
    ``release``, their multi forms and ``is_leased``.

    :param backend: the outermost proxy, or the backend itself.
    :param actual: the backend inside the proxies.
    :param name: of the region, for its record; ``""`` for none.
    :param prefix: put before each key; a namespace has one.
    :param mangler: makes keys that the backend takes.
    :param coder: for a backend of bytes.
    :param policy: the region's.
    :param parent: of the region that this one is a namespace of.
    :param before: what this takes the place of; what goes on in the same
        backend goes on.
    """

    def __init__(
        self,
        backend: CacheBackend,
        actual: CacheBackend,
        *,
        name: str,
        prefix: str,
        mangler: KeyManglerType | None,
        coder: Coder | None,
        policy: Policy,
        clock: Clock,
        events: Events,
        generation_ttl: float,
        invalidator: RegionInvalidationStrategy | None,
        parent: Storage | None = None,
        before: Storage | None = None,
    ) -> None:
        self.backend = backend
        self.actual = actual
        self.prefix = prefix
        self.mangler = mangler
        self.coder = coder
        self.policy = policy
        self.clock = clock
        self.events = events
        self.generation_ttl = generation_ttl
        self.invalidator = invalidator
        self.capabilities: Capabilities = backend.capabilities
        self.record: str = record_key("r", name)
        is_new = parent is None and (before is None or before.backend is not backend)
        shared = Shared(backend, coder)
        if parent is not None:
            shared = parent.shared
        elif before is not None and not is_new:
            shared = before.shared
        #: What a region shares with its namespaces.
        self.shared: Shared = shared
        self.flights: FlightTable = shared.flights
        self.ops: dict[str, Callable[..., Any]] = shared.ops
        self.pending: Pending = shared.pending
        #: Whether the backend tells those who wait for a lease of its end.
        self.is_told: bool = (
            bool(getattr(actual, "notify", False)) and backend is actual
        )
        self._is_remembering = policy.on_backend_error == "stale"
        if is_new and self.capabilities.network:
            self._guard()
        #: The entries of a backend that keeps them in this process, or None.
        self.entries: dict[KeyType, Any] | None = None
        if coder is None and backend is actual:
            self.entries = getattr(backend, "entries", None)
        #: Called when what was judged before has to be judged anew; by region.
        self.watchers: weakref.WeakKeyDictionary[Any, Callable[[], None]] = (
            shared.watchers
        )
        self._shared_rests: dict[tuple[tuple[str, str], ...], Mapping[str, Any]] = {}
        self._wished: dict[tuple[tuple[str, Any], ...], Policy] = {}
        #: The records that are read with each value: its own, its parents'.
        self.records: tuple[str, ...] = (self.record,)
        if parent is not None:
            self.records = (*parent.records, self.record)
        # Kept where nothing can evict it, for a backend of this process.
        held = getattr(actual, "records", None)
        self._held: dict[str, str] | None = held
        self._marks: dict[str, tuple[str, float]] = shared.marks
        # What its own records hold, until when, and for which version of all.
        self._known: tuple[Mapping[str, str], float, object] = ({}, -math.inf, None)

    def _guard(self) -> None:
        """Put a circuit breaker around the operations of a network backend."""
        shared = self.shared
        guard = Guard(type(self.actual).__name__, self.clock, self._whole)
        plain = dict(self.ops)
        for name in plain:
            shared.ops[name] = guard.wrap(name, plain)
        for name in _READING & plain.keys():
            shared.ops[name] = guard.wrap_read(name, plain)
        shared.guard = guard

    def _whole(self) -> tuple[str, Any]:
        """Return the region's record, and what makes all of its values invalid."""
        mark = renewed(NEVER, new_id(), hard=True)
        self.note_written(self.record, mark)
        return self.record, self.record_value(self.record, mark)

    def async_op(self, name: str) -> Callable[..., Any] | None:
        """Return an operation's native coroutine function, if there is one."""
        guard = self.shared.guard
        if guard is None or not self.capabilities.native_async:
            return self._native(name)
        known = self.shared.async_ops.get(name)
        if known is None and self._native(name) is not None:
            known = guard.wrap_async(name, self._native)  # type: ignore[arg-type]
            self.shared.async_ops[name] = known
        return known

    def _native(self, name: str) -> Callable[..., Any] | None:
        if not self.capabilities.native_async:
            return None
        suffixed = name + "_serialized" if name in ("get", "set") else name
        if name in ("get_multi", "set_multi"):
            suffixed = name.replace("_multi", "_serialized_multi")
        elif name == "get_records":
            suffixed = "get_serialized_multi"
        elif name == "set_record":
            suffixed = "set_serialized"
        elif name.endswith("_record"):
            suffixed = name.removesuffix("_record")
        found: Callable[..., Any] | None = getattr(self.backend, f"a{suffixed}", None)
        return found

    # Keys and values

    def key(self, key: KeyType) -> KeyType:
        """Return a key as it is stored."""
        if self.prefix:
            key = f"{self.prefix}{key}"
        return key if self.mangler is None else self.mangler(key)

    def keys(self, keys: Iterable[KeyType]) -> list[KeyType]:
        """Return keys as they are stored."""
        if self.prefix:
            keys = [f"{self.prefix}{key}" for key in keys]
        if self.mangler is None:
            return list(keys)
        many = getattr(self.mangler, "many", None)
        if many is not None:
            return list(many(list(keys)))
        return list(map(self.mangler, keys))

    def decode(self, key: KeyType, raw: Any) -> CachedValue | NoValueType:
        """Return what a backend gave as a value; what does not decode is none.

        :param key: as it is stored.
        """
        if raw is NO_VALUE or raw is None:
            return NO_VALUE
        if self.coder is None:
            if isinstance(raw, CachedValue):
                return raw
            # A backend may hand out a plain tuple, such as JSON's.
            return _as_value(raw)
        try:
            return self.coder.decode(key, raw)
        except CodecError as error:
            self.events.emit("decode_failed", key, error=error)
            return NO_VALUE

    def encode(self, key: KeyType, value: CachedValue) -> Any:
        """Return a value in the form that the backend takes.

        :raises Unserializable: it cannot be turned into bytes.
        """
        return value if self.coder is None else self.coder.encode(key, value)

    # Generations

    def marks_in_cache(self, names: Sequence[str]) -> Mapping[str, str] | None:
        """Return the marks of records if all are known well enough.

        :return: ``None`` where a record has to be read.
        """
        if self._held is not None:
            held = self._held
            return {name: held.get(name, NEVER) for name in names}
        now = self.clock.monotonic()
        version = self.shared.version
        if names is self.records:
            known, known_until, known_version = self._known
            if now < known_until and known_version is version:
                return known
        marks = {}
        until = math.inf
        for name in names:
            mark, known_until = self._marks.get(name, _UNKNOWN)
            if known_until <= now:
                return None
            marks[name] = mark
            until = min(until, known_until)
        if names is self.records:
            self._known = marks, until, version
        return marks

    @property
    def known_until(self) -> float:
        """The monotonic time until which its own marks are known well enough."""
        return self._known[1]

    def note_records(
        self, names: Sequence[str], found: Sequence[Any], before: object
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Keep what the records hold, and find what has to be written anew.

        :param found: what the backend has under the names.
        :param before: what :attr:`Shared.written` was when it was asked.
        :return: the marks of all; and by name what is to be replaced, as
            :data:`NO_VALUE` where the record is lost, as the bytes of an
            outdated key else.
        """
        marks: dict[str, str] = {}
        outdated: dict[str, Any] = {}
        for name, raw in zip(names, found, strict=True):
            value = self.decode(name, raw)
            if value is NO_VALUE:
                is_there = raw is not NO_VALUE and raw is not None
                mark = NEVER
                if is_there or self._has_lost(name):
                    # Values that carry the lost mark must not come back to life.
                    mark = renewed(NEVER, new_id(), hard=True)
                    outdated[name] = NO_VALUE
            else:
                mark = str(value.payload)
                if self.coder is not None and not self.coder.is_current(name, raw):
                    outdated[name] = raw
            marks[name] = mark
            if outdated.get(name) is not NO_VALUE:
                self.note_mark(name, mark, before)
        return marks, outdated

    def note_mark(self, name: str, mark: str, before: object) -> None:
        """Keep what a record held when it was read.

        :param before: as of :meth:`note_records`. What was read before an
            invalidation of this process must not take the place of its mark.
        """
        with self.shared.lock:
            if self.shared.written is before:
                self._keep_mark(name, mark)

    def note_written(self, name: str, mark: str) -> None:
        """Keep what this process has written into a record."""
        with self.shared.lock:
            self.shared.written = object()
            self._keep_mark(name, mark)

    def _keep_mark(self, name: str, mark: str) -> None:
        if self._held is not None:
            self._held[name] = mark
            return
        old = self._marks.get(name, _UNKNOWN)[0]
        self._marks[name] = (mark, self.clock.monotonic() + self.generation_ttl)
        if old != mark:
            self.shared.version = object()
        if len(self._marks) > _MOST_MARKS:
            self._forget_marks()

    def _forget_marks(self) -> None:
        """Drop what is not known well enough any more: there are many tags."""
        now = self.clock.monotonic()
        for name, (_, until) in list(self._marks.items()):
            if until < now and name not in self.records:
                self._marks.pop(name, None)

    def renew_held(self, name: str, *, hard: bool) -> None:
        """Renew a record that is kept in this process."""
        actual: Any = self.actual
        held: dict[str, str] = actual.records
        with actual.lock:
            held[name] = renewed(held.get(name, NEVER), new_id(), hard=hard)

    def record_value(self, name: str, mark: str) -> Any:
        """Return a record in the form that the backend takes."""
        value = CachedValue(mark, {"ct": self.clock.time(), "v": value_version})
        return self.encode(name, value)

    @property
    def holds_records(self) -> bool:
        """Whether the records are kept in this process, not in the backend."""
        return self._held is not None

    def _has_lost(self, name: str) -> bool:
        if not self.capabilities.lasting:
            return True
        return self._marks.get(name, _UNKNOWN)[0] != NEVER

    def marks(self, names: Sequence[str], *, strict: bool = False) -> Mapping[str, str]:
        """Return what records hold, in this thread.

        :param strict: ask the backend, whatever is known.
        """
        known = None if strict else self.marks_in_cache(names)
        if known is None and self._held is not None:
            known = self.marks_in_cache(names)
        if known is not None:
            return known
        before = self.shared.written
        found = self.ops["get_records"](list(names))
        return self._noted(names, found, before)

    def _noted(
        self, names: Sequence[str], found: Sequence[Any], before: object
    ) -> Mapping[str, str]:
        marks, outdated = self.note_records(names, found, before)
        for name, old in outdated.items():
            if old is NO_VALUE:
                marks[name] = self._placed(name, marks[name])
                continue
            raw = self.record_value(name, marks[name])
            # Only if nobody has invalidated since: a plain write would undo it.
            lease = self.ops["lease_record"](name, self.policy.lease_time)
            if lease.granted and lease.found == old:
                self.ops["commit_record"](lease, raw)
            elif lease.granted:
                self.ops["release_record"](lease)
        return marks

    def _placed(self, name: str, mark: str) -> str:
        """Write a record that is lost; the twin of what loops await."""
        next_pause, raw = pauses(), self.record_value(name, mark)
        for _ in range(PLACING_TRIES):
            before = self.shared.written
            lease = self.ops["lease_record"](name, self.policy.lease_time)
            held = self.mark_in(name, lease.found, before)
            if held is not None:
                if lease.granted:
                    self.ops["release_record"](lease)
                return held
            if not lease.granted:
                self.clock.sleep(next_pause())
            elif self.ops["commit_record"](lease, raw):
                self.note_mark(name, mark, before)
                return mark
        self.ops["set_record"](name, raw)
        return mark

    def mark_in(self, name: str, raw: Any, before: object) -> str | None:
        """Return the mark in a record, and keep it; ``None`` if it has none.

        :param before: as of :meth:`note_records`.
        """
        value = self.decode(name, raw)
        if value is NO_VALUE:
            return None
        mark = str(value.payload)
        self.note_mark(name, mark, before)
        return mark

    def tag_marks(self, tags: tuple[str, ...]) -> Mapping[str, str]:
        """Return the marks that values of these tags have to carry now."""
        return self.marks(self.tag_records(tags), strict=True)

    def read(
        self, key: KeyType, names: Sequence[str], raw: Any = None
    ) -> tuple[CachedValue | NoValueType, Mapping[str, str]]:
        """Read a value in this thread, and the marks that it is judged by.

        :param key: as it is stored.
        :param names: the records that the reader looks at.
        :param raw: what the backend has, if that was read a moment ago.
        """
        marks = self.marks_in_cache(names)
        before = self.shared.written
        if raw is not None:
            value = self.decode(key, raw)
            if marks is None:
                records = self.ops["get_records"](list(names))
                marks = self._noted(names, records, before)
        elif marks is not None:
            value = self.decode(key, self.ops["get"](key))
        elif self.capabilities.multi:
            raw, *records = self.ops["get_multi"]([key, *names])
            value = self.decode(key, raw)
            marks = self._noted(names, records, before)
        else:
            value = self.decode(key, self.ops["get"](key))
            records = self.ops["get_records"](list(names))
            marks = self._noted(names, records, before)
        if self._is_remembering:
            self.remember([(key, value)])
        if value is not NO_VALUE and "t" in value.metadata:
            own = self.own_records(value, names)
            if own:
                marks = {**marks, **self.marks(own)}
        return value, marks

    def remember(
        self, found: Iterable[tuple[KeyType, CachedValue | NoValueType]]
    ) -> None:
        """Keep what was read last, for a policy that serves it when all else fails."""
        if not self._is_remembering:
            return
        last = self.shared.last
        for key, value in found:
            if value is NO_VALUE:
                last.pop(key, None)
            else:
                last[key] = value
        while len(last) > _MANY:
            last.pop(next(iter(last)), None)

    def last_seen(
        self, key: KeyType
    ) -> tuple[CachedValue | NoValueType, Mapping[str, str]]:
        """Return what was read last, and what its records held last."""
        value = self.shared.last.get(key, NO_VALUE)
        names = self.records
        if value is not NO_VALUE:
            names = (*names, *value.metadata.get("t", ()))
        return value, {name: self._marks.get(name, _UNKNOWN)[0] for name in names}

    def own_records(self, value: CachedValue, names: Sequence[str]) -> tuple[str, ...]:
        """Return the records that a value carries, and its reader does not know."""
        return tuple(name for name in value.metadata["t"] if name not in names)

    def miss(self, keys: list[KeyType]) -> None:
        """Have keys be deleted as soon as an absent backend is there again."""
        if self.shared.guard is not None:
            self.shared.guard.refused("delete_multi", (keys,))

    def forget(self, keys: Iterable[KeyType]) -> None:
        """Void what is being created, and what was read, of keys written to."""
        for key in keys:
            self.flights.void(key)
            self.shared.last.pop(key, None)

    def start_epoch(self, *, is_end: bool = False) -> None:
        """Have everything be judged anew, and nothing be stored that is old.

        :param is_end: no value in the backend is good any more.
        """
        if self._held is None:
            self.flights.void_all()
            return
        actual: Any = self.actual
        # No commit may come between: it would bear the new epoch.
        with actual.lock:
            self.flights.void_all()
            actual.start_epoch(is_end=is_end and self.entries is not None)
        for watcher in list(self.watchers.values()):
            watcher()

    # Entries of this process

    def commit_entry(self, flight: Flight, value: CachedValue) -> Any:
        """Store what a flight created, unless it was voided.

        :return: the entry, or ``None`` if it was refused.
        """
        backend: Any = self.actual
        metadata = value.metadata
        rest = None if len(metadata) == 2 else self._rest(metadata)
        until = fresh_until(metadata, self.policy)
        with backend.lock:
            if flight.void:
                return None
            return backend.place(flight.key, value.payload, metadata["ct"], until, rest)

    @property
    def epoch(self) -> object:
        """What is replaced when entries of this process have to be judged anew."""
        return getattr(self.actual, "epoch", None)

    def put_entries(self, values: Mapping[KeyType, CachedValue], epoch: object) -> bool:
        """Store values, and void their keys' flights.

        :param epoch: the one that the values' marks were read in.
        :return: False if it has ended meanwhile: nothing is stored.
        """
        backend: Any = self.actual
        with backend.lock:
            if backend.epoch is not epoch:
                return False
            for key, (payload, metadata) in values.items():
                rest = None if len(metadata) == 2 else self._rest(metadata)
                until = fresh_until(metadata, self.policy)
                backend.place(key, payload, metadata["ct"], until, rest)
                self.flights.void(key)
        return True

    def delete_entry(self, key: KeyType) -> None:
        """Delete a value, and void the key's flight."""
        backend: Any = self.actual
        with backend.lock:
            backend.remove(key)
            self.flights.void(key)

    def _rest(self, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        rest = {name: metadata[name] for name in metadata if name not in ("ct", "v")}
        if len(rest) == 1 and "t" in rest:
            # All that is created under the same marks shares one mapping.
            marks = tuple(sorted(rest["t"].items()))
            if len(self._shared_rests) > _MANY:
                self._shared_rests.clear()
            return self._shared_rests.setdefault(marks, rest)
        return rest

    def tag_records(self, tags: Iterable[str]) -> tuple[str, ...]:
        """Return the names of the records of tags."""
        return tuple(record_key("t", self.prefix + tag) for tag in tags)

    def records_for(self, policy: Policy) -> tuple[str, ...]:
        """Return the names of the records that a reader looks at."""
        if not policy.tags:
            return self.records
        return (*self.records, *self.tag_records(policy.tags))

    def wished(self, settings: Mapping[str, Any]) -> Policy:
        """Return the region's policy with some fields replaced, for one call.

        :raises ValidationError: an unknown name, or a value that is no use.
        """
        try:
            asked = tuple(settings.items())
            known = self._wished.get(asked)
        except TypeError:  # not everything that is given can be hashed
            return self.policy.merged(settings)
        if known is None:
            known = self.policy.merged(settings)
            if "version" in settings:
                return known  # 1 and True are alike, and other versions
            if len(self._wished) >= _MANY:
                self._wished.clear()
            self._wished[asked] = known
        return known

    # Decisions

    def judge(
        self,
        value: CachedValue | NoValueType,
        policy: Policy,
        marks: Mapping[str, str],
        *,
        explicit: bool = False,
    ) -> Verdict:
        """Judge a value as a reader with that policy does now."""
        if value is NO_VALUE:
            return MISS
        u = random.random() if policy.early else 0.0  # noqa: S311 - no secret
        now = self.clock.time()
        verdict = judge(value.metadata, now, policy, marks, u, explicit=explicit)
        return self._ask_invalidator(value, verdict)

    def invalidity(
        self,
        value: CachedValue | NoValueType,
        policy: Policy,
        marks: Mapping[str, str],
    ) -> Verdict:
        """Judge a value whatever its age: FRESH, STALE or MISS."""
        if value is NO_VALUE:
            return MISS
        verdict = invalidity(value.metadata, policy, marks)
        return self._ask_invalidator(value, verdict)

    def was_soft(self, marks: Mapping[str, str]) -> bool:
        """Return whether the region was last invalidated softly."""
        if self.invalidator is not None and self.invalidator.was_soft_invalidated():
            return True
        return any(was_soft(marks.get(name, NEVER)) for name in self.records)

    def _ask_invalidator(self, value: CachedValue, verdict: Verdict) -> Verdict:
        invalidator = self.invalidator
        if invalidator is None or verdict is MISS:
            return verdict
        created = value.metadata["ct"]
        if invalidator.is_hard_invalidated(created):
            return MISS
        if verdict is FRESH and invalidator.is_soft_invalidated(created):
            return STALE
        return verdict

    def metadata(
        self,
        started: float,
        policy: Policy,
        marks: Mapping[str, str],
        *,
        more: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the metadata of a value that was created under a policy.

        :param started: when its creation started.
        :param marks: the generations when it started.
        :param more: what the creation itself has to say.
        """
        metadata: dict[str, Any] = {"ct": started, "v": value_version}
        region = self.policy
        if policy is not region:
            if policy.expiration_time != region.expiration_time:
                metadata["x"] = policy.expiration_time
            if policy.grace != region.grace:
                metadata["g"] = policy.grace
        if policy.jitter and policy.expiration_time is not None:
            share = policy.jitter * random.random()  # noqa: S311 - no secret
            metadata["x"] = policy.expiration_time * (1.0 - share)
        if policy.version is not None:
            metadata["n"] = policy.version
        # A tag is read along only if the value names it, even one that was
        # never invalidated; the region's own records are read in any case.
        own = self.records
        held = {name: mark for name, mark in marks.items() if mark or name not in own}
        if held:
            metadata["t"] = held
        if more:
            metadata.update(more)
        return metadata


class Shared:
    """What a region and its namespaces have in common."""

    def __init__(self, backend: CacheBackend, coder: Coder | None) -> None:
        self.flights: FlightTable = FlightTable()
        self.ops: dict[str, Callable[..., Any]] = _operations(backend, coder)
        self.guard: Guard | None = None
        self.async_ops: dict[str, Callable[..., Any]] = {}
        self.pending: Pending = Pending()
        self.watchers: weakref.WeakKeyDictionary[Any, Callable[[], None]] = (
            weakref.WeakKeyDictionary()
        )
        #: What was read last, by stored key, where that may be served.
        self.last: dict[KeyType, CachedValue] = {}
        #: What the records held, and until when that is known well enough.
        self.marks: dict[str, tuple[str, float]] = {}
        #: Another one whenever one of the marks has changed.
        self.version: object = object()
        #: Another one whenever this process has written a record.
        self.written: object = object()
        #: Held while a mark is kept.
        self.lock: threading.Lock = threading.Lock()
        _shared.add(self)

    def forget(self) -> None:
        """Be free in the child of a fork: a lost thread may hold the lock."""
        self.lock = threading.Lock()


class Pending:
    """The refreshes that are under way in the background."""

    def __init__(self) -> None:
        self.forget()
        _pendings.add(self)

    def forget(self) -> None:
        """Start anew in the child of a fork: the refreshes are its parent's."""
        self._count = 0
        self._changed = threading.Condition()

    def begin(self) -> None:
        """Note that one began."""
        with self._changed:
            self._count += 1

    def end(self) -> None:
        """Note that one ended."""
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until all have ended.

        :param seconds: to wait at most.
        :return: whether all have.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._count == 0, seconds)


_UNKNOWN = (NEVER, -math.inf)
# Records whose marks are remembered, tags included.
_MOST_MARKS = 20_000
# Sets of marks whose mapping is remembered.
_MANY = 1000


_pendings: weakref.WeakSet[Pending] = weakref.WeakSet()
_shared: weakref.WeakSet[Shared] = weakref.WeakSet()


def _after_fork() -> None:
    for pending in list(_pendings):
        pending.forget()
    for shared in list(_shared):
        shared.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def new_id() -> str:
    """Return an id that was never used before."""
    return os.urandom(9).hex()


def _as_value(raw: Any) -> CachedValue | NoValueType:
    try:
        payload, metadata = raw
        metadata["ct"]
    except (TypeError, ValueError, KeyError):
        return NO_VALUE
    return CachedValue(payload, metadata)


def _operations(
    backend: CacheBackend, coder: Coder | None
) -> dict[str, Callable[..., Any]]:
    """Return the operations of a backend by name, leases included."""
    suffix = "" if coder is None else "_serialized"
    inner: Any = backend
    while hasattr(inner, "proxied"):
        inner = inner.proxied
    ops: dict[str, Callable[..., Any]] = {
        "get": getattr(backend, f"get{suffix}"),
        "get_multi": getattr(backend, f"get{suffix}_multi"),
        "get_records": getattr(inner, f"get{suffix}_multi"),
        "set_record": getattr(inner, f"set{suffix}"),
        "set": getattr(backend, f"set{suffix}"),
        "set_multi": getattr(backend, f"set{suffix}_multi"),
        "delete": backend.delete,
        "delete_multi": backend.delete_multi,
    }
    if coder is not None and _is_peeked(backend):
        ops["peek"] = inner.peek
        ops["peek_multi"] = inner.peek_multi
    leasing: Any = backend
    names: tuple[str, ...] = _LEASING
    if not backend.capabilities.leases:
        leasing, inner = Fence(backend, suffix), Fence(inner, suffix)
        ops["set_record"] = inner.set
        names += ("set", "set_multi", "delete", "delete_multi")
    if hasattr(backend, "wait_for"):
        names += ("wait_for",)
    for name in names:
        ops[name] = getattr(leasing, name)
    for name in ("lease", "commit", "release"):
        ops[f"{name}_record"] = getattr(inner, name)
    return ops


def _is_peeked(backend: CacheBackend) -> bool:
    """Return whether a backend has what is shorter than reading, and true to it.

    A subclass that reads in a way of its own has not, and no proxy.
    """

    def owner(name: str) -> type | None:
        return next(
            (each for each in type(backend).__mro__ if name in vars(each)), None
        )

    own = owner("peek")
    return own is not None and own is owner("get_serialized") is owner(
        "get_serialized_multi"
    )


_READING = frozenset({"get", "get_multi", "peek", "peek_multi"})
_LEASING = (
    "lease",
    "lease_multi",
    "renew",
    "commit",
    "commit_multi",
    "release",
    "release_multi",
    "is_leased",
)
