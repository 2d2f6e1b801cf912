"""``flask dogpile …``, and the signal of cached views."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flask")

from flask import Flask, render_template_string

from dogpile.cache import NO_VALUE
from dogpile.cache.integrations.flask import DogpileCache
from dogpile.cache.integrations.flask.commands import cli
from dogpile.cache.integrations.flask.signals import page_answered


@pytest.fixture
def cache() -> DogpileCache:
    return DogpileCache()


@pytest.fixture
def app(cache: DogpileCache, tmp_path: Path) -> Any:
    app = Flask("site")
    settings = {"filename": str(tmp_path / "cache.db")}
    app.config["DOGPILE_CACHE_REGIONS"] = {
        "default": {"backend": "memory", "expiration_time": 60},
        "pages": {"backend": "sqlite", "arguments": settings},
    }
    cache.init_app(app)
    app.cli.add_command(cli)
    app.add_url_rule("/", "index", cache.cached(60, tags="news")(lambda: "page"))
    yield app
    with app.app_context():
        cache["pages"].close()


def run(app: Flask, *arguments: str) -> tuple[int, str]:
    """Run a command, and return its status and what it said."""
    done = app.test_cli_runner().invoke(args=["dogpile", *arguments])
    return done.exit_code, done.output


def test_regions_are_listed(app: Flask) -> None:
    status, told = run(app, "regions")

    assert status == 0
    assert told.splitlines() == [
        "default (default): MemoryBackend, fresh 60 s",
        "pages: SqliteBackend, fresh for ever",
    ]


def test_values_are_shown_and_deleted(app: Flask, cache: DogpileCache) -> None:
    with app.app_context():
        cache["pages"].put("key", {"a": 1})

    assert run(app, "get", "key", "--region", "pages") == (0, "{'a': 1}\n")
    assert run(app, "delete", "key", "other", "--region", "pages") == (0, "")
    status, told = run(app, "get", "key", "--region", "pages")
    assert (status, "there is no value under 'key'" in told) == (1, True)


CIRCLE: list[Any] = [1]
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"b": [1, None], "a": {2: 3}}, {"b": [1, None], "a": {"2": 3}}),
        ({1: "a", "b": 2}, "{1: 'a', 'b': 2}"),
        ({"in": {(1, 2): 3}}, "{'in': {(1, 2): 3}}"),
        (float("nan"), "nan"),
        ([float("inf")], "[inf]"),
        (CIRCLE, "[1, [...]]"),
        ({1}, "{1}"),
    ],
)
def test_every_value_is_told_in_json(
    app: Flask, cache: DogpileCache, value: Any, told: Any
) -> None:
    with app.app_context():
        cache.put("key", value)

    status, output = run(app, "get", "key", "--json")

    assert status == 0
    found = json.loads(output, parse_constant=pytest.fail)
    assert (found["key"], found["value"]) == ("key", told)


class Unshown:
    """A value whose class fails at showing it."""

    def __repr__(self) -> str:
        raise LookupError("no name")


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_value_that_cannot_be_shown_is_an_error(
    app: Flask, cache: DogpileCache, flags: list[str]
) -> None:
    with app.app_context():
        cache.put("key", Unshown())

    status, output = run(app, "get", "key", *flags)

    assert status == 1
    assert "Error: the value under 'key' cannot be shown" in output
    assert "Unshown raises LookupError: no name" in output


@pytest.mark.parametrize("option", ["--tag", "--view", "--fragment"])
def test_an_empty_name_is_refused(app: Flask, option: str) -> None:
    status, output = run(app, "invalidate", "--tag", "news", option, "")

    assert status == 2
    assert f"{option} takes a name, and got an empty one" in output


def test_a_region_is_cleared(app: Flask, cache: DogpileCache) -> None:
    with app.app_context():
        cache.put("key", 1)
        cache["pages"].put("key", 2)

        assert run(app, "clear") == (0, "")

        assert cache.get("key") is NO_VALUE
        assert cache["pages"].get("key") == 2


@pytest.mark.parametrize(
    "arguments", [["--tag", "news"], ["--view", "index"], ["--tag", "news", "--soft"]]
)
def test_pages_are_invalidated(app: Flask, arguments: list[str]) -> None:
    client = app.test_client()
    client.get("/")

    assert run(app, "invalidate", *arguments) == (0, "")

    assert "; hit; ttl=" not in client.get("/").headers["Cache-Status"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["invalidate"], "name one of --tag, --view, --fragment"),
        (["invalidate", "--view", "indx"], "no view 'indx'; did you mean 'index'"),
        (["clear", "--region", "page"], "no region 'page'; did you mean 'pages'"),
        (["delete"], "Missing argument"),
    ],
)
def test_bad_input_is_told(app: Flask, arguments: list[str], message: str) -> None:
    status, told = run(app, *arguments)

    assert status
    assert message in told


def test_an_application_without_a_cache_is_told() -> None:
    app = Flask("bare")
    app.cli.add_command(cli)

    status, told = run(app, "regions")

    assert (status, "call cache.init_app(app)" in told) == (1, True)


def test_who_listens_hears_what_became_of_a_request(app: Flask) -> None:
    told: list[tuple[str, str]] = []

    def listen(sender: Flask, endpoint: str, outcome: Any) -> None:
        told.append((endpoint, str(outcome).partition("; ttl")[0]))

    client = app.test_client()
    with page_answered.connected_to(listen, app):
        client.get("/")
        client.get("/")
        client.head("/")
        client.get("/", headers={"Authorization": "x"})

    assert told == [
        ("index", "dogpile; fwd=uri-miss"),
        ("index", "dogpile; hit"),
        ("index", "dogpile; hit"),
        ("index", "dogpile; fwd=bypass; detail=authorization"),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["get", "key"],
        ["delete", "key"],
        ["delete", "key", "other"],
        ["invalidate", "--tag", "news"],
        ["invalidate", "--view", "index"],
        ["invalidate", "--tag", "news", "--soft"],
        ["invalidate", "--fragment", "nav"],
        ["clear", "--json"],
    ],
)
def test_a_server_that_does_not_answer_is_an_error(arguments: list[str]) -> None:
    pytest.importorskip("redis")
    app = Flask("site")
    # Nobody listens at a port that was never opened.
    app.config["DOGPILE_CACHE_URL"] = "redis://127.0.0.1:1"
    app.secret_key = "a secret of the tests, long enough"
    cache = DogpileCache(app)
    app.cli.add_command(cli)
    app.add_url_rule("/", "index", cache.cached(60)(lambda: "page"))

    status, told = run(app, *arguments)

    assert (status, "the region 'default' did not answer" in told) == (1, True)


def test_a_value_that_is_none_is_shown_and_no_error(
    app: Flask, cache: DogpileCache
) -> None:
    with app.app_context():
        cache["pages"].put("key", None)

    assert run(app, "get", "key", "--region", "pages") == (0, "None\n")


class TestJson:
    def said(self, app: Flask, *arguments: str) -> Any:
        status, told = run(app, *arguments, "--json")
        assert status == 0
        return json.loads(told)

    def test_regions(self, app: Flask) -> None:
        assert self.said(app, "regions") == [
            {
                "name": "default",
                "backend": "MemoryBackend",
                "expiration_time": 60,
                "is_default": True,
            },
            {
                "name": "pages",
                "backend": "SqliteBackend",
                "expiration_time": None,
                "is_default": False,
            },
        ]

    def test_a_value_with_its_age(self, app: Flask, cache: DogpileCache) -> None:
        with app.app_context():
            cache.put("key", {"a": (1, {2})})

        said = self.said(app, "get", "key")

        assert said.pop("age") >= 0
        assert said == {"key": "key", "value": {"a": [1, "{2}"]}}

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["delete", "a", "b"], {"deleted": ["a", "b"]}),
            (["clear"], {"cleared": "default"}),
            (["clear", "--region", "pages"], {"cleared": "pages"}),
            (
                ["invalidate", "--tag", "a", "--tag", "b", "--view", "index"],
                {"invalidated": {"tag": ["a", "b"], "view": ["index"]}, "soft": False},
            ),
            (
                ["invalidate", "--fragment", "nav", "--soft"],
                {"invalidated": {"fragment": ["nav"]}, "soft": True},
            ),
        ],
    )
    def test_what_was_done(self, app: Flask, arguments: list[str], said: Any) -> None:
        assert self.said(app, *arguments) == said


def test_fragments_are_invalidated(app: Flask) -> None:
    def shown(text: str) -> str:
        with app.app_context():
            source = "{% cache 'nav' %}{{ text }}{% endcache %}"
            return render_template_string(source, text=text)

    told = [shown("1"), shown("2")]
    done = run(app, "invalidate", "--fragment", "nav")

    assert [*told, done, shown("3")] == ["1", "1", (0, ""), "3"]


def test_a_misspelt_view_leaves_all_as_it_is(app: Flask, cache: DogpileCache) -> None:
    with app.app_context():
        cache.put("key", 1, tags=["news"])

    status, _ = run(app, "invalidate", "--tag", "news", "--view", "indx")

    with app.app_context():
        assert (status, cache.get("key")) == (1, 1)
