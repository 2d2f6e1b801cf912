"""What the decorators of Flask are given: of any kind that says what is meant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

pytest.importorskip("flask")

from flask import Flask

from dogpile.cache import BackendError, ValidationError
from dogpile.cache.integrations.flask import DogpileCache

MEMORY = {"backend": "memory"}


@pytest.fixture
def cache() -> DogpileCache:
    return DogpileCache()


@pytest.fixture
def app(cache: DogpileCache) -> Flask:
    app = Flask("site")
    cache.init_app(app)
    return app


class TestKeys:
    def test_views_with_one_key_have_their_own_pages(
        self, cache: DogpileCache, app: Flask
    ) -> None:
        for name in ("rooms", "people"):
            view = cache.cached(60, key=lambda: "en")(lambda name=name: name)
            app.add_url_rule(f"/{name}", name, view)
        client = app.test_client()

        told = [client.get(f"/{name}").text for name in ("rooms", "people") * 2]

        assert told == ["rooms", "people", "rooms", "people"]

    @pytest.mark.parametrize(
        "key", [UUID(int=7), Decimal("1.50"), date(2026, 5, 4), ("en", 5), 0, b"x"]
    )
    def test_whatever_has_a_text_may_be_a_key(
        self, cache: DogpileCache, app: Flask, key: Any
    ) -> None:
        made: list[int] = []
        app.add_url_rule(
            "/", "page", cache.cached(60, key=lambda: key)(lambda: str(made.append(1)))
        )

        assert {app.test_client().get("/").status_code for _ in range(2)} == {200}
        assert made == [1]

    @pytest.mark.parametrize("key", [None, "", object(), [object()]])
    def test_what_has_none_is_refused(
        self, cache: DogpileCache, app: Flask, key: Any
    ) -> None:
        app.testing = True
        app.add_url_rule("/", "page", cache.cached(60, key=lambda: key)(lambda: ""))

        with pytest.raises(ValidationError, match="key takes a text, or a function"):
            app.test_client().get("/")


class TestMemoize:
    @pytest.mark.parametrize(
        "tags", [lambda: (tag for tag in ["a", "b"]), lambda: map(str, ["a", "b"])]
    )
    def test_tags_may_be_read_but_once(
        self, cache: DogpileCache, app: Flask, tags: Callable[[], Any]
    ) -> None:
        made: list[int] = []

        @cache.memoize(60, tags=tags())
        def count() -> int:
            made.append(1)
            return len(made)

        with app.app_context():
            assert count() == 1
            cache.invalidate_tags("b")
            assert count() == 2

    def test_and_so_may_ignored_names(self, cache: DogpileCache, app: Flask) -> None:
        @cache.memoize(60, ignore=(name for name in ["asked_by"]))
        def price(article: int, asked_by: str) -> str:
            return f"{article} for {asked_by}"

        with app.app_context():
            assert price(1, "ann") == "1 for ann"
            assert price(1, "bob") == "1 for ann"

    def test_it_may_stand_above_other_decorators_of_methods(
        self, cache: DogpileCache, app: Flask
    ) -> None:
        made: list[str] = []

        class Shop:
            @cache.memoize(60)
            @classmethod
            def name(cls) -> str:
                made.append("name")
                return cls.__name__

            @cache.memoize(60)
            @staticmethod
            def double(number: int) -> int:
                made.append("double")
                return 2 * number

        with app.app_context():
            told = [(Shop().name(), Shop.name(), Shop.double(2), Shop().double(2))] * 2

        assert told == [("Shop", "Shop", 4, 4)] * 2
        assert made == ["name", "double"]


class TestCacheStatus:
    """What of a page that was made is told to be kept."""

    @pytest.mark.parametrize(
        ("region", "seconds", "options", "told"),
        [
            (MEMORY, 60, {}, "ttl=60; stored"),
            (MEMORY, 0, {}, "detail=max-age"),
            (MEMORY, 0, {"grace": 60}, "ttl=0; stored"),
            (
                {**MEMORY, "should_cache_fn": lambda page: False},
                60,
                {},
                "detail=filter",
            ),
            (MEMORY, 60, {"should_cache_fn": lambda page: False}, "detail=filter"),
            ({**MEMORY, "arguments": {"max_bytes": 900}}, 60, {}, "detail=refused"),
            (
                {"backend": "memory_pickle", "arguments": {"max_bytes": 900}},
                60,
                {},
                "detail=refused",
            ),
            ({**MEMORY, "arguments": {"max_bytes": 90_000}}, 60, {}, "ttl=60; stored"),
            (
                {"backend": "memory_pickle", "arguments": {"max_bytes": 90_000}},
                60,
                {},
                "ttl=60; stored",
            ),
        ],
    )
    def test_it_tells_what_became_of_a_page(
        self,
        cache: DogpileCache,
        region: Any,
        seconds: int,
        options: dict[str, Any],
        told: str,
    ) -> None:
        app = Flask("site")
        app.config["DOGPILE_CACHE_REGIONS"] = {"default": region}
        cache.init_app(app)
        view = cache.cached(seconds, **options)(lambda: "x" * 5000)
        app.add_url_rule("/", "page", view)

        response = app.test_client().get("/")

        assert response.headers["Cache-Status"] == f"dogpile; fwd=uri-miss; {told}"


def test_a_region_that_is_down_spares_no_other(cache: DogpileCache) -> None:
    pytest.importorskip("redis")
    dead = {
        "backend": "redis",
        "on_backend_error": "raise",
        "arguments": {"host": "127.0.0.1", "port": 9},
    }
    app = Flask("site")
    app.config["DOGPILE_CACHE_REGIONS"] = {"dead": dead, "default": MEMORY}
    cache.init_app(app)
    made: list[int] = []

    @cache.memoize(60, tags="t")
    def count() -> int:
        made.append(1)
        return len(made)

    with app.app_context():
        assert count() == 1
        with pytest.raises(BackendError, match="invalidate"):
            cache.invalidate_tags("t")
        assert count() == 2
