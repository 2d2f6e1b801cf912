"""Every documented use of the integrations: this is read, and never run."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group
from django.core.cache import cache as default_cache
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from flask import Flask, Response
from typing_extensions import assert_type

from dogpile.cache import CacheRegion, make_region
from dogpile.cache.integrations.django import (
    DogpileCache as DjangoCache,
    ainvalidate_model,
    cache_page,
    cached,
    cached_view,
    invalidate_fragment,
    invalidate_model,
    invalidate_view,
    regions,
    tag_names,
)
from dogpile.cache.integrations.flask import DogpileCache
from dogpile.cache.integrations.flask.compat import Cache
from dogpile.cache.integrations.flask.signals import page_answered
from dogpile.cache.integrations.mako import Template, TemplateLookup, init_mako
from dogpile.cache.integrations.settings import build_region, build_regions

# Settings of an application


def build(settings: Mapping[str, Any]) -> None:
    assert_type(
        build_regions(settings, secret_key="a secret of the application"),
        dict[str, CacheRegion],
    )
    assert_type(build_region("pages", {"backend": "sqlite"}), CacheRegion)
    build_region("pages", "redis://localhost/0?grace=10m", fallbacks=("older",))


# Regions of a Django project


def find() -> None:
    assert_type(regions["prices"], CacheRegion)
    assert_type(regions.region(), CacheRegion)
    assert_type(regions.region("prices"), CacheRegion)
    assert_type(list(regions), list[str])
    for region in regions.values():
        region.invalidate_tags("nav", "greeting:Ada")
    regions["prices"].get_or_create("tea", lambda: 3.20)


# Functions of a Django project


@cached
def bare(name: str) -> bytes:
    return name.encode()


@cached(300, grace=600, tags=[Group])
def group_names(first: int = 0, *, limit: int = 5) -> list[str]:
    return [str(name) for name in range(first, limit)]


@cached(
    timedelta(minutes=5),
    region="pages",
    tags=lambda group: [Group, group],
    key="group:{group}",
)
async def members(group: Group) -> int:
    return len(group.name)


class Shelf:
    @cached(60, tags="shelf:{name}", ignore=["verbose"])
    def books(self, name: str, verbose: bool = False) -> list[str]:
        return [name] * verbose

    @staticmethod
    @cached(60)
    def count(name: str) -> int:
        return len(name)


async def call_functions(shelf: Shelf, group: Group) -> None:
    assert_type(bare("Ada"), bytes)
    assert_type(group_names(1, limit=2), list[str])
    assert_type(await members(group), int)
    assert_type(shelf.books("poems", verbose=True), list[str])
    assert_type(Shelf.count("poems"), int)
    bare(1)  # type: ignore[arg-type]  # a text
    group_names(size=2)  # type: ignore[call-arg]  # there is no such one


# Views of a Django project


@cached_view(60, grace=600, tags=[Group, "shop.Product:{pk}"], vary=["User-Agent"])
def list_groups(request: HttpRequest, pk: int) -> HttpResponse:
    return HttpResponse(f"{request.path} {pk}")


@cached_view
async def list_in_a_loop(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.path)


@cached_view(
    region="pages",
    query=("page", "q"),
    unless=lambda request: request.method != "GET",
    response_filter=lambda response: response.status_code == 200,
    key=lambda request: request.path,
    retry_after=5,
)
def with_options(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.path)


@cache_page(60, cache="default", key_prefix="old")
def as_in_django(request: HttpRequest, pk: int) -> HttpResponse:
    return HttpResponse(f"{request.path} {pk}")


@method_decorator(cached_view(60), name="dispatch")
class Groups(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.path)


async def call_views() -> None:
    request = RequestFactory().get("/")
    assert_type(list_groups(request, 5), HttpResponse)
    assert_type(list_groups(request, pk=5), HttpResponse)
    assert_type(await list_in_a_loop(request), HttpResponse)
    assert_type(with_options(request), HttpResponse)
    assert_type(as_in_django(request, pk=5), HttpResponse)
    list_groups(request)  # type: ignore[call-arg]  # one is missing
    as_in_django(request, "5")  # type: ignore[arg-type]  # a number


urlpatterns = [
    path("groups/<int:pk>", list_groups),
    path("loop", list_in_a_loop),
    path("old/<int:pk>", cache_page(60)(as_in_django)),
    path("class", cached_view(60)(Groups.as_view())),
]


# Invalidation in a Django project, and its cache


async def invalidate(group: Group) -> None:
    invalidate_model(Group, group, using="default", hard=False)
    await ainvalidate_model(Group)
    invalidate_view("blog:post", hard=False, slug="tea")
    invalidate_fragment("profile")
    assert_type(tag_names([Group, group, "nav"]), tuple[str, ...])


async def use_a_cache(cache: DjangoCache) -> None:
    assert_type(cache.region, CacheRegion)
    assert_type(cache.set("key", 1, 60, tags=["nav", Group], grace=60), bool)
    assert_type(cache.set("key", 1, nx=True), bool)
    cache.get_or_set("key", lambda: 1, tags=Group)
    await cache.aget_or_set("key", coroutine, 60, grace=600)
    assert_type(cache.incr("visits"), int)
    assert_type(cache.ttl("key"), int | None)
    assert_type(cache.persist("key"), bool)
    assert_type(cache.expire("key", 60), bool)
    assert_type(cache.keys("user:*"), list[str])
    assert_type(list(cache.iter_keys()), list[str])
    assert_type(await cache.akeys("user:*"), list[str])
    assert_type(cache.delete_pattern("user:*"), int)
    cache.invalidate_tags("nav", Group, hard=False)
    await cache.ainvalidate_tags("nav")
    with cache.lock("import", timeout=60, blocking_timeout=5) as lock:
        assert_type(lock.extend(60), bool)
    async with cache.lock("import"):
        default_cache.set("imported", True)
    cache.on("backend_error", lambda event: logging.error("%s", event.name))()
    assert_type(cache.stats(), dict[str, float])


async def coroutine() -> int:
    return 1


# Flask

cache = DogpileCache()


def create_app() -> Flask:
    app = Flask("shop")
    cache.init_app(app)
    DogpileCache(app)
    return app


app = create_app()


@app.get("/hello/<name>")
@cache.cached(60, grace=600, tags=["nav", "user:{name}"])
def hello(name: str, greeting: str = "Hello") -> str:
    return f"{greeting} {name}!"


@app.get("/start")
@cache.cached
async def start() -> str:
    return "made"


@cache.cached(
    region="pages",
    vary=["Accept-Language"],
    query=None,
    unless=lambda: False,
    response_filter=lambda response: response.status_code == 200,
    key=lambda: "key",
)
def of_flask() -> Response:
    return Response("made")


@cache.memoize(60, region="prices", grace=600, tags="user:{user_id}")
def load_user(user_id: int) -> dict[str, int]:
    return {"id": user_id}


@cache.memoize()
async def load_in_a_loop(user_id: int) -> Iterable[int]:
    return [user_id]


async def use_flask() -> None:
    assert_type(hello("Ada", greeting="Hi"), str)
    assert_type(await start(), str)
    assert_type(of_flask(), Response)
    assert_type(load_user(user_id=5), dict[str, int])
    assert_type(await load_in_a_loop(5), Iterable[int])
    hello(5)  # type: ignore[arg-type]  # a text
    load_user("5")  # type: ignore[arg-type]  # a number
    assert_type(cache["pages"], CacheRegion)
    assert_type(cache.region(), CacheRegion)
    assert_type(cache.regions, Mapping[str, CacheRegion])
    cache.get_or_create("sum", lambda: 1 + 1, 60, tags=["nav"])
    await cache.aget_or_create("sum", coroutine)
    assert_type(cache.get_multi(["a", "b"]), list[Any])
    cache.put_multi({"a": 1}, expiration_time=5)
    cache.invalidate_tags("user:5", "nav", hard=False)
    cache.invalidate_view("hello", name="Ada")
    cache.invalidate_fragment("profile")
    page_answered.connect(answered)


def answered(sender: Flask, **what: Any) -> None:
    logging.info("%s %s", sender.name, what)


def use_the_old_names() -> None:
    old = Cache(Flask("old"), config={"CACHE_TYPE": "SimpleCache"})
    old.cached(timeout=50, query_string=True)(hello)
    old.memoize(50)(load_user)
    old.delete_memoized(load_user, 1)
    assert_type(old.set("key", 1, timeout=5), bool)
    assert_type(old.get_many("a", "b"), list[Any])


# Mako


def make_lookups(theirs: Any) -> None:
    lookup = TemplateLookup(
        directories=["templates"],
        cache_regions={
            "local": make_region("dogpile.cache.memory", expiration_time=360),
            "shared": {"backend": "sqlite", "grace": "1h"},
        },
        cache_region="local",
        cache_fingerprint="tree",
        strict_undefined=True,
    )
    assert_type(lookup, TemplateLookup)
    lookup.get_template("bird.html").render(name="wren")
    template = Template("text", cache_regions={"local": make_region()})
    template.render()
    init_mako(theirs, {"local": make_region()}, region="local", fingerprint=None)
