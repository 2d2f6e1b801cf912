"""The regions of an application, from one mapping: for Flask and Django alike.

The interface: :func:`build_regions` for all that an application's settings name,
:func:`build_region` for one, :func:`read_url` for what a URL stands for,
:func:`backend_name` for short names, :func:`signing_keys` for what is derived
from a ``SECRET_KEY``. Nothing here does I/O: a backend connects when it is used.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from dogpile.cache import (
    BACKENDS,
    CacheRegion,
    ConfigurationError,
    PluginNotFound,
    ValidationError,
)
from dogpile.cache.integrations.options import read_text, shown, take_made_with
from dogpile.cache.integrations.urls import read_url

__all__ = [
    "DEFAULT_SETTINGS",
    "backend_name",
    "build_region",
    "build_regions",
    "read_url",
    "signing_keys",
]

log: logging.Logger = logging.getLogger(__name__)

REGIONS = "DOGPILE_CACHE_REGIONS"
URL = "DOGPILE_CACHE_URL"
_OURS = "DOGPILE_CACHE_"
_FLAT = "cache."
# What Flask and Django read themselves.
_THEIRS = frozenset(
    {
        "DOGPILE_CACHE_DEFAULT_REGION",
        "DOGPILE_CACHE_ENABLED",
        "DOGPILE_CACHE_HTTP_HEADERS",
        "DOGPILE_CACHE_KEY_PREFIX",
    }
)

#: The region ``default`` of an application that configures none.
DEFAULT_SETTINGS: Mapping[str, Any] = {
    "backend": "dogpile.cache.memory",
    "expiration_time": 300,
    "arguments": {"max_entries": 10_000},
}

# Texts that say of a key that there is none.
_NO_KEY = frozenset({"false", "no", "none", "off"})
# So that no other use of a SECRET_KEY gives the same key.
_LABEL = b"dogpile.cache values of an application"
_SHORTEST_SECRET = 16


class Given(NamedTuple):
    """The settings of a region, and where they were found."""

    place: str
    settings: dict[str, Any]


def build_regions(
    settings: Mapping[str, Any],
    *,
    secret_key: str | bytes | None = None,
    fallbacks: Iterable[str | bytes] = (),
    where: str = "app.config",
    known: Iterable[str] = (),
) -> dict[str, CacheRegion]:
    """Build every region that an application's settings name.

    :param settings: with ``DOGPILE_CACHE_REGIONS``, ``DOGPILE_CACHE_URL``, flat
        keys such as ``cache.local.backend``, and the environment's
        ``DOGPILE_CACHE_REGIONS__local__backend``; other keys are passed over.
    :param secret_key: what leaves the process is signed with a key derived
        from it, unless the region has a ``signing_key`` (``None``: unsigned).
    :param fallbacks: earlier secret keys, whose signatures are still taken.
    :param where: what holds the settings, for the errors.
    :param known: more names with ``DOGPILE_CACHE_`` that are no mistake.
    :return: regions by name; without settings a bounded one named ``default``.
    :raises ConfigurationError: a setting is no use; it says which and where.
    """
    found = _gather(settings, where, _THEIRS.union(known))
    if not found:
        found["default"] = Given("the defaults", dict(DEFAULT_SETTINGS))
    keys = signing_keys(secret_key, fallbacks)
    return {name: _build(name, *given, keys) for name, given in found.items()}


def build_region(
    name: str,
    settings: Mapping[str, Any] | str,
    *,
    secret_key: str | bytes | None = None,
    fallbacks: Iterable[str | bytes] = (),
    where: str = "the settings",
) -> CacheRegion:
    """Build one region.

    :param name: its name, under which this process finds it.
    :param settings: what ``configure_from_config()`` reads, without a prefix;
        or with ``url`` for backend and arguments; a backend's name may be
        short. A text is a URL or a backend's name.
    :param secret_key: as of :func:`build_regions`.
    :param fallbacks: as of :func:`build_regions`.
    :param where: put before what an error says.
    :raises ConfigurationError: a setting is no use.
    """
    return _build(name, where, settings, signing_keys(secret_key, fallbacks))


def backend_name(name: str) -> str:
    """Return the full name of a backend, such as that of ``"redis"``.

    :raises PluginNotFound: there is no such backend, or more than one.
    """
    if BACKENDS.knows(name):
        return name
    short = {each.rpartition(".")[2]: each for each in BACKENDS.names()}
    found = [each for each in BACKENDS.names() if each.rpartition(".")[2] == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise PluginNotFound(
            f"the backend {name!r} may be {' or '.join(map(repr, found))}: write the "
            "whole name"
        )
    near = get_close_matches(name.rpartition(".")[2], short, n=1)
    hint = f"; did you mean {short[near[0]]!r}?" if near else ""
    known = ", ".join(BACKENDS.names())
    raise PluginNotFound(f"there is no backend {shown(name)}{hint} (known: {known})")


def signing_keys(
    secret_key: str | bytes | None, fallbacks: Iterable[str | bytes] = ()
) -> list[bytes]:
    """Return the keys that sign values: derived, never the secret itself.

    By HKDF (RFC 5869) with HMAC-SHA256 and a fixed label.

    :param fallbacks: earlier secrets; what they signed is still read.
    :return: the first signs, all verify; empty without a secret.
    :raises ValidationError: the fallbacks are one text, or a secret is none.
    """
    if not secret_key:
        return []
    if isinstance(fallbacks, (str, bytes)):
        # Each of its letters would be a key that anybody can guess.
        raise ValidationError("SECRET_KEY_FALLBACKS takes a list of keys, not a text")
    secrets = [_bytes(each) for each in (secret_key, *fallbacks) if each]
    if len(secrets[0]) < _SHORTEST_SECRET:
        log.warning(
            "SECRET_KEY has fewer than %d bytes: the signatures of cached values, "
            "as those of sessions, can be guessed",
            _SHORTEST_SECRET,
        )
    return [_derived(secret) for secret in secrets]


def _bytes(secret: Any) -> bytes:
    if isinstance(secret, str):
        return secret.encode("utf-8", "surrogatepass")
    if isinstance(secret, bytes):
        return secret
    kind = type(secret).__name__
    raise ValidationError(f"SECRET_KEY and its fallbacks are text or bytes, not {kind}")


def _derived(secret: bytes) -> bytes:
    extracted = hmac.new(b"\0" * 32, secret, hashlib.sha256).digest()
    return hmac.new(extracted, _LABEL + b"\1", hashlib.sha256).digest()


# From the settings of an application to those of each region


def _gather(
    settings: Mapping[Any, Any], where: str, known: frozenset[str]
) -> dict[str, Given]:
    found: dict[str, Given] = {}
    for name, value in _mapping(settings, where).items():
        if not isinstance(name, str):
            continue
        if name.startswith(_FLAT):
            _claim(found, *_flat(name, value, where))
        elif name == URL:
            if value:
                _claim(found, "default", f"{URL} in {where}", {"url": value})
        elif name == REGIONS:
            for each in _nested(value, where):
                _claim(found, *each)
        elif name.startswith(f"{REGIONS}__"):
            _claim(found, *_doubly_underscored(name, value, where))
        elif name.startswith(_OURS) and name not in known:
            raise ValidationError(_unknown(name, where, known))
    return found


def _claim(
    found: dict[str, Given], region: str, place: str, settings: Mapping[str, Any]
) -> None:
    """Give a region settings, unless it has some from another place."""
    given = found.setdefault(region, Given(place, {}))
    if given.place != place:
        raise ValidationError(
            f"the region {region!r} is configured twice: by {given.place}, and by "
            f"{place}; keep one of them"
        )
    given.settings.update(settings)


def _flat(name: str, value: Any, where: str) -> tuple[str, str, dict[str, Any]]:
    region, _, setting = name.removeprefix(_FLAT).partition(".")
    place = f"{_FLAT}{region}.… in {where}"
    if region and isinstance(value, Mapping) and not setting:
        return region, place, dict(value)
    if not region or not setting:
        raise ValidationError(
            f"{name} in {where} names no setting of a region: write "
            f"{_FLAT}<region>.<setting>, as in {_FLAT}local.backend"
        )
    return region, place, {setting: value}


def _doubly_underscored(
    name: str, value: Any, where: str
) -> tuple[str, str, dict[str, Any]]:
    region, _, path = name.removeprefix(f"{REGIONS}__").partition("__")
    if not region or not path:
        raise ValidationError(
            f"{name} in {where} names no setting of a region: write "
            f"{REGIONS}__<region>__<setting>, as in {REGIONS}__local__backend"
        )
    # Some systems know only one case for what is in the environment.
    setting = path.replace("__", ".").lower()
    return region, f"{REGIONS}__{region}__… in {where}", {setting: value}


def _nested(value: Any, where: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    place = f"{REGIONS} in {where}"
    for name, settings in _mapping(value, place).items():
        if not isinstance(name, str) or not name:
            raise ValidationError(f"{place}: a region's name is a text, not {name!r}")
        if name.startswith(_FLAT):
            yield _flat(name, settings, place)
            continue
        if not isinstance(settings, (str, Mapping)):
            raise ValidationError(
                f"{REGIONS}[{name!r}] in {where} is a {type(settings).__name__}: it "
                "takes a dictionary of settings, a URL, or a backend's name"
            )
        yield name, f"{REGIONS}[{name!r}] in {where}", _as_mapping(settings)


def _as_mapping(settings: Any) -> dict[str, Any]:
    if isinstance(settings, str):
        return {"url" if "://" in settings else "backend": settings}
    if not isinstance(settings, Mapping):
        raise ValidationError(
            "a region takes a dictionary of settings, a URL, or a backend's name, not "
            f"{shown(settings)}"
        )
    return dict(settings)


def _mapping(value: Any, place: str) -> Mapping[Any, Any]:
    if not value:
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            # What it says may hold a password.
            raise ValidationError(
                f"{place} is a text that is no JSON: as a text it takes an object, "
                'as in {"local": {"backend": "dogpile.cache.memory"}}'
            ) from None
    if not isinstance(value, Mapping):
        raise ValidationError(
            f"{place} is a {type(value).__name__}: it takes a dictionary, from the "
            "names of regions to their settings"
        )
    return value


def _unknown(name: str, where: str, known: frozenset[str]) -> str:
    names = known | {REGIONS, URL}
    near = get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return (
        f"nothing understands {name} in {where}{hint} "
        f"(known: {', '.join(sorted(names))})"
    )


# From the settings of one region to what configure() takes


def _build(
    name: str, place: str, settings: Mapping[str, Any] | str, keys: list[bytes]
) -> CacheRegion:
    try:
        read_text("a region's name", name, "a text")
        chosen = _expanded(settings)
        made_with = take_made_with(chosen)
        _sign(chosen, keys)
        return CacheRegion(name, **made_with).configure_from_config(
            chosen, "", strict=True
        )
    except ConfigurationError as error:
        raise type(error)(f"{place}: {error}") from error


def _expanded(settings: Mapping[str, Any] | str) -> dict[str, Any]:
    """Return settings with a backend's full name, and without a URL."""
    chosen = _as_mapping(settings)
    arguments = chosen.get("arguments")
    if arguments is not None and not isinstance(arguments, Mapping):
        raise ValidationError(
            f"arguments is a {type(arguments).__name__}: it takes a dictionary of "
            "the backend's arguments"
        )
    if arguments is None:
        chosen.pop("arguments", None)
    url = chosen.pop("url", None)
    if url is not None:
        _merge(chosen, _read(url))
    backend = chosen.get("backend")
    if isinstance(backend, str):
        chosen["backend"] = backend_name(backend.strip())
    return chosen


