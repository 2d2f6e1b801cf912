"""A region's view of its backend: values read with their marks, and judged."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

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
from dogpile.cache.coding import Coder, Coding
from dogpile.cache.entries import LocalEntries
from dogpile.cache.events import Events
from dogpile.cache.flight import FlightTable
from dogpile.cache.generations import Generations, Marks, new_id
from dogpile.cache.invalidation import (
    NEVER,
    RegionInvalidationStrategy,
    record_key,
    renewed,
    was_soft,
)
from dogpile.cache.policy import (
    FRESH,
    MISS,
    STALE,
    Policy,
    Verdict,
    invalidity,
    judge,
)
from dogpile.cache.shared import Pending, Shared

# Values, and policies of single calls, that are remembered.
_MANY = 1000


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
        shared = Shared(backend, is_coded=coder is not None)
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
        #: Whether what was read last serves when the backend fails.
        self.is_remembering: bool = policy.on_backend_error == "stale"
        if is_new and self.capabilities.network:
            shared.protect(type(actual).__name__, clock, self._whole)
        #: The entries of a backend that keeps them in this process, or None.
        self.entries: dict[KeyType, Any] | None = None
        if coder is None and backend is actual:
            self.entries = getattr(backend, "entries", None)
        self._wished: dict[tuple[tuple[str, Any], ...], Policy] = {}
        #: The records that are read with each value: its own, its parents'.
        self.records: tuple[str, ...] = (self.record,)
        if parent is not None:
            self.records = (*parent.records, self.record)
        #: Keys and values as the backend takes them.
        self.coding: Coding = Coding(prefix, mangler, coder, events)
        #: What is known of the records, without asking the backend.
        self.marks: Marks = Marks(
            self.records, shared, actual, clock=clock, ttl=generation_ttl
        )
        #: What the records say, and how they are written.
        self.generations: Generations = Generations(
            self.marks,
            self.coding,
            clock=clock,
            is_lasting=self.capabilities.lasting,
        )
        #: What is done to :attr:`entries`, where there are any.
        self.local: LocalEntries = LocalEntries(
            actual, self.flights, policy, self.records
        )

    def _whole(self) -> tuple[str, Any]:
        """Return the region's record, and what makes all of its values invalid."""
        mark = renewed(NEVER, new_id(), hard=True)
        self.marks.note_written(self.record, mark)
        return self.record, self.generations.value(self.record, mark)

    def remember(
        self, found: Iterable[tuple[KeyType, CachedValue | NoValueType]]
    ) -> None:
        """Keep what was read last, for a policy that serves it when all else fails."""
        if not self.is_remembering:
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
        return value, {name: self.marks.last(name) for name in names}

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
        if not self.marks.is_held:
            self.flights.void_all()
            return
        actual: Any = self.actual
        # No commit may come between: it would bear the new epoch.
        with actual.lock:
            self.flights.void_all()
            actual.start_epoch(is_end=is_end and self.entries is not None)
        for watcher in list(self.shared.watchers.values()):
            watcher()

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
