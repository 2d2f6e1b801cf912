"""An entry in memory is handed out at once only to those it was judged for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dogpile.cache import NO_VALUE, CacheRegion
from dogpile.cache.testing import FakeClock


def refuse(*keys: Any) -> Any:
    raise AssertionError(f"{keys} is there")


def created(*keys: str) -> list[str]:
    return [f"new {key}" for key in keys]


@pytest.fixture(params=["memory", "sqlite"])
def region(make: Any, request: pytest.FixtureRequest) -> CacheRegion:
    """Return a region in memory, and one that judges each value, to compare."""
    made: CacheRegion = make(request.param, expiration_time=60, generation_ttl=0)
    return made


Ask = Callable[[CacheRegion, str], Any]
ASKS: dict[str, Ask] = {
    "get_or_create": lambda region, key: region.get_or_create(key, refuse),
    "get_or_create_multi": lambda region, key: region.get_or_create_multi(
        [key], refuse
    ),
    "get_multi": lambda region, key: region.get_multi([key]),
    "get": lambda region, key: region.get(key),
}


@pytest.mark.parametrize("ask", ASKS)
class TestARegionAroundANamespace:
    def test_does_not_bring_back_what_the_namespace_invalidated(
        self, region: CacheRegion, ask: str
    ) -> None:
        part = region.namespace("part")
        part.put("key", "old")
        part.invalidate()

        ASKS[ask](region, "part:key")  # its own records say nothing of that

        assert part.get("key") is NO_VALUE
        assert part.get_multi(["key"]) == [NO_VALUE]
        assert part.get_or_create("key", lambda: "new") == "new"

    def test_does_not_bring_it_back_key_by_key(
        self, region: CacheRegion, ask: str
    ) -> None:
        part = region.namespace("part")
        part.put_multi({"a": 1, "b": 2})
        part.invalidate()

        for key in list(region.iter_keys()):
            ASKS[ask](region, key)

        assert part.get_or_create_multi(["a", "b"], created) == ["new a", "new b"]

    def test_shares_no_judgement_with_a_name_that_is_spelt_alike(
        self, region: CacheRegion, ask: str
    ) -> None:
        within = region.namespace("a")
        one, other = region.namespace("a:b"), within.namespace("b")
        other.put("key", "old")
        within.invalidate()

        ASKS[ask](one, "key")  # which is not in the region that was invalidated

        assert other.get("key") is NO_VALUE
        assert other.get_multi(["key"]) == [NO_VALUE]


@pytest.mark.parametrize("ask", ASKS)
class TestValuesOfAnotherVersion:
    def test_are_a_miss_to_a_namespace_of_the_same_name(
        self, region: CacheRegion, ask: str
    ) -> None:
        old, new = region.namespace("n", version=1), region.namespace("n", version=2)
        old.put("key", "of version 1")

        assert ASKS[ask](old, "key") in ("of version 1", ["of version 1"])
        assert new.get("key") is NO_VALUE
        assert new.get_multi(["key"]) == [NO_VALUE]
        assert new.get_or_create_multi(["key"], created) == ["new key"]

    def test_are_a_miss_to_who_names_none(self, region: CacheRegion, ask: str) -> None:
        region.put("key", "of version 1", version=1)
        region.get_or_create("key", refuse, version=1)
        region.get_or_create_multi(["key"], refuse, version=1)

        assert region.get("key") is NO_VALUE
        assert region.get_multi(["key"]) == [NO_VALUE]
        assert region.get_or_create_multi(["key"], created) == ["new key"]


def test_a_decorated_function_of_a_version_has_its_own(region: CacheRegion) -> None:
    calls: list[Any] = []

    @region.cache_on_arguments(version=3)
    def value(number: int, other: int = 0) -> int:
        calls.append(number)
        return number

    for _ in range(3):
        assert (value(1), value(1, 2), value(2, other=5)) == (1, 1, 2)

    assert calls == [1, 1, 2]
    assert region.get(value.key(1)) == 1  # type: ignore[attr-defined]


def test_two_lifetimes_of_one_namespace_are_kept_apart(
    region: CacheRegion, clock: FakeClock
) -> None:
    short, long = region.namespace("n", expiration_time=5), region.namespace("n")
    long.put("key", "old")
    assert short.get_or_create("key", refuse) == "old"
    assert long.get_or_create("key", refuse) == "old"

    clock.advance(6)

    assert long.get_or_create("key", refuse) == "old"
    assert long.get_or_create_multi(["key"], refuse) == ["old"]
    assert short.get_or_create_multi(["key"], created) == ["new key"]


@pytest.mark.parametrize("ask", ["get_or_create_multi", "get_multi"])
@pytest.mark.parametrize("is_hard", [True, False])
def test_an_invalidation_while_the_keys_are_made_is_seen(
    region: CacheRegion, ask: str, is_hard: bool
) -> None:
    region.put_multi({"a": 1, "b": 2})
    region.put("c", 3, tags=["t"])

    def keys() -> Iterator[str]:
        yield from "ab"
        region.invalidate_tags("t")
        region.invalidate(hard=is_hard)
        yield "c"

    if ask == "get_multi":
        found = region.get_multi(keys())  # type: ignore[arg-type]
        assert found == [NO_VALUE] * 3
    else:
        made = region.get_or_create_multi(keys(), created)  # type: ignore[arg-type]
        assert made == ["new a", "new b", "new c"]
