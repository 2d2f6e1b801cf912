"""The page on dependencies: each that there is, and no other."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
SETTINGS: dict[str, Any] = tomllib.loads(
    (ROOT / "pyproject.toml").read_text(encoding="utf-8")
)
EXTRAS: dict[str, list[str]] = SETTINGS["project"]["optional-dependencies"]
PAGE = (ROOT / "docs" / "dependencies.rst").read_text(encoding="utf-8")


def name_of(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return found[0]


def rows() -> Iterator[list[str]]:
    """Return the names that stand in the first columns of the tables."""
    for row in re.split(r"^   \* - ", PAGE, flags=re.MULTILINE)[1:]:
        yield re.findall(r"``([\w.-]+)``", row.partition("\n     - ")[0])


def test_every_extra_has_its_row() -> None:
    told = dict(
        re.findall(r"^   \* - ``(\w+)``\n     - ``([\w.-]+)``$", PAGE, re.MULTILINE)
    )

    assert told == {
        extra: name_of(requirements[0])
        for extra, requirements in EXTRAS.items()
        if extra != "all"
    }


def test_every_tool_has_its_row() -> None:
    groups = SETTINGS["dependency-groups"].values()
    asked = [each for group in groups for each in group if isinstance(each, str)]
    asked += SETTINGS["build-system"]["requires"]
    tools = {name_of(requirement) for requirement in asked}

    told = {name for row in rows() for name in row} - EXTRAS.keys()

    assert tools - told == set()
