"""What is said of bytes and values that are refused: never what they hold."""

from __future__ import annotations

import pickle
import re

from dogpile.cache.exception import CodecError, Unserializable

_LONGEST_KEY = 40

# Errors whose text is about opcodes, modules and classes. The text of any
# other may repeat a value: an Enum's does, and so does that of int().
_WITHOUT_VALUES = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    ImportError,
    ModuleNotFoundError,
)

# What the errors of serializers say of the program's own names.
_NAMES_OF_CODE = re.compile(
    r"cannot pickle '[\w.<> -]+' object"
    r"|Can't (?:pickle|get) local object '[\w.<>-]+'"
    r"|attribute lookup [\w.<>-]+ on [\w.]+ failed"
    r"|it's not (?:found as|the same object as) [\w.<>-]+"
    r"|Object of type [\w.<>-]+ is not JSON serializable"
)
_QUOTED = (TypeError, AttributeError, pickle.PicklingError)


def undecodable(key: object, reason: str) -> CodecError:
    """Return the error for stored bytes that do not decode.

    :param key: whose bytes they are.
    :param reason: what is wrong with them, without anything that they hold.
    """
    return CodecError(f"the bytes stored for {shorten(key)} do not decode: {reason}")


def unserializable(key: object, payload: object, reason: str) -> Unserializable:
    """Return the error for a value that does not become bytes."""
    kind = type_name(payload)
    return Unserializable(
        f"the value of type {kind} for {shorten(key)} cannot be stored: {reason}"
    )


def describe(error: BaseException) -> str:
    """Return an error's type, and of its text what names code at most."""
    kind = type(error).__name__
    text = error.args[0] if error.args else None
    if type(error) not in _QUOTED or not isinstance(text, str):
        return kind
    named = _NAMES_OF_CODE.search(text)
    return f"{kind}: {named.group()}" if named else kind


def cause(error: BaseException) -> BaseException | None:
    """Return the error if it may be printed as the cause of another one.

    One that may not stays the ``__context__``, which a debugger shows and a
    traceback does not.
    """
    return error if type(error) in _WITHOUT_VALUES else None


def shorten(key: object) -> str:
    """Return the beginning of a key, in quotes."""
    text = str(key)
    if len(text) > _LONGEST_KEY:
        text = text[:_LONGEST_KEY] + "..."
    return repr(text)


def type_name(value: object) -> str:
    """Return the full name of a value's type."""
    kind = type(value)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
