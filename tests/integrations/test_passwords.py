"""What is refused of settings with a password in them: the error does not tell it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("flask")
pytest.importorskip("mako", reason="Mako is not installed")

from flask import Flask

from dogpile.cache import ConfigurationError
from dogpile.cache.integrations.flask import DogpileCache
from dogpile.cache.integrations.flask.compat import Cache
from dogpile.cache.integrations.mako import Template, TemplateLookup
from dogpile.cache.integrations.options import shown
from dogpile.cache.integrations.settings import build_region

URL = "redis://:s3cr@t@host/1"


def flask(name: str, value: Any) -> Callable[[], Any]:
    def build() -> None:
        app = Flask("site")
        app.config[f"DOGPILE_CACHE_{name}"] = value
        DogpileCache(app)

    return build


def compat(kind: str, name: str, value: Any) -> Callable[[], Any]:
    def build() -> None:
        app = Flask("site")
        app.config.update({"CACHE_TYPE": kind, f"CACHE_{name}": value})
        Cache(app)

    return build


@pytest.mark.parametrize(
    "build",
    [
        flask("REGIONS", {"a": {"backend": URL}}),
        flask("REGIONS", {"a": "redis//:s3cr@t@host"}),
        flask("KEY_PREFIX", [URL]),
        flask("DEFAULT_REGION", URL),
        compat("RedisCache", "REDIS_URL", [URL]),
        compat("RedisCache", "DOGPILE_OPTIONS", URL),
        compat("MemcachedCache", "MEMCACHED_SERVERS", {"u:s3cr@t@host": 1}),
        compat(URL, "DIR", "x"),
        lambda: build_region("a", [URL]),  # type: ignore[arg-type]  # that is it
        lambda: TemplateLookup(cache_regions={"a": [URL]}),
        lambda: Template(
            '<%block cached="True">x</%block>',
            cache_regions={"a": "redis//:s3cr@t@host"},
        ).render(),
    ],
)
def test_it_is_not_in_the_error(build: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build()

    assert "s3cr" not in str(caught.value)
    assert "t@host" not in str(caught.value)


def test_what_has_none_is_shown_as_it_is() -> None:
    assert [shown(each) for each in ("a", 5, ["a"], None)] == [
        "'a'",
        "5",
        "['a']",
        "None",
    ]
