"""From an alias of ``CACHES`` to a region of the process, kept by its settings.

Django makes a backend object for each thread and each task of an event loop. They
are handles: what they have in common is found here, and outlives them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from django.core.cache import caches
from django.core.cache.backends.base import InvalidCacheBackendError, get_key_func

from dogpile.cache import (
    BACKENDS,
    CacheRegion,
    ConfigurationError,
    Policy,
    ValidationError,
)
from dogpile.cache.integrations.django.cache_location import one_location, shown
from dogpile.cache.integrations.django.cache_others import refuse_others
from dogpile.cache.integrations.django.cache_values import Pickled, Plain
from dogpile.cache.integrations.django.handler import is_on, regions, signing
from dogpile.cache.integrations.options import refuse_negative, spelled_seconds
from dogpile.cache.integrations.settings import backend_name, build_region

#: What Django itself reads from ``OPTIONS``.
BOUNDS = frozenset({"MAX_ENTRIES", "CULL_FREQUENCY"})
#: More seconds than any value lives for: each has its own lifetime.
AGES = 100 * 365 * 24 * 3600.0

# What Django reads of an alias, in both of its ways.
_PARAMETERS = frozenset(
    {"TIMEOUT", "OPTIONS", "KEY_PREFIX", "VERSION", "KEY_FUNCTION"}
    | {"timeout", "max_entries", "cull_frequency"}
)
_POLICY = frozenset(field.name for field in dataclasses.fields(Policy))
_DURATIONS = frozenset(
    {"expiration_time", "grace", "soft_timeout", "hard_timeout", "retry_after"}
    | {"lease_time", "max_clock_skew", "generation_ttl"}
)
_MEMORY = frozenset({"dogpile.cache.memory", "dogpile.cache.memory_pickle"})
_BOUNDING = frozenset({"max_entries", "max_bytes", "cache_dict"})
# The name of a region that an alias has for itself, in its records and in errors.
_OWN = "django"
_DEFAULT_TIMEOUT = 300
# What is remembered for settings that may come back, as in tests.
_MOST_KEPT = 200


class Kept(NamedTuple):
    """What the handles of an alias share.

    :param region: for whoever wants the alias as a region: its namespace, where
        values live for the alias's ``TIMEOUT``.
    :param store: the same namespace for the handles: each value has its lifetime.
    :param timeout: the alias's default, in seconds; ``None`` for ever.
    :param is_culled: ``MAX_ENTRIES`` is kept by the handles.
    """

    region: CacheRegion
    store: CacheRegion
    values: Plain | Pickled
    timeout: float | None
    is_culled: bool


class Keeper:
    """The regions of aliases, each made once in a process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._own: list[tuple[tuple[Any, ...], CacheRegion]] = []
        self._kept: list[tuple[tuple[Any, ...], Kept]] = []
        regions.on_reset(self.reset)

    def find(self, location: Any, params: Mapping[str, Any]) -> Kept:
        """Return what an alias's handles share.

        :raises InvalidCacheBackendError: a setting is no use; it says which.
        """
        wanted = (location, params, signing(), is_on("DOGPILE_CACHE_ENABLED"))
        for known, kept in self._kept:
            if known == wanted:
                return kept
        with self._lock:
            try:
                kept = self._make(location, params)
            except ConfigurationError as error:
                place = _place(location, params)
                raise InvalidCacheBackendError(f"{place}: {error}") from error
            # Another list, as others walk through this one.
            self._kept = [*self._kept[-_MOST_KEPT:], (wanted, kept)]
            return kept

    def reset(self) -> None:
        """Let go of connections: the settings have changed, and may change back."""
        with self._lock:
            self._kept = []
            own = list(self._own)
        for alias in caches:
            # Django drops handles when CACHES changes, not when a secret does.
            with contextlib.suppress(AttributeError):
                del caches[alias]
        for _, region in own:
            region.close()

    def _make(self, location: Any, params: Mapping[str, Any]) -> Kept:
        _refuse_typos(params)
        _check_key_function(params.get("KEY_FUNCTION"))
        options = dict(params.get("OPTIONS") or {})
        bounds = {
            each: _count(each, options.pop(each)) for each in BOUNDS & options.keys()
        }
        location = one_location(location)
        refuse_others(options)
        options.update(_durations(options))
        policy = {each: options.pop(each) for each in _POLICY & options.keys()}
        timeout = _timeout(params, policy.pop("expiration_time", ...))
        own = _own_settings(location, options)
        if own is None:
            base = regions.configured[location or "default"]
        else:
            prefix = str(params.get("KEY_PREFIX") or "")
            where = "OPTIONS" if options else "LOCATION"
            base = self._own_region(own, bounds, prefix, where)
        if timeout is ...:
            # Only a region of the settings says something of its own.
            timeout = base.expiration_time
            timeout = _DEFAULT_TIMEOUT if timeout is None else timeout
        is_culled = _is_culled(base, own, bounds)
        return _kept(base, params, policy, timeout, is_culled=is_culled)

    def _own_region(
        self, chosen: dict[str, Any], bounds: Mapping[str, Any], prefix: str, where: str
    ) -> CacheRegion:
        name = chosen.pop("name")
        _bind(chosen, bounds)
        if not is_on("DOGPILE_CACHE_ENABLED"):
            chosen = {"backend": "dogpile.cache.null"}
        secrets = signing()
        # MAX_ENTRIES counts what one prefix has; a server is one for all of them.
        space = prefix if chosen.get("backend") in _MEMORY else ""
        wanted = (name, chosen, secrets, space)
        found = next((each for each in self._own if each[0] == wanted), None)
        if found is None:
            region = build_region(name, dict(chosen), **secrets, where=where)
            found = (wanted, region)
        else:
            self._own.remove(found)
        self._own = [*self._own[-_MOST_KEPT:], found]
        return found[1]


