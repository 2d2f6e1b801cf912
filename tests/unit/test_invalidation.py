"""Whole regions and groups of keys: gone (hard) or stale (soft)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from crowd import PATIENCE, result, start

from dogpile.cache import NO_VALUE, CacheBackend, CacheRegion
from dogpile.cache.api import Capabilities
from dogpile.cache.exception import DogpileCacheException
from dogpile.cache.invalidation import (
    DefaultInvalidationStrategy,
    RegionInvalidationStrategy,
    carried,
    record_key,
    renewed,
    was_soft,
)
from dogpile.cache.testing import FakeClock

Create = Callable[[], int]
# Backends whose file two regions, as of two processes, may share.
SHARED = ("sqlite", "dbm")


class TestRecords:
    def test_the_key_of_a_record_tells_its_kind(self) -> None:
        assert record_key("r", "pages") == "dogpile:g:r:pages"
        assert record_key("t", "pages") == "dogpile:g:t:pages"

    @pytest.mark.parametrize(
        "name", ["two words", "caf\u00e9", "a\nb", "\ud800", "x" * 201]
    )
    def test_its_key_is_legal_for_every_backend(self, name: str) -> None:
        key = record_key("t", name)

        assert key.isascii()
        assert key.isprintable()
        assert " " not in key
        assert len(key) <= 220
        assert key != record_key("t", f"{name}.")

    @pytest.mark.parametrize("mark", ["", "a.", ".b", "a.b"])
    def test_a_hard_one_replaces_both_ids(self, mark: str) -> None:
        assert renewed(mark, "new", hard=True) == "new."

    @pytest.mark.parametrize(
        ("mark", "after"),
        [("", ".new"), ("a.", "a.new"), (".b", ".new"), ("a.b", "a.new")],
    )
    def test_a_soft_one_keeps_the_hard_id(self, mark: str, after: str) -> None:
        assert renewed(mark, "new", hard=False) == after

    @pytest.mark.parametrize(
        ("mark", "soft"), [("", False), ("a.", False), (".b", True), ("a.b", True)]
    )
    def test_a_record_tells_which_one_was_last(self, mark: str, soft: bool) -> None:
        assert was_soft(mark) is soft

    def test_what_was_never_written_is_not_carried(self) -> None:
        assert carried({"one": "", "two": "a.b"}) == {"two": "a.b"}


class TestRegion:
    def test_all_values_are_gone(self, region: CacheRegion, create: Create) -> None:
        region.put("one", "old")
        region.get_or_create("two", lambda: "old")

        region.invalidate()

        assert region.get_multi(["one", "two"]) == [NO_VALUE, NO_VALUE]
        assert region.get_or_create("one", create) == 1
        assert region.get_or_create_multi(["two"], lambda *keys: ["new"]) == ["new"]

    def test_what_comes_after_stays(self, region: CacheRegion, create: Create) -> None:
        region.invalidate()
        region.put("one", "new")
        region.get_or_create("two", create)

        values = [region.get("one"), region.get_or_create("two", create)]

        assert values == ["new", 1]

    def test_it_may_be_repeated(self, region: CacheRegion, create: Create) -> None:
        values = []

        for _ in range(3):
            values.append(region.get_or_create("key", create))
            region.invalidate()

        assert values == [1, 2, 3]

    def test_softly_the_value_is_stale(self, make_each: Any, create: Create) -> None:
        region = make_each(expiration_time=60)
        region.get_or_create("key", create)
        seen = []

        def create_slowly() -> str:
            # While one caller creates, the others get the stale value at once.
            seen.append(region.get_or_create("key", create))
            return "new"

        region.invalidate(hard=False)
        value = region.get_or_create("key", create_slowly)

        assert seen == [1]
        assert value == "new"
        assert region.get("key") == "new"

    def test_softly_the_old_value_is_not_got(self, region: CacheRegion) -> None:
        region.put("key", "old")

        region.invalidate(hard=False)

        assert region.get("key") is NO_VALUE
        assert region.get("key", ignore_expiration=True) is NO_VALUE

    def test_softly_a_value_that_is_never_served_stale_is_gone(
        self, make_each: Any, create: Create
    ) -> None:
        region = make_each(expiration_time=60, grace=0)
        region.get_or_create("key", create)

        region.invalidate(hard=False)

        assert region.get_or_create("key", create) == 2

    def test_softly_it_takes_an_expiration_time(
        self, make_each: Any, create: Create
    ) -> None:
        region = make_each()
        region.get_or_create("key", create)
        region.invalidate(hard=False)

        with pytest.raises(DogpileCacheException, match="give the region or the call"):
            region.get_or_create("key", create)

        assert region.get_or_create("key", create, expiration_time=60) == 2

    def test_a_hard_one_after_a_soft_one_counts(
        self, make_each: Any, create: Create
    ) -> None:
        region = make_each(expiration_time=60, grace=3600)
        region.get_or_create("key", create)

        region.invalidate(hard=False)
        region.invalidate()

        assert region.get_or_create("key", create) == 2

    def test_a_soft_one_after_a_hard_one_brings_nothing_back(
        self, make_each: Any, create: Create
    ) -> None:
        region = make_each(expiration_time=60, grace=3600)
        region.get_or_create("key", create)

        region.invalidate()
        region.invalidate(hard=False)

        assert region.get_or_create("key", create) == 2

    def test_a_clock_that_jumps_changes_nothing(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        region.put("old", "old")
        region.invalidate()
        region.put("new", "new")

        clock.jump(-30)
        region.put("back then", "new")

        assert region.get_multi(["old", "new", "back then"]) == [
            NO_VALUE,
            "new",
            "new",
        ]

    def test_regions_of_other_names_are_left_alone(self, make: Any) -> None:
        kept: dict[Any, Any] = {}
        one = make("memory", name="one", arguments={"cache_dict": kept})
        two = make("memory", name="two", arguments={"cache_dict": kept})
        one.put("of one", 1)
        two.put("of two", 2)

        one.invalidate()

        assert one.get("of one") is NO_VALUE
        assert two.get("of two") == 2

    def test_a_decorated_function_is_called_again(
        self, region: CacheRegion, create: Create
    ) -> None:
        @region.cache_on_arguments()
        def f(argument: int) -> int:
            return create()

        values = [f(1), f(1)]
        region.invalidate()
        values += [f(1), f(1)]

        assert values == [1, 1, 2, 2]

    def test_a_short_way_that_somebody_holds_hears_of_it(self, make: Any) -> None:
        region = make("memory", expiration_time=60)
        region.put("key", "old")
        get, get_or_create = region.get, region.get_or_create

        region.invalidate()

        assert get("key") is NO_VALUE
        assert get_or_create("key", lambda: "new") == "new"


@pytest.mark.parametrize("backend", SHARED)
class TestOtherProcesses:
    @pytest.fixture
    def here(self, make: Any, backend: str) -> CacheRegion:
        made: CacheRegion = make(backend, name="pages", expiration_time=60)
        return made

    @pytest.fixture
    def there(self, make: Any, backend: str) -> CacheRegion:
        made: CacheRegion = make(backend, name="pages", expiration_time=60)
        return made

    def test_they_see_it_after_a_second(
        self, here: CacheRegion, there: CacheRegion, clock: FakeClock
    ) -> None:
        there.put("key", "old")
        assert there.get("key") == "old"

        here.invalidate()
        clock.advance(1)

        assert there.get("key") is NO_VALUE

    def test_who_does_it_sees_it_at_once(
        self, here: CacheRegion, there: CacheRegion
    ) -> None:
        there.put("key", "old")
        assert here.get("key") == "old"

        here.invalidate()

        assert here.get("key") is NO_VALUE

    def test_a_tags_is_seen_too(
        self, here: CacheRegion, there: CacheRegion, clock: FakeClock
    ) -> None:
        there.put("key", "old", tags=["tag"])
        assert there.get("key") == "old"

        here.invalidate_tags("tag")
        clock.advance(1)

        assert there.get("key") is NO_VALUE

    def test_what_is_created_after_it_is_good_for_all(
        self, here: CacheRegion, there: CacheRegion, clock: FakeClock
    ) -> None:
        there.put("key", "old")
        here.invalidate()
        here.put("key", "new")

        clock.advance(1)

        assert there.get("key") == "new"


class TestLateReads:
    """What was read before an invalidation, and is noted after it."""

    @pytest.mark.parametrize("kind", SHARED)
    def test_they_do_not_bring_back_what_was_invalidated(
        self, make: Any, clock: FakeClock, kind: str
    ) -> None:
        region = make(kind, expiration_time=60)
        region.put("key", "old")
        clock.advance(2)
        late = Late(region)
        reading = start(region.get, "key")
        assert late.is_in.wait(PATIENCE)

        region.invalidate()
        late.cue.set()
        result(reading)

        assert region.get("key") is NO_VALUE
        assert region.get_or_create("key", lambda: "new") == "new"
        assert region.get("key") == "new"

    @pytest.mark.parametrize("kind", SHARED)
    def test_nor_in_a_loop(self, make: Any, clock: FakeClock, kind: str) -> None:
        region = make(kind, expiration_time=60)
        region.put("key", "old")
        clock.advance(2)
        late = Late(region)
        reading = start(asyncio.run, region.aget("key"))
        assert late.is_in.wait(PATIENCE)

        region.invalidate()
        late.cue.set()
        result(reading)

        assert region.get("key") is NO_VALUE

    def test_a_lost_record_is_not_believed_before_it_is_written(self) -> None:
        region = CacheRegion().configure(Forgetful, expiration_time=60)
        storage: Any = region.storage
        known: list[Any] = []
        lease = storage.ops["lease_record"]

        def look(*given: Any, **how: Any) -> Any:
            known.append(storage.marks.known(storage.records))
            return lease(*given, **how)

        storage.ops["lease_record"] = look

        region.get("key")

        assert known == [None]
        assert storage.marks.known(storage.records) is not None


class Late:
    """Holds the next read of several keys back, when it has its answer."""

    def __init__(self, region: CacheRegion) -> None:
        self.is_in, self.cue = threading.Event(), threading.Event()
        self._ops: Any = region.storage.ops
        self._read = self._ops["get_multi"]
        self._ops["get_multi"] = self

    def __call__(self, keys: Any) -> Any:
        self._ops["get_multi"] = self._read
        found = self._read(keys)
        self.is_in.set()
        assert self.cue.wait(PATIENCE)
        return found


class Forgetful(CacheBackend):
    """What may lose its values at any time."""

    capabilities = Capabilities(lasting=False, multi=True)

    def __init__(self, arguments: Any) -> None:
        self.values: dict[Any, Any] = {}

    def get(self, key: Any) -> Any:
        return self.values.get(key, NO_VALUE)

    def set(self, key: Any, value: Any) -> None:
        self.values[key] = value

    def delete(self, key: Any) -> None:
        self.values.pop(key, None)


class TestTags:
    def test_what_has_the_tag_is_gone(self, region: CacheRegion) -> None:
        region.put("one", 1, tags=["red"])
        region.put("two", 2, tags=["red", "blue"])
        region.put("three", 3, tags=["blue"])
        region.put("four", 4)

        region.invalidate_tags("red")

        assert region.get_multi(["one", "two", "three", "four"]) == [
            NO_VALUE,
            NO_VALUE,
            3,
            4,
        ]

    def test_several_tags_are_invalidated_at_once(self, region: CacheRegion) -> None:
        region.put("one", 1, tags=["red"])
        region.put("two", 2, tags=["blue"])
        region.put("three", 3, tags=["green"])

        region.invalidate_tags("red", "blue")

        assert region.get_multi(["one", "two", "three"]) == [NO_VALUE, NO_VALUE, 3]

    def test_no_tags_invalidate_nothing(self, region: CacheRegion) -> None:
        region.put("key", 1, tags=["red"])

        region.invalidate_tags()

        assert region.get("key") == 1

    def test_a_created_value_has_the_tags_of_its_call(
        self, region: CacheRegion, create: Create
    ) -> None:
        region.get_or_create("key", create, tags=["red"])

        region.invalidate_tags("red")

        assert region.get("key") is NO_VALUE
        assert region.get_or_create("key", create) == 2

    def test_created_values_have_the_tags_of_their_call(
        self, region: CacheRegion
    ) -> None:
        region.get_or_create_multi(["a", "b"], lambda *keys: keys, tags=["red"])
        region.put_multi({"c": "c"}, tags=["red"])

        region.invalidate_tags("red")

        assert region.get_multi(["a", "b", "c"]) == [NO_VALUE] * 3
        assert region.get_or_create_multi(["a"], lambda *keys: ["new"]) == ["new"]

    def test_a_region_may_have_tags(self, make_each: Any) -> None:
        region = make_each(tags=["red"])
        region.put("key", "old")

        region.invalidate_tags("red")
        gone = region.get("key")
        region.put("key", "new")

        assert (gone, region.get("key")) == (NO_VALUE, "new")

    def test_the_first_of_many_invalidations_counts_as_the_second(
        self, region: CacheRegion
    ) -> None:
        seen = []

        for _ in range(3):
            region.put("key", "payload", tags=["red"])
            region.invalidate_tags("red")
            seen.append(region.get("key"))

        assert seen == [NO_VALUE] * 3

    def test_softly_the_value_is_stale(self, region: CacheRegion) -> None:
        region.put("key", "old", tags=["red"])
        seen = []

        def create() -> str:
            seen.append(region.get_or_create("key", lambda: "unused"))
            return "new"

        region.invalidate_tags("red", hard=False)
        value = region.get_or_create("key", create)

        assert seen == ["old"]
        assert value == "new"

    def test_a_tag_that_is_named_later_is_no_tag_of_the_value(
        self, region: CacheRegion, create: Create
    ) -> None:
        region.put("key", "old")

        value = region.get_or_create("key", create, tags=["red"])

        assert value == "old"

    def test_a_value_is_put_while_its_tag_is_invalidated(
        self, region: CacheRegion
    ) -> None:
        def create_late() -> str:
            region.invalidate_tags("red")
            return "made of what was before"

        value = region.get_or_create("key", create_late, tags=["red"])

        assert value == "made of what was before"
        assert region.get("key") is NO_VALUE

    def test_the_region_goes_with_its_tags(self, region: CacheRegion) -> None:
        region.put("key", 1, tags=["red"])

        region.invalidate()

        assert region.get("key") is NO_VALUE


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """Set the system's time, by which the 1.x strategies go."""
    clock = FakeClock()
    monkeypatch.setattr(time, "time", clock.time)
    return clock


