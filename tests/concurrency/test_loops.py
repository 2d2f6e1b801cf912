"""One creation in event loops, and between loops and threads."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from crowd import (
    PATIENCE,
    Creator,
    DictionaryBackend,
    Maker,
    clock_of,
    error,
    never,
    result,
    results,
    start,
)

from dogpile.cache import NO_VALUE, CacheRegion, quick
from dogpile.cache.api import BytesBackend, Capabilities
from dogpile.cache.exception import (
    CoroutineCreatorError,
    CreationCycleError,
    CreatorTimeout,
)
from dogpile.cache.testing import FakeClock
from dogpile.cache.workers import Workers

Main = Callable[[], Coroutine[Any, Any, Any]]


@pytest.fixture(params=["asyncio", "uvloop", "anyio"])
def run(request: pytest.FixtureRequest) -> Callable[[Main], Any]:
    """Return what runs a coroutine function to its end, in one kind of loop."""
    name: str = request.param
    if name == "uvloop":
        uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")
        return lambda main: in_loop(main, uvloop.new_event_loop)
    if name == "anyio":
        anyio = pytest.importorskip("anyio", reason="anyio is not installed")
        return lambda main: result(start(anyio.run, limited, main))
    return in_loop


def in_loop(main: Main, make: Callable[[], Any] = asyncio.new_event_loop) -> Any:
    """Run a coroutine function in a new loop; one that hangs is an error."""
    # In another thread, for it may hang by blocking the loop.
    return result(start(_in_loop, main, make))


def _in_loop(main: Main, make: Callable[[], Any]) -> Any:
    loop = make()
    try:
        return loop.run_until_complete(limited(main))
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=PATIENCE))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def limited(main: Main) -> Any:
    return await asyncio.wait_for(main(), PATIENCE)


class Cue:
    """A coroutine creator that creates when it is told to.

    :param result: returned, or raised if it is an error.
    """

    def __init__(self, result: Any = "new") -> None:
        self.result = result
        self.calls = 0
        self.asked = asyncio.Event()
        self.cue = asyncio.Event()

    async def __call__(self) -> Any:
        self.calls += 1
        self.asked.set()
        await self.cue.wait()
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


def task(awaitable: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(awaitable)


async def refuse() -> Any:
    raise AssertionError("this was not to be created")


class TestOneCreation:
    def test_a_thousand_coroutines_call_once(
        self, make: Maker, kind: str, run: Callable[[Main], Any]
    ) -> None:
        region = make(kind)

        async def main() -> tuple[list[Any], int]:
            cue = Cue("value")
            crowd = [task(region.aget_or_create("key", cue)) for _ in range(1000)]
            await clock_of(region).await_for_sleepers(999, PATIENCE)
            cue.cue.set()
            return await asyncio.gather(*crowd), cue.calls

        assert run(main) == (["value"] * 1000, 1)
        assert region.get("key") == "value"

    def test_a_decorated_coroutine_function_is_called_once(
        self, make: Maker, kind: str, run: Callable[[Main], Any]
    ) -> None:
        region = make(kind)
        calls: list[int] = []

        @region.cache_on_arguments()
        async def load(number: int) -> int:
            calls.append(number)
            await asyncio.sleep(0)
            return number * 2

        async def main() -> list[int]:
            return await asyncio.gather(*[load(7) for _ in range(50)])

        assert run(main) == [14] * 50
        assert calls == [7]

    def test_all_are_told_a_creators_error(
        self, make: Maker, kind: str, run: Callable[[Main], Any]
    ) -> None:
        region = make(kind)
        failure = ValueError("no such page", 404)

        async def main() -> list[Any]:
            cue = Cue(failure)
            crowd = [task(region.aget_or_create("key", cue)) for _ in range(20)]
            await clock_of(region).await_for_sleepers(19, PATIENCE)
            cue.cue.set()
            told = await asyncio.gather(*crowd, return_exceptions=True)
            assert cue.calls == 1
            return told

        told = run(main)
        assert {repr(each) for each in told} == {repr(failure)}
        assert len({id(each) for each in told}) == 20
        assert sum(each is failure for each in told) == 1
        assert all(each.__cause__ is failure for each in told if each is not failure)

    def test_many_keys_are_created_at_once(
        self, make: Maker, kind: str, run: Callable[[Main], Any]
    ) -> None:
        region = make(kind)
        asked: list[tuple[str, ...]] = []

        async def create(*keys: str) -> list[str]:
            asked.append(keys)
            await asyncio.sleep(0)
            return [key.upper() for key in keys]

        async def main() -> Any:
            return await asyncio.gather(
                region.aget_or_create_multi(["a", "b"], create),
                region.aget_or_create_multi(["c", "b", "a"], create),
                region.aget_or_create_multi(["b", "d"], create),
            )

        assert run(main) == [["A", "B"], ["C", "B", "A"], ["B", "D"]]
        assert sorted(key for keys in asked for key in keys) == ["a", "b", "c", "d"]

    def test_a_task_and_a_thread_share_a_creation(self, make: Maker, kind: str) -> None:
        region = make(kind)
        creator = Creator("of the thread")
        leader = start(region.get_or_create, "key", creator.plain)
        creator.await_call()

        async def main() -> Any:
            waiter = task(region.aget_or_create("key", refuse))
            await clock_of(region).await_for_sleepers(1, PATIENCE)
            creator.finish()
            return await waiter

        assert in_loop(main) == "of the thread"
        assert result(leader) == "of the thread"

    def test_a_thread_waits_for_a_task(self, make: Maker, kind: str) -> None:
        region = make(kind)

        async def main() -> list[Any]:
            cue = Cue("of the task")
            leader = task(region.aget_or_create("key", cue))
            await cue.asked.wait()
            waiters = [start(region.get_or_create, "key", never) for _ in range(3)]
            await clock_of(region).await_for_sleepers(3, PATIENCE)
            cue.cue.set()
            await leader
            return [await asyncio.wrap_future(each) for each in waiters]

        assert in_loop(main) == ["of the task"] * 3

    def test_several_loops_and_threads_create_once(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)
        creator = Creator("value")

        async def main() -> list[Any]:
            waits = [region.aget_or_create("key", creator.plain) for _ in range(10)]
            return await asyncio.gather(*waits)

        loops = [start(in_loop, main) for _ in range(4)]
        threads = [start(region.get_or_create, "key", creator.plain) for _ in range(10)]
        creator.await_call()
        clock_of(region).wait_for_sleepers(49, PATIENCE)
        creator.finish()

        assert results(loops) == [["value"] * 10] * 4
        assert results(threads) == ["value"] * 10
        assert creator.calls == 1


class TestStopIteration:
    """No coroutine can raise it: Python makes a RuntimeError of it."""

    @pytest.mark.parametrize("is_quick", [True, False])
    def test_of_a_plain_creator(self, make: Maker, kind: str, is_quick: bool) -> None:
        region = make(kind)

        def create() -> Any:
            raise StopIteration("drained")

        creator = quick(create) if is_quick else create
        with pytest.raises(RuntimeError) as caught:
            in_loop(lambda: region.aget_or_create("key", creator))

        assert isinstance(caught.value.__cause__, StopIteration)

    def test_of_a_thread_that_a_task_waits_for(self, make: Maker, kind: str) -> None:
        region = make(kind)
        creator = Creator(StopIteration("drained"))
        leader = start(region.get_or_create, "key", creator.plain)
        creator.await_call()

        async def main() -> Any:
            waiters = [task(region.aget_or_create("key", refuse)) for _ in range(2)]
            waiters += [
                task(region.aget_or_create_multi(["key"], refuse)) for _ in range(2)
            ]
            await clock_of(region).await_for_sleepers(4, PATIENCE)
            creator.finish()
            return await asyncio.gather(*waiters, return_exceptions=True)

        told = in_loop(main)

        assert type(error(leader)) is StopIteration
        assert [type(each) for each in told] == [RuntimeError] * 4
        assert {type(each.__cause__) for each in told} == {StopIteration}


class TestCancelling:
    def test_a_cancelled_waiter_leaves_the_others_alone(
        self, make: Maker, kind: str, run: Callable[[Main], Any]
    ) -> None:
        region = make(kind)

        async def main() -> list[Any]:
            cue = Cue("value")
            leader = task(region.aget_or_create("key", cue))
            await cue.asked.wait()
            waiters = [task(region.aget_or_create("key", cue)) for _ in range(4)]
            await clock_of(region).await_for_sleepers(4, PATIENCE)
            waiters[1].cancel()
            await asyncio.wait([waiters[1]])
            cue.cue.set()
            return await asyncio.gather(leader, *waiters, return_exceptions=True)

        found = run(main)
        assert isinstance(found.pop(2), asyncio.CancelledError)
        assert found == ["value"] * 4

    def test_a_cancelled_leader_hands_over(
        self, make: Maker, kind: str, run: Callable[[Main], Any]
    ) -> None:
        region = make(kind)

        async def main() -> tuple[bool, list[Any], int]:
            first, heir = Cue("first"), Cue("heir")
            leader = task(region.aget_or_create("key", first))
            await first.asked.wait()
            waiters = [task(region.aget_or_create("key", heir)) for _ in range(3)]
            await clock_of(region).await_for_sleepers(3, PATIENCE)
            leader.cancel()
            passing = task(pass_time(clock_of(region)))
            await heir.asked.wait()
            # Else it may pass faster than a lease is renewed.
            passing.cancel()
            heir.cue.set()
            found = await asyncio.gather(*waiters)
            await asyncio.wait([leader])
            return leader.cancelled(), found, heir.calls

        assert run(main) == (True, ["heir"] * 3, 1)
        assert region.get("key") == "heir"

    def test_a_cancelled_leader_hands_over_to_a_thread(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)

        async def main() -> Any:
            first = Cue("first")
            leader = task(region.aget_or_create("key", first))
            await first.asked.wait()
            waiter = start(region.get_or_create, "key", lambda: "heir")
            await clock_of(region).await_for_sleepers(1, PATIENCE)
            leader.cancel()
            passing = task(pass_time(clock_of(region)))
            found = await asyncio.wrap_future(waiter)
            passing.cancel()
            return found

        assert in_loop(main) == "heir"

    def test_a_cancelled_leader_of_many_hands_over(
        self, make: Maker, kind: str, run: Callable[[Main], Any]
    ) -> None:
        region = make(kind)

        async def main() -> Any:
            first = Cue(["first", "first"])
            leader = task(
                region.aget_or_create_multi(["a", "b"], lambda *keys: first())
            )
            await first.asked.wait()

            async def create(*keys: str) -> list[str]:
                return [f"heir of {key}" for key in keys]

            waiter = task(region.aget_or_create_multi(["b", "c"], create))
            await clock_of(region).await_for_sleepers(1, PATIENCE)
            leader.cancel()
            passing = task(pass_time(clock_of(region)))
            found = await waiter
            passing.cancel()
            return found

        assert run(main) == ["heir of b", "heir of c"]

    def test_what_is_cancelled_inside_a_creator_is_told_to_nobody_else(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)

        async def main() -> Any:
            first = Cue(asyncio.CancelledError())
            leader = task(region.aget_or_create("key", first))
            await first.asked.wait()
            waiter = task(region.aget_or_create("key", quick(lambda: "heir")))
            await clock_of(region).await_for_sleepers(1, PATIENCE)
            first.cue.set()
            passing = task(pass_time(clock_of(region)))
            found = await waiter
            passing.cancel()
            await asyncio.wait([leader])
            return found, leader.cancelled()

        assert in_loop(main) == ("heir", True)

    def test_a_plain_creator_outlives_its_task(self, make: Maker, kind: str) -> None:
        region = make(kind)
        creator = Creator("late")

        async def main() -> Any:
            leader = task(region.aget_or_create("key", creator.plain))
            await asyncio.to_thread(creator.await_call)
            leader.cancel()
            passing = task(pass_time(clock_of(region)))
            found = await region.aget_or_create("key", quick(lambda: "next"))
            passing.cancel()
            return found

        assert in_loop(main) == "next"
        creator.finish()
        creator.await_end()
        assert region.get("key") == "next"

    def test_a_refresh_cancelled_before_it_begins_blocks_nobody(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind, expiration_time=60, grace=30)
        region.put("key", "old")
        clock_of(region).advance(61)

        async def main() -> Any:
            before = asyncio.all_tasks()
            found = await region.aget_or_create("key", refuse)
            for refresh in asyncio.all_tasks() - before:
                refresh.cancel()
            await asyncio.sleep(0)
            return found

        assert in_loop(main) == "old"
        assert region.storage.pending.wait(PATIENCE)
        assert not region.storage.flights.is_flying("key")

    def test_a_loop_that_is_thrown_away_blocks_nobody(self, make: Maker) -> None:
        region = make("memory")
        loop = asyncio.new_event_loop()
        cue = Cue()
        left = loop.create_task(region.aget_or_create("key", cue))
        left.add_done_callback(lambda done: None)
        loop.run_until_complete(cue.asked.wait())
        loop.close()
        del left, cue
        with pytest.MonkeyPatch.context() as patch:
            # asyncio complains of the pending task that is destroyed.
            patch.setattr(
                "asyncio.base_events.logger.error", lambda *given, **how: None
            )
            gc.collect()

        waiter = start(region.get_or_create, "key", lambda: "next")
        while not waiter.done():
            clock_of(region).advance(1)
        assert result(waiter) == "next"


async def pass_time(clock: FakeClock) -> None:
    """Let time pass for those that look at a lease now and then."""
    while True:
        await clock.await_for_sleepers(1, PATIENCE)
        # Those of threads have a turn, too, before a lease has ended.
        await asyncio.to_thread(clock.advance, 0.01)


class TestBlockingCallsInALoop:
    def test_one_never_waits_for_a_task_of_its_loop(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)

        async def main() -> tuple[Any, Any]:
            cue = Cue("of the task")
            leader = task(region.aget_or_create("key", cue))
            await cue.asked.wait()
            alone = region.get_or_create("key", lambda: "alone")
            cue.cue.set()
            return alone, await leader

        assert in_loop(main) == ("alone", "of the task")
        assert region.get("key") == "of the task"
        assert clock_of(region).monotonic() == 0

    def test_many_keys_are_no_exception(self, make: Maker, kind: str) -> None:
        region = make(kind)

        async def main() -> tuple[Any, Any]:
            cue = Cue("of the task")
            leader = task(region.aget_or_create("b", cue))
            await cue.asked.wait()
            alone = region.get_or_create_multi(
                ["a", "b"], lambda *keys: [f"{key} alone" for key in keys]
            )
            cue.cue.set()
            return alone, await leader

        assert in_loop(main) == (["a alone", "b alone"], "of the task")

    def test_nor_for_what_waits_for_a_task_of_its_loop(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)

        async def main() -> tuple[Any, ...]:
            cue = Cue("part")
            leader = task(region.aget_or_create("part", cue))
            await cue.asked.wait()

            def create() -> Any:
                return "whole of " + region.get_or_create("part", never)

            whole = start(region.get_or_create, "whole", create)
            await clock_of(region).await_for_sleepers(1, PATIENCE)
            alone = region.get_or_create("whole", lambda: "alone")
            cue.cue.set()
            return alone, await leader, await asyncio.wrap_future(whole)

        assert in_loop(main) == ("alone", "part", "whole of part")

    def test_it_waits_for_a_thread(self, make: Maker, kind: str) -> None:
        region = make(kind)
        creator = Creator("of the thread")
        leader = start(region.get_or_create, "key", creator.plain)
        creator.await_call()

        async def main() -> Any:
            return region.get_or_create("key", never)

        waiter = start(in_loop, main)
        clock_of(region).wait_for_sleepers(1, PATIENCE)
        creator.finish()

        assert results([leader, waiter]) == ["of the thread"] * 2

    def test_it_waits_for_a_task_of_another_loop(self, make: Maker, kind: str) -> None:
        region = make(kind)
        creator = Creator("of the other")
        leader = start(in_loop, lambda: region.aget_or_create("key", creator.plain))
        creator.await_call()

        async def main() -> Any:
            return region.get_or_create("key", never)

        waiter = start(in_loop, main)
        clock_of(region).wait_for_sleepers(1, PATIENCE)
        creator.finish()

        assert results([leader, waiter]) == ["of the other"] * 2

    def test_a_coroutine_creator_is_refused(self, make: Maker, kind: str) -> None:
        region = make(kind)

        async def create() -> str:
            return "value"

        with pytest.raises(CoroutineCreatorError, match="aget_or_create"):
            region.get_or_create("key", create)
        assert region.get("key") is NO_VALUE


class TestCycles:
    def test_a_creation_that_needs_its_own_key(
        self, make: Maker, kind: str, run: Callable[[Main], Any]
    ) -> None:
        region = make(kind)

        async def create() -> Any:
            return await region.aget_or_create("key", create)

        with pytest.raises(CreationCycleError) as caught:
            run(lambda: region.aget_or_create("key", create))
        assert caught.value.chain == ("key", "key")

    def test_in_tasks_of_the_creator(self, make: Maker, kind: str) -> None:
        region = make(kind)

        async def create() -> Any:
            return await asyncio.gather(
                task(region.aget_or_create("other", quick(lambda: 1))),
                task(region.aget_or_create("key", create)),
            )

        with pytest.raises(CreationCycleError):
            in_loop(lambda: region.aget_or_create("key", create))

    def test_in_a_plain_creators_thread(self, make: Maker, kind: str) -> None:
        region = make(kind)

        def create() -> Any:
            return region.get_or_create("key", create)

        with pytest.raises(CreationCycleError):
            in_loop(lambda: region.aget_or_create("key", create))

    @pytest.mark.parametrize("door", ["sync", "async"])
    def test_in_a_blocking_call_of_its_own_loop(
        self, make: Maker, kind: str, door: str
    ) -> None:
        region = make(kind)

        def create() -> Any:
            return region.get_or_create("key", create)

        async def acreate() -> Any:
            return create()

        creator = quick(create) if door == "sync" else acreate
        with pytest.raises(CreationCycleError):
            in_loop(lambda: region.aget_or_create("key", creator))

    @pytest.mark.parametrize("count", [2, 3])
    def test_crossed_between_tasks(
        self, make: Maker, kind: str, run: Callable[[Main], Any], count: int
    ) -> None:
        region = make(kind)

        async def main() -> list[Any]:
            leading = [asyncio.Event() for _ in range(count)]

            async def create(number: int) -> Any:
                leading[number].set()
                for each in leading:
                    await each.wait()
                return await region.aget_or_create(f"{(number + 1) % count}", refuse)

            crowd = [
                region.aget_or_create(f"{number}", lambda number=number: create(number))
                for number in range(count)
            ]
            return await asyncio.gather(*crowd, return_exceptions=True)

        told = run(main)
        assert {type(each) for each in told} == {CreationCycleError}
        assert clock_of(region).monotonic() == 0

    def test_crossed_between_a_task_and_a_thread(self, make: Maker, kind: str) -> None:
        region = make(kind)
        both = threading.Barrier(2)

        def create_a() -> Any:
            both.wait(PATIENCE)
            return region.get_or_create("b", never)

        async def create_b() -> Any:
            await asyncio.to_thread(both.wait, PATIENCE)
            return await region.aget_or_create("a", refuse)

        thread = start(region.get_or_create, "a", create_a)
        with pytest.raises(CreationCycleError):
            in_loop(lambda: region.aget_or_create("b", create_b))

        assert type(error(thread)) is CreationCycleError

    def test_tasks_that_need_the_same_are_no_cycle(
        self, make: Maker, kind: str, run: Callable[[Main], Any]
    ) -> None:
        region = make(kind)

        async def main() -> list[Any]:
            cue = Cue(1)

            async def need(key: str) -> Any:
                async def create() -> Any:
                    return 1 + await region.aget_or_create("shared", cue)

                return await region.aget_or_create(key, create)

            crowd = [task(need(f"key {number}")) for number in range(5)]
            await clock_of(region).await_for_sleepers(4, PATIENCE)
            cue.cue.set()
            return await asyncio.gather(*crowd)

        assert run(main) == [2] * 5


class TestWhereCreatorsRun:
    def test_a_plain_one_runs_in_a_thread(self, make: Maker, kind: str) -> None:
        region = make(kind)

        async def main() -> bool:
            found = await region.aget_or_create("key", threading.get_ident)
            return bool(found != threading.get_ident())

        assert in_loop(main)

    def test_a_quick_one_runs_in_place(self, make: Maker, kind: str) -> None:
        region = make(kind)

        async def main() -> bool:
            creator = quick(lambda: threading.get_ident())
            found = await region.aget_or_create("key", creator)
            return bool(found == threading.get_ident())

        assert in_loop(main)

    def test_a_lambda_that_calls_a_coroutine_function_is_awaited(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)

        async def load(number: int) -> int:
            return number * 2

        assert in_loop(lambda: region.aget_or_create("key", lambda: load(7))) == 14

    @pytest.mark.parametrize("hard_timeout", [None, PATIENCE])
    def test_they_see_the_context_of_their_caller(
        self, make: Maker, kind: str, hard_timeout: float | None
    ) -> None:
        region = make(kind, hard_timeout=hard_timeout)
        user: contextvars.ContextVar[str] = contextvars.ContextVar("user")

        async def create() -> str:
            return user.get()

        async def main() -> list[Any]:
            user.set("mike")
            return [
                await region.aget_or_create("coroutine", create),
                await region.aget_or_create("plain", lambda: user.get()),
                await region.aget_or_create("quick", quick(lambda: user.get())),
                *await region.aget_or_create_multi(
                    ["many"], lambda *keys: [user.get()]
                ),
            ]

        assert in_loop(main) == ["mike"] * 4

    def test_a_refresh_sees_the_context_of_its_caller(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind, expiration_time=60, grace=30)
        user: contextvars.ContextVar[str] = contextvars.ContextVar("user")
        region.put_multi({"plain": "old", "coroutine": "old"})
        clock_of(region).advance(61)

        async def create() -> str:
            return user.get()

        async def main() -> None:
            user.set("mike")
            await region.aget_or_create("plain", lambda: user.get())
            await region.aget_or_create("coroutine", create)
            await region.aclose()

        in_loop(main)
        assert region.get_multi(["plain", "coroutine"]) == ["mike", "mike"]

    def test_the_loop_goes_on_while_a_plain_one_blocks(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)
        creator = Creator("value")

        async def main() -> Any:
            asking = task(region.aget_or_create("key", creator.plain))
            await asyncio.to_thread(creator.await_call)
            creator.finish()
            return await asking

        assert in_loop(main) == "value"

    def test_plain_ones_that_block_do_not_block_reading(
        self, make: Maker, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dogpile.cache.ports.CREATORS", Workers(2))
        monkeypatch.setattr("dogpile.cache.ports.CALLERS", Workers(2))
        region = make(kind)
        region.put("other", "value")
        creator = Creator("new")

        async def main() -> Any:
            crowd = [
                task(region.aget_or_create(f"key {number}", creator.plain))
                for number in range(5)
            ]
            await asyncio.to_thread(creator.await_call)
            await asyncio.to_thread(creator.await_call)
            found = await region.aget("other")
            creator.finish()
            await asyncio.gather(*crowd)
            return found

        assert in_loop(main) == "value"

    def test_plain_ones_that_need_each_other_do_not_wait_for_a_thread(
        self, make: Maker, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dogpile.cache.ports.CREATORS", Workers(2))
        region = make(kind)
        needing = Creator()

        def need() -> Any:
            needing()
            return region.get_or_create("shared", never)

        async def main() -> Any:
            others = [
                task(region.aget_or_create(f"key {number}", need))
                for number in range(4)
            ]
            for _ in range(2):
                await asyncio.to_thread(needing.await_call)
            # By now there is no thread left for what they will wait for.
            leader = task(region.aget_or_create("shared", lambda: "shared"))
            while not region.storage.flights.is_flying("shared"):
                await asyncio.sleep(0)
            needing.finish()
            return await asyncio.gather(leader, *others)

        assert in_loop(main) == ["shared"] * 5
        assert clock_of(region).monotonic() == 0


class Places(DictionaryBackend):
    """Notes which thread its operations are called in."""

    def __init__(self, arguments: Any) -> None:
        super().__init__(arguments)
        self.threads: set[int] = set()

    def get(self, key: Any) -> Any:
        self.threads.add(threading.get_ident())
        return super().get(key)

    def put(self, key: Any, value: Any) -> None:
        self.threads.add(threading.get_ident())
        super().put(key, value)

    def delete(self, key: Any) -> None:
        self.threads.add(threading.get_ident())
        super().delete(key)


class QuickPlaces(Places):
    capabilities = Capabilities(inline=True)


class NativePlaces(BytesBackend):
    """Has coroutines of its own, and nothing else that works."""

    capabilities = Capabilities(native_async=True)

    def __init__(self, arguments: Any) -> None:
        self.cache: dict[Any, bytes] = {}
        self.awaited: list[str] = []

    async def aget_serialized(self, key: Any) -> Any:
        self.awaited.append("get")
        return self.cache.get(key, NO_VALUE)

    async def aget_serialized_multi(self, keys: Any) -> Any:
        self.awaited.append("get_multi")
        return [self.cache.get(key, NO_VALUE) for key in keys]

    async def aset_serialized(self, key: Any, value: bytes, **how: Any) -> None:
        self.awaited.append("set")
        self.cache[key] = value

    async def adelete(self, key: Any) -> None:
        self.awaited.append("delete")
        self.cache.pop(key, None)

    def get_serialized(self, key: Any) -> Any:
        raise AssertionError("a coroutine is there for that")

    def set_serialized(self, key: Any, value: bytes) -> None:
        raise AssertionError("a coroutine is there for that")

    def delete(self, key: Any) -> None:
        raise AssertionError("a coroutine is there for that")


class TestWhereBackendsAreCalled:
    async def use(self, region: CacheRegion) -> int:
        """Use each kind of operation, and return in which thread."""
        await region.aput("key", "value")
        assert await region.aget("key") == "value"
        await region.adelete("key")
        return threading.get_ident()

    def test_one_that_blocks_is_called_in_threads(self, make: Maker) -> None:
        region = make("dictionary").configure(Places, replace_existing_backend=True)

        of_loop = in_loop(lambda: self.use(region))

        backend = region.actual_backend
        assert isinstance(backend, Places)
        assert backend.threads
        assert of_loop not in backend.threads

    def test_one_that_does_not_is_called_in_place(self, make: Maker) -> None:
        region = make("dictionary").configure(
            QuickPlaces, replace_existing_backend=True
        )

        of_loop = in_loop(lambda: self.use(region))

        backend = region.actual_backend
        assert isinstance(backend, QuickPlaces)
        assert backend.threads == {of_loop}

    def test_one_with_coroutines_is_awaited(self, make: Maker) -> None:
        region = make("dictionary").configure(
            NativePlaces, replace_existing_backend=True
        )

        in_loop(lambda: self.use(region))

        backend = region.actual_backend
        assert isinstance(backend, NativePlaces)
        assert {"set", "get", "delete"} <= {*backend.awaited}


class TestTimeouts:
    def test_a_hard_one_refuses_the_late_value(
        self, make: Maker, kind: str, run: Callable[[Main], Any]
    ) -> None:
        region = make(kind, hard_timeout=5)

        async def main() -> list[Any]:
            cue = Cue("late")
            crowd = [task(region.aget_or_create("key", cue)) for _ in range(3)]
            await cue.asked.wait()
            await clock_of(region).await_for_sleepers(3, PATIENCE)
            clock_of(region).advance(5)
            told = await asyncio.gather(*crowd, return_exceptions=True)
            cue.cue.set()
            return told

        assert [type(each) for each in run(main)] == [CreatorTimeout] * 3
        assert region.get("key") is NO_VALUE

    def test_a_hard_one_of_a_plain_creator(self, make: Maker, kind: str) -> None:
        region = make(kind, hard_timeout=5)
        creator = Creator("late")

        async def main() -> Any:
            asking = task(region.aget_or_create("key", creator.plain))
            await asyncio.to_thread(creator.await_call)
            await clock_of(region).await_for_sleepers(1, PATIENCE)
            clock_of(region).advance(5)
            return await asking

        with pytest.raises(CreatorTimeout):
            in_loop(main)
        creator.finish()
        creator.await_end()
        assert region.get("key") is NO_VALUE

    def test_a_waiter_takes_over_after_the_lease_time(
        self, make: Maker, kind: str, run: Callable[[Main], Any]
    ) -> None:
        region = make(kind, lease_time=10)

        async def main() -> list[Any]:
            late, heir = Cue("late"), Cue("heir")
            leader = task(region.aget_or_create("key", late))
            await late.asked.wait()
            waiters = [task(region.aget_or_create("key", heir)) for _ in range(5)]
            await clock_of(region).await_for_sleepers(5, PATIENCE)
            clock_of(region).advance(10)
            await heir.asked.wait()
            await clock_of(region).await_for_sleepers(4, PATIENCE)
            heir.cue.set()
            found = await asyncio.gather(*waiters)
            late.cue.set()
            assert heir.calls == 1
            return [*found, await leader]

        assert run(main) == ["heir"] * 5 + ["late"]
        assert region.get("key") == "heir"


class TestGrace:
    @pytest.fixture
    def region(self, make: Maker, kind: str) -> CacheRegion:
        """Return a region whose value has expired a second ago."""
        region = make(kind, expiration_time=60, grace=30, retry_after=3)
        region.put("key", "old")
        clock_of(region).advance(61)
        return region

    def test_all_get_the_stale_value_while_one_refresh_runs(
        self, region: CacheRegion, run: Callable[[Main], Any]
    ) -> None:
        async def main() -> tuple[list[Any], int]:
            cue = Cue("new")
            found = await asyncio.gather(
                *[region.aget_or_create("key", cue) for _ in range(20)]
            )
            await cue.asked.wait()
            cue.cue.set()
            await region.aclose()
            return found, cue.calls

        assert run(main) == (["old"] * 20, 1)
        assert region.get("key") == "new"

    def test_the_winner_waits_for_the_soft_timeout(
        self, region: CacheRegion, run: Callable[[Main], Any]
    ) -> None:
        async def main() -> tuple[Any, ...]:
            cue = Cue("new")
            winner = task(region.aget_or_create("key", cue, soft_timeout=2))
            await cue.asked.wait()
            await clock_of(region).await_for_sleepers(1, PATIENCE)
            other = await region.aget_or_create("key", refuse, soft_timeout=2)
            clock_of(region).advance(2)
            found = await winner
            cue.cue.set()
            await region.aclose()
            return other, found, await region.aget_or_create("key", refuse)

        assert run(main) == ("old", "old", "new")

    def test_the_winner_gets_what_comes_within_the_soft_timeout(
        self, region: CacheRegion, run: Callable[[Main], Any]
    ) -> None:
        async def main() -> Any:
            cue = Cue("new")
            winner = task(region.aget_or_create("key", cue, soft_timeout=2))
            await cue.asked.wait()
            await clock_of(region).await_for_sleepers(1, PATIENCE)
            cue.cue.set()
            return await winner

        assert run(main) == "new"

    def test_a_failed_refresh_is_tried_again_after_a_while(
        self, region: CacheRegion, run: Callable[[Main], Any]
    ) -> None:
        async def main() -> list[Any]:
            cue = Cue(ValueError("broken"))
            cue.cue.set()
            found = [await region.aget_or_create("key", cue)]
            await region.aclose()
            found.append(await region.aget_or_create("key", refuse))
            clock_of(region).advance(3.1)
            found.append(await region.aget_or_create("key", quick(lambda: "new")))
            await region.aclose()
            return [*found, await region.aget("key")]

        assert run(main) == ["old", "old", "old", "new"]

    def test_a_refresh_ends_though_its_caller_is_cancelled(
        self, region: CacheRegion, run: Callable[[Main], Any]
    ) -> None:
        async def main() -> Any:
            cue = Cue("new")
            winner = task(region.aget_or_create("key", cue, soft_timeout=2))
            await cue.asked.wait()
            await clock_of(region).await_for_sleepers(1, PATIENCE)
            winner.cancel()
            await asyncio.wait([winner])
            cue.cue.set()
            await region.aclose()
            return await region.aget("key")

        assert run(main) == "new"

    def test_a_blocking_call_in_a_loop_refreshes_in_a_thread(
        self, region: CacheRegion
    ) -> None:
        creator = Creator("new")

        async def main() -> Any:
            found = region.get_or_create("key", creator.plain)
            await asyncio.to_thread(creator.await_call)
            creator.finish()
            await region.aclose()
            return found, await region.aget("key")

        assert in_loop(main) == ("old", "new")

    def test_a_region_is_a_context_manager_that_waits(
        self, region: CacheRegion, run: Callable[[Main], Any]
    ) -> None:
        async def create() -> str:
            for _ in range(10):
                await asyncio.sleep(0)
            return "new"

        async def main() -> Any:
            async with region:
                return await region.aget_or_create("key", create)

        assert run(main) == "old"
        assert region.get("key") == "new"

    def test_a_loop_that_ends_amid_a_refresh_blocks_nobody(
        self, region: CacheRegion
    ) -> None:
        async def main() -> Any:
            cue = Cue("never")
            found = await region.aget_or_create("key", cue)
            await cue.asked.wait()
            return found

        assert asyncio.run(main()) == "old"
        assert region.storage.pending.wait(PATIENCE)
        refreshed = Creator("new")
        refreshed.finish()
        while region.get_or_create("key", refreshed.plain) == "old":
            clock_of(region).advance(0.01)
            assert region.storage.pending.wait(PATIENCE)
        assert region.get("key") == "new"


class TestNoStaleSet:
    @pytest.mark.parametrize(
        ("write", "stored"),
        [
            (lambda region: region.aput("key", "put"), "put"),
            (lambda region: region.aput_multi({"key": "put"}), "put"),
            (lambda region: region.adelete("key"), NO_VALUE),
            (lambda region: region.adelete_multi(["key"]), NO_VALUE),
            (lambda region: region.ainvalidate(), NO_VALUE),
            (lambda region: region.ainvalidate(hard=False), NO_VALUE),
            (lambda region: region.ainvalidate_tags("tag"), NO_VALUE),
        ],
    )
    def test_a_creation_begun_before_a_write_is_not_stored(
        self,
        make: Maker,
        kind: str,
        write: Callable[[CacheRegion], Awaitable[Any]],
        stored: Any,
    ) -> None:
        region = make(kind)

        async def main() -> tuple[Any, ...]:
            cue = Cue("begun before")
            asking = task(region.aget_or_create("key", cue, tags=("tag",)))
            await cue.asked.wait()
            await write(region)
            cue.cue.set()
            return await asking, await region.aget("key")

        assert in_loop(main) == ("begun before", stored)


def test_each_operation_has_a_twin() -> None:
    blocking = {
        name: inspect.signature(method)
        for name, method in inspect.getmembers(CacheRegion, inspect.isfunction)
        if hasattr(CacheRegion, f"a{name}")
    }
    twins = {
        name: inspect.signature(getattr(CacheRegion, f"a{name}")) for name in blocking
    }

    assert set(blocking) == OPERATIONS
    for name, signature in blocking.items():
        mine = [each.replace(annotation="") for each in signature.parameters.values()]
        its = [each.replace(annotation="") for each in twins[name].parameters.values()]
        assert its == mine, name
        is_walk = name.startswith("iter_")
        kind = inspect.isasyncgenfunction if is_walk else inspect.iscoroutinefunction
        assert kind(getattr(CacheRegion, f"a{name}")), name


#: All that does input or output.
OPERATIONS = {
    "close",
    "delete",
    "delete_multi",
    "get",
    "get_multi",
    "get_or_create",
    "get_or_create_multi",
    "get_value_metadata",
    "invalidate",
    "invalidate_tags",
    "iter_keys",
    "key_is_locked",
    "put",
    "put_multi",
    "set",
    "set_multi",
    "update",
}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="TaskGroup came with 3.11")
def test_a_task_group_that_fails_takes_nothing_from_others(make: Maker) -> None:
    region = make("memory")
    groups: Any = vars(asyncio)["TaskGroup"]

    async def main() -> Any:
        cue = Cue("value")

        async def fail() -> None:
            await cue.asked.wait()
            raise ValueError("broken")

        async def group() -> None:
            async with groups() as tasks:
                tasks.create_task(region.aget_or_create("key", cue))
                tasks.create_task(fail())

        grouped = task(group())
        await cue.asked.wait()
        waiter = task(region.aget_or_create("key", quick(lambda: "heir")))
        await asyncio.wait([grouped])
        assert grouped.exception() is not None
        return await waiter

    assert in_loop(main) == "heir"
