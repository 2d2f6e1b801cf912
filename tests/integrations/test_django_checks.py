"""Django's system checks of the cache's settings."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django")

import django_site  # noqa: F401 - it configures Django
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings

from dogpile.cache import regions as of_process
from dogpile.cache.integrations.django import regions
from dogpile.cache.integrations.django.checks import check_connections

OURS = "dogpile.cache.integrations.django.DogpileCache"
DUMMY = "django.core.cache.backends.dummy.DummyCache"


@pytest.fixture(autouse=True)
def _regions() -> Iterator[None]:
    yield
    regions.reset()
    of_process.clear()


def told(*, deploy: bool = False, **settings: Any) -> list[tuple[str, str]]:
    """Return the ids of what the checks say, without their label, and the texts."""
    settings.setdefault("CACHES", {"default": {"BACKEND": DUMMY}})
    with override_settings(**settings):
        found = run_checks(tags=["caches"], include_deployment_checks=deploy)
    return _shortened(found)


def _shortened(found: list[Any]) -> list[tuple[str, str]]:
    return [
        (str(each.id).partition(".")[2], str(each.msg))
        for each in found
        if str(each.id).startswith("dogpile_cache.")
    ]


def ids(**settings: Any) -> list[str]:
    return [name for name, _ in told(**settings)]


def alias(location: str = "", **more: Any) -> dict[str, Any]:
    return {"default": {"BACKEND": OURS, "LOCATION": location, **more}}


def test_good_settings_are_good(tmp_path: Path) -> None:
    region = {"backend": "sqlite", "arguments": {"filename": str(tmp_path / "c.db")}}

    assert ids() == []
    assert ids(CACHES=alias("dogpile.cache.memory")) == []
    assert ids(DOGPILE_CACHE_REGIONS={"a": region}, CACHES=alias("a")) == []


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ({"backend": "redus"}, "did you mean 'dogpile.cache.redis'"),
        ({"backend": "memory", "grce": 1}, "did you mean 'grace'"),
        ({"backend": "memory", "arguments": {"max_entry": 1}}, "max_entries"),
        (1, "takes a dictionary of settings"),
    ],
)
def test_settings_of_regions_are_checked(region: Any, message: str) -> None:
    [(name, text)] = told(DOGPILE_CACHE_REGIONS={"a": region})

    assert name == "E001"
    assert message in text
    assert "DOGPILE_CACHE_REGIONS['a'] in the settings of Django" in text


def test_an_unknown_setting_is_told() -> None:
    [(name, text)] = told(DOGPILE_CACHE_REGION={})

    assert (name, "did you mean DOGPILE_CACHE_REGIONS?" in text) == ("E001", True)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (alias("defalt"), "did you mean 'default'"),
        (alias("memory", OPTIONS={"grce": 1}), "did you mean 'grace'"),
    ],
)
def test_aliases_are_checked(chosen: Any, message: str) -> None:
    [(name, text)] = told(CACHES=chosen)

    assert (name, message in text) == ("E002", True)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"CACHES": alias("memory", OPTIONS={"grce": 1})}, "E002"),
        ({"CACHES": alias("memory", OPTIONS=["grace"])}, "E002"),
        (
            {
                "CACHES": alias("pages"),
                "DOGPILE_CACHE_REGIONS": {"pages": {"backend": "redus"}},
            },
            "E001",
        ),
    ],
)
def test_the_command_that_runs_all_checks_tells_it(
    settings: dict[str, Any], kind: str
) -> None:
    with (
        override_settings(**settings),
        pytest.raises(SystemCheckError, match=f"dogpile_cache.{kind}"),
    ):
        call_command("check")


def test_a_missing_library_is_told_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)

    both = [
        *told(DOGPILE_CACHE_URL="redis://localhost"),
        *told(CACHES=alias("redis://localhost")),
    ]

    assert [name for name, _ in both] == ["E003", "E003"]
    assert all("dogpile.cache[redis]" in text for _, text in both)


@pytest.mark.parametrize("setting", ["STATIC_ROOT", "MEDIA_ROOT", "STATICFILES_DIRS"])
def test_a_file_that_everybody_may_read_is_an_error(
    setting: str, tmp_path: Path
) -> None:
    filename = str(tmp_path / "files" / "c.db")
    region = {"backend": "sqlite", "arguments": {"filename": filename}}
    folder: Any = [tmp_path] if setting == "STATICFILES_DIRS" else str(tmp_path)
    settings = {setting: folder, "DOGPILE_CACHE_REGIONS": {"a": region}}

    [(name, text)] = told(**settings)

    assert (name, setting in text) == ("E004", True)
    assert ids(**{**settings, setting: folder.__class__()}) == []


ENGINES = ["cache", "cached_db"]


@pytest.mark.parametrize("engine", ENGINES)
def test_sessions_in_memory_are_warned_of(engine: str) -> None:
    settings = {
        "CACHES": alias("dogpile.cache.memory"),
        "SESSION_ENGINE": f"django.contrib.sessions.backends.{engine}",
    }

    assert ids(**settings) == ["W001"]
    assert ids(**settings, DEBUG=True) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_stale_sessions_are_warned_of(engine: str, tmp_path: Path) -> None:
    options = {"grace": 60, "arguments": {"filename": str(tmp_path / "c.db")}}
    settings = {
        "CACHES": alias("dogpile.cache.sqlite", OPTIONS=options),
        "SESSION_ENGINE": f"django.contrib.sessions.backends.{engine}",
    }

    assert ids(**settings) == ["W002"]


def test_pickles_without_a_signature_are_warned_of() -> None:
    pytest.importorskip("redis")
    region = {"url": "redis://localhost", "signing_key": None}
    settings = {"DOGPILE_CACHE_KEY_PREFIX": "site"}

    unsigned = ids(DOGPILE_CACHE_REGIONS={"a": region}, **settings)
    in_json = {**region, "serializer": "json"}

    assert unsigned == ["W003"]
    assert ids(DOGPILE_CACHE_REGIONS={"a": in_json}, **settings) == []
    signed = {"url": "redis://localhost"}
    assert ids(DOGPILE_CACHE_REGIONS={"a": signed}, **settings) == []


def test_keys_without_a_prefix_are_warned_of() -> None:
    pytest.importorskip("redis")
    url = "redis://localhost"

    assert ids(DOGPILE_CACHE_URL=url) == ["W004"]
    assert ids(DOGPILE_CACHE_URL=url, DOGPILE_CACHE_KEY_PREFIX="site") == []
    assert ids(CACHES=alias(url)) == ["W004"]
    assert ids(CACHES=alias(url, KEY_PREFIX="site")) == []


def test_a_server_that_is_away_is_seen_on_deployment() -> None:
    pytest.importorskip("redis")
    # Nobody listens at a port that was never opened.
    url = "redis://127.0.0.1:1"
    settings = {"DOGPILE_CACHE_URL": url, "DOGPILE_CACHE_KEY_PREFIX": "site"}

    [(name, text)] = told(deploy=True, **settings)

    assert (name, "'default' cannot be used" in text) == ("E005", True)
    assert ids(**settings) == []


def test_a_folder_that_is_not_there_is_no_server(tmp_path: Path) -> None:
    # A file stands where the folder would be made.
    (tmp_path / "file").touch()
    place = str(tmp_path / "file" / "c.db")
    region = {"backend": "sqlite", "arguments": {"filename": place}}

    with override_settings(DOGPILE_CACHE_REGIONS={"pages": region}):
        [error] = check_connections(None)

    assert (error.id, error.hint) == (
        "dogpile_cache.E005",
        "Is its folder there, and may this program write to it?",
    )


def test_what_works_is_good_on_deployment(tmp_path: Path) -> None:
    region = {"backend": "sqlite", "arguments": {"filename": str(tmp_path / "c.db")}}
    kinds = {"a": region, "b": "memory", "c": "null"}

    assert ids(deploy=True, DOGPILE_CACHE_REGIONS=kinds) == []


def test_passwords_are_not_shown() -> None:
    found = told(CACHES=alias("redis://:secret@localhost/x?grce=1"))

    assert [name for name, _ in found] == ["E002"]
    assert "secret" not in found[0][1]
