"""The extension: what an application and its blueprints import."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, overload

from flask import Flask, Response

from dogpile.cache import CacheRegion, ConfigurationError
from dogpile.cache.integrations.everywhere import invalidate_everywhere
from dogpile.cache.integrations.flask import jinja
from dogpile.cache.integrations.flask.endpoints import regions_of
from dogpile.cache.integrations.flask.functions import apart, memoized, waiting
from dogpile.cache.integrations.flask.state import NAME, build_state, current_state
from dogpile.cache.integrations.flask.views import cached_view
from dogpile.cache.integrations.options import (
    check_call,
    check_function,
    read_names,
    read_view,
    readable_twice,
    refuse_negative,
)
from dogpile.cache.integrations.pages import read_options, view_tags

F = TypeVar("F", bound=Callable[..., Any])


class DogpileCache:
    """The cache of Flask applications.

    Made at import time; it has nothing of an application, so that one object
    serves several. Its operations are those of the application's default
    region; ``cache["pages"]`` is another one.

    :param app: to be initialised at once; or call :meth:`init_app` later.
    """

    def __init__(self, app: Flask | None = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Build the application's regions from its settings.

        :raises ConfigurationError: a setting is no use, or it has them already.
        """
        if not isinstance(app, Flask):
            raise ConfigurationError(
                f"init_app() takes a Flask application, not {app!r}: leave it out to "
                "make a cache that applications are given to later"
            )
        if NAME in app.extensions:
            raise ConfigurationError(
                f"the application {app.name!r} has a cache already: call init_app() "
                "once"
            )
        app.extensions[NAME] = build_state(app)
        jinja.install(app)

    # Regions

    @property
    def regions(self) -> Mapping[str, CacheRegion]:
        """The regions of the current application by name."""
        return current_state().regions

    def region(self, name: str | None = None) -> CacheRegion:
        """Return a region of the current application.

        :param name: ``None`` for the default one.
        :raises ConfigurationError: there is none of that name.
        """
        return current_state().region(name)

    def __getitem__(self, name: str) -> CacheRegion:
        """Return a region of the current application."""
        return current_state().region(name)

    def __contains__(self, name: object) -> bool:
        """Return whether the current application has a region of that name."""
        return name in current_state().regions

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the current application's regions."""
        return iter(current_state().regions)

    # The default region's operations

    def get(self, key: Any, expiration_time: Any = None) -> Any:
        """Return a stored value, or ``NO_VALUE``."""
        return self.region().get(key, expiration_time)

    def get_multi(self, keys: Sequence[Any]) -> list[Any]:
        """Return the value of each key, or ``NO_VALUE``."""
        return self.region().get_multi(keys)

    def get_or_create(
        self,
        key: Any,
        creator: Callable[..., Any],
        expiration_time: Any = None,
        **policy: Any,
    ) -> Any:
        """Return the value of a key; one caller creates it where need be.

        In the background the creator runs in the application, and without the
        request.

        :param creator: returns the value; as ``CacheRegion.get_or_create``
            takes it.
        :param expiration_time: seconds that it is fresh for.
        :param policy: other fields of ``Policy``.
        """
        return self.region().get_or_create(
            key, apart(creator), expiration_time, **policy
        )

    def put(self, key: Any, value: Any, **policy: Any) -> Any:
        """Store a value, and return it."""
        return self.region().put(key, value, **policy)

    def set(self, key: Any, value: Any, **policy: Any) -> Any:
        """Store a value, and return it; as :meth:`put`."""
        return self.region().put(key, value, **policy)

    def put_multi(self, mapping: Mapping[Any, Any], **policy: Any) -> None:
        """Store the value of each key."""
        self.region().put_multi(mapping, **policy)

    def delete(self, key: Any) -> None:
        """Remove a value."""
        self.region().delete(key)

    def delete_multi(self, keys: Sequence[Any]) -> None:
        """Remove the values of all the keys."""
        self.region().delete_multi(keys)

    async def aget(self, key: Any, expiration_time: Any = None) -> Any:
        """Return a stored value; the twin of :meth:`get`."""
        return await self.region().aget(key, expiration_time)

    async def aget_or_create(
        self,
        key: Any,
        creator: Callable[..., Any],
        expiration_time: Any = None,
        **policy: Any,
    ) -> Any:
        """Return a value, created if need be; twin of :meth:`get_or_create`."""
        return await self.region().aget_or_create(
            key,
            apart(creator, is_async=True),
            expiration_time,
            **{**waiting(), **policy},
        )

    async def aput(self, key: Any, value: Any, **policy: Any) -> Any:
        """Store a value; the twin of :meth:`put`."""
        return await self.region().aput(key, value, **policy)

    async def adelete(self, key: Any) -> None:
        """Remove a value; the twin of :meth:`delete`."""
        await self.region().adelete(key)

    # Invalidation

    def invalidate_tags(self, *tags: str, hard: bool = True) -> None:
        """Invalidate what has one of the tags, in all regions of the application.

        :param hard: it is gone; else it is stale.
        :raises BackendError: a region is to say so where its server is down; the
            others have been told.
        """
        names = read_names("invalidate_tags()", tags, "names")
        invalidate_everywhere(self.regions.values(), names, hard=hard)

    def invalidate_view(
        self, endpoint: str, /, *, hard: bool = True, **view_args: Any
    ) -> None:
        """Invalidate the pages of a view.

        :param endpoint: as ``url_for()`` takes it.
        :param hard: they are gone; else they are stale.
        :param view_args: all arguments of the page's route; without any, all
            pages of the view are meant.
        :raises ValidationError: there is no such view, it is not cached, or no
            page of it has these arguments.
        """
        names = regions_of(endpoint, view_args)
        tag = view_tags(endpoint, view_args)[-1]
        invalidate_everywhere(map(self.region, names), [tag], hard=hard)

    def invalidate_fragment(self, name: str, *, hard: bool = True) -> None:
        """Invalidate the fragments of templates that have a name.

        :param hard: they are gone; else they are stale.
        """
        self.invalidate_tags(jinja.fragment_tag(name), hard=hard)

    # Decorators

    @overload
    def cached(self, expiration_time: F, /) -> F: ...

    @overload
    def cached(
        self,
        expiration_time: Any = None,
        *,
        region: str | None = None,
        tags: Any = (),
        vary: Iterable[str] = (),
        query: bool | Iterable[str] | None = True,
        unless: Callable[[], Any] | None = None,
        response_filter: Callable[[Response], Any] | None = None,
        key: str | Callable[[], str] | None = None,
        **policy: Any,
    ) -> Callable[[F], F]: ...

    def cached(
        self,
        expiration_time: Any = None,
        *,
        region: str | None = None,
        tags: Any = (),
        vary: Iterable[str] = (),
        query: bool | Iterable[str] | None = True,
        unless: Callable[[], Any] | None = None,
        response_filter: Callable[[Response], Any] | None = None,
        key: str | Callable[[], str] | None = None,
        **policy: Any,
    ) -> Any:
        """Decorate a view, below its route: one request renders for a crowd.

        :param expiration_time: seconds; the region's without.
        :param region: its name; the default one without.
        :param tags: names, format strings over the view's arguments, or
            functions of them.
        :param vary: headers of the request that the page depends on.
        :param query: ``True``, the parameters that the view sees, or ``None``.
        :param unless: says that this request is not to be cached.
        :param response_filter: says of a response whether it may be kept.
        :param key: what stands in the key instead of path and query.
        :param policy: other fields of ``Policy``, such as ``grace``.
        """
        if callable(expiration_time):  # it bears no parentheses
            return self.cached()(expiration_time)
        refuse_negative({"expiration_time": expiration_time})
        for name, given in (("key", key), ("unless", unless)):
            check_call(name, given, 0)
        check_call("response_filter", response_filter, 1)
        options = read_options(
            expiration_time,
            region,
            tags,
            vary,
            query,
            unless,
            response_filter,
            key,
            policy,
        )
        return lambda fn: cached_view(read_view(fn), options)

    def memoize(
        self, expiration_time: Any = None, *, region: str | None = None, **options: Any
    ) -> Callable[[F], F]:
        """Decorate a function: its values are kept by its arguments.

        It gets the attributes of ``CacheRegion.cache_on_arguments()``.

        :param expiration_time: seconds, or a function that returns them.
        :param region: its name; the default one without.
        :param options: of ``cache_on_arguments()``.
        """
        options = readable_twice({**options, "expiration_time": expiration_time})

        def decorate(*given: Any, **named: Any) -> Any:
            # More, or less, than a function: it bears no parentheses.
            fn = given[0] if len(given) == 1 and not named else None
            if isinstance(fn, (classmethod, staticmethod)):
                return type(fn)(decorate(fn.__func__))
            check_function(fn, region, options)
            return memoized(fn, region, options)  # type: ignore[type-var]  # checked

        return decorate
