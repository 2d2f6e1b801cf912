"""What the memcached backends make of their arguments; no server is asked."""

from __future__ import annotations

import datetime
import importlib
import ssl
import subprocess
import sys
import warnings
from typing import Any

import pytest
from memcached_kinds import KINDS, Kind

from dogpile.cache.api import NO_VALUE
from dogpile.cache.backends import memcached
from dogpile.cache.backends.memcached import (
    BMemcachedBackend,
    GenericMemcachedBackend,
    MemcachedBackend,
    PylibmcBackend,
    PyMemcacheBackend,
)
from dogpile.cache.backends.memcached_settings import LONGEST_KEY, expiry, mangle_key
from dogpile.cache.exception import BackendError, ConfigurationError, ValidationError


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind = KINDS[request.param]
    kind.require()
    return kind


def needs(name: str) -> type[GenericMemcachedBackend]:
    """Return the backend of a client; skip if that is not installed."""
    KINDS[name].require()
    return KINDS[name].backend


# Keys and times


def test_a_plain_key_stays_as_it_is() -> None:
    assert mangle_key("module:function|namespace|1") == "module:function|namespace|1"
    assert mangle_key("k" * LONGEST_KEY) == "k" * LONGEST_KEY


@pytest.mark.parametrize(
    "key",
    [
        *(
            "",
            " ",
            "two words",
            "line\nbreak",
            "\0",
            "é",
            "\udc80",
            "k" * 248,
            "~plain",
        ),
        *("~l:key", b"key", 1, 1.0, None, ("a", "b")),
    ],
)
def test_every_other_key_is_hashed_and_stays_readable(key: Any) -> None:
    mangled = mangle_key(key)

    assert mangled.startswith("~")
    assert mangled.isascii()
    assert mangled.isprintable()
    assert " " not in mangled
    assert len(mangled) <= LONGEST_KEY
    assert not mangled.startswith(("~l:", "~m:"))


def test_no_two_keys_become_one() -> None:
    keys = ["a b", "a_b", "a\tb", b"a b", "1", 1, 1.0, True, "None", None, "é", "_", ""]
    keys += [mangle_key(key) for key in keys]
    keys += ["long" * 100 + str(number) for number in range(10)]

    mangled = [mangle_key(key) for key in keys]

    # Those that are plain already are named twice.
    assert len(set(mangled)) == len(set(map(repr, keys)))


def test_the_readable_part_is_what_a_person_looks_for() -> None:
    assert mangle_key("user 42/profile").endswith(":user_42/profile")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, 1),
        (-3, 1),
        (0.01, 2),
        (1, 2),
        (1.5, 3),
        (2_591_999, 2_592_000),
        (2_592_000, 1_002_592_001),
        (4_000_000_000, 0),
        (float("inf"), 0),
    ],
)
def test_times_are_told_as_memcached_counts_them(seconds: float, expected: int) -> None:
    assert expiry(seconds, lambda: 1_000_000_000.5) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [(20, 20), ("20", 20), (datetime.timedelta(minutes=1), 60), (0, 0)],
)
def test_an_expire_time_is_a_number_of_seconds(
    kind: Kind, given: Any, expected: int
) -> None:
    backend = kind.backend({"url": "a", "memcached_expire_time": given})

    assert backend.set_arguments == {kind.time: expected}


# What is refused


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "url= is needed"),
        ({"url": ""}, "at least one server"),
        ({"url": []}, "at least one server"),
        ({"url": None}, "at least one server"),
        ({"url": 11211}, "at least one server"),
        ({"url": [None]}, "at least one server"),
        ({"url": "a", "memcached_expire_time": -1}, "from 0 on"),
        ({"url": "a", "memcached_expire_time": "soon"}, "whole number"),
        ({"url": "a", "socket_timeout": 0}, "above 0"),
        ({"url": "a", "socket_timeout": "quick"}, "above 0"),
        ({"url": "a", "socket_connect_timeout": -1}, "above 0"),
        ({"url": "a", "max_clients": "many"}, "whole number"),
        ({"url": "a", "max_clients": 0}, "at least 1"),
        ({"url": "a", "distributed_lock": "perhaps"}, "True or False"),
        ({"url": "a", "lock_timeout": "long"}, "above 0"),
    ],
)
def test_what_is_no_use_is_refused(
    kind: Kind, arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValidationError, match=told):
        kind.backend(arguments)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("host:port", r"^url= has a port that is none, of the host 'host': .* 65535"),
        ("host:0", r"^url= has the port '0'"),
        ("host:70000", r"^url= has the port '70000', in 'host:70000'"),
        ([("host", 70000)], r"^url= has the port '70000'"),
        ("http://host/x", r"^url= takes a server without a scheme.*'http://host/x'"),
        ("redis://host:1", r"^url= takes a server without a scheme"),
        ("memcached://scott:tiger@host", r"^url= takes a server without a scheme"),
        (":11211", r"^url= must name a (host|server)"),
        ("two words", r"^url= must name a (host|server).*'two words'"),
    ],
)
@pytest.mark.parametrize("client", ["pylibmc", "pymemcache", "bmemcached", "memcached"])
def test_a_server_that_cannot_be_read_is_refused(
    client: str, url: Any, told: str
) -> None:
    with pytest.raises(ValidationError, match=told) as caught:
        needs(client)({"url": url})

    assert "tiger" not in str(caught.value)


