"""What follows when some of many keys are missing: the flow for many keys.

A caller first boards the flights of all its keys that nobody else creates,
creates these, and only then waits for those of others. So callers whose keys
overlap, in whatever order, never wait in a circle.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from typing import Any

from dogpile.cache.creation import Call, Many, Seen
from dogpile.cache.creator import is_coroutine_function, quick
from dogpile.cache.exception import BackendError
from dogpile.cache.flight import ABANDONED, Flight, lead, unlead
from dogpile.cache.flow import follow, require_time
from dogpile.cache.leader import (
    create,
    waits_after_failure,
)
from dogpile.cache.leader_multi import Job, checked_values, create_jobs, hand_over
from dogpile.cache.operations import read_multi, without_backend
from dogpile.cache.policy import FRESH, MISS, STALE
from dogpile.cache.ports import Carried, Ports
from dogpile.cache.storage import Storage


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
    keys = storage.coding.keys(names)
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
        elif seen.is_needed(many.policy):
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
    epoch = storage.local.epoch
    try:
        values, marks = await read_multi(ports, storage, keys, many.records, raws)
    except BackendError as error:
        error.during("get_or_create_multi")
        return [without_backend(storage, policy, error, key) for key in keys]
    looks = [
        Seen(value, storage.judge(value, policy, held, explicit=explicit), held)
        for value, held in zip(values, marks, strict=True)
    ]
    if storage.entries is not None:
        for key, seen in zip(keys, looks, strict=True):
            if seen.verdict is FRESH:
                storage.local.restamp(key, epoch)
    return looks


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
    jobs: list[Job] = []
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
                jobs.append(Job(key, name, flight, found))
            elif found.verdict is MISS:
                others.append(key)
            else:
                answers[key] = found.value.payload
        _emit(storage, seen, others, jobs)
        remote: list[Job] = []
        if jobs:
            remote = await create_jobs(ports, storage, many, jobs, answers)
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
        hand_over(storage, remote)
    for key in others:
        name, found = seen[key]
        answers[key] = await follow(ports, storage, _single(many, key, name), found)
    return answers


def _in_order(seen: Mapping[Any, tuple[Any, Seen]]) -> list[Any]:
    # Programs written for 1.x may rely on the order that creators see: of the keys
    # as they were given, not as a backend has them.
    try:
        return sorted(seen, key=lambda key: seen[key][0])
    except TypeError:
        return list(seen)


def _emit(
    storage: Storage,
    seen: Mapping[Any, tuple[Any, Seen]],
    others: Sequence[Any],
    jobs: Sequence[Job],
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
    (value,) = checked_values(creator(name), 1)
    return value


async def _acreate_one(creator: Callable[..., Any], name: Any) -> Any:
    (value,) = checked_values(await creator(name), 1)
    return value


def _abort(storage: Storage, jobs: Sequence[Job], error: BaseException) -> None:
    """End the flights that have not ended: with the error, or handed over."""
    if isinstance(error, Carried):
        error = error.error
    shared = error if isinstance(error, Exception) else None
    for job in jobs:
        if not job.flight.done:
            storage.flights.land(job.flight, ABANDONED, shared)
