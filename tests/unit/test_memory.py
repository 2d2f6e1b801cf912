"""Values in memory: bounds, evictions, copies, and entries that were dropped."""

from __future__ import annotations

import gc
import random
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from dogpile.cache import NO_VALUE, CachedValue, CacheRegion
from dogpile.cache.backends.memory import GONE, MemoryBackend, MemoryPickleBackend
from dogpile.cache.exception import Unserializable, ValidationError
from dogpile.cache.testing import FakeClock

Create = Callable[[], int]
POLICIES = ("s3fifo", "lru")


def value(payload: Any) -> CachedValue:
    return CachedValue(payload, {"ct": 1000.0, "v": 3})


class TestBounds:
    @pytest.fixture(params=POLICIES)
    def backend(self, request: pytest.FixtureRequest) -> MemoryBackend:
        return MemoryBackend({"max_entries": 10, "policy": request.param})

    def test_there_are_never_more_entries(self, backend: MemoryBackend) -> None:
        sizes = set()

        for number in range(100):
            backend.set(number, value(number))
            sizes.add(len(backend))

        assert max(sizes) == len(backend) == 10

    def test_up_to_the_bound_nothing_goes(self, backend: MemoryBackend) -> None:
        for number in range(10):
            backend.set(number, value(number))

        assert [backend.get(number) for number in range(10)] == [
            value(number) for number in range(10)
        ]

    def test_writing_a_key_again_evicts_nothing(self, backend: MemoryBackend) -> None:
        for number in range(10):
            backend.set(number, value(number))

        for number in range(10):
            backend.set(number, value(-number))

        assert [backend.get(number) for number in range(10)] == [
            value(-number) for number in range(10)
        ]

    def test_a_deleted_entry_makes_room(self, backend: MemoryBackend) -> None:
        for number in range(10):
            backend.set(number, value(number))

        backend.delete(3)
        backend.set("new", value("new"))

        kept = [number for number in range(10) if backend.get(number) is not NO_VALUE]
        assert kept == [0, 1, 2, 4, 5, 6, 7, 8, 9]

    def test_what_is_read_stays_longer(self, backend: MemoryBackend) -> None:
        for number in range(10):
            backend.set(number, value(number))
        for _ in range(3):
            backend.get(0)

        for number in range(100, 105):
            backend.set(number, value(number))

        assert backend.get(0) == value(0)
        assert len(backend) == 10

    def test_one_entry_is_enough_to_work_with(self) -> None:
        for policy in POLICIES:
            backend = MemoryBackend({"max_entries": 1, "policy": policy})
            backend.set("one", value(1))
            backend.set("two", value(2))

            assert len(backend) == 1
            assert backend.get("one") is NO_VALUE or backend.get("two") is NO_VALUE

    def test_it_can_be_emptied_and_used_again(self, backend: MemoryBackend) -> None:
        for number in range(50):
            backend.set(number, value(number))

        backend.clear()
        for number in range(50):
            backend.set(number, value(number))

        assert len(backend) == 10

    def test_a_key_that_comes_and_goes_fills_no_queue(
        self, backend: MemoryBackend
    ) -> None:
        for _ in range(2000):
            backend.set("key", value(1))
            backend.delete("key")
        backend.set("key", value(2))

        queues = (
            getattr(backend._eviction, "_small", []),
            getattr(backend._eviction, "_main", []),
        )
        assert sum(map(len, queues)) < 200
        assert backend.get("key") == value(2)

    def test_the_evicted_keys_are_reported(self, backend: MemoryBackend) -> None:
        reported: list[Any] = []
        backend.report = lambda name, details: reported.extend(details["keys"])

        for number in range(30):
            backend.set(number, value(number))

        kept = {number for number in range(30) if backend.get(number) is not NO_VALUE}
        assert len(reported) == 20
        assert {*reported} | kept == {*range(30)}

    @settings(max_examples=60, deadline=None)
    @given(
        policy=st.sampled_from(POLICIES),
        bound=st.integers(1, 5),
        steps=st.lists(
            st.tuples(st.sampled_from(["set", "get", "delete"]), st.integers(0, 9)),
            max_size=60,
        ),
    )
    def test_it_is_a_dictionary_that_forgets(
        self, policy: str, bound: int, steps: list[tuple[str, int]]
    ) -> None:
        backend = MemoryBackend({"max_entries": bound, "policy": policy})
        model: dict[int, CachedValue] = {}

        for turn, (step, key) in enumerate(steps):
            if step == "set":
                model[key] = value(turn)
                backend.set(key, model[key])
            elif step == "delete":
                model.pop(key, None)
                backend.delete(key)
            found = backend.get(key)

            assert found is NO_VALUE or found == model[key]
            assert len(backend) == min(len(backend), bound, len(model))


