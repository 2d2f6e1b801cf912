"""What Redis backends do when servers and networks do wrong."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from proxy import Damage, Proxy
from servers import Cluster, Sentinel, Server, find_redis, wait_until
from tls import TlsDoor, make_certificate

from dogpile.cache.api import NO_VALUE
from dogpile.cache.backends.redis import (
    RedisBackend,
    RedisClusterBackend,
    RedisSentinelBackend,
    ValkeyBackend,
    ValkeyClusterBackend,
)
from dogpile.cache.exception import BackendError, BackendUnavailable

pytest.importorskip("redis")
pytest.importorskip("valkey")

pytestmark = pytest.mark.server

QUICK = {"socket_timeout": 0.2, "socket_connect_timeout": 0.2}

NONSENSE = [
    b"HTTP/1.1 400 Bad Request\r\n\r\n<html>\r\n",
    b":1\r\n",
    b"+OK\r\n",
    b"$abc\r\n",
    b"$99999999\r\nx",
    b"*3\r\n$1\r\na\r\n",
    b"\x00\xff\x00\xff",
    b"%1\r\n+proto\r\n:3\r\n",
    b"*2\r\n+x\r\n+y\r\n",
    b"\r\n\r\n",
]

OPERATIONS: list[Callable[[RedisBackend], object]] = [
    lambda backend: backend.get_serialized("key"),
    lambda backend: backend.get_serialized_multi(["key", "other"]),
    lambda backend: backend.set_serialized("key", b"changed"),
    lambda backend: backend.lease("key", 5),
    lambda backend: backend.lease_multi(["key", "other"], 5),
    lambda backend: backend.is_leased("key"),
]


@pytest.fixture(params=[RedisBackend, ValkeyBackend])
def kind(request: pytest.FixtureRequest) -> type[RedisBackend]:
    found: type[RedisBackend] = request.param
    return found


@pytest.fixture
def server(redis_server: Server) -> Server:
    redis_server.ask("FLUSHALL")
    return redis_server


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def backend(kind: type[RedisBackend], proxy: Proxy) -> Iterator[RedisBackend]:
    scheme = "redis" if kind is RedisBackend else "valkey"
    backend = kind({"url": f"{scheme}://127.0.0.1:{proxy.port}/3", **QUICK})
    yield backend
    backend.close()


def outcome(operation: Callable[[], object]) -> type[BaseException] | None:
    try:
        operation()
    except BackendError as error:
        return type(error)
    return None


def patiently(operation: Callable[[], Any]) -> Any:
    """Return what an operation does, however busy this machine is."""
    found: list[Any] = []
    wait_until(lambda: outcome(lambda: found.append(operation())) is None, "an answer")
    return found[0]


async def apatiently(operation: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Await what an operation does, however busy this machine is."""
    for _ in range(50):
        try:
            return await operation()
        except BackendUnavailable:
            continue
    return await operation()


# The network


@pytest.mark.parametrize(
    "damage", [Damage.MUTE, Damage.DEAF, Damage.SLOW, Damage.CUT, Damage.CLOSED]
)
@pytest.mark.parametrize("is_warm", [False, True])
def test_a_network_that_fails_is_unavailable_and_comes_back(
    backend: RedisBackend, proxy: Proxy, damage: Damage, is_warm: bool
) -> None:
    if is_warm:
        patiently(lambda: backend.set_serialized("key", b"1"))
    proxy.damage = damage
    if damage is Damage.CLOSED:
        proxy.cut()

    outcomes = {outcome(partial(one, backend)) for one in OPERATIONS}

    proxy.damage = Damage.NONE
    patiently(lambda: backend.set_serialized("key", b"2"))
    assert outcomes == {BackendUnavailable}
    assert patiently(lambda: backend.get_multi(["key", "none"])) == [b"2", NO_VALUE]


