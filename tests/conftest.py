"""What holds for every test: no second copies, and nothing left out in CI."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# No test hangs upon how fast the machine is.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

pytest_plugins = ["servers", "browser"]

#: The folders under whose names every class would be imported a second time.
SECOND_COPIES = ("dogpile_cache", "integrations")

_reported: set[str] = set()

# What a skip says when something is not there that the gate has to have.
_MISSING = re.compile(r"could not import|not installed|no server|missing|not there")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail the first test that imported the package by the name of its folder."""
    result = yield
    found = {
        name for name in sys.modules if name.partition(".")[0] in SECOND_COPIES
    } - _reported
    if found:
        _reported.update(found)
        pytest.fail(
            f"{', '.join(sorted(found))} was imported: a second copy of what is "
            "imported as dogpile.cache; use absolute imports from there",
            pytrace=False,
        )
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI is set the servers, their clients and the browser must be there.

    A skip for want of one counts as a failure; one for what a backend does not
    claim, such as a clock of the tests' own, stays a skip.
    """
    report = yield
    if (
        is_in_ci()
        and report.skipped
        and not hasattr(report, "wasxfail")
        and (item.get_closest_marker("server") or item.get_closest_marker("browser"))
        and _MISSING.search(str(report.longrepr))
    ):
        report.outcome = "failed"
        report.longrepr = f"CI is set, and such a test was skipped: {report.longrepr}"
    return report


def is_in_ci() -> bool:
    """Return whether the environment says that this run is the gate."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false", "no"}
