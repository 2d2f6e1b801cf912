"""A backend around a backend: what a proxy hears, and what it may change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from dogpile.cache import NO_VALUE, CachedValue, CacheRegion, ProxyBackend
from dogpile.cache.backends.memory import MemoryBackend
from dogpile.cache.backends.sqlite import SqliteBackend
from dogpile.cache.exception import ValidationError
from dogpile.cache.testing import FakeClock

Create = Callable[[], int]


class Hearing(ProxyBackend):
    """As 1.x programs write one: it hears, and passes on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heard: list[tuple[Any, ...]] = []

    def get(self, key: Any) -> Any:
        self.heard.append(("get", key))
        return self.proxied.get(key)

    def set(self, key: Any, value: Any) -> None:
        self.heard.append(("set", key))
        self.proxied.set(key, value)

    def delete(self, key: Any) -> None:
        self.heard.append(("delete", key))
        self.proxied.delete(key)

    def get_multi(self, keys: Sequence[Any]) -> Any:
        self.heard.append(("get_multi", *keys))
        return self.proxied.get_multi(keys)

    def set_multi(self, mapping: Mapping[Any, Any]) -> None:
        self.heard.append(("set_multi", *mapping))
        self.proxied.set_multi(mapping)

    def delete_multi(self, keys: Sequence[Any]) -> None:
        self.heard.append(("delete_multi", *keys))
        self.proxied.delete_multi(keys)


class Prefixing(ProxyBackend):
    """Keeps what passes through it under other keys."""

    def get(self, key: Any) -> Any:
        return self.proxied.get(f"prefixed {key}")

    def set(self, key: Any, value: Any) -> None:
        self.proxied.set(f"prefixed {key}", value)

    def delete(self, key: Any) -> None:
        self.proxied.delete(f"prefixed {key}")


class Doubling(ProxyBackend):
    """Changes what is stored; ``put`` is the name that it knows."""

    def put(self, key: Any, value: Any) -> None:
        self.proxied.put(key, CachedValue(2 * value.payload, value.metadata))


class Silent(ProxyBackend):
    """Overrides nothing."""


class TestPassingOn:
    """A proxy that overrides nothing changes nothing."""

    @pytest.fixture
    def region(self, make_each: Any) -> CacheRegion:
        made: CacheRegion = make_each(expiration_time=60, wrap=[Silent, Silent])
        return made

    def test_each_operation_works(
        self, region: CacheRegion, clock: FakeClock, create: Create
    ) -> None:
        region.put_multi({"a": "a", "b": "b"})
        region.delete("a")
        region.delete_multi(["b", "never"])
        region.put("c", "c")
        values = [
            region.get_multi(["a", "b", "c"]),
            region.get_or_create("key", create),
            region.get_or_create("key", create),
            region.get_or_create_multi(["key", "new"], lambda *keys: [*keys]),
        ]
        clock.advance(60)
        values.append(region.get_or_create("key", create))

        assert values == [[NO_VALUE, NO_VALUE, "c"], 1, 1, [1, "new"], 2]

    def test_invalidation_works(self, region: CacheRegion) -> None:
        region.put("one", 1, tags=["red"])
        region.put("two", 2)

        region.invalidate_tags("red")
        seen = region.get_multi(["one", "two"])
        region.invalidate()

        assert seen == [NO_VALUE, 2]
        assert region.get("two") is NO_VALUE

    def test_what_was_put_meanwhile_stays(self, region: CacheRegion) -> None:
        def create_late() -> str:
            region.put("key", "put meanwhile")
            return "created before"

        region.get_or_create("key", create_late)

        assert region.get("key") == "put meanwhile"

    def test_it_looks_like_the_backend_inside(self, region: CacheRegion) -> None:
        outer: Any = region.backend
        inner = region.actual_backend

        assert outer.proxied.proxied is inner
        assert outer.capabilities.scope == inner.capabilities.scope
        assert outer.capabilities.leases == inner.capabilities.leases
        assert outer.key_mangler is inner.key_mangler
        assert outer.has_lock_timeout() == inner.has_lock_timeout()


