"""What is particular to Redis and Valkey, on real servers."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from servers import Cluster, Sentinel, Server, wait_until

from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE, Lease
from dogpile.cache.backends.redis import (
    RedisBackend,
    RedisClusterBackend,
    RedisSentinelBackend,
)
from dogpile.cache.backends.redis_scripts import slot_of
from dogpile.cache.backends.valkey import ValkeyBackend
from dogpile.cache.exception import BackendError
from dogpile.cache.testing.concurrency import in_child

redis = pytest.importorskip("redis")
valkey = pytest.importorskip("valkey")

pytestmark = pytest.mark.server

KEYS = [f"key {number}" for number in range(100)]


@pytest.fixture(params=["redis", "valkey"])
def kind(request: pytest.FixtureRequest) -> type[RedisBackend]:
    return RedisBackend if request.param == "redis" else ValkeyBackend


@pytest.fixture
def server(kind: type[RedisBackend], request: pytest.FixtureRequest) -> Server:
    name = "redis_server" if kind is RedisBackend else "valkey_server"
    server: Server = request.getfixturevalue(name)
    server.ask("FLUSHALL")
    return server


@pytest.fixture
def make(kind: type[RedisBackend], server: Server) -> Iterator[Any]:
    """Return what makes backends, all of which are closed in the end."""
    made: list[RedisBackend] = []

    def make(**arguments: Any) -> RedisBackend:
        arguments.setdefault("port", server.port)
        made.append(kind(arguments))
        return made[-1]

    yield make
    for backend in made:
        backend.close()


@pytest.fixture
def backend(make: Any) -> RedisBackend:
    backend: RedisBackend = make()
    return backend


def clients_of(server: Server) -> int:
    """Return how many connections a server has, but for the one that asks."""
    return server.ask("CLIENT LIST").count("addr=") // 2 - 1


# Names and times


def test_a_value_lies_under_its_plain_key(
    backend: RedisBackend, server: Server
) -> None:
    backend.set_serialized("user:42", b"payload")

    assert server.ask("GET user:42") == "$7\r\npayload\r\n"
    assert server.ask("DBSIZE") == ":1\r\n"


@pytest.mark.parametrize(
    ("limit", "ttl", "expected"),
    [(0, None, -1), (60, None, 60), (0, 60, 60), (60, 5, 5), (5, 60, 5)],
)
def test_a_value_is_dropped_by_the_shorter_time(
    make: Any, server: Server, limit: int, ttl: float | None, expected: int
) -> None:
    backend = make(redis_expiration_time=limit)

    backend.set_serialized("put", b"1", ttl=ttl)
    backend.set_serialized_multi({"many": b"1"}, ttl=ttl)
    backend.commit(backend.lease("created", 5), b"1", ttl=ttl)
    backend.commit_multi([(backend.lease("batch", 5), b"1")], ttl=ttl)

    for key in ("put", "many", "created", "batch"):
        left = int(server.ask(f"TTL {key}")[1:])
        assert expected - 2 <= left <= expected


def test_a_lease_ends_by_itself(backend: RedisBackend) -> None:
    lease = backend.lease("key", 0.05)

    wait_until(lambda: not backend.is_leased("key"), "the lease to end")

    assert not backend.renew(lease, 5)
    assert not backend.commit(lease, b"late")
    assert backend.get("key") is NO_VALUE
    assert backend.lease("key", 5, after=lease.token).granted


def test_a_renewed_lease_ends_later(backend: RedisBackend, server: Server) -> None:
    lease = backend.lease("key", 5)

    backend.renew(lease, 500)

    assert int(server.ask("TTL {key}:l")[1:]) > 400


def test_a_failure_is_forgotten_in_the_end(
    backend: RedisBackend, server: Server
) -> None:
    backend.release(backend.lease("key", 500), b"why")

    assert 0 < int(server.ask("TTL {key}:l")[1:]) <= 10


def test_a_lost_answer_to_a_lease_costs_nothing(backend: RedisBackend) -> None:
    from dogpile.cache.backends.redis_scripts import lease_call

    call = lease_call("key", 5)
    leases = [backend._run("lease", call) for _ in range(2)]

    assert [lease.granted for lease in leases] == [True, True]
    assert leases[0].token == leases[1].token


# Round trips


@pytest.fixture
def trips(backend: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list with one more in it for each time that a client speaks."""
    # Connected, and the scripts are known to the server.
    backend.set_serialized("warm", b"1")
    backend.delete("warm")
    backend.commit(backend.lease("warm", 1), b"1")
    trips: list[object] = []
    kind = backend.writer_client.connection_pool.connection_class
    send = kind.send_packed_command

    def counted(self: object, command: object, *args: Any, **options: Any) -> None:
        trips.append(self)
        send(self, command, *args, **options)

    monkeypatch.setattr(kind, "send_packed_command", counted)
    return trips


