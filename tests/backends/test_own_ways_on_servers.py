"""A class for 1.x over one for servers is asked in everything that it does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from memcached_kinds import KINDS, url_of
from own_ways import turning, use
from servers import Server

from dogpile.cache import CacheRegion, ProxyBackend, make_region
from dogpile.cache.backends.redis import RedisBackend

pytestmark = pytest.mark.server

NAMES = ["redis", *KINDS]


@pytest.fixture(params=NAMES)
def made(
    request: pytest.FixtureRequest, redis_server: Server, memcached_server: Server
) -> Iterator[Any]:
    """Return the class, and its arguments."""
    if request.param == "redis":
        redis_server.ask("FLUSHALL")
        place = {"host": redis_server.host, "port": redis_server.port}
        yield turning(RedisBackend), place
        return
    memcached_server.ask("flush_all")
    kind = KINDS[request.param]
    kind.require()
    yield turning(kind.backend), {"url": url_of(memcached_server)}


@pytest.mark.parametrize("wrap", [[], [ProxyBackend]])
@pytest.mark.parametrize("settings", [{}, {"signing_key": b"0123456789abcdef"}])
def test_nothing_goes_past_it(
    made: Any, wrap: list[Any], settings: dict[str, Any]
) -> None:
    kind, arguments = made
    region: CacheRegion = make_region().configure(
        kind, expiration_time=60, arguments=arguments, wrap=wrap, **settings
    )

    asyncio.run(use(region))

    region.close()
