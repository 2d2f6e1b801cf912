"""A value is replaced by what is made of it, and no write in between gets lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from crowd import KINDS, Creator, Maker, clock_of, race, result, start
from servers import Server

from dogpile.cache import (
    NO_VALUE,
    CachedValue,
    CacheRegion,
    ConfigurationError,
    CoroutineCreatorError,
    CreationCycleError,
    make_region,
)
from dogpile.cache.clock import SYSTEM_CLOCK


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Maker]:
    maker = Maker(tmp_path)
    yield maker
    maker.close()


def increment(old: CachedValue | None) -> Any:
    return NO_VALUE if old is None else old._replace(payload=old.payload + 1)


def count_up(region: CacheRegion, times: int) -> None:
    for _ in range(times):
        region.update("n", increment)


def refuse(old: CachedValue | None) -> Any:
    raise ZeroDivisionError


@pytest.mark.parametrize("kind", KINDS)
class TestUpdate:
    def test_a_value_is_replaced_by_what_is_made_of_it(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)
        region.put("n", 1)

        answer = region.update("n", increment)

        assert answer == 2
        assert region.get("n") == 2

    def test_a_missing_value_is_made_from_none(self, make: Maker, kind: str) -> None:
        region = make(kind)

        answer = region.update("n", lambda old: [old], tags=["t"])

        assert answer == [None]
        assert region.get("n") == [None]
        region.invalidate_tags("t")
        assert region.get("n") is NO_VALUE

    def test_an_expired_value_counts_as_missing(self, make: Maker, kind: str) -> None:
        region = make(kind, expiration_time=10)
        region.put("n", 1)
        clock_of(region).advance(11)

        answer = region.update("n", increment)

        assert answer is NO_VALUE

    def test_an_invalidated_value_counts_as_missing(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)
        region.put("n", 1)
        region.invalidate()

        answer = region.update("n", increment)

        assert answer is NO_VALUE

    def test_what_is_kept_of_a_value_keeps_its_time_and_tags(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)
        region.put("n", 1, expiration_time=10, tags=["t"])
        clock_of(region).advance(9)
        region.update("n", increment)

        is_there_before = region.get("n", ignore_expiration=False)
        clock_of(region).advance(2)

        assert is_there_before == 2
        assert region.get("n", ignore_expiration=False) is NO_VALUE

    def test_an_error_of_the_function_changes_nothing(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)
        region.put("n", 1)

        with pytest.raises(ZeroDivisionError):
            region.update("n", refuse)

        assert region.get("n") == 1
        assert region.update("n", increment) == 2

    def test_threads_lose_no_change_of_each_other(self, make: Maker, kind: str) -> None:
        region = make(kind, clock=SYSTEM_CLOCK)
        region.put("n", 0)

        race(*[partial(count_up, region, 20)] * 8)

        assert region.get("n") == 160

    def test_what_is_written_meanwhile_is_what_is_changed(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)
        region.put("n", 1)
        seen: list[int] = []

        def change(old: CachedValue | None) -> Any:
            assert old is not None
            if len(seen) < 3:
                # In another thread, which must not have to wait for this one.
                result(start(region.put, "n", 10 * old.payload))
                result(start(region.put, "other", 1))
            seen.append(old.payload)
            return old.payload + 1

        answer = region.update("n", change)

        assert seen[-1] == 1000
        assert answer == region.get("n") == 1001

    def test_a_function_that_writes_its_own_key_is_told_so(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)

        with pytest.raises(ConfigurationError, match="function write the key"):
            region.update("n", lambda old: region.put("n", 5))

        assert region.get("n") == 5

    def test_a_coroutine_function_is_refused(self, make: Maker, kind: str) -> None:
        async def change(old: CachedValue | None) -> int:
            return 1

        region = make(kind)

        with pytest.raises(CoroutineCreatorError, match="change returns an awaitable"):
            region.update("n", change)

        assert region.get("n") is NO_VALUE

    def test_tasks_lose_no_change_of_each_other(self, make: Maker, kind: str) -> None:
        region = make(kind, clock=SYSTEM_CLOCK)
        region.put("n", 0)

        async def crowd() -> None:
            await asyncio.gather(*[region.aupdate("n", increment) for _ in range(50)])

        asyncio.run(crowd())

        assert region.get("n") == 50

    def test_a_call_that_blocks_a_loop_does_not_wait_for_its_tasks(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind, clock=SYSTEM_CLOCK)
        region.put("n", 0)

        async def both() -> None:
            task = asyncio.ensure_future(region.aupdate("n", increment))
            await asyncio.sleep(0)
            region.update("n", increment)
            await task

        asyncio.run(both())

        assert region.get("n") == 2

    def test_a_creation_that_began_before_is_not_stored_over_it(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind, clock=SYSTEM_CLOCK)
        creator = Creator("old")
        creating = start(region.get_or_create, "n", creator)
        creator.await_call()
        region.update("n", lambda old: "new")

        creator.finish()

        assert result(creating) == "old"
        assert region.get("n") == "new"


def test_a_change_that_needs_its_own_key_is_told_so(make: Maker) -> None:
    region = make("sqlite")
    region.put("n", 0)
    calls: list[CachedValue | None] = []

    def change(old: CachedValue | None) -> Any:
        calls.append(old)
        # The first call is only to see whether there is anything to do.
        return 1 if len(calls) == 1 else region.update("n", increment)

    with pytest.raises(CreationCycleError, match=r"'n' -> 'n'; .*before") as caught:
        region.update("n", change)

    assert caught.value.chain == ("n", "n")
    assert region.update("n", increment) == 1


@pytest.mark.server
def test_processes_on_a_server_lose_no_change_of_each_other(
    redis_server: Server, memcached_server: Server
) -> None:
    for name, server in (("redis", redis_server), ("pymemcache", memcached_server)):
        place = f"127.0.0.1:{server.port}"
        url = f"redis://{place}" if name == "redis" else place
        # As two processes would be: nothing in common but the server.
        regions = [
            make_region(f"update {name}").configure(
                f"dogpile.cache.{name}", arguments={"url": url}, signing_key=b"k" * 16
            )
            for _ in range(2)
        ]
        regions[0].put("n", 0)

        race(*[partial(count_up, region, 20) for region in regions * 3])

        assert regions[0].get("n") == 120
        for region in regions:
            region.close()


class TestKeys:
    @pytest.mark.parametrize("kind", ["memory", "memory, lru", "sqlite"])
    def test_the_keys_that_begin_so_are_told(self, make: Maker, kind: str) -> None:
        region = make(kind)
        space = region.namespace("space")
        region.put_multi({"a1": 1, "a2": 2, "b": 3})
        space.put_multi({f"c{n}": n for n in range(1200)})

        assert sorted(region.iter_keys("a")) == ["a1", "a2"]
        assert sorted(space.iter_keys()) == sorted(f"c{n}" for n in range(1200))

    def test_tasks_are_told_them_too(self, make: Maker) -> None:
        region = make("sqlite")
        region.put_multi({"a1": 1, "b": 2})

        async def told() -> list[str]:
            return [key async for key in region.aiter_keys("a")]

        assert asyncio.run(told()) == ["a1"]

    @pytest.mark.server
    def test_a_redis_tells_its_keys_and_not_the_leases(
        self, start_redis: Callable[..., Server]
    ) -> None:
        server = start_redis()
        region = make_region("keys").configure(
            "dogpile.cache.redis",
            arguments={"url": f"redis://127.0.0.1:{server.port}"},
            signing_key=b"k" * 16,
        )
        region.put_multi({"a*1": 1, "a*2": 2, "ab": 3})
        told = region.get_or_create("a*3", lambda: sorted(region.iter_keys("a*")))

        assert told == ["a*1", "a*2"]
        region.close()

    def test_a_backend_that_cannot_tell_is_named(self, make: Maker) -> None:
        region = make("dbm")

        with pytest.raises(ConfigurationError, match="DBMBackend cannot tell"):
            region.iter_keys()

    def test_keys_that_were_mangled_are_not_told(self) -> None:
        region = make_region("mangled", key_mangler=str.upper)
        region.configure("dogpile.cache.memory")

        with pytest.raises(ConfigurationError, match="key_mangler"):
            region.iter_keys()
