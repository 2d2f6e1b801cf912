"""The promises of every backend, kept by Redis and Valkey in each of their forms."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from servers import Cluster, Sentinel, Server

from dogpile.cache.backends.redis import (
    RedisBackend,
    RedisClusterBackend,
    RedisSentinelBackend,
)
from dogpile.cache.backends.valkey import (
    ValkeyBackend,
    ValkeyClusterBackend,
    ValkeySentinelBackend,
)
from dogpile.cache.testing import BackendSuite

pytestmark = pytest.mark.server


class ServerSuite(BackendSuite):
    """The suite, for a backend whose time is its server's."""

    keeps_own_time = True


class TestRedisBackend(ServerSuite):
    @pytest.fixture
    def backend(self, redis_server: Server) -> RedisBackend:
        redis_server.ask("FLUSHALL")
        return RedisBackend({"port": redis_server.port})


class TestRedisBackendThatTells(ServerSuite):
    @pytest.fixture
    def backend(self, redis_server: Server) -> RedisBackend:
        redis_server.ask("FLUSHALL")
        url = f"redis://{redis_server.host}:{redis_server.port}/1"
        return RedisBackend({"url": url, "notify": True})


class TestValkeyBackend(ServerSuite):
    @pytest.fixture
    def backend(self, valkey_server: Server) -> ValkeyBackend:
        valkey_server.ask("FLUSHALL")
        return ValkeyBackend({"port": valkey_server.port})


class TestRedisSentinelBackend(ServerSuite):
    @pytest.fixture
    def backend(self, redis_sentinel: Sentinel) -> RedisSentinelBackend:
        redis_sentinel.master.ask("FLUSHALL")
        sentinels = [[redis_sentinel.host, redis_sentinel.port]]
        return RedisSentinelBackend({"sentinels": sentinels})


class TestValkeySentinelBackend(ServerSuite):
    @pytest.fixture
    def backend(self, redis_sentinel: Sentinel) -> ValkeySentinelBackend:
        redis_sentinel.master.ask("FLUSHALL")
        sentinels = f"{redis_sentinel.host}:{redis_sentinel.port}"
        return ValkeySentinelBackend({"sentinels": sentinels})


class TestRedisClusterBackend(ServerSuite):
    @pytest.fixture
    def backend(self, redis_cluster: Cluster) -> RedisClusterBackend:
        redis_cluster.flush()
        nodes = [f"{redis_cluster.host}:{port}" for port in redis_cluster.ports]
        return RedisClusterBackend({"startup_nodes": nodes})


class TestValkeyClusterBackend(ServerSuite):
    @pytest.fixture
    def backend(self, redis_cluster: Cluster) -> ValkeyClusterBackend:
        redis_cluster.flush()
        url = f"valkey://{redis_cluster.host}:{redis_cluster.ports[0]}"
        return ValkeyClusterBackend({"url": url})


class Awaited:
    """A backend each of whose operations is its asynchronous twin.

    :param backend: what has the twins.
    """

    def __init__(self, backend: RedisBackend) -> None:
        self._backend = backend
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def __getattr__(self, name: str) -> Any:
        twin = getattr(self._backend, f"a{_SERIALIZED.get(name, name)}", None)
        if twin is None:
            return getattr(self._backend, name)

        def operation(*args: Any, **options: Any) -> Any:
            return self._wait(twin(*args, **options))

        return operation

    def close(self) -> None:
        self._wait(self._backend.aclose())

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)


_SERIALIZED = {
    "get": "get_serialized",
    "get_multi": "get_serialized_multi",
    "set": "set_serialized",
    "put": "set_serialized",
    "set_multi": "set_serialized_multi",
}


class AwaitedSuite(ServerSuite):
    """The suite, for the asynchronous twins."""

    has_fork = False

    @pytest.fixture
    def backend(self, plain: RedisBackend) -> Iterator[Awaited]:
        awaited = Awaited(plain)
        yield awaited
        awaited.end()

    def _takes_bytes(self, backend: Any) -> bool:
        return True


class TestAwaitedRedisBackend(AwaitedSuite):
    @pytest.fixture
    def plain(self, redis_server: Server) -> RedisBackend:
        redis_server.ask("FLUSHALL")
        return RedisBackend({"port": redis_server.port})


class TestAwaitedValkeyBackend(AwaitedSuite):
    @pytest.fixture
    def plain(self, valkey_server: Server) -> ValkeyBackend:
        valkey_server.ask("FLUSHALL")
        return ValkeyBackend({"port": valkey_server.port, "notify": True})


class TestAwaitedRedisSentinelBackend(AwaitedSuite):
    @pytest.fixture
    def plain(self, redis_sentinel: Sentinel) -> RedisSentinelBackend:
        redis_sentinel.master.ask("FLUSHALL")
        sentinels = [[redis_sentinel.host, redis_sentinel.port]]
        return RedisSentinelBackend({"sentinels": sentinels})


class TestAwaitedRedisClusterBackend(AwaitedSuite):
    @pytest.fixture
    def plain(self, redis_cluster: Cluster) -> RedisClusterBackend:
        redis_cluster.flush()
        nodes = [f"{redis_cluster.host}:{port}" for port in redis_cluster.ports]
        return RedisClusterBackend({"startup_nodes": nodes})


class TestAwaitedValkeyClusterBackend(AwaitedSuite):
    @pytest.fixture
    def plain(self, redis_cluster: Cluster) -> ValkeyClusterBackend:
        redis_cluster.flush()
        url = f"valkey://{redis_cluster.host}:{redis_cluster.ports[0]}"
        return ValkeyClusterBackend({"url": url})
