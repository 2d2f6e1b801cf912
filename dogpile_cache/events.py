"""What happened, and how often: event types, listeners, counters."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

from dogpile.cache.exception import ValidationError

#: What can be listened to.
EVENTS = (
    "hit",
    "stale_hit",
    "early_refresh",
    "miss",
    "create",
    "create_failed",
    "wait",
    "put",
    "delete",
    "invalidate",
    "refused_commit",
    "decode_failed",
    "backend_error",
    "evict",
)

# Said only to those who set up logging; errors are never said twice.
_log = logging.getLogger("dogpile.cache")
_log.addHandler(logging.NullHandler())
_WARNED = frozenset({"decode_failed", "backend_error"})


class Event(NamedTuple):
    """Something that a region did.

    :param name: one of :data:`EVENTS`.
    :param region: the region's name.
    :param key: the key as the caller gave it, or as it is stored where only
        that is known; ``None`` where it is not about one key.
    :param details: more about it, never a value: ``seconds``, ``error`` …
    """

    name: str
    region: str | None
    key: Any
    details: Mapping[str, Any]


Listener: TypeAlias = Callable[[Event], object]


class Events:
    """The listeners of a region.

    :param region: the region's name.
    """

    __slots__ = ("_listeners", "changed", "region", "wanted")

    def __init__(self, region: str | None) -> None:
        self.region: str | None = region
        self._listeners: dict[str, tuple[Listener, ...]] = {}
        #: The events that somebody listens to; asked before one is built.
        self.wanted: frozenset[str] = frozenset()
        #: Called when that has changed.
        self.changed: Callable[[], None] | None = None

    def on(self, name: str, listener: Listener) -> Callable[[], None]:
        """Call a function at each event of a kind.

        :param name: one of :data:`EVENTS`, or ``"*"`` for all.
        :return: what ends it.
        :raises ValidationError: there is no such event.
        """
        if name not in (*EVENTS, "*"):
            near = get_close_matches(name, EVENTS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValidationError(
                f"there is no event {name!r}{hint} (known: {', '.join(EVENTS)})"
            )
        names = EVENTS if name == "*" else (name,)
        for each in names:
            self._listeners[each] = (*self._listeners.get(each, ()), listener)
        self._update()
        return lambda: self._off(names, listener)

    def _off(self, names: tuple[str, ...], listener: Listener) -> None:
        for name in names:
            kept = list(self._listeners.get(name, ()))
            if listener in kept:
                kept.remove(listener)
            self._listeners[name] = tuple(kept)
        self._update()

    def _update(self) -> None:
        self.wanted = frozenset(n for n, found in self._listeners.items() if found)
        if self.changed is not None:
            self.changed()

    def emit(self, name: str, key: Any = None, **details: Any) -> None:
        """Tell the listeners; an error of theirs is logged and goes no further.

        :param details: never a value.
        """
        if name in _WARNED:
            self._warn(name, key, details.get("error"))
        if name not in self.wanted:
            return
        event = Event(name, self.region, key, details)
        for listener in self._listeners[name]:
            try:
                listener(event)
            # A listener only looks on: it must not break what it sees.
            except Exception:  # noqa: BLE001
                _log.exception("a listener of %r failed", name)

    def emit_failure(
        self, key: Any, error: Exception, *, is_raised: bool, **details: Any
    ) -> None:
        """Tell that a creator has failed.

        :param is_raised: callers get the error. Else an older value stands in, and
            nobody would hear of it without a log.
        """
        if not is_raised:
            self._warn("create_failed", key, error)
        self.emit("create_failed", key, error=error, **details)

    def _warn(self, name: str, key: Any, error: object) -> None:
        if _log.isEnabledFor(logging.WARNING):
            _log.warning(
                "%s in region %r, key %.80r: %r", name, self.region, key, error
            )


class Statistics:
    """Counts of a region's events, from the moment they are asked for."""

    def __init__(self) -> None:
        self.forget()
        _statistics.add(self)
        self._counts = dict.fromkeys(EVENTS, 0)
        self._created = 0.0
        self._waited = 0.0

    def forget(self) -> None:
        """Be free in the child of a fork: a lost thread may hold the lock."""
        self._lock = Lock()

    def __call__(self, event: Event) -> None:
        """Count an event."""
        seconds = event.details.get("seconds", 0.0)
        with self._lock:
            self._counts[event.name] += event.details.get("count", 1)
            if event.name == "create":
                self._created += seconds
            elif event.name == "wait":
                self._waited += seconds

    def snapshot(self) -> dict[str, float]:
        """Return the counts, and what follows from them.

        ``hit_ratio``, ``creation_seconds`` (all creations together),
        ``wait_seconds`` (all waits together) and ``seconds_saved`` (hits
        times the mean creation) come with them.
        """
        with self._lock:
            counts: dict[str, float] = dict(self._counts)
            created, waited = self._created, self._waited
        hits = counts["hit"] + counts["stale_hit"]
        reads = hits + counts["miss"]
        counts["hit_ratio"] = hits / reads if reads else 0.0
        counts["creation_seconds"] = created
        counts["wait_seconds"] = waited
        mean = created / counts["create"] if counts["create"] else 0.0
        counts["seconds_saved"] = hits * mean
        return counts


_statistics: weakref.WeakSet[Statistics] = weakref.WeakSet()


def _after_fork() -> None:
    for statistics in list(_statistics):
        statistics.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
