"""Servers where everybody expects them, for examples that name no port."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import servers


@contextmanager
def served(new: Callable[[], servers.Server], port: int) -> Iterator[None]:
    """Have a server listen on a port; one that listens there already will do.

    :param new: makes one, which is not started yet.
    """
    with servers._or_skip():
        server = new()
        if not _is_taken(port):
            server.port = port
            server.start()
    try:
        yield
    finally:
        server.stop()


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((servers.HOST, port)) == 0