class TestLru:
    def test_the_least_recently_used_goes_first(self) -> None:
        backend = MemoryBackend({"max_entries": 3, "policy": "lru"})
        for key in "abc":
            backend.set(key, value(key))

        backend.get("a")
        backend.set("b", value("again"))
        backend.set("d", value("d"))

        assert [backend.get(key) is NO_VALUE for key in "abcd"] == [
            False,
            False,
            True,
            False,
        ]


class TestS3Fifo:
    def test_what_was_asked_for_twice_survives_a_scan(self) -> None:
        backend = MemoryBackend({"max_entries": 100})
        for number in range(50):
            backend.set(number, value(number))
            backend.get(number)

        for number in range(1000, 3000):
            backend.set(number, value(number))

        kept = sum(backend.get(number) is not NO_VALUE for number in range(50))
        assert kept >= 45

    def test_what_comes_back_soon_is_kept(self) -> None:
        backend = MemoryBackend({"max_entries": 20})
        for number in range(30):
            backend.set(number, value(number))
        assert backend.entries is not None
        gone = [number for number in range(30) if number not in backend.entries]
        for number in gone:
            backend.set(number, value(number))

        for number in range(100, 110):
            backend.set(number, value(number))

        assert len(gone) == 10
        assert all(backend.get(number) is not NO_VALUE for number in gone)

    @pytest.mark.parametrize("skew", [0.9, 1.1])
    def test_it_hits_as_often_as_lru_on_skewed_requests(self, skew: float) -> None:
        weights = [1 / (rank + 1) ** skew for rank in range(2000)]
        requests = random.Random(7).choices(range(2000), weights, k=20_000)

        hits = {policy: hits_of(policy, requests) for policy in POLICIES}

        assert hits["s3fifo"] >= hits["lru"]


def hits_of(policy: str, requests: list[int]) -> int:
    backend = MemoryBackend({"max_entries": 200, "policy": policy})
    hits = 0
    for key in requests:
        if backend.get(key) is NO_VALUE:
            backend.set(key, value(key))
        else:
            hits += 1
    return hits


class TestBytes:
    @pytest.fixture(params=POLICIES)
    def backend(self, request: pytest.FixtureRequest) -> MemoryBackend:
        return MemoryBackend({"max_bytes": 100_000, "policy": request.param})

    def test_large_values_make_others_go(self, backend: MemoryBackend) -> None:
        for number in range(50):
            backend.set(number, value("x" * 10_000))

        assert 5 <= len(backend) <= 10

    def test_small_values_all_stay(self, backend: MemoryBackend) -> None:
        for number in range(50):
            backend.set(number, value("x" * 100))

        assert len(backend) == 50

    def test_a_value_that_grows_makes_others_go(self, backend: MemoryBackend) -> None:
        for number in range(50):
            backend.set(number, value("x" * 100))

        backend.set(49, value("x" * 95_000))

        assert len(backend) < 50

    def test_a_value_that_is_too_large_is_not_kept(
        self, backend: MemoryBackend
    ) -> None:
        backend.set("small", value("x"))

        backend.set("large", value("x" * 200_000))

        assert backend.get("large") is NO_VALUE

    def test_what_is_deleted_weighs_nothing(self, backend: MemoryBackend) -> None:
        for number in range(1000):
            backend.set(number, value("x" * 10_000))
            backend.delete(number)
        backend.set("key", value("x" * 10_000))

        assert backend.get("key") == value("x" * 10_000)

    def test_containers_are_weighed_with_their_content(
        self, backend: MemoryBackend
    ) -> None:
        for number in range(50):
            backend.set(number, value({"a": ["x" * 5_000], "b": ("y" * 5_000,)}))

        assert 5 <= len(backend) <= 10


