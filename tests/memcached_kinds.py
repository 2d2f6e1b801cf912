"""What the tests of memcached share: every client, alone and with a ring."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
from servers import Server, ServerMissing, find_memcached, memcached_like

from dogpile.cache.backends.memcached import (
    BMemcachedBackend,
    GenericMemcachedBackend,
    MemcachedBackend,
    PylibmcBackend,
    PyMemcacheBackend,
)

Make = Callable[..., GenericMemcachedBackend]


class Kind(NamedTuple):
    """A client of memcached.

    :param backend: the class.
    :param module: what has to be installed for it.
    :param time: what its ``set()`` calls the time.
    """

    backend: type[GenericMemcachedBackend]
    module: str
    time: str = "time"

    def require(self) -> None:
        """Skip the test if the client is not installed."""
        pytest.importorskip(self.module)


KINDS = {
    "pylibmc": Kind(PylibmcBackend, "pylibmc"),
    "pymemcache": Kind(PyMemcacheBackend, "pymemcache", "expire"),
    "bmemcached": Kind(BMemcachedBackend, "bmemcached"),
    "memcached": Kind(MemcachedBackend, "memcache"),
}


def url_of(server: Any) -> str:
    """Return where a server listens."""
    return f"{server.host}:{server.port}"


def start_ring(count: int = 3) -> Iterator[Sequence[Server]]:
    """Start servers, yield them, and stop them."""
    try:
        program = find_memcached()
    except ServerMissing as error:
        pytest.skip(str(error))
    with ExitStack() as stack:
        servers = []
        for _ in range(count):
            server = memcached_like(program)
            stack.callback(server.stop)
            servers.append(server.start())
        yield servers


def closing(kind: Kind) -> Iterator[Make]:
    """Yield what makes backends of a kind; all of them are closed in the end."""
    kind.require()
    with ExitStack() as stack:

        def make(url: Any, **arguments: Any) -> GenericMemcachedBackend:
            backend = kind.backend({"url": url, **arguments})
            stack.callback(backend.close)
            return backend

        yield make