@pytest.mark.parametrize("url", ["a:1:2", "/a/socket", "unix:/a/socket", "[::1]:5"])
def test_pylibmc_takes_servers_in_its_own_way(url: str) -> None:
    needs("pylibmc")({"url": url})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"url": "host:port"}, "url="),
        ({"behaviors": 5}, "behaviors= must be a dictionary"),
        ({"behaviors": {"ketamaa": True}}, "ketamaa"),
        ({"behaviors": {"hash": "none of them"}}, "behaviors="),
        ({"behaviors": {"connect_timeout": "soon"}}, "behaviors="),
        ({"username": "scott", "password": "tiger", "binary": False}, "binary"),
        ({"username": "scott"}, "go together"),
        ({"tls_context": ssl.create_default_context()}, "no TLS"),
        ({"min_compress_len": "few"}, "whole number"),
    ],
)
def test_what_pylibmc_does_not_take_is_refused_at_once(
    arguments: dict[str, Any], told: str
) -> None:
    backend = needs("pylibmc")

    with pytest.raises(ValidationError, match=told) as caught:
        backend({"url": "a", **arguments})

    assert "tiger" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"retry_attempts": "often"}, "retry_attempts= must be a whole number"),
        ({"retry_delay": "short"}, "retry_delay= must be a number of seconds"),
        ({"retry_delay": -1}, "retry_delay= must be a number of seconds"),
    ],
)
def test_what_pymemcache_does_not_take_is_refused_at_once(
    arguments: dict[str, Any], told: str
) -> None:
    backend = needs("pymemcache")

    with pytest.raises(ValidationError, match=told):
        backend({"url": "a", "enable_retry_client": True, **arguments})


@pytest.mark.parametrize("client", ["pymemcache", "memcached"])
def test_a_client_that_cannot_log_in_says_who_can(client: str) -> None:
    with pytest.raises(ValidationError, match="bmemcached"):
        needs(client)({"url": "a", "username": "scott", "password": "tiger"})


@pytest.mark.parametrize("client", ["pymemcache", "bmemcached", "memcached"])
def test_a_tls_context_that_is_none_is_refused(client: str) -> None:
    with pytest.raises(ValidationError, match=r"ssl\.SSLContext"):
        needs(client)({"url": "a", "tls_context": True})


def test_a_missing_client_is_said_to_be(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", missing)

    with pytest.raises(ConfigurationError, match=r"pip install 'dogpile\.cache\["):
        kind.backend({"url": "a"})


def test_no_client_is_imported_before_it_is_asked_for() -> None:
    script = (
        "import sys, dogpile.cache.backends.memcached as m\n"
        "clients = {'pylibmc', 'pymemcache', 'bmemcached', 'memcache'}\n"
        "assert not clients & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_argument_is_known_by_its_name(kind: Kind) -> None:
    names = kind.backend.argument_names

    assert {"url", "distributed_lock", "lock_timeout", "memcached_expire_time"} <= names
    assert names >= GenericMemcachedBackend.argument_names


def test_arguments_are_left_as_they_are(kind: Kind) -> None:
    arguments = {"url": ["a", "b"], "memcached_expire_time": 5, "other": object()}
    before = dict(arguments)

    kind.backend(arguments)

    assert arguments == before


# What the clients are made of


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("127.0.0.1, 10.0.0.1", ["127.0.0.1", "10.0.0.1"]),
        (["a", "b", "c"], ["a", "b", "c"]),
        (("a", 11211), ["a:11211"]),
        ([("a", 11211), "b"], ["a:11211", "b"]),
    ],
)
def test_servers_are_given_in_many_ways(
    kind: Kind, url: Any, expected: list[str]
) -> None:
    assert kind.backend({"url": url}).url == expected


@pytest.mark.parametrize(
    "url", ["127.0.0.1", "localhost:11211", "[::1]:11211", "/tmp/socket", "unix:/tmp/s"]
)
def test_clients_are_made_without_a_server(kind: Kind, url: str) -> None:
    for servers in (url, [url, "127.0.0.1:1"]):
        if kind.backend is PylibmcBackend and "/" in url and servers != url:
            continue  # libmemcached takes sockets of one kind only
        assert kind.backend({"url": servers})._create_client() is not None


