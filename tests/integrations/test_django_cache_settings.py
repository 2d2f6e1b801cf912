"""From ``CACHES`` to regions: what is shared, what is refused, what is built anew."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django")

import django_site  # noqa: F401 - it configures Django
from crowd import result, start
from django.core.cache import caches
from django.core.cache.backends.base import InvalidCacheBackendError
from django.core.signals import request_finished
from django.test import override_settings
from servers import Server

from dogpile.cache.integrations.django import regions

OURS = "dogpile.cache.integrations.django.DogpileCache"


def alias(location: Any = "dogpile.cache.memory", **params: Any) -> dict[str, Any]:
    return {"BACKEND": OURS, "LOCATION": location, **params}


def in_file(path: Path, **more: Any) -> dict[str, Any]:
    options = {"backend": "sqlite", "arguments": {"filename": str(path)}, **more}
    return alias("", OPTIONS=options)


class TestLocation:
    def test_a_regions_name(self) -> None:
        chosen = {"pages": {"backend": "memory", "expiration_time": 60}}
        with override_settings(
            DOGPILE_CACHE_REGIONS=chosen, CACHES={"default": alias("pages")}
        ):
            cache: Any = caches["default"]
            cache.set("key", 1)

            assert cache.get("key") == 1
            assert cache.default_timeout == 60
            assert cache.region.actual_backend is regions["pages"].actual_backend

    @pytest.mark.parametrize("form", [list, tuple])
    def test_one_url_in_a_list(self, form: Any) -> None:
        location = form(["memory://?max_entries=5"])
        with override_settings(CACHES={"default": alias(location)}):
            cache: Any = caches["default"]
            cache.set("key", 1)

            assert cache.get("key") == 1

    def test_a_regions_values_are_its_own(self) -> None:
        chosen = {"pages": {"backend": "memory"}}
        with override_settings(
            DOGPILE_CACHE_REGIONS=chosen, CACHES={"default": alias("pages")}
        ):
            cache: Any = caches["default"]
            regions["pages"].put("key", 1)
            cache.set("key", 2)
            cache.clear()

            assert regions["pages"].get("key") == 1

    def test_nothing_is_the_default_region(self) -> None:
        with override_settings(
            DOGPILE_CACHE_REGIONS={"default": "memory"},
            CACHES={"default": {"BACKEND": OURS}},
        ):
            cache: Any = caches["default"]

            backend = regions.configured["default"].actual_backend
            assert cache.region.actual_backend is backend

    @pytest.mark.parametrize("location", ["dogpile.cache.sqlite", "sqlite"])
    def test_a_backends_name(self, tmp_path: Path, location: str) -> None:
        options = {"arguments": {"filename": str(tmp_path / "cache.db")}}
        with override_settings(CACHES={"default": alias(location, OPTIONS=options)}):
            cache: Any = caches["default"]
            cache.set("key", 1)

            assert (tmp_path / "cache.db").exists()

    def test_a_url(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'cache.db'}?synchronous=off"
        with override_settings(CACHES={"default": alias(url)}):
            caches["default"].set("key", 1)

            assert (tmp_path / "cache.db").exists()

    def test_with_a_backend_among_the_options_it_is_any_name(self) -> None:
        options = {"backend": "memory"}
        chosen = {
            "default": alias("first", OPTIONS=options),
            "other": alias("second", OPTIONS=options),
            "same": alias("first", OPTIONS=options),
        }
        with override_settings(CACHES=chosen):
            caches["default"].set("key", 1)

            assert caches["other"].get("key") is None
            assert caches["same"].get("key") == 1

    def test_two_names_on_one_server_are_two_caches(self, tmp_path: Path) -> None:
        one = in_file(tmp_path / "cache.db")
        chosen = {"default": one, "other": {**one, "LOCATION": "other"}}
        with override_settings(CACHES=chosen):
            caches["default"].set("key", 1)
            caches["other"].set("key", 2)
            caches["other"].clear()

            assert caches["default"].get("key") == 1


class TestOptions:
    def test_they_set_an_alias_of_a_region_apart(self) -> None:
        chosen = {
            "default": alias("pages"),
            "long": alias("pages", OPTIONS={"grace": 600, "expiration_time": 7}),
        }
        with override_settings(
            DOGPILE_CACHE_REGIONS={"pages": "memory"}, CACHES=chosen
        ):
            long: Any = caches["long"]

            assert long.region.policy.grace == 600
            assert long.default_timeout == 7
            assert caches["default"].region.policy.grace == 0
            # It is one cache all the same.
            caches["default"].set("key", 1)
            assert long.get("key") == 1

    @pytest.mark.parametrize(
        ("timeout", "default"),
        [(None, None), ("60", 60), ("7m", 420), (7.5, 7.5), (0, 0), (-1, 0)],
    )
    def test_timeout_is_the_default(self, timeout: Any, default: Any) -> None:
        with override_settings(CACHES={"default": alias(TIMEOUT=timeout)}):
            assert caches["default"].default_timeout == default

    def test_options_take_texts_for_durations(self) -> None:
        chosen = alias(OPTIONS={"expiration_time": "7m", "grace": "2h"})

        with override_settings(CACHES={"default": chosen}):
            cache: Any = caches["default"]
            assert cache.default_timeout == 420
            assert cache.region.policy.grace == 7200

    def test_a_memory_alias_keeps_what_its_serializer_makes(self) -> None:
        chosen = alias(OPTIONS={"serializer": "json"})

        with override_settings(CACHES={"default": chosen}):
            cache: Any = caches["default"]
            cache.set("key", [1, "two"])
            assert cache.get("key") == [1, "two"]
            assert cache.get("key") is not cache.get("key")
            with pytest.raises(pickle.PicklingError, match=r"type set for .* JSON"):
                cache.set("key", {1, 2})

    def test_without_one_it_is_djangos(self) -> None:
        with override_settings(CACHES={"default": alias()}):
            assert caches["default"].default_timeout == 300

    def test_a_key_function_and_a_version_are_heeded(self) -> None:
        def key_function(key: str, prefix: str, version: int) -> str:
            return f"{version}-{prefix}-{key}"

        chosen = alias(KEY_FUNCTION=key_function, KEY_PREFIX="p", VERSION=3)
        with override_settings(CACHES={"default": chosen}):
            cache: Any = caches["default"]
            cache.set("key", 1)

            assert cache.make_key("key") == "3-p-key"
            assert cache.keys() == ["key"]

    def test_a_switch_turns_all_caches_off(self) -> None:
        with override_settings(
            DOGPILE_CACHE_ENABLED=False, CACHES={"default": alias()}
        ):
            cache: Any = caches["default"]
            cache.set("key", 1)

            assert cache.get("key") is None
            assert cache.add("key", 1) is True
            assert cache.get_or_set("key", lambda: 2) == 2
            assert cache.touch("key") is False
            assert cache.delete("key") is False


BAD = [
    (alias("pagse"), "did you mean 'pages'"),
    (alias("dogpile.cache.rediss"), "did you mean 'dogpile.cache.redis'"),
    (alias("redsi://localhost"), "LOCATION: no cache .*; did you mean redis://"),
    (alias(["a:1", "b:2"]), "LOCATION is a list"),
    (alias([]), "LOCATION is a list"),
    (alias({"host": "a"}), "LOCATION is a dict"),
    (alias(["redis://a", "redis://b"]), "LOCATION has 2 URLs: replicas are not asked"),
    (alias("redis://a;redis://b"), "LOCATION has 2 URLs: replicas are not asked"),
    (alias(OPTIONS={"CLIENT_CLASS": "a.b"}), "CLIENT_CLASS.* leave it out"),
    (alias(OPTIONS={"PASSWORD": "secret"}), r"\['arguments'\]\['password'\] or in"),
    (alias(OPTIONS={"password": "secret"}), r"\['arguments'\]\['password'\] or in"),
    (alias(OPTIONS={"db": 1}), r"OPTIONS\['arguments'\]\['db'\] or in the URL"),
    (alias(OPTIONS={"SOCKET_TIMEOUT": 1}), r"\['arguments'\]\['socket_timeout'\]$"),
    (alias(OPTIONS={"SERIALIZER": "a.b"}), r"OPTIONS\['serializer'\], as 'pickle'"),
    (alias(OPTIONS={"parser_class": "a.b"}), "connection_kwargs"),
    (alias(OPTIONS={"CONNECTION_POOL_KWARGS": {}}), r"such as \?max_connections=100"),
    (alias(OPTIONS={"IGNORE_EXCEPTIONS": True}), r"on_backend_error'\] = 'raise'"),
    (alias("pages", OPTIONS={"db": 1}), r"OPTIONS\['arguments'\]\['db'\]"),
    (alias(OPTIONS={"grce": 1}), "did you mean 'grace'"),
    (alias(OPTIONS={"grace": "soon"}), r"OPTIONS\['grace'\] takes seconds"),
    (alias(OPTIONS={"grace": -1}), r"OPTIONS\['grace'\] is -1"),
    (alias(OPTIONS={"hard_timeout": -1}), r"OPTIONS\['hard_timeout'\] is -1"),
    (alias(OPTIONS={"expiration_time": -7}), r"OPTIONS\['expiration_time'\] is -7"),
    (alias(OPTIONS={"generation_ttl": "-1s"}), r"OPTIONS\['generation_ttl'\] is -1"),
    (alias("pages", OPTIONS={"grace": -1}), r"OPTIONS\['grace'\] is -1"),
    (alias(OPTIONS={"jitter": -1}), "jitter takes a share"),
    (alias(OPTIONS={"MAX_ENTRIES": -1}), "MAX_ENTRIES.*from 0 on, not -1"),
    (alias(OPTIONS={"CULL_FREQUENCY": -1}), "CULL_FREQUENCY.*from 0 on, not -1"),
    (alias(KEY_FUNCTION="shop.keys.nosuch"), "KEY_FUNCTION 'shop.keys.nosuch' cannot"),
    (alias(KEY_FUNCTION="os.nosuch"), "KEY_FUNCTION 'os.nosuch' cannot"),
    (alias(KEY_FUNCTION="keys"), "KEY_FUNCTION 'keys' cannot"),
    (alias(KEY_FUNCTION="os.sep"), "KEY_FUNCTION 'os.sep' is no function"),
    (alias(KEY_FUNCTION=5), "KEY_FUNCTION 5 cannot"),
    (alias(OPTIONS={"MAX_ENTRYS": 1}), "did you mean 'MAX_ENTRIES'"),
    (alias(OPTIONS={"MAX_ENTRIES": "many"}), "MAX_ENTRIES"),
    (alias(OPTIONS=["grace"]), "OPTIONS is a list"),
    (alias(OPTIONS={"arguments": {"max_entrie": 1}}), "did you mean 'max_entries'"),
    (alias(OPTIONS={"arguments": ["max_entries"]}), "arguments is a list"),
    (alias("pages", OPTIONS={"grce": 1}), "did you mean 'grace'"),
    (alias("pages", OPTIONS={"arguments": {}}), "the region's own settings"),
    (alias("", OPTIONS={"backend": "redsi"}), "did you mean 'dogpile.cache.redis'"),
    (alias(TIMEOUT="soon"), "TIMEOUT takes seconds"),
    (alias(TIMEOUT=True), "TIMEOUT takes seconds"),
    (alias(TIMEOUT=1, OPTIONS={"expiration_time": 1}), "say the same"),
    (alias(TIMEOUTS=1), "did you mean 'TIMEOUT'"),
    (alias(OPTIONS={"signing_key": "short"}), "signing_key"),
]


class TestRefusals:
    @pytest.mark.parametrize(("chosen", "words"), BAD)
    def test_a_setting_that_is_no_use_is_named(
        self, chosen: dict[str, Any], words: str
    ) -> None:
        with (
            override_settings(
                DOGPILE_CACHE_REGIONS={"pages": "memory"}, CACHES={"default": chosen}
            ),
            pytest.raises(InvalidCacheBackendError, match=words) as refusal,
        ):
            caches["default"].get("key")

        assert str(refusal.value).startswith("CACHES['default']")

    def test_all_aliases_are_named_that_have_it(self) -> None:
        one, two = alias(TIMEOUT="soon"), alias(TIMEOUT="soon")

        with (
            override_settings(CACHES={"default": alias(), "one": one, "two": two}),
            pytest.raises(
                InvalidCacheBackendError, match=r"CACHES\['one'\] and CACHES\['two'\]"
            ),
        ):
            caches["one"].get("key")

    def test_no_password_is_told_with_it(self) -> None:
        chosen = alias("redis://:secret@localhost", OPTIONS={"grce": 1})

        with (
            override_settings(CACHES={"default": chosen}),
            pytest.raises(InvalidCacheBackendError) as refusal,
        ):
            caches["default"].get("key")

        assert "redis://…" in str(refusal.value)
        assert "secret" not in str(refusal.value)

    @pytest.mark.parametrize(
        ("location", "told"),
        [
            (["redis://:secret@a", "redis://:secret@b"], "['redis://…', 'redis://…']"),
            ({"password": "secret"}, "a dict"),
            (":secret@localhost:6379", "'…'"),
            ("user:secret", "'…'"),
            ("secret@host://x", "'…'"),
            ("pagse:6379", "'pagse:6379'"),
        ],
    )
    def test_no_password_is_told_of_any_form(self, location: Any, told: str) -> None:
        with (
            override_settings(CACHES={"default": alias(location)}),
            pytest.raises(InvalidCacheBackendError) as refusal,
        ):
            caches["default"].get("key")

        assert f" at LOCATION {told}: " in str(refusal.value)
        assert "secret" not in str(refusal.value)

    def test_it_is_told_at_each_use_and_not_by_asking_for_the_cache(self) -> None:
        chosen = alias(OPTIONS={"grce": 1})
        with override_settings(CACHES={"default": chosen}):
            cache: Any = caches["default"]

            for use in (lambda: cache.set("key", 1), lambda: cache.region):
                with pytest.raises(InvalidCacheBackendError, match="'grace'"):
                    use()

    def test_what_a_cache_does_not_have_is_no_matter_of_settings(self) -> None:
        with override_settings(CACHES={"default": alias(OPTIONS={"grce": 1})}):
            assert not hasattr(caches["default"], "regoin")

    def test_no_password_is_shown(self) -> None:
        url = "redis://:s3cr3t@localhost/0?grce=1"
        with (
            override_settings(CACHES={"default": alias(url)}),
            pytest.raises(InvalidCacheBackendError) as refusal,
        ):
            caches["default"].get("key")

        assert "s3cr3t" not in str(refusal.value)


class TestHandles:
    def test_each_thread_has_its_own_on_one_region(self) -> None:
        with override_settings(CACHES={"default": alias()}):
            mine: Any = caches["default"]
            theirs: Any = result(start(lambda: caches["default"]))
            theirs.set("key", 1)

            assert theirs is not mine
            assert theirs.region is mine.region
            assert mine.get("key") == 1

    def test_each_task_has_its_own_on_one_region(self) -> None:
        async def ask() -> Any:
            return caches["default"]

        async def ask_twice() -> Any:
            return await asyncio.gather(
                asyncio.ensure_future(ask()), asyncio.ensure_future(ask())
            )

        with override_settings(CACHES={"default": alias()}):
            first, second = asyncio.run(ask_twice())

        assert first is not second
        assert first.region is second.region

    def test_the_end_of_a_request_closes_no_file(self, tmp_path: Path) -> None:
        with override_settings(CACHES={"default": in_file(tmp_path / "cache.db")}):
            cache: Any = caches["default"]
            cache.set("key", 1)
            idle = list(cache.region.actual_backend._file.idle)

            request_finished.send(type(self))

            assert idle
            assert list(cache.region.actual_backend._file.idle) == idle
            assert caches["default"].get("key") == 1

    @pytest.mark.server
    def test_the_end_of_a_request_closes_no_connection(
        self, redis_server: Server
    ) -> None:
        url = f"redis://127.0.0.1:{redis_server.port}/0"
        with override_settings(CACHES={"default": alias(url)}):
            for _ in range(5):
                caches["default"].set("key", 1)
                before = redis_server.ask("INFO stats").split("connections_received:")
                request_finished.send(type(self))

            # Each question to the server is a connection of its own.
            after = redis_server.ask("INFO stats").split("connections_received:")
            assert int(after[1].split()[0]) - int(before[1].split()[0]) == 1

    def test_a_handle_tells_its_region(self) -> None:
        with override_settings(CACHES={"default": alias()}):
            assert "MemoryBackend" in repr(caches.create_connection("default"))


class TestOverriding:
    def test_other_settings_are_another_region(self, tmp_path: Path) -> None:
        with override_settings(CACHES={"default": alias()}):
            caches["default"].set("key", 1)
            before = caches["default"].region
            with override_settings(CACHES={"default": in_file(tmp_path / "cache.db")}):
                assert caches["default"].get("key") is None
                assert regions["default"].actual_backend is not before.actual_backend

            # As with Django's own: what is kept in the process is there again.
            assert caches["default"].get("key") == 1

    def test_a_region_that_changes_changes_its_aliases(self) -> None:
        with override_settings(
            DOGPILE_CACHE_REGIONS={"pages": "memory"},
            CACHES={"default": alias("pages")},
        ):
            caches["default"].set("key", 1)
            with override_settings(DOGPILE_CACHE_REGIONS={"pages": "null"}):
                caches["default"].set("key", 1)

                assert caches["default"].get("key") is None

    def test_what_is_dropped_is_closed(self, tmp_path: Path) -> None:
        with override_settings(CACHES={"default": in_file(tmp_path / "cache.db")}):
            cache: Any = caches["default"]
            cache.set("key", 1)

        assert not cache.region.actual_backend._file.idle


class TestSecrets:
    def test_values_are_signed_with_the_secret_key(self, tmp_path: Path) -> None:
        chosen = {"default": in_file(tmp_path / "cache.db")}
        with override_settings(CACHES=chosen, SECRET_KEY="a first secret of 16"):
            caches["default"].set("key", 1)
            with override_settings(SECRET_KEY="another secret of 16"):
                assert caches["default"].get("key") is None
                # Nobody was told that key; nor is the old value made good again.
                assert caches["default"].get_or_set("other", 2) == 2

    def test_an_earlier_key_still_reads(self, tmp_path: Path) -> None:
        chosen = {"default": in_file(tmp_path / "cache.db")}
        with override_settings(CACHES=chosen, SECRET_KEY="a first secret of 16"):
            caches["default"].set("key", 1)
            with override_settings(
                SECRET_KEY="another secret of 16",
                SECRET_KEY_FALLBACKS=["a first secret of 16"],
            ):
                assert caches["default"].get("key") == 1
                caches["default"].set("new", 2)
                with override_settings(SECRET_KEY_FALLBACKS=[]):
                    assert caches["default"].get("new") == 2
                    assert caches["default"].get("key") is None

    def test_a_region_may_have_a_key_of_its_own(self, tmp_path: Path) -> None:
        chosen = in_file(tmp_path / "cache.db", signing_key="k" * 32)
        with override_settings(CACHES={"default": chosen}):
            caches["default"].set("key", 1)
            with override_settings(SECRET_KEY="another secret of 16"):
                assert caches["default"].get("key") == 1
