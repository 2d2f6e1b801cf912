"""Programs that were written for Flask-Caching."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flask")

from flask import Flask, Response, abort, render_template_string, request

from dogpile.cache import ConfigurationError
from dogpile.cache.integrations.flask import compat, compat_store


@pytest.fixture
def app() -> Flask:
    app = Flask("old")
    app.config["CACHE_TYPE"] = "SimpleCache"
    return app


@pytest.fixture
def cache(app: Flask) -> compat.Cache:
    return compat.Cache(app)


class Calls:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        return str(self.count)


@pytest.fixture
def called() -> Calls:
    return Calls()


class TestViews:
    def test_a_view_is_called_once(
        self, app: Flask, cache: compat.Cache, called: Calls
    ) -> None:
        app.add_url_rule("/", "index", cache.cached(50)(called))
        client = app.test_client()

        assert [client.get("/?a=1").text, client.get("/").text] == ["1", "1"]

    def test_a_query_counts_if_it_is_said_so(
        self, app: Flask, cache: compat.Cache, called: Calls
    ) -> None:
        view = cache.cached(50, query_string=True)(lambda: str(called()))
        app.add_url_rule("/", "index", view)
        client = app.test_client()

        told = [client.get(each).text for each in ("/?a=1&b=2", "/?b=2&a=1", "/?a=2")]

        assert told == ["1", "1", "2"]
        with app.test_request_context("/"):
            assert cache.delete_cached(view, query_args={"a": "1", "b": "2"})
        assert client.get("/?a=1&b=2").text == "3"

    def test_a_crowd_calls_it_once(
        self, app: Flask, cache: compat.Cache, called: Calls
    ) -> None:
        started, go = threading.Event(), threading.Event()

        @app.get("/")
        @cache.cached(50)
        def index() -> str:
            started.set()
            assert go.wait(10)
            return called()

        told: list[str] = []
        threads = [
            threading.Thread(
                target=lambda: told.append(app.test_client().get("/").text)
            )
            for _ in range(5)
        ]
        threads[0].start()
        assert started.wait(10)
        for thread in threads[1:]:
            thread.start()
        go.set()
        for thread in threads:
            thread.join(10)

        assert told == ["1"] * 5

    @pytest.mark.parametrize(
        "headers",
        [
            {"Set-Cookie": "token=secret"},
            {"Cache-Control": "private"},
            {"Cache-Control": "no-store"},
        ],
    )
    def test_what_is_one_clients_is_not_kept(
        self, app: Flask, cache: compat.Cache, called: Calls, headers: dict[str, str]
    ) -> None:
        @app.get("/")
        @cache.cached(50)
        def index() -> Response:
            return Response(called(), headers=headers)

        client = app.test_client()

        assert [client.get("/").text, client.get("/").text] == ["1", "2"]

    def test_a_refusal_is_raised_again(
        self, app: Flask, cache: compat.Cache, called: Calls
    ) -> None:
        @app.get("/")
        @cache.cached(50)
        def index() -> str:
            called()
            abort(404)

        client = app.test_client()

        assert [client.get("/").status_code for _ in range(2)] == [404, 404]
        assert called.count == 1

    def test_unless_forced_update_and_is_stale_are_asked(
        self, app: Flask, cache: compat.Cache, called: Calls
    ) -> None:
        asked: dict[str, bool] = {}

        @app.get("/")
        @cache.cached(
            50,
            unless=lambda: asked.get("unless", False),
            forced_update=lambda: asked.get("forced", False),
            is_stale=lambda value: asked.get("stale", False),
        )
        def index() -> str:
            return called()

        client = app.test_client()
        told = []
        for each in ("", "unless", "", "forced", "", "stale", ""):
            asked.clear()
            asked[each] = True
            told.append(client.get("/").text)

        assert told == ["1", "2", "1", "3", "3", "4", "4"]


class TestFunctions:
    def test_deletions_meet_what_they_name(
        self, app: Flask, cache: compat.Cache, called: Calls
    ) -> None:
        class Adder:
            def __init__(self, name: str) -> None:
                self.name = name

            def __repr__(self) -> str:
                return self.name

            @cache.memoize(50)
            def add(self, number: int) -> str:
                return called()

        one, two = Adder("one"), Adder("two")
        with app.app_context():
            assert [one.add(1), one.add(2), two.add(1)] == ["1", "2", "3"]
            cache.delete_memoized(one.add, 1)
            assert [one.add(1), one.add(2), two.add(1)] == ["4", "2", "3"]
            cache.delete_memoized(one.add)
            assert [one.add(1), one.add(2), two.add(1)] == ["5", "6", "3"]
            cache.delete_memoized(Adder.add)
            assert two.add(1) == "7"

    def test_operations_have_their_old_names(
        self, app: Flask, cache: compat.Cache
    ) -> None:
        with app.app_context():
            assert cache.set("a", 1)
            assert cache.add("a", 2) is False
            assert cache.add("b", 2, timeout=timedelta(seconds=5)) is True
            assert cache.get_many("a", "b", "c") == [1, 2, None]
            assert cache.get_dict("a") == {"a": 1}
            assert cache.set_many({"c": 3}) == ["c"]
            assert (cache.has("c"), cache.delete("c"), cache.delete("c")) == (
                True,
                True,
                False,
            )
            assert cache.delete_many("a", "c") == ["a"]
            assert cache.clear()
            assert cache.get("b") is None

    def test_signals_are_sent(self, app: Flask, called: Calls) -> None:
        app.config["CACHE_ENABLE_SIGNALS"] = True
        cache = compat.Cache(app)
        sent: list[str] = []

        def hit(sender: Any, **told: Any) -> None:
            sent.append("hit")

        def miss(sender: Any, **told: Any) -> None:
            sent.append("miss")

        @cache.memoize(50)
        def count() -> str:
            return called()

        with (
            app.app_context(),
            compat.cache_memoize_hit.connected_to(hit),
            compat.cache_memoize_miss.connected_to(miss),
        ):
            count()
            count()

        assert sent == ["miss", "hit"]


class TestTemplates:
    def test_a_fragment_is_kept_and_deleted(
        self, app: Flask, cache: compat.Cache, called: Calls
    ) -> None:
        source = "{% cache timeout, 'name', 'x' %}{{ n() }}{% endcache %}"

        with app.app_context():
            told = [
                render_template_string(source, n=called, timeout=each)
                for each in (50, 50, "del", 50)
            ]

        assert told == ["1", "1", "2", "3"]


class TestSettings:
    @pytest.mark.parametrize(
        ("config", "kind", "backend"),
        [
            ({"CACHE_TYPE": "NullCache"}, "NullCache", "NullBackend"),
            ({}, "NullCache", "NullBackend"),
            ({"CACHE_TYPE": "simple"}, "SimpleCache", "MemoryPickleBackend"),
            (
                {"CACHE_TYPE": "flask_caching.backends.SimpleCache"},
                "SimpleCache",
                "MemoryPickleBackend",
            ),
            ({"CACHE_TYPE": "FileSystemCache"}, "FileSystemCache", "SqliteBackend"),
        ],
    )
    def test_types_are_backends(
        self, tmp_path: Path, config: dict[str, Any], kind: str, backend: str
    ) -> None:
        app = Flask("old")
        app.config.update(config, CACHE_DIR=str(tmp_path))
        store = compat.Cache(app).cache

        assert type(store) is getattr(compat_store, kind)
        assert type(store.region.actual_backend).__name__ == backend
        store.region.close()

    @pytest.mark.parametrize(
        ("config", "url"),
        [
            ({}, "redis://localhost:6379/0"),
            (
                {"CACHE_REDIS_HOST": "h", "CACHE_REDIS_PORT": 1, "CACHE_REDIS_DB": 2},
                "redis://h:1/2",
            ),
            ({"CACHE_REDIS_PASSWORD": "a/b"}, "redis://:a%2Fb@localhost:6379/0"),
            ({"CACHE_REDIS_URL": "redis://h/3", "CACHE_REDIS_DB": 4}, "redis://h/3"),
            ({"CACHE_REDIS_URL": "redis://h", "CACHE_REDIS_DB": 4}, "redis://h/4"),
        ],
    )
    def test_redis_is_found(self, config: dict[str, Any], url: str) -> None:
        assert compat_store._redis(config) == {"url": url}

    def test_an_unknown_type_is_refused(self, app: Flask) -> None:
        app.config["CACHE_TYPE"] = "UWSGICache"

        with pytest.raises(ConfigurationError, match="'UWSGICache' has no equal"):
            compat.Cache(app)

    def test_applications_have_their_own_settings(self, called: Calls) -> None:
        cache = compat.Cache()
        apps = [Flask("one"), Flask("two")]
        for app, prefix in zip(apps, ("a", "b"), strict=True):
            app.config.update(CACHE_TYPE="SimpleCache", CACHE_KEY_PREFIX=prefix)
            cache.init_app(app)

        with apps[0].app_context():
            cache.set("key", 1)
            assert cache.cache.key_prefix == "a"

        assert cache.cache.key_prefix == "b"  # the latest, where none is current
        assert cache.get("key") is None

    def test_without_an_application_it_says_so(self) -> None:
        with pytest.raises(ConfigurationError, match="outside of an application"):
            compat.Cache().get("key")


def test_the_request_is_there_in_views(app: Flask, cache: compat.Cache) -> None:
    app.add_url_rule("/<name>", "index", cache.cached(50)(lambda name: request.path))

    assert [app.test_client().get(each).text for each in ("/a", "/b")] == ["/a", "/b"]
