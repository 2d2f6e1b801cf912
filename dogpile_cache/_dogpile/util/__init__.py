"""The 1.x path of the small tools."""

from __future__ import annotations

from dogpile.cache.legacy import (
    KeyReentrantMutex,
    NameRegistry,
    PluginLoader,
    ReadWriteMutex,
    coerce_string_conf,
    memoized_property,
    to_list,
)

__all__ = [
    "KeyReentrantMutex",
    "NameRegistry",
    "PluginLoader",
    "ReadWriteMutex",
    "coerce_string_conf",
    "memoized_property",
    "to_list",
]
