"""Processes that write, create and read the same few keys, all at once."""

from __future__ import annotations

import multiprocessing
import random
import threading
from typing import Any, NamedTuple

from dogpile.cache.api import NO_VALUE
from dogpile.cache.backends.memcached import GenericMemcachedBackend
from dogpile.cache.clock import SYSTEM_CLOCK

KEYS = ("one", "two", "three")


class Outcome(NamedTuple):
    """What became of a storm, in numbers.

    :param stored: commits that were stored.
    :param refused: commits that were refused.
    :param hits: values that were read.
    :param stale: values that were older than a write that was over.
    """

    stored: int = 0
    refused: int = 0
    hits: int = 0
    stale: int = 0


def run_storm(
    kind: type[GenericMemcachedBackend],
    arguments: dict[str, Any],
    *,
    processes: int,
    threads: int,
    rounds: int,
) -> Outcome:
    """Let a storm loose, and wait until it is over."""
    context = multiprocessing.get_context("spawn")
    database = context.Array("q", len(KEYS))
    written = context.Array("q", len(KEYS))
    told: Any = context.Queue()
    start = context.Barrier(processes * threads)
    workers = [
        context.Process(
            target=_work,
            args=(
                kind,
                arguments,
                database,
                written,
                start,
                told,
                seed,
                threads,
                rounds,
            ),
        )
        for seed in range(processes)
    ]
    for worker in workers:
        worker.start()
    outcomes = [told.get(timeout=120) for _ in range(processes * threads)]
    for worker in workers:
        worker.join(60)
    told.close()
    return Outcome(*map(sum, zip(*outcomes, strict=True)))


def _work(
    kind: type[GenericMemcachedBackend],
    arguments: dict[str, Any],
    database: Any,
    written: Any,
    start: Any,
    told: Any,
    seed: int,
    threads: int,
    rounds: int,
) -> None:
    backend = kind(arguments)
    actors = [
        _Actor(backend, database, written, random.Random(f"{seed} {number}"))
        for number in range(threads)
    ]
    runners = [
        threading.Thread(target=actor.run, args=(start, told, rounds))
        for actor in actors
    ]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join(120)
    backend.close()


class _Actor:
    """One thread of the storm.

    :param database: the newest version of each key.
    :param written: the newest version that the cache was told of.
    """

    def __init__(
        self,
        backend: GenericMemcachedBackend,
        database: Any,
        written: Any,
        dice: random.Random,
    ) -> None:
        self._backend = backend
        self._database = database
        self._written = written
        self._dice = dice
        self._outcome = Outcome()

    def run(self, start: Any, told: Any, rounds: int) -> None:
        try:
            start.wait(60)
            for _ in range(rounds):
                act = self._dice.choices(
                    (self._write, self._create, self._create_all, self._read),
                    (2, 6, 1, 4),
                )[0]
                act(self._dice.randrange(len(KEYS)))
        finally:
            told.put(self._outcome)

    def _count(self, **more: int) -> None:
        counted = {name: getattr(self._outcome, name) + more[name] for name in more}
        self._outcome = self._outcome._replace(**counted)

    def _write(self, number: int) -> None:
        # In turn, as the rows of a database are: of two puts the last one wins.
        with self._database.get_lock():
            self._database[number] += 1
            version = self._database[number]
            if self._dice.random() < 0.5:
                self._backend.delete(KEYS[number])
            else:
                self._backend.set(KEYS[number], b"%d" % version)
            self._written[number] = version

    def _create(self, number: int) -> None:
        steal = self._dice.random() < 0.05
        lease = self._backend.lease(KEYS[number], 2, steal=steal)
        if not lease.granted:
            return
        version = self._database[number]
        # Sometimes a creator takes long enough for somebody to write meanwhile.
        SYSTEM_CLOCK.sleep(self._dice.choice((0, 0, 0.001, 0.003)))
        if self._dice.random() < 0.1:
            self._backend.release(lease, b"failed")
            return
        if self._dice.random() < 0.2:
            self._backend.renew(lease, 2)
        self._note(self._backend.commit(lease, b"%d" % version))

    def _create_all(self, number: int) -> None:
        leases = self._backend.lease_multi(KEYS, 2)
        versions = list(self._database)
        pairs = [
            (lease, b"%d" % version)
            for lease, version in zip(leases, versions, strict=True)
        ]
        are_stored = self._backend.commit_multi(pairs)
        for lease, is_stored in zip(leases, are_stored, strict=True):
            if lease.granted:
                self._note(is_stored)

    def _note(self, is_stored: bool) -> None:
        self._count(stored=is_stored, refused=not is_stored)

    def _read(self, number: int) -> None:
        oldest = self._written[number]
        value = self._backend.get(KEYS[number])
        if value is not NO_VALUE:
            self._count(hits=1, stale=int(value) < oldest)  # type: ignore[arg-type]  # bytes
