"""The 1.x path of the dbm backend and its locks."""

from __future__ import annotations

from dogpile.cache.backends.dbm import DBMBackend
from dogpile.cache.backends.filelock import AbstractFileLock, FileLock

__all__ = ["AbstractFileLock", "DBMBackend", "FileLock"]
