"""Reading, writing and invalidating, written once for threads and loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dogpile.cache.api import NO_VALUE, CachedValue, Lease, NoValueType
from dogpile.cache.creation import Seen
from dogpile.cache.exception import BackendError, BackendUnavailable
from dogpile.cache.generations import new_id
from dogpile.cache.invalidation import NEVER, renewed
from dogpile.cache.policy import EARLY, FRESH, MISS, Policy, kept_for
from dogpile.cache.ports import Ports, in_thread
from dogpile.cache.records import note, records
from dogpile.cache.storage import Storage


async def read(
    ports: Ports, storage: Storage, key: Any, names: Sequence[str]
) -> tuple[CachedValue | NoValueType, Mapping[str, str]]:
    """Read a value, and the marks that it is judged by.

    :param key: as it is stored.
    :param names: the records that the reader looks at.
    """
    values, marks = await read_multi(ports, storage, [key], names)
    return values[0], marks[0]


async def read_multi(
    ports: Ports,
    storage: Storage,
    keys: Sequence[Any],
    names: Sequence[str],
    raws: Sequence[Any] | BackendError | None = None,
) -> tuple[list[CachedValue | NoValueType], list[Mapping[str, str]]]:
    """Read values, and the marks that each is judged by, in one round trip.

    :param keys: as they are stored; not none.
    :param raws: what the backend has, or the error that it had, if it was
        asked a moment ago.
    """
    if isinstance(raws, BackendError):
        raise raws
    marks = storage.marks.known(names)
    before = storage.shared.written
    held: Sequence[Any]
    if raws is not None:
        held = raws
    elif marks is None and storage.capabilities.multi:
        found = await ports.call(storage, "get_multi", [*keys, *names])
        held = found[: len(keys)]
        marks = await note(ports, storage, names, found[len(keys) :], before)
    elif len(keys) == 1:
        held = [await ports.call(storage, "get", keys[0])]
    else:
        held = await ports.call(storage, "get_multi", list(keys))
    if marks is None:
        marks = await records(ports, storage, tuple(names))
    decode = storage.coding.decode
    values = [decode(key, raw) for key, raw in zip(keys, held, strict=True)]
    storage.remember(zip(keys, values, strict=True))
    return values, await marks_for(ports, storage, values, names, marks)


async def marks_for(
    ports: Ports,
    storage: Storage,
    values: Sequence[CachedValue | NoValueType],
    names: Sequence[str],
    marks: Mapping[str, str],
) -> list[Mapping[str, str]]:
    """Return the marks that each value is judged by.

    :param names: the records that the reader looks at.
    :param marks: what these hold; a value's own tags come with it.
    """
    own = [
        storage.own_records(value, names)
        if value is not NO_VALUE and "t" in value.metadata
        else ()
        for value in values
    ]
    wanted = tuple(dict.fromkeys(name for each in own for name in each))
    if not wanted:
        return [marks] * len(values)
    known = await records(ports, storage, wanted)
    # The tags of one value say nothing about the others.
    return [{**marks, **{name: known[name] for name in each}} for each in own]


async def look(
    ports: Ports,
    storage: Storage,
    key: Any,
    policy: Policy,
    names: Sequence[str],
    *,
    explicit: bool,
) -> Seen:
    """Read a value and judge it; a backend that fails has none.

    :raises BackendError: it failed, and the policy says to raise.
    """
    try:
        value, marks = await read(ports, storage, key, names)
    except BackendError as error:
        error.during("get_or_create")
        return without_backend(storage, policy, error, key)
    verdict = storage.judge(value, policy, marks, explicit=explicit)
    return Seen(value, verdict, marks)


def without_backend(
    storage: Storage, policy: Policy, error: BackendError, key: Any
) -> Seen:
    """Return what a reader gets of a backend that fails.

    :param key: as it is stored.
    :return: a miss; or, if the policy says ``"stale"``, the value that this
        process read last, unless it knows of an invalidation since.
    :raises BackendError: the policy says to raise it.
    """
    if policy.on_backend_error == "raise":
        raise error
    storage.events.emit("backend_error", key, error=error)
    if policy.on_backend_error == "stale":
        value, marks = storage.last_seen(key)
        if storage.invalidity(value, policy, marks) is FRESH:
            return Seen(value, FRESH, marks)
    return Seen(NO_VALUE, MISS, {})


def is_good(
    storage: Storage,
    value: CachedValue | NoValueType,
    policy: Policy,
    marks: Mapping[str, str],
    *,
    by_age: bool,
    explicit: bool,
) -> bool:
    """Return whether ``get()`` hands a value out.

    :param by_age: not if it has expired.
    """
    if by_age:
        return storage.judge(value, policy, marks, explicit=explicit) in (FRESH, EARLY)
    return storage.invalidity(value, policy, marks) is FRESH


async def get(
    ports: Ports,
    storage: Storage,
    name: Any,
    policy: Policy,
    *,
    by_age: bool,
    explicit: bool,
) -> CachedValue | NoValueType:
    """Return a stored value, if ``get()`` hands it out.

    :param name: the key as the caller gave it.
    """
    names = storage.records_for(policy)
    try:
        value, marks = await read(ports, storage, storage.coding.key(name), names)
    except BackendError as error:
        error.during("get")
        return without_backend(storage, policy, error, storage.coding.key(name)).value
    good = is_good(storage, value, policy, marks, by_age=by_age, explicit=explicit)
    if storage.events.wanted:
        emit_get(storage, name, good)
    return value if good else NO_VALUE


async def get_multi(
    ports: Ports,
    storage: Storage,
    names: Sequence[Any],
    policy: Policy,
    *,
    by_age: bool,
    explicit: bool,
    raws: Sequence[Any] | BackendError | None = None,
) -> list[Any]:
    """Return the payload of each key, or NO_VALUE, in their order.

    :param raws: as of :func:`read_multi`.
    """
    if not names:
        return []
    keys = storage.coding.keys(names)
    try:
        values, marks = await read_multi(
            ports, storage, keys, storage.records_for(policy), raws
        )
    except BackendError as error:
        error.during("get_multi")
        return [
            without_backend(storage, policy, error, key).value.payload for key in keys
        ]
    payloads: list[Any] = []
    for name, value, held in zip(names, values, marks, strict=True):
        good = is_good(storage, value, policy, held, by_age=by_age, explicit=explicit)
        if storage.events.wanted:
            emit_get(storage, name, good)
        payloads.append(value.payload if good else NO_VALUE)
    return payloads


def emit_get(storage: Storage, name: Any, good: bool) -> None:
    """Tell of a ``get()`` that handed a value out, or did not."""
    event = "hit" if good else "miss"
    if event in storage.events.wanted:
        storage.events.emit(event, name)


async def put(
    ports: Ports,
    storage: Storage,
    name: Any,
    payload: Any,
    policy: Policy,
    *,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Store a value, and void what is being created under its key.

    :raises Unserializable: it cannot be turned into bytes.
    :raises BackendError: the backend could not store it.
    """
    try:
        await _put_multi(ports, storage, {name: payload}, policy, more)
    except BackendError as error:
        error.during("put")
        raise