def _place(location: Any, params: Mapping[str, Any]) -> str:
    """Return where settings stand, for errors: Django does not say of which alias."""
    found = []
    for alias, chosen in caches.settings.items():
        rest = {**chosen}
        rest.pop("BACKEND", None)
        if rest.pop("LOCATION", "") == location and rest == params:
            found.append(f"CACHES[{alias!r}]")
    of_alias = " and ".join(found) or "CACHES: the DogpileCache"
    return f"{of_alias} at LOCATION {shown(location)}" if location else of_alias


def _refuse_typos(params: Mapping[str, Any]) -> None:
    for name in params.keys() - _PARAMETERS:
        near = get_close_matches(str(name).upper(), _PARAMETERS, n=1, cutoff=0.75)
        if near:
            raise ValidationError(
                f"nothing understands {name!r}; did you mean {near[0]!r}?"
            )
    options = params.get("OPTIONS")
    if options is not None and not isinstance(options, Mapping):
        raise ValidationError(
            f"OPTIONS is a {type(options).__name__}, not a dictionary"
        )
    for name in options or ():
        near = get_close_matches(str(name).upper(), BOUNDS, n=1, cutoff=0.75)
        if near and name not in BOUNDS and str(name).isupper():
            raise ValidationError(
                f"nothing understands OPTIONS[{name!r}]; did you mean {near[0]!r}?"
            )


def _check_key_function(given: Any) -> None:
    try:
        function = get_key_func(given)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValidationError(
            f"KEY_FUNCTION {given!r} cannot be imported: {error}; it takes a function "
            'of key, prefix and version, or its path, as in "shop.cache.make_key"'
        ) from error
    if not callable(function):
        raise ValidationError(f"KEY_FUNCTION {given!r} is no function")


