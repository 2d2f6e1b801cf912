"""Values read with their generation records, which are written anew where lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dogpile.cache.api import NO_VALUE, CachedValue, KeyType, NoValueType
from dogpile.cache.lease import pauses
from dogpile.cache.ports import THREAD_PORTS, Ports, run_now
from dogpile.cache.storage import Storage

# How often a lost record is tried to be written before it is written anyway.
_PLACING_TRIES = 20


def read_now(
    storage: Storage, key: KeyType, names: Sequence[str], raw: Any = None
) -> tuple[CachedValue | NoValueType, Mapping[str, str]]:
    """Read a value in this thread, and the marks that it is judged by.

    :param key: as it is stored.
    :param names: the records that the reader looks at.
    :param raw: what the backend has, if that was read a moment ago.
    """
    marks = storage.marks.known(names)
    if marks is not None:
        found = storage.ops["get"](key) if raw is None else raw
        value = storage.coding.decode(key, found)
    else:
        value, marks = _both(storage, key, names, raw)
    if storage.is_remembering:
        storage.remember([(key, value)])
    if value is not NO_VALUE and "t" in value.metadata:
        own = storage.own_records(value, names)
        if own:
            marks = {**marks, **records_now(storage, own)}
    return value, marks


def _both(
    storage: Storage, key: KeyType, names: Sequence[str], raw: Any
) -> tuple[CachedValue | NoValueType, Mapping[str, str]]:
    """Read a value, and the records too: in one step where that can be."""
    before = storage.shared.written
    found: Sequence[Any]
    if raw is None and storage.capabilities.multi:
        raw, *found = storage.ops["get_multi"]([key, *names])
    else:
        if raw is None:
            raw = storage.ops["get"](key)
        found = storage.ops["get_records"](list(names))
    marks = run_now(note(THREAD_PORTS, storage, names, found, before))
    return storage.coding.decode(key, raw), marks


def records_now(storage: Storage, names: Sequence[str]) -> Mapping[str, str]:
    """Return the marks of records as :func:`records` does, in this thread."""
    known = storage.marks.known(names)
    if known is not None:
        return known
    return run_now(_asked(THREAD_PORTS, storage, names))


def tag_marks(storage: Storage, tags: Sequence[str]) -> Mapping[str, str]:
    """Return the marks that values of these tags have to carry now.

    The backend is asked, in this thread, whatever is known.
    """
    names = storage.tag_records(tags)
    if storage.marks.is_held:
        return records_now(storage, names)
    return run_now(_asked(THREAD_PORTS, storage, names))


async def records(
    ports: Ports, storage: Storage, names: Sequence[str]
) -> Mapping[str, str]:
    """Return the marks of records, as they are known or from the backend."""
    known = storage.marks.known(names)
    if known is not None:
        return known
    return await _asked(ports, storage, names)


async def _asked(
    ports: Ports, storage: Storage, names: Sequence[str]
) -> Mapping[str, str]:
    before = storage.shared.written
    found = await ports.call(storage, "get_records", list(names))
    return await note(ports, storage, names, found, before)


async def note(
    ports: Ports,
    storage: Storage,
    names: Sequence[str],
    found: Sequence[Any],
    before: object,
) -> Mapping[str, str]:
    """Keep what records hold, and write anew those that are lost.

    :param found: what the backend has under the names.
    :param before: what ``storage.shared.written`` was when it was asked.
    """
    noted, outdated = storage.generations.outdated(names, found, before)
    marks = dict(noted)
    for name, old in outdated.items():
        if old is NO_VALUE:
            marks[name] = await _placed(ports, storage, name, marks[name])
            continue
        raw = storage.generations.value(name, marks[name])
        # Only if nobody has invalidated since: a plain write would undo it.
        seconds = storage.policy.lease_time
        lease = await ports.call(storage, "lease_record", name, seconds)
        if lease.granted and lease.found == old:
            await ports.call(storage, "commit_record", lease, raw)
        elif lease.granted:
            await ports.call(storage, "release_record", lease)
    return marks


async def _placed(ports: Ports, storage: Storage, name: str, mark: str) -> str:
    """Write a record that is lost, unless somebody else does so at the same time.

    Whoever wrote another mark would make all that others create now invalid.

    :return: the mark that it holds now.
    """
    seconds, next_pause = storage.policy.lease_time, pauses()
    raw = storage.generations.value(name, mark)
    for _ in range(_PLACING_TRIES):
        before = storage.shared.written
        lease = await ports.call(storage, "lease_record", name, seconds)
        held = storage.generations.mark_in(name, lease.found, before)
        if held is not None:
            if lease.granted:
                await ports.call(storage, "release_record", lease)
            return held
        if not lease.granted:
            await ports.pause(storage.clock, next_pause())
        elif await ports.call(storage, "commit_record", lease, raw):
            storage.marks.note(name, mark, before)
            return mark
    await ports.call(storage, "set_record", name, raw)
    return mark
