"""The keys of programs that were written for Flask-Caching."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from flask import request, url_for
from werkzeug.datastructures import MultiDict

HashMethod: TypeAlias = Callable[..., Any]
QueryArguments: TypeAlias = "str | Mapping[str, Any] | Iterable[tuple[str, Any]]"


def positional_names(fn: Callable[..., Any]) -> list[str]:
    """Return the names of the parameters that may be given by position."""
    parameters = inspect.signature(fn).parameters.values()
    return [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]


def takes(fn: Callable[..., Any], count: int) -> bool:
    """Return whether a function can be given so many arguments by position."""
    found = 0
    for each in inspect.signature(fn).parameters.values():
        if each.kind is not each.KEYWORD_ONLY:
            found += 1
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            return True
    return found >= count


def identity(value: Any) -> str:
    """Return what stands for an instance in the keys of its methods."""
    own = getattr(value, "__caching_id__", None)
    return repr(value) if own is None else str(own())


def source_hash(fn: Callable[..., Any], hash_method: HashMethod) -> str:
    """Return the hash of a function's source."""
    return str(hash_method(inspect.getsource(fn).encode()).hexdigest())


def query_pairs(given: QueryArguments | None) -> list[tuple[str, str]]:
    """Return a query as pairs; that of the request, if none is given."""
    if given is None:
        return list(request.args.items(multi=True))
    if isinstance(given, str):
        return parse_qsl(given.lstrip("?"), keep_blank_values=True)
    if isinstance(given, MultiDict):
        found: Iterable[tuple[str, Any]] = given.items(multi=True)
    elif isinstance(given, Mapping):
        found = given.items()
    else:
        found = given
    return [(name, str(value)) for name, value in found]


def view_key(
    fn: Callable[..., Any],
    prefix: str | Callable[[], str],
    path: str | None,
    view_args: Mapping[str, Any] | None,
) -> str:
    """Return the key of a view, without its query.

    :param prefix: a ``%s`` in it is replaced by the path.
    :param path: ``None`` for the one that is asked for, or that the view's
        arguments lead to.
    """
    if callable(prefix):
        return prefix()
    if "%s" not in prefix:
        return prefix
    if path is None:
        if view_args is None:
            path = request.path
        else:
            path = url_for(fn.__name__, _external=False, **view_args)
    return prefix % path


def query_hash(
    pairs: Iterable[tuple[str, str]], hash_method: HashMethod, source: str
) -> str:
    """Return what stands for a query, whatever its order."""
    made = hash_method(str(tuple(sorted(pairs))).encode())
    if source:
        made.update(source.encode())
    return str(made.hexdigest())


def call_text(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    ignored: Iterable[str],
) -> str:
    """Return a text for the arguments of a call, however they were given.

    :param ignored: names of parameters without a part in it.
    :raises ValueError: a method's own object is missing.
    """
    signature = inspect.signature(fn)
    names = positional_names(fn)
    if names and names[0] in ("self", "cls") and not args:
        kind = "classmethod" if names[0] == "cls" else "method"
        raise ValueError(
            f"the `{kind}` {fn.__qualname__} needs its `{names[0]}` as the first "
            "positional argument"
        )
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        # Said twice, by position and by name: the names are not looked at.
        said = set(names[: len(args)])
        rest = {name: value for name, value in kwargs.items() if name not in said}
        bound = signature.bind(*args, **rest)
    bound.apply_defaults()
    told = dict(bound.arguments)
    for name in ignored:
        told.pop(name, None)
        for value in told.values():
            if isinstance(value, dict):
                value.pop(name, None)
    if names and names[0] in ("self", "cls") and names[0] in told:
        told[names[0]] = identity(args[0])
    return repr([(name, _sorted(value)) for name, value in told.items()])


def _sorted(value: Any) -> Any:
    return sorted(value.items()) if isinstance(value, dict) else value


def namespaces(fn: Callable[..., Any], args: tuple[Any, ...]) -> tuple[str, str | None]:
    """Return the tags of a function, and of the instance that it is called on.

    :raises ValueError: a class method without its class.
    """
    names = positional_names(fn)
    name = f"{fn.__module__}.{fn.__qualname__}"
    if names and names[0] == "cls" and not (args and inspect.isclass(args[0])):
        raise ValueError(
            f"the `classmethod` {name} needs its class as the first argument"
        )
    held = getattr(fn, "__self__", None)
    if held is not None and not inspect.isclass(held):
        return name, f"{name}:{identity(held)}"
    if names and names[0] == "self" and args:
        return name, f"{name}:{identity(args[0])}"
    return name, None
