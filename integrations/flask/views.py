"""Views whose responses are kept: one rendering for a crowd."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from threading import get_ident
from typing import Any
from urllib.parse import quote

from flask import Flask, Request, Response
from flask.globals import request_ctx
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from dogpile.cache import NO_VALUE, ConfigurationError, Creation
from dogpile.cache.integrations import http
from dogpile.cache.integrations.flask.functions import explaining
from dogpile.cache.integrations.flask.signals import page_answered, tell
from dogpile.cache.integrations.flask.state import State, behind, state_of
from dogpile.cache.integrations.flask.watch import (
    keyed_environ,
    keyed_request,
    watched,
)
from dogpile.cache.integrations.http import Outcome, Page
from dogpile.cache.integrations.pages import (
    SEPARATED,
    SERVER_ERROR,
    Shelf,
    ViewOptions,
    kept_page,
    needs_client,
    page_tags,
)

View = Callable[..., Any]


def cached_view(fn: View, options: ViewOptions) -> View:
    """Return a view whose responses are kept."""

    @functools.wraps(fn)
    def view(*args: Any, **kwargs: Any) -> Response:
        return answer(fn, options, args, kwargs)

    view.dogpile_options = options  # type: ignore[attr-defined]  # its own
    return view


def answer(
    fn: View, options: ViewOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Response:
    """Answer a request from the cache, or by the view."""
    context: Any = behind(request_ctx)
    app: Flask = context.app
    asked: Request = context.request
    state = state_of(app)
    environ = asked.environ
    query = options.select(asked.query_string.decode("latin-1"))
    passed = http.why_passed(asked.method, environ)
    if passed is None:
        passed = _why_passed_here(context, options)
    if passed is not None or query is None:
        fwd, detail = passed or ("bypass", "query")
        return _uncached(state, app, fn, args, kwargs, Outcome(fwd, detail=detail))
    shelf = state.shelf(options.region)
    key = _key_of(asked, options, query)
    now = shelf.clock.time()
    wish = http.wish_of(environ) if state.is_trusted(asked) else ""
    if wish == "no-store":
        return _uncached(state, app, fn, args, kwargs, Outcome("request"))
    if shelf.is_short and not wish and not shelf.region.events.wanted:
        page = shelf.region.get(key)
        if type(page) is Page and now < page.until:
            if page_answered.receivers:
                tell(app, asked.endpoint, Outcome(ttl=page.until - now))
            return _respond(state, app, asked, page, http.hit_headers(page, now))
    turn = Turn(state, shelf, app, asked, fn, options, query, key, args, kwargs)
    return turn.answer(now, wish)


def _why_passed_here(context: Any, options: ViewOptions) -> tuple[str, str] | None:
    if _has_session(context):
        # Whatever has read it may have told the view.
        return "bypass", "session"
    if options.unless is not None and options.unless():
        return "bypass", "unless"
    return None


def _has_session(context: Any = None) -> bool:
    """Return whether the session was read or changed; asking is no reading."""
    if context is None:
        context = behind(request_ctx)
    # The property of that name, where there is one, counts as reading.
    held = vars(context)
    session = held["_session"] if "_session" in held else held.get("session")
    return session is not None and bool(session.accessed or session.modified)


def _key_of(asked: Request, options: ViewOptions, query: str) -> str:
    path = asked.path
    if options.key is not None:
        path = options.key() if callable(options.key) else options.key
        # Another view's key may have the same text.
        path, query = f"={quote(asked.endpoint or '', safe='')}={path}", ""
    return http.page_key(
        asked.scheme,
        asked.host,
        asked.root_path,
        path,
        query,
        options.varied,  # type: ignore[arg-type]  # its names, in their order
        asked.environ,
    )


def _uncached(
    state: State,
    app: Flask,
    fn: View,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    outcome: Outcome,
) -> Response:
    response = app.make_response(app.ensure_sync(fn)(*args, **kwargs))
    return _told(state, app, response, outcome)


def _told(state: State, app: Flask, response: Response, outcome: Outcome) -> Response:
    tell(app, behind(request_ctx).request.endpoint, outcome)
    if state.http_headers:
        response.headers.add("Cache-Status", str(outcome))
        if outcome.detail in SEPARATED and "Cache-Control" not in response.headers:
            # No cache on the way may take it for everybody's, whatever its path.
            response.headers["Cache-Control"] = "private"
    return response


def _respond(
    state: State,
    app: Flask,
    asked: Request,
    page: Page,
    headers: Iterable[tuple[str, str]],
) -> Response:
    """Return a kept page as a response, or a 304."""
    # A text where the view has given one of its own.
    status = page.extras[0][1] if page.extras else page.status
    if not state.http_headers:
        return app.response_class(page.body, status, KeptHeaders(page.headers))
    environ = asked.environ
    if "HTTP_IF_NONE_MATCH" in environ or "HTTP_IF_MODIFIED_SINCE" in environ:
        is_same = page.status == 200 and http.is_not_modified(
            environ, page.etag, page.last_modified
        )
        if is_same:
            told = KeptHeaders(http.not_modified_headers(headers))
            return app.response_class(None, 304, told)
    return app.response_class(page.body, status, KeptHeaders(headers))


def _own_status(response: Response) -> tuple[tuple[str, str], ...]:
    """Return a response's status line, where it is not the usual one."""
    usual = HTTP_STATUS_CODES.get(response.status_code, "").upper()
    if response.status == f"{response.status_code} {usual}":
        return ()
    return (("status", response.status),)


