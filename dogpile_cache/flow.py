"""What follows a miss or a stale hit, written once for threads and loops."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from dogpile.cache.api import NO_VALUE, CachedValue, Lease, NoValueType
from dogpile.cache.creation import (
    NOT_MODIFIED,
    Call,
    Creation,
    Skipped,
)
from dogpile.cache.exception import BackendError, CodecError, DogpileCacheException
from dogpile.cache.flight import (
    ABANDONED,
    Flight,
    Waiting,
    copy_of,
    lead,
    running_loop,
    unlead,
)
from dogpile.cache.lease import RENEWER, pauses
from dogpile.cache.policy import EARLY, FRESH, MISS, STALE, Policy, Verdict, kept_for
from dogpile.cache.ports import Carried, Ports
from dogpile.cache.storage import Storage

Found: TypeAlias = CachedValue | NoValueType


class Seen(NamedTuple):
    """What a reader saw: the value, what it is good for, and the generations."""

    value: Found
    verdict: Verdict
    marks: Mapping[str, str]


class Made(NamedTuple):
    """What a creator returned, when it was called, for how long, what it said."""

    result: Any
    started: float
    seconds: float
    context: Creation | None


async def follow(ports: Ports, storage: Storage, call: Call, seen: Seen) -> Any:
    """Answer a call whose value is missing, stale, or due for a refresh.

    :return: the payload.
    """
    require_time(storage, call.policy, seen.marks)
    if "miss" in storage.events.wanted and seen.verdict is MISS:
        storage.events.emit("miss", call.name)
    if waits_after_failure(storage, seen):
        return _stale(storage, call, seen)
    while True:
        flight, is_leader = storage.flights.board(call.key)
        if is_leader:
            return await _lead(ports, storage, call, flight, seen, steal=False)
        if seen.verdict is not MISS:
            return _stale(storage, call, seen)
        if _would_block(ports, flight):
            return await _alone(ports, storage, call)
        if not await _join(ports, storage, call, flight):
            late = storage.flights.take_over(flight)
            if late is not None:
                return await _lead(ports, storage, call, late, seen, steal=True)
        elif flight.error is not None:
            raise _carried(copy_of(flight.error))
        elif flight.value is not ABANDONED:
            return flight.value


def _would_block(ports: Ports, flight: Flight) -> bool:
    """Return whether the flight cannot end while this call waits for it.

    A call that blocks an event loop waits for ever for a task of that loop.
    """
    if flight.loop is None or ports.loop is flight.loop:
        return False
    return running_loop() is flight.loop


async def _join(ports: Ports, storage: Storage, call: Call, flight: Flight) -> bool:
    clock = storage.clock
    with Waiting(flight):
        if "wait" not in storage.events.wanted:
            return await ports.join(flight, clock, call.policy.lease_time)
        began = clock.monotonic()
        arrived = await ports.join(flight, clock, call.policy.lease_time)
        storage.events.emit("wait", call.name, seconds=clock.monotonic() - began)
        return arrived


def require_time(storage: Storage, policy: Policy, marks: Mapping[str, str]) -> None:
    """Refuse to judge staleness where nothing ever gets stale.

    :raises DogpileCacheException: the region was invalidated softly, and the
        caller has no expiration time.
    """
    if policy.expiration_time is None and storage.was_soft(marks):
        raise DogpileCacheException(
            "Non-None expiration time required for soft invalidation"
        )


def _stale(storage: Storage, call: Call, seen: Seen) -> Any:
    name = "hit" if seen.verdict is EARLY else "stale_hit"
    if name in storage.events.wanted:
        storage.events.emit(name, call.name)
    return seen.value.payload


def waits_after_failure(storage: Storage, seen: Seen) -> bool:
    """Return whether a refresh failed a moment ago."""
    if seen.verdict is not STALE or seen.value is NO_VALUE:
        return False
    failed = seen.value.metadata.get("f")
    return failed is not None and bool(storage.clock.time() < failed[1])


async def _lead(
    ports: Ports,
    storage: Storage,
    call: Call,
    flight: Flight,
    seen: Seen,
    *,
    steal: bool,
) -> Any:
    in_background = seen.verdict is EARLY or (
        seen.verdict is STALE and call.policy.grace is not None
    )
    if seen.verdict is STALE and call.runner is not None:
        call.runner(FlightMutex(storage, call.name, flight))
        return _stale(storage, call, seen)
    if not in_background:
        return await create(ports, storage, call, flight, seen, steal=steal)
    if call.in_place:
        return await _create_or_stale(ports, storage, call, flight, seen)

    def work(worker: Ports) -> Coroutine[Any, Any, None]:
        return _refresh(worker, storage, call, flight, seen)

    if seen.verdict is EARLY and "early_refresh" in storage.events.wanted:
        storage.events.emit("early_refresh", call.name)
    storage.pending.begin()
    if not ports.start(work):
        storage.pending.end()
        storage.flights.land(flight, ABANDONED)
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


async def create(
    ports: Ports,
    storage: Storage,
    call: Call,
    flight: Flight,
    seen: Seen,
    *,
    steal: bool = False,
) -> Any:
    """Create the value as the leader of its flight, and end the flight.

    :return: the payload.
    """
    token = lead(flight)
    flight.loop = ports.loop
    try:
        if storage.entries is not None:
            payload = await _create_here(ports, storage, call, flight, seen)
        else:
            payload = await _create_leased(
                ports, storage, call, flight, seen, steal=steal
            )
    except Carried as carrier:
        storage.flights.land(flight, ABANDONED, carrier.error)
        raise
    except Exception as error:
        storage.flights.land(flight, ABANDONED, error)
        raise
    except BaseException:
        # A leader that is interrupted hands over.
        storage.flights.land(flight, ABANDONED)
        raise
    finally:
        unlead(token)
    storage.flights.land(flight, payload)
    return payload


async def _create_here(
    ports: Ports, storage: Storage, call: Call, flight: Flight, seen: Seen
) -> Any:
    """Create a value of a backend whose entries are in this process."""
    entry = storage.entries.get(call.key)  # type: ignore[union-attr]  # asked before
    if entry is not None:
        fresh = _made_meanwhile(storage, call, storage.decode_entry(entry), seen)
        if fresh is not None:
            return fresh[0]
    marks = storage.marks(call.records)
    try:
        made = await _run_creator(ports, storage, call, flight, seen)
    except Exception:
        await keep_stale(ports, storage, call.key, flight, None, call.policy, seen)
        raise
    payload, value = _value_of(storage, call, seen, marks, made)
    if value is not None and storage.commit_entry(flight, value) is None:
        storage.events.emit("refused_commit", call.name)
    return payload


def _made_meanwhile(
    storage: Storage, call: Call, found: Found, seen: Seen
) -> tuple[Any] | None:
    """Return the payload if somebody has created the value in the meantime."""
    if found is NO_VALUE:
        return None
    marks = storage.marks(_records(call, found))
    verdict = storage.judge(found, call.policy, marks, explicit=call.explicit)
    if waits_after_failure(storage, Seen(found, verdict, marks)):
        return (found.payload,)
    if verdict not in (FRESH, EARLY):
        return None
    return None if _is_seen(found, seen) else (found.payload,)


def _is_seen(found: Found, seen: Seen) -> bool:
    """Return whether it is the very value that is to be refreshed early."""
    if seen.verdict is not EARLY or found is NO_VALUE or seen.value is NO_VALUE:
        return False
    return bool(found.metadata["ct"] == seen.value.metadata["ct"])


def _records(call: Call, found: Found) -> tuple[str, ...]:
    """Return the records by which a value is judged: the call's, and its own."""
    if found is NO_VALUE or "t" not in found.metadata:
        return call.records
    own = (name for name in found.metadata["t"] if name not in call.records)
    return (*call.records, *own)


