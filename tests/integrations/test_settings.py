"""The regions of an application: from its settings, its environment, a URL."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dogpile.cache import (
    BACKENDS,
    NO_VALUE,
    BytesBackend,
    CacheBackend,
    CacheRegion,
    ConfigurationError,
    PluginNotFound,
    ProxyBackend,
    ValidationError,
    regions,
    register_backend,
)
from dogpile.cache.integrations.settings import (
    backend_name,
    build_region,
    build_regions,
    read_url,
    signing_keys,
)
from dogpile.cache.testing import FakeClock

SECRET = "the secret key of an application"
PASSWORD = "pass-word-of-nobody"


class InProcess(CacheBackend):
    """A backend of somebody else's, whose values are objects."""

    def __init__(self, arguments: Any) -> None:
        self.arguments = arguments
        self.cache: dict[Any, Any] = {}

    def get(self, key: Any) -> Any:
        return self.cache.get(key, NO_VALUE)

    def put(self, key: Any, value: Any) -> None:
        self.cache[key] = value

    def delete(self, key: Any) -> None:
        self.cache.pop(key, None)


class Elsewhere(BytesBackend):
    """A backend of somebody else's, whose values are bytes."""

    store: ClassVar[dict[Any, bytes]] = {}

    def get_serialized(self, key: Any) -> Any:
        return self.store.get(key, NO_VALUE)

    def set_serialized(self, key: Any, value: bytes) -> None:
        self.store[key] = value

    def delete(self, key: Any) -> None:
        self.store.pop(key, None)


