"""A login before a memcached server that asks for none."""

from __future__ import annotations

import socket
import struct
import threading

HOST = "127.0.0.1"


class LoginDoor:
    """Ask for a user name and a password before a server that does not.

    :param target: the server's port.
    :param login: what is right, as SASL's PLAIN sends it.
    """

    host = HOST

    def __init__(self, target: int, login: bytes) -> None:
        self._target = target
        self._login = login
        self._door = socket.create_server((HOST, 0))
        self.port: int = self._door.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Let nobody in any more."""
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:
                return
            threading.Thread(target=self._let_in, args=(client,), daemon=True).start()

    def _let_in(self, client: socket.socket) -> None:
        server = socket.create_connection((HOST, self._target), 30)
        is_in = False
        with client, server:
            while head := client.recv(24, socket.MSG_WAITALL):
                body = (
                    client.recv(size, socket.MSG_WAITALL)
                    if (size := _size(head))
                    else b""
                )
                if head[1] == 0x20:
                    client.sendall(_answer(head, 0, b"PLAIN"))
                elif head[1] == 0x21:
                    is_in = body.startswith(b"PLAIN") and body.endswith(self._login)
                    client.sendall(_answer(head, 0 if is_in else 0x20, b"said"))
                elif not is_in:
                    client.sendall(_answer(head, 0x20, b"no"))
                else:
                    self._pass(head + body, client, server)

    @staticmethod
    def _pass(request: bytes, client: socket.socket, server: socket.socket) -> None:
        # What is quiet has no answer of its own: a no-op has one behind it.
        server.sendall(request + struct.pack("!BB22x", 0x80, 0x0A))
        while True:
            head = server.recv(24, socket.MSG_WAITALL)
            body = server.recv(_size(head), socket.MSG_WAITALL) if _size(head) else b""
            if head[1] == 0x0A and request[1] != 0x0A:
                return
            client.sendall(head + body)
            if head[1] == 0x0A:
                server.recv(24, socket.MSG_WAITALL)
                return


def _size(head: bytes) -> int:
    return int.from_bytes(head[8:12], "big")


def _answer(head: bytes, status: int, body: bytes) -> bytes:
    return struct.pack("!BBHBBHL12x", 0x81, head[1], 0, 0, 0, status, len(body)) + body
