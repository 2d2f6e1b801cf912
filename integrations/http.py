"""The HTTP caching rules that Flask and Django share. Pure: no request, no clock.

RFC 9110 (semantics), 9111 (caching), 9211 (``Cache-Status``), 5861 (stale
responses). A request is told by its CGI variables: WSGI's ``environ`` and Django's
``META`` are such mappings. A response is told by its status and its headers. What
a request may be answered from, see :func:`why_passed`, :func:`page_key` and
:func:`canonical_query`; what may be kept, :func:`why_not_kept`; what is told to
clients, :func:`told_headers`, :class:`Page` and :class:`Outcome`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, quote, urlencode

from dogpile.cache import ValidationError
from dogpile.cache.integrations.http_told import (
    Environ,
    Outcome,
    Page,
    etag_of,
    hit_headers,
    hit_status,
    is_not_modified,
    kept_headers,
    make_page,
    not_modified_headers,
    read_page,
    told_headers,
)

__all__ = [
    "Outcome",
    "Page",
    "canonical_query",
    "cgi_name",
    "directives",
    "etag_of",
    "hit_headers",
    "hit_status",
    "is_not_modified",
    "kept_headers",
    "lifetime_of",
    "make_page",
    "not_modified_headers",
    "page_key",
    "read_page",
    "select_query",
    "told_headers",
    "unkeyed_of",
    "vary_names",
    "why_not_kept",
    "why_passed",
    "wish_of",
]

#: The statuses of answers that are the same for the next one who asks.
KEPT_STATUSES = frozenset({200, 203, 204, 301, 308})

# More than any page needs; each costs time before anything is known of the client.
_MOST_PARAMETERS = 1000
# Paths and hosts that are their own quoted form.
_PLAIN = re.compile(r"[A-Za-z0-9/_.~:\[\]-]*").fullmatch
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+").fullmatch
_DIRECTIVE = re.compile(r"""([^\s=,;"]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s,;]*))?""")


# What a request may be answered from


def why_passed(method: str, environ: Environ) -> tuple[str, str] | None:
    """Return why a request has nothing to do with the cache, if it has not.

    :return: the ``fwd`` and the ``detail`` of its ``Cache-Status``, or ``None``
        if it may be answered from the cache.
    """
    if method not in ("GET", "HEAD"):
        return "method", ""
    if "HTTP_AUTHORIZATION" in environ:
        return "bypass", "authorization"
    # A view may read it, and the key knows nothing of it.
    if environ.get("CONTENT_LENGTH") not in _NO_LENGTH:
        return "bypass", "body"
    if "HTTP_TRANSFER_ENCODING" in environ:
        return "bypass", "body"
    return None


_NO_LENGTH = frozenset({None, "", "0", 0})


def wish_of(environ: Environ) -> str:
    """Return what a client, if it is to be trusted, wishes of the cache.

    :return: ``"no-store"``: nothing is to be kept; ``"no-cache"``: a new page;
        ``""``: nothing. What RFC 9111 says of ``Pragma`` is heeded.
    """
    told = environ.get("HTTP_CACHE_CONTROL")
    if told is None:
        pragma = str(environ.get("HTTP_PRAGMA", "")).lower()
        return "no-cache" if "no-cache" in pragma else ""
    wishes = directives(told)
    if "no-store" in wishes:
        return "no-store"
    is_new = "no-cache" in wishes or wishes.get("max-age") == "0"
    return "no-cache" if is_new else ""


def page_key(
    scheme: str,
    host: str,
    root: str,
    path: str,
    query: str,
    varied: Sequence[str],
    environ: Environ,
) -> str:
    """Return the key of a page: different requests have different keys.

    GET and HEAD have one. No two parts can run into each other, because what
    separates them is quoted within them.

    :param host: with its port, as the framework has checked it.
    :param root: the path that the application is mounted at.
    :param path: the decoded path below it.
    :param query: as :func:`canonical_query` writes it.
    :param varied: the CGI names of the headers that belong to the key, as
        :func:`vary_names` gives them.

    >>> page_key("https", "Example.org", "", "/a?b", "c=1", (), {})
    'page:https://example.org|/a%3Fb?c=1'
    """
    host = host.lower()
    if not _PLAIN(host):
        host = _quoted(host)
    if root and not _PLAIN(root):
        root = _quoted(root)
    if not _PLAIN(path):
        path = _quoted(path)
    key = f"page:{scheme}://{host}{root}|{path}?{query}"
    for name in varied:
        value = environ.get(name)
        key += "#" if value is None else f"#={quote(_normal(value), safe='')}"
    return key


def _quoted(text: str) -> str:
    return quote(text, safe="/:", errors="surrogatepass")


def _normal(value: Any) -> str:
    """Return a header's value without what means nothing."""
    return ",".join(part.strip() for part in str(value).split(","))


def canonical_query(raw: str, names: Collection[str] | None = None) -> str | None:
    """Return a query in the one form that all its equals have.

    Sorted by name; of parameters that repeat, the order counts and stays.

    :param raw: as it came.
    :param names: of the parameters that count; ``None`` for all.
    :return: ``None`` if it has more parameters than any page needs.

    >>> canonical_query("b=2&a=1&a=0")
    'a=1&a=0&b=2'
    """
    if not raw:
        return ""
    if len(raw) > _REMEMBERED_LENGTH:
        return _canonical(raw, names)
    return _remembered(raw, None if names is None else frozenset(names))


def _canonical(raw: str, names: Collection[str] | None) -> str | None:
    try:
        pairs = parse_qsl(
            raw,
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError:
        return None
    if names is not None:
        pairs = [pair for pair in pairs if pair[0] in names]
    pairs.sort(key=itemgetter(0))
    return urlencode(pairs, errors="surrogateescape")


# The same queries come again and again.
_remembered = functools.lru_cache(maxsize=512)(_canonical)
_REMEMBERED_LENGTH = 256


def vary_names(headers: Iterable[str] | None) -> dict[str, str]:
    """Return the headers that a view varies by, by their CGI names.

    :param headers: such as ``"Accept-Language"``.
    :raises ValidationError: one of them is no name of a header, or ``*``.
    """
    given: Any = () if headers is None else headers
    if isinstance(headers, str) or not isinstance(given, Iterable):
        given = [headers]
    found = {}
    for name in given:
        if not isinstance(name, str) or name == "*" or not _TOKEN(name):
            raise ValidationError(
                f"vary takes names of headers, such as 'Accept-Language', not {name!r}"
            )
        if name.lower() == "authorization":
            raise ValidationError(
                "vary cannot name Authorization: an answer to a request that bears "
                "it is never kept"
            )
        found[cgi_name(name)] = name
    return found


def cgi_name(header: str) -> str:
    """Return the CGI variable of a request's header.

    >>> cgi_name("Accept-Language")
    'HTTP_ACCEPT_LANGUAGE'
    """
    name = header.upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"


# What may be kept


def directives(value: str) -> dict[str, str]:
    """Return the directives of a ``Cache-Control``, in lower case.

    >>> directives('Max-Age=60, private="x, y"')
    {'max-age': '60', 'private': 'x, y'}
    """
    return {
        name.lower(): argument.strip('"')
        for name, argument in _DIRECTIVE.findall(value)
    }


def why_not_kept(
    status: int,
    headers: Iterable[tuple[str, str]],
    varied: Collection[str] = (),
    *,
    is_stream: bool = False,
    has_session: bool = False,
    unkeyed: Iterable[str] = (),
) -> str:
    """Return why a response must not be kept, in one word; ``""`` if it may.

    :param varied: the CGI names of the headers that belong to the key.
    :param is_stream: its body is not there as a whole.
    :param has_session: the session was read or changed on its way.
    :param unkeyed: the CGI names of the headers that it was made from.
    """
    if is_stream:
        return "stream"
    if has_session:
        return "session"
    if status not in KEPT_STATUSES:
        return "status"
    told: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        told[key] = f"{told[key]}, {value}" if key in told else value
    if "set-cookie" in told:
        return "set-cookie"
    refusal = _refused_by(directives(told.get("cache-control", "")))
    if refusal:
        return refusal
    if "content-range" in told:
        return "status"
    refusal = _refused_by_vary(told.get("vary", ""), varied)
    if refusal:
        return refusal
    name = unkeyed_of(unkeyed, varied)
    return f"unkeyed-{name}" if name else ""


def _refused_by_vary(vary: str, varied: Collection[str]) -> str:
    names = [name.strip() for name in vary.split(",")]
    if "*" in names:
        return "vary"
    for name in names:
        if name and cgi_name(name) not in varied:
            return f"vary-{name.lower()}"
    return ""


def unkeyed_of(names: Iterable[str], varied: Collection[str]) -> str:
    """Return the first header that was read, and is in no key; or ``""``.

    :param names: CGI names.
    """
    for name in names:
        if name not in varied and name not in _IN_EVERY_KEY:
            return name.removeprefix("HTTP_").lower().replace("_", "-")
    return ""


# What the key tells anyway, and what is nothing where there is no body.
_IN_EVERY_KEY = frozenset({"HTTP_HOST", "CONTENT_LENGTH"})
_REFUSALS = ("no-store", "private", "no-cache")


def _refused_by(told: Mapping[str, str]) -> str:
    for name in _REFUSALS:
        if name in told:
            return name
    for name in ("s-maxage", "max-age"):
        if name in told:
            return "max-age" if _seconds(told[name]) == 0 else ""
    return ""


def _seconds(text: str) -> float:
    # What is no number is taken for stale (RFC 9111, 4.2.1).
    return float(text) if text.isascii() and text.isdigit() else 0.0


def lifetime_of(
    headers: Iterable[tuple[str, str]], expiration_time: float | None
) -> tuple[float | None, bool]:
    """Return how long a response is fresh, and whether it may be stale.

    :param expiration_time: what the view was decorated with; the response may
        say less by ``s-maxage`` or ``max-age``.
    """
    told = directives(
        ",".join(value for name, value in headers if name.lower() == "cache-control")
    )
    is_strict = not told.keys().isdisjoint(_STRICT)
    for name in ("s-maxage", "max-age"):
        if name in told:
            own = _seconds(told[name])
            if expiration_time is None or own < expiration_time:
                return own, not is_strict
            break
    return expiration_time, not is_strict


_STRICT = frozenset({"must-revalidate", "proxy-revalidate", "s-maxage"})


Select: TypeAlias = Callable[[str], "str | None"]


def select_query(query: bool | Iterable[str] | None) -> Select:
    """Return what makes the canonical query of a view.

    :param query: ``True``: all parameters count; names: these; ``None`` or
        ``False``: none.
    :raises ValidationError: it is none of these.
    """
    if query is True:
        return canonical_query
    if query is None or query is False:
        return _no_query
    given: Any = [query] if isinstance(query, str) else query
    names = tuple(given) if isinstance(given, Iterable) else (None,)
    if not all(isinstance(name, str) for name in names):
        raise ValidationError(
            f"query takes True, None or names of parameters, not {query!r}"
        )
    return _Selection(frozenset(names))


def _no_query(raw: str) -> str:
    return ""


class _Selection:
    """Keeps some of a query's parameters."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def __call__(self, raw: str) -> str | None:
        return canonical_query(raw, self._names)
