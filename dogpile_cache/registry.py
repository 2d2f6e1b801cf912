"""From a name to a class, loaded when asked for; the regions of this process."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from operator import attrgetter
from typing import Any

from dogpile.cache.exception import ConfigurationError, PluginNotFound

ENTRY_POINTS = "dogpile.cache"

_BUILT_IN = {
    "memory": "memory:MemoryBackend",
    "memory_pickle": "memory:MemoryPickleBackend",
    "null": "null:NullBackend",
    "dbm": "dbm:DBMBackend",
    "sqlite": "sqlite:SqliteBackend",
    "pylibmc": "memcached:PylibmcBackend",
    "pymemcache": "memcached:PyMemcacheBackend",
    "bmemcached": "memcached:BMemcachedBackend",
    "memcached": "memcached:MemcachedBackend",
    "redis": "redis:RedisBackend",
    "redis_sentinel": "redis:RedisSentinelBackend",
    "redis_cluster": "redis:RedisClusterBackend",
    "valkey": "redis:ValkeyBackend",
    "valkey_sentinel": "redis:ValkeySentinelBackend",
    "valkey_cluster": "redis:ValkeyClusterBackend",
}


class BackendRegistry:
    """The backends by name: built in, registered, or from entry points."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[str, str]] = {}
        for short, place in _BUILT_IN.items():
            module, _, name = place.partition(":")
            self._places[f"dogpile.cache.{short}"] = (
                f"dogpile.cache.backends.{module}",
                name,
            )
        self._entry_points: dict[str, Any] | None = None

    def register(self, name: str, module: str, attribute: str) -> None:
        """Name a class that is not installed as an entry point.

        :param module: its module's import path.
        :param attribute: its name in there.
        """
        self._places[name] = (module, attribute)

    def knows(self, name: str) -> bool:
        """Return whether there is a backend of that name."""
        return name in self._places or name in self._installed()

    def names(self) -> Iterable[str]:
        """Return the known names."""
        return sorted({*self._places, *self._installed()})

    def nearest(self, name: str, *, cutoff: float = 0.5) -> list[str]:
        """Return the known names that are most like one that is not known.

        Their last parts are compared, because most of them begin alike.

        :param cutoff: how like they are at least, from 0 to 1.
        """
        names: dict[str, list[str]] = {}
        for each in self.names():
            names.setdefault(_last_part(each), []).append(each)
        near = get_close_matches(_last_part(name), names, n=3, cutoff=cutoff)
        return [each for last in near for each in names[last]]

    def load(self, name: str) -> Any:
        """Return the class of a name.

        :raises PluginNotFound: no backend has that name.
        :raises ConfigurationError: its module or class cannot be loaded.
        """
        place = self._places.get(name)
        if place is None:
            if name not in self._installed():
                raise PluginNotFound(self._not_found(name))
            point = self._installed()[name]
            place = point.module, point.attr
        module, attribute = place
        try:
            return attrgetter(attribute)(import_module(module))
        except (ImportError, AttributeError) as error:
            raise ConfigurationError(
                f"backend {name!r} is registered as {module}:{attribute}, "
                f"which cannot be loaded: {error}"
            ) from error

    def has_argument(self, name: str) -> bool:
        """Return whether one of the built-in backends knows an argument."""
        kinds = (self.load(f"dogpile.cache.{short}") for short in _BUILT_IN)
        return any(name in kind.argument_names for kind in kinds)

    def _installed(self) -> dict[str, Any]:
        if self._entry_points is None:
            # Takes milliseconds, and most programs never need it.
            from importlib.metadata import entry_points

            found = entry_points(group=ENTRY_POINTS)
            self._entry_points = {point.name: point for point in found}
        return self._entry_points

    def _not_found(self, name: str) -> str:
        near = self.nearest(name)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        return (
            f"Couldn't find cache plugin to load: {name} "
            f"({hint}known: {', '.join(self.names())}; others are named "
            "by register_backend() or by an entry point of the group "
            f"{ENTRY_POINTS!r})"
        )


def _last_part(name: str) -> str:
    return name.rpartition(".")[2].lower()


BACKENDS = BackendRegistry()

#: The regions of this process that have a name.
regions: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


def register_backend(name: str, modulepath: str, objname: str) -> None:
    """Register a backend of this process, as if it were an entry point.

    :param name: for ``make_region()`` and ``configure()``.
    :param modulepath: the import path of its module.
    :param objname: the name of its class in there.
    """
    BACKENDS.register(name, modulepath, objname)
