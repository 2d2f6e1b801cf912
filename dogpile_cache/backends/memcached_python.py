"""python-memcached: its ring of servers, with answers that are looked at."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import memcache  # type: ignore[import-untyped,import-not-found,unused-ignore]

from dogpile.cache.backends.address import Address
from dogpile.cache.backends.memcached_text import Batches, Swap
from dogpile.cache.backends.memcached_wire import (
    Received,
    Unreachable,
    connected,
    stamp,
)
from dogpile.cache.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    # What is used here of python-memcached, which has no types.
    class _Host:
        buffer: bytes
        dead_retry: float
        socket_timeout: float | None

        def __init__(self, host: str, **options: Any) -> None: ...
        def close_socket(self) -> None: ...

    class _Client:
        buckets: list[Any]

        def __init__(self, servers: Sequence[str]) -> None: ...
        def _init_buckets(self) -> None: ...

else:
    _Host = memcache._Host  # noqa: SLF001 - there is no other way to a server
    _Client = memcache.Client


class Host(_Host):
    """A server that says so when it does not answer.

    :param address: where it listens.
    :param tls_context: for a server that speaks TLS.
    """

    #: Connected, or ``None``.
    socket: Any

    def __init__(
        self,
        address: Address,
        *,
        dead_retry: float,
        connect_timeout: float | None,
        read_timeout: float | None,
        tls_context: ssl.SSLContext | None,
    ) -> None:
        where = f"inet6:[{address.host}]:{address.port}"
        if address.path:
            where = f"unix:{address.path}"
        elif ":" not in address.host:
            where = f"inet:{address.host}:{address.port}"
        super().__init__(where, dead_retry=dead_retry, socket_timeout=read_timeout)
        self.born: int = 0
        self._where = address
        self._connect_timeout = connect_timeout
        self._tls_context = tls_context
        self._spared_until = 0.0
        self._received: Received | None = None

    def _get_socket(self) -> Any:
        if self.socket is None:
            if self._spared_until > SYSTEM_CLOCK.monotonic():
                raise Unreachable("a server is gone, and spared for a moment")
            try:
                self.socket = connected(
                    self._where,
                    self._connect_timeout,
                    self.socket_timeout,
                    self._tls_context,
                )
            except OSError:
                self._spared_until = SYSTEM_CLOCK.monotonic() + self.dead_retry
                raise
            self._received = Received(self.socket.recv)
            self.buffer = b""
            self.born = stamp()
        return self.socket

    def mark_dead(self, reason: object) -> None:
        """Say so: python-memcached would have it look like a miss."""
        self.close_socket()
        if isinstance(reason, OSError):
            raise reason
        raise ConnectionResetError("the server closed the connection")

    def connect(self) -> int:
        """See to it that a connection stands."""
        self._get_socket()
        return 1

    def send(self, request: bytes) -> None:
        """Send bytes over the connection that stands."""
        self.socket.sendall(request)

    def line(self) -> bytes:
        """Receive a line, and return it without its end."""
        return self._stream().line()

    def block(self, size: int) -> bytes:
        """Receive so many bytes and a line's end, and return the bytes."""
        return self._stream().block(size)

    def drop(self) -> None:
        """End the connection; the next ``connect()`` makes another."""
        self.close_socket()

    def _stream(self) -> Received:
        if self._received is None:
            raise ConnectionResetError("there is no connection")
        return self._received


class Client(_Client):
    """A client that reads bytes, and takes no other answer for a miss.

    python-memcached turns errors into misses, whole answers that it does not
    understand too, and asks another server where one is gone. Here each key
    has one server, and each answer is checked.

    :param servers: where they listen.
    :param serde: from values to bytes and flags, and back.
    """

    # Its base class has one connection a thread: a pool has its own.
    if not TYPE_CHECKING:
        __getattribute__ = object.__getattribute__
        __setattr__ = object.__setattr__
        __delattr__ = object.__delattr__

    def __init__(
        self,
        servers: Sequence[Address],
        *,
        serde: Any,
        dead_retry: float,
        connect_timeout: float | None,
        read_timeout: float | None,
        tls_context: ssl.SSLContext | None,
    ) -> None:
        super().__init__([])
        self.servers: list[Host] = [
            Host(
                address,
                dead_retry=dead_retry,
                connect_timeout=connect_timeout,
                read_timeout=read_timeout,
                tls_context=tls_context,
            )
            for address in servers
        ]
        self._init_buckets()
        self._batches = Batches(self._host_of, serde)

    def _host_of(self, key: str) -> Host:
        number = memcache.serverHashFunction(key.encode("ascii"))
        host: Host = self.buckets[number % len(self.buckets)]
        return host

    def _get_server(self, key: Any) -> tuple[Host, Any]:
        host = self._host_of(key.decode("ascii"))
        host.connect()
        return host, key

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key."""
        return self._batches.get([key]).get(key, default)

    def get_multi(self, keys: Sequence[str], key_prefix: str = "") -> Any:
        """Return the values of the keys that have one."""
        return self._batches.get(keys)

    def set(self, key: str, val: Any, time: int = 0, min_compress_len: int = 0) -> bool:
        """Store a value, whatever the key had."""
        self._batches.store({key: val}, time)
        return True

    def add(self, key: str, val: Any, time: int = 0, min_compress_len: int = 0) -> bool:
        """Store a value if the key has none."""
        return self._batches.add(key, val, time)

    def delete(self, key: str) -> bool:
        """Remove the value of a key, and say whether it had one."""
        return self._batches.remove([key])

    def take_many(
        self, marks: Mapping[str, bytes], time: int
    ) -> Mapping[str, tuple[Any, int]]:
        """Add the values of keys that have none; return all with cas ids."""
        return self._batches.take(marks, time)

    def read_many(self, keys: Sequence[str]) -> Mapping[str, tuple[Any, int]]:
        """Return the values of the keys that have one, with cas ids."""
        return self._batches.gets(keys)

    def swap_many(self, swaps: Sequence[Swap], time: int) -> list[bool | None]:
        """Store values where the cas id is still the same."""
        return self._batches.swap(swaps, time)

    def store_many(self, mapping: Mapping[str, bytes], time: int) -> None:
        """Store values, whatever the keys had."""
        self._batches.store(mapping, time)

    def remove_many(self, keys: Sequence[str]) -> None:
        """Remove the values of the keys."""
        self._batches.remove(keys)
