"""The 1.x path of the small tools, where they were written."""

from __future__ import annotations

from dogpile.cache.legacy import (
    KeyReentrantMutex,
    Mutex,
    PluginLoader,
    coerce_string_conf,
    memoized_property,
    to_list,
)

__all__ = [
    "KeyReentrantMutex",
    "Mutex",
    "PluginLoader",
    "coerce_string_conf",
    "memoized_property",
    "to_list",
]
