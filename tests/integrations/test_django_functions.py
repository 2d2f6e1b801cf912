"""Functions that remember in Django, and models as tags."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django")

import django_site  # noqa: F401 - it configures Django
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.sessions.models import Session
from django.db import connections, transaction
from django.db.models.signals import post_delete
from django.http import HttpResponse
from django.test import (
    AsyncClient,
    Client,
    RequestFactory,
    TestCase,
    override_settings,
)
from django.urls import path
from django_books.models import Author, Book, Classic, Novel, Timed

from dogpile.cache import NO_VALUE, ConfigurationError, ValidationError
from dogpile.cache.integrations.django import (
    ainvalidate_model,
    cached,
    cached_view,
    invalidate_model,
    regions,
    snapshots,
    tag_names,
)
from dogpile.cache.testing import FakeClock

KINDS = ["memory", "sqlite"]


@pytest.fixture(params=KINDS)
def clock(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeClock]:
    clock = FakeClock()
    region: dict[str, Any] = {
        "backend": request.param,
        "clock": clock,
        "expiration_time": 60,
    }
    if request.param == "sqlite":
        region["arguments"] = {"filename": str(tmp_path / "cache.db")}
        region["generation_ttl"] = 0
    with override_settings(DOGPILE_CACHE_REGIONS={"default": region}):
        yield clock
        assert regions["default"].storage.pending.wait(10)


@pytest.fixture(autouse=True)
def _empty_tables() -> Iterator[None]:
    yield
    for alias in ("books", "archive"):
        Novel.objects.using(alias).all().delete()
        Book.objects.using(alias).all().delete()
        Author.objects.using(alias).all().delete()


class Counted:
    """The titles of all books, and how often they were read."""

    def __init__(self, **options: Any) -> None:
        self.calls = 0
        self.function = cached(60, **{"tags": [Book], **options})(self.read)

    def read(self) -> list[str]:
        self.calls += 1
        return sorted(Book.objects.values_list("title", flat=True))

    def __call__(self) -> list[str]:
        found: list[str] = self.function()
        return found


@pytest.mark.usefixtures("clock")
class TestFunctions:
    def test_a_value_is_made_once(self) -> None:
        calls: list[int] = []

        @cached(60)
        def double(number: int) -> int:
            calls.append(number)
            return 2 * number

        assert [double(2), double(2), double(3)] == [4, 4, 6]
        assert calls == [2, 3]

    def test_the_decorator_needs_no_parentheses(self) -> None:
        @cached
        def double(number: int) -> int:
            return 2 * number

        assert double(2) == 4
        assert double.get(2) == 4  # type: ignore[attr-defined]  # of the region

    def test_it_has_the_attributes_of_a_region(self) -> None:
        values = iter(range(10))
        fn: Any = cached(60)(lambda key: next(values))

        first = fn("a")
        fn.set("own", "b")

        assert (first, fn.get("a"), fn("b"), fn.get("c")) == (0, 0, "own", NO_VALUE)
        assert fn.refresh("a") == 1
        fn.invalidate("a")
        assert fn.get("a") is NO_VALUE
        assert fn.original("a") == 2
        assert fn.key("a") != fn.key("b")

    def test_its_region_is_the_one_of_now(self) -> None:
        fn: Any = cached(60, region="pages")(lambda key: key)

        for seconds in (5, 7):
            pages = {"backend": "memory", "expiration_time": seconds}
            with override_settings(DOGPILE_CACHE_REGIONS={"pages": pages}):
                fn("a")
                assert fn.region.get(fn.key("a")) == "a"
                assert fn.region.expiration_time == seconds
                assert repr(fn.region) == repr(regions["pages"])

    def test_a_coroutine_function_is_cached(self) -> None:
        calls: list[int] = []

        @cached(60, tags=[Book])
        async def double(number: int) -> int:
            calls.append(number)
            return 2 * number

        async def run() -> list[Any]:
            both = [await double(2), await double(2)]
            return [*both, await double.aget(2)]  # type: ignore[attr-defined]

        assert async_to_sync(run)() == [4, 4, 4]
        assert calls == [2]

    def test_methods_are_cached(self) -> None:
        class Shop:
            calls = 0

            @cached(60)
            def price(self, name: str) -> str:
                Shop.calls += 1
                return name

            @cached(60)
            @staticmethod
            def tax() -> int:
                Shop.calls += 1
                return 7

        assert [Shop().price("a"), Shop().price("a")] == ["a", "a"]
        assert [Shop.tax(), Shop.tax()] == [7, 7]
        assert Shop.calls == 2

    def test_instances_are_known_by_their_keys(self) -> None:
        fn: Any = cached(60)(lambda book, n=1: f"{book.pk} {book.title}")
        one, two = Book.objects.create(title="x"), Book.objects.create(title="x")

        assert [fn(one), fn(book=two)] == [f"{one.pk} x", f"{two.pk} x"]
        assert fn.key(one) == fn.key(Book.objects.get(pk=one.pk))
        fn.invalidate(one)
        assert [fn.get(one), fn.get(two)] == [NO_VALUE, f"{two.pk} x"]

    def test_methods_of_models_are_cached_for_each_row(self) -> None:
        author = Author.objects.create(name="Ada")
        one, two = Book.objects.create(title="a"), Book.objects.create(title="b")

        assert [shelf_of(one), shelf_of(two)] == ["a", "b"]
        with pytest.raises(ValidationError, match="Book without a primary key"):
            shelf_of(Book(title="c"))
        assert author.pk

    def test_a_request_tells_nothing_of_its_client(self) -> None:
        calls = iter(range(10))

        def menu(request: Any, lang: str = "en") -> str:
            return f"{request.who} {lang} {next(calls)}"

        def asked(who: str) -> Any:
            request: Any = RequestFactory().get("/")
            request.who = who
            return request

        with pytest.raises(ValidationError, match="a request cannot be part of a"):
            cached(60)(menu)(asked("Ada"))
        by_who: Any = cached(60, key="menu:{request.who}")(menu)
        for_all: Any = cached(60, ignore="request")(menu)

        told = [fn(asked(who)) for fn in (by_who, for_all) for who in ("Ada", "Bob")]

        assert told == ["Ada en 0", "Bob en 1", "Ada en 2", "Ada en 2"]
        assert by_who(request=asked("Ada")) == "Ada en 0"
        assert for_all(asked("Bob"), lang="de") == "Bob de 3"

    def test_a_query_set_is_no_argument(self) -> None:
        fn: Any = cached(60)(len)

        with pytest.raises(ValidationError, match="was given a query set"):
            fn(Book.objects.all())

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"tags": 5}, "tags takes names"),
            ({"key": 5}, "key takes .* not 5"),
            ({"region": 5}, "region takes the name of a region, not 5"),
            ({"ignore": 5}, "ignore takes names of parameters, not 5"),
            ({"grace": -1}, "grace is -1"),
            ({"timeout": 5}, "no option 'timeout'; here it is 'expiration_time'"),
            ({"tags": "book:{pkk}"}, "names no parameter 'pkk'"),
        ],
    )
    def test_odd_options_are_told_where_they_are_written(
        self, options: dict[str, Any], words: str
    ) -> None:
        def title(pk: int) -> str:
            raise AssertionError

        with pytest.raises(ValidationError, match=words):
            cached(60, **options)(title)

    @pytest.mark.parametrize("lifetime", [-1, "7m", True, [1]])
    def test_an_odd_lifetime_is_told(self, lifetime: Any) -> None:
        with pytest.raises(ValidationError, match="expiration_time is "):
            cached(lifetime)(archived)

    def test_what_is_no_function_is_told(self) -> None:
        with pytest.raises(ValidationError, match="a function is decorated, not 5"):
            cached(60)(5)  # type: ignore[type-var]

    def test_a_region_is_found_when_it_is_asked_for(self) -> None:
        fn: Any = cached(60, region="later")(lambda: "made")

        with pytest.raises(ConfigurationError, match="no region 'later'"):
            fn()
        with override_settings(DOGPILE_CACHE_REGIONS={"later": "memory"}):
            assert fn() == "made"

    def test_settings_that_change_are_heard(self) -> None:
        calls: list[int] = []
        fn: Any = cached(60)(lambda: calls.append(1))
        fn()

        with override_settings(DOGPILE_CACHE_REGIONS={"default": "memory"}):
            fn()

        assert len(calls) == 2


def _shelf(self: Any) -> str:
    return str(self.title)


# As a class of models has it: a method of the module's own class.
_shelf.__qualname__ = "Book.shelf"
_shelf.__name__ = "shelf"
shelf_of: Any = cached(60)(_shelf)


class TestBackground:
    def test_a_refresh_runs_in_a_thread_of_the_region(self, clock: FakeClock) -> None:
        places: list[Any] = []

        @cached(10, grace=100, tags=[Author])
        def fn() -> int:
            connection = connections["books"]
            connection.ensure_connection()
            places.append((threading.get_ident(), connection.in_atomic_block))
            return len(places)

        fn()
        clock.advance(11)

        with transaction.atomic(using="books"):
            Book.objects.create(title="another")
            assert fn() == 1
            assert regions["default"].storage.pending.wait(10)

        assert fn() == 2
        assert places[0][0] != places[1][0]
        assert places[1][1] is False

    def test_connections_are_closed_before_and_after(
        self, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from dogpile.cache.integrations.django import apart

        told: list[Any] = []
        close = apart.close_old_connections

        def closing() -> None:
            told.append(threading.get_ident())
            close()

        monkeypatch.setattr(apart, "close_old_connections", closing)

        @cached(10, grace=100)
        def fn() -> int:
            told.append("made")
            return len(told)

        fn()
        clock.advance(11)
        fn()
        assert regions["default"].storage.pending.wait(10)

        assert told == ["made", told[1], "made", told[1]]
        assert told[1] != threading.get_ident()

    def test_a_coroutine_is_refreshed_with_the_same_care(
        self, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from dogpile.cache.integrations.django import apart

        told: list[str] = []
        monkeypatch.setattr(
            apart, "close_old_connections", lambda: told.append("closed")
        )

        @cached(10, grace=100)
        async def fn() -> int:
            told.append("made")
            return len(told)

        async def run() -> None:
            await fn()
            clock.advance(11)
            await fn()
            await regions["default"].aclose()

        asyncio.run(run())

        assert told == ["made", "closed", "made", "closed"]

    def test_where_a_loop_ends_soon_one_caller_waits(self, clock: FakeClock) -> None:
        calls: list[int] = []

        @cached(10, grace=100)
        async def fn() -> int:
            calls.append(1)
            return len(calls)

        first = async_to_sync(fn)()
        clock.advance(11)

        assert (first, async_to_sync(fn)()) == (1, 2)


@pytest.mark.usefixtures("clock")
class TestModelTags:
    def test_names_say_what_is_meant(self) -> None:
        book = Book.objects.create(title="a")

        assert tag_names([Book, book, "nav"]) == (
            "django_books.Book",
            f"django_books.Book:{book.pk}",
            "nav",
        )
        assert tag_names(Classic) == tag_names(Book)

    def test_changes_of_rows_are_seen(self) -> None:
        titles = Counted()
        seen = [titles()]

        book = Book.objects.create(title="a")
        seen.append(titles())
        book.title = "b"
        book.save()
        seen.append(titles())
        book.delete()
        seen.append(titles())

        assert seen == [[], ["a"], ["b"], []]
        assert titles.calls == 4
        assert titles() == []
        assert titles.calls == 4

    def test_a_row_has_its_own_tag(self) -> None:
        calls: list[int] = []

        @cached(60, tags="django_books.Book:{pk}")
        def title(pk: int) -> str:
            calls.append(pk)
            return Book.objects.get(pk=pk).title

        one, two = Book.objects.create(title="a"), Book.objects.create(title="b")
        both = [title(one.pk), title(two.pk)]
        one.title = "c"

        one.save()

        assert both == ["a", "b"]
        assert [title(one.pk), title(two.pk)] == ["c", "b"]
        assert calls == [one.pk, two.pk, one.pk]

    def test_a_function_may_name_the_tags(self) -> None:
        calls: list[Any] = []

        @cached(60, tags=lambda book: [book, Author])
        def line(book: Book) -> str:
            calls.append(book.pk)
            return book.title

        one, two = Book.objects.create(title="a"), Book.objects.create(title="b")
        assert [line(one), line(two)] == ["a", "b"]

        one.save()
        line(one), line(two)
        assert calls == [one.pk, two.pk, one.pk]
        Author.objects.create(name="Ada")
        line(one), line(two)
        assert calls[3:] == [one.pk, two.pk]

    @pytest.mark.parametrize("how", ["add", "remove", "set", "clear", "reverse"])
    def test_relations_invalidate_both_ends(self, how: str) -> None:
        ada = Author.objects.create(name="Ada")
        bob = Author.objects.create(name="Bob")
        book = Book.objects.create(title="a")
        if how != "add":
            book.authors.add(ada)
        read: list[str] = []

        @cached(60, tags=lambda row: [row])
        def line(row: Any) -> None:
            read.append(str(row))

        for row in (ada, bob, book):
            line(row)
        change_relations(how, book, ada)
        for row in (ada, bob, book):
            line(row)

        assert read[3:] == ["Ada", "a"]

    def test_a_row_of_a_child_is_one_of_its_parent(self) -> None:
        titles = Counted()
        novels = Counted(tags=[Novel])
        titles(), novels()

        novel = Novel.objects.create(title="n")
        assert [titles(), novels()] == [["n"], ["n"]]

        book = Book.objects.get(pk=novel.pk)
        book.title = "m"
        book.save()
        assert [titles(), novels()] == [["m"], ["m"]]

    def test_a_proxy_is_another_name(self) -> None:
        titles = Counted()
        titles()

        Classic.objects.create(title="c")

        assert titles() == ["c"]

    def test_what_sends_no_signal_is_told_by_hand(self) -> None:
        titles = Counted()
        book = Book.objects.create(title="a")
        titles()
        Book.objects.update(title="b")
        stale = titles()

        invalidate_model(Book)

        assert (stale, titles()) == (["a"], ["b"])
        Book.objects.bulk_create([Book(title="c")])
        async_to_sync(ainvalidate_model)(book)
        assert titles() == ["b", "c"]

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            (5, "not 5"),
            (None, "not None"),
            (int, "not a type"),
            ("nav", "not 'nav'; a name is a tag"),
            (Book.objects, "name its model, Book"),
            (Book.objects.all(), "name its model, Book"),
        ],
    )
    def test_what_is_no_model_is_not_invalidated(self, given: Any, words: str) -> None:
        titles = Counted()
        titles()

        with pytest.raises(ValidationError, match=words):
            invalidate_model(Book, given)

        titles()
        assert titles.calls == 1  # nor is what stands beside it

    def test_a_soft_invalidation_leaves_stale_values(self) -> None:
        titles = Counted(grace=100)
        titles()
        Book.objects.bulk_create([Book(title="a")])

        invalidate_model(Book, hard=False)

        assert titles() == []
        assert regions["default"].storage.pending.wait(10)
        assert titles() == ["a"]

    def test_saves_of_coroutines_are_seen(self) -> None:
        calls: list[int] = []

        @cached(60, tags=[Book])
        async def count() -> int:
            calls.append(1)
            return await Book.objects.acount()

        async def run() -> list[int]:
            before = await count()
            await Book.objects.acreate(title="a")
            return [before, await count(), await count()]

        assert async_to_sync(run)() == [0, 1, 1]
        assert len(calls) == 2

    def test_pages_of_models_are_kept_until_they_change(self) -> None:
        @cached_view(60, tags=[Book])
        def index(request: Any) -> Any:
            return HttpResponse(",".join(Book.objects.values_list("title", flat=True)))

        with override_settings(ROOT_URLCONF=(path("", index),)):
            client = Client()
            texts = [client.get("/").content, client.get("/").content]
            Book.objects.create(title="a")
            texts.append(client.get("/").content)
            with transaction.atomic(using="books"):
                Book.objects.create(title="b")
                inside = client.get("/")
                texts.append(inside.content)
                transaction.set_rollback(True, using="books")
            texts.append(client.get("/").content)

        assert texts == [b"", b"", b"a", b"a,b", b"a"]
        assert inside.headers["Cache-Status"].endswith("detail=transaction")


def change_relations(how: str, book: Book, author: Author) -> None:
    if how == "add":
        book.authors.add(author)
    elif how == "remove":
        book.authors.remove(author)
    elif how == "set":
        book.authors.set([])
    elif how == "clear":
        book.authors.clear()
    else:
        author.book_set.clear()


@pytest.mark.usefixtures("clock")
class TestTransactions:
    def test_a_transaction_that_has_written_passes_the_cache_by(self) -> None:
        titles = Counted()
        titles()

        with transaction.atomic(using="books"):
            assert titles() == []
            Book.objects.create(title="a")
            inside = [titles(), titles()]
            others = in_thread(titles)

        assert inside == [["a"], ["a"]]
        assert others == []
        assert titles.calls == 3
        assert titles() == ["a"]
        assert titles.calls == 4

    def test_a_roll_back_leaves_the_cache_as_it_was(self) -> None:
        titles = Counted()
        titles()

        with transaction.atomic(using="books"):
            Book.objects.create(title="a")
            assert titles() == ["a"]
            transaction.set_rollback(True, using="books")

        assert titles() == []
        assert titles.calls == 2

    def test_a_savepoint_that_is_rolled_back_is_forgotten(self) -> None:
        titles = Counted()
        titles()

        with transaction.atomic(using="books"):
            with transaction.atomic(using="books"):
                Book.objects.create(title="a")
                assert titles() == ["a"]
                transaction.set_rollback(True, using="books")
            assert titles() == []
            calls = titles.calls

        assert titles() == []
        assert titles.calls == calls == 2

    def test_savepoints_that_stay_are_invalidated_at_the_end(self) -> None:
        titles = Counted()
        titles()

        with transaction.atomic(using="books"):
            with transaction.atomic(using="books"):
                Book.objects.create(title="a")
            Book.objects.create(title="b")
            with transaction.atomic(using="books"):
                Book.objects.create(title="c")
                transaction.set_rollback(True, using="books")
            assert titles() == ["a", "b"]

        assert titles() == ["a", "b"]

    def test_one_invalidation_is_made_for_many_rows(self) -> None:
        told: list[Any] = []
        regions["default"].on("invalidate", told.append)

        with transaction.atomic(using="books"):
            for number in range(5):
                Book.objects.create(title=str(number))

        assert len(told) == 1

    def test_other_models_are_read_as_ever(self) -> None:
        calls: list[int] = []
        fn: Any = cached(60, tags=[Author])(lambda: calls.append(1))

        with transaction.atomic(using="books"):
            Book.objects.create(title="a")
            fn(), fn()

        assert len(calls) == 1

    def test_rows_with_tags_of_their_own_are_told_apart(self) -> None:
        calls: list[int] = []
        fn: Any = cached(60, tags="django_books.Book:{pk}")(calls_with(calls))
        one, two = Book.objects.create(title="a"), Book.objects.create(title="b")
        fn(one.pk), fn(two.pk)

        with transaction.atomic(using="books"):
            one.save()
            fn(one.pk), fn(two.pk)

        assert calls == [one.pk, two.pk, one.pk]

    def test_each_database_has_its_transactions(self) -> None:
        titles = Counted()
        titles()

        with transaction.atomic(using="archive"):
            Book.objects.using("archive").create(title="old")
            with transaction.atomic(using="books"):
                Book.objects.create(title="a")
            assert titles() == ["a"]
            calls = titles.calls
            assert titles() == ["a"]

        assert titles.calls == calls + 1
        assert titles() == ["a"]

    def test_its_own_operations_are_passed_by_too(self) -> None:
        titles = Counted()
        fn: Any = titles.function
        fn()

        with transaction.atomic(using="books"):
            Book.objects.create(title="a")
            inside = [fn.get(), fn.set(["own"]), fn.refresh()]
            transaction.set_rollback(True, using="books")

        assert inside == [NO_VALUE, ["own"], ["a"]]
        assert fn() == []

    def test_a_creator_that_writes_leaves_nothing_uncommitted(self) -> None:
        @cached(60, tags=[Book])
        def made() -> list[str]:
            Book.objects.create(title="a")
            return list(Book.objects.values_list("title", flat=True))

        fn: Any = made
        with transaction.atomic(using="books"):
            assert made() == ["a"]
            transaction.set_rollback(True, using="books")

        assert fn.get() is NO_VALUE

    def test_a_coroutine_knows_the_transaction_that_waits_for_it(self) -> None:
        @cached(60, tags=[Book])
        async def count() -> int:
            return await sync_to_async(Book.objects.count)()

        assert async_to_sync(count)() == 0

        with transaction.atomic(using="books"):
            Book.objects.create(title="a")
            inside = async_to_sync(count)()
            transaction.set_rollback(True, using="books")

        assert (inside, async_to_sync(count)()) == (1, 0)

    def test_an_async_page_knows_it_too(self) -> None:
        @cached_view(60, tags=[Book])
        async def index(request: Any) -> HttpResponse:
            return HttpResponse(str(await sync_to_async(Book.objects.count)()))

        def ask() -> bytes:
            answer: HttpResponse = async_to_sync(index)(RequestFactory().get("/"))
            return answer.content

        before = [ask(), ask()]

        with transaction.atomic(using="books"):
            Book.objects.create(title="a")
            inside = ask()
            transaction.set_rollback(True, using="books")

        assert (before, inside, ask()) == ([b"0", b"0"], b"1", b"0")

    def test_a_hook_that_raises_keeps_nobody_from_it(self) -> None:
        titles = Counted()
        titles()

        with pytest.raises(ZeroDivisionError):
            write_and_raise()

        assert titles() == ["a"]

    def test_other_hooks_read_what_was_committed(self) -> None:
        titles = Counted()
        titles()
        read: list[list[str]] = []

        with transaction.atomic(using="books"):
            transaction.on_commit(lambda: read.append(titles()), using="books")
            Book.objects.create(title="a")

        assert read == [["a"]]

    def test_the_callbacks_of_a_test_case_stay_in_their_order(self) -> None:
        called: list[str] = []
        whole = transaction.atomic(using="books")
        whole._from_testcase = True  # type: ignore[attr-defined]

        with whole:
            transaction.on_commit(lambda: called.append("before"), using="books")
            with TestCase.captureOnCommitCallbacks(using="books", execute=True):
                Book.objects.create(title="a")
            transaction.set_rollback(True, using="books")

        assert called == []

    def test_transactions_by_hand_are_told_at_once(self) -> None:
        titles = Counted()
        titles()
        transaction.set_autocommit(False, using="books")
        try:
            Book.objects.create(title="a")
            transaction.commit(using="books")
        finally:
            transaction.set_autocommit(True, using="books")

        assert titles() == ["a"]


@transaction.atomic(using="books")
def write_and_raise() -> None:
    hook: Any = partial(divmod, 1, 0)
    transaction.on_commit(hook, using="books")
    Book.objects.create(title="a")


def calls_with(calls: list[int]) -> Any:
    def call(pk: int) -> None:
        calls.append(pk)

    return call


def in_thread(call: Any) -> Any:
    """Return what a function returns in a thread that has no transaction."""
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(call())
        finally:
            connections.close_all()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)
    [value] = found
    return value


@pytest.mark.usefixtures("clock")
class TestRaces:
    def test_what_began_before_a_commit_is_never_stored(self) -> None:
        read, committed = threading.Event(), threading.Event()

        @cached(60, tags=[Book])
        def titles() -> list[str]:
            found = list(Book.objects.values_list("title", flat=True))
            if not read.is_set():
                read.set()
                assert committed.wait(30)
            return found

        early: list[Any] = []
        thread = threading.Thread(
            target=lambda: early.append(in_thread(titles)), daemon=True
        )
        thread.start()
        assert read.wait(30)

        with transaction.atomic(using="books"):
            Book.objects.create(title="a")
        committed.set()
        thread.join(30)

        assert early == [[]]
        assert titles() == ["a"]

    def test_what_began_before_a_commit_may_end_before_it(self) -> None:
        barrier = threading.Barrier(2, timeout=30)

        titles = Counted()

        def write() -> None:
            with transaction.atomic(using="books"):
                Book.objects.create(title="a")
                barrier.wait()  # it has written
                barrier.wait()  # the other one has read
            barrier.wait()

        thread = threading.Thread(target=lambda: in_thread(write), daemon=True)
        thread.start()
        barrier.wait()
        before = titles()
        barrier.wait()
        barrier.wait()
        thread.join(30)

        assert (before, titles()) == ([], ["a"])

    def test_an_old_view_is_not_stored(self) -> None:
        read_archive = cached(60, tags=[Book])(archived)

        with old_views(), transaction.atomic(using="archive"):
            assert archived() == []  # from here on this is what it sees
            in_thread(lambda: Book.objects.using("archive").create(title="new"))
            inside = [read_archive(), read_archive()]

        assert inside == [[], []]
        assert read_archive() == ["new"]

    def test_a_coroutine_that_is_waited_for_has_the_same_view(self) -> None:
        @cached(60, tags=[Book])
        async def titles() -> list[str]:
            return await sync_to_async(archived)()

        with old_views(), transaction.atomic(using="archive"):
            assert archived() == []
            in_thread(lambda: Book.objects.using("archive").create(title="new"))
            inside = async_to_sync(titles)()

        assert inside == []
        assert async_to_sync(titles)() == ["new"]

    def test_a_page_of_an_old_view_is_not_stored(self) -> None:
        @cached_view(60, tags=[Book])
        def index(request: Any) -> Any:
            return HttpResponse(",".join(archived()))

        with old_views(), override_settings(ROOT_URLCONF=(path("", index),)):
            client = Client()
            with transaction.atomic(using="archive"):
                archived()
                in_thread(lambda: Book.objects.using("archive").create(title="new"))
                inside = client.get("/")
            after = [client.get("/"), client.get("/")]

        assert inside.content == b""
        assert inside.headers["Cache-Status"].endswith("detail=snapshot")
        assert [each.content for each in after] == [b"new", b"new"]
        assert "; hit" in after[1].headers["Cache-Status"]

    @pytest.mark.parametrize(
        "store",
        [
            lambda titles: titles.refresh(),
            lambda titles: titles.put(archived()),
            lambda titles: titles.set(archived()),
            lambda titles: async_to_sync(titles.aset)(archived()),
        ],
    )
    def test_nothing_stores_what_an_old_view_shows(self, store: Any) -> None:
        titles = cached(60, tags=[Book])(archived)

        with old_views():
            with transaction.atomic(using="archive"):
                archived()
                in_thread(lambda: Book.objects.using("archive").create(title="new"))
                store(titles)
            after = titles()

        assert after == ["new"]

    def test_a_connection_that_is_closed_keeps_nothing(self) -> None:
        read = Counted()

        with old_views():
            with transaction.atomic(using="archive"):
                archived()
                connections["archive"].close()
                inside = [read(), read()]
            read()

        assert (inside, read.calls) == ([[], []], 3)

    @pytest.mark.parametrize("change", ["added", "made anew"])
    def test_connections_that_come_later_are_asked(
        self, change: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alias = "archive"
        with old_views():
            cached(60, tags=[Book])(archived)()
            if change == "added":
                alias = "tenant"
                monkeypatch.setitem(
                    connections.settings, alias, connections.settings["archive"]
                )
            else:
                connections["archive"].close()
                del connections["archive"]

            def titles() -> list[str]:
                rows = Book.objects.using(alias)
                return list(rows.values_list("title", flat=True))

            remembered = cached(60, tags=[Book])(titles)
            with transaction.atomic(using=alias):
                titles()
                in_thread(lambda: Book.objects.using("archive").create(title="new"))
                remembered()
            after = remembered()
            if change == "added":
                connections[alias].close()
                del connections[alias]

        assert after == ["new"]

    @pytest.mark.parametrize("local", [None, object()])
    def test_without_the_short_way_django_is_asked(self, local: Any) -> None:
        connections["archive"].ensure_connection()

        assert connections["archive"] in snapshots._opened(local)

    @pytest.mark.parametrize("name", ["refresh", "arefresh"])
    def test_no_coroutine_stores_what_an_old_view_shows(self, name: str) -> None:
        @cached(60, tags=[Book])
        async def titles() -> list[str]:
            return await sync_to_async(archived)()

        with old_views():
            with transaction.atomic(using="archive"):
                archived()
                in_thread(lambda: Book.objects.using("archive").create(title="new"))
                inside = async_to_sync(getattr(titles, name))()
            after = async_to_sync(titles)()

        assert (inside, after) == ([], ["new"])

    def test_an_asynchronous_page_of_an_old_view_is_not_stored(self) -> None:
        @cached_view(60, tags=[Book])
        async def index(request: Any) -> Any:
            return HttpResponse(",".join(await sync_to_async(archived)()))

        def ask() -> Any:
            return async_to_sync(AsyncClient().get)("/")

        with old_views(), override_settings(ROOT_URLCONF=(path("", index),)):
            with transaction.atomic(using="archive"):
                archived()
                in_thread(lambda: Book.objects.using("archive").create(title="new"))
                inside = ask()
            after = [ask(), ask()]

        assert inside.content == b""
        assert inside.headers["Cache-Status"].endswith("detail=snapshot")
        assert [each.content for each in after] == [b"new", b"new"]
        assert "; hit" in after[1].headers["Cache-Status"]


@contextmanager
def old_views() -> Iterator[None]:
    """Have the transactions of a database see what was there when they began."""
    if connections["archive"].vendor == "sqlite":
        turn_on, turn_off = "PRAGMA journal_mode=wal", "PRAGMA journal_mode=delete"
    else:
        # The server's own setting, of which those of Django know nothing.
        level = "ALTER DATABASE archive SET default_transaction_isolation TO "
        turn_on, turn_off = f"{level}'repeatable read'", f"{level}DEFAULT"
    turn(turn_on)
    try:
        yield
    finally:
        turn(turn_off)


class Asked:
    """A connection of MySQL whose server answers one question.

    :param question: the one that it understands.
    :param options: as ``OPTIONS`` of the database has them.
    """

    vendor = "mysql"
    closed_in_transaction = False

    def __init__(self, question: str, answer: str, options: dict[str, Any]) -> None:
        self.settings_dict = {"OPTIONS": options}
        self.isolation_level = options.get("isolation_level", "read committed")
        self.connection = self
        self._question = question
        self._answer = answer

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        yield self

    def execute(self, question: str) -> None:
        if question != self._question:
            raise ValueError(question)

    def fetchone(self) -> tuple[str]:
        return (self._answer,)


class TestLevels:
    @pytest.mark.parametrize(
        ("question", "answer", "is_snapshot"),
        [
            ("SELECT @@transaction_isolation", "REPEATABLE-READ", True),
            ("SELECT @@transaction_isolation", "READ-COMMITTED", False),
            ("SELECT @@tx_isolation", "READ-COMMITTED", False),
            ("SELECT nothing", "", True),
        ],
    )
    def test_a_mysql_is_asked_for_its_own(
        self, question: str, answer: str, is_snapshot: bool
    ) -> None:
        link = Asked(question, answer, {"isolation_level": None})

        assert snapshots._is_snapshot(link) is is_snapshot

    @pytest.mark.parametrize(
        ("options", "is_snapshot"),
        [({}, False), ({"isolation_level": "repeatable read"}, True)],
    )
    def test_a_level_that_is_chosen_is_not_asked_for(
        self, options: dict[str, Any], is_snapshot: bool
    ) -> None:
        link = Asked("SELECT nothing", "", options)

        assert snapshots._is_snapshot(link) is is_snapshot


def turn(statement: str) -> None:
    with connections["archive"].cursor() as cursor:
        cursor.execute(statement)
    # What it was before holds for this connection.
    connections["archive"].close()


def archived() -> list[str]:
    return list(Book.objects.using("archive").values_list("title", flat=True))


class TestSetting:
    def test_models_are_chosen_by_a_setting(self) -> None:
        with override_settings(DOGPILE_CACHE_MODEL_TAGS=["django_books.author"]):
            titles, names = Counted(tags=[]), Counted(tags=[Author])
            with pytest.raises(ValidationError, match="nothing would invalidate"):
                cached(60, tags=[Book])(archived)
            titles(), names()
            Book.objects.create(title="a")
            assert [titles(), names()] == [[], []]
            Author.objects.create(name="Ada")
            assert names() == ["a"]

    def test_all_of_it_is_turned_off(self) -> None:
        with override_settings(DOGPILE_CACHE_MODEL_TAGS=False):
            assert not post_delete.has_listeners(Book)
        assert post_delete.has_listeners(Book)

    @pytest.mark.parametrize(
        ("chosen", "words"),
        [
            (["django_boks"], "'django_boks'; did you mean 'django_books'"),
            (["django_books.Bok"], "did you mean 'django_books.Book'"),
            (["django_books", 5], "nor a model 5"),
        ],
    )
    def test_what_is_not_there_cannot_be_chosen(
        self, chosen: list[Any], words: str
    ) -> None:
        odd = override_settings(DOGPILE_CACHE_MODEL_TAGS=chosen)

        with pytest.raises(ConfigurationError, match=words):
            odd.enable()

        with override_settings(DOGPILE_CACHE_MODEL_TAGS=True):
            assert post_delete.has_listeners(Book)

    def test_sessions_are_left_out(self) -> None:
        with pytest.raises(ValidationError, match=r"sessions\.Session.*leaves it out"):
            cached(60, tags=[Session])
        assert not post_delete.has_listeners(Session)

    def test_an_odd_setting_is_told(self) -> None:
        odd = override_settings(DOGPILE_CACHE_MODEL_TAGS="shop")

        with pytest.raises(ConfigurationError, match=r"takes True, False, or a list"):
            odd.enable()

        with override_settings(DOGPILE_CACHE_MODEL_TAGS=True):
            assert post_delete.has_listeners(Book)

    @pytest.mark.parametrize(
        ("tag", "message"),
        [
            (Timed, "Timed is abstract"),
            (Book(title="new"), "without a primary key is no tag"),
            (object(), "tags takes names"),
            (int, "tags takes names"),
        ],
    )
    def test_odd_tags_are_refused(self, tag: Any, message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            cached(60, tags=[tag])(archived)

    def test_a_server_that_is_away_breaks_no_save(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        gone = {"backend": "sqlite", "arguments": {"filename": str(tmp_path)}}

        with override_settings(DOGPILE_CACHE_REGIONS={"gone": gone}):
            Book.objects.create(title="a")

        assert "could not be told that django_books.Book" in caplog.text
