"""From arguments to the clients of a Redis or Valkey: alone, sentinel, cluster.

Nothing here waits for a server: clients connect when they are first used. (Only a
cluster's client connects when it is made, so it is made when it is first used.)
"""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from dogpile.cache.api import BackendArguments
from dogpile.cache.backends.address import (
    Address,
    check_url,
    host_in,
    port_in,
)
from dogpile.cache.backends.network import (
    flag_in,
    integer_in,
)
from dogpile.cache.backends.redis_errors import Place
from dogpile.cache.backends.redis_settings import (
    VALKEY,
    Library,
    addresses,
    bounded_retry,
    check_bytes,
    check_connections,
    connection_settings,
    default_settings,
    mapping_in,
    parameters,
    refusals,
    service_name_in,
)
from dogpile.cache.exception import ConfigurationError, ValidationError

#: What a cluster's nodes and the sentinels get of each time: several of them may
#: have to be asked before one answers.
ONE_OF_MANY_SECONDS = 1.0

#: So many tasks of an event loop speak to a server at once, at most.
AT_ONCE = 64

# Threads bound the connections, and a gate those of an event loop: see PerLoop.
_MAX_CONNECTIONS = 10_000
# What the clients keep among the settings of a connection for their own use.
_PLUMBING = frozenset(
    ("retry", "himport_registry", "event_dispatcher", "command_packer", "parser_class")
)
_PLUMBING_PREFIXES = ("maint", "orig_", "oss_")


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients of one thread world or one event loop.

    :param writer: asks the master.
    :param reader: asks the master too, or a replica.
    :param others: what must be closed with them.
    :param at_once: so many tasks may speak at once; the others wait for their turn,
        so that a crowd of them does not make a crowd of connections.
    """

    writer: Any
    reader: Any
    others: Sequence[Any] = ()
    at_once: int = AT_ONCE

    def drop_idle(self) -> None:
        """Close the connections that nobody uses just now."""
        for client in {self.writer, self.reader}:
            nodes = client.get_nodes() if hasattr(client, "get_nodes") else [client]
            for node in nodes:
                # A cluster's node knows a client of its own.
                pool = getattr(node, "redis_connection", node).connection_pool
                pool.disconnect(inuse_connections=False)

    async def aopen(self) -> None:
        """Learn a cluster's nodes: its client is not fit to do so for a crowd."""
        for client in {self.writer, self.reader}:
            if hasattr(client, "get_nodes"):
                await client.initialize()

    async def adrop_idle(self) -> None:
        """Close the connections that nobody uses just now, but for a cluster's."""
        for client in {self.writer, self.reader}:
            pool = getattr(client, "connection_pool", None)
            if pool is not None:
                await pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Give back the connections that are the clients' own."""
        for client in {self.writer, self.reader, *self.others}:
            client.close()

    async def aclose(self) -> None:
        """Give back the connections that are the clients' own."""
        for client in {self.writer, self.reader, *self.others}:
            await client.aclose()


class Connector(Protocol):
    """Makes the clients."""

    #: Whether it can make those of an event loop.
    native_async: bool
    #: Whether making the clients is what connects them.
    eager: bool
    #: Whether keys lie on several nodes.
    sharded: bool
    #: Where the servers are, for errors.
    place: Place

    def connect(self) -> Clients:
        """Make the clients that block."""

    def aconnect(self) -> Clients:
        """Make the clients of the running event loop."""


