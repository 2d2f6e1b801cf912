"""A TCP proxy that does the damage that servers and networks do.

>>> with Proxy(6379) as proxy:  # doctest: +SKIP
...     client = connect(proxy.port)
...     proxy.damage = Damage.MUTE
"""

from __future__ import annotations

import contextlib
import enum
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

HOST = "127.0.0.1"


class Damage(enum.Enum):
    """What becomes of what passes the proxy."""

    NONE = "passed on"
    MUTE = "requests are swallowed, connections are taken and stay open"
    DEAF = "requests arrive, answers are swallowed"
    GARBAGE = "each request is answered with nonsense"
    SLOW = "each answer comes late"
    CUT = "connections end after a part of the answer"
    CLOSED = "connections end as soon as they are made"


class Proxy:
    """Pass bytes between clients and a server, or do not.

    :param target: the port of the server.
    :param nonsense: what is answered under ``Damage.GARBAGE``.
    :param delay: the seconds an answer is held back under ``Damage.SLOW``.
    """

    host = HOST

    def __init__(
        self,
        target: int,
        *,
        nonsense: bytes = b"HTTP/1.1 400 Bad Request\r\n\r\n<html>\r\n",
        delay: float = 30.0,
    ) -> None:
        self.target = target
        self.nonsense = nonsense
        self.delay = delay
        self.damage = Damage.NONE
        #: How often a client spoke and then waited for an answer.
        self.round_trips = 0
        #: How many connections were made.
        self.connections = 0
        self._door = socket.create_server((HOST, 0))
        self.port: int = self._door.getsockname()[1]
        self._links: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        with contextlib.suppress(OSError):
            # Wakes the thread that is blocked in accept().
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def cut(self) -> None:
        """End all connections that stand."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            _end(link)

    def _run(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                client, _ = self._door.accept()
            except OSError:
                return
            self.connections += 1
            if self.damage is Damage.CLOSED:
                _end(client)
                continue
            try:
                server = socket.create_connection((HOST, self.target), 5)
            except OSError:
                if self.damage is Damage.NONE:
                    _end(client)
                    continue
                # Damage needs no server behind it.
                server, silent = socket.socketpair()
                self._links.append(silent)
            server.settimeout(None)
            with self._lock:
                self._links += [client, server]
            link = _Link(self, client, server)
            self._run(link.pass_requests)
            self._run(link.pass_answers)


class _Link:
    """One connection through the proxy."""

    def __init__(
        self, proxy: Proxy, client: socket.socket, server: socket.socket
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._answered = True

    def pass_requests(self) -> None:
        for chunk in _chunks(self._client):
            proxy = self._proxy
            if self._answered:
                proxy.round_trips += 1
                self._answered = False
            if proxy.damage is Damage.MUTE:
                continue
            if proxy.damage is Damage.GARBAGE:
                self._answer(proxy.nonsense)
                continue
            with contextlib.suppress(OSError):
                self._server.sendall(chunk)
        _end(self._server)

    def pass_answers(self) -> None:
        for chunk in _chunks(self._server):
            damage = self._proxy.damage
            if damage in {Damage.DEAF, Damage.MUTE, Damage.GARBAGE}:
                continue
            if damage is Damage.SLOW:
                self._proxy._stopped.wait(self._proxy.delay)
            if damage is Damage.CUT:
                self._answer(chunk[: len(chunk) // 2])
                break
            self._answer(chunk)
        _end(self._client)

    def _answer(self, chunk: bytes) -> None:
        self._answered = True
        with contextlib.suppress(OSError):
            self._client.sendall(chunk)


def _chunks(link: socket.socket) -> Iterator[bytes]:
    """Yield what arrives until the connection ends."""
    while True:
        try:
            chunk = link.recv(65536)
        except OSError:
            return
        if not chunk:
            return
        yield chunk


def _end(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)
    link.close()
