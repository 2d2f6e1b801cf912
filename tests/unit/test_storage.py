"""A region's view of its backend: what a read costs, and what it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from counting_server import RECORD, TAG, trips

from dogpile.cache import NO_VALUE, CachedValue, CacheRegion
from dogpile.cache.api import value_version
from dogpile.cache.testing import FakeClock

Create = Callable[[], int]


class TestRoundTrips:
    @pytest.fixture
    def region(self, connect: Any) -> CacheRegion:
        made: CacheRegion = connect()
        made.put_multi({"a": 1, "b": 2})
        trips(made)
        return made

    def test_a_hit_is_one(self, region: CacheRegion, create: Create) -> None:
        region.get("a")
        region.get_or_create("a", create)
        region.get_value_metadata("a")

        assert trips(region) == [("get", "a")] * 3

    def test_the_records_are_read_along_after_a_second(
        self, region: CacheRegion, clock: FakeClock, create: Create
    ) -> None:
        clock.advance(1)
        region.get("a")
        region.get("a")
        clock.advance(1)
        region.get_or_create("a", create)
        clock.advance(1)
        region.get_multi(["a", "b"])

        assert trips(region) == [
            ("get_multi", "a", RECORD),
            ("get", "a"),
            ("get_multi", "a", RECORD),
            ("get_multi", "a", "b", RECORD),
        ]

    def test_many_hits_are_one(self, region: CacheRegion) -> None:
        region.get_multi(["a", "b"])
        region.get_or_create_multi(["a", "b"], lambda *keys: keys)

        assert trips(region) == [("get_multi", "a", "b")] * 2

    def test_no_keys_are_none(self, region: CacheRegion) -> None:
        region.get_multi([])
        region.put_multi({})
        region.delete_multi([])
        region.get_or_create_multi([], lambda *keys: keys)

        assert trips(region) == []

    def test_many_writes_are_one(self, region: CacheRegion) -> None:
        region.put_multi({"a": 1, "b": 2})
        region.delete_multi(["a", "b"])

        assert trips(region) == [("set_multi", "a", "b"), ("delete_multi", "a", "b")]

    def test_a_write_is_one(self, region: CacheRegion) -> None:
        region.put("a", 1)
        region.put_multi({"a": 1})
        region.delete("a")
        region.delete_multi(["a"])

        assert trips(region) == [
            ("set", "a"),
            ("set", "a"),
            ("delete", "a"),
            ("delete", "a"),
        ]

    def test_many_creations_are_stored_in_one(self, region: CacheRegion) -> None:
        region.get_or_create_multi(["c", "d"], lambda *keys: keys)

        stored = [trip for trip in trips(region) if trip[0].startswith("set")]
        assert stored == [("set_multi", "c", "d")]

    def test_the_tags_of_a_value_are_read_after_it(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        region.put("a", 1, tags=["red"])
        trips(region)

        clock.advance(1)
        region.get("a")
        region.get("a")

        assert trips(region) == [
            ("get_multi", "a", RECORD),
            ("get_multi", TAG),
            ("get", "a"),
        ]

    def test_the_tags_of_the_reader_are_read_along(
        self, region: CacheRegion, clock: FakeClock, create: Create
    ) -> None:
        region.put("a", 1, tags=["red"])
        trips(region)

        clock.advance(1)
        region.get_or_create("a", create, tags=["red"])

        assert trips(region) == [("get_multi", "a", RECORD, TAG)]


class TestForms:
    @pytest.mark.parametrize(
        "stored",
        [
            ("payload",),
            ("payload", None),
            ("payload", {}),
            ("payload", {"v": value_version}),
            "payload",
            7,
            None,
            [],
        ],
    )
    def test_what_is_no_value_is_a_miss(
        self, connect: Any, store: dict[Any, Any], stored: Any
    ) -> None:
        region = connect()

        store["key"] = stored

        assert region.get("key") is NO_VALUE
        assert region.get_multi(["key"]) == [NO_VALUE]
        assert region.get_or_create("key", lambda: "new") == "new"

    def test_a_plain_pair_is_a_value(
        self, connect: Any, store: dict[Any, Any], clock: FakeClock
    ) -> None:
        region = connect()

        store["key"] = ["payload", {"ct": clock.time(), "v": value_version}]

        assert region.get("key") == "payload"
        assert isinstance(region.get_value_metadata("key"), CachedValue)

    def test_another_format_is_a_miss(
        self, connect: Any, store: dict[Any, Any], clock: FakeClock
    ) -> None:
        region = connect()

        store["key"] = CachedValue("payload", {"ct": clock.time(), "v": 1})

        assert region.get("key") is NO_VALUE
        assert region.get_or_create("key", lambda: "new") == "new"

    def test_only_what_differs_from_the_region_is_stored(
        self, connect: Any, store: dict[Any, Any], clock: FakeClock
    ) -> None:
        region = connect(grace=5)

        region.put("plain", 1)
        region.put("same", 1, expiration_time=60, grace=5)
        region.put("other", 1, expiration_time=None, grace=None)

        common = {"ct": clock.time(), "v": value_version}
        assert store["plain"].metadata == store["same"].metadata == common
        assert store["other"].metadata == {**common, "x": None, "g": None}

    def test_keys_of_any_kind_reach_the_backend(
        self, connect: Any, store: dict[Any, Any]
    ) -> None:
        region = connect()

        region.put_multi({1: "int", ("a", 1): "tuple", b"a": "bytes", None: "none"})

        assert {1, ("a", 1), b"a", None} <= {*store}
        assert region.get(("a", 1)) == "tuple"
