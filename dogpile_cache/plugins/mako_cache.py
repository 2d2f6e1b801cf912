"""The plugin for Mako under the path and the name that 1.x has it."""

from __future__ import annotations

from dogpile.cache.integrations.mako import DogpileCacheImpl as MakoPlugin

__all__ = ["MakoPlugin"]