class Alone:
    """One server, by its host and port, its URL, or a pool of connections.

    :param library: whose client.
    :param arguments: the backend's.
    """

    eager = False
    sharded = False

    def __init__(self, library: Library, arguments: BackendArguments) -> None:
        self._library = library
        self._pool = arguments.get("connection_pool")
        if self._pool is not None and not hasattr(self._pool, "connection_class"):
            raise ValidationError(
                f"connection_pool= must be a {library.name}.ConnectionPool; it has "
                f"the type {type(self._pool).__name__}"
            )
        self._given = connection_settings(arguments)
        self._url = arguments.get("url")
        if self._url is not None:
            self._given["url"] = check_url(self._url, library.schemes)
        elif self._pool is None:  # with one, these say nothing
            self._given |= {
                "host": host_in(arguments, "host", "localhost"),
                "username": arguments.get("username"),
                "password": arguments.get("password"),
                "port": port_in(arguments, "port", 6379),
                "db": integer_in(arguments, "db", 0),
            }
        self.place: Place = self._place()
        self.native_async: bool = self._pool is None or (
            self._pool.connection_class in set(self._twin_classes())
        )

    def _place(self) -> Place:
        if self._url is not None:
            return _place_of(self._url)
        settings = self._given
        if self._pool is not None:
            # A stand-in, as programs put there, may have something else.
            told = getattr(self._pool, "connection_kwargs", None)
            settings = told if isinstance(told, dict) else {}
        is_tls = "SSL" in getattr(
            getattr(self._pool, "connection_class", None), "__name__", ""
        )
        if settings.get("path"):
            return Place(str(settings["path"]))
        host, port = settings.get("host", "localhost"), settings.get("port", 6379)
        return Place(str(Address(str(host), port)), is_tls or bool(settings.get("ssl")))

    def connect(self) -> Clients:
        """Make the client that blocks.

        :raises ConfigurationError: it does not take the arguments.
        """
        make = getattr(self._library.module(), f"Strict{self._library.alone}")
        with refusals():
            if self._pool is not None:
                client = make(connection_pool=self._pool)
            elif self._url is not None:
                client = make.from_url(**self._given)
            else:
                client = make(**self._given)
        # A stand-in, as programs put there to see what is asked for, has no such.
        pool = getattr(client, "connection_pool", client)
        settings = getattr(pool, "connection_kwargs", None)
        if isinstance(settings, dict):
            check_bytes(settings)
            if self._pool is None:
                self._limit(pool)
                check_connections(pool)
        return Clients(client, client)

    def aconnect(self) -> Clients:
        """Make a client for the same server, with the same settings.

        :raises ConfigurationError: the settings are none for an event loop.
        """
        pool = self.connect().writer.connection_pool
        twin = self._twin_classes().get(pool.connection_class)
        if twin is None:
            raise ConfigurationError(
                "connection_pool= makes connections of a class of its own, which "
                "event loops cannot use; its asynchronous use goes through threads"
            )
        taken = parameters(twin)
        settings = {
            name: value
            for name, value in pool.connection_kwargs.items()
            if name not in _PLUMBING
            and not name.startswith(_PLUMBING_PREFIXES)
            # What is not set need not be known.
            and (name in taken or value)
        }
        settings["retry"] = bounded_retry(self._library, "asyncio")
        aio = self._library.module("asyncio")
        with refusals():
            apool = aio.ConnectionPool(
                connection_class=twin, max_connections=_MAX_CONNECTIONS, **settings
            )
            apool.connection_class(**apool.connection_kwargs)
            client = getattr(aio, self._library.alone).from_pool(apool)
        return Clients(client, client, at_once=min(AT_ONCE, pool.max_connections))

    def _twin_classes(self) -> dict[type, type]:
        names = ("Connection", "SSLConnection", "UnixDomainSocketConnection")
        module = self._library.module("connection")
        twins = self._library.module("asyncio", "connection")
        return {getattr(module, name): getattr(twins, name) for name in names}

    def _limit(self, pool: Any) -> None:
        """Set a limit to all that nobody set one to."""
        settings = pool.connection_kwargs
        # A URL's query may set some: but for them, there is nothing yet in its pool.
        given = set(self._given if self._url is None else settings)
        defaults = default_settings(self._library)
        if "path" in settings:
            del defaults["socket_connect_timeout"]
        for name, value in defaults.items():
            if name not in given:
                settings[name] = value
                if f"orig_{name}" in settings:
                    settings[f"orig_{name}"] = value
        if "max_connections" not in {*given, *self._given}:
            pool.max_connections = _MAX_CONNECTIONS


