"""Flask: regions from an application's settings, cached views and templates."""

from __future__ import annotations

from dogpile.cache.integrations.missing import refuse_missing

try:
    from dogpile.cache.integrations.flask.extension import DogpileCache
except ModuleNotFoundError as _error:
    refuse_missing(_error, "flask")
    raise

__all__ = ["DogpileCache"]
