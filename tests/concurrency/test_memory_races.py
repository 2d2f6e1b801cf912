"""Hits in memory take no lock: they are never older than a completed write."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from crowd import (
    Interrupting,
    Maker,
    never,
    race,
    result,
    results,
    start,
)

from dogpile.cache import NO_VALUE, CacheRegion, make_region
from dogpile.cache.clock import Clock


@pytest.fixture(autouse=True)
def _restless() -> Iterator[None]:
    """Let threads take turns as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


class TestInterleavings:
    """A write exactly where a reader has the payload, and not yet the time."""

    @pytest.fixture
    def clock(self) -> Interrupting:
        return Interrupting()

    @pytest.fixture
    def region(self, make: Maker, clock: Interrupting) -> CacheRegion:
        return make("memory", clock=clock, expiration_time=60, grace=0)

    def test_a_payload_that_has_expired_gets_no_new_time(
        self, region: CacheRegion, clock: Interrupting
    ) -> None:
        region.put("key", "expired")
        clock.advance(61)

        clock.between = lambda: region.put("key", "new")

        assert region.get_or_create("key", never) == "new"

    def test_a_decorated_function_is_no_exception(
        self, region: CacheRegion, clock: Interrupting
    ) -> None:
        @region.cache_on_arguments()
        def load(number: int) -> str:
            return "expired"

        load(1)
        load(1)
        clock.advance(61)

        clock.between = lambda: load.set("new", 1)  # type: ignore[attr-defined]

        assert load(1) == "new"

    def test_an_invalidated_payload_gets_no_new_time(
        self, region: CacheRegion, clock: Interrupting
    ) -> None:
        inner = region.namespace("inner")
        inner.put("key", "invalid")
        inner.get_or_create("key", never)
        inner.invalidate()

        clock.between = lambda: inner.put("key", "new")

        assert inner.get_or_create("key", never) == "new"

    @pytest.mark.parametrize("write", ["delete", "invalidate"])
    def test_a_hit_that_is_dropped_meanwhile_is_created_anew(
        self, region: CacheRegion, clock: Interrupting, write: str
    ) -> None:
        region.put("key", "old")
        acts = {"delete": lambda: region.delete("key"), "invalidate": region.invalidate}

        clock.between = acts[write]

        assert region.get_or_create("key", lambda: "new") == "new"


class TestInvalidationsAtOnce:
    """Whichever comes last, what is short and what is long agree after them."""

    def test_none_is_overlooked(self, make: Maker) -> None:
        region = make("memory", tags=("tag",))
        calls: list[int] = []

        @region.cache_on_arguments(key="{number}")
        def load(number: int) -> int:
            calls.append(number)
            return len(calls)

        acts = [
            lambda: region.invalidate_tags("tag"),
            lambda: region.invalidate_tags("tag"),
            lambda: region.invalidate(hard=False),
            region.invalidate,
        ]
        for number in range(100):
            before = load(1)
            race(*acts[number % 2 :: 2], acts[number % 4])
            assert region.get("1") is NO_VALUE
            assert region.get_multi(["1"]) == [NO_VALUE]
            assert load(1) > before
            assert region.get("1") == region.get_multi(["1"])[0] == load(1)

    def test_what_is_created_after_them_is_there_for_all(self, make: Maker) -> None:
        region = make("memory")

        for number in range(100):
            race(region.invalidate, lambda: region.invalidate(hard=False))
            made = region.get_or_create("key", lambda number=number: number)
            found = [region.get("key"), *region.get_multi(["key"])]
            assert [made, *found] == [number] * 3


class TestEviction:
    def test_a_listener_may_write(self, make: Maker) -> None:
        region = make_region(statistics=True).configure(
            "dogpile.cache.memory", arguments={"max_entries": 10}
        )
        evicted: list[Any] = []

        def listen(event: Any) -> None:
            evicted.extend(event.details["keys"])
            if len(evicted) < 5:
                region.put(f"evicted {len(evicted)}", 1)
                region.delete("0")
                region.get_or_create("another", lambda: 1)

        off = region.on("evict", listen)

        def fill() -> None:
            for number in range(50):
                region.put(f"{number}", number)
            off()
            region.put("last", 1)

        result(start(fill))
        assert len(evicted) >= 5
        assert region.get("last") == 1

    @pytest.mark.parametrize("policy", ["s3fifo", "lru"])
    def test_bounds_hold_in_a_crowd(self, policy: str) -> None:
        region = make_region(clock=Clock()).configure(
            "dogpile.cache.memory", arguments={"max_entries": 50, "policy": policy}
        )
        backend: Any = region.actual_backend

        @region.cache_on_arguments()
        def load(number: int) -> str:
            return f"value of {number}"

        def use(seed: int) -> None:
            for step in range(400):
                number = (step * seed) % 83
                assert load(number) == f"value of {number}"
                if step % 7 == seed % 7:
                    load.invalidate(number)  # type: ignore[attr-defined]
                if step % 50 == seed:
                    region.invalidate()

        race(*[lambda seed=seed: use(seed) for seed in range(1, 9)])
        assert len(backend) <= 50


