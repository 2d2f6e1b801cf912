"""Several processes share one server, and one of them dies on the way.

Each process wants the same expensive value at once. The one that creates it
first is killed in the middle; another takes over when its lease ends, and all
the others get that one value. Start it with a server of your own, as in

    python examples/cluster.py --backend dogpile.cache.redis --url redis://localhost
    python examples/cluster.py --backend dogpile.cache.pymemcache --url localhost:11211

or without one: then the embedded sqlite file is the meeting point.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import tempfile
import time
from typing import Any

from dogpile.cache import CacheRegion, make_region

LEASE = 2.0
SECONDS = 0.3


def region_of(backend: str, arguments: dict[str, Any]) -> CacheRegion:
    """Return the region that every process makes for itself."""
    region = make_region("cluster", expiration_time=60, lease_time=LEASE)
    return region.configure(backend, arguments=arguments, serializer="json")


def doomed(backend: str, arguments: dict[str, Any], started: Any) -> None:
    """Begin to create the value, and never end."""

    def create() -> str:
        started.set()
        time.sleep(3600)
        return "never"

    region_of(backend, arguments).get_or_create("report", create)


def caller(
    backend: str, arguments: dict[str, Any], calls: Any, gate: Any, answers: Any
) -> None:
    """Ask for the value together with everybody else."""
    region = region_of(backend, arguments)

    def create() -> str:
        with calls.get_lock():
            calls.value += 1
        time.sleep(SECONDS)
        return f"created by process {os.getpid()}"

    gate.wait()
    began = time.perf_counter()
    value = region.get_or_create("report", create)
    answers.put((value, time.perf_counter() - began))
    region.close()


def main() -> None:
    """Read the command line, and find a folder where no server is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="dogpile.cache.sqlite")
    parser.add_argument("--url", default=None)
    parser.add_argument("--processes", type=int, default=4)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        arguments = {"url": given.url}
        if given.url is None:
            arguments = {"filename": os.path.join(folder, "cluster.sqlite")}
        run(given.backend, arguments, given.processes)


def run(backend: str, arguments: dict[str, Any], processes: int) -> None:
    """Kill the one that creates, and see who takes over."""
    spawn = multiprocessing.get_context("spawn")
    with region_of(backend, arguments) as region:
        region.delete("report")
    started = spawn.Event()
    first = spawn.Process(target=doomed, args=(backend, arguments, started))
    first.start()
    started.wait(30)
    print(f"process {first.pid} creates the value, and holds the lease")

    calls, gate = spawn.Value("i", 0), spawn.Barrier(processes + 1)
    answers: Any = spawn.Queue()
    crowd = [
        spawn.Process(target=caller, args=(backend, arguments, calls, gate, answers))
        for _ in range(processes)
    ]
    for process in crowd:
        process.start()
    gate.wait(30)
    print(f"{processes} more processes want it now, and wait")
    os.kill(first.pid or 0, getattr(signal, "SIGKILL", signal.SIGTERM))
    first.join()
    print(f"process {first.pid} is killed; its lease ends within {LEASE:g} s")

    got = [answers.get(timeout=60) for _ in crowd]
    for process in crowd:
        process.join()
    values = {value for value, _ in got}
    longest = max(waited for _, waited in got)
    print(f"everybody has the value, {values.pop()}")
    print(f"calls of the creator: {calls.value}; longest wait: {longest:.2f} s")


if __name__ == "__main__":
    main()
