"""The twins: each operation of a region, for event loops."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from dogpile.cache import NO_VALUE, CachedValue, CacheRegion, make_region, quick
from dogpile.cache.exception import (
    CreationCycleError,
    CreatorMismatch,
    CreatorTimeout,
    RegionNotConfigured,
    ValidationError,
)
from dogpile.cache.testing import FakeClock

Create = Callable[[], int]

# What does no I/O, and needs no twin.
WITHOUT_TWIN = {
    "cache_multi_on_arguments",
    "cache_on_arguments",
    "configure",
    "configure_from_config",
    "namespace",
    "on",
    "stats",
    "wrap",
}


def is_twin(member: Any) -> bool:
    return inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member)


OPERATIONS = sorted(
    name
    for name, member in inspect.getmembers(CacheRegion, inspect.isfunction)
    if not name.startswith("_") and name not in WITHOUT_TWIN and not is_twin(member)
)
TWINS = sorted(
    name
    for name, member in inspect.getmembers(CacheRegion, is_twin)
    if not name.startswith("_")
)


class TestSignatures:
    def test_there_are_operations(self) -> None:
        assert {"get", "get_or_create", "put", "delete", "invalidate"} < {*OPERATIONS}

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_each_operation_has_a_twin(self, name: str) -> None:
        assert f"a{name}" in TWINS

    @pytest.mark.parametrize("name", TWINS)
    def test_a_twin_has_the_same_parameters(self, name: str) -> None:
        twin = inspect.signature(getattr(CacheRegion, name))
        operation = inspect.signature(getattr(CacheRegion, name.removeprefix("a")))

        assert list(twin.parameters.values()) == list(operation.parameters.values())

    def test_a_short_way_takes_the_same(self) -> None:
        region = make_region("dogpile.cache.memory")

        assert region._fast is not None
        for name in ("get", "get_or_create"):
            full = inspect.signature(getattr(CacheRegion, name)).parameters.values()
            short = inspect.signature(getattr(region, name)).parameters.values()
            named = [p.name for p in full if p.kind is p.POSITIONAL_OR_KEYWORD][1:]
            assert [p.name for p in short if p.kind is p.POSITIONAL_OR_KEYWORD] == named


class TestReading:
    def test_there_is_no_value_yet(self, region: CacheRegion) -> None:
        async def scenario() -> list[Any]:
            return [
                await region.aget("key"),
                await region.aget_value_metadata("key"),
                *await region.aget_multi(["key"]),
                *await region.aget_multi([]),
            ]

        assert asyncio.run(scenario()) == [NO_VALUE, None, NO_VALUE]

    def test_what_is_stored_comes_back(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        async def scenario() -> list[Any]:
            returned = await region.aput("key", "payload")
            value = await region.aget_value_metadata("key")
            assert isinstance(value, CachedValue)
            return [
                returned,
                await region.aget("key"),
                value.payload,
                value.metadata["ct"],
                await region.aget_multi(["none", "key"]),
            ]

        assert asyncio.run(scenario()) == [
            "payload",
            "payload",
            "payload",
            clock.time(),
            [NO_VALUE, "payload"],
        ]

    def test_threads_and_loops_see_the_same(self, region: CacheRegion) -> None:
        region.put("one", 1)

        async def scenario() -> Any:
            await region.aput("two", 2)
            return await region.aget("one")

        assert asyncio.run(scenario()) == 1
        assert region.get("two") == 2

    def test_the_age_is_looked_at_on_request(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        region.put("key", "payload")
        clock.advance(60)

        async def scenario() -> list[Any]:
            return [
                await region.aget("key"),
                await region.aget("key", expiration_time=61),
                await region.aget("key", timedelta(seconds=60)),
                await region.aget("key", ignore_expiration=False),
                await region.aget_value_metadata("key", 60),
                *await region.aget_multi(["key"], ignore_expiration=False),
                *await region.aget_multi(["key"], expiration_time=61),
            ]

        assert asyncio.run(scenario()) == [
            "payload",
            "payload",
            NO_VALUE,
            NO_VALUE,
            None,
            NO_VALUE,
            "payload",
        ]


class TestWriting:
    def test_each_way_of_putting_stores(self, region: CacheRegion) -> None:
        async def scenario() -> list[Any]:
            await region.aput("one", 1)
            await region.aset("two", 2)
            await region.aput_multi({"three": 3})
            await region.aset_multi({"four": 4})
            await region.aput_multi({})
            return await region.aget_multi(["one", "two", "three", "four"])

        assert asyncio.run(scenario()) == [1, 2, 3, 4]

    def test_each_way_of_deleting_removes(self, region: CacheRegion) -> None:
        region.put_multi({"one": 1, "two": 2, "three": 3})

        async def scenario() -> list[Any]:
            await region.adelete("one")
            await region.adelete("one")
            await region.adelete_multi(["two", "never"])
            await region.adelete_multi([])
            return await region.aget_multi(["one", "two", "three"])

        assert asyncio.run(scenario()) == [NO_VALUE, NO_VALUE, 3]

    def test_each_way_of_invalidating_counts(self, region: CacheRegion) -> None:
        async def scenario() -> list[Any]:
            await region.aput("one", 1, tags=["red"])
            await region.aput("two", 2)
            await region.ainvalidate_tags("red")
            seen = await region.aget_multi(["one", "two"])
            await region.ainvalidate(hard=False)
            seen.append(await region.aget("two"))
            await region.aput("three", 3)
            await region.ainvalidate()
            return [*seen, await region.aget("three")]

        assert asyncio.run(scenario()) == [NO_VALUE, 2, NO_VALUE, NO_VALUE]

    def test_settings_are_those_of_the_sync_door(
        self, region: CacheRegion, clock: FakeClock, create: Create
    ) -> None:
        async def scenario() -> Any:
            await region.aput("key", "payload", expiration_time=5)
            clock.advance(5)
            return await region.aget_or_create("key", create)

        assert asyncio.run(scenario()) == 1


class TestCreating:
    def test_a_coroutine_function_is_awaited(self, region: CacheRegion) -> None:
        async def create() -> str:
            await asyncio.sleep(0)
            return "payload"

        async def scenario() -> list[Any]:
            return [await region.aget_or_create("key", create) for _ in range(2)]

        assert asyncio.run(scenario()) == ["payload", "payload"]

    def test_a_plain_creator_runs_in_a_thread(self, region: CacheRegion) -> None:
        async def scenario() -> Any:
            return await region.aget_or_create("key", threading.get_ident)

        assert asyncio.run(scenario()) != threading.get_ident()

    def test_a_quick_creator_runs_in_place(self, region: CacheRegion) -> None:
        @quick
        def create() -> int:
            return threading.get_ident()

        async def scenario() -> Any:
            return await region.aget_or_create("key", create)

        assert asyncio.run(scenario()) == threading.get_ident()

    def test_what_returns_an_awaitable_is_awaited(self, region: CacheRegion) -> None:
        async def create(payload: str) -> str:
            return payload

        async def scenario() -> list[Any]:
            return [
                await region.aget_or_create("one", lambda: create("one")),
                await region.aget_or_create("two", create, creator_args=(("two",), {})),
            ]

        assert asyncio.run(scenario()) == ["one", "two"]

    def test_an_expired_value_is_created_anew(
        self, region: CacheRegion, clock: FakeClock, create: Create
    ) -> None:
        async def scenario() -> list[Any]:
            values = [await region.aget_or_create("key", create)]
            clock.advance(30)
            values.append(await region.aget_or_create("key", create))
            values.append(await region.aget_or_create("key", create, 30))
            clock.advance(60)
            values.append(await region.aget_or_create("key", create))
            return values

        assert asyncio.run(scenario()) == [1, 1, 2, 3]

    def test_some_values_are_not_to_be_cached(
        self, region: CacheRegion, create: Create
    ) -> None:
        async def scenario() -> list[Any]:
            return [
                await region.aget_or_create(
                    "key", create, should_cache_fn=lambda value: value == 2
                )
                for _ in range(3)
            ]

        assert asyncio.run(scenario()) == [1, 2, 2]

    def test_no_value_is_returned_and_not_stored(self, region: CacheRegion) -> None:
        async def scenario() -> list[Any]:
            return [
                await region.aget_or_create("key", lambda: NO_VALUE),
                await region.aget("key"),
            ]

        assert asyncio.run(scenario()) == [NO_VALUE, NO_VALUE]

    @pytest.mark.parametrize("kind", ["plain", "coroutine"])
    def test_a_creators_error_arrives_as_it_is(
        self, region: CacheRegion, kind: str
    ) -> None:
        error = LookupError("of the creator")

        def fail() -> None:
            raise error

        async def afail() -> None:
            raise error

        async def scenario() -> None:
            creator: Any = fail if kind == "plain" else afail
            with pytest.raises(LookupError) as caught:
                await region.aget_or_create("key", creator)
            assert caught.value is error
            assert not await region.akey_is_locked("key")

        asyncio.run(scenario())

    def test_what_was_put_meanwhile_stays(self, region: CacheRegion) -> None:
        async def create() -> str:
            await region.aput("key", "put meanwhile")
            return "created before"

        async def scenario() -> list[Any]:
            return [
                await region.aget_or_create("key", create),
                await region.aget("key"),
            ]

        assert asyncio.run(scenario()) == ["created before", "put meanwhile"]

    def test_a_key_is_locked_while_its_value_is_created(
        self, region: CacheRegion
    ) -> None:
        async def create() -> bool:
            return await region.akey_is_locked("key")

        async def scenario() -> list[bool]:
            during = await region.aget_or_create("key", create)
            return [during, await region.akey_is_locked("key")]

        assert asyncio.run(scenario()) == [True, False]

    def test_a_crowd_shares_one_creation(
        self, region: CacheRegion, create: Create
    ) -> None:
        async def create_slowly() -> int:
            await asyncio.sleep(0)
            return create()

        async def scenario() -> list[Any]:
            calls = [region.aget_or_create("key", create_slowly) for _ in range(20)]
            return await asyncio.gather(*calls)

        assert asyncio.run(scenario()) == [1] * 20

    def test_a_crowd_shares_one_error(self, make: Any, create: Create) -> None:
        # Which is called in place, so that all have come before it ends.
        region = make("memory")

        async def fail() -> None:
            await asyncio.sleep(0)
            raise LookupError(create())

        async def scenario() -> list[Any]:
            calls = [region.aget_or_create("key", fail) for _ in range(5)]
            return await asyncio.gather(*calls, return_exceptions=True)

        errors = asyncio.run(scenario())
        assert [error.args for error in errors] == [(1,)] * 5
        assert len({id(error) for error in errors}) == 5

    def test_a_creation_that_needs_itself_ends_at_once(
        self, region: CacheRegion
    ) -> None:
        async def create() -> Any:
            return await region.aget_or_create("key", create)

        async def scenario() -> None:
            with pytest.raises(CreationCycleError):
                await region.aget_or_create("key", create)

        asyncio.run(scenario())

    @pytest.mark.parametrize("kind", ["coroutine", "awaitable", "many"])
    def test_what_is_late_is_an_error(
        self, region: CacheRegion, clock: FakeClock, kind: str
    ) -> None:
        async def scenario() -> list[Any]:
            began = asyncio.Event()

            async def hang(*keys: str) -> Any:
                began.set()
                await asyncio.Event().wait()

            def call(function: Callable[[], Any]) -> Any:
                return function()

            calls: dict[str, Callable[[], Any]] = {
                "coroutine": lambda: region.aget_or_create("key", hang, hard_timeout=3),
                "awaitable": lambda: region.aget_or_create(
                    "key", functools.partial(call, hang), hard_timeout=3
                ),
                "many": lambda: region.aget_or_create_multi(
                    ["key"], hang, hard_timeout=3
                ),
            }
            task = asyncio.ensure_future(calls[kind]())
            await began.wait()
            await clock.await_for_sleepers(1)
            clock.advance(3)
            with pytest.raises(CreatorTimeout, match=r"hang|call"):
                await task
            return [await region.aget("key"), await region.akey_is_locked("key")]

        assert asyncio.run(scenario()) == [NO_VALUE, False]


class TestCreatingMany:
    def test_only_the_missing_ones_are_created(self, region: CacheRegion) -> None:
        region.put("two", "kept")
        asked = []

        async def create(*keys: str) -> list[str]:
            asked.append(sorted(keys))
            return [f"created {key}" for key in keys]

        async def scenario() -> list[Any]:
            return [
                await region.aget_or_create_multi(["three", "two", "one"], create),
                await region.aget_or_create_multi(["one", "three"], create),
                await region.aget_or_create_multi([], create),
            ]

        assert asyncio.run(scenario()) == [
            ["created three", "kept", "created one"],
            ["created one", "created three"],
            [],
        ]
        assert asked == [["one", "three"]]

    def test_a_plain_creator_will_do(self, region: CacheRegion) -> None:
        async def scenario() -> Any:
            return await region.aget_or_create_multi(["a", "b"], lambda *keys: keys)

        assert asyncio.run(scenario()) == ["a", "b"]

    def test_a_creator_that_miscounts_stores_nothing(self, region: CacheRegion) -> None:
        async def create(*keys: str) -> list[int]:
            return [1]

        async def scenario() -> list[Any]:
            with pytest.raises(CreatorMismatch):
                await region.aget_or_create_multi(["a", "b"], create)
            return await region.aget_multi(["a", "b"])

        assert asyncio.run(scenario()) == [NO_VALUE, NO_VALUE]

    def test_crowds_that_overlap_share_their_creations(
        self, region: CacheRegion
    ) -> None:
        asked: list[str] = []

        async def create(*keys: str) -> list[str]:
            asked.extend(keys)
            await asyncio.sleep(0)
            return list(keys)

        async def scenario() -> Any:
            return await asyncio.gather(
                region.aget_or_create_multi(["a", "b"], create),
                region.aget_or_create_multi(["c", "b"], create),
                region.aget_or_create_multi(["a", "c"], create),
            )

        assert asyncio.run(scenario()) == [["a", "b"], ["c", "b"], ["a", "c"]]
        assert sorted(asked) == ["a", "b", "c"]


class TestGrace:
    @pytest.fixture
    def region(self, make_each: Any, clock: FakeClock) -> CacheRegion:
        region: CacheRegion = make_each(expiration_time=60, grace=30)
        region.put("key", "old")
        clock.advance(60)
        return region

    def test_the_old_value_is_served_while_one_refreshes(
        self, region: CacheRegion
    ) -> None:
        async def scenario() -> list[Any]:
            end = asyncio.Event()

            async def create() -> str:
                await end.wait()
                return "new"

            values = [await region.aget_or_create("key", create) for _ in range(3)]
            end.set()
            await region.aclose()
            return [*values, await region.aget("key")]

        assert asyncio.run(scenario()) == ["old", "old", "old", "new"]

    def test_a_failed_refresh_leaves_the_old_value(self, region: CacheRegion) -> None:
        async def fail() -> None:
            raise LookupError

        async def scenario() -> list[Any]:
            values = [await region.aget_or_create("key", fail)]
            await region.aclose()
            return [*values, await region.aget("key")]

        assert asyncio.run(scenario()) == ["old", "old"]

    def test_the_winner_may_wait_a_little(self, region: CacheRegion) -> None:
        async def create() -> str:
            return "new"

        async def scenario() -> Any:
            return await region.aget_or_create("key", create, soft_timeout=2)

        assert asyncio.run(scenario()) == "new"

    def test_many_are_refreshed_in_the_background(self, region: CacheRegion) -> None:
        async def create(*keys: str) -> list[str]:
            return ["new"] * len(keys)

        async def scenario() -> list[Any]:
            values = await region.aget_or_create_multi(["key", "missing"], create)
            await region.aclose()
            return [*values, *await region.aget_multi(["key", "missing"])]

        assert asyncio.run(scenario()) == ["old", "new", "new", "new"]


class TestLife:
    def test_a_region_is_an_asynchronous_context_manager(
        self, region: CacheRegion
    ) -> None:
        async def scenario() -> Any:
            async with region as entered:
                assert entered is region
                await entered.aput("key", "payload")
            return await region.aget("key")

        assert asyncio.run(scenario()) == "payload"

    def test_a_region_serves_one_loop_after_another(
        self, region: CacheRegion, create: Create
    ) -> None:
        async def scenario() -> Any:
            return await region.aget_or_create("key", create)

        assert [asyncio.run(scenario()) for _ in range(3)] == [1, 1, 1]

    def test_a_region_without_a_backend_closes(self) -> None:
        async def scenario() -> None:
            async with make_region() as region:
                assert not region.is_configured

        asyncio.run(scenario())

    def test_a_refused_setting_is_refused_here_too(self, region: CacheRegion) -> None:
        async def scenario() -> None:
            with pytest.raises(ValidationError, match="did you mean 'grace'"):
                await region.aget_or_create("key", int, grce=1)

        asyncio.run(scenario())

    @pytest.mark.parametrize(
        ("name", "given"),
        [
            ("aget", ("key",)),
            ("aget_multi", (["key"],)),
            ("aget_value_metadata", ("key",)),
            ("aget_or_create", ("key", int)),
            ("aget_or_create_multi", (["key"], int)),
            ("aput", ("key", 1)),
            ("aset", ("key", 1)),
            ("aput_multi", ({"key": 1},)),
            ("aset_multi", ({"key": 1},)),
            ("adelete", ("key",)),
            ("adelete_multi", (["key"],)),
            ("ainvalidate", ()),
            ("ainvalidate_tags", ("tag",)),
            ("akey_is_locked", ("key",)),
        ],
    )
    def test_before_the_configuration_it_says_what_to_call(
        self, name: str, given: tuple[Any, ...]
    ) -> None:
        region = make_region("pages")

        async def scenario() -> None:
            with pytest.raises(RegionNotConfigured, match=r"configure\(\)"):
                await getattr(region, name)(*given)

        asyncio.run(scenario())