class Scene(NamedTuple):
    """A region under fire.

    :param region: with the function ``load`` and the key ``1``.
    :param write: makes what is older than a number invalid; the number is
        stored by those that store.
    :param keeps: there is always a value.
    """

    region: CacheRegion
    load: Callable[[int], int]
    write: Callable[[int], Any]
    keeps: bool = False


class Truth:
    """Writes are numbered when they begin, and known when they have ended."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0


def scene(kind: str, truth: Truth) -> Scene:
    """Set a scene: which writes race against the hits."""
    bounds = {"max_entries": 4} if kind == "evict" else None
    region = make_region(clock=Clock(), generation_ttl=0).configure(
        "dogpile.cache.memory",
        expiration_time=1000,
        arguments=bounds,
        grace=0,
        tags=("tag",) if kind == "invalidate tags" else (),
    )
    space = region.namespace("inner") if kind == "namespace" else region

    @space.cache_on_arguments(key="{number}")
    def load(number: int) -> int:
        # Whatever is created now comes after all that has ended by now.
        return truth.begun

    writes: dict[str, Callable[[int], Any]] = {
        "put": lambda number: space.put("1", number),
        "set": lambda number: load.set(number, 1),  # type: ignore[attr-defined]
        "delete": lambda number: space.delete("1"),
        "put and delete": lambda number: (
            space.delete("1") if number % 2 else space.put("1", number)
        ),
        "invalidate": lambda number: space.invalidate(),
        "invalidate softly": lambda number: space.invalidate(hard=False),
        "invalidate tags": lambda number: space.invalidate_tags("tag"),
        "namespace": lambda number: space.invalidate(),
        "parent": lambda number: region.invalidate(),
        "evict": lambda number: [
            space.put(f"other {number * 8 + more}", more) for more in range(8)
        ],
    }
    return Scene(space, load, writes[kind], keeps=kind in ("put", "set"))


READS: dict[str, Callable[[Scene, Truth], Any]] = {
    "load": lambda scene, truth: scene.load(1),
    "get": lambda scene, truth: scene.region.get("1"),
    "get_multi": lambda scene, truth: scene.region.get_multi(["1"])[0],
    "get_or_create": lambda scene, truth: scene.region.get_or_create(
        "1", lambda: truth.begun
    ),
    "the long way": lambda scene, truth: scene.region.get_or_create(
        "1", lambda: truth.begun, retry_after=1
    ),
}


@pytest.mark.parametrize(
    "kind",
    [
        "put",
        "set",
        "delete",
        "put and delete",
        "invalidate",
        "invalidate softly",
        "invalidate tags",
        "namespace",
        "parent",
        "evict",
    ],
)
def test_no_read_is_older_than_a_write_that_has_ended(kind: str) -> None:
    truth = Truth()
    under_fire = scene(kind, truth)
    under_fire.load(1)
    wrong: list[tuple[str, Any, int]] = []
    over = threading.Event()

    def read(name: str) -> int:
        act = READS[name]
        for count in itertools.count():
            ended = truth.ended
            found = act(under_fire, truth)
            missing = (
                found is NO_VALUE and name.startswith("get") and not under_fire.keeps
            )
            if not missing and not (type(found) is int and found >= ended):
                wrong.append((name, found, ended))
            if over.is_set() or wrong:
                return count
        raise AssertionError

    readers = [start(read, name) for name in (*READS, "load", "load")]
    for number in range(1, 2000):
        truth.begun = number
        under_fire.write(number)
        # What is evicted, and created anew, was not wrong before.
        truth.ended = 0 if kind == "evict" else number
        if wrong:
            break
    over.set()

    results(readers)
    assert wrong == []