class KeptHeaders(Headers):
    """Headers that Werkzeug has checked once, when their page was made.

    :param headers: what is no header, as one with a line's end, is refused.
    """

    def __init__(self, headers: Iterable[tuple[str, str]]) -> None:
        super().__init__()
        for header in headers:
            if "\n" in header[1] or "\r" in header[1]:
                self.add(*header)  # which raises
            self._list.append(header)


class Turn:
    """One request whose page was not found at once.

    :param query: the canonical one.
    :param key: of the page.
    """

    def __init__(
        self,
        state: State,
        shelf: Shelf,
        app: Flask,
        asked: Request,
        fn: View,
        options: ViewOptions,
        query: str,
        key: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._state = state
        self._shelf = shelf
        self._app = app
        self._asked = asked
        self._fn = fn
        self._options = options
        self._query = query
        self._key = key
        self._args = args
        self._kwargs = kwargs
        self._endpoint = asked.endpoint or fn.__name__
        self._thread = get_ident()
        self._environ = keyed_environ(asked.environ, query, options.varied)
        # What was made for this very request: of no use to anybody else.
        self._response: Response | None = None
        self._error: Exception | None = None
        self._detail = ""
        self._is_kept = False
        self._creation: Creation | None = None
        self._seen: set[str] = set()

    def answer(self, now: float, wish: str) -> Response:
        """Answer the request.

        :param now: when it was asked.
        :param wish: ``"no-cache"`` for a new page.
        """
        region, key = self._shelf.region, self._key
        if wish:
            region.delete(key)
        if self._asked.method == "HEAD":
            return self._answer_head(now)
        if self._shelf.is_passing(key, now):
            return self._alone()
        payload = region.get_or_create(
            key, self.create, self._options.expiration_time, **self._settings()
        )
        if self._error is not None:
            raise self._error
        if self._response is not None:
            return self._own(payload, "request" if wish else "uri-miss")
        page = http.read_page(payload)
        if page is None:
            # It was made for another client, who alone may have it.
            return self._alone()
        if page.until <= now and not page.may_be_stale:
            return self._alone()
        outcome = Outcome(ttl=page.until - now)
        if page.finished > now:
            left = page.until - page.finished
            outcome = Outcome("uri-miss", left, is_collapsed=True)
        return self._kept(page, now, outcome)

    def _kept(self, page: Page, now: float, outcome: Outcome) -> Response:
        """Return a kept page."""
        tell(self._app, self._endpoint, outcome)
        headers = http.hit_headers(page, now)
        headers[-1] = "Cache-Status", str(outcome)
        return _respond(self._state, self._app, self._asked, page, headers)

    def _answer_head(self, now: float) -> Response:
        """Answer from what a GET has left; what a HEAD makes is no page."""
        page = http.read_page(self._shelf.region.get(self._key))
        if page is None or page.until <= now:
            return self._alone()
        return self._kept(page, now, Outcome(ttl=page.until - now))

    def _settings(self) -> dict[str, Any]:
        tags = page_tags(self._endpoint, self._options.tags, self._kwargs)
        return {**self._options.policy, "tags": tuple(tags)}

    def _alone(self) -> Response:
        """Make the response for this request, and keep nothing of it."""
        response, reason = self._rendered(self._asked)
        if reason:
            self._shelf.note_passing(self._key)
        else:
            self._shelf.end_passing(self._key)
        return _told(
            self._state, self._app, response, Outcome("uri-miss", detail=reason)
        )

    def _own(self, payload: Any, fwd: str) -> Response:
        """Return what was made for this request, and may have been kept."""
        response: Any = self._response
        page = http.read_page(payload) if self._is_kept else None
        if page is None:
            self._shelf.note_passing(self._key)
            return _told(
                self._state, self._app, response, Outcome(fwd, detail=self._detail)
            )
        self._shelf.end_passing(self._key)
        outcome = self._shelf.made(
            fwd, page, self._creation, self._key, self._options.policy
        )
        if not self._state.http_headers:
            tell(self._app, self._endpoint, outcome)
            return response  # type: ignore[no-any-return]  # as above
        return self._kept(page, page.created, outcome)

    # The creator

    def create(self, creation: Creation) -> Any:
        """Make the page; what is not everybody's is set aside for its client."""
        if get_ident() != self._thread:
            return self._create_apart(creation)
        started = self._shelf.clock.time()
        try:
            response, self._detail = self._rendered(self._asked)
        except HTTPException as error:
            # A refusal is for whom it was made.
            self._error = error
            return NO_VALUE
        except Exception as error:
            if not self._is_personal():
                raise
            self._error = error
            return NO_VALUE
        self._response = response
        if self._detail:
            return NO_VALUE
        self._is_kept = True
        self._creation = creation
        return self._page(response, started, creation)

    def _create_apart(self, creation: Creation) -> Any:
        """Make the page in the background, where there is no client."""
        started = self._shelf.clock.time()
        try:
            named = explaining(f"the view {self._endpoint!r}")
            with named, keyed_request(self._app, self._environ) as made:
                response, reason = self._rendered(made)
        except HTTPException as error:
            if error.code is None or error.code >= SERVER_ERROR:
                raise
            reason = "status"
        else:
            if not reason:
                return self._page(response, started, creation)
            if response.status_code >= SERVER_ERROR:
                raise ConfigurationError(
                    f"the view {self._endpoint!r} answered {response.status_code}"
                )
        if reason == "session" or reason.startswith("unkeyed-"):
            raise ConfigurationError(needs_client(self._endpoint, reason))
        # It is another page now, such as none.
        self._shelf.region.delete(self._key)
        return NO_VALUE

    def _rendered(self, asked: Request) -> tuple[Response, str]:
        """Call the view.

        :return: its response, and why it must not be kept.
        """
        app, options = self._app, self._options
        with watched(asked, self._query) as self._seen:
            made = app.ensure_sync(self._fn)(*self._args, **self._kwargs)
            response = app.make_response(made)
        reason = http.why_not_kept(
            response.status_code,
            response.headers,
            options.varied,
            is_stream=response.is_streamed or response.direct_passthrough,
            has_session=_has_session(),
            unkeyed=sorted(self._seen),
        )
        wanted = options.response_filter
        if not reason and wanted is not None and not wanted(response):
            reason = "filter"
        return response, reason

    def _is_personal(self) -> bool:
        """Return whether what the view did may hang upon this very client."""
        return _has_session() or bool(
            http.unkeyed_of(sorted(self._seen), self._options.varied)
        )

    def _page(self, response: Response, started: float, creation: Creation) -> Page:
        options = self._options
        return kept_page(
            self._shelf,
            options,
            response.status_code,
            list(response.headers),
            response.get_data(),
            list(options.varied.values()),
            started,
            creation,
            http_headers=self._state.http_headers,
            extras=_own_status(response),
        )
