"""Views whose responses are kept: one rendering for a crowd."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar, overload

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from dogpile.cache import ConfigurationError, ValidationError
from dogpile.cache.integrations import http
from dogpile.cache.integrations.django.asked import Asked, name_of
from dogpile.cache.integrations.django.handler import regions
from dogpile.cache.integrations.django.model_tags import listed, tag_names
from dogpile.cache.integrations.django.page_keys import page_keys
from dogpile.cache.integrations.django.responses import Ready, answered, told
from dogpile.cache.integrations.django.routes import check_view
from dogpile.cache.integrations.django.state import state
from dogpile.cache.integrations.django.turns import AsyncTurn, Turn
from dogpile.cache.integrations.django.watch import keyed_names
from dogpile.cache.integrations.everywhere import invalidate_everywhere
from dogpile.cache.integrations.http import Outcome, Page
from dogpile.cache.integrations.options import (
    read_view,
    refuse_negative,
    spelled_seconds,
)
from dogpile.cache.integrations.pages import ViewOptions, read_options, view_tags

F = TypeVar("F", bound=Callable[..., Any])
View = Callable[..., Any]


@overload
def cached_view(expiration_time: F, /) -> F: ...


@overload
def cached_view(
    expiration_time: Any = None,
    *,
    region: str | None = None,
    tags: Any = (),
    vary: Iterable[str] = (),
    query: bool | Iterable[str] | None = True,
    unless: Callable[[HttpRequest], Any] | None = None,
    response_filter: Callable[[HttpResponse], Any] | None = None,
    key: str | Callable[[HttpRequest], str] | None = None,
    **policy: Any,
) -> Callable[[F], F]: ...


def cached_view(
    expiration_time: Any = None,
    *,
    region: str | None = None,
    tags: Any = (),
    vary: Iterable[str] = (),
    query: bool | Iterable[str] | None = True,
    unless: Callable[[HttpRequest], Any] | None = None,
    response_filter: Callable[[HttpResponse], Any] | None = None,
    key: str | Callable[[HttpRequest], str] | None = None,
    **policy: Any,
) -> Any:
    """Decorate a view: one request renders for a crowd.

    For functions, coroutine functions, what ``as_view()`` returns, and by
    ``method_decorator`` for methods of class-based views. Only GET and HEAD are
    answered from the cache; what depends on anything that is not in the key is
    not kept: the session, the user, messages, cookies, a CSRF token, a header.

    :param expiration_time: seconds; the region's without.
    :param region: its name, looked up at the first request; the default one
        without.
    :param tags: models, names, format strings over the view's arguments, or
        functions of them.
    :param vary: headers of the request that the page depends on. What the
        response says itself by ``Vary`` counts, too.
    :param query: ``True``, the parameters that the view sees, or ``None``.
    :param unless: says of a request that it is not to be cached.
    :param response_filter: says of a response whether it may be kept.
    :param key: what stands in the key instead of path and query; a text, or a
        function of the request.
    :param policy: other fields of ``Policy``, such as ``grace``.
    """
    if callable(expiration_time):  # it bears no parentheses
        return cached_view()(expiration_time)
    refuse_negative({"expiration_time": expiration_time})
    options = read_options(
        expiration_time,
        region,
        _readable(tags),
        vary,
        query,
        unless,
        response_filter,
        key,
        policy,
    )
    return lambda fn: _decorated(fn, options)


def cache_page(
    timeout: Any, *, cache: str | None = None, key_prefix: str | None = None
) -> Callable[[F], F]:
    """Decorate a view, as Django's decorator of that name does.

    :param timeout: seconds, or a ``timedelta``; ``None`` for ever, 0 and less for not
        at all.
    :param cache: an alias of ``CACHES``, or a region's name;
        ``CACHE_MIDDLEWARE_ALIAS`` without.
    :param key_prefix: sets its pages apart from others of the same address;
        ``CACHE_MIDDLEWARE_KEY_PREFIX`` without.
    """
    if callable(timeout):
        raise ValidationError("cache_page takes seconds first, as in @cache_page(60)")
    timeout = _seconds(timeout)
    options = read_options(timeout, cache, (), (), True, None, None, None, {})
    options = options._replace(policy={"expiration_time": timeout})

    rules = _PageRules(timeout, cache, key_prefix)
    return lambda fn: _decorated(fn, options, rules)


def _seconds(timeout: Any) -> float | None:
    """Return a timeout in seconds, 0 for not at all.

    :raises ValidationError: it is none.
    """
    found = spelled_seconds("timeout", timeout)
    if isinstance(found, timedelta):
        found = found.total_seconds()
    if found is None:
        return None
    is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
    if not is_number or not math.isfinite(found):
        raise ValidationError(
            f"timeout takes seconds, a timedelta, or None for ever, not {timeout!r}"
        )
    seconds: float = max(found, 0)
    return seconds


class _PageRules:
    """What ``cache_page`` reads from the settings when it is asked."""

    def __init__(
        self, timeout: float | None, cache: str | None, prefix: str | None
    ) -> None:
        self.is_off = timeout == 0
        self._cache = cache
        self._prefix = prefix

    @property
    def region(self) -> str:
        return self._cache or str(settings.CACHE_MIDDLEWARE_ALIAS)

    @property
    def prefix(self) -> str:
        prefix = self._prefix
        if prefix is None:
            prefix = settings.CACHE_MIDDLEWARE_KEY_PREFIX
        return str(prefix)


def _readable(tags: Any) -> tuple[Any, ...]:
    """Return tags as they are read for each page."""
    return tuple(
        tag_names(tag)[0]
        if isinstance(tag, type) or not (isinstance(tag, str) or callable(tag))
        else tag
        for tag in listed(tags)
    )


def invalidate_view(
    name: str, urlconf: Any = None, /, *, hard: bool = True, **view_args: Any
) -> None:
    """Invalidate the pages of a view, in all regions of the project.

    :param name: as ``reverse()`` takes it; of a route without a name, that of the
        function with its module.
    :param urlconf: where the route stands, if neither among those of the site nor
        of the running request.
    :param hard: they are gone; else they are stale.
    :param view_args: all arguments of the page's address; without any, all
        pages of the view are meant.
    :raises NoReverseMatch: there is no such view, or no address of it has these
        arguments.
    """
    check_view(name, view_args, urlconf)
    tag = view_tags(name, view_args)[-1]
    invalidate_everywhere(regions.values(), [tag], hard=hard)


class _Kept(NamedTuple):
    """A view whose responses are kept.

    :param name: the view's, in keys.
    :param rules: of ``cache_page``.
    """

    fn: View
    name: str
    options: ViewOptions
    rules: _PageRules | None


def _decorated(fn: Any, options: ViewOptions, rules: _PageRules | None = None) -> Any:
    """Return a view whose responses are kept.

    ``method_decorator`` decorates anew at each request, so that this is quick.
    """
    kept = _Kept(fn, name_of(fn), options, rules)
    view: Any
    if isinstance(fn, type):
        raise ValidationError(
            f"{fn.__name__} is a class: decorate {fn.__name__}.as_view(), or the class "
            'by @method_decorator(cached_view(…), name="dispatch")'
        )
    read_view(fn)
    if _is_async(fn):

        @functools.wraps(fn)
        async def view(request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return await _aanswer(kept, request, args, kwargs)

    else:

        @functools.wraps(fn)
        def view(request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return _answer(kept, request, args, kwargs)

    view.dogpile_options = options
    return view


def _is_async(fn: Any) -> bool:
    if iscoroutinefunction(fn):
        return True
    # dispatch() of an asynchronous class is none, but returns a coroutine.
    bound = getattr(fn, "func", fn)
    owner = getattr(bound, "__self__", None)
    name = getattr(fn, "__name__", "")
    return name == "dispatch" and bool(getattr(owner, "view_is_async", False))


# Of a request


def _asked(
    kept: _Kept, request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Asked | Outcome:
    """Return what is asked of the cache, or why it has nothing to do with it."""
    fn, name, options, rules = kept
    if not isinstance(request, HttpRequest):
        raise ConfigurationError(
            f"{name_of(fn)}() was given no request first: decorate a method of a "
            "class by method_decorator(cached_view(…))"
        )
    meta = request.META
    passed = http.why_passed(str(request.method), meta)
    if passed is None:
        passed = _why_passed_here(request, options, rules)
    if passed is not None:
        return Outcome(passed[0], detail=passed[1])
    wish = http.wish_of(meta) if state.is_trusted(request) else ""
    if wish == "no-store":
        return Outcome("request")
    region, prefix = options.region, ""
    if rules is not None:
        region, prefix = rules.region, rules.prefix
    found = page_keys.key(name, options, prefix, request)
    if found is None:
        return Outcome("bypass", detail="query")
    key, query = found
    return Asked(
        fn, options, request, args, kwargs, state.shelf(region), key, query, wish
    )


def _why_passed_here(
    request: Any, options: ViewOptions, rules: _PageRules | None
) -> tuple[str, str] | None:
    session = getattr(request, "session", None)
    if session is not None and (session.accessed or session.modified):
        # Whatever has read it may have told the view.
        return "bypass", "session"
    if request.META.get("CSRF_COOKIE_NEEDS_UPDATE"):
        return "bypass", "csrf"
    if request.content_params:
        # It may say how the query is to be read.
        return "bypass", "content-type"
    if rules is not None and rules.is_off:
        return "bypass", "timeout"
    if options.unless is not None and options.unless(request):
        return "bypass", "unless"
    return None


# The two doors

_ready = Ready()


def _answer(
    kept: _Kept, request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> HttpResponseBase:
    asked = _asked(kept, request, args, kwargs)
    if isinstance(asked, Outcome):
        return told(kept.fn(request, *args, **kwargs), asked)
    now = asked.shelf.clock.time()
    if asked.shelf.is_short and not asked.wish and not asked.shelf.region.events.wanted:
        page = asked.shelf.region.get(asked.key)
        if type(page) is Page and now < page.until and not asked.is_touched():
            return answered(request, page, _ready.headers(asked.key, page, now))
    return Turn(asked, keyed_names()).answer(now)


async def _aanswer(
    kept: _Kept, request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> HttpResponseBase:
    asked = _asked(kept, request, args, kwargs)
    if isinstance(asked, Outcome):
        return told(await kept.fn(request, *args, **kwargs), asked)
    now = asked.shelf.clock.time()
    if asked.shelf.is_short and not asked.wish and not asked.shelf.region.events.wanted:
        page = asked.shelf.region.get(asked.key)
        is_good = type(page) is Page and now < page.until
        if is_good and not asked.is_touched(is_async=True):
            return answered(request, page, _ready.headers(asked.key, page, now))
    if hasattr(request, "scope"):
        return await AsyncTurn(asked, keyed_names()).answer(now)
    # Under WSGI the loop ends with the view, and its background would end with it.
    turn = Turn(asked._replace(fn=_blocking(kept.fn)), keyed_names())
    made: HttpResponseBase = await sync_to_async(turn.answer)(now)
    return made


def _blocking(fn: View) -> View:
    async def call(*args: Any, **kwargs: Any) -> Any:
        # dispatch() of an asynchronous class is not marked as what it is.
        return await fn(*args, **kwargs)

    return functools.wraps(fn)(async_to_sync(call))
