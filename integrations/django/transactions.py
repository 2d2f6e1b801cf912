"""What a transaction has written, and what happens when it commits.

Nothing is kept beside Django: what is to be invalidated waits among the connection's
own callbacks for the commit, which Django drops when the transaction, or the
savepoint, is rolled back. What waits there is what was written.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

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
    # Robust: who comes after it is called, whatever becomes of it.
    transaction.on_commit(Pending(tags, invalidate), using=using, robust=True)
    _go_first(connection)
    known = _written.get()
    if not any(each() is connection for each in known):
        alive = (each for each in known if each() is not None)
        _written.set((*alive, weakref.ref(connection)))


def _go_first(connection: Any) -> None:
    """Have the latest callback called before all others.

    One that raises keeps those after it from being called. And what they read from
    the cache is of the time after the commit.
    """
    if any(
        getattr(block, "_from_testcase", False) for block in connection.atomic_blocks
    ):
        # No commit comes, and what TestCase calls instead it finds by their number.
        return
    waiting = connection.run_on_commit
    waiting.insert(0, waiting.pop())


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
