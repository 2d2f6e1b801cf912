"""What happened, and how often: each event when it should be, and at no cost else."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from dogpile.cache import CacheRegion
from dogpile.cache.events import EVENTS, Event, Events, Statistics
from dogpile.cache.exception import ValidationError
from dogpile.cache.testing import FakeClock

Create = Callable[[], int]
PATIENCE = 10.0


class Seen:
    """Listens to all events of a region."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def told(self) -> list[tuple[str, Any]]:
        """The names and keys of the events so far, which are then forgotten."""
        told = [(event.name, event.key) for event in self.events]
        self.events.clear()
        return told


def fail(*keys: object) -> None:
    raise LookupError("of the creator")


@pytest.fixture
def region(make_each: Any) -> CacheRegion:
    made: CacheRegion = make_each(name="pages", expiration_time=60)
    return made


@pytest.fixture
def seen(region: CacheRegion) -> Seen:
    seen = Seen()
    region.on("*", seen)
    return seen


class TestReading:
    def test_a_get_is_a_hit_or_a_miss(self, region: CacheRegion, seen: Seen) -> None:
        region.get("key")
        region.put("key", 1)
        region.get("key")

        assert seen.told == [("miss", "key"), ("put", "key"), ("hit", "key")]

    def test_a_get_of_what_is_too_old_is_a_miss(
        self, region: CacheRegion, clock: FakeClock, seen: Seen
    ) -> None:
        region.put("key", 1)
        clock.advance(60)
        seen.events.clear()

        region.get("key")
        region.get("key", ignore_expiration=False)

        assert seen.told == [("hit", "key"), ("miss", "key")]

    def test_each_of_many_is_a_hit_or_a_miss(
        self, region: CacheRegion, seen: Seen
    ) -> None:
        region.put("a", 1)
        seen.events.clear()

        region.get_multi(["a", "b"])

        assert seen.told == [("hit", "a"), ("miss", "b")]

    def test_metadata_are_read_like_a_value(
        self, region: CacheRegion, seen: Seen
    ) -> None:
        region.get_value_metadata("key")

        assert seen.told == [("miss", "key")]


class TestWriting:
    def test_a_put_is_told(self, region: CacheRegion, seen: Seen) -> None:
        region.put("a", 1)
        region.set("b", 1)
        region.put_multi({"c": 1, "d": 1})
        region.set_multi({"e": 1})

        assert seen.told == [("put", key) for key in "abcde"]

    def test_a_delete_is_told(self, region: CacheRegion, seen: Seen) -> None:
        region.delete("a")
        region.delete_multi(["b", "c"])

        assert seen.told == [("delete", key) for key in "abc"]

    @pytest.mark.parametrize("hard", [True, False])
    def test_an_invalidation_is_told(
        self, region: CacheRegion, seen: Seen, hard: bool
    ) -> None:
        region.invalidate(hard)
        region.invalidate_tags("red", "blue", hard=hard)

        of_region, of_tags = seen.events
        assert (of_region.name, of_region.key) == ("invalidate", None)
        assert of_region.details == {"hard": hard, "records": ("dogpile:g:r:pages",)}
        assert of_tags.details == {
            "hard": hard,
            "records": ("dogpile:g:t:red", "dogpile:g:t:blue"),
        }


