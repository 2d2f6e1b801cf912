"""The key generators of 1.x. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dogpile.cache.signature import shape_of, signature_of


def function_key_generator(
    namespace: str | None,
    fn: Callable[..., object],
    to_str: Callable[[Any], str] = str,
) -> Callable[..., str]:
    """Return a generator of keys in the form of 1.x.

    The arguments are joined by blanks, so that calls with different arguments
    can have one key: it is there for who needs the old keys.
    """
    lead, names, _ = _classic(namespace, fn)

    def generate_key(*args: Any, **kwargs: Any) -> str:
        _refuse_keywords(kwargs)
        return lead + " ".join(map(to_str, args[_starts_at(names) :]))

    return generate_key


def function_multi_key_generator(
    namespace: str | None,
    fn: Callable[..., object],
    to_str: Callable[[Any], str] = str,
) -> Callable[..., list[str]]:
    """Return a generator of one key for each argument, in the form of 1.x."""
    lead, names, _ = _classic(namespace, fn)

    def generate_keys(*args: Any, **kwargs: Any) -> list[str]:
        _refuse_keywords(kwargs)
        return [lead + to_str(arg) for arg in args[_starts_at(names) :]]

    return generate_keys


def kwarg_function_key_generator(
    namespace: str | None,
    fn: Callable[..., object],
    to_str: Callable[[Any], str] = str,
) -> Callable[..., str]:
    """Return a generator of keys in the form of 1.x that takes keywords.

    The arguments, defaults included, stand in the order of their names.
    """
    lead, names, defaults = _classic(namespace, fn)
    start = _starts_at(names)

    def generate_key(*args: Any, **kwargs: Any) -> str:
        if len(args) > len(names):
            raise TypeError(f"{lead}: more arguments than parameters")
        given = {
            **defaults,
            **dict(zip(names[start:], args[start:], strict=False)),
            **kwargs,
        }
        return lead + " ".join(to_str(given[name]) for name in sorted(given))

    return generate_key


def _classic(
    namespace: str | None, fn: Callable[..., object]
) -> tuple[str, tuple[str, ...], dict[str, Any]]:
    """Return what a 1.x generator needs: lead, positional names, defaults."""
    parameters = signature_of(fn).parameters
    names = shape_of(signature_of(fn)).positional
    defaults = {
        name: parameters[name].default
        for name in names
        if parameters[name].default is not parameters[name].empty
    }
    lead = f"{fn.__module__}:{fn.__name__}|"
    return lead if namespace is None else f"{lead}{namespace}|", names, defaults


def _starts_at(names: Sequence[str]) -> int:
    return names[:1] in {("self",), ("cls",)}


def _refuse_keywords(kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        raise ValueError(
            "dogpile.cache's default key creation function does not accept keyword "
            "arguments; kwarg_function_key_generator does"
        )
