"""Cached views of Django in real server processes: one rendering for all clients."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from listening import Server, serving

pytest.importorskip("django")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="sockets are handed down"),
]

APPLICATION = """
import asyncio, os, sys, time
from pathlib import Path

import django
from django.conf import settings

folder = Path(os.environ["SITE_FOLDER"])
url = os.environ.get("SITE_CACHE")
cache = {"url": url} if url else {
    "backend": "sqlite", "arguments": {"filename": str(folder / "cache.db")}
}
settings.configure(
    SECRET_KEY="a secret of the tests, long enough",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF="site_app",
    INSTALLED_APPS=["dogpile.cache.integrations.django"],
    DOGPILE_CACHE_REGIONS={"default": {**cache, "generation_ttl": 0}},
    DOGPILE_CACHE_KEY_PREFIX=folder.name,
)
django.setup()

from django.http import HttpResponse
from django.urls import path
from dogpile.cache.integrations.django import cached_view, regions

decorated = cached_view(3600, grace=3600, tags="all", retry_after=0)

def begin():
    with (folder / "calls").open("a") as file:
        file.write("x")
    if (folder / "fail").exists():
        raise ValueError("the database is gone")
    return time.monotonic() + 30

def waits(until):
    return not (folder / "go").exists() and time.monotonic() < until

def end():
    (folder / "ended").touch()
    return HttpResponse((folder / "calls").read_text())

@decorated
def index(request):
    until = begin()
    while waits(until):
        time.sleep(0.01)
    return end()

@decorated
async def aindex(request):
    until = begin()
    while waits(until):
        await asyncio.sleep(0.01)
    return end()

def expire(request):
    regions["default"].invalidate_tags("all", hard=False)
    return HttpResponse()

view = aindex if os.environ["SITE_VIEW"] == "async" else index
urlpatterns = [path("", view), path("expire", expire)]
"""

INTERFACE = """
import site_app
from django.core.{kind} import get_{kind}_application
application = get_{kind}_application()
"""

GUNICORN = (
    *("-m", "gunicorn", "--workers=4", "--threads=8", "--bind=fd://{fd}"),
    *("--worker-tmp-dir={folder}", "site_wsgi:application"),
)
UVICORN = (
    *("-m", "uvicorn", "--workers=4", "--lifespan=off", "--fd={fd}"),
    "site_asgi:application",
)
# The server's module, its command given a listening socket, and the view's kind.
KINDS = {
    "gunicorn": ("gunicorn", GUNICORN, "sync"),
    "gunicorn-async": ("gunicorn", GUNICORN, "async"),
    "uvicorn": ("uvicorn", UVICORN, "async"),
    "uvicorn-sync": ("uvicorn", UVICORN, "sync"),
}


@pytest.fixture(params=["sqlite"])
def cache(request: pytest.FixtureRequest) -> str:
    """The URL of the cache; empty for the file."""
    if request.param == "sqlite":
        return ""
    pytest.importorskip("redis" if request.param == "redis" else "pymemcache")
    port = request.getfixturevalue(f"{request.param}_server").port
    return f"{request.param}://127.0.0.1:{port}"


@pytest.fixture(params=list(KINDS))
def server(
    request: pytest.FixtureRequest, tmp_path: Path, cache: str
) -> Iterator[Server]:
    module, command, view = KINDS[request.param]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    (tmp_path / "site_app.py").write_text(APPLICATION)
    for kind in ("asgi", "wsgi"):
        (tmp_path / f"site_{kind}.py").write_text(INTERFACE.format(kind=kind))
    environment = {"SITE_VIEW": view, "SITE_CACHE": cache}
    with serving(tmp_path, *command, **environment) as made:
        yield made


class TestCrowds:
    """32 clients at once, and four processes of workers."""

    def test_a_cold_page_is_rendered_once(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "go").touch()

        answers = list(server.crowd())

        assert {(each.status, text) for each, text in answers} == {(200, "x")}
        assert (tmp_path / "calls").read_text() == "x"

    def test_nobody_waits_for_an_expired_page(
        self, server: Server, tmp_path: Path
    ) -> None:
        (tmp_path / "go").touch()
        server.ask()
        (tmp_path / "go").unlink()
        (tmp_path / "ended").unlink()
        server.ask("/expire")

        answers = list(server.crowd())

        # All have theirs, and the view has not ended.
        assert not (tmp_path / "ended").exists()
        assert {(each.status, text) for each, text in answers} == {(200, "x")}
        (tmp_path / "go").touch()

    def test_while_the_view_fails_the_stale_page_is_served(
        self, server: Server, tmp_path: Path
    ) -> None:
        (tmp_path / "go").touch()
        server.ask()
        (tmp_path / "fail").touch()
        server.ask("/expire")

        answers = list(server.crowd())

        assert {(each.status, text) for each, text in answers} == {(200, "x")}
        for each, _ in answers:
            assert re.fullmatch(r"\d+", each.headers["Age"])
            assert each.headers["Cache-Status"].startswith("dogpile; hit")


@pytest.mark.server
@pytest.mark.parametrize("cache", ["redis", "memcached"], indirect=True)
class TestCrowdsOnServers(TestCrowds):
    """The same, with the pages on a server."""
