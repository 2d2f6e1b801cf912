"""Regions over every backend, for whatever may happen at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from crowd import KINDS, Maker


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Return the name of a kind of region, one after the other."""
    name: str = request.param
    return name


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Maker]:
    """Return what makes regions that share the files of this test."""
    maker = Maker(tmp_path)
    yield maker
    maker.close()
