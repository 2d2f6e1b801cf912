"""What follows a miss or a stale hit: who creates, who is served what meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from dogpile.cache import NO_VALUE, CacheRegion
from dogpile.cache.exception import (
    CreationCycleError,
    CreationTimeout,
    CreatorTimeout,
)
from dogpile.cache.testing import FakeClock

Create = Callable[[], int]

# Real seconds after which something must be wrong.
PATIENCE = 10.0


class Gate:
    """A creator that ends when the test says so."""

    def __init__(self, payload: Any = "created") -> None:
        self.payload = payload
        self.began = threading.Event()
        self.end = threading.Event()

    def __call__(self) -> Any:
        self.began.set()
        assert self.end.wait(PATIENCE)
        return self.payload

    def open(self, region: CacheRegion) -> None:
        """Let it end, and wait until its value is stored."""
        self.end.set()
        settle(region)


def settle(region: CacheRegion) -> None:
    """Wait until nothing is created in the background any more."""
    assert region.storage.pending.wait(PATIENCE)


def fail() -> None:
    raise LookupError("of the creator")


class TestClassic:
    """``grace=None``: the winner creates, everybody else gets the old value."""

    def test_the_winner_gets_the_new_value(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        region.put("key", "old")
        clock.advance(60)

        value = region.get_or_create("key", lambda: "new")

        assert value == "new"

    def test_the_others_get_the_old_one_at_once(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        region.put("key", "old")
        clock.advance(1e6)
        seen = []

        def create() -> str:
            seen.append(region.get_or_create("key", fail))
            seen.append(region.get_or_create_multi(["key"], lambda *keys: fail()))
            return "new"

        region.get_or_create("key", create)

        assert seen == ["old", ["old"]]

    def test_the_winners_error_is_its_own(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        region.put("key", "old")
        clock.advance(60)

        for _ in range(2):
            with pytest.raises(LookupError):
                region.get_or_create("key", fail)

        assert region.get("key") == "old"

    def test_with_no_grace_nobody_gets_the_old_one(
        self, make_each: Any, clock: FakeClock
    ) -> None:
        region = make_each(expiration_time=60, grace=0)
        region.put("key", "old")
        clock.advance(60)

        with pytest.raises(LookupError):
            region.get_or_create("key", fail)

        assert region.get_or_create("key", lambda: "new") == "new"


class TestGrace:
    """``grace=n``: for that long the old value is served while one refreshes."""

    @pytest.fixture
    def region(self, make_each: Any, clock: FakeClock) -> CacheRegion:
        region: CacheRegion = make_each(expiration_time=60, grace=30, retry_after=5)
        region.put("key", "old")
        clock.advance(60)
        return region

    def test_everybody_gets_the_old_value_at_once(self, region: CacheRegion) -> None:
        gate = Gate("new")

        values = [region.get_or_create("key", gate) for _ in range(3)]
        gate.open(region)

        assert values == ["old"] * 3
        assert region.get_or_create("key", fail) == "new"

    def test_one_creation_is_under_way(self, region: CacheRegion) -> None:
        gate = Gate("new")

        region.get_or_create("key", gate)
        assert gate.began.wait(PATIENCE)
        locked = region.key_is_locked("key")
        value = region.get_or_create("key", fail)
        gate.open(region)

        assert (locked, value) == (True, "old")
        assert not region.key_is_locked("key")

    def test_past_the_grace_the_caller_waits(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        clock.advance(30)

        assert region.get_or_create("key", lambda: "new") == "new"

    def test_a_failed_refresh_leaves_the_old_value(self, region: CacheRegion) -> None:
        value = region.get_or_create("key", fail)
        settle(region)

        assert value == "old"
        assert region.get("key") == "old"

    def test_after_a_failure_it_is_tried_again_a_little_later(
        self, region: CacheRegion, clock: FakeClock, create: Create
    ) -> None:
        region.get_or_create("key", fail)
        settle(region)

        at_once = region.get_or_create("key", create)
        settle(region)
        clock.advance(4.5)
        soon = region.get_or_create("key", create)
        settle(region)
        clock.advance(0.5)
        later = region.get_or_create("key", create)
        settle(region)

        assert (at_once, soon, later) == ("old", "old", "old")
        assert region.get_or_create("key", create) == 1

    def test_many_failures_are_counted(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        for _ in range(3):
            region.get_or_create("key", fail)
            settle(region)
            clock.advance(5)

        value = region.get_value_metadata("key")
        assert value is not None
        assert value.payload == "old"
        assert value.metadata["f"][0] == 3

    def test_at_the_end_of_the_grace_the_error_is_told(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        region.get_or_create("key", fail)
        settle(region)
        clock.advance(30)

        with pytest.raises(LookupError):
            region.get_or_create("key", fail)

    def test_a_clock_that_moves_back_keeps_nobody_from_trying(
        self, region: CacheRegion, clock: FakeClock, create: Create
    ) -> None:
        region.get_or_create("key", fail)
        settle(region)

        clock.jump(-3600)
        region.get_or_create("key", create)
        settle(region)

        assert region.get("key") == 1

    def test_the_errors_go_to_the_events(self, region: CacheRegion) -> None:
        seen = []
        region.on("create_failed", lambda event: seen.append(event.details["error"]))

        region.get_or_create("key", fail)
        settle(region)

        assert [type(error) for error in seen] == [LookupError]

    def test_many_keys_are_refreshed_in_one_creation(self, region: CacheRegion) -> None:
        region.put("other", "old", expiration_time=0)
        asked = []

        def create(*keys: str) -> list[str]:
            asked.append(sorted(keys))
            return ["new"] * len(keys)

        values = region.get_or_create_multi(["key", "other"], create)
        settle(region)

        assert values == ["old", "old"]
        assert asked == [["key", "other"]]
        assert region.get_multi(["key", "other"]) == ["new", "new"]

    def test_of_many_keys_only_the_missing_ones_are_waited_for(
        self, region: CacheRegion
    ) -> None:
        values = region.get_or_create_multi(
            ["key", "missing"], lambda *keys: ["new"] * len(keys)
        )
        settle(region)

        assert values == ["old", "new"]
        assert region.get_multi(["key", "missing"]) == ["new", "new"]

    def test_a_failed_refresh_of_many_leaves_the_old_values(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        asked = []

        def create(*keys: str) -> list[str]:
            asked.append(keys)
            raise LookupError

        for _ in range(2):
            assert region.get_or_create_multi(["key"], create) == ["old"]
            settle(region)
        clock.advance(5)
        region.get_or_create_multi(["key"], create)
        settle(region)

        assert asked == [("key",), ("key",)]

    def test_what_was_put_meanwhile_stays(self, region: CacheRegion) -> None:
        gate = Gate("created before")
        region.get_or_create("key", gate)
        assert gate.began.wait(PATIENCE)

        region.put("key", "put meanwhile")
        gate.open(region)

        assert region.get("key") == "put meanwhile"

    def test_what_failed_does_not_bring_back_what_was_deleted(
        self, region: CacheRegion
    ) -> None:
        def delete_and_fail() -> None:
            region.delete("key")
            fail()

        region.get_or_create("key", delete_and_fail)
        settle(region)

        assert region.get("key") is NO_VALUE

    def test_closing_waits_for_the_refresh(self, region: CacheRegion) -> None:
        gate = Gate("new")
        region.get_or_create("key", gate)
        assert gate.began.wait(PATIENCE)

        gate.end.set()
        region.close()

        assert region.get("key") == "new"

    def test_the_refresh_sees_the_callers_context(self, region: CacheRegion) -> None:
        import contextvars

        tenant = contextvars.ContextVar[str]("tenant")
        tenant.set("of the caller")

        region.get_or_create("key", tenant.get)
        settle(region)

        assert region.get("key") == "of the caller"

    def test_a_creator_of_another_key_is_not_in_the_way(
        self, region: CacheRegion
    ) -> None:
        def create_outer() -> Any:
            # The refresh is no part of this creation.
            return region.get_or_create("key", lambda: "new")

        value = region.get_or_create("outer", create_outer)
        settle(region)

        assert value == "old"
        assert region.get("key") == "new"


class TestSoftTimeout:
    """The winner waits a little for the new value."""

    @pytest.fixture
    def region(self, make_each: Any, clock: FakeClock) -> CacheRegion:
        region: CacheRegion = make_each(expiration_time=60, grace=30, soft_timeout=2)
        region.put("key", "old")
        clock.advance(60)
        return region

    def test_what_is_quick_is_waited_for(self, region: CacheRegion) -> None:
        value = region.get_or_create("key", lambda: "new")

        assert value == "new"

    def test_what_is_slow_is_not(self, region: CacheRegion, clock: FakeClock) -> None:
        gate = Gate("new")
        values: list[Any] = []
        thread = threading.Thread(
            target=lambda: values.append(region.get_or_create("key", gate)),
            daemon=True,
        )

        thread.start()
        assert gate.began.wait(PATIENCE)
        clock.wait_for_sleepers(1)
        clock.advance(2)
        thread.join(PATIENCE)
        gate.open(region)

        assert values == ["old"]
        assert region.get("key") == "new"

    def test_what_fails_gives_the_old_value(self, region: CacheRegion) -> None:
        assert region.get_or_create("key", fail) == "old"

    def test_no_value_may_be_the_new_value(self, region: CacheRegion) -> None:
        value = region.get_or_create("key", lambda: NO_VALUE)

        assert value is NO_VALUE
        assert region.get("key") == "old"


class TestHardTimeout:
    """A creation takes no longer than that; what comes late is refused."""

    def run(
        self, region: CacheRegion, clock: FakeClock, call: Callable[[], Any]
    ) -> BaseException:
        caught: list[BaseException] = []

        def run() -> None:
            with pytest.raises(CreatorTimeout) as info:
                call()
            caught.append(info.value)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        clock.wait_for_sleepers(1)
        clock.advance(3)
        thread.join(PATIENCE)
        (error,) = caught
        return error

    @pytest.fixture
    def region(self, make_each: Any) -> CacheRegion:
        made: CacheRegion = make_each(expiration_time=60, hard_timeout=3)
        return made

    def test_what_is_quick_comes_back(self, region: CacheRegion) -> None:
        assert region.get_or_create("key", lambda: "new") == "new"
        assert region.get("key") == "new"

    def test_an_error_arrives_as_it_is(self, region: CacheRegion) -> None:
        with pytest.raises(LookupError, match="of the creator"):
            region.get_or_create("key", fail)

    def test_stop_iteration_arrives_as_itself(self, region: CacheRegion) -> None:
        def stop() -> None:
            raise StopIteration

        with pytest.raises(StopIteration):
            region.get_or_create("key", stop)

    def test_what_is_late_is_an_error(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        gate = Gate("late")

        error = self.run(region, clock, lambda: region.get_or_create("key", gate))
        gate.end.set()

        assert isinstance(error, (CreationTimeout, TimeoutError))
        assert "Gate" in str(error)
        assert "3 s" in str(error)

    def test_what_is_late_is_not_stored(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        gate = Gate("late")

        self.run(region, clock, lambda: region.get_or_create("key", gate))
        gate.end.set()

        assert region.get("key") is NO_VALUE
        assert not region.key_is_locked("key")
        assert region.get_or_create("key", lambda: "new") == "new"

    def test_many_have_one_time(self, region: CacheRegion, clock: FakeClock) -> None:
        gate = Gate(["late", "late"])

        error = self.run(
            region,
            clock,
            lambda: region.get_or_create_multi(["a", "b"], lambda *keys: gate()),
        )
        gate.end.set()

        assert "test_many_have_one_time" in str(error)
        assert region.get_multi(["a", "b"]) == [NO_VALUE, NO_VALUE]

    def test_within_the_grace_the_old_value_is_served(
        self, make_each: Any, clock: FakeClock
    ) -> None:
        region = make_each(expiration_time=60, grace=30, hard_timeout=3)
        region.put("key", "old")
        clock.advance(60)
        gate = Gate("late")
        seen = []
        region.on("create_failed", lambda event: seen.append(event.details["error"]))

        value = region.get_or_create("key", gate)
        assert gate.began.wait(PATIENCE)
        clock.wait_for_sleepers(1)
        clock.advance(3)
        settle(region)
        gate.end.set()

        assert value == "old"
        assert [type(error) for error in seen] == [CreatorTimeout]
        assert region.get("key") == "old"


class TestEarly:
    """Before it expires one caller may refresh it in the background."""

    @pytest.fixture
    def region(self, make_each: Any, clock: FakeClock) -> CacheRegion:
        region: CacheRegion = make_each(expiration_time=60, early=1)

        def create_slowly() -> str:
            clock.advance(5)
            return "old"

        region.get_or_create("key", create_slowly)
        return region

    def test_the_value_tells_what_it_took(self, region: CacheRegion) -> None:
        value = region.get_value_metadata("key")

        assert value is not None
        assert value.metadata["d"] == 5

    @pytest.mark.parametrize(("draw", "after"), [(0.99, "new"), (0.01, "old")])
    def test_a_draw_decides_it(
        self,
        region: CacheRegion,
        clock: FakeClock,
        monkeypatch: pytest.MonkeyPatch,
        draw: float,
        after: str,
    ) -> None:
        monkeypatch.setattr("random.random", lambda: draw)
        clock.advance(50)

        value = region.get_or_create("key", lambda: "new")
        settle(region)

        assert value == "old"
        assert region.get("key") == after

    def test_many_are_refreshed_too(
        self,
        region: CacheRegion,
        clock: FakeClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("random.random", lambda: 0.99)
        clock.advance(50)

        values = region.get_or_create_multi(["key"], lambda key: ["new"])
        settle(region)

        assert values == ["old"]
        assert region.get("key") == "new"

    def test_far_from_its_expiry_nothing_is_drawn(
        self, region: CacheRegion, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("random.random", lambda: 0.99)

        value = region.get_or_create("key", fail)
        settle(region)

        assert value == "old"

    def test_a_failed_refresh_leaves_the_value(
        self,
        region: CacheRegion,
        clock: FakeClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("random.random", lambda: 0.99)
        clock.advance(50)

        value = region.get_or_create("key", fail)
        settle(region)

        assert (value, region.get("key")) == ("old", "old")


class TestJitter:
    def test_lifetimes_are_shortened_by_a_share(
        self,
        make_each: Any,
        clock: FakeClock,
        create: Create,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        region = make_each(expiration_time=100, jitter=0.5)
        monkeypatch.setattr("random.random", lambda: 0.5)
        region.get_or_create("key", create)

        clock.advance(74)
        young = region.get_or_create("key", create)
        clock.advance(1)
        old = region.get_or_create("key", create)

        assert (young, old) == (1, 2)

    def test_what_never_expires_has_no_jitter(
        self, make_each: Any, clock: FakeClock, create: Create
    ) -> None:
        region = make_each(jitter=1)
        region.get_or_create("key", create)

        clock.advance(1e9)

        assert region.get_or_create("key", create) == 1


class TestCycles:
    def test_a_creation_that_needs_itself_ends_at_once(
        self, region: CacheRegion
    ) -> None:
        def create() -> Any:
            return region.get_or_create("key", create)

        with pytest.raises(CreationCycleError) as caught:
            region.get_or_create("key", create)

        assert caught.value.chain == ("key", "key")
        assert not region.key_is_locked("key")

    def test_the_error_tells_the_chain(self, region: CacheRegion) -> None:
        def one() -> Any:
            return region.get_or_create("two", two)

        def two() -> Any:
            return region.get_or_create("three", three)

        def three() -> Any:
            return region.get_or_create("one", one)

        with pytest.raises(CreationCycleError, match="'one' -> 'two' -> 'three'"):
            region.get_or_create("one", one)

    def test_a_creation_of_many_may_not_need_its_own(self, region: CacheRegion) -> None:
        def create(*keys: str) -> Any:
            return [region.get_or_create("b", fail), "a"]

        with pytest.raises(CreationCycleError):
            region.get_or_create_multi(["a", "b"], create)

        assert not region.key_is_locked("a")

    def test_a_region_and_another_may_have_the_same_key(
        self, make: Any, region: CacheRegion
    ) -> None:
        other = make("memory")

        value = region.get_or_create(
            "key", lambda: other.get_or_create("key", lambda: "inner")
        )

        assert value == "inner"


class TestRunner:
    """The 1.x ``async_creation_runner``: handed the mutex, which it releases."""

    @pytest.fixture
    def calls(self) -> list[tuple[Any, ...]]:
        return []

    @pytest.fixture
    def region(
        self, make_each: Any, clock: FakeClock, calls: list[tuple[Any, ...]]
    ) -> CacheRegion:
        region: CacheRegion = make_each(
            expiration_time=60, async_creation_runner=lambda *call: calls.append(call)
        )
        region.put("key", "old")
        clock.advance(60)
        return region

    def test_it_is_given_what_it_needs(
        self, region: CacheRegion, calls: list[tuple[Any, ...]]
    ) -> None:
        def create() -> str:
            return "new"

        value = region.get_or_create("key", create)

        ((given_region, key, creator, mutex),) = calls
        assert value == "old"
        assert (given_region, key, creator()) == (region, "key", "new")
        assert mutex.locked()
        mutex.release()

    def test_while_it_is_at_it_all_get_the_old_value(
        self, region: CacheRegion, calls: list[tuple[Any, ...]]
    ) -> None:
        values = [region.get_or_create("key", fail) for _ in range(3)]

        assert values == ["old"] * 3
        assert len(calls) == 1
        assert region.key_is_locked("key")

    def test_what_it_stores_is_the_new_value(
        self, region: CacheRegion, calls: list[tuple[Any, ...]]
    ) -> None:
        region.get_or_create("key", lambda: "new")

        ((given_region, key, creator, mutex),) = calls
        given_region.set(key, creator())
        mutex.release()

        assert region.get_or_create("key", fail) == "new"
        assert not region.key_is_locked("key")

    def test_who_stores_nothing_is_asked_again(
        self, region: CacheRegion, calls: list[tuple[Any, ...]]
    ) -> None:
        region.get_or_create("key", fail)
        calls[0][3].release()

        region.get_or_create("key", fail)

        assert len(calls) == 2

    def test_a_missing_value_is_created_in_the_usual_way(
        self, region: CacheRegion, calls: list[tuple[Any, ...]]
    ) -> None:
        assert region.get_or_create("other", lambda: "new") == "new"
        assert calls == []

    def test_the_creator_has_its_arguments(
        self, region: CacheRegion, calls: list[tuple[Any, ...]]
    ) -> None:
        region.get_or_create("key", max, creator_args=((1, 2), {}))

        ((_, _, creator, mutex),) = calls
        mutex.release()
        assert creator() == 2


class TestWarnings:
    def test_a_value_that_cannot_be_stored_is_returned(self, make: Any) -> None:
        region = make("memory_pickle")

        def create_unpicklable() -> Any:
            return lambda: "secret"

        with pytest.warns(RuntimeWarning, match="create_unpicklable"):
            value = region.get_or_create("key", create_unpicklable)
        again = region.get_or_create("key", create_unpicklable)

        assert (value(), again()) == ("secret", "secret")
        assert region.get("key") is NO_VALUE

    def test_many_that_cannot_be_stored_are_returned(self, make: Any) -> None:
        region = make("memory_pickle")

        def create_some(*keys: str) -> list[Any]:
            return [threading.Lock() if key == "bad" else key for key in keys]

        with pytest.warns(RuntimeWarning, match="create_some"):
            bad, good = region.get_or_create_multi(["bad", "good"], create_some)

        assert not bad.locked()
        assert good == "good"
        assert region.get_multi(["bad", "good"]) == [NO_VALUE, "good"]

    def test_each_decorated_function_is_warned_of(self, make: Any) -> None:
        region: CacheRegion = make("memory_pickle")

        @region.cache_on_arguments()
        def one_bad() -> Any:
            return threading.Lock()

        @region.cache_on_arguments()
        def another_bad() -> Any:
            return threading.Lock()

        with pytest.warns(RuntimeWarning, match="one_bad"):
            one_bad()
        with pytest.warns(RuntimeWarning, match="another_bad"):
            another_bad()
        one_bad()
