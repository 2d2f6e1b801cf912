"""What becomes of a request's page: decided alike in threads and in event loops."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    SuspiciousOperation,
)
from django.http import Http404
from django.http.response import HttpResponseBase

from dogpile.cache import NO_VALUE, CacheRegion, ConfigurationError, Creation
from dogpile.cache.integrations import http
from dogpile.cache.integrations.django import apart
from dogpile.cache.integrations.django.asked import Asked, has_session, of_client
from dogpile.cache.integrations.django.responses import (
    answered,
    extras_of,
    headers_of,
    told,
)
from dogpile.cache.integrations.django.state import state
from dogpile.cache.integrations.django.watch import (
    SESSION,
    USER,
    Watch,
    keyed_request,
)
from dogpile.cache.integrations.http import Outcome, Page
from dogpile.cache.integrations.pages import SERVER_ERROR, kept_page, needs_client

#: What Django answers with a status of its own: for whom it was raised.
REFUSALS = (Http404, PermissionDenied, SuspiciousOperation, BadRequest)
# Said by a response, and never learned: it is one page for each client.
_NEVER_LEARNED = frozenset({"*", "cookie", "authorization"})
# What is stored where a page varies by more than its key tells.
_FORK = "vary"


class BaseTurn:
    """What threads and event loops decide alike.

    :param keyed: the CGI names of headers that the key tells anyway.
    """

    is_async = False

    def __init__(self, asked: Asked, keyed: Collection[str]) -> None:
        self._asked = asked
        self._keyed = keyed
        self._request = asked.request
        self._shelf = asked.shelf
        self._region: CacheRegion = asked.shelf.region
        self._varied = dict(asked.options.varied)
        self._key = asked.key
        self._locale = apart.activated()
        self._keyed_request = self._nobody()
        # What was made for this very request: of no use to anybody else.
        self._response: Any = None
        self._error: Exception | None = None
        self._detail = ""
        self._is_kept = False
        self._creation: Creation | None = None
        self._watch = Watch(asked.request, asked.query)
        self._vary(self._shelf.learned(asked.key))

    def _nobody(self) -> Any:
        asked = self._asked
        return keyed_request(asked.request, asked.query, self._varied)

    def _vary(self, headers: Collection[str]) -> None:
        """Have headers in the key, too."""
        if not headers:
            return
        self._varied.update(http.vary_names(headers))
        meta = self._request.META
        parts = [f"{name}={meta.get(name)!r}" for name in sorted(self._varied)]
        self._key = f"{self._asked.key}|{'|'.join(parts)}"
        self._keyed_request = self._nobody()

    def _settings(self) -> dict[str, Any]:
        policy = dict(self._asked.options.policy)
        policy.pop("expiration_time", None)
        return {**policy, "tags": self._asked.tags()}

    def _only_reads(self, *, is_behind: bool) -> bool:
        """Return whether the request leaves no page, and takes one that is there.

        :param is_behind: what is made now may be older than an invalidation.
        """
        return is_behind or self._request.method == "HEAD"

    def _has_lesson(self, payload: Any) -> bool:
        """Learn what the page varies by, if that is what was found."""
        if not isinstance(payload, (list, tuple)) or len(payload) != 2:
            return False
        kind, headers = payload
        if kind != _FORK:
            return False
        self._shelf.learn(self._asked.key, tuple(headers))
        self._vary(headers)
        self._response, self._error, self._is_kept = None, None, False
        return True

    # Answers

    def _concluded(self, payload: Any, now: float) -> HttpResponseBase | None:
        """Return the answer, or ``None`` if it has to be made for this request."""
        if self._error is not None:
            raise self._error
        if self._response is not None:
            return self._own(payload)
        page = http.read_page(payload)
        if page is None or (page.until <= now and not page.may_be_stale):
            # What others cannot have was made for another client.
            return None
        outcome = Outcome(ttl=page.until - now)
        if page.finished > now:
            left = page.until - page.finished
            outcome = Outcome("uri-miss", left, is_collapsed=True)
        return self._kept(page, now, outcome)

    def _kept(self, page: Page, now: float, outcome: Outcome) -> HttpResponseBase:
        headers = http.hit_headers(page, now)
        headers[-1] = "Cache-Status", str(outcome)
        return answered(self._request, page, headers)

    def _own(self, payload: Any) -> HttpResponseBase:
        """Return what was made for this request, and may have been kept."""
        fwd = "request" if self._asked.wish else "uri-miss"
        response: HttpResponseBase = self._response
        page = http.read_page(payload) if self._is_kept else None
        if page is None:
            self._shelf.note_passing(self._key)
            return told(response, Outcome(fwd, detail=self._detail))
        self._shelf.end_passing(self._key)
        if not state.http_headers:
            return response
        outcome = self._shelf.made(
            fwd, page, self._creation, self._key, self._asked.options.policy
        )
        return self._kept(page, page.created, outcome)

    def _found(self, payload: Any, now: float) -> HttpResponseBase | None:
        """Return the answer to a HEAD, or within a transaction: a fresh page."""
        page = http.read_page(payload)
        if page is None or page.until <= now:
            return None
        return self._kept(page, now, Outcome(ttl=page.until - now))

    def _passed(self, response: Any, reason: str) -> HttpResponseBase:
        """Return a response that was made for this request alone."""
        if reason:
            self._shelf.note_passing(self._key)
        else:
            self._shelf.end_passing(self._key)
        return told(response, Outcome("uri-miss", detail=reason))

    # The making

    def _judged(self, response: Any, request: Any) -> str:
        """Return why a response must not be kept; ``""`` if it may."""
        if not isinstance(response, HttpResponseBase):
            raise ConfigurationError(
                f"the view {self._asked.view!r} returned a {type(response).__name__}, "
                "and no HttpResponse"
            )
        reason = of_client(request)
        seen = self._watch.seen
        if not reason and USER in seen:
            reason = "user"
        if not reason:
            reason = http.why_not_kept(
                response.status_code,
                headers_of(response),
                self._varied,
                is_stream=response.streaming,
                has_session=SESSION in seen or has_session(request),
                unkeyed=sorted(seen - self._keyed_names()),
            )
        wanted = self._asked.options.response_filter
        if not reason and wanted is not None and not wanted(response):
            reason = "filter"
        if not reason and self._asked.is_touched(is_async=self.is_async):
            reason = "transaction"
        return reason

    def _keyed_names(self) -> set[str]:
        return {USER, SESSION, *self._keyed}

    def _is_personal(self) -> bool:
        """Return whether what the view did may hang upon this very client."""
        seen = self._watch.seen
        return (
            USER in seen
            or SESSION in seen
            or has_session(self._request)
            or bool(of_client(self._request))
            or bool(http.unkeyed_of(sorted(seen - self._keyed_names()), self._varied))
        )

    def _result(self, response: Any, started: float, creation: Creation) -> Any:
        """Return what is stored of a response that was made in the foreground."""
        self._response = response
        lesson = self._lesson(response)
        if lesson:
            creation.expires(None)
            return lesson
        if self._detail:
            return NO_VALUE
        self._is_kept = True
        self._creation = creation
        return self._page(response, started, creation)

    def _lesson(self, response: Any) -> list[Any]:
        """Return the headers that a response varies by, where they are new."""
        if not self._detail.startswith(("vary-", "unkeyed-")):
            return []
        names = [
            name.strip()
            for name in response.headers.get("Vary", "").split(",")
            if name.strip()
        ]
        if not _NEVER_LEARNED.isdisjoint(name.lower() for name in names):
            return []
        if all(http.cgi_name(name) in self._varied for name in names):
            return []
        return [_FORK, names]

    def _failed(self, error: Exception) -> None:
        """Set an error aside that is for this client alone.

        :raises Exception: it is not.
        """
        if not isinstance(error, REFUSALS) and not self._is_personal():
            raise error
        self._error = error

    def _apart(self, response: Any, request: Any) -> str:
        """Return why a page from the background is not kept.

        :raises ConfigurationError: the view cannot make it there.
        """
        reason = self._judged(response, request)
        if response.status_code >= SERVER_ERROR:
            raise ConfigurationError(
                f"the view {self._asked.view!r} answered {response.status_code}"
            )
        if reason in ("session", "user") or reason.startswith("unkeyed-"):
            raise ConfigurationError(needs_client(self._asked.view, reason))
        return reason

    def _page(self, response: Any, started: float, creation: Creation) -> Page:
        return kept_page(
            self._shelf,
            self._asked.options,
            response.status_code,
            headers_of(response),
            response.content,
            list(self._varied.values()),
            started,
            creation,
            http_headers=state.http_headers,
            extras=extras_of(response),
        )
