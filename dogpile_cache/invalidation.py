"""Whole regions and groups of keys: records of random ids, compared. Pure.

A record is a string ``hard.soft`` of two random ids, stored under a key of
its own; a value carries the records it was created under. Ids are random, not
times, so that clocks need not agree. An empty record was never written.
"""

from __future__ import annotations

from collections.abc import Mapping

from dogpile.cache.api import RECORD_PREFIX
from dogpile.cache.clock import SYSTEM_CLOCK
from dogpile.cache.mangler import limited

NEVER = ""

# With the prefix it is less than any backend takes.
_LONGEST_NAME = 200


def record_key(kind: str, name: str) -> str:
    """Return the key under which a record is stored.

    :param kind: ``"r"`` for a region or namespace, ``"t"`` for a tag.
    :param name: of the region or tag.

    >>> record_key("r", "pages")
    'dogpile:g:r:pages'
    """
    legal = name.isascii() and name.isprintable() and " " not in name
    if not legal or len(name) > _LONGEST_NAME:
        # Records are written as they are: each backend must take their keys.
        name = limited(_LONGEST_NAME, forbid_controls=True, ascii_only=True)(name)
    return f"{RECORD_PREFIX}{kind}:{name}"


def renewed(mark: str, new_id: str, *, hard: bool) -> str:
    """Return what a record holds after an invalidation.

    :param mark: what it held.
    :param new_id: a random id, never used before.
    :param hard: values are gone, not only stale.

    >>> renewed("a.b", "c", hard=True), renewed("a.b", "c", hard=False)
    ('c.', 'a.c')
    """
    if hard:
        return f"{new_id}."
    return f"{mark.partition('.')[0]}.{new_id}"


def was_soft(mark: str) -> bool:
    """Return whether the last invalidation was a soft one."""
    return bool(mark.partition(".")[2])


def carried(generations: Mapping[str, str]) -> dict[str, str]:
    """Return the marks that a value created now has to carry."""
    return {name: mark for name, mark in generations.items() if mark}


class RegionInvalidationStrategy:
    """How a region is invalidated, the 1.x way: by times, in this process.

    A subclass handed over as ``region_invalidator`` replaces the records in
    the backend. Times are seconds since the epoch.
    """

    def invalidate(self, hard: bool = True) -> None:
        """Invalidate the region."""
        raise NotImplementedError(f"{type(self).__name__}.invalidate")

    def is_hard_invalidated(self, timestamp: float) -> bool:
        """Return whether a value created then is gone."""
        raise NotImplementedError(f"{type(self).__name__}.is_hard_invalidated")

    def is_soft_invalidated(self, timestamp: float) -> bool:
        """Return whether a value created then is stale."""
        raise NotImplementedError(f"{type(self).__name__}.is_soft_invalidated")

    def is_invalidated(self, timestamp: float) -> bool:
        """Return whether a value created then is gone or stale."""
        raise NotImplementedError(f"{type(self).__name__}.is_invalidated")

    def was_soft_invalidated(self) -> bool:
        """Return whether the last invalidation was a soft one."""
        raise NotImplementedError(f"{type(self).__name__}.was_soft_invalidated")

    def was_hard_invalidated(self) -> bool:
        """Return whether the last invalidation was a hard one."""
        raise NotImplementedError(f"{type(self).__name__}.was_hard_invalidated")


class DefaultInvalidationStrategy(RegionInvalidationStrategy):
    """Times of the last invalidation, kept in this process (1.x)."""

    def __init__(self) -> None:
        self._hard: float | None = None
        self._soft: float | None = None

    def invalidate(self, hard: bool = True) -> None:
        """Invalidate the region."""
        now = SYSTEM_CLOCK.time()
        self._hard, self._soft = (now, None) if hard else (None, now)

    def is_hard_invalidated(self, timestamp: float) -> bool:
        """Return whether a value created then is gone."""
        return self._hard is not None and timestamp < self._hard

    def is_soft_invalidated(self, timestamp: float) -> bool:
        """Return whether a value created then is stale."""
        return self._soft is not None and timestamp < self._soft

    def is_invalidated(self, timestamp: float) -> bool:
        """Return whether a value created then is gone or stale."""
        return self.is_hard_invalidated(timestamp) or self.is_soft_invalidated(
            timestamp
        )

    def was_soft_invalidated(self) -> bool:
        """Return whether the last invalidation was a soft one."""
        return self._soft is not None

    def was_hard_invalidated(self) -> bool:
        """Return whether the last invalidation was a hard one."""
        return self._hard is not None
