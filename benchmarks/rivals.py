"""Other caches, each under its name, if they are installed."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

#: By the name of its module; all of them are optional.
NAMES = ("cachetools", "cashews", "diskcache", "theine")


def find(name: str) -> Any:
    """Return a module, or ``None`` where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def missing() -> list[str]:
    """Return the names of those that are not installed."""
    return [name for name in NAMES if importlib.util.find_spec(name) is None]


def decorators(most: int = 100_000) -> dict[str, Callable[[Any], Any]]:
    """Return, by contestant, what makes a function remember for an hour.

    :param most: entries.
    """
    found: dict[str, Callable[[Any], Any]] = {
        "functools.lru_cache": functools.lru_cache(maxsize=most)
    }
    if find("cachetools") is not None:
        from cachetools.func import ttl_cache

        found["cachetools"] = ttl_cache(maxsize=most, ttl=3600)
    if find("theine") is not None:
        from datetime import timedelta

        from theine import Memoize

        found["theine"] = Memoize(most, timedelta(hours=1))
    return found
