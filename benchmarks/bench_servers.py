"""Real servers: a hit, a hundred keys and a crowd, beside the client alone."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import multiprocessing
import os
import pickle
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from time import perf_counter
from timeit import Timer
from typing import Any, NamedTuple

import rivals
from measure import (
    FLOOR,
    OURS,
    Effort,
    Figure,
    Readings,
    Row,
    Run,
    at_most,
    by_turns,
    percentile,
    ratio,
)

_HOST = "127.0.0.1"
# What is stored: a text whose pickle is 1 kB.
_VALUE = "x" * 1_000
_KEYS = [f"key:{number}" for number in range(100)]
_SHORT = "value"
# Seconds that answers are held back while round trips are counted: a client that
# has more to say says it before it hears an answer, as one that waits does not.
_HELD = 0.02
_TRIES = 3
_PROCESSES = 4
_THREADS = 8
_SLOW = 0.05
_CREATOR = "creator"
_CROWDS = 5
_PATIENCE = 120


# A client without time-outs waits for a mute server for ever, and saves a system
# call on each answer: what is measured is the library, so both have them.
_TIME_OUTS: dict[str, dict[str, Any]] = {
    "pymemcache": {"connect_timeout": 2, "timeout": 2},
    "redis": {"socket_connect_timeout": 2, "socket_timeout": 2},
}


class Raw(NamedTuple):
    """A client library alone, with the time-outs that ours has by itself.

    :param get: returns bytes.
    :param put: stores bytes.
    :param get_multi: returns the values of keys, unpickled, in their order.
    """

    get: Callable[[str], Any]
    put: Callable[[str, bytes], Any]
    get_multi: Callable[[list[str]], list[Any]]


def _pylibmc(port: int) -> Raw:
    import pylibmc

    times = {"connect_timeout": 2000, "receive_timeout": 2_000_000}
    client = pylibmc.Client([f"{_HOST}:{port}"], behaviors=times)
    return Raw(client.get, client.set, _ordered(client.get_multi))


def _pymemcache(port: int) -> Raw:
    from pymemcache.client.base import Client

    client = Client((_HOST, port), no_delay=True, **_TIME_OUTS["pymemcache"])
    return Raw(client.get, client.set, _ordered(client.get_many))


def _ordered(get_multi: Callable[[list[str]], Any]) -> Callable[[list[str]], list[Any]]:
    loads = pickle.loads

    def get(keys: list[str]) -> list[Any]:
        found = get_multi(keys)
        return [loads(found[key]) for key in keys]

    return get


def _redis(port: int) -> Raw:
    import redis

    return _redis_like(redis.Redis(_HOST, port, **_TIME_OUTS["redis"]))


def _valkey(port: int) -> Raw:
    import valkey

    return _redis_like(valkey.Valkey(_HOST, port, **_TIME_OUTS["redis"]))


def _redis_like(client: Any) -> Raw:
    loads, mget = pickle.loads, client.mget
    return Raw(client.get, client.set, lambda keys: [loads(v) for v in mget(keys)])


_CLIENTS: dict[str, Callable[[int], Raw]] = {
    "pylibmc": _pylibmc,
    "pymemcache": _pymemcache,
    "redis": _redis,
    "valkey": _valkey,
}
_INSTALLED = [name for name in _CLIENTS if importlib.util.find_spec(name)]


def _region(name: str, port: int) -> Any:
    """Return a region with the settings that it has by itself."""
    from dogpile.cache import make_region

    arguments = {"url": [f"{_HOST}:{port}"]}
    return make_region().configure(
        f"dogpile.cache.{name}",
        expiration_time=3600,
        arguments=arguments if _is_memcached(name) else {"host": _HOST, "port": port},
    )


def _is_memcached(name: str) -> bool:
    return name in ("pylibmc", "pymemcache")


def _from_tests(name: str) -> Any:
    folder = str(Path(__file__).parents[1] / "tests")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)


@contextlib.contextmanager
def serve(name: str) -> Iterator[int]:
    """Run the server that a client talks to, and yield its port."""
    servers = _from_tests("servers")
    if _is_memcached(name):
        # One thread: on which of several, and so on which processor, a connection
        # is served would otherwise count for three times the time of a hit.
        server = servers.memcached_like(servers.find_memcached(), "-t", "1")
    else:
        server = servers.redis_like(servers.find_redis(f"{name}-server"))
    try:
        yield server.start().port
    finally:
        server.stop()


def _skip(what: str, why: object, effort: Effort) -> None:
    # Standard output is for the readings.
    if effort.turn == 0:
        print(f"skipped: {what}: {why}", file=sys.stderr)


def _on_each(effort: Effort, work: Callable[[str, int], Readings]) -> Readings:
    """Do work on the server of each client, and return what it read there."""
    readings: Readings = {}
    for name in _CLIENTS:
        if name not in _INSTALLED:
            _skip(name, "it is not installed", effort)
            continue
        with serve(name) as port:
            readings.update({f"{name}: {k}": v for k, v in work(name, port).items()})
    return readings


def _timed(statement: str, **names: Any) -> Run:
    exec(statement, names)
    return Timer(statement, globals=names).timeit


def _creator(*keys: Any) -> Any:
    raise AssertionError("they are there")


# A hit.


def hits(effort: Effort) -> Readings:
    """Measure hits of 1 kB."""

    def on_one(name: str, port: int) -> Readings:
        raw, region = _CLIENTS[name](port), _region(name, port)
        raw.put("raw", pickle.dumps(_VALUE, 5))
        region.set("key", _VALUE)
        runs = {
            FLOOR: _timed("loads(get('raw'))", loads=pickle.loads, get=raw.get),
            "get": _timed("f('key')", f=region.get),
            "get_or_create": _timed("f('key', c)", f=region.get_or_create, c=_creator),
            **_others(name, port, effort),
        }
        taken = by_turns(runs, effort, turns=20, seconds=0.02)
        get, ask = taken.pop("get"), taken.pop("get_or_create")
        floor = {FLOOR: taken[FLOOR]}
        return {
            "get": {**floor, OURS: get, **taken},
            "get_or_create": {**floor, OURS: ask},
            "round trips of a hit": {OURS: _trips_of_a_hit(name, port)},
        }

    return _on_each(effort, on_one)


def _trips_of_a_hit(name: str, port: int) -> float:
    with _counting(port) as proxy:
        region = _region(name, proxy.port)
        region.get_or_create("key", _creator)
        before = proxy.round_trips
        region.get("key")
        region.get_or_create("key", _creator)
        return float(proxy.round_trips - before) / 2


# Many keys.


def many(effort: Effort) -> Readings:
    """Measure a hundred keys at once."""

    def on_one(name: str, port: int) -> Readings:
        raw, region = _CLIENTS[name](port), _region(name, port)
        raw_keys = [f"raw:{key}" for key in _KEYS]
        for raw_key, key in zip(raw_keys, _KEYS, strict=True):
            raw.put(raw_key, pickle.dumps(_VALUE, 5))
            region.set(key, _VALUE)
        assert raw.get_multi(raw_keys) == region.get_multi(_KEYS)
        ask = region.get_or_create_multi
        runs = {
            FLOOR: _timed("f(keys)", f=raw.get_multi, keys=raw_keys),
            "get": _timed("f(keys)", f=region.get_multi, keys=_KEYS),
            "ask": _timed("f(keys, c)", f=ask, keys=_KEYS, c=_creator),
        }
        taken = by_turns(runs, effort, turns=20, seconds=0.02)
        floor = {FLOOR: taken[FLOOR]}
        return {
            "get_multi": {**floor, OURS: taken["get"]},
            "get_or_create_multi": {**floor, OURS: taken["ask"]},
            "100 missing, round trips": {OURS: _trips_of_misses(name, port)},
        }

    return _on_each(effort, on_one)


def _trips_of_misses(name: str, port: int) -> float:
    trips = []
    with _counting(port) as proxy:
        region = _region(name, proxy.port)
        for turn in range(_TRIES):
            before = proxy.round_trips
            keys = [f"missing:{turn}:{key}" for key in _KEYS]
            region.get_or_create_multi(keys, lambda *asked: [_SHORT] * len(asked))
            trips.append(proxy.round_trips - before)
    # The first of them loads the scripts.
    return float(min(trips))


def _counting(port: int) -> Any:
    """Return a proxy that counts round trips."""
    tests = _from_tests("proxy")
    proxy = tests.Proxy(port, delay=_HELD)
    proxy.damage = tests.Damage.SLOW
    return proxy


# A crowd: every thread of every process asks for the same missing key.


def crowd(effort: Effort) -> Readings:
    """Let 4 x 8 threads ask for a missing value at once."""

    def on_one(name: str, port: int) -> Readings:
        keys = [f"crowd:{number}" for number in range(effort.times(_CROWDS))]
        context = multiprocessing.get_context("spawn")
        ready, answers = context.Barrier(_PROCESSES), context.Queue()
        counts = context.Array("i", len(keys))
        given = (name, port, keys, ready, counts, answers)
        processes = [
            context.Process(target=_come, args=given) for _ in range(_PROCESSES)
        ]
        for process in processes:
            process.start()
        try:
            waits = [w for _ in processes for w in answers.get(timeout=_PATIENCE)]
        finally:
            for process in processes:
                process.join(1)
                process.kill()
        tail = percentile(waits, 0.99)
        return {
            "calls": {OURS: float(max(counts[:]))},
            "p99 of the wait": {_CREATOR: _SLOW, OURS: tail},
        }

    return _on_each(effort, on_one)


def _come(
    name: str, port: int, keys: list[str], ready: Any, counts: Any, answers: Any
) -> None:
    region = _region(name, port)
    region.get_or_create(f"warm:{os.getpid()}", lambda: _VALUE)
    here = threading.Barrier(_THREADS, action=ready.wait)
    waits: list[float] = []

    def created(number: int) -> str:
        with counts.get_lock():
            counts[number] += 1
        time.sleep(_SLOW)
        return _VALUE

    def ask() -> None:
        for number, key in enumerate(keys):
            here.wait()
            began = perf_counter()
            region.get_or_create(key, lambda number=number: created(number))
            waits.append(perf_counter() - began)

    threads = [threading.Thread(target=ask) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.put(waits)


# Others, where they are installed: what gets the value of "other" by them.


def _others(name: str, port: int, effort: Effort) -> dict[str, Run]:
    makers: dict[str, Callable[[str, int], Run | None]] = {
        "django": _django,
        "flask_caching": _flask_caching,
        "aiocache": _aiocache,
        "cashews": _cashews,
    }
    found: dict[str, Run] = {}
    for module, make in makers.items():
        if rivals.find(module) is None:
            _skip(module, "it is not installed", effort)
            continue
        try:
            run = make(name, port)
        except Exception as error:  # noqa: BLE001 - a rival that fails is left out
            _skip(f"{module} with {name}", repr(error), effort)
            continue
        if run is not None:
            found[module] = run
    return found


def _django(name: str, port: int) -> Run | None:
    from django.conf import settings

    if not settings.configured:
        settings.configure()
    backends = {
        "pylibmc": ("memcached", "PyLibMCCache", f"{_HOST}:{port}"),
        "pymemcache": ("memcached", "PyMemcacheCache", f"{_HOST}:{port}"),
        "redis": ("redis", "RedisCache", f"redis://{_HOST}:{port}/0"),
    }
    if name not in backends:
        return None
    module, kind, location = backends[name]
    backend = importlib.import_module(f"django.core.cache.backends.{module}")
    return _filled(getattr(backend, kind)(location, {}))


def _flask_caching(name: str, port: int) -> Run | None:
    from flask_caching import backends

    if name == "redis":
        return _filled(backends.RedisCache(_HOST, port))
    if name == "pylibmc":
        return _filled(backends.MemcachedCache([f"{_HOST}:{port}"]))
    return None


def _filled(cache: Any) -> Run:
    cache.set("other", _VALUE, 3600)
    assert cache.get("other") == _VALUE
    return _timed("f('other')", f=cache.get)


def _aiocache(name: str, port: int) -> Run | None:
    if name != "redis":
        return None
    from aiocache import RedisCache
    from aiocache.serializers import PickleSerializer

    cache = RedisCache(endpoint=_HOST, port=port, serializer=PickleSerializer())
    return _awaiting(lambda: cache.set("other", _VALUE, ttl=3600), cache.get)


def _cashews(name: str, port: int) -> Run | None:
    if name != "redis":
        return None
    from cashews import Cache

    cache = Cache()
    cache.setup(f"redis://{_HOST}:{port}/0")
    return _awaiting(lambda: cache.set("other", _VALUE, expire=3600), cache.get)


def _awaiting(
    put: Callable[[], Awaitable[Any]], get: Callable[[str], Awaitable[Any]]
) -> Run:
    loop = asyncio.new_event_loop()

    async def filled() -> None:
        await put()
        assert await get("other") == _VALUE

    async def timed(count: int) -> float:
        began = perf_counter()
        for _ in range(count):
            await get("other")
        return perf_counter() - began

    loop.run_until_complete(filled())
    return lambda count: loop.run_until_complete(timed(count))


def _rows(*rows: Row) -> tuple[Row, ...]:
    """Return the rows of each client."""
    return tuple(
        row._replace(name=f"{name}: {row.name}") for name in _INSTALLED for row in rows
    )


FIGURES = (
    Figure(
        "servers",
        "A hit of 1 kB on a server, beside the client's get and pickle.loads",
        _rows(
            Row("get", "µs", ratio(1.08)),
            Row("get_or_create", "µs", ratio(1.10)),
            Row("round trips of a hit", "calls", at_most(1)),
        ),
        hits,
        with_classic=False,
    ),
    Figure(
        "servers-many",
        "A hundred keys of 1 kB on a server, beside the client's own multi-get",
        _rows(
            Row("get_multi", "µs", ratio(1.25)),
            Row("get_or_create_multi", "µs", ratio(1.35)),
            Row("100 missing, round trips", "calls", at_most(4)),
        ),
        many,
        with_classic=False,
    ),
    Figure(
        "servers-crowd",
        "A crowd of 4 processes with 8 threads on a server, a creator of 50 ms",
        _rows(
            Row("calls", "calls", at_most(1)),
            Row("p99 of the wait", "ms", at_most(0.065), _CREATOR),
        ),
        crowd,
        with_classic=False,
        is_parallel=True,
    ),
)
