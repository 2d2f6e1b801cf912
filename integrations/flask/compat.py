"""Flask-Caching's interface, so that an application moves with one import.

``from dogpile.cache.integrations.flask.compat import Cache`` reads the settings of
Flask-Caching, and keeps what its decorators say; a crowd creates a value once.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable
from typing import Any

from flask import Flask, current_app, has_app_context

from dogpile.cache import ConfigurationError
from dogpile.cache.integrations.flask import compat_keys as keys
from dogpile.cache.integrations.flask.compat_calls import (
    CachedResponse,
    CacheExtension,
    Timeout,
    Turns,
    cache_memoize_hit,
    cache_memoize_miss,
    cache_view_hit,
    cache_view_miss,
    make_template_fragment_key,
)
from dogpile.cache.integrations.flask.compat_store import Store, build_store
from dogpile.cache.integrations.flask.state import behind

__all__ = [
    "Cache",
    "CachedResponse",
    "cache_memoize_hit",
    "cache_memoize_miss",
    "cache_view_hit",
    "cache_view_miss",
    "make_template_fragment_key",
]


class Cache:
    """The cache of Flask applications, under the names of Flask-Caching.

    :param app: to be initialised at once.
    :param with_jinja2_ext: whether templates know ``{% cache %}``.
    :param config: settings that go before the application's.
    """

    def __init__(
        self,
        app: Flask | None = None,
        with_jinja2_ext: bool = True,
        config: dict[str, Any] | None = None,
    ) -> None:
        self.with_jinja2_ext = with_jinja2_ext
        self.config: dict[str, Any] | None = _checked(config)
        #: The latest application, which is meant where none is current.
        self.app: Flask | None = None
        #: Makes keys, if it is set; else each application's own setting does.
        self.hash_method: Callable[..., Any] | None = None
        if app is not None:
            self.init_app(app, config)

    def init_app(self, app: Flask, config: dict[str, Any] | None = None) -> None:
        """Build the application's region from its settings.

        :raises ConfigurationError: a setting is no use.
        """
        if not isinstance(app, Flask):
            raise ConfigurationError(
                f"init_app() takes a Flask application, not {app!r}"
            )
        settings = {**app.config, **(self.config or {}), **(_checked(config) or {})}
        hash_method = settings.get("CACHE_HASH_METHOD") or hashlib.sha256
        if not callable(hash_method):
            raise ValueError(  # noqa: TRY004 - as in Flask-Caching
                "`CACHE_HASH_METHOD` must be a hash constructor, for example "
                f"hashlib.sha256, not {hash_method!r}"
            )
        self.app = app
        store = build_store(settings, app.secret_key)
        app.extensions.setdefault("cache", {})[self] = store
        app.extensions.setdefault("dogpile.cache.compat", {})[self] = {
            **settings,
            "CACHE_HASH_METHOD": hash_method,
        }
        if self.with_jinja2_ext:
            app.jinja_env.add_extension(CacheExtension)
            app.jinja_env.extend(dogpile_compat=self)

    @property
    def cache(self) -> Store:
        """What the current application keeps values in."""
        store: Store = self._of("cache")
        return store

    def _of(self, name: str) -> Any:
        """Return what the current application has for this cache."""
        app = self.current_app()
        found = app.extensions.get(name, {}).get(self)
        if found is None:
            raise ConfigurationError(
                f"the application {app.name!r} has no cache: call cache.init_app(app) "
                "before it is used"
            )
        return found

    def current_app(self) -> Flask:
        """Return the current application, or the latest one.

        :raises ConfigurationError: there is none.
        """
        if has_app_context():
            app: Flask = behind(current_app)
            return app
        if self.app is None:
            raise ConfigurationError(
                "the cache was used outside of an application, and before init_app()"
            )
        return self.app

    def setting(self, name: str, given: Any = None) -> Any:
        """Return a setting of the current application, or what was given."""
        if given is not None:
            return given
        return self._of("dogpile.cache.compat").get(name)

    def _hash_method(self, given: Callable[..., Any] | None) -> Any:
        return self.setting("CACHE_HASH_METHOD", given or self.hash_method)

    def get(self, key: str) -> Any:
        """Return a value, or ``None``."""
        return self.cache.get(key)

    def has(self, key: str) -> bool:
        """Return whether there is a value."""
        return self.cache.has(key)

    def set(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Store a value."""
        return self.cache.set(key, value, timeout)

    def add(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Store a value unless there is one; return whether it was stored."""
        return self.cache.add(key, value, timeout)

    def delete(self, key: str) -> bool:
        """Remove a value; return whether there was one."""
        return self.cache.delete(key)

    def get_many(self, *keys: str) -> list[Any]:
        """Return the value of each key, or ``None``."""
        return self.cache.get_many(*keys)

    def get_dict(self, *keys: str) -> dict[str, Any]:
        """Return the values by key."""
        return self.cache.get_dict(*keys)

    def set_many(self, mapping: dict[str, Any], timeout: Timeout = None) -> list[str]:
        """Store values; return their keys."""
        return self.cache.set_many(mapping, timeout)

    def delete_many(self, *keys: str) -> list[str]:
        """Remove values; return the keys of those that were there."""
        return self.cache.delete_many(*keys)

    def unlink(self, *keys: str) -> list[str]:
        """Remove values; as :meth:`delete_many`."""
        return self.cache.delete_many(*keys)

    def clear(self) -> bool:
        """Invalidate everything."""
        return self.cache.clear()

    def cached(
        self,
        timeout: Timeout = None,
        key_prefix: str | Callable[[], str] = "view/%s",
        unless: Callable[..., Any] | None = None,
        forced_update: Callable[..., Any] | None = None,
        is_stale: Callable[..., Any] | None = None,
        response_filter: Callable[..., Any] | None = None,
        query_string: bool = False,
        hash_method: Callable[..., Any] | None = None,
        cache_none: bool = False,
        make_cache_key: Callable[..., str] | None = None,
        source_check: bool | None = None,
        response_hit_indication: bool = False,
    ) -> Callable[[Callable[..., Any]], Any]:
        """Decorate a view, or another function; arguments as in Flask-Caching."""

        def key_of(
            fn: Callable[..., Any],
            path: str | None,
            query: keys.QueryArguments | None,
            view_args: dict[str, Any] | None,
        ) -> str:
            hashing = self._hash_method(hash_method)
            has_source = self.setting("CACHE_SOURCE_CHECK", source_check)
            source = inspect.getsource(fn) if has_source else ""
            key = keys.view_key(fn, key_prefix, path, view_args)
            if query_string:
                return key + keys.query_hash(keys.query_pairs(query), hashing, source)
            return key + (keys.source_hash(fn, hashing) if source else "")

        def decorate(fn: Callable[..., Any]) -> Any:
            function: Any

            def key(*args: Any, **kwargs: Any) -> str:
                if make_cache_key is not None:
                    return make_cache_key(*args, **kwargs)
                made: str = function.make_cache_key(*args, use_request=True, **kwargs)
                return made

            turn = Turns(self, fn, key, unless, forced_update, is_stale)
            turn.response_filter = response_filter
            turn.cache_none = cache_none
            turn.signals = (cache_view_hit, cache_view_miss)
            turn.indicates = response_hit_indication
            function = turn.function(timeout)

            def make_key(*args: Any, **kwargs: Any) -> str:
                named = dict(zip(keys.positional_names(fn), args, strict=False))
                named.update(kwargs)
                if named.pop("use_request", False):
                    # What is left is the view's own, whatever it is called.
                    return key_of(fn, None, None, None)
                path = named.pop("path", None)
                query = named.pop("query_args", None)
                return key_of(fn, path, query, None if query_string else named)

            function.make_cache_key = make_key
            return function

        return decorate

    def delete_cached(
        self,
        f: Any,
        path: str | None = None,
        query_args: keys.QueryArguments | None = None,
        **kwargs: Any,
    ) -> bool:
        """Delete what a view decorated by :meth:`cached` has left."""
        key = f.make_cache_key(path=path, query_args=query_args, **kwargs)
        return self.delete(key)

    def memoize(
        self,
        timeout: Timeout = None,
        make_name: Callable[[str], str] | None = None,
        unless: Callable[..., Any] | None = None,
        forced_update: Callable[..., Any] | None = None,
        is_stale: Callable[..., Any] | None = None,
        response_filter: Callable[..., Any] | None = None,
        hash_method: Callable[..., Any] | None = None,
        cache_none: bool = False,
        source_check: bool | None = None,
        args_to_ignore: list[str] | None = None,
    ) -> Callable[[Callable[..., Any]], Any]:
        """Decorate a function by its arguments; arguments as in Flask-Caching."""
        ignored = args_to_ignore or []

        def make_key(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
            hashing = self._hash_method(hash_method)
            name, _ = keys.namespaces(fn, args)
            shown = name if make_name is None else make_name(name)
            text = shown + keys.call_text(fn, args, kwargs, ignored)
            if self.setting("CACHE_SOURCE_CHECK", source_check):
                text += inspect.getsource(fn)
            return f"memoize:{hashing(text.encode()).hexdigest()}"

        def decorate(fn: Callable[..., Any]) -> Any:
            turn = Turns(
                self,
                fn,
                functools.partial(make_key, fn),
                unless,
                forced_update,
                is_stale,
            )
            turn.response_filter = response_filter
            turn.cache_none = cache_none
            turn.signals = (cache_memoize_hit, cache_memoize_miss)
            turn.tags = lambda args: tuple(
                tag
                for tag in keys.namespaces(fn, args)
                if tag is not None and not ("self" in ignored and ":" in tag)
            )
            function = turn.function(timeout)
            function.make_cache_key = make_key
            function.delete_memoized = lambda: self.delete_memoized(function)
            return function

        return decorate

    def delete_memoized(self, f: Any, *args: Any, **kwargs: Any) -> None:
        """Delete what a memoized function has left: all, or one call's.

        :param f: the function; of a bound method only its instance's is meant.
        :raises TypeError: it is no function.
        """
        if not callable(f):
            raise TypeError("delete_memoized() takes the function, not its name")
        function: Any = f
        held = getattr(f, "__self__", None)
        if not args and not kwargs:
            tags = keys.namespaces(f, (held,) if inspect.isclass(held) else ())
            self.cache.region.invalidate_tags(next(t for t in reversed(tags) if t))
            return
        names = keys.positional_names(function.uncached)
        if held is not None and names[:1] == ["self"] and args[:1] != (held,):
            args = (held, *args)
        self.delete(function.make_cache_key(function.uncached, *args, **kwargs))

    def delete_memoized_verhash(self, f: Any, *args: Any) -> None:
        """Delete all that a memoized function has left."""
        self.delete_memoized(f)


def _checked(config: Any) -> dict[str, Any] | None:
    if config is None or isinstance(config, dict):
        return config
    raise ValueError("`config` must be an instance of dict or None")