def _durations(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the durations among options in seconds, as texts may tell them."""
    found = {}
    for name in _DURATIONS & options.keys():
        place = f"OPTIONS[{name!r}]"
        found[name] = spelled_seconds(place, options[name])
        refuse_negative({place: found[name]})
    return found


def _timeout(params: Mapping[str, Any], expiration_time: Any) -> Any:
    """Return the default timeout, or ``...`` where the alias names none."""
    given = params.get("timeout", params.get("TIMEOUT", ...))
    if given is not ... and expiration_time is not ...:
        raise ValidationError(
            "TIMEOUT and OPTIONS['expiration_time'] say the same: keep one of them"
        )
    if given is ...:
        given = expiration_time
    if given is ... or given is None:
        return given
    given = spelled_seconds("TIMEOUT", given)
    if isinstance(given, bool):
        raise ValidationError(f"TIMEOUT takes seconds, or None for ever, not {given!r}")
    # Checked, and a timedelta turned into seconds, as each region does.
    if isinstance(given, (int, float)) and given < 0:
        return 0
    return Policy().merged({"expiration_time": given}).expiration_time


def _own_settings(location: str, options: dict[str, Any]) -> dict[str, Any] | None:
    """Return the settings of a region of the alias's own.

    :return: ``None`` where LOCATION names a region of the project's settings.
    :raises ConfigurationError: it names nothing.
    """
    if "backend" in options or "url" in options:
        return {**options, "name": location or _OWN}
    if "://" in location:
        return {**options, "url": location, "name": _OWN}
    if (location or "default") in regions.configured:
        _refuse_own(location or "default", options)
        return None
    try:
        return {**options, "backend": backend_name(location), "name": _OWN}
    except ConfigurationError as error:
        known = [*regions.configured, *BACKENDS.names()]
        near = get_close_matches(location, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValidationError(
            "it is neither the name of a region, nor that of a backend, nor a "
            f"URL{hint} (regions: {', '.join(sorted(regions.configured))}; "
            f"backends: {', '.join(BACKENDS.names())})"
        ) from error


def _refuse_own(location: str, options: Mapping[str, Any]) -> None:
    for name in options:
        near = get_close_matches(str(name), _POLICY | BOUNDS, n=1)
        if near:
            raise ValidationError(
                f"nothing understands OPTIONS[{name!r}]; did you mean {near[0]!r}?"
            )
        raise ValidationError(
            f"OPTIONS[{name!r}] cannot differ from the region {location!r}: it "
            "stands with the region's own settings; with OPTIONS['backend'] the "
            "alias has a region of its own"
        )


def _count(name: str, value: Any) -> int:
    try:
        count = int(value)
    except (TypeError, ValueError):
        count = -1
    if count < 0:
        raise ValidationError(
            f"OPTIONS[{name!r}] takes a number from 0 on, not {value!r}"
        )
    return count


def _bind(chosen: dict[str, Any], bounds: Mapping[str, Any]) -> None:
    """Have the backend keep what Django's options ask of it."""
    backend = chosen.get("backend")
    if not isinstance(backend, str):
        return
    backend = chosen["backend"] = backend_name(backend.strip())
    arguments = chosen.get("arguments") or {}
    if not isinstance(arguments, Mapping):
        return  # it is refused with the rest
    if backend in _MEMORY and not {"policy", "cache_dict"} & arguments.keys():
        # What is culled is what was used least lately, as Django has it.
        chosen["arguments"] = {**arguments, "policy": "lru"}
    elif "MAX_ENTRIES" in bounds and backend not in _MEMORY:
        kind = BACKENDS.load(backend)
        names: frozenset[str] = getattr(kind, "argument_names", frozenset())
        if "max_entries" in names and "max_entries" not in arguments:
            chosen["arguments"] = {**arguments, "max_entries": bounds["MAX_ENTRIES"]}


def _is_culled(
    base: CacheRegion, own: Mapping[str, Any] | None, bounds: Mapping[str, Any]
) -> bool:
    """Return whether the handles have to keep ``MAX_ENTRIES``."""
    backend = base.actual_backend
    if not (hasattr(backend, "__len__") and hasattr(backend, "iter_keys")):
        return False  # servers and files have bounds of their own
    if "MAX_ENTRIES" in bounds:
        return True
    arguments = {} if own is None else own.get("arguments") or {}
    return own is not None and not _BOUNDING & arguments.keys()


def _kept(
    base: CacheRegion,
    params: Mapping[str, Any],
    policy: dict[str, Any],
    timeout: Any,
    *,
    is_culled: bool,
) -> Kept:
    prefix = str(params.get("KEY_PREFIX") or "")
    # Regions of two names may have one server. And what has another prefix is
    # out of the reach of this alias's clear().
    name = _OWN if base.name in (None, _OWN) else f"{_OWN}@{base.name}"
    if prefix:
        name = f"{name}/{prefix}"
    if policy.get("grace", ...) is ... and base.policy.grace is None:
        # Else a value that has expired would be kept for ever.
        policy["grace"] = 0
    region = base.namespace(name, **policy, expiration_time=timeout)
    own = {**policy, "expiration_time": AGES, "should_cache_fn": None}
    store = base.namespace(name, **own)
    has_codec = base.storage.coder is not None
    values = Plain() if has_codec else Pickled()
    return Kept(region, store, values, timeout, is_culled)


#: The regions of this process's aliases.
keeper: Keeper = Keeper()
