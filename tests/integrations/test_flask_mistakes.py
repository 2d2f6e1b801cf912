"""What a newcomer to the extension gets wrong, and is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flask")

from flask import Flask, g, render_template_string
from flask.views import MethodView

from dogpile.cache import ConfigurationError, ValidationError
from dogpile.cache.integrations.flask import DogpileCache, compat_store
from dogpile.cache.integrations.flask.compat import Cache
from dogpile.cache.integrations.settings import signing_keys
from dogpile.cache.testing import FakeClock


@pytest.fixture
def cache() -> DogpileCache:
    return DogpileCache()


@pytest.fixture
def app(cache: DogpileCache) -> Flask:
    app = Flask("site")
    cache.init_app(app)
    return app


class TestDecorators:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"tags": 5}, "tags takes names, format strings .*, not 5"),
            ({"tags": [5]}, r"tags takes names, .*, not \[5\]"),
            ({"query": 5}, "query takes True, None or names of parameters, not 5"),
            ({"vary": 5}, "vary takes names of headers, .*, not 5"),
            ({"key": 5}, "key takes a text, or a function that returns one, not 5"),
            ({"unless": True}, "unless takes a function, not True"),
            ({"response_filter": 5}, "response_filter takes a function, not 5"),
            ({"region": 5}, "region takes the name of a region, not 5"),
            ({"regoin": "pages"}, "no option 'regoin'; did you mean 'region'"),
            ({"timeout": 5}, "no option 'timeout'; here it is 'expiration_time'"),
            ({"expiration_time": -1}, "expiration_time is -1"),
            ({"grace": -1}, "grace is -1"),
            ({"soft_timeout": -1}, "soft_timeout is -1"),
            ({"key": str.upper}, "key takes a function that is called with no argum"),
            ({"unless": lambda asked: True}, "with no argument: missing a required"),
            ({"response_filter": lambda: 1}, "called with one argument: too many"),
        ],
    )
    def test_an_odd_option_of_a_view_is_refused_at_once(
        self, cache: DogpileCache, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValidationError, match=message):
            cache.cached(**options)

    def test_no_tags_and_no_headers_may_be_none(self, cache: DogpileCache) -> None:
        cache.cached(60, tags=None, vary=None)  # type: ignore[call-overload]  # it is no Iterable

    def test_only_functions_are_decorated(self, cache: DogpileCache) -> None:
        with pytest.raises(ValidationError, match="a view is decorated, a function"):
            cache.cached(60)(5)  # type: ignore[type-var]  # that is it
        with pytest.raises(ValidationError, match="a function is decorated, not 5"):
            cache.memoize(60)(5)  # type: ignore[type-var]  # that is it

    def test_classes_and_generators_are_not(self, cache: DogpileCache) -> None:
        def numbers() -> Iterator[int]:
            yield 1

        with pytest.raises(ValidationError, match=r"or what as_view\(\) returns"):
            cache.cached(60)(MethodView)
        with pytest.raises(ValidationError, match="is a generator, which is"):
            cache.memoize(60)(numbers)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"key": lambda: None}, "key takes a text, .* returned None"),
            ({"key": lambda: ""}, "key takes a text, .* returned ''"),
            ({"tags": "a:{name.id}"}, "'a:{name.id}' cannot be filled: 'str' object"),
            ({"tags": "a:{name"}, "cannot be filled: expected '}'"),
        ],
    )
    def test_what_a_request_shows_is_told(
        self, cache: DogpileCache, app: Flask, options: dict[str, Any], message: str
    ) -> None:
        app.testing = True
        app.add_url_rule("/<name>", "page", cache.cached(60, **options)(str.upper))

        with pytest.raises(ValidationError, match=message):
            app.test_client().get("/a")

    def test_memoize_bears_parentheses(self, cache: DogpileCache, app: Flask) -> None:
        bare: Any = cache.memoize(lambda number: number)

        with pytest.raises(ValidationError, match=r"write @cache\.memoize\(\)"):
            bare(5)
        with pytest.raises(ValidationError, match="with its parentheses"):
            bare()

    def test_an_odd_option_of_a_function_is_refused_at_once(
        self, cache: DogpileCache
    ) -> None:
        with pytest.raises(ValidationError, match="did you mean 'region'"):
            cache.memoize(60, regoin="pages")(abs)
        with pytest.raises(ValidationError, match="tags takes names"):
            cache.memoize(60, tags=5)(abs)

    def test_a_creator_is_a_function(self, cache: DogpileCache, app: Flask) -> None:
        with app.app_context(), pytest.raises(ValidationError, match="not 5: write"):
            cache.get_or_create("key", 5)  # type: ignore[arg-type]  # that is it


class TestInvalidation:
    @pytest.fixture(autouse=True)
    def _pages(self, cache: DogpileCache, app: Flask) -> None:
        @app.get("/posts/<int:year>/<slug>")
        @app.get("/posts/<slug>", defaults={"year": 2000})
        @cache.cached(60)
        def post(year: int, slug: str) -> str:
            return f"{year} {slug}"

        @app.get("/")
        @cache.cached(60)
        def index() -> str:
            return "index"

        class Item(MethodView):
            @cache.cached(60)
            def get(self, name: str) -> str:
                return name

        app.add_url_rule("/items/<name>", view_func=Item.as_view("item"))

    @pytest.mark.parametrize(
        ("endpoint", "view_args", "message"),
        [
            ("pots", {}, "there is no view 'pots'; did you mean 'post'"),
            (5, {}, "there is no view 5"),
            ("post", {"slg": "x"}, "no argument 'slg'; did you mean 'slug'"),
            ("post", {"slug": "x", "page": 1, "year": 1}, "'page'; there are slug, ye"),
            ("post", {"slug": "x"}, "name year, too, or no argument for all"),
            ("index", {"slug": "x"}, "no argument 'slug'; it has none"),
            ("item", {"nam": "x"}, "no argument 'nam'; did you mean 'name'"),
            ("item", {"self": "x"}, "no argument 'self'"),
        ],
    )
    def test_what_is_not_there_is_told(
        self,
        cache: DogpileCache,
        app: Flask,
        endpoint: Any,
        view_args: dict[str, Any],
        message: str,
    ) -> None:
        with app.app_context(), pytest.raises(ValidationError, match=message):
            cache.invalidate_view(endpoint, **view_args)

    @pytest.mark.parametrize(
        ("endpoint", "view_args"),
        [
            ("post", {}),
            ("post", {"slug": "x", "year": 2000}),
            ("item", {"name": "x"}),
            ("index", {}),
        ],
    )
    def test_what_is_there_is_not(
        self,
        cache: DogpileCache,
        app: Flask,
        endpoint: str,
        view_args: dict[str, Any],
    ) -> None:
        with app.app_context():
            cache.invalidate_view(endpoint, **view_args)

    def test_what_a_decorator_hands_on_is_an_argument_too(
        self, cache: DogpileCache, app: Flask
    ) -> None:
        calls: list[int] = []

        @cache.cached(60)
        def inner(number: int) -> str:
            calls.append(number)
            return str(number)

        app.add_url_rule("/n/<text>", "number", lambda text: inner(number=int(text)))
        app.view_functions["number"].dogpile_options = (  # type: ignore[attr-defined]
            inner.dogpile_options  # type: ignore[attr-defined]  # as by wraps()
        )
        app.view_functions["number"].__wrapped__ = inner  # type: ignore[attr-defined]
        client = app.test_client()
        client.get("/n/07")

        with app.app_context():
            cache.invalidate_view("number", number=7)
        client.get("/n/07")

        assert calls == [7, 7]

    @pytest.mark.parametrize("tags", [(5,), (["a"],), (None,)])
    def test_tags_are_names(self, cache: DogpileCache, app: Flask, tags: Any) -> None:
        with app.app_context(), pytest.raises(ValidationError, match="takes names"):
            cache.invalidate_tags(*tags)


class TestSettings:
    @pytest.mark.parametrize("given", [None, "app", 5])
    def test_only_an_application_is_initialised(self, given: Any) -> None:
        with pytest.raises(ConfigurationError, match="takes a Flask application"):
            DogpileCache().init_app(given)

    @pytest.mark.parametrize("name", ["ENABLED", "HTTP_HEADERS", "TRUST_CLIENT"])
    @pytest.mark.parametrize("value", ["maybe", 5])
    def test_a_flag_is_on_or_off(self, name: str, value: Any) -> None:
        app = Flask("site")
        app.config[f"DOGPILE_CACHE_{name}"] = value

        with pytest.raises(ValidationError, match=f"{name} in app.config takes True"):
            DogpileCache(app)

    def test_a_text_from_the_environment_may_turn_things_off(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("ENABLED", "HTTP_HEADERS", "TRUST_CLIENT"):
            monkeypatch.setenv(f"FLASK_DOGPILE_CACHE_{name}", "no")
        app = Flask("site")
        app.config.from_prefixed_env()
        cache = DogpileCache(app)
        app.add_url_rule("/", "index", cache.cached(60)(lambda: "page"))

        state = app.extensions["dogpile.cache"]
        with app.test_request_context("/") as context:
            is_trusted = state.is_trusted(context.request)

        answers = [app.test_client().get("/") for _ in range(2)]

        assert not is_trusted
        assert not state.shelf(None).is_storing
        assert all("Cache-Status" not in each.headers for each in answers)

    def test_a_number_in_the_environment_is_a_prefix(self, tmp_path: Path) -> None:
        app = Flask("site")
        app.config["DOGPILE_CACHE_KEY_PREFIX"] = 5
        app.config["DOGPILE_CACHE_URL"] = f"sqlite:///{tmp_path}/cache.db"
        cache = DogpileCache(app)

        with app.app_context():
            assert cache.region().name == "default/5"

    @pytest.mark.parametrize("value", [[], True, 0.5])
    def test_another_prefix_is_refused(self, value: Any) -> None:
        app = Flask("site")
        app.config["DOGPILE_CACHE_KEY_PREFIX"] = value

        with pytest.raises(ValidationError, match="takes a text or None"):
            DogpileCache(app)

    def test_the_name_of_a_region_that_is_none_is_told(
        self, cache: DogpileCache, app: Flask
    ) -> None:
        with app.app_context(), pytest.raises(ConfigurationError, match="no region 5"):
            cache.region(5)  # type: ignore[arg-type]  # that is it

    def test_names_of_regions_are_in_the_cache(
        self, cache: DogpileCache, app: Flask
    ) -> None:
        with app.app_context():
            assert list(cache) == ["default"]
            assert ("default" in cache, "defualt" in cache) == (True, False)

    def test_who_means_no_region_is_told_how_to_name_one(self) -> None:
        app = Flask("site")
        app.config["DOGPILE_CACHE_REGIONS"] = {"a": "memory://", "b": "memory://"}
        cache = DogpileCache(app)

        with (
            app.app_context(),
            pytest.raises(
                ConfigurationError, match="say by DOGPILE_CACHE_DEFAULT_REGION which"
            ),
        ):
            cache.get("key")

    def test_fallbacks_that_are_one_text_are_no_keys(self) -> None:
        with pytest.raises(ValidationError, match="takes a list of keys, not a text"):
            signing_keys("a secret of the tests", "another secret")

    @pytest.mark.parametrize("secret", [5, ["a"]])
    def test_a_secret_is_text_or_bytes(self, secret: Any) -> None:
        with pytest.raises(ValidationError, match="are text or bytes, not"):
            signing_keys(secret)


class TestCompat:
    def test_a_misspelt_type_names_the_nearest(self) -> None:
        app = Flask("old")
        app.config["CACHE_TYPE"] = "RediCache"

        with pytest.raises(ConfigurationError, match="did you mean 'RedisCache'"):
            Cache(app)

    @pytest.mark.parametrize(
        ("setting", "value", "message"),
        [
            ("DEFAULT_TIMEOUT", "soon", "CACHE_DEFAULT_TIMEOUT takes seconds, or a te"),
            ("DEFAULT_TIMEOUT", [1], "CACHE_DEFAULT_TIMEOUT takes seconds, not"),
            ("DOGPILE_OPTIONS", 5, "CACHE_DOGPILE_OPTIONS takes a dictionary"),
            ("KEY_PREFIX", 5, "CACHE_KEY_PREFIX takes a text, .*, not 5"),
            ("DIR", 5, "CACHE_DIR takes a path, not 5"),
            ("MEMCACHED_SERVERS", 5, "CACHE_MEMCACHED_SERVERS takes a list of serv"),
        ],
    )
    def test_a_setting_that_is_no_use_is_named(
        self, setting: str, value: Any, message: str
    ) -> None:
        kinds = {"DIR": "FileSystemCache", "MEMCACHED_SERVERS": "MemcachedCache"}
        app = Flask("old")
        app.config["CACHE_TYPE"] = kinds.get(setting, "SimpleCache")
        app.config[f"CACHE_{setting}"] = value

        with pytest.raises(ValidationError, match=message):
            Cache(app)

    def test_servers_may_be_one_text(self) -> None:
        config = {"CACHE_MEMCACHED_SERVERS": "a:1, b:2", "CACHE_TYPE": "MemcachedCache"}
        _, read = compat_store._kind(config)

        assert read(config)["arguments"]["url"] == ["a:1", "b:2"]

    def test_an_application_without_it_is_told(self) -> None:
        cache = Cache(Flask("with"))

        with Flask("without").app_context():
            with pytest.raises(ConfigurationError, match="'without' has no cache"):
                cache.get("key")
            with pytest.raises(ConfigurationError, match="'without' has no cache"):
                cache.setting("CACHE_TYPE")

    def test_only_an_application_is_initialised(self) -> None:
        with pytest.raises(ConfigurationError, match="takes a Flask application"):
            Cache("old")  # type: ignore[arg-type]  # that is it

    def test_a_timeout_may_have_a_unit(self) -> None:
        assert compat_store.seconds("7m", None) == 420
        assert compat_store.seconds("none", 5) is None
        with pytest.raises(ValidationError, match="a timeout takes seconds, or a text"):
            compat_store.seconds("soon", None)


@pytest.mark.parametrize("source", ["{% cache 'a', 5 %}{{ 1 / 0 }}{% endcache %}"])
def test_a_template_that_fails_in_the_middle_says_so(app: Flask, source: str) -> None:
    with app.app_context():
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                render_template_string(source)


class TestBackground:
    """What is set at each request is not there in the background."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def app(self, cache: DogpileCache, clock: FakeClock) -> Flask:
        app = Flask("site")
        settings = {"backend": "memory", "clock": clock, "grace": 600}
        app.config["DOGPILE_CACHE_REGIONS"] = {"default": settings}
        cache.init_app(app)

        @app.before_request
        def note() -> None:
            g.user = "Ada"

        return app

    def failed(self, app: Flask, cache: DogpileCache, clock: FakeClock) -> list[str]:
        """Ask for a page when it is stale, and return what failed in a refresh."""
        told: list[str] = []
        client = app.test_client()
        client.get("/")
        clock.advance(20)
        with app.app_context():
            region = cache.region()
        region.on("create_failed", lambda event: told.append(str(event.details)))
        client.get("/")
        assert region.storage.pending.wait(10)
        return told

    def test_a_view_that_reads_it_is_told(
        self, app: Flask, cache: DogpileCache, clock: FakeClock
    ) -> None:
        app.add_url_rule("/", "index", cache.cached(10)(lambda: str(g.user)))

        [told] = self.failed(app, cache, clock)

        assert "the view 'index' touches `g.user` in the background" in told

    def test_a_function_that_reads_it_is_told(
        self, app: Flask, cache: DogpileCache, clock: FakeClock
    ) -> None:
        @cache.memoize(10)
        def user() -> str:
            return str(g.user)

        app.add_url_rule("/", "index", lambda: user())

        [told] = self.failed(app, cache, clock)

        assert "user touches `g.user` in the background" in told

    def test_other_errors_are_left_alone(
        self, app: Flask, cache: DogpileCache, clock: FakeClock
    ) -> None:
        calls: list[int] = []

        @cache.memoize(10)
        def fail() -> str:
            calls.append(1)
            return "" if len(calls) == 1 else str(calls.nothing)  # type: ignore[attr-defined]  # that is it

        app.add_url_rule("/", "index", lambda: fail())

        [told] = self.failed(app, cache, clock)

        assert "AttributeError(\"'list' object has no attribute 'nothing'\")" in told