@pytest.mark.parametrize(
    "damage", [Damage.MUTE, Damage.DEAF, Damage.SLOW, Damage.CUT, Damage.CLOSED]
)
@pytest.mark.parametrize("is_warm", [False, True])
def test_a_network_that_fails_is_unavailable_to_tasks_too(
    backend: RedisBackend, proxy: Proxy, damage: Damage, is_warm: bool
) -> None:
    async def use() -> None:
        if is_warm:
            await apatiently(lambda: backend.aset_serialized("key", b"1"))
        proxy.damage = damage
        if damage is Damage.CLOSED:
            proxy.cut()
        for operation in (
            backend.aget_serialized("key"),
            backend.aget_serialized_multi(["key", "other"]),
            backend.alease("key", 5),
            backend.alease_multi(["key"], 5),
        ):
            with pytest.raises(BackendUnavailable):
                await operation

        proxy.damage = Damage.NONE
        await apatiently(lambda: backend.aset_serialized("key", b"2"))
        found = await apatiently(lambda: backend.aget_serialized_multi(["key", "none"]))
        assert found == [b"2", NO_VALUE]

    asyncio.run(use())


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize("is_warm", [False, True])
def test_nonsense_is_never_a_value_and_leaves_nothing_behind(
    kind: type[RedisBackend], server: Server, nonsense: bytes, is_warm: bool
) -> None:
    scheme = "redis" if kind is RedisBackend else "valkey"
    with Proxy(server.port, nonsense=nonsense) as proxy:
        backend = kind({"url": f"{scheme}://127.0.0.1:{proxy.port}/3", **QUICK})
        if is_warm:
            patiently(lambda: backend.set_serialized("key", b"1"))
        proxy.damage = Damage.GARBAGE

        outcomes = [outcome(partial(one, backend)) for one in OPERATIONS]

        proxy.damage = Damage.NONE
        for key in ("one", "two", "three"):
            patiently(partial(backend.set_serialized, key, key.encode()))
            assert patiently(partial(backend.get, key)) == key.encode()
        backend.close()

    # What reads values, and what asks for leases; others may be told a plain OK.
    assert outcomes[1] is outcomes[3] is outcomes[4] is BackendUnavailable
    # Nothing was written before the greetings had chosen the database.
    assert server.ask("DBSIZE") == ":0\r\n"


def test_nonsense_in_the_greetings_leaves_no_connection_that_is_not_greeted(
    kind: type[RedisBackend], server: Server
) -> None:
    async def use(backend: RedisBackend, proxy: Proxy) -> None:
        proxy.damage = Damage.GARBAGE
        with pytest.raises(BackendUnavailable):
            await backend.aget_serialized_multi(["key"])
        proxy.damage = Damage.NONE
        await apatiently(lambda: backend.aset_serialized("key", b"1"))
        await backend.aclose()

    scheme = "redis" if kind is RedisBackend else "valkey"
    # What greets so does not mean it: the database is not chosen yet.
    with Proxy(server.port, nonsense=b"+OK\r\n") as proxy:
        backend = kind({"url": f"{scheme}://127.0.0.1:{proxy.port}/3", **QUICK})
        asyncio.run(use(backend, proxy))

    assert server.ask("DBSIZE") == ":0\r\n"


def test_a_dead_connection_in_the_pool_is_replaced_unseen(
    kind: type[RedisBackend], proxy: Proxy
) -> None:
    backend = kind({"port": proxy.port})
    backend.set_serialized("key", b"1")

    proxy.cut()
    found = backend.get("key")
    proxy.cut()
    lease = backend.lease("key", 5)
    proxy.cut()
    is_stored = backend.commit(lease, b"2")

    assert found == b"1"
    assert is_stored
    assert backend.get("key") == b"2"
    backend.close()


# The server


def test_a_server_that_starts_anew_is_empty_and_useful_at_once(
    kind: type[RedisBackend], start_redis: Callable[..., Server]
) -> None:
    server = start_redis()
    backend = kind({"port": server.port})
    backend.set_serialized("key", b"1")
    lease = backend.lease("other", 600)

    server.stop()
    while_away = outcome(lambda: backend.get("key"))
    server.start()

    assert while_away is BackendUnavailable
    assert backend.get("key") is NO_VALUE
    assert not backend.commit(lease, b"created before")
    assert backend.lease("other", 5).granted
    backend.close()


