"""Flask: regions from an application's settings, cached views and templates."""

from __future__ import annotations

from dogpile.cache.integrations.flask.extension import DogpileCache

__all__ = ["DogpileCache"]
