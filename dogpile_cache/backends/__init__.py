"""The backends, each in a room of its own; and how 1.x registered others here."""

from __future__ import annotations

from dogpile.cache.registry import BACKENDS, register_backend

__all__ = ["register_backend"]

#: Its 1.x name.
_backend_loader = BACKENDS
