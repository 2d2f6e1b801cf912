"""A backend that is away costs one time-out, and no invalidation is lost."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from crowd import PATIENCE, result, start

from dogpile.cache.api import NO_VALUE, CacheBackend, CachedValue, Capabilities
from dogpile.cache.exception import BackendUnavailable
from dogpile.cache.region import CacheRegion, make_region
from dogpile.cache.resilience import Guard
from dogpile.cache.testing import FakeClock


class FarBackend(CacheBackend):
    """A dictionary behind a network that can be cut."""

    capabilities = Capabilities(lasting=False, network=True)

    def __init__(self, arguments: Any) -> None:
        self.values: dict[str, Any] = arguments["values"]
        self.is_cut = False
        self.calls = 0

    def _reach(self) -> None:
        self.calls += 1
        if self.is_cut:
            raise BackendUnavailable("far", "any", "no answer")

    def get(self, key: str) -> Any:
        self._reach()
        return self.values.get(key, NO_VALUE)

    def put(self, key: str, value: Any) -> None:
        self._reach()
        self.values[key] = value

    def delete(self, key: str) -> None:
        self._reach()
        self.values.pop(key, None)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def region(clock: FakeClock) -> Iterator[CacheRegion]:
    made = make_region(clock=clock, expiration_time=60, generation_ttl=0)
    made.configure(FarBackend, arguments={"values": {}})
    with made:
        yield made


def far(region: CacheRegion) -> FarBackend:
    backend = region.actual_backend
    assert isinstance(backend, FarBackend)
    return backend


def test_a_dead_backend_is_asked_once_and_the_creator_is_called(
    region: CacheRegion,
) -> None:
    far(region).is_cut = True

    first = region.get_or_create("key", lambda: 1)
    asked = far(region).calls
    second = region.get_or_create("key", lambda: 2)

    assert (first, second) == (1, 2)
    assert asked == far(region).calls == 1


def test_values_are_cached_again_when_the_backend_is_back(
    region: CacheRegion, clock: FakeClock
) -> None:
    far(region).is_cut = True
    region.get_or_create("key", lambda: 1)

    far(region).is_cut = False
    clock.advance(5)

    assert region.get_or_create("key", lambda: 2) == 2
    assert region.get_or_create("key", lambda: 3) == 2


def test_a_try_that_fails_keeps_the_breaker_open(
    region: CacheRegion, clock: FakeClock
) -> None:
    far(region).is_cut = True
    region.get("key")
    clock.advance(1)

    region.get("key")
    asked = far(region).calls
    region.get("key")

    assert far(region).calls == asked


def test_a_deletion_made_meanwhile_is_made_up_for(
    region: CacheRegion, clock: FakeClock
) -> None:
    region.put("key", "old")
    far(region).is_cut = True
    region.delete("key")

    far(region).is_cut = False
    clock.advance(5)

    assert region.get("key") is NO_VALUE


def test_an_invalidation_made_meanwhile_is_made_up_for(
    region: CacheRegion, clock: FakeClock
) -> None:
    region.put("key", "old")
    far(region).is_cut = True
    region.invalidate()

    far(region).is_cut = False
    clock.advance(5)

    assert region.get("key") is NO_VALUE


def test_a_put_that_failed_leaves_no_older_value_behind(
    region: CacheRegion, clock: FakeClock
) -> None:
    region.put("key", "old")
    far(region).is_cut = True
    with pytest.raises(BackendUnavailable):
        region.put("key", "new")

    far(region).is_cut = False
    clock.advance(5)

    assert region.get("key") is NO_VALUE


def test_a_full_journal_invalidates_the_whole_region(
    region: CacheRegion, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dogpile.cache.resilience._MOST_KEYS", 2)
    region.put("other", "old")
    far(region).is_cut = True
    region.delete_multi(["a", "b", "c"])

    far(region).is_cut = False
    clock.advance(5)

    assert region.get("other") is NO_VALUE


def test_raise_lets_the_error_through(clock: FakeClock) -> None:
    region = make_region(clock=clock, on_backend_error="raise")
    region.configure(FarBackend, arguments={"values": {}})
    far(region).is_cut = True

    with pytest.raises(BackendUnavailable):
        region.get_or_create("key", lambda: 1)


def test_stale_serves_what_this_process_read_last(clock: FakeClock) -> None:
    region = make_region(clock=clock, expiration_time=60, on_backend_error="stale")
    region.configure(FarBackend, arguments={"values": {}})
    region.put("key", "seen")
    region.get("key")
    far(region).is_cut = True
    clock.advance(1000)

    assert region.get_or_create("key", lambda: "new") == "seen"
    assert region.get_or_create("unseen", lambda: "new") == "new"


def test_stale_never_serves_what_this_process_invalidated(clock: FakeClock) -> None:
    region = make_region(clock=clock, expiration_time=60, on_backend_error="stale")
    region.configure(FarBackend, arguments={"values": {}})
    region.put("key", "seen")
    region.get("key")
    far(region).is_cut = True
    region.invalidate()

    assert region.get_or_create("key", lambda: "new") == "new"


def test_the_failure_is_an_event_and_shows_no_value(region: CacheRegion) -> None:
    seen: list[Any] = []
    region.on("backend_error", seen.append)
    far(region).is_cut = True

    region.get_or_create("key", lambda: "secret")

    assert seen
    assert "secret" not in repr(seen)


def test_many_keys_are_created_without_the_backend(region: CacheRegion) -> None:
    far(region).is_cut = True

    made = region.get_or_create_multi(["a", "b"], lambda *keys: [*map(str.upper, keys)])

    assert made == ["A", "B"]


def test_loops_go_through_the_same_breaker(region: CacheRegion) -> None:
    far(region).is_cut = True

    async def twice() -> list[Any]:
        one = await region.aget_or_create("key", lambda: 1)
        return [one, await region.aget_or_create("key", lambda: 2)]

    assert asyncio.run(twice()) == [1, 2]
    assert far(region).calls == 1


def test_a_lost_record_never_brings_values_back(region: CacheRegion) -> None:
    region.put("key", "old")
    region.invalidate()
    for name in [each for each in far(region).values if each.startswith("dogpile:g:")]:
        del far(region).values[name]

    assert region.get("key") is NO_VALUE
    assert isinstance(far(region).values["key"], CachedValue)


class Held:
    """Operations of a backend, one of which waits to be let go on.

    :param name: of the operation that waits.
    """

    def __init__(self, name: str) -> None:
        self.called: list[tuple[Any, ...]] = []
        self.is_in, self.cue = threading.Event(), threading.Event()
        self.ops = {
            each: functools.partial(self._run, each, each == name)
            for each in ("get", "delete", "delete_multi")
        }

    def _run(self, name: str, waits: bool, *given: Any) -> None:
        self.called.append((name, *given))
        if waits:
            self.is_in.set()
            assert self.cue.wait(PATIENCE)


def guard_on(clock: FakeClock) -> Guard:
    return Guard("far", clock, lambda: ("record", b"other"))


def one_tries(clock: FakeClock, guard: Guard, held: Held) -> Future[Any]:
    """Have a thread try whether the backend is there again, and be held there."""
    clock.advance(5)
    trying = start(guard.wrap("get", held.ops), "a")
    assert held.is_in.wait(PATIENCE)
    return trying


@pytest.mark.parametrize("wrap", ["wrap", "wrap_read"])
def test_an_answer_to_a_question_of_before_does_not_close_it(
    clock: FakeClock, wrap: str
) -> None:
    guard, held = guard_on(clock), Held("get")
    asking = start(getattr(guard, wrap)("get", held.ops), "a")
    assert held.is_in.wait(PATIENCE)

    guard.failed("delete", ("key",))
    held.cue.set()
    result(asking)

    assert guard.is_open
    clock.advance(5)
    guard.wrap("delete", held.ops)("b")
    assert held.called[1:] == [("delete_multi", ["key"]), ("delete", "b")]
    assert not guard.is_open


def test_what_is_refused_while_one_tries_is_made_up_for(clock: FakeClock) -> None:
    guard, held = guard_on(clock), Held("get")
    guard.failed("get", ("a",))
    trying = one_tries(clock, guard, held)

    with pytest.raises(BackendUnavailable):
        guard.wrap("delete", held.ops)("key")
    held.cue.set()
    result(trying)

    assert held.called == [("get", "a"), ("delete_multi", ["key"])]
    assert not guard.is_open
    assert not guard.journal


def test_what_is_missed_again_during_the_replay_is_made_up_for_again(
    clock: FakeClock,
) -> None:
    guard, held = guard_on(clock), Held("delete_multi")
    guard.failed("delete", ("key",))
    trying = one_tries(clock, guard, held)

    with pytest.raises(BackendUnavailable):
        guard.wrap("delete", held.ops)("key")
    held.cue.set()
    result(trying)

    again = [("delete_multi", ["key"])]
    assert held.called == [*again, ("get", "a"), *again]
    assert not guard.journal


def test_what_is_missed_when_it_is_closed_again_opens_it(clock: FakeClock) -> None:
    guard, held = guard_on(clock), Held("nothing")

    guard.refused("delete_multi", (["key"],))
    guard.wrap("get", held.ops)("a")

    assert held.called == [("delete_multi", ["key"]), ("get", "a")]
    assert not guard.is_open


def test_loops_close_it_by_the_same_rules(clock: FakeClock) -> None:
    guard = guard_on(clock)
    called: list[tuple[Any, ...]] = []
    is_in, cue = asyncio.Event(), asyncio.Event()

    def op(name: str) -> Any:
        async def run(*given: Any) -> None:
            called.append((name, *given))
            if name == "get":
                is_in.set()
                await cue.wait()

        return run

    async def main() -> None:
        asking = asyncio.ensure_future(guard.wrap_async("get", op)("a"))
        await is_in.wait()
        guard.failed("delete", ("key",))
        cue.set()
        await asking
        assert guard.is_open
        clock.advance(5)
        await guard.wrap_async("delete", op)("b")

    asyncio.run(main())

    assert called == [("get", "a"), ("delete_multi", ["key"]), ("delete", "b")]
    assert not guard.is_open


def test_those_that_were_under_way_together_do_not_make_the_next_try_come_later(
    clock: FakeClock,
) -> None:
    guard, held = guard_on(clock), Held("nothing")

    for _ in range(8):
        guard.failed("get", ("a",))
    clock.advance(0.6)
    guard.wrap("get", held.ops)("a")

    assert not guard.is_open


def test_a_try_that_fails_makes_the_next_one_come_later(clock: FakeClock) -> None:
    guard, held = guard_on(clock), Held("nothing")
    guard.failed("get", ("a",))
    clock.advance(0.6)
    assert guard.admit("get")

    guard.failed("get", ("a",), is_probe=True)
    clock.advance(0.6)

    with pytest.raises(BackendUnavailable):
        guard.wrap("get", held.ops)("a")


def test_one_caller_does_not_make_up_for_others_for_ever(clock: FakeClock) -> None:
    guard = guard_on(clock)
    replayed: list[Any] = []

    def delete_multi(keys: list[Any]) -> None:
        replayed.append(keys)
        with pytest.raises(BackendUnavailable):
            guard.admit("delete", (f"key {len(replayed)}",))

    ops: dict[str, Any] = {"get": lambda key: None, "delete_multi": delete_multi}
    guard.failed("delete", ("key 0",))
    clock.advance(5)

    guard.wrap("get", ops)("a")

    assert guard.is_open
    assert len(replayed) < 100
    assert guard.journal


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("get_records", "get_multi"),
        ("peek", "get"),
        ("peek_multi", "get_multi"),
        ("set_record", "invalidate"),
        ("set", "put"),
        ("delete", "delete"),
    ],
)
def test_a_refusal_tells_what_was_asked_for_and_why_it_was_not(
    clock: FakeClock, name: str, told: str
) -> None:
    guard = guard_on(clock)

    def fail(*given: object) -> None:
        raise BackendUnavailable("the.name", "get", "no answer in time (10.0.0.1:7)")

    with pytest.raises(BackendUnavailable):
        guard.wrap("get", {"get": fail})("a")
    with pytest.raises(BackendUnavailable) as caught:
        guard.wrap(name, {name: fail})("a", "b")

    assert str(caught.value) == (
        f"the.name failed at {told}(): not asked, next try in 0.5 s; a moment ago: "
        "no answer in time (10.0.0.1:7)"
    )


def test_a_refusal_while_one_tries_says_so(clock: FakeClock) -> None:
    guard, held = guard_on(clock), Held("get")
    guard.failed("get", ("a",))
    trying = one_tries(clock, guard, held)

    with pytest.raises(BackendUnavailable, match="the next try is under way"):
        guard.wrap("delete", held.ops)("key")

    held.cue.set()
    result(trying)


CALLS: dict[str, Callable[[CacheRegion], Any]] = {
    "get": lambda region: region.get("key"),
    "get_multi": lambda region: region.get_multi(["key"]),
    "get_or_create": lambda region: region.get_or_create("key", lambda: 1),
    "put": lambda region: region.put("key", 1),
    "put_multi": lambda region: region.put_multi({"key": 1}),
    "delete": lambda region: region.delete("key"),
    "invalidate": lambda region: region.invalidate(),
    "update": lambda region: region.update("key", lambda old: 1),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_error_tells_the_operation_that_was_called(
    clock: FakeClock, name: str
) -> None:
    region = make_region(clock=clock, expiration_time=60, generation_ttl=0)
    region.configure(FarBackend, arguments={"values": {}}, on_backend_error="raise")
    far(region).is_cut = True

    for _ in range(2):  # the first fails, the second is refused
        with pytest.raises(BackendUnavailable, match=rf"^far failed at {name}\(\)"):
            CALLS[name](region)
