"""A class for 1.x over one of our backends is asked in everything that it does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from own_ways import boxing, turning, use

from dogpile.cache import NO_VALUE, CachedValue, ProxyBackend, make_region
from dogpile.cache.backends.dbm import DBMBackend
from dogpile.cache.backends.memory import MemoryBackend, MemoryPickleBackend
from dogpile.cache.backends.sqlite import SqliteBackend

FILES = [DBMBackend, SqliteBackend]
KINDS = [
    boxing(MemoryBackend),
    turning(MemoryPickleBackend),
    *(turning(base) for base in FILES),
]


def arguments_of(kind: type, folder: Path) -> dict[str, Any]:
    return {"filename": str(folder / "file")} if issubclass(kind, tuple(FILES)) else {}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrap", [[], [ProxyBackend], [ProxyBackend, ProxyBackend]])
def test_nothing_goes_past_it(kind: type, wrap: list[Any], tmp_path: Path) -> None:
    region = make_region().configure(
        kind, expiration_time=60, arguments=arguments_of(kind, tmp_path), wrap=wrap
    )

    asyncio.run(use(region))

    assert isinstance(region.actual_backend, kind)
    region.close()


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_backend_of_its_region(kind: type, tmp_path: Path) -> None:
    region = make_region().configure(kind, arguments=arguments_of(kind, tmp_path))
    backend = region.backend
    region.wrap(ProxyBackend)

    assert backend is region.actual_backend is region.backend.proxied
    region.put("key", "value")
    assert region.get("key") == "value"
    region.close()


def test_it_may_be_set_later() -> None:
    region = make_region().configure("dogpile.cache.memory")
    region.put("key", "of the other")

    region.backend = boxing(MemoryBackend)({})

    asyncio.run(use(region))


def test_what_happens_in_its_own_store_is_seen() -> None:
    class Listed(MemoryBackend):
        """Keeps everything in the dictionary that 1.x has there."""

        def get(self, key: Any) -> Any:
            return self._cache.get(key, NO_VALUE)

        def set(self, key: Any, value: Any) -> None:  # type: ignore[override]
            self._cache[key] = value

    shared: dict[Any, Any] = {}
    region = make_region().configure(Listed, arguments={"cache_dict": shared})

    assert region.get_or_create("key", lambda: "value") == "value"

    assert isinstance(region.backend.get("key"), CachedValue)
    assert region.get("key") == "value"


def test_who_knows_leases_is_asked_as_one_of_ours(tmp_path: Path) -> None:
    class Knowing(SqliteBackend):
        def set_serialized(self, key: Any, value: bytes, **how: Any) -> None:
            super().set_serialized(key, value, **how)

        def lease(self, *given: Any, **how: Any) -> Any:
            return super().lease(*given, **how)

    arguments = {"filename": str(tmp_path / "file")}
    region = make_region().configure(Knowing, arguments=arguments)

    assert region.storage.backend is region.actual_backend
    assert region.storage.capabilities.ttl
    region.close()
