"""One creation among processes, and what becomes of those that are killed."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import processes
import pytest
from crowd import (
    PATIENCE,
    SHARED,
    Maker,
    clock_of,
    never,
    pass_until_done,
    result,
    results,
    settle,
    start,
)

from dogpile.cache import NO_VALUE, CacheRegion
from dogpile.cache.testing import FakeClock

pytestmark = pytest.mark.parametrize("kind", SHARED)


@pytest.fixture(scope="module")
def company() -> Iterator[processes.Play]:
    """Return processes that last for all tests: they take long to start."""
    play = processes.Play()
    yield play
    play.close()


@pytest.fixture
def play(company: processes.Play) -> processes.Play:
    """Return the processes, with nothing left of what they did before."""
    company.stage.reset()
    return company


@pytest.fixture
def filename(tmp_path: Path, kind: str) -> str:
    """Return the file of the regions that ``make`` makes."""
    return str(tmp_path / f"cache.{kind}")


class TestOneCreation:
    def test_four_processes_of_eight_threads_call_once(
        self, play: processes.Play, kind: str, filename: str
    ) -> None:
        found = play.everywhere(processes.create, kind, filename, 8)

        assert play.stage.count.value == 1
        assert len({value for values in found for value in values}) == 1
        assert [len(values) for values in found] == [8] * processes.SIZE

    def test_all_of_them_are_told_a_creators_error(
        self, play: processes.Play, kind: str, filename: str, make: Maker
    ) -> None:
        told = play.everywhere(processes.fail, kind, filename, 8)

        assert play.stage.count.value == 1
        texts = {each.text for process in told for each in process}
        assert texts == {"LookupError('no such page', 404)"}
        for process in told:
            assert len({each.identity for each in process}) == 8
            # One thread has it from the creator or from the other process.
            assert sum(each.has_cause for each in process) == 7
        assert make(kind).get_or_create("key", lambda: "next") == "next"

    def test_none_loses_what_it_wrote(
        self, play: processes.Play, kind: str, filename: str
    ) -> None:
        assert play.everywhere(processes.busy, kind, filename, 50) == [0] * 4


class TestInvalidation:
    def test_all_see_it_at_once_where_they_ask_each_time(
        self, play: processes.Play, kind: str, filename: str, make: Maker
    ) -> None:
        region = make(kind, generation_ttl=0, clock=FakeClock(time.time()))

        before = play.everywhere(processes.read_strictly, kind, filename, "old")
        region.invalidate()
        after = play.everywhere(processes.read_strictly, kind, filename, "new")

        assert (before, after) == (["old"] * 4, ["new"] * 4)
        assert play.stage.count.value == 2

    def test_all_see_it_after_a_second(
        self, play: processes.Play, kind: str, filename: str, make: Maker
    ) -> None:
        region = make(kind, clock=FakeClock(time.time()))

        before = play.everywhere(processes.read, kind, filename, 0, "old")
        region.invalidate()
        after = play.everywhere(processes.read, kind, filename, 1.001, "new")

        assert (before, after) == (["old"] * 4, ["new"] * 4)

    def test_what_one_deletes_and_puts_all_see(
        self, play: processes.Play, kind: str, filename: str, make: Maker
    ) -> None:
        region = make(kind, clock=FakeClock(time.time()))

        before = play.everywhere(processes.read, kind, filename, 0, "old")
        region.delete("key")
        deleted = play.everywhere(processes.read, kind, filename, 0, "new")
        region.put("key", "put")
        put = play.everywhere(processes.read, kind, filename, 0, "never")

        assert (before, deleted, put) == (["old"] * 4, ["new"] * 4, ["put"] * 4)


ROUNDS = {"sqlite": 150, "dbm": 40}


def test_a_storm_leaves_nothing_stale(
    play: processes.Play, kind: str, filename: str
) -> None:
    seen = play.everywhere(processes.storm, kind, filename, 4, ROUNDS[kind])

    assert [wrong for weather in seen for wrong in weather.wrong] == []
    counts: Counter[str] = Counter()
    for weather in seen:
        counts.update(weather.counts)
    # It was a storm: there was something to be refused.
    assert counts["refused"] > 0
    assert counts["created"] > 0


def fork(act: Callable[[], Any]) -> int:
    """Call a function in the child of a fork, which ends with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    try:
        signal.alarm(int(2 * PATIENCE))
        act()
    finally:
        os._exit(1)