async def _create_leased(
    ports: Ports,
    storage: Storage,
    call: Call,
    flight: Flight,
    seen: Seen,
    *,
    steal: bool,
) -> Any:
    """Create a value whose backend other processes may share."""
    try:
        lease, seen = await _acquire(ports, storage, call, seen, steal=steal)
    except BackendError as error:
        if call.policy.on_backend_error == "raise":
            raise
        storage.events.emit("backend_error", call.name, error=error)
        lease = None
    else:
        if lease is None:
            return seen.value.payload
    if lease is None:
        made = await _run_creator(ports, storage, call, flight, seen)
        return _value_of(storage, call, seen, {}, made)[0]
    marks = await records(ports, storage, call.records)
    handle = None
    if storage.capabilities.leases:
        handle = RENEWER.keep(
            storage.backend,  # type: ignore[arg-type]  # it leases
            lease,
            call.policy.lease_time,
            storage.clock,
        )
    try:
        made = await _run_creator(ports, storage, call, flight, seen)
    except BaseException as error:
        await _give_up(ports, storage, call, flight, lease, seen, error)
        raise
    finally:
        if handle is not None:
            RENEWER.drop(handle)
    payload, value = _value_of(storage, call, seen, marks, made)
    await _commit(ports, storage, call, flight, lease, value)
    return payload


