"""Whether a transaction sees its database as that was before.

In one that reads from a snapshot, what is created now may be older than what was
invalidated since. The settings may say so, or the server's own: those are asked for
once in a connection.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

from asgiref.sync import AsyncToSync, sync_to_async
from django.db import connections

# How isolation levels begin whose transactions go on seeing what was there.
_SNAPSHOTS = ("repeatable", "serializable", "snapshot")
_MYSQL = "mysql"
# What tells the level of a transaction, and of those after it; one of them suffices. An
# older MariaDB knows the last one of MySQL alone, and MySQL itself the other.
_OF_POSTGRESQL = ("SHOW transaction_isolation", "SHOW default_transaction_isolation")
_QUESTIONS = {
    "postgresql": _OF_POSTGRESQL,
    "cockroachdb": _OF_POSTGRESQL,
    _MYSQL: ("SELECT @@transaction_isolation", "SELECT @@tx_isolation"),
}


def has_old_view() -> bool:
    """Return whether this thread may see its databases as they were before."""
    for connection in _opened(getattr(connections, "_connections", None)):
        if getattr(connection, "in_atomic_block", False) and _is_snapshot(connection):
            return True
    return False


def _opened(local: Any) -> Iterable[Any]:
    """Return the connections of this thread, under whichever aliases.

    :param local: of asgiref, in which Django keeps them. It has a ``threading.local``,
        as asking Django costs more than all the rest of a hit.
    """
    storage = getattr(local, "_storage", None)
    if isinstance(storage, threading.local):
        return tuple(vars(storage).values())
    return connections.all(initialized_only=True)


async def ahas_old_view() -> bool:
    """Return whether the thread that waits for this sees what was before.

    Nobody waits in a task of a server's own, which has no transaction either.
    """
    waiting = getattr(AsyncToSync.executors, "current", None)
    if waiting is None or not _has_databases():
        return False
    return await sync_to_async(has_old_view)()


def _has_databases() -> bool:
    return not all(
        chosen["ENGINE"].endswith(".dummy") for chosen in connections.settings.values()
    )


class _Mine(threading.local):
    """What the servers of this thread's connections have said."""

    def __init__(self) -> None:
        # From the connections of the drivers: another one may be another server's.
        self.answers: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()


_mine = _Mine()


def _is_snapshot(connection: Any) -> bool:
    if connection.closed_in_transaction:
        return True  # whatever it has seen, it is not to be kept
    if connection.vendor == "sqlite":
        # With another journal, who writes waits for who reads.
        return _journal_mode(connection) == "wal"
    chosen = _chosen_level(connection)
    if chosen is not None:
        return chosen.lower().startswith(_SNAPSHOTS)
    questions = _QUESTIONS.get(connection.vendor, ())
    opened = connection.connection
    if opened is None or not questions:
        return False
    known = _mine.answers.get(opened)
    if known is None:
        known = _is_told_to_be(opened, questions)
    return known


def _chosen_level(connection: Any) -> str | None:
    """Return what the settings say; ``None`` where they leave it to the server."""
    options = connection.settings_dict.get("OPTIONS", {})
    wanted = options.get("isolation_level")
    if wanted is None and (connection.vendor != _MYSQL or "isolation_level" in options):
        return None
    # As Django has understood it, or as it stands before it connects.
    understood = getattr(connection, "isolation_level", None) or wanted
    # With MySQL, whose driver is told a level where no setting has one.
    return str(getattr(understood, "name", understood) or "read committed")


def _is_told_to_be(opened: Any, questions: Sequence[str]) -> bool:
    """Return what a server says of its transactions, and remember it."""
    told: list[str] = []
    # Past Django's cursor, so that nobody's queries are counted. What is suppressed
    # is of a driver that is not imported here.
    with contextlib.suppress(Exception), opened.cursor() as cursor:
        for question in questions:
            with contextlib.suppress(Exception):
                cursor.execute(question)
                told.append(str(cursor.fetchone()[0]).lower())
    if not told:
        # In a transaction that has failed: whatever it sees, it is not to be kept.
        return True
    answer = any(level.startswith(_SNAPSHOTS) for level in told)
    _mine.answers[opened] = answer
    return answer


def _journal_mode(connection: Any) -> str:
    opened = connection.connection
    if opened is None:
        return ""
    # Past Django's cursor, so that nobody's queries are counted.
    return str(opened.execute("PRAGMA journal_mode").fetchone()[0])
