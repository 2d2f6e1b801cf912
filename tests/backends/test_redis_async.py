"""The asynchronous twins of Redis and Valkey backends, on real servers."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from proxy import Damage, Proxy
from servers import Cluster, Sentinel, Server, wait_until

from dogpile.cache.api import Lease
from dogpile.cache.backends.redis import (
    RedisBackend,
    RedisClusterBackend,
    RedisSentinelBackend,
    ValkeyBackend,
    ValkeyClusterBackend,
)
from dogpile.cache.exception import BackendUnavailable, ConfigurationError
from dogpile.cache.testing.concurrency import in_child

redis = pytest.importorskip("redis")
valkey = pytest.importorskip("valkey")

pytestmark = pytest.mark.server

KEYS = [f"key {number}" for number in range(100)]


@pytest.fixture(params=[RedisBackend, ValkeyBackend])
def kind(request: pytest.FixtureRequest) -> type[RedisBackend]:
    found: type[RedisBackend] = request.param
    return found


@pytest.fixture
def server(redis_server: Server) -> Server:
    redis_server.ask("FLUSHALL")
    return redis_server


@pytest.fixture
def backend(kind: type[RedisBackend], server: Server) -> Iterator[RedisBackend]:
    backend = kind({"port": server.port, "notify": True})
    yield backend
    backend.close()


def clients_of(server: Server) -> int:
    """Return how many connections a server has, but for the one that asks."""
    return server.ask("CLIENT LIST").count("laddr=") - 1


def has_clients(server: Server, number: int) -> Callable[[], bool]:
    return lambda: clients_of(server) == number


# Loops and their clients


def test_a_loop_takes_its_connections_along(
    backend: RedisBackend, server: Server
) -> None:
    before = clients_of(server)

    async def use() -> None:
        await asyncio.gather(*(backend.aget_serialized(key) for key in KEYS))
        assert clients_of(server) > before

    for _ in range(3):
        asyncio.run(use())

    wait_until(has_clients(server, before), "the connections to end")


def test_a_crowd_of_tasks_is_no_crowd_of_connections(
    backend: RedisBackend, server: Server
) -> None:
    before = clients_of(server)

    async def use() -> int:
        await backend.aset_serialized("key", b"1")
        found = await asyncio.gather(
            *(backend.aget_serialized("key") for _ in range(1000))
        )
        assert set(found) == {b"1"}
        return clients_of(server)

    assert asyncio.run(use()) - before <= 64


def test_a_pool_that_is_small_is_small_for_tasks_too(
    kind: type[RedisBackend], server: Server
) -> None:
    limits = {"max_connections": 3}
    backend = kind({"port": server.port, "connection_kwargs": limits})
    before = clients_of(server)

    async def use() -> int:
        await asyncio.gather(*map(backend.aget_serialized, KEYS))
        return clients_of(server)

    assert asyncio.run(use()) - before <= 3


def test_loops_in_threads_have_clients_each(backend: RedisBackend) -> None:
    wrong: list[object] = []
    barrier = threading.Barrier(4)

    async def use(name: str) -> None:
        for number in range(30):
            value = f"{name} {number}".encode()
            await backend.aset_serialized(name, value)
            if await backend.aget_serialized(name) != value:
                wrong.append(name)

    def run(name: str) -> None:
        barrier.wait(60)
        asyncio.run(use(name))

    threads = [threading.Thread(target=run, args=(f"{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert wrong == []


def test_it_is_used_again_after_closing(backend: RedisBackend, server: Server) -> None:
    before = clients_of(server)

    async def use() -> None:
        await backend.aset_serialized("key", b"1")
        await backend.aclose()
        await backend.aclose()
        assert await backend.aget_serialized("key") == b"1"
        await backend.aclose()
        wait_until(has_clients(server, before), "the connections to end")

    asyncio.run(use())


def test_loops_that_were_closed_are_forgotten(backend: RedisBackend) -> None:
    async def use() -> None:
        await backend.aget_serialized("key")

    for _ in range(5):
        asyncio.run(use())

    assert backend._per_loop._sites == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_leaves_its_parents_loop_alone(backend: RedisBackend) -> None:
    async def use_in_child() -> None:
        assert await backend.aget_serialized("key") == b"1"

    async def use() -> None:
        await backend.aset_serialized("key", b"1")
        assert (
            await asyncio.to_thread(in_child, lambda: asyncio.run(use_in_child())) == 0
        )
        for _ in range(3):
            assert await backend.aget_serialized("key") == b"1"

    asyncio.run(use())


# Cancelled tasks


def test_cancelled_tasks_leave_no_answer_for_somebody_else(
    backend: RedisBackend,
) -> None:
    async def cancelled(key: str, steps: int) -> None:
        task = asyncio.ensure_future(backend.aget_serialized(key))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def use() -> None:
        await backend.aset_serialized_multi({key: key.encode() for key in KEYS})
        for steps in range(20):
            await asyncio.gather(*(cancelled(key, steps) for key in KEYS[:20]))
            found = await asyncio.gather(*map(backend.aget_serialized, KEYS))
            assert found == [key.encode() for key in KEYS]

    asyncio.run(use())


def test_who_is_cancelled_while_the_server_is_mute_stops_nobody(
    kind: type[RedisBackend], server: Server
) -> None:
    async def use(backend: RedisBackend, proxy: Proxy) -> None:
        await backend.aset_serialized("key", b"1")
        proxy.damage = Damage.MUTE
        tasks = [asyncio.ensure_future(backend.aget_serialized("key")) for _ in KEYS]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        # Before Python 3.12 wait_for() may lose a cancellation: then it takes the
        # time of the time-out.
        await asyncio.gather(*tasks, return_exceptions=True)
        proxy.damage = Damage.NONE
        assert await backend.aget_serialized_multi(["key"]) == [b"1"]

    with Proxy(server.port) as proxy:
        backend = kind({"port": proxy.port, "socket_timeout": 1})
        asyncio.run(use(backend, proxy))


# Leases


def test_threads_and_tasks_see_the_same_leases(backend: RedisBackend) -> None:
    async def use() -> None:
        lease = await backend.alease("key", 600)
        assert not backend.lease("key", 600).granted
        assert backend.renew(lease, 600)
        backend.set_serialized("key", b"1")
        assert not await backend.acommit(lease, b"created before")
        lease = backend.lease("key", 600)
        assert await backend.ais_leased("key")
        assert await backend.acommit(lease, b"2")
        assert backend.get("key") == b"2"

    asyncio.run(use())


@pytest.mark.parametrize(
    "end",
    [
        lambda backend, lease: backend.acommit(lease, b"1"),
        lambda backend, lease: backend.arelease(lease, b"why"),
        lambda backend, lease: backend.aset_serialized("key", b"1"),
        lambda backend, lease: backend.adelete("key"),
    ],
    ids=["commit", "failure", "put", "delete"],
)
def test_who_waits_is_told(
    backend: RedisBackend,
    server: Server,
    end: Callable[[RedisBackend, Lease], Awaitable[object]],
) -> None:
    async def use() -> None:
        lease = await backend.alease("key", 600)
        waiter = asyncio.ensure_future(backend.await_for("key", 600))
        await asyncio.to_thread(
            wait_until,
            lambda: server.ask("PUBSUB NUMSUB {key}:l").endswith(":1\r\n"),
            "somebody to listen",
        )
        await end(backend, lease)
        await asyncio.wait_for(waiter, 60)

    asyncio.run(use())


def test_nobody_waits_for_a_lease_that_has_ended(backend: RedisBackend) -> None:
    async def use() -> None:
        await backend.await_for("free", 600)
        await backend.alease("short", 0.01)
        await backend.await_for("short", 600)

    asyncio.run(use())


@pytest.mark.parametrize("kind", [RedisClusterBackend, ValkeyClusterBackend])
def test_who_waits_for_a_cluster_is_back_in_time(
    redis_cluster: Cluster, kind: type[RedisBackend]
) -> None:
    node = f"127.0.0.1:{redis_cluster.ports[0]}"
    backend = kind({"startup_nodes": node, "notify": True})

    async def use() -> None:
        await backend.alease("key", 600)
        await backend.await_for("key", 0.01)
        await backend.adelete("key")
        await backend.await_for("key", 600)
        await backend.aclose()

    asyncio.run(use())


# Ways to a server


def test_a_cold_cluster_takes_a_crowd(redis_cluster: Cluster) -> None:
    redis_cluster.flush()
    url = f"redis://127.0.0.1:{redis_cluster.ports[0]}"

    async def use(backend: RedisBackend) -> None:
        await asyncio.gather(
            *(backend.aset_serialized(key, key.encode()) for key in KEYS)
        )
        found = await asyncio.gather(*map(backend.aget_serialized, KEYS))
        assert found == [key.encode() for key in KEYS]

    for _ in range(5):
        backend = RedisClusterBackend({"url": url})
        asyncio.run(use(backend))


def test_a_cluster_that_is_not_there_is_unavailable_to_all() -> None:
    backend = RedisClusterBackend({"startup_nodes": ["127.0.0.1:1"]})

    async def use() -> None:
        outcomes = await asyncio.gather(
            *map(backend.aget_serialized, KEYS[:10]), return_exceptions=True
        )
        assert {type(one) for one in outcomes} == {BackendUnavailable}

    asyncio.run(use())


def test_replicas_may_be_read(redis_sentinel: Sentinel) -> None:
    backend = RedisSentinelBackend(
        {
            "sentinels": [["127.0.0.1", redis_sentinel.port]],
            "read_from_replicas": True,
        }
    )

    async def use() -> None:
        await backend.aset_serialized("key", b"1")
        replica = redis_sentinel.replica
        assert replica is not None
        await asyncio.to_thread(
            wait_until,
            lambda: replica.ask("GET key") == "$1\r\n1\r\n",
            "the replica to follow",
        )
        assert await backend.aget_serialized("key") == b"1"
        await backend.aclose()

    asyncio.run(use())


def test_a_shared_pool_names_the_server_for_tasks_too(
    kind: type[RedisBackend], server: Server
) -> None:
    library = redis if kind is RedisBackend else valkey
    pool = library.BlockingConnectionPool(port=server.port, db=3, timeout=5)
    backend = kind({"connection_pool": pool})

    async def use() -> object:
        await backend.aset_serialized("key", b"1")
        return await backend.aget_serialized("key")

    assert backend.capabilities.native_async
    assert asyncio.run(use()) == b"1"
    assert backend.get("key") == b"1"
    assert server.ask("DBSIZE") == ":0\r\n"
    pool.disconnect()


def test_a_pool_with_connections_of_its_own_is_for_threads_only(
    kind: type[RedisBackend], server: Server
) -> None:
    library = redis if kind is RedisBackend else valkey

    class Connection(library.Connection):  # type: ignore[misc,name-defined]  # either
        """A connection that nobody knows."""

    pool = library.ConnectionPool(connection_class=Connection, port=server.port)
    backend = kind({"connection_pool": pool})

    assert not backend.capabilities.native_async
    with pytest.raises(ConfigurationError, match="connection_pool"):
        asyncio.run(backend.aget_serialized("key"))
    backend.set_serialized("key", b"1")
    assert backend.get("key") == b"1"
    pool.disconnect()


def test_settings_that_tasks_cannot_keep_are_refused(server: Server) -> None:
    backend = RedisBackend(
        {
            "port": server.port,
            "ssl": True,
            "connection_kwargs": {"ssl_validate_ocsp": True},
        }
    )

    with pytest.raises(ConfigurationError, match="ssl_validate_ocsp"):
        asyncio.run(backend.aget_serialized("key"))


def test_a_socket_in_the_file_system_is_a_server_too(
    start_redis: Callable[..., Server], tmp_path: Any
) -> None:
    path = tmp_path / "redis.sock"
    start_redis("--unixsocket", str(path))
    backend = RedisBackend({"url": f"unix://{path}?db=1"})

    async def use() -> object:
        await backend.aset_serialized("key", b"1")
        return await backend.aget_serialized("key")

    assert asyncio.run(use()) == b"1"
    assert backend.get("key") == b"1"
    backend.close()
