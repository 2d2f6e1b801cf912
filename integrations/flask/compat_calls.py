"""The calls of functions that were decorated as Flask-Caching does it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

from blinker import NamedSignal, Namespace
from flask import Flask, Response
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from werkzeug.exceptions import HTTPException

from dogpile.cache import NO_VALUE, Creation
from dogpile.cache.integrations import http
from dogpile.cache.integrations.flask import compat_keys as keys
from dogpile.cache.integrations.flask.compat_store import Store

_signals = Namespace()
cache_view_hit: NamedSignal = _signals.signal("cache-view-hit")
cache_view_miss: NamedSignal = _signals.signal("cache-view-miss")
cache_memoize_hit: NamedSignal = _signals.signal("cache-memoize-hit")
cache_memoize_miss: NamedSignal = _signals.signal("cache-memoize-miss")

Timeout = int | timedelta | str | None
# What a response says about itself that no option of a decorator outweighs.
_NEVER = ("set-cookie", "private", "no-store")


class Cache(Protocol):
    """What the calls ask of their cache."""

    @property
    def cache(self) -> Store:
        """What the current application keeps values in."""

    def current_app(self) -> Flask:
        """Return the current application."""

    def setting(self, name: str, given: Any = None) -> Any:
        """Return a setting of the current application."""


class CachedResponse(Response):
    """A response that says itself for how long it is kept.

    :param response: whose state it takes over.
    :param timeout: seconds, or a ``timedelta``.
    """

    timeout: float | None = None

    def __init__(self, response: Response, timeout: Timeout) -> None:
        self.__dict__ = response.__dict__
        if isinstance(timeout, timedelta):
            timeout = int(timeout.total_seconds())
        self.timeout = None if timeout is None else float(timeout)


def make_template_fragment_key(
    fragment_name: str, vary_on: list[str] | None = None
) -> str:
    """Return the key of a fragment of a template."""
    varied = "_".join(vary_on or ())
    name = f"{fragment_name}_" if varied else fragment_name
    return f"_template_fragment_cache_{name}{varied}"


class Turns:
    """The calls of one decorated function.

    :param key: makes the key of a call.
    """

    def __init__(
        self,
        cache: Cache,
        fn: Callable[..., Any],
        key: Callable[..., str],
        unless: Callable[..., Any] | None,
        forced_update: Callable[..., Any] | None,
        is_stale: Callable[..., Any] | None,
    ) -> None:
        self._cache = cache
        self._fn = fn
        self._key = key
        self._unless = unless
        self._forced_update = forced_update
        self._is_stale = is_stale
        self.response_filter: Callable[..., Any] | None = None
        self.cache_none = False
        self.indicates = False
        self.signals: tuple[Any, Any] = (cache_view_hit, cache_view_miss)
        self.tags: Callable[[tuple[Any, ...]], tuple[str, ...]] = lambda args: ()

    def function(self, timeout: Timeout) -> Any:
        """Return the decorated function."""
        function: Any

        @functools.wraps(self._fn)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            return self._answer(function.cache_timeout, args, kwargs)

        function = decorated
        function.uncached = self._fn
        function.cache_timeout = timeout
        return function

    def _answer(self, timeout: Timeout, args: Any, kwargs: Any) -> Any:
        if _asks(self._unless, (self._fn, *args), kwargs):
            return self._call(args, kwargs)
        key = self._key(*args, **kwargs)
        store = self._cache.cache
        if _asks(self._forced_update, args, kwargs):
            store.region.delete(key)
        elif self._is_stale is not None:
            found = store.read(key)
            given = args if keys.takes(self._is_stale, 2) else ()
            named = kwargs if given or keys.takes(self._is_stale, 2) else {}
            if found is not NO_VALUE and self._is_stale(found, *given, **named) is True:
                store.region.delete(key)
        made: list[bool] = []

        def create(creation: Creation) -> Any:
            made.append(True)
            return self._created(creation, store, timeout, args, kwargs)

        value = store.region.get_or_create(key, create, tags=self.tags(args))
        self._tell(key, args, kwargs, is_hit=not made)
        if isinstance(value, HTTPException):
            raise value
        if self.indicates and not made:
            value = self._cache.current_app().make_response(value)
            value.headers["hit_cache"] = "True"
        return value

    def _created(
        self, creation: Creation, store: Store, timeout: Timeout, args: Any, kwargs: Any
    ) -> Any:
        try:
            value = self._call(args, kwargs)
        except HTTPException as error:
            value = error
        if inspect.isgenerator(value):
            value = _joined(value)
        if isinstance(value, CachedResponse) and value.timeout:
            timeout = int(value.timeout)
        shown = value.get_response() if isinstance(value, HTTPException) else value
        if not self._is_kept(shown):
            return creation.skip(value)
        creation.expires(store.expiration(timeout))
        return value

    def _call(self, args: Any, kwargs: Any) -> Any:
        return self._cache.current_app().ensure_sync(self._fn)(*args, **kwargs)

    def _is_kept(self, value: Any) -> bool:
        if value is None and not self.cache_none:
            return False
        if self.response_filter is not None and not self.response_filter(value):
            return False
        if not isinstance(value, Response):
            return True
        return http.why_not_kept(200, value.headers) not in _NEVER

    def _tell(self, key: str, args: Any, kwargs: Any, *, is_hit: bool) -> None:
        if not self._cache.setting("CACHE_ENABLE_SIGNALS"):
            return
        hit, miss = self.signals
        told = {"cache": self._cache, "cache_key": key, "args": args, "kwargs": kwargs}
        if hit is cache_memoize_hit:
            told["f"] = self._fn
        (hit if is_hit else miss).send(**told)


def _asks(asked: Callable[..., Any] | None, args: Any, kwargs: Any) -> bool:
    if asked is None:
        return False
    answer = asked(*args, **kwargs) if keys.takes(asked, 1) else asked()
    return answer is True


def _joined(chunks: Any) -> Any:
    found = list(chunks)
    if all(isinstance(each, str) for each in found):
        return "".join(found)
    if all(isinstance(each, bytes) for each in found):
        return b"".join(found)
    return found


class CacheExtension(Extension):
    """The tag ``{% cache 60, "name", vary, … %}`` of Flask-Caching."""

    tags: set[str] = {"cache"}  # noqa: RUF012 - Jinja's own form

    def parse(self, parser: Parser) -> nodes.Node:
        """Parse the tag."""
        line = next(parser.stream).lineno
        given = [parser.parse_expression()]
        while parser.stream.skip_if("comma"):
            given.append(parser.parse_expression())
        if len(given) == 1:
            given.append(nodes.Const(f"{parser.filename}{line}"))
        timeout, name, *varied = given
        body = parser.parse_statements(("name:endcache",), drop_needle=True)
        call = self.call_method("_cached", [timeout, name, nodes.List(varied)])
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _cached(
        self, timeout: Any, name: str, vary: list[str], caller: Callable[[], str]
    ) -> Any:
        cache: Cache = self.environment.dogpile_compat  # type: ignore[attr-defined]  # given by extend()
        key = make_template_fragment_key(name, vary)
        store = cache.cache
        if timeout == "del":
            store.delete(key)
            return caller()

        def create(creation: Creation) -> str:
            creation.expires(store.expiration(timeout))
            return caller()

        return store.region.get_or_create(key, create)
