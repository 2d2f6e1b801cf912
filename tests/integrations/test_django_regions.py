"""The regions of a Django project's settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django")

import django_site  # noqa: F401 - it configures Django
from django.apps import apps
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from dogpile.cache import NO_VALUE, ConfigurationError, ValidationError
from dogpile.cache.integrations import django as integration
from dogpile.cache.integrations.django import regions
from dogpile.cache.integrations.django.handler import BACKEND
from dogpile.cache.testing import FakeClock

OURS = "dogpile.cache.integrations.django.DogpileCache"
DUMMY = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}


def set_to(**settings: Any) -> Any:
    settings.setdefault("CACHES", DUMMY)
    return override_settings(**settings)


class TestNames:
    def test_a_region_is_built_when_it_is_asked_for(self) -> None:
        chosen = {"local": {"backend": "memory", "expiration_time": 5}}

        with set_to(DOGPILE_CACHE_REGIONS=chosen):
            before = dict(regions.built)
            local = regions["local"]

            assert before == {}
            assert local.expiration_time == 5
            assert regions["local"] is local
            assert dict(regions.built) == {"local": local}

    def test_flat_keys_and_a_url_stand_beside_nested_ones(self) -> None:
        flat = {
            "cache.flat.backend": "dogpile.cache.memory",
            "cache.flat.expiration_time": "5m",
            "nested": {"backend": "memory"},
        }

        with set_to(DOGPILE_CACHE_REGIONS=flat, DOGPILE_CACHE_URL="memory://?grace=9"):
            assert sorted(regions) == ["default", "flat", "nested"]
            assert regions["flat"].expiration_time == 300
            assert regions["default"].policy.grace == 9

    def test_without_settings_there_is_one(self) -> None:
        with set_to():
            assert list(regions) == ["default"]
            assert regions.region() is regions["default"]

    def test_aliases_are_regions_too(self) -> None:
        chosen = {
            "default": {"BACKEND": OURS, "LOCATION": "memory", "TIMEOUT": 7},
            "other": DUMMY["default"],
        }

        with set_to(CACHES=chosen):
            assert list(regions) == ["default"]
            assert regions["default"] is caches["default"].region
            assert regions["default"].expiration_time == 7

    def test_a_named_region_goes_before_an_alias(self) -> None:
        chosen = {"default": {"BACKEND": OURS, "LOCATION": "default"}}
        own = {"default": {"backend": "memory", "expiration_time": 5}}

        with set_to(CACHES=chosen, DOGPILE_CACHE_REGIONS=own):
            assert regions["default"] is regions.configured["default"]

    def test_the_default_region_is_chosen(self) -> None:
        both = {"a": "memory", "b": "memory"}

        with set_to(DOGPILE_CACHE_REGIONS=both, DOGPILE_CACHE_DEFAULT_REGION="b"):
            assert regions.region() is regions["b"]
        with set_to(DOGPILE_CACHE_REGIONS={"a": "memory"}):
            assert regions.region() is regions["a"]

    def test_it_is_a_mapping(self) -> None:
        with set_to(DOGPILE_CACHE_REGIONS={"a": "memory", "b": "memory"}):
            assert ("a" in regions, "c" in regions, len(regions)) == (True, False, 2)
            assert regions.get("c") is None
            assert regions.get("a") is regions["a"]


class TestSettings:
    def test_settings_that_change_build_them_anew(self) -> None:
        with set_to(DOGPILE_CACHE_REGIONS={"local": "memory"}):
            before = regions["local"]
            before.put("key", 1)
            with set_to(DOGPILE_CACHE_REGIONS={"local": "null"}):
                inside = regions["local"]

            assert inside is not before
            assert regions["local"].get("key") is NO_VALUE

    def test_values_are_signed_by_the_secret_and_its_predecessors(
        self, tmp_path: Path
    ) -> None:
        region = {
            "backend": "sqlite",
            "arguments": {"filename": str(tmp_path / "c.db")},
        }
        secrets = ["the first secret of the tests", "the second secret of them"]
        found = []

        with set_to(DOGPILE_CACHE_REGIONS={"a": region}, SECRET_KEY=secrets[0]):
            regions["a"].put("key", 1)
        for fallbacks in ([secrets[0]], []):
            with set_to(
                DOGPILE_CACHE_REGIONS={"a": region},
                SECRET_KEY=secrets[1],
                SECRET_KEY_FALLBACKS=fallbacks,
            ):
                found.append(regions["a"].get("key"))

        assert found == [1, NO_VALUE]

    def test_a_prefix_sets_projects_apart(self, tmp_path: Path) -> None:
        region = {
            "backend": "sqlite",
            "arguments": {"filename": str(tmp_path / "c.db")},
            "generation_ttl": 0,
        }
        settings = {"DOGPILE_CACHE_REGIONS": {"a": region}}
        with set_to(**settings, DOGPILE_CACHE_KEY_PREFIX="one"):
            regions["a"].put("key", 1)

        with set_to(**settings, DOGPILE_CACHE_KEY_PREFIX="two"):
            other = regions["a"].get("key")

        with set_to(**settings, DOGPILE_CACHE_KEY_PREFIX="one"):
            assert (other, regions["a"].get("key")) == (NO_VALUE, 1)

    def test_all_of_it_is_turned_off(self) -> None:
        with set_to(DOGPILE_CACHE_REGIONS={"a": "memory"}, DOGPILE_CACHE_ENABLED=False):
            regions["a"].put("key", 1)

            assert regions["a"].get("key") is NO_VALUE


class TestBadInput:
    def test_a_misspelt_name_is_told_with_the_nearest(self) -> None:
        with (
            set_to(DOGPILE_CACHE_REGIONS={"local": "memory"}),
            pytest.raises(ConfigurationError, match="did you mean 'local'"),
        ):
            regions["lokal"]

    def test_an_alias_of_another_backend_is_told(self) -> None:
        locmem = "django.core.cache.backends.locmem.LocMemCache"
        with (
            set_to(CACHES={"pages": {"BACKEND": locmem}}),
            pytest.raises(ConfigurationError, match=r"CACHES\['pages'\] is kept by"),
        ):
            regions["pages"]

    def test_a_misspelt_default_is_told(self) -> None:
        with (
            set_to(
                DOGPILE_CACHE_REGIONS={"pages": "memory", "b": "memory"},
                DOGPILE_CACHE_DEFAULT_REGION="page",
            ),
            pytest.raises(ConfigurationError, match=r"DEFAULT_REGION.*mean 'pages'"),
        ):
            regions.region()

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"DOGPILE_CACHE_REGION": {}}, "did you mean DOGPILE_CACHE_REGIONS"),
            ({"DOGPILE_CACHE_REGIONS": {"a": {"grce": 1}}}, "did you mean 'grace'"),
            ({"DOGPILE_CACHE_REGIONS": {"a": "redus"}}, "mean 'dogpile.cache.redis'"),
            ({"DOGPILE_CACHE_KEY_PREFIX": 5}, "KEY_PREFIX in .* takes a text, not 5"),
            ({"DOGPILE_CACHE_ENABLED": "maybe"}, "ENABLED in .* takes True or False"),
            (
                {
                    "DOGPILE_CACHE_REGIONS": {"default": "memory"},
                    "DOGPILE_CACHE_URL": "memory://",
                },
                "configured twice",
            ),
        ],
    )
    def test_odd_settings_are_told(self, settings: Any, message: str) -> None:
        with set_to(**settings), pytest.raises(ConfigurationError, match=message):
            regions["default"]

    @pytest.mark.parametrize("told", ["False", "off", "0", 0, False, None])
    def test_a_switch_may_be_a_text(self, told: Any) -> None:
        with set_to(DOGPILE_CACHE_ENABLED=told, DOGPILE_CACHE_REGIONS={"a": "memory"}):
            regions["a"].put("key", "value")

            assert regions["a"].get("key") is NO_VALUE

    @pytest.mark.parametrize(
        ("backend", "hint"),
        [
            ("dogpile.cache.integrations.django", f"write '{BACKEND}'"),
            (f"{BACKEND}s", f"write '{BACKEND}'"),
            ("dogpile.cache.redis", "and 'dogpile.cache.redis' as its LOCATION"),
        ],
    )
    def test_a_backend_that_is_none_of_django_is_told_at_the_start(
        self, backend: str, hint: str
    ) -> None:
        config = apps.get_app_config("dogpile_cache")

        with (
            set_to(CACHES={"pages": {"BACKEND": backend}}),
            pytest.raises(ImproperlyConfigured, match=r"CACHES\['pages'\]") as refusal,
        ):
            config.ready()

        assert hint in str(refusal.value)


def test_the_package_may_be_imported_before_the_settings(tmp_path: Path) -> None:
    program = (
        "import dogpile.cache.integrations.django as package, sys\n"
        "assert 'django.conf' not in sys.modules\n"
        "print(*sorted(set(package.__all__) & set(dir(package))))\n"
    )

    said = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        check=True,
        text=True,
    ).stdout

    assert said.split() == sorted(integration.__all__)


@pytest.mark.parametrize("name", integration.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(integration, name) is not None


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'cachd'"):
        integration.cachd  # noqa: B018 - not there


def test_a_clock_of_the_tests_is_taken() -> None:
    clock = FakeClock()

    with set_to(DOGPILE_CACHE_REGIONS={"a": {"backend": "memory", "clock": clock}}):
        assert regions["a"].clock is clock


def test_an_unusable_secret_is_told() -> None:
    region = {"backend": "sqlite", "signing_key": "short"}

    with (
        set_to(DOGPILE_CACHE_REGIONS={"a": region}),
        pytest.raises(ValidationError, match="16"),
    ):
        regions["a"]