def test_pylibmc_has_time_outs_unless_it_is_told_otherwise() -> None:
    backend = needs("pylibmc")
    plain = backend({"url": "a"})._create_client().behaviors
    other = PylibmcBackend(
        {"url": "a", "socket_timeout": 0.5, "behaviors": {"connect_timeout": 70}}
    )

    assert plain["cas"] == plain["tcp_nodelay"] == plain["verify_keys"] == 1
    assert plain["connect_timeout"] == plain["_poll_timeout"] == 2000
    assert other._create_client().behaviors["connect_timeout"] == 70
    assert other._create_client().behaviors["_poll_timeout"] == 500
    assert other.behaviors == {"connect_timeout": 70}


def test_pylibmc_has_room_for_large_answers_unless_it_is_told_otherwise() -> None:
    backend = needs("pylibmc")
    plain = backend({"url": "a"})._create_client().behaviors
    other = PylibmcBackend({"url": "a", "behaviors": {"_socket_recv_size": 70000}})

    assert plain["_socket_recv_size"] == 1024 * 1024
    assert other._create_client().behaviors["_socket_recv_size"] == 70000


def test_pylibmc_takes_a_namespace_as_text() -> None:
    backend = needs("pylibmc")({"url": "a", "behaviors": {"namespace": "shop:"}})

    assert backend._create_client().hash("key") == 0
    assert backend.behaviors == {"namespace": "shop:"}


def test_pylibmc_takes_the_behaviours_of_the_first_example() -> None:
    backend = needs("pylibmc")(
        {
            "url": ["127.0.0.1"],
            "binary": True,
            "behaviors": {"tcp_nodelay": True, "ketama": True},
        }
    )

    client = backend._create_client()

    assert client.binary is True
    assert client.behaviors["ketama"] == 1


def test_pymemcache_takes_what_it_took() -> None:
    needs("pymemcache")
    serde = object()
    backend = PyMemcacheBackend(
        {
            "url": ["a", "b"],
            "serde": serde,
            "default_noreply": True,
            "hashclient_retry_attempts": 4,
            "hashclient_retry_timeout": 5,
            "hashclient_dead_timeout": 6,
        }
    )

    client = backend._create_client()

    assert client.retry_attempts == 4
    assert client.retry_timeout == 5
    assert client.dead_timeout == 6
    assert client.default_kwargs["serde"] is serde
    assert client.default_kwargs["default_noreply"] is True
    assert client.default_kwargs["timeout"] == 2
    assert client.default_kwargs["connect_timeout"] == 2


def test_pymemcache_tries_again_where_it_is_asked_to() -> None:
    needs("pymemcache")
    retrying = importlib.import_module("pymemcache.client.retrying")
    arguments = {"url": "a", "enable_retry_client": True, "retry_attempts": 3}
    client = PyMemcacheBackend(arguments)._create_client()

    assert isinstance(client, retrying.RetryingClient)
    assert client._attempts == 3


def test_retry_arguments_without_the_retrying_client_are_warned_of() -> None:
    needs("pymemcache")

    with pytest.warns(UserWarning, match="retry options will be ignored"):
        PyMemcacheBackend({"url": "a", "retry_attempts": 2})


def test_a_password_is_never_shown() -> None:
    backend = needs("bmemcached")(
        {"url": "127.0.0.1:1", "username": "scott", "password": "secret-1234"}
    )

    with pytest.raises(BackendError) as caught:
        backend.get("key")

    for shown in (backend, backend.client, caught.value, *backend._pool._clients):
        assert "secret-1234" not in f"{shown!s} {shown!r}"


# What programs written for 1.x derive from


