"""Replacing a value by what is made of it: no write in between gets lost."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeAlias

from dogpile.cache.api import NO_VALUE, CachedValue, Lease, NoValueType
from dogpile.cache.creator import name_of
from dogpile.cache.exception import (
    BackendError,
    ConfigurationError,
    CoroutineCreatorError,
)
from dogpile.cache.flight import (
    ABANDONED,
    Flight,
    UpdateOf,
    Waiting,
    lead,
    needs_loop,
    running_loop,
    unlead,
)
from dogpile.cache.lease import pauses
from dogpile.cache.policy import EARLY, FRESH, Policy, kept_for
from dogpile.cache.ports import Ports
from dogpile.cache.records import records, records_now
from dogpile.cache.storage import Storage

Change: TypeAlias = Callable[[CachedValue | None], Any]

# Seconds to wait for a holder of the lease. One that changes the value as well
# needs less; what a creator is still at is not waited for.
_PATIENCE = 0.5
# More than any number of others write in between.
_MOST_ROUNDS = 1000


async def update(
    ports: Ports,
    storage: Storage,
    name: Any,
    change: Change,
    policy: Policy,
) -> Any:
    """Replace a value by what a function makes of it.

    :param name: the key as the caller gave it.
    :param change: gets the value, or ``None`` where there is none that is
        fresh; returns a payload, a whole :class:`CachedValue`, or ``NO_VALUE``
        to leave things as they are. It may be called more than once.
    :return: the payload that is stored now, or ``NO_VALUE``.
    :raises BackendError: the backend failed.
    """
    key = storage.coding.key(name)
    if storage.entries is not None:
        value = _change_here(storage, key, change, policy)
    else:
        value = await _change_leased(ports, storage, key, change, policy)
    if value is None:
        return NO_VALUE
    if "put" in storage.events.wanted:
        storage.events.emit("put", name)
    return value.payload


def _change_here(
    storage: Storage, key: Any, change: Change, policy: Policy
) -> CachedValue | None:
    """Change an entry of this process.

    The function is called without the lock: it may be slow, or need what another
    thread is at.
    """
    backend: Any = storage.actual
    entries: Any = storage.entries
    for _ in range(_MOST_ROUNDS):
        with backend.lock:
            before, epoch = entries.get(key), storage.local.epoch
            found = storage.coding.decode(key, storage.ops["get"](key))
            marks = records_now(storage, _names(storage, policy, found))
        value = _changed(storage, found, marks, change, policy)
        if value is None:
            return None
        with backend.lock:
            # Each write makes another entry.
            is_same = entries.get(key) is before
            if is_same and storage.local.put({key: value}, epoch):
                return value
    raise _restless(key)


def _restless(key: Any) -> ConfigurationError:
    return ConfigurationError(
        f"update() of {str(key)[:40]!r} came to no end: its value was written each "
        "time that the function was called; does the function write the key that it "
        "changes?"
    )


async def _change_leased(
    ports: Ports, storage: Storage, key: Any, change: Change, policy: Policy
) -> CachedValue | None:
    # A look without a lease: mostly it is known then that nothing is to be done.
    try:
        found = storage.coding.decode(key, await ports.call(storage, "get", key))
        marks = await records(ports, storage, _names(storage, policy, found))
    except BackendError as error:
        error.during("update")
        raise
    if _changed(storage, found, marks, change, policy) is None:
        return None
    turn = await _turn(ports, storage, key, policy)
    token = lead(turn)
    try:
        return await _change_in_turn(ports, storage, key, change, policy)
    finally:
        unlead(token)
        if turn is not None:
            storage.flights.land(turn, ABANDONED)


async def _turn(
    ports: Ports, storage: Storage, key: Any, policy: Policy
) -> Flight | None:
    """Wait until nobody else of this process changes the value.

    Among processes the lease does that, but it has to be asked for again and
    again.

    :return: a flight to land after the change; ``None`` where it is not to be
        waited for.
    """
    while True:
        flight, is_leader = storage.flights.board(UpdateOf(key))
        if is_leader:
            flight.loop = ports.loop
            return flight
        loop = running_loop()
        if ports.loop is None and loop is not None and needs_loop(flight, loop):
            return None  # this call blocks what it would wait for
        with Waiting(flight):
            if not await ports.join(flight, storage.clock, policy.lease_time):
                return None


async def _change_in_turn(
    ports: Ports, storage: Storage, key: Any, change: Change, policy: Policy
) -> CachedValue | None:
    for _ in range(_MOST_ROUNDS):
        lease = await _leased(ports, storage, key, policy)
        is_stored = False
        try:
            found = storage.coding.decode(key, lease.found)
            marks = await records(ports, storage, _names(storage, policy, found))
            value = _changed(storage, found, marks, change, policy)
            if value is None:
                return None
            raw = storage.coding.encode(key, value)
            storage.forget([key])
            is_stored = await ports.call(
                storage,
                "commit",
                lease,
                raw,
                ttl=kept_for(value.metadata, storage.policy),
            )
        finally:
            if not is_stored:
                # Where that fails it ends by itself.
                with contextlib.suppress(BackendError):
                    await ports.call(storage, "release", lease)
        if is_stored:
            return value
        # Somebody has written in between: it is their value that is changed now.
    raise _restless(key)


async def _leased(ports: Ports, storage: Storage, key: Any, policy: Policy) -> Lease:
    clock, seconds = storage.clock, policy.lease_time
    next_pause = pauses()
    give_up = clock.monotonic() + _PATIENCE
    after, steal = None, False
    while True:
        lease: Lease = await ports.call(
            storage, "lease", key, seconds, after=after, steal=steal
        )
        if lease.granted:
            return lease
        if lease.token != after:
            give_up = clock.monotonic() + _PATIENCE
        after = lease.token
        steal = clock.monotonic() >= give_up
        if not steal:
            await ports.pause(clock, next_pause())


def _plain(change: Change, made: Any) -> Any:
    """Return what a function made, unless it has to be awaited."""
    if hasattr(made, "__await__"):
        if hasattr(made, "close"):
            made.close()  # else Python warns that it was never awaited
        raise CoroutineCreatorError(
            f"{name_of(change)} returns an awaitable, and update() takes a function "
            "that returns the value itself: await what it needs before"
        )
    return made


def _names(
    storage: Storage, policy: Policy, found: CachedValue | NoValueType
) -> tuple[str, ...]:
    """Return the records that a value is judged by, and its successor bears."""
    names = storage.records_for(policy)
    if found is NO_VALUE or "t" not in found.metadata:
        return names
    return (*names, *storage.own_records(found, names))


def _changed(
    storage: Storage,
    found: CachedValue | NoValueType,
    marks: Any,
    change: Change,
    policy: Policy,
) -> CachedValue | None:
    """Return what takes the place of a value, or ``None`` if nothing does."""
    is_fresh = storage.judge(found, policy, marks) in (FRESH, EARLY)
    old = found if is_fresh and found is not NO_VALUE else None
    made = _plain(change, change(old))
    if made is NO_VALUE:
        return None
    if isinstance(made, CachedValue):
        return made
    own = storage.records_for(policy)
    metadata = storage.metadata(
        storage.clock.time(), policy, {name: marks[name] for name in own}
    )
    return CachedValue(made, metadata)