class TestDefaultStrategy:
    def test_at_first_nothing_is_invalidated(self) -> None:
        strategy = DefaultInvalidationStrategy()

        assert not strategy.is_invalidated(0)
        assert not strategy.was_soft_invalidated()
        assert not strategy.was_hard_invalidated()

    def test_a_hard_one_is_about_what_was_before(self, wall: FakeClock) -> None:
        strategy = DefaultInvalidationStrategy()

        strategy.invalidate()

        assert strategy.was_hard_invalidated()
        assert not strategy.was_soft_invalidated()
        assert strategy.is_hard_invalidated(wall.time() - 1)
        assert strategy.is_invalidated(wall.time() - 1)
        assert not strategy.is_soft_invalidated(wall.time() - 1)
        assert not strategy.is_invalidated(wall.time() + 1)

    def test_a_soft_one_is_about_what_was_before(self, wall: FakeClock) -> None:
        strategy = DefaultInvalidationStrategy()

        strategy.invalidate(hard=False)

        assert strategy.was_soft_invalidated()
        assert not strategy.was_hard_invalidated()
        assert strategy.is_soft_invalidated(wall.time() - 1)
        assert strategy.is_invalidated(wall.time() - 1)
        assert not strategy.is_hard_invalidated(wall.time() - 1)
        assert not strategy.is_invalidated(wall.time() + 1)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("invalidate", ()),
        ("is_hard_invalidated", (0.0,)),
        ("is_soft_invalidated", (0.0,)),
        ("is_invalidated", (0.0,)),
        ("was_soft_invalidated", ()),
        ("was_hard_invalidated", ()),
    ],
)
def test_a_strategy_has_to_say_each_of_its_answers(
    name: str, given: tuple[Any, ...]
) -> None:
    strategy = RegionInvalidationStrategy()

    with pytest.raises(NotImplementedError, match=name):
        getattr(strategy, name)(*given)


