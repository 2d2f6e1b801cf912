"""A short way to entries of this process goes along when the region changes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from dogpile.cache import NO_VALUE, CacheRegion, make_region
from dogpile.cache.backends.memory import MemoryBackend
from dogpile.cache.testing import FakeClock

MEMORY = "dogpile.cache.memory"
# Real seconds after which something must be wrong.
PATIENCE = 30


@pytest.fixture(params=["s3fifo", "lru", None])
def region(make: Any, request: pytest.FixtureRequest) -> CacheRegion:
    """Return a region in memory, bounded by either policy, or not at all."""
    arguments = {} if request.param is None else {"max_entries": 9}
    if request.param is not None:
        arguments["policy"] = request.param
    made: CacheRegion = make(expiration_time=60, arguments=arguments)
    return made


class TestWhoKeptAWay:
    def test_reads_the_backend_that_replaced_another(self, region: CacheRegion) -> None:
        region.put("key", "old")
        get, get_or_create = region.get, region.get_or_create
        assert (get("key"), get_or_create("key", lambda: "new")) == ("old", "old")

        region.configure(MEMORY, replace_existing_backend=True)

        assert get("key") is NO_VALUE
        assert get_or_create("key", lambda: "new") == "new"
        assert (get("key"), region.get("key")) == ("new", "new")

    def test_writes_to_the_backend_that_replaced_another(
        self, region: CacheRegion
    ) -> None:
        get_or_create = region.get_or_create

        region.configure(MEMORY, replace_existing_backend=True)

        assert get_or_create("key", lambda: "new") == "new"
        assert region.get("key") == "new"

    def test_reads_what_does_not_lie_in_memory(self, region: CacheRegion) -> None:
        get, get_or_create = region.get, region.get_or_create
        region.put("key", "old")

        region.configure("dogpile.cache.null", replace_existing_backend=True)

        assert get("key") is NO_VALUE
        assert get_or_create("key", lambda: "new") == "new"

    def test_judges_by_the_new_time(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        get_or_create = region.get_or_create
        region.put("key", "old")
        clock.advance(30)

        region.expiration_time = 20

        assert get_or_create("key", lambda: "new") == "new"

    def test_judges_by_the_new_policy(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        get_or_create = region.get_or_create
        region.put("key", "old")
        clock.advance(61)

        region.policy = region.policy.merged({"expiration_time": None})

        assert get_or_create("key", lambda: "new") == "old"

    def test_makes_keys_in_the_new_way(self, region: CacheRegion) -> None:
        get, get_or_create = region.get, region.get_or_create
        region.put("KEY", "capital")

        region.key_mangler = str.upper

        assert get("key") == "capital"
        assert get_or_create("key", lambda: "new") == "capital"

    @pytest.mark.parametrize(
        ("event", "key"), [("hit", "key"), ("miss", "other")], ids=["hit", "miss"]
    )
    def test_is_heard_by_who_begins_to_listen(
        self, region: CacheRegion, event: str, key: str
    ) -> None:
        get, get_or_create = region.get, region.get_or_create
        region.put("key", "value")
        heard: list[Any] = []

        region.on(event, lambda each: heard.append(each.key))

        get(key)
        get_or_create(key, lambda: "value")
        assert heard == [key, key]

    def test_has_the_namespace_of_a_region_that_changed(
        self, region: CacheRegion
    ) -> None:
        namespace = region.namespace("part")
        namespace.put("key", "old")
        get, get_or_create = namespace.get, namespace.get_or_create

        region.configure(MEMORY, replace_existing_backend=True)

        assert get("key") is NO_VALUE
        assert get_or_create("key", lambda: "new") == "new"

    def test_goes_along_once_more(self, region: CacheRegion) -> None:
        get = region.get
        region.configure(MEMORY, replace_existing_backend=True)
        region.put("key", "second")

        region.configure(MEMORY, replace_existing_backend=True)

        assert get("key") is NO_VALUE
        region.put("key", "third")
        assert get("key") == "third"

    def test_sees_an_invalidation(self, region: CacheRegion) -> None:
        get, get_or_create = region.get, region.get_or_create
        region.configure(MEMORY, replace_existing_backend=True)
        region.put("key", "old")

        region.invalidate()

        assert get("key") is NO_VALUE
        assert get_or_create("key", lambda: "new") == "new"

    def test_is_told_of_a_key_that_is_none(self, region: CacheRegion) -> None:
        get = region.get
        key: Any = []
        region.configure(MEMORY, replace_existing_backend=True)

        with pytest.raises(TypeError, match="unhashable"):
            get(key)


class Met(MemoryBackend):
    """Calls back while it becomes a region's."""

    argument_names = frozenset({"meet"})

    def __init__(self, arguments: Any) -> None:
        super().__init__({})
        self._meet = arguments["meet"]

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "report":
            self._meet()


class TestACreationUnderWay:
    @pytest.fixture
    def replace(self, region: CacheRegion) -> Callable[[], str]:
        """Return a creator that replaces the backend before it returns."""

        def create() -> str:
            region.configure(MEMORY, replace_existing_backend=True)
            return "begun before"

        return create

    def test_is_returned_and_leaves_nothing_behind(
        self, region: CacheRegion, replace: Callable[[], str]
    ) -> None:
        made = region.get_or_create("key", replace)

        assert made == "begun before"
        assert region.get("key") is NO_VALUE

    def test_is_not_remembered_by_the_arguments(
        self, region: CacheRegion, replace: Callable[[], str]
    ) -> None:
        calls: list[int] = []

        @region.cache_on_arguments()
        def value(number: int) -> str:
            calls.append(number)
            return replace() if len(calls) == 1 else "begun after"

        first = value(1)

        assert first == "begun before"
        assert (value(1), value(1)) == ("begun after", "begun after")
        assert calls == [1, 1]

    def test_that_began_in_the_midst_is_not_remembered(self, make: Any) -> None:
        region: CacheRegion = make(expiration_time=60, key_mangler=str)
        began, end = Event(), Event()
        calls: list[int] = []

        @region.cache_on_arguments()
        def value(number: int) -> str:
            calls.append(number)
            if len(calls) > 1:
                return "begun after"
            began.set()
            end.wait(PATIENCE)
            return "begun in the midst"

        with ThreadPoolExecutor(1) as pool:
            under_way = []

            def meet() -> None:
                under_way.append(pool.submit(value, 1))
                began.wait(PATIENCE)

            region.configure(
                Met, arguments={"meet": meet}, replace_existing_backend=True
            )
            end.set()

        assert under_way[0].result() == "begun in the midst"
        assert (value(1), value(1)) == ("begun after", "begun after")
        assert calls == [1, 1]


@pytest.mark.parametrize("kind", ["memory", "memory_pickle"])
def test_values_of_before_expire_by_the_new_time(kind: str) -> None:
    clock = FakeClock()
    region = make_region(f"dogpile.cache.{kind}", expiration_time=1000, clock=clock)
    region.put("key", "old")

    region.expiration_time = 10
    clock.advance(5)
    before = region.get_or_create("key", lambda: "new")
    clock.advance(15)
    after = region.get_or_create("key", lambda: "new")

    assert (before, after) == ("old", "new")
