"""Nothing that was created before a write is stored, or handed out, after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from crowd import (
    PATIENCE,
    SHARED,
    Creator,
    Interrupting,
    Maker,
    clock_of,
    error,
    never,
    pass_until_done,
    race,
    result,
    results,
    settle,
    start,
    wait_until,
)

from dogpile.cache import NO_VALUE, CacheRegion, Creation
from dogpile.cache.testing import FakeClock


class Write(NamedTuple):
    """What voids a creation, and what is stored of the key after it."""

    act: Callable[[CacheRegion], Any]
    stored: Any = NO_VALUE
    #: The lease of the creation that is under way is not touched.
    leaves_lease: bool = False

    def else_(self, created: Any) -> Any:
        """Return what is found after it, where a creator returns that."""
        return created if self.stored is NO_VALUE else self.stored


WRITES = {
    "put": Write(lambda region: region.put("key", "put"), "put"),
    "put_multi": Write(lambda r: r.put_multi({"other": 1, "key": "put"}), "put"),
    "delete": Write(lambda region: region.delete("key")),
    "delete_multi": Write(lambda region: region.delete_multi(["other", "key"])),
    "invalidate": Write(lambda region: region.invalidate(), leaves_lease=True),
    "invalidate softly": Write(
        lambda region: region.invalidate(hard=False), leaves_lease=True
    ),
    "invalidate a tag": Write(
        lambda region: region.invalidate_tags("tag"), leaves_lease=True
    ),
}


@pytest.fixture(params=WRITES)
def write(request: pytest.FixtureRequest) -> Write:
    """Return a write, one after the other."""
    return WRITES[request.param]


def ask(region: CacheRegion, creator: Any) -> Any:
    """Ask for the key; what is created bears the tag."""
    return region.get_or_create("key", creator, tags=("tag",))


class TestInOneProcess:
    def test_a_creation_begun_before_is_not_stored(
        self, make: Maker, kind: str, write: Write
    ) -> None:
        region = make(kind)
        creator = Creator("begun before")

        one = start(ask, region, creator.plain)
        creator.await_call()
        write.act(region)
        creator.finish()

        assert result(one) == "begun before"
        assert region.get("key") == write.stored
        assert ask(region, lambda: "next") == write.else_("next")

    def test_who_asks_after_it_gets_nothing_older(
        self, make: Maker, kind: str, write: Write
    ) -> None:
        region = make(kind)
        before, after = Creator("begun before"), Creator("begun after")
        after.finish()

        one = start(ask, region, before.plain)
        before.await_call()
        write.act(region)
        other = start(ask, region, after.plain)
        if write.stored is NO_VALUE:
            # It creates at once, or waits for the lease that the first one has.
            wait_until(lambda: after.calls or clock_of(region).sleepers)
        before.finish()
        pass_until_done(clock_of(region), [one, other])

        assert result(one) == "begun before"
        assert result(other) == write.else_("begun after")

    def test_the_long_way_is_no_other(
        self, make: Maker, kind: str, write: Write
    ) -> None:
        region = make(kind)
        began, finish = Creator(), Creator()

        def creator(creation: Creation) -> Any:
            began.finish()
            began()
            return finish() if not creation.cancelled else None

        one = start(ask, region, creator)
        finish.await_call()
        write.act(region)
        finish.finish()

        assert result(one) == "new"
        assert region.get("key") == write.stored

    def test_a_creator_is_told_that_it_may_stop(
        self, make: Maker, kind: str, write: Write
    ) -> None:
        region = make(kind)
        told: list[bool] = []
        wait = Creator()

        def creator(creation: Creation) -> Any:
            told.append(creation.cancelled)
            wait()
            told.append(creation.cancelled)

        one = start(ask, region, creator)
        wait.await_call()
        write.act(region)
        wait.finish()
        result(one)

        assert told == [False, True]

    def test_a_refresh_begun_before_is_not_stored(
        self, make: Maker, kind: str, write: Write
    ) -> None:
        region = make(kind, expiration_time=60, grace=30)
        ask(region, lambda: "old")
        clock_of(region).advance(61)
        creator = Creator("begun before")

        assert ask(region, creator.plain) == "old"
        creator.await_call()
        write.act(region)
        creator.finish()
        settle(region)

        assert region.get("key") == write.stored

    def test_a_failing_refresh_does_not_keep_what_was_replaced(
        self, make: Maker, kind: str, write: Write
    ) -> None:
        region = make(kind, expiration_time=60, grace=30)
        ask(region, lambda: "old")
        clock_of(region).advance(61)
        creator = Creator(ValueError("broken"))

        assert ask(region, creator.plain) == "old"
        creator.await_call()
        write.act(region)
        creator.finish()
        settle(region)

        assert region.get("key") == write.stored

    def test_many_created_at_once_are_stored_but_for_that_one(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)
        creator = Creator(["begun before"] * 3)

        many = start(
            region.get_or_create_multi, ["a", "key", "z"], lambda *keys: creator()
        )
        creator.await_call()
        region.put("key", "put")
        creator.finish()

        assert result(many) == ["begun before"] * 3
        assert region.get_multi(["a", "key", "z"]) == [
            "begun before",
            "put",
            "begun before",
        ]

    def test_many_created_before_an_invalidation_are_not_stored(
        self, make: Maker, kind: str, write: Write
    ) -> None:
        region = make(kind, tags=("tag",))
        creator = Creator(["begun before"])

        many = start(region.get_or_create_multi, ["key"], lambda *keys: creator())
        creator.await_call()
        write.act(region)
        creator.finish()

        assert result(many) == ["begun before"]
        assert region.get("key") == write.stored

    def test_an_invalidation_of_a_region_reaches_its_namespaces(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)
        inner = region.namespace("inner")
        creator = Creator("begun before")

        one = start(inner.get_or_create, "key", creator.plain)
        creator.await_call()
        region.invalidate()
        creator.finish()

        assert result(one) == "begun before"
        assert inner.get("key") is NO_VALUE

    def test_a_put_of_a_decorated_function_voids_its_creation(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)
        creator = Creator("begun before")

        @region.cache_on_arguments()
        def load(number: int) -> Any:
            return creator()

        one = start(load, 7)
        creator.await_call()
        load.set("put", 7)  # type: ignore[attr-defined]  # of the decorator
        creator.finish()

        assert result(one) == "begun before"
        assert load(7) == "put"

    def test_a_creation_that_was_taken_over_is_voided_as_well(
        self, make: Maker, kind: str, write: Write
    ) -> None:
        region = make(kind, lease_time=10)
        late, heir = Creator("late"), Creator("heir")

        first = start(ask, region, late.plain)
        late.await_call()
        second = start(ask, region, heir.plain)
        clock_of(region).wait_for_sleepers(1, PATIENCE)
        clock_of(region).advance(10)
        heir.await_call()
        write.act(region)
        late.finish()
        heir.finish()

        assert results([first, second]) == ["late", "heir"]
        assert region.get("key") == write.stored


class TestInvalidations:
    """Records are read, changed and written: none may undo another."""

    def test_a_soft_one_does_not_undo_a_hard_one(self, make: Maker, kind: str) -> None:
        region = make(kind, expiration_time=60, grace=30, generation_ttl=0)

        for number in range(20):
            region.put("key", "old")
            race(region.invalidate, lambda: region.invalidate(hard=False))
            assert region.get_or_create("key", lambda number=number: number) == number

    @pytest.mark.parametrize("kind", ["sqlite", "dbm", "dictionary", "mutex"])
    @pytest.mark.parametrize("others", [True, False])
    def test_a_hard_one_that_comes_between_is_kept(
        self, make: Maker, kind: str, others: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        region = make(kind, expiration_time=60, grace=30, generation_ttl=0)
        other = region
        if others and kind in SHARED:
            other = make(kind, expiration_time=60, grace=30, generation_ttl=0)
        region.put("key", "old")
        between = [other.invalidate]
        made = iter(range(100))

        def new_id() -> str:
            if between:
                between.pop()()
            return f"id{next(made)}"

        with monkeypatch.context() as patch:
            patch.setattr("dogpile.cache.operations.new_id", new_id)
            region.invalidate(hard=False)

        assert not between
        assert region.get_or_create("key", lambda: "new") == "new"

    def test_two_soft_ones_at_once_are_both_made(self, make: Maker, kind: str) -> None:
        region = make(kind, expiration_time=60, generation_ttl=0)
        region.put("key", "old")

        race(*[lambda: region.invalidate(hard=False)] * 4)

        assert region.get_or_create("key", lambda: "new") == "new"

    def test_a_put_beside_an_invalidation_is_there_for_all_or_for_none(
        self, make: Maker, kind: str
    ) -> None:
        clock = Interrupting()
        region = make(kind, clock=clock, generation_ttl=0)
        region.put("key", "before")

        clock.between = region.invalidate
        region.put("key", "beside")

        found = {
            region.get("key"),
            region.get_multi(["key"])[0],
            region.get_or_create("key", lambda: NO_VALUE),
        }
        assert len(found) == 1


@pytest.mark.parametrize("kind", SHARED)
class TestAmongRegionsThatShareAFile:
    """Each has flights of its own, as in a process of its own."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    def test_their_write_voids_our_creation(
        self, make: Maker, kind: str, write: Write, clock: FakeClock
    ) -> None:
        ours = make(kind, clock=clock, generation_ttl=0)
        theirs = make(kind, clock=clock, generation_ttl=0)
        creator = Creator("begun before")

        one = start(ask, ours, creator.plain)
        creator.await_call()
        write.act(theirs)
        creator.finish()

        assert result(one) == "begun before"
        assert ours.get("key") == write.stored
        assert theirs.get("key") == write.stored

    @pytest.mark.parametrize(
        "write", [name for name in WRITES if name != "invalidate softly"], indirect=True
    )
    def test_who_asks_after_their_write_gets_nothing_older(
        self, make: Maker, kind: str, write: Write, clock: FakeClock
    ) -> None:
        ours = make(kind, clock=clock, generation_ttl=0)
        theirs = make(kind, clock=clock, generation_ttl=0)
        before, after = Creator("begun before"), Creator("begun after")
        after.finish()

        one = start(ask, ours, before.plain)
        before.await_call()
        write.act(theirs)
        others = [start(ask, region, after.plain) for region in (ours, theirs)]
        if write.leaves_lease:
            # Ours waits for the creation that began before, theirs for its lease.
            clock.wait_for_sleepers(2, PATIENCE)
        else:
            wait_until(lambda: clock.sleepers or any(each.done() for each in others))
        before.finish()
        pass_until_done(clock, [one, *others])

        assert result(one) == "begun before"
        assert results(others) == [write.else_("begun after")] * 2

    def test_one_of_them_creates(
        self, make: Maker, kind: str, clock: FakeClock
    ) -> None:
        regions = [make(kind, clock=clock) for _ in range(4)]
        creator = Creator("value")

        crowd = [
            start(region.get_or_create, "key", creator.plain)
            for region in regions
            for _ in range(4)
        ]
        creator.await_call()
        clock.wait_for_sleepers(15, PATIENCE)
        creator.finish()
        pass_until_done(clock, crowd)

        assert results(crowd) == ["value"] * 16
        assert creator.calls == 1

    def test_all_of_them_are_told_the_error(
        self, make: Maker, kind: str, clock: FakeClock
    ) -> None:
        regions = [make(kind, clock=clock) for _ in range(4)]
        creator = Creator(ValueError("no such page", 404))

        crowd = [
            start(region.get_or_create, "key", creator.plain)
            for region in regions
            for _ in range(4)
        ]
        creator.await_call()
        clock.wait_for_sleepers(15, PATIENCE)
        creator.finish()
        pass_until_done(clock, crowd)
        told = [error(each) for each in crowd]

        assert {repr(each) for each in told} == {"ValueError('no such page', 404)"}
        assert len({id(each) for each in told}) == 16
        assert creator.calls == 1

    def test_the_stale_value_is_served_while_another_creates(
        self, make: Maker, kind: str, clock: FakeClock
    ) -> None:
        ours = make(kind, clock=clock, expiration_time=60)
        theirs = make(kind, clock=clock, expiration_time=60)
        ours.put("key", "old")
        clock.advance(61)
        creator = Creator("new")

        one = start(ours.get_or_create, "key", creator.plain)
        creator.await_call()

        assert theirs.get_or_create("key", never) == "old"
        creator.finish()
        assert result(one) == "new"
        assert theirs.get_or_create("key", never) == "new"

    def test_what_holds_no_lease_any_more_is_refused(
        self, make: Maker, kind: str, clock: FakeClock
    ) -> None:
        ours = make(kind, clock=clock, lease_time=10)
        theirs = make(kind, clock=clock, lease_time=10)
        late, heir = Creator("late"), Creator("heir")

        one = start(ours.get_or_create, "key", late.plain)
        late.await_call()
        clock.advance(10)
        other = start(theirs.get_or_create, "key", heir.plain)
        heir.await_call()
        heir.finish()

        assert result(other) == "heir"
        late.finish()
        assert result(one) == "late"
        assert ours.get("key") == "heir"

    def test_many_keys_are_shared_out(
        self, make: Maker, kind: str, clock: FakeClock
    ) -> None:
        ours = make(kind, clock=clock)
        theirs = make(kind, clock=clock)
        first, second = Creator(["a", "b"]), Creator(["c"])
        asked: list[tuple[str, ...]] = []

        def create(creator: Creator, *keys: str) -> Any:
            asked.append(keys)
            return creator()

        one = start(
            ours.get_or_create_multi, ["a", "b"], lambda *keys: create(first, *keys)
        )
        first.await_call()
        other = start(
            theirs.get_or_create_multi,
            ["c", "b", "a"],
            lambda *keys: create(second, *keys),
        )
        second.await_call()
        second.finish()
        clock.wait_for_sleepers(1, PATIENCE)
        first.finish()
        pass_until_done(clock, [one, other])

        assert result(one) == ["a", "b"]
        assert result(other) == ["c", "b", "a"]
        assert asked == [("a", "b"), ("c",)]
