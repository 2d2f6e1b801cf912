"""From settings, as files and the environment have them, to a region."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from dogpile.cache import CacheBackend, CacheRegion, ProxyBackend, make_region
from dogpile.cache.backends.dbm import DBMBackend
from dogpile.cache.backends.memory import MemoryBackend
from dogpile.cache.config import (
    REGION_SETTINGS,
    assemble,
    backend_class,
    coerce,
    load_proxies,
    read_settings,
    wrapped,
)
from dogpile.cache.exception import (
    ConfigurationError,
    PluginNotFound,
    RegionAlreadyConfigured,
    ValidationError,
)
from dogpile.cache.policy import POLICY_FIELDS
from dogpile.cache.registry import BACKENDS

MEMORY = "dogpile.cache.memory"


def configured(config: Mapping[str, Any], prefix: str = "cache.local.") -> CacheRegion:
    return make_region().configure_from_config(config, prefix)


class LoudProxy(ProxyBackend):
    pass


class QuietProxy(ProxyBackend):
    pass


class TestForms:
    def test_flat_keys_are_read(self) -> None:
        region = configured(
            {
                "cache.local.backend": MEMORY,
                "cache.local.expiration_time": 60,
                "cache.local.arguments.max_entries": 10,
                "cache.other.backend": "dogpile.cache.null",
                "unrelated": object(),
            }
        )

        assert isinstance(region.backend, MemoryBackend)
        assert region.expiration_time == 60
        assert region.backend.is_bounded

    @pytest.mark.parametrize("prefix", ["cache.local.", "cache.local"])
    def test_the_prefix_works_with_and_without_its_last_dot(self, prefix: str) -> None:
        region = configured(
            {"cache.local.backend": MEMORY, "cache.local.grace": 5}, prefix
        )

        assert region.policy.grace == 5

    def test_a_longer_name_is_another_region(self) -> None:
        region = configured(
            {
                "cache.local.backend": MEMORY,
                "cache.localhost.backend": "dogpile.cache.null",
                "cache.localhost.nonsense": 1,
            },
            "cache.local",
        )

        assert isinstance(region.backend, MemoryBackend)

    @pytest.mark.parametrize("prefix", ["cache.local.", "cache.local"])
    @pytest.mark.parametrize(
        "config",
        [
            {"cache": {"local": {"backend": MEMORY, "expiration_time": "1m"}}},
            {"cache.local": {"backend": MEMORY, "expiration_time": "1m"}},
        ],
    )
    def test_nested_mappings_are_read(
        self, config: Mapping[str, Any], prefix: str
    ) -> None:
        region = configured(config, prefix)

        assert isinstance(region.backend, MemoryBackend)
        assert region.expiration_time == 60

    def test_arguments_may_be_nested_too(self) -> None:
        settings = read_settings(
            {
                "cache": {
                    "local": {
                        "backend": MEMORY,
                        "arguments": {"max_entries": "10", "policy": "lru"},
                    }
                }
            },
            "cache.local",
        )

        assert settings["arguments"] == {"max_entries": 10, "policy": "lru"}

    def test_arguments_may_be_one_mapping_among_flat_keys(self) -> None:
        settings = read_settings(
            {
                "cache.local.backend": MEMORY,
                "cache.local.arguments": {"max_entries": "10"},
                "cache.local.arguments.policy": "lru",
            },
            "cache.local.",
        )

        assert settings["arguments"] == {"max_entries": 10, "policy": "lru"}

    def test_without_a_prefix_the_mapping_is_the_regions(self) -> None:
        region = configured({"backend": MEMORY, "expiration_time": "90"}, "")

        assert region.expiration_time == 90

    def test_the_seeds_two_regions_share_a_mapping(self, tmp_path: Any) -> None:
        config = {
            "cache.local.backend": "dogpile.cache.dbm",
            "cache.local.arguments.filename": str(tmp_path / "file.dbm"),
            "cache.process.backend": MEMORY,
            "cache.process.expiration_time": "5m",
        }

        local = configured(config, "cache.local.")
        process = configured(config, "cache.process.")

        assert isinstance(local.backend, DBMBackend)
        assert local.expiration_time is None
        assert process.expiration_time == 300

    def test_configure_from_config_returns_the_region(self) -> None:
        region = make_region()

        assert region.configure_from_config({"a.backend": MEMORY}, "a.") is region

    def test_a_region_is_not_configured_twice_unless_it_says_so(self) -> None:
        config = {"a.backend": MEMORY}
        region = configured(config, "a.")

        with pytest.raises(RegionAlreadyConfigured):
            region.configure_from_config(config, "a.")

        region.configure_from_config(
            {**config, "a.replace_existing_backend": "true"}, "a."
        )

    def test_every_field_of_a_policy_may_be_set(self) -> None:
        region = configured(
            {
                "a.backend": MEMORY,
                "a.expiration_time": "1h",
                "a.grace": "10m",
                "a.early": "1.5",
                "a.soft_timeout": "50ms",
                "a.hard_timeout": "2s",
                "a.lease_time": "30",
                "a.retry_after": "5 s",
                "a.jitter": "0.1",
                "a.tags": "one, two",
                "a.version": "7",
                "a.on_backend_error": "stale",
                "a.max_clock_skew": "none",
            }
            | {"a.max_clock_skew": "2m"},
            "a.",
        )

        policy = region.policy
        assert (policy.expiration_time, policy.grace, policy.early) == (3600, 600, 1.5)
        assert (policy.soft_timeout, policy.hard_timeout) == (0.05, 2)
        assert (policy.lease_time, policy.retry_after, policy.jitter) == (30, 5, 0.1)
        assert (policy.tags, policy.version) == (("one", "two"), "7")
        assert (policy.on_backend_error, policy.max_clock_skew) == ("stale", 120)

    def test_the_regions_own_policy_stays_where_nothing_is_said(self) -> None:
        region = make_region(grace=7, expiration_time=5)

        region.configure_from_config({"a.backend": MEMORY, "a.expiration_time": 6}, "a")

        assert (region.policy.grace, region.policy.expiration_time) == (7, 6)

    def test_proxies_are_named_by_their_paths(self) -> None:
        path = f"{__name__}:LoudProxy"
        region = configured({"a.backend": MEMORY, "a.wrap": path}, "a.")

        assert isinstance(region.backend, LoudProxy)
        assert isinstance(region.actual_backend, MemoryBackend)

    def test_the_serializer_may_be_named(self, tmp_path: Any) -> None:
        region = configured(
            {
                "a.backend": "dogpile.cache.sqlite",
                "a.arguments.filename": str(tmp_path / "cache"),
                "a.serializer": "json",
            },
            "a.",
        )

        with region:
            region.put("key", {"a": [1, None]})
            stored = region.backend.get_serialized("key")

        assert b'"a"' in bytes(stored)


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("a.expiration_tme", "'a.expiration_time'"),
            ("a.bakend", "'a.backend'"),
            ("a.signing_keys", "'a.signing_key'"),
            ("a.argument", "'a.arguments'"),
        ],
    )
    def test_an_unknown_key_is_told_the_nearest(self, name: str, hint: str) -> None:
        with pytest.raises(ValidationError) as caught:
            configured({"a.backend": MEMORY, name: "x"}, "a.")

        assert repr(name) in str(caught.value)
        assert f"did you mean {hint}" in str(caught.value)

    def test_an_unknown_key_like_none_is_told_all(self) -> None:
        with pytest.raises(ValidationError) as caught:
            configured({"a.backend": MEMORY, "a.zzz": "x"}, "a.")

        text = str(caught.value)
        assert "did you mean" not in text
        assert all(name in text for name in POLICY_FIELDS | REGION_SETTINGS)

    @pytest.mark.parametrize("prefix", ["", "."])
    def test_without_a_prefix_others_may_have_theirs_there(self, prefix: str) -> None:
        settings = {"backend": MEMORY, "expiration_time": "5", "debugging": "on"}
        region = make_region()

        with pytest.warns(UserWarning, match="the setting 'debugging'") as caught:
            region.configure_from_config(settings, prefix)

        assert region.expiration_time == 5
        assert caught[0].filename == __file__

    def test_without_a_prefix_the_misspelt_is_refused_and_all_if_asked(self) -> None:
        settings = {"backend": MEMORY, "debugging": "on"}

        with pytest.raises(ValidationError, match="did you mean 'expiration_time'"):
            configured({"backend": MEMORY, "expiration_tme": 5}, "")
        with pytest.raises(ValidationError, match="'debugging'"):
            make_region().configure_from_config(settings, "", strict=True)

    @pytest.mark.parametrize("config", [None, 5, "c.backend", []])
    def test_settings_that_are_no_mapping_are_refused(self, config: Any) -> None:
        with pytest.raises(ValidationError, match="the settings must be a mapping"):
            configured(config)

    def test_a_missing_backend_is_told(self) -> None:
        with pytest.raises(ValidationError, match=r"no setting a\.backend"):
            configured({"a.expiration_time": 5}, "a.")

    @pytest.mark.parametrize("prefix", ["cache.locl.", "cach.local", "Cache.local."])
    def test_a_misspelt_prefix_is_told_the_nearest(self, prefix: str) -> None:
        config = {"cache.local.backend": MEMORY, "cache.local.expiration_time": 5}

        with pytest.raises(ValidationError, match=r"prefix of 'cache\.local\.backend'"):
            configured(config, prefix)

    def test_an_unknown_backend_is_told_the_nearest(self) -> None:
        with pytest.raises(PluginNotFound, match=r"'dogpile\.cache\.memory'"):
            configured({"a.backend": "dogpile.cache.memry"}, "a.")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("expiration_time", "soon"),
            ("expiration_time", "-7"),
            ("expiration_time", "5 fortnights"),
            ("grace", "yes"),
            ("jitter", "2"),
            ("lease_time", "0"),
            ("on_backend_error", "shrug"),
            ("generation_ttl", "soon"),
            ("generation_ttl", "-3"),
        ],
    )
    def test_a_value_that_is_no_use_is_refused(self, name: str, value: str) -> None:
        region = make_region()

        with pytest.raises(ValidationError, match=name):
            region.configure_from_config({"a.backend": MEMORY, f"a.{name}": value}, "a")

        assert not region.is_configured

    def test_an_unknown_argument_is_told_the_nearest(self) -> None:
        with pytest.raises(ValidationError, match="did you mean 'max_entries'"):
            configured({"a.backend": MEMORY, "a.arguments.max_entrys": 5}, "a.")

    def test_an_unknown_argument_like_none_is_told_all(self) -> None:
        with pytest.raises(ValidationError, match="known: cache_dict, copy"):
            configured({"a.backend": MEMORY, "a.arguments.zzz": 5}, "a.")

    @pytest.mark.parametrize(
        ("names", "told"),
        [
            (["url"], "'url'"),
            (["lock_timeout"], "'lock_timeout'"),
            (["zzz", "yyy"], "of 'zzz', 'yyy'"),
            (["zzz", "url", "username"], "of 'zzz', 'url', 'username'"),
        ],
    )
    def test_arguments_of_a_file_may_be_for_another_backend(
        self, names: list[str], told: str
    ) -> None:
        settings = {f"a.arguments.{name}": "5" for name in names}
        settings["a.backend"] = MEMORY
        region = make_region()

        with pytest.warns(UserWarning, match=f"knows no argument {told} ") as caught:
            region.configure_from_config(settings, "a.")

        assert region.is_configured
        assert len(caught) == 1
        assert caught[0].filename == __file__

    @pytest.mark.parametrize("names", [["url"], ["zzz", "yyy"]])
    def test_they_may_be_refused_one_and_all(self, names: list[str]) -> None:
        settings = {f"a.arguments.{name}": "5" for name in names}
        settings["a.backend"] = MEMORY
        region = make_region()

        with pytest.raises(ValidationError, match="knows no argument"):
            region.configure_from_config(settings, "a.", strict=True)

        assert not region.is_configured

    def test_one_that_is_misspelt_is_refused_among_many(self) -> None:
        settings = {"max_entrys": 5, "url": "here", "zzz": 5}
        given = {f"a.arguments.{name}": value for name, value in settings.items()}

        with pytest.raises(ValidationError, match="did you mean 'max_entries'"):
            configured({"a.backend": MEMORY, **given}, "a.")

    def test_an_argument_of_a_program_may_be_for_another_backend(self) -> None:
        region = make_region()

        with pytest.warns(UserWarning, match="knows no argument 'url'") as caught:
            region.configure(MEMORY, arguments={"url": "127.0.0.1"})
        with pytest.warns(UserWarning, match="knows no argument 'url'") as at_once:
            make_region(MEMORY, arguments={"url": "127.0.0.1"})

        assert region.is_configured
        # So that a program's own line is shown.
        assert {each.filename for each in (*caught, *at_once)} == {__file__}

    @pytest.mark.parametrize(
        "path",
        ["no_such_module_as_this:Proxy", f"{__name__}:NoProxy", "Proxy", ""],
    )
    def test_a_proxy_that_is_not_there_is_named(self, path: str) -> None:
        with pytest.raises(ValidationError, match="cannot be imported") as caught:
            configured({"a.backend": MEMORY, "a.wrap": path}, "a.")

        assert repr(path) in str(caught.value)

    @pytest.mark.parametrize("wrap", [5, LoudProxy, LoudProxy()])
    def test_what_is_no_list_of_proxies_is_refused(self, wrap: Any) -> None:
        with pytest.raises(ValidationError, match=r"^wrap= must be a list of Proxy"):
            make_region().configure(MEMORY, wrap=wrap)

    @pytest.mark.parametrize("proxy", [MemoryBackend, object(), 7, str])
    def test_what_is_no_proxy_is_refused(self, proxy: Any) -> None:
        backend = MemoryBackend({})

        with pytest.raises(ValidationError, match="ProxyBackend classes or instances"):
            wrapped(proxy, backend)

    def test_no_secret_is_told(self) -> None:
        with pytest.raises(ValidationError) as caught:
            configured(
                {
                    "a.backend": "dogpile.cache.memory_pickle",
                    "a.signing_key": "short secret",
                },
                "a.",
            )

        assert "short secret" not in str(caught.value)

    @pytest.mark.parametrize("arguments", ["host", 5, ["host"], [("url", "h")], True])
    @pytest.mark.parametrize(
        "backend",
        [name for name in BACKENDS.names() if name.startswith("dogpile.cache.")],
    )
    def test_arguments_of_ours_are_a_mapping(
        self, backend: str, arguments: Any
    ) -> None:
        region = make_region()

        with pytest.raises(
            ValidationError, match=rf"^arguments= of '{backend}' must be a dictionary"
        ) as caught:
            region.configure(backend, arguments=arguments)

        assert f"not of type {type(arguments).__name__}" in str(caught.value)
        assert "host" not in str(caught.value).partition("not of type")[2]
        assert not region.is_configured

    def test_the_refusal_shows_how_to_write_arguments(self) -> None:
        with pytest.raises(ValidationError, match=r"arguments=\{'max_entries': 1000\}"):
            make_region().configure(MEMORY, arguments="max_entries")

    @pytest.mark.parametrize("arguments", ["host", 5, ["host"], object()])
    def test_a_backend_of_others_takes_any_arguments(self, arguments: Any) -> None:
        class Theirs(CacheBackend):
            def __init__(self, arguments: Any) -> None:
                self.given = arguments

            get = put = delete = lambda self, *given: None  # type: ignore[assignment]

        region = make_region().configure(Theirs, arguments=arguments)

        assert getattr(region.actual_backend, "given") is arguments  # noqa: B009

    @pytest.mark.parametrize("value", ["max_entries", 5, ["a"]])
    def test_arguments_of_a_file_are_a_mapping(self, value: Any) -> None:
        with pytest.raises(ValidationError, match=r"cache\.local\.arguments must be"):
            configured({"cache.local.backend": MEMORY, "cache.local.arguments": value})


class TestCoercion:
    @pytest.mark.parametrize(
        ("name", "text", "value"),
        [
            ("max_entries", "100", 100),
            ("max_entries", " 100 ", 100),
            ("max_entries", "1e3", 1000.0),
            ("early", "1.5", 1.5),
            ("expiration_time", "-1", -1),
            ("expiration_time", "300", 300),
            ("expiration_time", "500ms", 0.5),
            ("expiration_time", "90s", 90.0),
            ("expiration_time", "5m", 300.0),
            ("expiration_time", "1.5h", 5400.0),
            ("expiration_time", "2 d", 172800.0),
            ("expiration_time", "1w", 604800.0),
            ("lock_timeout", "5m", 300.0),
            ("socket_timeout", "250ms", 0.25),
            ("binary", "true", True),
            ("binary", "Yes", True),
            ("binary", "on", True),
            ("binary", "FALSE", False),
            ("binary", "no", False),
            ("binary", "off", False),
            ("expiration_time", "None", None),
            ("expiration_time", "none", None),
            ("url", "127.0.0.1", "127.0.0.1"),
            ("url", "127.0.0.1, 10.0.0.1", ["127.0.0.1", "10.0.0.1"]),
            ("url", "127.0.0.1,", ["127.0.0.1"]),
            ("tags", "one, two", ["one", "two"]),
            ("tags", "one", ["one"]),
            ("tags", "7", ["7"]),
            ("filename", "7", "7"),
            ("synchronous", "off", "off"),
            ("filename", "true", "true"),
            ("password", "0123", "0123"),
            ("username", "on", "on"),
            ("version", "1.10", "1.10"),
            ("host", "10", "10"),
            ("comment", "5 apples", "5 apples"),
            ("size", "5m", "5m"),
        ],
    )
    def test_a_text_stands_for_a_value(self, name: str, text: str, value: Any) -> None:
        coerced = coerce(name, text)

        assert coerced == value
        assert type(coerced) is type(value)

    @pytest.mark.parametrize("value", [5, 1.5, True, None, ["a, b"], {"a": "1"}, b"5"])
    def test_what_is_no_text_is_left_alone(self, value: Any) -> None:
        assert coerce("max_entries", value) is value

    @pytest.mark.parametrize("name", ["signing_key", "encryption_key"])
    def test_a_secret_is_left_alone(self, name: str) -> None:
        assert coerce(name, " 0123456789012345 ") == " 0123456789012345 "


class TestBackends:
    def test_a_class_is_taken_as_it_is(self) -> None:
        assert backend_class(MemoryBackend) is MemoryBackend

    def test_a_function_may_make_the_backend(self) -> None:
        parts = assemble(
            partial(MemoryBackend),
            {"max_entries": 3},
            wrap=(),
            codec={},
            context="",
        )

        assert isinstance(parts.actual, MemoryBackend)

    @pytest.mark.parametrize("backend", [7, None, object()])
    def test_what_is_no_backend_is_refused(self, backend: Any) -> None:
        with pytest.raises(ConfigurationError, match="name or a class"):
            backend_class(backend)

    def test_what_makes_no_backend_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="of type dict, no CacheBackend"):
            make_region().configure(lambda arguments: {})

    @pytest.mark.parametrize(
        ("methods", "missing"),
        [
            ({"get", "put"}, "no method delete()"),
            ({"get", "delete"}, "no method put()"),
            ({"set", "delete"}, "no method get()"),
            (set(), "no method get() and no method put() and no method delete()"),
        ],
    )
    def test_a_class_without_a_method_is_refused(
        self, methods: set[str], missing: str
    ) -> None:
        space = {name: lambda self, *given: None for name in methods}
        kind = type("Incomplete", (CacheBackend,), space)

        with pytest.raises(ConfigurationError) as caught:
            make_region().configure(kind)

        assert missing in str(caught.value)
        assert "Incomplete" in str(caught.value)

    def test_proxies_stand_in_their_order(self) -> None:
        parts = assemble(
            MEMORY, None, wrap=[LoudProxy, QuietProxy()], codec={}, context=""
        )

        outer: Any = parts.backend
        assert isinstance(outer, LoudProxy)
        assert isinstance(outer.proxied, QuietProxy)
        assert outer.proxied.proxied is parts.actual

    def test_a_codec_on_a_backend_of_objects_would_have_no_effect(self) -> None:
        with pytest.raises(
            ConfigurationError, match="signing_key would have no effect"
        ):
            make_region().configure(MEMORY, signing_key="0123456789abcdef")

    def test_a_serializer_makes_it_a_backend_of_bytes(self) -> None:
        region = make_region("dogpile.cache.memory", serializer="json")

        region.put("key", {"a": 1})

        assert isinstance(region.backend.get("key"), bytes)
        assert region.get("key") == {"a": 1}

    def test_proxies_may_be_loaded_from_anything(self) -> None:
        instance = QuietProxy()

        assert load_proxies(None) == []
        assert load_proxies([LoudProxy, instance]) == [LoudProxy, instance]
        assert load_proxies(f"{__name__}.LoudProxy") == [LoudProxy]
