"""One creation in the threads of a process, whatever becomes of it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from crowd import (
    PATIENCE,
    SHARED,
    Creator,
    Maker,
    clock_of,
    error,
    errors,
    never,
    pass_until_done,
    result,
    results,
    settle,
    start,
    wait_until,
)

from dogpile.cache import NO_VALUE, CacheRegion, ProxyBackend
from dogpile.cache.clock import Clock
from dogpile.cache.exception import (
    BackendError,
    CreationCycleError,
    CreatorTimeout,
)
from dogpile.cache.lease import Renewer
from dogpile.cache.lock import Lock, NeedRegenerationException
from dogpile.cache.testing import FakeClock
from dogpile.cache.workers import Workers


class TestOneCreation:
    def test_fifty_threads_call_once(self, make: Maker, kind: str) -> None:
        region = make(kind)
        creator = Creator("value")

        crowd = [start(region.get_or_create, "key", creator.plain) for _ in range(50)]
        clock_of(region).wait_for_sleepers(49, PATIENCE)
        creator.finish()

        assert results(crowd) == ["value"] * 50
        assert creator.calls == 1
        assert region.get("key") == "value"

    def test_fifty_threads_call_once_by_the_systems_clock(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind, clock=Clock())
        creator = Creator("value")
        creator.finish()
        barrier = threading.Barrier(50)

        def call() -> Any:
            barrier.wait(PATIENCE)
            return region.get_or_create("key", creator.plain)

        assert results([start(call) for _ in range(50)]) == ["value"] * 50
        assert creator.calls == 1

    def test_a_decorated_function_is_called_once(self, make: Maker, kind: str) -> None:
        region = make(kind)
        creator = Creator("value")

        @region.cache_on_arguments()
        def load(number: int) -> Any:
            return creator()

        crowd = [start(load, 7) for _ in range(20)]
        clock_of(region).wait_for_sleepers(19, PATIENCE)
        creator.finish()

        assert results(crowd) == ["value"] * 20
        assert creator.calls == 1

    def test_keys_do_not_wait_for_each_other(self, make: Maker, kind: str) -> None:
        region = make(kind)
        slow = Creator()

        one = start(region.get_or_create, "slow", slow.plain)
        slow.await_call()

        assert result(start(region.get_or_create, "other", lambda: 1)) == 1
        slow.finish()
        assert result(one) == "new"

    def test_who_takes_the_flight_reads_once_more(self, make: Maker, kind: str) -> None:
        region = make(kind, wrap=[Interrupted])
        between = find(region)
        between.after_get = lambda: region.put("key", "put")

        assert region.get_or_create("key", never) == "put"

    def test_a_namespace_has_creations_of_its_own(self, make: Maker, kind: str) -> None:
        region = make(kind)
        inner = region.namespace("inner")
        slow = Creator()

        one = start(region.get_or_create, "key", slow.plain)
        slow.await_call()

        assert result(start(inner.get_or_create, "key", lambda: "inner")) == "inner"
        slow.finish()
        assert result(one) == "new"

    def test_a_key_is_locked_while_its_value_is_created(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)
        creator = Creator()

        one = start(region.get_or_create, "key", creator.plain)
        creator.await_call()
        during = region.key_is_locked("key")
        creator.finish()
        result(one)

        assert during
        assert not region.key_is_locked("key")


class Interrupted(ProxyBackend):
    """Calls something between a read and what follows it, once."""

    def __init__(self) -> None:
        super().__init__()
        self.after_get: Any = None

    def get(self, key: Any) -> Any:
        return self._after(super().get(key))

    def get_multi(self, keys: Any) -> Any:
        return self._after(super().get_multi(keys))

    def get_serialized(self, key: Any) -> Any:
        return self._after(super().get_serialized(key))

    def get_serialized_multi(self, keys: Any) -> Any:
        return self._after(super().get_serialized_multi(keys))

    def _after(self, found: Any) -> Any:
        act, self.after_get = self.after_get, None
        if act is not None:
            act()
        return found


def find(region: CacheRegion) -> Interrupted:
    assert isinstance(region.backend, Interrupted)
    return region.backend


class TestAFailingCreator:
    def test_it_is_called_once_and_all_are_told(self, make: Maker, kind: str) -> None:
        region = make(kind)
        failure = ValueError("no such page", 404)
        creator = Creator(failure)

        crowd = [start(region.get_or_create, "key", creator.plain) for _ in range(20)]
        clock_of(region).wait_for_sleepers(19, PATIENCE)
        creator.finish()
        told = errors(crowd)

        assert creator.calls == 1
        assert {repr(each) for each in told} == {repr(failure)}
        assert len({id(each) for each in told}) == 20
        assert sum(each is failure for each in told) == 1
        assert all(each.__cause__ is failure for each in told if each is not failure)

    def test_the_next_call_tries_again(self, make: Maker, kind: str) -> None:
        region = make(kind)
        creator = Creator(ValueError("broken"))
        creator.finish()

        with pytest.raises(ValueError, match="broken"):
            region.get_or_create("key", creator.plain)

        assert region.get("key") is NO_VALUE
        assert region.get_or_create("key", lambda: "value") == "value"

    def test_an_error_that_cannot_be_copied_is_shared(
        self, make: Maker, kind: str
    ) -> None:
        class Stubborn(Exception):
            def __new__(cls, *given: Any) -> Stubborn:
                if given == ("again",):
                    raise TypeError
                return super().__new__(cls, *given)

            def __init__(self, text: str) -> None:
                super().__init__("again")

        region = make(kind)
        failure = Stubborn("first")
        creator = Creator(failure)

        crowd = [start(region.get_or_create, "key", creator.plain) for _ in range(3)]
        clock_of(region).wait_for_sleepers(2, PATIENCE)
        creator.finish()

        assert {id(each) for each in errors(crowd)} == {id(failure)}

    def test_stop_iteration_arrives_as_itself(self, make: Maker, kind: str) -> None:
        region = make(kind)
        failure = StopIteration("drained")
        creator = Creator(failure)

        crowd = [start(region.get_or_create, "key", creator.plain) for _ in range(3)]
        clock_of(region).wait_for_sleepers(2, PATIENCE)
        creator.finish()
        told = errors(crowd)

        assert [type(each) for each in told] == [StopIteration] * 3
        assert [each.args for each in told] == [("drained",)] * 3
        assert sum(each.__cause__ is failure for each in told) == 2

    @pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
    def test_an_interrupted_leader_hands_over(
        self, make: Maker, kind: str, interrupt: type[BaseException]
    ) -> None:
        region = make(kind)
        interrupted = Creator(interrupt())
        heir = Creator("value")

        leader = start(region.get_or_create, "key", interrupted.plain)
        interrupted.await_call()
        waiters = [start(region.get_or_create, "key", heir.plain) for _ in range(3)]
        clock_of(region).wait_for_sleepers(3, PATIENCE)
        interrupted.finish()
        heir.await_call()
        heir.finish()

        assert type(error(leader)) is interrupt
        assert results(waiters) == ["value"] * 3
        assert heir.calls == 1

    def test_a_write_that_fails_takes_the_value_from_nobody(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind, wrap=[Unwritable])
        creator = Creator("value")
        seen: list[Any] = []
        region.on("backend_error", seen.append)

        crowd = [start(region.get_or_create, "key", creator) for _ in range(5)]
        clock_of(region).wait_for_sleepers(4, PATIENCE)
        creator.finish()
        with pytest.warns(RuntimeWarning, match="could not be stored"):
            found = results(crowd)

        assert found == ["value"] * 5
        assert creator.calls == 1
        assert [event.name for event in seen] == ["backend_error"]
        assert region.get("key") is NO_VALUE
        assert not region.key_is_locked("key")

    @pytest.fixture(autouse=True)
    def _forget_warnings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # It warns once for each function.
        monkeypatch.setattr("dogpile.cache.leader._warned", set())


class Unwritable(ProxyBackend):
    """Stores nothing."""

    def set(self, key: Any, value: Any) -> None:
        raise BackendError("unwritable", "put", "no room")

    def set_serialized(self, key: Any, value: bytes) -> None:
        raise BackendError("unwritable", "put", "no room")


class TestTakingOver:
    def test_a_waiter_takes_over_after_the_lease_time(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind, lease_time=10)
        late, heir = Creator("late"), Creator("heir")

        leader = start(region.get_or_create, "key", late.plain)
        late.await_call()
        waiters = [start(region.get_or_create, "key", heir.plain) for _ in range(5)]
        clock_of(region).wait_for_sleepers(5, PATIENCE)
        clock_of(region).advance(10)
        heir.await_call()
        clock_of(region).wait_for_sleepers(4, PATIENCE)
        heir.finish()

        assert results(waiters) == ["heir"] * 5
        assert heir.calls == 1
        late.finish()
        assert result(leader) == "late"
        assert region.get("key") == "heir"

    def test_who_ends_in_time_is_not_taken_over(self, make: Maker, kind: str) -> None:
        region = make(kind, lease_time=10)
        creator = Creator("value")

        leader = start(region.get_or_create, "key", creator.plain)
        creator.await_call()
        waiter = start(region.get_or_create, "key", never)
        clock_of(region).wait_for_sleepers(1, PATIENCE)
        clock_of(region).advance(9.9)
        creator.finish()

        assert results([leader, waiter]) == ["value", "value"]


class TestHardTimeout:
    def test_a_late_value_is_refused(self, make: Maker, kind: str) -> None:
        region = make(kind, hard_timeout=5)
        creator = Creator("late")

        crowd = [start(region.get_or_create, "key", creator.plain) for _ in range(3)]
        creator.await_call()
        clock_of(region).wait_for_sleepers(3, PATIENCE)
        clock_of(region).advance(5)
        told = errors(crowd)
        creator.finish()
        creator.await_end()

        assert [type(each) for each in told] == [CreatorTimeout] * 3
        assert creator.calls == 1
        assert region.get("key") is NO_VALUE
        assert region.get_or_create("key", lambda: "next") == "next"

    def test_a_creator_in_time_is_none_the_wiser(self, make: Maker, kind: str) -> None:
        region = make(kind, hard_timeout=5)
        creator = Creator("value")

        one = start(region.get_or_create, "key", creator.plain)
        creator.await_call()
        clock_of(region).wait_for_sleepers(1, PATIENCE)
        clock_of(region).advance(4.9)
        creator.finish()

        assert result(one) == "value"
        assert region.get("key") == "value"

    def test_its_error_is_the_callers(self, make: Maker, kind: str) -> None:
        region = make(kind, hard_timeout=5)
        creator = Creator(StopIteration("drained"))
        creator.finish()

        with pytest.raises(StopIteration, match="drained"):
            region.get_or_create("key", creator.plain)


class TestClassicDogpile:
    def test_one_creates_and_the_others_get_the_stale_value_at_once(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind, expiration_time=60)
        region.put("key", "old")
        clock_of(region).advance(61)
        creator = Creator("new")

        winner = start(region.get_or_create, "key", creator.plain)
        creator.await_call()
        crowd = [start(region.get_or_create, "key", never) for _ in range(20)]

        assert results(crowd) == ["old"] * 20
        creator.finish()
        assert result(winner) == "new"
        assert region.get_or_create("key", never) == "new"
        assert creator.calls == 1

    def test_a_creator_that_fails_leaves_the_stale_value(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind, expiration_time=60)
        region.put("key", "old")
        clock_of(region).advance(61)
        creator = Creator(ValueError("broken"))

        winner = start(region.get_or_create, "key", creator.plain)
        creator.await_call()
        other = start(region.get_or_create, "key", never)

        assert result(other) == "old"
        creator.finish()
        assert type(error(winner)) is ValueError
        assert region.get("key") == "old"
        assert region.get_or_create("key", lambda: "new") == "new"

    def test_without_grace_all_wait(self, make: Maker, kind: str) -> None:
        region = make(kind, expiration_time=60, grace=0)
        region.put("key", "old")
        clock_of(region).advance(60)
        creator = Creator("new")

        crowd = [start(region.get_or_create, "key", creator.plain) for _ in range(5)]
        clock_of(region).wait_for_sleepers(4, PATIENCE)
        creator.finish()

        assert results(crowd) == ["new"] * 5
        assert creator.calls == 1


class TestGrace:
    @pytest.fixture
    def region(self, make: Maker, kind: str) -> CacheRegion:
        """Return a region whose value has expired a second ago."""
        region = make(kind, expiration_time=60, grace=30, retry_after=3)
        region.put("key", "old")
        clock_of(region).advance(61)
        return region

    def test_all_get_the_stale_value_while_one_refresh_runs(
        self, region: CacheRegion
    ) -> None:
        creator = Creator("new")

        crowd = [start(region.get_or_create, "key", creator.plain) for _ in range(20)]
        found = results(crowd)
        creator.await_call()
        creator.finish()
        settle(region)

        assert found == ["old"] * 20
        assert creator.calls == 1
        assert region.get_or_create("key", never) == "new"

    def test_the_winner_waits_for_the_soft_timeout(self, region: CacheRegion) -> None:
        creator = Creator("new")

        winner = start(region.get_or_create, "key", creator.plain, soft_timeout=2)
        creator.await_call()
        clock_of(region).wait_for_sleepers(1, PATIENCE)
        other = start(region.get_or_create, "key", never, soft_timeout=2)

        assert result(other) == "old"
        clock_of(region).advance(2)
        assert result(winner) == "old"
        creator.finish()
        settle(region)
        assert region.get_or_create("key", never) == "new"

    def test_the_winner_gets_what_comes_within_the_soft_timeout(
        self, region: CacheRegion
    ) -> None:
        creator = Creator("new")

        winner = start(region.get_or_create, "key", creator.plain, soft_timeout=2)
        creator.await_call()
        clock_of(region).wait_for_sleepers(1, PATIENCE)
        creator.finish()

        assert result(winner) == "new"

    def test_a_failed_refresh_is_tried_again_after_a_while(
        self, region: CacheRegion
    ) -> None:
        failures: list[Any] = []
        region.on("create_failed", failures.append)
        creator = Creator(ValueError("broken"))
        creator.finish()

        assert region.get_or_create("key", creator.plain) == "old"
        settle(region)
        clock_of(region).advance(2.9)
        assert region.get_or_create("key", never) == "old"
        settle(region)
        clock_of(region).advance(0.2)
        assert region.get_or_create("key", lambda: "new") == "old"
        settle(region)

        assert region.get_or_create("key", never) == "new"
        assert len(failures) == 1

    def test_an_error_within_the_soft_timeout_is_not_told(
        self, region: CacheRegion
    ) -> None:
        creator = Creator(ValueError("broken"))
        creator.finish()

        found = region.get_or_create("key", creator.plain, soft_timeout=PATIENCE)

        assert found == "old"

    def test_when_grace_has_ended_all_wait_and_errors_are_told(
        self, region: CacheRegion
    ) -> None:
        creator = Creator(ValueError("broken"))
        creator.finish()
        region.get_or_create("key", creator.plain)
        settle(region)
        clock_of(region).advance(30)

        with pytest.raises(ValueError, match="broken"):
            region.get_or_create("key", creator.plain)
        assert region.get_or_create("key", lambda: "new") == "new"

    def test_a_refresh_is_no_part_of_what_its_caller_creates(
        self, region: CacheRegion
    ) -> None:
        refresh = Creator("new")

        def outer() -> Any:
            return region.get_or_create("key", refresh.plain)

        assert region.get_or_create("outer", outer) == "old"
        refresh.await_call()
        refresh.finish()
        settle(region)
        assert region.get_or_create("key", never) == "new"

    def test_a_refresh_with_no_thread_left_is_put_off(
        self, region: CacheRegion, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("dogpile.cache.ports.REFRESHERS", Workers(0))
            assert region.get_or_create("key", never) == "old"

        settle(region)
        assert region.get_or_create("key", lambda: "new") == "old"
        settle(region)
        assert region.get_or_create("key", never) == "new"

    def test_close_waits_for_a_refresh(self, region: CacheRegion) -> None:
        creator = Creator("new")
        region.get_or_create("key", creator.plain)
        creator.await_call()

        closing = start(region.close)
        creator.finish()

        result(closing)
        assert region.get("key") == "new"


class TestEarlyRefresh:
    def test_one_refreshes_in_the_background(
        self, make: Maker, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        region = make(kind, expiration_time=60, early=1.0)
        clock = clock_of(region)
        monkeypatch.setattr("random.random", lambda: 0.999)

        def take_long() -> str:
            clock.advance(5)
            return "old"

        region.get_or_create("key", take_long)
        clock.advance(50)
        creator = Creator("new")

        crowd = [start(region.get_or_create, "key", creator.plain) for _ in range(10)]
        found = results(crowd)
        creator.await_call()
        creator.finish()
        settle(region)

        assert found == ["old"] * 10
        assert creator.calls == 1
        assert region.get_or_create("key", never) == "new"


class TestCycles:
    def test_a_creation_that_needs_its_own_key(self, make: Maker, kind: str) -> None:
        region = make(kind)

        def create() -> Any:
            return region.get_or_create("key", create)

        with pytest.raises(CreationCycleError, match="'key' -> 'key'") as caught:
            region.get_or_create("key", create)
        assert caught.value.chain == ("key", "key")
        assert region.get_or_create("key", lambda: "value") == "value"

    def test_through_others(self, make: Maker, kind: str) -> None:
        region = make(kind)

        def first() -> Any:
            return region.get_or_create("b", second)

        def second() -> Any:
            return region.get_or_create("c", third)

        def third() -> Any:
            return region.get_or_create("a", first)

        with pytest.raises(CreationCycleError) as caught:
            region.get_or_create("a", first)
        assert caught.value.chain == ("a", "b", "c", "a")

    def test_under_a_hard_timeout(self, make: Maker, kind: str) -> None:
        region = make(kind, hard_timeout=PATIENCE)

        def create() -> Any:
            return region.get_or_create("key", create)

        with pytest.raises(CreationCycleError):
            region.get_or_create("key", create)

    def test_of_decorated_functions(self, make: Maker, kind: str) -> None:
        region = make(kind)

        @region.cache_on_arguments()
        def even(number: int) -> Any:
            return odd(number)

        @region.cache_on_arguments()
        def odd(number: int) -> Any:
            return even(number)

        with pytest.raises(CreationCycleError):
            even(1)

    @pytest.mark.parametrize("count", [2, 3, 7])
    def test_crossed_between_threads(self, make: Maker, kind: str, count: int) -> None:
        region = make(kind)
        all_lead = threading.Barrier(count)

        def create(number: int) -> Any:
            all_lead.wait(PATIENCE)
            following = (number + 1) % count
            return region.get_or_create(f"key {following}", never)

        crowd = [
            start(
                region.get_or_create,
                f"key {number}",
                lambda number=number: create(number),
            )
            for number in range(count)
        ]
        told = errors(crowd)

        assert {type(each) for each in told} == {CreationCycleError}
        assert clock_of(region).monotonic() == 0

    def test_crossed_with_a_refresh(self, make: Maker, kind: str) -> None:
        region = make(kind, expiration_time=60, grace=30)
        region.put("a", "old")
        clock_of(region).advance(61)
        both_lead = threading.Barrier(2)

        def create_a() -> Any:
            both_lead.wait(PATIENCE)
            return region.get_or_create("b", never)

        def create_b() -> Any:
            both_lead.wait(PATIENCE)
            return region.get_or_create("a", never)

        refreshed = region.get_or_create("a", create_a)
        created = region.get_or_create("b", create_b)
        settle(region)

        assert (refreshed, created) == ("old", "old")

    def test_what_many_need_is_no_cycle(self, make: Maker, kind: str) -> None:
        region = make(kind)
        shared = Creator(1)

        def need(key: str) -> Any:
            return region.get_or_create(key, lambda: 1 + both())

        def both() -> Any:
            return region.get_or_create("shared", shared.plain)

        crowd = [start(need, f"key {number}") for number in range(5)]
        shared.await_call()
        clock_of(region).wait_for_sleepers(4, PATIENCE)
        shared.finish()

        assert results(crowd) == [2] * 5
        assert shared.calls == 1

    def test_a_part_of_a_creation_may_be_waited_for_by_others(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)
        part = Creator("part")

        def whole() -> Any:
            return region.get_or_create("part", part.plain)

        one = start(region.get_or_create, "whole", whole)
        part.await_call()
        other = start(region.get_or_create, "other", whole)
        clock_of(region).wait_for_sleepers(1, PATIENCE)
        part.finish()

        assert results([one, other]) == ["part", "part"]


class TestAsyncCreationRunner:
    def test_it_creates_what_has_expired_while_all_get_the_stale_value(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind, expiration_time=60)
        asked: list[tuple[Any, ...]] = []
        region.async_creation_runner = lambda *given: asked.append(given)
        region.put("key", "old")
        clock_of(region).advance(61)
        creator = Creator("new")
        creator.finish()

        crowd = [start(region.get_or_create, "key", creator.plain) for _ in range(10)]

        assert results(crowd) == ["old"] * 10
        assert creator.calls == 0
        [(its_region, key, its_creator, mutex)] = asked
        assert (its_region, key) == (region, "key")
        region.put(key, its_creator())
        mutex.release()
        assert region.get_or_create("key", never) == "new"

    def test_without_a_value_the_caller_creates(self, make: Maker, kind: str) -> None:
        region = make(kind)
        region.async_creation_runner = never

        assert region.get_or_create("key", lambda: "value") == "value"

    def test_until_it_releases_nobody_else_is_asked(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind, expiration_time=60)
        asked: list[Any] = []
        region.async_creation_runner = lambda *given: asked.append(given[-1])
        region.put("key", "old")
        clock_of(region).advance(61)

        region.get_or_create("key", never)
        region.get_or_create("key", never)
        assert len(asked) == 1
        asked[0].release()
        region.get_or_create("key", never)
        assert len(asked) == 2

    def test_one_that_fails_has_let_go(self, make: Maker, kind: str) -> None:
        region = make(kind, expiration_time=60)

        def fail(*given: Any) -> None:
            raise ValueError("no thread left")

        region.async_creation_runner = fail
        region.put("key", "old")
        clock_of(region).advance(61)

        with pytest.raises(ValueError, match="no thread left"):
            region.get_or_create("key", never)
        assert not region.key_is_locked("key")


class TestTheLock:
    """``dogpile.cache.lock``, the rudimentary level of all this."""

    def test_a_crowd_without_a_value_creates_once(self) -> None:
        stored: list[tuple[str, float]] = []
        calls: list[int] = []
        mutex = threading.Lock()
        barrier = threading.Barrier(20)

        def read() -> tuple[str, float]:
            if not stored:
                raise NeedRegenerationException
            return stored[-1]

        def create() -> tuple[str, float]:
            calls.append(1)
            stored.append(("value", 1.0))
            return stored[-1]

        def call() -> Any:
            barrier.wait(PATIENCE)
            with Lock(mutex, create, read, None) as value:
                return value

        assert results([start(call) for _ in range(20)]) == ["value"] * 20
        assert len(calls) == 1

    def test_a_failing_async_creator_has_let_go(self) -> None:
        mutex = threading.Lock()

        def fail(mutex: Any) -> None:
            raise ValueError("no thread left")

        lock = Lock(mutex, never, lambda: ("old", 1.0), 1, fail)
        with pytest.raises(ValueError, match="no thread left"), lock:
            never()

        assert not mutex.locked()


class TestBackgroundThreads:
    def test_a_worker_whose_task_exits_leaves_its_place_to_another(
        self, make: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("threading.excepthook", lambda args: None)
        monkeypatch.setattr("dogpile.cache.ports.REFRESHERS", Workers(2))
        region = make("memory", expiration_time=60, grace=1000)
        leaving = Creator(SystemExit())
        leaving.finish()

        for number in range(5):
            region.put(number, "old")
            clock_of(region).advance(61)
            assert region.get_or_create(number, leaving.plain) == "old"
            leaving.await_call()
            settle(region)

        region.get_or_create(0, lambda: "new")
        settle(region)
        assert region.get(0) == "new"

    def test_where_no_thread_can_start_the_stale_value_is_served(
        self, make: Maker, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        region = make(kind, expiration_time=60, grace=30)
        region.put("key", "old")
        clock_of(region).advance(61)

        def refuse(thread: Any) -> None:
            raise RuntimeError("can't create new thread at interpreter shutdown")

        with monkeypatch.context() as patch:
            patch.setattr("dogpile.cache.ports.REFRESHERS", Workers(1))
            patch.setattr(threading.Thread, "start", refuse)
            found = region.get_or_create("key", never)
        settle(region)

        assert found == "old"
        assert not region.key_is_locked("key")

    def test_creators_with_a_time_limit_do_not_wait_for_each_others_threads(
        self, make: Maker, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dogpile.cache.ports.REFRESHERS", Workers(2))
        region = make(kind, hard_timeout=5)
        all_began = threading.Barrier(2)

        def create(number: int) -> Any:
            all_began.wait(PATIENCE)
            return region.get_or_create(f"part {number}", lambda: f"part {number}")

        crowd = [
            start(
                region.get_or_create, f"{number}", lambda number=number: create(number)
            )
            for number in range(2)
        ]

        assert results(crowd) == ["part 0", "part 1"]

    def test_a_worker_that_waited_leaves_no_thread_too_many(self) -> None:
        workers = Workers(1)
        done, waits = threading.Semaphore(0), Creator()

        def wait() -> None:
            workers.lend(1)
            waits()
            workers.lend(-1)
            done.release()

        for task in (wait, done.release, done.release):
            assert workers.submit(task, queue=True)
        for _ in range(2):
            assert done.acquire(timeout=PATIENCE)
        waits.finish()
        assert done.acquire(timeout=PATIENCE)

        wait_until(lambda: workers._threads == 1)

    def test_where_no_thread_can_start_values_are_created(
        self, make: Maker, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        region = make(kind)
        renewer = Renewer()

        def refuse(thread: Any) -> None:
            raise RuntimeError("can't create new thread at interpreter shutdown")

        with monkeypatch.context() as patch:
            patch.setattr("dogpile.cache.leader.RENEWER", renewer)
            patch.setattr("dogpile.cache.leader_multi.RENEWER", renewer)
            patch.setattr(threading.Thread, "start", refuse)
            assert region.get_or_create("key", lambda: "value") == "value"
            assert region.get_or_create_multi(["a"], lambda *keys: [1]) == [1]

        assert region.get_multi(["key", "a"]) == ["value", 1]
        assert renewer._thread is None


class TestRenewing:
    @pytest.mark.parametrize("kind", SHARED)
    def test_a_creation_keeps_its_lease_for_as_long_as_it_takes(
        self, make: Maker, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        renewer = Unhurried()
        monkeypatch.setattr("dogpile.cache.leader.RENEWER", renewer)
        clock = FakeClock()
        ours = make(kind, clock=clock, lease_time=9)
        theirs = make(kind, clock=clock, lease_time=9)
        creator = Creator("value")

        one = start(ours.get_or_create, "key", creator.plain)
        creator.await_call()
        for _ in range(10):
            clock.advance(4)
            renewer.renew_due()
        other = start(theirs.get_or_create, "key", never)
        clock.wait_for_sleepers(1, PATIENCE)
        creator.finish()
        pass_until_done(clock, [one, other])

        assert results([one, other]) == ["value", "value"]

    @pytest.mark.parametrize("kind", SHARED)
    def test_a_lease_that_was_voided_is_renewed_no_longer(
        self, make: Maker, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        renewer = Unhurried()
        monkeypatch.setattr("dogpile.cache.leader.RENEWER", renewer)
        region = make(kind, lease_time=9)
        creator = Creator("value")

        one = start(region.get_or_create, "key", creator.plain)
        creator.await_call()
        region.delete("key")
        clock_of(region).advance(4)
        renewer.renew_due()
        left = len(renewer._held)
        creator.finish()
        result(one)

        assert left == 0

    @pytest.mark.parametrize("kind", SHARED)
    def test_what_has_ended_is_renewed_no_longer(
        self, make: Maker, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        renewer = Unhurried()
        monkeypatch.setattr("dogpile.cache.leader.RENEWER", renewer)
        monkeypatch.setattr("dogpile.cache.leader_multi.RENEWER", renewer)
        region = make(kind)
        failing = Creator(ValueError("broken"))
        failing.finish()

        region.get_or_create("value", lambda: "value")
        region.get_or_create_multi(["a", "b"], lambda *keys: [1, 2])
        with pytest.raises(ValueError, match="broken"):
            region.get_or_create("error", failing.plain)

        assert renewer._held == {}

    def test_what_comes_while_others_are_renewed_is_not_overlooked(
        self, make: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Only what was overlooked would wait for so long.
        monkeypatch.setattr("dogpile.cache.lease._IDLE", 2 * PATIENCE)
        region = make("sqlite", clock=Clock())
        backend: Any = region.actual_backend
        renewed = threading.Semaphore(0)

        class Late(Renewer):
            """Is given a lease just when it has looked for what is due."""

            comes = True

            def renew_due(self) -> float:
                pause = super().renew_due()
                if self.comes:
                    self.comes = False
                    self.keep(backend, backend.lease("late", 0.3), 0.3, region.clock)
                return pause

            def _renew(self, handle: int, held: Any) -> float:
                renewed.release()
                self.drop(handle)
                return 1.0

        renewer = Late()
        renewer.keep(backend, backend.lease("first", 600), 600, region.clock)

        assert renewed.acquire(timeout=PATIENCE)


class Unhurried(Renewer):
    """Renews when the test says so, in its thread."""

    def _run(self) -> None:
        """Leave it to the test."""
