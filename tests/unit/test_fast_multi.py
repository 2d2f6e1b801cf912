"""Many keys at once, whose values are entries of this process."""

from __future__ import annotations

from typing import Any

import pytest

from dogpile.cache import NO_VALUE, CacheRegion
from dogpile.cache.testing import FakeClock

MEMORY = "dogpile.cache.memory"


@pytest.fixture(params=["unbounded", "s3fifo", "lru", "mangled"])
def region(make: Any, request: pytest.FixtureRequest) -> CacheRegion:
    """Return a region in memory that has values for a, b and c."""
    arguments: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    if request.param in ("s3fifo", "lru"):
        arguments = {"max_entries": 9, "policy": request.param}
    elif request.param == "mangled":
        settings["key_mangler"] = str.upper
    made: CacheRegion = make(expiration_time=60, arguments=arguments, **settings)
    made.put_multi({"a": 1, "b": 2, "c": 3})
    return made


class Creator:
    """Returns each key doubled, and remembers how it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, *keys: str) -> list[str]:
        self.calls.append(keys)
        return [key * 2 for key in keys]


@pytest.fixture
def creator() -> Creator:
    return Creator()


class TestGetMulti:
    def test_returns_payloads_in_the_order_of_the_keys(
        self, region: CacheRegion
    ) -> None:
        assert region.get_multi(["c", "a", "b", "a"]) == [3, 1, 2, 1]

    def test_takes_what_can_be_read_once(self, region: CacheRegion) -> None:
        assert region.get_multi(key for key in "ab") == [1, 2]  # type: ignore[arg-type]

    def test_has_no_value_where_there_is_none(self, region: CacheRegion) -> None:
        assert region.get_multi(["a", "none", "b"]) == [1, NO_VALUE, 2]
        assert region.get_multi([]) == []

    def test_returns_what_has_expired_unless_asked(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        clock.advance(61)
        region.put("b", "young")

        assert region.get_multi(["a", "b"]) == [1, "young"]
        assert region.get_multi(["a", "b"], 60) == [NO_VALUE, "young"]
        strict = region.get_multi(["a", "b"], ignore_expiration=False)
        assert strict == [NO_VALUE, "young"]

    def test_returns_nothing_that_was_invalidated(self, region: CacheRegion) -> None:
        region.put("tagged", 4, tags=["t"])
        region.invalidate_tags("t")

        assert region.get_multi(["a", "tagged", "b"]) == [1, NO_VALUE, 2]
        region.invalidate()
        assert region.get_multi(["a", "tagged", "b"]) == [NO_VALUE] * 3

    def test_reads_the_backend_that_replaced_another(self, region: CacheRegion) -> None:
        get_multi = region.get_multi
        region.configure(MEMORY, replace_existing_backend=True)
        region.put("b", "new")

        assert get_multi(["a", "b"]) == [NO_VALUE, "new"]

    def test_is_told_of_a_key_that_is_none(self, region: CacheRegion) -> None:
        key: Any = []

        with pytest.raises(TypeError):
            region.get_multi(["a", key])


class TestGetOrCreateMulti:
    def test_creates_nothing_that_is_there(
        self, region: CacheRegion, creator: Creator
    ) -> None:
        assert region.get_or_create_multi(["c", "a", "a"], creator) == [3, 1, 1]
        assert creator.calls == []

    def test_creates_what_is_missing_once(
        self, region: CacheRegion, creator: Creator
    ) -> None:
        keys = ["x", "a", "y", "x", "b"]

        for _ in range(2):
            made = region.get_or_create_multi(keys, creator)
            assert made == ["xx", 1, "yy", "xx", 2]
        assert creator.calls == [("x", "y")]

    def test_creates_what_has_expired(
        self, region: CacheRegion, creator: Creator, clock: FakeClock
    ) -> None:
        clock.advance(59)
        region.put("b", "young")
        clock.advance(1)

        made = region.get_or_create_multi(["a", "b", "c"], creator)

        assert made == ["aa", "young", "cc"]
        assert creator.calls == [("a", "c")]

    def test_creates_what_was_invalidated(
        self, region: CacheRegion, creator: Creator
    ) -> None:
        region.put("tagged", 4, tags=["t"])
        region.invalidate_tags("t")

        for _ in range(2):
            made = region.get_or_create_multi(["a", "tagged", "b"], creator)
            assert made == [1, "taggedtagged", 2]
        assert creator.calls == [("tagged",)]

    def test_heeds_what_is_asked_of_this_call(
        self, region: CacheRegion, creator: Creator, clock: FakeClock
    ) -> None:
        clock.advance(30)

        kept = region.get_or_create_multi(
            ["a", "x"], creator, None, lambda value: False
        )
        assert (kept, region.get("x")) == ([1, "xx"], NO_VALUE)
        assert region.get_or_create_multi(["a"], creator, 20) == ["aa"]
        assert region.get_or_create_multi(["b"], creator, version="2") == ["bb"]

    def test_writes_to_the_backend_that_replaced_another(
        self, region: CacheRegion, creator: Creator
    ) -> None:
        get_or_create_multi = region.get_or_create_multi
        region.configure(MEMORY, replace_existing_backend=True)

        assert get_or_create_multi(["a"], creator) == ["aa"]
        assert region.get_multi(["a"]) == ["aa"]

    def test_passes_on_what_the_creator_raises(self, region: CacheRegion) -> None:
        def fail(*keys: str) -> list[str]:
            raise LookupError(*keys)

        with pytest.raises(LookupError) as caught:
            region.get_or_create_multi(["a", "x"], fail)
        assert caught.value.args == ("x",)
        assert caught.value.__context__ is None


class TestBothForms:
    def test_mark_what_was_read_for_the_eviction(self, make: Any) -> None:
        region: CacheRegion = make(expiration_time=60, arguments={"max_entries": 4})
        region.put_multi({"a": 1, "b": 2, "c": 3, "d": 4})

        region.get_multi(["a"])
        region.get_or_create_multi(["b"], Creator())
        region.put_multi({"e": 5, "f": 6})

        assert region.get_multi(["a", "b", "c", "d"]) == [1, 2, NO_VALUE, NO_VALUE]

    def test_of_a_namespace_have_its_keys(self, region: CacheRegion) -> None:
        part = region.namespace("part")
        part.put("a", "own")

        assert part.get_multi(["a", "b"]) == ["own", NO_VALUE]
        assert region.get_multi(["a"]) == [1]

    def test_are_heard_by_who_begins_to_listen(
        self, region: CacheRegion, creator: Creator
    ) -> None:
        heard: list[Any] = []
        region.on("hit", lambda event: heard.append(event.key))

        region.get_multi(["a", "b"])
        region.get_or_create_multi(["c"], creator)

        assert heard == ["a", "b", "c"]

    def test_of_a_subclass_are_left_alone(self) -> None:
        class Own(CacheRegion):
            def get_multi(self, keys: Any, *given: Any) -> Any:
                return ["own", *super().get_multi(keys, *given)]

        region = Own().configure(MEMORY)
        region.put("a", 1)

        assert region.get_multi(["a"]) == ["own", 1]

    def test_judge_an_entry_of_before_an_invalidation_once(self, make: Any) -> None:
        region: CacheRegion = make(expiration_time=60)
        region.put_multi({"a": 1, "b": 2})
        region.invalidate_tags("another")

        assert region.get_or_create_multi(["a", "b"], Creator()) == [1, 2]

        backend: Any = region.actual_backend
        fast: Any = region._fast
        readers = {entry.reader for entry in backend.entries.values()}
        assert readers == {fast._space["reader"]}
