"""What the leader of many flights does: leases, one creator, one commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dogpile.cache.api import NO_VALUE, CachedValue, Lease, NoValueType
from dogpile.cache.creation import Many, Seen, Skipped
from dogpile.cache.creator import name_of
from dogpile.cache.exception import (
    BackendError,
    BackendUnavailable,
    CodecError,
    CreatorMismatch,
)
from dogpile.cache.flight import ABANDONED, Flight
from dogpile.cache.leader import doubt, keep_stale, warn_once
from dogpile.cache.lease import RENEWER
from dogpile.cache.operations import marks_for
from dogpile.cache.policy import EARLY, FRESH, MISS, Policy, kept_for
from dogpile.cache.ports import Carried, Ports
from dogpile.cache.records import records
from dogpile.cache.storage import Storage


class Job(NamedTuple):
    """A key to be created by this caller."""

    key: Any
    name: Any
    flight: Flight
    seen: Seen


async def create_jobs(
    ports: Ports,
    storage: Storage,
    many: Many,
    jobs: list[Job],
    answers: dict[Any, Any],
) -> list[Job]:
    """Create what this process may create.

    :return: the jobs that another process is at; their flights go on.
    """
    leased, mine, remote = await _lease(ports, storage, many, jobs, answers)
    if not mine:
        return remote
    marks: Mapping[str, str] = {}
    if leased:  # else nothing is stored
        marks = await records(ports, storage, many.records)
    for job in mine:
        job.flight.marks = marks
    handles = []
    if leased and storage.capabilities.leases:
        handles = [_keep(storage, many, lease) for lease in leased.values()]
    started = storage.clock.time()
    began = storage.clock.monotonic()
    try:
        values = await _run(ports, storage, many, mine)
        wanted = [_wanted(many.policy, value) for value in values]
    except BaseException as error:
        spent = storage.clock.monotonic() - began
        await _give_up(ports, storage, many, mine, leased, error, spent)
        hand_over(storage, remote)
        raise
    finally:
        for handle in handles:
            RENEWER.drop(handle)
    seconds = storage.clock.monotonic() - began
    if "create" in storage.events.wanted:
        for job in mine:
            storage.events.emit("create", job.name, seconds=seconds / len(mine))
    more = {"d": seconds / len(mine)} if many.policy.early else None
    created = list(zip(mine, wanted, strict=True))
    await _store(ports, storage, many, created, leased, started, marks, more)
    for job, value in zip(mine, values, strict=True):
        payload = value.value if isinstance(value, Skipped) else value
        answers[job.key] = payload
        storage.flights.land(job.flight, payload)
    return remote


def hand_over(storage: Storage, jobs: Sequence[Job]) -> None:
    """End the flights that have not ended, for somebody else to lead."""
    for job in jobs:
        if not job.flight.done:
            storage.flights.land(job.flight, ABANDONED)


def _wanted(policy: Policy, value: Any) -> Any:
    """Return a created value, or ``NO_VALUE`` if it is not to be stored."""
    if value is NO_VALUE or isinstance(value, Skipped):
        return NO_VALUE
    wanted = policy.should_cache_fn
    return value if wanted is None or wanted(value) else NO_VALUE


def _keep(storage: Storage, many: Many, lease: Lease) -> int:
    backend: Any = storage.backend
    return RENEWER.keep(backend, lease, many.policy.lease_time, storage.clock)


async def _lease(
    ports: Ports,
    storage: Storage,
    many: Many,
    jobs: list[Job],
    answers: dict[Any, Any],
) -> tuple[dict[Any, Lease], list[Job], list[Job]]:
    """Take the leases of all jobs, in one step.

    :return: the leases by key, the jobs to be done here, and those that
        another process is at.
    """
    keys = [job.key for job in jobs]
    for job in jobs:
        job.flight.seal()
    try:
        leases = await _ask(ports, storage, many, keys)
        values = [storage.coding.decode(lease.key, lease.found) for lease in leases]
        known = await records(ports, storage, many.records)
        marks = await marks_for(ports, storage, values, many.records, known)
    except BackendError as error:
        error.during("get_or_create_multi")
        if many.policy.on_backend_error == "raise":
            raise
        storage.events.emit("backend_error", error=error)
        for job in jobs:
            job.flight.sealed = None
        return {}, jobs, []
    taken: dict[Any, Lease] = {}
    mine: list[Job] = []
    remote: list[Job] = []
    needless: list[Lease] = []
    for job, lease, found, held in zip(jobs, leases, values, marks, strict=True):
        verdict = storage.judge(found, many.policy, held, explicit=many.explicit)
        made = verdict in (FRESH, EARLY) and not _was_seen(found, job.seen)
        if made or (verdict is not MISS and not lease.granted):
            if lease.granted:
                needless.append(lease)
            answers[job.key] = found.payload
            storage.flights.land(job.flight, found.payload)
        elif lease.granted:
            taken[job.key] = lease
            job.flight.sealed = None
            mine.append(job)
        else:
            remote.append(job)
    if needless:
        await ports.call(storage, "release_multi", needless)
    return taken, mine, remote


def _was_seen(found: CachedValue | NoValueType, seen: Seen) -> bool:
    # Payloads are not compared: what it means to be equal is for them to say.
    return (
        found is not NO_VALUE
        and seen.value is not NO_VALUE
        and found.metadata == seen.value.metadata
    )


async def _ask(
    ports: Ports, storage: Storage, many: Many, keys: list[Any]
) -> list[Lease]:
    if storage.entries is None:
        leases: list[Lease] = await ports.call(
            storage, "lease_multi", keys, many.policy.lease_time
        )
        return leases
    found = storage.ops["get_multi"](keys)
    return [
        Lease(key, "", granted=True, found=each)
        for key, each in zip(keys, found, strict=True)
    ]


async def _run(
    ports: Ports, storage: Storage, many: Many, jobs: list[Job]
) -> list[Any]:
    names = [job.name for job in jobs]

    def creator() -> Any:
        return many.creator(*names)

    creator.__dict__["quick"] = getattr(many.creator, "quick", False)
    creator.__qualname__ = name_of(many.creator)

    def on_timeout() -> None:
        for job in jobs:
            job.flight.void = True

    made = await ports.create(
        creator, storage.clock, many.policy.hard_timeout, on_timeout
    )
    return checked_values(made, len(jobs))


def checked_values(values: Any, count: int) -> list[Any]:
    """Return the values of a creator, if there is one for each key."""
    try:
        checked = list(values)
    except TypeError:
        raise CreatorMismatch(
            f"a creator for many keys returns a sequence of values, not a "
            f"{type(values).__name__}; nothing was stored"
        ) from None
    if len(checked) != count:
        raise CreatorMismatch(
            f"a creator was asked for {count} values, one for each key, and "
            f"returned {len(checked)}; nothing was stored"
        )
    return checked


async def _store(
    ports: Ports,
    storage: Storage,
    many: Many,
    created: list[tuple[Job, Any]],
    leased: Mapping[Any, Lease],
    started: float,
    marks: Mapping[str, str],
    more: Mapping[str, Any] | None,
) -> None:
    """Store the created values, in one step; a cache's fault is not the caller's.

    :param created: the jobs, each with its value, or with ``NO_VALUE``.
    """
    batch: list[tuple[Lease, Any]] = []
    unused: list[Lease] = []
    for job, value in created:
        lease = leased.get(job.key)
        stored = value is not NO_VALUE
        if lease is None or job.flight.done:
            continue  # in the child of a fork, the lease is its parent's
        if not stored or job.flight.void:
            if stored:
                doubt(storage, job.flight)
                storage.events.emit("refused_commit", job.name)
            unused.append(lease)
            continue
        metadata = storage.metadata(started, many.policy, marks, more=more)
        made = CachedValue(value, metadata)
        if storage.entries is not None:
            if storage.local.commit(job.flight, made) is None:
                storage.events.emit("refused_commit", job.name)
            continue
        try:
            batch.append((lease, storage.coding.encode(job.key, made)))
        except CodecError as error:
            storage.events.emit("backend_error", job.name, error=error)
            warn_once(storage, many.creator, error)
            unused.append(lease)
    if storage.entries is None:
        jobs = [job for job, _ in created]
        await _send(ports, storage, many, jobs, batch, unused)


async def _send(
    ports: Ports,
    storage: Storage,
    many: Many,
    jobs: Sequence[Job],
    batch: list[tuple[Lease, Any]],
    unused: list[Lease],
) -> None:
    flights = {job.key: job.flight for job in jobs}
    try:
        if batch:
            ttl = kept_for({}, many.policy)
            for lease, _ in batch:
                flights[lease.key].seal()
            kept = await ports.call(storage, "commit_multi", batch, ttl=ttl)
            for (lease, _), is_kept in zip(batch, kept, strict=True):
                if not is_kept:
                    flights[lease.key].marks = None
                    storage.events.emit("refused_commit", lease.key)
        if unused:
            await ports.call(storage, "release_multi", unused)
    except BackendError as error:
        for flight in flights.values():
            flight.sealed = None
        error.during("get_or_create_multi")
        storage.events.emit("backend_error", error=error)
        if not isinstance(error, BackendUnavailable):
            # Nobody need wait for those that are not stored, as they are too large.
            await _release(ports, storage, [*(lease for lease, _ in batch), *unused])


async def _release(ports: Ports, storage: Storage, leases: list[Lease]) -> None:
    """End leases; those that have ended with a value stay as they are."""
    try:
        await ports.call(storage, "release_multi", leases)
    except BackendError as error:
        storage.events.emit("backend_error", error=error)


async def _give_up(
    ports: Ports,
    storage: Storage,
    many: Many,
    jobs: list[Job],
    leased: Mapping[Any, Lease],
    error: BaseException,
    seconds: float,
) -> None:
    if isinstance(error, Carried):
        error = error.error
    for job in jobs:
        if isinstance(error, Exception):
            is_raised = job.seen.is_needed(many.policy)
            storage.events.emit_failure(
                job.name, error, seconds=seconds, is_raised=is_raised
            )
        lease = leased.get(job.key)
        if lease is None or job.flight.done:
            continue
        if isinstance(error, Exception) and await keep_stale(
            ports, storage, job.key, job.flight, lease, many.policy, job.seen
        ):
            continue
        if storage.entries is not None:
            continue
        failure = None
        if isinstance(error, Exception) and storage.coder is not None:
            failure = storage.coder.encode_failure(job.key, error)
        try:
            await ports.call(storage, "release", lease, failure)
        except BackendError as fault:
            storage.events.emit("backend_error", job.name, error=fault)
