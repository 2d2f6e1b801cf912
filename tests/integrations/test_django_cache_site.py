"""What Django builds on its cache: sessions, cached pages and parts of pages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("django")

import django_site
from crowd import Creator, result, start
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from django.views.decorators.cache import cache_page
from servers import Server

from dogpile.cache.testing import FakeClock

OURS = "dogpile.cache.integrations.django.DogpileCache"
SESSIONS = "django.contrib.sessions.backends"
MIDDLEWARE = [
    "django.middleware.cache.UpdateCacheMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
]

rendered: list[str] = []


def count(request: HttpRequest) -> HttpResponse:
    """Count the visits of a session."""
    visits = request.session.get("visits", 0) + 1
    request.session["visits"] = visits
    return HttpResponse(str(visits))


async def acount(request: HttpRequest) -> HttpResponse:
    """Count the visits of a session, in an event loop."""
    visits = await request.session.aget("visits", 0) + 1
    await request.session.aset("visits", visits)
    return HttpResponse(str(visits))


def leave(request: HttpRequest) -> HttpResponse:
    """Forget a session."""
    request.session.flush()
    return HttpResponse("left")


def page(request: HttpRequest) -> HttpResponse:
    """Show the time of day, or so."""
    rendered.append(request.path)
    return HttpResponse(f"page {len(rendered)}")


def large(request: HttpRequest) -> HttpResponse:
    """Show more than a memcached takes in one value."""
    rendered.append(request.path)
    return HttpResponse("x" * 2_000_000)


URLS = [
    path("count/", count),
    path("acount/", acount),
    path("leave/", leave),
    path("page/", page),
    path("large/", large),
    path("decorated/", cache_page(60)(page)),
]


@pytest.fixture(autouse=True)
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeClock]:
    clock = FakeClock()
    rendered.clear()
    monkeypatch.setattr(django_site, "urlpatterns", URLS)
    options = {"backend": "dogpile.cache.memory", "clock": clock}
    with override_settings(
        # Resolvers are kept by the name of their module.
        ROOT_URLCONF=tuple(URLS),
        CACHES={"default": {"BACKEND": OURS, "OPTIONS": options}},
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
        SESSION_ENGINE=f"{SESSIONS}.cache",
    ):
        yield clock


def get(place: str, client: Any = None) -> str:
    response = (client or Client()).get(place)
    assert response.status_code == 200
    return str(response.content.decode())


class TestSessions:
    @pytest.mark.parametrize("engine", ["cache", "cached_db"])
    def test_a_session_is_kept(self, engine: str) -> None:
        with override_settings(SESSION_ENGINE=f"{SESSIONS}.{engine}"):
            client, other = Client(), Client()

            assert [get("/count/", client) for _ in range(3)] == ["1", "2", "3"]
            assert get("/count/", other) == "1"
            get("/leave/", client)
            assert get("/count/", client) == "1"

    def test_a_session_is_kept_in_an_event_loop(self) -> None:
        async def visit() -> list[bytes]:
            client = AsyncClient()
            return [(await client.get("/acount/")).content for _ in range(3)]

        assert asyncio.run(visit()) == [b"1", b"2", b"3"]

    def test_one_in_the_cache_alone_ends_with_its_value(self, site: FakeClock) -> None:
        client = Client()
        get("/count/", client)

        with override_settings(SESSION_COOKIE_AGE=100):
            get("/count/", client)
            site.advance(101)

            assert get("/count/", client) == "1"

    def test_one_in_the_database_outlives_the_cache(self) -> None:
        with override_settings(SESSION_ENGINE=f"{SESSIONS}.cached_db"):
            client = Client()
            get("/count/", client)
            caches["default"].clear()

            assert get("/count/", client) == "2"
            Session.objects.all().delete()


class TestPages:
    def test_cache_page_keeps_a_page(self, site: FakeClock) -> None:
        assert [get("/decorated/") for _ in range(3)] == ["page 1"] * 3
        assert get("/decorated/?a=1") == "page 2"
        site.advance(61)
        assert get("/decorated/") == "page 3"

    def test_the_middleware_keeps_the_pages_of_a_site(self, site: FakeClock) -> None:
        with override_settings(MIDDLEWARE=MIDDLEWARE, CACHE_MIDDLEWARE_SECONDS=30):
            assert [get("/page/") for _ in range(3)] == ["page 1"] * 3
            site.advance(31)
            assert get("/page/") == "page 2"

    def test_the_middleware_keeps_each_sessions_pages_apart(self) -> None:
        with override_settings(MIDDLEWARE=MIDDLEWARE):
            client, other = Client(), Client()

            assert get("/count/", client) == "1"
            assert get("/count/", other) == "1"

    def test_clear_empties_them(self) -> None:
        get("/decorated/")
        caches["default"].clear()

        assert get("/decorated/") == "page 2"

    @pytest.mark.server
    def test_a_page_that_is_too_large_is_shown(self, memcached_server: Server) -> None:
        options = {
            "backend": "dogpile.cache.pymemcache",
            "arguments": {"url": f"127.0.0.1:{memcached_server.port}"},
        }
        with override_settings(
            MIDDLEWARE=MIDDLEWARE,
            CACHES={"default": {"BACKEND": OURS, "OPTIONS": options}},
        ):
            sizes = [len(get("/large/")) for _ in range(2)]

        assert sizes == [2_000_000] * 2
        assert len(rendered) == 2


class TestTemplates:
    def test_a_part_of_a_page_is_kept(self, site: FakeClock) -> None:
        engine = Engine(libraries={"cache": "django.templatetags.cache"})
        template = engine.from_string(
            "{% load cache %}{% cache 60 part user %}{{ number }}{% endcache %}"
        )

        def render(number: int, user: str = "a") -> str:
            return str(template.render(Context({"number": number, "user": user})))

        assert [render(1), render(2), render(3, "b")] == ["1", "1", "3"]
        site.advance(61)
        assert render(4) == "4"


def test_a_crowd_at_a_cold_value_asks_once() -> None:
    creator = Creator("value")
    # As each request does: with a handle of its thread's own.
    asking = [
        start(lambda: caches["default"].get_or_set("key", creator.plain))
        for _ in range(50)
    ]
    creator.await_call()
    creator.finish()

    assert [result(each) for each in asking] == ["value"] * 50
    assert creator.calls == 1
