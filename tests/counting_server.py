"""A server that others may write to, and that counts the round trips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dogpile.cache import NO_VALUE, CacheBackend, CacheRegion
from dogpile.cache.api import Capabilities


class Server(CacheBackend):
    """A backend that others may write to, and that counts the round trips."""

    capabilities = Capabilities(multi=True, scope="cluster")
    store: dict[Any, Any]

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.store = arguments["store"]
        self.trips: list[tuple[str, ...]] = []

    def get(self, key: Any) -> Any:
        self.trips.append(("get", key))
        return self.store.get(key, NO_VALUE)

    def set(self, key: Any, value: Any) -> None:
        self.trips.append(("set", key))
        self.store[key] = value

    def delete(self, key: Any) -> None:
        self.trips.append(("delete", key))
        self.store.pop(key, None)

    def get_multi(self, keys: Sequence[Any]) -> list[Any]:
        self.trips.append(("get_multi", *keys))
        return [self.store.get(key, NO_VALUE) for key in keys]

    def set_multi(self, mapping: Mapping[Any, Any]) -> None:
        self.trips.append(("set_multi", *mapping))
        self.store.update(mapping)

    def delete_multi(self, keys: Sequence[Any]) -> None:
        self.trips.append(("delete_multi", *keys))
        for key in keys:
            self.store.pop(key, None)


class LossyServer(Server):
    """One that may lose anything at any time, as memcached does."""

    capabilities = Capabilities(multi=True, scope="cluster", lasting=False)


RECORD = "dogpile:g:r:pages"
TAG = "dogpile:g:t:red"


def trips(region: CacheRegion) -> list[tuple[str, ...]]:
    """Return the round trips so far, which are then forgotten."""
    backend: Any = region.actual_backend
    made = list(backend.trips)
    backend.trips.clear()
    return made
