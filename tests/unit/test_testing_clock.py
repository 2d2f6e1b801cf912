"""The clock of the test kit."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from dogpile.cache.testing import FakeClock


def start(function: Callable[..., object], *args: object) -> threading.Thread:
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


def test_it_stands_still() -> None:
    clock = FakeClock(start=500.0)

    readings = (clock.time(), clock.monotonic(), clock.time(), clock.monotonic())

    assert readings == (500.0, 0.0, 500.0, 0.0)


def test_it_is_its_own_source() -> None:
    clock = FakeClock(start=500.0)

    clock.advance(1)

    assert clock.source.time() == 501.0


def test_two_clocks_go_apart() -> None:
    one, two = FakeClock(), FakeClock()

    one.advance(10)

    assert one.time() - two.time() == 10


def test_advance_moves_both_clocks() -> None:
    clock = FakeClock(start=500.0)

    clock.advance(2.5)

    assert (clock.time(), clock.monotonic()) == (502.5, 2.5)


def test_ten_tenths_are_one() -> None:
    clock = FakeClock(start=0.0)

    for _ in range(10):
        clock.advance(0.1)

    assert clock.time() == clock.monotonic() == 1.0


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0])
def test_jump_moves_the_wall_clock_alone(seconds: float) -> None:
    clock = FakeClock(start=5000.0)

    clock.jump(seconds)

    assert (clock.time(), clock.monotonic()) == (5000.0 + seconds, 0.0)


def test_time_does_not_go_back() -> None:
    clock = FakeClock()

    with pytest.raises(ValueError, match="jump"):
        clock.advance(-1)


def test_a_sleeper_wakes_when_its_time_has_come() -> None:
    clock = FakeClock()
    thread = start(clock.sleep, 30)
    clock.wait_for_sleepers(1)

    clock.advance(29)
    still_asleep = clock.sleepers
    clock.advance(1)
    thread.join(5)

    assert still_asleep == 1
    assert clock.sleepers == 0
    assert not thread.is_alive()


def test_a_jump_wakes_nobody() -> None:
    clock = FakeClock()
    thread = start(clock.sleep, 30)
    clock.wait_for_sleepers(1)

    clock.jump(3600)

    assert clock.sleepers == 1
    clock.advance(30)
    thread.join(5)


def test_who_is_woken_is_counted_out_at_once() -> None:
    clock = FakeClock()

    def sleep_twice() -> None:
        clock.sleep(1)
        clock.sleep(1)

    thread = start(sleep_twice)
    for _ in range(2):
        clock.wait_for_sleepers(1)
        clock.advance(1)
    thread.join(5)

    assert not thread.is_alive()


def test_sleeping_no_time_returns_at_once() -> None:
    clock = FakeClock()

    clock.sleep(0)

    assert clock.sleepers == 0


def test_sleeping_backwards_is_refused_as_by_the_system() -> None:
    clock = FakeClock()

    with pytest.raises(ValueError, match="non-negative"):
        clock.sleep(-1)


def test_too_few_sleepers_are_an_error_that_counts_them() -> None:
    clock = FakeClock()

    with pytest.raises(TimeoutError, match="0 of 1"):
        clock.wait_for_sleepers(1, timeout=0.01)


def test_a_free_mutex_is_acquired_at_once() -> None:
    clock, mutex = FakeClock(), threading.Lock()

    assert clock.acquire(mutex, 10)
    assert clock.monotonic() == 0


def test_acquire_gives_up_when_the_time_has_passed() -> None:
    clock, mutex, answers = FakeClock(), threading.Lock(), list[bool]()
    mutex.acquire()
    thread = start(lambda: answers.append(clock.acquire(mutex, 10)))
    clock.wait_for_sleepers(1)

    clock.advance(10)
    thread.join(5)

    assert answers == [False]
    assert clock.sleepers == 0


@pytest.mark.parametrize("seconds", [10.0, None, float("inf")])
def test_acquire_returns_when_the_mutex_is_released(seconds: float | None) -> None:
    clock, mutex, answers = FakeClock(), threading.Lock(), list[bool]()
    mutex.acquire()
    thread = start(lambda: answers.append(clock.acquire(mutex, seconds)))
    clock.wait_for_sleepers(1)

    mutex.release()
    thread.join(5)

    assert answers == [True]
    assert clock.sleepers == 0


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_acquire_without_time_does_not_wait(seconds: float) -> None:
    clock, mutex = FakeClock(), threading.Lock()
    mutex.acquire()

    assert not clock.acquire(mutex, seconds)


def test_tasks_wake_in_the_order_of_their_time() -> None:
    clock, woken = FakeClock(), list[int]()

    async def nap(seconds: int) -> None:
        await clock.asleep(seconds)
        woken.append(seconds)

    async def main() -> None:
        naps = asyncio.gather(*map(nap, (3, 1, 2)))
        await clock.await_for_sleepers(3)
        clock.advance(3)
        await naps

    asyncio.run(main())

    assert woken == [1, 2, 3]


def test_tasks_of_several_loops_are_woken() -> None:
    clock = FakeClock()
    threads = [start(asyncio.run, clock.asleep(5)) for _ in range(2)]
    clock.wait_for_sleepers(2)

    clock.advance(5)
    for thread in threads:
        thread.join(5)

    assert not any(thread.is_alive() for thread in threads)


def test_a_cancelled_task_sleeps_no_more() -> None:
    clock = FakeClock()

    async def main() -> None:
        task = asyncio.ensure_future(clock.asleep(5))
        await clock.await_for_sleepers(1)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())

    assert clock.sleepers == 0


def test_a_task_sees_that_too_few_sleep() -> None:
    clock = FakeClock()

    with pytest.raises(TimeoutError, match="0 of 2"):
        asyncio.run(clock.await_for_sleepers(2, timeout=0.01))


def test_a_task_that_sleeps_no_time_lets_others_run() -> None:
    clock, order = FakeClock(), list[str]()

    async def other() -> None:
        order.append("other")

    async def main() -> None:
        task = asyncio.ensure_future(other())
        await clock.asleep(0)
        order.append("main")
        await task

    asyncio.run(main())

    assert order == ["other", "main"]


def test_the_kit_needs_neither_pytest_nor_hypothesis() -> None:
    program = (
        "import sys, dogpile.cache.testing as kit; kit.FakeClock; "
        "assert not {'pytest', 'hypothesis'} & set(sys.modules); "
        "kit.ChaosBackend; "
        "assert not {'pytest', 'hypothesis'} & set(sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], check=False)

    assert done.returncode == 0


def test_the_kit_knows_no_other_names() -> None:
    from dogpile.cache import testing

    with pytest.raises(AttributeError, match="no attribute 'NoSuchThing'"):
        _ = testing.NoSuchThing  # type: ignore[attr-defined]  # that is the test
    assert set(testing.__all__) <= set(dir(testing))