class Client:
    """A client as 1.x programs bring it: it has these methods, and no others."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.args = args
        self.options = options
        self.calls: list[dict[str, Any]] = []
        self.stored: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.stored.get(key)

    def get_multi(self, keys: Any) -> dict[str, Any]:
        return {key: self.stored[key] for key in keys if key in self.stored}

    def set(self, key: str, value: Any, **options: Any) -> None:
        self.calls.append(options)
        self.stored[key] = value

    def set_multi(self, mapping: dict[str, Any], **options: Any) -> list[str]:
        self.calls.append(options)
        self.stored.update(mapping)
        return []

    def delete(self, key: str) -> None:
        self.stored.pop(key, None)

    def delete_multi(self, keys: Any) -> None:
        for key in keys:
            self.delete(key)


class WithClients(GenericMemcachedBackend):
    def _create_client(self) -> Any:
        return Client(self.url)


class WithPylibmc(PylibmcBackend):
    def _imports(self) -> None:
        pass

    def _create_client(self) -> Any:
        return Client(self.url, binary=self.binary, behaviors=self.behaviors)


class WithOneClient(MemcachedBackend):
    def __init__(self, arguments: Any) -> None:
        super().__init__(arguments)
        self.one = Client(self.url)

    def _imports(self) -> None:
        pass

    @property
    def client(self) -> Any:
        return self.one


@pytest.mark.parametrize("backend", [WithClients, WithPylibmc, WithOneClient])
def test_a_client_of_ones_own_is_asked_as_1_x_asked_it(
    backend: type[GenericMemcachedBackend],
) -> None:
    made = backend({"url": "a"})

    made.set("one", b"1")
    made.set_multi({"two": b"2", "three": b"3"})
    made.delete("two")
    made.delete_multi(["three"])

    assert made.get("one") == b"1"
    assert made.get_multi(["one", "two", "three"]) == [b"1", NO_VALUE, NO_VALUE]
    assert not made.capabilities.leases
    assert not made.capabilities.ttl
    assert made.capabilities.network


def test_a_client_of_ones_own_gets_the_arguments_of_set() -> None:
    expiring = WithPylibmc({"url": "a", "memcached_expire_time": 20})
    deflating = WithPylibmc({"url": "a", "min_compress_len": 20})
    plain = WithPylibmc({"url": "a", "binary": True, "behaviors": {"q": "p"}})
    for backend in (expiring, deflating, plain):
        backend.set("key", b"1")

    assert expiring._clients.memcached.calls == [{"time": 20}]
    assert deflating._clients.memcached.calls == [{"min_compress_len": 20}]
    assert plain._clients.memcached.calls == [{}]
    assert plain._clients.memcached.options == {"binary": True, "behaviors": {"q": "p"}}


def test_a_time_that_is_set_later_is_heeded() -> None:
    backend = WithPylibmc({"url": "a"})
    backend.set_arguments["time"] = 7

    backend.set("key", b"1")

    assert backend._clients.memcached.calls == [{"time": 7}]


def test_a_client_that_fails_raises_an_error_of_ours() -> None:
    backend = WithOneClient({"url": "a"})

    def fail(key: str) -> None:
        raise ConnectionRefusedError(111, "refused")

    backend.one.get = fail  # type: ignore[method-assign]  # that is the point

    with pytest.raises(BackendError, match=r"dogpile\.cache\.memcached failed at get"):
        backend.get("key")


def test_what_only_another_client_understands_is_a_miss() -> None:
    backend = WithOneClient({"url": "a"})
    backend.one.stored.update(text="text", number=1, pair=("payload", {}))

    assert [backend.get(key) for key in backend.one.stored] == [NO_VALUE] * 3


def test_a_derived_class_keeps_the_leases_of_a_client_of_ours() -> None:
    class Derived(needs("pymemcache")):  # type: ignore[misc]  # chosen by name
        pass

    assert Derived({"url": "a"}).capabilities.leases


def test_the_names_of_1_x_are_there() -> None:
    pytest.importorskip("bmemcached")
    pytest.importorskip("memcache")
    module = importlib.import_module("dogpile.cache.backends.memcached")

    for name in memcached.__all__:
        assert getattr(module, name).__name__ == name
    assert BMemcachedBackend({"url": "a"}).username is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MemcachedBackend({"url": "a", "dead_retry": 4, "socket_timeout": 6})


def test_pylibmc_is_configured_without_it_where_its_import_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PylibmcBackend, "_imports", lambda self: None)
    monkeypatch.setitem(sys.modules, "pylibmc", None)
    arguments = {"url": "http://a:1", "memcached_expire_time": 6, "behaviors": {"b": 1}}

    backend = PylibmcBackend(arguments)

    assert backend.set_arguments["time"] == 6
    assert backend.behaviors == {"b": 1}


@pytest.mark.parametrize("name", ["memcached", "pymemcache", "pylibmc"])
def test_who_brings_a_client_brings_its_login_and_its_tls(name: str) -> None:
    class Theirs(needs(name)):  # type: ignore[misc]  # a base that is chosen
        client = {"key": b"value"}  # noqa: RUF012 - it has get()

    login = {"username": "scott", "password": "tiger"}
    context = ssl.create_default_context()

    backend = Theirs({"url": "a", **login, "tls_context": context})

    assert backend.get("key") == b"value"


@pytest.mark.parametrize("url", ["user:hunter2", ["a:1", "h:hunter2"], "user:123456"])
def test_what_may_be_a_password_is_not_shown(kind: Kind, url: Any) -> None:
    kind.require()

    with pytest.raises(ValidationError) as caught:
        kind.backend({"url": url})

    assert "hunter2" not in str(caught.value)
    assert "123456" not in str(caught.value)
    assert "a whole number from 1 to 65535" in str(caught.value)


def test_a_lock_that_never_ends_is_one_of_1x(kind: Kind) -> None:
    kind.require()

    assert kind.backend({"url": "h", "lock_timeout": 0}).lock_timeout == 0
