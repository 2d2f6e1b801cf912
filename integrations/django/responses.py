"""From kept pages to responses, and what clients are told about them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase, ResponseHeaders

from dogpile.cache.integrations import http
from dogpile.cache.integrations.django.csp import overrides_of
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
    request: HttpRequest, page: Page, headers: KeptHeaders | Iterable[tuple[str, str]]
) -> HttpResponse:
    """Return a kept page as a response, or a 304."""
    if not state.http_headers:
        return _whole(page, page.headers)
    meta = request.META
    if "HTTP_IF_NONE_MATCH" in meta or "HTTP_IF_MODIFIED_SINCE" in meta:
        is_same = page.status == _OK and http.is_not_modified(
            meta, page.etag, page.last_modified
        )
        if is_same:
            pairs = headers.items() if isinstance(headers, KeptHeaders) else headers
            made = _response(_NOT_MODIFIED, b"", http.not_modified_headers(pairs))
            # A middleware tells it to clients, who update what they have by it.
            return _marked(made, [each for each in page.extras if each[0] != _REASON])
    return _whole(page, headers)


_OK = 200
_NOT_MODIFIED = 304
_REASON = "reason_phrase"
# What the decorators of Django have its middleware pass over.
_EXEMPT = "xframe_options_exempt"


def _whole(
    page: Page, headers: KeptHeaders | Iterable[tuple[str, str]]
) -> HttpResponse:
    made = _response(page.status, page.body, headers)
    return _marked(made, page.extras) if page.extras else made


def _marked(made: HttpResponse, extras: Iterable[tuple[str, Any]]) -> HttpResponse:
    for name, value in extras:
        setattr(made, name, value)
    return made


def _response(
    status: int, body: bytes, headers: KeptHeaders | Iterable[tuple[str, str]]
) -> HttpResponse:
    # Any type of content will do, as the headers are replaced.
    made = HttpResponse(body, content_type="", status=status)
    if not isinstance(headers, KeptHeaders):
        headers = KeptHeaders(headers)
    made.headers = headers
    return made


class Ready:
    """The headers of pages that were answered lately, by their keys."""

    def __init__(self) -> None:
        # Beside what they were made of; not beside pages, which may have gone.
        self._known: dict[str, tuple[object, KeptHeaders]] = {}

    def headers(self, key: str, page: Page, now: float) -> KeptHeaders:
        """Return the headers of a page that is answered from this process's memory.

        :param now: seconds since the epoch.
        """
        known = self._known.get(key)
        if known is None or known[0] is not page.headers:
            known = page.headers, KeptHeaders(page.headers)
            if len(self._known) >= _MOST_READY:
                self._known.clear()
            if len(key) <= _LONGEST_READY:
                self._known[key] = known
        return known[1].beside(http.hit_status(page, now))


_MOST_READY = 1000
_LONGEST_READY = 1000


def extras_of(response: Any) -> list[tuple[str, Any]]:
    """Return what Django reads of a response beside status, headers and body."""
    found = overrides_of(response)
    if getattr(response, _EXEMPT, False):
        found.append((_EXEMPT, True))
    usual = HttpResponse(status=response.status_code).reason_phrase
    if response.reason_phrase != usual:
        found.append((_REASON, response.reason_phrase))
    return found


class KeptHeaders(ResponseHeaders):
    """Headers that Django has checked once, when their page was made.

    :param headers: by their names; the last one of a name counts.
    """

    def __init__(self, headers: Iterable[tuple[str, str]]) -> None:
        super().__init__({})
        for header in headers:
            name = header[0].lower()
            if "\n" in header[1] or "\r" in header[1]:
                self[name] = header[1]  # which refuses it
            self._store[name] = header

    def beside(self, others: Iterable[tuple[str, str]]) -> KeptHeaders:
        """Return the same headers and some that need no check."""
        # Nothing is left to check: what Django would do to an empty one is spared.
        made = KeptHeaders.__new__(KeptHeaders)
        made._store = store = self._store.copy()  # noqa: SLF001 - its own
        for header in others:
            store[header[0].lower()] = header
        return made


def headers_of(response: Any) -> list[tuple[str, str]]:
    """Return the headers of a response, with those of its cookies."""
    found = list(response.items())
    found += [("Set-Cookie", each.OutputString()) for each in response.cookies.values()]
    return found
