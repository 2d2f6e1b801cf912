"""Leases on memcached: each race is run step by step, on a real server."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from memcached_kinds import KINDS, Kind, Make, closing, url_of
from proxy import Proxy
from servers import Server, wait_until

from dogpile.cache.api import NO_VALUE, CachedValue
from dogpile.cache.backends import memcached_lease as leases
from dogpile.cache.backends.memcached import GenericMemcachedBackend
from dogpile.cache.codecs.chain import Chain
from dogpile.cache.exception import BackendError

pytestmark = pytest.mark.server

BESIDE = "~l:key"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def make(kind: Kind) -> Iterator[Make]:
    yield from closing(kind)


@pytest.fixture
def url(memcached_server: Server) -> str:
    memcached_server.ask("flush_all")
    return url_of(memcached_server)


@pytest.fixture
def one(make: Make, url: str) -> GenericMemcachedBackend:
    return make(url)


@pytest.fixture
def other(make: Make, url: str) -> GenericMemcachedBackend:
    """Return a backend with clients of its own, as another process has them."""
    return make(url, max_clients=31)


def seconds_left(server: Server, key: str) -> int:
    """Return when a key expires: -1 for never."""
    answer = server.ask(f"mg {key} t").split()
    assert answer[0] == "HD", f"{key} is not there"
    return int(answer[1].removeprefix("t"))


# What is stored


def test_no_codec_makes_what_looks_like_a_mark() -> None:
    value = CachedValue(b"\x00dogpile-lease:h", {"ct": 1.0, "v": 3})

    for serializer in ("pickle", "json"):
        chain = Chain(serializer)
        payload = value if serializer == "pickle" else value._replace(payload="x")
        assert not chain.encode("key", payload).startswith(leases.PREFIX)


@pytest.mark.parametrize("failure", [None, b"", b"why: \x00\r\n:\xff"])
def test_a_mark_is_read_as_it_was_written(failure: bytes | None) -> None:
    mark = leases.Mark("abc", 42, failure)

    assert leases.Mark.read(mark.write()) == mark


def test_a_mark_that_was_cut_short_is_nobodys(one: GenericMemcachedBackend) -> None:
    one.client.set("key", leases.PREFIX + b"h12")

    lease = one.lease("key", 5)

    assert one.get("key") is NO_VALUE
    assert lease.granted
    assert one.commit(lease, b"created")


def test_a_value_that_begins_with_a_zero_byte_is_a_value(
    one: GenericMemcachedBackend,
) -> None:
    one.set_multi({"key": b"\x00dogpile", "empty": b""})

    assert one.get("key") == b"\x00dogpile"
    assert one.get_multi(["key", "empty"]) == [b"\x00dogpile", b""]
    assert one.lease("key", 5).found == b"\x00dogpile"


def test_the_mark_of_a_long_key_has_a_key_that_is_not_too_long(
    one: GenericMemcachedBackend, other: GenericMemcachedBackend
) -> None:
    key = "k" * 250
    one.set(key, b"old")

    lease = one.lease(key, 5)

    assert lease.granted
    assert not other.lease(key, 5).granted
    assert one.commit(lease, b"new")


# Times


def test_a_lease_lasts_as_long_as_it_was_asked_for(
    one: GenericMemcachedBackend, memcached_server: Server
) -> None:
    one.set("old", b"old")
    one.lease("key", 2.5)
    one.lease("old", 2.5)

    for key in ("key", "~l:old"):
        # The server's clock ticks once a second, and so may have just now.
        assert 3 <= seconds_left(memcached_server, key) <= 4


def test_a_renewed_lease_ends_later(
    one: GenericMemcachedBackend, memcached_server: Server
) -> None:
    one.set("old", b"old")
    new, old = one.lease("key", 2), one.lease("old", 2)

    are_renewed = [one.renew(lease, 100) for lease in (new, old)]

    assert are_renewed == [True, True]
    assert seconds_left(memcached_server, "key") >= 99
    assert seconds_left(memcached_server, "~l:old") >= 99
    assert seconds_left(memcached_server, "old") == -1
    assert [one.commit(lease, b"new") for lease in (new, old)] == [True, True]
    assert one.get_multi(["key", "old"]) == [b"new", b"new"]


def test_a_failure_is_forgotten_in_the_end(
    one: GenericMemcachedBackend, memcached_server: Server
) -> None:
    one.set("old", b"old")
    one.release_multi([one.lease("key", 100), one.lease("old", 100)], b"why")

    assert seconds_left(memcached_server, "key") <= 5
    assert seconds_left(memcached_server, "~l:old") <= 5
    assert seconds_left(memcached_server, "old") == -1


@pytest.mark.parametrize("has_value", [False, True])
def test_a_lease_ends_by_itself(
    one: GenericMemcachedBackend, other: GenericMemcachedBackend, has_value: bool
) -> None:
    if has_value:
        one.set("key", b"old")
    found = one.get("key")
    lease = one.lease("key", 0.01)

    wait_until(lambda: not one.is_leased("key"), "the lease to end")

    assert not one.renew(lease, 5)
    assert not one.commit(lease, b"late")
    assert one.get("key") == found
    assert other.lease("key", 5, after=lease.token).granted


def test_a_killed_holder_stops_nobody_for_longer_than_its_lease(
    one: GenericMemcachedBackend, kind: Kind, url: str
) -> None:
    is_held = multiprocessing.get_context("spawn").Event()
    holder = multiprocessing.get_context("spawn").Process(
        target=hold, args=(kind.backend, url, is_held)
    )
    holder.start()
    assert is_held.wait(60)
    assert not one.lease("key", 5).granted

    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(60)

    wait_until(lambda: one.lease("key", 5).granted, "the lease to end", 15)


def hold(kind: type[GenericMemcachedBackend], url: str, is_held: Any) -> None:
    """Take a lease, and hold it until somebody ends this process."""
    kind({"url": url}).lease("key", 1)
    is_held.set()
    signal.pause()


# Races, one step after the other


def test_a_put_and_a_delete_leave_no_trace_of_the_lease(
    one: GenericMemcachedBackend, other: GenericMemcachedBackend
) -> None:
    late = one.lease("key", 5)
    other.set("key", b"put")
    other.delete("key")
    new = other.lease("key", 5)

    assert new.granted
    assert not one.commit(late, b"late")
    assert other.commit(new, b"new")
    assert one.get("key") == b"new"


def test_a_put_of_the_very_same_bytes_voids_the_lease_too(
    one: GenericMemcachedBackend, other: GenericMemcachedBackend
) -> None:
    one.set("key", b"old")
    late = one.lease("key", 5)

    other.set("key", b"old")

    assert not one.is_leased("key")
    assert not one.renew(late, 5)
    assert not one.commit(late, b"late")
    assert one.get("key") == b"old"


def test_a_delete_hands_the_lease_on_at_once(
    one: GenericMemcachedBackend, other: GenericMemcachedBackend
) -> None:
    one.set("key", b"old")
    late = one.lease("key", 5)

    other.delete("key")
    new = other.lease("key", 5)

    assert (new.granted, new.found) == (True, NO_VALUE)
    assert not one.commit(late, b"late")
    one.release(late, b"failed")
    assert other.commit(new, b"new")


def test_of_two_who_saw_an_expired_value_one_creates(
    one: GenericMemcachedBackend, other: GenericMemcachedBackend
) -> None:
    one.set("key", b"old")

    winner, loser = one.lease("key", 5), other.lease("key", 5)

    assert (winner.granted, loser.granted) == (True, False)
    assert winner.found == loser.found == b"old"
    assert one.commit(winner, b"new")
    assert other.lease("key", 5).found == b"new"


@pytest.mark.parametrize("has_value", [False, True])
def test_an_evicted_mark_refuses_the_commit_only(
    one: GenericMemcachedBackend, other: GenericMemcachedBackend, has_value: bool
) -> None:
    if has_value:
        one.set("key", b"old")
    found = one.get("key")
    lease = one.lease("key", 5)

    one.client.delete(lease.state.place)

    assert not one.renew(lease, 5)
    assert not one.commit(lease, b"late")
    one.release(lease, b"failed")
    assert one.get("key") == found
    assert other.lease("key", 5).granted


@pytest.mark.parametrize("has_value", [False, True])
def test_a_flush_loses_leases_with_the_values(
    one: GenericMemcachedBackend, memcached_server: Server, has_value: bool
) -> None:
    if has_value:
        one.set("key", b"old")
    lease = one.lease("key", 5)

    memcached_server.ask("flush_all")

    assert not one.renew(lease, 5)
    assert not one.commit(lease, b"late")
    assert one.get("key") is NO_VALUE
    assert one.lease("key", 5).granted


@pytest.mark.parametrize("has_value", [False, True])
def test_a_restart_is_noticed_even_where_the_cas_ids_are_the_same(
    make: Make, start_memcached: Callable[..., Server], has_value: bool
) -> None:
    server = start_memcached()
    one, other = make(url_of(server)), make(url_of(server), max_clients=31)
    one.get("warm")
    if has_value:
        one.set("key", b"old")
    lease = one.lease("key", 60)
    before = server.ask("gets key").split()[4]

    server.restart()
    other.set("key", b"put")
    after = server.ask("gets key").split()[4]

    assert before == after
    assert not one.commit(lease, b"late")
    assert other.get("key") == b"put"


def test_a_restart_that_another_thread_noticed_is_noticed(
    make: Make, start_memcached: Callable[..., Server]
) -> None:
    server = start_memcached()
    one, other = make(url_of(server)), make(url_of(server), max_clients=31)
    one.get("warm")
    lease = one.lease("key", 60)

    server.restart()
    other.set("key", b"put")
    # New connections, on which the old id would be that of the new value.
    wait_until(lambda: one.get_multi(["key"]) == [b"put"], "the new connection")
    one.renew(lease, 5)
    one.release(lease)

    assert not one.commit(lease, b"late")
    assert not one.commit_multi([(lease, b"late")])[0]
    assert one.get("key") == b"put"


def test_a_lost_answer_to_a_lease_costs_nothing(
    make: Make, memcached_server: Server
) -> None:
    memcached_server.ask("flush_all")
    with Proxy(memcached_server.port) as proxy:
        one = make(url_of(proxy))
        one.get("warm")
        client = one._pool.take_idle()
        terms = leases.Terms(leases.new_token(), 5)

        leases.ask(client, ["key"], terms)
        [again] = leases.ask(client, ["key"], terms)
        one._pool.give(client)

        assert again.granted
        assert one.commit(again, b"created")
        one.close()


def test_a_server_without_cas_ids_is_told_apart(
    make: Make, start_memcached: Callable[..., Server]
) -> None:
    server = start_memcached("-C")
    backend = make(url_of(server))
    backend.set("key", b"value")

    with pytest.raises(BackendError, match="cas ids"):
        backend.lease("key", 5)

    assert backend.get("key") == b"value"
