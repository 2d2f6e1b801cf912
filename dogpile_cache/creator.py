"""What kind of function a creator is, and what it is called."""

from __future__ import annotations

from typing import Any, TypeVar

from dogpile.cache.exception import CoroutineCreatorError

T = TypeVar("T")


def is_coroutine_function(creator: Any) -> bool:
    """Return whether calling it makes a coroutine."""
    return bool(_flags(creator) & 0x80)  # CO_COROUTINE


def is_generator_function(creator: Any) -> bool:
    """Return whether calling it makes a generator, of either kind."""
    return bool(_flags(creator) & 0x220)  # CO_GENERATOR, CO_ASYNC_GENERATOR


def _flags(creator: Any) -> int:
    # Who has written it in Python has compiled it with these flags.
    while hasattr(creator, "func"):  # functools.partial
        creator = creator.func
    function = getattr(creator, "__func__", creator)
    code = getattr(function, "__code__", None)
    if code is None:
        code = getattr(vars(type(creator)).get("__call__"), "__code__", None)
    return getattr(code, "co_flags", 0)


def quick(creator: T) -> T:
    """Mark a plain creator as quick enough to run in an event loop.

    :param creator: a function that neither blocks nor computes for long.
    :return: the same function.
    """
    creator.quick = True  # type: ignore[attr-defined]  # a mark of ours
    return creator


def checked(creator: Any, value: Any) -> Any:
    """Return what a creator returned, unless it has to be awaited.

    :raises CoroutineCreatorError: it has.
    """
    if not hasattr(value, "__await__"):
        return value
    close = getattr(value, "close", None)
    if close is not None:
        close()  # else Python warns that it was never awaited
    raise CoroutineCreatorError(
        f"{name_of(creator)} returns an awaitable, which get_or_create() cannot "
        "await: use aget_or_create(), or decorate the coroutine function itself"
    )


def name_of(creator: Any) -> str:
    """Return what a creator is called in errors and warnings."""
    while hasattr(creator, "func"):  # functools.partial
        creator = creator.func
    return str(getattr(creator, "__qualname__", None) or type(creator).__name__)
