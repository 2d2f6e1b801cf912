"""What a figure is, and how contestants are timed: by turns, in one process."""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias, final

#: The hand-written code that ratios are made with.
FLOOR = "floor"
#: This package; in the second environment the 1.x release.
OURS = "dogpile.cache"
CLASSIC = "1.5.0"

#: Seconds (or whatever the row counts) by contestant, by row.
Readings: TypeAlias = dict[str, dict[str, float]]
#: Does something so many times, and returns the seconds that it took.
Run: TypeAlias = Callable[[int], float]


class Effort(NamedTuple):
    """How much a round is to do.

    :param scale: of counts and times; 1.0 for figures to be believed.
    :param turn: the number of the round, from 0.
    :param is_classic: measure the 1.x release.
    """

    scale: float
    turn: int
    is_classic: bool

    def times(self, count: int) -> int:
        """Return a count, scaled."""
        return max(1, round(count * self.scale))


class Limit(NamedTuple):
    """What a row has to keep to.

    :param bound: a factor; percentage points, or the value itself.
    :param reference: the contestant that ours is compared with; ``""``: none.
    :param at_least: more is better.
    :param points: compare by difference.
    """

    bound: float
    reference: str = FLOOR
    at_least: bool = False
    points: bool = False


class Row(NamedTuple):
    """One line of the table.

    :param name: also its key in the readings.
    :param unit: a key of ``report.UNITS``.
    """

    name: str
    unit: str
    limits: tuple[Limit, ...] = ()
    reference: str = FLOOR


class Figure(NamedTuple):
    """Rows that are measured together.

    :param name: for ``--only``.
    :param measure: one round; runs in a process of its own.
    :param with_classic: the 1.x release can do it, too.
    :param is_parallel: needs more than one processor.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    measure: Callable[[Effort], Readings]
    with_classic: bool = True
    is_parallel: bool = False


def ratio(bound: float) -> tuple[Limit, ...]:
    """Return the limit that most rows have: at most so many times the floor."""
    return (Limit(bound),)


def at_most(bound: float) -> tuple[Limit, ...]:
    """Return the limit of a value that is compared with nothing."""
    return (Limit(bound, ""),)


def by_turns(
    runs: Mapping[str, Run],
    effort: Effort,
    *,
    turns: int = 30,
    seconds: float = 0.002,
    number: int | None = None,
    pick: Callable[[Iterable[float]], float] = min,
) -> dict[str, float]:
    """Return the seconds that each run takes for one time.

    Every contestant has a turn, then each has its next one in the other
    order: what else the machine does meets all of them alike.

    :param seconds: that a turn takes about, where no ``number`` is given.
    :param number: of times in a turn, scaled.
    :param pick: what to make of the turns; the least is the one that was
        disturbed least.
    """
    counts = {
        name: effort.times(number) if number else _count(run, effort, seconds)
        for name, run in runs.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for _ in range(effort.times(turns)):
        names.reverse()
        for name in names:
            taken[name].append(runs[name](counts[name]) / counts[name])
    return {name: pick(times) for name, times in taken.items()}


def _count(run: Run, effort: Effort, seconds: float) -> int:
    count, enough = 1, seconds * effort.scale / 4
    while (taken := run(count)) < enough:
        count *= 4
    return max(1, round(count * 4 * enough / taken))


def median(values: Iterable[float]) -> float:
    """Return the median, as a choice for :func:`by_turns`."""
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least value that so many of them do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


@final
class Stopwatch:
    """Times a block, without the collector in between, as ``timeit`` does."""

    seconds = 0.0

    def __enter__(self) -> Stopwatch:
        gc.collect()
        gc.disable()
        self._began = perf_counter()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.seconds = perf_counter() - self._began
        gc.enable()


def memory_region(**arguments: Any) -> Any:
    """Return a region in memory, of whichever release is installed."""
    from dogpile.cache import make_region

    return make_region().configure(
        "dogpile.cache.memory", expiration_time=3600, arguments=arguments
    )