class TestCopies:
    def test_without_copies_the_object_itself_is_handed_out(self, make: Any) -> None:
        region = make("memory")
        payload = ["payload"]

        region.put("key", payload)

        assert region.get("key") is payload
        assert region.get_or_create("key", list) is payload

    @pytest.mark.parametrize("policy", POLICIES)
    def test_with_copies_each_reader_has_its_own(self, make: Any, policy: str) -> None:
        region = make("memory", arguments={"copy": True, "policy": policy})
        payload = ["payload"]

        region.put("key", payload)
        payload.append("changed by the writer")
        region.get("key").append("changed by a reader")
        region.get_or_create("key", list).append("and by another")

        assert region.get("key") == ["payload"]

    def test_what_is_created_is_copied_too(self, make: Any) -> None:
        region = make("memory", arguments={"copy": True})

        region.get_or_create("key", lambda: ["payload"]).append("changed")

        assert region.get("key") == ["payload"]

    def test_a_function_has_a_value_of_its_own_each_time(self, make: Any) -> None:
        region: CacheRegion = make("memory", arguments={"copy": True})

        @region.cache_on_arguments()
        def f() -> list[int]:
            return [1]

        f().append(2)
        f().append(3)

        assert f() == [1]

    def test_what_cannot_be_copied_is_returned_and_not_stored(self, make: Any) -> None:
        region = make("memory", arguments={"copy": True})

        def create_lock() -> Any:
            return threading.Lock()

        with pytest.warns(RuntimeWarning, match="create_lock"):
            value = region.get_or_create("key", create_lock)

        assert not value.locked()
        assert region.get("key") is NO_VALUE

    def test_what_cannot_be_copied_cannot_be_put(self, make: Any) -> None:
        region = make("memory", arguments={"copy": True})
        region.put("key", "old")

        with pytest.raises(Unserializable, match="lock"):
            region.put("key", threading.Lock())

        assert region.get("key") == "old"

    def test_pickled_values_are_private_too(self, make: Any) -> None:
        region = make("memory_pickle")
        payload = ["payload"]

        region.put("key", payload)
        region.get("key").append("changed")

        assert region.get("key") == payload
        assert isinstance(region.backend, MemoryPickleBackend)
        assert isinstance(region.backend.get("key"), bytes)

    def test_pickled_values_are_bounded_too(self, make: Any) -> None:
        region = make("memory_pickle", arguments={"max_entries": 3})

        for number in range(10):
            region.put(number, number)

        assert len(region.backend) == 3


class TestOwnMapping:
    def test_values_are_kept_in_it(self, make: Any, clock: FakeClock) -> None:
        kept: dict[Any, Any] = {}
        region = make("memory", arguments={"cache_dict": kept})

        region.put("key", "payload")
        region.get_or_create("other", lambda: 1)

        assert kept["key"] == ("payload", {"ct": clock.time(), "v": 3})
        assert set(kept) == {"key", "other"}

    def test_what_it_drops_is_a_miss(self, make: Any, create: Create) -> None:
        class Bounded(OrderedDict[Any, Any]):
            def __setitem__(self, key: Any, value: Any) -> None:
                super().__setitem__(key, value)
                while len(self) > 2:
                    self.popitem(last=False)

        kept = Bounded()
        region = make("memory", arguments={"cache_dict": kept})

        values = [region.get_or_create(key, create) for key in "abca"]

        assert values == [1, 2, 3, 4]

    def test_it_may_hold_values_already(
        self, make: Any, clock: FakeClock, create: Create
    ) -> None:
        kept = {"key": CachedValue("payload", {"ct": clock.time(), "v": 3})}
        region = make("memory", arguments={"cache_dict": kept})

        assert region.get_or_create("key", create) == "payload"

    def test_two_regions_may_share_it(self, make: Any) -> None:
        kept: dict[Any, Any] = {}
        one = make("memory", arguments={"cache_dict": kept})
        two = make("memory", arguments={"cache_dict": kept})

        one.put("key", "payload")

        assert two.get("key") == "payload"

    @pytest.mark.parametrize("bound", ["max_entries", "max_bytes"])
    def test_it_keeps_its_own_bounds(self, bound: str) -> None:
        with pytest.raises(ValidationError, match="cache_dict"):
            MemoryBackend({"cache_dict": {}, bound: 10})


