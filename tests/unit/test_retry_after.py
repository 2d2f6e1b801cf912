"""After a refresh that failed: who tries again, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dogpile.cache import CacheRegion, make_region
from dogpile.cache.flow import follow
from dogpile.cache.operations import look
from dogpile.cache.ports import THREAD_PORTS, run_now
from dogpile.cache.testing import FakeClock


class Failing:
    """A creator that fails, and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        raise OSError("the source is away")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "memory_pickle", "sqlite"])
def region(
    request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path
) -> CacheRegion:
    kind = request.param
    return make_region(
        f"dogpile.cache.{kind}",
        expiration_time=10,
        grace=100,
        retry_after=5,
        clock=clock,
        arguments={"filename": tmp_path / "cache"} if kind == "sqlite" else {},
    )


def see(region: CacheRegion, create: Failing) -> tuple[Any, Any]:
    """Return a call, and what it reads now."""
    storage = region.storage
    call = region._call("key", create, storage.policy, explicit=False)
    looking = look(
        THREAD_PORTS, storage, call.key, call.policy, call.records, explicit=False
    )
    return call, run_now(looking)


def test_who_has_read_before_the_failure_does_not_try_again(
    region: CacheRegion, clock: FakeClock
) -> None:
    create = Failing()
    region.put("key", "old")
    clock.advance(11)
    call, seen = see(region, create)
    region.get_or_create("key", create)
    region.close()

    value = run_now(follow(THREAD_PORTS, region.storage, call, seen))
    region.close()

    assert value == "old"
    assert create.calls == 1


def test_it_is_tried_again_after_a_while(region: CacheRegion, clock: FakeClock) -> None:
    create = Failing()
    region.put("key", "old")
    clock.advance(11)
    values = []

    for seconds in (0, 4, 1):
        clock.advance(seconds)
        values.append(region.get_or_create("key", create))
        region.close()

    assert values == ["old"] * 3
    assert create.calls == 2
