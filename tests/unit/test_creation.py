"""What a creator may say about the value that it creates."""

from __future__ import annotations

import asyncio
import functools
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dogpile.cache import NO_VALUE, CachedValue, CacheRegion, Creation
from dogpile.cache.creation import wants_creation, with_arguments
from dogpile.cache.exception import ValidationError
from dogpile.cache.testing import ChaosBackend, FakeClock

Create = Callable[[], int]


class Caller:
    """Callables of many kinds."""

    def bound(self) -> None: ...

    def bound_with_context(self, creation: Creation) -> None: ...

    @classmethod
    def of_class(cls) -> None: ...

    @classmethod
    def of_class_with_context(cls, creation: Creation) -> None: ...

    @staticmethod
    def static() -> None: ...

    @staticmethod
    def static_with_context(creation: Creation) -> None: ...

    def __call__(self, creation: Creation) -> None: ...


def no_parameter() -> None: ...


def one_required(creation: Creation) -> None: ...


def one_required_and_more(creation: Creation, limit: int = 5, *rest: int) -> None: ...


def one_default(value: int = 5) -> None: ...


def two_required(one: int, two: int) -> None: ...


def any_number(*args: int, **kwargs: int) -> None: ...


def one_named(*, value: int) -> None: ...


def one_named_default(*, value: int = 5) -> None: ...


async def coroutine_with_context(creation: Creation) -> None: ...


class TestWhoGetsIt:
    @pytest.mark.parametrize(
        "creator",
        [
            one_required,
            one_required_and_more,
            Caller().bound_with_context,
            Caller.of_class_with_context,
            Caller().of_class_with_context,
            Caller.static_with_context,
            Caller(),
            functools.partial(two_required, 1),
            coroutine_with_context,
            lambda creation: creation,
        ],
    )
    def test_a_creator_with_one_required_parameter(self, creator: Any) -> None:
        assert wants_creation(creator)

    @pytest.mark.parametrize(
        "creator",
        [
            no_parameter,
            one_default,
            two_required,
            any_number,
            one_named,
            one_named_default,
            Caller().bound,
            Caller.of_class,
            Caller.static,
            functools.partial(one_default, 1),
            functools.partial(two_required, 1, 2),
            lambda x=5: x,
            int,
            "payload".upper,
        ],
    )
    def test_no_other_creator(self, creator: Any) -> None:
        assert not wants_creation(creator)

    def test_arguments_of_its_own_are_in_its_place(self) -> None:
        creator = with_arguments(pow, ((2, 3), {}))

        assert creator() == 8
        assert not wants_creation(creator)
        assert with_arguments(pow, None) is pow

    def test_a_lambda_in_a_loop_keeps_its_value(self, region: CacheRegion) -> None:
        values = [region.get_or_create(f"{x}", lambda x=x: x) for x in "ab"]

        assert values == ["a", "b"]

    def test_a_decorated_functions_parameter_is_its_own(
        self, region: CacheRegion
    ) -> None:
        @region.cache_on_arguments()
        def f(creation: int) -> int:
            return creation

        assert f(5) == 5


