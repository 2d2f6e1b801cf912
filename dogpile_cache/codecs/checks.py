"""What the settings of a chain must be, and what is said where they are not."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from dogpile.cache.exception import ConfigurationError, ValidationError


def load(setting: str, extra: str, *modules: str) -> Any:
    """Import the first of the modules that is installed.

    :param setting: what asks for it, as in ``"compressor 'lz4'"``.
    :param extra: the extra of this distribution that brings it.
    :raises ConfigurationError: where none is installed.
    """
    for module in modules:
        try:
            return importlib.import_module(module)
        except ImportError:
            continue
    raise ConfigurationError(
        f"{setting} needs a package that is not installed: "
        f"pip install 'dogpile.cache[{extra}]'"
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """Return what to say of a name that nobody knows."""
    import difflib

    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known are {', '.join(map(repr, names))}"


def whole(setting: str, given: Any, *, lowest: int | None = None) -> int:
    """Return a whole number.

    :raises ValidationError: for anything else, and for one that is too low.
    """
    if not isinstance(given, int) or isinstance(given, bool):
        raise ValidationError(
            f"{setting} must be a whole number, not of type {type(given).__name__}"
        )
    if lowest is not None and given < lowest:
        raise ValidationError(f"{setting} must be at least {lowest}, not {given}")
    return given