def test_a_server_that_hangs_is_unavailable_until_it_goes_on(
    kind: type[RedisBackend], start_redis: Callable[..., Server]
) -> None:
    server = start_redis()
    backend = kind({"port": server.port, **QUICK})
    patiently(lambda: backend.set_serialized("key", b"1"))

    with server.paused():
        outcomes = {outcome(lambda: backend.get("key")) for _ in range(2)}

    assert outcomes == {BackendUnavailable}
    assert patiently(lambda: backend.get("key")) == b"1"
    backend.close()


def test_a_server_that_is_full_takes_nothing_and_says_so(
    kind: type[RedisBackend], start_redis: Callable[..., Server]
) -> None:
    server = start_redis("--maxmemory-policy", "noeviction")
    backend = kind({"port": server.port})
    backend.set_serialized("key", b"1")
    kept = backend.lease("kept", 600)
    server.ask("CONFIG SET maxmemory 1")

    for operation in (
        lambda: backend.set_serialized("key", b"2"),
        lambda: backend.set_serialized_multi({"key": b"2"}),
        lambda: backend.lease("other", 5),
        lambda: backend.lease_multi(["other"], 5),
        lambda: backend.commit(kept, b"2"),
    ):
        with pytest.raises(BackendError, match="maxmemory") as caught:
            operation()
        assert not isinstance(caught.value, BackendUnavailable)

    assert backend.get_multi(["key", "kept"]) == [b"1", NO_VALUE]
    backend.delete("key")
    assert backend.get("key") is NO_VALUE
    backend.release(kept)
    server.ask("CONFIG SET maxmemory 0")
    assert backend.lease("kept", 5).granted
    backend.close()


def test_half_of_a_batch_of_leases_is_given_back(
    server: Server, kind: type[RedisBackend]
) -> None:
    backend = kind({"port": server.port})
    server.ask("LPUSH list 1")

    with pytest.raises(BackendError, match="no string"):
        backend.lease_multi(["one", "list", "two"], 600)
    with pytest.raises(BackendError, match="no string"):
        asyncio.run(backend.alease_multi(["one", "list", "two"], 600))

    assert not backend.is_leased("one")
    assert not backend.is_leased("two")
    backend.close()


def test_a_key_that_holds_something_else_is_an_error_until_it_is_written(
    server: Server, kind: type[RedisBackend]
) -> None:
    backend = kind({"port": server.port})
    server.ask("LPUSH key 1")

    with pytest.raises(BackendError, match="no string"):
        backend.get("key")
    with pytest.raises(BackendError, match="no string"):
        backend.lease("key", 5)
    backend.set_serialized("key", b"1")

    assert backend.get("key") == b"1"
    backend.close()


@pytest.mark.parametrize("account", [{}, {"password": "wrong"}, {"username": "x"}])
def test_a_refused_account_is_no_matter_of_the_network(
    kind: type[RedisBackend],
    start_redis: Callable[..., Server],
    account: dict[str, Any],
) -> None:
    server = start_redis("--requirepass", "geheim#1")
    backend = kind({"port": server.port, **account})

    with pytest.raises(BackendError, match="password") as caught:
        backend.get("key")

    assert not isinstance(caught.value, BackendUnavailable)
    backend.close()


def test_the_right_account_opens_both_doors(
    kind: type[RedisBackend], start_redis: Callable[..., Server]
) -> None:
    server = start_redis("--requirepass", "geheim#1")
    backend = kind({"port": server.port, "password": "geheim#1", "db": 2})

    async def use() -> object:
        await backend.aset_serialized("key", b"1")
        return await backend.aget_serialized("key")

    assert asyncio.run(use()) == b"1"
    assert backend.get("key") == b"1"
    backend.close()


