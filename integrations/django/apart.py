"""Creations in the background: with connections of their own, and nobody's request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack
from contextvars import ContextVar
from datetime import datetime, tzinfo
from threading import get_ident
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from asgiref.sync import AsyncToSync, sync_to_async
from django.conf import settings
from django.db import close_old_connections
from django.utils import timezone, translation
from django.utils.translation import trans_real

T = TypeVar("T")

# Thread and task of the latest call: a creator elsewhere is in the background.
Place = tuple[int, Any]
_home: ContextVar[Place | None] = ContextVar("dogpile_home", default=None)


def here(*, is_async: bool) -> Place:
    """Return the thread, and in a coroutine the task, that runs."""
    return get_ident(), asyncio.current_task() if is_async else None


def enter(*, is_async: bool) -> None:
    """Note that a call begins here."""
    _home.set(here(is_async=is_async))


def leave() -> None:
    """Note that what is created next is nobody's call."""
    _home.set(None)


def is_call() -> bool:
    """Return whether a creation belongs to a call, here or elsewhere."""
    return _home.get() is not None


def is_home(*, is_async: bool) -> bool:
    """Return whether a creation runs where its call was made."""
    home = _home.get()
    # Nobody's, as in refresh(): it is called where it stands.
    return home is None or home == here(is_async=is_async)


def ends_soon() -> bool:
    """Return whether the running event loop ends with its one call.

    What goes on in its background would end with it.
    """
    loops = getattr(AsyncToSync, "loop_thread_executors", {})
    return asyncio.get_running_loop() in loops


def run_apart(call: Callable[[], T]) -> T:
    """Call a function in a thread of the background.

    The connections of the thread are its own, so that it is in nobody's
    transaction; one that was lost or is too old is closed before and after, as
    around a request.
    """
    close_old_connections()
    try:
        return call()
    finally:
        close_old_connections()


async def arun_apart(call: Callable[[], Awaitable[T]]) -> T:
    """Await in a task of the background what a function returns."""
    close = sync_to_async(close_old_connections)
    await close()
    try:
        return await call()
    finally:
        await close()


def locale() -> tuple[str | None, str | None]:
    """Return the names of the language and the time zone that a page is made in."""
    language, zone = activated()
    return language, None if zone is None else _name_of(zone)


def activated() -> tuple[str | None, tzinfo | None]:
    """Return the language and the time zone; ``None`` where the site has none."""
    told = vars(settings)  # what was asked for once
    try:
        has_languages, has_zones = told["USE_I18N"], told["USE_TZ"]
    except KeyError:
        has_languages, has_zones = settings.USE_I18N, settings.USE_TZ
    language = zone = None
    if has_languages:
        language = told.get("LANGUAGE_CODE") if _language.is_usual() else None
        if language is None:
            language = translation.get_language()
    if has_zones:
        if _current_zone.is_usual():
            zone = timezone.get_default_timezone()
        else:
            zone = timezone.get_current_timezone()
    return language, zone


class Activation:
    """What a module of Django keeps of what was activated, by thread or task.

    Asking the module itself takes longer than all the rest of a hit, most of all
    where nothing is active.

    :param module: ``_active`` is its ``Local`` of asgiref.
    """

    def __init__(self, module: Any) -> None:
        self._module = module
        self._local: Any = None
        self._variable: ContextVar[Any] | None = None

    def is_usual(self) -> bool:
        """Return whether nothing is active here for certain."""
        local = getattr(self._module, "_active", None)
        if local is not self._local:  # a test begins anew
            found = getattr(getattr(local, "_storage", None), "_data", None)
            self._variable = found if isinstance(found, ContextVar) else None
            self._local = local
        variable = self._variable
        return variable is not None and variable.get(None) is None


_language = Activation(trans_real)
_current_zone = Activation(timezone)


def _name_of(zone: tzinfo) -> str:
    """Return what tells a time zone from all others, in every process.

    Nothing is remembered by a zone: some have no hash, and some are equal that
    show other names.
    """
    if isinstance(zone, ZoneInfo) and zone.key:
        return zone.key
    name = zone.tzname(None) or _text_of(zone)
    if zone.utcoffset(None) is not None:
        return f"{name} {zone.utcoffset(None)}"
    shown = (f"{zone.tzname(each)} {zone.utcoffset(each)}" for each in _SAMPLES)
    return " ".join((name, *shown))


def _text_of(zone: tzinfo) -> str:
    kind: Any = type(zone)
    if kind.__repr__ is object.__repr__ and kind.__str__ is object.__str__:
        # It would be its address in memory.
        return f"{kind.__module__}.{kind.__qualname__}"
    return str(zone)


# Without an offset of its own a zone has one in winter and one in summer.
_SAMPLES = (datetime(2026, 1, 1), datetime(2026, 7, 1))


def in_locale(language: str | None, zone: Any) -> AbstractContextManager[Any]:
    """Enter a language and a time zone.

    :param language: ``None`` for none.
    :param zone: ``None`` for the one of the settings.
    """
    stack = ExitStack()
    if settings.USE_I18N:
        stack.enter_context(translation.override(language))
    if settings.USE_TZ:
        stack.enter_context(timezone.override(zone))
    return stack
