"""What the Redis backends make of their arguments; no server is asked."""

from __future__ import annotations

import importlib
import socket
import subprocess
import sys
import traceback
from typing import Any
from unittest import mock

import pytest

from dogpile.cache.backends import network
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
from dogpile.cache.exception import (
    BackendError,
    BackendUnavailable,
    ConfigurationError,
    ValidationError,
    ValueTooLarge,
)

redis = pytest.importorskip("redis")
valkey = pytest.importorskip("valkey")

# No server is needed, but the client libraries, which come with the servers.
pytestmark = pytest.mark.server

SECRET = "geheim#1"
SENTINELS = {"sentinels": [["127.0.0.1", 1]]}
NODES = {"startup_nodes": ["127.0.0.1:1"]}

ALONE = pytest.mark.parametrize("kind", [RedisBackend, ValkeyBackend])
ALL = pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (RedisBackend, {"port": 1}),
        (ValkeyBackend, {"port": 1}),
        (RedisSentinelBackend, SENTINELS),
        (ValkeySentinelBackend, SENTINELS),
        (RedisClusterBackend, NODES),
        (ValkeyClusterBackend, NODES),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)


def settings_of(backend: RedisBackend) -> dict[str, Any]:
    """Return what each connection of a backend is made with."""
    settings: dict[str, Any] = backend.writer_client.connection_pool.connection_kwargs
    return settings


@pytest.fixture(autouse=True)
def _no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*args: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket.socket, "connect", connect)


@ALL
def test_nothing_is_connected_when_it_is_made(
    kind: type[RedisBackend], arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*args: object) -> None:
        pytest.fail("it connects")

    monkeypatch.setattr(socket.socket, "connect", connect)

    kind(arguments).close()


@ALL
def test_a_server_that_is_not_there_is_unavailable(
    kind: type[RedisBackend], arguments: dict[str, Any]
) -> None:
    backend = kind(arguments)

    for operation in (
        lambda: backend.get("key"),
        lambda: backend.get_multi(["key"]),
        lambda: backend.set_serialized("key", b"value"),
        lambda: backend.set_serialized_multi({"key": b"value"}),
        lambda: backend.delete("key"),
        lambda: backend.delete_multi(["key"]),
        lambda: backend.lease("key", 1),
        lambda: backend.lease_multi(["key"], 1),
        lambda: backend.is_leased("key"),
    ):
        with pytest.raises(BackendUnavailable):
            operation()


@ALONE
def test_every_connection_has_time_outs(kind: type[RedisBackend]) -> None:
    settings = settings_of(kind({}))

    assert settings["socket_timeout"] == network.READ_SECONDS == 2
    assert settings["socket_connect_timeout"] == network.CONNECT_SECONDS == 2


@pytest.mark.parametrize(
    ("kind", "url"),
    [(RedisBackend, "redis://localhost"), (ValkeyBackend, "valkey://localhost")],
)
def test_a_url_has_time_outs_and_may_set_them(
    kind: type[RedisBackend], url: str
) -> None:
    plain = settings_of(kind({"url": url}))
    timed = settings_of(kind({"url": f"{url}?socket_timeout=7"}))

    assert plain["socket_timeout"] == network.READ_SECONDS
    assert plain["socket_connect_timeout"] == network.CONNECT_SECONDS
    assert timed["socket_timeout"] == 7


@ALONE
def test_time_outs_are_as_they_are_given(kind: type[RedisBackend]) -> None:
    settings = settings_of(kind({"socket_timeout": 0.5, "socket_connect_timeout": "7"}))

    assert settings["socket_timeout"] == 0.5
    assert settings["socket_connect_timeout"] == 7


@ALONE
def test_a_time_out_can_be_switched_off(kind: type[RedisBackend]) -> None:
    settings = settings_of(kind({"connection_kwargs": {"socket_timeout": None}}))

    assert settings["socket_timeout"] is None


