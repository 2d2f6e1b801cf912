"""A region under the names of Flask-Caching's backends, and from its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote, urlsplit

from dogpile.cache import (
    NO_VALUE,
    CacheRegion,
    ConfigurationError,
    ValidationError,
)
from dogpile.cache.integrations.options import near, read_text, shown, spelled_seconds
from dogpile.cache.integrations.settings import build_region


def seconds(timeout: Any, default: Any, name: str = "a timeout") -> float | None:
    """Return a timeout as an expiration time.

    :param timeout: seconds, as a number or a text such as ``"5m"``, or a
        ``timedelta``; ``None`` for the default; 0 or less for ever.
    :param name: what it was given as.
    :raises ValidationError: it is none of these.
    """
    found = default if timeout is None else timeout
    if isinstance(found, timedelta):
        found = found.total_seconds()
    if found is None:
        return None
    found = spelled_seconds(name, found)
    if found is None:
        return None
    if not isinstance(found, (int, float, Decimal)):
        raise ValidationError(f"{name} takes seconds, not {found!r}")
    number = float(found)
    return number if number > 0 else None


_PREFIX = "a text, or a function that returns one"
# That are remembered; others are as good, and a little slower.
_MOST_PREFIXES = 1000


class Store:
    """What ``cache.cache`` is: one application's region.

    :param default: the ``CACHE_DEFAULT_TIMEOUT``.
    :param key_prefix: before the keys, in the backend; or a function that returns
        it, which is called anew for each operation.
    """

    def __init__(
        self, region: CacheRegion, default: Any, key_prefix: str | Callable[[], str]
    ) -> None:
        self.key_prefix = key_prefix
        self.default_timeout = default
        self._whole = region
        self._by_prefix: dict[str, CacheRegion] = {}

    @property
    def region(self) -> CacheRegion:
        """The region, or the part of it that has the prefix."""
        prefix = self.key_prefix
        if callable(prefix):
            prefix = prefix()
            read_text("CACHE_KEY_PREFIX", prefix, _PREFIX)
        if not prefix:
            return self._whole
        found = self._by_prefix.get(prefix)
        if found is None:
            if len(self._by_prefix) >= _MOST_PREFIXES:
                self._by_prefix.clear()
            found = self._by_prefix[prefix] = self._whole.namespace(prefix)
        return found

    def expiration(self, timeout: Any) -> float | None:
        """Return a timeout as an expiration time."""
        return seconds(timeout, self.default_timeout)

    def read(self, key: str) -> Any:
        """Return a value, or ``NO_VALUE``; ``None`` may be a value."""
        return self.region.get(key, ignore_expiration=False)

    def get(self, key: str) -> Any:
        """Return a value, or ``None``."""
        found = self.read(key)
        return None if found is NO_VALUE else found

    def has(self, key: str) -> bool:
        """Return whether there is a value."""
        return self.read(key) is not NO_VALUE

    def set(self, key: str, value: Any, timeout: Any = None, **policy: Any) -> bool:
        """Store a value."""
        expiration = self.expiration(timeout)
        self.region.put(key, value, expiration_time=expiration, **policy)
        return True

    def add(self, key: str, value: Any, timeout: Any = None) -> bool:
        """Store a value unless there is one; return whether it was stored."""
        made: list[bool] = []

        def create(creation: Any) -> Any:
            made.append(True)
            creation.expires(self.expiration(timeout))
            return value

        self.region.get_or_create(key, create)
        return bool(made)

    def delete(self, key: str) -> bool:
        """Remove a value; return whether there was one."""
        was = self.has(key)
        self.region.delete(key)
        return was

    def get_many(self, *keys: str) -> list[Any]:
        """Return the value of each key, or ``None``."""
        found = self.region.get_multi(keys, ignore_expiration=False)
        return [None if each is NO_VALUE else each for each in found]

    def get_dict(self, *keys: str) -> dict[str, Any]:
        """Return the values by key."""
        return dict(zip(keys, self.get_many(*keys), strict=True))

    def set_many(self, mapping: Mapping[str, Any], timeout: Any = None) -> list[str]:
        """Store values; return their keys."""
        expiration = self.expiration(timeout)
        self.region.put_multi(mapping, expiration_time=expiration)
        return list(mapping)

    def delete_many(self, *keys: str) -> list[str]:
        """Remove values; return the keys of those that were there."""
        found = self.region.get_multi(keys, ignore_expiration=False)
        self.region.delete_multi(keys)
        return [
            key for key, value in zip(keys, found, strict=True) if value is not NO_VALUE
        ]

    unlink = delete_many

    def clear(self) -> bool:
        """Invalidate everything."""
        self.region.invalidate()
        return True


class NullCache(Store):
    """Keeps nothing."""


class SimpleCache(Store):
    """Keeps values in this process."""


class FileSystemCache(Store):
    """Keeps values in a file that processes share."""


class RedisCache(Store):
    """Keeps values in Redis."""


class RedisSentinelCache(Store):
    """Keeps values in Redis, found by sentinels."""


class MemcachedCache(Store):
    """Keeps values in memcached."""


class SASLMemcachedCache(MemcachedCache):
    """Keeps values in a memcached that asks for a password."""


def build_store(config: Mapping[str, Any], secret_key: Any) -> Store:
    """Build the region that Flask-Caching's settings describe.

    :raises ConfigurationError: they name a type that is not known.
    """
    default = config.get("CACHE_DEFAULT_TIMEOUT", 300)
    kind, read = _kind(config)
    settings: dict[str, Any] = {
        **read(config),
        "grace": 0,
        "expiration_time": seconds(default, None, "CACHE_DEFAULT_TIMEOUT"),
        **_options(config),
    }
    region = build_region(
        "flask-caching", settings, secret_key=secret_key, where="CACHE_… in app.config"
    )
    prefix = config.get("CACHE_KEY_PREFIX", "flask_cache_")
    if not callable(prefix):
        read_text("CACHE_KEY_PREFIX", prefix, _PREFIX)
    return kind(region, default, prefix or "")


def _options(config: Mapping[str, Any]) -> Mapping[str, Any]:
    found = config.get("CACHE_DOGPILE_OPTIONS") or {}
    if not isinstance(found, Mapping):
        raise ValidationError(
            f"CACHE_DOGPILE_OPTIONS takes a dictionary of settings, not {shown(found)}"
        )
    return found


def _kind(config: Mapping[str, Any]) -> tuple[type[Store], _Reader]:
    given = str(config.get("CACHE_TYPE") or "NullCache")
    name = given.rpartition(".")[2].lower().removesuffix("cache")
    found = _KINDS.get(name)
    if found is None:
        raise ConfigurationError(
            f"CACHE_TYPE {shown(given)} has no equal here{near(given, _NAMES)} (known: "
            f"{', '.join(_NAMES)}); DogpileCache takes any backend"
        )
    return found


def _null(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"backend": "dogpile.cache.null"}


def _memory(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "backend": "dogpile.cache.memory_pickle",
        "arguments": {"max_entries": config.get("CACHE_THRESHOLD") or 500},
    }


def _file(config: Mapping[str, Any]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    folder = config.get("CACHE_DIR")
    if folder is not None:
        if not isinstance(folder, (str, PathLike)):
            raise ValidationError(f"CACHE_DIR takes a path, not {folder!r}")
        arguments["filename"] = str(Path(folder) / "dogpile-cache.db")
    if config.get("CACHE_THRESHOLD"):
        arguments["max_entries"] = config["CACHE_THRESHOLD"]
    return {"backend": "dogpile.cache.sqlite", "arguments": arguments}


def _redis(config: Mapping[str, Any]) -> dict[str, Any]:
    url = config.get("CACHE_REDIS_URL")
    read_text("CACHE_REDIS_URL", url, "a URL")
    number = config.get("CACHE_REDIS_DB")
    if url is not None and number is not None and not urlsplit(url).path.strip("/"):
        url = urlsplit(url)._replace(path=f"/{number}").geturl()
    if url is None:
        host = config.get("CACHE_REDIS_HOST") or "localhost"
        port = config.get("CACHE_REDIS_PORT") or 6379
        password = config.get("CACHE_REDIS_PASSWORD")
        login = f":{quote(str(password), safe='')}@" if password else ""
        url = f"redis://{login}{host}:{port}/{number or 0}"
    return {"url": url}


def _sentinel(config: Mapping[str, Any]) -> dict[str, Any]:
    arguments = {
        "sentinels": config.get("CACHE_REDIS_SENTINELS") or [("127.0.0.1", 26379)],
        "service_name": config.get("CACHE_REDIS_SENTINEL_MASTER") or "mymaster",
        "db": config.get("CACHE_REDIS_SENTINEL_DB")
        or config.get("CACHE_REDIS_DB")
        or 0,
    }
    if config.get("CACHE_REDIS_PASSWORD"):
        arguments["password"] = config["CACHE_REDIS_PASSWORD"]
    return {"backend": "dogpile.cache.redis_sentinel", "arguments": arguments}


def _memcached(config: Mapping[str, Any]) -> dict[str, Any]:
    servers = config.get("CACHE_MEMCACHED_SERVERS") or ["127.0.0.1:11211"]
    if isinstance(servers, str):
        servers = [each.strip() for each in servers.split(",")]
    if not isinstance(servers, (list, tuple)):
        raise ValidationError(
            f"CACHE_MEMCACHED_SERVERS takes a list of servers, not {shown(servers)}"
        )
    arguments: dict[str, Any] = {"url": list(servers)}
    username = config.get("CACHE_MEMCACHED_USERNAME")
    if username is None:
        return {"backend": "dogpile.cache.pymemcache", "arguments": arguments}
    arguments["username"] = username
    arguments["password"] = config.get("CACHE_MEMCACHED_PASSWORD")
    return {"backend": "dogpile.cache.bmemcached", "arguments": arguments}


_Reader: TypeAlias = Callable[[Mapping[str, Any]], dict[str, Any]]

_NAMES = (
    *("SimpleCache", "NullCache", "FileSystemCache", "RedisCache"),
    *("RedisSentinelCache", "MemcachedCache", "SASLMemcachedCache"),
)
# By the last part of CACHE_TYPE, in lower case and without "cache".
_KINDS: Mapping[str, tuple[type[Store], _Reader]] = {
    "null": (NullCache, _null),
    "simple": (SimpleCache, _memory),
    "filesystem": (FileSystemCache, _file),
    "redis": (RedisCache, _redis),
    "redissentinel": (RedisSentinelCache, _sentinel),
    "memcached": (MemcachedCache, _memcached),
    "saslmemcached": (SASLMemcachedCache, _memcached),
    "spreadsaslmemcached": (SASLMemcachedCache, _memcached),
}
