"""How a project uses its regions for pages: its shelves, and what clients are told."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.http import HttpRequest

from dogpile.cache.integrations.django.handler import TRUST, is_on, regions
from dogpile.cache.integrations.pages import Shelf


class State:
    """The shelves of the project; built anew when its settings change."""

    def __init__(self) -> None:
        self._shelves: dict[str | None, Shelf] = {}
        self._http_headers: bool | None = None
        self._trust: Any = _UNKNOWN
        self._hosts: dict[Any, str] = {}
        regions.on_reset(self.reset)
        setting_changed.connect(self._forget_hosts)

    def reset(self) -> None:
        """Forget what was built from the settings."""
        self._shelves = {}
        self._http_headers = None
        self._trust = _UNKNOWN
        self._hosts = {}

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

    def host(self, request: HttpRequest) -> str:
        """Return the host that a request is for, as Django has checked it.

        :raises DisallowedHost: the site does not answer to it.
        """
        told = request.META.get("HTTP_HOST")
        kind: Any = type(request)
        if told is None or kind.get_host is not _GET_HOST:
            return request.get_host()
        known = vars(settings)  # what was asked for once
        try:
            is_simple = not known["USE_X_FORWARDED_HOST"]
            asked = told, known["DEBUG"], *known["ALLOWED_HOSTS"]
        except KeyError:
            is_simple = not settings.USE_X_FORWARDED_HOST
            asked = told, settings.DEBUG, *settings.ALLOWED_HOSTS
        if not is_simple:
            return request.get_host()
        host = self._hosts.get(asked)
        if host is None:
            host = request.get_host()
            if len(self._hosts) < _MOST_HOSTS:
                self._hosts[asked] = host
        return host

    def _forget_hosts(self, **what: Any) -> None:
        self._hosts = {}


_UNKNOWN: Any = object()
_GET_HOST = HttpRequest.get_host
_MOST_HOSTS = 1000


state: State = State()
