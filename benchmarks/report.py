"""From rounds to figures: medians, ratios, limits, and the table of them."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from measure import CLASSIC, FLOOR, OURS, Figure, Limit, Readings, Row

#: By unit: the factor to it, and how many digits behind the point.
UNITS = {
    "ns": (1e9, 0),
    "µs": (1e6, 1),
    "ms": (1e3, 1),
    "1/s": (1.0, 0),
    "calls": (1.0, 0),
    "errors": (1.0, 0),
    "modules": (1.0, 0),
    "bytes": (1.0, 0),
    "MiB": (1.0, 1),
    "%": (100.0, 2),
}
#: What the 1.x release was compared with, in its own process.
ITS_FLOOR = f"{FLOOR} of {CLASSIC}"
_TIMES = "\N{MULTIPLICATION SIGN}"

Round: TypeAlias = dict[str, float]


class Judged(NamedTuple):
    """A limit, and what there is of it.

    :param found: the ratio, difference or value; ``None``: not measured.
    """

    limit: Limit
    found: float | None
    is_kept: bool | None


class Line(NamedTuple):
    """One row of the table.

    :param medians: by contestant, in the unit's base.
    :param ratios: by contestant, to the reference; with the least and the
        largest of the rounds.
    """

    figure: Figure
    row: Row
    medians: dict[str, float]
    ratios: dict[str, tuple[float, float, float]]
    judged: tuple[Judged, ...]
    rounds: Sequence[Round]


def joined(own: Readings, classic: Readings | None) -> Readings:
    """Return the readings of one round, those of the second environment beside."""
    merged = {name: dict(values) for name, values in own.items()}
    for name, values in (classic or {}).items():
        row = merged.setdefault(name, {})
        if OURS in values:
            row[CLASSIC] = values[OURS]
        if FLOOR in values:
            row[ITS_FLOOR] = values[FLOOR]
    return merged


def summed_up(figure: Figure, rounds: Sequence[Readings]) -> list[Line]:
    """Return the lines of a figure."""
    return [
        _line(figure, row, [readings.get(row.name, {}) for readings in rounds])
        for row in figure.rows
    ]


def _line(figure: Figure, row: Row, rounds: Sequence[Round]) -> Line:
    names = list(dict.fromkeys(name for found in rounds for name in found))
    medians = {
        name: statistics.median(found[name] for found in rounds if name in found)
        for name in names
    }
    ratios = {}
    for name in names:
        values = _compared(rounds, name, row.reference, points=False)
        if values and name not in (row.reference, ITS_FLOOR):
            ratios[name] = (statistics.median(values), min(values), max(values))
    judged = tuple(_judge(limit, rounds, medians) for limit in row.limits)
    return Line(figure, row, medians, ratios, judged, rounds)


def _compared(
    rounds: Sequence[Round], name: str, reference: str, *, points: bool
) -> list[float]:
    """Compare two contestants within each round."""
    values = []
    for found in rounds:
        base = found.get(reference)
        if name == CLASSIC and reference == FLOOR:
            base = found.get(ITS_FLOOR, base)
        if name not in found or base is None:
            continue
        if points:
            values.append(found[name] - base)
        elif base:
            values.append(found[name] / base)
    return values


def _judge(limit: Limit, rounds: Sequence[Round], medians: Round) -> Judged:
    if limit.reference:
        values = _compared(rounds, OURS, limit.reference, points=limit.points)
        found = statistics.median(values) if values else None
    else:
        found = medians.get(OURS)
    if found is None:
        return Judged(limit, None, None)
    # The figures have two digits: what rounds to the bound keeps it.
    if limit.at_least:
        return Judged(limit, found, found >= limit.bound - 1e-9)
    return Judged(limit, found, found <= limit.bound + 1e-9)


def limit_text(judged: Judged, unit: str) -> str:
    """Return a limit as it stands in the table."""
    limit = judged.limit
    sign = "≥" if limit.at_least else "≤"
    if not limit.reference:
        text = f"{sign} {amount(limit.bound, unit)}"
    elif limit.points:
        text = f"{sign} {limit.reference} {limit.bound * 100:+g} points"
    else:
        text = f"{sign} {limit.bound:g} {_TIMES} {limit.reference}"
    marks = {True: "", False: " MISSED", None: " (not measured)"}
    return text + marks[judged.is_kept]


def amount(value: float, unit: str) -> str:
    """Return a value in its unit."""
    factor, digits = UNITS[unit]
    if unit in ("calls", "errors", "modules"):
        return f"{value:,.0f}"
    return f"{value * factor:,.{digits}f} {unit}"


HEAD = ("", "reference", "dogpile.cache", "ratio", "limit", "others")


def cells(line: Line) -> tuple[str, ...]:
    """Return a line of the table, under :data:`HEAD`."""
    row, medians = line.row, line.medians
    reference = ours = times = ""
    if row.reference in medians and row.reference != OURS:
        reference = amount(medians[row.reference], row.unit)
        if row.reference != FLOOR:
            reference = f"{row.reference}: {reference}"
    if OURS in medians:
        ours = amount(medians[OURS], row.unit)
    if OURS in line.ratios:
        times = f"{line.ratios[OURS][0]:.2f} {_TIMES}"
    limits = ", ".join(limit_text(judged, row.unit) for judged in line.judged)
    return row.name, reference, ours, times, limits, ", ".join(_others(line))


def _others(line: Line) -> Iterable[str]:
    for name, value in line.medians.items():
        if name in (OURS, ITS_FLOOR, line.row.reference):
            continue
        if name in line.ratios and line.row.unit != "%":
            yield f"{name} {line.ratios[name][0]:.3g} {_TIMES}"
        else:
            yield f"{name} {amount(value, line.row.unit)}"


def plain(lines: Sequence[Line]) -> str:
    """Return the lines of one figure as text."""
    rows = [HEAD, *map(cells, lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD) - 1)]
    rows[0] = (lines[0].figure.title, *HEAD[1:])
    widths[0] = max(widths[0], len(rows[0][0]))
    return "\n".join(
        "  ".join(
            [text.ljust(width) for text, width in zip(row, widths, strict=False)]
            + [row[-1]]
        ).rstrip()
        for row in rows
    )


def restructured(lines: Sequence[Line], rounds: int) -> str:
    """Return all lines as a page to be included."""
    text = [
        ":orphan:",
        "",
        f"Medians of {rounds} rounds; {machine()}.",
        "",
        ".. list-table::",
        "   :header-rows: 1",
        "   :class: benchmarks",
        "",
    ]
    text += _list_row(("Figure", *HEAD[1:]))
    title = None
    for line in lines:
        if line.figure.title != title:
            title = line.figure.title
            text += _list_row((f"**{title}**", "", "", "", "", ""))
        text += _list_row(cells(line))
    return "\n".join(text) + "\n"


def _list_row(row: Sequence[str]) -> list[str]:
    return [
        f"   {'* -' if not column else '  -'} {_escaped(text)}".rstrip()
        for column, text in enumerate(row)
    ]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("_", "\\_")


def machine() -> str:
    """Return on what it was measured."""
    return (
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"{platform.system()} on {platform.machine()}, {os.cpu_count()} processors"
    )


def as_json(line: Line) -> dict[str, Any]:
    """Return a line with all its rounds."""
    return {
        "figure": line.figure.name,
        "row": line.row.name,
        "unit": line.row.unit,
        "reference": line.row.reference,
        "medians": line.medians,
        "ratios": line.ratios,
        "limits": [
            {
                **judged.limit._asdict(),
                "found": judged.found,
                "is_kept": judged.is_kept,
            }
            for judged in line.judged
        ],
        "rounds": list(line.rounds),
    }
