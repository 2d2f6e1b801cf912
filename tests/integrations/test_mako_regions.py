"""The regions that Mako's templates find in applications of Flask and Django."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("mako", reason="Mako is not installed")
pytest.importorskip("flask", reason="Flask is not installed")
pytest.importorskip("django", reason="Django is not installed")

import django_site  # noqa: F401 - it configures Django
import mako.template  # type: ignore[import-untyped]  # Mako has no types
from django.test import override_settings
from flask import Flask

import dogpile.cache
from dogpile.cache import ValidationError, make_region
from dogpile.cache.integrations.flask import DogpileCache

SECTION = (
    '<%def name="menu()" cached="True" cache_region="local">${app}</%def>${menu()}'
)


@pytest.fixture(autouse=True)
def _no_named_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(dogpile.cache.regions):
        monkeypatch.delitem(dogpile.cache.regions, name)


def template(source: str = SECTION, **settings: Any) -> Any:
    return mako.template.Template(source, cache_impl="dogpile.cache", **settings)


class TestFlask:
    @pytest.fixture
    def apps(self) -> list[Flask]:
        cache, apps = DogpileCache(), [Flask("a"), Flask("b")]
        for app in apps:
            app.config["DOGPILE_CACHE_REGIONS"] = {"local": {"backend": "memory"}}
            cache.init_app(app)
        return apps

    def rendered(self, page: Any, app: Flask) -> str:
        with app.app_context():
            return str(page.render(app=app.name))

    def test_a_region_is_the_one_of_the_current_application(
        self, apps: list[Flask]
    ) -> None:
        page = template()

        assert [self.rendered(page, app) for app in apps] == ["a", "b"]

    def test_so_is_the_only_one(self, apps: list[Flask]) -> None:
        make_region("dogpile.cache.memory", name="other")
        page = template(SECTION.replace('cache_region="local"', ""))

        assert [self.rendered(page, app) for app in apps] == ["a", "b"]

    def test_so_is_one_that_a_lookup_names(self, apps: list[Flask]) -> None:
        page = template(
            SECTION.replace('"local"', '"mine"'),
            cache_args={"regions": {"mine": "local"}},
        )

        assert [self.rendered(page, app) for app in apps] == ["a", "b"]

    def test_an_application_without_a_cache_has_those_of_the_process(self) -> None:
        region = make_region("dogpile.cache.memory", name="local")
        page = template()

        assert self.rendered(page, Flask("c")) == "c"
        assert page.render(app="nobody") == "c"
        region.invalidate()
        assert page.render(app="nobody") == "nobody"


class TestDjango:
    @pytest.fixture(autouse=True)
    def _settings(self) -> Iterator[None]:
        with override_settings(DOGPILE_CACHE_REGIONS={"local": {"backend": "memory"}}):
            yield

    def test_a_region_of_the_settings_needs_no_touch(self) -> None:
        page = template()

        assert [page.render(app=name) for name in "ab"] == ["a", "a"]

    def test_an_unknown_one_is_told_with_the_nearest(self) -> None:
        page = template(SECTION.replace('"local"', '"locale"'))

        with pytest.raises(ValidationError, match="did you mean 'local'"):
            page.render(app="a")

    def test_without_the_integration_among_the_applications_it_is_unknown(self) -> None:
        with (
            override_settings(INSTALLED_APPS=["django.contrib.contenttypes"]),
            pytest.raises(ValidationError, match="unknown"),
        ):
            template().render(app="a")


class TestSomebodyElses:
    """What is asked as 1.x asked a region, such as a wrapper around one."""

    class Asked:
        def __init__(self) -> None:
            self.region = make_region("dogpile.cache.memory")
            self.wishes: list[dict[str, Any]] = []

        def get_or_create(self, key: str, creator: Any, **wishes: Any) -> Any:
            self.wishes.append(wishes)
            return self.region.get_or_create(key, creator)

    def test_it_is_asked_for_the_text_and_its_lifetime(self) -> None:
        asked = self.Asked()
        timed = SECTION.replace('"local"', '"local" cache_timeout="20"')
        pages = [
            template(source, cache_args={"regions": {"local": asked}})
            for source in (SECTION, timed)
        ]

        texts = [page.render(app=app) for page in pages for app in ("first", "second")]

        assert texts == ["first"] * 4
        assert asked.wishes == [
            {},
            {},
            {"expiration_time": 20},
            {"expiration_time": 20},
        ]

    def test_tags_are_beyond_it(self) -> None:
        tagged = SECTION.replace('"local"', '"local" cache_tags="menus"')
        page = template(tagged, cache_args={"regions": {"local": self.Asked()}})

        with pytest.warns(
            UserWarning, match="cache_tags needs a CacheRegion, not a As"
        ):
            text = page.render(app="first")

        assert text == "first"

    @pytest.mark.parametrize("given", [5, object(), "no such region"])
    def test_what_cannot_be_asked_is_refused(self, given: Any) -> None:
        with pytest.raises(ValidationError):
            template(cache_args={"regions": {"local": given}}).render(app="first")
