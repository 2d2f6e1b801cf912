"""The child of a fork begins with nothing of what its parent is at."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from crowd import (
    PATIENCE,
    SHARED,
    Creator,
    Maker,
    clock_of,
    never,
    pass_until_done,
    result,
    settle,
    start,
)
from processes import threads_of_dogpile

from dogpile.cache import NO_VALUE, CacheRegion
from dogpile.cache.clock import Clock
from dogpile.cache.lease import RENEWER
from dogpile.cache.resilience import Guard
from dogpile.cache.testing import FakeClock
from dogpile.cache.testing.concurrency import in_child

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="this platform has no fork"
)


class TestAmidCreations:
    def test_the_child_creates_what_its_parent_creates(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)
        creator = Creator("of the parent")
        leader = start(region.get_or_create, "key", creator.plain)
        creator.await_call()

        def act() -> None:
            assert not region.storage.flights.is_flying("key")
            # It has to wait for what is left of its parent's lease.
            mine = start(region.get_or_create, "key", lambda: "of the child")
            pass_until_done(clock_of(region), [mine], step=0.2)
            assert result(mine) == "of the child"

        code = in_child(act)
        creator.finish()

        assert code == 0
        assert result(leader) == "of the parent"

    def test_the_child_has_no_waiters_either(self, make: Maker, kind: str) -> None:
        region = make(kind)
        creator = Creator("of the parent")
        leader = start(region.get_or_create, "key", creator.plain)
        creator.await_call()
        waiter = start(region.get_or_create, "key", never)
        clock_of(region).wait_for_sleepers(1, PATIENCE)

        code = in_child(lambda: region.put("key", "of the child"))
        creator.finish()

        assert code == 0
        if kind in SHARED:
            # The parent's creation had begun before what its child has put.
            assert result(leader) == "of the parent"
            assert region.get("key") == "of the child"
        else:
            assert region.get("key") in (NO_VALUE, "of the parent")
        assert result(waiter) in ("of the parent", "of the child")

    def test_a_child_forked_in_a_creator_ends_nothing_of_its_parents(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)
        codes: list[int] = []

        def creator() -> str:
            pid = fork()
            if not pid:
                return "of the child"
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            return "of the parent"

        parent = os.getpid()
        found: Any = None
        try:
            found = region.get_or_create("key", creator)
        finally:
            if os.getpid() != parent:
                os._exit(0 if found == "of the child" else 1)

        assert (found, codes) == ("of the parent", [0])
        assert region.get("key") == "of the parent"

    def test_a_creator_of_many_keys_is_no_exception(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)
        codes: list[int] = []

        def creator(*keys: str) -> list[str]:
            pid = fork()
            if not pid:
                return ["of the child"] * 2
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            return ["of the parent"] * 2

        parent = os.getpid()
        found: Any = None
        try:
            found = region.get_or_create_multi(["a", "b"], creator)
        finally:
            if os.getpid() != parent:
                os._exit(0 if found == ["of the child"] * 2 else 1)

        assert (found, codes) == (["of the parent"] * 2, [0])
        assert region.get_multi(["a", "b"]) == ["of the parent"] * 2

    def test_a_creator_that_fails_in_a_child_tells_nobody(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)

        def creator() -> str:
            pid = fork()
            if not pid:
                raise LookupError("of the child")
            os.waitpid(pid, 0)
            return "of the parent"

        parent = os.getpid()
        try:
            found = region.get_or_create("key", creator)
        finally:
            if os.getpid() != parent:
                os._exit(1)

        assert found == "of the parent"
        assert region.get("key") == "of the parent"

    def test_a_child_forked_in_a_creator_may_ask_for_its_key(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)

        def ask() -> None:
            mine = start(region.get_or_create, "key", lambda: "of the child")
            pass_until_done(clock_of(region), [mine], step=0.2)
            assert result(mine) == "of the child"

        assert region.get_or_create("key", lambda: in_child(ask)) == 0

    def test_a_namespace_has_flights_of_its_own_in_the_child_too(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind).namespace("inner")
        creator = Creator("of the parent")
        leader = start(region.get_or_create, "key", creator.plain)
        creator.await_call()

        code = in_child(lambda: _is_not_flying(region))
        creator.finish()
        result(leader)

        assert code == 0


def _is_not_flying(region: CacheRegion) -> None:
    assert not region.storage.flights.is_flying("inner:key")


def fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


class TestThreads:
    @pytest.mark.parametrize("kind", SHARED)
    def test_the_child_renews_no_lease(self, make: Maker, kind: str) -> None:
        region = make(kind)
        creator = Creator()
        leader = start(region.get_or_create, "key", creator.plain)
        creator.await_call()
        held = len(RENEWER._held)

        def act() -> None:
            assert RENEWER._held == {}
            assert RENEWER._thread is None
            own = Creator("of the child")
            one = start(region.get_or_create, "other", own.plain)
            own.await_call()
            assert len(RENEWER._held) == 1
            assert "dogpile-renewer" in threads_of_dogpile()
            own.finish()
            assert result(one) == "of the child"

        code = in_child(act)
        creator.finish()
        result(leader)

        assert held == 1
        assert code == 0

    def test_the_child_has_workers_of_its_own(self, make: Maker, kind: str) -> None:
        region = make(kind, expiration_time=60, grace=30)
        region.put_multi({"key": "old", "other": "old"})
        clock_of(region).advance(61)
        creator = Creator("of the parent")
        region.get_or_create("key", creator.plain)
        creator.await_call()

        def act() -> None:
            assert threads_of_dogpile() == []
            assert region.get_or_create("other", lambda: "of the child") == "old"
            settle(region)
            assert region.get("other") == "of the child"
            assert region.get_or_create("key", never, retry_after=1) in (
                "old",
                "of the child",
            )

        code = in_child(act)
        creator.finish()
        settle(region)

        assert code == 0
        assert region.get("key") == "of the parent"

    def test_the_child_waits_for_no_refresh_of_its_parents(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind, expiration_time=60, grace=30)
        region.put("key", "old")
        clock_of(region).advance(61)
        creator = Creator("of the parent")
        region.get_or_create("key", creator.plain)
        creator.await_call()

        def act() -> None:
            assert region.storage.pending.wait(0)
            region.close()

        code = in_child(act)
        creator.finish()
        settle(region)

        assert code == 0

    def test_a_loop_in_the_child_works(self, make: Maker, kind: str) -> None:
        region = make(kind)

        async def create() -> str:
            return "value"

        async def main() -> None:
            assert await region.aget_or_create("plain", lambda: "value") == "value"
            assert await region.aget_or_create("coroutine", create) == "value"

        async def in_parent() -> int:
            await region.aget_or_create("warm", create)
            return await asyncio.to_thread(in_child, lambda: asyncio.run(main()))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            assert asyncio.run(in_parent()) == 0


class TestLocks:
    """A lock that a thread of the parent holds is free in the child."""

    def held_while(self, lock: Any, act: Callable[[], Any]) -> int:
        """Hold a lock in another thread, fork, and call something in the child."""
        holds, over = threading.Event(), threading.Event()

        def hold() -> None:
            with lock:
                holds.set()
                over.wait(PATIENCE)

        holder = start(hold)
        assert holds.wait(PATIENCE)
        code = in_child(lambda: result(start(act)))
        over.set()
        result(holder)
        return code

    @pytest.mark.parametrize("kind", ["memory", "memory, lru", "memory_pickle"])
    def test_that_of_the_entries(self, make: Maker, kind: str) -> None:
        region = make(kind)
        backend: Any = region.actual_backend

        assert self.held_while(backend.lock, lambda: region.put("key", 1)) == 0

    def test_that_of_the_flights(self, make: Maker, kind: str) -> None:
        region = make(kind)
        lock = region.storage.flights._lock

        assert (
            self.held_while(lock, lambda: region.get_or_create("key", lambda: 1)) == 0
        )

    def test_that_of_the_statistics(self, make: Maker, kind: str) -> None:
        region = make(kind)
        region.stats()
        assert region._statistics is not None
        lock = region._statistics._lock

        assert self.held_while(lock, lambda: region.get("key")) == 0

    def test_that_of_the_refreshes(self, make: Maker, kind: str) -> None:
        region = make(kind)
        lock = region.storage.pending._changed

        assert self.held_while(lock, region.close) == 0

    def test_that_of_the_breaker_and_nobody_tries_in_its_place(self) -> None:
        clock = FakeClock()
        guard = Guard("backend", clock, lambda: ("record", b""))
        guard.failed("get", ("key",))
        clock.advance(1)
        guard.admit("get")

        def act() -> None:
            guard.admit("get")

        assert self.held_while(guard._lock, act) == 0

    def test_that_of_the_renewer(self, make: Maker) -> None:
        region = make("sqlite")

        def act() -> None:
            region.get_or_create("key", lambda: 1)

        assert self.held_while(RENEWER._wakeup, act) == 0


def _create(number: int) -> tuple[int, Any]:
    assert _region is not None
    return os.getpid(), _region.get_or_create("key", lambda: _called(number))


def _called(number: int) -> str:
    assert _calls is not None
    with _calls.get_lock():
        _calls.value += 1
    return f"of {number}"


_region: CacheRegion | None = None
_calls: Any = None


@pytest.fixture
def pool() -> Iterator[Callable[[], Any]]:
    """Return what makes a pool of forked processes."""
    made: list[Any] = []

    def make_pool() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            made.append(multiprocessing.get_context("fork").Pool(4))
        return made[-1]

    yield make_pool
    for each in made:
        each.terminate()
        each.join()


@pytest.mark.parametrize("kind", SHARED)
class TestPools:
    @pytest.fixture
    def region(
        self, make: Maker, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> CacheRegion:
        region = make(kind, clock=Clock())
        monkeypatch.setitem(globals(), "_region", region)
        calls = multiprocessing.get_context("fork").Value("i", 0)
        monkeypatch.setitem(globals(), "_calls", calls)
        return region

    def test_forked_processes_create_once(
        self, region: CacheRegion, pool: Callable[[], Any]
    ) -> None:
        region.put("other", "opened before the fork")

        found = pool().map_async(_create, range(16), chunksize=1).get(PATIENCE)

        assert len({value for _, value in found}) == 1
        assert _calls.value == 1

    def test_amid_a_creation_of_the_parent(
        self, region: CacheRegion, pool: Callable[[], Any]
    ) -> None:
        creator = Creator("of the parent")
        leader = start(region.get_or_create, "key", creator.plain)
        creator.await_call()

        made = pool()
        asked = made.map_async(_create, range(8), chunksize=1)
        creator.finish()

        assert result(leader) == "of the parent"
        assert {value for _, value in asked.get(PATIENCE)} == {"of the parent"}
        assert _calls.value == 0
