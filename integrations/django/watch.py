"""What a view sees of its request while its page is made, and what it has read.

A page may only depend on what is in its key. So the query is the canonical one, what
the key tells of the client is written in one way, and what is read of the rest is
noted: it makes the page one that is not kept.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, QueryDict
from django.http.request import HttpHeaders
from django.utils.functional import SimpleLazyObject

from dogpile.cache import ConfigurationError
from dogpile.cache.integrations import http
from dogpile.cache.integrations.django.csp import NONCE, NobodysNonce
from dogpile.cache.integrations.watched import Watched, WatchedEnviron

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self

USER = "user"
SESSION = "session"
SCOPE = "SCOPE"

# What a request remembers once it was read off its headers or its query.
_REMEMBERED = ("headers", "accepted_types", "accepted_types_by_precedence", "GET")
# What is the same for all requests of one key.
_OF_KEY = ("SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "HTTP_HOST")
_FORWARDED_HOST = "HTTP_X_FORWARDED_HOST"
_ABSENT = object()


class WatchedHeaders(HttpHeaders):
    """The headers of a request, of which is noted what was read."""

    def __init__(self, meta: WatchedEnviron) -> None:
        # All of them are copied, which is no reading.
        super().__init__(dict(dict.items(meta)))
        self._seen = meta.seen

    def __getitem__(self, key: str) -> str:
        self._seen.add(http.cgi_name(key))
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[str]:
        for name in super().__iter__():
            self._seen.add(http.cgi_name(name))
            yield name

    def __repr__(self) -> str:
        self._seen.update(map(http.cgi_name, super().__iter__()))
        return super().__repr__()

    def __eq__(self, other: object) -> bool:
        self._seen.update(map(http.cgi_name, super().__iter__()))
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # as of Django's own


class WatchedCookies(Watched):
    """The cookies of a request: who reads one has read the header."""

    def _note(self, name: object) -> None:
        self.seen.add("HTTP_COOKIE")

    def _note_all(self) -> None:
        self.seen.add("HTTP_COOKIE")  # also where there are none


# What the key tells, or what is the same for all requests that the key stands for.
_SCOPE_OF_ALL = frozenset(
    {
        *("type", "asgi", "http_version", "method", "scheme", "server"),
        *("path", "root_path"),
    }
)


class WatchedScope(Watched):
    """What an ASGI server tells of a request; it has the headers, too."""

    def _note(self, name: object) -> None:
        # A server, or a middleware, may tell anything of the client.
        if name not in _SCOPE_OF_ALL:
            self.seen.add(SCOPE)


class Watch:
    """Watches a request from entry to exit.

    Then the request is as it was before, but for what the view has set.

    :param query: the canonical one.
    """

    def __init__(self, request: HttpRequest, query: str) -> None:
        self._request: Any = request
        self._query = query
        #: The CGI names of what was read; and ``user``, ``session``.
        self.seen: set[str] = set()

    def __enter__(self) -> Self:
        request = self._request
        remembered = request.__dict__
        meta = WatchedEnviron(request.META)
        dict.update(meta, _written_alike(request, self._query))
        dict.pop(meta, "CONTENT_TYPE", None)  # there is no content
        self.seen = meta.seen
        self._before_meta = request.META
        self._base = dict(dict.items(meta))
        cookies = request.COOKIES
        self._before = {
            name: remembered.get(name, _ABSENT)
            for name in (*_REMEMBERED, *_OWN, "COOKIES", "user", "auser", "session")
        }
        for name in _REMEMBERED:
            remembered.pop(name, None)
        request.META = meta
        request.headers = WatchedHeaders(meta)
        request.COOKIES = WatchedCookies(cookies, meta.seen)
        request.GET = QueryDict(self._query)
        request.content_type, request.content_params = "", {}
        if "environ" in remembered:
            request.environ = meta
        if "scope" in remembered:
            request.scope = WatchedScope(request.scope, meta.seen)
        self._watch_user()
        self._given = {name: remembered.get(name) for name in self._before}
        return self

    def __exit__(self, *exc_info: object) -> None:
        remembered = self._request.__dict__
        written = dict(dict.items(self._request.META))
        self._request.META = self._before_meta
        for name, value in self._before.items():
            is_set = name not in _REMEMBERED and remembered.get(
                name
            ) is not self._given.get(name)
            if is_set:
                continue  # by the view, as login() sets the user
            if value is _ABSENT:
                remembered.pop(name, None)
            else:
                remembered[name] = value
        for name, value in written.items():
            if self._base.get(name, _ABSENT) is not value:
                self._before_meta[name] = value

    def _watch_user(self) -> None:
        request, seen = self._request, self.seen
        user = self._before["user"]
        if user is not _ABSENT:
            request.user = SimpleLazyObject(_Noting(seen, USER, lambda: user))
        auser = self._before["auser"]
        if auser is not _ABSENT:
            request.auser = _Noting(seen, USER, auser)
        session = self._before["session"]
        if session is not _ABSENT:
            # Not all that it tells counts as reading it: its key does not.
            request.session = SimpleLazyObject(_Noting(seen, SESSION, lambda: session))


# What a request of one kind or another has beside them.
_OWN = ("content_type", "content_params", "environ", "scope")


class _Noting:
    """Calls a function, and notes what of the client was asked for.

    :param name: what is noted.
    """

    def __init__(self, seen: set[str], name: str, function: Callable[..., Any]) -> None:
        self._seen = seen
        self._name = name
        self._function = function

    def __call__(self, *given: Any) -> Any:
        self._seen.add(self._name)
        return self._function(*given)


def _written_alike(request: HttpRequest, query: str) -> dict[str, Any]:
    """Return the variables that are the same for all requests of one key."""
    found = {"QUERY_STRING": query}
    header = settings.SECURE_PROXY_SSL_HEADER
    if header is not None and header[0] in request.META:
        found[header[0]] = header[1] if request.is_secure() else "http"
    if settings.USE_X_FORWARDED_HOST and _FORWARDED_HOST in request.META:
        # Which is in the key; what the client itself has sent is not.
        found["HTTP_HOST"] = request.META[_FORWARDED_HOST]
    return found


def keyed_names() -> frozenset[str]:
    """Return the names of headers that the key tells anyway."""
    # A request that bears one of the first two is never answered from the cache, and
    # no view sees the third.
    names = {"HTTP_AUTHORIZATION", "HTTP_TRANSFER_ENCODING", "CONTENT_TYPE"}
    if settings.USE_X_FORWARDED_HOST:
        names.add(_FORWARDED_HOST)
    if settings.SECURE_PROXY_SSL_HEADER is not None:
        names.add(settings.SECURE_PROXY_SSL_HEADER[0])
    return frozenset(names)


def keyed_request(
    request: HttpRequest, query: str, varied: Mapping[str, str]
) -> HttpRequest:
    """Return a request that has nothing but what is in its key.

    No middleware has seen it: it has no session, no user and no messages.

    :param query: the canonical one.
    :param varied: the CGI names of the headers in the key.
    """
    meta = request.META
    names = [*_OF_KEY, *varied]
    if settings.USE_X_FORWARDED_HOST:
        names.append(_FORWARDED_HOST)
    environ = {name: meta[name] for name in names if name in meta}
    environ.update(_written_alike(request, query))
    script = meta.get("SCRIPT_NAME", "")
    environ.update(
        {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": _as_wsgi(script),
            "PATH_INFO": _as_wsgi(request.path_info),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": request.scheme,
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
    )
    made: Any = WSGIRequest(environ)
    made.path, made.path_info = request.path, request.path_info
    made.resolver_match = request.resolver_match
    for name in ("urlconf", "LANGUAGE_CODE"):
        if hasattr(request, name):
            setattr(made, name, getattr(request, name))
    for name in ("user", "session"):
        if hasattr(request, name):
            setattr(made, name, SimpleLazyObject(_Refusal(name)))
    if hasattr(request, NONCE):
        setattr(made, NONCE, NobodysNonce())
    return made  # type: ignore[no-any-return]  # it bears what middlewares add


def _as_wsgi(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("latin-1")


class _Refusal:
    """What stands in the place of something that only a client has."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self) -> Any:
        raise ConfigurationError(
            f"request.{self._name} was touched in the background, where a page is "
            "refreshed without a client: a page may only be made from what is in its "
            "key; leave such a view uncached, or set grace=None"
        )
