"""What a cache of Django's promises, on regions: in threads and in event loops."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

pytest.importorskip("django")

import django_site  # noqa: F401 - it configures Django
from asgiref.sync import async_to_sync
from crowd import Creator, race, result, start, wait_until
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache, CacheKeyWarning
from django.db import connections, transaction
from django.test import override_settings
from django_books.models import Book

from dogpile.cache import ConfigurationError, CreationTimeout, ValidationError
from dogpile.cache.integrations.django import DogpileCache
from dogpile.cache.testing import FakeClock

OURS = "dogpile.cache.integrations.django.DogpileCache"
#: Those that a clock of the tests' own rules.
KINDS = ["memory", "memory_pickle", "named", "sqlite"]
SERVED = [
    pytest.param(kind, marks=pytest.mark.server) for kind in ("redis", "pymemcache")
]
CROWD = 50


def settings_of(kind: str, request: pytest.FixtureRequest, **options: Any) -> Any:
    """Return the settings of Django for a cache of a kind, by the settings' names."""
    region: dict[str, Any] = {"backend": f"dogpile.cache.{kind}", "generation_ttl": 0}
    if kind == "sqlite":
        folder = request.getfixturevalue("tmp_path")
        region["arguments"] = {"filename": str(folder / "cache.sqlite")}
    elif kind == "redis":
        server = request.getfixturevalue("redis_server")
        region["arguments"] = {"url": f"redis://127.0.0.1:{server.port}"}
    elif kind == "pymemcache":
        server = request.getfixturevalue("memcached_server")
        region["arguments"] = {"url": f"127.0.0.1:{server.port}"}
    elif kind == "named":
        region["backend"] = "dogpile.cache.memory"
        clock = {"clock": options.pop("clock")} if "clock" in options else {}
        return {
            "DOGPILE_CACHE_REGIONS": {"pages": {**region, **clock}},
            "CACHES": _caches("pages", options),
        }
    return {"CACHES": _caches("", {**region, **options})}


def _caches(location: str, options: dict[str, Any]) -> dict[str, Any]:
    plain = {"BACKEND": OURS, "LOCATION": location, "OPTIONS": options}
    return {
        "default": plain,
        "prefixed": {**plain, "KEY_PREFIX": "shop"},
        "second": {**plain, "VERSION": 2},
    }


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=KINDS)
def cache(request: pytest.FixtureRequest, clock: FakeClock) -> Iterator[Any]:
    with override_settings(**settings_of(request.param, request, clock=clock)):
        yield caches["default"]


@pytest.fixture(params=[*KINDS, *SERVED])
def any_cache(request: pytest.FixtureRequest) -> Iterator[Any]:
    with override_settings(**settings_of(request.param, request)):
        yield caches["default"]
        caches["default"].clear()
        caches["prefixed"].clear()


