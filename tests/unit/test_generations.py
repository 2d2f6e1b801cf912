"""Generation records: what is known of them, and what is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from counting_server import RECORD, TAG, LossyServer

from dogpile.cache import NO_VALUE
from dogpile.cache.generations import new_id
from dogpile.cache.ports import THREAD_PORTS, run_now
from dogpile.cache.records import note
from dogpile.cache.testing import FakeClock

Create = Callable[[], int]


class TestGenerations:
    def test_two_who_miss_a_record_agree_on_one(self, connect: Any) -> None:
        one, other = connect(LossyServer).storage, connect(LossyServer).storage
        found = [NO_VALUE]  # both have read before either has written

        marks = [
            run_now(note(THREAD_PORTS, each, [RECORD], found, each.shared.written))
            for each in (one, other)
        ]

        assert marks[0] == marks[1]
        assert one.marks.known([RECORD]) == other.marks.known([RECORD])

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


def test_ids_are_used_once() -> None:
    ids = {new_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert not any("." in each for each in ids)
