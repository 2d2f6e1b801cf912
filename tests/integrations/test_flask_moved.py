"""What was legal before an application moved here, and still is."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("flask")

from flask import Flask, render_template_string
from jinja2 import DictLoader, TemplateRuntimeError

from dogpile.cache import ValidationError
from dogpile.cache.integrations.flask import DogpileCache
from dogpile.cache.integrations.flask.compat import Cache
from dogpile.cache.integrations.flask.compat_store import seconds


def test_timeouts_may_be_decimal_numbers() -> None:
    assert seconds(Decimal("1.5"), None) == 1.5
    assert seconds(None, Decimal(300)) == 300
    assert seconds(Decimal(0), 300) is None


class TestPrefixes:
    """``CACHE_KEY_PREFIX`` as a function, called for each operation."""

    def cache(self, app: Flask, prefix: Any) -> Cache:
        app.config.update(CACHE_TYPE="SimpleCache", CACHE_KEY_PREFIX=prefix)
        return Cache(app)

    def test_each_one_has_its_own_values(self) -> None:
        app = Flask("old")
        tenants = ["ann"]
        cache = self.cache(app, lambda: tenants[-1])
        made: list[int] = []

        @cache.memoize(60)
        def count() -> int:
            made.append(1)
            return len(made)

        with app.app_context():
            cache.set("key", "of ann")
            assert count() == 1
            tenants.append("bob")
            assert (cache.get("key"), count()) == (None, 2)
            cache.clear()
            assert count() == 3
            tenants.append("ann")
            assert (cache.get("key"), count()) == ("of ann", 1)

    def test_many_of_them_fill_no_memory(self) -> None:
        app = Flask("old")
        numbers = iter(range(3000))
        cache = self.cache(app, lambda: f"tenant{next(numbers)}")

        with app.app_context():
            for _ in range(2500):
                cache.get("key")

            assert len(cache.cache._by_prefix) <= 1000

    def test_what_it_returns_is_checked(self) -> None:
        app = Flask("old")
        cache = self.cache(app, lambda: 5)

        message = "CACHE_KEY_PREFIX takes a text"
        with app.app_context(), pytest.raises(ValidationError, match=message):
            cache.get("key")


class TestNames:
    """Variables that are called as Jinja calls a template's blocks."""

    @pytest.fixture
    def app(self) -> Flask:
        app = Flask("site")
        DogpileCache(app)
        app.jinja_options = {
            **app.jinja_options,
            "loader": DictLoader(
                {
                    "base": "{% block t %}{% endblock %}{% cache 'a' %}"
                    "{{ self.t() }}{% endcache %}{% macro m(self) %}{% endmacro %}",
                    "page": "{% extends 'base' %}{% block t %}{% cache 'a' %}"
                    "{{ super() }}{% endcache %}{% endblock %}"
                    "{% macro m(super) %}{% endmacro %}",
                }
            ),
        }
        return app

    @pytest.mark.parametrize("name", ["self", "super"])
    @pytest.mark.parametrize(
        "source",
        [
            "{% cache 'a' %}{% for N in [1, 2] %}{{ N }}{% endfor %}{% endcache %}",
            "{% for N in [12] %}{% cache 'a' %}{{ N }}{% endcache %}{% endfor %}",
            "{%macro m(N)%}{%cache 'a'%}{{ N }}{%endcache%}{%endmacro%}{{ m(12) }}",
            "{%- set N = 12 %}{% cache 'a', vary=[N] %}{{ N }}{% endcache %}",
            "{%set N = 12%}{%cache 1%}{%cache 2%}{{ N }}{%endcache%}{%endcache%}",
        ],
    )
    def test_they_may_be(self, app: Flask, source: str, name: str) -> None:
        with app.app_context():
            told = render_template_string(source.replace("N", name))

        assert told == "12"

    @pytest.mark.parametrize("page", ["base", "page"])
    def test_the_blocks_themselves_may_not(self, app: Flask, page: str) -> None:
        with app.test_request_context():
            template = app.jinja_env.get_template(page)
            with pytest.raises(TemplateRuntimeError, match=r"within {% cache %}: what"):
                template.render()
