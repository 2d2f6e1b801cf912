"""A region's view of its backend: generation records, and what a read costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from dogpile.cache import NO_VALUE, CacheBackend, CachedValue, CacheRegion
from dogpile.cache.api import Capabilities, value_version
from dogpile.cache.ports import THREAD_PORTS, run_now
from dogpile.cache.records import note
from dogpile.cache.storage import Pending, new_id
from dogpile.cache.testing import FakeClock

Create = Callable[[], int]


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


def trips(region: CacheRegion) -> list[tuple[str, ...]]:
    """Return the round trips so far, which are then forgotten."""
    backend: Any = region.actual_backend
    made = list(backend.trips)
    backend.trips.clear()
    return made


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


class TestGenerations:
    def test_two_who_miss_a_record_agree_on_one(self, connect: Any) -> None:
        one, other = connect(LossyServer).storage, connect(LossyServer).storage
        found = [NO_VALUE]  # both have read before either has written

        marks = [
            each._noted([RECORD], found, each.shared.written) for each in (one, other)
        ]

        assert marks[0] == marks[1]
        assert one.marks_in_cache([RECORD]) == other.marks_in_cache([RECORD])

    def test_two_loops_who_miss_a_record_agree_on_one(self, connect: Any) -> None:
        one, other = connect(LossyServer).storage, connect(LossyServer).storage

        marks = [
            run_now(note(THREAD_PORTS, each, [RECORD], [NO_VALUE], each.shared.written))
            for each in (one, other)
        ]

        assert marks[0] == marks[1]

    def test_others_are_heard_of_after_the_time_that_is_set(
        self, connect: Any, clock: FakeClock
    ) -> None:
        here, there = connect(), connect(generation_ttl=5)
        there.put("key", "old")

        here.invalidate()
        clock.advance(4)
        still_there = there.get("key")
        clock.advance(1)

        assert still_there == "old"
        assert there.get("key") is NO_VALUE

    def test_who_is_strict_hears_of_it_at_once(self, connect: Any) -> None:
        here, there = connect(), connect(generation_ttl=0)
        there.put("key", "old")

        here.invalidate()

        assert there.get("key") is NO_VALUE

    def test_who_is_strict_hears_of_a_tag_at_once(self, connect: Any) -> None:
        here, there = connect(), connect(generation_ttl=0)
        there.put("key", "old", tags=["red"])

        here.invalidate_tags("red")

        assert there.get("key") is NO_VALUE

    def test_who_never_asks_hears_of_its_own(self, connect: Any) -> None:
        region = connect(generation_ttl=None)
        region.put("key", "old")

        region.invalidate()

        assert region.get("key") is NO_VALUE

    def test_a_soft_one_keeps_what_an_earlier_hard_one_said(
        self, connect: Any, create: Create
    ) -> None:
        here, there = connect(generation_ttl=0), connect(generation_ttl=0)
        there.put("key", "old")

        here.invalidate()
        there.invalidate(hard=False)

        assert here.get_or_create("key", create) == 1

    def test_a_value_carries_what_it_was_created_under(
        self, connect: Any, store: dict[Any, Any]
    ) -> None:
        region = connect()
        region.put("before", 1)
        region.invalidate()
        region.put("after", 1)

        record = store[RECORD].payload
        assert "t" not in store["before"].metadata
        assert store["after"].metadata["t"] == {RECORD: record}

    def test_a_tag_is_carried_before_it_was_ever_invalidated(
        self, connect: Any, store: dict[Any, Any]
    ) -> None:
        region = connect()

        region.put("key", 1, tags=["red"])

        assert store["key"].metadata["t"] == {TAG: ""}
        assert TAG not in store

    def test_a_value_created_before_an_invalidation_elsewhere_is_void(
        self, connect: Any
    ) -> None:
        here, there = connect(generation_ttl=0), connect(generation_ttl=0)

        def create_late() -> str:
            there.invalidate()
            return "made of what was before"

        here.get_or_create("key", create_late)

        assert here.get("key") is NO_VALUE

    def test_a_tag_named_by_the_creator_is_asked_for_strictly(
        self, connect: Any
    ) -> None:
        here, there = connect(), connect()
        here.put("other", 1, tags=["red"])
        there.invalidate_tags("red")

        here.get_or_create("key", lambda creation: creation.tag("red") or "new")

        assert there.get("key") == "new"


class TestLostRecords:
    """A lost record is a miss, and never brings anything back."""

    def test_on_a_lossy_backend_each_region_has_a_record(
        self, connect: Any, store: dict[Any, Any]
    ) -> None:
        region = connect(LossyServer)

        region.put("key", "payload")

        assert store["key"].metadata["t"] == {RECORD: store[RECORD].payload}
        assert region.get("key") == "payload"

    def test_what_it_had_marked_is_a_miss(
        self, connect: Any, store: dict[Any, Any], clock: FakeClock
    ) -> None:
        region = connect(LossyServer)
        region.put("key", "payload")

        del store[RECORD]
        clock.advance(1)

        assert region.get("key") is NO_VALUE
        assert region.get_or_create("key", lambda: "new") == "new"
        assert region.get("key") == "new"

    def test_what_was_invalidated_does_not_come_back(
        self, connect: Any, store: dict[Any, Any], clock: FakeClock
    ) -> None:
        region = connect(LossyServer)
        region.put("key", "old")
        region.invalidate()

        del store[RECORD]
        clock.advance(1)

        assert region.get("key") is NO_VALUE
        assert connect(LossyServer).get("key") is NO_VALUE

    def test_it_does_not_come_back_when_all_else_is_lost_too(
        self, connect: Any, store: dict[Any, Any]
    ) -> None:
        before = connect(LossyServer)
        before.put("key", "old")
        before.invalidate()
        del store[RECORD]

        after = connect(LossyServer)
        after.put("other", "new")

        assert after.get("key") is NO_VALUE
        assert after.get("other") == "new"

    def test_a_lost_tag_is_a_miss(
        self, connect: Any, store: dict[Any, Any], clock: FakeClock
    ) -> None:
        region = connect(LossyServer)
        region.put("tagged", 1, tags=["red"])
        region.put("plain", 2)

        del store[TAG]
        clock.advance(1)

        assert region.get("tagged") is NO_VALUE
        assert region.get("plain") == 2

    def test_a_lost_tag_does_not_bring_back_what_it_invalidated(
        self, connect: Any, store: dict[Any, Any], clock: FakeClock
    ) -> None:
        region = connect(LossyServer)
        region.put("key", "old", tags=["red"])
        region.invalidate_tags("red")

        del store[TAG]
        clock.advance(1)

        assert region.get("key") is NO_VALUE

    def test_a_record_that_this_process_has_seen_is_missed_on_any_backend(
        self, connect: Any, store: dict[Any, Any], clock: FakeClock
    ) -> None:
        region = connect()
        region.put("key", "old")
        region.invalidate()

        del store[RECORD]
        clock.advance(1)

        assert region.get("key") is NO_VALUE

    def test_what_carries_a_lost_mark_is_a_miss_on_any_backend(
        self, connect: Any, store: dict[Any, Any]
    ) -> None:
        before = connect()
        before.invalidate()
        before.put("key", "old")

        del store[RECORD]

        assert connect().get("key") is NO_VALUE

    def test_a_record_that_is_no_record_is_a_lost_one(
        self, connect: Any, store: dict[Any, Any], clock: FakeClock
    ) -> None:
        region = connect()
        region.invalidate()
        region.put("key", "old")

        store[RECORD] = ("nonsense",)
        clock.advance(1)

        assert region.get("key") is NO_VALUE
        region.put("key", "new")
        assert region.get("key") == "new"


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


class TestPending:
    def test_nothing_pending_is_not_waited_for(self) -> None:
        assert Pending().wait(0)

    def test_what_has_begun_is_waited_for_until_it_ends(self) -> None:
        pending = Pending()

        pending.begin()
        during = pending.wait(0)
        pending.end()

        assert (during, pending.wait(0)) == (False, True)


def test_ids_are_used_once() -> None:
    ids = {new_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert not any("." in each for each in ids)