def test_an_account_without_the_commands_is_told_which(
    server: Server, kind: type[RedisBackend]
) -> None:
    server.ask("ACL SETUSER reader on >word ~* +get +mget +hello +client +select")
    backend = kind({"port": server.port, "username": "reader", "password": "word"})

    assert backend.get("key") is NO_VALUE
    with pytest.raises(BackendError, match="EVALSHA"):
        backend.set_serialized("key", b"1")
    server.ask("ACL DELUSER reader")
    backend.close()


@pytest.mark.parametrize("kind", [RedisClusterBackend, ValkeyClusterBackend])
def test_a_refused_account_is_told_by_a_cluster_too(
    redis_cluster: Cluster, kind: type[RedisBackend]
) -> None:
    node = f"127.0.0.1:{redis_cluster.ports[0]}"
    backend = kind({"startup_nodes": [node], "password": "wrong", "username": "x"})

    with pytest.raises(BackendError, match="password") as caught:
        backend.get("key")
    with pytest.raises(BackendError, match="password"):
        asyncio.run(backend.aget_serialized("key"))

    assert not isinstance(caught.value, BackendUnavailable)


@pytest.fixture
def account() -> str:
    """Return the command that the documentation makes an account with."""
    page = (Path(__file__).parents[2] / "docs" / "redis.rst").read_text()
    found = re.search(r"ACL SETUSER cache.*?(?=\n\n)", page, re.DOTALL)
    assert found is not None
    return " ".join(line.partition("#")[0].strip() for line in found[0].splitlines())


@pytest.mark.parametrize("is_cluster", [False, True])
def test_the_account_of_the_documentation_is_enough(
    server: Server, redis_cluster: Cluster, account: str, is_cluster: bool
) -> None:
    login = {"username": "cache", "password": "password", "notify": True}
    nodes = redis_cluster.nodes if is_cluster else [server]
    assert {node.ask(account) for node in nodes} == {"+OK\r\n"}
    backend: RedisBackend
    if is_cluster:
        backend = RedisClusterBackend({"port": redis_cluster.ports[0], **login})
    else:
        backend = RedisBackend({"port": server.port, "db": 2, **login})

    async def use() -> None:
        await backend.aset_serialized_multi({"a": b"1", "b": b"2"})
        assert await backend.aget_serialized_multi("ab") == [b"1", b"2"]
        lease = await backend.alease("task", 5)
        await backend.await_for("task", 0.01)
        assert await backend.acommit(lease, b"1", ttl=60)
        assert await backend.aget_serialized("task") == b"1"

    backend.set_serialized_multi({"a": b"1", "b": b"2"})
    assert backend.get_multi("ab") == [b"1", b"2"]
    lease = backend.lease("thread", 5)
    backend.wait_for("thread", 0.01)
    assert backend.renew(lease, 5)
    assert backend.commit(lease, b"1")
    backend.release_multi(backend.lease_multi("abc", 5), b"why")
    backend.delete_multi("abc")
    assert backend.get("thread") == b"1"
    asyncio.run(use())
    backend.close()
    for node in nodes:
        node.ask("ACL DELUSER cache")


def test_a_server_that_knows_no_scripts_is_told_to_be_too_old(
    kind: type[RedisBackend], start_redis: Callable[..., Server]
) -> None:
    old = ["--rename-command", "EVALSHA", "", "--rename-command", "EVAL", ""]
    backend = kind({"port": start_redis(*old).port})

    with pytest.raises(BackendError, match="too old"):
        backend.lease("key", 5)
    with pytest.raises(BackendError, match="too old"):
        backend.set_serialized_multi({"key": b"secret value"})
    backend.close()


def test_a_server_that_takes_no_more_clients_is_unavailable(
    kind: type[RedisBackend], start_redis: Callable[..., Server]
) -> None:
    server = start_redis()
    server.ask("CONFIG SET maxclients 1")
    one, other = (kind({"port": server.port}) for _ in range(2))
    one.get("key")

    with pytest.raises(BackendUnavailable):
        other.get("key")

    one.close()
    other.close()


