"""The backend of the documentation keeps the promises of every backend."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from dogpile.cache.testing import BackendSuite

EXAMPLE = Path(__file__).parents[2] / "examples" / "folder_backend.py"


class TestFolderBackend(BackendSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Any:
        spec = importlib.util.spec_from_file_location("folder_backend", EXAMPLE)
        assert spec is not None
        assert spec.loader is not None
        example = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(example)
        return example.FolderBackend({"folder": str(tmp_path / "values")})