@pytest.mark.parametrize(
    "operation",
    [
        lambda backend: backend.get_serialized("key"),
        lambda backend: backend.get_serialized_multi(KEYS),
        lambda backend: backend.set_serialized("key", b"1"),
        lambda backend: backend.set_serialized_multi(dict.fromkeys(KEYS, b"1")),
        lambda backend: backend.delete("key"),
        lambda backend: backend.delete_multi(KEYS),
        lambda backend: backend.lease("key", 5),
        lambda backend: backend.lease_multi(KEYS, 5),
        lambda backend: backend.commit(Lease("key", "0" * 32, granted=True), b"1"),
        lambda backend: backend.commit_multi(
            [(Lease(key, "0" * 32, granted=True), b"1") for key in KEYS]
        ),
    ],
)
def test_each_operation_is_one_round_trip(
    backend: RedisBackend,
    trips: list[object],
    operation: Callable[[RedisBackend], object],
) -> None:
    operation(backend)

    assert len(trips) == 1


def test_no_keys_are_no_round_trip(backend: RedisBackend, trips: list[object]) -> None:
    assert backend.get_serialized_multi([]) == []
    backend.set_serialized_multi({})
    backend.delete_multi([])
    assert backend.lease_multi([], 5) == []

    assert trips == []


def test_a_server_that_forgot_the_scripts_is_told_again(
    backend: RedisBackend, server: Server
) -> None:
    backend.set_serialized("key", b"1")

    server.ask("SCRIPT FLUSH")
    lease = backend.lease("key", 5)
    server.ask("SCRIPT FLUSH")
    leases = backend.lease_multi(KEYS, 5)
    server.ask("SCRIPT FLUSH")
    are_stored = backend.commit_multi([(one, b"2") for one in leases])

    assert lease.granted
    assert all(one.granted for one in leases)
    assert are_stored == [True] * len(KEYS)
    assert backend.get_multi(KEYS) == [b"2"] * len(KEYS)


# Many who use it


