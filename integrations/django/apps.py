"""The application: what ``INSTALLED_APPS`` names."""

from __future__ import annotations

from django.apps import AppConfig


class DogpileCacheConfig(AppConfig):
    """Connects the signals of models, and registers the checks."""

    name = "dogpile.cache.integrations.django"
    label = "dogpile_cache"
    verbose_name = "dogpile.cache"

    def ready(self) -> None:
        """Begin to listen."""
