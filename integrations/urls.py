"""From a URL to the settings of a region: ``redis://localhost/0?grace=10m``."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from dogpile.cache import BACKENDS, ValidationError

# From the name in a URL to the name of a backend.
_SCHEMES = {
    "redis": "dogpile.cache.redis",
    "rediss": "dogpile.cache.redis",
    "unix": "dogpile.cache.redis",
    "valkey": "dogpile.cache.valkey",
    "valkeys": "dogpile.cache.valkey",
    "memcached": "",  # whichever client is installed
    "pymemcache": "dogpile.cache.pymemcache",
    "pylibmc": "dogpile.cache.pylibmc",
    "bmemcached": "dogpile.cache.bmemcached",
    "sqlite": "dogpile.cache.sqlite",
    "dbm": "dogpile.cache.dbm",
    "memory": "dogpile.cache.memory",
    "null": "dogpile.cache.null",
}
# The modules of memcached clients, in the order in which they are preferred.
_CLIENTS = {
    "pymemcache": "dogpile.cache.pymemcache",
    "pylibmc": "dogpile.cache.pylibmc",
    "bmemcached": "dogpile.cache.bmemcached",
    "memcache": "dogpile.cache.memcached",
}
# What the clients of Redis and Valkey read from a URL themselves.
_CLIENTS_OWN = frozenset(
    {
        "client_name",
        "health_check_interval",
        "max_connections",
        "protocol",
        "retry_on_timeout",
    }
)


def read_url(url: str) -> dict[str, Any]:
    """Return the settings of a region that a URL stands for.

    Parameters behind the ``?`` are settings of the region, such as ``grace``,
    or arguments of the backend, such as ``max_entries``; they stay texts.

    :param url: of the scheme ``redis``, ``rediss``, ``unix``, ``valkey``,
        ``valkeys``, ``memcached``, ``pymemcache``, ``pylibmc``, ``bmemcached``,
        ``sqlite``, ``dbm``, ``memory`` or ``null``.
    :return: what ``configure_from_config()`` reads: the backend's name, its
        arguments as a mapping, and more settings.
    :raises ValidationError: it cannot be read; the text shows no password.

    >>> read_url("memory://?max_entries=100&grace=5m")["grace"]
    '5m'
    """
    parts = _split(url)
    backend = _SCHEMES[parts.scheme] or _memcached(has_login="@" in parts.netloc)
    names = _argument_names(backend)
    settings: dict[str, Any] = {"backend": backend}
    arguments: dict[str, Any] = {}
    passed: list[str] = []
    for name, value in _parameters(parts).items():
        if name in names:
            arguments[name] = value
        elif "redis_expiration_time" in names and _is_clients_own(name):
            passed.append(f"{name}={value}")
        else:
            _refuse_typo(parts.scheme, name, names)
            settings[name] = value
    for name, value in _place(parts, passed, names).items():
        if name in arguments:
            raise ValidationError(
                f"the {parts.scheme}:// URL says {name} twice, before the ? and after"
            )
        arguments[name] = value
    return {**settings, "arguments": arguments}


def _split(url: Any) -> SplitResult:
    if not isinstance(url, str) or "://" not in url:
        # Its words may be a part of a password.
        raise ValidationError(
            "the URL of a cache is a text such as 'redis://localhost:6379/0'"
        )
    try:
        parts = urlsplit(url)
    except ValueError:
        # Its words may be a part of a password.
        raise ValidationError(
            "the URL of a cache cannot be read: write [] around an IPv6 address "
            "only, and %5B and %5D in a password"
        ) from None
    if parts.scheme not in _SCHEMES:
        near = get_close_matches(parts.scheme, _SCHEMES, n=1)
        hint = f"; did you mean {near[0]}://?" if near else ""
        raise ValidationError(
            f"no cache has a URL that begins with {parts.scheme}://{hint} (known: "
            f"{', '.join(f'{scheme}://' for scheme in _SCHEMES)})"
        )
    if parts.fragment:
        raise ValidationError(
            f"the {parts.scheme}:// URL has a #; in a password it is written %23"
        )
    return parts


def _memcached(*, has_login: bool) -> str:
    backends = {
        module: backend
        for module, backend in _CLIENTS.items()
        if not has_login or "username" in _argument_names(backend)
    }
    for module, backend in backends.items():
        if importlib.util.find_spec(module) is not None:
            return backend
    return next(iter(backends.values()))  # which says what to install


def _argument_names(backend: str) -> frozenset[str]:
    names: frozenset[str] = BACKENDS.load(backend).argument_names
    return names


def _parameters(parts: SplitResult) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in found:
            raise ValidationError(f"the {parts.scheme}:// URL says {name} twice")
        found[name] = value
    return found


def _is_clients_own(name: str) -> bool:
    return name in _CLIENTS_OWN or name.startswith("ssl_")


def _refuse_typo(scheme: str, name: str, names: frozenset[str]) -> None:
    near = get_close_matches(name, names, n=1, cutoff=0.85)
    if near:
        raise ValidationError(
            f"nothing understands {name!r} in the {scheme}:// URL; did you mean "
            f"{near[0]!r}?"
        )


def _place(
    parts: SplitResult, passed: list[str], names: frozenset[str]
) -> Mapping[str, Any]:
    """Return the arguments that say where the backend keeps its values."""
    if "filename" in names:
        return _file(parts)
    if "redis_expiration_time" in names:
        return {"url": _server(parts, passed)}
    if "url" in names:
        return _servers(parts)
    if parts.netloc or parts.path.strip("/"):
        raise ValidationError(
            f"a {parts.scheme}:// URL has neither a host nor a path, only settings: "
            f"{parts.scheme}://?expiration_time=5m"
        )
    return {}


def _file(parts: SplitResult) -> Mapping[str, Any]:
    if parts.netloc:
        raise ValidationError(
            f"a {parts.scheme}:// URL has no host: write {parts.scheme}:/// before a "
            f"path in the current folder, {parts.scheme}://// before one from the root"
        )
    filename = unquote(parts.path.removeprefix("/"))
    return {"filename": filename} if filename else {}


def _server(parts: SplitResult, passed: list[str]) -> str:
    # A comma would part several servers, where settings are read as texts.
    url = parts._replace(query="&".join(passed)).geturl().replace(",", "%2C")
    # Some Pythons leave out the slashes before an empty host.
    rest = url.removeprefix(f"{parts.scheme}:")
    return url if rest.startswith("//") else f"{parts.scheme}://{rest}"


def _servers(parts: SplitResult) -> Mapping[str, Any]:
    if parts.path.strip("/"):
        raise ValidationError(
            f"a {parts.scheme}:// URL has no path: memcached has no databases; the "
            "servers are parted by commas"
        )
    login, _, hosts = parts.netloc.rpartition("@")
    found: dict[str, Any] = {
        "url": [host for host in hosts.split(",") if host] or ["127.0.0.1"]
    }
    if login:
        username, _, password = login.partition(":")
        found["username"] = unquote(username)
        found["password"] = unquote(password)
    return found
