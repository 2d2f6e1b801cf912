"""Any interleaving of reads, creations and writes is as good as one after another.

Values are numbers: a put stores the number of its write, a creator returns the
number of the last write that had begun when it was called. So whatever is older
than a write that had ended before it was asked for can be told by its number.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from crowd import (
    PATIENCE,
    SHARED,
    Maker,
    clock_of,
    error,
    pass_until_done,
    result,
    start,
    wait_until,
)
from hypothesis import given, settings, strategies as st

from dogpile.cache import NO_VALUE, CacheRegion, make_region
from dogpile.cache.testing import FakeClock

LIFETIME = 60.0
WRITES: dict[str, Callable[[CacheRegion, int], Any]] = {
    "put": lambda region, number: region.put("key", number, tags=("tag",)),
    "put_multi": lambda region, number: region.put_multi(
        {"key": number, "a": 0}, tags=("tag",)
    ),
    "delete": lambda region, number: region.delete("key"),
    "invalidate": lambda region, number: region.invalidate(),
    "invalidate softly": lambda region, number: region.invalidate(hard=False),
    "invalidate the tag": lambda region, number: region.invalidate_tags("tag"),
}
READS: dict[str, Callable[[CacheRegion], Any]] = {
    "get": lambda region: region.get("key"),
    "get_multi": lambda region: region.get_multi(["a", "key"])[1],
    "get by age": lambda region: region.get("key", ignore_expiration=False),
    "metadata": lambda region: getattr(
        region.get_value_metadata("key"), "payload", NO_VALUE
    ),
}


class Refused(Exception):
    """What a creator raises that is told to fail."""


class Creation:
    """One call of the creator, in the hands of the schedule."""

    def __init__(self, number: int, gate: Any) -> None:
        self.number = number
        self.gate = gate
        self.fails = False
        self.is_over = False

    def end(self) -> int:
        self.is_over = True
        if self.fails:
            raise Refused
        return self.number


class World:
    """Which writes were made, which creations are under way, and what was wrong.

    :param regions: that share their values.
    """

    def __init__(self, regions: list[CacheRegion]) -> None:
        self.regions = regions
        self.number = 0
        self.creations: list[Creation] = []
        self.story: list[str] = []
        self._lock = threading.Lock()

    def began(self, gate: Any) -> Creation:
        """Note that the creator was called."""
        with self._lock:
            creation = Creation(self.number, gate)
            beside = [each for each in self.running if each.number == self.number]
            self.creations.append(creation)
        # Since the last write only one creation may be under way.
        self.check(not beside, "two creations at the same time")
        return creation

    @property
    def running(self) -> list[Creation]:
        return [each for each in self.creations if not each.is_over]

    def write(self, name: str, region: CacheRegion) -> None:
        self.story.append(name)
        self.number += 1
        WRITES[name](region, self.number)
        for name in READS:
            for each in self.regions:
                self.read(name, each)

    def read(self, name: str, region: CacheRegion) -> None:
        self.found(name, READS[name](region), self.number)

    def found(self, name: str, value: Any, number: int) -> None:
        """Check what was found against the writes that had ended before."""
        is_new = value is NO_VALUE or value >= number
        self.check(is_new, f"{name} found {value}, older than {number}")

    def check(self, is_so: bool, what: str) -> None:
        if not is_so:
            self.story.append(f"WRONG: {what}")
        assert is_so, (what, self.story)


class Threads:
    """Asks in threads, whose creators wait for the schedule."""

    def __init__(self, world: World, clock: FakeClock) -> None:
        self.world = world
        self.clock = clock
        self.asked: list[tuple[Future[Any], int]] = []

    def ask(self, region: CacheRegion) -> None:
        """Ask for the value, and let the thread come as far as it comes."""
        self.world.story.append("ask")
        future = start(region.get_or_create, "key", self.create, tags=("tag",))
        self.asked.append((future, self.world.number))
        self.settle()

    def create(self) -> int:
        creation = self.world.began(threading.Event())
        if not creation.gate.wait(PATIENCE):
            raise TimeoutError("the schedule has forgotten this creation")
        return creation.end()

    def finish(self, creation: Creation, *, fails: bool) -> None:
        self.world.story.append(f"end {creation.number}{' badly' if fails else ''}")
        creation.fails = fails
        creation.gate.set()
        self.settle()

    def settle(self) -> None:
        """Give the threads a chance; what they make of it is not counted on."""
        deadline = time.monotonic() + 0.02
        while time.monotonic() < deadline:
            busy = sum(not future.done() for future, _ in self.asked)
            gated = sum(not each.gate.is_set() for each in self.world.running)
            if busy == gated + self.clock.sleepers:
                return
            time.sleep(0.0005)

    def end(self) -> None:
        """Let all end, and check what they were told."""

        def is_over() -> bool:
            for creation in self.world.running:
                creation.gate.set()
            self.clock.advance(0.01)
            return all(future.done() for future, _ in self.asked)

        wait_until(is_over)
        for future, number in self.asked:
            if future.exception(PATIENCE) is None:
                self.world.found("get_or_create", result(future), number)
            else:
                assert type(error(future)) is Refused, self.world.story


@pytest.mark.parametrize("seed", range(12))
def test_threads(make: Maker, kind: str, seed: int) -> None:
    dice = random.Random(seed)
    clock = FakeClock()
    how: dict[str, Any] = {"grace": 0, "generation_ttl": 0, "lease_time": 1e6}
    regions = [
        make(kind, clock=clock, expiration_time=LIFETIME, **how)
        for _ in range(2 if kind in SHARED else 1)
    ]
    world = World(regions)
    threads = Threads(world, clock)

    for _ in range(30):
        step = dice.choice(["ask", "ask", "ask", "end", "end", "write", "read", "time"])
        region = dice.choice(regions)
        if step == "ask":
            threads.ask(region)
        elif step == "end" and world.running:
            threads.finish(dice.choice(world.running), fails=dice.random() < 0.2)
        elif step == "write":
            world.write(dice.choice([*WRITES]), region)
        elif step == "read":
            world.read(dice.choice([*READS]), region)
        elif step == "time":
            world.story.append("time passes")
            clock.advance(dice.choice([0.3, LIFETIME]))
            threads.settle()
    threads.end()

    assert not world.running
    assert not any(region.key_is_locked("key") for region in regions)


class Tasks:
    """Asks in the tasks of one loop: the same schedule is always the same."""

    def __init__(self, world: World, clock: FakeClock) -> None:
        self.world = world
        self.clock = clock
        self.asked: list[tuple[asyncio.Task[Any], int]] = []

    async def run(self, steps: list[tuple[str, int]]) -> None:
        """Take the steps, and let all end."""
        for name, choice in steps:
            self.step(name, choice)
            await self.settle()
        while self.world.running:
            self.finish(self.world.running[0], fails=False)
            await self.settle()
        for asked, number in self.asked:
            assert asked.done(), self.world.story
            if asked.cancelled():
                continue
            if asked.exception() is None:
                self.world.found("aget_or_create", asked.result(), number)
            else:
                assert type(asked.exception()) is Refused, self.world.story

    def step(self, name: str, choice: int) -> None:
        world = self.world
        [region] = world.regions
        running = world.running
        if name == "ask":
            world.story.append("ask")
            asking = region.aget_or_create("key", self.create, tags=("tag",))
            task = asyncio.get_running_loop().create_task(asking)
            self.asked.append((task, world.number))
        elif name in ("end", "fail") and running:
            self.finish(running[choice % len(running)], fails=name == "fail")
        elif name == "cancel" and self.asked:
            world.story.append("cancel")
            self.asked[choice % len(self.asked)][0].cancel()
        elif name == "time":
            world.story.append("time passes")
            self.clock.advance(LIFETIME)
        elif name in WRITES:
            world.write(name, region)
        elif name in READS:
            world.read(name, region)

    async def create(self) -> int:
        creation = self.world.began(asyncio.Event())
        try:
            await creation.gate.wait()
        finally:
            creation.is_over = True
        return creation.end()

    def finish(self, creation: Creation, *, fails: bool) -> None:
        self.world.story.append(f"end {creation.number}{' badly' if fails else ''}")
        creation.fails = fails
        creation.gate.set()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


STEPS = st.tuples(
    st.sampled_from(
        ["ask", "ask", "ask", "end", "fail", "cancel", "time", *WRITES, *READS]
    ),
    st.integers(0, 5),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=30), st.sampled_from(["memory", "memory, heard"]))
def test_tasks(steps: list[tuple[str, int]], kind: str) -> None:
    clock = FakeClock()
    region = make_region(clock=clock, grace=0, lease_time=1e6).configure(
        "dogpile.cache.memory", expiration_time=LIFETIME
    )
    if kind == "memory, heard":
        region.on("*", lambda event: None)
    world = World([region])

    asyncio.run(Tasks(world, clock).run(steps))

    assert not world.running
    assert not region.key_is_locked("key")


class TestOverlappingKeys:
    """Callers that ask for several keys each, in whatever order."""

    @pytest.mark.parametrize("seed", range(3))
    def test_they_never_wait_in_a_circle(
        self, make: Maker, kind: str, seed: int
    ) -> None:
        region = make(kind)
        keys = [f"key {number}" for number in range(8)]
        calls: list[str] = []
        barrier = threading.Barrier(6)

        def create(*names: str) -> list[str]:
            calls.extend(names)
            return [f"value of {name}" for name in names]

        def ask(number: int) -> None:
            dice = random.Random(seed * 100 + number)
            for _ in range(ROUNDS.get(kind, 40)):
                barrier.wait(PATIENCE)
                if number == 0:
                    region.delete_multi(keys)
                barrier.wait(PATIENCE)
                names = dice.sample(keys, dice.randint(1, len(keys)))
                found = region.get_or_create_multi(names, create)
                assert found == [f"value of {name}" for name in names]

        for caller in [start(ask, number) for number in range(6)]:
            result(caller)

        # Each of them once a round, at most.
        assert len(calls) <= ROUNDS.get(kind, 40) * len(keys)

    def test_nor_with_single_ones_and_loops(self, make: Maker, kind: str) -> None:
        region = make(kind)
        keys = [f"key {number}" for number in range(5)]
        barrier = threading.Barrier(4)

        def ask_many(dice: random.Random) -> None:
            names = dice.sample(keys, 3)
            region.get_or_create_multi(names, lambda *names: [1] * len(names))

        def ask_one(dice: random.Random) -> None:
            region.get_or_create(dice.choice(keys), lambda: 1)

        def ask_in_loop(dice: random.Random) -> None:
            async def create(*names: str) -> list[int]:
                await asyncio.sleep(0)
                return [1] * len(names)

            asks = [
                region.aget_or_create_multi(dice.sample(keys, 3), create)
                for _ in range(3)
            ]

            async def main() -> None:
                await asyncio.gather(*asks)

            asyncio.run(main())

        def repeat(act: Callable[[random.Random], None], number: int) -> None:
            dice = random.Random(number)
            for _ in range(10):
                barrier.wait(PATIENCE)
                region.delete(dice.choice(keys))
                act(dice)

        acts = [ask_many, ask_one, ask_in_loop, ask_many]
        crowd = [start(repeat, act, number) for number, act in enumerate(acts)]
        pass_until_done(clock_of(region), crowd, step=0.001)

        for caller in crowd:
            result(caller)

    def test_all_are_told_an_error_in_common(self, make: Maker, kind: str) -> None:
        region = make(kind)
        began, cue = threading.Event(), threading.Event()
        failure = LookupError("no such pages")

        def fail(*names: str) -> list[str]:
            began.set()
            cue.wait(PATIENCE)
            raise failure

        one = start(region.get_or_create_multi, ["a", "b"], fail)
        assert began.wait(PATIENCE)
        many = start(
            region.get_or_create_multi, ["c", "b"], lambda *names: [1] * len(names)
        )
        single = start(region.get_or_create, "a", lambda: 1)
        clock_of(region).wait_for_sleepers(2, PATIENCE)
        cue.set()

        assert error(one) is failure
        for waiter in (many, single):
            told = error(waiter)
            assert type(told) is LookupError
            assert told is not failure
            assert told.__cause__ is failure
        # What the other one has created itself is not lost with it.
        assert region.get("c") == 1
        assert region.get_multi(["a", "b"]) == [NO_VALUE, NO_VALUE]

    def test_crossed_creations_of_many_keys_are_a_cycle(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)
        both = threading.Barrier(2)

        def create(*names: str, needs: str) -> list[Any]:
            both.wait(PATIENCE)
            return region.get_or_create_multi([needs], lambda *names: [1])

        one = start(
            region.get_or_create_multi, ["a"], lambda *names: create(*names, needs="b")
        )
        other = start(
            region.get_or_create_multi, ["b"], lambda *names: create(*names, needs="a")
        )

        assert {type(error(each)).__name__ for each in (one, other)} == {
            "CreationCycleError"
        }


# A dbm file is opened for each operation.
ROUNDS = {"dbm": 10, "sqlite": 20}
