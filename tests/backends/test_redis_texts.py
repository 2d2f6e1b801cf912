"""What a fault of a Redis or Valkey is told as: which backend, where, what to do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from proxy import HOST, Damage, Proxy
from servers import Cluster, Sentinel, Server, free_port
from tls import TlsDoor, make_certificate

from dogpile.cache import CacheRegion, make_region
from dogpile.cache.exception import BackendError, BackendUnavailable

pytest.importorskip("redis")
pytest.importorskip("valkey")

pytestmark = pytest.mark.server

QUICK = {"socket_timeout": 0.3, "socket_connect_timeout": 0.3}
SECRET = "geheim-and-wrong"
OLD = b"-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n"
HTTP = b"HTTP/1.1 400 Bad Request\r\n\r\n<html>\r\n"

Text = Callable[..., str]


def region_on(kind: str, arguments: dict[str, Any]) -> CacheRegion:
    return make_region().configure(
        f"dogpile.cache.{kind}",
        expiration_time=60,
        on_backend_error="raise",
        arguments=arguments,
    )


@pytest.fixture(params=["threads", "loops"])
def text(request: pytest.FixtureRequest) -> Iterator[Text]:
    """Return what is told of a get() that fails, without a word of a secret."""
    made: list[CacheRegion] = []

    def told(
        arguments: dict[str, Any],
        kind: str = "redis",
        error: type[BackendError] = BackendError,
    ) -> str:
        region = region_on(kind, arguments)
        made.append(region)

        async def ask() -> None:
            try:
                await region.aget("key")
            finally:
                await region.aclose()

        with pytest.raises(BackendError) as caught:
            asyncio.run(ask()) if request.param == "loops" else region.get("key")
        assert type(caught.value) is error
        said = str(caught.value)
        assert said.startswith(f"dogpile.cache.{kind} failed at get(): ")
        assert SECRET not in said
        assert "\n" not in said
        return said

    yield told
    for region in made:
        region.close()


@pytest.fixture
def nowhere() -> int:
    return free_port()


@pytest.fixture
def proxy(redis_server: Server) -> Iterator[Proxy]:
    with Proxy(redis_server.port) as proxy:
        yield proxy


@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_nobody_listens(text: Text, nowhere: int, kind: str) -> None:
    said = text({"host": HOST, "port": nowhere}, kind, BackendUnavailable)

    assert said.endswith(f"cannot connect to {HOST}:{nowhere}: Connection refused")


def test_nobody_is_called_so(text: Text) -> None:
    said = text({"host": "no-such-host.invalid"}, error=BackendUnavailable)

    assert "cannot connect to no-such-host.invalid:6379: " in said


def test_there_is_no_such_socket(text: Text, tmp_path: Path) -> None:
    path = f"{tmp_path}/redis.sock"

    said = text({"url": f"unix://{path}"}, error=BackendUnavailable)

    assert said.endswith(f"cannot connect to {path}: No such file or directory")


def test_a_url_is_told_without_its_account(text: Text, nowhere: int) -> None:
    url = f"redis://someone:{SECRET}@{HOST}:{nowhere}/3"

    said = text({"url": url}, error=BackendUnavailable)

    assert f"{HOST}:{nowhere}" in said
    assert "someone" not in said


def test_a_database_that_is_not_there(text: Text, redis_server: Server) -> None:
    said = text({"host": HOST, "port": redis_server.port, "db": 99})

    assert f"no database of that number ({HOST}:{redis_server.port})" in said
    assert "smaller db=" in said


@pytest.mark.parametrize(
    ("account", "told"),
    [
        ({}, "wants a password, and was given none {}; set password="),
        ({"password": SECRET}, "refuses .* password {}; look at username= and pass"),
        (
            {"username": "someone", "password": SECRET},
            "refuses .* password {}; look at username= and password=",
        ),
    ],
)
def test_a_password_is_missing_or_wrong(
    text: Text, start_redis: Callable[..., Server], account: dict[str, str], told: str
) -> None:
    server = start_redis("--requirepass", "geheim#1")

    said = text({"host": HOST, "port": server.port, **account})

    place = re.escape(f"({HOST}:{server.port})")
    assert re.search(told.format(place), said)


def test_a_command_is_not_allowed(text: Text, redis_server: Server) -> None:
    redis_server.ask("ACL SETUSER blind on >word ~* +hello +client +select")
    account = {"username": "blind", "password": "word"}

    said = text({"host": HOST, "port": redis_server.port, **account})
    redis_server.ask("ACL DELUSER blind")

    assert "does not allow the user of username=" in said
    assert "MGET" in said


def test_tls_is_spoken_to_a_port_without(text: Text, redis_server: Server) -> None:
    said = text(
        {"host": HOST, "port": redis_server.port, "ssl": True, **QUICK},
        error=BackendUnavailable,
    )

    assert f"({HOST}:{redis_server.port}); if the server speaks no TLS" in said


def test_tls_is_spoken_to_what_answers_plainly(text: Text, proxy: Proxy) -> None:
    proxy.damage = Damage.GARBAGE

    said = text({"url": f"rediss://{HOST}:{proxy.port}"}, error=BackendUnavailable)

    assert said.endswith(f"{HOST}:{proxy.port}: the server speaks no TLS on that port")


def test_tls_is_not_spoken_to_a_port_with_it(
    text: Text, redis_server: Server, tmp_path: Path
) -> None:
    with TlsDoor(redis_server.port, make_certificate(tmp_path)) as door:
        said = text({"host": HOST, "port": door.port}, error=BackendUnavailable)

        assert f"({HOST}:{door.port}); if the server speaks TLS" in said


def test_a_certificate_is_not_trusted(
    text: Text, redis_server: Server, tmp_path: Path
) -> None:
    with TlsDoor(redis_server.port, make_certificate(tmp_path)) as door:
        url = f"rediss://{HOST}:{door.port}"
        said = text({"url": url}, error=BackendUnavailable)

    assert "certificate is not trusted (self-signed certificate)" in said
    assert "ssl_ca_certs" in said
    assert "_ssl.c" not in said


def test_a_file_of_the_tls_settings_is_not_there(
    text: Text, redis_server: Server, tmp_path: Path
) -> None:
    with TlsDoor(redis_server.port, make_certificate(tmp_path)) as door:
        url = f"rediss://{HOST}:{door.port}"
        kwargs = {"ssl_ca_certs": str(tmp_path / "none.pem")}
        said = text({"url": url, "connection_kwargs": kwargs}, error=BackendUnavailable)

    assert "No such file or directory, of those that the TLS settings name" in said


@pytest.mark.parametrize("nonsense", [HTTP, b"ERROR\r\n", b"\x00\xff\x00\r\n"])
def test_somebody_else_answers(text: Text, proxy: Proxy, nonsense: bytes) -> None:
    proxy.damage, proxy.nonsense = Damage.GARBAGE, nonsense

    said = text({"host": HOST, "port": proxy.port, **QUICK}, error=BackendUnavailable)

    assert f"does not speak the protocol of Redis and Valkey ({HOST}:" in said
    assert "look at host and port" in said


def test_a_server_is_too_old(text: Text, proxy: Proxy) -> None:
    proxy.damage, proxy.nonsense = Damage.GARBAGE, OLD

    said = text({"host": HOST, "port": proxy.port})

    assert f"the server is too old, or a command was taken from it ({HOST}:" in said
    assert "'protocol': 2" in said


@pytest.mark.parametrize(
    ("damage", "told"), [(Damage.MUTE, "no answer in time"), (Damage.CLOSED, "closed")]
)
def test_the_connection_is_of_no_use(
    text: Text, proxy: Proxy, damage: Damage, told: str
) -> None:
    proxy.damage = damage

    said = text({"host": HOST, "port": proxy.port, **QUICK}, error=BackendUnavailable)

    assert told in said
    assert f"{HOST}:{proxy.port}" in said


def test_no_sentinel_answers(text: Text, nowhere: int) -> None:
    said = text(
        {"sentinels": [(HOST, nowhere)]}, "redis_sentinel", error=BackendUnavailable
    )

    place = f"(sentinels {HOST}:{nowhere}, service_name 'mymaster')"
    assert f"no sentinel can be reached that knows a master {place}" in said


def test_sentinels_know_no_such_master(text: Text, redis_sentinel: Sentinel) -> None:
    sentinels = [(HOST, redis_sentinel.port)]

    said = text(
        {"sentinels": sentinels, "service_name": "other", "password": SECRET},
        "redis_sentinel",
        BackendUnavailable,
    )

    assert "the sentinels know no master of that name" in said
    assert "service_name 'other'); look at service_name=" in said


def test_what_is_named_is_no_sentinel(text: Text, redis_server: Server) -> None:
    said = text({"sentinels": [(HOST, redis_server.port)]}, "redis_sentinel")

    assert "what answers is not a sentinel" in said


def test_what_is_named_is_a_sentinel(text: Text, redis_sentinel: Sentinel) -> None:
    said = text({"host": HOST, "port": redis_sentinel.port})

    assert f"it is a sentinel, it seems ({HOST}:{redis_sentinel.port})" in said
    assert "_sentinel in its name" in said


def test_what_is_named_is_a_replica(redis_sentinel: Sentinel) -> None:
    assert redis_sentinel.replica is not None
    region = region_on("redis", {"host": HOST, "port": redis_sentinel.replica.port})

    with pytest.raises(
        BackendUnavailable, match=r"failed at put\(\): .* a replica.*mas"
    ):
        region.put("key", 1)
    region.close()


@pytest.mark.parametrize("db", [0, 2])
def test_what_is_named_is_a_clusters_node(
    text: Text, redis_cluster: Cluster, db: int
) -> None:
    port = redis_cluster.ports[0]

    said = text({"host": HOST, "port": port, "db": db})

    assert f"the server is a node of a cluster ({HOST}:{port}); use the" in said
    assert "_cluster in its name" in said


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"-DENIED Redis is running in protected mode because ...\r\n", "protected"),
        (b"-ERR max number of clients reached\r\n", "max number of clients"),
    ],
)
def test_a_server_takes_no_client(
    text: Text, proxy: Proxy, answer: bytes, told: str
) -> None:
    proxy.damage, proxy.nonsense = Damage.GARBAGE, answer
    kind = BackendError if told == "protected" else BackendUnavailable

    said = text({"host": HOST, "port": proxy.port}, error=kind)

    assert told in said
    assert f"({HOST}:{proxy.port})" in said


def test_what_is_named_is_no_cluster(text: Text, redis_server: Server) -> None:
    node = f"{HOST}:{redis_server.port}"

    said = text({"startup_nodes": [node]}, "redis_cluster", BackendUnavailable)

    assert f"not a node of a cluster (nodes {node})" in said


def test_no_node_answers(text: Text, nowhere: int) -> None:
    nodes = [f"{HOST}:{nowhere}", f"{HOST}:{free_port()}"]

    said = text({"startup_nodes": nodes}, "valkey_cluster", BackendUnavailable)

    assert f"(nodes {', '.join(nodes)})" in said


def test_a_clusters_password_is_wrong(text: Text, redis_cluster: Cluster) -> None:
    node = f"{HOST}:{redis_cluster.ports[0]}"

    account = {"username": "someone", "password": SECRET}
    said = text({"startup_nodes": [node], **account}, "redis_cluster")

    assert f"refuses the user name or the password (nodes {node})" in said


def test_a_key_of_another_type_is_told_with_a_way_out(redis_server: Server) -> None:
    region = region_on("redis", {"host": HOST, "port": redis_server.port})

    with pytest.raises(BackendError, match=r"failed at put\(\): a key must.*mangler"):
        region.put(None, 1)
    region.close()


CALLS: dict[str, Callable[[CacheRegion], object]] = {
    "get": lambda region: region.get("key"),
    "get_multi": lambda region: region.get_multi(["key", "other"]),
    "get_or_create": lambda region: region.get_or_create("key", lambda: 1),
    "put": lambda region: region.put("key", 1),
    "put_multi": lambda region: region.put_multi({"key": 1, "other": 2}),
    "delete": lambda region: region.delete("key"),
    "delete_multi": lambda region: region.delete_multi(["key", "other"]),
    "invalidate": lambda region: region.invalidate(),
    "update": lambda region: region.update("key", lambda old: 1),
    "key_is_locked": lambda region: region.key_is_locked("key"),
}


@pytest.mark.parametrize("name", CALLS)
def test_each_call_is_told_by_its_own_name(nowhere: int, name: str) -> None:
    region = region_on("redis", {"host": HOST, "port": nowhere})

    start = rf"^dogpile\.cache\.redis failed at {name}\(\): "
    with pytest.raises(BackendUnavailable, match=start + "cannot connect to"):
        CALLS[name](region)
    with pytest.raises(
        BackendUnavailable,
        match=rf"{start}not asked, .* a moment ago: .* {HOST}:{nowhere}: Connection",
    ):
        CALLS[name](region)
    region.close()


def test_a_dead_server_keeps_nobody_from_closing(nowhere: int) -> None:
    region = region_on("redis", {"host": HOST, "port": nowhere})

    async def use() -> None:
        with pytest.raises(BackendUnavailable):
            await region.aget("key")
        await region.aclose()

    asyncio.run(use())


def test_a_creation_that_gets_no_lease_has_the_name_of_its_call(
    redis_server: Server,
) -> None:
    redis_server.ask("ACL SETUSER reader on >word ~* +get +mget +hello +client +select")
    account = {"username": "reader", "password": "word"}
    region = region_on("redis", {"host": HOST, "port": redis_server.port, **account})

    with pytest.raises(BackendError, match=r"at get_or_create\(\): .* not allow"):
        region.get_or_create("key no one has", lambda: 1)
    redis_server.ask("ACL DELUSER reader")
    region.close()