class TestStale:
    def test_there_is_none_at_first(self, region: CacheRegion) -> None:
        seen = []

        def create(creation: Creation) -> str:
            seen.append((creation.stale, creation.validator))
            return "payload"

        region.get_or_create("key", create)

        assert seen == [(None, None)]

    def test_the_expired_value_is_there(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        region.put("key", "old")
        born = clock.time()
        clock.advance(60)
        seen: list[CachedValue | None] = []

        def create(creation: Creation) -> str:
            seen.append(creation.stale)
            return "new"

        region.get_or_create("key", create)

        (stale,) = seen
        assert stale is not None
        assert (stale.payload, stale.metadata["ct"]) == ("old", born)

    def test_what_was_invalidated_hard_is_not(self, region: CacheRegion) -> None:
        region.put("key", "old")
        region.invalidate()
        seen = []

        def create(creation: Creation) -> str:
            seen.append(creation.stale and creation.stale.payload)
            return "new"

        region.get_or_create("key", create)

        assert seen == [None]

    def test_what_another_version_of_the_code_made_is_not(
        self, region: CacheRegion
    ) -> None:
        region.put("key", "old", version="1")
        seen = []

        def create(creation: Creation) -> str:
            seen.append(creation.stale)
            return "new"

        region.get_or_create("key", create, version="2")

        assert seen == [None]

    def test_what_was_invalidated_softly_is(self, region: CacheRegion) -> None:
        region.put("key", "old")
        region.invalidate(hard=False)
        seen = []

        def create(creation: Creation) -> str:
            seen.append(creation.stale and creation.stale.payload)
            return "new"

        region.get_or_create("key", create)

        assert seen == ["old"]


class TestNotModified:
    def test_the_old_value_is_fresh_again(
        self, region: CacheRegion, clock: FakeClock, create: Create
    ) -> None:
        region.put("key", "old")
        clock.advance(60)

        value = region.get_or_create("key", lambda creation: creation.not_modified())
        clock.advance(59)

        assert value == "old"
        assert region.get_or_create("key", create) == "old"

    def test_it_keeps_its_validator(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        seen = []

        def create(creation: Creation) -> Any:
            seen.append(creation.validator)
            if creation.stale is not None:
                return creation.not_modified()
            creation.validator = "etag"
            return "payload"

        for _ in range(3):
            region.get_or_create("key", create)
            clock.advance(60)

        assert seen == [None, "etag", "etag"]

    def test_it_keeps_its_tags(self, region: CacheRegion, clock: FakeClock) -> None:
        def create(creation: Creation) -> Any:
            if creation.stale is not None:
                return creation.not_modified()
            creation.tag("red")
            return "payload"

        region.get_or_create("key", create)
        clock.advance(60)
        region.get_or_create("key", create)
        region.invalidate_tags("red")

        assert region.get("key") is NO_VALUE

    def test_after_a_soft_invalidation_it_is_good_again(
        self, region: CacheRegion, create: Create
    ) -> None:
        region.put("key", "old", tags=["red"])
        region.invalidate_tags("red", hard=False)

        region.get_or_create("key", lambda creation: creation.not_modified())

        assert region.get_or_create("key", create) == "old"

    def test_without_an_old_value_it_is_an_error(self, region: CacheRegion) -> None:
        with pytest.raises(ValueError, match="no stale value"):
            region.get_or_create("key", lambda creation: creation.not_modified())

        assert region.get("key") is NO_VALUE


class TestSkip:
    def test_the_value_is_returned_and_not_stored(self, region: CacheRegion) -> None:
        value = region.get_or_create("key", lambda creation: creation.skip("payload"))

        assert value == "payload"
        assert region.get("key") is NO_VALUE

    def test_the_old_value_stays(self, region: CacheRegion, clock: FakeClock) -> None:
        region.put("key", "old")
        clock.advance(60)

        value = region.get_or_create("key", lambda creation: creation.skip("new"))

        assert value == "new"
        assert region.get("key") == "old"


class TestExpires:
    @pytest.mark.parametrize("after", [5, timedelta(seconds=5)])
    def test_the_creator_says_for_how_long(
        self, region: CacheRegion, clock: FakeClock, create: Create, after: Any
    ) -> None:
        def create_short(creation: Creation) -> str:
            creation.expires(after)
            return "short"

        region.get_or_create("key", create_short)
        clock.advance(4)
        young = region.get_or_create("key", create)
        clock.advance(1)

        assert young == "short"
        assert region.get_or_create("key", create) == 1

    def test_it_goes_before_the_call(
        self, region: CacheRegion, clock: FakeClock, create: Create
    ) -> None:
        def create_long(creation: Creation) -> str:
            creation.expires(3600)
            return "long"

        region.get_or_create("key", create_long, expiration_time=5)
        clock.advance(600)

        assert region.get_or_create("key", create, expiration_time=5) == "long"
        assert region.get_or_create("key", create) == "long"

    def test_it_may_be_for_ever(
        self, region: CacheRegion, clock: FakeClock, create: Create
    ) -> None:
        def create_for_ever(creation: Creation) -> str:
            creation.expires(None)
            return "for ever"

        region.get_or_create("key", create_for_ever)
        clock.advance(1e9)

        assert region.get_or_create("key", create) == "for ever"

    @pytest.mark.parametrize("after", [-5, "5m", True])
    def test_what_is_no_time_is_refused(self, region: CacheRegion, after: Any) -> None:
        with pytest.raises(ValidationError, match="expires"):
            region.get_or_create("key", lambda creation: creation.expires(after))

        assert region.get("key") is NO_VALUE


class TestTag:
    def test_the_creator_names_the_tags(
        self, region: CacheRegion, create: Create
    ) -> None:
        def create_tagged(creation: Creation) -> str:
            creation.tag("red", "blue")
            creation.tag("green")
            return "payload"

        for tag in ("red", "blue", "green"):
            region.get_or_create("key", create_tagged)
            region.invalidate_tags(tag)

        assert region.get_or_create("key", create) == 1

    def test_other_tags_leave_it_alone(self, region: CacheRegion) -> None:
        def create_tagged(creation: Creation) -> str:
            creation.tag("red")
            return "payload"

        region.get_or_create("key", create_tagged)
        region.invalidate_tags("blue")

        assert region.get("key") == "payload"

    def test_what_is_invalidated_after_it_was_named_is_not_stored(
        self, region: CacheRegion
    ) -> None:
        def create_late(creation: Creation) -> str:
            creation.tag("red")
            region.invalidate_tags("red")
            return "made of what was before"

        value = region.get_or_create("key", create_late)

        assert value == "made of what was before"
        assert region.get("key") is NO_VALUE

    def test_they_come_beside_those_of_the_call(self, region: CacheRegion) -> None:
        def create_tagged(creation: Creation) -> str:
            creation.tag("red")
            return "payload"

        seen = []
        for tag in ("red", "blue"):
            region.get_or_create("key", create_tagged, tags=["blue"])
            region.invalidate_tags(tag)
            seen.append(region.get("key"))

        assert seen == [NO_VALUE, NO_VALUE]


class TestValidator:
    def test_it_is_stored_with_the_value(self, region: CacheRegion) -> None:
        def create(creation: Creation) -> str:
            creation.validator = 'W/"5"'
            return "payload"

        region.get_or_create("key", create)

        value = region.get_value_metadata("key")
        assert value is not None
        assert value.metadata["e"] == 'W/"5"'

    def test_a_new_one_replaces_it(self, region: CacheRegion, clock: FakeClock) -> None:
        seen = []

        def create(creation: Creation) -> str:
            seen.append(creation.validator)
            creation.validator = len(seen)
            return "payload"

        for _ in range(3):
            region.get_or_create("key", create)
            clock.advance(60)

        assert seen == [None, 1, 2]


class TestCancelled:
    @pytest.mark.parametrize("name", ["put", "delete", "invalidate"])
    def test_a_creation_sees_that_it_is_in_vain(
        self, region: CacheRegion, name: str
    ) -> None:
        given = {"put": ("key", 1), "delete": ("key",), "invalidate": ()}[name]
        seen = []

        def create(creation: Creation) -> str:
            seen.append(creation.cancelled)
            getattr(region, name)(*given)
            seen.append(creation.cancelled)
            return "payload"

        region.get_or_create("key", create)

        assert seen == [False, True]

    def test_what_happens_to_other_keys_does_not_matter(
        self, region: CacheRegion
    ) -> None:
        seen = []

        def create(creation: Creation) -> str:
            region.put("other", 1)
            region.delete("another")
            seen.append(creation.cancelled)
            return "payload"

        region.get_or_create("key", create)

        assert seen == [False]


def test_a_coroutine_function_is_given_it_too(make_each: Any, clock: FakeClock) -> None:
    region = make_each(expiration_time=60)

    async def create(creation: Creation) -> Any:
        if creation.stale is not None:
            return creation.not_modified()
        creation.expires(5)
        creation.tag("red")
        creation.validator = "etag"
        return "payload"

    async def run() -> list[Any]:
        first = await region.aget_or_create("key", create)
        metadata = (await region.aget_value_metadata("key")).metadata
        clock.advance(5)
        second = await region.aget_or_create("key", create)
        await region.ainvalidate_tags("red")
        return [first, metadata["x"], metadata["e"], second, await region.aget("key")]

    assert asyncio.run(run()) == ["payload", 5, "etag", "payload", NO_VALUE]


class TestIsStored:
    @pytest.fixture(params=["memory", "memory_pickle", "sqlite"])
    def region(self, request: pytest.FixtureRequest, tmp_path: Path) -> Any:
        given = {"filename": str(tmp_path / "cache.db")}
        made = CacheRegion().configure(
            f"dogpile.cache.{request.param}",
            arguments=given if request.param == "sqlite" else None,
        )
        yield made
        made.close()

    def test_a_creation_knows_afterwards_that_its_value_is_kept(
        self, region: CacheRegion
    ) -> None:
        seen: list[Creation] = []

        region.get_or_create("key", seen.append)

        assert seen[0].is_stored

    def test_one_that_was_overtaken_is_not(self, region: CacheRegion) -> None:
        seen: list[Creation] = []

        def create(creation: Creation) -> int:
            seen.append(creation)
            region.put("key", 1)
            return 2

        region.get_or_create("key", create)

        assert not seen[0].is_stored

    @pytest.mark.parametrize("how", [Creation.skip, lambda *_: NO_VALUE])
    def test_nor_is_what_is_not_to_be_kept(self, region: CacheRegion, how: Any) -> None:
        seen: list[Creation] = []

        def create(creation: Creation) -> Any:
            seen.append(creation)
            return how(creation, 1)

        region.get_or_create("key", create)

        assert not seen[0].is_stored


@pytest.mark.parametrize("broken", [{"lease"}, {"commit"}])
def test_nothing_is_stored_where_the_backend_fails(
    tmp_path: Path, broken: set[str]
) -> None:
    chaos = ChaosBackend(errors=1.0, operations=broken)
    region = CacheRegion().configure(
        "dogpile.cache.sqlite",
        arguments={"filename": str(tmp_path / "cache.db")},
        wrap=[chaos],
        on_backend_error="miss",
    )
    seen: list[Creation] = []

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        region.get_or_create("key", seen.append)

    assert not seen[0].is_stored
    region.close()
