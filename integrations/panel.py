"""What the panels of debug toolbars show: what the regions did for one request."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from html import escape
from typing import Any, TypedDict

from dogpile.cache import CacheRegion

#: The title of the panel, and its name in the bar.
TITLE = "dogpile.cache"

# More than a page needs; each takes room in the page.
_MOST_ROWS = 1000
_LONGEST_KEY = 200
_HITS = ("hit", "stale_hit")


class Row(TypedDict):
    """One event: plain texts and numbers, so that a toolbar can store it."""

    after: float
    region: str
    event: str
    key: str
    seconds: float | None
    error: str


class Told(TypedDict):
    """What a panel shows: rows, and how often each event was."""

    rows: list[Row]
    counts: dict[str, int]
    is_cut: bool


class Recorder:
    """Records what regions do for one request, in whichever threads.

    While it records, the regions tell of every hit, which makes hits slower.

    :param regions: those to listen to.
    """

    def __init__(self, regions: Mapping[str, CacheRegion]) -> None:
        self._regions = dict(regions)
        self._ends: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._rows: list[Row] = []
        self._begun = 0.0
        self._clock: Any = None

    def start(self) -> None:
        """Begin to record what this context does, and what it starts."""
        _current.set(self)
        for name, region in self._regions.items():
            if self._clock is None:
                self._clock = region.clock
                self._begun = self._clock.monotonic()
            self._ends.append(region.on("*", _Listener(self, name)))

    def stop(self) -> None:
        """End it."""
        if _current.get() is self:
            _current.set(None)
        ends, self._ends = self._ends, []
        for end in ends:
            end()

    def hear(self, region: str, event: Any) -> None:
        """Record an event."""
        error = event.details.get("error")
        seconds = event.details.get("seconds")
        row = Row(
            after=self._clock.monotonic() - self._begun,
            region=region,
            event=event.name,
            key=_shown(event.key),
            seconds=None if seconds is None else float(seconds),
            error="" if error is None else type(error).__name__,
        )
        with self._lock:
            self._counts[event.name] += event.details.get("count", 1)
            if len(self._rows) < _MOST_ROWS:
                self._rows.append(row)

    def told(self) -> Told:
        """Return what was recorded."""
        with self._lock:
            cut = len(self._rows) >= _MOST_ROWS
            return Told(rows=list(self._rows), counts=dict(self._counts), is_cut=cut)


_current: ContextVar[Recorder | None] = ContextVar("dogpile_panel", default=None)


class _Listener:
    """Hears a region, and tells the recorder of the request that it is for."""

    def __init__(self, owner: Recorder, region: str) -> None:
        self._owner = owner
        self._region = region

    def __call__(self, event: Any) -> None:
        # Other requests have theirs.
        if _current.get() is self._owner:
            self._owner.hear(self._region, event)


def _shown(key: Any) -> str:
    text = key if isinstance(key, str) else repr(key)
    return text if len(text) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]}…"


def subtitle(told: Told) -> str:
    """Return the sum in one line."""
    counts = told["counts"]
    hits = sum(counts.get(name, 0) for name in _HITS)
    misses = counts.get("miss", 0)
    made = counts.get("create", 0)
    return f"{hits} {_s('hit', hits)}, {misses} {_s('miss', misses)}, {made} created"


def _s(word: str, number: int) -> str:
    if number == 1:
        return word
    return f"{word}es" if word.endswith("s") else f"{word}s"


def content(told: Told) -> str:
    """Return the panel's content as HTML; keys are escaped, values not shown."""
    if not told["rows"]:
        return "<p>No region was asked for anything.</p>"
    sums = _table(
        ("Event", "Times"),
        [[name, str(n)] for name, n in sorted(told["counts"].items())],
    )
    rows = [
        [
            f"{row['after'] * 1000:.1f}",
            row["region"],
            row["event"],
            row["key"],
            "" if row["seconds"] is None else f"{row['seconds'] * 1000:.1f}",
            row["error"],
        ]
        for row in told["rows"]
    ]
    head = ("After (ms)", "Region", "Event", "Key", "Took (ms)", "Error")
    cut = f"<p>The first {_MOST_ROWS} are shown.</p>" if told["is_cut"] else ""
    return f"{sums}{_table(head, rows)}{cut}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = "".join(f"<th>{escape(each)}</th>" for each in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>"