class Sentinels:
    """A master and its replicas, whom sentinels know.

    :param library: whose client.
    :param arguments: the backend's.
    """

    eager = False
    sharded = False
    native_async = True

    def __init__(self, library: Library, arguments: BackendArguments) -> None:
        self._library = library
        self._addresses = addresses(arguments.get("sentinels"), "sentinels", 26379)
        self._service_name = service_name_in(arguments)
        self.place: Place = Place(
            f"sentinels {_joined(self._addresses)}, service_name {self._service_name!r}"
        )
        self._from_replicas = flag_in(arguments, "read_from_replicas", False)
        account = {name: arguments.get(name) for name in ("username", "password")}
        self._settings = {
            **account,
            "db": integer_in(arguments, "db", 0),
            **connection_settings(arguments),
        }
        self._sentinel_settings = {
            **account,
            **mapping_in(arguments, "sentinel_kwargs"),
        }

    def connect(self) -> Clients:
        """Make the clients that block."""
        return self._clients(self._library.module("sentinel"))

    def aconnect(self) -> Clients:
        """Make the clients of an event loop."""
        return self._clients(self._library.module("asyncio", "sentinel"), "asyncio")

    def _clients(self, module: ModuleType, *path: str) -> Clients:
        defaults = default_settings(self._library, *path)
        hurry = default_settings(self._library, *path, seconds=ONE_OF_MANY_SECONDS)
        with refusals():
            sentinel = module.Sentinel(
                [(found.host, found.port) for found in self._addresses],
                sentinel_kwargs={**hurry, **self._sentinel_settings},
                **{"max_connections": _MAX_CONNECTIONS, **defaults, **self._settings},
            )
            writer = sentinel.master_for(self._service_name)
            reader = writer
            if self._from_replicas:
                reader = sentinel.slave_for(self._service_name)
        check_connections(writer.connection_pool)
        return Clients(writer, reader, tuple(sentinel.sentinels))


def _place_of(url: str) -> Place:
    """Return where a URL leads, without its user and password."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "unix":
        return Place(urllib.parse.unquote(parts.path))
    host = urllib.parse.unquote(parts.hostname or "localhost")
    is_tls = parts.scheme in ("rediss", "valkeys")
    return Place(str(Address(host, parts.port or 6379)), is_tls)


def _joined(servers: Iterable[Address]) -> str:
    return ", ".join(map(str, servers))


class Sharded:
    """A cluster, known by some of its nodes.

    :param library: whose client.
    :param arguments: the backend's.
    """

    eager = True
    sharded = True
    native_async = True

    def __init__(self, library: Library, arguments: BackendArguments) -> None:
        self._library = library
        self._nodes: list[Address] = []
        self._settings = connection_settings(arguments)
        for name in ("username", "password"):
            if arguments.get(name) is not None:
                self._settings.setdefault(name, arguments[name])
        if arguments.get("url") is not None:
            self._settings["url"] = check_url(arguments["url"], library.schemes[:2])
        elif arguments.get("startup_nodes"):
            self._nodes = addresses(arguments["startup_nodes"], "startup_nodes", 6379)
        elif arguments.get("host") is None and arguments.get("port") is None:
            raise ValidationError(
                "startup_nodes= or url= is needed: some nodes of the cluster, as in "
                f"startup_nodes=['10.0.0.1:6379'] or url='{library.name}://10.0.0.1:6379'"
            )
        else:
            port = port_in(arguments, "port", 6379)
            self._nodes = [Address(host_in(arguments, "host", "localhost"), port)]
        is_tls = bool(self._settings.get("ssl"))
        self.place: Place = (
            _place_of(self._settings["url"])
            if "url" in self._settings
            else Place(f"nodes {_joined(self._nodes)}", is_tls)
        )
        if integer_in(arguments, "db", 0):
            raise ValidationError("db= must be 0: a cluster has no other databases")
        check_bytes(self._settings)
        self._check_names(mapping_in(arguments, "connection_kwargs"))

    def connect(self) -> Clients:
        """Make the client that blocks, and connect it."""
        return self._client(self._library.module("cluster"))

    def aconnect(self) -> Clients:
        """Make the client of an event loop."""
        return self._client(self._library.module("asyncio", "cluster"), "asyncio")

    def _check_names(self, names: Iterable[str]) -> None:
        # The client leaves out, without a word, what it does not know.
        connection = self._library.module("connection")
        known = parameters(
            getattr(self._library.module("cluster"), self._library.cluster)
        ) | parameters(connection.SSLConnection)
        for name in names:
            if name not in known:
                raise ConfigurationError(f"connection_kwargs= has an unknown {name!r}")

    def _client(self, module: ModuleType, *path: str) -> Clients:
        make = getattr(module, self._library.cluster)
        defaults = default_settings(self._library, *path, seconds=ONE_OF_MANY_SECONDS)
        settings = {"max_connections": _MAX_CONNECTIONS, **defaults, **self._settings}
        if self._library is VALKEY:
            settings.setdefault("cluster_error_retry_attempts", 1)
        # The client that blocks connects here: its errors are not those of arguments.
        with refusals() if path else contextlib.nullcontext():
            if "url" in settings:
                client = make.from_url(**settings)
            else:
                nodes = [
                    module.ClusterNode(node.host, node.port) for node in self._nodes
                ]
                client = make(startup_nodes=nodes, **settings)
        return Clients(client, client)
