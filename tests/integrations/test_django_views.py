"""Cached views in Django: one rendering, HTTP, and what is nobody else's."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django")

import django_site  # noqa: F401 - it configures Django
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import NoReverseMatch, include, path, resolve
from django.utils import translation
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.csrf import csrf_exempt

from dogpile.cache import ConfigurationError, ValidationError
from dogpile.cache.integrations.django import (
    cache_page,
    cached_view,
    invalidate_view,
    regions,
)
from dogpile.cache.testing import FakeClock

KINDS = ["memory", "sqlite"]


class Site:
    """A project whose pages say how often they were rendered."""

    def __init__(self, folder: Path, kind: str, **settings: Any) -> None:
        self.clock = FakeClock()
        region: dict[str, Any] = {
            "backend": kind,
            "clock": self.clock,
            "expiration_time": 60,
        }
        if kind == "sqlite":
            region["arguments"] = {"filename": str(folder / "cache.db")}
            region["generation_ttl"] = 0
        self.urlpatterns: list[Any] = []
        self.calls = 0
        self.settings = override_settings(
            ROOT_URLCONF=self,
            DOGPILE_CACHE_REGIONS={"default": region},
            **settings,
        )

    def __hash__(self) -> int:
        return id(self)

    def called(self) -> str:
        self.calls += 1
        return str(self.calls)

    def add(self, view: Any, route: str = "", name: str | None = None) -> None:
        self.urlpatterns.append(path(route, view, name=name))

    @property
    def client(self) -> Client:
        return Client(raise_request_exception=False)

    def get(self, address: str = "/", **how: Any) -> Any:
        return self.client.get(address, **how)

    def text(self, address: str = "/", **how: Any) -> str:
        return str(self.get(address, **how).content.decode())

    def settle(self) -> None:
        """Wait for what is refreshed in the background."""
        for region in regions.values():
            assert region.storage.pending.wait(10)


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, request.param)
    with made.settings:
        yield made
        made.settle()


def page(site: Site, route: str = "", name: str | None = None, **options: Any) -> None:
    """Give a site a page that says how often it was rendered."""

    def view(request: Any, **view_args: Any) -> HttpResponse:
        return HttpResponse(site.called())

    site.add(cached_view(**options)(view), route, name)


def status_of(answer: Any) -> str:
    return str(answer.headers["Cache-Status"])


class TestPages:
    def test_a_page_is_rendered_once(self, site: Site) -> None:
        page(site)

        assert [site.text(), site.text()] == ["1", "1"]

    def test_a_page_expires(self, site: Site) -> None:
        page(site, expiration_time=10)
        site.get()

        site.clock.advance(11)

        assert site.text() == "2"

    def test_the_decorator_needs_no_parentheses(self, site: Site) -> None:
        @cached_view
        def index(request: Any) -> HttpResponse:
            return HttpResponse(site.called())

        site.add(index)

        assert [site.text(), site.text()] == ["1", "1"]

    def test_class_based_views_are_cached(self, site: Site) -> None:
        class Item(View):
            def get(self, request: Any, name: str) -> HttpResponse:
                return HttpResponse(name + site.called())

            def post(self, request: Any, name: str) -> HttpResponse:
                return HttpResponse("posted" + site.called())

        site.add(cached_view(60)(Item.as_view()), "<name>")

        assert [site.text("/a"), site.text("/a"), site.text("/b")] == ["a1", "a1", "b2"]
        assert site.client.post("/a").content == b"posted3"
        assert site.text("/a") == "a1"

    @pytest.mark.parametrize("name", ["get", "dispatch"])
    def test_methods_of_classes_are_cached(self, site: Site, name: str) -> None:
        @method_decorator(cached_view(60), name=name)
        class Item(View):
            def get(self, request: Any) -> HttpResponse:
                return HttpResponse(site.called())

        site.add(Item.as_view())

        assert [site.text(), site.text()] == ["1", "1"]

    def test_two_views_of_one_address_are_two_pages(self, site: Site) -> None:
        @cached_view(60)
        def inner(request: Any) -> HttpResponse:
            return HttpResponse("inner" + site.called())

        @cached_view(60)
        def outer(request: Any) -> HttpResponse:
            return HttpResponse(b"outer" + inner(request).content)

        site.add(outer)

        assert [site.text(), site.text()] == ["outerinner1", "outerinner1"]

    def test_a_template_response_is_kept_as_it_was_rendered(self, site: Site) -> None:
        template = engines["django"].from_string("{{ calls }}")
        rendered: list[Any] = []

        @cached_view(60)
        def index(request: Any) -> TemplateResponse:
            answer = TemplateResponse(request, template, {"calls": site.called()})
            answer.add_post_render_callback(rendered.append)
            return answer

        site.add(index)

        assert [site.text(), site.text()] == ["1", "1"]
        assert len(rendered) == 1

    @pytest.mark.parametrize("names", [("about", "contact"), (None, None)])
    def test_views_of_one_class_may_have_one_key(self, site: Site, names: Any) -> None:
        class Told(View):
            text = ""

            def get(self, request: Any) -> HttpResponse:
                return HttpResponse(self.text + site.called())

        for text, name in zip(("about", "contact"), names, strict=True):
            site.add(cached_view(60, key="own")(Told.as_view(text=text)), text, name)

        texts = [site.text(f"/{text}") for text in ("about", "contact") * 2]

        assert texts == ["about1", "contact2"] * 2

    def test_two_addresses_of_one_route_may_have_one_key(self, site: Site) -> None:
        @cached_view(60, key="own")
        def index(request: Any, number: int = 1) -> HttpResponse:
            return HttpResponse(site.called())

        for route in ("", "pages/<int:number>"):
            site.add(index, route, "pages")

        texts = [site.text(address) for address in ("/", "/pages/1", "/pages/2")]

        assert texts == ["1"] * 3

    def test_a_key_of_ones_own_stands_for_path_and_query(self, site: Site) -> None:
        page(site, "<name>", key=lambda request: request.path[1])

        assert [site.text("/ab?x=1"), site.text("/ac"), site.text("/b")] == [
            *("1", "1", "2")
        ]

    def test_a_view_may_leave_a_request_uncached(self, site: Site) -> None:
        page(site, unless=lambda request: "live" in request.GET)
        site.get()

        answer = site.get("/?live")

        assert (answer.content, status_of(answer)) == (
            b"2",
            "dogpile; fwd=bypass; detail=unless",
        )

    def test_a_filter_says_what_may_be_kept(self, site: Site) -> None:
        page(site, response_filter=lambda response: response.content != b"1")

        assert [site.text(), site.text(), site.text()] == ["1", "2", "3"]

    def test_languages_and_time_zones_have_their_pages(self, site: Site) -> None:
        page(site)
        with translation.override("de"):
            german = site.text()

        with translation.override("fr"):
            french = site.text()

        assert (german, french) == ("1", "2")

    def test_marks_of_the_view_stay(self, site: Site) -> None:
        @cached_view(60)
        @csrf_exempt
        def index(request: Any) -> HttpResponse:
            return HttpResponse()

        assert index.csrf_exempt  # type: ignore[attr-defined]  # Django's own mark


class TestAsync:
    def ask(self, address: str = "/", times: int = 1) -> list[str]:
        async def asked() -> list[str]:
            client = AsyncClient()
            return [(await client.get(address)).content.decode() for _ in range(times)]

        return asyncio.run(asked())

    def test_a_coroutine_function_is_cached(self, site: Site) -> None:
        @cached_view(60)
        async def index(request: Any) -> HttpResponse:
            return HttpResponse(site.called())

        site.add(index)

        assert self.ask(times=2) == ["1", "1"]
        assert site.text() == "1"  # under WSGI, too

    @pytest.mark.parametrize("how", ["as_view", "get", "dispatch"])
    def test_asynchronous_classes_are_cached(self, site: Site, how: str) -> None:
        class Item(View):
            async def get(self, request: Any) -> HttpResponse:
                return HttpResponse(site.called())

        decorator = cached_view(60)
        if how != "as_view":
            method_decorator(decorator, name=how)(Item)
        view = Item.as_view()
        site.add(decorator(view) if how == "as_view" else view)

        assert self.ask(times=2) == ["1", "1"]

    @pytest.mark.parametrize("how", ["as_view", "get", "dispatch"])
    def test_asynchronous_classes_are_cached_under_wsgi(
        self, site: Site, how: str
    ) -> None:
        class Item(View):
            async def get(self, request: Any) -> HttpResponse:
                return HttpResponse(site.called())

        decorator = cached_view(60)
        if how != "as_view":
            method_decorator(decorator, name=how)(Item)
        view = Item.as_view()
        site.add(decorator(view) if how == "as_view" else view)

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert [site.text(), site.text()] == ["1", "1"]

    def test_a_template_response_is_rendered(self, site: Site) -> None:
        template = engines["django"].from_string("{{ calls }}")

        @cached_view(60)
        async def index(request: Any) -> TemplateResponse:
            return TemplateResponse(request, template, {"calls": site.called()})

        site.add(index)

        assert self.ask(times=2) == ["1", "1"]

    def test_what_an_asynchronous_user_says_is_for_its_client(self, site: Site) -> None:
        @cached_view(60)
        async def index(request: Any) -> HttpResponse:
            user = await request.auser()
            return HttpResponse(f"{user} {site.called()}")

        site.add(index)

        with override_settings(MIDDLEWARE=WITH_USERS):
            answers = self.ask(times=2)

        assert answers == ["AnonymousUser 1", "AnonymousUser 2"]

    def test_a_stale_page_is_served_while_a_new_one_is_made(self, site: Site) -> None:
        @cached_view(10, grace=100)
        async def index(request: Any) -> HttpResponse:
            return HttpResponse(site.called())

        site.add(index)

        async def asked() -> list[bytes]:
            client = AsyncClient()
            found = [(await client.get("/")).content]
            site.clock.advance(11)
            found.append((await client.get("/")).content)
            await regions["default"].aclose()
            found.append((await client.get("/")).content)
            return found

        assert asyncio.run(asked()) == [b"1", b"1", b"2"]

    def test_a_background_outlives_a_loop_under_wsgi(self, site: Site) -> None:
        go = threading.Event()

        @cached_view(10, grace=100)
        async def index(request: Any) -> HttpResponse:
            if site.calls:
                assert go.wait(30)
            return HttpResponse(site.called())

        site.add(index)
        site.get()
        site.clock.advance(11)

        stale = site.text()

        go.set()
        site.settle()
        assert (stale, site.text()) == ("1", "2")

    def test_a_crowd_renders_once(self, site: Site) -> None:
        begun = threading.Event()

        @cached_view(60)
        async def index(request: Any) -> HttpResponse:
            begun.set()
            await asyncio.sleep(0)
            return HttpResponse(site.called())

        site.add(index)

        async def asked() -> set[bytes]:
            client = AsyncClient()
            answers = await asyncio.gather(*(client.get("/") for _ in range(20)))
            return {each.content for each in answers}

        assert asyncio.run(asked()) == {b"1"}


class TestCrowds:
    def test_a_crowd_renders_once(self, site: Site) -> None:
        barrier = threading.Barrier(11, timeout=30)
        go = threading.Event()

        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            assert go.wait(30)
            return HttpResponse(site.called())

        site.add(index)
        answers = Answers(site, 10, barrier)
        barrier.wait()
        go.set()

        assert {each.content for each in answers.all()} == {b"1"}

    def test_nobody_gets_what_was_made_for_another(self, site: Site) -> None:
        barrier = threading.Barrier(6, timeout=30)

        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            answer = HttpResponse(site.called())
            answer.set_cookie("id", "secret" + answer.content.decode())
            return answer

        site.add(index)
        answers = Answers(site, 5, barrier)
        barrier.wait()

        assert len({each.content for each in answers.all()}) == 5

    def test_a_refusal_is_for_one_client(self, site: Site) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            if site.called() == "1":
                raise Http404
            return HttpResponse(str(site.calls))

        site.add(index)

        assert [site.get().status_code, site.text()] == [404, "2"]


class Answers:
    """What clients of their own get who ask at once."""

    def __init__(self, site: Site, clients: int, barrier: threading.Barrier) -> None:
        self._site = site
        self._barrier = barrier
        self._answers: list[Any] = []
        self._threads = [
            threading.Thread(target=self._work, daemon=True) for _ in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        self._barrier.wait()
        self._answers.append(self._site.get())

    def all(self) -> list[Any]:
        for thread in self._threads:
            thread.join(30)
        assert len(self._answers) == len(self._threads)
        return self._answers


class TestGrace:
    def test_a_stale_page_is_served_while_a_new_one_is_made(self, site: Site) -> None:
        page(site, expiration_time=10, grace=100)
        site.get()
        site.clock.advance(15)

        answer = site.get()

        assert (answer.content, answer.headers["Age"]) == (b"1", "15")
        assert status_of(answer) == "dogpile; hit; ttl=-5"
        site.settle()
        assert site.text() == "2"

    def test_a_stale_page_is_served_while_the_view_fails(self, site: Site) -> None:
        failing: list[bool] = []

        @cached_view(10, grace=100, retry_after=0)
        def index(request: Any) -> HttpResponse:
            if failing:
                raise ValueError("the database is gone")
            return HttpResponse(site.called())

        site.add(index)
        site.get()
        failing.append(True)
        site.clock.advance(11)

        answers = []
        for _ in range(2):
            answers.append(site.get())
            site.settle()

        assert [each.content for each in answers] == [b"1", b"1"]
        assert [each.headers["Age"] for each in answers] == ["11", "11"]
        failing.clear()
        site.get()
        site.settle()
        assert site.text() == "2"

    def test_an_answer_of_500_is_a_failure(self, site: Site) -> None:
        @cached_view(10, grace=100, retry_after=0)
        def index(request: Any) -> HttpResponse:
            return HttpResponse(site.called(), status=500 if site.calls > 1 else 200)

        site.add(index)
        site.get()
        site.clock.advance(11)
        site.get()
        site.settle()

        assert site.text() == "1"

    @pytest.mark.parametrize("how", ["raised", "returned"])
    def test_a_page_that_is_gone_is_gone(self, site: Site, how: str) -> None:
        @cached_view(10, grace=100)
        def index(request: Any) -> HttpResponse:
            if site.called() == "1":
                return HttpResponse("there")
            if how == "raised":
                raise Http404
            return HttpResponse("gone", status=404)

        site.add(index)
        site.get()
        site.clock.advance(11)
        site.get()
        site.settle()

        assert site.get().status_code == 404

    def test_a_refresh_has_the_request_of_the_key_alone(self, site: Site) -> None:
        seen: list[Any] = []

        @cached_view(10, grace=100, vary=["X-Kind"])
        def index(request: Any, name: str) -> HttpResponse:
            site.called()
            seen.append((request.get_full_path(), request.get_host(), name))
            seen.append((request.scheme, request.headers["X-Kind"]))
            if site.calls > 1:
                seen.append(sorted(request.headers))
                seen.append((request.COOKIES, hasattr(request, "_messages")))
            return HttpResponse(str(site.calls))

        site.add(index, "<name>/")
        how = {"headers": {"x-kind": "k", "host": "example.com", "accept": "x"}}
        site.get("/ü/?b=1&a=2", **how)
        site.clock.advance(11)
        client = site.client
        client.cookies["id"] = "secret"
        client.get("/ü/?a=2&b=1", **how)
        site.settle()

        assert seen[2:4] == seen[:2]
        assert seen[4:] == [["Host", "X-Kind"], ({}, False)]

    def test_a_refresh_has_connections_of_its_own(self, site: Site) -> None:
        from django.db import connections

        places: list[Any] = []

        @cached_view(10, grace=100)
        def index(request: Any) -> HttpResponse:
            connection = connections["books"]
            connection.ensure_connection()
            places.append((threading.get_ident(), connection.in_atomic_block))
            return HttpResponse(site.called())

        site.add(index)
        site.get()
        site.clock.advance(11)
        from django.db import transaction

        with transaction.atomic(using="books"):
            site.get()
            site.settle()

        assert places[0][0] != places[1][0]
        assert places[1][1] is False

    @pytest.mark.parametrize(
        ("read", "told"),
        [
            (lambda request: request.user.pk, "request.user was touched"),
            (lambda request: request.session.get("a"), "request.session was touched"),
            (lambda request: request.headers.get("Accept"), "the client's Accept"),
            (lambda request: request.META.get("REMOTE_ADDR"), "client's Remote_Addr"),
        ],
    )
    def test_a_refresh_that_wants_the_client_says_so(
        self, site: Site, read: Callable[[Any], Any], told: str
    ) -> None:
        @cached_view(10, grace=100)
        def index(request: Any) -> HttpResponse:
            if site.called() > "1":
                read(request)
            return HttpResponse(str(site.calls))

        site.add(index)
        with override_settings(MIDDLEWARE=WITH_USERS):
            site.get()
            site.clock.advance(11)
            errors: list[str] = []
            stop = regions["default"].on(
                "create_failed", lambda event: errors.append(str(event.details))
            )
            answer = site.get()
            site.settle()
            stop()

        assert answer.content == b"1"
        assert len(errors) == 1
        assert told.lower() in errors[0].lower().replace("-", "_")

    def test_a_page_that_must_be_fresh_is_never_stale(self, site: Site) -> None:
        @cached_view(10, grace=100)
        def index(request: Any) -> HttpResponse:
            headers = {"Cache-Control": "max-age=10, must-revalidate"}
            return HttpResponse(site.called(), headers=headers)

        site.add(index)
        site.get()

        site.clock.advance(11)

        assert site.text() == "2"
        site.settle()


class TestHttp:
    def test_a_page_has_a_validator(self, site: Site) -> None:
        page(site)
        etag = site.get().headers["ETag"]

        answer = site.get(headers={"if-none-match": etag})

        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == etag
        assert "Content-Type" not in answer.headers

    def test_the_first_answer_may_be_a_304(self, site: Site) -> None:
        page(site)
        etag = site.get().headers["ETag"]
        regions["default"].invalidate()
        site.calls = 0

        answer = site.get(headers={"if-none-match": etag})

        assert answer.status_code == 304

    def test_a_page_tells_what_it_is(self, site: Site) -> None:
        page(site, expiration_time=60, grace=30)
        first = site.get()
        site.clock.advance(23)

        second = site.get()

        assert status_of(first) == "dogpile; fwd=uri-miss; ttl=60; stored"
        assert status_of(second) == "dogpile; hit; ttl=37"
        assert second.headers["Age"] == "23"
        assert second.headers["Cache-Control"] == (
            "max-age=60, stale-while-revalidate=30, stale-if-error=30"
        )

    def test_a_page_with_tags_is_asked_for_each_time(self, site: Site) -> None:
        page(site, tags="news")

        assert site.get().headers["Cache-Control"] == "no-cache"

    def test_a_view_says_less_than_its_decorator(self, site: Site) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            headers = {"Cache-Control": "max-age=5"}
            return HttpResponse(site.called(), headers=headers)

        site.add(index)
        site.get()

        site.clock.advance(6)

        assert site.text() == "2"

    def test_headers_are_turned_off_by_a_setting(self, site: Site) -> None:
        page(site)

        with override_settings(DOGPILE_CACHE_HTTP_HEADERS=False):
            answers = [site.get(), site.get()]

        assert [each.content for each in answers] == [b"1", b"1"]
        assert all("Cache-Status" not in each.headers for each in answers)
        assert all("ETag" not in each.headers for each in answers)

    def test_a_client_is_not_obeyed(self, site: Site) -> None:
        page(site)
        site.get()

        assert site.text(headers={"cache-control": "no-cache"}) == "1"

    @pytest.mark.parametrize("trust", [True, lambda request: True])
    def test_a_client_is_obeyed_where_it_is_trusted(
        self, site: Site, trust: Any
    ) -> None:
        page(site)

        with override_settings(DOGPILE_CACHE_TRUST_CLIENT=trust):
            site.get()
            new = site.text(headers={"cache-control": "no-cache"})
            unkept = site.text(headers={"cache-control": "no-store"})

            assert [new, unkept, site.text()] == ["2", "3", "2"]

    @pytest.mark.parametrize("status", [201, 206, 302, 400, 404, 500, 503])
    def test_errors_are_not_kept(self, site: Site, status: int) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            return HttpResponse(site.called(), status=status)

        site.add(index)

        assert [site.text(), site.text()] == ["1", "2"]

    def test_permissions_are_for_each_client(self, site: Site) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            site.called()
            raise PermissionDenied

        site.add(index)

        assert [site.get().status_code, site.get().status_code] == [403, 403]
        assert site.calls == 2

    def test_streams_are_not_kept(self, site: Site) -> None:
        @cached_view(60)
        def index(request: Any) -> StreamingHttpResponse:
            return StreamingHttpResponse(iter([site.called()]))

        site.add(index)

        answers = [b"".join(site.get().streaming_content) for _ in range(2)]

        assert answers == [b"1", b"2"]

    def test_a_failing_view_is_called_once_by_a_client(self, site: Site) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            site.called()
            raise ValueError

        site.add(index)

        assert site.get().status_code == 500
        assert site.calls == 1


WITH_SESSIONS = ["django.contrib.sessions.middleware.SessionMiddleware"]
WITH_USERS = [
    *WITH_SESSIONS,
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
WITH_MESSAGES = [*WITH_SESSIONS, "django.contrib.messages.middleware.MessageMiddleware"]
WITH_CSRF = ["django.middleware.csrf.CsrfViewMiddleware"]


class TestPrivacy:
    """Attacks: what one client may leave for another."""

    def test_a_cookie_is_not_replayed(self, site: Site) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            answer = HttpResponse()
            answer.set_cookie("id", site.called())
            return answer

        site.add(index)

        answers = [site.get(), site.get()]

        assert [each.cookies["id"].value for each in answers] == ["1", "2"]
        assert answers[0].headers["Cache-Control"] == "private"
        assert status_of(answers[0]).endswith("detail=set-cookie")

    def test_what_a_session_says_is_for_its_client(self, site: Site) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            who = request.session.get("who", "nobody")
            return HttpResponse(who + site.called())

        def enter(request: Any) -> HttpResponse:
            request.session["who"] = "ada"
            return HttpResponse()

        site.add(index)
        site.add(enter, "enter")

        with override_settings(MIDDLEWARE=WITH_SESSIONS):
            ada = site.client
            ada.get("/enter")
            texts = [ada.get("/").content.decode(), site.text(), site.text()]

        assert texts == ["ada1", "nobody2", "nobody3"]

    @pytest.mark.parametrize(
        "read",
        [
            lambda session: session.session_key,
            lambda session: session.is_empty(),
            lambda session: session.get_expiry_age(),
            lambda session: isinstance(session, dict),
        ],
    )
    def test_whatever_a_session_tells_is_for_its_client(
        self, site: Site, read: Any
    ) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            return HttpResponse(f"{read(request.session)} {site.called()}")

        site.add(index)

        with override_settings(MIDDLEWARE=WITH_SESSIONS):
            answers = [site.get(), site.get()]

        assert answers[0].content != answers[1].content
        assert status_of(answers[0]).endswith("detail=session")

    def test_the_host_behind_a_proxys_is_not_the_clients(self, site: Site) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            return HttpResponse(f"{request.META['HTTP_HOST']} {site.called()}")

        site.add(index)

        with override_settings(USE_X_FORWARDED_HOST=True):
            texts = [
                site.text(headers={"host": host, "x-forwarded-host": "example.com"})
                for host in ("evil.example", "localhost")
            ]

        assert texts == ["example.com 1", "example.com 1"]

    def test_a_session_that_was_read_before_is_passed(self, site: Site) -> None:
        page(site)
        reading = "django_site.read_session"

        with override_settings(MIDDLEWARE=[*WITH_SESSIONS, reading]):
            answer = site.get()

        assert status_of(answer) == "dogpile; fwd=bypass; detail=session"

    def test_a_user_of_ones_own_middleware_is_for_its_client(self, site: Site) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            return HttpResponse(f"{request.user} {site.called()}")

        site.add(index)

        with override_settings(MIDDLEWARE=["django_site.user_by_header"]):
            ada = site.text(headers={"x-user": "ada"})
            bob = site.text(headers={"x-user": "bob"})

        assert [ada, bob] == ["ada 1", "bob 2"]

    def test_messages_are_for_one_client(self, site: Site) -> None:
        from django.contrib import messages

        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            told = ",".join(str(each) for each in messages.get_messages(request))
            return HttpResponse(told + site.called())

        def write(request: Any) -> HttpResponse:
            messages.info(request, "secret")
            return HttpResponse()

        site.add(index)
        site.add(write, "write")

        with override_settings(MIDDLEWARE=WITH_MESSAGES):
            ada = site.client
            ada.get("/write")
            texts = [ada.get("/").content.decode(), site.text()]

        assert texts == ["secret1", "2"]

    def test_a_message_that_is_added_is_not_repeated(self, site: Site) -> None:
        from django.contrib import messages

        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            messages.info(request, "done")
            return HttpResponse(site.called())

        site.add(index)

        with override_settings(MIDDLEWARE=WITH_MESSAGES):
            answers = [site.get(), site.get()]

        assert [each.content for each in answers] == [b"1", b"2"]
        assert status_of(answers[0]).endswith("detail=messages")

    def test_a_csrf_token_is_for_one_client(self, site: Site) -> None:
        template = engines["django"].from_string("{% csrf_token %}")

        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            site.called()
            return HttpResponse(template.render({}, request))

        site.add(index)

        with override_settings(MIDDLEWARE=WITH_CSRF):
            answers = [site.get(), site.get()]

        assert site.calls == 2
        assert all("csrftoken" in each.cookies for each in answers)
        assert status_of(answers[0]).endswith("detail=csrf")

    def test_a_cookie_that_is_read_is_not_shared(self, site: Site) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            return HttpResponse(request.COOKIES.get("name", "nobody") + site.called())

        site.add(index)
        ada = site.client
        ada.cookies["name"] = "ada"

        assert [ada.get("/").content, site.get().content] == [b"ada1", b"nobody2"]

    @pytest.mark.parametrize("read", ["messages", "session", "user"])
    def test_middlewares_alone_leave_pages_shared(self, site: Site, read: str) -> None:
        page(site)
        chosen = {"messages": WITH_MESSAGES, "session": WITH_SESSIONS}
        middleware = [*chosen.get(read, WITH_USERS), *WITH_CSRF]

        with override_settings(MIDDLEWARE=middleware):
            assert [site.text(), site.text()] == ["1", "1"]

    def test_authorization_is_passed_both_ways(self, site: Site) -> None:
        page(site)
        secret = site.text(headers={"authorization": "Basic x"})

        plain = site.text()

        assert [secret, plain] == ["1", "2"]
        assert site.text(headers={"authorization": "Basic x"}) == "3"

    @pytest.mark.parametrize(
        ("header", "value"),
        [
            ("Cache-Control", "private"),
            ("Cache-Control", "no-store"),
            ("Cache-Control", "no-cache"),
            ("Cache-Control", "max-age=0"),
            ("Vary", "*"),
            ("Vary", "Cookie"),
            ("Vary", "Accept-Language, Cookie"),
        ],
    )
    def test_what_a_view_forbids_is_not_kept(
        self, site: Site, header: str, value: str
    ) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            return HttpResponse(site.called(), headers={header: value})

        site.add(index)

        assert [site.text(), site.text()] == ["1", "2"]

    def test_what_a_page_varies_by_is_learned(self, site: Site) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            language = request.headers.get("Accept-Language", "")
            headers = {"Vary": "Accept-Language"}
            return HttpResponse(language + site.called(), headers=headers)

        site.add(index)
        site.get(headers={"accept-language": "de"})
        begun = site.calls

        texts = [
            site.text(headers={"accept-language": each})
            for each in ("de", "fr", "de", "fr")
        ]

        assert texts[:2] == texts[2:]
        assert [each[:2] for each in texts] == ["de", "fr", "de", "fr"]
        assert site.calls == begun + 1

    def test_a_forged_host_poisons_nobody(self, site: Site) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            return HttpResponse(request.build_absolute_uri() + site.called())

        site.add(index)

        answers = [
            site.get(headers={"host": host})
            for host in ("evil.example", "example.com", "localhost")
        ]

        assert answers[0].status_code == 400
        assert [each.content for each in answers[1:]] == [
            b"http://example.com/1",
            b"http://localhost/2",
        ]

    def test_a_forwarded_host_is_in_the_key_where_it_counts(self, site: Site) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            return HttpResponse(f"{request.get_host()} {site.called()}")

        site.add(index)

        with override_settings(USE_X_FORWARDED_HOST=True):
            texts = [
                site.text(headers={"x-forwarded-host": host})
                for host in ("example.com", "localhost", "example.com")
            ]

        assert texts == ["example.com 1", "localhost 2", "example.com 1"]

    def test_another_scheme_is_another_page(self, site: Site) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            return HttpResponse(request.scheme + site.called())

        site.add(index)

        assert [site.text(), site.text(secure=True)] == ["http1", "https2"]

    def test_the_proxys_scheme_is_read_in_one_way(self, site: Site) -> None:
        header = "HTTP_X_FORWARDED_PROTO"

        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            return HttpResponse(f"{request.META[header]} {site.called()}")

        site.add(index)

        with override_settings(SECURE_PROXY_SSL_HEADER=(header, "https")):
            texts = [
                site.text(headers={"x-forwarded-proto": value})
                for value in ("https", "https, evil", "evil", "other")
            ]

        assert texts == ["https 1", "https 1", "http 2", "http 2"]

    @pytest.mark.parametrize(
        "read",
        [
            lambda request: request.headers.get("X-Forwarded-Host", ""),
            lambda request: request.headers["X-Forwarded-Host"],
            lambda request: "X-Forwarded-Host" in request.headers,
            lambda request: dict(request.headers),
            lambda request: request.META.get("HTTP_X_FORWARDED_HOST"),
            lambda request: request.META["HTTP_X_FORWARDED_HOST"],
            lambda request: list(request.META.items()),
            lambda request: request.environ.get("HTTP_X_FORWARDED_HOST"),
            lambda request: request.META.get("REMOTE_ADDR"),
            lambda request: request.META.get("SSL_CLIENT_S_DN"),
            lambda request: request.META.get("RAW_URI"),
            lambda request: request.environ.get("a.middleware"),
            lambda request: request.accepts("text/html"),
            lambda request: list(request.COOKIES),
            lambda request: request.get_signed_cookie("id", ""),
            # As a page for debugging shows them.
            lambda request: str(request.headers),
            lambda request: f"{request.META}",
            lambda request: repr(request.environ),
            lambda request: str(request.COOKIES),
            lambda request: request.COOKIES == {},
            lambda request: request.headers == {},
            lambda request: request.META != {},
        ],
    )
    def test_every_way_to_read_a_header_is_seen(self, site: Site, read: Any) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            read(request)
            return HttpResponse(site.called())

        site.add(index)
        how = {"headers": {"x-forwarded-host": "evil.example"}}

        assert [site.text(**how), site.text(**how)] == ["1", "2"]
        assert "detail=unkeyed-" in status_of(site.get(**how))

    @pytest.mark.parametrize("read", [dict, list, str, lambda scope: {**scope}])
    def test_all_of_what_a_server_tells_is_seen_at_once(
        self, site: Site, read: Any
    ) -> None:
        @cached_view(60)
        async def index(request: Any) -> HttpResponse:
            read(request.scope)
            return HttpResponse(site.called())

        site.add(index)

        assert TestAsync().ask(times=2) == ["1", "2"]

    @pytest.mark.parametrize("name", ["headers", "user", "raw_path", "state"])
    def test_what_a_server_tells_is_seen_too(self, site: Site, name: str) -> None:
        @cached_view(60)
        async def index(request: Any) -> HttpResponse:
            request.scope.get(name)
            return HttpResponse(site.called() + "True")

        site.add(index)

        assert TestAsync().ask(times=2) == ["1True", "2True"]

    def test_what_was_read_before_is_read_anew(self, site: Site) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            return HttpResponse(request.headers.get("X-Evil", "") + site.called())

        def before(request: Any) -> HttpResponse:
            assert request.headers is not None
            assert request.GET is not None
            return index(request)  # type: ignore[return-value]  # a response

        site.add(before)

        assert [site.text(headers={"x-evil": "e"}), site.text()] == ["e1", "2"]

    def test_a_content_type_is_not_read(self, site: Site) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            kind = f"{request.content_type}{request.META.get('CONTENT_TYPE')}"
            return HttpResponse(kind + site.called())

        site.add(index)

        texts = [
            site.client.get("/", CONTENT_TYPE=kind).content
            for kind in ("text/evil", "text/plain")
        ]

        assert texts == [b"None1", b"None1"]
        charset = site.client.get("/", CONTENT_TYPE="a/b; charset=utf-7")
        assert status_of(charset) == "dogpile; fwd=bypass; detail=content-type"

    def test_a_header_in_the_key_has_its_pages(self, site: Site) -> None:
        @cached_view(60, vary=["X-Kind"])
        def index(request: Any) -> HttpResponse:
            return HttpResponse(request.headers["X-Kind"] + site.called())

        site.add(index)

        answers = [site.get(headers={"x-kind": each}) for each in ("a", "b", "a")]

        assert [each.content for each in answers] == [b"a1", b"b2", b"a1"]
        assert answers[0].headers["Vary"] == "X-Kind"

    def test_the_request_is_as_it_was_afterwards(self, site: Site) -> None:
        asked: list[Any] = []

        def view(request: Any) -> HttpResponse:
            request.META["left"] = "by the view"
            return HttpResponse(site.called())

        def around(request: Any) -> HttpResponse:
            before = request.META, request.GET, request.COOKIES, request.headers
            answer = cached_view(60)(view)(request)
            after = request.META, request.GET, request.COOKIES, request.headers
            asked.append(all(a is b for a, b in zip(before, after, strict=True)))
            asked.append(request.META["left"])
            asked.append(request.GET["a"])
            return answer

        site.add(around)
        site.get("/?b=2&a=1")

        assert asked == [True, "by the view", "1"]

    @pytest.mark.parametrize("suffix", ["/x.css", ";x.css", "%0Ax.css", "%3Fx.css"])
    def test_a_private_page_with_a_suffix_is_not_kept(
        self, site: Site, suffix: str
    ) -> None:
        from django.urls import re_path

        @cached_view(60)
        def account(request: Any) -> HttpResponse:
            who = request.session.get("who", "nobody")
            return HttpResponse(who + site.called())

        def enter(request: Any) -> HttpResponse:
            request.session["who"] = "ada"
            return HttpResponse()

        site.add(enter, "enter")
        site.urlpatterns.append(re_path(r"(?s)^account.*", account))

        with override_settings(MIDDLEWARE=WITH_SESSIONS):
            ada = site.client
            ada.get("/enter")
            answer = ada.get(f"/account{suffix}")
            other = site.text(f"/account{suffix}")

        assert answer.headers["Cache-Control"] == "private"
        assert (answer.content, other) == (b"ada1", "nobody2")

    @pytest.mark.parametrize("suffix", ["/", ".css", ";a", "%2F", "%00", "%3Fa=1"])
    def test_odd_paths_are_pages_of_their_own(self, site: Site, suffix: str) -> None:
        from django.urls import re_path

        @cached_view(60)
        def any_page(request: Any) -> HttpResponse:
            return HttpResponse(request.path + site.called())

        site.urlpatterns.append(re_path(r"(?s)^", any_page))

        texts = [site.text("/a"), site.text(f"/a{suffix}"), site.text("/a")]

        assert texts[0] == texts[2] == "/a1"
        assert texts[1].endswith("2")

    def test_other_methods_neither_get_nor_leave_pages(self, site: Site) -> None:
        page(site)
        site.get()

        answers = [
            getattr(site.client, method)("/")
            for method in ("post", "put", "delete", "patch", "options")
        ]

        assert [each.content for each in answers] == [b"2", b"3", b"4", b"5", b"6"]
        assert status_of(answers[0]) == "dogpile; fwd=method"
        assert site.text() == "1"

    def test_a_method_override_does_not_confuse(self, site: Site) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            method = request.headers.get("X-HTTP-Method-Override", request.method)
            return HttpResponse(method + site.called())

        site.add(index)

        evil = site.text(headers={"x-http-method-override": "DELETE"})

        assert [evil, site.text()] == ["DELETE1", "GET2"]

    def test_a_head_leaves_no_empty_page(self, site: Site) -> None:
        page(site)

        head = site.client.head("/")

        assert (head.content, site.text()) == (b"", "2")
        assert status_of(site.client.head("/")).startswith("dogpile; hit")

    def test_a_get_with_a_body_is_passed(self, site: Site) -> None:
        page(site)

        answer = site.client.generic("GET", "/", "x=1", content_type="text/plain")

        assert status_of(answer) == "dogpile; fwd=bypass; detail=body"
        assert site.text() == "2"

    def test_the_order_of_a_query_counts_within_a_name(self, site: Site) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            return HttpResponse(",".join(request.GET.getlist("a")) + site.called())

        site.add(index)
        addresses = ["/?a=1&b=2", "/?b=2&a=1", "/?a=1&a=2", "/?a=2&a=1"]

        assert [site.text(each) for each in addresses] == ["11", "11", "1,22", "2,13"]

    def test_a_parameter_outside_the_key_is_not_seen(self, site: Site) -> None:
        @cached_view(60, query=["page"])
        def index(request: Any) -> HttpResponse:
            evil = request.GET.get("evil", "") + request.META["QUERY_STRING"]
            return HttpResponse(evil + site.called())

        site.add(index)

        assert [site.text("/?evil=x&page=2"), site.text("/?page=2&evil=y")] == [
            "page=21",
            "page=21",
        ]

    def test_a_flood_of_parameters_is_passed(self, site: Site) -> None:
        page(site)

        answer = site.get("/?" + "&".join(f"a{n}=1" for n in range(1001)))

        assert status_of(answer) == "dogpile; fwd=bypass; detail=query"

    def test_an_error_over_a_session_is_for_its_client(self, site: Site) -> None:
        @cached_view(60)
        def index(request: Any) -> HttpResponse:
            if request.session.get("who"):
                raise ValueError("ada's own")
            return HttpResponse(site.called())

        def enter(request: Any) -> HttpResponse:
            request.session["who"] = "ada"
            return HttpResponse()

        site.add(index)
        site.add(enter, "enter")

        with override_settings(MIDDLEWARE=WITH_SESSIONS):
            ada = site.client
            ada.get("/enter")
            statuses = [ada.get("/").status_code, site.get().status_code]

        assert statuses == [500, 200]


class TestMistakes:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"tags": 5}, "tags takes names"),
            ({"query": 5}, "query takes True, None or names of parameters, not 5"),
            ({"vary": 5}, "vary takes names of headers, .* not 5"),
            ({"key": 5}, "key takes a text, or a function that returns one, not 5"),
            ({"expiration_time": -1}, "expiration_time is -1"),
        ],
    )
    def test_odd_options_are_told_where_they_are_written(
        self, options: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(ValidationError, match=words):
            cached_view(**options)

    @pytest.mark.parametrize("decorate", [cached_view(60), cache_page(60)])
    def test_what_is_no_view_is_told(self, decorate: Any) -> None:
        with pytest.raises(ValidationError, match=r"a view is decorated.* not 5"):
            decorate(5)

    @pytest.mark.parametrize("decorate", [cached_view(60), cache_page(60)])
    def test_a_class_is_told_how_it_is_decorated(self, decorate: Any) -> None:
        with pytest.raises(ValidationError, match=r"decorate View\.as_view\(\), or"):
            decorate(View)

    @pytest.mark.parametrize("timeout", [10, timedelta(seconds=10), "10s"])
    def test_cache_page_takes_seconds_in_each_form(
        self, site: Site, timeout: Any
    ) -> None:
        site.add(cache_page(timeout)(lambda request: HttpResponse(site.called())))
        before = [site.text(), site.text()]

        site.clock.advance(11)

        assert [*before, site.text()] == ["1", "1", "2"]

    @pytest.mark.parametrize("timeout", [0, -5, timedelta(seconds=-5)])
    def test_cache_page_of_no_time_keeps_nothing(
        self, site: Site, timeout: Any
    ) -> None:
        site.add(cache_page(timeout)(lambda request: HttpResponse(site.called())))

        assert [site.text(), site.text()] == ["1", "2"]

    @pytest.mark.parametrize("timeout", ["soon", True, [], float("nan")])
    def test_an_odd_timeout_is_told_by_its_name(self, timeout: Any) -> None:
        with pytest.raises(ValidationError, match=r"^timeout takes seconds"):
            cache_page(timeout)

    def test_cache_page_without_seconds_is_told(self) -> None:
        with pytest.raises(ValidationError, match="takes seconds first"):
            cache_page(plain)

    def test_headers_may_be_turned_off_by_a_text(self, site: Site) -> None:
        page(site)

        with override_settings(DOGPILE_CACHE_HTTP_HEADERS="off"):
            assert "Cache-Status" not in site.get().headers

    def test_a_text_for_no_trusts_nobody(self, site: Site) -> None:
        page(site)
        site.get()

        with override_settings(DOGPILE_CACHE_TRUST_CLIENT="false"):
            texts = [site.text(headers={"Cache-Control": "no-cache"}) for _ in "ab"]

        assert texts[0] == texts[1]


class TestInvalidation:
    def test_a_tag_of_an_argument_that_is_not_there_is_told(self, site: Site) -> None:
        page(site, "<name>", "page", tags="page:{nmae}")

        with pytest.raises(ValidationError) as refusal:
            Client().get("/a")

        assert str(refusal.value) == (
            "the view 'page': the tag 'page:{nmae}' names no argument 'nmae' of it; "
            "did you mean 'name'?"
        )

    def test_a_tag_invalidates_pages(self, site: Site) -> None:
        page(site, "<name>", tags="page:{name}")
        before = [site.text("/a"), site.text("/b")]

        regions["default"].invalidate_tags("page:a")

        assert [site.text("/a"), site.text("/b")] == ["3", before[1]]

    def test_a_page_is_invalidated_by_its_view(self, site: Site) -> None:
        page(site, "<name>", name="item")
        page(site, "other/page", name="other")
        before = [site.text("/a"), site.text("/b"), site.text("/other/page")]

        invalidate_view("item", name="a")

        assert [site.text(each) for each in ("/a", "/b", "/other/page")] == [
            "4",
            *before[1:],
        ]
        invalidate_view("item")
        assert site.text("/b") == "5"
        assert site.text("/other/page") == before[2]

    def test_a_view_that_is_not_there_is_told(self, site: Site) -> None:
        page(site, "<name>", name="item")
        blog = ([path("<slug>", lambda request, slug: None, name="post")], "blog")
        site.urlpatterns.append(path("blog/", include(blog)))

        for name, words in {
            "itme": "there is no view 'itme'.*; did you mean 'item'",
            "post": "did you mean 'blog:post'",
            "nosuch.module.view": "there is no view",
            "os.sep": "there is no view",
        }.items():
            with pytest.raises(NoReverseMatch, match=words):
                invalidate_view(name)
        not_a_text: Any = 5
        with pytest.raises(NoReverseMatch, match=r"named by a text.*not by 5"):
            invalidate_view(not_a_text)

    def test_arguments_that_it_does_not_have_are_told(self, site: Site) -> None:
        page(site, "<name>", name="item")
        page(site, "plain/<slug>")

        for name, given in [
            ("item", {"nmae": "a"}),
            ("item", {"name": "a", "page": 2}),
            ("itme", {"name": "a"}),
            (name_of_page(site, "/plain/a"), {"name": "a"}),
        ]:
            with pytest.raises(NoReverseMatch):
                invalidate_view(name, **given)

    def test_a_route_needs_no_name(self, site: Site) -> None:
        page(site, "<slug>")
        before = [site.text("/a"), site.text("/b")]
        name = name_of_page(site, "/a")

        invalidate_view(name, slug="a")

        assert [site.text("/a"), site.text("/b")] == ["3", before[1]]
        invalidate_view(name)
        assert site.text("/b") == "4"

    def test_routes_may_stand_elsewhere(self, site: Site) -> None:
        page(site, "<name>", name="item")
        before = site.text("/a")

        with override_settings(ROOT_URLCONF=(path("", lambda request: None),)):
            with pytest.raises(NoReverseMatch):
                invalidate_view("item", name="a")
            invalidate_view("item", site, name="a")

        assert (before, site.text("/a")) == ("1", "2")

    def test_a_view_past_all_routes_is_known_by_its_function(self) -> None:
        invalidate_view(f"{plain.__module__}.{plain.__qualname__}")

    def test_an_invalidation_during_the_rendering_counts(self, site: Site) -> None:
        @cached_view(60, tags="news")
        def index(request: Any) -> HttpResponse:
            if site.calls == 0:
                regions["default"].invalidate_tags("news")
            return HttpResponse(site.called())

        site.add(index)

        assert [site.text(), site.text(), site.text()] == ["1", "2", "2"]


def name_of_page(site: Site, address: str) -> str:
    return str(resolve(address, site).view_name)


def plain(request: Any) -> HttpResponse:
    return HttpResponse("plain")


class TestCachePage:
    def test_it_has_the_signature_of_djangos(self, site: Site) -> None:
        @cache_page(10, cache="default", key_prefix="site1")
        def index(request: Any) -> HttpResponse:
            return HttpResponse(site.called())

        site.add(index)
        site.get()
        site.clock.advance(11)

        assert [site.text(), site.text()] == ["2", "2"]

    def test_no_time_is_for_ever_and_none_at_all(self, site: Site) -> None:
        def view(request: Any) -> HttpResponse:
            return HttpResponse(site.called())

        site.add(cache_page(None)(view), "ever")
        site.add(cache_page(0)(view), "never")
        site.get("/ever")
        site.clock.advance(10**9)

        assert site.text("/ever") == "1"
        assert [site.text("/never"), site.text("/never")] == ["2", "3"]

    def test_prefixes_set_pages_apart(self, site: Site) -> None:
        def view(request: Any) -> HttpResponse:
            return HttpResponse(site.called())

        both = {name: cache_page(60, key_prefix=name)(view) for name in "ab"}
        site.add(lambda request: both[request.GET["of"]](_bare(request)))

        with override_settings(CACHE_MIDDLEWARE_KEY_PREFIX="c"):
            texts = [site.text("/?of=a"), site.text("/?of=b"), site.text("/?of=a")]

        assert texts == ["1", "2", "1"]

    def test_a_prefix_counts_by_its_text(self, site: Site) -> None:
        def view(request: Any) -> HttpResponse:
            return HttpResponse(site.called())

        both: dict[str, Any] = {
            str(prefix): cache_page(60, key_prefix=prefix)(view)  # type: ignore[arg-type]
            for prefix in (1, True, ["a"])
        }
        site.add(lambda request: both[request.GET["of"]](_bare(request)))

        texts = [site.text(f"/?of={name}") for _ in range(2) for name in both]

        assert texts == ["1", "2", "3"] * 2

    def test_it_learns_what_a_page_varies_by(self, site: Site) -> None:
        from django.views.decorators.vary import vary_on_headers

        @cache_page(60)
        @vary_on_headers("X-Kind")
        def index(request: Any) -> HttpResponse:
            return HttpResponse(request.headers["X-Kind"])

        site.add(index)

        texts = [site.text(headers={"x-kind": each}) for each in ("a", "b", "a", "b")]

        assert texts == ["a", "b", "a", "b"]


def _bare(request: Any) -> Any:
    """Return a request of the same address without its query."""
    made = RequestFactory().get("/")
    made.resolver_match = request.resolver_match
    return made


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"grce": 1}, "did you mean 'grace'"),
            ({"vary": ["*"]}, "names of headers"),
            ({"vary": ["Authorization"]}, "cannot name Authorization"),
            ({"query": [1]}, "names of parameters"),
            ({"expiration_time": "soon"}, "expiration_time"),
            ({"tags": [object()]}, "tags takes names"),
            ({"tags": 1}, "tags takes names"),
        ],
    )
    def test_odd_options_are_refused_at_once(
        self, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValidationError, match=message):
            cached_view(**options)

    def test_a_method_without_its_decorator_is_told(self, site: Site) -> None:
        class Item(View):
            @cached_view(60)
            def get(self, request: Any) -> HttpResponse:
                return HttpResponse()

        site.add(Item.as_view())

        with pytest.raises(ConfigurationError, match=r"Item.get\(\).*method_decorator"):
            Client().get("/")

    def test_an_unknown_region_is_told(self, site: Site) -> None:
        page(site, region="defalt")

        with pytest.raises(ConfigurationError, match="did you mean 'default'"):
            Client().get("/")

    def test_a_view_that_answers_nothing_is_told(self, site: Site) -> None:
        site.add(cached_view(60)(lambda request: None))

        with pytest.raises(ConfigurationError, match="returned a NoneType"):
            Client().get("/")


def test_nothing_is_said_to_be_stored_where_caching_is_off(tmp_path: Path) -> None:
    site = Site(tmp_path, "memory", DOGPILE_CACHE_ENABLED=False)
    page(site)

    with site.settings:
        answers = [status_of(site.get()) for _ in range(2)]

    assert answers == ["dogpile; fwd=uri-miss"] * 2


FRAMES = "django.middleware.clickjacking.XFrameOptionsMiddleware"


@pytest.mark.parametrize("http_headers", [True, False])
@pytest.mark.parametrize("decorator", [cached_view(60), cache_page(60)])
def test_what_a_decorator_has_exempted_stays_so(
    site: Site, decorator: Any, http_headers: bool
) -> None:
    view = decorator(xframe_options_exempt(lambda request: HttpResponse("framed")))
    site.add(view)
    settings = {"MIDDLEWARE": [FRAMES], "DOGPILE_CACHE_HTTP_HEADERS": http_headers}

    with override_settings(**settings):
        answers = [site.get(), site.get()]
        since = {"If-None-Match": answers[0].headers.get("ETag", "")}
        answers.append(site.get(headers=since))

    assert ["X-Frame-Options" in each.headers for each in answers] == [False] * 3
    assert answers[2].status_code == (304 if http_headers else 200)


def test_what_is_not_exempted_is_not(site: Site) -> None:
    page(site)

    with override_settings(MIDDLEWARE=[FRAMES]):
        answers = [site.get(), site.get()]

    assert [each.headers["X-Frame-Options"] for each in answers] == ["DENY"] * 2


def test_a_reason_phrase_is_kept(site: Site) -> None:
    site.add(cached_view(60)(lambda request: HttpResponse("page", reason="Fine")))

    first, second = site.get(), site.get()
    unchanged = site.get(headers={"If-None-Match": first.headers["ETag"]})

    assert [first.reason_phrase, second.reason_phrase] == ["Fine", "Fine"]
    assert (unchanged.status_code, unchanged.reason_phrase) == (304, "Not Modified")


def test_nothing_is_said_to_be_stored_that_a_dead_server_refused() -> None:
    pytest.importorskip("redis")

    @cached_view(60)
    def index(request: Any) -> HttpResponse:
        return HttpResponse("page")

    # Nobody listens at a port that was never opened.
    with override_settings(
        DOGPILE_CACHE_REGIONS={"default": {"url": "redis://127.0.0.1:1"}}
    ):
        answers = [index(RequestFactory().get("/")) for _ in range(2)]

    assert {status_of(each) for each in answers} == {
        "dogpile; fwd=uri-miss; detail=refused"
    }


def test_a_key_that_is_none_would_be_that_of_all_pages(site: Site) -> None:
    site.add(cached_view(60, key=lambda asked: None)(lambda asked: HttpResponse()))

    with pytest.raises(ValidationError, match=r"key takes a text, .* returned None"):
        Client().get("/")
