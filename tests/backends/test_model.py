"""Every backend of this process and machine beside a dictionary."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings

from dogpile.cache.api import CacheBackend
from dogpile.cache.backends.dbm import DBMBackend
from dogpile.cache.backends.memory import MemoryBackend, MemoryPickleBackend
from dogpile.cache.backends.sqlite import SqliteBackend
from dogpile.cache.testing import BackendModel

QUICK = settings(max_examples=50, stateful_step_count=30, deadline=None)
WITH_FILES = settings(QUICK, max_examples=20)


class MemoryModel(BackendModel):
    def make_backend(self) -> CacheBackend:
        return MemoryBackend({})


class BoundedMemoryModel(BackendModel):
    def make_backend(self) -> CacheBackend:
        return MemoryBackend({"max_entries": 3})


class LruModel(BackendModel):
    def make_backend(self) -> CacheBackend:
        return MemoryBackend({"max_entries": 3, "policy": "lru"})


class MemoryPickleModel(BackendModel):
    def make_backend(self) -> CacheBackend:
        return MemoryPickleBackend({})


class FileModel(BackendModel):
    """A model of a backend whose file is gone at the end."""

    backend_class: Any

    def make_backend(self) -> CacheBackend:
        self.folder = Path(tempfile.mkdtemp())
        backend: CacheBackend = self.backend_class({"filename": self.folder / "cache"})
        return backend

    def teardown(self) -> None:
        super().teardown()
        if self.backend is not None:
            shutil.rmtree(self.folder)


class SqliteModel(FileModel):
    backend_class = SqliteBackend


class DBMModel(FileModel):
    backend_class = DBMBackend


TestMemoryModel = MemoryModel.TestCase
TestBoundedMemoryModel = BoundedMemoryModel.TestCase
TestLruModel = LruModel.TestCase
TestMemoryPickleModel = MemoryPickleModel.TestCase
TestSqliteModel = SqliteModel.TestCase
TestDBMModel = DBMModel.TestCase

TestMemoryModel.settings = QUICK
TestBoundedMemoryModel.settings = QUICK
TestLruModel.settings = QUICK
TestMemoryPickleModel.settings = QUICK
TestSqliteModel.settings = WITH_FILES
TestDBMModel.settings = WITH_FILES
