"""What is particular to memcached, on a real server."""

from __future__ import annotations

import contextlib
import pickle
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from memcached_kinds import KINDS, Kind, Make, closing, url_of
from proxy import Proxy
from servers import Server

from dogpile.cache.api import NO_VALUE
from dogpile.cache.backends.memcached import GenericMemcachedBackend
from dogpile.cache.exception import BackendError, BackendUnavailable, ValueTooLarge

pytestmark = pytest.mark.server

KEYS = [f"key{number}" for number in range(100)]
A_DAY = 24 * 60 * 60


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


def writes_to(server: Server) -> list[str]:
    """Return how often a server was told to store or to delete something."""
    lines = server.ask("stats").splitlines()
    return [x for x in lines if " cmd_set " in x or " delete_" in x]


# What is stored


def test_bytes_are_stored_as_they_are(
    backend: GenericMemcachedBackend, server: Server
) -> None:
    backend.set("key", b"payload")
    backend.set_multi({"many": b"payload"})
    backend.commit(backend.lease("created", 5), b"payload")

    for key in ("key", "many", "created"):
        assert server.ask(f"get {key}") == f"VALUE {key} 0 7\r\npayload\r\nEND\r\n"


def test_clients_read_what_other_clients_wrote(server: Server) -> None:
    backends = {}
    for name, kind in KINDS.items():
        kind.require()
        backends[name] = kind.backend({"url": url_of(server)})

    for name, backend in backends.items():
        backend.set(name, name.encode())

    for backend in backends.values():
        assert backend.get_multi(list(backends)) == [n.encode() for n in backends]
        backend.close()


class Planted:
    """Says so when it is unpickled."""

    unpickled: list[str] = []  # noqa: RUF012 - the class is what is looked at

    def __reduce__(self) -> Any:
        return self.unpickled.append, ("here",)


@pytest.mark.parametrize("flags", [1, 2, 4, 8, 9, 16, 17, 255, 65535])
def test_what_was_planted_is_bytes_or_a_miss_and_never_unpickled(
    backend: GenericMemcachedBackend, server: Server, flags: int
) -> None:
    planted = pickle.dumps(Planted())
    if flags & 8:
        planted = zlib.compress(planted)
    client = KINDS["pymemcache"].backend({"url": url_of(server)})
    client.client.set("key", planted, flags=flags)
    client.close()
    Planted.unpickled.clear()

    found = [backend.get("key"), *backend.get_multi(["key"])]
    found.append(backend.lease("key", 5).found)

    assert Planted.unpickled == []
    assert {type(value) for value in found} <= {bytes, type(NO_VALUE)}


