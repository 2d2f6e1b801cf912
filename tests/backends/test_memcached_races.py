"""Races for leases on memcached: something else happens before each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from memcached_kinds import KINDS, Kind, Make, closing, url_of
from servers import Server

from dogpile.cache.api import NO_VALUE
from dogpile.cache.backends import memcached_lease as leases
from dogpile.cache.backends.memcached import GenericMemcachedBackend

pytestmark = pytest.mark.server


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


class Stepping:
    """A client that has something else happen before one of its steps.

    :param client: what takes the steps.
    :param number: of the step, from 0 on.
    :param happen: what happens before it.
    """

    def __init__(self, client: Any, number: int, happen: Callable[[], object]) -> None:
        self.steps = 0
        self._client = client
        self._number = number
        self._happen = happen

    def __getattr__(self, name: str) -> Any:
        step = getattr(self._client, name)

        def taken(*args: Any) -> Any:
            if self.steps == self._number:
                self._happen()
            self.steps += 1
            return step(*args)

        return taken


def put(other: GenericMemcachedBackend) -> None:
    other.set("key", b"put")


def delete(other: GenericMemcachedBackend) -> None:
    other.delete("key")


def put_and_delete(other: GenericMemcachedBackend) -> None:
    other.set("key", b"put")
    other.delete("key")


def lose_everything(other: GenericMemcachedBackend) -> None:
    other.client.flush_all()


def put_and_lease(other: GenericMemcachedBackend) -> None:
    other.set("key", b"put")
    other.lease("key", 5)


def delete_and_lease(other: GenericMemcachedBackend) -> None:
    other.delete("key")
    other.lease("key", 5)


WRITES: dict[Callable[[GenericMemcachedBackend], None], object] = {
    put: b"put",
    delete: NO_VALUE,
    put_and_delete: NO_VALUE,
    lose_everything: NO_VALUE,
    put_and_lease: b"put",
    delete_and_lease: NO_VALUE,
}


@pytest.fixture(params=["nothing", "an old value", "a failure", "an old lease"])
def before(request: pytest.FixtureRequest, one: GenericMemcachedBackend) -> str:
    """Have the key be in each state in which a lease of it can be had."""
    state: str = request.param
    if state in {"an old value", "an old lease"}:
        one.set("key", b"old")
    if state == "a failure":
        one.release(one.lease("key", 60), b"failed")
    if state == "an old lease":
        one.lease("key", 60)
        one.set("key", b"older")
    return state


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("number", range(3))
def test_a_write_at_any_step_of_a_commit_wins(
    one: GenericMemcachedBackend,
    other: GenericMemcachedBackend,
    before: str,
    write: Callable[[GenericMemcachedBackend], None],
    number: int,
) -> None:
    lease = one.lease("key", 60)
    assert lease.granted
    if number == 2:
        # Its id is another one than the holder remembers.
        one.renew(lease, 60)
    happened: list[bool] = []

    def happen() -> None:
        write(other)
        happened.append(True)

    client = one._pool.take_idle()
    stepping = Stepping(client, number, happen)
    [is_stored] = leases.commit(stepping, [(lease, b"created")], 0)
    one._pool.give(client)
    if not happened:
        happen()
        is_stored = False

    assert not is_stored
    assert one.get("key") == WRITES[write]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("number", range(4))
def test_a_write_at_any_step_of_asking_leaves_one_holder_at_most(
    one: GenericMemcachedBackend,
    other: GenericMemcachedBackend,
    before: str,
    write: Callable[[GenericMemcachedBackend], None],
    number: int,
) -> None:
    client = one._pool.take_idle() or one._pool.take_new(one._create_client)
    stepping = Stepping(client, number, lambda: write(other))
    terms = leases.Terms(leases.new_token(), 60)
    [lease] = leases.ask(stepping, ["key"], terms)
    one._pool.give(client)
    is_read = one.get("key")

    is_stored = lease.granted and one.commit(lease, b"created")

    assert one.get("key") == (b"created" if is_stored else is_read)
    if not is_stored and not one.is_leased("key"):
        assert other.lease("key", 60).granted


@pytest.mark.parametrize("number", range(4))
def test_of_two_who_ask_at_once_one_is_the_holder(
    one: GenericMemcachedBackend,
    other: GenericMemcachedBackend,
    before: str,
    number: int,
) -> None:
    theirs: list[Any] = []
    client = one._pool.take_idle() or one._pool.take_new(one._create_client)
    stepping = Stepping(client, number, lambda: theirs.append(other.lease("key", 60)))
    [ours] = leases.ask(stepping, ["key"], leases.Terms(leases.new_token(), 60))
    one._pool.give(client)
    if not theirs:
        theirs.append(other.lease("key", 60))

    holders = [lease.granted for lease in (ours, *theirs)]

    assert holders.count(True) == 1
    assert ours.token == theirs[0].token or not all(holders)


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("failure", [None, b"failed"])
def test_a_release_never_ends_anothers_lease(
    one: GenericMemcachedBackend,
    other: GenericMemcachedBackend,
    before: str,
    failure: bytes | None,
    number: int,
) -> None:
    ours = one.lease("key", 60)
    theirs: list[Any] = []

    def rob() -> None:
        theirs.append(other.lease("key", 60, steal=True))

    client = one._pool.take_idle()
    leases.release(Stepping(client, number, rob), [ours], failure)
    one._pool.give(client)
    if not theirs:
        rob()

    assert theirs[0].granted
    assert other.renew(theirs[0], 60)
    assert other.commit(theirs[0], b"theirs")


@pytest.mark.parametrize("number", range(3))
def test_a_renewal_never_prolongs_what_was_voided(
    one: GenericMemcachedBackend,
    other: GenericMemcachedBackend,
    before: str,
    number: int,
) -> None:
    lease = one.lease("key", 60)
    client = one._pool.take_idle()
    stepping = Stepping(client, number, lambda: other.set("key", b"put"))

    leases.renew(stepping, lease, 60)
    one._pool.give(client)
    other.set("key", b"put")

    assert not one.renew(lease, 60)
    assert not one.commit(lease, b"late")
    assert one.get("key") == b"put"


def test_a_renewal_in_the_middle_of_a_commit_does_not_refuse_it(
    one: GenericMemcachedBackend, other: GenericMemcachedBackend, before: str
) -> None:
    lease = one.lease("key", 60)
    client = one._pool.take_idle()
    stepping = Stepping(client, 0, lambda: other.renew(lease, 60))

    are_stored = leases.commit(stepping, [(lease, b"created")], 0)
    one._pool.give(client)

    assert are_stored == [True]
    assert one.get("key") == b"created"


def test_many_leases_in_every_state_are_each_decided_rightly(
    one: GenericMemcachedBackend, other: GenericMemcachedBackend
) -> None:
    one.set_multi({"old": b"old", "held-old": b"old", "voided": b"old"})
    other.lease_multi(["held", "held-old", "voided"], 60)
    other.set("voided", b"newer")
    other.release(other.lease("failed", 60), b"why")
    keys = ["new", "old", "held", "held-old", "voided", "failed", "new"]

    granted = one.lease_multi(keys, 60)
    held = [lease for lease in granted if lease.granted]
    are_stored = one.commit_multi([(lease, b"created") for lease in granted])

    assert [lease.key for lease in held] == ["new", "old", "voided", "failed", "new"]
    assert [lease.found for lease in granted[1:5]] == [
        b"old",
        NO_VALUE,
        b"old",
        b"newer",
    ]
    assert are_stored[:6] == [True, True, False, False, True, True]
    assert one.get_multi(["new", "old", "voided", "failed"]) == [b"created"] * 4
