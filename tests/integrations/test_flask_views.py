"""Cached views in Flask: one rendering, HTTP, and what is nobody else's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flask")

import flask
from flask import Flask, Response, abort, g, request, session, url_for
from flask.testing import FlaskClient
from flask.views import MethodView

from dogpile.cache import ConfigurationError, ValidationError
from dogpile.cache.integrations.flask import DogpileCache
from dogpile.cache.testing import FakeClock

KINDS = ["memory", "sqlite"]


class Site:
    """An application whose pages say how often they were rendered."""

    def __init__(self, folder: Path, kind: str, **config: Any) -> None:
        self.clock = FakeClock()
        settings: dict[str, Any] = {
            "backend": kind,
            "clock": self.clock,
            "expiration_time": 60,
        }
        if kind == "sqlite":
            settings["arguments"] = {"filename": str(folder / "cache.db")}
            settings["generation_ttl"] = 0
        self.app = Flask("site", root_path=str(folder))
        self.app.secret_key = "a secret of the tests, long enough"
        self.app.config.update(
            {"DOGPILE_CACHE_REGIONS": {"default": settings}, **config}
        )
        self.cache = DogpileCache(self.app)
        self.calls = 0

    def called(self) -> str:
        self.calls += 1
        return str(self.calls)

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def get(self, path: str = "/", **how: Any) -> Any:
        return self.client.get(path, **how)

    def text(self, path: str = "/", **how: Any) -> str:
        return str(self.get(path, **how).text)

    def close(self) -> None:
        """Close what the regions have open."""
        for region in self.app.extensions["dogpile.cache"].regions.values():
            region.close()

    def settle(self) -> None:
        """Wait for what is refreshed in the background."""
        for region in self.app.extensions["dogpile.cache"].regions.values():
            assert region.storage.pending.wait(10)


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, request.param)
    yield made
    made.settle()
    made.close()


def page(site: Site, rule: str = "/", **options: Any) -> None:
    """Give a site a page that says how often it was rendered."""

    def view(**view_args: Any) -> str:
        return site.called()

    view.__name__ = f"page{len(site.app.view_functions)}"
    site.app.add_url_rule(rule, "page", site.cache.cached(**options)(view))


class TestPages:
    def test_a_page_is_rendered_once(self, site: Site) -> None:
        page(site)

        assert [site.text(), site.text()] == ["1", "1"]

    def test_a_page_expires(self, site: Site) -> None:
        page(site, expiration_time=10)
        site.get()

        site.clock.advance(11)

        assert site.text() == "2"

    def test_the_region_says_how_long_if_the_view_does_not(self, site: Site) -> None:
        page(site)

        assert site.get().headers["Cache-Control"] == "max-age=60"

    def test_the_decorator_needs_no_parentheses(self, site: Site) -> None:
        @site.app.get("/")
        @site.cache.cached
        def index() -> str:
            return site.called()

        assert [site.text(), site.text()] == ["1", "1"]

    def test_an_async_view_is_cached(self, site: Site) -> None:
        pytest.importorskip("asgiref")

        @site.app.get("/")
        @site.cache.cached(60)
        async def index() -> str:
            return site.called()

        assert [site.text(), site.text()] == ["1", "1"]

    def test_method_views_are_cached(self, site: Site) -> None:
        class Item(MethodView):
            @site.cache.cached(60)
            def get(self, name: str) -> str:
                return name + site.called()

            def post(self, name: str) -> str:
                return "posted" + site.called()

        site.app.add_url_rule("/<name>", view_func=Item.as_view("item"))

        assert [site.text("/a"), site.text("/a"), site.text("/b")] == ["a1", "a1", "b2"]
        assert site.client.post("/a").text == "posted3"
        assert site.text("/a") == "a1"

    def test_decorated_view_classes_are_cached(self, site: Site) -> None:
        class Item(MethodView):
            decorators = (site.cache.cached(60, tags="items"),)  # type: ignore[assignment]  # Flask wants a list

            def get(self) -> str:
                return site.called()

            def post(self) -> str:
                return "posted"

        site.app.add_url_rule("/", view_func=Item.as_view("item"))

        assert [site.text(), site.client.post("/").text, site.text()] == [
            "1",
            "posted",
            "1",
        ]
        with site.app.app_context():
            site.cache.invalidate_view("item")
        assert site.text() == "2"

    def test_one_blueprint_serves_two_applications(self, tmp_path: Path) -> None:
        cache = DogpileCache()
        blueprint = flask.Blueprint("blog", __name__)
        calls: list[str] = []

        @blueprint.get("/")
        @cache.cached(60)
        def index() -> str:
            calls.append(flask.current_app.name)
            return flask.current_app.name

        apps = [Flask("first"), Flask("second")]
        for app in apps:
            cache.init_app(app)
            app.register_blueprint(blueprint)

        told = [app.test_client().get("/").text for app in apps * 2]

        assert told == ["first", "second", "first", "second"]
        assert calls == ["first", "second"]

    def test_a_key_of_ones_own_stands_for_path_and_query(self, site: Site) -> None:
        page(site, "/<name>", key=lambda: "all")

        assert [site.text("/a?x=1"), site.text("/b")] == ["1", "1"]
        assert site.text("/a", headers={"Host": "other.example"}) == "2"

    def test_a_view_may_leave_a_request_uncached(self, site: Site) -> None:
        page(site, unless=lambda: request.args.get("fresh"))

        assert [site.text("/?fresh=1"), site.text("/?fresh=1")] == ["1", "2"]
        assert site.get("/?fresh=1").headers["Cache-Status"] == (
            "dogpile; fwd=bypass; detail=unless"
        )

    def test_a_filter_says_what_may_be_kept(self, site: Site) -> None:
        page(site, response_filter=lambda response: response.data != b"1")

        assert [site.text(), site.text(), site.text(), site.text()] == list("1233")

    def test_headers_of_a_page_are_kept(self, site: Site) -> None:
        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> Any:
            return {"n": site.called()}, 203, {"X-Own": "yes"}

        first, second = site.get(), site.get()

        assert first.json == second.json == {"n": "1"}
        assert (second.status_code, second.headers["X-Own"]) == (203, "yes")

    def test_the_same_object_is_never_handed_out_twice(self, site: Site) -> None:
        page(site)

        @site.app.after_request
        def mark(response: Response) -> Response:
            response.headers.add("X-Mark", "1")
            return response

        site.get()

        assert site.get().headers.getlist("X-Mark") == ["1"]


class TestCrowds:
    def test_a_crowd_renders_once(self, site: Site) -> None:
        crowd = 8
        started, go = threading.Event(), threading.Event()

        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> str:
            started.set()
            assert go.wait(10)
            return site.called()

        answers = Answers(site)
        answers.ask(1)
        assert started.wait(10)
        answers.ask(crowd - 1)
        site.clock.advance(1)
        go.set()

        assert {each.text for each in answers.all()} == {"1"}

    def test_who_waited_is_told_so(self, site: Site) -> None:
        started, go = threading.Event(), threading.Event()
        waiting = threading.Event()
        region = site.app.extensions["dogpile.cache"].region()

        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> str:
            started.set()
            assert go.wait(10)
            return site.called()

        answers = Answers(site)
        answers.ask(1)
        assert started.wait(10)
        region.on("miss", lambda event: waiting.set())
        answers.ask(1)
        assert waiting.wait(10)
        site.clock.advance(1)
        go.set()

        told = sorted(each.headers["Cache-Status"] for each in answers.all())
        assert told == [
            "dogpile; fwd=uri-miss; ttl=59; collapsed",
            "dogpile; fwd=uri-miss; ttl=60; stored",
        ]

    def test_nobody_gets_what_was_made_for_another(self, site: Site) -> None:
        started, go = threading.Event(), threading.Event()

        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> str:
            started.set()
            assert go.wait(10)
            return str(session.setdefault("name", site.called()))

        answers = Answers(site)
        answers.ask(1)
        assert started.wait(10)
        answers.ask(5)
        go.set()

        assert sorted(each.text for each in answers.all()) == list("123456")

    def test_a_refusal_is_for_one_client(self, site: Site) -> None:
        started, go = threading.Event(), threading.Event()

        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> str:
            first = not started.is_set()
            started.set()
            assert go.wait(10)
            if first:
                abort(403)
            return site.called()

        answers = Answers(site)
        answers.ask(1)
        assert started.wait(10)
        answers.ask(3)
        go.set()

        assert sorted(each.status_code for each in answers.all()) == [200] * 3 + [403]

    def test_nobody_waits_for_a_page_that_is_not_kept(self, site: Site) -> None:
        both = threading.Barrier(2, timeout=10)
        is_met = threading.Event()

        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> str:
            if is_met.is_set():
                both.wait()
            return str(session.setdefault("name", site.called()))

        site.get()
        is_met.set()
        answers = Answers(site)
        answers.ask(2)

        assert [each.status_code for each in answers.all()] == [200, 200]


class Answers:
    """What clients get that ask at the same time."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._threads: list[threading.Thread] = []
        self._answers: list[Any] = []

    def ask(self, count: int) -> None:
        for _ in range(count):
            thread = threading.Thread(
                target=lambda: self._answers.append(self._site.get()), daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def all(self) -> list[Any]:
        for thread in self._threads:
            thread.join(20)
        assert len(self._answers) == len(self._threads)
        return self._answers


class TestGrace:
    def test_a_stale_page_is_served_while_a_new_one_is_made(self, site: Site) -> None:
        page(site, expiration_time=60, grace=600)
        site.get()
        site.clock.advance(70)

        stale = site.get()
        site.settle()

        assert (stale.text, stale.headers["Age"]) == ("1", "70")
        assert stale.headers["Cache-Status"] == "dogpile; hit; ttl=-10"
        assert site.text() == "2"

    def test_a_stale_page_is_served_while_the_view_fails(self, site: Site) -> None:
        is_failing = threading.Event()

        @site.app.get("/")
        @site.cache.cached(60, grace=600)
        def index() -> str:
            if is_failing.is_set():
                raise ValueError("the database is gone")
            return site.called()

        site.get()
        is_failing.set()
        ages = []
        for _ in range(3):
            site.clock.advance(100)
            answer = site.get()
            site.settle()
            assert (answer.status_code, answer.text) == (200, "1")
            ages.append(answer.headers["Age"])

        assert ages == ["100", "200", "300"]
        is_failing.clear()
        site.clock.advance(10)
        site.get()
        site.settle()
        assert site.text() == "2"

    @pytest.mark.parametrize("how", ["return", "abort"])
    def test_an_answer_of_500_is_a_failure(self, site: Site, how: str) -> None:
        is_failing = threading.Event()

        @site.app.get("/")
        @site.cache.cached(60, grace=600)
        def index() -> Any:
            if is_failing.is_set():
                return abort(503) if how == "abort" else ("sorry", 500)
            return site.called()

        site.get()
        is_failing.set()
        site.clock.advance(70)
        site.get()
        site.settle()

        assert site.get().status_code == 200

    @pytest.mark.parametrize("how", ["return", "abort"])
    def test_a_page_that_is_gone_is_gone(self, site: Site, how: str) -> None:
        is_gone = threading.Event()

        @site.app.get("/")
        @site.cache.cached(60, grace=600)
        def index() -> Any:
            if is_gone.is_set():
                return abort(404) if how == "abort" else ("gone", 404)
            return site.called()

        site.get()
        is_gone.set()
        site.clock.advance(70)
        site.get()
        site.settle()

        assert site.get().status_code == 404

    def test_a_refresh_has_the_request_of_the_key_alone(self, site: Site) -> None:
        @site.app.get("/<name>")
        @site.cache.cached(60, grace=600, query=("q",), vary=["X-A"])
        def item(name: str) -> str:
            facts = (name, request.path, request.args.to_dict(), request.headers["X-A"])
            own = url_for(".item", name="other")
            return f"{site.called()} {facts} {own} {request.url}"

        how = {"headers": {"X-A": "a", "Host": "site.example"}}
        first = site.text("/n?q=1&utm=x", **how)
        site.clock.advance(70)
        site.text("/n?utm=y&q=1", **how)
        site.settle()

        second = site.text("/n?q=1", **how)
        assert first[0] + second[0] == "12"
        assert first[1:] == second[1:]
        assert "http://site.example/n?q=1" in second

    @pytest.mark.parametrize(
        "what", ["session", "cookie", "header", "address", "remote_addr"]
    )
    def test_a_refresh_that_wants_the_client_says_so(
        self, site: Site, what: str
    ) -> None:
        reads: dict[str, Callable[[], object]] = {
            "session": lambda: session.get("name"),
            "cookie": lambda: request.cookies.get("name"),
            "header": lambda: request.headers.get("User-Agent"),
            "address": lambda: request.environ.get("REMOTE_ADDR"),
            "remote_addr": lambda: request.remote_addr,
        }
        read = reads[what]
        errors: list[Any] = []
        is_reading = threading.Event()
        region = site.app.extensions["dogpile.cache"].region()
        region.on("create_failed", lambda event: errors.append(event.details["error"]))

        @site.app.get("/")
        @site.cache.cached(60, grace=600)
        def index() -> str:
            if is_reading.is_set():
                read()
            return site.called()

        site.get()
        is_reading.set()
        site.clock.advance(70)
        assert site.text() == "1"
        site.settle()

        [error] = errors
        assert isinstance(error, ConfigurationError)
        assert "in the background, where there is no client" in str(error)

    @pytest.mark.parametrize(
        "read",
        [
            lambda: request.remote_addr,
            lambda: request.environ.get("SSL_CLIENT_S_DN"),
            lambda: request.environ.get("RAW_URI"),
            lambda: request.environ.get("REQUEST_URI"),
            lambda: request.environ.get("a.middleware"),
            # As a page for debugging shows it.
            lambda: str(request.environ),
            lambda: request.environ == {},
        ],
    )
    def test_what_a_server_tells_of_the_client_is_seen(
        self, site: Site, read: Callable[[], Any]
    ) -> None:
        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> str:
            return f"{read()} {site.called()}"

        answers = [site.get(), site.get()]

        assert answers[0].data != answers[1].data
        assert "detail=unkeyed-" in answers[0].headers["Cache-Status"]

    @pytest.mark.parametrize(
        "read",
        [
            lambda: request.is_json,
            lambda: request.mimetype,
            lambda: request.content_type,
            lambda: request.headers.get("Content-Type"),
            lambda: request.environ.get("CONTENT_TYPE"),
        ],
    )
    @pytest.mark.parametrize("is_read_before", [False, True])
    def test_a_type_without_content_poisons_nothing(
        self, site: Site, read: Callable[[], Any], is_read_before: bool
    ) -> None:
        if is_read_before:
            site.app.before_request(lambda: read() and None)

        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> str:
            return f"{read()} {site.called()}"

        evil = site.get(headers={"Content-Type": "application/json"})

        assert evil.headers["Cache-Status"] == (
            "dogpile; fwd=uri-miss; detail=unkeyed-content-type"
        )
        assert "json" not in site.text()

    def test_a_type_that_is_named_is_in_the_key(self, site: Site) -> None:
        @site.app.get("/")
        @site.cache.cached(60, vary=["Content-Type"])
        def index() -> str:
            return f"{request.is_json} {site.called()}"

        kinds = [{"Content-Type": "application/json"}, {}]
        texts = [site.text(headers=kind) for kind in kinds * 2]

        assert texts == ["True 1", "False 2", "True 1", "False 2"]

    def test_a_refresh_ends_like_a_request(self, site: Site) -> None:
        ended: list[bool] = []

        @site.app.teardown_appcontext
        def end(error: BaseException | None) -> None:
            ended.append("connection" in g)

        @site.app.get("/")
        @site.cache.cached(60, grace=600)
        def index() -> str:
            assert "connection" not in g
            g.connection = object()
            return site.called()

        site.get()
        site.clock.advance(70)
        site.get()
        site.settle()

        assert sorted(ended) == [False, True, True]

    def test_a_page_that_must_be_fresh_is_never_stale(self, site: Site) -> None:
        @site.app.get("/")
        @site.cache.cached(60, grace=600)
        def index() -> Any:
            return site.called(), {"Cache-Control": "max-age=60, must-revalidate"}

        site.get()
        site.clock.advance(70)

        assert site.text() != "1"


class TestHttp:
    def test_a_page_has_a_validator(self, site: Site) -> None:
        page(site)
        etag = site.get().headers["ETag"]

        answer = site.get(headers={"If-None-Match": etag})

        assert (answer.status_code, answer.data) == (304, b"")
        assert answer.headers["ETag"] == etag
        assert "Content-Type" not in answer.headers

    def test_the_first_answer_may_be_a_304(self, site: Site) -> None:
        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> Any:
            return site.called(), {"ETag": '"mine"'}

        answer = site.get(headers={"If-None-Match": 'W/"mine"'})

        assert answer.status_code == 304
        assert answer.headers["Cache-Status"].endswith("; stored")

    def test_a_page_tells_what_it_is(self, site: Site) -> None:
        page(site, expiration_time=60, grace=600, vary=["Accept-Language"])

        made = site.get()
        site.clock.advance(23)
        kept = site.get()

        assert made.headers["Cache-Status"] == "dogpile; fwd=uri-miss; ttl=60; stored"
        assert (made.headers["Age"], kept.headers["Age"]) == ("0", "23")
        assert kept.headers["Cache-Status"] == "dogpile; hit; ttl=37"
        assert kept.headers["Vary"] == "Accept-Language"
        assert kept.headers["Cache-Control"] == (
            "max-age=60, stale-while-revalidate=600, stale-if-error=600"
        )

    def test_a_page_with_tags_is_asked_for_each_time(self, site: Site) -> None:
        page(site, tags=["news"])

        assert site.get().headers["Cache-Control"] == "no-cache"

    def test_a_view_says_less_than_its_decorator(self, site: Site) -> None:
        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> Any:
            return site.called(), {"Cache-Control": "max-age=10"}

        site.get()
        site.clock.advance(11)

        assert site.text() == "2"

    def test_headers_are_turned_off_by_a_setting(self, tmp_path: Path) -> None:
        site = Site(tmp_path, "memory", DOGPILE_CACHE_HTTP_HEADERS=False)
        page(site, vary=["X-A"])

        for answer in (site.get(), site.get()):
            assert answer.text == "1"
            assert set(answer.headers) <= {
                ("Content-Type", "text/html; charset=utf-8"),
                ("Content-Length", "1"),
                ("Vary", "X-A"),
            }

    def test_a_client_is_not_obeyed(self, site: Site) -> None:
        page(site)
        site.get()

        assert site.text(headers={"Cache-Control": "no-cache"}) == "1"
        assert site.text(headers={"Pragma": "no-cache"}) == "1"

    @pytest.mark.parametrize("trust", [True, lambda asked: "X-Team" in asked.headers])
    def test_a_client_is_obeyed_where_it_is_trusted(
        self, tmp_path: Path, trust: Any
    ) -> None:
        site = Site(tmp_path, "memory", DOGPILE_CACHE_TRUST_CLIENT=trust)
        page(site)
        site.get()
        team = {"X-Team": "1"}

        assert site.text(headers={"Cache-Control": "no-cache", **team}) == "2"
        assert site.text() == "2"
        assert site.text(headers={"Cache-Control": "no-store", **team}) == "3"
        assert site.text() == "2"
        if callable(trust):
            assert site.text(headers={"Cache-Control": "no-cache"}) == "2"

    def test_errors_are_not_kept(self, site: Site) -> None:
        @site.app.get("/<int:status>")
        @site.cache.cached(60)
        def fail(status: int) -> Any:
            return site.called(), status

        assert [site.text("/500"), site.text("/500")] == ["1", "2"]
        assert [site.text("/404"), site.text("/404")] == ["3", "4"]
        assert site.get("/404").headers["Cache-Status"] == (
            "dogpile; fwd=uri-miss; detail=status"
        )

    def test_streams_are_not_kept(self, site: Site) -> None:
        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> Response:
            return Response(iter([site.called()]))

        assert [site.text(), site.text()] == ["1", "2"]

    def test_a_failing_view_is_called_once_by_a_client(self, site: Site) -> None:
        site.app.testing = True

        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> str:
            raise ValueError(site.called())

        with pytest.raises(ValueError, match="1"):
            site.get()
        with pytest.raises(ValueError, match="2"):
            site.get()


class TestPrivacy:
    """Attacks: what one client does must not come to another."""

    def test_a_cookie_is_not_replayed(self, site: Site) -> None:
        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> Response:
            response = Response(site.called())
            response.set_cookie("token", site.called())
            return response

        victim, attacker = site.get(), site.get()

        assert victim.headers["Set-Cookie"] != attacker.headers["Set-Cookie"]
        assert attacker.headers["Cache-Status"].endswith("detail=set-cookie")
        assert attacker.headers["Cache-Control"] == "private"

    def test_a_cookie_that_comes_later_is_for_one_client(self, site: Site) -> None:
        page(site)

        @site.app.after_request
        def mark(response: Response) -> Response:
            if "X-Login" in request.headers:
                response.set_cookie("token", "secret")
            return response

        victim = site.get(headers={"X-Login": "1"})

        assert "Set-Cookie" in victim.headers
        assert "Set-Cookie" not in site.get().headers

    def test_what_a_session_says_is_for_its_client(self, site: Site) -> None:
        @site.app.get("/login/<name>")
        def login(name: str) -> str:
            session["name"] = name
            return ""

        @site.app.get("/me")
        @site.cache.cached(60, grace=600)
        def me() -> str:
            return str(session.get("name"))

        victim = site.client
        victim.get("/login/victim")

        assert site.text("/me") == "None"
        assert victim.get("/me").text == "victim"
        assert site.text("/me") == "None"
        assert site.get("/me").headers["Cache-Status"].startswith("dogpile; fwd=")

    def test_a_session_that_was_read_before_is_passed(self, site: Site) -> None:
        @site.app.before_request
        def load() -> None:
            g.name = session.get("name")

        page(site)

        answer = site.get()
        assert [answer.text, site.text()] == ["1", "2"]
        assert answer.headers["Cache-Status"].endswith("detail=session")

    def test_a_cookie_that_is_read_is_not_shared(self, site: Site) -> None:
        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> str:
            return request.cookies.get("theme", "plain")

        victim = site.client
        victim.set_cookie("theme", "dark")

        told = [site.text(), victim.get("/").text, site.text(), victim.get("/").text]

        assert told == ["plain", "dark", "plain", "dark"]

    def test_authorization_is_passed_both_ways(self, site: Site) -> None:
        page(site)
        bearer = {"Authorization": "Bearer x"}

        assert site.text(headers=bearer) == "1"
        assert site.text() == "2"
        assert site.text(headers=bearer) == "3"
        assert site.get(headers=bearer).headers["Cache-Control"] == "private"

    def test_a_forged_host_poisons_nobody(self, site: Site) -> None:
        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> str:
            return url_for("index", _external=True)

        assert site.text(headers={"Host": "evil.example"}) == "http://evil.example/"
        assert site.text() == "http://localhost/"

    def test_another_scheme_is_another_page(self, site: Site) -> None:
        page(site)

        told = [
            site.text(base_url=f"{each}://localhost/") for each in ("http", "https")
        ]

        assert told == ["1", "2"]

    def test_a_header_outside_the_key_poisons_nobody(self, site: Site) -> None:
        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> str:
            host = request.headers.get("X-Forwarded-Host", request.host)
            return f"<script src='//{host}/app.js'>"

        poisoned = site.get(headers={"X-Forwarded-Host": "evil.example"})

        assert poisoned.headers["Cache-Status"] == (
            "dogpile; fwd=uri-miss; detail=unkeyed-x-forwarded-host"
        )
        assert "evil" not in site.text()

    @pytest.mark.parametrize(
        "read",
        [
            lambda: request.headers["X-A"],
            lambda: request.headers.getlist("X-A"),
            lambda: "X-A" in request.headers,
            lambda: dict(request.headers),
            lambda: request.environ["HTTP_X_A"],
            lambda: request.environ.get("HTTP_X_A"),
            lambda: dict(request.environ.items()),
            lambda: request.environ.copy().get("HTTP_X_A"),
        ],
    )
    def test_every_way_to_read_a_header_is_seen(self, site: Site, read: Any) -> None:
        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> str:
            read()
            return site.called()

        answers = [site.get(headers={"X-A": "x"}) for _ in range(2)]

        assert [each.text for each in answers] == ["1", "2"]
        assert "unkeyed-" in answers[0].headers["Cache-Status"]

    def test_what_was_read_before_is_read_anew(self, site: Site) -> None:
        @site.app.before_request
        def look() -> None:
            assert request.user_agent.string
            assert request.accept_languages is not None

        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> str:
            return f"{request.user_agent.string}"

        one, two = ({"User-Agent": each} for each in ("one", "two"))

        assert [site.text(headers=one), site.text(headers=two)] == ["one", "two"]

    def test_a_header_in_the_key_has_its_pages(self, site: Site) -> None:
        @site.app.get("/")
        @site.cache.cached(60, vary=["Accept-Language"])
        def index() -> str:
            best = request.accept_languages.best_match(["de", "en"])
            return f"{best}{site.called()}"

        told = [
            site.text(headers={"Accept-Language": each}) for each in ("de", "en", "de")
        ]

        assert told == ["de1", "en2", "de1"]

    def test_the_request_is_as_it_was_afterwards(self, site: Site) -> None:
        seen: list[Any] = []
        page(site, query=None)

        @site.app.after_request
        def look(response: Response) -> Response:
            seen.append((request.args.to_dict(), request.headers.get("X-A")))
            return response

        site.get("/?a=1", headers={"X-A": "x"})
        site.get("/?a=2", headers={"X-A": "y"})

        assert seen == [({"a": "1"}, "x"), ({"a": "2"}, "y")]

    def test_a_private_page_with_a_suffix_is_not_kept(self, site: Site) -> None:
        @site.app.get("/account/")
        @site.app.get("/account/<path:rest>")
        @site.cache.cached(60)
        def account(rest: str = "") -> str:
            return f"balance of {session.get('name', 'nobody')}"

        @site.app.get("/login")
        def login() -> str:
            session["name"] = "victim"
            return ""

        victim = site.client
        victim.get("/login")

        told = victim.get("/account/style.css")
        assert told.text == "balance of victim"
        assert told.headers["Cache-Control"] == "private"
        assert site.text("/account/style.css") == "balance of nobody"

    @pytest.mark.parametrize("suffix", ["%2Fb", "%3Fx=1", ";x", "%00", "%0a", "//"])
    def test_odd_paths_are_pages_of_their_own(self, site: Site, suffix: str) -> None:
        page(site, "/<path:rest>", expiration_time=60)

        assert site.text("/a") == "1"
        assert site.get(f"/a{suffix}").text != "1"

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
    def test_other_methods_neither_get_nor_leave_pages(
        self, site: Site, method: str
    ) -> None:
        @site.app.route("/", methods=["GET", method])
        @site.cache.cached(60)
        def index() -> str:
            return request.method + site.called()

        assert site.client.open("/", method=method).text == f"{method}1"
        assert site.text() == "GET2"
        other = site.client.open("/", method=method)
        assert other.text == f"{method}3"
        assert other.headers["Cache-Status"] == "dogpile; fwd=method"
        assert site.text() == "GET2"

    def test_a_head_leaves_no_empty_page(self, site: Site) -> None:
        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> str:
            return "" if request.method == "HEAD" else site.called()

        assert site.client.head("/").data == b""
        assert [site.text(), site.text()] == ["1", "1"]
        head = site.client.head("/")
        assert (head.data, head.headers["Content-Length"]) == (b"", "1")
        assert head.headers["Cache-Status"] == "dogpile; hit; ttl=60"

    def test_a_get_with_a_body_is_passed(self, site: Site) -> None:
        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> str:
            return str(request.form.get("q") or site.called())

        assert site.text(data={"q": "evil"}) == "evil"
        assert site.text() == "1"

    def test_the_order_of_a_query_counts_within_a_name(self, site: Site) -> None:
        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> str:
            return f"{site.called()}{request.args.getlist('a')}"

        assert site.text("/?a=1&b=2&a=3") == site.text("/?b=2&a=1&a=3")
        assert site.text("/?a=3&a=1&b=2") == "2['3', '1']"
        assert site.text("/?a=1&a=3") == "3['1', '3']"

    def test_a_parameter_outside_the_key_is_not_seen(self, site: Site) -> None:
        @site.app.get("/")
        @site.cache.cached(60, query=("page",))
        def index() -> str:
            everything = (request.args.to_dict(), request.url, request.full_path)
            return f"{site.called()} {request.query_string!r} {everything}"

        poisoned = site.text("/?page=1&callback=evil")

        assert "evil" not in poisoned
        assert site.text("/?callback=other&page=1") == poisoned
        assert site.text("/?page=2") != poisoned

    def test_a_flood_of_parameters_is_passed(self, site: Site) -> None:
        page(site)

        answer = site.get("/?" + "a&" * 1500)

        assert answer.headers["Cache-Status"].endswith("detail=query")

    def test_an_error_over_a_session_is_for_its_client(self, site: Site) -> None:
        @site.app.get("/")
        @site.cache.cached(60)
        def index() -> str:
            return str(session["name"])

        assert site.get().status_code == 500


class TestInvalidation:
    @pytest.mark.parametrize(
        ("rule", "tag", "words"),
        [
            ("/<name>", "item:{nmae}", "names no argument 'nmae' of it; did you mean"),
            ("/<name>", "item:{pk}", "no argument 'pk' of it; there are name"),
            ("/a", "item:{pk}", "no argument 'pk' of it; there are none"),
            ("/<name>", "item:{}", "counts its arguments: name them"),
        ],
    )
    def test_a_tag_of_an_argument_that_is_not_there_is_told(
        self, site: Site, rule: str, tag: str, words: str
    ) -> None:
        page(site, rule, tags=tag)
        site.app.testing = True

        with pytest.raises(ValidationError) as refusal:
            site.get("/a")

        assert f"the view 'page': the tag {tag!r} " in str(refusal.value)
        assert words in str(refusal.value)

    def test_a_tag_invalidates_pages(self, site: Site) -> None:
        page(site, "/<name>", tags=["all", "item:{name}", lambda name: [f"x:{name}"]])
        before = [site.text("/a"), site.text("/b")]

        with site.app.app_context():
            site.cache.invalidate_tags("item:a")

        assert [site.text("/a"), site.text("/b")] == ["3", before[1]]
        with site.app.app_context():
            site.cache.invalidate_tags("x:b")
        assert [site.text("/a"), site.text("/b")] == ["3", "4"]

    def test_a_soft_invalidation_leaves_a_stale_page(self, site: Site) -> None:
        page(site, tags="news", expiration_time=60, grace=600)
        site.get()

        with site.app.app_context():
            site.cache.invalidate_tags("news", hard=False)

        assert site.text() == "1"
        site.settle()
        assert site.text() == "2"

    def test_a_page_is_invalidated_by_its_view(self, site: Site) -> None:
        page(site, "/<name>")
        for path in ("/a?x=1", "/a", "/b"):
            site.get(path)

        with site.app.app_context():
            site.cache.invalidate_view("page", name="a")

        assert site.text("/b") == "3"
        assert [site.text("/a"), site.text("/a?x=1")] == ["4", "5"]
        with site.app.app_context():
            site.cache.invalidate_view("page")
        assert site.text("/b") == "6"

    def test_an_invalidation_during_the_rendering_counts(self, site: Site) -> None:
        @site.app.get("/")
        @site.cache.cached(60, tags="news")
        def index() -> str:
            if site.calls == 0:
                site.cache.invalidate_tags("news")
            return site.called()

        assert [site.text(), site.text(), site.text()] == ["1", "2", "2"]

    def test_what_is_no_cached_view_is_refused(self, site: Site) -> None:
        page(site)
        site.app.add_url_rule("/plain", "plain", lambda: "")

        with site.app.app_context():
            with pytest.raises(ValidationError, match="no view 'paje'; did you mean"):
                site.cache.invalidate_view("paje")
            with pytest.raises(ValidationError, match="'plain' is not cached"):
                site.cache.invalidate_view("plain")


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"expiration_time": "soon"}, "expiration_time is not a number"),
            ({"grase": 1}, "did you mean 'grace'"),
            ({"vary": ["*"]}, "vary takes names of headers"),
            ({"query": [1]}, "query takes True"),
        ],
    )
    def test_odd_options_are_refused_at_once(
        self, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValidationError, match=message):
            DogpileCache().cached(**options)

    def test_an_application_without_the_extension_is_told(self) -> None:
        app = Flask("bare")
        app.testing = True
        app.add_url_rule("/", "index", DogpileCache().cached(60)(lambda: "x"))

        with pytest.raises(ConfigurationError, match=r"call cache\.init_app\(app\)"):
            app.test_client().get("/")

    def test_an_unknown_region_is_told(self, site: Site) -> None:
        site.app.testing = True
        page(site, region="defualt")

        with pytest.raises(ConfigurationError, match="did you mean 'default'"):
            site.get()


