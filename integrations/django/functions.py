"""Functions that remember, in a region of the project, with models as tags."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, overload

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.db.models import Model

from dogpile.cache import NO_VALUE, CacheRegion, Creation, ValidationError
from dogpile.cache.integrations.django import apart
from dogpile.cache.integrations.django.handler import regions
from dogpile.cache.integrations.django.model_tags import listed, tag_names
from dogpile.cache.integrations.django.rows import keyed_all, meant_all
from dogpile.cache.integrations.django.snapshots import ahas_old_view, has_old_view
from dogpile.cache.integrations.django.transactions import written_tags
from dogpile.cache.integrations.options import check_function, readable_twice

F = TypeVar("F", bound=Callable[..., Any])

# Seconds after which who refreshes takes the stale value, where nobody else can.
_SOFT_TIMEOUT = 30.0
# Returned by a creator: hand the value out, do not store it.
_skip: Any = Creation.skip


@overload
def cached(expiration_time: F, /) -> F: ...


@overload
def cached(
    expiration_time: Any = None,
    *,
    region: str | None = None,
    tags: Any = (),
    **options: Any,
) -> Callable[[F], F]: ...


def cached(
    expiration_time: Any = None,
    *,
    region: str | None = None,
    tags: Any = (),
    **options: Any,
) -> Any:
    """Decorate a function: its values are kept by its arguments.

    For functions, methods and coroutine functions, with and without
    parentheses. It gets the attributes of ``CacheRegion.cache_on_arguments()``:
    ``invalidate()``, ``refresh()`` … An instance of a model is known by its key.

    While a transaction has written what one of the tags stands for, the function
    is called, and nothing is read from the cache or stored.

    :param expiration_time: seconds, or a ``timedelta``; the region's without.
    :param region: its name, looked up at the first call; the default one without.
    :param tags: models, instances, names, format strings such as
        ``"shop.Book:{pk}"``, or functions of the arguments that return those.
    :param options: of ``cache_on_arguments()``, such as ``grace`` and ``key``.
    """
    if callable(expiration_time) or isinstance(
        expiration_time, (staticmethod, classmethod)
    ):  # it bears no parentheses
        return cached(None, region=region, tags=tags, **options)(expiration_time)
    options = readable_twice({**options, "expiration_time": expiration_time})
    readable = [_readable(tag) for tag in listed(tags)]

    def decorate(fn: Any) -> Any:
        if isinstance(fn, (staticmethod, classmethod)):
            return type(fn)(decorate(fn.__func__))
        return Remembering(fn, region, readable, options).function

    return decorate


class Remembering:
    """A function whose values are kept, in whichever regions there are now.

    :param region: the region's name; ``None`` for the default one.
    :param tags: as a region reads them.
    :param options: of ``cache_on_arguments()``.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        region: str | None,
        tags: list[Any],
        options: dict[str, Any],
    ) -> None:
        if not callable(fn):
            raise ValidationError(
                f"a function is decorated, not {fn!r}: write @cached(60) above one"
            )
        check_function(fn, region, {**options, "tags": tags})
        self.original = fn
        self._name = getattr(fn, "__name__", type(fn).__name__)
        self._region = region
        self._options = options
        self._is_async = iscoroutinefunction(fn)
        self._tags = tags
        self._made: dict[bool, tuple[CacheRegion, Any]] = {}
        self.function: Any = self._generate()

    def decorated(self, *, is_waiting: bool = False) -> Any:
        """Return the function as the region has decorated it.

        :param is_waiting: one caller waits for what is refreshed, because there
            will be no background.
        """
        region = regions.region(self._region)
        made = self._made.get(is_waiting)
        if made is None or made[0] is not region:
            options = {**self._options, "tags": self._tags}
            if is_waiting:
                options.setdefault("soft_timeout", _SOFT_TIMEOUT)
            decorated = region.cache_on_arguments(**options)(self._creator())
            made = self._made[is_waiting] = region, decorated
        return made[1]

    def _generate(self) -> Any:
        function: Any
        if self._is_async:

            @functools.wraps(self.original)
            async def function(*args: Any, **kwargs: Any) -> Any:
                return await self._acall(args, kwargs)

        else:

            @functools.wraps(self.original)
            def function(*args: Any, **kwargs: Any) -> Any:
                return self._call(args, kwargs)

        for name in _DELEGATED:
            setattr(function, name, _delegate(self, name))
        for name in _GUARDED:
            setattr(function, name, _guarded(self, name))
        function.original = self.original
        function.region = RegionOfNow(self._region)
        return function

    # A call

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs = keyed_all(args, kwargs, self._name)
        if self._tags:
            if self.is_touched(args, kwargs):
                return self._plain(args, kwargs)
            if has_old_view():
                return self._only_read(args, kwargs)
        apart.enter(is_async=False)
        return self.decorated()(*args, **kwargs)

    async def _acall(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs = keyed_all(args, kwargs, self._name)
        if self._tags:
            if self.is_touched(args, kwargs):
                return await self._plain(args, kwargs)
            if await ahas_old_view():
                return await self._aonly_read(args, kwargs)
        apart.enter(is_async=True)
        decorated = self.decorated(is_waiting=apart.ends_soon())
        return await decorated(*args, **kwargs)

    def _plain(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the original, past the cache."""
        args, kwargs = meant_all(args, kwargs)
        return self.original(*args, **kwargs)

    def _only_read(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Take what is stored, and store nothing that is made from an old view."""
        decorated = self.decorated()
        found = regions.region(self._region).get(
            decorated.key(*args, **kwargs),
            self._options["expiration_time"],
            ignore_expiration=False,
        )
        return self._plain(args, kwargs) if found is NO_VALUE else found

    async def _aonly_read(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Take what is stored, and store nothing; the twin of ``_only_read()``."""
        decorated = self.decorated()
        found = await regions.region(self._region).aget(
            decorated.key(*args, **kwargs),
            self._options["expiration_time"],
            ignore_expiration=False,
        )
        return await self._plain(args, kwargs) if found is NO_VALUE else found

    def is_touched(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Return whether an open transaction has written what a call depends on."""
        if not self._tags:
            return False
        written = written_tags(is_async=self._is_async)
        return bool(written) and not written.isdisjoint(self._tags_of(args, kwargs))

    def _tags_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> set[str]:
        static = {tag for tag in self._tags if isinstance(tag, str) and "{" not in tag}
        if len(static) == len(self._tags):
            return static
        bound = inspect.signature(self.original).bind(*args, **kwargs)
        bound.apply_defaults()
        # As the region reads them off its calls.
        policy = self.decorated()._cached.policy  # noqa: SLF001 - it has no other way
        return set(policy(lambda: bound.arguments).tags)

    # The creator

    def _creator(self) -> Any:
        creator: Any
        if self._is_async:

            @functools.wraps(self.original)
            async def creator(*args: Any, **kwargs: Any) -> Any:
                return await self._acreate(args, kwargs)

        else:

            @functools.wraps(self.original)
            def creator(*args: Any, **kwargs: Any) -> Any:
                return self._create(args, kwargs)

        return creator

    def _create(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not apart.is_home(is_async=False):
            return apart.run_apart(lambda: self._plain(args, kwargs))
        return self._marked(self._plain(args, kwargs), args, kwargs)

    async def _acreate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not apart.is_home(is_async=True):
            return await apart.arun_apart(lambda: self._plain(args, kwargs))
        return self._marked(await self._plain(args, kwargs), args, kwargs)

    def _marked(self, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return a value; marked, if its creation has written what it is of."""
        if apart.is_call() and self.is_touched(args, kwargs):
            return _skip(None, value)
        return value

    # What the function offers

    def is_awaited(self, name: str) -> bool:
        """Return whether an operation returns a coroutine."""
        return name.startswith("a") or (self._is_async and name == "refresh")

    def guarded(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an operation, unless the function would pass the cache by here."""
        verb = name.removeprefix("a")
        values = args[:1] if verb in ("set", "put") else ()
        own, kwargs = keyed_all(args[len(values) :], kwargs, self._name)
        # What is created next is stored by it as it is.
        apart.leave()
        call = functools.partial(getattr(self.decorated(), name), *values, *own)
        if verb == "refresh":
            passed = functools.partial(self._plain, own, kwargs)
        else:
            value = values[0] if values else NO_VALUE
            passed = functools.partial(_same if verb == name else _ready, value)
        if self.is_touched(own, kwargs):
            return passed()
        if not self._tags or verb == "get":
            return call(**kwargs)
        if self.is_awaited(name):
            return _unless_behind(functools.partial(call, **kwargs), passed)
        return passed() if has_old_view() else call(**kwargs)


class RegionOfNow:
    """The region of a function: settings that change give it another one.

    :param name: ``None`` for the default one.
    """

    def __init__(self, name: str | None) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        """Return what the region has."""
        return getattr(regions.region(self._name), name)

    def __repr__(self) -> str:
        return repr(regions.region(self._name))


async def _unless_behind(call: Callable[[], Any], passed: Callable[[], Any]) -> Any:
    """Await an operation; what passes the cache, where an old view is seen."""
    return await (passed() if await ahas_old_view() else call())


def _readable(tag: Any) -> Any:
    """Return a tag as a region reads it: a name, or a function."""
    if isinstance(tag, (str, type, Model)) or not callable(tag):
        return tag_names([tag])[0]

    # The region reads off its signature which arguments it is given.
    @functools.wraps(tag)
    def names(*args: Any, **kwargs: Any) -> tuple[str, ...]:
        args, kwargs = meant_all(args, kwargs)
        return tag_names(tag(*args, **kwargs))

    return names


# SPEC: what a decorated function offers; each belongs to the regions of now.
_DELEGATED = ("invalidate", "key", "ainvalidate")
# Of no effect while a transaction has written what the value is of; what stores it
# neither where one sees what was before.
_GUARDED = (
    *("get", "set", "put", "refresh"),
    *("aget", "aset", "aput", "arefresh"),
)


def _delegate(owner: Remembering, name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = keyed_all(args, kwargs, owner.original.__name__)
        return getattr(owner.decorated(), name)(*args, **kwargs)

    return _named(owner, name, call)


def _named(
    owner: Remembering, name: str, call: Callable[..., Any]
) -> Callable[..., Any]:
    """Return what an operation is offered as: it tells if it is to be awaited."""
    call.__name__ = name
    return markcoroutinefunction(call) if owner.is_awaited(name) else call


def _guarded(owner: Remembering, name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return owner.guarded(name, args, kwargs)

    return _named(owner, name, call)


def _same(value: Any) -> Any:
    return value


async def _ready(value: Any) -> Any:
    return value
