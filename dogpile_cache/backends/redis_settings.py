"""What the arguments of a Redis or Valkey backend say about its connections."""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple

from dogpile.cache.api import BackendArguments
from dogpile.cache.backends.address import (
    Address,
    host_in,
    parse_address,
    port_in,
    server_list,
)
from dogpile.cache.backends.network import (
    CONNECT_SECONDS,
    READ_SECONDS,
    flag_in,
    seconds_in,
)
from dogpile.cache.exception import ConfigurationError, ValidationError


class Library(NamedTuple):
    """The names that the two client libraries give to the same things.

    :param name: the module's, which is the extra's name too.
    """

    name: str
    alone: str
    cluster: str
    schemes: tuple[str, ...]

    def module(self, *path: str) -> ModuleType:
        """Return the library's module, or one inside it."""
        return importlib.import_module(".".join((self.name, *path)))


REDIS = Library("redis", "Redis", "RedisCluster", ("redis", "rediss", "unix"))
VALKEY = Library("valkey", "Valkey", "ValkeyCluster", ("valkey", "valkeys", "unix"))


def connection_settings(arguments: BackendArguments) -> dict[str, Any]:
    """Return what the arguments say about every connection.

    :raises ValidationError: one of them is of no use.
    """
    settings = dict(mapping_in(arguments, "connection_kwargs"))
    for name in ("socket_timeout", "socket_connect_timeout"):
        seconds = seconds_in(arguments, name, None)
        if seconds is not None:
            settings[name] = seconds
    if flag_in(arguments, "socket_keepalive", False):
        settings["socket_keepalive"] = True
        if arguments.get("socket_keepalive_options") is not None:
            settings["socket_keepalive_options"] = arguments["socket_keepalive_options"]
    if arguments.get("ssl") is not None:
        settings["ssl"] = flag_in(arguments, "ssl", False)
    return settings


def mapping_in(arguments: BackendArguments, name: str) -> Mapping[str, Any]:
    """Read an argument that is a mapping, or nothing.

    :raises ValidationError: it is something else.
    """
    value = arguments.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValidationError(f"{name}= must be a dictionary of keyword arguments")
    return value


def default_settings(
    library: Library, *path: str, seconds: float | None = None
) -> dict[str, Any]:
    """Return what holds for a connection unless the arguments say otherwise.

    :param path: ``"asyncio"`` for the clients of event loops.
    :param seconds: for both time-outs.
    """
    return {
        "socket_timeout": seconds or READ_SECONDS,
        "socket_connect_timeout": seconds or CONNECT_SECONDS,
        "retry": bounded_retry(library, *path),
        # Any string may be a key, half of a surrogate pair in it or not.
        "encoding_errors": "surrogatepass",
    }


def bounded_retry(library: Library, *path: str) -> Any:
    """Return the rule to try once more, at once, and not after a time-out.

    A connection that lay idle while its server was started anew is found dead when
    it is used again: that is what the second try is for.
    """
    kinds = library.module("exceptions")
    backoff = library.module("backoff")
    return library.module(*path, "retry").Retry(
        backoff.NoBackoff(), 1, supported_errors=(kinds.ConnectionError,)
    )


def check_bytes(settings: Mapping[str, Any]) -> None:
    """Refuse settings under which a client would decode values.

    :raises ConfigurationError: they are such.
    """
    if settings.get("decode_responses"):
        raise ConfigurationError("decode_responses must be off: values are bytes")


def check_connections(pool: Any) -> None:
    """Refuse settings that no connection of a pool could be made with.

    :raises ConfigurationError: there is such a setting.
    """
    check_bytes(pool.connection_kwargs)
    with refusals():
        # It is made, and forgotten; it would connect when first used.
        pool.connection_class(**pool.connection_kwargs)


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Make what a client says to its arguments a ConfigurationError."""
    try:
        yield
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is raised as ours
        # Of a TypeError the words are those of Python and name the argument; others'
        # may hold what was given, a password even.
        told = str(error) if isinstance(error, TypeError) else type(error).__name__
        hint = " (with url=, write a scheme with TLS)" if "'ssl'" in told else ""
        raise ConfigurationError(
            f"the client does not take these arguments: {told}{hint}; look at "
            "connection_kwargs= and sentinel_kwargs="
        ) from None


@functools.cache
def parameters(kind: type) -> frozenset[str]:
    """Return the names that a class and its parents take."""
    import inspect

    return frozenset(
        name
        for parent in kind.__mro__
        if "__init__" in vars(parent)
        for name in inspect.signature(parent).parameters
    )


def service_name_in(arguments: BackendArguments) -> str:
    """Read whom the sentinels are asked for.

    :raises ValidationError: it is no name.
    """
    name = arguments.get("service_name", "mymaster")
    if not isinstance(name, str) or not name.strip():
        raise ValidationError(
            "service_name= must be the name of the master that the sentinels watch, "
            "as in service_name='mymaster' (which it is if left out)"
        )
    return name


def addresses(value: object, name: str, default_port: int) -> list[Address]:
    """Read servers: ``host:port``, pairs, or a client's own nodes.

    :raises ValidationError: there is none, or one is none of these.
    """
    items: Iterable[object] = []
    if isinstance(value, str):
        items = server_list(value)
    elif isinstance(value, Iterable):
        items = value
    found = [_address(item, name, default_port) for item in items]
    if not found:
        raise ValidationError(
            f"{name}= is needed, and must name at least one server, as in "
            f"['10.0.0.1:{default_port}', '10.0.0.2:{default_port}']"
        )
    return found


def _address(item: object, name: str, default_port: int) -> Address:
    if isinstance(item, (tuple, list)) and len(item) == 2:
        item = _Pair(*item)
    if hasattr(item, "host") and hasattr(item, "port"):
        host = host_in({name: item.host}, name, "")
        return Address(host, port_in({name: item.port}, name, default_port))
    return parse_address(item, default_port, name=name)


class _Pair(NamedTuple):
    host: Any
    port: Any
