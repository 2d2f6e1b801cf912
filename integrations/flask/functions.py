"""Functions that remember, in whichever application they are called."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from threading import get_ident
from typing import Any, TypeVar

from flask import Flask, Request, current_app
from flask.ctx import _AppCtxGlobals  # the type of g, which has no other name
from werkzeug.local import LocalProxy

from dogpile.cache import ConfigurationError, ValidationError
from dogpile.cache.integrations.flask.state import behind, current_state

F = TypeVar("F", bound=Callable[..., Any])

# Thread and task of the latest call: a creator elsewhere is in the background.
_home: ContextVar[tuple[int, Any] | None] = ContextVar("dogpile_home", default=None)


def _here(*, is_async: bool) -> tuple[int, Any]:
    return get_ident(), asyncio.current_task() if is_async else None


def memoized(fn: F, region: str | None, options: dict[str, Any]) -> F:
    """Return a function whose values are kept in a region of the application.

    :param region: its name; ``None`` for the default one.
    :param options: of ``cache_on_arguments()``.
    """
    is_async = inspect.iscoroutinefunction(fn)
    if is_async:
        options = {**waiting(), **options}

    def decorated() -> Any:
        state = current_state()
        found = state.functions.get(function)
        if found is None:
            app: Flask = behind(current_app)
            creator = _apart(app, fn, options)
            made = state.region(region).cache_on_arguments(**options)(creator)
            found = state.functions.setdefault(function, made)
        return found

    function: Any
    if is_async:

        @functools.wraps(fn)
        async def function(*args: Any, **kwargs: Any) -> Any:
            _home.set(_here(is_async=True))
            return await decorated()(*args, **kwargs)

    else:

        @functools.wraps(fn)
        def function(*args: Any, **kwargs: Any) -> Any:
            _home.set(_here(is_async=False))
            return decorated()(*args, **kwargs)

    for name in _ATTRIBUTES:
        setattr(function, name, _delegate(decorated, name))
    function.original = fn
    function.region = LocalProxy(lambda: current_state().region(region))
    made: F = function
    return made


# SPEC: what a decorated function offers; each belongs to the current application.
_ATTRIBUTES = (
    *("get", "set", "put", "refresh", "invalidate", "key"),
    *("aget", "aset", "aput", "arefresh", "ainvalidate"),
)


def waiting() -> dict[str, Any]:
    """Return the policy of what is refreshed in an event loop of a request.

    Flask ends the loop of an async view with the view, and with it what goes on
    in its background; so that one request waits for the new value.
    """
    return {"soft_timeout": _SOFT_TIMEOUT}


# Seconds, after which its request takes the stale value.
_SOFT_TIMEOUT = 30.0


def _delegate(decorated: Callable[[], Any], name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(decorated(), name)(*args, **kwargs)

    call.__name__ = name
    return call


def _apart(
    app: Flask, fn: Callable[..., Any], options: dict[str, Any]
) -> Callable[..., Any]:
    """Return a function that knows when it is called in the background.

    :param options: of ``cache_on_arguments()``.
    """
    if inspect.iscoroutinefunction(fn):

        @functools.wraps(fn)
        async def acreated(*args: Any, **kwargs: Any) -> Any:
            _refuse_requests(fn, options, args, kwargs)
            if _is_home(is_async=True):
                return await fn(*args, **kwargs)
            return await _arun_apart(app, functools.partial(fn, *args, **kwargs))

        return acreated

    @functools.wraps(fn)
    def created(*args: Any, **kwargs: Any) -> Any:
        _refuse_requests(fn, options, args, kwargs)
        if _is_home(is_async=False):
            return fn(*args, **kwargs)
        return run_apart(app, functools.partial(fn, *args, **kwargs))

    return created


def _refuse_requests(
    fn: Callable[..., Any],
    options: dict[str, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Refuse a request that is part of a key: its text leaves the client out.

    Before anything is created, so that nothing is ever found under such a key.

    :raises ValidationError: there is one.
    """
    if not any(isinstance(value, Request) for value in (*args, *kwargs.values())):
        return
    if options.get("key") is not None:
        return
    ignored = options.get("ignore", ())
    ignored = (ignored,) if isinstance(ignored, str) else ignored
    for name, value in inspect.signature(fn).bind(*args, **kwargs).arguments.items():
        if isinstance(value, Request) and name not in ignored:
            raise ValidationError(
                f"{fn.__name__}() was given the request as {name!r}, whose text leaves "
                "the client out of the key: hand over what is needed of it, or name it "
                "in ignore= if nothing hangs upon it"
            )