def test_a_replica_takes_no_writes(
    redis_sentinel: Sentinel, kind: type[RedisBackend]
) -> None:
    assert redis_sentinel.replica is not None
    backend = kind({"port": redis_sentinel.replica.port})

    assert backend.get("nothing there") is NO_VALUE
    with pytest.raises(BackendUnavailable, match="replica"):
        backend.set_serialized("key", b"1")
    backend.close()


def test_a_server_that_is_no_cluster_is_told_apart(server: Server) -> None:
    backend = RedisClusterBackend({"url": f"redis://127.0.0.1:{server.port}"})

    with pytest.raises(BackendUnavailable, match="cluster"):
        backend.get("key")


# Failover


@pytest.mark.slow
def test_a_failover_is_followed() -> None:
    sentinel = Sentinel(find_redis()).start()
    try:
        backend = RedisSentinelBackend(
            {"sentinels": [["127.0.0.1", sentinel.port]], **QUICK}
        )
        patiently(lambda: backend.set_serialized("key", b"1"))
        replica = sentinel.replica
        assert replica is not None
        wait_until(lambda: replica.ask("GET key") == "$1\r\n1\r\n", "the replica")

        sentinel.master.stop()
        while_away = outcome(lambda: backend.get("key"))

        def is_back() -> bool:
            return outcome(lambda: backend.set_serialized("other", b"2")) is None

        wait_until(is_back, "the replica to become the master", seconds=60)
        assert while_away is BackendUnavailable
        found = patiently(lambda: backend.get_multi(["key", "other"]))
        assert found == [b"1", b"2"]
        backend.close()
    finally:
        sentinel.stop()


@pytest.mark.slow
@pytest.mark.parametrize("is_async", [False, True])
def test_a_lost_node_takes_its_own_keys_along_and_no_others(is_async: bool) -> None:
    cluster = Cluster(find_redis()).start()
    keys = [f"key {number}" for number in range(30)]
    nodes = [f"127.0.0.1:{port}" for port in cluster.ports]
    backend = RedisClusterBackend({"startup_nodes": nodes})

    def get(key: str) -> type[BaseException] | None:
        return outcome(lambda: backend.get(key))

    async def aget(key: str) -> type[BaseException] | None:
        try:
            await backend.aget_serialized(key)
        except BackendError as error:
            return type(error)
        return None

    async def use() -> set[type[BaseException] | None]:
        await backend.aget_serialized_multi(keys)
        cluster.nodes[0].stop()
        return {await aget(key) for key in keys}

    try:
        if is_async:
            outcomes = asyncio.run(use())
        else:
            backend.get_multi(keys)
            cluster.nodes[0].stop()
            outcomes = {get(key) for key in keys}
        assert outcomes == {None, BackendUnavailable}
        backend.close()
    finally:
        cluster.stop()


# TLS


def test_tls_is_used_and_verified(server: Server, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    trust = {"ssl_ca_certs": str(certificate)}
    with TlsDoor(server.port, certificate) as door:
        url = f"rediss://127.0.0.1:{door.port}"
        by_url = RedisBackend({"url": url, "connection_kwargs": trust})
        by_flag = RedisBackend(
            {"port": door.port, "ssl": "yes", "connection_kwargs": trust}
        )
        doubting = RedisBackend({"url": url})
        plain = RedisBackend({"port": door.port, **QUICK})

        async def use() -> object:
            await by_url.aset_serialized("key", b"1")
            with pytest.raises(BackendUnavailable):
                await doubting.aget_serialized("key")
            await doubting.aclose()
            return await by_flag.aget_serialized("key")

        assert asyncio.run(use()) == b"1"
        assert by_url.get("key") == by_flag.get("key") == b"1"
        for refused in (doubting, plain):
            with pytest.raises(BackendUnavailable):
                refused.get("key")
        for backend in (by_url, by_flag, doubting, plain):
            backend.close()
