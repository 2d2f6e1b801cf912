"""System checks: what of the settings will not work, or is not safe.

===========================  ======================================================
``dogpile_cache.E001``       a setting of a region is no use
``dogpile_cache.E002``       a setting of an alias of ``CACHES`` is no use
``dogpile_cache.E003``       a client library is missing
``dogpile_cache.E004``       a cache's file lies where it is served to everybody
``dogpile_cache.E005``       ``--deploy``: a cache cannot be written to and read from
``dogpile_cache.W001``       sessions are kept in the memory of one process
``dogpile_cache.W002``       sessions may be stale
``dogpile_cache.W003``       pickles from a network are not signed
``dogpile_cache.W004``       nothing sets the keys on a server apart
===========================  ======================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.cache.backends.base import InvalidCacheBackendError
from django.core.checks import (
    CheckMessage,
    Error,
    Tags,
    Warning as Warned,
    register,
)

from dogpile.cache import CacheRegion, ConfigurationError, DogpileCacheException
from dogpile.cache.integrations.django.handler import has_region, regions

_LABEL = "dogpile_cache"
_SESSIONS = (
    "django.contrib.sessions.backends.cache",
    "django.contrib.sessions.backends.cached_db",
)
_PROBE = "dogpile_cache check"


def connect() -> None:
    """Have Django run the checks."""
    register(check_settings, Tags.caches)
    register(check_connections, Tags.caches, deploy=True)


def check_settings(
    app_configs: Sequence[AppConfig] | None, **_: Any
) -> list[CheckMessage]:
    """Return what is wrong with the settings; nothing is connected to."""
    try:
        configured = dict(regions.configured)
    except ConfigurationError as error:
        # Without them, nothing can be said of what stands with them.
        return [_no_use(error, "E001")]
    found: list[CheckMessage] = []
    prefix = getattr(settings, "DOGPILE_CACHE_KEY_PREFIX", "")
    for name, region in configured.items():
        place = f"the region {name!r}"
        found += _of_region(place, region)
        found += _of_prefix(place, region, prefix, "DOGPILE_CACHE_KEY_PREFIX")
    for alias in _aliases():
        place = f"CACHES[{alias!r}]"
        try:
            region = _region_of(alias)
        except (ConfigurationError, InvalidCacheBackendError) as error:
            found.append(_no_use(error, "E002", place))
            continue
        if not _is_from(region, configured.values()):
            found += _of_region(place, region)
            own = settings.CACHES[alias].get("KEY_PREFIX")
            found += _of_prefix(place, region, own, "KEY_PREFIX")
    return [*found, *_of_sessions()]


def check_connections(
    app_configs: Sequence[AppConfig] | None, **_: Any
) -> list[CheckMessage]:
    """Write to each cache, and read from it."""
    found: list[CheckMessage] = []
    for name, region in _all_regions().items():
        try:
            region.put(_PROBE, 1, expiration_time=60)
            is_there = region.get(_PROBE) == 1
            region.delete(_PROBE)
        except DogpileCacheException as error:
            found.append(_failed(name, region, str(error)))
        else:
            capabilities = region.actual_backend.capabilities
            if not is_there and capabilities.network:
                found.append(_failed(name, region, "what was written is not there"))
    return found


def _failed(name: str, region: CacheRegion, reason: str) -> CheckMessage:
    hint = "Is the server running, and may this machine connect to it?"
    if hasattr(region.actual_backend, "filename"):
        hint = "Is its folder there, and may this program write to it?"
    return Error(
        f"The region {name!r} cannot be used: {reason}",
        hint=hint,
        id=f"{_LABEL}.E005",
    )


def _all_regions() -> dict[str, CacheRegion]:
    try:
        return {name: regions[name] for name in regions}
    except (ConfigurationError, InvalidCacheBackendError):
        return {}  # the other check says what is wrong


def _aliases() -> Iterator[str]:
    for alias, chosen in settings.CACHES.items():
        if has_region(chosen.get("BACKEND", "")):
            yield alias


def _region_of(alias: str) -> CacheRegion:
    from django.core.cache import caches

    handle: Any = caches[alias]
    found: CacheRegion = handle.region
    return found


def _is_from(region: CacheRegion, known: Iterable[CacheRegion]) -> bool:
    """Return whether an alias stands with a region that was looked at already."""
    return any(region.actual_backend is each.actual_backend for each in known)


def _no_use(error: Exception, kind: str, place: str = "") -> CheckMessage:
    text = str(error)
    if place and not text.startswith("CACHES"):
        text = f"{place}: {text}"
    if "dogpile.cache[" in text:
        return Error(
            f"A client library is missing: {text}",
            hint="Install the extra that the message names.",
            id=f"{_LABEL}.E003",
        )
    return Error(text, id=f"{_LABEL}.{kind}")


def _of_region(place: str, region: CacheRegion) -> Iterator[CheckMessage]:
    coder: Any = region.storage.coder
    backend = region.actual_backend
    is_unguarded = coder is not None and coder.is_unguarded_pickle
    if is_unguarded and backend.capabilities.network:
        yield Warned(
            f"{place}: whoever can write to the server can run code in this process, "
            "because values are pickled and not signed.",
            hint="Leave signing_key out, so that they are signed by SECRET_KEY, or "
            "set serializer to 'json' or 'msgpack'.",
            id=f"{_LABEL}.W003",
        )
    filename = getattr(backend, "filename", None)
    if not isinstance(filename, (str, Path)):
        return
    for setting, folder in _served():
        if Path(filename).resolve().is_relative_to(Path(folder).resolve()):
            yield Error(
                f"{place}: its file lies inside {setting}, where it is served to "
                "everybody.",
                hint="Choose a folder that only this program reads.",
                id=f"{_LABEL}.E004",
            )


def _served() -> Iterator[tuple[str, Any]]:
    for setting in ("STATIC_ROOT", "MEDIA_ROOT"):
        folder = getattr(settings, setting, None)
        if folder:
            yield setting, folder
    for entry in getattr(settings, "STATICFILES_DIRS", ()):
        yield "STATICFILES_DIRS", entry[1] if isinstance(entry, tuple) else entry


def _of_prefix(
    place: str, region: CacheRegion, prefix: Any, setting: str
) -> Iterator[CheckMessage]:
    if not prefix and region.actual_backend.capabilities.network:
        yield Warned(
            f"{place}: nothing sets its keys apart from those of other projects on "
            "the same server.",
            hint=f"Set {setting} to the project's name.",
            id=f"{_LABEL}.W004",
        )


def _of_sessions() -> Iterator[CheckMessage]:
    if getattr(settings, "SESSION_ENGINE", "") not in _SESSIONS:
        return
    alias = settings.SESSION_CACHE_ALIAS
    if alias not in _aliases():
        return
    place = f"CACHES[{alias!r}] keeps the sessions"
    try:
        region = _region_of(alias)
    except (ConfigurationError, InvalidCacheBackendError):
        return  # it is told already
    if region.actual_backend.capabilities.scope == "process" and not settings.DEBUG:
        yield Warned(
            f"{place}, in the memory of one process: with several workers a visitor "
            "is logged in by one of them, and unknown to the others.",
            hint="Use 'dogpile.cache.sqlite', or a server.",
            id=f"{_LABEL}.W001",
        )
    if region.policy.grace:
        yield Warned(
            f"{place}, and has a grace: a session that has expired may be taken for "
            "one that has not.",
            hint="Keep sessions in an alias without grace.",
            id=f"{_LABEL}.W002",
        )
