"""The 1.x path of the lock around a value-creation function."""

from __future__ import annotations

# Tests of programs turn the clock here: mock.patch("dogpile.lock.time.time").
import time

from dogpile.cache.lock import Lock, NeedRegenerationException

__all__ = ["Lock", "NeedRegenerationException", "time"]
