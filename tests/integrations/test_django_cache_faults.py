"""A cache whose server is gone, and one in the child of a fork."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django")

import django_site  # noqa: F401 - it configures Django
from asgiref.sync import async_to_sync
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path
from django.views.decorators.cache import cache_page
from servers import Server, free_port, wait_until

from dogpile.cache import BackendError, BackendUnavailable

OURS = "dogpile.cache.integrations.django.DogpileCache"
SESSIONS = "django.contrib.sessions"


def served(kind: str, port: int, **more: Any) -> dict[str, Any]:
    place = f"127.0.0.1:{port}"
    url = f"redis://{place}" if kind == "redis" else place
    arguments = {"url": url}
    options = {"backend": f"dogpile.cache.{kind}", "arguments": arguments, **more}
    return {"default": {"BACKEND": OURS, "OPTIONS": options}}


@pytest.fixture(params=["redis", "pymemcache"])
def dead(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A cache on a port that nobody listens on; there is no need of a server."""
    with override_settings(CACHES=served(request.param, free_port())):
        yield caches["default"]


@pytest.fixture(params=["threads", "loops"])
def ask(request: pytest.FixtureRequest) -> Callable[..., Any]:
    def in_thread(cache: Any, name: str, *given: Any, **how: Any) -> Any:
        return getattr(cache, name)(*given, **how)

    def in_loop(cache: Any, name: str, *given: Any, **how: Any) -> Any:
        return async_to_sync(getattr(cache, f"a{name}"))(*given, **how)

    return in_thread if request.param == "threads" else in_loop


@pytest.mark.server  # not of the servers, but of their clients there is need
class TestDeadServer:
    def test_all_is_as_with_djangos_dummy(self, dead: Any, ask: Any) -> None:
        assert ask(dead, "get", "key", "default") == "default"
        assert ask(dead, "get_many", ["key"]) == {}
        assert ask(dead, "has_key", "key") is False
        assert ask(dead, "get_or_set", "key", lambda: 1) == 1
        assert ask(dead, "add", "key", 1) is True
        assert ask(dead, "touch", "key") is False
        assert ask(dead, "delete", "key") is False
        assert ask(dead, "set", "key", 1) is False
        assert ask(dead, "set_many", {"a": 1, "b": 2}) == ["a", "b"]
        assert ask(dead, "ttl", "key") == 0
        ask(dead, "delete_many", ["a", "b"])
        ask(dead, "invalidate_tags", "nav")
        ask(dead, "clear")
        for name in ("incr", "decr", "incr_version"):
            with pytest.raises(ValueError, match="not found"):
                ask(dead, name, "key")

    def test_each_failure_is_an_event(self, dead: Any, ask: Any) -> None:
        told: list[Any] = []
        dead._store.on("backend_error", told.append)

        ask(dead, "set", "key", 1)
        ask(dead, "add", "key", 1)
        ask(dead, "get", "key")

        assert len(told) >= 3
        assert all(isinstance(each.details["error"], BackendError) for each in told)

    def test_a_lock_says_that_it_cannot_be_had(self, dead: Any) -> None:
        with pytest.raises(BackendUnavailable):
            dead.lock("job").acquire()

    def test_a_region_may_say_that_it_is_an_error(self) -> None:
        chosen = served("redis", free_port(), on_backend_error="raise")
        with override_settings(CACHES=chosen):
            for name, *given in (("get", "k"), ("set", "k", 1), ("add", "k", 1)):
                with pytest.raises(BackendUnavailable):
                    getattr(caches["default"], name)(*given)

    def test_pages_and_sessions_go_on(
        self, dead: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def view(request: HttpRequest) -> HttpResponse:
            visits = request.session.get("visits", 0) + 1
            request.session["visits"] = visits
            return HttpResponse(str(visits))

        urls = [path("", view), path("page/", cache_page(60)(view))]
        for engine, visits in (("cache", "1"), ("cached_db", "2")):
            with override_settings(
                ROOT_URLCONF=tuple(urls),
                MIDDLEWARE=[f"{SESSIONS}.middleware.SessionMiddleware"],
                SESSION_ENGINE=f"{SESSIONS}.backends.{engine}",
            ):
                client = Client()
                client.get("/")

                assert client.get("/page/").content.decode() == visits


@pytest.mark.server
class TestServerThatGoes:
    @pytest.mark.parametrize("kind", ["redis", "pymemcache"])
    def test_what_could_not_be_deleted_is_gone_when_it_comes_back(
        self, kind: str, request: pytest.FixtureRequest, ask: Any
    ) -> None:
        kinds = {"redis": "start_redis", "pymemcache": "start_memcached"}
        server: Server = request.getfixturevalue(kinds[kind])()
        arguments = served(kind, server.port)
        options = arguments["default"]["OPTIONS"]["arguments"]
        options["socket_timeout"] = 0.2
        with override_settings(CACHES=arguments):
            cache: Any = caches["default"]
            cache.set_many({"deleted": 1, "replaced": 1, "kept": 1})
            with server.paused():
                # It may answer once more before the signal reaches it.
                wait_until(lambda: ask(cache, "get", "kept") is None, "a pause")
                ask(cache, "delete", "deleted")
                ask(cache, "set", "replaced", 2)

            wait_until(lambda: cache.get("kept") == 1, "the server to be asked again")

            assert cache.get("deleted") is None
            assert cache.get("replaced") != 1


class TestFork:
    @pytest.mark.parametrize("kind", ["memory", "sqlite"])
    def test_a_child_goes_on_with_a_cache(self, kind: str, tmp_path: Path) -> None:
        options: dict[str, Any] = {"backend": f"dogpile.cache.{kind}"}
        if kind == "sqlite":
            options["arguments"] = {"filename": str(tmp_path / "cache.db")}
        with override_settings(
            CACHES={"default": {"BACKEND": OURS, "OPTIONS": options}}
        ):
            _try_in_child(shared=kind == "sqlite")

    @pytest.mark.server
    def test_a_child_has_connections_of_its_own(self, redis_server: Server) -> None:
        with override_settings(CACHES=served("redis", redis_server.port)):
            _try_in_child(shared=True)
            caches["default"].clear()


def _try_in_child(*, shared: bool) -> None:
    cache: Any = caches["default"]
    cache.set_many({"n": 1, "parent": 1})
    told, tell = multiprocessing.Pipe(duplex=False)
    with warnings.catch_warnings():
        # Other tests may have left threads, of which a child has none.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            tell.send([cache.incr("n"), cache.get("parent"), cache.add("new", 1)])
        finally:
            os._exit(0)
    assert told.poll(20)
    answers = told.recv()
    os.waitpid(child, 0)

    assert answers == [2, 1, True]
    assert cache.get("n") == (2 if shared else 1)
    assert cache.incr("n") == (3 if shared else 2)
