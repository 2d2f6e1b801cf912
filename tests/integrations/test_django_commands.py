"""``manage.py dogpile …``."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django")

import django_site  # noqa: F401 - it configures Django
from django.core.cache import caches
from django.core.management import call_command
from django.core.management.base import CommandError
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import path
from django_books.models import Book

from dogpile.cache import NO_VALUE, BackendError
from dogpile.cache.integrations.django import (
    cached,
    cached_view,
    invalidate_fragment,
    invalidate_view,
    regions,
)


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path) -> Iterator[None]:
    pages = {"backend": "sqlite", "arguments": {"filename": str(tmp_path / "c.db")}}
    default = {"backend": "memory", "expiration_time": 60}
    view = cached_view(60)(lambda request, pk: HttpResponse("page"))
    with override_settings(
        DOGPILE_CACHE_REGIONS={"default": default, "pages": pages},
        ROOT_URLCONF=(path("<int:pk>", view, name="book"),),
        CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}},
    ):
        yield


def run(*arguments: str) -> str:
    """Run a command, and return what it said."""
    said = io.StringIO()
    call_command("dogpile", *arguments, stdout=said)
    return said.getvalue()


def test_regions_are_listed() -> None:
    assert run("regions").splitlines() == [
        "default (default): MemoryBackend, fresh 60 s",
        "pages: SqliteBackend, fresh for ever",
    ]


def test_regions_are_listed_in_json() -> None:
    [default, pages] = json.loads(run("regions", "--json"))

    assert default == {
        "name": "default",
        "backend": "MemoryBackend",
        "expiration_time": 60,
        "is_default": True,
    }
    assert pages["expiration_time"] is None


def test_values_are_shown_and_deleted() -> None:
    regions["pages"].put("key", {"a": 1})

    told = run("get", "key", "--region", "pages")
    in_json = json.loads(run("get", "key", "--region", "pages", "--json"))

    assert told == "{'a': 1}\n"
    assert (in_json["value"], in_json["age"] >= 0) == ({"a": 1}, True)
    assert run("delete", "key", "other", "--region", "pages") == ""
    with pytest.raises(CommandError, match="no value under 'key'"):
        run("get", "key", "--region", "pages")


def test_keys_of_a_cache_are_those_that_the_program_gives_it(tmp_path: Path) -> None:
    shelf = {
        "BACKEND": "dogpile.cache.integrations.django.DogpileCache",
        "LOCATION": f"sqlite:///{tmp_path}/shelf.db",
        "KEY_PREFIX": "shop",
        "VERSION": 2,
    }
    others = {**shelf, "KEY_PREFIX": "blog"}
    with override_settings(CACHES={"default": others, "shelf": shelf}):
        caches["shelf"].set_many({"key": "value", "other": 1})
        caches["default"].set("key", "of another alias")
        regions["shelf"].put("own", "of the region")

        told = [run("get", key, "--region", "shelf") for key in ("key", "own")]
        run("delete", "key", "own", "--region", "shelf")

        assert told == ["'value'\n", "'of the region'\n"]
        assert caches["shelf"].get_many(["key", "other"]) == {"other": 1}
        assert regions["shelf"].get("own") is NO_VALUE


def test_a_region_that_has_an_aliass_name_has_keys_of_its_own(tmp_path: Path) -> None:
    ours = "dogpile.cache.integrations.django.DogpileCache"
    with override_settings(CACHES={"default": {"BACKEND": ours, "LOCATION": "pages"}}):
        caches["default"].set("key", "value")

        with pytest.raises(CommandError, match="no value under 'key'"):
            run("get", "key")


def test_an_alias_whose_server_does_not_answer_is_told_by_its_name() -> None:
    pytest.importorskip("redis")
    dead = {
        "BACKEND": "dogpile.cache.integrations.django.DogpileCache",
        "LOCATION": "redis://127.0.0.1:1",
    }
    with override_settings(CACHES={"default": dead, "dead": dead}):
        for command in (["clear"], ["get", "key"], ["delete", "key"]):
            with pytest.raises(CommandError, match="region 'dead' did not answer"):
                run(*command, "--region", "dead")


def test_a_value_that_is_no_json_is_told_as_a_text() -> None:
    regions["default"].put("key", {1, 2})

    assert json.loads(run("get", "key", "--json"))["value"] == "{1, 2}"


def test_a_region_is_cleared() -> None:
    regions["default"].put("key", 1)
    regions["pages"].put("key", 2)

    assert json.loads(run("clear", "--json")) == {"cleared": "default"}

    assert regions["default"].get("key") is NO_VALUE
    assert regions["pages"].get("key") == 2


@pytest.mark.parametrize("soft", [(), ("--soft",)])
@pytest.mark.parametrize(
    "arguments",
    [
        ("--tag", "nav"),
        ("--model", "django_books.Book"),
        ("--model", "django_books.book:7"),
    ],
)
def test_values_are_invalidated(
    arguments: tuple[str, ...], soft: tuple[str, ...]
) -> None:
    calls: list[int] = []
    own = ["nav", Book, "django_books.Book:7"]
    fn: Any = cached(60, tags=own)(lambda: calls.append(1))
    fn()

    run("invalidate", *arguments, *soft)
    fn()

    assert len(calls) == 2


def test_pages_are_invalidated_by_their_view() -> None:
    client = Client()
    client.get("/1")

    said = run("invalidate", "--view", "book", "--json")

    assert json.loads(said) == {"invalidated": {"view": ["book"]}, "soft": False}
    assert "; hit" not in client.get("/1").headers["Cache-Status"]


def test_one_that_is_misspelt_leaves_the_rest() -> None:
    Client().get("/1")

    with pytest.raises(CommandError, match="did you mean 'book'"):
        run("invalidate", "--view", "book", "--view", "boko", "--tag", "nav")

    assert "; hit" in Client().get("/1").headers["Cache-Status"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["invalidate"], "name one of --tag, --view, --model, --fragment"),
        (["invalidate", "--model", "shop.Nothing"], "no model 'shop.Nothing'"),
        (["invalidate", "--model", "sessions.Session"], "nothing would invalidate"),
        (["invalidate", "--model", "Book"], "did you mean 'django_books.Book'"),
        (["invalidate", "--model", "django_books.Book:"], "names no row: a primary"),
        (["invalidate", "--model", "django_books.Book:x"], "Book:x' names no row"),
        (["invalidate", "--tag", ""], "--tag takes a tag, not an empty text"),
        (["invalidate", "--tag", "a", "--view", ""], "--view takes the name"),
        (["invalidate", "--view", "boko"], "no view 'boko'.*; did you mean 'book'"),
        (["clear", "--region", "page"], "no region 'page'; did you mean 'pages'"),
        (["delete"], "required: key"),
        ([], "required: command"),
    ],
)
def test_bad_input_is_told(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "key"),
        ("delete", "key"),
        ("invalidate", "--tag", "nav"),
        ("invalidate", "--view", "book"),
        ("invalidate", "--model", "django_books.Book", "--soft"),
        ("invalidate", "--fragment", "nav"),
        ("clear",),
    ],
)
def test_a_server_that_does_not_answer_is_an_error(arguments: tuple[str, ...]) -> None:
    pytest.importorskip("redis")
    # Nobody listens at a port that was never opened.
    dead = {"default": {"url": "redis://127.0.0.1:1"}}
    with (
        override_settings(DOGPILE_CACHE_REGIONS=dead),
        pytest.raises(CommandError, match="the region 'default' did not answer"),
    ):
        run(*arguments)


def test_an_alias_that_is_no_use_is_told() -> None:
    ours = "dogpile.cache.integrations.django.DogpileCache"
    chosen = {"default": {"BACKEND": ours}, "bad": {"BACKEND": ours, "TIMEOUTS": 1}}
    with (
        override_settings(CACHES=chosen),
        pytest.raises(CommandError, match="did you mean 'TIMEOUT'"),
    ):
        run("invalidate", "--tag", "nav")
    with override_settings(CACHES=chosen):
        # It is in the way of nothing that has nothing to do with it.
        assert run("clear", "--region", "pages") == ""


def test_one_dead_region_keeps_no_other_from_it() -> None:
    pytest.importorskip("redis")
    regions_there = {
        "default": {"url": "redis://127.0.0.1:1", "on_backend_error": "raise"},
        "pages": {"backend": "memory"},
    }
    with override_settings(DOGPILE_CACHE_REGIONS=regions_there):
        for tag in ("nav", "fragment:menu", "other"):
            regions["pages"].put(tag, 1, tags=[tag])
        with pytest.raises(CommandError, match=r"127\.0\.0\.1:1"):
            run("invalidate", "--fragment", "menu", "--tag", "nav")

        left = regions["pages"].get_multi(["nav", "fragment:menu", "other"])

    assert left == [NO_VALUE, NO_VALUE, 1]


@pytest.mark.parametrize(
    "invalidate",
    [partial(invalidate_view, "book", pk=1), partial(invalidate_fragment, "menu")],
)
def test_all_regions_are_told_before_the_error(invalidate: Any) -> None:
    pytest.importorskip("redis")
    view = cached_view(60, region="pages")(lambda request, pk: HttpResponse("page"))
    there = {
        "dead": {"url": "redis://127.0.0.1:1", "on_backend_error": "raise"},
        "pages": {"backend": "memory"},
    }
    with override_settings(
        DOGPILE_CACHE_REGIONS=there,
        ROOT_URLCONF=(path("<int:pk>", view, name="book"),),
    ):
        Client().get("/1")
        regions["pages"].put("menu", 1, tags=["fragment:menu"])
        before = _kept()
        with pytest.raises(BackendError):
            invalidate()
        after = _kept()

    assert before == [True, True]
    assert after != before


def _kept() -> list[bool]:
    return [
        "; hit" in Client().head("/1").headers["Cache-Status"],
        regions["pages"].get("menu") == 1,
    ]
