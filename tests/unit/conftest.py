"""Regions on every backend that this machine has, by a clock that stands still."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
from counting_server import Server

from dogpile.cache import NO_VALUE, CacheBackend, CacheRegion
from dogpile.cache.testing import FakeClock


class DictionaryBackend(CacheBackend):
    """The design document's example, as it stands there."""

    def __init__(self, arguments: Any) -> None:
        self.cache: dict[Any, Any] = {}

    def get(self, key: Any) -> Any:
        return self.cache.get(key, NO_VALUE)

    def put(self, key: Any, value: Any) -> None:
        self.cache[key] = value

    def delete(self, key: Any) -> None:
        self.cache.pop(key)


class SetBackend(CacheBackend):
    """The same as a 1.x program writes it."""

    def __init__(self, arguments: Any) -> None:
        self.cache: dict[Any, Any] = {}

    def get(self, key: Any) -> Any:
        return self.cache.get(key, NO_VALUE)

    def set(self, key: Any, value: Any) -> None:
        self.cache[key] = value

    def delete(self, key: Any) -> None:
        self.cache.pop(key, None)


OWN_BACKENDS = {"dictionary": DictionaryBackend, "set": SetBackend}
FILE_BACKENDS = frozenset({"dbm", "sqlite"})
#: The backends that keep what they are given.
KEEPING = ("memory", "memory_pickle", "sqlite", "dbm", "dictionary", "set")


class MakeRegion(Protocol):
    """Makes a region on a backend, by its short name; it is closed at the end."""

    def __call__(self, backend: str = "memory", **settings: Any) -> CacheRegion: ...


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make(clock: FakeClock, tmp_path: Path) -> Iterator[MakeRegion]:
    made: list[CacheRegion] = []

    def make_region(backend: str = "memory", **settings: Any) -> CacheRegion:
        at_once = (
            "wrap",
            "arguments",
            "region_invalidator",
            "replace_existing_backend",
        )
        given = {name: settings.pop(name) for name in at_once if name in settings}
        if backend in FILE_BACKENDS:
            given.setdefault("arguments", {"filename": str(tmp_path / backend)})
        region = CacheRegion(clock=clock, **settings)
        made.append(region)
        own: Any = OWN_BACKENDS.get(backend)
        return region.configure(own or f"dogpile.cache.{backend}", **given)

    yield make_region
    for region in made:
        region.close()


@pytest.fixture(params=KEEPING)
def make_each(make: MakeRegion, request: pytest.FixtureRequest) -> Any:
    """Return what makes regions on one backend; a test meets each of them."""
    return partial(make, request.param)


@pytest.fixture
def region(make_each: Any) -> CacheRegion:
    """Return a region on each of the backends that keep what they are given."""
    made: CacheRegion = make_each(expiration_time=60)
    return made


@pytest.fixture
def create() -> Callable[[], int]:
    """Return a creator that returns 1 when it is first called, then 2, and so on."""
    numbers = itertools.count(1)
    return lambda: next(numbers)


@pytest.fixture
def store() -> dict[Any, Any]:
    return {}


@pytest.fixture
def connect(store: dict[Any, Any], clock: FakeClock) -> Callable[..., CacheRegion]:
    """Return what makes the region of another process, on the same server."""

    def make(kind: type[Server] = Server, **settings: Any) -> CacheRegion:
        region = CacheRegion(name="pages", clock=clock, expiration_time=60, **settings)
        return region.configure(kind, arguments={"store": store})

    return make