def test_nothing_is_said_to_be_stored_where_caching_is_off(tmp_path: Path) -> None:
    site = Site(tmp_path, "memory", DOGPILE_CACHE_ENABLED=False)
    page(site)

    answers = [site.get().headers["Cache-Status"] for _ in range(2)]

    assert answers == ["dogpile; fwd=uri-miss"] * 2


def test_nothing_is_said_to_be_stored_that_a_dead_server_refused(
    tmp_path: Path,
) -> None:
    pytest.importorskip("redis")
    # Nobody listens at a port that was never opened.
    dead = {"far": "redis://127.0.0.1:1"}
    site = Site(tmp_path, "memory")
    site.app.config["DOGPILE_CACHE_REGIONS"].update(dead)
    del site.app.extensions["dogpile.cache"]
    site.cache.init_app(site.app)
    page(site, region="far")

    answers = [site.get() for _ in range(2)]

    assert [(each.text, each.headers["Cache-Status"]) for each in answers] == [
        ("1", "dogpile; fwd=uri-miss; detail=refused"),
        ("2", "dogpile; fwd=uri-miss; detail=refused"),
    ]


def test_a_page_that_was_overtaken_is_not_said_to_be_stored(site: Site) -> None:
    def overtaken() -> str:
        site.cache.put("page:http://localhost|/?", "other")
        return "made before"

    site.app.add_url_rule("/", "index", site.cache.cached(60)(overtaken))

    assert site.get().headers["Cache-Status"] == "dogpile; fwd=uri-miss; detail=refused"


@pytest.mark.parametrize("status", ["200 Fine", "200 OK", "203 Yes", "204 NO CONTENT"])
@pytest.mark.parametrize("http_headers", [True, False])
def test_a_page_keeps_the_text_of_its_status(
    tmp_path: Path, status: str, http_headers: bool
) -> None:
    site = Site(tmp_path, "sqlite", DOGPILE_CACHE_HTTP_HEADERS=http_headers)
    kept = site.cache.cached(60)(lambda: Response(site.called(), status=status))
    site.app.add_url_rule("/", "index", kept)

    answers = [site.get() for _ in range(2)]

    assert [each.status for each in answers] == [status, status]
    assert site.calls == 1
    site.close()