def test_many_threads_have_a_connection_each_and_their_own_values(
    backend: RedisBackend,
) -> None:
    wrong: list[object] = []

    def use(name: str) -> None:
        for number in range(50):
            value = f"{name} {number}".encode()
            backend.set_serialized(name, value)
            if backend.get(name) != value:
                wrong.append(name)

    threads = [threading.Thread(target=use, args=(f"{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert wrong == []


def test_regions_share_a_pool_and_leave_it_open(
    kind: type[RedisBackend], server: Server
) -> None:
    client = redis if kind is RedisBackend else valkey
    pool = client.ConnectionPool(port=server.port)
    one, other = (kind({"connection_pool": pool}) for _ in range(2))
    before = clients_of(server)

    one.set_serialized("key", b"1")
    values = [other.get("key") for _ in range(3)]
    one.close()

    assert values == [b"1"] * 3
    assert clients_of(server) == before + 1
    assert other.get("key") == b"1"
    pool.disconnect()


def test_closing_gives_its_connections_back(make: Any, server: Server) -> None:
    before = clients_of(server)
    backend = make()
    backend.get("key")

    backend.close()

    wait_until(lambda: clients_of(server) == before, "the connection to end")
    assert backend.get("key") is NO_VALUE


def test_an_interrupt_leaves_no_answer_for_somebody_else(
    backend: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.set_serialized("one", b"1")
    backend.set_serialized("other", b"2")
    client = backend.reader_client

    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(client, "parse_response", interrupted)
        with pytest.raises(KeyboardInterrupt):
            backend.get("one")

    assert [backend.get("other") for _ in range(3)] == [b"2"] * 3


# Forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_shares_no_socket(backend: RedisBackend) -> None:
    backend.set_serialized("key", b"1")
    ours = backend.writer_client.client_id()

    def use() -> None:
        assert backend.get("key") == b"1"
        backend.set_serialized("child", str(backend.writer_client.client_id()).encode())

    assert in_child(use) == 0
    assert int(backend.get("child")) != ours  # type: ignore[arg-type]  # bytes
    assert backend.writer_client.client_id() == ours


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_fork_in_a_crowd_of_threads_stops_nobody(backend: RedisBackend) -> None:
    backend.set_serialized("key", b"1")
    is_over = threading.Event()
    wrong: list[object] = []

    def use() -> None:
        while not is_over.is_set():
            value = backend.get("key")
            if value != b"1":
                wrong.append(value)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()

    def child() -> None:
        for _ in range(10):
            assert backend.get("key") == b"1"

    try:
        codes = [in_child(child) for _ in range(10)]
    finally:
        is_over.set()
        for thread in threads:
            thread.join(60)

    assert codes == [0] * 10
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_fork_beside_a_thread_in_the_pool_stops_nobody(
    backend: RedisBackend,
) -> None:
    backend.set_serialized("key", b"1")
    is_in, is_over = threading.Event(), threading.Event()

    def stay() -> None:
        with backend.writer_client.connection_pool._lock:
            is_in.set()
            is_over.wait(60)

    def use() -> None:
        assert backend.get("key") == b"1"

    thread = threading.Thread(target=stay)
    thread.start()
    is_in.wait(60)
    try:
        assert in_child(use) == 0
    finally:
        is_over.set()
        thread.join(60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_of_a_shared_pool_shares_no_socket(
    kind: type[RedisBackend], server: Server
) -> None:
    client = redis if kind is RedisBackend else valkey
    pool = client.ConnectionPool(port=server.port)
    backend = kind({"connection_pool": pool})
    ours = backend.writer_client.client_id()

    def use() -> None:
        assert backend.writer_client.client_id() != ours

    assert in_child(use) == 0
    assert backend.writer_client.client_id() == ours
    pool.disconnect()


# A holder that dies


def _hold(kind: type[RedisBackend], port: int, seconds: float, told: Any) -> None:
    lease = kind({"port": port}).lease("key", seconds)
    told.send(lease.granted)
    threading.Event().wait()


def test_a_killed_holder_stops_nobody_for_longer_than_its_lease(
    backend: RedisBackend, kind: type[RedisBackend], server: Server
) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    holder = context.Process(target=_hold, args=(kind, server.port, 2.0, theirs))
    holder.start()
    assert ours.poll(60)
    assert ours.recv()

    holder.kill()
    holder.join()
    refused = backend.lease("key", 5)

    assert not refused.granted
    wait_until(
        lambda: backend.lease("key", 5, after=refused.token).granted,
        "the killed holder's lease to end",
    )


# Telling those who wait


@pytest.mark.parametrize(
    "end",
    [
        lambda backend, lease: backend.commit(lease, b"1"),
        lambda backend, lease: backend.release(lease),
        lambda backend, lease: backend.release(lease, b"why"),
        lambda backend, lease: backend.set_serialized("key", b"1"),
        lambda backend, lease: backend.delete_multi(["key"]),
    ],
    ids=["commit", "release", "failure", "put", "delete"],
)
def test_who_waits_is_told(
    make: Any, server: Server, end: Callable[[RedisBackend, Lease], object]
) -> None:
    backend = make(notify=True)
    lease = backend.lease("key", 600)
    waiter = threading.Thread(target=backend.wait_for, args=("key", 600))
    waiter.start()
    wait_until(
        lambda: server.ask("PUBSUB NUMSUB {key}:l").endswith(":1\r\n"),
        "somebody to listen",
    )

    end(backend, lease)

    waiter.join(60)
    assert not waiter.is_alive()


@pytest.mark.parametrize("notify", [True, False])
def test_nobody_waits_for_a_lease_that_has_ended(make: Any, notify: bool) -> None:
    backend = make(notify=notify)
    failed = backend.lease("failed", 600)
    backend.release(failed, b"why")

    backend.wait_for("free", 600)
    backend.wait_for("failed", 600)

    assert not backend.is_leased("failed")


@pytest.mark.parametrize("notify", [True, False])
def test_the_wait_ends_with_the_time(make: Any, notify: bool) -> None:
    backend = make(notify=notify)
    backend.lease("key", 600)

    backend.wait_for("key", 0.01)

    assert backend.is_leased("key")


def test_the_wait_ends_with_the_lease(make: Any) -> None:
    backend = make(notify=True)
    backend.lease("key", 0.05)

    backend.wait_for("key", 600)

    wait_until(lambda: not backend.is_leased("key"), "the lease to end")


# Mutexes of 1.x


@pytest.mark.parametrize("prefix", [None, "_lok."])
def test_a_mutex_is_held_by_one(make: Any, server: Server, prefix: str | None) -> None:
    backend = make(distributed_lock=True, lock_timeout=60, lock_prefix=prefix)
    mutex, other = backend.get_mutex("key"), backend.get_mutex("key")

    assert mutex.acquire()
    assert server.ask(f"EXISTS {prefix or '_lock'}key") == ":1\r\n"
    assert not other.acquire(wait=False)
    assert other.locked()
    mutex.release()
    assert other.acquire(wait=False)
    other.release()


def test_a_mutex_goes_from_thread_to_thread(make: Any) -> None:
    backend = make(distributed_lock=True, thread_local_lock=False)
    mutex = backend.get_mutex("key")
    mutex.acquire()

    releaser = threading.Thread(target=mutex.release)
    releaser.start()
    releaser.join(60)

    assert not mutex.locked()


def test_a_mutex_that_was_lost_is_an_error_to_release(
    make: Any, server: Server
) -> None:
    mutex = make(distributed_lock=True).get_mutex("key")
    mutex.acquire()
    server.ask("DEL _lockkey")

    with pytest.raises(BackendError, match="caller's"):
        mutex.release()


# Regions


def test_a_region_works_on_it(kind: type[RedisBackend], server: Server) -> None:
    name = f"dogpile.cache.{'redis' if kind is RedisBackend else 'valkey'}"
    region = make_region().configure(
        name, expiration_time=60, arguments={"port": server.port}
    )
    calls: list[object] = []

    def creator() -> str:
        calls.append(None)
        return "created"

    assert [region.get_or_create("key", creator) for _ in range(3)] == ["created"] * 3
    assert len(calls) == 1
    region.delete("key")
    assert region.get("key") is NO_VALUE
    region.close()


# Clusters, sentinels, other ways to a server


def test_keys_with_braces_keep_their_leases_in_a_cluster(
    redis_cluster: Cluster,
) -> None:
    nodes = [f"127.0.0.1:{port}" for port in redis_cluster.ports]
    backend = RedisClusterBackend({"startup_nodes": nodes})
    keys = ["{a}b", "a{b}c", "a{}b", "{}", "f({})", "a}b{c", "}{", "{", "}", "{{}}", ""]
    keys += [f"{{{{{number}" for number in range(20)]

    leases = backend.lease_multi(keys, 5)
    are_stored = backend.commit_multi([(lease, lease.key.encode()) for lease in leases])

    assert all(are_stored)
    assert backend.get_multi(keys) == [key.encode() for key in keys]
    assert len({slot_of(key.encode()) * 3 // 16384 for key in keys}) == 3
    backend.delete_multi(keys)
    backend.close()


def test_a_cluster_is_not_asked_where_keys_are(redis_cluster: Cluster) -> None:
    backend = RedisClusterBackend(
        {"startup_nodes": [f"127.0.0.1:{redis_cluster.ports[0]}"]}
    )
    backend.get_multi(KEYS)
    for node in redis_cluster.nodes:
        node.ask("CONFIG RESETSTAT")

    leases = backend.lease_multi(KEYS, 5)
    backend.commit_multi([(lease, b"1") for lease in leases])
    backend.set_serialized("key", b"1")

    for node in redis_cluster.nodes:
        assert "getkeys" not in node.ask("INFO commandstats")
    backend.close()


def test_a_cluster_is_found_by_one_of_its_nodes(redis_cluster: Cluster) -> None:
    for arguments in (
        {"url": f"redis://127.0.0.1:{redis_cluster.ports[1]}"},
        {"host": "127.0.0.1", "port": redis_cluster.ports[2]},
        {
            "startup_nodes": [
                redis.cluster.ClusterNode("127.0.0.1", redis_cluster.ports[0])
            ]
        },
        {"startup_nodes": f"127.0.0.1:1, 127.0.0.1:{redis_cluster.ports[0]}"},
    ):
        backend = RedisClusterBackend(arguments)
        backend.set_serialized_multi(dict.fromkeys(KEYS, b"1"))
        assert backend.get_multi(KEYS) == [b"1"] * len(KEYS)
        backend.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_shares_no_socket_with_a_cluster(
    redis_cluster: Cluster,
) -> None:
    url = f"redis://127.0.0.1:{redis_cluster.ports[1]}"
    backend = RedisClusterBackend({"url": url})
    backend.set_serialized_multi(dict.fromkeys(KEYS, b"1"))
    ours = str(backend.writer_client.client_id(target_nodes="all"))

    def use() -> None:
        assert backend.get_multi(KEYS) == [b"1"] * len(KEYS)
        assert str(backend.writer_client.client_id(target_nodes="all")) != ours

    assert in_child(use) == 0
    assert backend.get_multi(KEYS) == [b"1"] * len(KEYS)
    backend.close()


def test_replicas_may_be_read(redis_sentinel: Sentinel) -> None:
    sentinels = [["127.0.0.1", redis_sentinel.port]]
    backend = RedisSentinelBackend(
        {"sentinels": sentinels, "read_from_replicas": "true"}
    )

    backend.set_serialized("key", b"1")

    wait_until(lambda: backend.get("key") == b"1", "the replica to follow")
    assert backend.reader_client.info("replication")["role"] == "slave"
    assert backend.writer_client.info("replication")["role"] == "master"
    backend.close()


def test_a_socket_in_the_file_system_is_a_server_too(
    start_redis: Callable[..., Server], tmp_path: Any
) -> None:
    path = tmp_path / "redis.sock"
    start_redis("--unixsocket", str(path), "--unixsocketperm", "700")
    backend = RedisBackend({"url": f"unix://{path}?db=1"})

    backend.set_serialized("key", b"1")

    assert backend.get("key") == b"1"
    backend.close()
