"""What follows a miss or a stale hit, written once for threads and loops."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from dogpile.cache.api import NO_VALUE
from dogpile.cache.creation import Call, Seen, Skipped
from dogpile.cache.exception import DogpileCacheException
from dogpile.cache.flight import (
    ABANDONED,
    Flight,
    Waiting,
    copy_of,
    needs_loop,
    running_loop,
)
from dogpile.cache.leader import carried, create, run_creator, waits_after_failure
from dogpile.cache.policy import EARLY, MISS, STALE, Policy
from dogpile.cache.ports import Ports
from dogpile.cache.storage import Storage


async def follow(ports: Ports, storage: Storage, call: Call, seen: Seen) -> Any:
    """Answer a call whose value is missing, stale, or due for a refresh.

    :return: the payload.
    """
    require_time(storage, call.policy, seen.marks)
    if waits_after_failure(storage, seen, call.policy):
        return _stale(storage, call, seen)
    if "miss" in storage.events.wanted and seen.verdict is MISS:
        storage.events.emit("miss", call.name)
    is_first = True
    while True:
        flight, is_leader = storage.flights.board(call.key)
        if is_leader:
            return await _lead(ports, storage, call, flight, seen)
        if seen.verdict is not MISS:
            return _stale(storage, call, seen)
        if _would_block(ports, flight):
            with Waiting(flight):
                pass  # no part of that flight: what it needs cannot need it
            return await _alone(ports, storage, call)
        arrived = len(flight.waiters)
        if await _join(ports, storage, call, flight):
            # Only the first one can have begun before this call did.
            is_new = not is_first or flight.serves(seen.marks, arrived)
            if flight.value is not ABANDONED and is_new:
                return flight.value
        else:
            mine = storage.flights.take_over(flight)
            if mine is not None:
                return await _lead(ports, storage, call, mine, seen, late=flight)
        # Its leader was interrupted, or it is too old: somebody else leads.
        is_first = False


def _would_block(ports: Ports, flight: Flight) -> bool:
    """Return whether the flight cannot end while this call waits for it.

    A call that blocks an event loop waits for ever for a task of that loop.
    """
    if ports.loop is not None:
        return False
    loop = running_loop()
    return loop is not None and needs_loop(flight, loop)


async def _join(ports: Ports, storage: Storage, call: Call, flight: Flight) -> bool:
    """Wait for somebody else's creation.

    :return: whether it has ended in time.
    :raises BaseException: the creator's error, in a copy.
    """
    clock = storage.clock
    began = clock.monotonic()
    with Waiting(flight):
        has_ended = await ports.join(flight, clock, call.policy.lease_time)
    if "wait" in storage.events.wanted:
        storage.events.emit("wait", call.name, seconds=clock.monotonic() - began)
    if has_ended and flight.error is not None:
        raise carried(ports, copy_of(flight.error))
    return has_ended


def require_time(storage: Storage, policy: Policy, marks: Mapping[str, str]) -> None:
    """Refuse to judge staleness where nothing ever gets stale.

    :raises DogpileCacheException: the region was invalidated softly, and the
        caller has no expiration time.
    """
    if policy.expiration_time is None and storage.was_soft(marks):
        raise DogpileCacheException(
            "Non-None expiration time required for soft invalidation: give the "
            "region or the call an expiration_time, or invalidate with hard=True"
        )


def _stale(storage: Storage, call: Call, seen: Seen) -> Any:
    name = "hit" if seen.verdict is EARLY else "stale_hit"
    if name in storage.events.wanted:
        storage.events.emit(name, call.name)
    return seen.value.payload


async def _lead(
    ports: Ports,
    storage: Storage,
    call: Call,
    flight: Flight,
    seen: Seen,
    *,
    late: Flight | None = None,
) -> Any:
    """Lead a flight: create at once, later, or in the background.

    :param late: the flight that this one takes the place of.
    """
    in_background = seen.verdict is EARLY or (
        seen.verdict is STALE and call.policy.grace is not None
    )
    if seen.verdict is STALE and call.runner is not None:
        return _hand_to_runner(storage, call, flight, seen)
    if not in_background:
        return await create(ports, storage, call, flight, seen, late=late)
    if call.in_place:
        return await _create_or_stale(ports, storage, call, flight, seen)
    return await _create_aside(ports, storage, call, flight, seen)


def _hand_to_runner(storage: Storage, call: Call, flight: Flight, seen: Seen) -> Any:
    try:
        call.runner(FlightMutex(storage, call.name, flight))  # type: ignore[misc]
    except BaseException:
        storage.flights.land(flight, ABANDONED)
        raise
    return _stale(storage, call, seen)


async def _create_aside(
    ports: Ports, storage: Storage, call: Call, flight: Flight, seen: Seen
) -> Any:
    """Create in the background, and wait for it as long as the policy says."""

    def work(worker: Ports) -> Coroutine[Any, Any, None]:
        return _refresh(worker, storage, call, flight, seen)

    def drop() -> None:
        storage.pending.end()
        storage.flights.land(flight, ABANDONED)

    if seen.verdict is EARLY and "early_refresh" in storage.events.wanted:
        storage.events.emit("early_refresh", call.name)
    storage.pending.begin()
    if not ports.start(work, drop):
        return _stale(storage, call, seen)
    if seen.verdict is STALE and call.policy.soft_timeout:
        arrived = await ports.join(flight, storage.clock, call.policy.soft_timeout)
        if arrived and flight.error is None and flight.value is not ABANDONED:
            return flight.value
    return _stale(storage, call, seen)


async def _create_or_stale(
    ports: Ports, storage: Storage, call: Call, flight: Flight, seen: Seen
) -> Any:
    try:
        return await create(ports, storage, call, flight, seen)
    except Exception:  # noqa: BLE001 - it went to the events; grace is for that
        return _stale(storage, call, seen)


async def _refresh(
    ports: Ports, storage: Storage, call: Call, flight: Flight, seen: Seen
) -> None:
    """Create in the background, where nobody sees an error but the events."""
    try:
        await create(ports, storage, call, flight, seen)
    except Exception:  # noqa: BLE001, S110 - it went to the events
        pass
    finally:
        storage.pending.end()


async def _alone(ports: Ports, storage: Storage, call: Call) -> Any:
    """Create for this caller only."""
    flight = Flight(call.key, None)
    flight.void = True
    seen = Seen(NO_VALUE, MISS, {})
    made = await run_creator(ports, storage, call, flight, seen)
    return made.result.value if isinstance(made.result, Skipped) else made.result


class FlightMutex:
    """What a 1.x ``async_creation_runner`` has to release: a flight.

    Two of them are equal if they are about the same key of a region.
    """

    def __init__(self, storage: Storage, name: Any, flight: Flight | None) -> None:
        self._storage = storage
        self._name = name
        self._flight = flight

    def acquire(self, wait: bool = True) -> bool:
        """Return False: it was acquired by the region."""
        return False

    def release(self) -> None:
        """End the creation; the value is what was put in the meantime."""
        if self._flight is not None and not self._flight.done:
            self._storage.flights.land(self._flight, ABANDONED)

    def locked(self) -> bool:
        """Return whether the creation has not ended."""
        return self._flight is not None and not self._flight.done

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FlightMutex):
            return NotImplemented
        return (self._storage, self._name) == (other._storage, other._name)

    def __hash__(self) -> int:
        return hash(self._name)