async def _acquire(
    ports: Ports, storage: Storage, call: Call, seen: Seen, *, steal: bool
) -> tuple[Lease | None, Seen]:
    """Take the lease, or see what its holder makes.

    :return: the lease, or ``None`` if what was seen last is the answer.
    """
    clock, seconds = storage.clock, call.policy.lease_time
    give_up = clock.monotonic() + seconds
    next_pause = pauses()
    after: str | None = None
    while True:
        lease: Lease = await ports.call(
            storage, "lease", call.key, seconds, after=after, steal=steal
        )
        found = storage.decode(call.key, lease.found)
        marks = await records(ports, storage, _records(call, found))
        verdict = storage.judge(found, call.policy, marks, explicit=call.explicit)
        now = Seen(found, verdict, marks)
        fresh = verdict in (FRESH, EARLY) and not _is_seen(found, seen)
        if fresh or (verdict is not MISS and not lease.granted):
            if lease.granted:
                await ports.call(storage, "release", lease)
            return None, now
        if lease.granted and waits_after_failure(storage, now):
            # Somebody else has tried in vain since this caller read.
            await ports.call(storage, "release", lease)
            return None, now
        if lease.granted:
            return lease, now
        if lease.failure is not None and storage.coder is not None:
            raise _carried(storage.coder.decode_failure(call.key, lease.failure))
        steal = clock.monotonic() >= give_up
        after = lease.token
        if not steal:
            await ports.pause(clock, next_pause())


async def records(
    ports: Ports, storage: Storage, names: tuple[str, ...]
) -> Mapping[str, str]:
    """Return the marks of records, as they are known or from the backend."""
    known = storage.marks_in_cache(names)
    if known is not None:
        return known
    return await note(
        ports, storage, names, await ports.call(storage, "get_records", list(names))
    )


async def note(
    ports: Ports, storage: Storage, names: Sequence[str], found: Sequence[Any]
) -> Mapping[str, str]:
    """Keep what records hold, and write anew those that are lost."""
    marks, outdated = storage.note_records(names, found)
    for name, old in outdated.items():
        raw = storage.record_value(name, marks[name])
        if old is NO_VALUE:
            await ports.call(storage, "set_record", name, raw)
            continue
        # Only if nobody has invalidated since: a plain write would undo it.
        lease = await ports.call(storage, "lease", name, storage.policy.lease_time)
        if lease.granted and lease.found == old:
            await ports.call(storage, "commit", lease, raw)
        elif lease.granted:
            await ports.call(storage, "release", lease)
    return marks


async def _run_creator(
    ports: Ports, storage: Storage, call: Call, flight: Flight, seen: Seen
) -> Made:
    """Call the creator."""
    clock, creator = storage.clock, call.creator
    context: Creation | None = None
    if call.takes_creation:
        context = Creation(seen.value, flight, storage.tag_marks)
        creator = _given(creator, context)
    started = clock.time()
    began = clock.monotonic()

    def on_timeout() -> None:
        flight.void = True

    try:
        result = await ports.create(
            creator, clock, call.policy.hard_timeout, on_timeout
        )
    except Exception as error:
        _note_failure(storage, call, error, clock.monotonic() - began)
        raise
    seconds = clock.monotonic() - began
    if "create" in storage.events.wanted:
        storage.events.emit("create", call.name, seconds=seconds)
    return Made(result, started, seconds, context)


def _given(creator: Callable[[Creation], Any], context: Creation) -> Callable[[], Any]:
    import functools

    return functools.partial(creator, context)


def _note_failure(
    storage: Storage, call: Call, error: Exception, seconds: float
) -> None:
    if isinstance(error, Carried):
        error = error.error
    storage.events.emit("create_failed", call.name, error=error, seconds=seconds)