class TestHearing:
    @pytest.fixture(params=["memory", "dictionary", "set"])
    def region(self, make: Any, request: pytest.FixtureRequest) -> CacheRegion:
        made: CacheRegion = make(request.param, expiration_time=60, wrap=[Hearing])
        return made

    @pytest.fixture
    def heard(self, region: CacheRegion) -> list[tuple[Any, ...]]:
        backend: Any = region.backend
        heard: list[tuple[Any, ...]] = backend.heard
        return heard

    def test_it_hears_of_each_operation(
        self, region: CacheRegion, heard: list[tuple[Any, ...]]
    ) -> None:
        region.put("key", 1)
        region.get("key")
        region.delete("key")
        region.put_multi({"a": 1, "b": 2})
        region.get_multi(["a", "b"])
        region.delete_multi(["a", "b"])

        assert heard == [
            ("set", "key"),
            ("get", "key"),
            ("delete", "key"),
            ("set_multi", "a", "b"),
            ("get_multi", "a", "b"),
            ("delete_multi", "a", "b"),
        ]

    def test_it_hears_of_a_creation(
        self, region: CacheRegion, heard: list[tuple[Any, ...]]
    ) -> None:
        region.get_or_create("key", lambda: 1)

        assert heard[0] == ("get", "key")
        assert heard[-1] == ("set", "key")
        assert heard.count(("set", "key")) == 1

    def test_it_hears_of_a_hit(
        self, region: CacheRegion, heard: list[tuple[Any, ...]]
    ) -> None:
        region.put("key", 1)
        heard.clear()

        region.get_or_create("key", lambda: 2)

        assert heard == [("get", "key")]

    def test_it_hears_of_no_records(
        self, region: CacheRegion, heard: list[tuple[Any, ...]]
    ) -> None:
        region.invalidate()
        region.invalidate_tags("red")

        assert heard == []


class TestChanging:
    def test_a_proxy_may_use_other_keys(self, make: Any, create: Create) -> None:
        region = make("memory", wrap=[Prefixing])

        region.put("one", 1)
        region.get_or_create("two", create)

        assert region.get("one") == region.get_or_create("two", create) == 1
        assert region.actual_backend.get("one") is NO_VALUE
        assert region.actual_backend.get("prefixed two") is not NO_VALUE

    @pytest.mark.parametrize("backend", ["memory", "dictionary", "set"])
    def test_a_proxy_may_store_another_value(self, make: Any, backend: str) -> None:
        region = make(backend, wrap=[Doubling])

        region.put("one", 1)
        created = region.get_or_create("two", lambda: 1)

        assert created == 1
        assert region.get_multi(["one", "two"]) == [2, 2]

    def test_the_first_is_the_outermost(self, make: Any) -> None:
        region = make("memory", wrap=[Hearing, Prefixing])

        region.put("key", 1)

        assert region.backend.heard == [("set", "key")]
        assert region.actual_backend.get("prefixed key") is not NO_VALUE

    def test_an_instance_may_be_given(self, make: Any) -> None:
        proxy = Hearing("argument", setting=1)

        region = make("memory", wrap=[proxy])

        assert region.backend is proxy
        assert isinstance(proxy.proxied, MemoryBackend)

    def test_a_region_may_be_wrapped_later(self, make: Any) -> None:
        region = make("memory")
        region.put("key", 1)

        region.wrap(Hearing)

        assert region.get("key") == 1
        assert region.backend.heard == [("get", "key")]
        assert isinstance(region.actual_backend, MemoryBackend)

    def test_a_namespace_is_wrapped_with_the_region(self, make: Any) -> None:
        region = make("memory")
        users = region.namespace("users")

        region.wrap(Hearing)
        users.put("key", 1)

        assert region.backend.heard == [("set", "users:key")]

    @pytest.mark.parametrize("given", [dict, MemoryBackend, object()])
    def test_what_is_no_proxy_is_refused(self, make: Any, given: Any) -> None:
        region = make("memory")

        with pytest.raises(ValidationError, match="ProxyBackend"):
            region.wrap(given)

        assert isinstance(region.backend, MemoryBackend)

    def test_a_decorated_function_goes_through_it(
        self, make: Any, create: Create
    ) -> None:
        region: CacheRegion = make("memory", wrap=[Hearing])

        @region.cache_on_arguments(key="key")
        def f() -> int:
            return create()

        values = [f(), f()]

        backend: Any = region.backend
        assert values == [1, 1]
        assert ("set", "key") in backend.heard
        assert backend.heard[-1] == ("get", "key")


