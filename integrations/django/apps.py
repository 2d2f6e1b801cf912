"""The application: what ``INSTALLED_APPS`` names."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.signals import setting_changed


class DogpileCacheConfig(AppConfig):
    """Listens to what becomes of models, and registers the checks."""

    name = "dogpile.cache.integrations.django"
    label = "dogpile_cache"
    verbose_name: str = "dogpile.cache"

    def ready(self) -> None:
        """Begin to listen."""
        from dogpile.cache.integrations.django import changes, checks

        checks.connect()
        changes.connect()
        setting_changed.connect(_relisten, dispatch_uid="dogpile.cache.apps")


def _relisten(*, setting: str, **_: Any) -> None:
    from dogpile.cache.integrations.django.changes import relisten
    from dogpile.cache.integrations.django.handler import MODEL_TAGS

    if setting == MODEL_TAGS:
        relisten()
