"""Whole regions on real servers: crowds, killed holders, storms and outages."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import pytest
from proxy import Damage, Proxy
from servers import wait_until

from dogpile.cache import NO_VALUE, CacheRegion, make_region
from dogpile.cache.clock import SYSTEM_CLOCK
from dogpile.cache.exception import BackendError

pytestmark = pytest.mark.server

# Beyond it something hangs, however slow the machine is.
PATIENCE = 120

SPAWN = multiprocessing.get_context("spawn")


class Place(NamedTuple):
    """Where a region keeps its values.

    :param backend: the name of the backend.
    :param arguments: for it.
    """

    backend: str
    arguments: dict[str, Any]

    def region(self, **settings: Any) -> CacheRegion:
        settings = {"expiration_time": 60, "serializer": "json", **settings}
        region = make_region("servers", generation_ttl=0)
        return region.configure(self.backend, arguments=self.arguments, **settings)


def _place(name: str, port: int) -> Place:
    backend = f"dogpile.cache.{name}"
    if name in ("redis", "valkey"):
        return Place(backend, {"host": "127.0.0.1", "port": port})
    return Place(backend, {"url": [f"127.0.0.1:{port}"]})


NAMES = ["redis", "valkey", "pylibmc", "pymemcache", "bmemcached", "memcached"]
MODULES = {"bmemcached": "bmemcached", "memcached": "memcache"}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    pytest.importorskip(MODULES.get(found, found))
    return found


@pytest.fixture
def server(request: pytest.FixtureRequest, name: str) -> Any:
    kind = name if name in ("redis", "valkey") else "memcached"
    return request.getfixturevalue(f"{kind}_server")


@pytest.fixture
def place(name: str, server: Any) -> Place:
    found = _place(name, server.port)
    with found.region() as region:
        region.invalidate()
    return found


def _together(count: int, work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)


def _add_one(number: Any) -> None:
    with number.get_lock():
        number.value += 1


def _count_who_wait(region: CacheRegion, waiting: Any) -> None:
    """Count who waits for another's creation, once he can no longer miss its end.

    That is who is in another thread's flight, and a process that was refused the
    lease.
    """
    ops, flights = region.storage.ops, region.storage.flights
    board, lease = flights.board, ops["lease"]
    refused: list[Any] = []

    def board_and_count(key: Any) -> Any:
        flight, is_leader = board(key)
        if not is_leader:
            _add_one(waiting)
        return flight, is_leader

    def lease_and_count(*given: Any, **how: Any) -> Any:
        found = lease(*given, **how)
        if not (found.granted or refused):
            refused.append(found)
            _add_one(waiting)
        return found

    flights.board = board_and_count  # type: ignore[method-assign]
    ops["lease"] = lease_and_count


def _crowd(
    place: Place, gate: Any, calls: Any, waiting: Any, answers: Any, is_failing: bool
) -> None:
    region = place.region()
    _count_who_wait(region, waiting)
    got: list[str] = []

    def create() -> str:
        _add_one(calls)
        wait_until(lambda: waiting.value >= 31, "all others to wait", PATIENCE)
        if is_failing:
            raise ValueError("no luck")
        return "value"

    def ask() -> None:
        try:
            got.append(region.get_or_create("crowd", create))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is shown
            got.append(repr(error))

    region.get("warm")
    gate.wait(PATIENCE)
    _together(8, ask)
    answers.put(got)
    region.close()


@pytest.mark.slow
@pytest.mark.parametrize("is_failing", [False, True], ids=["value", "error"])
def test_four_processes_of_eight_threads_create_once(
    place: Place, is_failing: bool
) -> None:
    gate, answers = SPAWN.Barrier(4), SPAWN.Queue()
    calls, waiting = SPAWN.Value("i", 0), SPAWN.Value("i", 0)
    given = (place, gate, calls, waiting, answers, is_failing)
    crowd = [SPAWN.Process(target=_crowd, args=given) for _ in range(4)]

    for process in crowd:
        process.start()
    got = [answer for _ in crowd for answer in answers.get(timeout=PATIENCE)]
    for process in crowd:
        process.join(PATIENCE)

    assert calls.value == 1
    assert len(got) == 32
    assert {"no luck" in each for each in got} == {is_failing}


def _doomed(place: Place, begun: Any) -> None:
    def create() -> str:
        begun.set()
        threading.Event().wait()
        return "never"

    place.region(lease_time=2).get_or_create("doomed", create)


def _heir(place: Place, gate: Any, calls: Any, waiting: Any, answers: Any) -> None:
    def create() -> str:
        _add_one(calls)
        wait_until(lambda: waiting.value >= 3, "the others to wait", PATIENCE)
        return "value"

    region = place.region(lease_time=2)
    _count_who_wait(region, waiting)
    gate.wait(PATIENCE)
    answers.put(region.get_or_create("doomed", create))
    region.close()


@pytest.mark.slow
def test_one_of_those_who_wait_takes_over_from_a_killed_holder(place: Place) -> None:
    begun, gate = SPAWN.Event(), SPAWN.Barrier(4)
    calls, waiting, answers = SPAWN.Value("i", 0), SPAWN.Value("i", 0), SPAWN.Queue()
    holder = SPAWN.Process(target=_doomed, args=(place, begun))
    holder.start()
    assert begun.wait(PATIENCE)
    given = (place, gate, calls, waiting, answers)
    heirs = [SPAWN.Process(target=_heir, args=given) for _ in range(4)]

    for process in heirs:
        process.start()
    os.kill(holder.pid or 0, signal.SIGKILL)
    got = [answers.get(timeout=PATIENCE) for _ in heirs]
    for process in [holder, *heirs]:
        process.join(PATIENCE)

    assert got == ["value"] * 4
    assert calls.value == 1


# What a region is asked with, by the key whose holder is killed; and the seconds
# within which it is answered. The second has a value that has expired.
KILLED: dict[str, tuple[dict[str, Any], float]] = {
    "default": ({}, 15),
    "expired": ({"expiration_time": 0.001}, 2),
    "brief": ({"lease_time": 2}, 6),
}


def _holder(place: Place, begun: Any) -> None:
    region = place.region()

    def create() -> str:
        begun.wait()
        threading.Event().wait()
        return "never"

    for key, (settings, _) in KILLED.items():
        ask = partial(region.get_or_create, key, create, **settings)
        threading.Thread(target=ask, daemon=True).start()
    threading.Event().wait()


@pytest.mark.slow
def test_a_killed_holder_stops_nobody_for_longer_than_promised(place: Place) -> None:
    begun = SPAWN.Barrier(len(KILLED) + 1)
    took: dict[str, float] = {}
    with place.region() as region:
        region.put("expired", "old")
        holder = SPAWN.Process(target=_holder, args=(place, begun))
        holder.start()
        begun.wait(PATIENCE)
        os.kill(holder.pid or 0, signal.SIGKILL)
        holder.join(PATIENCE)
        keys = iter(KILLED)

        def ask() -> None:
            key = next(keys)
            start = SYSTEM_CLOCK.monotonic()
            value = region.get_or_create(key, lambda: "new", **KILLED[key][0])
            took[key] = SYSTEM_CLOCK.monotonic() - start
            assert value == ("old" if key == "expired" else "new")

        _together(len(KILLED), ask)

    assert took.keys() == KILLED.keys()
    assert all(took[key] <= limit for key, (_, limit) in KILLED.items()), took


def _storm(
    place: Place, seed: int, gate: Any, begun: Any, ended: Any, faults: Any
) -> None:
    """Write and read; no read may be older than the last write that has ended.

    Each write has a number, and a creator's value is the number of the last
    write that had begun when it was called. One writes at a time.
    """
    region = place.region(lease_time=5)
    gate.wait(PATIENCE)

    def write(rng: random.Random) -> None:
        with ended.get_lock():
            begun.value += 1
            mine = begun.value
            acts: list[Callable[[], Any]] = [
                lambda: region.put("storm", mine),
                lambda: region.delete("storm"),
                lambda: region.delete_multi(["storm", "other"]),
                region.invalidate,
            ]
            rng.choice(acts)()
            ended.value = mine

    def read(rng: random.Random) -> None:
        seconds = rng.random() * 0.01

        def create() -> int:
            current = int(begun.value)
            time.sleep(seconds)
            return current

        oldest = ended.value
        value = region.get_or_create("storm", create)
        if value < oldest:
            faults.put((oldest, value))

    seeds = iter(range(seed * 100, seed * 100 + 4))

    def run() -> None:
        rng = random.Random(next(seeds))
        for _ in range(40):
            (write if rng.random() < 0.25 else read)(rng)

    _together(4, run)
    region.close()


@pytest.mark.slow
def test_a_storm_of_writes_leaves_no_stale_set(place: Place) -> None:
    gate, faults = SPAWN.Barrier(4), SPAWN.Queue()
    begun, ended = SPAWN.Value("i", 0), SPAWN.Value("i", 0)
    storm = [
        SPAWN.Process(target=_storm, args=(place, seed, gate, begun, ended, faults))
        for seed in range(4)
    ]

    for process in storm:
        process.start()
    for process in storm:
        process.join(PATIENCE)

    assert [process.exitcode for process in storm] == [0] * 4
    assert ended.value > 50
    assert faults.empty(), faults.get()


@pytest.fixture
def proxy(server: Any) -> Iterator[Proxy]:
    with Proxy(server.port) as passing:
        yield passing


@pytest.fixture
def distant(name: str, proxy: Proxy) -> Iterator[CacheRegion]:
    """Yield a region that reaches its server through the proxy."""
    place = _place(name, proxy.port)
    arguments = {**place.arguments, "socket_timeout": 0.5}
    with place._replace(arguments=arguments).region() as region:
        yield region


DAMAGES = [
    Damage.MUTE,
    Damage.DEAF,
    Damage.GARBAGE,
    Damage.SLOW,
    Damage.CUT,
    Damage.CLOSED,
]


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name.lower())
def test_a_server_in_trouble_stops_nobody(
    distant: CacheRegion, proxy: Proxy, damage: Damage
) -> None:
    distant.put("known", "old")
    proxy.damage = damage
    proxy.cut()

    first = distant.get_or_create("new", lambda: "first")
    distant.delete("known")
    distant.invalidate()
    trips, connections = proxy.round_trips, proxy.connections
    second = distant.get_or_create("new", lambda: "second")

    assert (first, second) == ("first", "second")
    if damage is not Damage.GARBAGE:
        # The breaker is open: the server is not even asked.
        assert (proxy.round_trips, proxy.connections) == (trips, connections)

    proxy.damage = Damage.NONE
    proxy.cut()
    values = iter(range(10_000))

    def is_cached() -> bool:
        made = distant.get_or_create("back", lambda: next(values))
        return bool(distant.get_or_create("back", lambda: next(values)) == made)

    wait_until(is_cached, "values are cached again", seconds=30)
    assert distant.get("known") is NO_VALUE


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [Damage.MUTE, Damage.SLOW, Damage.GARBAGE, Damage.CLOSED],
    ids=lambda damage: damage.name.lower(),
)
def test_a_server_in_trouble_costs_what_is_promised_by_default(
    name: str, proxy: Proxy, damage: Damage
) -> None:
    values = iter(range(10_000))

    def seconds(claim: Callable[[], bool]) -> float:
        start = SYSTEM_CLOCK.monotonic()
        wait_until(claim, "an answer", PATIENCE)
        return SYSTEM_CLOCK.monotonic() - start

    with _place(name, proxy.port).region() as region:

        def ask() -> int:
            return region.get_or_create("key", lambda: next(values))

        ask()
        proxy.damage = damage
        proxy.cut()
        first = seconds(lambda: ask() > 0)
        second = seconds(lambda: ask() > 0)
        proxy.damage = Damage.NONE
        proxy.cut()
        until_cached = seconds(lambda: ask() == ask())

    assert first <= 5
    assert second <= 0.5
    assert until_cached <= 8


@pytest.mark.slow
def test_a_put_that_does_not_arrive_is_an_error(
    distant: CacheRegion, proxy: Proxy
) -> None:
    proxy.damage = Damage.CLOSED
    proxy.cut()

    with pytest.raises(BackendError) as caught:
        distant.put("key", "secret value")

    assert "secret value" not in str(caught.value)


def test_one_value_that_is_too_large_leaves_the_others_and_no_lease(
    place: Place, server: Any, name: str
) -> None:
    if name in ("redis", "valkey"):
        place.arguments["max_value_bytes"] = 1_000_000
    with place.region() as region, place.region() as other:
        names = ["large", "small", "smaller"]
        made = ["x" * 2_000_000, "small", "s"]

        values = region.get_or_create_multi(names, lambda *keys: made)

        assert values == made
        assert other.get_multi(names) == [NO_VALUE, "small", "s"]
        assert not other.key_is_locked("large")


@pytest.mark.parametrize(
    ("client", "arguments"),
    [
        ("pymemcache", {"hashclient_retry_attempts": 1}),
        (
            "pylibmc",
            {
                "behaviors": {
                    "ketama": True,
                    "auto_eject": True,
                    "failure_limit": 1,
                    "dead_timeout": 60,
                }
            },
        ),
    ],
)
def test_a_ring_that_may_leave_a_server_out_goes_on_without_it(
    client: str, arguments: dict[str, Any], start_memcached: Callable[[], Any]
) -> None:
    pytest.importorskip(client)
    servers = [start_memcached() for _ in range(3)]
    url = [f"127.0.0.1:{server.port}" for server in servers]
    place = Place(f"dogpile.cache.{client}", {"url": url, **arguments})
    keys = [f"key {number}" for number in range(30)]
    with place.region() as region:
        region.put_multi(dict.fromkeys(keys, "stored"))
        servers[1].stop()

        def is_cached(key: str) -> bool:
            region.get_or_create(key, lambda: "created")
            return bool(region.get(key) is not NO_VALUE)

        wait_until(lambda: all(map(is_cached, keys)), "the others to have all keys")

        assert "created" in region.get_multi(keys)
