"""The conftest of the 1.x suite's run; ``run_1x.py`` copies it into its folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import dogpile

HERE = Path(__file__).parent

# Its tests need its own dogpile.testing, and nothing else of it.
dogpile.__path__.append(str(HERE / "dogpile"))

_failed: dict[str, str] = {}
_ran: set[str] = set()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a backend together: those of dbm share one file."""
    for item in items:
        together = item.config.pluginmanager.hasplugin("xdist")
        if together and item.path.name.endswith("_backend.py"):
            item.add_marker(pytest.mark.xdist_group(item.path.name))


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note a module that cannot be imported."""
    if report.failed:
        _failed[report.nodeid] = report.longreprtext.strip().splitlines()[-1]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how a test ended; under xdist each test is reported to the first."""
    # xdist appends the name of the group.
    name = report.nodeid.partition("@")[0]
    if report.failed:
        lines = report.longreprtext.strip().splitlines() or ["?"]
        _failed[name] = lines[-1]
    if report.when == "call" or report.skipped:
        _ran.add(name)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write down what was noted."""
    if os.environ.get("PYTEST_XDIST_WORKER") is None:
        answer = {"failed": _failed, "ran": sorted(_ran | set(_failed))}
        (HERE / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
