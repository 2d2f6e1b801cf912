"""A panel for django-debug-toolbar: what the regions did for a request.

``DEBUG_TOOLBAR_PANELS += ["dogpile.cache.integrations.django.panel.DogpilePanel"]``
"""

from __future__ import annotations

from typing import Any

from debug_toolbar.panels import Panel
from django.conf import settings
from django.core.cache import caches
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.safestring import SafeString, mark_safe

from dogpile.cache import CacheRegion
from dogpile.cache.integrations.django.handler import has_region, regions
from dogpile.cache.integrations.panel import TITLE, Recorder, content, subtitle


class DogpilePanel(Panel):
    """Shows each event of the regions, with its key, and how long it took."""

    title = TITLE
    nav_title = TITLE
    is_async = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._recorder: Recorder | None = None

    def enable_instrumentation(self) -> None:
        """Begin to record."""
        self._recorder = Recorder({**regions, **_stores()})
        self._recorder.start()

    def disable_instrumentation(self) -> None:
        """End it."""
        if self._recorder is not None:
            self._recorder.stop()

    def generate_stats(self, request: HttpRequest, response: HttpResponseBase) -> None:
        """Keep what was recorded for the toolbar."""
        if self._recorder is not None:
            record: Any = self.record_stats  # the toolbar tells no types
            record(dict(self._recorder.told()))

    @property
    def nav_subtitle(self) -> str:
        """The sum in one line."""
        told = self._told()
        return subtitle(told) if told else ""

    @property
    def content(self) -> SafeString:
        """The panel as HTML."""
        # What comes from the program is escaped there.
        return mark_safe(content(self._told()))  # noqa: S308 - as above

    def _told(self) -> Any:
        get: Any = self.get_stats  # the toolbar tells no types
        return get()


def _stores() -> dict[str, CacheRegion]:
    """Return what the caches of Django keep their values in."""
    found = {}
    for alias, chosen in settings.CACHES.items():
        if has_region(chosen.get("BACKEND", "")):
            handle: Any = caches[alias]
            # What it does is no event of the alias as a region.
            found[f"CACHES[{alias!r}]"] = handle._store  # noqa: SLF001 - as above
    return found
