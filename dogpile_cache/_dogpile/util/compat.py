"""The 1.x path of what it knew about signatures."""

from __future__ import annotations

from dogpile.cache.legacy import ArgSpec, inspect_getargspec

__all__ = ["ArgSpec", "inspect_getargspec"]
