"""Threads, forks and mutexes on memcached: who holds which connection."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from memcached_kinds import KINDS, Kind, Make, closing, url_of
from servers import Server, wait_until

from dogpile.cache.api import NO_VALUE, CacheMutex
from dogpile.cache.backends.memcached import GenericMemcachedBackend, MemcachedLock
from dogpile.cache.backends.memcached_pool import Busy
from dogpile.cache.exception import BackendUnavailable
from dogpile.cache.testing.concurrency import in_child, together

pytestmark = pytest.mark.server


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def make(kind: Kind) -> Iterator[Make]:
    yield from closing(kind)


@pytest.fixture
def server(memcached_server: Server) -> Server:
    memcached_server.ask("flush_all")
    return memcached_server


@pytest.fixture
def backend(make: Make, server: Server) -> GenericMemcachedBackend:
    return make(url_of(server))


def connections_to(server: Server) -> int:
    """Return how many connections a server has, but for the one that asks."""
    lines = server.ask("stats").splitlines()
    return next(int(x.split()[2]) for x in lines if " curr_connections " in x) - 1


def seconds_left(server: Server, key: str) -> int:
    """Return when a key expires: -1 for never."""
    return int(server.ask(f"mg {key} t").split()[1].removeprefix("t"))


# Many who use it


def test_many_threads_have_a_client_each_and_their_own_values(
    backend: GenericMemcachedBackend,
) -> None:
    def use(name: str) -> list[object]:
        wrong: list[object] = []
        for number in range(100):
            value = f"{name} {number}".encode()
            backend.set_serialized(name, value)
            if (found := backend.get(name)) != value:
                wrong.append(found)
        return wrong

    wrong = together(use, [f"thread{number}" for number in range(8)])

    assert wrong == [[]] * 8


def test_there_are_never_more_clients_than_allowed(make: Make, server: Server) -> None:
    before = connections_to(server)
    backend = make(url_of(server), max_clients=2)
    backend.set("key", b"value")

    together(lambda number: [backend.get("key") for _ in range(100)], range(8))

    assert backend._pool.open <= 2
    assert connections_to(server) - before <= 4  # libmemcached's, and our own


def test_threads_that_come_and_go_share_connections(make: Make, server: Server) -> None:
    backend = make(url_of(server))

    for number in range(20):
        together(lambda key: backend.set(key, b"1"), [f"key{number}"])

    assert backend._pool.open == 1


def test_a_pool_that_is_used_up_is_no_trap(make: Make, server: Server) -> None:
    backend = make(
        url_of(server), max_clients=1, socket_timeout=0.05, socket_connect_timeout=0.05
    )
    held = backend._pool.take_new(backend._create_client)

    with pytest.raises(BackendUnavailable, match="max_clients") as caught:
        backend.get("key")

    assert isinstance(caught.value.__cause__, Busy)
    backend._pool.give(held)
    assert backend.get("key") is NO_VALUE


def test_who_waits_for_a_client_gets_the_one_that_is_given_back(
    make: Make, server: Server
) -> None:
    backend = make(url_of(server), max_clients=1)
    held = backend._pool.take_new(backend._create_client)
    found: list[object] = []
    waiter = threading.Thread(target=lambda: found.append(backend.get("key")))
    waiter.start()
    wait_until(lambda: backend._pool.waiting == 1, "the thread to wait")

    backend._pool.give(held)
    waiter.join(30)

    assert found == [NO_VALUE]


def test_an_interrupt_leaves_no_answer_for_somebody_else(
    backend: GenericMemcachedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.set("one", b"1")
    backend.set("other", b"2")
    client = backend._clients.memcached

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "get", interrupted)
    with pytest.raises(KeyboardInterrupt):
        backend.get("one")

    assert backend._clients.memcached is not client
    assert [backend.get("other") for _ in range(3)] == [b"2"] * 3


def test_regions_with_the_same_settings_share_their_clients(
    make: Make, server: Server
) -> None:
    one, other = make(url_of(server)), make(url_of(server))
    different = make([url_of(server)], max_clients=5)

    one.set("key", b"1")
    found = other.get("key")
    one.close()

    assert found == b"1"
    assert one._pool is other._pool is not different._pool
    assert other._pool.open == 1
    other.close()
    assert other._pool.open == 0


def test_closing_gives_connections_back(make: Make, server: Server) -> None:
    before = connections_to(server)
    backend = make(url_of(server), max_clients=9)
    backend.get_multi(["key"])
    backend.lease("key", 5)

    backend.close()

    wait_until(lambda: connections_to(server) == before, "the connections to end")
    assert backend.get("key") is NO_VALUE


def test_a_client_that_is_in_use_is_closed_when_it_is_given_back(
    make: Make, server: Server
) -> None:
    backend = make(url_of(server), max_clients=8)
    backend.get("key")
    client = backend._pool.take_idle()

    backend.close()
    before = backend._pool.open
    backend._pool.give(client)

    assert (before, backend._pool.open) == (1, 0)


def test_the_client_is_for_everybody(backend: GenericMemcachedBackend) -> None:
    backend.client.set("key", b"1")

    found = together(lambda number: backend.client.get("key"), range(8))
    backend.client.flush_all()

    assert found == [b"1"] * 8
    assert backend.get("key") is NO_VALUE


# Forks


forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")


@forking
def test_a_forked_child_shares_no_socket(
    backend: GenericMemcachedBackend, server: Server
) -> None:
    backend.set("key", b"1")
    backend.lease("warm", 5)
    clients = set(backend._pool._clients)
    before = connections_to(server)

    def use() -> None:
        assert backend.get("key") == b"1"
        assert backend.lease("other", 5).granted
        assert not clients & backend._pool._clients
        backend.close()

    assert in_child(use) == 0
    wait_until(lambda: connections_to(server) == before, "the child's to end")
    # Nobody has told the server to hang up on the parent.
    assert [client.get("key") for client in clients] == [b"1"] * len(clients)
    assert backend._pool._clients == clients


CHILD = """
import os, sys
from dogpile.cache.backends.memcached import {name}

