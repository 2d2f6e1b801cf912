"""The promises of every backend, kept by each client of memcached."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from memcached_kinds import KINDS, start_ring, url_of
from servers import Server

from dogpile.cache.backends.memcached import (
    BMemcachedBackend,
    MemcachedBackend,
    PylibmcBackend,
    PyMemcacheBackend,
)
from dogpile.cache.testing import BackendSuite

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def ring() -> Iterator[Sequence[Server]]:
    yield from start_ring()


class ServerSuite(BackendSuite):
    """The suite, for a backend whose time is its server's."""

    keeps_own_time = True

    @pytest.fixture
    def url(self, memcached_server: Server) -> str:
        memcached_server.ask("flush_all")
        return url_of(memcached_server)


class RingSuite(BackendSuite):
    """The suite, for a backend with three servers."""

    keeps_own_time = True

    @pytest.fixture
    def urls(self, ring: Sequence[Server]) -> list[str]:
        for server in ring:
            server.ask("flush_all")
        return [url_of(server) for server in ring]


class TestPylibmcBackend(ServerSuite):
    @pytest.fixture
    def backend(self, url: str) -> PylibmcBackend:
        KINDS["pylibmc"].require()
        return PylibmcBackend({"url": url})


class TestPylibmcBackendInBinary(ServerSuite):
    @pytest.fixture
    def backend(self, url: str) -> PylibmcBackend:
        KINDS["pylibmc"].require()
        behaviors = {"tcp_nodelay": True, "ketama": True}
        return PylibmcBackend({"url": [url], "binary": True, "behaviors": behaviors})


class TestPylibmcBackendAlone(ServerSuite):
    """With a namespace, keys are libmemcached's own affair, one at a time."""

    @pytest.fixture
    def backend(self, url: str) -> PylibmcBackend:
        KINDS["pylibmc"].require()
        return PylibmcBackend({"url": url, "behaviors": {"namespace": b"mine:"}})


class TestPylibmcBackendAloneInBinary(ServerSuite):
    """So it is with a login too, but that needs a server that asks for one."""

    @pytest.fixture
    def backend(self, url: str) -> PylibmcBackend:
        KINDS["pylibmc"].require()
        behaviors = {"namespace": b"mine:"}
        return PylibmcBackend({"url": url, "binary": True, "behaviors": behaviors})


class TestPylibmcBackendThatCompresses(ServerSuite):
    @pytest.fixture
    def backend(self, url: str) -> PylibmcBackend:
        KINDS["pylibmc"].require()
        return PylibmcBackend({"url": url, "min_compress_len": 1})


class TestPylibmcBackendWithRing(RingSuite):
    @pytest.fixture
    def backend(self, urls: list[str]) -> PylibmcBackend:
        KINDS["pylibmc"].require()
        return PylibmcBackend({"url": urls, "behaviors": {"ketama": True}})


class TestPyMemcacheBackend(ServerSuite):
    @pytest.fixture
    def backend(self, url: str) -> PyMemcacheBackend:
        KINDS["pymemcache"].require()
        return PyMemcacheBackend({"url": url})


class TestPyMemcacheBackendThatTriesAgain(ServerSuite):
    @pytest.fixture
    def backend(self, url: str) -> PyMemcacheBackend:
        KINDS["pymemcache"].require()
        return PyMemcacheBackend({"url": url, "enable_retry_client": True})


class TestPyMemcacheBackendWithRing(RingSuite):
    @pytest.fixture
    def backend(self, urls: list[str]) -> PyMemcacheBackend:
        KINDS["pymemcache"].require()
        return PyMemcacheBackend({"url": urls})


class TestBMemcachedBackend(ServerSuite):
    @pytest.fixture
    def backend(self, url: str) -> BMemcachedBackend:
        KINDS["bmemcached"].require()
        return BMemcachedBackend({"url": url})


class TestBMemcachedBackendWithRing(RingSuite):
    @pytest.fixture
    def backend(self, urls: list[str]) -> BMemcachedBackend:
        KINDS["bmemcached"].require()
        return BMemcachedBackend({"url": urls})


class TestMemcachedBackend(ServerSuite):
    @pytest.fixture
    def backend(self, url: str) -> MemcachedBackend:
        KINDS["memcached"].require()
        return MemcachedBackend({"url": url})


class TestMemcachedBackendThatCompresses(ServerSuite):
    @pytest.fixture
    def backend(self, url: str) -> MemcachedBackend:
        KINDS["memcached"].require()
        return MemcachedBackend({"url": url, "min_compress_len": 1})


class TestMemcachedBackendWithRing(RingSuite):
    @pytest.fixture
    def backend(self, urls: list[str]) -> MemcachedBackend:
        KINDS["memcached"].require()
        return MemcachedBackend({"url": ", ".join(urls)})
