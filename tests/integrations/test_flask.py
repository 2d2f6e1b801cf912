"""The Flask extension: settings, functions that remember, and the tag of Jinja."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("flask")

from flask import (
    Flask,
    current_app,
    has_request_context,
    render_template_string,
    request,
)
from jinja2 import DictLoader, TemplateSyntaxError

from dogpile.cache import (
    NO_VALUE,
    CacheRegion,
    ConfigurationError,
    ValidationError,
    regions,
)
from dogpile.cache.integrations.flask import DogpileCache
from dogpile.cache.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def cache() -> DogpileCache:
    return DogpileCache()


@pytest.fixture
def app(clock: FakeClock, cache: DogpileCache) -> Iterator[Flask]:
    app = make_app(cache, clock)
    with app.app_context():
        yield app
    settle(app)


def make_app(cache: DogpileCache, clock: FakeClock, **config: Any) -> Flask:
    app = Flask("site")
    app.config.update(
        {
            "DOGPILE_CACHE_REGIONS": {
                "default": {"backend": "memory", "clock": clock},
                "pages": {"backend": "memory", "clock": clock},
            },
            **config,
        }
    )
    cache.init_app(app)
    return app


def settle(app: Flask) -> None:
    """Wait for what is refreshed in the background."""
    for region in app.extensions["dogpile.cache"].regions.values():
        assert region.storage.pending.wait(10)


class TestSettings:
    def test_without_any_there_is_a_bounded_region(self) -> None:
        app = Flask("bare")
        cache = DogpileCache(app)

        with app.app_context():
            assert list(cache.regions) == ["default"]
            assert cache.region().expiration_time == 300
            assert cache.put("key", 1) == cache.get("key") == 1

    def test_regions_are_found_by_name(self, cache: DogpileCache, app: Flask) -> None:
        assert cache["pages"] is cache.region("pages") is cache.regions["pages"]
        assert cache.region() is cache["default"]

    def test_an_unknown_region_is_told(self, cache: DogpileCache, app: Flask) -> None:
        with pytest.raises(ConfigurationError, match="did you mean 'pages'"):
            cache["page"]

    def test_the_only_region_is_the_default_one(self) -> None:
        app = Flask("site")
        app.config["DOGPILE_CACHE_REGIONS"] = {"local": "memory"}
        cache = DogpileCache(app)

        with app.app_context():
            assert cache.region() is cache["local"]

    def test_the_default_region_is_named_by_a_setting(
        self, cache: DogpileCache, clock: FakeClock
    ) -> None:
        app = make_app(cache, clock, DOGPILE_CACHE_DEFAULT_REGION="pages")

        with app.app_context():
            assert cache.region() is cache["pages"]

    def test_a_default_region_that_is_none_is_refused(
        self, cache: DogpileCache, clock: FakeClock
    ) -> None:
        with pytest.raises(ConfigurationError, match=r"DEFAULT_REGION: .*'pages'"):
            make_app(cache, clock, DOGPILE_CACHE_DEFAULT_REGION="pagse")

    def test_a_misspelt_setting_is_refused(
        self, cache: DogpileCache, clock: FakeClock
    ) -> None:
        with pytest.raises(ValidationError, match="DOGPILE_CACHE_ENABLED"):
            make_app(cache, clock, DOGPILE_CACHE_ENABELD=False)

    def test_the_environment_names_regions(
        self, monkeypatch: pytest.MonkeyPatch, cache: DogpileCache
    ) -> None:
        monkeypatch.setenv("FLASK_DOGPILE_CACHE_REGIONS__local__backend", "memory")
        monkeypatch.setenv("FLASK_DOGPILE_CACHE_REGIONS__local__grace", "600")
        app = Flask("site")
        app.config.from_prefixed_env()
        cache.init_app(app)

        with app.app_context():
            assert cache["local"].policy.grace == 600

    def test_the_cache_can_be_turned_off(
        self, cache: DogpileCache, clock: FakeClock
    ) -> None:
        app = make_app(cache, clock, DOGPILE_CACHE_ENABLED=False)

        with app.app_context():
            cache.put("key", 1)
            assert cache.get("key") is NO_VALUE
            assert cache["pages"].get_or_create("key", lambda: 2) == 2

    def test_a_second_init_is_refused(self, cache: DogpileCache, app: Flask) -> None:
        with pytest.raises(ConfigurationError, match="has a cache already"):
            cache.init_app(app)

    def test_outside_of_an_application_it_says_so(self) -> None:
        with pytest.raises(ConfigurationError, match="outside of an application"):
            DogpileCache().get("key")

    def test_before_init_it_says_so(self) -> None:
        with (
            Flask("bare").app_context(),
            pytest.raises(ConfigurationError, match=r"call cache\.init_app"),
        ):
            DogpileCache().get("key")

    def test_applications_that_share_a_file_are_kept_apart(self, tmp_path: Any) -> None:
        cache = DogpileCache()
        apps = [Flask(name) for name in ("first", "second", "third")]
        for app in apps:
            settings = {"filename": str(tmp_path / "cache.db")}
            app.config["DOGPILE_CACHE_REGIONS"] = {
                "default": {"backend": "sqlite", "arguments": settings}
            }
        apps[2].config["DOGPILE_CACHE_KEY_PREFIX"] = "first"
        for app in apps:
            cache.init_app(app)

        with apps[0].app_context():
            cache.put("key", 1)
            assert regions["default"] is not cache.region()

        with apps[1].app_context():
            assert cache.get("key") is NO_VALUE
        with apps[2].app_context():
            assert cache.get("key") == 1
            assert regions["default"] is cache.region()
        for app in apps:
            app.extensions["dogpile.cache"].region().close()

    def test_values_are_signed_by_the_secret_key(self, tmp_path: Any) -> None:
        cache = DogpileCache()

        def make(secret: str, *fallbacks: str) -> Flask:
            app = Flask("site")
            settings = {"filename": str(tmp_path / "cache.db")}
            app.config.update(
                SECRET_KEY=secret,
                SECRET_KEY_FALLBACKS=list(fallbacks),
                DOGPILE_CACHE_REGIONS={
                    "default": {"backend": "sqlite", "arguments": settings}
                },
            )
            cache.init_app(app)
            return app

        one, two = "a secret of many bytes", "another secret of many bytes"
        apps = [make(one), make(two), make(two, one)]
        with apps[0].app_context():
            cache.put("key", 1)
        found = []
        for app in apps:
            with app.app_context():
                found.append(cache.get("key"))
                cache.region().close()

        assert found == [1, NO_VALUE, 1]


class TestOperations:
    def test_they_are_the_default_regions(
        self, cache: DogpileCache, app: Flask
    ) -> None:
        cache.put_multi({"a": 1, "b": 2})
        cache.set("c", 3)
        cache.delete("b")

        assert cache.get_multi(["a", "b", "c"]) == [1, NO_VALUE, 3]
        assert cache.get_or_create("d", lambda: 4, 60) == 4
        cache.delete_multi(["a", "c"])
        assert cache.region().get_multi(["a", "c", "d"]) == [NO_VALUE, NO_VALUE, 4]

    def test_they_have_twins(self, cache: DogpileCache, app: Flask) -> None:
        async def create() -> int:
            return 1

        async def main() -> list[Any]:
            await cache.aput("b", 2)
            found = [await cache.aget_or_create("a", create), await cache.aget("b")]
            await cache.adelete("b")
            return [*found, await cache.aget("b")]

        assert asyncio.run(main()) == [1, 2, NO_VALUE]

    def test_a_creator_may_take_the_creation(
        self, cache: DogpileCache, app: Flask
    ) -> None:
        assert cache.get_or_create("key", lambda creation: creation.skip(1)) == 1
        assert cache.get("key") is NO_VALUE

    def test_a_refresh_runs_in_the_application_without_the_request(
        self, cache: DogpileCache, app: Flask, clock: FakeClock
    ) -> None:
        seen: list[Any] = []

        def create() -> int:
            seen.append((has_request_context(), current_app.name))
            return len(seen)

        with app.test_request_context("/"):
            cache.get_or_create("key", create, 60, grace=600)
            clock.advance(70)
            assert cache.get_or_create("key", create, 60, grace=600) == 1
        settle(app)

        assert seen == [(True, "site"), (False, "site")]
        assert cache.get("key") == 2

    def test_a_refresh_that_touches_the_request_says_so(
        self, cache: DogpileCache, app: Flask, clock: FakeClock
    ) -> None:
        errors: list[Any] = []
        cache.region().on(
            "create_failed", lambda event: errors.append(event.details["error"])
        )

        def create_greeting() -> str:
            return request.path

        with app.test_request_context("/"):
            for _ in range(2):
                assert cache.get_or_create("key", create_greeting, 60, grace=600) == "/"
                clock.advance(70)
        settle(app)

        [error] = errors
        assert isinstance(error, ConfigurationError)
        assert "create_greeting touches `request`" in str(error)


class TestMemoize:
    def test_a_function_is_called_once_by_arguments(
        self, cache: DogpileCache, app: Flask
    ) -> None:
        calls: list[int] = []

        @cache.memoize(60)
        def double(number: int) -> int:
            calls.append(number)
            return 2 * number

        assert [double(1), double(number=1), double(2)] == [2, 2, 4]
        assert calls == [1, 2]

    def test_a_request_tells_nothing_of_its_client(
        self, cache: DogpileCache, app: Flask
    ) -> None:
        def menu(asked: Any, lang: str = "en") -> str:
            return f"{asked.headers['X-Who']} {lang}"

        async def amenu(asked: Any) -> str:
            return menu(asked)

        by_who: Any = cache.memoize(60, key="menu:{asked.headers[X-Who]}")(menu)
        for_all: Any = cache.memoize(60, ignore="asked")(menu)

        for who, told in (("Ada", "Ada en"), ("Bob", "Ada en")):
            with app.test_request_context("/", headers={"X-Who": who}):
                with pytest.raises(ValidationError, match="the request as 'asked'"):
                    cache.memoize(60)(menu)(request)
                with pytest.raises(ValidationError, match="the request as 'asked'"):
                    asyncio.run(cache.memoize(60)(amenu)(request))
                with pytest.raises(ValidationError, match="vary is given the request"):
                    render_template_string(
                        "{% cache 'menu', vary=[request] %}{% endcache %}"
                    )
                assert (by_who(request), for_all(request)) == (f"{who} en", told)

    def test_it_has_the_attributes_of_a_cached_function(
        self, cache: DogpileCache, app: Flask
    ) -> None:
        @cache.memoize(60, region="pages", tags="double:{number}")
        def double(number: int) -> int:
            return 2 * number

        cached: Any = double
        cached.set(5, 1)
        assert (double(1), cached.get(1), cached.original(1)) == (5, 5, 2)
        assert cache["pages"].get(cached.key(1)) == 5
        assert cached.region == cache["pages"]
        assert cached.refresh(1) == double(1) == 2
        cached.set(5, 1)
        cached.invalidate(1)
        assert cached.get(1) is NO_VALUE
        cached.set(5, 1)
        cache.invalidate_tags("double:1")
        assert double(1) == 2

    def test_methods_remember(self, cache: DogpileCache, app: Flask) -> None:
        class Shop:
            calls = 0

            @cache.memoize(60)
            def price(self, item: str) -> str:
                Shop.calls += 1
                return f"price of {item}"

        assert Shop().price("a") == Shop().price("a") == "price of a"
        assert Shop.calls == 1

    def test_coroutine_functions_remember(
        self, cache: DogpileCache, app: Flask, clock: FakeClock
    ) -> None:
        calls: list[bool] = []

        @cache.memoize(60, grace=600)
        async def fetch(number: int) -> int:
            calls.append(has_request_context())
            return len(calls)

        async def main() -> list[int]:
            found = list(await asyncio.gather(*(fetch(1) for _ in range(5))))
            clock.advance(70)
            found += await asyncio.gather(*(fetch(1) for _ in range(2)))
            return found

        assert inspect.iscoroutinefunction(fetch)
        with app.test_request_context("/"):
            # One waits, because the loop ends with its request.
            assert asyncio.run(main()) == [1, 1, 1, 1, 1, 2, 1]
        assert calls == [True, False]

    def test_what_a_coroutine_function_refreshes_in_a_view_is_kept(
        self, cache: DogpileCache, app: Flask, clock: FakeClock
    ) -> None:
        pytest.importorskip("asgiref")
        calls: list[int] = []

        @cache.memoize(60, grace=600)
        async def fetch() -> int:
            await asyncio.sleep(0)
            calls.append(1)
            return len(calls)

        @app.get("/")
        async def index() -> str:
            return str(await fetch())

        told = [app.test_client().get("/").text]
        clock.advance(70)
        told += [app.test_client().get("/").text for _ in range(2)]

        assert told == ["1", "2", "2"]

    def test_a_refresh_runs_without_the_request(
        self, cache: DogpileCache, app: Flask, clock: FakeClock
    ) -> None:
        seen: list[bool] = []

        @cache.memoize(60, grace=600)
        def count() -> int:
            seen.append(has_request_context())
            return len(seen)

        with app.test_request_context("/"):
            count()
            clock.advance(70)
            assert count() == 1
            settle(app)
            assert count() == 2

        assert seen == [True, False]

    def test_each_application_has_its_own_values(self, clock: FakeClock) -> None:
        cache = DogpileCache()
        apps = [make_app(cache, clock) for _ in range(2)]

        @cache.memoize(60)
        def name() -> int:
            return id(current_app.extensions)

        found = []
        for app in apps * 2:
            with app.app_context():
                found.append(name())

        assert found == [id(app.extensions) for app in apps * 2]

    def test_an_odd_option_is_refused(self, cache: DogpileCache, app: Flask) -> None:
        with pytest.raises(ValidationError, match="did you mean 'grace'"):
            cache.memoize(60, grase=1)(abs)


class TestJinja:
    def render(self, app: Flask, source: str, **names: Any) -> str:
        return render_template_string(source, **names)

    def counter(self) -> Any:
        calls: list[int] = []

        def count() -> int:
            calls.append(1)
            return len(calls)

        return count

    def test_a_fragment_is_rendered_once(self, app: Flask, clock: FakeClock) -> None:
        source = "<{% cache 'nav', 60 %}{{ n() }}{% endcache %}>{{ x }}"
        n = self.counter()

        told = [self.render(app, source, n=n, x=x) for x in (1, 2)]
        clock.advance(61)
        told.append(self.render(app, source, n=n, x=3))

        assert told == ["<1>1", "<1>2", "<2>3"]

    def test_it_varies_by_what_it_says(self, app: Flask) -> None:
        source = "{% cache 'nav', vary=[user, 1] %}{{ n() }}{% endcache %}"
        n = self.counter()

        told = [self.render(app, source, n=n, user=user) for user in (1, "1", 1, None)]

        assert told == ["1", "2", "1", "3"]

    def test_what_has_no_name_cannot_be_varied_by(self, app: Flask) -> None:
        source = "{% cache 'nav', vary=[user] %}x{% endcache %}"

        with pytest.raises(ValidationError, match="vary is given a object"):
            self.render(app, source, user=object())

    def test_it_lies_in_its_region_under_its_tags(
        self, app: Flask, cache: DogpileCache
    ) -> None:
        source = (
            "{% cache 'nav', 60, region='pages', tags=['a', 'b'] %}"
            "{{ n() }}{% endcache %}"
        )
        n = self.counter()
        told = [self.render(app, source, n=n)]

        cache["default"].invalidate()
        told.append(self.render(app, source, n=n))
        cache.invalidate_tags("b")
        told.append(self.render(app, source, n=n))
        cache.invalidate_fragment("nav")
        told.append(self.render(app, source, n=n))

        assert told == ["1", "1", "2", "3"]

    def test_templates_do_not_share_a_name(self, app: Flask) -> None:
        body = "{% cache 'box', 60 %}NAME{% endcache %}"
        sources = {name: body.replace("NAME", name) for name in ("a.html", "b.html")}
        app.jinja_env.loader = DictLoader(sources)

        told = [app.jinja_env.get_template(name).render() for name in sources]

        assert told == ["a.html", "b.html"]

    def test_a_block_around_a_fragment_has_one_in_each_template(
        self, app: Flask
    ) -> None:
        part = "{% block nav %}{% cache 'nav' %}NAME{% endcache %}{% endblock %}"
        child = "{% extends 'base.html' %}" + part
        sources = {name: child.replace("NAME", name) for name in ("a.html", "b.html")}
        base = {"base.html": "{% block nav %}{% endblock %}"}
        app.jinja_env.loader = DictLoader({**sources, **base})

        told = [app.jinja_env.get_template(name).render() for name in sources]

        assert told == ["a.html", "b.html"]

    def test_a_changed_template_has_new_fragments(self, app: Flask) -> None:
        sources = {"a.html": "{% cache 'box', 60 %}old{% endcache %}"}
        app.jinja_env.loader = DictLoader(sources)
        old = app.jinja_env.get_template("a.html").render()
        sources["a.html"] = "{% cache 'box', 60 %}new{% endcache %}"
        app.jinja_env.cache = None

        assert (old, app.jinja_env.get_template("a.html").render()) == ("old", "new")

    def test_nothing_is_escaped_twice_or_never(self, app: Flask) -> None:
        source = "{% cache 'box', 60 %}<b>{{ text }}</b>{% endcache %}"

        told = [self.render(app, source, text="<&>") for _ in range(2)]

        assert told == ["<b>&lt;&amp;&gt;</b>"] * 2

    def test_a_stale_fragment_is_rendered_with_the_request(
        self, cache: DogpileCache, clock: FakeClock
    ) -> None:
        app = Flask("site")
        settings = {"backend": "memory", "clock": clock, "grace": 600, "early": 1}
        app.config["DOGPILE_CACHE_REGIONS"] = {"default": settings}
        cache.init_app(app)
        source = "{% cache 'box', 60 %}{{ request.path }}{% endcache %}"

        with app.test_request_context("/one"):
            one = render_template_string(source)
        clock.advance(70)
        with app.test_request_context("/two"):
            two = render_template_string(source)

        assert (one, two) == ("/one", "/two")

        clock.advance(70)
        with app.test_request_context("/three"):
            assert render_template_string(source) == "/three"

    def test_a_stale_fragment_stands_in_for_one_that_fails(
        self, cache: DogpileCache, clock: FakeClock
    ) -> None:
        app = Flask("site")
        settings = {"backend": "memory", "clock": clock, "grace": 600}
        app.config["DOGPILE_CACHE_REGIONS"] = {"default": settings}
        cache.init_app(app)
        source = "{% cache 'box', 60 %}{{ 1 // zero }}{% endcache %}"

        with app.app_context():
            told = [self.render(app, source, zero=1)]
            clock.advance(70)
            told.append(self.render(app, source, zero=0))
            clock.advance(600)
            with pytest.raises(ZeroDivisionError):
                self.render(app, source, zero=0)

        assert told == ["1", "1"]

    def test_who_comes_meanwhile_gets_the_stale_one(
        self, app: Flask, clock: FakeClock
    ) -> None:
        source = "{% cache 'box', 60 %}{{ n() }}{% endcache %}"
        n = self.counter()
        self.render(app, source, n=n)
        clock.advance(70)
        started, go = threading.Event(), threading.Event()
        told: list[str] = []

        def slow() -> int:
            started.set()
            assert go.wait(10)
            return int(n())

        def work() -> None:
            with app.app_context():
                told.append(self.render(app, source, n=slow))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert started.wait(10)
        told.append(self.render(app, source, n=n))
        go.set()
        thread.join(10)

        assert told == ["1", "2"]

    def test_a_fragment_that_fails_is_not_kept(self, app: Flask) -> None:
        source = "{% cache 'box', 60 %}{{ 1 / zero }}{% endcache %}"

        with pytest.raises(ZeroDivisionError):
            self.render(app, source, zero=0)

        assert self.render(app, source, zero=1) == "1.0"

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("{% cache %}x{% endcache %}", "takes the name of the fragment first"),
            ("{% cache 'a', 60, tag='b' %}x{% endcache %}", "did you mean 'tags'"),
            ("{% cache 'a', timeout=60 %}x{% endcache %}", "stand behind the name"),
            ("{% cache 'a', 60, 70 %}x{% endcache %}", "after that only options"),
            ("{% cache 'a', tags='b', tags='c' %}x{% endcache %}", "got tags= twice"),
            ("{% cache 'a' %}x", "endcache"),
            (
                "{% cache 'a' %}<{% block c %}{% endblock %}>{% endcache %}",
                "put {% cache %} inside of the block",
            ),
            *(
                (f"{{% cache 'a' %}}<{shown}>{{% endcache %}}", "before it, {{ text }}")
                for shown in (
                    "{{ self.title() }}",
                    "{{ self['title']() }}",
                    "{% if x %}{{ self.title() | upper }}{% endif %}",
                    "{% cache 'b' %}{{ self.title() }}{% endcache %}",
                    "{{ super() }}",
                )
            ),
        ],
    )
    def test_odd_tags_are_refused(self, app: Flask, source: str, message: str) -> None:
        with pytest.raises(TemplateSyntaxError, match=message):
            self.render(app, source)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("'a', -1", "expiration_time is -1: it takes seconds from 0 on"),
            ("'a', 'soon'", "expiration_time takes seconds, or a text such as"),
            ("'a', [1]", "expiration_time is not a number"),
            ("'a', nope", "its seconds are undefined"),
            ("60, 'a'", "the name stands first, and the seconds behind it"),
            ("nope", "takes the name of the fragment first, not an undefined one"),
            ("none", "takes the name of the fragment first, not None"),
            ("'a', region='defualt'", "no region 'defualt'; did you mean 'default'"),
            ("'a', tags=5", "tags takes names, not 5"),
            ("'a', tags=[nope]", "tags has a value that is undefined"),
            ("'a', vary=[nope]", "vary has a value that is undefined"),
            ("'a', vary=[[1, nope]]", "vary has a value that is undefined"),
            ("'a', vary={'k': (nope,)}", "vary has a value that is undefined"),
            ("'a', vary=odd", "vary is given a object, .* name one of its attributes"),
        ],
    )
    def test_what_is_no_use_is_told_with_the_fragment(
        self, app: Flask, given: str, message: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=message) as caught:
            self.render(app, f"{{% cache {given} %}}x{{% endcache %}}", odd=object())

        assert str(caught.value).startswith("{% cache ")

    def test_seconds_may_have_a_unit(self, app: Flask, clock: FakeClock) -> None:
        source = "{% cache 'box', '5m', tags=none %}{{ n() }}{% endcache %}"
        n = self.counter()

        told = [self.render(app, source, n=n)]
        for _ in range(2):
            clock.advance(200)
            told.append(self.render(app, source, n=n))

        assert told == ["1", "1", "2"]

    def test_what_a_page_puts_into_a_block_may_be_named(self, app: Flask) -> None:
        base = (
            "{% block t %}{% endblock %} {% set text = self.t() %}"
            "{% cache 'head', vary=[text] %}<{{ text }}>{% endcache %}"
        )
        sources = {
            name: f"{{% extends 'base' %}}{{% block t %}}{name}{{% endblock %}}"
            for name in ("a", "b")
        }
        app.jinja_env.loader = DictLoader({"base": base, **sources})

        told = [app.jinja_env.get_template(name).render() for name in sources]

        assert told == ["a <a>", "b <b>"]

    def test_the_environment_may_be_there_already(self, cache: DogpileCache) -> None:
        app = Flask("site")
        app.jinja_env.globals["own"] = 1
        cache.init_app(app)

        with app.app_context():
            assert (
                render_template_string("{% cache 'a' %}{{ own }}{% endcache %}") == "1"
            )

    def test_other_applications_do_not_know_the_tag(
        self, cache: DogpileCache, app: Flask
    ) -> None:
        other = Flask("other")

        with other.app_context(), pytest.raises(TemplateSyntaxError):
            render_template_string("{% cache 'a' %}{% endcache %}")


def test_regions_are_those_of_the_cache(cache: DogpileCache, app: Flask) -> None:
    assert all(isinstance(each, CacheRegion) for each in cache.regions.values())
