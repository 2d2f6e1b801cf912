"""Pages and parts of templates under a Content Security Policy, as Django 6 has it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("django")

import django_site  # noqa: F401 - it configures Django
from django.http import HttpResponse
from django.template import Context, Engine, RequestContext
from django.test import RequestFactory, override_settings
from django.utils.functional import SimpleLazyObject, empty

from dogpile.cache.integrations.django import cached_view, regions
from dogpile.cache.testing import FakeClock

ENGINE = Engine(
    builtins=["dogpile.cache.integrations.django.templatetags.dogpile_cache"]
)
PART = '{% cached "nav" 9 %}<i></i>SHOWN{% endcached %}'


class LazyNonce(SimpleLazyObject):
    """A nonce that is made when it is shown, and false before."""

    def __init__(self, made: Callable[[], str]) -> None:
        super().__init__(made)

    def __bool__(self) -> bool:
        return vars(self)["_wrapped"] is not empty


class Visits:
    """Requests, as the middleware of Django 6 hands them to a view."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.factory = RequestFactory()

    def request(self) -> Any:
        request: Any = self.factory.get("/")
        request._csp_nonce = LazyNonce(lambda: f"nonce{next(self.numbers)}")
        return request

    def context(self) -> Context:
        request = self.request()
        return RequestContext(
            request,
            {
                "csp_nonce": request._csp_nonce,
                "ask": lambda: str(request._csp_nonce),
            },
        )

    def sees(self, view: Any) -> tuple[str, str]:
        answer = view(self.request())
        return answer.content.decode(), answer.headers["Cache-Status"]


@pytest.fixture
def visits() -> Visits:
    return Visits()


@pytest.fixture(params=["memory", "sqlite"], autouse=True)
def clock(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[FakeClock]:
    clock = FakeClock()
    region: dict[str, Any] = {"backend": request.param, "clock": clock}
    if request.param == "sqlite":
        region["arguments"] = {"filename": str(tmp_path / "cache.db")}
    with override_settings(DOGPILE_CACHE_REGIONS={"default": region}):
        yield clock
        assert regions["default"].storage.pending.wait(10)


def test_a_page_with_a_nonce_is_kept_for_nobody(visits: Visits) -> None:
    @cached_view(60)
    def page(request: Any) -> HttpResponse:
        return HttpResponse(f"<script nonce={request._csp_nonce}>")

    status = "dogpile; fwd=uri-miss; detail=csp"

    assert [visits.sees(page), visits.sees(page)] == [
        ("<script nonce=nonce1>", status),
        ("<script nonce=nonce2>", status),
    ]


def test_a_page_without_a_nonce_is_kept(visits: Visits) -> None:
    @cached_view(60)
    def page(request: Any) -> HttpResponse:
        return HttpResponse("shown" if request._csp_nonce else "none")

    visits.sees(page)

    assert visits.sees(page)[1] == "dogpile; hit; ttl=60"


def test_no_nonce_is_kept_from_the_background(visits: Visits, clock: FakeClock) -> None:
    shows = [False]

    @cached_view(10, grace=100)
    def page(request: Any) -> HttpResponse:
        nonce = request._csp_nonce
        return HttpResponse(f"<{nonce}>" if shows[0] else f"{bool(nonce)}")

    visits.sees(page)
    shows[0] = True
    clock.advance(11)
    visits.sees(page)
    assert regions["default"].storage.pending.wait(10)

    assert visits.sees(page) == ("<nonce1>", "dogpile; fwd=uri-miss; detail=csp")


@pytest.mark.parametrize("name", ["_csp_config", "_csp_ro_config"])
def test_the_policy_of_a_view_is_kept_with_its_page(visits: Visits, name: str) -> None:
    policy = {"img-src": {"b", "a"}, "script-src": ["'self'"], "sandbox": True}

    @cached_view(60)
    def page(request: Any) -> HttpResponse:
        made: Any = HttpResponse("page")
        setattr(made, name, policy)
        return made

    answers = [page(visits.request()) for _ in range(2)]
    again = visits.factory.get("/", headers={"If-None-Match": answers[0]["ETag"]})

    assert "hit" in answers[1]["Cache-Status"]
    assert page(again).status_code == 304
    assert [getattr(each, name) for each in (*answers, page(again))] == [
        {"img-src": ["a", "b"], "script-src": ["'self'"], "sandbox": True}
    ] * 3


@pytest.mark.parametrize(
    "shown",
    [
        "{{ csp_nonce }}",
        "{{ ask }}",
        '{% cached "inner" 9 %}{{ csp_nonce }}{% endcached %}',
    ],
)
@pytest.mark.parametrize("before", ["", "{{ csp_nonce }}"])
def test_a_part_with_a_nonce_is_kept_for_nobody(
    visits: Visits, shown: str, before: str
) -> None:
    page = ENGINE.from_string(before + PART.replace("SHOWN", shown))

    seen = [page.render(visits.context()).partition("<i></i>")[2] for _ in range(2)]

    assert seen == ["nonce1", "nonce2"]


def test_a_nonce_outside_of_a_part_does_not_hinder_it(visits: Visits) -> None:
    page = ENGINE.from_string(
        "{{ csp_nonce }}" + PART.replace("SHOWN", "{{ of }}") + "{{ csp_nonce }}"
    )
    contexts = [visits.context(), visits.context()]
    for number, context in enumerate(contexts):
        context["of"] = number

    seen = [page.render(context) for context in contexts]

    assert seen == ["nonce1<i></i>0nonce1", "nonce2<i></i>0nonce2"]