class OwnStrategy(RegionInvalidationStrategy):
    """Invalidates by a number that a program keeps somewhere."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.hard = self.soft = -1.0

    def invalidate(self, hard: bool = True) -> None:
        self.hard = self.clock.time() if hard else -1.0
        self.soft = -1.0 if hard else self.clock.time()

    def is_hard_invalidated(self, timestamp: float) -> bool:
        return timestamp <= self.hard

    def is_soft_invalidated(self, timestamp: float) -> bool:
        return timestamp <= self.soft

    def is_invalidated(self, timestamp: float) -> bool:
        return timestamp <= max(self.hard, self.soft)

    def was_soft_invalidated(self) -> bool:
        return self.soft >= 0

    def was_hard_invalidated(self) -> bool:
        return self.hard >= 0


class TestOwnStrategy:
    @pytest.fixture
    def strategy(self, clock: FakeClock) -> OwnStrategy:
        return OwnStrategy(clock)

    @pytest.fixture
    def region(self, make_each: Any, strategy: OwnStrategy) -> CacheRegion:
        made: CacheRegion = make_each(expiration_time=60, region_invalidator=strategy)
        return made

    def test_the_region_asks_it(
        self,
        region: CacheRegion,
        strategy: OwnStrategy,
        clock: FakeClock,
        create: Create,
    ) -> None:
        region.get_or_create("key", create)

        strategy.invalidate()
        clock.advance(1)

        assert region.get("key") is NO_VALUE
        assert region.get_or_create("key", create) == 2
        assert region.get_or_create("key", create) == 2

    def test_the_region_tells_it(
        self, region: CacheRegion, strategy: OwnStrategy
    ) -> None:
        region.invalidate(hard=False)

        assert strategy.was_soft_invalidated()
        assert region.region_invalidator is strategy

    def test_softly_the_value_is_stale(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        region.put("key", "old")
        seen = []

        def create() -> str:
            seen.append(region.get_or_create("key", lambda: "unused"))
            return "new"

        region.invalidate(hard=False)
        clock.advance(1)
        value = region.get_or_create("key", create)

        assert seen == ["old"]
        assert value == "new"

    def test_softly_it_takes_an_expiration_time(
        self, make_each: Any, strategy: OwnStrategy, create: Create
    ) -> None:
        region = make_each(region_invalidator=strategy)
        region.get_or_create("key", create)

        region.invalidate(hard=False)

        with pytest.raises(DogpileCacheException, match="give the region or the call"):
            region.get_or_create("key", create)

    def test_what_is_created_before_it_is_not_stored(self, region: CacheRegion) -> None:
        def create_late() -> str:
            region.invalidate()
            return "made of what was before"

        region.get_or_create("key", create_late)

        assert region.get("key") is NO_VALUE

    def test_tags_work_beside_it(self, region: CacheRegion) -> None:
        region.put("one", 1, tags=["red"])
        region.put("two", 2)

        region.invalidate_tags("red")

        assert region.get_multi(["one", "two"]) == [NO_VALUE, 2]

    def test_a_namespace_is_invalidated_alone(
        self, region: CacheRegion, strategy: OwnStrategy, clock: FakeClock
    ) -> None:
        users = region.namespace("users")
        region.put("key", "of the region")
        users.put("key", "of the namespace")

        users.invalidate()
        clock.advance(1)

        assert users.get("key") is NO_VALUE
        assert region.get("key") == "of the region"
        assert not strategy.was_hard_invalidated()

    def test_a_namespace_goes_with_the_region(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        users = region.namespace("users")
        users.put("key", "of the namespace")

        region.invalidate()
        clock.advance(1)

        assert users.get("key") is NO_VALUE

    def test_it_may_be_given_later(
        self, make_each: Any, strategy: OwnStrategy, clock: FakeClock
    ) -> None:
        region = make_each(expiration_time=60)
        region.put("key", "old")

        region.region_invalidator = strategy
        strategy.invalidate()
        clock.advance(1)

        assert region.get("key") is NO_VALUE

    def test_without_one_there_is_the_default(self, make: Any) -> None:
        assert isinstance(
            make("memory").region_invalidator, DefaultInvalidationStrategy
        )
