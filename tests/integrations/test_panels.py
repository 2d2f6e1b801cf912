"""The panels of the debug toolbars of Django and Flask, in the real ones."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from dogpile.cache import CacheRegion, make_region
from dogpile.cache.integrations.panel import Recorder, content, subtitle


@pytest.fixture
def region() -> CacheRegion:
    return make_region().configure("dogpile.cache.memory", 60)


class TestRecorder:
    def test_it_hears_what_its_request_does(self, region: CacheRegion) -> None:
        recorder = Recorder({"pages": region})
        recorder.start()
        region.get_or_create("<key>", lambda: 1)
        region.get_or_create("<key>", lambda: 1)

        recorder.stop()

        region.get_or_create("<key>", lambda: 1)
        told = recorder.told()
        assert [row["event"] for row in told["rows"]] == ["miss", "create", "hit"]
        assert {row["region"] for row in told["rows"]} == {"pages"}
        assert subtitle(told) == "1 hit, 1 miss, 1 created"
        assert "<td>&lt;key&gt;</td>" in content(told)

    def test_requests_are_told_apart(self, region: CacheRegion) -> None:
        recorders: dict[str, Recorder] = {}
        barrier = threading.Barrier(2, timeout=30)

        def ask(key: str) -> None:
            recorders[key] = Recorder({"pages": region})
            recorders[key].start()
            barrier.wait()
            region.get_or_create(key, lambda: 1)
            barrier.wait()
            recorders[key].stop()

        threads = [threading.Thread(target=ask, args=(key,)) for key in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        for key, recorder in recorders.items():
            assert {row["key"] for row in recorder.told()["rows"]} == {key}

    def test_tasks_belong_to_their_request(self, region: CacheRegion) -> None:
        async def run() -> Recorder:
            recorder = Recorder({"pages": region})
            recorder.start()
            keys = [region.aget_or_create(str(n), lambda: 1) for n in range(3)]
            await asyncio.gather(*keys)
            recorder.stop()
            return recorder

        told = asyncio.run(run()).told()

        assert told["counts"]["create"] == 3

    def test_nothing_listens_after_it(self, region: CacheRegion) -> None:
        recorder = Recorder({"pages": region})
        recorder.start()

        recorder.stop()

        assert not region.events.wanted

    def test_an_empty_panel_says_so(self, region: CacheRegion) -> None:
        told = Recorder({"pages": region}).told()

        assert subtitle(told) == "0 hits, 0 misses, 0 created"
        assert "No region was asked" in content(told)

    def test_a_long_panel_is_cut(self, region: CacheRegion) -> None:
        recorder = Recorder({"pages": region})
        recorder.start()
        for number in range(1500):
            region.get_or_create(str(number) * 100, lambda: 1)
        recorder.stop()

        told = recorder.told()

        assert (len(told["rows"]), told["counts"]["create"]) == (1000, 1500)
        assert max(len(row["key"]) for row in told["rows"]) == 201
        assert "The first 1000 are shown." in content(told)


def test_flask_shows_the_panel() -> None:
    flask = pytest.importorskip("flask")
    toolbar = pytest.importorskip("flask_debugtoolbar")
    from dogpile.cache.integrations.flask import DogpileCache

    app = flask.Flask("site")
    app.debug = True
    app.secret_key = "a secret of the tests, long enough"
    app.config["DEBUG_TB_PANELS"] = [
        "dogpile.cache.integrations.flask.panel.DogpilePanel"
    ]
    cache = DogpileCache(app)
    toolbar.DebugToolbarExtension(app)
    view = cache.cached(60)(lambda: "<html><body>page</body></html>")
    app.add_url_rule("/", "index", view)
    client = app.test_client()

    texts = [client.get("/").text, client.get("/").text]

    assert "0 hits, 1 miss, 1 created" in texts[0]
    assert "1 hit, 0 misses, 0 created" in texts[1]
    assert "<td>page:http://localhost|/?</td>" in texts[1]


# In a process of its own, because the toolbar is an application of the settings.
DJANGO = """
import re
import django
from django.conf import settings

settings.configure(
    DEBUG=True,
    SECRET_KEY="a secret of the tests, long enough",
    ALLOWED_HOSTS=["testserver"],
    INTERNAL_IPS=["127.0.0.1"],
    ROOT_URLCONF="__main__",
    STATIC_URL="/static/",
    INSTALLED_APPS=[
        "django.contrib.staticfiles", "debug_toolbar",
        "dogpile.cache.integrations.django",
    ],
    MIDDLEWARE=["debug_toolbar.middleware.DebugToolbarMiddleware"],
    DEBUG_TOOLBAR_CONFIG={"SHOW_TOOLBAR_CALLBACK": lambda request: True},
    DEBUG_TOOLBAR_PANELS=["dogpile.cache.integrations.django.panel.DogpilePanel"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True}],
    DOGPILE_CACHE_REGIONS={"default": "memory"},
    CACHES={"default": {
        "BACKEND": "dogpile.cache.integrations.django.DogpileCache",
        "LOCATION": "default",
    }},
    USE_TZ=True,
)
django.setup()

from debug_toolbar.toolbar import debug_toolbar_urls
from django.core.cache import cache
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from dogpile.cache.integrations.django import cached_view

page = "<html><body>page</body></html>"
index = cached_view(60)(lambda request: HttpResponse(page))

@cached_view(60)
async def aindex(request):
    return HttpResponse(page)

def reader(request):
    return HttpResponse(page.replace("page", cache.get_or_set("page:", "page")))

urlpatterns = [path("", index), path("a", aindex), path("cache", reader),
               *debug_toolbar_urls()]
client = Client()

def show(text):
    print(*re.findall(r"\\d+ hits?, \\d+ miss(?:es)?, \\d+ created", text))
    store = re.findall(r'data-(?:store|request)-id="(\\w+)"', text)[0]
    panel = client.get("/__debug__/render_panel/", {
        "request_id": store, "store_id": store, "panel_id": "DogpilePanel",
    })
    print(*re.findall(r"<td>(hit|miss|create|put)</td><td>[^<]*page:",
                      panel.json()["content"]))

for _ in range(2):
    show(client.get("/").content.decode())

show(client.get("/cache").content.decode())

import asyncio

async def ask():
    return (await AsyncClient().get("/a")).content.decode()

show(asyncio.run(ask()))
"""


def test_django_shows_the_panel(tmp_path: Path) -> None:
    pytest.importorskip("django")
    pytest.importorskip("debug_toolbar")
    (tmp_path / "shop.py").write_text(DJANGO)

    done = subprocess.run(
        [sys.executable, "shop.py"],
        cwd=tmp_path,
        env=dict(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )

    said: Any = done.stdout.splitlines()
    assert said == [
        *("0 hits, 1 miss, 1 created", "miss create"),
        *("1 hit, 0 misses, 0 created", "hit"),
        *("0 hits, 2 misses, 1 created", "miss miss create"),
        *("0 hits, 1 miss, 1 created", "miss create"),
    ], done.stderr
