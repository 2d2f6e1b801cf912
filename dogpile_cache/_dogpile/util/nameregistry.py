"""The 1.x path of the registry of one object for each identifier."""

from __future__ import annotations

from dogpile.cache.legacy import NameRegistry

__all__ = ["NameRegistry"]
