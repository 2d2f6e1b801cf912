"""What generation records hold: read, and written anew where they are lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dogpile.cache.api import NO_VALUE
from dogpile.cache.generations import PLACING_TRIES
from dogpile.cache.lease import pauses
from dogpile.cache.ports import Ports
from dogpile.cache.storage import Storage


async def records(
    ports: Ports, storage: Storage, names: tuple[str, ...]
) -> Mapping[str, str]:
    """Return the marks of records, as they are known or from the backend."""
    known = storage.marks.known(names)
    if known is not None:
        return known
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
    for _ in range(PLACING_TRIES):
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