class TestView:
    """``_cache``: what 1.x programs look into, and clear."""

    @pytest.fixture(params=[{}, {"max_entries": 10}, {"cache_dict": {}}], ids=str)
    def region(self, make: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
        region = make("memory", arguments=dict(request.param))
        yield region
        region.backend._cache.clear()

    def test_it_shows_what_is_stored(self, region: Any) -> None:
        region.put_multi({"one": 1, "two": 2})

        cache = region.backend._cache

        assert len(cache) == 2
        assert sorted(cache) == ["one", "two"]
        assert cache["one"].payload == 1
        assert "one" in cache
        assert "three" not in cache
        assert cache.get("three") is None

    def test_what_is_cleared_is_gone(self, region: Any, create: Create) -> None:
        region.get_or_create("key", create)

        region.backend._cache.clear()

        assert region.get("key") is NO_VALUE
        assert region.get_or_create("key", create) == 2

    def test_what_is_deleted_is_gone(self, region: Any) -> None:
        region.put("key", 1)

        del region.backend._cache["key"]

        assert region.get("key") is NO_VALUE
        with pytest.raises(KeyError):
            del region.backend._cache["key"]
        with pytest.raises(KeyError):
            region.backend._cache["key"]

    def test_what_is_set_is_there(self, region: Any, clock: FakeClock) -> None:
        region.backend._cache["key"] = CachedValue("x", {"ct": clock.time(), "v": 3})

        assert region.get("key") == "x"
        assert region.get_or_create("key", lambda: "unused") == "x"


class TestDroppedEntries:
    """Whoever remembers an entry sees that it was dropped."""

    @pytest.fixture
    def backend(self) -> MemoryBackend:
        return MemoryBackend({"max_entries": 3})

    def entry(self, backend: MemoryBackend, key: Any) -> Any:
        assert backend.entries is not None
        return backend.entries[key]

    @pytest.mark.parametrize("name", ["delete", "set", "clear", "evict"])
    def test_a_dropped_entry_is_good_for_nothing(
        self, backend: MemoryBackend, name: str
    ) -> None:
        with backend.lock:
            backend.place("key", "payload", 1000.0, 2000.0, None)
        entry = self.entry(backend, "key")

        if name == "delete":
            backend.delete("key")
        elif name == "set":
            backend.set("key", value("new"))
        elif name == "clear":
            backend.clear()
        else:
            for number in range(20):
                backend.set(number, value(number))

        assert entry.payload is GONE
        assert entry.reader is None
        assert not entry.born <= 1500.0 < entry.until

    def test_what_is_set_directly_is_not_fresh_before_it_is_judged(
        self, backend: MemoryBackend
    ) -> None:
        backend.set("key", value("payload"))

        entry = self.entry(backend, "key")

        assert not entry.born <= 1e12 < entry.until
        assert backend.get("key") == value("payload")

    def test_a_new_epoch_keeps_the_entries_to_be_judged_anew(
        self, backend: MemoryBackend
    ) -> None:
        backend.set("key", value("payload"))
        epoch, reader = backend.epoch, backend.reader("who")
        assert backend.reader("who") is reader is not backend.reader("else")

        with backend.lock:
            backend.start_epoch(is_end=False)

        assert backend.epoch is not epoch
        assert backend.reader("who") is not reader
        assert backend.get("key") == value("payload")

    def test_the_end_of_an_epoch_drops_them(self, backend: MemoryBackend) -> None:
        backend.set("key", value("payload"))
        entry = self.entry(backend, "key")

        with backend.lock:
            backend.start_epoch(is_end=True)

        assert entry.payload is GONE
        assert backend.get("key") is NO_VALUE
        assert len(backend) == 0

    def test_an_entry_that_was_found_fresh_is_quick_again(
        self, make: Any, create: Create
    ) -> None:
        region = make("memory", expiration_time=60)
        region.get_or_create("key", create)
        region.invalidate_tags("red")
        before = region.backend.entries["key"].reader

        values = [region.get_or_create("key", create) for _ in range(2)]

        assert values == [1, 1]
        assert before is not region.backend.entries["key"].reader
        quick = region._fast._space["reader"]
        assert region.backend.entries["key"].reader is quick

    def test_no_dropped_payload_is_ever_handed_out(self, make: Any) -> None:
        region: CacheRegion = make("memory", arguments={"max_entries": 4})

        @region.cache_on_arguments()
        def f(a: int) -> int:
            return a

        seen: set[Any] = set()
        end = threading.Event()

        def read() -> None:
            while not end.is_set():
                seen.update(f(a) for a in range(8))
                seen.update(region.get_multi([f.key(a) for a in range(8)]))  # type: ignore[attr-defined]
                seen.add(region.get(f.key(3)))  # type: ignore[attr-defined]
                seen.add(region.get_or_create("key", lambda: 0))

        reader = threading.Thread(target=read)
        reader.start()
        for turn in range(300):
            region.delete(f.key(turn % 8))  # type: ignore[attr-defined]
            region.put("key", 0)
            region.invalidate()
        end.set()
        reader.join(10)

        assert seen <= {*range(8), NO_VALUE}


class TestArguments:
    @pytest.mark.parametrize("name", ["max_entries", "max_bytes"])
    @pytest.mark.parametrize("given", [0, -5, 1.5, "10", True])
    def test_a_bound_is_a_number_from_one_on(self, name: str, given: Any) -> None:
        with pytest.raises(ValidationError, match=name):
            MemoryBackend({name: given})

    def test_an_unknown_policy_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="'s3fifo' or 'lru'"):
            MemoryBackend({"policy": "fifo"})

    def test_copies_do_not_go_with_a_mapping_of_ones_own(self) -> None:
        with pytest.raises(ValidationError, match="copy"):
            MemoryBackend({"cache_dict": {}, "copy": True})

    def test_the_arguments_are_not_changed(self) -> None:
        arguments = {"max_entries": 10, "policy": "lru", "copy": True}

        MemoryBackend(arguments)

        assert arguments == {"max_entries": 10, "policy": "lru", "copy": True}