class TestCreating:
    def test_a_creation_is_a_miss_first(
        self, region: CacheRegion, clock: FakeClock, seen: Seen
    ) -> None:
        def create() -> int:
            clock.advance(2)
            return 1

        region.get_or_create("key", create)

        *_, created = seen.events
        assert created.details == {"seconds": 2}
        assert seen.told == [("miss", "key"), ("create", "key")]

    def test_a_fresh_value_is_a_hit(
        self, region: CacheRegion, create: Create, seen: Seen
    ) -> None:
        region.put("key", 1)
        seen.events.clear()

        region.get_or_create("key", create)
        region.get_or_create_multi(["key"], lambda key: [2])

        assert seen.told == [("hit", "key"), ("hit", "key")]

    def test_a_failure_is_told(self, region: CacheRegion, seen: Seen) -> None:
        with pytest.raises(LookupError) as caught:
            region.get_or_create("key", fail)

        *_, failed = seen.events
        assert failed.details["error"] is caught.value
        assert seen.told == [("miss", "key"), ("create_failed", "key")]

    def test_a_failure_of_many_is_told_of_each(
        self, region: CacheRegion, seen: Seen
    ) -> None:
        with pytest.raises(LookupError):
            region.get_or_create_multi(["a", "b"], lambda *keys: fail())

        told = [event for event in seen.told if event[0] == "create_failed"]
        assert told == [("create_failed", "a"), ("create_failed", "b")]

    def test_many_are_told_each(
        self, region: CacheRegion, clock: FakeClock, seen: Seen
    ) -> None:
        region.put("a", 1)
        seen.events.clear()

        def create(*keys: str) -> list[int]:
            clock.advance(4)
            return [1] * len(keys)

        region.get_or_create_multi(["a", "b", "c"], create)

        seconds = [e.details["seconds"] for e in seen.events if e.name == "create"]
        assert sorted(seen.told) == [
            ("create", "b"),
            ("create", "c"),
            ("hit", "a"),
            ("miss", "b"),
            ("miss", "c"),
        ]
        assert seconds == [2, 2]

    def test_a_stale_value_that_is_served_is_told(
        self, region: CacheRegion, clock: FakeClock, seen: Seen
    ) -> None:
        region.put("key", "old")
        clock.advance(60)
        seen.events.clear()

        def create() -> str:
            region.get_or_create("key", fail)
            return "new"

        region.get_or_create("key", create)

        assert ("stale_hit", "key") in seen.told

    def test_a_refresh_within_the_grace_is_told(
        self, region: CacheRegion, clock: FakeClock, seen: Seen
    ) -> None:
        region.put("key", "old")
        clock.advance(60)
        seen.events.clear()

        region.get_or_create("key", lambda: "new", grace=30)
        assert region.storage.pending.wait(PATIENCE)

        assert sorted(seen.told) == [("create", "key"), ("stale_hit", "key")]

    def test_an_early_refresh_is_told(
        self,
        region: CacheRegion,
        clock: FakeClock,
        seen: Seen,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("random.random", lambda: 0.99)

        def create() -> str:
            clock.advance(5)
            return "payload"

        region.get_or_create("key", create, early=1)
        clock.advance(50)
        seen.events.clear()
        region.get_or_create("key", lambda: "new", early=1)
        assert region.storage.pending.wait(PATIENCE)

        told = seen.told
        assert sorted(told) == [
            ("create", "key"),
            ("early_refresh", "key"),
            ("hit", "key"),
        ]

    def test_a_wait_tells_how_long_it_took(self, make: Any, clock: FakeClock) -> None:
        region = make("memory")
        seen: list[Event] = []
        region.on("wait", seen.append)
        began = threading.Event()
        end = threading.Event()

        def create() -> str:
            began.set()
            assert end.wait(PATIENCE)
            return "payload"

        threads = [
            threading.Thread(target=region.get_or_create, args=("key", create)),
            threading.Thread(target=region.get_or_create, args=("key", fail)),
        ]
        threads[0].start()
        assert began.wait(PATIENCE)
        threads[1].start()
        clock.wait_for_sleepers(1)
        clock.advance(3)
        end.set()
        for thread in threads:
            thread.join(PATIENCE)

        assert [(event.key, event.details) for event in seen] == [
            ("key", {"seconds": 3})
        ]

    def test_a_refused_commit_is_told(self, region: CacheRegion, seen: Seen) -> None:
        def create_late() -> str:
            region.put("key", "put meanwhile")
            return "created before"

        region.get_or_create("key", create_late)

        assert ("refused_commit", "key") in seen.told

    def test_a_refused_commit_of_many_is_told(
        self, region: CacheRegion, seen: Seen
    ) -> None:
        def create_late(*keys: str) -> list[str]:
            region.put("a", "put meanwhile")
            return ["created before"] * len(keys)

        region.get_or_create_multi(["a", "b"], create_late)

        told = seen.told
        assert ("refused_commit", "a") in told
        assert ("refused_commit", "b") not in told

    def test_a_namespace_tells_its_own(self, region: CacheRegion, seen: Seen) -> None:
        users = region.namespace("users")
        own = Seen()
        users.on("*", own)

        users.put("key", 1)

        assert own.told == [("put", "key")]
        assert seen.told == []

    def test_loops_tell_the_same(self, region: CacheRegion, seen: Seen) -> None:
        async def scenario() -> None:
            await region.aget("key")
            await region.aget_or_create("key", lambda: 1)
            await region.aget_or_create("key", lambda: 1)
            await region.aput("key", 2)
            await region.adelete("key")
            await region.aget_or_create_multi(["key"], lambda key: [1])
            await region.aget_multi(["key"])

        asyncio.run(scenario())

        assert [name for name, _ in seen.told] == [
            "miss",
            "miss",
            "create",
            "hit",
            "put",
            "delete",
            "miss",
            "create",
            "hit",
        ]


class TestFaults:
    def test_bytes_that_do_not_decode_are_told(self, make: Any) -> None:
        region = make("memory_pickle", name="pages")
        seen = Seen()
        region.on("*", seen)
        region.backend.set("key", b"no such header")

        found = region.get_or_create("key", lambda: "new")

        assert found == "new"
        assert seen.told[0] == ("decode_failed", "key")

    def test_what_cannot_be_stored_is_told(self, make: Any) -> None:
        region = make("memory_pickle", name="pages")
        seen = Seen()
        region.on("backend_error", seen)

        with pytest.warns(RuntimeWarning, match="could not be stored"):
            region.get_or_create("key", lambda: threading.Lock())

        assert seen.told == [("backend_error", "key")]

    def test_an_eviction_is_told(self, make: Any) -> None:
        region = make("memory", arguments={"max_entries": 2})
        seen: list[Event] = []
        region.on("evict", seen.append)

        for number in range(5):
            region.put(number, number)

        evicted = [key for event in seen for key in event.details["keys"]]
        assert len(evicted) == 3
        assert {*evicted} < {*range(5)}


class TestListeners:
    def test_a_listener_hears_of_one_kind(self, region: CacheRegion) -> None:
        seen = Seen()
        region.on("put", seen)

        region.put("key", 1)
        region.get("key")

        assert seen.told == [("put", "key")]

    def test_an_event_names_its_region(self, region: CacheRegion, seen: Seen) -> None:
        region.put("key", 1)

        (event,) = seen.events
        assert event == Event("put", "pages", "key", {})

    def test_a_listener_may_leave(self, region: CacheRegion) -> None:
        seen, other = Seen(), Seen()
        stop = region.on("put", seen)
        region.on("put", other)

        stop()
        stop()
        region.put("key", 1)

        assert seen.told == []
        assert other.told == [("put", "key")]

    def test_one_that_listens_twice_leaves_once(self, region: CacheRegion) -> None:
        seen = Seen()
        stop = region.on("put", seen)
        region.on("put", seen)

        stop()
        region.put("key", 1)

        assert seen.told == [("put", "key")]

    def test_an_error_of_a_listener_is_logged(
        self, region: CacheRegion, caplog: pytest.LogCaptureFixture
    ) -> None:
        seen = Seen()
        region.on("put", lambda event: 1 / 0)
        region.on("put", seen)

        region.put("key", 1)

        assert seen.told == [("put", "key")]
        assert "a listener of 'put' failed" in caplog.text

    def test_an_unknown_event_is_told_the_nearest(self, region: CacheRegion) -> None:
        with pytest.raises(ValidationError, match="did you mean 'stale_hit'"):
            region.on("stalehit", print)

    def test_an_unknown_event_like_none_is_told_all(self, region: CacheRegion) -> None:
        with pytest.raises(ValidationError) as caught:
            region.on("zzz", print)

        assert all(name in str(caught.value) for name in EVENTS)


class TestCosts:
    """Nothing is paid while nobody listens."""

    def test_the_short_ways_are_there_while_nobody_listens(self, make: Any) -> None:
        region = make("memory")
        before = region._fast

        stop = region.on("hit", print)
        during = region._fast
        stop()

        assert before is not None
        assert during is None
        assert region._fast is not None

    def test_the_short_ways_stay_until_statistics_are_asked_for(
        self, make: Any
    ) -> None:
        region = make("memory")
        region.get_or_create("key", lambda: 1)
        before = region._fast

        region.stats()

        assert before is not None
        assert region._fast is None

    def test_no_event_is_built_while_nobody_listens(
        self, region: CacheRegion, create: Create, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        emitted: list[str] = []
        monkeypatch.setattr(
            Events, "emit", lambda self, name, *given, **more: emitted.append(name)
        )

        region.get("key")
        region.get_or_create("key", create)
        region.get_or_create("key", create)
        region.get_or_create_multi(["a", "b"], lambda *keys: keys)
        region.put("key", 1)
        region.put_multi({"a": 1})
        region.get_multi(["a", "b"])
        region.delete("key")
        region.delete_multi(["a"])
        region.invalidate()
        region.invalidate_tags("red")

        assert emitted == []


class TestLogging:
    def test_what_callers_are_told_is_not_logged(
        self, region: CacheRegion, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(LookupError):
            region.get_or_create("key", fail)
        with pytest.raises(LookupError):
            region.get_or_create("key", fail, early=1)
        with pytest.raises(LookupError):
            region.get_or_create_multi(["key"], fail)

        assert caplog.records == []

    @pytest.mark.parametrize("is_multi", [False, True])
    def test_a_failure_that_nobody_is_told_is_logged(
        self,
        region: CacheRegion,
        clock: FakeClock,
        caplog: pytest.LogCaptureFixture,
        is_multi: bool,
    ) -> None:
        region.put("key", "old")
        clock.advance(60)

        if is_multi:
            stale = region.get_or_create_multi(["key"], fail, grace=60)
        else:
            stale = [region.get_or_create("key", fail, grace=60)]
        assert region.storage.pending.wait(30)

        assert stale == ["old"]
        (record,) = caplog.records
        assert record.name.startswith("dogpile.cache")
        assert record.levelno == logging.WARNING
        assert record.getMessage() == (
            "create_failed in region 'pages', key 'key': LookupError('of the creator')"
        )

    def test_nothing_else_is_logged(
        self,
        region: CacheRegion,
        clock: FakeClock,
        create: Create,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)

        region.get_or_create("key", create)
        clock.advance(60)
        region.get_or_create("key", create)
        region.invalidate()

        assert caplog.records == []

    def test_it_is_quiet_by_default(self) -> None:
        handlers = logging.getLogger("dogpile.cache").handlers

        assert any(isinstance(each, logging.NullHandler) for each in handlers)


class TestStatistics:
    def test_they_count_from_the_moment_they_are_asked_for(
        self, region: CacheRegion
    ) -> None:
        region.put("key", 1)
        first = region.stats()

        region.get("key")
        region.get("none")

        assert first["put"] == first["hit"] == 0
        stats = region.stats()
        assert (stats["put"], stats["hit"], stats["miss"]) == (0, 1, 1)

    def test_they_may_count_from_the_start(self, make_each: Any) -> None:
        region = make_each(statistics=True)

        region.put("key", 1)
        region.get("key")

        stats = region.stats()
        assert (stats["put"], stats["hit"]) == (1, 1)

    def test_what_follows_from_the_counts_comes_with_them(
        self, region: CacheRegion, clock: FakeClock
    ) -> None:
        region.stats()

        def create() -> int:
            clock.advance(3)
            return 1

        region.get_or_create("key", create)
        for _ in range(3):
            region.get_or_create("key", create)

        stats = region.stats()
        assert stats["hit_ratio"] == 0.75
        assert stats["creation_seconds"] == 3
        assert stats["seconds_saved"] == 9
        assert stats["wait_seconds"] == 0

    def test_without_a_read_there_is_no_ratio(self, region: CacheRegion) -> None:
        stats = region.stats()

        assert stats["hit_ratio"] == stats["seconds_saved"] == 0
        assert {*EVENTS} < {*stats}

    def test_waits_are_added_up(self) -> None:
        statistics = Statistics()

        statistics(Event("wait", None, "key", {"seconds": 1.5}))
        statistics(Event("wait", None, "key", {"seconds": 0.5}))

        assert statistics.snapshot()["wait_seconds"] == 2
        assert statistics.snapshot()["wait"] == 2
