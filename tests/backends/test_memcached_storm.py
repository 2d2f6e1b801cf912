"""No stale set, whatever many processes do to the same keys at the same time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from memcached_kinds import KINDS, start_ring, url_of
from memcached_storm import run_storm
from servers import Server

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def ring() -> Iterator[Sequence[Server]]:
    yield from start_ring(2)


@pytest.mark.parametrize("client", KINDS)
@pytest.mark.parametrize("servers", [1, 2])
def test_nothing_that_was_overwritten_is_ever_read_again(
    client: str, servers: int, ring: Sequence[Server]
) -> None:
    kind = KINDS[client]
    kind.require()
    for server in ring:
        server.ask("flush_all")
    urls = [url_of(server) for server in ring[:servers]]

    outcome = run_storm(kind.backend, {"url": urls}, processes=4, threads=4, rounds=250)

    assert outcome.stale == 0
    # It was a storm: values were stored, read, and overtaken.
    assert outcome.stored > 10
    assert outcome.hits > 50
    assert outcome.refused > 10


def test_without_the_fence_the_storm_is_seen() -> None:
    """See that the storm sees what it looks for."""
    kind = KINDS["pymemcache"]
    kind.require()
    for ring in start_ring(1):
        outcome = run_storm(
            Unfenced, {"url": url_of(ring[0])}, processes=4, threads=4, rounds=250
        )

        assert outcome.stale > 0


class Unfenced(KINDS["pymemcache"].backend):  # type: ignore[misc]  # chosen by name
    """A backend that stores whatever was created, whenever that was."""

    def commit(self, lease: object, value: bytes, **how: object) -> bool:
        self.set(lease.key, value)  # type: ignore[attr-defined]  # a lease
        return True
