"""The language and time zone of a page are what Django says is active."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from datetime import datetime, timedelta, timezone as dt_timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest

pytest.importorskip("django")

import django_site  # noqa: F401 - it configures Django
from asgiref.local import Local
from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from django.utils import timezone, translation

from dogpile.cache.integrations.django import apart, cached_view, regions
from dogpile.cache.testing import FakeClock


def told() -> tuple[str | None, str | None]:
    """Return what Django itself says; of a fixed zone with its offset."""
    language = translation.get_language() if settings.USE_I18N else None
    if not settings.USE_TZ:
        return language, None
    offset = timezone.get_current_timezone().utcoffset(None)
    name = timezone.get_current_timezone_name()
    return language, f"{name} {offset}" if offset else name


def in_a_thread(act: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(act()))
    thread.start()
    thread.join()
    return found[0]


@contextmanager
def ended() -> Iterator[None]:
    """Enter a place where something was active, and is no more."""
    with translation.override("fr"), timezone.override("Asia/Tokyo"):
        pass
    yield


@contextmanager
def none_active() -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(translation.override(None))
        stack.enter_context(timezone.override(None))
        yield


@contextmanager
def active() -> Iterator[None]:
    with translation.override("de"), timezone.override("Europe/Berlin"):
        yield


@contextmanager
def fixed() -> Iterator[None]:
    with timezone.override(timezone.get_fixed_timezone(90)):
        yield


PLACES = {
    "as it begins": ExitStack,
    "ended": ended,
    "none active": none_active,
    "active": active,
    "a fixed zone": fixed,
}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"USE_I18N": False},
    {"USE_TZ": False},
    {"LANGUAGE_CODE": "it", "TIME_ZONE": "America/Lima"},
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("how", SETTINGS, ids=str)
class TestWhatIsActive:
    def test_is_told_in_a_thread(self, place: str, how: dict[str, Any]) -> None:
        def act() -> tuple[Any, Any]:
            with PLACES[place]():  # type: ignore[operator]
                return apart.locale(), told()

        with override_settings(**how):
            for _ in range(2):
                ours, theirs = in_a_thread(act)
                assert ours == theirs

    def test_is_told_in_a_task_and_in_its_threads(
        self, place: str, how: dict[str, Any]
    ) -> None:
        async def act() -> list[Any]:
            with PLACES[place]():  # type: ignore[operator]
                here = apart.locale(), told()
                there = await sync_to_async(lambda: (apart.locale(), told()))()
                return [here, there, await asyncio.create_task(later())]

        async def later() -> Any:
            return apart.locale(), told()

        with override_settings(**how):
            found = in_a_thread(lambda: async_to_sync(act)())
            for ours, theirs in found:
                assert ours == theirs

    def test_is_told_in_a_copied_context(self, place: str, how: dict[str, Any]) -> None:
        with override_settings(**how), PLACES[place]():  # type: ignore[operator]
            context = copy_context()
            found = in_a_thread(lambda: context.run(lambda: (apart.locale(), told())))

        assert found[0] == found[1]


def test_the_short_way_is_there_with_the_asgiref_that_is_installed() -> None:
    assert in_a_thread(apart._language.is_usual)
    assert in_a_thread(apart._current_zone.is_usual)


class Module:
    """In place of a module of Django."""

    def __init__(self, local: Any) -> None:
        self._active = local


@pytest.mark.parametrize("local", [None, object(), Local(thread_critical=True)])
def test_without_it_django_is_asked(
    local: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "_language", apart.Activation(Module(local)))
    monkeypatch.setattr(apart, "_current_zone", apart.Activation(Module(local)))

    with active():
        assert apart.locale() == told() == ("de", "Europe/Berlin")
    assert apart.locale() == told()


def test_it_goes_along_when_a_module_begins_anew() -> None:
    module = Module(Local())
    activation = apart.Activation(module)
    assert activation.is_usual()

    module._active = Local()
    module._active.value = "something"

    assert not activation.is_usual()


class Odd(tzinfo):
    """A zone without a hash, as there are, that tells little of itself."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, summer: int, name: str = "odd") -> None:
        self._summer = summer
        self._name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Odd)

    def tzname(self, when: datetime | None) -> str | None:
        return None if when is None else self._name

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        if when is None:
            return None
        return timedelta(hours=self._summer if 3 < when.month < 10 else 1)

    def dst(self, when: datetime | None) -> timedelta:
        return timedelta(0)


def fixed_zone(hours: int, name: str) -> tzinfo:
    return dt_timezone(timedelta(hours=hours), name)


@pytest.mark.parametrize(
    "zones",
    [
        [Odd(1), Odd(2), Odd(1, "other")],
        [fixed_zone(1, "X"), fixed_zone(2, "X"), fixed_zone(2, "Y")],
        [ZoneInfo("Europe/Berlin"), ZoneInfo("Europe/Paris")],
    ],
    ids=["odd", "fixed", "known"],
)
def test_each_zone_has_a_name_of_its_own(zones: list[tzinfo]) -> None:
    names = []
    for zone in zones * 2:
        with timezone.override(zone):
            names.append(apart.locale()[1])

    assert len(set(names)) == len(zones)
    assert names[: len(zones)] == names[len(zones) :]
    assert not any("0x" in str(name) for name in names)


def test_a_page_is_refreshed_in_a_zone_that_has_no_known_name() -> None:
    clock = FakeClock()

    @cached_view(10, grace=100)
    def page(request: Any) -> HttpResponse:
        return HttpResponse(f"{timezone.get_current_timezone_name()} {clock.time()}")

    def text() -> str:
        return str(page(RequestFactory().get("/")).content.decode())

    region = {"backend": "memory", "clock": clock}
    with (
        override_settings(DOGPILE_CACHE_REGIONS={"default": region}),
        timezone.override(fixed_zone(1, "X")),
    ):
        before = text()
        clock.advance(11)
        text()
        assert regions["default"].storage.pending.wait(10)
        after = text()

    assert before != after
    assert after.startswith("X ")