@pytest.fixture(params=["threads", "loops"])
def ask(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Call a method of a cache by its name, or its twin in an event loop."""

    def in_thread(cache: Any, name: str, *given: Any, **how: Any) -> Any:
        return getattr(cache, name)(*given, **how)

    def in_loop(cache: Any, name: str, *given: Any, **how: Any) -> Any:
        return async_to_sync(getattr(cache, f"a{name}"))(*given, **how)

    return in_thread if request.param == "threads" else in_loop


class Unpicklable:
    def __reduce__(self) -> Any:
        raise pickle.PicklingError("not this one")


class TestTwins:
    def test_each_operation_of_django_has_a_native_twin(self) -> None:
        for name in vars(BaseCache):
            if name.startswith("a") and name[1:] in vars(BaseCache) and name != "add":
                twin = getattr(DogpileCache, name)
                # These three only call another, or do nothing at all.
                if name not in {"adecr", "adecr_version", "aclose"}:
                    assert "sync_to_async" not in twin.__code__.co_names, name
                    assert twin is not getattr(BaseCache, name), name

    def test_what_goes_beyond_django_has_one_too(self) -> None:
        for name in ("ttl", "persist", "expire", "keys", "iter_keys", "delete_pattern"):
            assert hasattr(DogpileCache, f"a{name}")


class TestValues:
    def test_a_value_is_found_again(self, any_cache: Any, ask: Any) -> None:
        ask(any_cache, "set", "key", {"a": [1, 2]})

        assert ask(any_cache, "get", "key") == {"a": [1, 2]}
        assert ask(any_cache, "has_key", "key") is True
        assert "key" in any_cache

    def test_a_missing_value_is_the_default(self, any_cache: Any, ask: Any) -> None:
        assert ask(any_cache, "get", "missing") is None
        assert ask(any_cache, "get", "missing", "default") == "default"
        assert ask(any_cache, "has_key", "missing") is False

    def test_none_is_a_value(self, any_cache: Any, ask: Any) -> None:
        ask(any_cache, "set", "key", None)

        assert ask(any_cache, "get", "key", "default") is None
        assert ask(any_cache, "add", "key", 1) is False
        assert ask(any_cache, "get_or_set", "key", 1) is None

    def test_who_reads_gets_a_copy(self, any_cache: Any, ask: Any) -> None:
        given = [1]
        ask(any_cache, "set", "key", given)
        given.append(2)
        ask(any_cache, "get", "key").append(3)
        ask(any_cache, "get_or_set", "key", None).append(4)

        assert ask(any_cache, "get", "key") == [1]

    def test_many_values_are_read_and_written_at_once(
        self, any_cache: Any, ask: Any
    ) -> None:
        failed = ask(any_cache, "set_many", {"a": 1, "b": None, 3: "c"})

        assert failed == []
        assert ask(any_cache, "get_many", iter(["a", "b", 3, "d"])) == {
            "a": 1,
            "b": None,
            3: "c",
        }
        ask(any_cache, "delete_many", ["a", 3, "d"])
        assert ask(any_cache, "get_many", ["a", "b", 3]) == {"b": None}

    def test_delete_tells_whether_there_was_one(self, any_cache: Any, ask: Any) -> None:
        ask(any_cache, "set", "key", 1)

        assert ask(any_cache, "delete", "key") is True
        assert ask(any_cache, "delete", "key") is False

    def test_add_stores_what_is_not_there(self, any_cache: Any, ask: Any) -> None:
        assert ask(any_cache, "add", "key", 1) is True
        assert ask(any_cache, "add", "key", 2) is False
        assert ask(any_cache, "get", "key") == 1

    def test_set_takes_nx_and_xx(self, any_cache: Any, ask: Any) -> None:
        assert ask(any_cache, "set", "key", 1, xx=True) is False
        assert ask(any_cache, "set", "key", 2, nx=True) is True
        assert ask(any_cache, "set", "key", 3, nx=True) is False
        assert ask(any_cache, "set", "key", 4, xx=True) is True
        assert ask(any_cache, "get", "key") == 4

    def test_what_cannot_be_pickled_is_refused(self, any_cache: Any, ask: Any) -> None:
        ask(any_cache, "set", "key", "old")

        for name in ("set", "add"):
            with pytest.raises(pickle.PickleError):
                ask(any_cache, name, "other", Unpicklable())
        with pytest.raises(pickle.PickleError):
            ask(any_cache, "set_many", {"other": Unpicklable()})

        assert ask(any_cache, "get", "other") is None

    def test_a_key_that_memcached_would_refuse_is_a_warning(
        self, any_cache: Any, ask: Any
    ) -> None:
        with pytest.warns(CacheKeyWarning, match="characters"):
            ask(any_cache, "set", "a key", 1)
        with pytest.warns(CacheKeyWarning, match="longer than 250"):
            ask(any_cache, "set_many", {"k" * 300: 2})

        with pytest.warns(CacheKeyWarning):
            found = ask(any_cache, "get_many", ["a key", "k" * 300])
        assert found == {"a key": 1, "k" * 300: 2}

    def test_versions_keep_values_apart(self, any_cache: Any, ask: Any) -> None:
        ask(any_cache, "set", "key", 1)

        assert ask(caches["second"], "get", "key") is None
        assert ask(caches["second"], "get", "key", version=1) == 1
        assert ask(any_cache, "incr_version", "key") == 2
        assert ask(any_cache, "get", "key") is None
        assert ask(caches["second"], "get", "key") == 1
        assert ask(caches["second"], "decr_version", "key") == 1
        with pytest.raises(ValueError, match="'key' not found"):
            ask(caches["second"], "incr_version", "key")

    def test_clear_leaves_other_prefixes_alone(self, any_cache: Any, ask: Any) -> None:
        ask(any_cache, "set", "key", 1)
        ask(any_cache, "set", "forever", 1, None)
        ask(caches["prefixed"], "set", "key", 2)

        ask(any_cache, "clear")

        assert ask(any_cache, "get_many", ["key", "forever"]) == {}
        assert ask(caches["prefixed"], "get", "key") == 2


class TestMistakes:
    @pytest.mark.parametrize(
        ("name", "given", "options", "error", "words"),
        [
            ("set", ("a", 1, "7m"), {}, ValueError, "takes seconds, .* not '7m'"),
            ("touch", ("a", [1]), {}, ValueError, r"takes seconds, .* not \[1\]"),
            ("set", ("a", 1), {"grace": -1}, ValidationError, "grace is -1"),
            ("set_many", ([1],), {}, TypeError, r"takes a dictionary .* not \[1\]"),
            ("set", ("a", 1), {"tags": 5}, ValidationError, "tags takes names"),
        ],
    )
    def test_odd_arguments_are_told(
        self,
        cache: Any,
        ask: Any,
        name: str,
        given: tuple[Any, ...],
        options: dict[str, Any],
        error: type[Exception],
        words: str,
    ) -> None:
        with pytest.raises(error, match=words):
            ask(cache, name, *given, **options)


class TestTimes:
    def test_a_value_lives_for_its_timeout(
        self, cache: Any, clock: FakeClock, ask: Any
    ) -> None:
        ask(cache, "set", "default", 1)
        ask(cache, "set", "short", 1, 10)
        ask(cache, "set", "long", 1, timedelta(hours=1))
        ask(cache, "set", "forever", 1, None)
        ask(cache, "add", "added", 1, 10.5)
        ask(cache, "set_many", {"many": 1}, 20)
        ask(cache, "get_or_set", "made", 1, 30)
        there = ["default", "short", "long", "forever", "added", "many", "made"]

        assert {*ask(cache, "get_many", there)} == {*there}
        clock.advance(10)
        assert {*ask(cache, "get_many", there)} == {*there} - {"short"}
        clock.advance(10)
        there = ["default", "long", "forever", "made"]
        assert {*ask(cache, "get_many", [*there, "added", "many"])} == {*there}
        clock.advance(280)
        assert {*ask(cache, "get_many", there)} == {"long", "forever"}
        clock.advance(365 * 24 * 3600)
        assert {*ask(cache, "get_many", there)} == {"forever"}

    @pytest.mark.parametrize("timeout", [0, -1, -300.5, timedelta(0)])
    def test_a_timeout_of_nothing_stores_nothing(
        self, cache: Any, ask: Any, timeout: Any
    ) -> None:
        ask(cache, "set_many", {"a": 1, "b": 1, "c": 1})

        ask(cache, "set", "a", 2, timeout)
        ask(cache, "set_many", {"b": 2}, timeout)
        is_touched = ask(cache, "touch", "c", timeout)
        is_added = ask(cache, "add", "d", 2, timeout)
        made = ask(cache, "get_or_set", "e", lambda: [2], timeout)

        assert (is_touched, is_added, made) == (True, True, [2])
        assert ask(cache, "get_many", ["a", "b", "c", "d", "e"]) == {}
        assert ask(cache, "touch", "c", timeout) is False

    def test_a_timeout_that_is_no_number_is_refused(self, cache: Any, ask: Any) -> None:
        for timeout in ("soon", float("nan")):
            with pytest.raises(ValueError, match=r"timeout takes seconds"):
                ask(cache, "set", "key", 1, timeout)

    def test_touch_begins_a_new_time(
        self, cache: Any, clock: FakeClock, ask: Any
    ) -> None:
        ask(cache, "set", "key", 1, 10)
        clock.advance(9)

        is_there = ask(cache, "touch", "key", 10)
        clock.advance(9)

        assert is_there is True
        assert ask(cache, "get", "key") == 1
        assert ask(cache, "touch", "key") is True
        clock.advance(299)
        assert ask(cache, "get", "key") == 1
        clock.advance(2)
        assert ask(cache, "touch", "key", 10) is False

    def test_a_number_keeps_its_time(
        self, cache: Any, clock: FakeClock, ask: Any
    ) -> None:
        ask(cache, "set", "n", 40, 10)
        clock.advance(9)

        assert ask(cache, "incr", "n", 3) == 43
        assert ask(cache, "decr", "n") == 42
        assert ask(cache, "ttl", "n") == 1
        clock.advance(1)
        with pytest.raises(ValueError, match="'n' not found"):
            ask(cache, "incr", "n")

    def test_what_is_no_number_is_not_added_to(self, cache: Any, ask: Any) -> None:
        ask(cache, "set", "key", None)

        with pytest.raises(TypeError):
            ask(cache, "incr", "key")

        assert ask(cache, "get", "key", 1) is None

    def test_another_version_keeps_its_time(
        self, cache: Any, clock: FakeClock, ask: Any
    ) -> None:
        ask(cache, "set", "key", 1, 10)
        clock.advance(9)

        ask(cache, "incr_version", "key")

        assert ask(cache, "ttl", "key", 2) == 1

    def test_ttl_persist_and_expire(
        self, cache: Any, clock: FakeClock, ask: Any
    ) -> None:
        ask(cache, "set", "key", 1, 10)
        clock.advance(0.5)

        assert ask(cache, "ttl", "key") == 10
        assert ask(cache, "persist", "key") is True
        assert ask(cache, "ttl", "key") is None
        assert ask(cache, "expire", "key", 5) is True
        assert ask(cache, "ttl", "key") == 5
        clock.advance(5)
        assert ask(cache, "ttl", "key") == 0
        assert ask(cache, "persist", "key") is False
        assert ask(cache, "expire", "key", 5) is False


class TestGetOrSet:
    def test_what_ends_an_iteration_leaves_a_default_as_it_is(self, cache: Any) -> None:
        with pytest.raises(StopIteration):
            cache.get_or_set("key", lambda: next(iter(())))

    def test_an_odd_timeout_is_told_where_there_is_a_value(
        self, cache: Any, ask: Callable[..., Any]
    ) -> None:
        cache.set("key", "value")

        with pytest.raises(ValueError, match="NaN"):
            ask(cache, "get_or_set", "key", "other", float("nan"))

    def test_a_default_is_stored(self, any_cache: Any, ask: Any) -> None:
        assert ask(any_cache, "get_or_set", "value", [1]) == [1]
        assert ask(any_cache, "get_or_set", "call", lambda: [2]) == [2]
        assert ask(any_cache, "get_or_set", "call", lambda: [3]) == [2]
        assert ask(any_cache, "get_many", ["value", "call"]) == {
            "value": [1],
            "call": [2],
        }

    def test_of_fifty_threads_one_makes_the_value(self, any_cache: Any) -> None:
        creator = Creator([1])

        futures = [
            start(any_cache.get_or_set, "key", creator.plain) for _ in range(CROWD)
        ]
        creator.await_call()
        creator.finish()
        answers = [result(each) for each in futures]

        assert creator.calls == 1
        assert answers == [[1]] * CROWD
        # Each has a list of its own.
        assert len({id(each) for each in answers}) == CROWD

    def test_of_fifty_tasks_one_makes_the_value(self, any_cache: Any) -> None:
        calls = []

        async def make() -> list[int]:
            calls.append(1)
            await asyncio.sleep(0)
            return [1]

        async def crowd() -> list[Any]:
            asked = [any_cache.aget_or_set("key", make) for _ in range(CROWD)]
            return await asyncio.gather(*asked)

        answers = asyncio.run(crowd())

        assert len(calls) == 1
        assert answers == [[1]] * CROWD
        assert len({id(each) for each in answers}) == CROWD

    def test_an_async_default_may_be_anything_that_can_be_awaited(
        self, any_cache: Any
    ) -> None:
        async def make() -> int:
            return 1

        async def ask_all() -> list[Any]:
            return [
                await any_cache.aget_or_set("a", make),
                await any_cache.aget_or_set("b", make()),
                await any_cache.aget_or_set("c", lambda: make()),
                # What is not needed is closed, and warns of nothing.
                await any_cache.aget_or_set("a", make()),
            ]

        assert asyncio.run(ask_all()) == [1, 1, 1, 1]

    def test_a_coroutine_function_is_refused_in_a_thread(self, any_cache: Any) -> None:
        async def make() -> int:
            return 1

        with pytest.raises(
            ConfigurationError, match=r"make returns an awaitable, .*: use aget_or_set"
        ):
            any_cache.get_or_set("key", make)

    def test_a_plain_default_of_a_task_may_use_the_database(
        self, any_cache: Any
    ) -> None:
        def make() -> Any:
            with connections["books"].cursor() as cursor:
                return cursor.execute("SELECT 7").fetchone()[0]

        assert async_to_sync(any_cache.aget_or_set)("key", make) == 7

    def test_an_error_of_the_default_is_not_kept(
        self, any_cache: Any, ask: Any
    ) -> None:
        def fail() -> Any:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            ask(any_cache, "get_or_set", "key", fail)

        assert ask(any_cache, "get_or_set", "key", 1) == 1

    # It warns of each function once in a process.
    @pytest.mark.filterwarnings("ignore:region .* could not be stored:RuntimeWarning")
    def test_what_cannot_be_pickled_is_handed_out(self, cache: Any, ask: Any) -> None:
        value = threading.Lock()
        told: list[Any] = []
        cache._store.on("backend_error", told.append)

        answer = ask(cache, "get_or_set", "key", lambda: value)

        assert answer is value
        assert len(told) == 1
        assert ask(cache, "get", "key") is None

    def test_a_function_may_say_what_is_worth_keeping(
        self, any_cache: Any, ask: Any
    ) -> None:
        def get_or_set(default: Any) -> Any:
            return ask(any_cache, "get_or_set", "key", default, should_cache_fn=bool)

        assert [get_or_set(0), get_or_set(lambda: None)] == [0, None]
        assert [get_or_set(1), get_or_set(2)] == [1, 1]

    def test_a_timeout_by_another_name_is_refused(self, cache: Any, ask: Any) -> None:
        for name in ("set", "add", "get_or_set"):
            with pytest.raises(TypeError, match="takes timeout="):
                ask(cache, name, "key", 1, expiration_time=1)

    def test_within_its_grace_a_value_is_served_while_one_makes_the_next(
        self, request: pytest.FixtureRequest, clock: FakeClock
    ) -> None:
        made = []

        def make() -> str:
            # Unlike one in memory it is closed when the creation has ended.
            with connections["books"].cursor() as cursor:
                cursor.execute("SELECT 1")
            made.append(threading.get_ident())
            return "new"

        with override_settings(**settings_of("memory", request, clock=clock, grace=60)):
            cache: Any = caches["default"]
            cache.set("key", "old", 10)
            clock.advance(11)

            assert cache.get("key") is None
            assert cache.get_or_set("key", make, 10) == "old"
            wait_until(lambda: cache.get("key") == "new")

        assert made != [threading.get_ident()]

    def test_what_is_refreshed_early_is_refreshed_in_the_background(
        self, request: pytest.FixtureRequest, clock: FakeClock, ask: Any
    ) -> None:
        # By far too eager, so that no chance is left to chance.
        options = {"clock": clock, "early": 1e9, "jitter": 0.01}
        with override_settings(**settings_of("memory", request, **options)):
            cache: Any = caches["default"]

            def slow() -> str:
                clock.advance(1)
                return "first"

            assert ask(cache, "get_or_set", "key", slow, 60) == "first"
            assert cache.get_or_set("key", lambda: "second", 60) == "first"
            wait_until(lambda: cache.get("key") == "second")


class TestStatistics:
    def test_what_happens_is_counted_from_the_first_question_on(
        self, cache: Any
    ) -> None:
        before = cache.stats()
        cache.set("key", 1)
        cache.get("key")
        cache.get("missing")

        after = cache.stats()

        assert (before["hit"], before["miss"]) == (0, 0)
        assert (after["hit"], after["miss"], after["put"]) == (1, 1, 1)

    def test_what_happens_is_told_to_who_listens(self, cache: Any) -> None:
        told: list[Any] = []
        end = cache.on("*", told.append)
        cache.set("key", 1)
        cache.get("key")

        end()

        cache.get("key")
        assert [each.name for each in told] == ["put", "hit"]


class TestRaces:
    def test_of_fifty_threads_one_adds(self, any_cache: Any) -> None:
        added = race(*[lambda n=n: any_cache.add("key", n) for n in range(CROWD)])

        assert added.count(True) == 1
        assert any_cache.get("key") == added.index(True)

    def test_no_increment_of_threads_gets_lost(self, any_cache: Any) -> None:
        any_cache.set("n", 0)

        race(*[lambda: any_cache.incr("n") for _ in range(CROWD)])

        assert any_cache.get("n") == CROWD

    def test_no_increment_of_tasks_gets_lost(self, any_cache: Any) -> None:
        any_cache.set("n", 0)

        async def crowd() -> None:
            await asyncio.gather(*[any_cache.aincr("n") for _ in range(CROWD)])

        asyncio.run(crowd())

        assert any_cache.get("n") == CROWD

    def test_what_is_set_while_a_value_is_made_is_kept(self, any_cache: Any) -> None:
        creator = Creator("old")
        making = start(any_cache.get_or_set, "key", creator.plain)
        creator.await_call()
        any_cache.set("key", "new")

        creator.finish()

        assert result(making) == "old"
        assert any_cache.get("key") == "new"


class TestTags:
    def test_what_has_an_invalidated_tag_is_gone(
        self, any_cache: Any, ask: Any
    ) -> None:
        ask(any_cache, "set", "a", 1, tags=["nav"])
        ask(any_cache, "set_many", {"b": 1}, tags=("nav", "menu"))
        ask(any_cache, "add", "c", 1, tags="nav")
        ask(any_cache, "get_or_set", "d", 1, tags=["nav"])
        ask(any_cache, "set", "e", 1, tags=["menu"])
        ask(any_cache, "touch", "a", 50)

        ask(any_cache, "invalidate_tags", "nav")

        assert ask(any_cache, "get_many", "abcde") == {"e": 1}

    def test_a_misspelt_word_is_refused(self, any_cache: Any, ask: Any) -> None:
        with pytest.raises(ConfigurationError, match="did you mean 'tags'"):
            ask(any_cache, "set", "key", 1, tag=["nav"])


class TestModels:
    """Models as tags: each save invalidates, when it is committed."""

    @pytest.fixture(autouse=True)
    def _no_books(self) -> Iterator[None]:
        yield
        Book.objects.all().delete()

    def test_what_is_made_of_a_model_goes_with_a_save(
        self, any_cache: Any, ask: Any
    ) -> None:
        book = Book.objects.create(title="one")
        ask(any_cache, "set", "all", 1, tags=Book)
        ask(any_cache, "get_or_set", "one", 1, tags=[book, "nav"])
        ask(any_cache, "set", "other", 1, tags=["django_books.Book:0"])

        book.save()

        assert ask(any_cache, "get_many", ["all", "one", "other"]) == {"other": 1}

    def test_what_a_transaction_has_written_is_not_kept(
        self, cache: Any, ask: Any
    ) -> None:
        cache.set("key", "before", tags=[Book])
        with transaction.atomic(using="books"):
            Book.objects.create(title="one")

            # Nobody else sees the book, and it may never come.
            assert ask(cache, "get_or_set", "key", "inside", tags=[Book]) == "inside"
            assert ask(cache, "set", "other", 1, tags=[Book]) is False
            assert ask(cache, "add", "other", 1, tags=[Book]) is False
            assert ask(cache, "set_many", {"other": 1}, tags=[Book]) == ["other"]
            assert ask(cache, "get_or_set", "plain", lambda: 1) == 1
            transaction.set_rollback(True, using="books")

        assert cache.get("key") == "before"
        assert cache.get("other") is None
        assert cache.get("plain") == 1

    def test_a_creator_that_writes_what_it_is_made_of_is_not_kept(
        self, cache: Any, ask: Any
    ) -> None:
        def create() -> int:
            Book.objects.create(title="one")
            return 1

        with transaction.atomic(using="books"):
            assert ask(cache, "get_or_set", "key", create, tags=[Book]) == 1
            transaction.set_rollback(True, using="books")

        assert cache.get("key") is None

    def test_what_is_made_from_an_old_view_is_not_kept(
        self, cache: Any, ask: Any
    ) -> None:
        def titles() -> list[str]:
            return list(Book.objects.using("archive").values_list("title", flat=True))

        def add() -> None:
            Book.objects.using("archive").create(title="new")
            connections.close_all()

        cache.set("there", 1, tags=["django_books.Author"])
        journal("wal")
        with transaction.atomic(using="archive"):
            titles()  # from here on this is what it sees
            result(start(add))
            inside = ask(cache, "get_or_set", "key", titles, tags=[Book])
            tags = ["django_books.Author"]
            there = ask(cache, "get_or_set", "there", titles, tags=tags)
            stored = [
                ask(cache, "set", "set", [], tags=[Book]),
                ask(cache, "add", "add", [], tags=[Book]),
                ask(cache, "set_many", {"many": []}, tags=[Book]),
            ]
            ask(cache, "set", "untagged", [])

        journal("delete")
        assert (inside, there, stored) == ([], 1, [False, False, ["many"]])
        keys = ["set", "add", "many", "untagged"]
        assert cache.get_many(keys) == {"untagged": []}
        assert cache.get_or_set("key", titles, tags=[Book]) == ["new"]
        Book.objects.using("archive").all().delete()


def journal(mode: str) -> None:
    with connections["archive"].cursor() as cursor:
        cursor.execute(f"PRAGMA journal_mode={mode}")
        assert cursor.fetchone() == (mode,)
    # It may have pages that it believes to be those of the new journal.
    connections["archive"].close()


class TestKeys:
    @pytest.fixture(params=["memory", "named", "sqlite", SERVED[0]])
    def telling(self, request: pytest.FixtureRequest) -> Iterator[Any]:
        options = {} if request.param == "named" else {"MAX_ENTRIES": 10_000}
        with override_settings(**settings_of(request.param, request, **options)):
            yield caches["default"]
            caches["default"].clear()
            caches["prefixed"].clear()

    def test_keys_are_found_by_a_pattern(self, telling: Any, ask: Any) -> None:
        ask(telling, "set_many", {"user:1": 1, "user:2": 1, "page:1": 1, "*": 1})
        ask(telling, "set", "user:3", 1, version=2)
        ask(caches["prefixed"], "set", "user:4", 1)

        assert sorted(ask(telling, "keys", "user:*")) == ["user:1", "user:2"]
        assert sorted(ask(telling, "keys", "*:[^2]")) == ["page:1", "user:1"]
        assert ask(telling, "keys", "user:*", version=2) == ["user:3"]
        assert ask(telling, "keys", r"\*") == ["*"]
        assert len(ask(telling, "keys")) == 4

    def test_what_was_cleared_is_not_told(self, telling: Any, ask: Any) -> None:
        ask(telling, "set", "key", 1)
        ask(telling, "clear")

        assert ask(telling, "keys") == []

    def test_a_pattern_deletes_and_counts(self, telling: Any, ask: Any) -> None:
        ask(telling, "set_many", {f"user:{n}": n for n in range(600)})
        ask(telling, "set", "page", 1)

        count = ask(telling, "delete_pattern", "user:*")

        assert count == 600
        assert ask(telling, "keys") == ["page"]

    def test_many_keys_are_told_one_by_one(self, telling: Any) -> None:
        telling.set_many({f"user:{n}": n for n in range(1001)})

        assert len(list(telling.iter_keys("user:*"))) == 1001

    @pytest.mark.server
    def test_a_memcached_cannot_tell(self, request: pytest.FixtureRequest) -> None:
        with (
            override_settings(**settings_of("pymemcache", request)),
            pytest.raises(ConfigurationError, match="cannot tell its keys"),
        ):
            caches["default"].keys("*")

    def test_a_key_function_of_no_return_is_named(
        self, request: pytest.FixtureRequest
    ) -> None:
        chosen = settings_of("memory", request)
        chosen["CACHES"]["default"] = {
            **chosen["CACHES"]["default"],
            "KEY_FUNCTION": lambda key, prefix, version: f"{hash(key)}",
        }
        with (
            override_settings(**chosen),
            pytest.raises(ConfigurationError, match="KEY_FUNCTION"),
        ):
            caches["default"].keys("*")


class TestLock:
    def test_one_holds_it_at_a_time(self, any_cache: Any) -> None:
        with any_cache.lock("job") as lock:
            is_free = any_cache.lock("job", blocking=False).acquire()

            assert lock.locked()
            assert not is_free
            with pytest.raises(CreationTimeout, match="held by somebody else"):
                any_cache.lock("job", blocking_timeout=0.01, sleep=0.001).__enter__()

        assert not lock.locked()
        assert any_cache.lock("job", blocking=False).acquire()

    def test_tasks_take_turns(self, any_cache: Any) -> None:
        inside: list[int] = []
        most: list[int] = []

        async def work() -> None:
            async with any_cache.lock("job", sleep=0.001):
                inside.append(1)
                await asyncio.sleep(0)
                most.append(len(inside))
                inside.pop()

        async def crowd() -> None:
            await asyncio.gather(*[work() for _ in range(10)])

        asyncio.run(crowd())

        assert most == [1] * 10

    def test_it_ends_by_itself(self, cache: Any, clock: FakeClock) -> None:
        first = cache.lock("job", timeout=10)
        first.acquire()
        clock.advance(11)
        second = cache.lock("job", blocking=False)

        assert second.acquire()
        with pytest.raises(RuntimeError, match="had ended before"):
            first.release()
        assert second.locked()

    def test_a_task_may_extend_its_own(self, cache: Any, clock: FakeClock) -> None:
        async def hold() -> list[Any]:
            lock = cache.lock("job", timeout=10)
            other = cache.lock("job", blocking_timeout=0)
            answers = [await lock.aacquire(), await other.aacquire()]
            answers += [await lock.aextend(100), await other.aextend(100)]
            clock.advance(50)
            answers.append(await lock.alocked())
            with pytest.raises(CreationTimeout, match="somebody else"):
                await other.__aenter__()
            await lock.arelease()
            return [*answers, await lock.alocked()]

        answers = asyncio.run(hold())

        assert answers == [True, False, True, False, True, False]

    def test_its_holder_may_extend_it(self, cache: Any, clock: FakeClock) -> None:
        lock = cache.lock("job", timeout=10)
        lock.acquire()

        is_ours = lock.extend(100)
        clock.advance(50)

        assert is_ours
        assert lock.locked()
        assert not cache.lock("job").extend(100)

    def test_who_has_not_taken_it_cannot_give_it_back(self, cache: Any) -> None:
        lock = cache.lock("job")
        result(start(lock.acquire))

        with pytest.raises(RuntimeError, match="not acquired by this thread"):
            lock.release()

        assert lock.locked()

    def test_a_lock_of_no_time_is_refused(self, cache: Any) -> None:
        with pytest.raises(ValueError, match="more than 0 seconds"):
            cache.lock("job", timeout=0)


class TestCulling:
    @pytest.mark.parametrize(("frequency", "left"), [(3, 29), (0, 19)])
    def test_too_many_entries_are_culled(
        self,
        request: pytest.FixtureRequest,
        clock: FakeClock,
        ask: Any,
        frequency: int,
        left: int,
    ) -> None:
        options = {"MAX_ENTRIES": 30, "CULL_FREQUENCY": frequency}
        with override_settings(
            **settings_of("memory", request, clock=clock, **options)
        ):
            cache = caches["default"]
            for number in range(49):
                ask(cache, "set", f"key{number}", 1)

            assert len(ask(cache, "keys")) == left
            assert ask(cache, "get", "key48") == 1

    def test_what_was_used_least_lately_goes_first(
        self, request: pytest.FixtureRequest, clock: FakeClock
    ) -> None:
        with override_settings(
            **settings_of("memory", request, clock=clock, MAX_ENTRIES=3)
        ):
            cache: Any = caches["default"]
            cache.set_many({"a": 1, "b": 1, "c": 1})
            cache.get("a")
            cache.set("d", 1)

            assert sorted(cache.keys()) == ["a", "c", "d"]

    def test_without_a_setting_it_is_300(
        self, request: pytest.FixtureRequest, clock: FakeClock
    ) -> None:
        with override_settings(**settings_of("memory", request, clock=clock)):
            cache: Any = caches["default"]
            for number in range(301):
                cache.set(number, 1)

            assert len(cache.keys()) == 201

    def test_the_backends_own_bound_goes_before_that(
        self, request: pytest.FixtureRequest, clock: FakeClock
    ) -> None:
        arguments = {"max_entries": 500}
        with override_settings(
            **settings_of("memory", request, clock=clock, arguments=arguments)
        ):
            cache: Any = caches["default"]
            for number in range(600):
                cache.set(number, 1)

            assert len(cache.keys()) == 500

    def test_a_file_is_bounded_too(
        self, request: pytest.FixtureRequest, clock: FakeClock
    ) -> None:
        with override_settings(**settings_of("sqlite", request, MAX_ENTRIES=30)):
            cache: Any = caches["default"]
            for number in range(60):
                cache.set(number, 1)

            assert 0 < len(cache.keys()) <= 30
