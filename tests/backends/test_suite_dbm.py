"""The promises of every backend, kept by the dbm backend on each dbm module."""

from __future__ import annotations

from pathlib import Path

import pytest

from dogpile.cache.backends.dbm import DBMBackend
from dogpile.cache.testing import BackendSuite


@pytest.mark.parametrize("kind", ["dbm.dumb", "dbm.ndbm", "dbm.gnu", "dbm.sqlite3"])
class TestDBMBackend(BackendSuite):
    @pytest.fixture
    def backend(self, kind: str, tmp_path: Path) -> DBMBackend:
        filename = str(tmp_path / "cache.dbm")
        module = pytest.importorskip(
            kind, reason=f"this Python lacks {kind}", exc_type=ImportError
        )
        # A file keeps the kind that it was made as.
        module.open(filename, "n", 0o600).close()
        return DBMBackend({"filename": filename})


class TestDBMBackendThatMakesItsFile(BackendSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> DBMBackend:
        return DBMBackend({"filename": tmp_path / "made" / "cache.dbm"})


class TestDBMBackendAmongThreadsAlone(BackendSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> DBMBackend:
        filename = str(tmp_path / "cache.dbm")
        return DBMBackend({"filename": filename, "rw_lockfile": False})
