"""The short way to write stores what the general way stores."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from shelf import CHAINS, Shelf, region_on

from dogpile.cache import NO_VALUE, CacheRegion
from dogpile.cache.api import Capabilities
from dogpile.cache.exception import (
    BackendUnavailable,
    RegionNotConfigured,
    Unserializable,
)
from dogpile.cache.testing import FakeClock


class Keeping(Shelf):
    """Bytes in a dictionary, each with the seconds that it is kept for."""

    capabilities = Capabilities(multi=True, ttl=True)

    def __init__(self, arguments: Any) -> None:
        super().__init__(arguments)
        self.kept_for: dict[Any, float | None] = {}

    def set_serialized(self, key: Any, value: bytes, ttl: float | None = None) -> None:
        if self.fault is not None:
            raise self.fault
        super().set_serialized(key, value)
        self.kept_for[key] = ttl


def region_keeping(clock: FakeClock, **how: Any) -> CacheRegion:
    return region_on({}, clock, kind=Keeping, **how)


def backend_of(region: CacheRegion) -> Keeping:
    backend = region.actual_backend
    assert isinstance(backend, Keeping)
    return backend


def armed(region: CacheRegion) -> CacheRegion:
    """Write until the short way knows what a value looks like."""
    for _ in range(2):
        region.put("nothing", None)
    return region


def forbid_the_general_way(region: CacheRegion) -> None:
    def refuse(*given: Any) -> Any:
        raise AssertionError("this took the general way")

    region.__dict__["_put"] = refuse


payloads = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.mark.parametrize("chain", ["pickle", "json"])
@settings(max_examples=50, deadline=None)
@given(
    payload=payloads,
    start=st.sampled_from([0.5, 999.2, 1_700_000_000.0, 1_700_000_000.05]),
    how=st.fixed_dictionaries(
        {}, optional={"grace": st.just(30), "version": st.just("2|")}
    ),
    is_invalidated=st.booleans(),
)
def test_both_ways_store_the_same_bytes(
    chain: str, payload: Any, start: float, how: dict[str, Any], is_invalidated: bool
) -> None:
    clock = FakeClock(start)
    short = region_keeping(clock, **CHAINS[chain], **how)
    general = region_keeping(clock, is_short=False, **CHAINS[chain], **how)
    if is_invalidated:
        short.invalidate()
        mark = short.storage.marks.last(short.storage.record)
        general.storage.marks.note_written(general.storage.record, mark)
    for region in (armed(short), general):
        region.put("key", payload)

    assert backend_of(short).stored["key"] == backend_of(general).stored["key"]
    assert backend_of(short).kept_for["key"] == backend_of(general).kept_for["key"]


@pytest.mark.parametrize("chain", CHAINS)
class TestAPut:
    def test_takes_the_short_way(self, chain: str) -> None:
        region = armed(region_keeping(FakeClock(), **CHAINS[chain]))
        forbid_the_general_way(region)

        assert region.put("a", [1]) == [1]
        assert region.set("b", "x" * 100) == "x" * 100

        assert region.get_multi(["a", "b"]) == [[1], "x" * 100]

    def test_is_fresh_for_as_long_as_the_region_says(self, chain: str) -> None:
        clock = FakeClock()
        region = armed(region_keeping(clock, **CHAINS[chain]))
        region.put("a", 1)

        clock.advance(59)
        young = region.get_or_create("a", lambda: 2)
        clock.advance(1)

        assert (young, region.get_or_create("a", lambda: 2)) == (1, 2)

    def test_after_an_invalidation_is_good(self, chain: str) -> None:
        region = armed(region_keeping(FakeClock(), **CHAINS[chain]))
        region.put("old", 1)
        region.invalidate()

        armed(region).put("a", 2)

        assert region.get_multi(["old", "a"]) == [NO_VALUE, 2]

    def test_is_not_overwritten_by_a_creation_that_began_before(
        self, chain: str
    ) -> None:
        region = armed(region_keeping(FakeClock(), **CHAINS[chain]))

        def create() -> str:
            forbid_the_general_way(region)
            region.put("a", "put meanwhile")
            return "begun before"

        assert region.get_or_create("a", create) == "begun before"
        assert region.get("a") == "put meanwhile"

    def test_of_what_cannot_be_stored_says_so(self, chain: str) -> None:
        region = armed(region_keeping(FakeClock(), **CHAINS[chain]))
        region.put("a", 1)

        with pytest.raises(Unserializable, match="'a'"):
            region.put("a", lambda: None)

        assert region.get("a") == 1

    def test_with_settings_of_its_own_heeds_them(self, chain: str) -> None:
        clock = FakeClock()
        region = armed(region_keeping(clock, **CHAINS[chain]))
        region.put("a", 1, expiration_time=5)
        region.set("b", 1, tags=["t"])

        clock.advance(5)
        region.invalidate_tags("t")

        assert region.get_or_create("a", lambda: 2) == 2
        assert region.get("b") is NO_VALUE


class TestWhoMayHaveIt:
    def test_a_way_that_somebody_kept_goes_along(self) -> None:
        region = armed(region_keeping(FakeClock()))
        put, store = region.put, region.set

        region.configure(
            Keeping, arguments={"stored": {}}, replace_existing_backend=True
        )
        put("a", 1)
        store("b", 2)

        assert region.get_multi(["a", "b"]) == [1, 2]

    def test_nobody_who_writes_in_a_way_of_his_own(self) -> None:
        class Own(CacheRegion):
            def put(self, key: Any, value: Any, **policy: Any) -> Any:
                return super().put(f"own {key}", value, **policy)

        region = armed(
            Own(clock=FakeClock()).configure(Keeping, arguments={"stored": {}})
        )
        region.put("a", 1)
        region.set("b", 2)

        assert region.get_multi(["own a", "own b", "a", "b"]) == [
            1,
            2,
            NO_VALUE,
            NO_VALUE,
        ]

    def test_who_listens_hears_of_it(self) -> None:
        region = armed(region_keeping(FakeClock()))
        heard: list[Any] = []
        region.on("put", lambda event: heard.append(event.key))

        region.put("a", 1)

        assert heard == ["a"]

    def test_a_fault_of_the_backend_is_told(self) -> None:
        region = armed(region_keeping(FakeClock()))
        backend_of(region).fault = BackendUnavailable("shelf", "set", "it fell down")

        with pytest.raises(BackendUnavailable, match="it fell down"):
            region.put("a", 1)


def test_a_fault_is_told_as_one_of_put() -> None:
    told = set()
    for is_short in (True, False):
        region = armed(region_keeping(FakeClock(), is_short=is_short))
        for store in (region.put, region.set):
            backend_of(region).fault = BackendUnavailable("shelf", "set", "it fell")
            with pytest.raises(BackendUnavailable) as caught:
                store("a", 1)
            told.add(str(caught.value))
            backend_of(region).fault = None

    assert told == {"shelf failed at put(): it fell"}


@pytest.mark.parametrize("backend", ["memory", "memory_pickle"])
def test_nobody_whose_backend_was_taken_away(backend: str) -> None:
    region = CacheRegion().configure(f"dogpile.cache.{backend}", expiration_time=60)
    acts: list[Any] = [
        lambda: region.put("a", 1),
        lambda: region.set("a", 1),
        lambda: region.get("a"),
        lambda: region.get_multi(["a"]),
        lambda: region.get_or_create("a", int),
        lambda: region.get_or_create_multi(["a"], list),
        region.cache_on_arguments()(lambda: 1),
        lambda: region.backend,
    ]
    for _ in range(3):
        for act in acts:
            act()
    assert not hasattr(CacheRegion, "backend")

    del region.backend

    for act in acts:
        with pytest.raises(RegionNotConfigured):
            act()