def _read(url: Any) -> dict[str, Any]:
    if not isinstance(url, str) or "://" not in url:
        raise ValidationError(
            "url takes a URL such as 'redis://localhost:6379/0'; servers of another "
            "form belong to the arguments"
        )
    return read_url(url.strip())


def _merge(chosen: dict[str, Any], read: dict[str, Any]) -> None:
    """Add what a URL says to settings.

    :raises ValidationError: both say something about the same.
    """
    given: Mapping[str, Any] = chosen.get("arguments") or {}
    said: dict[str, Any] = read.pop("arguments")
    twice = [name for name in read if name in chosen]
    twice += [
        f"arguments.{name}"
        for name in said
        if name in given or f"arguments.{name}" in chosen
    ]
    if twice:
        raise ValidationError(
            f"{', '.join(twice)}: said by the URL and by a setting beside it; keep one"
        )
    chosen.update(read)
    chosen["arguments"] = {**given, **said}


def _sign(chosen: dict[str, Any], keys: list[bytes]) -> None:
    """Have what leaves the process signed, unless the settings say otherwise."""
    if "signing_key" in chosen:
        key = chosen["signing_key"]
        if key is False or (isinstance(key, str) and key.strip().lower() in _NO_KEY):
            chosen["signing_key"] = None
    elif keys and _leaves_the_process(chosen):
        chosen["signing_key"] = keys


def _leaves_the_process(chosen: Mapping[str, Any]) -> bool:
    kind = chosen.get("backend")
    if isinstance(kind, str):
        kind = BACKENDS.load(kind)
    is_bytes = getattr(kind, "serializer", None) is not None or any(
        chosen.get(name) is not None for name in ("serializer", "deserializer")
    )
    # An inline backend never blocks, so that it keeps its values where it is.
    return is_bytes and not getattr(
        getattr(kind, "capabilities", None), "inline", False
    )