backend = {name}({{"url": "{url}"}})
backend.set("key", b"1")
[client] = backend._pool._clients
child = os.fork()
if not child:
    # It is taken down with all that it holds, as any program is.
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert client.get("key") == b"1"
"""


@forking
def test_a_child_that_ends_leaves_the_parents_connections_alone(
    kind: Kind, server: Server
) -> None:
    kind.require()
    script = CHILD.format(name=kind.backend.__name__, url=url_of(server))

    done = subprocess.run(
        [sys.executable, "-c", script], check=False, timeout=60, capture_output=True
    )

    assert (done.returncode, done.stderr) == (0, b"")


@forking
def test_a_fork_in_a_crowd_of_threads_stops_nobody(
    backend: GenericMemcachedBackend,
) -> None:
    backend.set("key", b"1")
    is_over = threading.Event()
    wrong: list[object] = []

    def use() -> None:
        while not is_over.is_set():
            if (value := backend.get("key")) != b"1":
                wrong.append(value)

    def child() -> None:
        for _ in range(10):
            assert backend.get("key") == b"1"

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        codes = [in_child(child) for _ in range(10)]
    finally:
        is_over.set()
        for thread in threads:
            thread.join(60)

    assert codes == [0] * 10
    assert wrong == []


# The mutex of 1.x


@pytest.fixture
def locking(make: Make, server: Server) -> GenericMemcachedBackend:
    return make(url_of(server), distributed_lock=True, lock_timeout=30)


def test_there_is_a_mutex_only_where_it_is_asked_for(
    backend: GenericMemcachedBackend, locking: GenericMemcachedBackend
) -> None:
    assert backend.get_mutex("key") is None
    assert not backend.has_lock_timeout()
    assert isinstance(locking.get_mutex("key"), CacheMutex)
    assert locking.has_lock_timeout()


def test_a_mutex_keeps_others_out_until_it_is_given_back(
    locking: GenericMemcachedBackend, server: Server
) -> None:
    one, other = locking.get_mutex("two words"), locking.get_mutex("two words")
    assert isinstance(one, MemcachedLock)
    assert isinstance(other, MemcachedLock)

    states = [one.locked(), one.acquire(), other.acquire(False), other.locked()]
    left = seconds_left(server, one.key)
    one.release()

    assert states == [False, True, False, True]
    assert 28 <= left <= 31
    assert other.acquire(False)


def test_a_mutex_that_has_ended_is_not_given_back_for_another(
    locking: GenericMemcachedBackend, server: Server
) -> None:
    late, new = locking.get_mutex("key"), locking.get_mutex("key")
    assert isinstance(late, MemcachedLock)
    assert isinstance(new, MemcachedLock)
    late.acquire()
    server.ask("flush_all")
    new.acquire()

    late.release()

    assert new.locked()


def test_a_mutex_without_a_time_ends_by_itself_too(make: Make, server: Server) -> None:
    mutex = make(url_of(server), distributed_lock=True).get_mutex("key")
    assert isinstance(mutex, MemcachedLock)

    mutex.acquire()

    assert 0 < seconds_left(server, mutex.key) <= 61


def test_a_mutex_has_its_time_whenever_the_servers_clock_ticks() -> None:
    given: list[int] = []

    class Client:
        def add(self, key: str, token: bytes, time: int) -> bool:
            given.append(time)
            return True

    MemcachedLock(Client, "key", timeout=1).acquire()

    assert given == [2]


def test_one_of_many_threads_has_the_mutex(locking: GenericMemcachedBackend) -> None:
    inside: list[int] = []
    most: list[int] = []

    def use(number: int) -> None:
        mutex = locking.get_mutex("key")
        assert isinstance(mutex, MemcachedLock)
        mutex.acquire()
        inside.append(number)
        most.append(len(inside))
        inside.remove(number)
        mutex.release()

    together(use, range(6))

    assert most == [1] * 6


def test_a_backend_that_is_forgotten_does_not_keep_the_others_clients_open(
    make: Make, kind: Kind, server: Server
) -> None:
    kind.require()
    forgotten = kind.backend({"url": url_of(server), "max_clients": 7})
    forgotten.set("key", b"1")
    remaining = make(url_of(server), max_clients=7)
    pool = forgotten._pool
    del forgotten
    gc.collect()

    remaining.close()

    assert pool is remaining._pool
    assert pool.open == 0
