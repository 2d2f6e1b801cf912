"""The promises of every backend, kept by the memory backends."""

from __future__ import annotations

from typing import Any

import pytest

from dogpile.cache.backends.memory import MemoryBackend, MemoryPickleBackend
from dogpile.cache.testing import BackendSuite

ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"max_entries": 1000},
    {"max_entries": 1000, "policy": "lru"},
    {"max_bytes": 100_000_000},
    {"copy": True},
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
class TestMemoryBackend(BackendSuite):
    @pytest.fixture
    def backend(self, arguments: dict[str, Any]) -> MemoryBackend:
        return MemoryBackend(arguments)


class TestMemoryBackendOverAMapping(BackendSuite):
    @pytest.fixture
    def backend(self) -> MemoryBackend:
        return MemoryBackend({"cache_dict": {}})


class TestMemoryPickleBackend(BackendSuite):
    @pytest.fixture
    def backend(self) -> MemoryPickleBackend:
        return MemoryPickleBackend({})
