"""What code is called in keys: modules, classes, functions. Pure."""

from __future__ import annotations

import functools
import os.path
import sys

_MARKS = frozenset("'\"|()[]{}=,@ ")
_SCRIPTS = frozenset({"__main__", "__mp_main__"})
# One version of Python says more than the others.
_MOVED = {"pathlib._local": "pathlib"}


def bare(text: str) -> str:
    """Return a name as it is, or quoted where it could be taken for more."""
    if text.isprintable() and text and _MARKS.isdisjoint(text):
        return text
    return repr(text)


def location(module: str | None, file: str | None = None) -> str:
    """Return where code lives: its module, for a script the file's name.

    :param file: the script's file, where it is known better than by the
        module ``__main__`` of this process.
    """
    if module in _SCRIPTS:
        file = file or getattr(sys.modules.get("__main__"), "__file__", None)
        module = os.path.normpath(file) if file else "__main__"
    return bare(_MOVED.get(str(module), str(module)))


def name_of(cls: type) -> str:
    """Return a class's location and qualified name."""
    module = cls.__module__
    if module in _SCRIPTS:  # which script that is may change, as in runpy
        return f"{location(module)}:{bare(cls.__qualname__)}"
    return _name(module, cls.__qualname__)


def kind_of(cls: type) -> str:
    """Return a class's name as the table of known forms has it."""
    module = cls.__module__
    if module == "builtins":
        return cls.__qualname__
    return f"{_MOVED.get(module, module)}.{cls.__qualname__}"


@functools.lru_cache(maxsize=1024)
def _name(module: str, name: str) -> str:
    if module == "builtins":
        return bare(name)
    return f"{location(module)}:{bare(name)}"
