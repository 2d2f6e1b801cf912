"""pylibmc unpickles by itself only for regions whose values are unsigned pickles."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from memcached_kinds import KINDS, url_of
from servers import Server, wait_until

from dogpile.cache import NO_VALUE, CacheRegion, ProxyBackend, make_region
from dogpile.cache.backends.memcached import PylibmcBackend
from dogpile.cache.testing.concurrency import in_child

pytestmark = pytest.mark.server


class Raising:
    """Raises an error when it is unpickled."""

    def __init__(self, kind: type[Exception]) -> None:
        self.kind = kind

    def __reduce__(self) -> Any:
        return raise_one, (self.kind,)


def raise_one(kind: type[Exception]) -> None:
    raise kind("a pickle")


KEY = b"0123456789abcdef"
# Types of values as pylibmc flags them: pickle, two kinds of numbers, text.
PICKLE, INTEGER, LONG, TEXT = 1, 2, 4, 16
ODD = {
    "garbage": (PICKLE, b"garbage"),
    "a class that is gone": (PICKLE, b"cno_such_module\nGone\n."),
    "a pickle": (PICKLE, pickle.dumps({"other": "program"})),
    "no number": (INTEGER, b"x"),
    "a number": (LONG, b"12"),
    "no text": (TEXT, b"\xff\xfe"),
    "a text": (TEXT, b"text"),
    "an error of the system": (PICKLE, b"cbuiltins\nopen\n(V/no/such/file\ntR."),
    "a time-out": (PICKLE, pickle.dumps(Raising(TimeoutError))),
    "flags that it does not know": (3, b"bytes"),
    "other such flags": (17, b"bytes"),
    "no zlib": (8, b"bytes"),
    "nothing": (0, b""),
    "bytes": (0, b"bytes"),
}


class Planted:
    """Says so when it is unpickled."""

    unpickled: list[str] = []  # noqa: RUF012 - the class is what is looked at

    def __reduce__(self) -> Any:
        return self.unpickled.append, ("here",)


Make = Callable[..., CacheRegion]


@pytest.fixture
def server(memcached_server: Server) -> Server:
    memcached_server.ask("flush_all")
    return memcached_server


@pytest.fixture
def make(server: Server) -> Iterator[Make]:
    KINDS["pylibmc"].require()
    made: list[CacheRegion] = []

    def make(**settings: Any) -> CacheRegion:
        region = make_region().configure(
            "dogpile.cache.pylibmc", arguments={"url": url_of(server)}, **settings
        )
        made.append(region)
        return region

    yield make
    for region in made:
        region.close()


def plant(server: Server, key: str, flags: int, value: bytes) -> None:
    """Store what no region wrote."""
    client = KINDS["pymemcache"].backend({"url": url_of(server)})
    client.client.set(key, value, flags=flags)
    client.close()


def backend_of(region: CacheRegion) -> Any:
    backend = region.actual_backend
    assert isinstance(backend, PylibmcBackend)
    return backend


@pytest.mark.parametrize("odd", ODD)
def test_what_others_put_there_is_a_miss_and_is_replaced(
    make: Make, server: Server, odd: str
) -> None:
    region = make(expiration_time=60)
    region.put("good", "value")
    for key in ("one", "many"):
        plant(server, key, *ODD[odd])
    for _ in range(3):
        region.get("good")  # from here on the short ways are taken

    assert region.get("one") is NO_VALUE
    assert region.get_multi(["good", "one"]) == ["value", NO_VALUE]
    assert region.get_or_create("one", lambda: "new") == "new"
    made = region.get_or_create_multi(["good", "many"], lambda *keys: ["made"])

    assert made == ["value", "made"]
    assert region.get_multi(["one", "many", "good"]) == ["new", "made", "value"]


@pytest.mark.parametrize("odd", ODD)
def test_what_others_put_in_place_of_a_record_stops_nobody(
    make: Make, server: Server, odd: str
) -> None:
    region = make(expiration_time=60, generation_ttl=0)
    region.put("key", "old")
    plant(server, region.storage.record, *ODD[odd])

    made = [region.get_or_create("key", lambda: "new") for _ in range(3)]

    assert made == ["new"] * 3
    assert region.get("key") == "new"


class Reading(ProxyBackend):
    """Looks at the bytes before they become a value."""

    def get_serialized(self, key: Any) -> Any:
        return self.proxied.get_serialized(key)


def test_nothing_is_unpickled_before_a_proxy_has_seen_it(
    make: Make, server: Server
) -> None:
    wrapped = make(expiration_time=60, wrap=[Reading])
    later = make(expiration_time=60)
    later.wrap(Reading)
    plant(server, "key", PICKLE, pickle.dumps(Planted()))
    Planted.unpickled.clear()

    for region in (wrapped, later):
        assert region.get("key") is NO_VALUE
        assert region.get_multi(["key", "other"]) == [NO_VALUE, NO_VALUE]

    assert Planted.unpickled == []


def test_a_region_that_signs_reads_the_backend_of_another_with_care(
    make: Make, server: Server
) -> None:
    other, signed = make(expiration_time=60), make(expiration_time=60, signing_key=KEY)
    plant(server, "key", PICKLE, pickle.dumps(Planted()))
    Planted.unpickled.clear()

    # What it had before is closed by nobody else.
    signed.actual_backend.close()
    signed.backend = other.backend

    for _ in range(3):
        assert signed.get("key") is NO_VALUE
        assert signed.get_multi(["key"]) == [NO_VALUE]
    assert Planted.unpickled == []


@pytest.mark.parametrize(
    "settings",
    [
        {"signing_key": KEY},
        {"encryption_key": KEY},
        {"serializer": "json"},
        {"serializer": pickle.dumps, "deserializer": lambda raw: None},
    ],
    ids=["signed", "encrypted", "json", "their own"],
)
def test_nothing_is_unpickled_where_values_are_no_plain_pickles(
    make: Make, server: Server, settings: dict[str, Any]
) -> None:
    trusting = make(expiration_time=60)
    careful = make(expiration_time=60, **settings)
    plant(server, "key", PICKLE, pickle.dumps(Planted()))
    trusting.put("other", 1)
    Planted.unpickled.clear()

    for _ in range(3):
        assert careful.get("key") is NO_VALUE
        assert careful.get_multi(["key", "other"])[0] is NO_VALUE
    assert careful.get_or_create("key", lambda: 2) == 2

    assert Planted.unpickled == []


def test_clients_are_shared_among_their_like_alone(make: Make) -> None:
    trusting = [make(), make()]
    careful = [make(signing_key=KEY), make(serializer="json")]

    pools = [backend_of(region)._pool for region in (*trusting, *careful)]

    assert pools[0] is pools[1]
    assert pools[2] is pools[3]
    assert pools[0] is not pools[2]


def test_both_clients_end_with_the_region(make: Make, server: Server) -> None:
    region = make(expiration_time=60)
    plant(server, "key", *ODD["garbage"])
    assert region.get("key") is NO_VALUE
    client = backend_of(region)._pool.idle[-1]
    assert client._careful is not None

    region.close()

    wait_until(lambda: connections_to(server) == 0, "the end of the connections")


def test_the_child_of_a_fork_leaves_both_to_its_parent(
    make: Make, server: Server
) -> None:
    region = make(expiration_time=60)
    region.put("good", "value")
    plant(server, "key", *ODD["garbage"])
    assert region.get("key") is NO_VALUE

    def act() -> None:
        assert region.get_multi(["good", "key"]) == ["value", NO_VALUE]

    assert in_child(act) == 0
    assert region.get_multi(["good", "key"]) == ["value", NO_VALUE]


def connections_to(server: Server) -> int:
    """Return how many connections a server has, but for the one that asks."""
    lines = server.ask("stats").splitlines()
    return next(int(x.split()[2]) for x in lines if " curr_connections " in x) - 1