def hang(step: Callable[[], Any]) -> Any:
    """Say that one has come so far, and go no further."""
    step()
    signal.pause()


class Victim:
    """A process that is killed while it does something.

    :param act: called in it with a function that says how far it has come.
    """

    def __init__(self, act: Callable[[Callable[[], Any]], Any]) -> None:
        reader, writer = os.pipe()
        self._reader = os.fdopen(reader, "rb", buffering=0)
        self._child = fork(lambda: act(lambda: os.write(writer, b".")))
        os.close(writer)

    def await_steps(self, count: int = 1) -> None:
        """Return when it has come so far."""
        for _ in range(count):
            assert self._reader.read(1) == b".", "it has ended by itself"

    def kill(self) -> None:
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)
        self._reader.close()


class TestKilled:
    @pytest.fixture
    def region(self, make: Maker, kind: str) -> CacheRegion:
        return make(kind, clock=FakeClock(time.time()), lease_time=10, grace=100)

    def hold(self, make: Maker, kind: str, step: Callable[[], Any]) -> None:
        region = make(kind, clock=FakeClock(time.time()), lease_time=10, grace=100)
        region.get_or_create("key", lambda: hang(step), grace=0)

    def test_a_holder_stops_others_for_its_lease_time(
        self, make: Maker, kind: str, region: CacheRegion
    ) -> None:
        victim = Victim(lambda step: self.hold(make, kind, step))
        victim.await_steps()
        victim.kill()

        waiters = [start(region.get_or_create, "key", lambda: "new") for _ in range(4)]
        pass_until_done(clock_of(region), waiters, step=0.2)

        assert results(waiters) == ["new"] * 4
        # What it took to fork and to start threads is in the lease, too.
        assert clock_of(region).monotonic() < 10 + PATIENCE

    def test_a_holder_that_refreshed_costs_nobody_the_stale_value(
        self, make: Maker, kind: str, region: CacheRegion
    ) -> None:
        region.put("key", "old")
        clock_of(region).advance(61)

        def refresh(step: Callable[[], Any]) -> None:
            clock = clock_of(region)
            # Creates in the caller's own thread, as there is no grace.
            region.get_or_create("key", lambda: hang(step), grace=None)
            clock.advance(0)

        victim = Victim(refresh)
        victim.await_steps()
        victim.kill()

        assert region.get_or_create("key", never, grace=None) == "old"
        clock_of(region).advance(11)
        assert region.get_or_create("key", lambda: "new") == "old"
        settle(region)
        assert region.get("key") == "new"

    def test_a_holder_of_many_keys_stops_others_for_its_lease_time(
        self, make: Maker, kind: str, region: CacheRegion
    ) -> None:
        def hold(step: Callable[[], Any]) -> None:
            mine = make(kind, clock=FakeClock(time.time()), lease_time=10)
            mine.get_or_create_multi(["a", "b"], lambda *keys: hang(step))

        victim = Victim(hold)
        victim.await_steps()
        victim.kill()

        waiter = start(
            region.get_or_create_multi,
            ["c", "b", "a"],
            lambda *keys: [f"new {key}" for key in keys],
        )
        pass_until_done(clock_of(region), [waiter], step=0.2)

        assert result(waiter) == ["new c", "new b", "new a"]

    @pytest.mark.filterwarnings("ignore:.*is broken; it was moved")
    @pytest.mark.parametrize("steps", [1, 2, 7, 20])
    def test_a_writer_leaves_whole_values_and_a_file_that_works(
        self, make: Maker, kind: str, region: CacheRegion, steps: int
    ) -> None:
        values = {f"key {number}": f"{number} " * 5000 for number in range(5)}
        region.put_multi(values)

        def write(step: Callable[[], Any]) -> None:
            mine = make(kind)
            while True:
                for key, value in values.items():
                    mine.put(key, value)
                    step()

        victim = Victim(write)
        victim.await_steps(steps)
        victim.kill()

        found = region.get_multi([*values])
        assert {*found} <= {*values.values(), NO_VALUE}
        region.put("key 0", "after")
        assert region.get("key 0") == "after"
        assert region.get_or_create("new", lambda: "created") == "created"
