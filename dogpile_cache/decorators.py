"""Functions that remember: what a decorated function is, and how it is called."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from dogpile.cache import keys
from dogpile.cache.api import NO_VALUE
from dogpile.cache.creation import Call
from dogpile.cache.creator import (
    is_coroutine_function,
    is_generator_function,
    name_of,
)
from dogpile.cache.exception import ConfigurationError, ValidationError
from dogpile.cache.fast import OTHERWISE
from dogpile.cache.index import Index, indexed_body
from dogpile.cache.policy import Policy, check
from dogpile.cache.storage import Storage


class Region(Protocol):
    """What a decorated function asks of its region."""

    function_key_generator: Callable[..., Any]
    function_multi_key_generator: Callable[..., Any]
    policy: Policy
    _functions: Any

    @property
    def storage(self) -> Storage:
        """What the region reads from and writes to."""

    def _call(self, key: Any, creator: Any, policy: Policy, **how: Any) -> Call: ...

    def _answer(self, call: Call) -> Any: ...

    async def _aanswer(self, call: Call) -> Any: ...


class Options(NamedTuple):
    """How one function is cached.

    :param expiration_time: seconds, a function that returns them, or ``None``.
    :param settings: fields of ``Policy``.
    """

    namespace: str | None
    expiration_time: Any
    to_str: Callable[[Any], str] | None
    generator: Callable[..., Any] | None
    key: Any
    ignore: Any
    tags: Any
    version: Any
    asdict: bool
    settings: Mapping[str, Any]


def decorated(region: Any, kind: Any, given: Any, options: dict[str, Any]) -> Any:
    """Return a decorated function, or what decorates one.

    :param kind: the class that does it.
    :param given: a function, where the decorator bears no parentheses, or the
        namespace.
    """
    if isinstance(given, (staticmethod, classmethod)) or callable(given):
        return _decorate(region, kind, given, read_options(None, options))
    read = read_options(given, options)
    return lambda fn: _decorate(region, kind, fn, read)


def _decorate(region: Any, kind: Any, fn: Any, options: Options) -> Any:
    if isinstance(fn, (staticmethod, classmethod)):
        return type(fn)(_decorate(region, kind, fn.__func__, options))
    if not callable(fn):
        raise ValidationError(
            f"a function is decorated, not something of type {type(fn).__name__}; a "
            "namespace is text"
        )
    return kind(region, fn, options).function


def read_options(namespace: Any, given: dict[str, Any]) -> Options:
    """Check the options of a decorator.

    :raises ValidationError: one of them is not known, or no use.
    """
    if namespace is not None and not isinstance(namespace, str):
        raise ValidationError(f"namespace takes text, not {namespace!r}")
    rest = dict(given)
    expiration_time = rest.pop("expiration_time", None)
    if not callable(expiration_time):
        check("expiration_time", expiration_time)
    settings = {
        name: check(name, rest.pop(name)) for name in [*rest] if name not in _OPTIONS
    }
    if rest.get("should_cache_fn") is not None:
        settings["should_cache_fn"] = check("should_cache_fn", rest["should_cache_fn"])
    generator = rest.get("function_key_generator")
    if generator is None:
        generator = rest.get("function_multi_key_generator")
    return Options(
        namespace=namespace,
        expiration_time=expiration_time,
        to_str=rest.get("to_str"),
        generator=generator,
        key=rest.get("key"),
        ignore=rest.get("ignore", ()),
        tags=rest.get("tags", ()),
        version=rest.get("version"),
        asdict=bool(rest.get("asdict")),
        settings=settings,
    )


_OPTIONS = frozenset(
    {
        "should_cache_fn",
        "to_str",
        "function_key_generator",
        "function_multi_key_generator",
        "key",
        "ignore",
        "tags",
        "version",
        "asdict",
    }
)


class CachedFunction:
    """A function whose values a region keeps by its arguments.

    What the program gets is :attr:`function`: a plain function, generated
    with the signature of the original, that has this object's public methods
    as attributes.
    """

    def __init__(self, region: Any, fn: Callable[..., Any], options: Options) -> None:
        self.region: Region = region
        self.original = fn
        self.options = options
        self.is_async: bool = is_coroutine_function(fn)
        if options.asdict:
            raise ConfigurationError("cache_on_arguments() takes no asdict=")
        if is_generator_function(fn):
            raise ValidationError(
                f"{name_of(fn)}() is a generator, which is read once: return a list"
            )
        self.plan: keys.KeyPlan = keys.plan(
            fn,
            namespace=options.namespace,
            ignore=options.ignore,
            key=options.key,
            version=options.version,
            to_str=options.to_str,
        )
        self._explicit = options.expiration_time is not None
        #: The tags of each call, and what reads the others off its arguments.
        self._fixed_tags, self._tags = _read_tags(self.plan, options.tags)
        self._policy_base: Policy | None = None
        self._policy_made: Policy | None = None
        self.key: Callable[..., Any] = self._make_key()
        self.index: Index = Index(self)
        self._space: dict[str, Any] = {}
        self.function: Callable[..., Any] = self._generate()
        region._functions.add(self)
        self.rebind()

    # Keys and policies

    def _make_key(self) -> Callable[..., Any]:
        generator = self.options.generator
        if generator is None:
            generator = self.region.function_key_generator
        own = (self.options.key, self.options.version)
        is_default = getattr(generator, "__name__", "") == "default_key_generator"
        if is_default or own != (None, None):
            keys.note_function(self.plan, self.original)
            return keys.compile_key(self.plan)
        self._uses_generator = True
        return made_by(generator, self.options, self.original)

    _uses_generator = False

    def policy(self, arguments: Callable[[], Mapping[str, Any]]) -> Policy:
        """Return the policy of a call.

        :param arguments: gives the bound arguments, for tags made from them.
        """
        base = self.region.storage.policy
        made = self._policy_made
        if made is None or base is not self._policy_base:
            settings = dict(self.options.settings)
            expiration_time = self.options.expiration_time
            if expiration_time is not None and not callable(expiration_time):
                settings["expiration_time"] = expiration_time
            if self._fixed_tags:
                settings["tags"] = (*base.tags, *self._fixed_tags)
            made = base.merged(settings)
            self._policy_base, self._policy_made = base, made
        changes: dict[str, Any] = {}
        if callable(self.options.expiration_time):
            lifetime = self.options.expiration_time()
            if lifetime is not None:  # else it is the region's
                changes["expiration_time"] = lifetime
        if self._tags is not None:
            changes["tags"] = (*made.tags, *self._tags(arguments()))
        return made.merged(changes)

    @property
    def is_static(self) -> bool:
        """Whether the policy is the same for each call."""
        return self._tags is None and not callable(self.options.expiration_time)

    def _call(self, key: Any, creator: Callable[[], Any], policy: Policy) -> Call:
        return self.region._call(
            key, creator, policy, explicit=self._explicit, takes_creation=False
        )

    # The call

    def _generate(self) -> Callable[..., Any]:
        shape = self.plan.shape
        mark = shape.mark
        space = self._space
        space.update(shape.defaults)
        space[f"{mark}key"] = self.key
        space[f"{mark}fn"] = self.original
        space[f"{mark}partial"] = functools.partial
        space[f"{mark}answer"] = self._aanswer if self.is_async else self._answer
        self.index.fill(space, mark)
        function = self._compile(short=False)
        functools.update_wrapper(function, self.original)
        for name in _ATTRIBUTES:
            setattr(function, name, getattr(self, name))
        # The function keeps this object alive; the region only knows it weakly.
        function._cached = self  # type: ignore[attr-defined]  # its own
        return function

    def _compile(self, *, short: bool) -> Callable[..., Any]:
        shape = self.plan.shape
        mark = shape.mark
        start = "async def" if self.is_async else "def"
        wait = "await " if self.is_async else ""
        forward = shape.forward
        general = (
            f" return {wait}{mark}answer({mark}key({forward}), "
            f"{mark}partial({mark}fn, {forward}){{parts}})\n"
        )
        body = general.format(parts="")
        if short:
            is_marking = self.index.is_marking
            body = indexed_body(self.plan, general, self.index, is_marking=is_marking)
        name = "dogpile_call"
        text = f"{start} {name}({shape.header}):\n{body}"
        made: dict[str, Any] = {}
        # The parameters' names are a signature's, all the rest is ours.
        exec(text, self._space, made)  # noqa: S102
        function: Callable[..., Any] = made[name]
        return function

    def compile_anew(self) -> None:
        """Write the call anew, as the index has another layout."""
        self.function.__code__ = self._compile(short=True).__code__

    def rebind(self) -> None:
        """Fit the call to what the region's backend is now."""
        self._policy_base = None
        short = self.index.bind()
        # The same function for whoever has it already, with another body.
        self.function.__code__ = self._compile(short=short).__code__

    def forget(self) -> None:
        """Look up anew what was remembered by its arguments."""
        self.index.clear()

    def _answer(
        self, key: Any, creator: functools.partial[Any], parts: Any = None
    ) -> Any:
        if parts is not None:
            payload = self.index.create(key, creator, parts)
            if payload is not OTHERWISE:
                return payload
        policy = self.policy(functools.partial(self._bound, creator))
        call = self._call(key, creator, policy)
        if parts is None:
            return self.region._answer(call)
        payload = self.region._answer(call)
        self.index.remember(call.key, parts)
        return payload

    async def _aanswer(
        self, key: Any, creator: functools.partial[Any], parts: Any = None
    ) -> Any:
        policy = self.policy(functools.partial(self._bound, creator))
        call = self._call(key, creator, policy)
        payload = await self.region._aanswer(call)
        if parts is not None:
            self.index.remember(call.key, parts)
        return payload

    def _bound(self, creator: functools.partial[Any]) -> Mapping[str, Any]:
        return self.plan.bound(creator.args, creator.keywords)

    # What the decorated function offers

    def get(self, *args: Any, **kwargs: Any) -> Any:
        """Return the stored value for the arguments, or ``NO_VALUE``."""
        region: Any = self.region
        return region.get(self.key(*args, **kwargs))

    def set(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        """Store a value for the arguments, and return it."""
        region: Any = self.region
        policy = self.policy(lambda: self.plan.bound(args, kwargs))
        return region._put(self.key(*args, **kwargs), value, policy)

    put = set

    def refresh(self, *args: Any, **kwargs: Any) -> Any:
        """Call the original, store its value for the arguments, and return it.

        It is awaited where the original is a coroutine function.
        """
        if self.is_async:
            return self.arefresh(*args, **kwargs)
        value = self.original(*args, **kwargs)
        return self._stored(value, args, kwargs)

    async def arefresh(self, *args: Any, **kwargs: Any) -> Any:
        """Await the original, store its value, and return it."""
        value = await self.original(*args, **kwargs)
        region: Any = self.region
        policy = self.policy(lambda: self.plan.bound(args, kwargs))
        wanted = policy.should_cache_fn
        if value is NO_VALUE or (wanted is not None and not wanted(value)):
            return value
        return await region._aput(self.key(*args, **kwargs), value, policy)

    def _stored(self, value: Any, args: Any, kwargs: Any) -> Any:
        policy = self.policy(lambda: self.plan.bound(args, kwargs))
        wanted = policy.should_cache_fn
        if value is NO_VALUE or (wanted is not None and not wanted(value)):
            return value
        region: Any = self.region
        return region._put(self.key(*args, **kwargs), value, policy)

    def invalidate(self, *args: Any, **kwargs: Any) -> None:
        """Remove the stored value for the arguments."""
        region: Any = self.region
        region.delete(self.key(*args, **kwargs))

    async def aget(self, *args: Any, **kwargs: Any) -> Any:
        """Return the stored value; the twin of ``get()``."""
        region: Any = self.region
        return await region.aget(self.key(*args, **kwargs))

    async def aset(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        """Store a value; the twin of ``set()``."""
        region: Any = self.region
        policy = self.policy(lambda: self.plan.bound(args, kwargs))
        return await region._aput(self.key(*args, **kwargs), value, policy)

    aput = aset

    async def ainvalidate(self, *args: Any, **kwargs: Any) -> None:
        """Remove the stored value; the twin of ``invalidate()``."""
        region: Any = self.region
        await region.adelete(self.key(*args, **kwargs))


_ATTRIBUTES = (
    "get",
    "set",
    "put",
    "refresh",
    "invalidate",
    "aget",
    "aset",
    "aput",
    "arefresh",
    "ainvalidate",
    "key",
    "original",
    "region",
)


def made_by(
    generator: Callable[..., Any], options: Options, fn: Callable[..., Any]
) -> Callable[..., Any]:
    """Return what a key generator makes for a function.

    :param generator: takes the function alone, or namespace and function.
    """
    if _takes_function_alone(generator):
        made = generator(fn)
    elif options.to_str is None:
        made = generator(options.namespace, fn)
    else:
        made = generator(options.namespace, fn, to_str=options.to_str)
    if not callable(made):
        raise ValidationError(
            "a function_key_generator returns a function from arguments to a key, "
            f"not something of type {type(made).__name__}"
        )
    found: Callable[..., Any] = made
    return found


def _takes_function_alone(generator: Callable[..., Any]) -> bool:
    import inspect

    try:
        parameters = inspect.signature(generator).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )
    positional = [p for p in parameters if p.kind in kinds]
    required = [p for p in positional if p.default is p.empty]
    return len(required) == 1 and positional[0].name != "namespace"


def _read_tags(
    plan: keys.KeyPlan, tags: Any
) -> tuple[tuple[str, ...], Callable[[Mapping[str, Any]], tuple[str, ...]] | None]:
    """Return the tags that each call has, and what reads more off its arguments."""
    specs = [tags] if isinstance(tags, str) or callable(tags) else list(tags or ())
    fixed = [spec for spec in specs if isinstance(spec, str) and not {*"{}"} & {*spec}]
    readers = [plan.reader(spec) for spec in specs if spec not in fixed]

    def read(bound: Mapping[str, Any]) -> tuple[str, ...]:
        names: list[str] = []
        for reader in readers:
            found = reader(bound)
            names.extend([found] if isinstance(found, str) else found)
        return tuple(names)

    return tuple(fixed), read if readers else None