class Bytes(ProxyBackend):
    """Changes what is stored as bytes."""

    def get_serialized(self, key: Any) -> Any:
        stored = self.proxied.get_serialized(key)
        return stored if stored is NO_VALUE else bytes(stored)[::-1]

    def set_serialized(self, key: Any, value: bytes) -> None:
        self.proxied.set_serialized(key, value[::-1])


class TestLeases:
    """A proxy of a backend that grants leases takes part in them."""

    @pytest.fixture
    def region(self, make: Any) -> CacheRegion:
        made: CacheRegion = make("sqlite", expiration_time=60, wrap=[Bytes])
        return made

    def test_a_created_value_goes_through_the_proxy(
        self, region: CacheRegion, create: Create
    ) -> None:
        values = [region.get_or_create("key", create) for _ in range(2)]

        inner: Any = region.actual_backend
        outer: Any = region.backend
        assert values == [1, 1]
        assert isinstance(inner, SqliteBackend)
        assert inner.get_serialized("key") == outer.get_serialized("key")[::-1]

    def test_an_expired_value_is_seen_through_the_proxy(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        region.put("key", "old")
        clock.advance(60)
        seen = []

        def create() -> str:
            seen.append(region.get_or_create("key", lambda: "unused"))
            return "new"

        value = region.get_or_create("key", create)

        assert (seen, value) == (["old"], "new")
        assert region.get("key") == "new"

    def test_the_lease_ends_with_the_creation(self, region: CacheRegion) -> None:
        seen: list[bool] = []

        def create() -> str:
            inner: Any = region.actual_backend
            seen.append(inner.is_leased("key"))
            return "payload"

        region.get_or_create("key", create)

        assert seen == [True]
        assert not region.key_is_locked("key")

    def test_what_was_put_meanwhile_stays(self, region: CacheRegion) -> None:
        def create_late() -> str:
            region.put("key", "put meanwhile")
            return "created before"

        region.get_or_create("key", create_late)

        assert region.get("key") == "put meanwhile"

    def test_what_was_deleted_by_another_process_stays_away(
        self, region: CacheRegion, make: Any
    ) -> None:
        there = make("sqlite", expiration_time=60, wrap=[Bytes])

        def create_late() -> str:
            there.delete("key")
            return "created before"

        value = region.get_or_create("key", create_late)

        assert value == "created before"
        assert region.get("key") is NO_VALUE

    def test_a_failed_creation_gives_the_lease_back(
        self, region: CacheRegion, create: Create
    ) -> None:
        with pytest.raises(ZeroDivisionError):
            region.get_or_create("key", lambda: 1 / 0)

        assert not region.key_is_locked("key")
        assert region.get_or_create("key", create) == 1

    def test_many_go_through_the_proxy(self, region: CacheRegion) -> None:
        values = region.get_or_create_multi(["a", "b"], lambda *keys: [*keys])

        assert values == ["a", "b"]
        assert region.get("a") == "a"
        assert not region.key_is_locked("b")
