"""Connections to memcached: what is sent, what arrives, and what goes wrong."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from typing import Protocol

from dogpile.cache.backends.address import Address

_LONGEST_LINE = 4096

_serials = itertools.count(1)


def stamp() -> int:
    """Return a number above all that were returned before."""
    return next(_serials)


class IllegalKey(ValueError):
    """A key that memcached does not take."""


class Oversized(Exception):
    """The server takes no value of that size."""


class Refused(Exception):
    """The server did not store a value, for want of memory most likely."""


class Unfit(Exception):
    """The server is set up in a way that leaves out what is needed."""


class Garbled(ConnectionError):
    """The server, or who stands in its place, does not speak memcached."""


class Unreachable(ConnectionError):
    """A server that did not answer a moment ago is not asked again yet."""


class Channel(Protocol):
    """A connection to one server, made when it is first needed."""

    #: The serial number of the connection that stands now.
    born: int

    def connect(self) -> object:
        """See to it that a connection stands."""

    def send(self, request: bytes) -> None:
        """Send bytes over the connection that stands."""

    def line(self) -> bytes:
        """Receive a line, and return it without its end."""

    def block(self, size: int) -> bytes:
        """Receive so many bytes and a line's end, and return the bytes."""

    def drop(self) -> None:
        """End the connection; the next ``connect()`` makes another."""


class Received:
    """Lines and blocks out of what arrives.

    :param recv: the ``recv`` of a connected socket.
    """

    __slots__ = ("_buffer", "_recv")

    def __init__(self, recv: Callable[[int], bytes]) -> None:
        self._recv = recv
        self._buffer = bytearray()

    def line(self) -> bytes:
        """Return the next line, without its end."""
        buffer = self._buffer
        while (end := buffer.find(b"\r\n")) < 0:
            if len(buffer) > _LONGEST_LINE:
                raise Garbled("a line does not end")
            self._fill()
        found = bytes(buffer[:end])
        del buffer[: end + 2]
        return found

    def block(self, size: int) -> bytes:
        """Return the next bytes, without the line's end behind them."""
        buffer = self._buffer
        while len(buffer) < size + 2:
            self._fill()
        if buffer[size : size + 2] != b"\r\n":
            raise Garbled("a value does not end where it should")
        found = bytes(buffer[:size])
        del buffer[: size + 2]
        return found

    def _fill(self) -> None:
        chunk = self._recv(65536)
        if not chunk:
            raise ConnectionResetError("the server closed the connection")
        self._buffer += chunk


class SocketChannel:
    """A connection of our own.

    :param address: the server's.
    :param connect_timeout: seconds that a connection may take to stand.
    :param read_timeout: seconds that the server may keep silent.
    :param tls_context: for a server that speaks TLS.
    """

    def __init__(
        self,
        address: Address,
        connect_timeout: float | None,
        read_timeout: float | None,
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        self.born: int = 0
        self._address = address
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._tls_context = tls_context
        self._link: socket.socket | None = None
        self._received: Received | None = None

    def connect(self) -> None:
        """See to it that a connection stands."""
        if self._link is None:
            self._link = connected(
                self._address,
                self._connect_timeout,
                self._read_timeout,
                self._tls_context,
            )
            self._received = Received(self._link.recv)
            self.born = stamp()

    def send(self, request: bytes) -> None:
        """Send bytes over the connection that stands."""
        if self._link is None:
            raise ConnectionResetError("there is no connection")
        self._link.sendall(request)

    def line(self) -> bytes:
        """Receive a line, and return it without its end."""
        return self._stream().line()

    def block(self, size: int) -> bytes:
        """Receive so many bytes and a line's end, and return the bytes."""
        return self._stream().block(size)

    def drop(self) -> None:
        """End the connection; the next ``connect()`` makes another."""
        link, self._link, self._received = self._link, None, None
        if link is not None:
            link.close()

    def _stream(self) -> Received:
        if self._received is None:
            raise ConnectionResetError("there is no connection")
        return self._received


def connected(
    address: Address,
    connect_timeout: float | None,
    read_timeout: float | None,
    tls_context: ssl.SSLContext | None = None,
) -> socket.socket:
    """Return a connected socket that waits no longer than it is told here."""
    link = socket.socket(_UNIX) if address.path else None
    try:
        if link is None:
            link = socket.create_connection(address[:2], connect_timeout)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            link.settimeout(connect_timeout)
            link.connect(address.path)
        if tls_context is not None:
            link = tls_context.wrap_socket(link, server_hostname=address.host or None)
        limit_silence(link, read_timeout)
    except BaseException:
        if link is not None:
            link.close()
        raise
    return link


def limit_silence(link: socket.socket, seconds: float | None) -> None:
    """Have whoever waits for an answer wait no longer than that.

    The system sees to it where it can, and then raises ``BlockingIOError``:
    Python's own way asks it before each read whether there is something.
    """
    link.settimeout(seconds)
    if seconds is None or type(link) is not socket.socket or _HAS_OTHER_TIMES:
        return
    micros = max(1, round(seconds * 1_000_000))
    moment = struct.pack("ll", *divmod(micros, 1_000_000))
    # Where a time has another form, Python sees to it.
    with contextlib.suppress(OSError):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, moment)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, moment)
        link.settimeout(None)


# A library that replaces sockets has them wait in a way of its own.
_HAS_OTHER_TIMES = socket.socket.__module__ != "socket" or sys.platform == "win32"
# Windows has none.
_UNIX = getattr(socket, "AF_UNIX", socket.AF_INET)
