"""What a fault of memcached is told as: which backend, where, what to do."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from memcached_kinds import KINDS
from proxy import HOST, Damage, Proxy
from servers import Server, free_port
from tls import TlsDoor, make_certificate

from dogpile.cache import CacheRegion, make_region
from dogpile.cache.exception import BackendError, BackendUnavailable

pytestmark = pytest.mark.server

QUICK = {"socket_timeout": 0.3, "socket_connect_timeout": 0.3}
HTTP = b"HTTP/1.1 400 Bad Request\r\n\r\n<html>\r\n"
CLIENTS = list(KINDS)
WITH_TLS = [name for name in CLIENTS if name != "pylibmc"]

Text = Callable[..., str]


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    KINDS[request.param].require()
    return str(request.param)


@pytest.fixture
def nowhere() -> int:
    return free_port()


@pytest.fixture
def text() -> Iterator[Text]:
    """Return what is told of a get() that fails."""
    made: list[CacheRegion] = []

    def told(
        client: str, url: object, call: str = "get", *given: object, **arguments: Any
    ) -> str:
        region = make_region().configure(
            f"dogpile.cache.{client}",
            expiration_time=60,
            on_backend_error="raise",
            arguments={"url": url, **arguments},
        )
        made.append(region)
        with pytest.raises(BackendError) as caught:
            getattr(region, call)(*(given or ("key",)))
        said = str(caught.value)
        assert said.startswith(f"dogpile.cache.{client} failed at {call}(): ")
        assert "\n" not in said
        return said

    yield told
    for region in made:
        region.close()


def test_nobody_listens(text: Text, client: str, nowhere: int) -> None:
    said = text(client, f"{HOST}:{nowhere}")

    assert "cannot connect" in said
    assert f"({HOST}:{nowhere})" in said


def test_the_usual_port_is_told_too(text: Text, client: str) -> None:
    assert "(no-such-host.invalid:11211)" in text(client, "no-such-host.invalid")


def test_there_is_no_such_socket(text: Text, client: str, tmp_path: Path) -> None:
    said = text(client, f"{tmp_path}/socket")

    assert "cannot connect" in said
    assert f"({tmp_path}/socket)" in said


def test_a_redis_answers(text: Text, client: str, redis_server: Server) -> None:
    said = text(client, f"{HOST}:{redis_server.port}", **QUICK)

    place = f"({HOST}:{redis_server.port})"
    if client == "bmemcached":  # which Redis waits for the end of
        assert f"does the server speak memcached's binary protocol? {place}" in said
    else:
        assert f"does not speak the memcached protocol {place}; look at url=" in said


def test_somebody_else_answers(
    text: Text, client: str, memcached_server: Server
) -> None:
    with Proxy(memcached_server.port, nonsense=HTTP) as proxy:
        proxy.damage = Damage.GARBAGE
        said = text(client, f"{HOST}:{proxy.port}", **QUICK)

    assert "does not speak" in said
    assert f"({HOST}:{proxy.port})" in said


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"ERROR Too many open connections\r\n", "too many connections (-c)"),
        (b"CLIENT_ERROR unauthenticated\r\n", "wants a login in text (-Y)"),
        (b"ERROR\r\n", "does not know a command that is needed"),
    ],
)
@pytest.mark.parametrize("client", ["pymemcache", "memcached"])
def test_a_server_takes_no_client(
    text: Text, client: str, memcached_server: Server, answer: bytes, told: str
) -> None:
    KINDS[client].require()
    with Proxy(memcached_server.port, nonsense=answer) as proxy:
        proxy.damage = Damage.GARBAGE
        said = text(client, f"{HOST}:{proxy.port}")

    assert told in said
    assert f"({HOST}:{proxy.port})" in said


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (Damage.MUTE, "no answer in time"),
        (Damage.CLOSED, r"clos|ends the connection"),
    ],
)
def test_the_connection_is_of_no_use(
    text: Text, client: str, memcached_server: Server, damage: Damage, told: str
) -> None:
    with Proxy(memcached_server.port) as proxy:
        proxy.damage = damage
        said = text(client, f"{HOST}:{proxy.port}", **QUICK)

    assert any(each in said for each in told.split("|"))
    assert f"({HOST}:{proxy.port})" in said


@pytest.mark.parametrize("client", WITH_TLS)
def test_tls_is_spoken_to_a_port_without(
    text: Text, client: str, memcached_server: Server
) -> None:
    KINDS[client].require()
    url = f"{HOST}:{memcached_server.port}"

    said = text(client, url, tls_context=ssl.create_default_context(), **QUICK)

    assert said.endswith(f"the server speaks no TLS on that port ({url})")


@pytest.mark.parametrize("client", WITH_TLS)
def test_a_certificate_is_not_trusted(
    text: Text, client: str, memcached_server: Server, tmp_path: Path
) -> None:
    KINDS[client].require()
    with TlsDoor(memcached_server.port, make_certificate(tmp_path)) as door:
        url = f"{HOST}:{door.port}"
        said = text(client, url, tls_context=ssl.create_default_context())

    assert "certificate is not trusted (self-signed certificate)" in said
    assert "tls_context=" in said
    assert said.endswith(f"({url})")


def test_tls_is_not_spoken_to_a_port_with_it(
    text: Text, client: str, memcached_server: Server, tmp_path: Path
) -> None:
    with TlsDoor(memcached_server.port, make_certificate(tmp_path)) as door:
        said = text(client, f"{HOST}:{door.port}", **QUICK)

    assert f"closed the connection ({HOST}:{door.port}); it may have" in said
    assert "TLS" in said


def test_a_login_where_none_is_asked_for(text: Text, memcached_server: Server) -> None:
    KINDS["pylibmc"].require()
    url = f"{HOST}:{memcached_server.port}"

    said = text("pylibmc", url, username="someone", password="geheim", **QUICK)

    assert "wants another login" in said
    assert f"SASL ({url})" in said
    assert "geheim" not in said


def test_too_large_a_value(client: str, text: Text, memcached_server: Server) -> None:
    url = f"{HOST}:{memcached_server.port}"

    said = text(client, url, "put", "key", "x" * 2_000_000)

    assert f"'key': more bytes than the server takes ({url}), which is 1 MB" in said


def test_a_key_that_is_none(client: str, memcached_server: Server) -> None:
    region = make_region(key_mangler=lambda key: key).configure(
        f"dogpile.cache.{client}",
        arguments={"url": f"{HOST}:{memcached_server.port}"},
    )

    told = r"a key must be a string, not of type int; without a key_mangler"
    for call in (
        lambda: region.put(5, 1),
        lambda: region.put_multi({"key": 1, 5: 1}),
        lambda: region.delete_multi(["key", 5]),
        lambda: region.actual_backend.get(5),
        lambda: region.actual_backend.get_multi(["key", 5]),
    ):
        with pytest.raises(BackendError, match=told):
            call()
    region.close()


# The binary protocol takes blanks.
@pytest.mark.parametrize("client", ["pylibmc", "pymemcache", "memcached"])
def test_keys_that_are_too_long_or_have_blanks(
    client: str, memcached_server: Server
) -> None:
    KINDS[client].require()
    region = make_region(key_mangler=lambda key: key).configure(
        f"dogpile.cache.{client}",
        on_backend_error="raise",
        arguments={"url": f"{HOST}:{memcached_server.port}"},
    )

    for key in ("two words", "x" * 300):
        for call in (region.get, lambda key: region.get_multi(["key", key])):
            with pytest.raises(BackendError, match=r"'(two words|x+…)': a key must"):
                call(key)
    region.close()


def test_a_mutex_tells_it_too(client: str, nowhere: int) -> None:
    region = make_region().configure(
        f"dogpile.cache.{client}",
        arguments={"url": f"{HOST}:{nowhere}", "distributed_lock": True},
    )
    mutex = region.actual_backend.get_mutex("key")
    assert mutex is not None

    for name in ("acquire", "locked", "release"):
        with pytest.raises(
            BackendUnavailable, match=rf"{client} failed at get_mutex\(\)\.{name}\(\): "
        ):
            getattr(mutex, name)()
    region.close()


def test_a_refusal_is_told_as_what_it_comes_from(client: str, nowhere: int) -> None:
    region = make_region().configure(
        f"dogpile.cache.{client}",
        expiration_time=60,
        on_backend_error="raise",
        arguments={"url": f"{HOST}:{nowhere}"},
    )
    with pytest.raises(BackendUnavailable):
        region.get_multi(["key", "other"])

    start = rf"^dogpile\.cache\.{client} failed at put\(\): not asked, "
    with pytest.raises(BackendUnavailable, match=rf"{start}.* \({HOST}:{nowhere}\)$"):
        region.put("key", 1)
    region.close()
