"""What a view sees of its request while its page is made, and what it has read.

A page may only depend on what is in its key. So the query is the canonical one,
and headers that are read are noted: what is not in the key makes the page one that
is not kept.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask import Flask, Request
from werkzeug.datastructures import EnvironHeaders

from dogpile.cache.integrations.watched import WatchedEnviron

# What a request remembers once it was read off its headers or its query.
_REMEMBERED = (
    *("accept_charsets", "accept_encodings", "accept_languages", "accept_mimetypes"),
    *("access_route", "args", "authorization", "base_url", "cache_control"),
    *("cookies", "full_path", "if_match", "if_modified_since", "if_none_match"),
    *("if_range", "if_unmodified_since", "pragma", "range", "root_url", "url"),
    *("url_root", "user_agent", "values", "_parsed_content_type"),
)
# What is the same for all requests of one key.
_OF_KEY = (
    *("SCRIPT_NAME", "PATH_INFO", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL"),
    *("HTTP_HOST", "wsgi.url_scheme"),
)


class WatchedHeaders(EnvironHeaders):
    """The headers of a watched environ."""

    def getlist(
        self,
        key: str,
        type: Any = None,  # noqa: A002 - Werkzeug's name
        *given: Any,
    ) -> list[Any]:
        """Return the values of one header: of the others none is read."""
        found = self.get(key, type=type)
        return [] if found is None else [found]

    def get_all(self, name: str) -> list[str]:
        """Return the values of one header."""
        return self.getlist(name)


@contextmanager
def watched(request: Request, query: str) -> Iterator[set[str]]:
    """Let a request have one query, and note what is read of its headers.

    :param request: as it was afterwards, whatever happens.
    :param query: the canonical one.
    :return: the CGI names of what was read.
    """
    before = request.environ, request.headers, request.query_string
    kind = type(request)
    environ = WatchedEnviron(request.environ)
    _forget(request)
    request.environ = environ
    request.headers = WatchedHeaders(environ)
    request.query_string = query.encode("ascii")
    request.__class__ = _watching(kind)
    try:
        yield environ.seen
    finally:
        request.__class__ = kind
        request.environ, request.headers, request.query_string = before
        _forget(request)


_watching_kinds: dict[type[Request], type[Request]] = {}


def _watching(kind: type[Request]) -> type[Request]:
    """Return a class of requests that read the client's address when asked for it.

    A request has read it when it was made, for whoever may ask.
    """
    found = _watching_kinds.get(kind)
    if found is None:
        address = {"remote_addr": property(_remote_addr)}
        found = _watching_kinds[kind] = type(kind.__name__, (kind,), address)
    return found


def _remote_addr(request: Request) -> str | None:
    address: str | None = request.environ.get("REMOTE_ADDR")
    return address


def _forget(request: Request) -> None:
    remembered = request.__dict__
    for name in _REMEMBERED:
        remembered.pop(name, None)


def keyed_environ(
    environ: Mapping[str, Any], query: str, varied: Iterable[str]
) -> dict[str, Any]:
    """Return the environ of a request that has nothing but what is in its key.

    :param query: the canonical one.
    :param varied: the CGI names of the headers in the key.
    """
    kept = {name: environ[name] for name in (*_OF_KEY, *varied) if name in environ}
    return {
        **kept,
        "REQUEST_METHOD": "GET",
        "QUERY_STRING": query,
        "wsgi.version": (1, 0),
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


@contextmanager
def keyed_request(app: Flask, environ: dict[str, Any]) -> Iterator[Request]:
    """Enter a request of the application that is nobody's.

    Its ``g`` and its session are empty; what is to be done at the end of a
    request is done at its end.
    """
    # The one that was copied from the caller's thread ends in that thread.
    with app.app_context(), app.request_context(environ) as context:
        yield context.request
