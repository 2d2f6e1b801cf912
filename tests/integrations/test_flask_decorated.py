"""What the decorators of Flask are given: of any kind that says what is meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("flask")

from flask import Flask

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
