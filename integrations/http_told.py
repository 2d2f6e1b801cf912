"""What the HTTP caching rules tell to clients: validators, ages, ``Cache-Status``.

The second half of :mod:`dogpile.cache.integrations.http`, which has its names, too.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeAlias

Environ: TypeAlias = Mapping[str, Any]

#: The name of the cache in ``Cache-Status``.
CACHE_NAME = "dogpile"

# What belongs to one connection or one moment, and is never kept (RFC 9111, 3.1).
_NOT_KEPT = frozenset(
    {
        *("age", "cache-status", "connection", "date", "keep-alive"),
        *("proxy-authenticate", "proxy-authentication-info", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    }
)
# What a 304 says (RFC 9110, 15.4.5), and Cache-Status with it.
_OF_304 = frozenset(
    {
        *("age", "cache-control", "cache-status", "content-location", "date"),
        *("etag", "expires", "set-cookie", "vary"),
    }
)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+").fullmatch
_ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')


def etag_of(body: bytes) -> str:
    """Return a validator of a body.

    It is a weak one, because a middleware may compress the body after.
    """
    return f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'


def told_headers(
    headers: Iterable[tuple[str, str]],
    body: bytes,
    vary: Iterable[str],
    lifetime: float | None,
    grace: float | None,
    *,
    is_invalidated: bool,
) -> list[tuple[str, str]]:
    """Return the headers of a kept page: with ETag, Vary, Cache-Control.

    What the view itself has said goes before.

    :param vary: the names of the headers that belong to the key.
    :param lifetime: seconds that it is fresh for; ``None`` for ever.
    :param grace: seconds that it may be stale for, after.
    :param is_invalidated: the application may invalidate it before its time,
        so that clients have to ask each time; else they may keep it, too.
    """
    kept = kept_headers(headers, vary)
    names = {name.lower() for name, _ in kept}
    if "etag" not in names:
        kept.append(("ETag", etag_of(body)))
    if "cache-control" not in names and "expires" not in names:
        kept.append(
            ("Cache-Control", _cache_control(lifetime, grace, is_asked=is_invalidated))
        )
    return kept


def kept_headers(
    headers: Iterable[tuple[str, str]], vary: Iterable[str]
) -> list[tuple[str, str]]:
    """Return the headers of a response that are kept, with what it varies by.

    :param vary: the names of the headers that belong to the key.
    """
    kept = [pair for pair in headers if pair[0].lower() not in _NOT_KEPT]
    return _with_vary(kept, vary)


def _cache_control(
    lifetime: float | None, grace: float | None, *, is_asked: bool
) -> str:
    if is_asked or lifetime is None:
        return "no-cache"
    told = f"max-age={math.floor(lifetime)}"
    if grace:
        stale = math.floor(grace)
        told += f", stale-while-revalidate={stale}, stale-if-error={stale}"
    return told


def _with_vary(
    headers: list[tuple[str, str]], vary: Iterable[str]
) -> list[tuple[str, str]]:
    names: dict[str, str] = {}
    for header, value in headers:
        if header.lower() == "vary":
            names.update(
                (part.strip().lower(), part.strip()) for part in value.split(",")
            )
    for name in vary:
        names.setdefault(name.lower(), name)
    if not names:
        return headers
    kept = [pair for pair in headers if pair[0].lower() != "vary"]
    return [*kept, ("Vary", ", ".join(names.values()))]


class Page(NamedTuple):
    """A kept response.

    :param headers: all that are told with it each time.
    :param created: when its rendering began, in seconds since the epoch.
    :param finished: when it ended.
    :param until: when it gets stale; infinite for never.
    :param may_be_stale: it may be handed out after that.
    :param extras: attributes of the response that its framework reads, by name.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    created: float
    finished: float
    until: float
    may_be_stale: bool
    etag: str
    last_modified: str
    # Without a default: a page that was kept without them does not read as one.
    extras: tuple[tuple[str, Any], ...]


