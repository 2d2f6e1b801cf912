"""What lies in the SQLite file: entries and leases, and each step that changes them.

Every step takes a :class:`~dogpile.cache.backends.sqlite_file.Link` as its last
argument, begins outside of a transaction and ends outside of one.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from dogpile.cache.api import NO_VALUE, RECORD_PREFIX, KeyType, Lease
from dogpile.cache.backends.sqlite_file import Link
from dogpile.cache.exception import BackendError

#: What SQLite takes for a key.
Native: TypeAlias = str | bytes | int
#: A key, its value, and when it lapses.
Row: TypeAlias = tuple[Native, bytes, "float | None"]

#: The two statements on the short ways; the others stay in this room.
GET = "SELECT value, ends FROM entries WHERE key = ?"
PUT = """INSERT INTO entries (key, value, ends) VALUES (?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, ends = excluded.ends"""

# "dogp": what tells a cache from any other program's file.
_APPLICATION = 0x646F6770
_FORMAT = 1
_TABLES = (
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_FORMAT}",
    # Ids grow in the order of writing. A table without them is slower, for the
    # values do not fit beside the keys. Generation records have negative ids.
    """CREATE TABLE entries (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE,
    ends REAL, value BLOB NOT NULL)""",
    """CREATE TABLE leases (key BLOB PRIMARY KEY, token TEXT NOT NULL,
    ends REAL NOT NULL, seconds REAL NOT NULL, failure BLOB) WITHOUT ROWID""",
    # Whoever writes an entry voids its lease in the same step, and with one
    # statement needs no transaction around it.
    """CREATE TRIGGER void_on_insert AFTER INSERT ON entries BEGIN
    DELETE FROM leases WHERE key = new.key; END""",
    """CREATE TRIGGER void_on_update AFTER UPDATE ON entries BEGIN
    DELETE FROM leases WHERE key = new.key; END""",
)
# Made when a limit is first set on a file: the others do not pay for it.
_TOTALS = (
    "CREATE TABLE totals (entries INTEGER NOT NULL, bytes INTEGER NOT NULL)",
    """INSERT INTO totals
    SELECT count(*), ifnull(sum(length(key) + length(value)), 0)
    FROM entries WHERE id >= 0""",
    """CREATE TRIGGER count_insert AFTER INSERT ON entries WHEN new.id >= 0 BEGIN
    UPDATE totals SET entries = entries + 1,
    bytes = bytes + length(new.key) + length(new.value); END""",
    """CREATE TRIGGER count_update AFTER UPDATE ON entries
    WHEN new.id >= 0 AND length(new.value) <> length(old.value) BEGIN
    UPDATE totals SET bytes = bytes + length(new.value) - length(old.value); END""",
    """CREATE TRIGGER count_delete AFTER DELETE ON entries WHEN old.id >= 0 BEGIN
    UPDATE totals SET entries = entries - 1,
    bytes = bytes - length(old.key) - length(old.value); END""",
)

# The keys that one step of a walk through all of them looks at.
_PAGE = 500
_GET_MULTI = "SELECT key, value, ends FROM entries WHERE key IN "
_PUT_LAST = """INSERT INTO entries (key, value, ends) VALUES (?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, ends = excluded.ends,
    id = (SELECT max(id) + 1 FROM entries)"""
_PUT_RECORD = """INSERT INTO entries (id, key, value, ends)
    VALUES ((SELECT min(-1, ifnull(min(id), 0) - 1) FROM entries), ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, ends = excluded.ends"""
_DELETE = "DELETE FROM entries WHERE key = ?"
_OLDEST = """SELECT id, key, length(key) + length(value) FROM entries WHERE id >= 0
    ORDER BY id LIMIT ?"""
_EVICT = "DELETE FROM entries WHERE id BETWEEN 0 AND ?"
_ANYWHERE = "SELECT abs(random() / 2) % max(1, (SELECT max(id) FROM entries))"
_SPAN = """SELECT max(id), count(*)
    FROM (SELECT id FROM entries WHERE id >= ? ORDER BY id LIMIT ?)"""
_LAPSED = "SELECT id, key FROM entries WHERE id BETWEEN ? AND ? AND ends <= ?"
_EVICT_LAPSED = "DELETE FROM entries WHERE id = ? AND ends <= ?"

_KEYS = """SELECT key, ends FROM entries WHERE key >= ? AND key > ?
    AND typeof(key) = 'text' ORDER BY key LIMIT ?"""

_LEASES = "SELECT key, token, ends, seconds, failure FROM leases WHERE key IN "
_VOID = "DELETE FROM leases WHERE key = ?"
_GRANT = "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, NULL)"
_FIND_HELD = """SELECT 1 FROM leases
    WHERE key = ? AND token = ? AND ends > ? AND failure IS NULL"""
_RENEW = """UPDATE leases SET ends = ?, seconds = ?
    WHERE key = ? AND token = ? AND ends > ? AND failure IS NULL"""
_FAIL = """UPDATE leases SET failure = ?
    WHERE key = ? AND token = ? AND ends > ? AND failure IS NULL"""
_RELEASE = "DELETE FROM leases WHERE key = ? AND token = ? AND failure IS NULL"
_FIND_LAPSED_LEASE = "SELECT 1 FROM leases WHERE ends <= ? LIMIT 1"
_EVICT_LEASES = "DELETE FROM leases WHERE ends <= ?"

# The parameters of one statement, and the steps in which they grow.
_CHUNK = 500
_STEP = 20
# How many entries one walk looks at, and how many lapsed ones are many; which
# walks look at the leases too.
_WALK = 128
_RICH = 8
_WALKS_FOR_LEASES = 2
# One write evicts so many more than it writes, at most.
_EVICTED_AT_ONCE = 16
# What a clock may be set back by without ending a lease.
_SET_BACK = 1.0


class LeaseRow(NamedTuple):
    """A lease as it is stored; with a failure it is nobody's any more."""

    token: str
    ends: float
    seconds: float
    failure: bytes | None

    def is_over(self, now: float) -> bool:
        """Judge it ended; one that lies too far ahead is of a clock set back."""
        return self.ends <= now or self.ends > now + self.seconds + _SET_BACK


class Page(NamedTuple):
    """Some of the keys in the file.

    :param last: after which the next page begins; ``None`` for the last page.
    """

    keys: list[str]
    last: str | None


class Wish(NamedTuple):
    """Who asks for leases, and how: see ``LeasingBackend.lease``.

    :param keys: the keys as the caller knows them, by their native ones.
    """

    keys: Mapping[Native, KeyType]
    seconds: float
    after: str | None = None
    steal: bool = False

    def minds(self, lease: LeaseRow) -> bool:
        """Return whether a lease that is not over stands in its way."""
        if lease.failure is not None:
            return lease.token == self.after
        return not (self.steal and self.after in (None, lease.token))


class Tables:
    """The steps, each in one transaction.

    :param now: tells the time, in seconds since the epoch.
    :param max_entries: beyond which the entries written longest ago go.
    :param max_bytes: the same for the bytes of keys and values.
    """

    def __init__(
        self,
        now: Callable[[], float],
        *,
        max_entries: int | None = None,
        max_bytes: int | None = None,
    ) -> None:
        self._now = now
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self.is_bounded: bool = not (max_entries is None and max_bytes is None)
        self._walks = 0
        self._walked_to: int | None = None

    def set_up(self, connection: sqlite3.Connection, name: str, path: str) -> None:
        """Make the tables of a new file; refuse a file of another program.

        :param name: of the backend, and ``path`` of the file, for the errors.
        """
        execute = connection.execute
        [application] = execute("PRAGMA application_id").fetchone()
        [version] = execute("PRAGMA user_version").fetchone()
        tables = {
            row[0] for row in execute("SELECT name FROM sqlite_master").fetchall()
        }
        if not application and not tables:
            execute("PRAGMA journal_mode = WAL").fetchone()
            _make(connection, _TABLES)
        elif application != _APPLICATION:
            raise BackendError(
                name, "open", f"{path} is another program's; choose another filename"
            )
        elif version != _FORMAT:
            raise BackendError(
                name,
                "open",
                f"{path} was made by another version of dogpile.cache; delete it, "
                "or choose another filename",
            )
        if self.is_bounded and "totals" not in tables:
            _make(connection, _TOTALS)

    def read(self, keys: Sequence[Native], link: Link) -> dict[Native, bytes]:
        """Return the values that are there and have not lapsed."""
        now = self._now()
        return {
            key: value
            for key, value, ends in _select(link, _GET_MULTI, keys)
            if ends is None or ends > now
        }

    def store(self, rows: Sequence[Row], link: Link) -> list[Native]:
        """Store values, void their leases; return the keys evicted for them."""
        link.execute("BEGIN IMMEDIATE")
        evicted = self._write(rows, link)
        link.execute("COMMIT")
        return evicted

    def delete(self, keys: Sequence[Native], link: Link) -> None:
        """Remove values, and void their leases."""
        parameters = [(key,) for key in keys]
        link.execute("BEGIN IMMEDIATE")
        link.executemany(_VOID, parameters)
        link.executemany(_DELETE, parameters)
        link.execute("COMMIT")

    def walk(self, link: Link) -> list[Native]:
        """Evict what has lapsed among the next few entries; return its keys."""
        now = self._now()
        begin = self._walked_to
        if begin is None:
            # What was written first mostly lapses first, but some stays for ever.
            begin = 0
            if self._walks % 2:
                [begin] = link.execute(_ANYWHERE).fetchone()
        [(last, count)] = link.execute(_SPAN, (begin, _WALK)).fetchall()
        lapsed = []
        if count:
            lapsed = link.execute(_LAPSED, (begin, last, now)).fetchall()
        # On from where there is much, and from there alone: a walk as fast as the
        # writes would stay just ahead of what lapses.
        is_rich = count == _WALK and len(lapsed) > _RICH
        self._walked_to = last + 1 if is_rich else None
        if lapsed:
            link.execute("BEGIN IMMEDIATE")
            link.executemany(_EVICT_LAPSED, [(row[0], now) for row in lapsed])
            link.execute("COMMIT")
        if not self._walks % _WALKS_FOR_LEASES:
            _evict_leases(now, link)
        self._walks += 1
        return [row[1] for row in lapsed]

    def lease(self, wish: Wish, link: Link) -> list[Lease]:
        """Grant the leases that are free, and read all the keys.

        The write lock is taken only where there is something to grant.
        """
        found, held = self._look(wish, list(wish.keys), link)
        free = [key for key in wish.keys if key not in held]
        tokens: dict[Native, str] = {}
        if free:
            link.execute("BEGIN IMMEDIATE")
            found_now, held_now = self._look(wish, free, link)
            for key in free:
                found.pop(key, None)
            found.update(found_now)
            held.update(held_now)
            tokens = {key: os.urandom(16).hex() for key in free if key not in held}
            ends = self._now() + wish.seconds
            link.executemany(
                _GRANT, [(key, tokens[key], ends, wish.seconds) for key in tokens]
            )
            link.execute("COMMIT")
        return [
            Lease(caller_key, tokens[key], granted=True, found=found.get(key, NO_VALUE))
            if key in tokens
            else Lease(
                caller_key,
                held[key].token,
                granted=False,
                found=found.get(key, NO_VALUE),
                failure=held[key].failure,
            )
            for key, caller_key in wish.keys.items()
        ]

    def renew(self, key: Native, token: str, seconds: float, link: Link) -> bool:
        """Let a lease end later; return whether it was still held."""
        now = self._now()
        cursor = link.execute(_RENEW, (now + seconds, seconds, key, token, now))
        return cursor.rowcount == 1

    def commit(
        self, rows: Sequence[Row], tokens: Sequence[str], link: Link
    ) -> tuple[list[bool], list[Native]]:
        """Store the values whose leases are still held, and end these.

        :return: which were, and the keys that were evicted.
        """
        link.execute("BEGIN IMMEDIATE")
        now = self._now()
        kept = [
            link.execute(_FIND_HELD, (row[0], token, now)).fetchone() is not None
            for row, token in zip(rows, tokens, strict=True)
        ]
        held = [row for row, is_held in zip(rows, kept, strict=True) if is_held]
        evicted = self._write(held, link)
        link.execute("COMMIT")
        return kept, evicted

    def release(
        self,
        leases: Sequence[tuple[Native, str]],
        failure: bytes | None,
        link: Link,
    ) -> None:
        """End leases, given as key and token; a failure stays until their end."""
        now = self._now()
        link.execute("BEGIN IMMEDIATE")
        if failure is None:
            link.executemany(_RELEASE, leases)
        else:
            link.executemany(_FAIL, [(failure, *lease, now) for lease in leases])
        link.execute("COMMIT")

    def keys(self, start: str, after: str | None, link: Link) -> Page:
        """Return keys that begin so, and have not lapsed.

        :param after: the last one of the page before.
        """
        # A number is less than any text.
        first = -1 if after is None else after
        rows = link.execute(_KEYS, (start, first, _PAGE)).fetchall()
        now = self._now()
        found = [(key, ends) for key, ends in rows if key.startswith(start)]
        is_last = len(rows) < _PAGE or len(found) < len(rows)
        return Page(
            [key for key, ends in found if ends is None or ends > now],
            None if is_last else found[-1][0],
        )

    def is_leased(self, key: Native, link: Link) -> bool:
        """Return whether somebody holds the lease of the key now."""
        lease = _read_leases([key], link).get(key)
        if lease is None or lease.failure is not None:
            return False
        return not lease.is_over(self._now())

    def _look(
        self, wish: Wish, keys: Sequence[Native], link: Link
    ) -> tuple[dict[Native, bytes], dict[Native, LeaseRow]]:
        """Return the values, and the leases that stand in the way of a wish."""
        found = self.read(keys, link)
        leases = _read_leases(keys, link)
        now = self._now()
        return found, {
            key: lease
            for key, lease in leases.items()
            if not lease.is_over(now) and wish.minds(lease)
        }

    def _write(self, rows: Sequence[Row], link: Link) -> list[Native]:
        # With a limit each gets a new id: what was written last is evicted last.
        put = _PUT_LAST if self.is_bounded else PUT
        for row in rows:
            link.execute(_PUT_RECORD if _is_record(row[0]) else put, row)
        return self._evict_surplus(len(rows), link) if self.is_bounded else []

    def _evict_surplus(self, written: int, link: Link) -> list[Native]:
        entries, size = link.execute("SELECT entries, bytes FROM totals").fetchone()
        most = entries if self._max_entries is None else self._max_entries
        most_bytes = size if self._max_bytes is None else self._max_bytes
        if entries <= most and size <= most_bytes:
            return []
        if entries > most:
            # Some more at once are cheaper than one with each write.
            most -= min(_EVICTED_AT_ONCE, most // _EVICTED_AT_ONCE)
        last = -1
        evicted: list[Native] = []
        oldest = link.execute(_OLDEST, (written + _EVICTED_AT_ONCE,)).fetchall()
        for number, key, key_size in oldest:
            if entries <= most and size <= most_bytes:
                break
            evicted.append(key)
            entries -= 1
            size -= key_size
            last = number
        link.execute(_EVICT, (last,))
        return evicted


def size_of(row: Row) -> int:
    """Return what an entry counts for ``max_bytes``: a generation record nothing."""
    key, value, _ = row
    if _is_record(key):
        return 0
    return len(value) + (len(str(key)) if isinstance(key, int) else len(key))


def _make(connection: sqlite3.Connection, statements: Sequence[str]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in statements:
        connection.execute(statement)
    connection.execute("COMMIT")


def _select(link: Link, select: str, keys: Sequence[Native]) -> list[tuple[Any, ...]]:
    """Select the rows of the keys, in as few statements as can be."""
    rows: list[tuple[Any, ...]] = []
    for start in range(0, len(keys), _CHUNK):
        chunk = keys[start : start + _CHUNK]
        # To prepare a statement takes as long as to run it: let lengths recur.
        spare = -len(chunk) % _STEP if len(chunk) > _STEP else 0
        places = ",".join("?" * (len(chunk) + spare))
        rows += link.execute(f"{select}({places})", [*chunk, *[None] * spare])
    return rows


def _read_leases(keys: Sequence[Native], link: Link) -> dict[Native, LeaseRow]:
    return {row[0]: LeaseRow(*row[1:]) for row in _select(link, _LEASES, keys)}


def _evict_leases(now: float, link: Link) -> None:
    if link.execute(_FIND_LAPSED_LEASE, (now,)).fetchall():
        link.execute(_EVICT_LEASES, (now,))


def _is_record(key: Native) -> bool:
    return isinstance(key, str) and key.startswith(RECORD_PREFIX)
