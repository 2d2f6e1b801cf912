"""Two arguments are looked up one after the other, as long as that is of use."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from dogpile.cache import CacheRegion, make_region
from dogpile.cache.testing import FakeClock
from dogpile.cache.testing.concurrency import together

BY_SECOND, BY_FIRST, AT_ONCE = (1, 0), (0, 1), None


class Counted:
    """A function that remembers its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any]] = []

    def decorated(self, region: CacheRegion) -> Callable[..., Any]:
        @region.cache_on_arguments()
        def f(a: Any, b: Any = 0) -> Any:
            self.calls.append((a, b))
            return [a, b]

        made: Callable[..., Any] = f
        return made


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def region(clock: FakeClock) -> CacheRegion:
    return make_region("dogpile.cache.memory", expiration_time=60, clock=clock)


def index_of(f: Any) -> Any:
    return f._cached.index


def forbid_the_general_way(f: Any) -> None:
    def refuse(*given: Any) -> Any:
        raise AssertionError("this took the general way")

    cached = f._cached
    cached._space[f"{cached.plan.shape.mark}answer"] = refuse


ROWS = {
    "few seconds": ([(n, n % 3) for n in range(1000)], BY_SECOND),
    "few firsts": ([(n % 3, n) for n in range(1000)], BY_FIRST),
    "many of both": ([(n, n + 1) for n in range(1000)], AT_ONCE),
    "some of both": ([(n // 40, n % 40) for n in range(1600)], BY_SECOND),
}


@pytest.mark.parametrize("rows", ROWS)
def test_the_layout_follows_the_arguments(
    region: CacheRegion, counted: Counted, rows: str
) -> None:
    f = counted.decorated(region)
    pairs, order = ROWS[rows]
    pairs = list(pairs)
    random.Random(1).shuffle(pairs)
    for _ in range(3):
        assert [f(a, b) for a, b in pairs] == [[a, b] for a, b in pairs]

    assert index_of(f).order == order
    forbid_the_general_way(f)
    assert [f(a, b=b) for a, b in pairs] == [[a, b] for a, b in pairs]
    assert sorted(counted.calls) == sorted(pairs)


@pytest.mark.parametrize("rows", ROWS)
def test_an_invalidation_reaches_each_layout(
    region: CacheRegion, counted: Counted, rows: str, clock: FakeClock
) -> None:
    f = counted.decorated(region)
    pairs, _ = ROWS[rows]
    acts: list[Callable[[], Any]] = [
        lambda: region.invalidate(hard=False),
        region.invalidate,
        lambda: clock.advance(60),
        lambda: [f.invalidate(a, b) for a, b in pairs],  # type: ignore[attr-defined]
    ]
    for act in acts:
        for _ in range(2):
            for a, b in pairs:
                f(a, b)
        counted.calls.clear()

        act()

        for a, b in pairs:
            assert f(a, b) == [a, b]
        assert sorted(counted.calls) == sorted(pairs)


ARGUMENTS = st.sampled_from(
    [0, 1, 2, True, False, 1.0, 0.0, "1", "a", None, b"1", -1, 2.5]
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(ARGUMENTS, ARGUMENTS), max_size=150))
def test_equal_arguments_of_other_types_are_kept_apart(
    pairs: list[tuple[Any, Any]],
) -> None:
    f = Counted().decorated(make_region("dogpile.cache.memory"))

    for _ in range(2):
        for a, b in pairs:
            made = f(a, b)
            assert made == [a, b]
            assert [type(each) for each in made] == [type(a), type(b)]


def test_a_method_is_looked_up_by_its_class(region: CacheRegion) -> None:
    class Base:
        @region.cache_on_arguments()
        def name(self, number: int) -> str:
            return f"{type(self).__name__} {number}"

    class Derived(Base):
        pass

    for _ in range(2):
        for number in range(300):
            assert Base().name(number) == f"Base {number}"
            assert Derived().name(number) == f"Derived {number}"

    assert index_of(vars(Base)["name"]).order == (0, 1)


def test_what_was_evicted_leaves_no_dictionaries_behind(clock: FakeClock) -> None:
    region = make_region(
        "dogpile.cache.memory", clock=clock, arguments={"max_entries": 50}
    )
    f = Counted().decorated(region)

    for b in range(2000):
        for a in range(10):
            f(a, b)

    index = index_of(f)
    assert len(index._plain) < 2000
    assert index._count < 3000


def test_all_arguments_of_three_are_looked_up_at_once(region: CacheRegion) -> None:
    @region.cache_on_arguments()
    def f(a: int, b: int, c: int) -> int:
        return a + b + c

    assert [f(1, 2, 3) for _ in range(3)] == [6] * 3
    assert index_of(f).order is None


async def _pair(a: int, b: int) -> tuple[int, int]:
    return a, b


def test_a_coroutine_of_before_another_layout_gets_its_own_value(
    region: CacheRegion,
) -> None:
    f = region.cache_on_arguments()(_pair)

    async def ask() -> list[tuple[int, int]]:
        made = []
        for a, b in ((1, 2), (2, 1)):
            begun = f(a, b)
            for number in range(70 * a):
                assert await f(0, number) == (0, number)
            assert await f(b, a) == (b, a)
            made.append(await begun)
        everybody = [f(a, b) for a in range(40) for b in range(40)]
        for each, found in zip(
            [(a, b) for a in range(40) for b in range(40)],
            await asyncio.gather(*everybody),
            strict=True,
        ):
            assert found == each
        return made

    assert asyncio.run(ask()) == [(1, 2), (2, 1)]


def test_a_coroutine_of_before_another_backend_gets_its_own_value(
    region: CacheRegion,
) -> None:
    f = region.cache_on_arguments()(_pair)

    async def ask() -> tuple[int, int]:
        for number in range(100):
            await f(0, number)
        begun = f(1, 2)
        region.configure(
            "dogpile.cache.memory",
            replace_existing_backend=True,
            arguments={"max_entries": 100},
        )
        await f(2, 1)
        again = f(2, 1)
        region.configure("dogpile.cache.memory", replace_existing_backend=True)
        await f(1, 2)
        assert await again == (2, 1)
        return await begun

    assert asyncio.run(ask()) == (1, 2)


def test_an_entry_that_comes_while_the_layout_changes_is_left_out(
    region: CacheRegion, counted: Counted
) -> None:
    f = counted.decorated(region)
    f(1, 2)
    index = index_of(f)
    add = index._add

    def meanwhile(layout: Any, *given: Any) -> None:
        index._add = add
        index._change_order(layout)
        add(layout, *given)

    index._add = meanwhile
    f(2, 1)

    assert index.order == BY_FIRST
    assert [f(1, 2), f(2, 1), f(1, 2), f(2, 1)] == [[1, 2], [2, 1]] * 2
    assert sorted(counted.calls) == [(1, 2), (2, 1)]


def test_many_threads_are_right_while_layouts_change() -> None:
    region = make_region("dogpile.cache.memory")
    wrong: list[Any] = []

    def ask(seed: int, f: Callable[..., Any]) -> None:
        chance = random.Random(seed)
        for _ in range(400):
            a, b = chance.randrange(60), chance.randrange(60)
            if f(a, b) != [a, b]:
                wrong.append((a, b))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for turn in range(5):
            f = Counted().decorated(region.namespace(str(turn)))
            together(partial(ask, f=f), range(6))
    finally:
        sys.setswitchinterval(before)

    assert wrong == []


def test_classes_that_are_gone_are_not_kept(region: CacheRegion) -> None:
    class Base:
        @region.cache_on_arguments()
        def name(self, number: int) -> int:
            return number

    alive = weakref.WeakSet[Any]()
    for _ in range(4000):
        kind = type("Derived", (Base,), {})
        alive.add(kind)
        assert kind().name(1) == 1
    del kind
    gc.collect()

    assert len(alive) < 2500


def test_readers_that_are_gone_are_not_kept(region: CacheRegion) -> None:
    for number in range(1000):
        region.namespace(str(number), version=number).put("key", 1)
        region.namespace(str(number), version=number).delete("key")
    gc.collect()

    backend: Any = region.actual_backend
    assert len(backend._readers) < 10
