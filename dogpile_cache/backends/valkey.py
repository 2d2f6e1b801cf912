"""The backends of Valkey under the path that 1.x has them."""

from __future__ import annotations

from dogpile.cache.backends.redis import (
    ValkeyBackend,
    ValkeyClusterBackend,
    ValkeySentinelBackend,
)

__all__ = ["ValkeyBackend", "ValkeyClusterBackend", "ValkeySentinelBackend"]