def test_a_deflated_bomb_stops_at_the_limit(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dogpile.cache.backends import memcached_text

    [make] = closing(KINDS["memcached"])
    backend = make(url_of(server), min_compress_len=100)
    backend.set("small", b"x" * 1000)
    backend.set("large", b"x" * 100_000)
    monkeypatch.setattr(memcached_text, "MAX_EXPANDED_BYTES", 50_000)

    found = backend.get_multi(["small", "large"])

    assert found[0] == b"x" * 1000
    assert isinstance(found[1], bytes)
    assert len(found[1]) < 1000
    backend.close()


@pytest.mark.parametrize("client", ["pylibmc", "memcached"])
def test_what_is_deflated_is_deflated_by_each_way(client: str, server: Server) -> None:
    [make] = closing(KINDS[client])
    backend = make(url_of(server), min_compress_len=100)
    value = b"x" * 10_000

    backend.set("key", value)
    backend.set_multi({"many": value, "short": b"x"})
    backend.commit(backend.lease("created", 5), value)

    for key in ("key", "many", "created"):
        assert server.ask(f"get {key}").startswith(f"VALUE {key} 8 ")
    assert server.ask("get short").startswith("VALUE short 0 ")
    assert backend.get_multi(["key", "many", "created"]) == [value] * 3
    assert backend.get("created") == value
    backend.close()


@pytest.mark.parametrize("size", [1_000_000, 1_048_000])
def test_what_just_fits_is_stored(backend: GenericMemcachedBackend, size: int) -> None:
    backend.set("key", b"x" * size)

    assert backend.get("key") == b"x" * size


def test_what_is_too_large_is_said_to_be(backend: GenericMemcachedBackend) -> None:
    large = b"x" * 2_000_000
    lease = backend.lease("created", 5)

    for operation in (
        lambda: backend.set("secret:42", large),
        lambda: backend.set_multi({"large": large, "small": b"1"}),
        lambda: backend.commit(lease, large),
    ):
        with pytest.raises(ValueTooLarge, match="-I"):
            operation()

    assert backend.get_multi(["large", "small", "created"]) == [
        NO_VALUE,
        b"1",
        NO_VALUE,
    ]
    # The server may have dropped the mark together with the value.
    backend.release(lease)
    assert backend.commit(backend.lease("created", 5), b"small")


@pytest.mark.parametrize(
    "key", ["two words", "line\r\nbreak", "\0", "é", "x" * 251, ""]
)
def test_an_illegal_key_reaches_no_server(
    backend: GenericMemcachedBackend, server: Server, key: str
) -> None:
    before = writes_to(server)
    for operation in (
        lambda: backend.set(key, b"1"),
        lambda: backend.set_multi({"legal": b"1", key: b"1"}),
        lambda: backend.delete(key),
        lambda: backend.delete_multi(["legal", key]),
        lambda: backend.lease(key, 5),
        lambda: backend.is_leased(key),
    ):
        with pytest.raises(BackendError, match="printable ASCII") as caught:
            operation()
        assert not isinstance(caught.value, BackendUnavailable)
    with contextlib.suppress(BackendError):
        assert backend.get(key) is NO_VALUE

    assert writes_to(server) == before


@pytest.mark.parametrize("key", ["two words", "é", "x" * 251, "~l:key", b"bytes", 42])
def test_mangled_keys_are_keys(backend: GenericMemcachedBackend, key: object) -> None:
    mangled = backend.key_mangler(key)

    backend.set(mangled, b"1")

    assert backend.lease(mangled, 5).granted
    assert backend.get(mangled) == b"1"


# Times


def seconds_left(server: Server, key: str) -> int:
    """Return when a key expires: -1 for never."""
    return int(server.ask(f"mg {key} t").split()[1].removeprefix("t"))


@pytest.mark.parametrize(
    ("limit", "ttl", "expected"),
    [
        (None, None, -1),
        (0, None, -1),
        (60, None, 60),
        (None, 60, 61),
        (0, 60, 61),
        (60, 5, 6),
        (5, 60, 6),
        (40 * A_DAY, None, 40 * A_DAY + 1),
        (None, 40 * A_DAY, 40 * A_DAY + 1),
        (30 * A_DAY, None, 30 * A_DAY),
        (None, 30 * A_DAY, 30 * A_DAY + 1),
        (None, 100 * 365 * A_DAY, -1),
        (None, 0.01, 2),
    ],
)
def test_a_value_is_dropped_by_the_shorter_time(
    make: Make, server: Server, limit: int | None, ttl: float | None, expected: int
) -> None:
    backend = make(url_of(server), memcached_expire_time=limit)

    backend.set_serialized("put", b"1", ttl=ttl)
    backend.set_serialized_multi({"many": b"1"}, ttl=ttl)
    backend.commit(backend.lease("created", 5), b"1", ttl=ttl)
    backend.commit_multi([(backend.lease("batch", 5), b"1")], ttl=ttl)

    for key in ("put", "many", "created", "batch"):
        left = seconds_left(server, key)
        # An absolute time is one by our clock, and the server's is a coarse one.
        slack = 3 if expected > 30 * A_DAY else 0
        low, high = (-1, -1) if expected < 0 else (expected - 2, expected)
        assert low - slack <= left <= high + slack


def test_what_nobody_wants_any_more_is_not_kept_for_ever(
    backend: GenericMemcachedBackend, server: Server
) -> None:
    for ttl in (0, -5):
        backend.set_serialized("key", b"1", ttl=ttl)

        answer = server.ask("mg key t")
        assert answer.startswith("EN") or seconds_left(server, "key") in (0, 1)


# Round trips


OPERATIONS: dict[str, tuple[int, Callable[[GenericMemcachedBackend], object]]] = {
    "get": (1, lambda backend: backend.get_serialized("key0")),
    "get_multi": (1, lambda backend: backend.get_serialized_multi(KEYS)),
    "put": (1, lambda backend: backend.set_serialized("new", b"1")),
    "put_multi": (
        1,
        lambda backend: backend.set_serialized_multi(dict.fromkeys(KEYS, b"1")),
    ),
    "delete": (1, lambda backend: backend.delete("key0")),
    "delete_multi": (1, lambda backend: backend.delete_multi(KEYS)),
    "lease": (1, lambda backend: backend.lease("new", 5)),
    "lease_multi": (1, lambda backend: backend.lease_multi(["new", "newer"], 5)),
    "is_leased": (1, lambda backend: backend.is_leased("key0")),
    "lease of an old value": (2, lambda backend: backend.lease("key0", 5)),
    "lease of old values": (2, lambda backend: backend.lease_multi(KEYS, 5)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_has_its_round_trips(
    make: Make, kind: Kind, server: Server, name: str
) -> None:
    expected, operation = OPERATIONS[name]
    if kind.module == "bmemcached" and "old" in name:
        # In the binary protocol it adds first, and then reads what was there.
        expected += 1
    with Proxy(server.port) as proxy:
        backend = make(url_of(proxy))
        backend.set_multi(dict.fromkeys(KEYS, b"old"))
        backend.get("key0")
        before = proxy.round_trips

        operation(backend)

        assert proxy.round_trips - before == expected
        backend.close()


def test_a_hundred_missing_values_are_created_in_three_round_trips(
    make: Make, server: Server
) -> None:
    with Proxy(server.port) as proxy:
        backend = make(url_of(proxy))
        backend.set_multi({"warm": b"1"})
        backend.get("warm")
        before = proxy.round_trips

        found = backend.get_serialized_multi(KEYS)
        leases = backend.lease_multi(KEYS, 5)
        are_stored = backend.commit_multi([(lease, b"created") for lease in leases])

        assert found == [NO_VALUE] * 100
        assert are_stored == [True] * 100
        assert proxy.round_trips - before == 3
        assert backend.get_multi(KEYS) == [b"created"] * 100
        backend.close()


def test_thousands_of_keys_are_one_batch(backend: GenericMemcachedBackend) -> None:
    keys = [f"{'k' * 200}{number}" for number in range(3000)]

    leases = backend.lease_multi(keys, 60)
    are_stored = backend.commit_multi([(lease, b"x" * 500) for lease in leases])
    again = backend.lease_multi(keys, 60)

    assert all(are_stored)
    assert [lease.found for lease in again] == [b"x" * 500] * 3000


def test_no_keys_are_no_round_trip(make: Make) -> None:
    backend = make("127.0.0.1:1")

    assert backend.get_serialized_multi([]) == []
    backend.set_serialized_multi({})
    backend.delete_multi([])
    assert backend.lease_multi([], 5) == []
    assert backend.commit_multi([]) == []
    backend.release_multi([])
