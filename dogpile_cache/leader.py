"""What the leader of a flight does: lease, creator, commit."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dogpile.cache.api import NO_VALUE, CachedValue, Lease
from dogpile.cache.creation import NOT_MODIFIED, Call, Creation, Found, Seen, Skipped
from dogpile.cache.creator import name_of, quick
from dogpile.cache.exception import BackendError, CodecError
from dogpile.cache.flight import ABANDONED, Flight, lead, unlead
from dogpile.cache.lease import RENEWER, pauses
from dogpile.cache.policy import EARLY, FRESH, MISS, STALE, Policy, kept_for
from dogpile.cache.ports import Carried, Ports
from dogpile.cache.records import records, records_now, tag_marks
from dogpile.cache.storage import Storage


class Made(NamedTuple):
    """What a creator returned, when it was called, for how long, what it said."""

    result: Any
    started: float
    seconds: float
    context: Creation | None


def waits_after_failure(storage: Storage, seen: Seen, policy: Policy) -> bool:
    """Return whether a refresh failed a moment ago."""
    if seen.verdict is not STALE or seen.value is NO_VALUE:
        return False
    failed = seen.value.metadata.get("f")
    if failed is None:
        return False
    left = failed[1] - storage.clock.time()
    # More than that is left only after a clock has moved back.
    return bool(0 < left <= policy.retry_after + policy.max_clock_skew)


# Seconds after which who is to be told looks for itself: messages may be lost.
_LONGEST_WAIT = 1.0


async def create(
    ports: Ports,
    storage: Storage,
    call: Call,
    flight: Flight,
    seen: Seen,
    *,
    late: Flight | None = None,
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
                ports, storage, call, flight, seen, late=late
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
    if call.key in storage.entries:  # type: ignore[operator]  # asked before
        found = storage.coding.decode(call.key, storage.ops["get"](call.key))
        fresh = _made_meanwhile(storage, call, found, seen)
        if fresh is not None:
            return fresh[0]
    marks = records_now(storage, call.records)
    try:
        made = await run_creator(ports, storage, call, flight, seen)
    except Exception:
        await keep_stale(ports, storage, call.key, flight, None, call.policy, seen)
        raise
    payload, value = _value_of(storage, call, seen, marks, made)
    if value is not None:
        if storage.local.commit(flight, value) is not None:
            _note_stored(made)
        else:
            storage.events.emit("refused_commit", call.name)
    return payload


def _note_stored(made: Made) -> None:
    if made.context is not None:
        made.context.is_stored = True


def _made_meanwhile(
    storage: Storage, call: Call, found: Found, seen: Seen
) -> tuple[Any] | None:
    """Return the payload if somebody has created the value in the meantime."""
    if found is NO_VALUE:
        return None
    marks = records_now(storage, _records(call, found))
    verdict = storage.judge(found, call.policy, marks, explicit=call.explicit)
    if waits_after_failure(storage, Seen(found, verdict, marks), call.policy):
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
    late: Flight | None,
) -> Any:
    """Create a value whose backend other processes may share."""
    try:
        lease, seen = await _acquire(ports, storage, call, flight, seen, late=late)
    except BackendError as error:
        error.during("get_or_create")
        if call.policy.on_backend_error == "raise":
            raise
        storage.events.emit("backend_error", call.name, error=error)
        lease = flight.sealed = None
    else:
        if lease is None:
            return seen.value.payload
    if lease is None:
        made = await run_creator(ports, storage, call, flight, seen)
        return _value_of(storage, call, seen, {}, made)[0]
    handle = None
    if storage.capabilities.leases:
        handle = RENEWER.keep(
            storage.backend,  # type: ignore[arg-type]  # it leases
            lease,
            call.policy.lease_time,
            storage.clock,
        )
    try:
        marks = flight.marks = await records(ports, storage, call.records)
        made = await run_creator(ports, storage, call, flight, seen)
        payload, value = _value_of(storage, call, seen, marks, made)
    except BaseException as error:
        await _give_up(ports, storage, call, flight, lease, seen, error)
        raise
    finally:
        if handle is not None:
            RENEWER.drop(handle)
    if await _commit(ports, storage, call, flight, lease, value):
        _note_stored(made)
    return payload


async def _acquire(
    ports: Ports,
    storage: Storage,
    call: Call,
    flight: Flight,
    seen: Seen,
    *,
    late: Flight | None,
) -> tuple[Lease | None, Seen]:
    """Take the lease, or see what its holder makes.

    :return: the lease, or ``None`` if what was seen last is the answer.
    """
    clock, seconds = storage.clock, call.policy.lease_time
    give_up = clock.monotonic() + seconds
    next_pause = pauses()
    # Of those who wait for a holder one takes over: by the token it is known
    # whether somebody has, and the wait begins anew with each holder.
    after = None if late is None else late.token
    steal = after is not None
    while True:
        flight.seal()
        lease: Lease = await ports.call(
            storage, "lease", call.key, seconds, after=after, steal=steal
        )
        found = storage.coding.decode(call.key, lease.found)
        marks = await records(ports, storage, _records(call, found))
        verdict = storage.judge(found, call.policy, marks, explicit=call.explicit)
        now = Seen(found, verdict, marks)
        fresh = verdict in (FRESH, EARLY) and not _is_seen(found, seen)
        if fresh or (verdict is not MISS and not lease.granted):
            if lease.granted:
                await ports.call(storage, "release", lease)
            return None, now
        if lease.granted and waits_after_failure(storage, now, call.policy):
            # Somebody else has tried in vain since this caller read.
            await ports.call(storage, "release", lease)
            return None, now
        if lease.granted:
            flight.token = lease.token
            flight.sealed = None
            return lease, now
        if lease.failure is not None and storage.coder is not None:
            failure = storage.coder.decode_failure(call.key, lease.failure)
            raise carried(ports, failure)
        if lease.token != after:
            give_up = clock.monotonic() + seconds
        after = lease.token
        steal = clock.monotonic() >= give_up
        if steal:
            continue
        if storage.is_told:
            left = min(give_up - clock.monotonic(), _LONGEST_WAIT)
            await ports.call(storage, "wait_for", call.key, left)
        else:
            await ports.pause(clock, next_pause())


async def run_creator(
    ports: Ports, storage: Storage, call: Call, flight: Flight, seen: Seen
) -> Made:
    """Call the creator."""
    clock, creator = storage.clock, call.creator
    context: Creation | None = None
    if call.takes_creation:
        # What was invalidated is gone: it must not be made good again.
        is_gone = storage.invalidity(seen.value, call.policy, seen.marks) is MISS
        old = NO_VALUE if is_gone else seen.value
        context = Creation(old, flight, functools.partial(tag_marks, storage))
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
        _note_failure(storage, call, seen, error, clock.monotonic() - began)
        raise
    seconds = clock.monotonic() - began
    if "create" in storage.events.wanted:
        storage.events.emit("create", call.name, seconds=seconds)
    return Made(result, started, seconds, context)


def _given(creator: Callable[[Creation], Any], context: Creation) -> Callable[[], Any]:
    given = functools.partial(creator, context)
    return quick(given) if getattr(creator, "quick", False) else given


def _note_failure(
    storage: Storage, call: Call, seen: Seen, error: Exception, seconds: float
) -> None:
    if isinstance(error, Carried):
        error = error.error
    storage.events.emit_failure(
        call.name, error, seconds=seconds, is_raised=seen.is_needed(call.policy)
    )


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
        # It is made from what it was made from, and keeps its tags.
        marks = {**seen.marks, **marks}
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
) -> bool:
    """Store a created value; whatever happens to the cache, the value is fine.

    :return: whether it is stored.
    """
    if flight.done:
        return False  # in the child of a fork: the lease is its parent's
    if value is None or flight.void:
        if value is not None:
            doubt(storage, flight)
            storage.events.emit("refused_commit", call.name)
        await _release(ports, storage, call, lease)
        return False
    try:
        raw = storage.coding.encode(call.key, value)
        ttl = kept_for(value.metadata, storage.policy)
        flight.seal()
        if await ports.call(storage, "commit", lease, raw, ttl=ttl):
            return True
        flight.marks = None
        storage.events.emit("refused_commit", call.name)
    except (BackendError, CodecError) as error:
        flight.sealed = None
        storage.events.emit("backend_error", call.name, error=error)
        warn_once(storage, call.creator, error)
        await _release(ports, storage, call, lease)
    return False


def doubt(storage: Storage, flight: Flight) -> None:
    """Note that others may have written before a write of this process did.

    They are not heard of then: who came in between must not get the value.
    """
    if storage.capabilities.scope != "process":
        flight.marks = None


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
    if flight.done:
        return  # in the child of a fork: the lease is its parent's
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
        return storage.local.commit(flight, kept) is not None
    try:
        raw = storage.coding.encode(key, kept)
        ttl = kept_for(metadata, storage.policy)
        return bool(await ports.call(storage, "commit", lease, raw, ttl=ttl))
    except (BackendError, CodecError):
        return False  # then it is tried again a little earlier


_warned: set[str] = set()


def warn_once(storage: Storage, creator: Callable[..., Any], error: Exception) -> None:
    """Warn once a function that its values do not get into the cache."""
    place = name_of(creator)
    if place in _warned:
        return
    _warned.add(place)
    warnings.warn(
        f"region {storage.events.region!r}: a value that {place} created was "
        f"returned, but could not be stored: {error}",
        RuntimeWarning,
        stacklevel=2,
    )


def carried(ports: Ports, error: BaseException) -> BaseException:
    """Return an error in the form in which it leaves a coroutine."""
    if not isinstance(error, StopIteration):
        return error
    if ports.loop is None:
        return Carried(error)
    # What Python makes of it, where it would leave a coroutine as itself.
    raised = RuntimeError("a creator raised StopIteration")
    raised.__cause__ = error
    return raised