def _value_of(
    storage: Storage,
    call: Call,
    seen: Seen,
    marks: Mapping[str, str],
    made: Made,
) -> tuple[Any, CachedValue | None]:
    """Return the payload, and what is to be stored of it, if anything is."""
    policy, result, context = call.policy, made.result, made.context
    if isinstance(result, Skipped):
        return result.value, None
    if result is NOT_MODIFIED:
        result = seen.value.payload
    if result is NO_VALUE:
        return result, None
    if policy.should_cache_fn is not None and not policy.should_cache_fn(result):
        return result, None
    more: dict[str, Any] = {}
    if context is not None:
        if context.is_unsure:
            return result, None
        more = context.metadata()
        if context.marks:
            marks = {**marks, **context.marks}
    if policy.early:
        more["d"] = made.seconds
    metadata = storage.metadata(made.started, policy, marks, more=more)
    return result, CachedValue(result, metadata)


async def _commit(
    ports: Ports,
    storage: Storage,
    call: Call,
    flight: Flight,
    lease: Lease,
    value: CachedValue | None,
) -> None:
    """Store a created value; whatever happens to the cache, the value is fine."""
    if value is None or flight.void:
        if value is not None:
            storage.events.emit("refused_commit", call.name)
        await _release(ports, storage, call, lease)
        return
    try:
        raw = storage.encode(call.key, value)
        ttl = kept_for(value.metadata, storage.policy)
        if not await ports.call(storage, "commit", lease, raw, ttl=ttl):
            storage.events.emit("refused_commit", call.name)
    except (BackendError, CodecError) as error:
        storage.events.emit("backend_error", call.name, error=error)
        _warn_once(storage, call, error)
        await _release(ports, storage, call, lease)


async def _release(
    ports: Ports,
    storage: Storage,
    call: Call,
    lease: Lease,
    failure: bytes | None = None,
) -> None:
    try:
        await ports.call(storage, "release", lease, failure)
    except BackendError as error:
        # It ends by itself.
        storage.events.emit("backend_error", call.name, error=error)


async def _give_up(
    ports: Ports,
    storage: Storage,
    call: Call,
    flight: Flight,
    lease: Lease,
    seen: Seen,
    error: BaseException,
) -> None:
    """End the lease of a creation that failed, and tell who waits for it."""
    if isinstance(error, Carried):
        error = error.error
    failure = None
    if isinstance(error, Exception):
        if await keep_stale(ports, storage, call.key, flight, lease, call.policy, seen):
            return
        if storage.coder is not None:
            failure = storage.coder.encode_failure(call.key, error)
    await _release(ports, storage, call, lease, failure)


async def keep_stale(
    ports: Ports,
    storage: Storage,
    key: Any,
    flight: Flight,
    lease: Lease | None,
    policy: Policy,
    seen: Seen,
) -> bool:
    """Store the stale value with a note of when to try again.

    :return: whether that was done, and the lease has ended.
    """
    if seen.verdict is not STALE or policy.grace is None or seen.value is NO_VALUE:
        return False
    failures = seen.value.metadata.get("f", (0, 0.0))[0] + 1
    retry_at = storage.clock.time() + policy.retry_after
    metadata = {**seen.value.metadata, "f": [failures, retry_at]}
    kept = CachedValue(seen.value.payload, metadata)
    if storage.entries is not None:
        return storage.commit_entry(flight, kept) is not None
    try:
        raw = storage.encode(key, kept)
        ttl = kept_for(metadata, storage.policy)
        return bool(await ports.call(storage, "commit", lease, raw, ttl=ttl))
    except (BackendError, CodecError):
        return False  # then it is tried again a little earlier


async def _alone(ports: Ports, storage: Storage, call: Call) -> Any:
    """Create for this caller only."""
    flight = Flight(call.key, None)
    flight.void = True
    seen = Seen(NO_VALUE, MISS, {})
    made = await _run_creator(ports, storage, call, flight, seen)
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


_warned: set[str] = set()


def _warn_once(storage: Storage, call: Call, error: Exception) -> None:
    """Warn once a function that its values do not get into the cache."""
    place = str(getattr(call.creator, "__qualname__", type(call.creator)))
    if place in _warned:
        return
    _warned.add(place)
    warnings.warn(
        f"region {storage.events.region!r}: a value that {place} created was "
        f"returned, but could not be stored: {error}",
        RuntimeWarning,
        stacklevel=2,
    )


def _carried(error: BaseException) -> BaseException:
    """Return an error in the form in which it leaves a coroutine as itself."""
    return Carried(error) if isinstance(error, StopIteration) else error
