"""The application: what ``INSTALLED_APPS`` names."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed


class DogpileCacheConfig(AppConfig):
    """Listens to what becomes of models, and registers the checks."""

    name = "dogpile.cache.integrations.django"
    label = "dogpile_cache"
    verbose_name: str = "dogpile.cache"

    def ready(self) -> None:
        """Begin to listen."""
        from dogpile.cache.integrations.django import changes, checks

        _refuse_backends()
        checks.connect()
        changes.connect()
        setting_changed.connect(_relisten, dispatch_uid="dogpile.cache.apps")


def _refuse_backends() -> None:
    """Refuse what is ours by its path, and no cache of Django's.

    Django would say nothing of where it stands, nor of what is meant.
    """
    from dogpile.cache import BACKENDS
    from dogpile.cache.integrations.django.handler import BACKEND, has_region

    for alias, chosen in settings.CACHES.items():
        path = str(chosen.get("BACKEND", ""))
        if not path.startswith("dogpile.cache.") or has_region(path):
            continue
        hint = f", and {path!r} as its LOCATION" if BACKENDS.knows(path) else ""
        raise ImproperlyConfigured(
            f"CACHES[{alias!r}]: BACKEND {path!r} is no cache of Django's: write "
            f"{BACKEND!r}{hint}"
        )


def _relisten(*, setting: str, **_: Any) -> None:
    from dogpile.cache.integrations.django.changes import relisten
    from dogpile.cache.integrations.django.handler import MODEL_TAGS

    if setting == MODEL_TAGS:
        relisten()
