"""The 1.x path of the lock for many readers and one writer."""

from __future__ import annotations

from dogpile.cache.legacy import LockError, ReadWriteMutex

__all__ = ["LockError", "ReadWriteMutex"]
