"""What generation records hold: read, and written anew where they are lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dogpile.cache.api import NO_VALUE
from dogpile.cache.ports import Ports
from dogpile.cache.storage import Storage


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
        seconds = storage.policy.lease_time
        lease = await ports.call(storage, "lease_record", name, seconds)
        if lease.granted and lease.found == old:
            await ports.call(storage, "commit_record", lease, raw)
        elif lease.granted:
            await ports.call(storage, "release_record", lease)
    return marks
