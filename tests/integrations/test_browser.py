"""Where the browser of the tests comes from, on machines that have none."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from browser import BrowserMissing, Programs, find_browser

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="the programs of these tests are shell scripts"
)

# Notes what it is asked for, and brings it.
BRINGS = """#!/bin/sh
echo "$@" >> "$HERE/asked"
case $1 in install)
    for name in chromium chromedriver; do
        echo '#!/bin/sh' > "$HERE/$name"; /bin/chmod +x "$HERE/$name"
    done;;
esac
"""
FAILS = """#!/bin/sh
echo "E: no $1 today"; exit 100
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the only folder in which programs are looked for."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HERE", str(tmp_path))
    return tmp_path


@pytest.fixture
def become(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what gives the tests' process the number of another user."""
    return lambda user: monkeypatch.setattr(os, "geteuid", lambda: user)


def write(program: Path, text: str) -> None:
    program.write_text(text)
    program.chmod(0o755)


def test_what_is_there_is_taken(here: Path) -> None:
    for name in ("google-chrome", "chromedriver"):
        write(here / name, FAILS)

    found = find_browser()

    assert found == Programs(str(here / "google-chrome"), str(here / "chromedriver"))


def test_root_brings_it_from_the_systems_packages(
    here: Path, become: Callable[[int], None]
) -> None:
    write(here / "apt-get", BRINGS)
    become(0)

    found = find_browser()

    assert found == Programs(str(here / "chromium"), str(here / "chromedriver"))
    assert (here / "asked").read_text().splitlines() == [
        "update -q",
        "install -y -q chromium chromium-driver",
    ]


def test_what_apt_get_says_is_told(here: Path, become: Callable[[int], None]) -> None:
    write(here / "apt-get", FAILS)
    become(0)

    with pytest.raises(BrowserMissing, match="E: no install today"):
        find_browser()


def test_others_are_told_what_to_install(
    here: Path, become: Callable[[int], None]
) -> None:
    write(here / "apt-get", BRINGS)
    become(1000)

    with pytest.raises(BrowserMissing, match="apt-get install chromium chromium-dr"):
        find_browser()

    assert not (here / "asked").exists()


def test_without_packages_it_is_missing(here: Path) -> None:
    with pytest.raises(BrowserMissing, match="no apt-get to bring them"):
        find_browser()
