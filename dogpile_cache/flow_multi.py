"""What follows when some of many keys are missing: the flow for many keys.

A caller first boards the flights of all its keys that nobody else creates,
creates these, and only then waits for those of others. So callers whose keys
overlap, in whatever order, never wait in a circle.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from typing import Any, NamedTuple

from dogpile.cache.api import NO_VALUE, CachedValue, Lease, NoValueType
from dogpile.cache.creation import Call, Seen, Skipped
from dogpile.cache.creator import is_coroutine_function, name_of, quick
from dogpile.cache.exception import BackendError, CodecError, CreatorMismatch
from dogpile.cache.flight import ABANDONED, Flight, lead, unlead
from dogpile.cache.flow import follow, require_time
from dogpile.cache.leader import (
    create,
    doubt,
    keep_stale,
    waits_after_failure,
    warn_once,
)
from dogpile.cache.lease import RENEWER
from dogpile.cache.operations import marks_for, read_multi, without_backend
from dogpile.cache.policy import EARLY, FRESH, MISS, STALE, Policy, kept_for
from dogpile.cache.ports import Carried, Ports
from dogpile.cache.records import records
from dogpile.cache.storage import Storage


class Many(NamedTuple):
    """One call for the values of many keys.

    :param creator: called with the keys it is to create, as the caller gave
        them; returns a value for each.
    """

    creator: Callable[..., Sequence[Any]]
    policy: Policy
    explicit: bool
    records: tuple[str, ...]


class _Job(NamedTuple):
    """A key to be created by this caller."""

    key: Any
    name: Any
    flight: Flight
    seen: Seen


async def answer_many(
    ports: Ports,
    storage: Storage,
    many: Many,
    names: Sequence[Any],
    raws: Sequence[Any] | BackendError | None = None,
) -> list[Any]:
    """Return the payload of each key, created where need be, in their order.

    :param names: the keys as the caller gave them.
    :param raws: what the backend has under each, or the error that it had, if
        it was asked a moment ago.
    """
    if not names:
        return []
    keys = storage.keys(names)
    by_key = dict(zip(keys, names, strict=True))
    if raws is not None and not isinstance(raws, BackendError):
        raws = list(dict(zip(keys, raws, strict=True)).values())
    answers: dict[Any, Any] = {}
    missing: dict[Any, tuple[Any, Seen]] = {}
    late: dict[Any, tuple[Any, Seen]] = {}
    looks = await _look(ports, storage, many, list(by_key), raws)
    for (key, name), seen in zip(by_key.items(), looks, strict=True):
        if seen.verdict is FRESH:
            answers[key] = seen.value.payload
        elif seen.verdict is MISS or (
            seen.verdict is STALE and many.policy.grace is None
        ):
            missing[key] = name, seen
        else:
            late[key] = name, seen
            answers[key] = seen.value.payload
    if answers and storage.events.wanted:
        for key in answers.keys() - late.keys():
            storage.events.emit("hit", by_key[key])
    if late:
        _refresh(ports, storage, many, late)
    if missing:
        answers.update(await follow_many(ports, storage, many, missing))
    return [answers[key] for key in keys]


async def _look(
    ports: Ports,
    storage: Storage,
    many: Many,
    keys: list[Any],
    raws: Sequence[Any] | BackendError | None,
) -> list[Seen]:
    """Read the values and judge them; a backend that fails has none."""
    policy, explicit = many.policy, many.explicit
    try:
        values, marks = await read_multi(ports, storage, keys, many.records, raws)
    except BackendError as error:
        return [without_backend(storage, policy, error, key) for key in keys]
    return [
        Seen(value, storage.judge(value, policy, held, explicit=explicit), held)
        for value, held in zip(values, marks, strict=True)
    ]


def _refresh(
    ports: Ports, storage: Storage, many: Many, late: Mapping[Any, tuple[Any, Seen]]
) -> None:
    """Create in the background what is served stale meanwhile."""
    for name, seen in late.values():
        event = "stale_hit" if seen.verdict is STALE else "hit"
        if event in storage.events.wanted:
            storage.events.emit(event, name)
    due = {
        key: found
        for key, found in late.items()
        if not storage.flights.is_flying(key)
        and not waits_after_failure(storage, found[1], many.policy)
    }
    if not due:
        return

    async def work(worker: Ports) -> None:
        try:
            await follow_many(worker, storage, many, due)
        except Exception:  # noqa: BLE001, S110 - it went to the events
            pass
        finally:
            storage.pending.end()

    storage.pending.begin()
    ports.start(work, storage.pending.end)


async def follow_many(
    ports: Ports, storage: Storage, many: Many, seen: Mapping[Any, tuple[Any, Seen]]
) -> dict[Any, Any]:
    """Answer for keys whose values are missing or stale.

    :param seen: by stored key: the caller's key, and what was read.
    :return: the payloads by stored key.
    """
    answers: dict[Any, Any] = {}
    jobs: list[_Job] = []
    others: list[Any] = []
    tokens: list[Token[Flight | None]] = []
    try:
        for key in _in_order(seen):
            name, found = seen[key]
            require_time(storage, many.policy, found.marks)
            if waits_after_failure(storage, found, many.policy):
                answers[key] = found.value.payload
                continue
            flight, is_leader = storage.flights.board(key)
            if is_leader:
                flight.loop = ports.loop
                tokens.append(lead(flight))
                jobs.append(_Job(key, name, flight, found))
            elif found.verdict is MISS:
                others.append(key)
            else:
                answers[key] = found.value.payload
        _emit(storage, seen, others, jobs)
        remote: list[_Job] = []
        if jobs:
            remote = await _create_jobs(ports, storage, many, jobs, answers)
    except BaseException as error:
        _abort(storage, jobs, error)
        raise
    finally:
        for token in reversed(tokens):
            unlead(token)
    try:
        for job in remote:
            call = _single(many, job.key, job.name)
            answers[job.key] = await create(ports, storage, call, job.flight, job.seen)
    finally:
        _hand_over(storage, remote)
    for key in others:
        name, found = seen[key]
        answers[key] = await follow(ports, storage, _single(many, key, name), found)
    return answers


def _in_order(seen: Mapping[Any, Any]) -> list[Any]:
    # Programs written for 1.x may rely on the order that creators see.
    try:
        return sorted(seen)
    except TypeError:
        return list(seen)


def _emit(
    storage: Storage,
    seen: Mapping[Any, tuple[Any, Seen]],
    others: Sequence[Any],
    jobs: Sequence[_Job],
) -> None:
    if not storage.events.wanted:
        return
    missing = {*others, *(job.key for job in jobs)}
    for key, (name, found) in seen.items():
        event = "miss" if found.verdict is MISS or key in missing else "stale_hit"
        storage.events.emit(event, name)


def _single(many: Many, key: Any, name: Any) -> Call:
    """Return the call for one of the keys alone."""
    creator: Callable[..., Any] = functools.partial(_create_one, many.creator, name)
    if is_coroutine_function(many.creator):
        creator = functools.partial(_acreate_one, many.creator, name)
    elif getattr(many.creator, "quick", False):
        creator = quick(creator)
    return Call(
        key,
        name,
        creator,
        many.policy,
        explicit=many.explicit,
        records=many.records,
        takes_creation=False,
    )


def _create_one(creator: Callable[..., Any], name: Any) -> Any:
    (value,) = _checked(creator(name), 1)
    return value


async def _acreate_one(creator: Callable[..., Any], name: Any) -> Any:
    (value,) = _checked(await creator(name), 1)
    return value


def _abort(storage: Storage, jobs: Sequence[_Job], error: BaseException) -> None:
    """End the flights that have not ended: with the error, or handed over."""
    if isinstance(error, Carried):
        error = error.error
    shared = error if isinstance(error, Exception) else None
    for job in jobs:
        if not job.flight.done:
            storage.flights.land(job.flight, ABANDONED, shared)


def _hand_over(storage: Storage, jobs: Sequence[_Job]) -> None:
    """End the flights that have not ended, for somebody else to lead."""
    for job in jobs:
        if not job.flight.done:
            storage.flights.land(job.flight, ABANDONED)


async def _create_jobs(
    ports: Ports,
    storage: Storage,
    many: Many,
    jobs: list[_Job],
    answers: dict[Any, Any],
) -> list[_Job]:
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
        _hand_over(storage, remote)
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
    jobs: list[_Job],
    answers: dict[Any, Any],
) -> tuple[dict[Any, Lease], list[_Job], list[_Job]]:
    """Take the leases of all jobs, in one step.

    :return: the leases by key, the jobs to be done here, and those that
        another process is at.
    """
    keys = [job.key for job in jobs]
    for job in jobs:
        job.flight.seal()
    try:
        leases = await _ask(ports, storage, many, keys)
        values = [storage.decode(lease.key, lease.found) for lease in leases]
        known = await records(ports, storage, many.records)
        marks = await marks_for(ports, storage, values, many.records, known)
    except BackendError as error:
        if many.policy.on_backend_error == "raise":
            raise
        storage.events.emit("backend_error", error=error)
        for job in jobs:
            job.flight.sealed = None
        return {}, jobs, []
    taken: dict[Any, Lease] = {}
    mine: list[_Job] = []
    remote: list[_Job] = []
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
    ports: Ports, storage: Storage, many: Many, jobs: list[_Job]
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
    return _checked(made, len(jobs))


def _checked(values: Any, count: int) -> list[Any]:
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
    created: list[tuple[_Job, Any]],
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
            if storage.commit_entry(job.flight, made) is None:
                storage.events.emit("refused_commit", job.name)
            continue
        try:
            batch.append((lease, storage.encode(job.key, made)))
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
    jobs: Sequence[_Job],
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
        storage.events.emit("backend_error", error=error)


async def _give_up(
    ports: Ports,
    storage: Storage,
    many: Many,
    jobs: list[_Job],
    leased: Mapping[Any, Lease],
    error: BaseException,
    seconds: float,
) -> None:
    if isinstance(error, Carried):
        error = error.error
    for job in jobs:
        if isinstance(error, Exception):
            storage.events.emit("create_failed", job.name, error=error, seconds=seconds)
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
