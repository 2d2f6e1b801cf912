"""How a project uses its regions for pages: its shelves, and what clients are told."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from dogpile.cache.integrations.django.handler import TRUST, is_on, regions
from dogpile.cache.integrations.pages import Shelf


class State:
    """The shelves of the project; built anew when its settings change."""

    def __init__(self) -> None:
        self._shelves: dict[str | None, Shelf] = {}
        self._http_headers: bool | None = None
        self._trust: Any = _UNKNOWN
        regions.on_reset(self.reset)

    def reset(self) -> None:
        """Forget what was built from the settings."""
        self._shelves = {}
        self._http_headers = None
        self._trust = _UNKNOWN

    def shelf(self, name: str | None) -> Shelf:
        """Return the shelf of a region.

        :param name: ``None`` for the default one.
        """
        found = self._shelves.get(name)
        if found is None:
            found = self._shelves[name] = Shelf(regions.region(name))
        return found

    @property
    def http_headers(self) -> bool:
        """Whether caches and clients are told about pages."""
        told = self._http_headers
        if told is None:
            told = self._http_headers = is_on("DOGPILE_CACHE_HTTP_HEADERS")
        return told

    def is_trusted(self, request: HttpRequest) -> bool:
        """Return whether the client may ask for a new page."""
        trust = self._trust
        if trust is _UNKNOWN:
            trust = getattr(settings, TRUST, False)
            if not callable(trust):
                trust = is_on(TRUST, default=False)
            self._trust = trust
        return bool(trust(request)) if callable(trust) else bool(trust)


_UNKNOWN: Any = object()


state: State = State()