@pytest.mark.parametrize("kind", [RedisSentinelBackend, ValkeySentinelBackend])
def test_masters_and_sentinels_have_time_outs(kind: type[RedisBackend]) -> None:
    backend = kind({**SENTINELS, "password": SECRET, "db": 2})

    pool = backend.writer_client.connection_pool
    assert pool.connection_kwargs["socket_timeout"] == network.READ_SECONDS
    assert pool.connection_kwargs["password"] == SECRET
    assert pool.connection_kwargs["db"] == 2
    for sentinel in pool.sentinel_manager.sentinels:
        told = sentinel.connection_pool.connection_kwargs
        assert (told["socket_timeout"], told["socket_connect_timeout"]) == (1, 1)
        assert told["password"] == SECRET
        assert told["db"] == 0


@ALONE
def test_it_tries_once_more_but_not_after_a_time_out(kind: type[RedisBackend]) -> None:
    retry = settings_of(kind({}))["retry"]
    client = importlib.import_module(kind.__name__.removesuffix("Backend").lower())

    tried = {"connection": 0, "time-out": 0}

    def fail(name: str, error: Exception) -> None:
        tried[name] += 1
        raise error

    for name, error in (
        ("connection", client.ConnectionError()),
        ("time-out", client.TimeoutError()),
    ):
        with pytest.raises(type(error)):
            retry.call_with_retry(
                lambda name=name, error=error: fail(name, error), lambda error: None
            )

    assert tried == {"connection": 2, "time-out": 1}