async def put_multi(
    ports: Ports,
    storage: Storage,
    mapping: Mapping[Any, Any],
    policy: Policy,
    *,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Store values, and void what is being created under their keys.

    :param mapping: payloads by the keys as the caller gave them.
    """
    if not mapping:
        return
    try:
        await _put_multi(ports, storage, mapping, policy, more)
    except BackendError as error:
        error.during("put_multi")
        raise


async def _put_multi(
    ports: Ports,
    storage: Storage,
    mapping: Mapping[Any, Any],
    policy: Policy,
    more: Mapping[str, Any] | None,
) -> None:
    by_key = {storage.coding.key(name): payload for name, payload in mapping.items()}
    is_stored = False
    while not is_stored:
        epoch = storage.local.epoch
        try:
            marks = await records(ports, storage, storage.records_for(policy))
        except BackendUnavailable:
            # What is stored now is older than what was to replace it.
            storage.miss(list(by_key))
            raise
        now = storage.clock.time()
        values = {
            key: CachedValue(payload, storage.metadata(now, policy, marks, more=more))
            for key, payload in by_key.items()
        }
        is_stored = await store_multi(ports, storage, values, epoch)
    if "put" in storage.events.wanted:
        for name in mapping:
            storage.events.emit("put", name)


async def store_multi(
    ports: Ports, storage: Storage, values: Mapping[Any, CachedValue], epoch: object
) -> bool:
    """Store values under stored keys, and void what is being created.

    :param epoch: the one that the values' marks were read in.
    :return: False if they have to be read anew; nothing is stored.
    """
    if storage.entries is not None:
        return storage.local.put(values, epoch)
    raws = {key: storage.coding.encode(key, value) for key, value in values.items()}
    storage.forget(raws)
    how = {}
    if storage.capabilities.ttl:
        first = next(iter(values.values()))
        how["ttl"] = kept_for(first.metadata, storage.policy)
    if len(raws) == 1:
        (item,) = raws.items()
        await ports.call(storage, "set", *item, **how)
    else:
        await ports.call(storage, "set_multi", raws, **how)
    return True


async def delete_multi(ports: Ports, storage: Storage, names: Sequence[Any]) -> None:
    """Delete values, and void what is being created under their keys."""
    if not names:
        return
    keys = [storage.coding.key(name) for name in names]
    if storage.entries is not None:
        for key in keys:
            storage.local.delete(key)
    else:
        storage.forget(keys)
        try:
            if len(keys) == 1:
                await ports.call(storage, "delete", keys[0])
            else:
                await ports.call(storage, "delete_multi", keys)
        except BackendUnavailable as error:
            error.during("delete" if len(keys) == 1 else "delete_multi")
            _require_journal(storage, error)
    if "delete" in storage.events.wanted:
        for name in names:
            storage.events.emit("delete", name)


async def invalidate(
    ports: Ports, storage: Storage, names: Sequence[str], *, hard: bool
) -> None:
    """Invalidate what carries any of the records.

    :param names: of the records.
    :param hard: values are gone, not only stale.
    """
    try:
        await _invalidate(ports, storage, names, hard=hard)
    except BackendError as error:
        error.during("invalidate")
        raise


async def _invalidate(
    ports: Ports, storage: Storage, names: Sequence[str], *, hard: bool
) -> None:
    whole = names == (storage.record,) and len(storage.records) == 1
    if whole and storage.invalidator is not None:
        storage.invalidator.invalidate(hard)
        names, whole = (), False
    for name in names:
        if storage.marks.is_held:
            storage.marks.renew(name, hard=hard)
            continue
        mark = None if hard else await _softened(ports, storage, name)
        if mark is None:
            known = storage.marks.last(name)
            mark = renewed(known, new_id(), hard=hard)
            raw = storage.generations.value(name, mark)
            try:
                await ports.call(storage, "set_record", name, raw)
            except BackendUnavailable as error:
                _require_journal(storage, error)
        storage.marks.note_written(name, mark)
    storage.start_epoch(is_end=hard and whole)
    if "invalidate" in storage.events.wanted:
        storage.events.emit("invalidate", hard=hard, records=tuple(names))


def _require_journal(storage: Storage, error: BackendUnavailable) -> None:
    """Go on if a journal has the invalidation, and will make up for it.

    :raises BackendUnavailable: there is no journal, or the policy says so.
    """
    if storage.shared.guard is None or storage.policy.on_backend_error == "raise":
        raise error
    storage.events.emit("backend_error", error=error)


async def _softened(ports: Ports, storage: Storage, name: str) -> str | None:
    """Renew a record softly, on top of what it holds.

    A plain write would undo a hard invalidation that came in between.

    :return: what it holds now; ``None`` if that could not be done.
    """
    seconds = storage.policy.lease_time
    try:
        for _ in range(_TRIES):
            before = storage.shared.written
            found = await ports.call(storage, "get_records", [name])
            held = (await note(ports, storage, (name,), found, before))[name]
            lease: Lease = await ports.call(
                storage, "lease_record", name, seconds, steal=True
            )
            mark = renewed(held, new_id(), hard=False)
            raw = storage.generations.value(name, mark)
            is_same = _mark_of(storage, name, lease.found) == held
            if is_same and await ports.call(storage, "commit_record", lease, raw):
                return mark
            if not is_same:
                await ports.call(storage, "release_record", lease)
    except BackendUnavailable as error:
        _require_journal(storage, error)
    return None


# How often others may come in between; then it is written all the same.
_TRIES = 20


def _mark_of(storage: Storage, name: str, raw: Any) -> str:
    value = storage.coding.decode(name, raw)
    return NEVER if value is NO_VALUE else str(value.payload)


async def is_locked(ports: Ports, storage: Storage, name: Any) -> bool:
    """Return whether the value of a key is being created, here or elsewhere."""
    key = storage.coding.key(name)
    if storage.flights.is_flying(key):
        return True
    if storage.entries is not None:
        return False
    mutex = storage.backend.get_mutex(key)
    locked = getattr(mutex, "locked", None)
    if locked is not None and locked():
        return True
    try:
        return bool(await ports.call(storage, "is_leased", key))
    except BackendError as error:
        error.during("key_is_locked")
        raise


async def close(storage: Storage, seconds: float) -> None:
    """Wait for refreshes in the background, and close the backend's clients.

    :param seconds: to wait at most.
    """
    await in_thread(lambda: storage.pending.wait(seconds))
    native = storage.shared.async_op("close")
    if native is not None:
        await native()
    storage.backend.close()
