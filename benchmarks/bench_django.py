"""A page that is kept, in Django: a request beside one of a hand-written cache.

The floor is what one writes by hand: a dictionary from ``get_full_path()`` to the
text of the page and when that ends; a response is made of it each time, as threads
cannot share one. Each contestant answers the same request by the application's WSGI
call, with the middleware that ``startproject`` puts into a project.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import bench_servers
import rivals
from measure import (
    FLOOR,
    OURS,
    Effort,
    Figure,
    Limit,
    Readings,
    Row,
    Run,
    Stopwatch,
    by_turns,
    ratio,
)

_LIFETIME = 3600
_PAGE = "<p>text</p>" * 200
_CACHE_PAGE = "cache_page"


def _view(request: Any, slug: str) -> Any:
    from django.http import HttpResponse

    return HttpResponse(_PAGE)


def _in_its_language(view: Any) -> Any:
    """Return the same, for a site of more than one language or time zone."""
    from django.utils import timezone, translation

    return _by_hand(
        view, lambda: (translation.get_language(), timezone.get_current_timezone_name())
    )


def _by_hand(view: Any, more: Callable[[], Any] = lambda: None) -> Any:
    from django.http import HttpResponse

    pages: dict[Any, tuple[Any, float]] = {}

    def answer(request: Any, **view_args: Any) -> Any:
        key = request.get_full_path(), more()
        found = pages.get(key)
        if found is not None and time.time() < found[1]:
            return HttpResponse(found[0])
        made = view(request, **view_args)
        pages[key] = made.content, time.time() + _LIFETIME
        return made

    return answer


def _configure(port: int | None) -> None:
    import django
    from django.conf import settings

    ours = "dogpile.cache.integrations.django.DogpileCache"
    locmem = "django.core.cache.backends.locmem.LocMemCache"
    caches: dict[str, Any] = {
        "default": {"BACKEND": locmem},
        "ours": {"BACKEND": ours, "LOCATION": "dogpile.cache.memory"},
    }
    regions: dict[str, Any] = {"default": {"backend": "dogpile.cache.memory"}}
    if port is not None:
        location = f"redis://127.0.0.1:{port}/0"
        redis = "django.core.cache.backends.redis.RedisCache"
        caches["redis"] = {"BACKEND": redis, "LOCATION": location}
        regions["redis"] = {"url": location}
    settings.configure(
        ALLOWED_HOSTS=["*"],
        CACHES=caches,
        DOGPILE_CACHE_REGIONS=regions,
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        },
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "dogpile.cache.integrations.django",
        ],
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
        ROOT_URLCONF=__name__,
        SECRET_KEY="a secret of many bytes, of nobody",
    )
    django.setup()


urlpatterns: list[Any] = []


def _run(name: str, view: Any) -> Run:
    from django.core.wsgi import get_wsgi_application
    from django.test import RequestFactory
    from django.urls import path

    urlpatterns.append(path(f"{name}/<slug:slug>", view))
    address = f"/{name}/first?page=2&order=new"
    environ = RequestFactory().get(address, headers={"host": "testserver"}).environ
    handler = get_wsgi_application()

    def answer(status: str, headers: Any) -> Any:
        assert status == "200 OK", status

    def run(count: int) -> float:
        with Stopwatch() as watch:
            for _ in range(count):
                response = handler(dict(environ), answer)
                b"".join(response)
                response.close()
        return watch.seconds

    run(1)  # what is made at the first request is no part of a hit
    return run


def pages(effort: Effort) -> Readings:
    """Measure requests for a page that is kept in memory."""
    _configure(None)
    from django.views.decorators.cache import cache_page

    from dogpile.cache.integrations.django import cached_view

    made: dict[str, Callable[[Any], Any]] = {
        FLOOR: _by_hand,
        "floor by language": _in_its_language,
        OURS: cached_view(_LIFETIME),
        _CACHE_PAGE: cache_page(_LIFETIME),
        "cache_page on ours": cache_page(_LIFETIME, cache="ours"),
    }
    runs = {
        name: _run(f"page{number}", decorator(_view))
        for number, (name, decorator) in enumerate(made.items())
    }
    return {"django page": by_turns(runs, effort, seconds=0.02)}


def pages_on_redis(effort: Effort) -> Readings:
    """Measure requests for a page that is kept in a Redis."""
    with bench_servers.serve("redis") as port:
        _configure(port)
        from django.views.decorators.cache import cache_page

        from dogpile.cache.integrations.django import cached_view

        runs = {
            OURS: _run("ours", cached_view(_LIFETIME, region="redis")(_view)),
            _CACHE_PAGE: _run("theirs", cache_page(_LIFETIME, cache="redis")(_view)),
        }
        return {"django page, on redis": by_turns(runs, effort, seconds=0.02)}


FIGURES: tuple[Figure, ...] = ()
if rivals.find("django") is not None:
    FIGURES = (
        Figure(
            "django",
            "A kept page in Django, by request",
            (Row("django page", "µs", (*ratio(1.15), Limit(1.0, _CACHE_PAGE))),),
            pages,
            with_classic=False,
        ),
    )
if FIGURES and rivals.find("redis") is not None:
    FIGURES += (
        Figure(
            "servers-django",
            "A kept page in Django, in a Redis, by request",
            (
                Row(
                    "django page, on redis",
                    "µs",
                    (Limit(1.0, _CACHE_PAGE),),
                    _CACHE_PAGE,
                ),
            ),
            pages_on_redis,
            with_classic=False,
        ),
    )