@pytest.mark.parametrize(
    "arguments",
    [
        {"port": "six"},
        {"port": -1},
        {"port": 0},
        {"port": 70000},
        {"port": "70000"},
        {"host": ""},
        {"host": " "},
        {"host": 5},
        {"host": "localhost:6379"},
        {"host": "redis://localhost"},
        {"db": -1},
        {"connection_pool": "pool"},
        {"port": 6379.5},
        {"port": True},
        {"db": "none"},
        {"socket_timeout": 0},
        {"socket_timeout": "soon"},
        {"socket_timeout": float("nan")},
        {"socket_connect_timeout": -1},
        {"redis_expiration_time": "tomorrow"},
        {"redis_expiration_time": -5},
        {"connection_kwargs": ["ssl"]},
        {"socket_keepalive": "perhaps"},
        {"notify": 3.5},
        {"max_value_bytes": "much"},
        {"lock_prefix": "x"},
        {"lock_prefix": "with blank"},
        {"lock_timeout": "long"},
        {"lock_sleep": []},
        {"url": 6379},
        {"url": ""},
        {"url": "localhost:6379/0"},
        {"url": "http://localhost"},
        {"url": "redis://localhost:port"},
        {"url": "redis://localhost:0"},
        {"url": "redis://localhost:70000"},
        {"url": "redis://localhost/zero"},
        {"url": "redis://localhost?db=-1"},
        {"url": "redis://localhost?db=zero"},
        {"url": "unix://"},
        {"url": f"redis://:pass/{SECRET}@localhost:6379"},
    ],
    ids=repr,
)
def test_a_useless_argument_is_refused_by_name(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(arguments))) as caught:
        RedisBackend(arguments)

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (RedisSentinelBackend, {}),
        (RedisSentinelBackend, {"sentinels": []}),
        (RedisSentinelBackend, {"sentinels": ["host:port"]}),
        (RedisSentinelBackend, {"sentinels": [["host", "port"]]}),
        (RedisSentinelBackend, {"sentinels": 26379}),
        (RedisSentinelBackend, {"sentinels": [["host", 70000]]}),
        (RedisSentinelBackend, {"sentinels": [["", 26379]]}),
        (RedisSentinelBackend, {**SENTINELS, "service_name": ""}),
        (RedisSentinelBackend, {**SENTINELS, "service_name": None}),
        (RedisClusterBackend, {}),
        (RedisClusterBackend, {"startup_nodes": []}),
        (RedisClusterBackend, {"host": ""}),
        (RedisClusterBackend, {"port": 70000}),
        (RedisClusterBackend, {"url": "redis://localhost:70000"}),
        (RedisSentinelBackend, {**SENTINELS, "sentinel_kwargs": "none"}),
        (RedisClusterBackend, {"startup_nodes": [None]}),
        (RedisClusterBackend, {"startup_nodes": "two words"}),
        (RedisClusterBackend, {**NODES, "db": 1}),
        (RedisClusterBackend, {"url": "unix:///tmp/socket"}),
    ],
)
def test_useless_addresses_are_refused(
    kind: type[RedisBackend], arguments: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        kind(arguments)


@pytest.mark.parametrize(
    ("kind", "arguments", "told"),
    [
        (
            RedisBackend,
            {"port": 70000},
            "port= must be a port, .*1 to 65535, not 70000",
        ),
        (
            RedisBackend,
            {"url": "redis://h:70000/0"},
            "url= has the port 70000: .*65535",
        ),
        (RedisBackend, {"url": "redis://u:p@h:0"}, "url= has the port 0: "),
        (RedisBackend, {"url": "http://h"}, "redis://.* not with http://"),
        (
            RedisBackend,
            {"url": "redis://:1234567890"},
            "url= has a port too long: ",
        ),
        (RedisBackend, {"host": ""}, "host= must name a host, .* not ''"),
        (RedisBackend, {"host": "h:1"}, "not 'h:1'; a port goes into port="),
        (RedisBackend, {"db": -1}, "db= must be a whole number from 0 on, not -1"),
        (
            RedisClusterBackend,
            {"startup_nodes": ["h:70000"]},
            "startup_nodes= has the port '70000'",
        ),
        (
            RedisClusterBackend,
            {"startup_nodes": [("h", 70000)]},
            "startup_nodes= must name a port, .*65535, not 70000",
        ),
        (
            RedisClusterBackend,
            {},
            r"startup_nodes= or url= is needed.*startup_nodes=\['10.*url='redis://10",
        ),
        (
            ValkeyClusterBackend,
            {},
            r"startup_nodes= or url= is needed.*url='valkey://10",
        ),
        (
            RedisSentinelBackend,
            {},
            r"sentinels= is needed, .* \['10.0.0.1:26379'",
        ),
        (
            RedisSentinelBackend,
            {**SENTINELS, "service_name": ""},
            "service_name= must be .* as in service_name='mymaster'",
        ),
    ],
)
def test_a_refusal_names_argument_value_and_what_would_do(
    kind: type[RedisBackend], arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValidationError, match=told):
        kind(arguments)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:70000{SECRET}@localhost:1",
        f"redis://:70000/{SECRET}@localhost",
        "redis://:70000/x@localhost",
    ],
)
def test_the_beginning_of_a_password_is_not_told_as_a_port(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RedisBackend({"url": url})

    assert "70000" not in str(caught.value)


@ALL
def test_unknown_settings_of_connections_are_refused(
    kind: type[RedisBackend], arguments: dict[str, Any]
) -> None:
    arguments = {**arguments, "connection_kwargs": {"no_such_thing": 1}}

    with pytest.raises(ConfigurationError, match="no_such_thing"):
        kind(arguments)


@ALONE
def test_ssl_beside_a_url_is_refused(kind: type[RedisBackend]) -> None:
    url = f"{kind.__name__.removesuffix('Backend').lower()}://localhost"

    with pytest.raises(ConfigurationError, match="scheme with TLS"):
        kind({"url": url, "ssl": True})


@ALL
def test_values_must_stay_bytes(
    kind: type[RedisBackend], arguments: dict[str, Any]
) -> None:
    settings = {"decode_responses": True}

    with pytest.raises(ConfigurationError, match="decode_responses"):
        kind({**arguments, "connection_kwargs": settings})


def test_values_of_a_shared_pool_must_stay_bytes() -> None:
    pool = redis.ConnectionPool(decode_responses=True)

    with pytest.raises(ConfigurationError, match="decode_responses"):
        RedisBackend({"connection_pool": pool})


def test_a_stand_in_for_a_pool_is_taken() -> None:
    RedisBackend({"connection_pool": mock.Mock()})


def test_a_url_may_not_decode_either() -> None:
    with pytest.raises(ConfigurationError):
        RedisBackend({"url": "redis://localhost?decode_responses=True"})


@ALL
def test_a_missing_library_is_told_with_its_extra(
    kind: type[RedisBackend], arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "valkey" if kind.__name__.startswith("Valkey") else "redis"
    real = importlib.import_module

    def import_module(wanted: str, package: str | None = None) -> object:
        if wanted.partition(".")[0] == name:
            raise ModuleNotFoundError(wanted)
        return real(wanted, package)

    monkeypatch.setattr(importlib, "import_module", import_module)

    with pytest.raises(ConfigurationError, match=rf"dogpile\.cache\[{name}\]"):
        kind(arguments)


def test_no_library_is_imported_before_it_is_needed() -> None:
    program = (
        "import sys, dogpile.cache.backends.redis, dogpile.cache.backends.valkey; "
        "sys.exit('redis' in sys.modules or 'valkey' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@ALL
def test_passwords_are_told_to_nobody(
    kind: type[RedisBackend], arguments: dict[str, Any]
) -> None:
    arguments = {**arguments, "username": "someone", "password": SECRET}
    backend = kind(arguments)
    told = [repr(backend), str(vars(backend))]

    for operation in (
        lambda: backend.get("key"),
        lambda: backend.get_multi(["key"]),
        lambda: backend.lease("key", 1),
        lambda: backend.set_serialized_multi({"key": b"value"}),
    ):
        with pytest.raises(BackendError) as caught:
            operation()
        told += [str(caught.value), "".join(traceback.format_exception(caught.value))]

    assert not [text for text in told if SECRET in text]


def test_a_password_in_a_url_is_told_to_nobody() -> None:
    backend = RedisBackend({"url": "redis://someone:geheim%231@localhost:1/0"})
    told = [repr(backend), str(vars(backend))]

    with pytest.raises(BackendError) as caught:
        backend.get("key")

    told.append("".join(traceback.format_exception(caught.value)))
    assert not [text for text in told if "geheim" in text]


@ALL
def test_too_large_a_value_is_refused_before_it_is_sent(
    kind: type[RedisBackend], arguments: dict[str, Any]
) -> None:
    backend = kind({**arguments, "max_value_bytes": 10})
    long_key = "user:" + "x" * 1000

    with pytest.raises(ValueTooLarge, match=r"'user:x+…' has 11 bytes.*10") as caught:
        backend.set_serialized(long_key, b"s" * 11)

    assert len(str(caught.value)) < 200
    with pytest.raises(ValueTooLarge):
        backend.set_serialized_multi({"small": b"", "key": b"s" * 11})


@pytest.mark.parametrize("name", ["redis_expiration_time", "valkey_expiration_time"])
def test_an_expiration_time_has_the_name_of_either(name: str) -> None:
    assert ValkeyBackend({name: 60}).redis_expiration_time == 60
    assert RedisBackend({name: 60}).redis_expiration_time == 60
    assert RedisBackend({name: 0}).redis_expiration_time is None
    assert RedisBackend({name: None}).redis_expiration_time is None


def test_all_arguments_are_known_by_name() -> None:
    common = RedisBackend.argument_names
    assert {"url", "host", "connection_pool", "redis_expiration_time"} <= common
    assert {"sentinels", "service_name"} <= RedisSentinelBackend.argument_names
    assert "startup_nodes" in RedisClusterBackend.argument_names
    for kind in (ValkeyBackend, ValkeySentinelBackend, ValkeyClusterBackend):
        assert "valkey_expiration_time" in kind.argument_names


def test_the_arguments_are_left_as_they_are() -> None:
    arguments = {"port": 1, "connection_kwargs": {"client_name": "me"}}

    RedisBackend(arguments)

    assert arguments == {"port": 1, "connection_kwargs": {"client_name": "me"}}


def test_mutexes_are_there_where_1x_has_them() -> None:
    assert RedisBackend({}).get_mutex("key") is None
    assert RedisSentinelBackend(SENTINELS).get_mutex("key") is not None
    assert RedisBackend({"distributed_lock": True}).get_mutex("key") is not None
    assert not RedisBackend({}).has_lock_timeout()
    assert RedisBackend({"lock_timeout": 5}).has_lock_timeout()


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "redis://"},
        {"url": "redis:///2"},
        {"url": "redis://:word@/0"},
        {"url": "redis://?db=2"},
        {"url": "redis://h:6379?db="},
        {"host": "h", "lock_timeout": 0},
        {"host": "h", "distributed_lock": True, "lock_timeout": 0},
    ],
    ids=str,
)
def test_what_redis_and_1x_take_is_taken(arguments: dict[str, Any]) -> None:
    assert RedisBackend(arguments) is not None


def test_beside_a_pool_a_host_says_nothing() -> None:
    pool = pytest.importorskip("redis").ConnectionPool(host="h")

    assert RedisBackend({"connection_pool": pool, "host": "a b", "port": 0}) is not None
