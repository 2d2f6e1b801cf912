"""The 1.x path of the key generators, the manglers and the small tools."""

from __future__ import annotations

from dogpile.cache.keys import (
    function_key_generator,
    function_multi_key_generator,
    kwarg_function_key_generator,
    length_conditional_mangler,
    sha1_mangle_key,
)
from dogpile.cache.legacy import (
    KeyReentrantMutex,
    PluginLoader,
    coerce_string_conf,
    memoized_property,
    repr_obj,
    to_list,
)

__all__ = [
    "KeyReentrantMutex",
    "PluginLoader",
    "coerce_string_conf",
    "function_key_generator",
    "function_multi_key_generator",
    "kwarg_function_key_generator",
    "length_conditional_mangler",
    "memoized_property",
    "repr_obj",
    "sha1_mangle_key",
    "to_list",
]
