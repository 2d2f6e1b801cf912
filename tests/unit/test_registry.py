"""From a name to a class; the regions of this process by name."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest

from dogpile.cache import NO_VALUE, CacheBackend, make_region, register_backend
from dogpile.cache.backends.memory import MemoryBackend, MemoryPickleBackend
from dogpile.cache.backends.null import NullBackend
from dogpile.cache.exception import ConfigurationError, PluginNotFound
from dogpile.cache.registry import BACKENDS, BackendRegistry, regions

# All that 1.x has, and what is new.
NAMES = {
    "memory",
    "memory_pickle",
    "null",
    "dbm",
    "sqlite",
    "pylibmc",
    "pymemcache",
    "bmemcached",
    "memcached",
    "redis",
    "redis_sentinel",
    "redis_cluster",
    "valkey",
    "valkey_sentinel",
    "valkey_cluster",
}


class OwnBackend(CacheBackend):
    def __init__(self, arguments: Any) -> None:
        self.cache: dict[Any, Any] = {}

    def get(self, key: Any) -> Any:
        return self.cache.get(key, NO_VALUE)

    def put(self, key: Any, value: Any) -> None:
        self.cache[key] = value

    def delete(self, key: Any) -> None:
        self.cache.pop(key, None)


@pytest.fixture
def own_module() -> Iterator[str]:
    module = ModuleType("own_backends")
    module.__dict__["OwnBackend"] = OwnBackend
    sys.modules["own_backends"] = module
    yield "own_backends"
    del sys.modules["own_backends"]


@pytest.fixture
def registry() -> BackendRegistry:
    return BackendRegistry()


@pytest.fixture
def registered() -> Iterator[None]:
    """Take back what a test registers for the whole process."""
    places = dict(BACKENDS._places)
    yield
    BACKENDS._places.clear()
    BACKENDS._places.update(places)


def test_the_built_in_backends_are_known(registry: BackendRegistry) -> None:
    names = set(registry.names())

    assert {f"dogpile.cache.{name}" for name in NAMES} <= names
    assert all(registry.knows(name) for name in names)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("dogpile.cache.memory", MemoryBackend),
        ("dogpile.cache.memory_pickle", MemoryPickleBackend),
        ("dogpile.cache.null", NullBackend),
    ],
)
def test_a_name_leads_to_a_class(
    registry: BackendRegistry, name: str, kind: type
) -> None:
    assert registry.load(name) is kind


def test_a_registered_backend_is_found(
    registry: BackendRegistry, own_module: str
) -> None:
    registry.register("own", own_module, "OwnBackend")

    assert registry.knows("own")
    assert "own" in registry.names()
    assert registry.load("own") is OwnBackend


def test_the_module_is_not_imported_before_it_is_needed(
    registry: BackendRegistry,
) -> None:
    registry.register("own", "no_such_module_as_this", "OwnBackend")

    assert registry.knows("own")


@pytest.mark.usefixtures("registered")
def test_a_region_is_made_on_a_registered_backend(own_module: str) -> None:
    register_backend("own", own_module, "OwnBackend")

    region = make_region("own")

    assert region.put("somekey", "somevalue") == "somevalue"
    assert region.get("somekey") == "somevalue"
    assert isinstance(region.backend, OwnBackend)


@pytest.mark.usefixtures("registered")
def test_a_name_may_be_registered_again(own_module: str) -> None:
    register_backend("own", "dogpile.cache.backends.null", "NullBackend")
    register_backend("own", own_module, "OwnBackend")

    assert BACKENDS.load("own") is OwnBackend


def test_an_entry_point_is_found(registry: BackendRegistry, own_module: str) -> None:
    point = EntryPoint("installed", f"{own_module}:OwnBackend", "dogpile.cache")
    registry._entry_points = {"installed": point}

    assert registry.knows("installed")
    assert "installed" in registry.names()
    assert registry.load("installed") is OwnBackend


def test_what_is_registered_goes_before_an_entry_point(
    registry: BackendRegistry, own_module: str
) -> None:
    point = EntryPoint("own", "no_such_module_as_this:Backend", "dogpile.cache")
    registry._entry_points = {"own": point}

    registry.register("own", own_module, "OwnBackend")

    assert registry.load("own") is OwnBackend


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("dogpile.cache.memmory", "'dogpile.cache.memory'"),
        ("dogpile.cache.sqllite", "'dogpile.cache.sqlite'"),
        ("dogpile.cache.Memory", "'dogpile.cache.memory'"),
        ("dogpil.cache.redis", "'dogpile.cache.redis'"),
        ("sqlite", "'dogpile.cache.sqlite'"),
        ("sqllite", "'dogpile.cache.sqlite'"),
        ("reddis", "'dogpile.cache.redis'"),
        ("Memory", "'dogpile.cache.memory'"),
    ],
)
def test_an_unknown_name_is_told_the_nearest(
    registry: BackendRegistry, name: str, hint: str
) -> None:
    with pytest.raises(PluginNotFound) as caught:
        registry.load(name)

    text = str(caught.value)
    assert f"Couldn't find cache plugin to load: {name} " in text
    assert f"did you mean {hint}" in text
    assert "register_backend()" in text


def test_what_is_only_named_alike_in_front_is_not_near(
    registry: BackendRegistry,
) -> None:
    assert registry.nearest("dogpile.cache.sqlit") == ["dogpile.cache.sqlite"]


def test_two_of_one_last_part_are_both_near(
    registry: BackendRegistry, own_module: str
) -> None:
    registry.register("shop.redis", own_module, "OwnBackend")

    assert registry.nearest("shp.redis")[:2] == ["dogpile.cache.redis", "shop.redis"]


def test_an_unknown_name_like_none_is_told_all(registry: BackendRegistry) -> None:
    with pytest.raises(PluginNotFound) as caught:
        registry.load("zzzzzz")

    assert "did you mean" not in str(caught.value)
    assert all(f"dogpile.cache.{name}" in str(caught.value) for name in NAMES)


def test_a_module_without_the_class_is_named(
    registry: BackendRegistry, own_module: str
) -> None:
    registry.register("own", own_module, "OtherBackend")

    with pytest.raises(ConfigurationError, match="own_backends:OtherBackend"):
        registry.load("own")


def test_a_module_that_is_not_there_is_named(registry: BackendRegistry) -> None:
    registry.register("own", "no_such_module_as_this", "OwnBackend")

    with pytest.raises(
        ConfigurationError, match=r"'own' .*no_such_module_as_this:OwnBackend"
    ) as caught:
        registry.load("own")

    assert isinstance(caught.value.__cause__, ImportError)


def double(value: int) -> int:
    return 2 * value


class TestRegions:
    def test_a_region_is_found_by_its_name(self) -> None:
        region = make_region("registry test")

        assert regions["registry test"] is region

    def test_a_region_without_a_name_is_not(self) -> None:
        region = make_region()

        assert region not in regions.values()

    def test_a_region_that_nobody_holds_is_forgotten(self) -> None:
        make_region("registry test")

        gc.collect()

        assert "registry test" not in regions

    def test_a_configured_region_that_nobody_holds_is_forgotten(self) -> None:
        region = make_region("dogpile.cache.memory", name="registry test")
        region.get_or_create("key", lambda: 1)
        function = region.cache_on_arguments()(double)
        function(1)

        del region, function
        gc.collect()

        assert "registry test" not in regions

    def test_the_latest_of_two_has_the_name(self) -> None:
        first = make_region("registry test")
        second = make_region("registry test")

        assert first is not second
        assert regions["registry test"] is second
