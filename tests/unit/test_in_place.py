"""A creation that never leaves the thread, or the task, that asked for it."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

import pytest

from dogpile.cache import CacheRegion, make_region
from dogpile.cache.testing import FakeClock

SETTINGS: list[dict[str, Any]] = [
    {"grace": 60},
    {"grace": 60, "soft_timeout": 5},
    {"grace": 60, "hard_timeout": 5},
    {"early": 1e9},
    {},
]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def region_with(clock: FakeClock, **settings: Any) -> CacheRegion:
    return make_region(
        "dogpile.cache.memory", expiration_time=60, clock=clock, **settings
    )


def expire(clock: FakeClock, settings: dict[str, Any]) -> None:
    """Let a value expire; or become due for an early refresh."""
    clock.advance(30 if "early" in settings else 61)


@pytest.mark.parametrize("settings", SETTINGS)
class TestForeground:
    def test_in_a_thread(self, clock: FakeClock, settings: dict[str, Any]) -> None:
        region = region_with(clock, **settings)
        made: list[int] = []

        def create() -> int:
            made.append(threading.get_ident())
            clock.advance(1)
            return len(made)

        region.get_or_create("key", create, in_place=True)
        expire(clock, settings)

        assert region.get_or_create("key", create, in_place=True) == 2
        assert set(made) == {threading.get_ident()}

    def test_in_a_task(self, clock: FakeClock, settings: dict[str, Any]) -> None:
        region = region_with(clock, **settings)
        made: list[Any] = []

        async def create() -> int:
            made.append(asyncio.current_task())
            clock.advance(1)
            return len(made)

        async def main() -> int:
            await region.aget_or_create("key", create, in_place=True)
            expire(clock, settings)
            value = await region.aget_or_create("key", create, in_place=True)
            assert set(made) == {asyncio.current_task()}
            return int(value)

        assert asyncio.run(main()) == 2


def fail() -> None:
    raise OSError("no value today")


def test_within_grace_a_failing_creator_serves_the_stale_value(
    clock: FakeClock,
) -> None:
    region = region_with(clock, grace=60)
    failures: list[Any] = []
    region.on("create_failed", failures.append)
    region.put("key", "old")
    clock.advance(61)

    value = region.get_or_create("key", fail, in_place=True)

    assert value == "old"
    assert [type(event.details["error"]) for event in failures] == [OSError]


def test_without_grace_its_error_goes_to_the_caller(clock: FakeClock) -> None:
    region = region_with(clock)
    region.put("key", "old")
    clock.advance(61)

    with pytest.raises(OSError, match="no value today"):
        region.get_or_create("key", fail, in_place=True)


def test_others_get_the_stale_value_meanwhile(clock: FakeClock) -> None:
    region = region_with(clock, grace=60)
    region.put("key", "old")
    clock.advance(61)
    seen: list[str] = []

    def create() -> str:
        # Another caller, while this one creates.
        other = threading.Thread(
            target=lambda: seen.append(region.get_or_create("key", fail, in_place=True))
        )
        other.start()
        other.join(30)
        return "new"

    assert region.get_or_create("key", create, in_place=True) == "new"
    assert seen == ["old"]


def test_a_runner_of_1_x_is_not_asked(clock: FakeClock) -> None:
    def run_later(region: Any, key: str, creator: Callable[[], Any], lock: Any) -> None:
        raise AssertionError("it would create somewhere else")

    region = region_with(clock, async_creation_runner=run_later)
    region.put("key", "old")
    clock.advance(61)

    assert region.get_or_create("key", lambda: "new", in_place=True) == "new"


def test_a_hit_takes_the_short_way(clock: FakeClock) -> None:
    region = region_with(clock, grace=60)
    region.put("key", "value")
    short = region.get_or_create

    assert short("key", fail, in_place=True) == "value"
    assert "get_or_create" in vars(region)
    assert "in_place" in inspect.signature(short).parameters


def test_it_is_no_setting_of_a_policy(clock: FakeClock) -> None:
    region = region_with(clock)

    with pytest.raises(ValueError, match="'in_place' is no setting"):
        region.put("key", "value", in_place=True)
