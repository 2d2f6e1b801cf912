"""Functions of many keys that remember: one value for each argument."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dogpile.cache import keys
from dogpile.cache.api import NO_VALUE
from dogpile.cache.creator import is_coroutine_function
from dogpile.cache.decorators import Options, made_by
from dogpile.cache.exception import ConfigurationError


class CachedMultiFunction:
    """A function of many keys, each of whose arguments has its own value."""

    def __init__(self, region: Any, fn: Callable[..., Any], options: Options) -> None:
        self.region = region
        self.original = fn
        self.options = options
        generator = options.generator or region.function_multi_key_generator
        self.keys: Callable[..., Any] = made_by(generator, options, fn)
        self.is_async: bool = is_coroutine_function(fn)
        for name in ("key", "ignore", "tags", "version"):
            if getattr(options, name):
                raise ConfigurationError(f"cache_multi_on_arguments() takes no {name}=")
        self.function: Callable[..., Any] = self._generate()

    def _generate(self) -> Callable[..., Any]:
        call: Callable[..., Any]
        if self.is_async:

            async def call(*args: Any) -> Any:
                return await self.acall(args)

        else:

            def call(*args: Any) -> Any:
                return self.call(args)

        made = functools.wraps(self.original)(_like(self.original, call))
        for name in ("get", "set", "refresh", "invalidate", "original", "region"):
            setattr(made, name, getattr(self, name))
        for name in ("put", "key", "aget", "aset", "aput", "arefresh", "ainvalidate"):
            setattr(made, name, getattr(self, name))
        return made

    def _settings(self) -> dict[str, Any]:
        expiration_time = self.options.expiration_time
        if callable(expiration_time):
            expiration_time = expiration_time()
        settings = dict(self.options.settings)
        if expiration_time is not None:
            settings["expiration_time"] = expiration_time
        return settings

    def key(self, *args: Any) -> list[Any]:
        """Return the keys of the arguments, in their order."""
        return list(self.keys(*args))

    @staticmethod
    def _given(args: Sequence[Any], names: Sequence[Any]) -> Sequence[Any]:
        # A method's receiver has no key of its own.
        return args[len(args) - len(names) :]

    def _creator(self, args: Sequence[Any], names: Sequence[Any]) -> Callable[..., Any]:
        given = self._given(args, names)
        receiver = args[: len(args) - len(given)]
        by_key = dict(zip(names, given, strict=True))
        if not self.is_async:

            def call(*wanted: Any) -> Any:
                values = self.original(*receiver, *(by_key[name] for name in wanted))
                return self._listed(wanted, by_key, values)

            call.__qualname__ = self.original.__qualname__
            return call

        async def acall(*wanted: Any) -> Any:
            values = await self.original(*receiver, *(by_key[name] for name in wanted))
            return self._listed(wanted, by_key, values)

        acall.__qualname__ = self.original.__qualname__
        return acall

    def _listed(
        self, names: Sequence[Any], by_key: Mapping[Any, Any], values: Any
    ) -> Any:
        if not self.options.asdict:
            return values
        return [values.get(by_key[name], NO_VALUE) for name in names]

    def _answer(self, args: Sequence[Any], made: list[Any]) -> Any:
        if not self.options.asdict:
            return made
        pairs = zip(self._given(args, made), made, strict=True)
        return {arg: value for arg, value in pairs if value is not NO_VALUE}

    def call(self, args: Sequence[Any]) -> Any:
        """Answer a call of the decorated function."""
        names = self.key(*args)
        creator = self._creator(args, names)
        made = self.region.get_or_create_multi(names, creator, **self._settings())
        return self._answer(args, made)

    async def acall(self, args: Sequence[Any]) -> Any:
        """Answer a call of the decorated coroutine function."""
        names = self.key(*args)
        creator = self._creator(args, names)
        made = await self.region.aget_or_create_multi(
            names, creator, **self._settings()
        )
        return self._answer(args, made)

    def get(self, *args: Any) -> Any:
        """Return the stored values, or ``NO_VALUE``, in the arguments' order."""
        return self.region.get_multi(self.key(*args))

    async def aget(self, *args: Any) -> Any:
        """Return the stored values; the twin of ``get()``."""
        return await self.region.aget_multi(self.key(*args))

    def _mapped(
        self, values: Mapping[Any, Any], receiver: Sequence[Any]
    ) -> dict[Any, Any]:
        names = self.key(*receiver, *values)
        return dict(zip(names, values.values(), strict=True))

    def set(self, values: Mapping[Any, Any], *receiver: Any) -> None:
        """Store a value for each argument.

        :param values: by argument.
        :param receiver: of a method, the instance or class that it is of.
        """
        self.region.put_multi(self._mapped(values, receiver), **self._writing())

    put = set

    async def aset(self, values: Mapping[Any, Any], *receiver: Any) -> None:
        """Store values; the twin of ``set()``."""
        mapped = self._mapped(values, receiver)
        await self.region.aput_multi(mapped, **self._writing())

    aput = aset

    def _writing(self) -> dict[str, Any]:
        settings = self._settings()
        settings.pop("should_cache_fn", None)
        return settings

    def _made(self, args: Sequence[Any], values: Any) -> tuple[Any, ...]:
        """Return what ``set()`` takes, of what the original returned."""
        given = self._given(args, self.key(*args))
        receiver = args[: len(args) - len(given)]
        if self.options.asdict:
            return {arg: values[arg] for arg in given if arg in values}, *receiver
        return dict(zip(given, values, strict=True)), *receiver

    def refresh(self, *args: Any) -> Any:
        """Call the original for all the arguments, and store its values.

        It is awaited where the original is a coroutine function.
        """
        if self.is_async:
            return self.arefresh(*args)
        values = self.original(*args)
        self.set(*self._made(args, values))
        return values

    async def arefresh(self, *args: Any) -> Any:
        """Await the original for all the arguments, and store its values."""
        values = await self.original(*args)
        await self.aset(*self._made(args, values))
        return values

    def invalidate(self, *args: Any) -> None:
        """Remove the stored values of the arguments."""
        self.region.delete_multi(self.key(*args))

    async def ainvalidate(self, *args: Any) -> None:
        """Remove the stored values; the twin of ``invalidate()``."""
        await self.region.adelete_multi(self.key(*args))


def _like(fn: Callable[..., Any], call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function with the parameters of ``fn`` that calls ``call``."""
    shape = keys.plan(fn).shape
    if shape.named or shape.double:
        taken = (
            (*shape.positional, f"*{shape.star}") if shape.star else shape.positional
        )
    else:
        taken = tuple(part for part in shape.forward.split(", ") if part)
    start = "async def" if is_coroutine_function(call) else "def"
    wait = "await " if is_coroutine_function(call) else ""
    space: dict[str, Any] = {**shape.defaults, f"{shape.mark}call": call}
    given = ", ".join(taken)
    source = f"{start} made({shape.header}):\n return {wait}{shape.mark}call({given})\n"
    exec(source, space)  # noqa: S102 - a signature's names, and ours
    made: Callable[..., Any] = space["made"]
    return made