def make_page(
    status: int,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    created: float,
    finished: float,
    lifetime: float | None,
    *,
    may_be_stale: bool,
    extras: Iterable[tuple[str, Any]] = (),
) -> Page:
    """Return a response as it is kept.

    :param headers: as :func:`told_headers` returns them.
    :param lifetime: seconds from ``created``; ``None`` for ever.
    :param extras: as of :class:`Page`.
    """
    kept = tuple(headers)
    by_name = {name.lower(): value for name, value in kept}
    until = math.inf if lifetime is None else created + lifetime
    return Page(
        status,
        kept,
        body,
        created,
        finished,
        until,
        may_be_stale,
        by_name.get("etag", ""),
        by_name.get("last-modified", ""),
        tuple(extras),
    )


def read_page(payload: Any) -> Page | None:
    """Return what was stored as a page; what is none, is ``None``.

    Serializers that know no classes make a list of a page.
    """
    if type(payload) is Page:
        return payload
    if not isinstance(payload, (list, tuple)) or len(payload) != len(Page._fields):
        return None
    status, headers, body = payload[:3]
    if not isinstance(status, int) or not isinstance(body, bytes):
        return None
    pairs = tuple((name, value) for name, value in headers)
    extras = tuple((name, value) for name, value in payload[-1])
    return Page(status, pairs, body, *payload[3:])._replace(extras=extras)


def is_not_modified(environ: Environ, etag: str, last_modified: str) -> bool:
    """Return whether the client has the page already (RFC 9110, 13.2.2).

    ``If-Modified-Since`` counts only without ``If-None-Match``.

    :param etag: of the page; compared weakly.
    :param last_modified: of the page; ``""`` for none.
    """
    wanted = environ.get("HTTP_IF_NONE_MATCH")
    if wanted is not None:
        if wanted.strip() == "*":
            return True
        return etag.removeprefix("W/") in _ENTITY_TAG.findall(wanted)
    since = environ.get("HTTP_IF_MODIFIED_SINCE")
    if since is None or not last_modified:
        return False
    try:
        return parsedate_to_datetime(last_modified) <= parsedate_to_datetime(since)
    except (TypeError, ValueError):
        return False


def not_modified_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return which of a page's headers a 304 says."""
    return [pair for pair in headers if pair[0].lower() in _OF_304]


class Outcome(NamedTuple):
    """How a request was answered: what ``Cache-Status`` says (RFC 9211).

    :param fwd: why the view was asked; ``""`` for a hit.
    :param ttl: the seconds that the page is still fresh for, if it was kept.
    :param is_stored: the answer is kept now.
    :param is_collapsed: another request's answer was waited for.
    :param detail: why it was not kept.
    """

    fwd: str = ""
    ttl: float | None = None
    is_stored: bool = False
    is_collapsed: bool = False
    detail: str = ""

    def __str__(self) -> str:
        told = f"{CACHE_NAME}; fwd={self.fwd}" if self.fwd else f"{CACHE_NAME}; hit"
        if self.ttl is not None and self.ttl != math.inf:
            told += f"; ttl={math.floor(self.ttl)}"
        if self.is_stored:
            told += "; stored"
        if self.is_collapsed:
            told += "; collapsed"
        if self.detail:
            told += f"; detail={_detail(self.detail)}"
        return told


def _detail(text: str) -> str:
    if _TOKEN(text):
        return text
    safe = re.sub(r"[^ !#-\[\]-~]", "?", text)
    return f'"{safe}"'


def hit_headers(page: Page, now: float) -> list[tuple[str, str]]:
    """Return the headers of a page that is answered from the cache.

    :param now: seconds since the epoch.
    """
    return [*page.headers, *hit_status(page, now)]


def hit_status(page: Page, now: float) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return of these headers those that differ from time to time.

    :param now: seconds since the epoch.
    """
    age = now - page.created
    left = page.until - now
    ttl = "" if left == math.inf else f"; ttl={math.floor(left)}"
    return (
        ("Age", str(int(age)) if age > 0 else "0"),
        ("Cache-Status", f"{CACHE_NAME}; hit{ttl}"),
    )