def _is_home(*, is_async: bool) -> bool:
    home = _home.get()
    # Nobody's, as in refresh(): it is called where it stands.
    return home is None or home == _here(is_async=is_async)


class Apart:
    """A creator that knows when it is called in the background.

    :param creator: takes no argument, or a ``Creation``.
    """

    def __init__(self, app: Flask, creator: Callable[..., Any]) -> None:
        functools.update_wrapper(self, creator)
        self._app = app
        self._creator = creator
        self._thread = get_ident()

    def __call__(self, *given: Any) -> Any:
        """Create."""
        if get_ident() == self._thread:
            return self._creator(*given)
        return run_apart(self._app, functools.partial(self._creator, *given))


class AsyncApart:
    """A coroutine function that knows when it is called in the background.

    :param creator: takes no argument, or a ``Creation``.
    """

    def __init__(self, app: Flask, creator: Callable[..., Any]) -> None:
        functools.update_wrapper(self, creator)
        self._app = app
        self._creator = creator
        self._task = asyncio.current_task()

    async def __call__(self, *given: Any) -> Any:
        """Create."""
        if asyncio.current_task() is self._task:
            return await self._creator(*given)
        return await _arun_apart(self._app, functools.partial(self._creator, *given))


def apart(creator: Callable[..., Any], *, is_async: bool = False) -> Any:
    """Return a creator that runs in the application, and without the request.

    :param creator: as a region takes it.
    :param is_async: it is called in an event loop.
    """
    if not callable(creator):
        raise ValidationError(
            f"a creator is a function that returns the value, not {creator!r}: write "
            "lambda: … around it, or put() it"
        )
    app: Flask = behind(current_app)
    if inspect.iscoroutinefunction(creator):
        return AsyncApart(app, creator)
    # In a loop, plain creators are called in a thread while their caller waits.
    return creator if is_async else Apart(app, creator)


def run_apart(app: Flask, call: functools.partial[Any]) -> Any:
    """Call a function in the application, and without the request.

    :raises ConfigurationError: it wants the request.
    """

    def inside() -> Any:
        with app.app_context():
            return call()

    with explaining(_name_of(call)):
        return _without_request().run(inside)


async def _arun_apart(app: Flask, call: functools.partial[Any]) -> Any:
    async def inside() -> Any:
        with app.app_context():
            return await call()

    with explaining(_name_of(call)):
        return await _without_request().run(asyncio.ensure_future, inside())


def _without_request() -> Context:
    """Return a copy of this context, without what belongs to the request."""
    made = Context()
    for variable, value in copy_context().items():
        if not variable.name.startswith("flask."):
            made.run(variable.set, value)
    return made


def _name_of(call: functools.partial[Any]) -> str:
    return str(getattr(call.func, "__qualname__", type(call.func).__name__))


@contextmanager
def explaining(name: str) -> Iterator[None]:
    """Say so where a function wants its request in the background.

    :param name: the function's.
    :raises ConfigurationError: it does.
    """
    try:
        yield
    except (RuntimeError, AttributeError) as error:
        wanted = _wanted(error)
        if not wanted:
            raise
        raise ConfigurationError(
            f"{name} touches {wanted} in the background, where a value is refreshed "
            "without the request: hand over what it needs as an argument, so that it "
            "is in the key, or set grace=None"
        ) from error


def _wanted(error: Exception) -> str:
    if isinstance(getattr(error, "obj", None), _AppCtxGlobals):
        return f"`g.{getattr(error, 'name', error)}`"
    if "outside of request context" in str(error):
        return "`request` (or the session)"
    return ""
