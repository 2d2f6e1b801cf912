"""The promises of every backend, kept by the sqlite backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dogpile.cache.backends.sqlite import SqliteBackend
from dogpile.cache.testing import BackendSuite


@pytest.mark.parametrize(
    "arguments", [{}, {"max_entries": 1000}, {"max_bytes": 100_000_000}], ids=str
)
class TestSqliteBackend(BackendSuite):
    @pytest.fixture
    def backend(self, arguments: dict[str, Any], tmp_path: Path) -> SqliteBackend:
        return SqliteBackend({"filename": str(tmp_path / "cache.sqlite"), **arguments})
