"""The 1.x path of what it knew about signatures."""

from __future__ import annotations

from inspect import FullArgSpec, getfullargspec as inspect_getfullargspec

from dogpile.cache.legacy import ArgSpec, inspect_getargspec

__all__ = [
    "ArgSpec",
    "FullArgSpec",
    "inspect_getargspec",
    "inspect_getfullargspec",
]
