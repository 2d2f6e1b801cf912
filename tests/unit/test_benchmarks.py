"""The benchmarks run, and say what was measured; how fast it is they say elsewhere."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, BENCHMARKS / "run.py", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The modules that are no benchmarks themselves, imported as the runner does."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    names = ("measure", "report")
    yield {name: importlib.import_module(name) for name in names}
    for name in names:
        del sys.modules[name]


@pytest.fixture
def measure(modules: dict[str, Any]) -> Any:
    return modules["measure"]


@pytest.fixture
def report(modules: dict[str, Any]) -> Any:
    return modules["report"]


def lines(report: Any, measure: Any, row: Any, *rounds: dict[str, float]) -> Any:
    figure = measure.Figure("name", "title", (row,), lambda effort: {})
    [line] = report.summed_up(figure, [{row.name: found} for found in rounds])
    return line


@pytest.mark.slow
@pytest.mark.parametrize(
    "needs_servers",
    [False, pytest.param(True, marks=pytest.mark.server)],
    ids=["here", "servers"],
)
def test_every_figure_is_measured(tmp_path: Path, needs_servers: bool) -> None:
    known = run("--list").stdout.split()
    names = [name for name in known if name.startswith("servers") is needs_servers]

    ran = run(
        *(part for name in names for part in ("--only", name)),
        *("--rounds", 1, "--scale", 0.002, "--without-1x"),
        *("--json", tmp_path / "rounds.json", "--rst", tmp_path / "table.rst"),
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    measured = json.loads((tmp_path / "rounds.json").read_text("utf-8"))["figures"]
    assert list(dict.fromkeys(line["figure"] for line in measured)) == names
    assert all("dogpile.cache" in line["medians"] for line in measured)
    table = (tmp_path / "table.rst").read_text("utf-8").replace("\\_", "_")
    assert all(f"* - {line['row']}\n" in table for line in measured)


def test_a_figure_that_is_not_there_is_refused() -> None:
    ran = run("--only", "htis")

    assert ran.returncode == 2
    assert "no figure 'htis'" in ran.stderr
    assert "hits" in ran.stderr


def test_a_ratio_is_the_median_of_the_ratios_of_rounds(
    report: Any, measure: Any
) -> None:
    row = measure.Row("f(1)", "ns", measure.ratio(1.15))

    line = lines(
        report,
        measure,
        row,
        {"floor": 100e-9, "dogpile.cache": 110e-9},
        {"floor": 300e-9, "dogpile.cache": 300e-9},
        {"floor": 200e-9, "dogpile.cache": 240e-9},
    )

    assert line.ratios["dogpile.cache"] == pytest.approx((1.1, 1.0, 1.2))
    assert report.cells(line) == (
        "f(1)",
        "200 ns",
        "240 ns",
        "1.10 \N{MULTIPLICATION SIGN}",
        "≤ 1.15 \N{MULTIPLICATION SIGN} floor",
        "",
    )


def test_a_limit_that_is_not_kept_bears_a_mark(report: Any, measure: Any) -> None:
    row = measure.Row("calls", "calls", measure.at_most(1))

    line = lines(report, measure, row, {"dogpile.cache": 2.0, "lru_cache": 50.0})

    assert report.cells(line)[2:] == ("2", "", "≤ 1 MISSED", "lru_cache 50")


def test_a_limit_without_its_reference_is_not_judged(report: Any, measure: Any) -> None:
    row = measure.Row("get", "µs", (measure.Limit(1.0, "diskcache"),))

    line = lines(report, measure, row, {"floor": 1e-6, "dogpile.cache": 1e-6})

    assert [judged.is_kept for judged in line.judged] == [None]
    assert "not measured" in report.cells(line)[4]


def test_the_other_release_is_compared_with_its_own_floor(
    report: Any, measure: Any
) -> None:
    row = measure.Row("f(1)", "ns", measure.ratio(1.15))
    own = {"f(1)": {"floor": 1.0, "dogpile.cache": 1.0}}
    its = {"f(1)": {"floor": 2.0, "dogpile.cache": 80.0}}

    joined = report.joined(own, its)

    line = lines(report, measure, row, joined["f(1)"])
    assert line.ratios["1.5.0"][0] == 40.0
    assert report.cells(line)[-1] == "1.5.0 40 \N{MULTIPLICATION SIGN}"


@pytest.mark.parametrize(("ours", "is_kept"), [(0.49, False), (0.51, True)])
def test_shares_are_compared_by_points(
    ours: float, is_kept: bool, report: Any, measure: Any
) -> None:
    limit = measure.Limit(-0.02, "theine", at_least=True, points=True)
    row = measure.Row("Zipf", "%", (limit,), "LRU")

    line = lines(report, measure, row, {"theine": 0.52, "dogpile.cache": ours})

    assert [judged.is_kept for judged in line.judged] == [is_kept]


def test_contestants_take_turns(measure: Any) -> None:
    turns: list[str] = []

    def taking(name: str, seconds: float) -> Any:
        def run(count: int) -> float:
            turns.append(name)
            return seconds * count

        return run

    effort = measure.Effort(1.0, 0, is_classic=False)

    found = measure.by_turns(
        {"a": taking("a", 1.0), "b": taking("b", 2.0)}, effort, turns=3, number=10
    )

    assert found == {"a": 1.0, "b": 2.0}
    assert "".join(turns) == "baabba"


def test_a_percentile_is_one_of_the_values(measure: Any) -> None:
    assert measure.percentile([5.0, 1.0, 3.0], 0.99) == 5.0
    assert measure.percentile(list(range(1, 101)), 0.99) == 99
