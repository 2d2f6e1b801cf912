"""From kept pages to responses, and what clients are told about them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from dogpile.cache.integrations import http
from dogpile.cache.integrations.django.state import state
from dogpile.cache.integrations.http import Outcome, Page
from dogpile.cache.integrations.pages import SEPARATED


def told(response: Any, outcome: Outcome) -> HttpResponseBase:
    """Return a response that says how it was answered.

    :param response: what the view has returned.
    """
    if state.http_headers and isinstance(response, HttpResponseBase):
        response.headers["Cache-Status"] = _with_others(response, str(outcome))
        is_separated = outcome.detail in SEPARATED
        if is_separated and not response.has_header("Cache-Control"):
            # No cache on the way may take it for everybody's, whatever its path.
            response.headers["Cache-Control"] = "private"
    made: HttpResponseBase = response
    return made


def _with_others(response: HttpResponseBase, status: str) -> str:
    """Return what this cache says beside what another one has said."""
    before = response.headers.get("Cache-Status")
    return f"{before}, {status}" if before else status


def answered(
    request: HttpRequest, page: Page, headers: Iterable[tuple[str, str]]
) -> HttpResponse:
    """Return a kept page as a response, or a 304."""
    if not state.http_headers:
        return _response(page.status, page.body, page.headers)
    meta = request.META
    if "HTTP_IF_NONE_MATCH" in meta or "HTTP_IF_MODIFIED_SINCE" in meta:
        is_same = page.status == _OK and http.is_not_modified(
            meta, page.etag, page.last_modified
        )
        if is_same:
            return _response(_NOT_MODIFIED, b"", http.not_modified_headers(headers))
    return _response(page.status, page.body, headers)


_OK = 200
_NOT_MODIFIED = 304


def _response(
    status: int, body: bytes, headers: Iterable[tuple[str, str]]
) -> HttpResponse:
    made = HttpResponse(body, status=status)
    # Not even the type of its content is assumed.
    del made.headers["Content-Type"]
    for name, value in headers:
        made.headers[name] = value
    return made


def headers_of(response: Any) -> list[tuple[str, str]]:
    """Return the headers of a response, with those of its cookies."""
    found = list(response.items())
    found += [("Set-Cookie", each.OutputString()) for each in response.cookies.values()]
    return found