class TestGrowth:
    """Of the keys that come by nothing stays but what the bound allows."""

    def blocks(self) -> int:
        gc.collect()
        return sys.getallocatedblocks()

    def test_a_region_does_not_grow(self, make: Any) -> None:
        region: CacheRegion = make("memory", arguments={"max_entries": 1000})

        @region.cache_on_arguments()
        def f(a: int) -> int:
            return a

        def come_by(start: int, stop: int) -> None:
            for number in range(start, stop, 2):
                region.get_or_create(number, lambda: "payload")
                f(number)

        come_by(0, 10_000)
        before = self.blocks()
        come_by(10_000, 210_000)
        grown = self.blocks() - before

        assert len(region.actual_backend) == 1000  # type: ignore[arg-type]
        assert grown < 10_000

    @pytest.mark.parametrize("policy", POLICIES)
    def test_a_backend_does_not_grow(self, policy: str) -> None:
        backend = MemoryBackend({"max_entries": 1000, "policy": policy})

        def come_by(start: int, stop: int) -> None:
            for number in range(start, stop):
                backend.set(number, value("payload"))
                backend.get(number // 2)

        come_by(0, 10_000)
        before = self.blocks()
        come_by(10_000, 110_000)
        grown = self.blocks() - before

        assert len(backend) == 1000
        assert grown < 10_000
