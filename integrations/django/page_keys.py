"""From requests to the keys of their pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.signals import setting_changed
from django.http import HttpRequest, request as of_django

from dogpile.cache.integrations import http
from dogpile.cache.integrations.django import apart
from dogpile.cache.integrations.pages import ViewOptions

# What a page is of: its key, and its canonical query.
PageKey = tuple[str, str]


class PageKeys:
    """Makes keys, and remembers the latest by all that they are made of.

    To ask Django for the host, the scheme, the language and the time zone of a
    request takes longer than all the rest of a hit.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], PageKey] = {}
        setting_changed.connect(self._forget)

    def key(
        self, name: str, options: ViewOptions, prefix: str, request: HttpRequest
    ) -> PageKey | None:
        """Return the key of a page, and the canonical query.

        :param name: the view's.
        :param prefix: of ``cache_page``.
        :return: ``None`` if the query has the page bypass the cache.
        :raises DisallowedHost: the site does not answer to the request's host.
        """
        known = self._known  # of the settings that are read below
        facts = _facts(name, options, prefix, request)
        found = None if facts is None else known.get(facts)
        if found is None:
            found = _made(name, options, prefix, request)
            if facts is not None and found is not None and _is_short(found, request):
                if len(known) >= _MOST:
                    known.clear()
                known[facts] = found
        return found

    def _forget(self, **what: Any) -> None:
        self._known = {}


_MOST = 1000
_LONGEST = 1000


def _is_short(found: PageKey, request: HttpRequest) -> bool:
    """Return whether a key and what it is made of take little room."""
    # Of the query the view may see but a part, which is what is in the key.
    asked = request.META.get("QUERY_STRING") or ""
    return len(found[0]) <= _LONGEST and len(asked) <= _LONGEST


def _if_djangos(asked: Any) -> Any:
    """Return a function or a property of requests, ``None`` if Django has none such.

    What a project has put in its place may ask for anything.
    """
    runs = getattr(asked, "fget", asked)
    return asked if getattr(runs, "__globals__", None) is vars(of_django) else None


_OF_REQUESTS: Any = HttpRequest
_GET_HOST = _if_djangos(_OF_REQUESTS.get_host)
_RAW_HOST = _if_djangos(getattr(_OF_REQUESTS, "_get_raw_host", None))
_SCHEME = _if_djangos(_OF_REQUESTS.scheme)


def _facts(
    name: str, options: ViewOptions, prefix: str, request: Any
) -> tuple[Any, ...] | None:
    """Return all that a key is made of, or ``None`` where that is more than usual."""
    kind, meta, own = type(request), request.META, vars(request)
    told = vars(settings)  # what was asked for once
    try:
        if (
            told["USE_X_FORWARDED_HOST"]
            or told["SECURE_PROXY_SSL_HEADER"]
            or kind.get_host is not _GET_HOST
            or kind._get_raw_host is not _RAW_HOST  # noqa: SLF001 - what it asks
            or kind.scheme is not _SCHEME
            or "get_host" in own
            or "_get_raw_host" in own
            or options.key is not None
            or options.varied
        ):
            return None
        language, zone = apart.activated()
        if zone is not None and not (type(zone) is ZoneInfo and zone.key):
            return None  # what its name is made of is not known
        return (
            kind,
            name,
            options.select,
            prefix,
            language,
            zone and zone.key,
            request._get_scheme(),  # noqa: SLF001 - what its scheme asks
            meta["HTTP_HOST"],
            meta.get("SCRIPT_NAME"),
            request.path_info,
            meta.get("QUERY_STRING"),
            told["DEBUG"],
            *told["ALLOWED_HOSTS"],
        )
    except (KeyError, AttributeError):  # it is something around a request
        return None


def _made(
    name: str, options: ViewOptions, prefix: str, request: HttpRequest
) -> PageKey | None:
    query = options.select(_raw_query(request))
    if query is None:
        return None
    path, root, asked = request.path_info, "", query
    script = request.META.get("SCRIPT_NAME", "")
    if options.key is not None:
        own = options.key(request) if callable(options.key) else options.key
        # What as_view() returns has its class's name, whatever it was given.
        path, asked = f"={quote(_route(request), safe='')}={own}", ""
    elif script:
        root = str(script)
    language, zone = apart.locale()
    page = http.page_key(
        str(request.scheme),
        request.get_host(),
        root,
        path,
        asked,
        tuple(options.varied),
        request.META,
    )
    return f"{name}|{language}|{zone}|{prefix!r}|{page}", query


def _route(request: HttpRequest) -> str:
    """Return the name of the request's route, or its pattern if it has none."""
    match = request.resolver_match
    if match is None:
        return ""
    return match.view_name if match.url_name else match.route


def _raw_query(request: HttpRequest) -> str:
    raw = str(request.META.get("QUERY_STRING", ""))
    if raw.isascii() or hasattr(request, "scope"):
        return raw
    # As WSGI hands bytes on.
    return raw.encode("latin-1").decode("utf-8", "surrogateescape")


page_keys: PageKeys = PageKeys()