class Proxy(ProxyBackend):
    """A proxy that does nothing."""


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget after the test which backends were registered in it."""
    monkeypatch.setattr(BACKENDS, "_places", dict(BACKENDS._places))


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> type[Elsewhere]:
    monkeypatch.setattr(Elsewhere, "store", {})
    return Elsewhere


def only(settings: Mapping[str, Any], **more: Any) -> CacheRegion:
    """Build regions, of which there must be one."""
    [region] = build_regions(settings, **more).values()
    return region


def backend_of(region: CacheRegion) -> str:
    return type(region.actual_backend).__name__


def inside(region: CacheRegion) -> Any:
    """Return the backend, with whatever its kind has."""
    return region.actual_backend


class TestPlaces:
    def test_nothing_gives_a_bounded_memory_region(self) -> None:
        built = build_regions({"DEBUG": True})

        [(name, region)] = built.items()
        assert name == region.name == "default"
        assert backend_of(region) == "MemoryBackend"
        assert inside(region).is_bounded
        assert region.expiration_time == 300

    def test_a_nested_mapping(self) -> None:
        region = only(
            {
                "DOGPILE_CACHE_REGIONS": {
                    "default": {
                        "backend": "dogpile.cache.memory",
                        "expiration_time": 300,
                        "grace": 600,
                        "arguments": {"max_entries": 7},
                    }
                }
            }
        )

        assert (region.expiration_time, region.policy.grace) == (300, 600)
        assert inside(region).is_bounded

    def test_the_flat_keys_of_the_design_document(self, tmp_path: Path) -> None:
        filename = str(tmp_path / "file.dbm")

        built = build_regions(
            {
                "cache.local.backend": "dogpile.cache.dbm",
                "cache.local.expiration_time": "5m",
                "cache.local.arguments.filename": filename,
                "cache.other.backend": "dogpile.cache.null",
                "cachet.other": "not ours",
            }
        )

        assert {name: backend_of(built[name]) for name in built} == {
            "local": "DBMBackend",
            "other": "NullBackend",
        }
        assert built["local"].expiration_time == 300
        assert inside(built["local"]).filename == filename

    def test_flat_keys_within_the_nested_ones(self) -> None:
        built = build_regions(
            {
                "DOGPILE_CACHE_REGIONS": {
                    "cache.local.backend": "dogpile.cache.memory",
                    "cache.local": {"grace": 30},
                    "nested": {"backend": "dogpile.cache.null"},
                }
            }
        )

        assert built["local"].policy.grace == 30
        assert backend_of(built["nested"]) == "NullBackend"

    def test_a_url_in_one_line(self) -> None:
        region = only({"DOGPILE_CACHE_URL": "memory://?expiration_time=2h&grace=5m"})

        assert region.name == "default"
        assert (region.expiration_time, region.policy.grace) == (7200, 300)

    def test_the_environment(self) -> None:
        built = build_regions(
            {
                "PATH": "/bin",
                "DOGPILE_CACHE_URL": "null://",
                "DOGPILE_CACHE_REGIONS__local__backend": "memory",
                "DOGPILE_CACHE_REGIONS__local__GRACE": "10m",
                "DOGPILE_CACHE_REGIONS__local__arguments__max_entries": "5",
            }
        )

        assert sorted(built) == ["default", "local"]
        assert built["local"].policy.grace == 600
        assert inside(built["local"]).is_bounded

    def test_the_environment_as_json(self) -> None:
        text = '{"local": {"backend": "memory", "expiration_time": "5m"}}'

        region = only({"DOGPILE_CACHE_REGIONS": text})

        assert (region.name, region.expiration_time) == ("local", 300)

    def test_a_url_or_a_name_instead_of_a_mapping(self) -> None:
        built = build_regions(
            {"DOGPILE_CACHE_REGIONS": {"pages": "null://", "parts": "memory"}}
        )

        assert backend_of(built["pages"]) == "NullBackend"
        assert backend_of(built["parts"]) == "MemoryBackend"

    def test_a_url_beside_other_settings(self) -> None:
        region = build_region(
            "pages", {"url": "memory://?max_entries=5", "expiration_time": 60}
        )

        assert region.expiration_time == 60
        assert inside(region).is_bounded

    @pytest.mark.parametrize(
        "empty",
        [
            {"DOGPILE_CACHE_URL": ""},
            {"DOGPILE_CACHE_URL": None},
            {"DOGPILE_CACHE_REGIONS": {}},
            {"DOGPILE_CACHE_REGIONS": ""},
        ],
    )
    def test_what_is_empty_is_not_there(self, empty: dict[str, Any]) -> None:
        assert list(build_regions(empty)) == ["default"]

    def test_other_settings_and_other_keys_are_passed_over(self) -> None:
        settings = {
            5: "five",
            "SECRET_KEY": SECRET,
            "DOGPILE_CACHE_KEY_PREFIX": "x",
            "DOGPILE_CACHE_PANEL": True,
        }

        built = build_regions(settings, known=["DOGPILE_CACHE_PANEL"])  # type: ignore[arg-type]  # a key that is no text

        assert list(built) == ["default"]

    def test_the_regions_are_found_by_name(self) -> None:
        built = build_regions({"DOGPILE_CACHE_REGIONS": {"by its name": "memory"}})

        assert regions["by its name"] is built["by its name"]

    def test_what_a_region_is_made_with(self) -> None:
        clock = FakeClock()

        region = build_region(
            "local",
            {
                "backend": "memory",
                "clock": clock,
                "expiration_time": 60,
                "ignore_expiration": False,
                "key_mangler": str.upper,
                "statistics": True,
                "wrap": [Proxy],
            },
        )
        region.put("key", 1)

        assert "KEY" in inside(region).entries
        assert region.get("key") == 1
        clock.advance(61)
        assert region.get("key") is NO_VALUE
        assert region.stats()["hit"] == 1
        assert type(region.backend) is Proxy

    def test_the_settings_of_the_application_stay_as_they_are(self) -> None:
        nested = {"backend": "memory", "url": None, "arguments": {"max_entries": "5"}}
        settings = {"DOGPILE_CACHE_REGIONS": {"local": nested}}

        build_regions(settings, secret_key=SECRET)

        assert settings == {
            "DOGPILE_CACHE_REGIONS": {
                "local": {
                    "backend": "memory",
                    "url": None,
                    "arguments": {"max_entries": "5"},
                }
            }
        }


class TestRefusals:
    @pytest.mark.parametrize(
        ("settings", "text"),
        [
            (
                {"DOGPILE_CACHE_REGIONS": {"a": {"backend": "memory", "grase": 1}}},
                r"REGIONS\['a'\] in app.config: .*'grase'; did you mean 'grace'",
            ),
            (
                {"cache.a.backend": "memory", "cache.a.expiration_tim": "1"},
                r"cache\.a\.… in app.config: .* did you mean 'expiration_time'",
            ),
            (
                {
                    "DOGPILE_CACHE_REGIONS": {
                        "a": {"backend": "memory", "arguments": {"max_entris": 1}}
                    }
                },
                "'max_entris'; did you mean 'max_entries'",
            ),
            (
                {"DOGPILE_CACHE_REGION": {}},
                "DOGPILE_CACHE_REGION in app.config; did you mean DOGPILE_CACHE_REGIO",
            ),
            (
                {"DOGPILE_CACHE_REGIONS": {"a": {"backend": "redys"}}},
                "no backend 'redys'; did you mean 'dogpile.cache.redis'",
            ),
            (
                {"DOGPILE_CACHE_REGIONS": {"a": {"expiration_time": 5}}},
                "no setting backend",
            ),
            ({"DOGPILE_CACHE_REGIONS": {"a": 5}}, "is a int: it takes a dictionary"),
            ({"DOGPILE_CACHE_REGIONS": {"": {}}}, "a region's name is a text, not ''"),
            ({"DOGPILE_CACHE_REGIONS": [1]}, "is a list: it takes a dictionary"),
            ({"DOGPILE_CACHE_REGIONS": "{"}, "is a text that is no JSON"),
            ({"DOGPILE_CACHE_URL": "localhost:6379"}, "takes a URL such as"),
            ({"DOGPILE_CACHE_URL": 5}, "takes a URL such as"),
            ({"cache.backend": "memory"}, "cache.backend in app.config names no sett"),
            ({"cache..backend": "memory"}, "names no setting of a region"),
            (
                {"DOGPILE_CACHE_REGIONS__local": "memory"},
                "DOGPILE_CACHE_REGIONS__local in app.config names no setting",
            ),
            (
                {"DOGPILE_CACHE_REGIONS": {"a": {"backend": "dbm", "arguments": "x"}}},
                "arguments is a str: it takes a dictionary",
            ),
            (
                {"DOGPILE_CACHE_REGIONS": {"a": {"url": "null://", "backend": "x"}}},
                "backend: said by the URL and by a setting beside it",
            ),
            (
                {
                    "DOGPILE_CACHE_REGIONS": {
                        "a": {
                            "url": "memory://?max_entries=5",
                            "arguments": {"max_entries": 6},
                        }
                    }
                },
                "arguments.max_entries: said by the URL and",
            ),
            (
                {"DOGPILE_CACHE_REGIONS": {"a": {"backend": "memory", "grace": -5}}},
                "grace is -5",
            ),
        ],
    )
    def test_what_is_no_use_is_refused(
        self, settings: dict[str, Any], text: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=text):
            build_regions(settings)

    @pytest.mark.parametrize(
        ("settings", "places"),
        [
            (
                {
                    "DOGPILE_CACHE_URL": "null://",
                    "DOGPILE_CACHE_REGIONS": {"default": "memory"},
                },
                ["DOGPILE_CACHE_URL in settings", "DOGPILE_CACHE_REGIONS['default']"],
            ),
            (
                {
                    "cache.a.backend": "memory",
                    "DOGPILE_CACHE_REGIONS": {"a": {"backend": "null"}},
                },
                ["cache.a.… in settings", "DOGPILE_CACHE_REGIONS['a'] in settings"],
            ),
            (
                {
                    "DOGPILE_CACHE_REGIONS": {"a": {"backend": "null"}},
                    "DOGPILE_CACHE_REGIONS__a__grace": "5",
                },
                ["DOGPILE_CACHE_REGIONS['a']", "DOGPILE_CACHE_REGIONS__a__… in setti"],
            ),
        ],
    )
    def test_a_region_configured_twice_names_both_places(
        self, settings: dict[str, Any], places: list[str]
    ) -> None:
        with pytest.raises(ValidationError, match="configured twice") as told:
            build_regions(settings, where="settings")

        assert all(place in str(told.value) for place in places)

    def test_the_kind_of_the_error_stays(self) -> None:
        with pytest.raises(PluginNotFound):
            build_region("a", "nowhere")


class TestShortNames:
    @pytest.mark.parametrize("name", ["redis", "dogpile.cache.redis"])
    def test_a_short_name_is_as_good_as_the_whole(self, name: str) -> None:
        assert backend_name(name) == "dogpile.cache.redis"

    @pytest.mark.usefixtures("registered")
    def test_a_name_of_ones_own_is_found(self) -> None:
        register_backend("acme.shelf", __name__, "InProcess")

        assert backend_name("shelf") == backend_name("acme.shelf") == "acme.shelf"

    @pytest.mark.usefixtures("registered")
    def test_an_ambiguous_name_is_refused(self) -> None:
        register_backend("acme.redis", __name__, "InProcess")

        with pytest.raises(PluginNotFound, match=r"'acme.redis' or 'dogpile.cache.re"):
            backend_name("redis")
        assert backend_name("dogpile.cache.redis") == "dogpile.cache.redis"

    def test_a_class_is_a_backend_too(self) -> None:
        region = build_region("own", {"backend": InProcess, "arguments": {"a": "1"}})

        assert region.put("key", "value") == "value"
        assert inside(region).arguments == {"a": 1}


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "backend", "arguments"),
        [
            ("redis://h:6379/0", "redis", {"url": "redis://h:6379/0"}),
            ("rediss://u:p@h/0", "redis", {"url": "rediss://u:p@h/0"}),
            ("unix:///tmp/redis.sock", "redis", {"url": "unix:///tmp/redis.sock"}),
            ("valkey://h/1", "valkey", {"url": "valkey://h/1"}),
            ("valkeys://h/1", "valkey", {"url": "valkeys://h/1"}),
            (
                "redis://h/0?socket_timeout=2",
                "redis",
                {"url": "redis://h/0", "socket_timeout": "2"},
            ),
            (
                "rediss://h/0?ssl_cert_reqs=none&client_name=x",
                "redis",
                {"url": "rediss://h/0?ssl_cert_reqs=none&client_name=x"},
            ),
            ("redis://:a,b@h/0", "redis", {"url": "redis://:a%2Cb@h/0"}),
            ("pymemcache://", "pymemcache", {"url": ["127.0.0.1"]}),
            ("pylibmc://a,b:1", "pylibmc", {"url": ["a", "b:1"]}),
            (
                "bmemcached://u:p%40w@a",
                "bmemcached",
                {"url": ["a"], "username": "u", "password": "p@w"},
            ),
            ("sqlite://", "sqlite", {}),
            ("sqlite:///a%20b.sqlite", "sqlite", {"filename": "a b.sqlite"}),
            ("sqlite:////var/a.sqlite", "sqlite", {"filename": "/var/a.sqlite"}),
            ("dbm:///a.dbm", "dbm", {"filename": "a.dbm"}),
            ("memory://?max_bytes=5", "memory", {"max_bytes": "5"}),
            ("null://", "null", {}),
        ],
    )
    def test_a_url_stands_for_settings(
        self, url: str, backend: str, arguments: dict[str, Any]
    ) -> None:
        assert read_url(url) == {
            "backend": f"dogpile.cache.{backend}",
            "arguments": arguments,
        }

    def test_parameters_are_settings_or_arguments(self) -> None:
        read = read_url("sqlite:///a?grace=5m&max_entries=9&serializer=json")

        assert read == {
            "backend": "dogpile.cache.sqlite",
            "grace": "5m",
            "serializer": "json",
            "arguments": {"filename": "a", "max_entries": "9"},
        }

    @pytest.mark.parametrize(
        ("installed", "url", "backend"),
        [
            ({"pymemcache", "pylibmc"}, "memcached://h", "pymemcache"),
            ({"pylibmc", "memcache"}, "memcached://h", "pylibmc"),
            ({"memcache"}, "memcached://h", "memcached"),
            (set(), "memcached://h", "pymemcache"),
            ({"pymemcache", "bmemcached"}, "memcached://u:p@h", "bmemcached"),
        ],
    )
    def test_memcached_takes_the_client_that_is_there(
        self,
        monkeypatch: pytest.MonkeyPatch,
        installed: set[str],
        url: str,
        backend: str,
    ) -> None:
        monkeypatch.setattr(
            "importlib.util.find_spec", lambda name: name in installed or None
        )

        assert read_url(url)["backend"] == f"dogpile.cache.{backend}"

    @pytest.mark.parametrize(
        ("url", "text"),
        [
            ("reddis://h", "did you mean redis://"),
            ("redis://h?socket_timout=1", "'socket_timout' .*did you mean 'socket_tim"),
            ("redis://h?db=1&db=2", "says db twice"),
            ("memcached://h/0", "has no path"),
            ("sqlite://cache.db", "has no host: write sqlite:///"),
            ("sqlite:///a?filename=b", "says filename twice"),
            ("memory://host", "neither a host nor a path"),
            ("null:///path", "neither a host nor a path"),
            ("redis://:a#b@h", "in a password it is written %23"),
            ("redis://[h", "cannot be read"),
        ],
    )
    def test_what_cannot_be_read_is_refused(self, url: str, text: str) -> None:
        with pytest.raises(ValidationError, match=text):
            read_url(url)

    @pytest.mark.parametrize(
        "url",
        [
            f"redis://:{PASSWORD}@h?socket_timout=1",
            f"redis://:{PASSWORD}/x@h",
            f"redis://[{PASSWORD}",
            f"redis://:{PASSWORD}#@h",
            f"redis://:{PASSWORD}@h:port/0",
            f"memcached://u:{PASSWORD}@h/0",
            f"sqlite://u:{PASSWORD}@h",
            f"nosuch://u:{PASSWORD}@h",
            f"pymemcache://u:{PASSWORD}@h",
        ],
    )
    def test_no_password_is_shown(self, url: str) -> None:
        with pytest.raises(ConfigurationError) as told:
            build_regions({"DOGPILE_CACHE_URL": url})

        assert PASSWORD not in "".join(traceback.format_exception_only(told.value))
        assert PASSWORD not in str(told.value.__cause__)


class TestPasswords:
    def test_a_region_shows_none(self) -> None:
        pytest.importorskip("redis")

        region = only({"DOGPILE_CACHE_URL": f"redis://u:{PASSWORD}@h:6379/0"})

        assert repr(region) == "<CacheRegion 'default' (RedisBackend)>"
        assert PASSWORD not in repr(region.actual_backend)

    def test_a_json_that_is_none_shows_none(self) -> None:
        with pytest.raises(ValidationError) as told:
            build_regions({"DOGPILE_CACHE_REGIONS": f'{{"url": "{PASSWORD}"'})

        assert PASSWORD not in "".join(traceback.format_exception(told.value))


class TestSigning:
    """What leaves the process is signed with a key derived from SECRET_KEY."""

    def test_the_key_is_derived(self) -> None:
        [key] = signing_keys(SECRET)

        assert len(key) == 32
        assert SECRET.encode() not in key
        assert signing_keys(SECRET.encode()) == [key]
        # By RFC 5869, so that others can compute it, too.
        assert key.hex() == hkdf(SECRET.encode())

    def test_without_a_secret_there_is_no_key(self) -> None:
        assert (
            signing_keys(None) == signing_keys("") == signing_keys(b"", [SECRET]) == []
        )

    def test_what_is_stored_is_signed(self, elsewhere: type[Elsewhere]) -> None:
        region = build_region("a", {"backend": elsewhere}, secret_key=SECRET)
        region.put("key", "value")

        elsewhere.store["key"] = elsewhere.store["key"][:-1] + b"?"

        assert region.get("key") is NO_VALUE

    def test_unsigned_values_are_not_read(self, elsewhere: type[Elsewhere]) -> None:
        build_region("a", {"backend": elsewhere}).put("key", "value")

        signing = build_region("a", {"backend": elsewhere}, secret_key=SECRET)

        assert signing.get("key") is NO_VALUE

    def test_a_rotated_secret_is_still_read(self, elsewhere: type[Elsewhere]) -> None:
        settings = {"DOGPILE_CACHE_REGIONS": {"a": {"backend": elsewhere}}}
        only(settings, secret_key="an earlier secret").put("key", "value")

        rotated = only(settings, secret_key=SECRET, fallbacks=["an earlier secret"])
        forgotten = only(settings, secret_key=SECRET)

        assert rotated.get("key") == "value"
        assert forgotten.get("key") is NO_VALUE

    def test_a_key_of_the_regions_own_goes_first(
        self, elsewhere: type[Elsewhere]
    ) -> None:
        settings = {"backend": elsewhere, "signing_key": "k" * 16}
        build_region("a", settings, secret_key=SECRET).put("key", "value")

        assert build_region("a", settings).get("key") == "value"

    @pytest.mark.parametrize("off", [None, False, "none", "False", " off "])
    def test_a_region_may_do_without(
        self, elsewhere: type[Elsewhere], off: object
    ) -> None:
        settings = {"backend": elsewhere, "signing_key": off}
        build_region("a", settings, secret_key=SECRET).put("key", "value")

        assert build_region("a", {"backend": elsewhere}).get("key") == "value"

    def test_an_empty_key_is_no_way_to_do_without(self) -> None:
        with pytest.raises(ValidationError, match="signing_key is empty"):
            build_region("a", {"backend": "memory_pickle", "signing_key": ""})

    @pytest.mark.parametrize(
        ("settings", "is_signed"),
        [
            ({"backend": "sqlite", "arguments": {"filename": "x"}}, True),
            ({"backend": "dbm", "arguments": {"filename": "x"}}, True),
            ({"backend": "pymemcache", "arguments": {"url": "h"}}, True),
            ({"backend": "redis", "arguments": {"url": "redis://h"}}, True),
            ({"backend": "redis", "serializer": "json"}, True),
            ({"backend": Elsewhere}, True),
            ({"backend": InProcess, "serializer": "json"}, True),
            ({"backend": InProcess}, False),
            ({"backend": "memory"}, False),
            ({"backend": "memory_pickle"}, False),
            ({"backend": "null"}, False),
        ],
    )
    def test_it_is_for_what_leaves_the_process(
        self, settings: dict[str, Any], is_signed: bool
    ) -> None:
        for module in ("redis", "pymemcache"):
            if settings["backend"] == module:
                pytest.importorskip(module)

        region = build_region("a", settings, secret_key=SECRET)

        coder = region._parts.coder
        assert bool(coder is not None and coder.is_signed) == is_signed

    def test_a_secret_that_can_be_guessed_is_told(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            keys = signing_keys("dev")

        assert len(keys) == 1
        assert "SECRET_KEY has fewer than 16 bytes" in caplog.text


def hkdf(secret: bytes) -> str:
    """Derive the key by other means."""
    hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")
    derivation = pytest.importorskip("cryptography.hazmat.primitives.kdf.hkdf")
    label = b"dogpile.cache values of an application"
    derived = derivation.HKDF(hashes.SHA256(), 32, salt=None, info=label)
    return str(derived.derive(secret).hex())


class TestWhatARegionIsMadeWith:
    @pytest.mark.parametrize(
        ("value", "is_on"), [("no", False), ("True", True), (False, False)]
    )
    def test_flags_may_be_texts(self, value: Any, is_on: bool) -> None:
        region = build_region("a", {"backend": "memory", "ignore_expiration": value})

        assert region.ignore_expiration is is_on

    def test_a_mangler_may_be_a_flag(self) -> None:
        region = build_region("a", {"backend": "memory", "key_mangler": "false"})

        assert not region.key_mangler

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"ignore_expiration": "maybe"}, "ignore_expiration takes True or False"),
            ({"statistics": 5}, "statistics takes True or False, not 5"),
            ({"key_mangler": "sha1"}, "key_mangler takes a function, True or False"),
            ({"function_key_generator": 5}, "function_key_generator takes a function"),
            ({"clock": 5}, r"clock takes a dogpile\.cache\.Clock, not 5"),
            ({"key_manglr": None}, "did you mean 'key_mangler'"),
            ({5: 6}, "a setting has a text for a name, not 5"),
        ],
    )
    def test_what_is_no_use_is_refused_with_its_place(
        self, settings: dict[Any, Any], message: str
    ) -> None:
        with pytest.raises(ValidationError, match=message) as caught:
            build_regions(
                {"DOGPILE_CACHE_REGIONS": {"a": {"backend": "memory", **settings}}}
            )

        assert "DOGPILE_CACHE_REGIONS['a'] in app.config: " in str(caught.value)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (5, {}, "a region's name takes a text, not 5"),
        ("a", 5, "a region takes a dictionary of settings, a URL, or .* not 5"),
        ("a", None, "a region takes a dictionary of settings, a URL, or .* not None"),
    ],
)
def test_a_region_of_nothing_is_refused(name: Any, settings: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        build_region(name, settings)


@pytest.mark.parametrize("url", [5, "redis", ""])
def test_a_url_is_a_text_of_a_scheme(url: Any) -> None:
    with pytest.raises(ValidationError, match="the URL of a cache is a text such as"):
        read_url(url)


@pytest.mark.parametrize("settings", [5, ["a"]])
def test_settings_are_a_dictionary(settings: Any) -> None:
    with pytest.raises(ValidationError, match="it takes a dictionary"):
        build_regions(settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"DOGPILE_CACHE_REGIONS": {"a": {"backend": "memory", "TIME": "7m"}}},
        {"DOGPILE_CACHE_REGIONS": '{"a": {"backend": "memory", "TIME": "7m"}}'},
        {"cache.a.backend": "memory", "cache.a.TIME": "7m"},
        {"cache.a": {"backend": "memory", "TIME": "7m"}},
        {"DOGPILE_CACHE_REGIONS": {"a": "memory://?TIME=7m"}},
        {
            "DOGPILE_CACHE_REGIONS__a__backend": "memory",
            "DOGPILE_CACHE_REGIONS__a__TIME": "7m",
        },
    ],
)
@pytest.mark.parametrize(
    "time", ["expiration_time", "grace", "hard_timeout", "lease_time", "retry_after"]
)
def test_a_time_has_its_unit_wherever_it_stands(
    settings: dict[str, Any], time: str
) -> None:
    given = json.loads(json.dumps(settings).replace("TIME", time))

    region = build_regions(given)["a"]

    assert getattr(region.policy, time) == 420
