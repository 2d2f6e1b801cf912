"""Generation records: what they hold, and what is known of it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from dogpile.cache.api import NO_VALUE, CacheBackend, CachedValue, value_version
from dogpile.cache.clock import Clock
from dogpile.cache.coding import Coding
from dogpile.cache.invalidation import NEVER, renewed
from dogpile.cache.shared import Shared

_UNKNOWN = (NEVER, -math.inf)
# Records whose marks are remembered, tags included.
_MOST_MARKS = 20_000


class Marks:
    """What this process knows of the records.

    :param records: the names of those that are read with each value.
    :param shared: what a region has in common with its namespaces.
    :param actual: the backend; one of this process may keep the records itself,
        where nothing can evict them.
    :param ttl: seconds for which a mark is known well enough.
    """

    def __init__(
        self,
        records: tuple[str, ...],
        shared: Shared,
        actual: CacheBackend,
        *,
        clock: Clock,
        ttl: float,
    ) -> None:
        self.records: tuple[str, ...] = records
        self._shared = shared
        self._actual = actual
        self._clock = clock
        self._ttl = ttl
        self._held: dict[str, str] | None = getattr(actual, "records", None)
        self._marks: dict[str, tuple[str, float]] = shared.marks
        # What its own records hold, until when, and for which version of all.
        self._own: tuple[Mapping[str, str], float, object] = ({}, -math.inf, None)

    @property
    def is_held(self) -> bool:
        """Whether the records are kept in this process, not in the backend."""
        return self._held is not None

    @property
    def until(self) -> float:
        """The monotonic time until which its own marks are known well enough."""
        return self._own[1]

    def known(self, names: Sequence[str]) -> Mapping[str, str] | None:
        """Return the marks of records if all are known well enough.

        :return: ``None`` where a record has to be read.
        """
        if self._held is not None:
            held = self._held
            return {name: held.get(name, NEVER) for name in names}
        now = self._clock.monotonic()
        version = self._shared.version
        if names is self.records:
            known, known_until, known_version = self._own
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
            self._own = marks, until, version
        return marks

    def last(self, name: str) -> str:
        """Return what a record was last seen to hold, however long ago."""
        return self._marks.get(name, _UNKNOWN)[0]

    def note(self, name: str, mark: str, before: object) -> None:
        """Keep what a record held when it was read.

        :param before: as of :meth:`Generations.outdated`. What was read before an
            invalidation of this process must not take the place of its mark.
        """
        with self._shared.lock:
            if self._shared.written is before:
                self._keep(name, mark)

    def note_written(self, name: str, mark: str) -> None:
        """Keep what this process has written into a record."""
        with self._shared.lock:
            self._shared.written = object()
            self._keep(name, mark)

    def renew(self, name: str, *, hard: bool) -> None:
        """Renew a record that is kept in this process."""
        actual: Any = self._actual
        held: dict[str, str] = actual.records
        with actual.lock:
            held[name] = renewed(held.get(name, NEVER), new_id(), hard=hard)

    def _keep(self, name: str, mark: str) -> None:
        if self._held is not None:
            self._held[name] = mark
            return
        old = self._marks.get(name, _UNKNOWN)[0]
        self._marks[name] = (mark, self._clock.monotonic() + self._ttl)
        if old != mark:
            self._shared.version = object()
        if len(self._marks) > _MOST_MARKS:
            self._forget()

    def _forget(self) -> None:
        """Drop what is not known well enough any more: there are many tags."""
        now = self._clock.monotonic()
        for name, (_, until) in list(self._marks.items()):
            if until < now and name not in self.records:
                self._marks.pop(name, None)


class Generations:
    """What a region's records say, and how they are written.

    :param marks: to which is added what is read.
    :param is_lasting: the backend does not lose what it was given.
    """

    def __init__(
        self, marks: Marks, coding: Coding, *, clock: Clock, is_lasting: bool
    ) -> None:
        self._marks = marks
        self._coding = coding
        self._clock = clock
        self._is_lasting = is_lasting

    def outdated(
        self, names: Sequence[str], found: Sequence[Any], before: object
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Keep what the records hold, and find what has to be written anew.

        :param found: what the backend has under the names.
        :param before: what :attr:`Shared.written` was when it was asked.
        :return: the marks of all; and by name what is to be replaced, as
            :data:`NO_VALUE` where the record is lost, as the bytes of an
            outdated key else.
        """
        coder = self._coding.coder
        marks: dict[str, str] = {}
        outdated: dict[str, Any] = {}
        for name, raw in zip(names, found, strict=True):
            value = self._coding.decode(name, raw)
            if value is NO_VALUE:
                is_there = raw is not NO_VALUE and raw is not None
                mark = NEVER
                if is_there or self._has_lost(name):
                    # Values that carry the lost mark must not come back to life.
                    mark = renewed(NEVER, new_id(), hard=True)
                    outdated[name] = NO_VALUE
            else:
                mark = str(value.payload)
                if coder is not None and not coder.is_current(name, raw):
                    outdated[name] = raw
            marks[name] = mark
            if outdated.get(name) is not NO_VALUE:
                self._marks.note(name, mark, before)
        return marks, outdated

    def mark_in(self, name: str, raw: Any, before: object) -> str | None:
        """Return the mark in a record, and keep it; ``None`` if it has none.

        :param before: as of :meth:`outdated`.
        """
        value = self._coding.decode(name, raw)
        if value is NO_VALUE:
            return None
        mark = str(value.payload)
        self._marks.note(name, mark, before)
        return mark

    def value(self, name: str, mark: str) -> Any:
        """Return a record in the form that the backend takes."""
        value = CachedValue(mark, {"ct": self._clock.time(), "v": value_version})
        return self._coding.encode(name, value)

    def _has_lost(self, name: str) -> bool:
        if not self._is_lasting:
            return True
        return self._marks.last(name) != NEVER


def new_id() -> str:
    """Return an id that was never used before."""
    return os.urandom(9).hex()
