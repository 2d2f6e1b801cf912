"""What a transaction has written, and what happens when it commits.

Nothing is kept beside Django: what is to be invalidated waits among the connection's
own callbacks for the commit, which Django drops when the transaction, or the
savepoint, is rolled back. What waits there is what was written.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from asgiref.sync import AsyncToSync, sync_to_async
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS, connections, transaction

Invalidate = Callable[[set[str]], object]

# The connections that were written through in this context. A coroutine has no
# other way to those of the thread that waits for it.
_written: ContextVar[tuple[weakref.ref[Any], ...]] = ContextVar(
    "dogpile_written", default=()
)


# What waits for a commit; it is gone with the transaction, however that ends.
_alive: weakref.WeakSet[Pending] = weakref.WeakSet()


class Pending:
    """The tags that a commit invalidates."""

    __slots__ = ("__weakref__", "_invalidate", "tags")

    def __init__(self, tags: Iterable[str], invalidate: Invalidate) -> None:
        self.tags: set[str] = set(tags)
        self._invalidate = invalidate
        _alive.add(self)

    def __call__(self) -> None:
        """Invalidate them: the transaction has committed."""
        self._invalidate(self.tags)

    def takes(self, invalidate: Invalidate) -> bool:
        """Return whether it does the same with its tags."""
        return self._invalidate == invalidate


def when_committed(
    tags: Collection[str], using: str | None, invalidate: Invalidate
) -> None:
    """Invalidate tags when the transaction commits; without one, at once.

    :param using: the alias of the database.
    :param invalidate: called with them.
    """
    if not tags:
        return
    connection: Any = connections[using or DEFAULT_DB_ALIAS]
    if not connection.in_atomic_block:
        # Whoever manages transactions by hand says when they commit.
        invalidate(set(tags))
        return
    here = set(connection.savepoint_ids)
    for savepoints, callback, *_ in reversed(connection.run_on_commit):
        if (
            isinstance(callback, Pending)
            and savepoints == here
            and callback.takes(invalidate)
        ):
            callback.tags.update(tags)
            return
    transaction.on_commit(Pending(tags, invalidate), using=using)
    known = _written.get()
    if not any(each() is connection for each in known):
        alive = (each for each in known if each() is not None)
        _written.set((*alive, weakref.ref(connection)))


def written_tags(*, is_async: bool = False) -> set[str]:
    """Return the tags that open transactions of this thread have written.

    :param is_async: in a coroutine: of the thread that waits for it.
    """
    found: set[str] = set()
    if not _alive:
        return found  # nobody has written, in whichever thread
    for connection in _in_context() if is_async else _in_thread():
        if not connection.in_atomic_block:
            continue
        for _, callback, *_rest in list(connection.run_on_commit):
            if isinstance(callback, Pending):
                found |= callback.tags
    return found


def _in_thread() -> Iterator[Any]:
    yield from connections.all(initialized_only=True)


def _in_context() -> Iterator[Any]:
    for each in _written.get():
        connection = each()
        if connection is not None:
            yield connection


def has_old_view() -> bool:
    """Return whether this thread may see its databases as they were before.

    In a transaction that reads from a snapshot, what is created now may be older
    than what was invalidated since.
    """
    aliases = _with_snapshots(connections)
    if _mine.aliases is not aliases:
        # Asking Django costs more than all the rest of a hit.
        _mine.aliases = aliases
        _mine.connections = tuple(connections[alias] for alias in aliases)
    for connection in _mine.connections:
        if connection.in_atomic_block and _is_snapshot(connection):
            return True
    return False


async def ahas_old_view() -> bool:
    """Return whether the thread that waits for this sees what was before.

    Nobody waits in a task of a server's own, which has no transaction either.
    """
    waiting = getattr(AsyncToSync.executors, "current", None)
    if waiting is None or not _with_snapshots(connections):
        return False
    return await sync_to_async(has_old_view)()


class _Mine(threading.local):
    """The connections of this thread that may read from snapshots."""

    aliases: tuple[str, ...] = ()
    connections: tuple[Any, ...] = ()


_mine = _Mine()


@functools.lru_cache(maxsize=1)
def _with_snapshots(handler: Any) -> tuple[str, ...]:
    """Return the databases whose transactions may read from a snapshot."""
    return tuple(
        alias
        for alias, chosen in handler.settings.items()
        if "lite" in chosen["ENGINE"].rpartition(".")[2]
        or chosen.get("OPTIONS", {}).get("isolation_level") is not None
    )


def forget_databases(*, setting: str, **_: Any) -> None:
    """Hear that a setting was changed, as tests do."""
    if setting == "DATABASES":
        _with_snapshots.cache_clear()


setting_changed.connect(forget_databases, dispatch_uid="dogpile.cache.transactions")

_SNAPSHOTS = ("repeatable", "serializable", "snapshot")


def _is_snapshot(connection: Any) -> bool:
    if connection.vendor == "sqlite":
        # With another journal, who writes waits for who reads.
        return _journal_mode(connection) == "wal"
    # As Django has understood the setting, or as it stands before it connects.
    chosen = getattr(connection, "isolation_level", None)
    if chosen is None:
        chosen = connection.settings_dict.get("OPTIONS", {}).get("isolation_level")
    name = str(getattr(chosen, "name", chosen)).lower()
    return name.startswith(_SNAPSHOTS)


def _journal_mode(connection: Any) -> str:
    opened = connection.connection
    if opened is None:
        return ""
    # Past Django's cursor, so that nobody's queries are counted.
    return str(opened.execute("PRAGMA journal_mode").fetchone()[0])
