"""Models as tags over a real PostgreSQL, whose transactions are several at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django")
pytest.importorskip("psycopg", reason="could not import psycopg")

import django_postgresql
import django_site  # noqa: F401 - it configures Django
from django.core.management import call_command
from django.db import (
    IntegrityError,
    InternalError,
    OperationalError,
    connections,
    transaction,
)
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import path
from django_books.models import Author, Book
from servers import Server

from dogpile.cache.integrations.django import (
    cached,
    cached_view,
    invalidate_model,
    regions,
)
from dogpile.cache.integrations.django.cache import DogpileCache

pytestmark = pytest.mark.server

# Each says in another way that transactions see what was there when they began.
FROZEN: dict[str, dict[str, Any]] = {
    "by_level": {"isolation_level": 3},  # psycopg's number for repeatable read
    "by_option": {"options": r"-c default_transaction_isolation=repeatable\ read"},
    "by_strictness": {"options": "-c default_transaction_isolation=serializable"},
    "by_role": {},
}
PLAIN = "server"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    yield from django_postgresql.running()


@pytest.fixture(scope="module")
def shelf(server: Server) -> Iterator[None]:
    """Have a database among those of the site, under several aliases."""
    clerk = "CREATE ROLE clerk SUPERUSER LOGIN"
    level = "ALTER ROLE clerk SET default_transaction_isolation TO 'repeatable read'"
    django_postgresql.ask(server.port, "CREATE DATABASE shelf", clerk, level)
    for alias, options in {PLAIN: {}, **FROZEN}.items():
        chosen = django_postgresql.settings_of(server.port, "shelf", **options)
        if alias == "by_role":
            chosen["USER"] = "clerk"
        connections.settings[alias] = connections.configure_settings(
            {"default": {}, alias: chosen}
        )[alias]
    call_command("migrate", verbosity=0, database=PLAIN, run_syncdb=True)
    yield
    for alias in (PLAIN, *FROZEN):
        connections[alias].close()
        del connections.settings[alias]
        del connections[alias]


@pytest.fixture(autouse=True)
def _empty(shelf: None) -> Iterator[None]:
    with override_settings(
        DOGPILE_CACHE_REGIONS={"default": {"backend": "memory", "expiration_time": 60}}
    ):
        yield
    Book.objects.using(PLAIN).all().delete()
    Author.objects.using(PLAIN).all().delete()


class Titles:
    """The titles of all books as a connection sees them, and how often they are read.

    :param alias: of the connection.
    """

    def __init__(self, alias: str = PLAIN) -> None:
        self.calls = 0
        self._alias = alias
        self.function = cached(60, tags=[Book])(self.read)

    def read(self) -> list[str]:
        self.calls += 1
        rows = Book.objects.using(self._alias)
        return sorted(rows.values_list("title", flat=True))

    def __call__(self) -> list[str]:
        found: list[str] = self.function()
        return found


def elsewhere(call: Any) -> None:
    """Call a function in a thread, which has connections and transactions of its own.

    What it raises is raised here.
    """
    raised: list[BaseException] = []

    def work() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - raised below
            raised.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    for error in raised:
        raise error


def add(title: str) -> None:
    Book.objects.using(PLAIN).create(title=title)


def test_what_holds_over_sqlite_holds_here(server: Server) -> None:
    django_postgresql.ask(
        server.port, "CREATE DATABASE books", "CREATE DATABASE archive"
    )
    modules = [
        str(Path(__file__).with_name(f"test_django_{name}.py"))
        for name in ("functions", "deletions")
    ]

    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *modules],
        env={**os.environ, "DJANGO_SITE_POSTGRESQL": str(server.port)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout[-4000:]
    assert "skipped" not in ran.stdout


class TestSnapshots:
    @pytest.mark.parametrize("alias", FROZEN)
    def test_what_an_old_view_makes_is_not_stored(self, alias: str) -> None:
        titles = Titles(alias)

        with transaction.atomic(using=alias):
            assert titles.read() == []  # from here on this is what it sees
            elsewhere(lambda: add("new"))
            inside = [titles(), titles()]

        assert inside == [[], []]
        assert titles() == ["new"]

    @pytest.mark.parametrize("alias", FROZEN)
    def test_what_is_stored_is_read_in_an_old_view(self, alias: str) -> None:
        titles = Titles(alias)
        titles()

        with transaction.atomic(using=alias):
            inside = [titles(), titles()]

        assert (inside, titles.calls) == ([[], []], 1)

    @pytest.mark.parametrize("alias", FROZEN)
    def test_a_cache_of_django_keeps_no_old_view(self, alias: str) -> None:
        cache = DogpileCache("dogpile.cache.memory", {})

        with transaction.atomic(using=alias):
            Titles(alias).read()
            elsewhere(lambda: add("new"))
            cache.get_or_set("titles", Titles(alias).read, tags=[Book])

        assert cache.get("titles") is None

    def test_each_transaction_sees_what_is_committed(self) -> None:
        titles = Titles()

        with transaction.atomic(using=PLAIN):
            titles()
            elsewhere(lambda: add("new"))
            inside = [titles(), titles()]

        assert inside == [["new"], ["new"]]
        assert titles.calls == 2
        assert titles() == ["new"]
        assert titles.calls == 2

    @pytest.mark.parametrize("alias", [PLAIN, "by_option"])
    def test_a_server_is_asked_once_in_a_connection(self, alias: str) -> None:
        titles = Titles(alias)
        titles()
        link: Any = connections[alias].connection
        asked: list[Any] = []
        original = link.cursor

        def counted(*args: Any, **kwargs: Any) -> Any:
            asked.append(args)
            return original(*args, **kwargs)

        link.cursor = counted
        try:
            for _ in range(3):
                with transaction.atomic(using=alias):
                    titles(), titles()
        finally:
            del link.cursor

        assert len(asked) <= 1

    def test_another_connection_is_asked_anew(self) -> None:
        titles = Titles()
        with transaction.atomic(using=PLAIN):
            titles()
        frozen = "ALTER DATABASE shelf SET default_transaction_isolation TO "
        execute(f"{frozen}'repeatable read'")
        connections[PLAIN].close()
        try:
            invalidate_model(Book, using=PLAIN)
            with transaction.atomic(using=PLAIN):
                titles.read()
                elsewhere(lambda: add("new"))
                inside = titles()
        finally:
            execute(f"{frozen}DEFAULT")
            connections[PLAIN].close()

        assert inside == []
        assert titles() == ["new"]

    def test_a_level_of_one_transaction_is_not_taken_for_that_of_all(self) -> None:
        alias = "by_option"
        titles = Titles(alias)
        connections[alias].close()

        with transaction.atomic(using=alias):
            with connections[alias].cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            titles()  # it is asked here
        with transaction.atomic(using=alias):
            titles.read()
            elsewhere(lambda: add("new"))
            inside = titles()

        assert inside == []
        assert titles() == ["new"]

    def test_a_transaction_that_has_failed_keeps_nothing(self) -> None:
        broken = cached(60, tags=[Book])(lambda: execute("SELECT 1"))
        connections[PLAIN].close()

        with transaction.atomic(using=PLAIN):
            with pytest.raises(Exception, match="nosuch"):
                execute("SELECT nosuch")
            with pytest.raises(InternalError, match="aborted"):
                broken()
            transaction.set_rollback(True, using=PLAIN)

        broken()  # what was raised was not kept either


def execute(statement: str, *values: Any) -> None:
    with connections[PLAIN].cursor() as cursor:
        cursor.execute(statement, values or None)


class TestWrites:
    def test_bulk_operations_are_told_in_their_transaction(self) -> None:
        titles = Titles()
        titles()

        with transaction.atomic(using=PLAIN):
            rows = Book.objects.using(PLAIN).bulk_create([Book(title="a")])
            rows[0].title = "b"
            Book.objects.using(PLAIN).bulk_update(rows, ["title"])
            invalidate_model(Book, using=PLAIN)
            inside = titles()

        assert (inside, titles()) == (["b"], ["b"])
        Book.objects.using(PLAIN).filter(title="b").update(title="c")
        invalidate_model(rows[0], using=PLAIN)
        assert titles() == ["c"]

    def test_raw_statements_are_told_in_their_transaction(self) -> None:
        titles = Titles()
        titles()

        with transaction.atomic(using=PLAIN):
            execute("INSERT INTO django_books_book (title) VALUES (%s)", "raw")
            invalidate_model(Book, using=PLAIN)
            inside = titles()
            transaction.set_rollback(True, using=PLAIN)

        assert (inside, titles(), titles.calls) == (["raw"], [], 2)

    def test_a_savepoint_that_a_conflict_ends_is_forgotten(self) -> None:
        titles = Titles()
        add("a")
        pk = Book.objects.using(PLAIN).get().pk
        titles()

        with transaction.atomic(using=PLAIN):
            with pytest.raises(IntegrityError):
                add_twice(pk)
            inside = titles()

        assert (inside, titles(), titles.calls) == (["a"], ["a"], 1)

    def test_others_see_it_once_it_is_committed(self) -> None:
        titles = Titles()
        titles()
        seen: list[list[str]] = []

        with transaction.atomic(using=PLAIN):
            add("a")
            elsewhere(lambda: seen.append(titles()))
        elsewhere(lambda: seen.append(titles()))

        assert seen == [[], ["a"]]
        assert titles.calls == 2

    def test_a_conflict_of_transactions_changes_nothing(self) -> None:
        add("a")
        titles = Titles()
        titles()

        with pytest.raises(OperationalError, match="could not serialize"):
            lose("by_option")

        assert titles() == ["theirs"]


@transaction.atomic(using=PLAIN)
def add_twice(pk: int) -> None:
    add("b")
    execute("INSERT INTO django_books_book VALUES (%s, 'c')", pk)


def lose(alias: str) -> None:
    """Change a row that somebody else changes first."""

    def change() -> None:
        theirs = Book.objects.using(PLAIN).get()
        theirs.title = "theirs"
        theirs.save(using=PLAIN)

    with transaction.atomic(using=alias):
        mine = Book.objects.using(alias).get()
        elsewhere(change)
        mine.title = "mine"
        mine.save(using=alias)


class TestRequests:
    @pytest.fixture(params=[PLAIN, "by_option"])
    def alias(self, request: pytest.FixtureRequest) -> Iterator[str]:
        chosen = connections.settings[request.param]
        chosen["ATOMIC_REQUESTS"] = True
        yield request.param
        chosen["ATOMIC_REQUESTS"] = False

    def test_pages_of_requests_in_transactions(self, alias: str) -> None:
        made: list[list[str]] = []

        @cached_view(60, tags=[Book])
        def index(request: Any) -> Any:
            made.append(Titles(alias).read())
            return HttpResponse(",".join(made[-1]))

        with override_settings(ROOT_URLCONF=(path("", index),)):
            client = Client()
            client.get("/"), client.get("/")
            # In a snapshot a page is made for its own request.
            before = len(made)
            elsewhere(lambda: add("new"))
            text = client.get("/").content

        assert before == (1 if alias == PLAIN else 2)
        assert text == b"new"

    def test_a_request_that_fails_leaves_the_page(self, alias: str) -> None:
        @cached_view(60, tags=[Book])
        def index(request: Any) -> Any:
            return HttpResponse(",".join(Titles(alias).read()))

        def fail(request: Any) -> Any:
            Book.objects.using(alias).create(title="never")
            raise ValueError

        urls = (path("", index), path("fail", fail))
        with override_settings(ROOT_URLCONF=urls):
            client = Client(raise_request_exception=False)
            before = client.get("/").content
            failed = client.get("/fail").status_code
            after = client.get("/").content

        assert (before, failed, after) == (b"", 500, b"")
        assert regions["default"].storage.pending.wait(10)
