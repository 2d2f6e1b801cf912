"""Functions that remember: how they are decorated, called and talked to."""

from __future__ import annotations

import asyncio
import enum
import functools
import gc
import inspect
import math
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from dogpile.cache import NO_VALUE, CacheRegion, make_region
from dogpile.cache.exception import (
    ConfigurationError,
    RegionNotConfigured,
    UncacheableArgument,
    ValidationError,
)
from dogpile.cache.testing import FakeClock
from dogpile.cache.util import (
    function_key_generator,
    function_multi_key_generator,
    kwarg_function_key_generator,
)

Create = Callable[[], int]

#: One whose entries are looked up by the arguments, one whose keys are made, and
#: one that other processes share.
WAYS = ("memory", "memory_pickle", "sqlite")


@pytest.fixture(params=WAYS)
def region(make: Any, request: pytest.FixtureRequest) -> CacheRegion:
    made: CacheRegion = make(request.param, expiration_time=60)
    return made


class Recorder:
    """Remembers how it was called, and returns how often."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, *call: Any) -> int:
        self.calls.append(call)
        return len(self.calls)


@pytest.fixture
def record() -> Recorder:
    return Recorder()


def made_of(f: Any, kind: Any, cached: Any, outside: bool) -> tuple[Any, Any]:
    """Return a class with a class or static method, and a subclass of it.

    :param outside: the region's decorator stands below the other.
    """
    f.__qualname__ = f"{kind.__name__}.f"
    method = kind(cached(f)) if outside else cached(kind(f))
    one = type("One", (), {"f": method})
    return one, type("Other", (one,), {})


class TestForms:
    def test_a_function_is_decorated_bare(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments
        def f(a: int) -> int:
            return record(a)

        assert [f(1), f(1), f(2), f(1)] == [1, 1, 2, 1]
        assert record.calls == [(1,), (2,)]

    def test_a_function_is_decorated_with_parentheses(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def f(a: int) -> int:
            return record(a)

        assert [f(1), f(1), f(2), f(1)] == [1, 1, 2, 1]

    def test_a_function_without_parameters_has_one_value(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def f() -> int:
            return record()

        assert [f(), f()] == [1, 1]

    def test_a_method_has_its_values_by_class(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        class One:
            @region.cache_on_arguments()
            def f(self, a: int) -> int:
                return record(type(self).__name__, a)

        class Other(One):
            pass

        values = [One().f(1), One().f(1), Other().f(1), Other().f(1), One().f(2)]

        assert values == [1, 1, 2, 2, 3]
        assert record.calls == [("One", 1), ("Other", 1), ("One", 2)]

    def test_a_method_without_parameters_has_one_value_a_class(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        class One:
            @region.cache_on_arguments()
            def f(self) -> int:
                return record()

        class Other(One):
            pass

        assert [One().f(), Other().f(), One().f(), Other().f()] == [1, 2, 1, 2]

    def test_an_instance_may_have_a_key_of_its_own(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        class User:
            def __init__(self, number: int) -> None:
                self.number = number

            def __cache_key__(self) -> str:
                return str(self.number)

            @region.cache_on_arguments()
            def f(self, a: int) -> int:
                return record(self.number, a)

        values = [User(1).f(5), User(2).f(5), User(1).f(5), User(2).f(5)]

        assert values == [1, 2, 1, 2]

    @pytest.mark.parametrize("outside", [True, False])
    def test_a_class_method_has_its_values_by_class(
        self, region: CacheRegion, record: Recorder, outside: bool
    ) -> None:
        def f(cls: Any, a: int) -> int:
            return record(cls, a)

        one, other = made_of(f, classmethod, region.cache_on_arguments(), outside)
        values = [one.f(1), one().f(1), other.f(1), other().f(1)]

        assert values == [1, 1, 2, 2]
        assert record.calls == [(one, 1), (other, 1)]

    @pytest.mark.parametrize("outside", [True, False])
    def test_a_static_method_has_its_values_by_function(
        self, region: CacheRegion, record: Recorder, outside: bool
    ) -> None:
        def f(a: int) -> int:
            return record(a)

        one, other = made_of(f, staticmethod, region.cache_on_arguments(), outside)

        assert [one.f(1), one().f(1), other.f(1), one.f(2)] == [1, 1, 1, 2]

    def test_a_coroutine_function_is_awaited(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments
        async def f(a: int) -> int:
            await asyncio.sleep(0)
            return record(a)

        async def scenario() -> list[int]:
            return [await f(1), await f(1), await f(2), await f(1)]

        assert inspect.iscoroutinefunction(f)
        assert asyncio.run(scenario()) == [1, 1, 2, 1]

    def test_a_coroutine_method_is_awaited(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        class One:
            @region.cache_on_arguments()
            async def f(self, a: int) -> int:
                return record(a)

        async def scenario() -> list[int]:
            return [await One().f(1), await One().f(1)]

        assert asyncio.run(scenario()) == [1, 1]

    def test_a_lambda_will_do(self, region: CacheRegion, record: Recorder) -> None:
        f: Any = region.cache_on_arguments()(lambda a: record(a))

        assert [f(1), f(1), f(2)] == [1, 1, 2]

    def test_two_functions_are_apart(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def f(a: int) -> int:
            return record("f", a)

        @region.cache_on_arguments()
        def g(a: int) -> int:
            return record("g", a)

        assert [f(1), g(1), f(1), g(1)] == [1, 2, 1, 2]

    def test_one_function_may_have_two_namespaces(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        def f(a: int) -> int:
            return record(a)

        one = region.cache_on_arguments("one")(f)
        two = region.cache_on_arguments(namespace="two")(f)

        assert [one(1), two(1), one(1), two(1)] == [1, 2, 1, 2]

    @pytest.mark.parametrize("given", [7, b"users", ["users"]])
    def test_a_namespace_is_text(self, region: CacheRegion, given: Any) -> None:
        with pytest.raises(ValidationError, match="namespace takes text"):
            region.cache_on_arguments(given)

    @pytest.mark.parametrize("name", ["cache_on_arguments", "cache_multi_on_arguments"])
    def test_what_is_no_function_is_refused(
        self, region: CacheRegion, name: str
    ) -> None:
        decorate = getattr(region, name)()

        with pytest.raises(ValidationError, match=r"is decorated, not .* str;"):
            decorate("users")

    def test_a_generator_is_refused(self, region: CacheRegion) -> None:
        def count() -> Iterator[int]:
            yield 1

        async def acount() -> AsyncIterator[int]:
            yield 1

        for fn in (count, acount, functools.partial(count)):
            with pytest.raises(ValidationError, match=r"count\(\) is a generator"):
                region.cache_on_arguments(fn)

    @pytest.mark.parametrize("name", ["cache_on_arguments", "cache_multi_on_arguments"])
    def test_an_option_that_nobody_knows_is_refused(
        self, region: CacheRegion, name: str
    ) -> None:
        with pytest.raises(ValidationError, match="did you mean 'expiration_time'"):
            getattr(region, name)(expiration_tme=5)

    @pytest.mark.parametrize("name", ["cache_on_arguments", "cache_multi_on_arguments"])
    def test_too_many_options_by_position_are_refused(
        self, region: CacheRegion, name: str
    ) -> None:
        with pytest.raises(TypeError, match="by position"):
            getattr(region, name)("users", 5, None, None, None, None, None)

    def test_an_option_that_is_given_twice_is_refused(
        self, region: CacheRegion
    ) -> None:
        decorate: Any = region.cache_on_arguments

        with pytest.raises(TypeError, match="expiration_time twice"):
            decorate("users", 5, expiration_time=6)

    def test_1x_programs_give_options_by_position(
        self, region: CacheRegion, clock: FakeClock, record: Recorder
    ) -> None:
        @region.cache_on_arguments("users", 5, lambda value: value > 1, repr)
        def f(a: int) -> int:
            return record(a)

        values = [f(1), f(1), f(1)]
        clock.advance(5)
        values.append(f(1))

        assert values == [1, 2, 2, 3]


class TestArguments:
    def test_equal_values_of_other_types_are_apart(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def f(a: Any) -> int:
            return record(a)

        given = [1, True, 1.0, "1", b"1", None, "None", "True", 1 + 0j, (1,), "(1,)"]
        first = [f(each) for each in given]
        second = [f(each) for each in given]
        third = [f(each) for each in reversed(given)]

        assert first == second == third[::-1] == [*range(1, len(given) + 1)]

    def test_the_zeros_are_apart_and_nan_is_one(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def f(a: float) -> int:
            return record(a)

        given = [0.0, -0.0, 0, False, math.nan, float("nan"), math.inf]
        for _ in range(2):
            values = [f(each) for each in given]

        assert values == [1, 2, 3, 4, 5, 5, 6]

    def test_subclasses_of_plain_types_are_apart(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        class Level(enum.IntEnum):
            LOW = 1

        class Text(str):
            __slots__ = ()

        @region.cache_on_arguments()
        def f(a: Any) -> int:
            return record(a)

        given = [1, Level.LOW, "text", Text("text")]
        for _ in range(2):
            values = [f(each) for each in given]

        assert values == [1, 2, 3, 4]

    def test_two_parameters_cannot_be_confused(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def f(a: str, b: str) -> int:
            return record(a, b)

        given = [("a_b", "c"), ("a", "b_c"), ("a b", "c"), ("a", "b c"), ("", "a b c")]
        for _ in range(2):
            values = [f(*each) for each in given]

        assert values == [1, 2, 3, 4, 5]

    def test_each_way_of_giving_the_same_is_one_key(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def f(a: int, b: int = 2, *, c: int = 3) -> int:
            return record(a, b, c)

        values = [
            f(1),
            f(a=1),
            f(1, 2),
            f(1, b=2),
            f(b=2, a=1),
            f(1, c=3),
            f(1, 2, c=3),
        ]

        assert values == [1] * 7
        assert [f(1, 3), f(1, c=4), f(2)] == [2, 3, 4]

    def test_unhashable_arguments_have_keys(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def f(a: Any) -> int:
            return record(a)

        given: list[Any] = [[1], [1, 2], {"a": 1, "b": 2}, {1, 2}, ({"a": [1]},)]
        first = [f(each) for each in given]
        same: list[Any] = [[1], [1, 2], {"b": 2, "a": 1}, {2, 1}, ({"a": [1]},)]
        second = [f(each) for each in same]

        assert first == second == [1, 2, 3, 4, 5]

    def test_surplus_arguments_have_keys(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def f(a: int, *rest: int, **more: int) -> int:
            return record(a, rest, more)

        given: list[tuple[tuple[int, ...], dict[str, int]]] = [
            ((1,), {}),
            ((1, 2), {}),
            ((1, 2, 3), {}),
            ((1,), {"x": 2}),
            ((1,), {"x": 2, "y": 3}),
            ((1, 2), {"x": 2}),
        ]
        for _ in range(2):
            values = [f(*args, **kwargs) for args, kwargs in given]

        assert values == [1, 2, 3, 4, 5, 6]
        assert f(1, y=3, x=2) == 5

    def test_positional_only_parameters_may_have_a_namesake(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def f(a: int, /, **more: int) -> int:
            return record(a, more)

        assert [f(1), f(1, a=2), f(1), f(1, a=2)] == [1, 2, 1, 2]

    def test_an_argument_may_have_any_name(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def f(_key: int, clock: int, entry: int, type: int, _k: int = 0) -> int:  # noqa: A002 - a name that the generated code uses, too
            return record(_key, clock, entry, type, _k)

        assert [f(1, 2, 3, 4), f(1, 2, 3, 4, 0), f(1, 2, 3, 4, 5)] == [1, 1, 2]

    def test_many_parameters_are_no_matter(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def f(a: int, b: int, c: int, d: int, e: int, g: int, h: int, i: int) -> int:
            return record(a, b, c, d, e, g, h, i)

        assert [f(*range(8)), f(*range(8)), f(*range(1, 9))] == [1, 1, 2]

    def test_what_has_no_stable_representation_is_refused(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def f(a: Any) -> int:
            return record(a)

        with pytest.raises(UncacheableArgument, match=r"f\(\).*'a'.*ignore="):
            f(object())

        assert record.calls == []

    def test_wrong_arguments_are_the_functions_error(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def some_function(a: int) -> int:
            return record(a)

        call: Any = some_function
        for args, kwargs in [((), {}), ((1, 2), {}), ((), {"b": 1})]:
            with pytest.raises(TypeError, match=r"some_function\(\)"):
                call(*args, **kwargs)


class TestAttributes:
    @pytest.fixture
    def f(self, region: CacheRegion, record: Recorder) -> Any:
        @region.cache_on_arguments()
        def f(a: int, b: int = 2) -> int:
            """Add, and more."""
            return record(a, b)

        return f

    def test_get_does_not_create(self, f: Any, record: Recorder) -> None:
        before = f.get(1)
        f(1)

        assert before is NO_VALUE
        assert f.get(1) == f.get(1, 2) == f.get(a=1) == 1
        assert record.calls == [(1, 2)]

    def test_get_does_not_look_at_the_age(self, f: Any, clock: FakeClock) -> None:
        f(1)
        clock.advance(3600)

        assert f.get(1) == 1

    @pytest.mark.parametrize("name", ["set", "put"])
    def test_set_stores_the_first_argument_for_the_others(
        self, f: Any, record: Recorder, name: str
    ) -> None:
        returned = getattr(f, name)("payload", 1, b=2)

        assert returned == f(1) == "payload"
        assert record.calls == []

    def test_refresh_creates_anew(self, f: Any) -> None:
        values = [f(1), f.refresh(1), f(1)]

        assert values == [1, 2, 2]

    def test_refresh_makes_the_value_young(self, f: Any, clock: FakeClock) -> None:
        f(1)
        clock.advance(50)
        f.refresh(1)
        clock.advance(50)

        assert f(1) == 2

    def test_invalidate_removes_one_value(self, f: Any) -> None:
        f(1), f(2)

        f.invalidate(1)
        f.invalidate(1)
        f.invalidate(99)

        assert [f(2), f(1)] == [2, 3]

    def test_key_is_what_the_region_knows_it_by(
        self, f: Any, region: CacheRegion
    ) -> None:
        f(1)

        assert region.get(f.key(1)) == 1
        assert f.key(1) == f.key(1, 2) == f.key(b=2, a=1)
        assert f.key(1) != f.key(2)

    def test_the_key_tells_where_the_function_stands(self, f: Any) -> None:
        key = f.key(1)

        assert __name__ in key
        assert "TestAttributes.f.<locals>.f" in key

    def test_original_is_the_function_itself(self, f: Any, record: Recorder) -> None:
        values = [f(1), f.original(1), f.original(1), f(1)]

        assert values == [1, 2, 3, 1]

    def test_region_is_where_it_is_cached(self, f: Any, region: CacheRegion) -> None:
        assert f.region is region

    def test_it_looks_like_the_function(self, f: Any) -> None:
        assert f.__name__ == "f"
        assert f.__qualname__.endswith("TestAttributes.f.<locals>.f")
        assert f.__doc__ == "Add, and more."
        assert f.__module__ == __name__
        assert f.__wrapped__ is f.original
        assert inspect.signature(f) == inspect.signature(f.original)
        assert f.__defaults__ == (2,)
        assert inspect.isfunction(f)

    def test_a_method_is_talked_to_with_its_instance(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        class One:
            @region.cache_on_arguments()
            def f(self, a: int) -> int:
                return record(a)

        one, f = One(), One.__dict__["f"]
        values = [one.f(1), f.get(one, 1), f.refresh(one, 1), one.f(1)]
        f.set("payload", one, 1)
        values.append(one.f(1))
        f.invalidate(one, 1)
        values.append(one.f(1))

        assert values == [1, 1, 2, 2, "payload", 3]

    def test_the_twins_do_the_same(self, f: Any) -> None:
        async def scenario() -> list[Any]:
            values = [await f.aget(1), f(1), await f.aget(1)]
            values.append(await f.aset("set", 1))
            values.append(f(1))
            values.append(await f.aput("put", 1))
            values.append(f(1))
            await f.ainvalidate(1)
            return [*values, f.get(1)]

        assert asyncio.run(scenario()) == [
            NO_VALUE,
            1,
            1,
            "set",
            "set",
            "put",
            "put",
            NO_VALUE,
        ]

    def test_a_coroutine_function_is_refreshed_by_awaiting(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        async def f(a: int) -> int:
            return record(a)

        attributes: Any = f

        async def scenario() -> list[Any]:
            values = [await f(1)]
            values.append(await attributes.arefresh(1))
            values.append(await attributes.refresh(1))
            return [*values, await f(1), await attributes.aget(1)]

        assert asyncio.run(scenario()) == [1, 2, 3, 3, 3]

    def test_what_is_not_to_be_cached_is_not_refreshed(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments(should_cache_fn=lambda value: value < 2)
        def f(a: int) -> int:
            return record(a)

        attributes: Any = f

        assert [f(1), attributes.refresh(1), f(1)] == [1, 2, 1]


class TestOptions:
    @pytest.mark.parametrize("given", [5, 5.0, timedelta(seconds=5), lambda: 5])
    def test_a_function_may_have_a_time_of_its_own(
        self, region: CacheRegion, clock: FakeClock, record: Recorder, given: Any
    ) -> None:
        @region.cache_on_arguments(expiration_time=given)
        def f(a: int) -> int:
            return record(a)

        values = [f(1), f(1)]
        clock.advance(4)
        values.append(f(1))
        clock.advance(1)
        values += [f(1), f(1)]

        assert values == [1, 1, 1, 2, 2]

    def test_its_time_may_be_longer(
        self, region: CacheRegion, clock: FakeClock, record: Recorder
    ) -> None:
        @region.cache_on_arguments(expiration_time=3600)
        def f(a: int) -> int:
            return record(a)

        values = [f(1)]
        clock.advance(3599)
        values.append(f(1))
        clock.advance(1)
        values.append(f(1))

        assert values == [1, 1, 2]

    def test_a_callable_time_is_asked_each_time(
        self, region: CacheRegion, clock: FakeClock, record: Recorder
    ) -> None:
        times = [3600]

        @region.cache_on_arguments(expiration_time=lambda: times[0])
        def f(a: int) -> int:
            return record(a)

        values = [f(1)]
        clock.advance(100)
        values.append(f(1))
        times[0] = 50
        values.append(f(1))

        assert values == [1, 1, 2]

    def test_a_callable_time_may_leave_it_to_the_region(
        self, region: CacheRegion, clock: FakeClock, record: Recorder
    ) -> None:
        @region.cache_on_arguments(expiration_time=lambda: None)
        def f(a: int) -> int:
            return record(a)

        values = [f(1)]
        clock.advance(59)
        values.append(f(1))
        clock.advance(2)
        values.append(f(1))

        assert values == [1, 1, 2]

    def test_minus_one_is_for_ever(
        self, region: CacheRegion, clock: FakeClock, record: Recorder
    ) -> None:
        @region.cache_on_arguments(expiration_time=-1)
        def f(a: int) -> int:
            return record(a)

        values = [f(1)]
        clock.advance(1e9)
        values.append(f(1))

        assert values == [1, 1]

    @pytest.mark.parametrize("tags", ["nav", ["nav", "site"], ["nav", "page:{a}"]])
    @pytest.mark.parametrize("hard", [True, False])
    def test_its_tags_are_invalidated_whether_they_are_fixed_or_not(
        self, region: CacheRegion, record: Recorder, tags: Any, hard: bool
    ) -> None:
        @region.cache_on_arguments(expiration_time=100, tags=tags)
        def f(a: int) -> int:
            return record(a)

        before = [f(1), f(1), f(2)]
        region.invalidate_tags("nav", hard=hard)
        after = [f(1), f(1), f(2), f(2)]

        assert before == [1, 1, 2]
        assert after == [3, 3, 4, 4]

    def test_fixed_tags_do_not_keep_it_from_its_index(self, record: Recorder) -> None:
        memory = make_region("dogpile.cache.memory", expiration_time=60)

        @memory.cache_on_arguments(tags=["nav"])
        def f(a: int) -> int:
            return record(a)

        f(1)
        cached: Any = f

        assert len(cached._cached.index._plain) == 1

    def test_its_times_may_be_shortened_at_random(
        self,
        region: CacheRegion,
        clock: FakeClock,
        record: Recorder,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("random.random", lambda: 0.5)

        @region.cache_on_arguments(expiration_time=100, jitter=0.5)
        def f(a: int) -> int:
            return record(a)

        values = [f(1), f(1)]
        clock.advance(74)
        values.append(f(1))
        clock.advance(1)
        values.append(f(1))

        assert values == [1, 1, 1, 2]

    def test_what_the_region_puts_is_judged_by_the_functions_time(
        self, region: CacheRegion, clock: FakeClock, record: Recorder
    ) -> None:
        @region.cache_on_arguments(expiration_time=5)
        def f(a: int) -> int:
            return record(a)

        key: Any = f.key  # type: ignore[attr-defined]
        values = [f(1), f(1)]
        region.put(key(1), 0)
        values.append(f(1))
        clock.advance(10)
        values.append(f(1))

        assert values == [1, 1, 0, 2]

    def test_what_the_function_sets_has_the_functions_time(
        self, region: CacheRegion, clock: FakeClock, record: Recorder
    ) -> None:
        @region.cache_on_arguments(expiration_time=5)
        def f(a: int) -> int:
            return record(a)

        attributes: Any = f
        attributes.set(0, 1)
        values = [f(1)]
        clock.advance(5)
        values.append(f(1))

        assert values == [0, 1]

    def test_any_field_of_a_policy_may_be_given(
        self, region: CacheRegion, clock: FakeClock, record: Recorder
    ) -> None:
        @region.cache_on_arguments(grace=0, jitter=0, lease_time=5)
        def f(a: int) -> int:
            return record(a)

        values = [f(1)]
        clock.advance(60)
        values.append(f(1))

        assert values == [1, 2]

    def test_some_values_are_not_to_be_cached(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments(should_cache_fn=lambda value: value > 2)
        def f(a: int) -> int:
            return record(a)

        assert [f(1), f(1), f(1), f(1)] == [1, 2, 3, 3]

    def test_no_value_is_returned_and_not_stored(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def f(a: int) -> Any:
            return NO_VALUE if record(a) < 3 else "payload"

        assert [f(1), f(1), f(1), f(1)] == [NO_VALUE, NO_VALUE, "payload", "payload"]
        assert len(record.calls) == 3

    def test_none_is_a_value(self, region: CacheRegion, record: Recorder) -> None:
        @region.cache_on_arguments()
        def f(a: int) -> None:
            record(a)

        f(1), f(1)

        assert record.calls == [(1,)]

    @pytest.mark.parametrize(
        "tags",
        [
            "user:{a}",
            ["user:{a}", "users"],
            lambda a: f"user:{a}",
            lambda a: ["users", f"user:{a}"],
            [lambda b, a: f"user:{a}", "users"],
        ],
    )
    def test_tags_are_made_of_the_arguments(
        self, region: CacheRegion, record: Recorder, tags: Any
    ) -> None:
        @region.cache_on_arguments(tags=tags)
        def f(a: int, b: int = 0) -> int:
            return record(a)

        values = [f(1), f(2)]
        region.invalidate_tags("user:1")
        values += [f(1), f(2), f(1)]
        region.invalidate_tags("user:2")
        values += [f(1), f(2)]

        assert values == [1, 2, 3, 2, 3, 3, 4]

    def test_what_is_set_has_the_tags(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments(tags="user:{a}")
        def f(a: int) -> int:
            return record(a)

        attributes: Any = f
        attributes.set("payload", 1)
        region.invalidate_tags("user:1")

        assert attributes.get(1) is NO_VALUE

    @pytest.mark.parametrize("key", ["user:{a}", lambda a: f"user:{a}"])
    def test_the_key_may_be_made_of_the_arguments(
        self, region: CacheRegion, record: Recorder, key: Any
    ) -> None:
        @region.cache_on_arguments(key=key)
        def f(a: int, b: int = 0) -> int:
            return record(a, b)

        values = [f(1), f(1, 5), f(2)]

        assert values == [1, 1, 2]
        assert region.get("user:1") == 1

    def test_a_parameter_may_be_ignored(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments(ignore=["session"])
        def f(a: int, session: object) -> int:
            return record(a)

        assert [f(1, object()), f(1, object()), f(2, object())] == [1, 1, 2]

    def test_the_instance_may_be_ignored(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        class One:
            @region.cache_on_arguments(ignore="self")
            def f(self, a: int) -> int:
                return record(a)

        class Other(One):
            pass

        assert [One().f(1), Other().f(1)] == [1, 1]

    def test_another_version_has_other_values(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        def f(a: int) -> int:
            return record(a)

        first = region.cache_on_arguments(version=1)(f)
        second = region.cache_on_arguments(version=2)(f)

        assert [first(1), second(1), first(1), second(1)] == [1, 2, 1, 2]

    def test_the_arguments_may_be_written_otherwise(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments(to_str=lambda a: str(a).lower())
        def f(a: str) -> int:
            return record(a)

        assert [f("A"), f("a"), f("b")] == [1, 1, 2]

    @pytest.mark.parametrize(
        ("option", "given"),
        [
            ("key", "user:{no}"),
            ("key", "user:{a"),
            ("tags", "user:{no}"),
            ("ignore", ["no"]),
            ("ignore", "no"),
        ],
    )
    def test_a_name_that_is_no_parameter_is_refused(
        self, region: CacheRegion, option: str, given: Any
    ) -> None:
        options: dict[str, Any] = {option: given}

        with pytest.raises(ValidationError, match=r"f\(\)"):

            @region.cache_on_arguments(**options)
            def f(a: int) -> int:
                return a

    @pytest.mark.parametrize("given", [-5, "soon", True])
    @pytest.mark.parametrize("name", ["cache_on_arguments", "cache_multi_on_arguments"])
    def test_what_is_no_time_is_refused(
        self, region: CacheRegion, name: str, given: Any
    ) -> None:
        with pytest.raises(ValidationError, match="expiration_time"):
            getattr(region, name)(expiration_time=given)

    def test_options_of_the_other_decorator_are_refused(
        self, region: CacheRegion
    ) -> None:
        single: Any = region.cache_on_arguments
        multi: Any = region.cache_multi_on_arguments

        with pytest.raises(ConfigurationError, match="takes no asdict="):
            single(asdict=True)(len)
        for option in ("key", "ignore", "tags", "version"):
            with pytest.raises(ConfigurationError, match=f"takes no {option}="):
                multi(**{option: "x"})(len)


class TestGenerators:
    def test_the_seeds_form_takes_the_function_alone(
        self, make: Any, record: Recorder
    ) -> None:
        def my_key_generator(fn: Callable[..., Any]) -> Any:
            namespace = fn.__name__

            def generate_key(*arg: Any) -> str:
                return namespace + "_".join(str(s) for s in arg)

            return generate_key

        region: CacheRegion = make(function_key_generator=my_key_generator)

        @region.cache_on_arguments()
        def load(a: int, b: int) -> int:
            return record(a, b)

        values = [load(1, 2), load(1, 2)]

        assert values == [1, 1]
        assert region.get("load1_2") == 1
        assert load.key(1, 2) == "load1_2"  # type: ignore[attr-defined]

    def test_the_1x_form_takes_a_namespace_too(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        def generator(namespace: str | None, fn: Any, to_str: Any = str) -> Any:
            return lambda *args: f"{namespace}/{fn.__name__}/{to_str(args[0])}"

        @region.cache_on_arguments("users", function_key_generator=generator)
        def f(a: int) -> int:
            return record(a)

        @region.cache_on_arguments(
            "users", function_key_generator=generator, to_str=hex
        )
        def g(a: int) -> int:
            return record(a)

        f(10), g(10)

        assert region.get("users/f/10") == 1
        assert region.get("users/g/0xa") == 2

    def test_a_generator_of_the_decorator_goes_before_the_regions(
        self, make: Any, record: Recorder
    ) -> None:
        region: CacheRegion = make(
            function_key_generator=lambda namespace, fn: lambda *args: "regions"
        )

        @region.cache_on_arguments(
            function_key_generator=lambda namespace, fn: lambda *args: "decorators"
        )
        def f(a: int) -> int:
            return record(a)

        f(1)

        assert region.get("decorators") == 1
        assert region.get("regions") is NO_VALUE

    def test_the_1x_generator_makes_the_1x_keys(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments(
            "users", function_key_generator=function_key_generator
        )
        def f(a: int, b: int) -> int:
            return record(a, b)

        assert [f(1, 2), f(1, 2), f(2, 1)] == [1, 1, 2]
        assert region.get(f"{__name__}:f|users|1 2") == 1

    def test_the_1x_generator_takes_no_keywords(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments(function_key_generator=kwarg_function_key_generator)
        def f(a: int, b: int = 2) -> int:
            return record(a, b)

        assert [f(1), f(1, 2), f(b=2, a=1), f(1, 3)] == [1, 1, 1, 2]

    def test_a_method_has_a_generator_too(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        class One:
            @region.cache_on_arguments(function_key_generator=function_key_generator)
            def f(self, a: int) -> int:
                return record(a)

        assert [One().f(1), One().f(1), One().f(2)] == [1, 1, 2]
        assert region.get(f"{__name__}:f|1") == 1

    def test_a_generator_that_makes_no_function_is_refused(
        self, region: CacheRegion
    ) -> None:
        with pytest.raises(ValidationError, match="returns a function"):
            region.cache_on_arguments(function_key_generator=lambda fn: "key")(len)

    def test_keys_may_be_of_any_kind(self, make: Any, record: Recorder) -> None:
        region: CacheRegion = make(function_key_generator=lambda fn: lambda *args: args)

        @region.cache_on_arguments()
        def f(a: int) -> int:
            return record(a)

        f(1)

        assert region.get((1,)) == 1


class TestTime:
    def test_a_function_is_decorated_before_the_region_is_configured(
        self, record: Recorder
    ) -> None:
        region = make_region()

        @region.cache_on_arguments(expiration_time=5)
        def f(a: int) -> int:
            return record(a)

        held = f
        with pytest.raises(RegionNotConfigured, match=r"configure\(\)"):
            f(1)
        region.configure("dogpile.cache.memory")

        assert [held(1), f(1), held(2)] == [1, 1, 2]

    def test_a_function_follows_another_configuration(self, record: Recorder) -> None:
        region = make_region("dogpile.cache.memory")

        @region.cache_on_arguments()
        def f(a: int) -> int:
            return record(a)

        values = [f(1), f(1)]
        for backend in ("memory_pickle", "null", "memory"):
            region.configure(f"dogpile.cache.{backend}", replace_existing_backend=True)
            values += [f(1), f(1)]

        assert values == [1, 1, 2, 2, 3, 4, 5, 5]

    def test_a_function_follows_a_later_expiration(
        self, region: CacheRegion, clock: FakeClock, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def f(a: int) -> int:
            return record(a)

        values = [f(1), f(1)]
        region.expiration_time = 10
        clock.advance(20)
        values += [f(1), f(1)]

        assert values == [1, 1, 2, 2]

    def test_a_function_ages(
        self, region: CacheRegion, clock: FakeClock, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def f(a: int) -> int:
            return record(a)

        values = [f(1), f(1)]
        clock.advance(59.5)
        values.append(f(1))
        clock.advance(0.5)
        values += [f(1), f(1)]
        clock.advance(59.5)
        values.append(f(1))

        assert values == [1, 1, 1, 2, 2, 2]

    def test_a_clock_that_moves_back_makes_nothing_immortal(
        self, region: CacheRegion, clock: FakeClock, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def f(a: int) -> int:
            return record(a)

        values = [f(1), f(1)]
        clock.jump(-59)
        values.append(f(1))
        clock.jump(-3600)
        values += [f(1), f(1)]

        assert values == [1, 1, 1, 2, 2]

    def test_other_operations_are_seen_at_once(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def f(a: Any) -> int:
            return record(a)

        key: Any = f.key  # type: ignore[attr-defined]
        values = [f(1), f("a"), f(1.5), f(1), f("a"), f(1.5)]
        region.put(key(1), 0)
        region.delete(key("a"))
        region.delete_multi([key(1.5)])
        values += [f(1), f("a"), f(1.5)]
        region.put_multi({key(1): -1})
        values.append(f(1))

        assert values == [1, 2, 3, 1, 2, 3, 0, 4, 5, -1]

    def test_it_creates_once_while_somebody_listens(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def f(a: int) -> int:
            return record(a)

        seen: list[str] = []
        values = [f(1)]
        stop = region.on("*", lambda event: seen.append(event.name))
        values += [f(1), f(2)]
        stop()
        values += [f(1), f(2), f(3)]

        assert values == [1, 1, 2, 1, 2, 3]
        assert seen == ["hit", "miss", "create"]

    def test_a_function_may_be_decorated_again(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @functools.lru_cache
        def f(a: int) -> int:
            return record(a)

        cached = region.cache_on_arguments()(f)

        assert [cached(1), cached(1), cached(2)] == [1, 1, 2]

    def test_a_function_that_nobody_holds_is_forgotten(
        self, region: CacheRegion
    ) -> None:
        def f(a: int) -> int:
            return a

        cached = region.cache_on_arguments()(f)
        cached(1)
        reference = weakref.ref(cached)

        del cached, f
        gc.collect()

        assert reference() is None
        assert not list(region._functions)

    def test_errors_arrive_as_they_are(self, region: CacheRegion) -> None:
        error = LookupError("of the creator")

        @region.cache_on_arguments()
        def f(a: int) -> int:
            raise error

        with pytest.raises(LookupError) as caught:
            f(1)

        assert caught.value is error
        assert error.__context__ is None

    def test_recursion_needs_no_more_than_its_own_keys(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments()
        def fibonacci(n: int) -> int:
            record(n)
            return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

        assert fibonacci(20) == 6765
        assert len(record.calls) == 21


class TestRedefinition:
    def test_a_second_function_of_the_name_is_warned_of(self, make: Any) -> None:
        region: CacheRegion = make("memory")

        @region.cache_on_arguments()
        def f(a: int) -> int:
            return a

        first: Any = f
        with pytest.warns(UserWarning, match="they share their keys") as caught:

            @region.cache_on_arguments()
            def f(a: int) -> int:
                return -a

        second: Any = f
        text = str(caught[0].message)
        for function in (first, second):
            line = function.original.__code__.co_firstlineno
            assert f"{__file__}:{line}" in text

    def test_a_factory_that_runs_again_is_not(self, region: CacheRegion) -> None:
        def make() -> Any:
            @region.cache_on_arguments()
            def f(a: int) -> int:
                return a

            return f

        functions = [make(), make()]

        assert [function(1) for function in functions] == [1, 1]

    def test_a_namespace_sets_them_apart(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_on_arguments("one")
        def f(a: int) -> int:
            return record("one", a)

        first = f

        @region.cache_on_arguments("two")  # type: ignore[no-redef]
        def f(a: int) -> int:
            return record("two", a)

        assert [first(1), f(1), first(1), f(1)] == [1, 2, 1, 2]


class TestBoundedMemory:
    """The arguments that are remembered are no more than the entries."""

    @pytest.fixture
    def f(self, make: Any, record: Recorder) -> Iterator[Any]:
        region: CacheRegion = make("memory", arguments={"max_entries": 10})

        @region.cache_on_arguments()
        def f(a: Any) -> int:
            return record(a)

        yield f
        assert len(region.actual_backend) == 10  # type: ignore[arg-type]

    def test_what_was_evicted_is_created_anew(self, f: Any, record: Recorder) -> None:
        for number in range(100):
            f(number)
        calls = len(record.calls)

        values = [f(number) for number in range(100)]

        assert len(record.calls) > calls + 80
        assert len({*values}) == 100

    def test_what_was_evicted_is_forgotten(self, f: Any) -> None:
        for number in range(5000):
            f(number)
            f(f"{number}")
            f(float(number))

        index = f._cached.index
        assert len(index._plain) + len(index._typed) <= 2000

    def test_what_is_asked_for_again_stays(self, f: Any, record: Recorder) -> None:
        for number in range(200):
            f("often")
            f(number)

        assert record.calls.count(("often",)) <= 3


class TestMulti:
    def test_each_argument_has_its_own_value(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_multi_on_arguments()
        def f(*ids: int) -> list[int]:
            record(*ids)
            return [10 * each for each in ids]

        values = [f(1, 2), f(2, 3), f(3, 1)]

        assert values == [[10, 20], [20, 30], [30, 10]]
        assert record.calls == [(1, 2), (3,)]

    def test_it_is_decorated_bare(self, region: CacheRegion, record: Recorder) -> None:
        @region.cache_multi_on_arguments
        def f(*ids: int) -> list[int]:
            record(*ids)
            return [10 * each for each in ids]

        assert [f(1), f(1), f()] == [[10], [10], []]
        assert record.calls == [(1,)]

    def test_each_is_created_once(self, region: CacheRegion, record: Recorder) -> None:
        @region.cache_multi_on_arguments()
        def f(*ids: int) -> list[int]:
            record(*ids)
            return [10 * each for each in ids]

        assert f(1, 2, 1) == [10, 20, 10]
        assert record.calls == [(1, 2)]

    def test_equal_values_of_other_types_are_apart(self, region: CacheRegion) -> None:
        @region.cache_multi_on_arguments()
        def f(*ids: Any) -> list[str]:
            return [repr(each) for each in ids]

        for _ in range(2):
            assert f(1, True, 1.0, "1") == ["1", "True", "1.0", "'1'"]

    def test_a_method_has_its_values_by_class(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        class One:
            @region.cache_multi_on_arguments()
            def f(self, *ids: int) -> list[str]:
                record(*ids)
                return [f"{type(self).__name__} {each}" for each in ids]

        class Other(One):
            pass

        values = [One().f(1, 2), One().f(2), Other().f(2), One().f()]

        assert values == [["One 1", "One 2"], ["One 2"], ["Other 2"], []]
        assert record.calls == [(1, 2), (2,)]

    @pytest.mark.parametrize("kind", [classmethod, staticmethod])
    @pytest.mark.parametrize("outside", [True, False])
    def test_class_and_static_methods_are_decorated_too(
        self, region: CacheRegion, record: Recorder, kind: Any, outside: bool
    ) -> None:
        cached: Any = region.cache_multi_on_arguments()
        first, second = (kind, cached) if outside else (cached, kind)

        def of_class(cls: Any, *ids: int) -> list[int]:
            record(*ids)
            return [10 * each for each in ids]

        def of_none(*ids: int) -> list[int]:
            record(*ids)
            return [10 * each for each in ids]

        of_class.__qualname__ = of_none.__qualname__ = "Many.f"
        plain = of_class if kind is classmethod else of_none
        one: Any = type("One", (), {"f": first(second(plain))})

        assert [one.f(1, 2), one().f(2, 3)] == [[10, 20], [20, 30]]
        assert record.calls == [(1, 2), (3,)]

    def test_a_coroutine_function_is_awaited(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_multi_on_arguments()
        async def f(*ids: int) -> list[int]:
            record(*ids)
            return [10 * each for each in ids]

        async def scenario() -> list[Any]:
            return [await f(1, 2), await f(2, 3)]

        assert inspect.iscoroutinefunction(f)
        assert asyncio.run(scenario()) == [[10, 20], [20, 30]]
        assert record.calls == [(1, 2), (3,)]

    def test_it_may_return_a_dictionary(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_multi_on_arguments(asdict=True)
        def f(*ids: int) -> dict[int, int]:
            record(*ids)
            return {each: 10 * each for each in ids if each < 3}

        values = [f(1, 2, 3), f(2, 3)]

        assert values == [{1: 10, 2: 20}, {2: 20}]
        assert record.calls == [(1, 2, 3), (3,)]

    def test_a_coroutine_function_may_return_a_dictionary(
        self, region: CacheRegion
    ) -> None:
        @region.cache_multi_on_arguments(asdict=True)
        async def f(*ids: int) -> dict[int, int]:
            return {each: 10 * each for each in ids if each < 3}

        async def scenario() -> Any:
            return await f(1, 3)

        assert asyncio.run(scenario()) == {1: 10}

    def test_some_values_are_not_to_be_cached(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_multi_on_arguments(should_cache_fn=lambda value: value > 10)
        def f(*ids: int) -> list[int]:
            record(*ids)
            return [10 * each for each in ids]

        assert [f(1, 2), f(1, 2)] == [[10, 20], [10, 20]]
        assert record.calls == [(1, 2), (1,)]

    @pytest.mark.parametrize("given", [5, timedelta(seconds=5), lambda: 5])
    def test_it_may_have_a_time_of_its_own(
        self, region: CacheRegion, clock: FakeClock, record: Recorder, given: Any
    ) -> None:
        @region.cache_multi_on_arguments(expiration_time=given)
        def f(*ids: int) -> list[int]:
            return [record(each) for each in ids]

        values = [f(1), f(1)]
        clock.advance(5)
        values.append(f(1))

        assert values == [[1], [1], [2]]

    def test_1x_programs_give_options_by_position(self, region: CacheRegion) -> None:
        @region.cache_multi_on_arguments("users", 5, None, True, repr)
        def f(*ids: int) -> dict[int, int]:
            return {each: 10 * each for each in ids}

        assert f(1, 2) == {1: 10, 2: 20}

    def test_the_1x_generator_makes_the_1x_keys(self, region: CacheRegion) -> None:
        @region.cache_multi_on_arguments(
            "users", function_multi_key_generator=function_multi_key_generator
        )
        def f(*ids: int) -> list[int]:
            return [10 * each for each in ids]

        f(1, 2)

        assert region.get_multi([f"{__name__}:f|users|{each}" for each in (1, 2)]) == [
            10,
            20,
        ]

    def test_it_has_the_attributes(self, region: CacheRegion, record: Recorder) -> None:
        @region.cache_multi_on_arguments()
        def f(*ids: int) -> list[Any]:
            return [record(each) for each in ids]

        cached: Any = f
        values = [cached.get(1, 2), cached(1, 2), cached.get(2, 1, 3)]
        cached.set({1: "one", 3: "three"})
        values.append(cached(1, 2, 3))
        cached.put({2: "two"})
        values.append(cached(2))
        values.append(cached.refresh(2, 3))
        values.append(cached(1, 2, 3))
        cached.invalidate(1, 2)
        values.append(cached.get(1, 2, 3))

        assert values == [
            [NO_VALUE, NO_VALUE],
            [1, 2],
            [2, 1, NO_VALUE],
            ["one", 2, "three"],
            ["two"],
            [3, 4],
            ["one", 3, 4],
            [NO_VALUE, NO_VALUE, 4],
        ]
        assert cached.region is region
        assert cached.original(1) == [5]
        assert cached.key(1, 2) == [*cached.key(1), *cached.key(2)]
        assert cached.__name__ == "f"
        assert inspect.signature(cached) == inspect.signature(cached.original)

    def test_a_dictionary_is_refreshed_too(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        @region.cache_multi_on_arguments(asdict=True)
        def f(*ids: int) -> dict[int, int]:
            return {each: record(each) for each in ids if each < 3}

        cached: Any = f
        values = [cached(1, 3), cached.refresh(1, 3), cached(1, 3)]

        assert values == [{1: 1}, {1: 2}, {1: 2}]

    def test_a_methods_attributes_take_its_instance(
        self, region: CacheRegion, record: Recorder
    ) -> None:
        class One:
            @region.cache_multi_on_arguments()
            def f(self, *ids: int) -> list[Any]:
                return [record(each) for each in ids]

        one, f = One(), One.__dict__["f"]
        values = [one.f(1, 2), f.get(one, 2, 1), f.refresh(one, 1), one.f(1)]
        f.set({1: "one"}, one)
        values.append(one.f(1))
        f.invalidate(one, 1, 2)
        values.append(f.get(one, 1, 2))

        assert values == [[1, 2], [2, 1], [3], [3], ["one"], [NO_VALUE, NO_VALUE]]

    def test_the_twins_do_the_same(self, region: CacheRegion, record: Recorder) -> None:
        @region.cache_multi_on_arguments()
        async def f(*ids: int) -> list[Any]:
            return [record(each) for each in ids]

        cached: Any = f

        async def scenario() -> list[Any]:
            values = [await cached.aget(1), await cached(1), await cached.aget(1)]
            await cached.aset({1: "set"})
            values.append(await cached(1))
            await cached.aput({1: "put"})
            values.append(await cached(1))
            values.append(await cached.arefresh(1))
            values.append(await cached.refresh(1))
            await cached.ainvalidate(1)
            return [*values, await cached.aget(1)]

        assert asyncio.run(scenario()) == [
            [NO_VALUE],
            [1],
            [1],
            ["set"],
            ["put"],
            [2],
            [3],
            [NO_VALUE],
        ]

    def test_it_is_decorated_before_the_region_is_configured(self) -> None:
        region = make_region()

        @region.cache_multi_on_arguments()
        def f(*ids: int) -> list[int]:
            return [10 * each for each in ids]

        with pytest.raises(RegionNotConfigured):
            f(1)
        region.configure("dogpile.cache.memory")

        assert f(1) == [10]

    def test_what_has_no_stable_representation_is_refused(
        self, region: CacheRegion
    ) -> None:
        @region.cache_multi_on_arguments()
        def f(*ids: Any) -> list[int]:
            return [1] * len(ids)

        with pytest.raises(UncacheableArgument, match="'ids'"):
            f(object())
