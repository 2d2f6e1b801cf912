"""How a flow calls, creates and waits, in threads and in event loops."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

from dogpile.cache import NO_VALUE, CacheRegion
from dogpile.cache.clock import SYSTEM_CLOCK
from dogpile.cache.exception import CoroutineCreatorError, CreatorTimeout
from dogpile.cache.flight import FlightTable
from dogpile.cache.ports import (
    THREAD_PORTS,
    Carried,
    in_thread,
    loop_ports,
    run_now,
)
from dogpile.cache.testing import FakeClock

PATIENCE = 10.0


def do_nothing() -> None: ...


def note_thread(threads: list[int], done: threading.Event) -> None:
    threads.append(threading.get_ident())
    done.set()


class TestRunNow:
    def test_a_flow_that_never_suspends_returns(self) -> None:
        async def inner() -> int:
            return 2

        async def flow() -> int:
            return 1 + await inner()

        assert run_now(flow()) == 3

    def test_an_error_passes(self) -> None:
        error = LookupError()

        async def flow() -> None:
            raise error

        with pytest.raises(LookupError) as caught:
            run_now(flow())

        assert caught.value is error

    def test_a_stop_iteration_is_carried_out(self) -> None:
        error = StopIteration("payload")

        async def flow() -> None:
            raise Carried(error)

        with pytest.raises(StopIteration) as caught:
            run_now(flow())

        assert caught.value is error

    def test_a_flow_that_suspends_is_a_mistake(self) -> None:
        async def flow() -> None:
            await asyncio.sleep(0)

        with pytest.raises(AssertionError, match="suspended"):
            run_now(flow())


class TestThreadPorts:
    def create(
        self, creator: Callable[[], Any], clock: FakeClock, seconds: float | None
    ) -> Any:
        return run_now(THREAD_PORTS.create(creator, clock, seconds, do_nothing))

    def test_a_creator_runs_in_the_callers_thread(self, clock: FakeClock) -> None:
        assert self.create(threading.get_ident, clock, None) == threading.get_ident()

    def test_one_with_a_time_limit_runs_in_another(self, clock: FakeClock) -> None:
        assert self.create(threading.get_ident, clock, 5) != threading.get_ident()

    def test_which_sees_the_callers_context(self, clock: FakeClock) -> None:
        tenant = contextvars.ContextVar[str]("tenant")
        tenant.set("of the caller")

        assert self.create(tenant.get, clock, 5) == "of the caller"

    @pytest.mark.parametrize("seconds", [None, 5])
    @pytest.mark.parametrize(
        "error", [LookupError("x"), StopIteration("x"), KeyboardInterrupt("x")]
    )
    def test_an_error_arrives_as_it_is(
        self, clock: FakeClock, seconds: float | None, error: BaseException
    ) -> None:
        def fail() -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            self.create(fail, clock, seconds)

        assert caught.value is error

    def test_what_is_late_is_told_of(self, clock: FakeClock) -> None:
        end = threading.Event()
        told: list[str] = []

        def create() -> Any:
            with pytest.raises(CreatorTimeout, match="wait took longer"):
                run_now(
                    THREAD_PORTS.create(end.wait, clock, 5, lambda: told.append("late"))
                )

        thread = threading.Thread(target=create, daemon=True)
        thread.start()
        clock.wait_for_sleepers(1)
        clock.advance(5)
        thread.join(PATIENCE)
        end.set()

        assert told == ["late"]

    @pytest.mark.parametrize("seconds", [None, 5])
    def test_a_coroutine_is_refused(
        self, clock: FakeClock, seconds: float | None
    ) -> None:
        async def creator() -> None: ...

        with pytest.raises(CoroutineCreatorError, match="aget_or_create"):
            self.create(creator, clock, seconds)

    def test_a_pause_takes_its_time(self, clock: FakeClock) -> None:
        thread = threading.Thread(
            target=lambda: run_now(THREAD_PORTS.pause(clock, 5)), daemon=True
        )

        thread.start()
        clock.wait_for_sleepers(1)
        clock.advance(5)
        thread.join(PATIENCE)

        assert not thread.is_alive()

    def test_work_in_the_background_leads_nothing(self) -> None:
        from dogpile.cache.flight import _led, lead, unlead

        seen: list[Any] = []
        done = threading.Event()

        async def work(ports: Any) -> None:
            seen.extend([ports is THREAD_PORTS, _led.get()])
            done.set()

        flight, _ = FlightTable().board("key")
        token = lead(flight)
        is_started = THREAD_PORTS.start(work, lambda: None)
        unlead(token)

        assert is_started
        assert done.wait(PATIENCE)
        assert seen == [True, None]


class TestLoopPorts:
    def test_each_loop_has_its_own(self) -> None:
        async def scenario() -> Any:
            ports = loop_ports()
            assert ports.loop is asyncio.get_running_loop()
            return ports, loop_ports()

        one, again = asyncio.run(scenario())
        other, _ = asyncio.run(scenario())

        assert one is again
        assert other is not one

    def test_a_task_waits_for_a_flight(self) -> None:
        flights = FlightTable()
        flight, _ = flights.board("key")

        async def scenario() -> list[bool]:
            waiting = asyncio.ensure_future(
                loop_ports().join(flight, SYSTEM_CLOCK, PATIENCE)
            )
            await asyncio.sleep(0)
            before = waiting.done()
            flights.land(flight, "payload")
            return [before, await waiting]

        assert asyncio.run(scenario()) == [False, True]

    def test_a_thread_wakes_a_task(self) -> None:
        flights = FlightTable()
        flight, _ = flights.board("key")

        async def scenario() -> bool:
            waiting = asyncio.ensure_future(
                loop_ports().join(flight, SYSTEM_CLOCK, None)
            )
            await asyncio.sleep(0)
            threading.Thread(target=flights.land, args=(flight, "payload")).start()
            return await asyncio.wait_for(waiting, PATIENCE)

        assert asyncio.run(scenario())

    def test_a_task_waits_no_longer_than_it_says(self, clock: FakeClock) -> None:
        flight, _ = FlightTable().board("key")

        async def scenario() -> bool:
            waiting = asyncio.ensure_future(loop_ports().join(flight, clock, 5))
            await clock.await_for_sleepers(1)
            clock.advance(5)
            return await waiting

        assert not asyncio.run(scenario())

    def test_what_has_landed_is_not_waited_for(self, clock: FakeClock) -> None:
        flights = FlightTable()
        flight, _ = flights.board("key")
        flights.land(flight, "payload")

        async def scenario() -> bool:
            return await loop_ports().join(flight, clock, None)

        assert asyncio.run(scenario())

    def test_a_cancelled_waiter_concerns_nobody_else(self) -> None:
        flights = FlightTable()
        flight, _ = flights.board("key")

        async def scenario() -> list[Any]:
            tasks = [
                asyncio.ensure_future(loop_ports().join(flight, SYSTEM_CLOCK, None))
                for _ in range(2)
            ]
            await asyncio.sleep(0)
            tasks[0].cancel()
            await asyncio.sleep(0)
            flights.land(flight, "payload")
            return await asyncio.gather(*tasks, return_exceptions=True)

        cancelled, waited = asyncio.run(scenario())
        assert isinstance(cancelled, asyncio.CancelledError)
        assert waited is True

    def test_a_loop_that_is_gone_is_not_woken(self) -> None:
        flights = FlightTable()
        flight, _ = flights.board("key")

        async def scenario() -> None:
            waiting = asyncio.ensure_future(
                loop_ports().join(flight, SYSTEM_CLOCK, None)
            )
            await asyncio.sleep(0)
            waiting.cancel()

        asyncio.run(scenario())
        flights.land(flight, "payload")

        assert flight.done

    def test_a_creator_that_is_cancelled_is_told(self) -> None:
        told: list[str] = []

        async def creator() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told.append("cancelled")
                raise

        async def scenario() -> None:
            creating = asyncio.ensure_future(
                loop_ports().create(creator, SYSTEM_CLOCK, PATIENCE, do_nothing)
            )
            for _ in range(3):
                await asyncio.sleep(0)
            creating.cancel()
            with pytest.raises(asyncio.CancelledError):
                await creating
            await asyncio.sleep(0)

        asyncio.run(scenario())

        assert told == ["cancelled"]

    def test_a_background_task_is_kept_alive(self, clock: FakeClock) -> None:
        async def scenario() -> bool:
            done = asyncio.Event()

            async def work(ports: Any) -> None:
                await ports.pause(clock, 5)
                done.set()

            loop_ports().start(work, lambda: None)
            gc.collect()
            await clock.await_for_sleepers(1)
            clock.advance(5)
            return await asyncio.wait_for(done.wait(), PATIENCE)

        assert asyncio.run(scenario())

    def test_a_thread_works_for_a_loop(self) -> None:
        tenant = contextvars.ContextVar[str]("tenant")

        async def scenario() -> list[Any]:
            tenant.set("of the task")
            return [await in_thread(tenant.get), await in_thread(threading.get_ident)]

        seen, ident = asyncio.run(scenario())

        assert seen == "of the task"
        assert ident != threading.get_ident()

    def test_a_threads_error_arrives(self) -> None:
        def fail() -> None:
            raise LookupError("of the creator")

        async def scenario() -> None:
            with pytest.raises(LookupError, match="of the creator"):
                await in_thread(fail)

        asyncio.run(scenario())

    def test_backends_that_block_are_called_in_a_thread(self, make: Any) -> None:
        seen: list[int] = []

        def noting(get: Callable[..., Any]) -> Callable[..., Any]:
            def wrapper(key: Any) -> Any:
                seen.append(threading.get_ident())
                return get(key)

            return wrapper

        async def scenario(region: CacheRegion) -> Any:
            return await region.aget("key")

        for backend in ("sqlite", "memory_pickle"):
            region = make(backend)
            region.get("key")  # the records are known from here on
            region.storage.ops["get"] = noting(region.storage.ops["get"])
            assert asyncio.run(scenario(region)) is NO_VALUE

        blocking, inline = seen
        assert blocking != threading.get_ident()
        assert inline == threading.get_ident()
