"""The 1.x path of what was once a package of its own."""

from __future__ import annotations

from dogpile.cache.legacy import NameRegistry, ReadWriteMutex
from dogpile.cache.lock import Lock, NeedRegenerationException
from dogpile.util import nameregistry, readwrite_lock

__all__ = [
    "Lock",
    "NameRegistry",
    "NeedRegenerationException",
    "ReadWriteMutex",
    "nameregistry",
    "readwrite_lock",
]
