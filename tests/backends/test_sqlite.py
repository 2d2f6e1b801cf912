"""What is particular to the sqlite backend: its file, its limits, its rivals."""

from __future__ import annotations

import ast
import gc
import itertools
import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from crowd import fork_amid
from hypothesis import given, settings, strategies as st

from dogpile.cache.api import NO_VALUE, RECORD_PREFIX, Lease
from dogpile.cache.backends import sqlite, sqlite_file, sqlite_tables
from dogpile.cache.backends.sqlite import SqliteBackend
from dogpile.cache.exception import (
    BackendError,
    BackendUnavailable,
    ConfigurationError,
    UnsafeFile,
    ValidationError,
    ValueTooLarge,
)
from dogpile.cache.testing import FakeClock
from dogpile.cache.testing.concurrency import in_child, together

NOBODY = 65534
RECORD = RECORD_PREFIX + "region:mine"
# Real seconds after which something must be wrong.
PATIENCE = 60.0

PROGRAM = """
import sys
from dogpile.cache.api import NO_VALUE
from dogpile.cache.backends.sqlite import SqliteBackend

backend = SqliteBackend({"filename": sys.argv[1]})
for line in sys.stdin:
    print(repr(eval(line)), flush=True)
"""


class Program:
    """Another process with a backend, which does what it is told."""

    def __init__(self, filename: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, filename],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, expression: str) -> None:
        """Let it evaluate, without waiting for the result."""
        assert self.process.stdin is not None
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()

    def result(self) -> Any:
        assert self.process.stdout is not None
        return ast.literal_eval(self.process.stdout.readline())

    def ask(self, expression: str) -> Any:
        self.begin(expression)
        return self.result()

    def close(self) -> None:
        """Kill it: without a chance to tidy up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


class Opener:
    """Makes backends and programs of one file, and closes them."""

    def __init__(self, filename: Path) -> None:
        self.filename = str(filename)
        self.clock = FakeClock()
        self.events: list[tuple[str, Any]] = []
        self._opened: list[Any] = []

    def __call__(self, **arguments: Any) -> SqliteBackend:
        backend = SqliteBackend({"filename": self.filename, **arguments})
        backend.clock = self.clock
        backend.report = lambda name, details: self.events.append((name, details))
        self._opened.append(backend)
        return backend

    def program(self) -> Program:
        program = Program(self.filename)
        self._opened.append(program)
        return program

    def sql(self, statement: str, *parameters: object) -> list[Any]:
        """Look into the file past the backend."""
        connection = sqlite3.connect(self.filename, isolation_level=None)
        try:
            return connection.execute(statement, parameters).fetchall()
        finally:
            connection.close()

    def close(self) -> None:
        for each in self._opened:
            each.close()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    opener = Opener(tmp_path / "folder" / "cache.sqlite")
    yield opener
    opener.close()


@pytest.fixture
def backend(opened: Opener) -> SqliteBackend:
    return opened()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that another user reaches too."""
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o755)
    yield Path(folder)
    shutil.rmtree(folder)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    folder = tempfile.mkdtemp()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", folder]
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        os.rmdir(folder)
        pytest.skip("only root mounts a small disk")
    yield Path(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)
    os.rmdir(folder)


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


class TestArguments:
    def test_building_one_touches_nothing(self, opened: Opener) -> None:
        opened()

        assert not os.path.exists(os.path.dirname(opened.filename))

    def test_the_default_lies_in_the_cache_folder(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

        backend = SqliteBackend({})

        path = tmp_path / "dogpile.cache" / "default.sqlite"
        assert backend.filename == str(path)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({"filename": ""}, "filename '' names no file"),
            ({"filename": ":memory:"}, "dogpile.cache.memory_pickle"),
            ({"filename": "a\0b"}, "names no file"),
            ({"filename": 3}, "filename is a string or a path, not int"),
            ({"max_entries": 0}, "max_entries is a whole number from 1 on"),
            ({"max_bytes": "many"}, "max_bytes is a whole number from 1 on"),
            ({"max_bytes": True}, "max_bytes is a whole number from 1 on"),
            ({"synchronous": "often"}, "one of off, normal, full; it is 'often'"),
            ({"timeout": -1}, "timeout is a number of seconds from 0 on; it is -1"),
        ],
    )
    def test_what_is_no_use_is_refused(
        self, arguments: dict[str, Any], told: str
    ) -> None:
        with pytest.raises(ValidationError, match=told):
            SqliteBackend({"filename": "x", **arguments})

    def test_an_sqlite_that_is_too_old_is_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 22, 0))

        with pytest.raises(ConfigurationError, match=r"needs SQLite 3\.24 or later"):
            SqliteBackend({"filename": "x"})

    @pytest.mark.parametrize(
        ("synchronous", "number"), [("off", 0), ("normal", 1), ("full", 2)]
    )
    def test_synchronous_is_heeded(
        self, opened: Opener, synchronous: str, number: int
    ) -> None:
        backend = opened(synchronous=synchronous)
        backend.set_serialized("key", b"value")

        [link] = backend._file.idle

        assert link.execute("PRAGMA synchronous").fetchone() == (number,)


class TestFile:
    def test_all_files_are_their_owners_alone(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        before = os.umask(0)
        backend.set_serialized("key", b"value")
        os.umask(before)

        folder = Path(opened.filename).parent
        modes = {path.name: mode(path) for path in folder.iterdir()}
        assert mode(folder) == 0o700
        assert modes == {
            f"cache.sqlite{suffix}": 0o600 for suffix in ("", "-wal", "-shm", ".lock")
        }

    def test_a_closed_one_is_used_again(self, backend: SqliteBackend) -> None:
        backend.set_serialized("key", b"value")

        backend.close()

        assert backend.get_serialized("key") == b"value"

    def test_closing_leaves_one_file(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        backend.set_serialized("key", b"value")

        backend.close()

        assert not os.path.exists(opened.filename + "-wal")

    def test_closing_waits_for_who_is_at_it(
        self, backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend.set_serialized("key", b"value")
        link = backend._file.idle.pop()
        closer = threading.Thread(target=backend.close)

        closer.start()
        backend._file.idle.append(link)
        closer.join(PATIENCE)

        with pytest.raises(sqlite3.ProgrammingError):
            link.execute("SELECT 1")

    def test_another_programs_database_is_left_alone(self, opened: Opener) -> None:
        os.mkdir(os.path.dirname(opened.filename), 0o700)
        opened.sql("CREATE TABLE accounts (number)")
        before = Path(opened.filename).read_bytes()

        with pytest.raises(BackendError, match="is another program's"):
            opened().get_serialized("key")
        with pytest.raises(BackendError, match="choose another filename"):
            opened().set_serialized("key", b"value")
        assert Path(opened.filename).read_bytes() == before

    def test_another_versions_file_is_left_alone(self, opened: Opener) -> None:
        backend = opened()
        backend.set_serialized("key", b"value")
        backend.close()
        opened.sql("PRAGMA user_version = 77")

        with pytest.raises(BackendError, match="another version of dogpile"):
            opened().get_serialized("key")

    def test_an_empty_file_is_filled(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        os.mkdir(os.path.dirname(opened.filename), 0o700)
        Path(opened.filename).touch(0o600)

        backend.set_serialized("key", b"value")

        assert backend.get_serialized("key") == b"value"


class TestKeys:
    KEYS = (
        *("1", b"1", 1, 0, -1, "", b"", "nul\0", "nul\0l", "é", "dogpile:g", "\udce9"),
        *(b"\xff", b"\xff\xff", b"\xff\x00\xed\xb3\xa9", b"\xff\x01" + b"9" * 30),
        *(2**63 - 1, 2**63, -(2**63), 10**30 - 1, int("9" * 30), RECORD),
    )

    def test_each_is_another(self, backend: SqliteBackend) -> None:
        keys = list(dict.fromkeys(self.KEYS))
        values = {key: str(number).encode() for number, key in enumerate(keys)}
        for key, value in values.items():
            backend.set_serialized(key, value)

        assert [backend.get_serialized(key) for key in keys] == list(values.values())
        assert list(backend.get_serialized_multi(keys)) == list(values.values())

    def test_each_can_be_leased_and_deleted(self, backend: SqliteBackend) -> None:
        keys = list(dict.fromkeys(self.KEYS))

        leases = backend.lease_multi(keys, 10.0)

        assert [lease.key for lease in leases] == keys
        assert backend.commit_multi([(lease, b"x") for lease in leases]) == [
            True for _ in keys
        ]
        backend.delete_multi(keys)
        assert set(backend.get_serialized_multi(keys)) == {NO_VALUE}

    @pytest.mark.parametrize("key", [None, True, 1.0, ("secret",), ["secret"], object])
    def test_others_are_refused(self, backend: SqliteBackend, key: Any) -> None:
        operations: list[Callable[[], object]] = [
            lambda: backend.get_serialized(key),
            lambda: backend.get_serialized_multi([key]),
            lambda: backend.set_serialized(key, b"value"),
            lambda: backend.delete(key),
            lambda: backend.lease(key, 10.0),
        ]
        for operation in operations:
            with pytest.raises(ConfigurationError, match="key_mangler") as caught:
                operation()
            assert type(key).__name__ in str(caught.value)
            assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("count", [1, 2, 20, 21, 39, 40, 499, 500, 501, 1234])
    def test_many_are_read_in_their_order(
        self, backend: SqliteBackend, count: int
    ) -> None:
        keys = [f"key {number}" for number in range(count)]
        backend.set_serialized_multi({key: key.encode() for key in keys[::2]})

        found = backend.get_serialized_multi(keys[::-1])

        expected = [key.encode() for key in keys]
        expected[1::2] = [NO_VALUE] * len(expected[1::2])  # type: ignore[list-item]
        assert list(found) == expected[::-1]

    def test_a_value_that_is_no_bytes_is_an_error_without_it(
        self, backend: SqliteBackend
    ) -> None:
        with pytest.raises(BackendError) as caught:
            backend.set_serialized("key", ("secret",))  # type: ignore[arg-type]

        assert "secret" not in str(caught.value)
        assert backend.get_serialized("key") is NO_VALUE

    def test_nothing_of_many_is_stored_where_one_fails(
        self, backend: SqliteBackend
    ) -> None:
        wrong: Any = {"one": b"1", "two": object()}

        with pytest.raises(BackendError):
            backend.set_serialized_multi(wrong)

        assert backend.get_serialized("one") is NO_VALUE


SOMEWHERE = """SELECT (latest * 2654435761 % 4294967296) % max(1, latest)
    FROM (SELECT max(id) AS latest FROM entries)"""


class TestLapsing:
    def test_what_lapsed_is_gone(self, backend: SqliteBackend, opened: Opener) -> None:
        backend.set_serialized("one", b"1", ttl=10.0)
        backend.set_serialized_multi({"two": b"2"}, ttl=10.0)
        lease = backend.lease("three", 10.0)
        backend.commit(lease, b"3", ttl=10.0)
        backend.set_serialized("four", b"4")
        keys = ["one", "two", "three", "four"]
        before = list(backend.get_serialized_multi(keys))

        opened.clock.advance(10.0)

        gone = [NO_VALUE, NO_VALUE, NO_VALUE, b"4"]
        assert before == [b"1", b"2", b"3", b"4"]
        assert list(backend.get_serialized_multi(keys)) == gone
        assert [backend.get_serialized(key) for key in keys] == gone
        assert backend.lease("one", 10.0).found is NO_VALUE

    def test_a_write_without_a_time_lasts(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        backend.set_serialized("key", b"1", ttl=10.0)

        backend.set_serialized("key", b"2")
        opened.clock.advance(11.0)

        assert backend.get_serialized("key") == b"2"

    def test_writes_clear_away_what_lapsed(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        backend.set_serialized_multi(
            {f"old {number}": b"" for number in range(2000)}, ttl=10.0
        )
        backend.set_serialized(RECORD, b"record", ttl=10.0)
        backend.set_serialized("kept", b"")
        opened.clock.advance(10.0)

        for number in range(900):
            backend.set_serialized(f"new {number % 10}", b"")

        assert opened.sql("SELECT count(*) FROM entries") == [(12,)]
        assert opened.sql("SELECT count(*) FROM entries WHERE key = ?", RECORD) == [
            (1,)
        ]
        names, details = zip(*opened.events, strict=True)
        assert set(names) == {"evict"}
        assert sorted(itertools.chain(*(each["keys"] for each in details))) == sorted(
            f"old {number}" for number in range(2000)
        )

    @pytest.mark.parametrize("are_some_for_ever", [False, True])
    def test_what_lapses_goes_as_fast_as_it_comes(
        self,
        backend: SqliteBackend,
        opened: Opener,
        monkeypatch: pytest.MonkeyPatch,
        are_some_for_ever: bool,
    ) -> None:
        # Chosen anywhere, and the same in each run: at random a walk has bad luck
        # now and then.
        monkeypatch.setattr(sqlite_tables, "_ANYWHERE", SOMEWHERE)
        if are_some_for_ever:
            backend.set_serialized_multi({f"kept {n}": b"" for n in range(1000)})
        counts = []

        for number in range(12_000):
            backend.set_serialized(f"key {number}", b"", ttl=10.0)
            opened.clock.advance(0.01)  # so that 1,000 are alive
            if number % 1000 == 999:
                counts += opened.sql("SELECT count(*) FROM entries WHERE ends > 0")

        assert max(count for (count,) in counts) < 3500

    def test_writes_clear_away_the_leases_of_the_dead(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        backend.lease_multi([f"key {number}" for number in range(100)], 10.0)
        opened.clock.advance(10.0)

        for _ in range(600):
            backend.set_serialized("key", b"")

        assert opened.sql("SELECT count(*) FROM leases") == [(0,)]

    def test_a_walk_that_fails_does_not_fail_the_write(
        self, opened: Opener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend = opened()

        def fail(link: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(backend._tables, "walk", fail)

        for number in range(70):
            backend.set_serialized(f"key {number}", b"value")

        assert opened.sql("SELECT count(*) FROM entries") == [(70,)]


class TestLimits:
    def test_no_more_entries_than_said(self, opened: Opener) -> None:
        backend = opened(max_entries=3)

        for number in range(10):
            backend.set_serialized(f"key {number}", b"value")

        keys = [f"key {number}" for number in range(10)]
        found = backend.get_serialized_multi(keys)
        assert list(found) == [NO_VALUE] * 7 + [b"value"] * 3
        assert opened.events == [("evict", {"keys": [key]}) for key in keys[:7]]

    def test_what_was_written_longest_ago_goes_first(self, opened: Opener) -> None:
        backend = opened(max_entries=3)
        for key in ("one", "two", "three", "one"):
            backend.set_serialized(key, b"value")

        backend.set_serialized("four", b"value")

        assert backend.get_serialized("one") == b"value"
        assert backend.get_serialized("two") is NO_VALUE

    def test_no_more_bytes_than_said(self, opened: Opener) -> None:
        backend = opened(max_bytes=1000)

        for number in range(10):
            backend.set_serialized(f"k{number}", bytes(198))

        found = backend.get_serialized_multi([f"k{number}" for number in range(10)])
        assert list(found) == [NO_VALUE] * 5 + [bytes(198)] * 5

    def test_a_value_that_cannot_fit_is_refused(self, opened: Opener) -> None:
        backend = opened(max_bytes=1000)
        backend.set_serialized("kept", b"value")
        lease = backend.lease("key", 10.0)

        with pytest.raises(ValueTooLarge, match="1003 bytes are more than max_bytes"):
            backend.set_serialized("key", bytes(1000))
        with pytest.raises(ValueTooLarge, match="commit"):
            backend.commit(lease, bytes(1000))
        with pytest.raises(ValueTooLarge, match="set_multi"):
            backend.set_serialized_multi({"other": b"", "key": bytes(1000)})

        assert list(backend.get_serialized_multi(["kept", "key", "other"])) == [
            b"value",
            NO_VALUE,
            NO_VALUE,
        ]

    def test_generation_records_are_neither_counted_nor_evicted(
        self, opened: Opener
    ) -> None:
        backend = opened(max_entries=2, max_bytes=100)
        backend.set_serialized(RECORD, bytes(90))
        for number in range(20):
            backend.set_serialized(RECORD_PREFIX + str(number), bytes(90))

        backend.set_serialized_multi({"one": bytes(40), "two": bytes(40)})
        backend.set_serialized("three", bytes(40))
        backend.set_serialized(RECORD, bytes(91))

        assert list(backend.get_serialized_multi([RECORD, "one", "two", "three"])) == [
            bytes(91),
            NO_VALUE,
            bytes(40),
            bytes(40),
        ]
        assert opened.sql("SELECT count(*) FROM entries WHERE id < 0") == [(21,)]

    def test_a_limit_counts_what_is_there(self, opened: Opener) -> None:
        opened().set_serialized_multi({str(number): b"" for number in range(100)})

        backend = opened(max_entries=10)
        for number in range(10):
            backend.set_serialized(f"new {number}", b"")

        assert opened.sql("SELECT count(*) FROM entries") == [(10,)]

    def test_one_write_evicts_a_few(self, opened: Opener) -> None:
        opened().set_serialized_multi({str(number): b"" for number in range(1000)})

        opened(max_entries=10).set_serialized("new", b"")

        assert opened.sql("SELECT count(*) FROM entries") == [(1001 - 17,)]

    def test_writes_of_processes_without_a_limit_are_counted(
        self, opened: Opener
    ) -> None:
        free = opened()
        bounded = opened(max_entries=10)
        bounded.set_serialized("one", b"")
        for number in range(9):
            free.set_serialized(f"free {number}", b"")

        bounded.set_serialized("two", b"")

        assert opened.sql("SELECT entries FROM totals") == [(10,)]
        assert bounded.get_serialized("one") is NO_VALUE

    @settings(max_examples=30, deadline=None)
    @given(
        steps=st.lists(
            st.tuples(
                st.sampled_from(["put", "put many", "delete", "commit", "lapse"]),
                st.integers(0, 12),
                st.integers(0, 60),
            ),
            max_size=40,
        ),
        max_entries=st.none() | st.integers(1, 8),
        max_bytes=st.none() | st.integers(80, 300),
    )
    def test_the_totals_are_true_and_kept_to(
        self,
        steps: list[tuple[str, int, int]],
        max_entries: int | None,
        max_bytes: int | None,
    ) -> None:
        folder = tempfile.mkdtemp()
        opened = Opener(Path(folder) / "cache.sqlite")
        backend = opened(max_entries=max_entries, max_bytes=max_bytes)
        backend.set_serialized("key 0", b"")
        acts: dict[str, Callable[[str, bytes], object]] = {
            "put": lambda key, value: backend.set_serialized(key, value, 5.0),
            "put many": lambda key, value: backend.set_serialized_multi(
                {key: value, RECORD: value, key + "'": value}
            ),
            "delete": lambda key, value: backend.delete(key),
            "commit": lambda key, value: backend.commit(
                backend.lease(key, 10.0, steal=True), value
            ),
            "lapse": lambda key, value: opened.clock.advance(len(value)),
        }

        for name, number, size in steps:
            acts[name](f"key {number}", bytes(size))

        counted = """SELECT count(*), ifnull(sum(length(key) + length(value)), 0)
            FROM entries WHERE id >= 0"""
        [(entries, size)] = opened.sql(counted)
        if backend._is_bounded:
            assert opened.sql("SELECT * FROM totals") == [(entries, size)]
        assert entries <= (max_entries or entries)
        assert size <= (max_bytes or size)
        opened.close()
        shutil.rmtree(folder)


class TestLeases:
    def test_who_is_refused_needs_no_lock(self, opened: Opener) -> None:
        holder = opened().lease("held", 10.0)
        backend = opened(timeout=0)
        backend.get_serialized("key")
        writer = sqlite3.connect(opened.filename, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")

        refused = backend.lease("held", 10.0)
        with pytest.raises(BackendUnavailable, match="was locked by others for 0 s"):
            backend.lease("free", 10.0)

        writer.close()
        assert (refused.granted, refused.token) == (False, holder.token)

    @pytest.mark.parametrize("back", [-3600.0, -12.0])
    def test_a_clock_set_back_makes_no_lease_immortal(
        self, backend: SqliteBackend, opened: Opener, back: float
    ) -> None:
        backend.lease("key", 10.0)

        opened.clock.jump(back)

        assert not backend.is_leased("key")
        assert backend.lease("key", 10.0).granted

    def test_a_clock_set_back_a_little_ends_no_lease(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        lease = backend.lease("key", 10.0)

        opened.clock.jump(-0.9)

        assert backend.is_leased("key")
        assert not backend.lease("key", 10.0).granted
        assert backend.commit(lease, b"value")

    def test_a_failure_is_told_until_the_lease_would_have_ended(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        lease = backend.lease("key", 10.0)
        backend.release(lease, b"why")

        opened.clock.advance(9.0)
        told = backend.lease("key", 10.0, after=lease.token)
        opened.clock.advance(1.0)
        late = backend.lease("key", 10.0, after=lease.token)

        assert (told.granted, told.failure) == (False, b"why")
        assert (late.granted, late.failure) == (True, None)

    def test_a_failure_outlives_a_second_release(self, backend: SqliteBackend) -> None:
        lease = backend.lease("key", 10.0)
        backend.release(lease, b"why")

        backend.release(lease)

        assert backend.lease("key", 10.0, after=lease.token).failure == b"why"

    def test_a_lease_that_ended_fails_no_more(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        lease = backend.lease("key", 10.0)
        opened.clock.advance(10.0)

        backend.release(lease, b"why")

        assert backend.lease("key", 10.0, after=lease.token).granted

    def test_many_are_asked_for_at_once(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        keys = [f"key {number}" for number in range(1000)]
        backend.set_serialized("key 7", b"7")
        held = backend.lease("key 5", 10.0)
        other = opened()

        leases = other.lease_multi(keys, 10.0)

        assert [lease.key for lease in leases] == keys
        assert [lease.key for lease in leases if not lease.granted] == ["key 5"]
        assert leases[5].token == held.token
        assert leases[7].found == b"7"
        assert len({lease.token for lease in leases}) == 1000

    def test_many_are_committed_but_those_that_were_voided(
        self, backend: SqliteBackend
    ) -> None:
        leases = backend.lease_multi(["one", "two", "three"], 10.0)
        backend.set_serialized("two", b"put")

        kept = backend.commit_multi([(lease, b"created") for lease in leases])

        assert kept == [True, False, True]
        assert list(backend.get_serialized_multi(["one", "two", "three"])) == [
            b"created",
            b"put",
            b"created",
        ]
        assert not backend.is_leased("one")

    def test_many_are_released(self, backend: SqliteBackend) -> None:
        leases = backend.lease_multi(["one", "two"], 10.0)

        backend.release_multi(leases, b"why")

        told = [backend.lease(x.key, 10.0, after=x.token) for x in leases]
        assert [lease.failure for lease in told] == [b"why", b"why"]

    def test_nothing_is_asked_where_there_is_nothing_to_ask(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        assert backend.lease_multi([], 10.0) == []
        assert backend.commit_multi([]) == []
        assert list(backend.get_serialized_multi([])) == []
        backend.release_multi([])
        backend.delete_multi([])
        backend.set_serialized_multi({})

        assert not os.path.exists(opened.filename)

    def test_a_lease_means_the_same_in_every_process(self, opened: Opener) -> None:
        one, two = opened.program(), opened.program()
        one.ask("(lease := backend.lease('key', 60.0)).granted")

        assert two.ask("backend.lease('key', 60.0).granted") is False
        assert two.ask("backend.is_leased('key')") is True
        assert two.ask("backend.delete('key')") is None
        assert one.ask("backend.commit(lease, b'late')") is False
        assert two.ask("backend.get_serialized('key') is NO_VALUE") is True


class TestSeveralProcesses:
    def test_one_of_them_is_granted_a_lease(self, opened: Opener) -> None:
        programs = [opened.program() for _ in range(4)]
        for program in programs:
            program.ask("backend.get_serialized('key') is NO_VALUE")

        for program in programs:
            program.begin("[backend.lease(n, 60.0).granted for n in range(50)]")
        granted = [program.result() for program in programs]

        assert [sum(each) for each in zip(*granted, strict=True)] == [1] * 50

    def test_they_open_a_new_file_at_once(self, opened: Opener) -> None:
        programs = [opened.program() for _ in range(4)]
        for number, program in enumerate(programs):
            assert program.ask("1 + 1") == 2
            program.begin(f"backend.set_serialized('key {number}', b'value')")
        for program in programs:
            program.result()

        found = programs[0].ask(
            "list(backend.get_serialized_multi([f'key {n}' for n in range(4)]))"
        )
        assert found == [b"value"] * 4

    def test_no_error_and_no_lost_update_in_a_crowd(self, opened: Opener) -> None:
        count = """lambda turns: [
            backend.commit(lease, str(int(lease.found or b'0') + 1).encode())
            for _ in range(turns)
            if (lease := backend.lease('counter', 60.0)).granted
            and backend.set_serialized('other', bytes(1000)) is None
        ]"""
        programs = [opened.program() for _ in range(4)]
        for program in programs:
            program.ask(f"[count := {' '.join(count.split())}] and None")

        for program in programs:
            program.begin("sum(count(200))")
        committed = sum(program.result() for program in programs)

        assert committed > 0
        assert opened().get_serialized("counter") == str(committed).encode()

    def test_a_killed_holders_lease_ends(self, opened: Opener) -> None:
        backend = opened()
        with closing(opened.program()) as program:
            program.ask("backend.lease('key', 3600.0).granted")
        [(ends,)] = opened.sql("SELECT ends FROM leases")
        opened.clock.jump(ends - opened.clock.time() - 3600.0)

        before = backend.lease("key", 10.0)
        opened.clock.advance(3600.0)
        after = backend.lease("key", 10.0)

        assert (before.granted, after.granted) == (False, True)

    def test_a_killed_writer_leaves_no_lock_and_no_half_write(
        self, opened: Opener
    ) -> None:
        backend = opened(timeout=30)
        backend.set_serialized("key", b"before")
        with closing(opened.program()) as program:
            program.ask("backend.set_serialized('other', b'of the dead')")
            program.ask(
                "(link := backend._file.idle.pop()).execute('BEGIN IMMEDIATE') and None"
            )
            program.ask(
                "link.execute('UPDATE entries SET value = ?', (b'half',)) and None"
            )
            with pytest.raises(BackendUnavailable):
                opened(timeout=0).set_serialized("key", b"locked out")

        backend.set_serialized("new", b"after")

        assert list(backend.get_serialized_multi(["key", "other", "new"])) == [
            b"before",
            b"of the dead",
            b"after",
        ]

    def test_what_a_killed_process_wrote_last_is_there(self, opened: Opener) -> None:
        with closing(opened.program()) as program:
            program.ask("backend.set_serialized('key', b'value')")
        assert os.path.getsize(opened.filename + "-wal") > 0

        assert opened().get_serialized("key") == b"value"

    def test_who_waits_for_a_lock_gets_it(self, opened: Opener) -> None:
        backend = opened(timeout=PATIENCE)
        backend.set_serialized("key", b"before")
        writer = sqlite3.connect(
            opened.filename, isolation_level=None, check_same_thread=False
        )
        writer.execute("BEGIN IMMEDIATE")
        thread = threading.Thread(target=backend.set_serialized, args=("key", b"new"))

        thread.start()
        # It was tried in vain for as long as SQLite itself waits.
        thread.join(sqlite_file._SHORT_WAIT * 3)
        before = opened().get_serialized("key")
        writer.execute("COMMIT")
        thread.join(PATIENCE)
        writer.close()

        assert before == b"before"
        assert backend.get_serialized("key") == b"new"

    def test_a_lock_kept_for_too_long_is_an_error_that_names_the_file(
        self, opened: Opener
    ) -> None:
        backend = opened(timeout=0.05)
        backend.set_serialized("key", b"value")
        writer = sqlite3.connect(opened.filename, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")

        with pytest.raises(BackendUnavailable, match=r"set\(\): .*cache\.sqlite was"):
            backend.set_serialized("key", b"other")
        found = backend.get_serialized("key")
        writer.close()

        assert found == b"value"
        assert len(backend._file.idle) == 1


class TestThreads:
    def test_many_write_and_read_at_once(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        def act(number: int) -> list[bytes]:
            found = []
            for turn in range(30):
                backend.set_serialized(f"{number} {turn}", str(turn).encode())
                found.append(backend.get_serialized(f"{number} {turn}"))
            return found  # type: ignore[return-value]

        results = together(act, range(16))

        assert results == [[str(turn).encode() for turn in range(30)]] * 16
        assert opened.sql("SELECT count(*) FROM entries") == [(480,)]

    def test_connections_of_a_crowd_are_closed_again(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        barrier = threading.Barrier(20)

        def hold(link: Any) -> None:
            barrier.wait(PATIENCE)

        together(lambda _: backend._file.run("get", hold), range(20))
        crowd = len(backend._file.idle)
        for _ in range(30):
            opened.clock.advance(1.0)
            backend.get_serialized("key")

        assert crowd == 20
        assert len(backend._file.idle) == 8
        assert len(backend._file._links) == 8

    @pytest.mark.parametrize("operation", ["get", "set", "delete"])
    def test_an_interrupted_one_stops_nobody(
        self, backend: SqliteBackend, operation: str
    ) -> None:
        def interrupt(*_: object) -> None:
            link.connection.execute("BEGIN IMMEDIATE")
            raise KeyboardInterrupt

        backend.set_serialized("key", b"value")
        [link] = backend._file.idle
        link.execute = interrupt  # type: ignore[assignment]
        act: dict[str, Callable[[], object]] = {
            "get": lambda: backend.get_serialized("key"),
            "set": lambda: backend.set_serialized("key", b"new"),
            "delete": lambda: backend.delete("key"),
        }

        with pytest.raises(KeyboardInterrupt):
            act[operation]()

        assert not backend._file.idle
        backend.set_serialized("key", b"later")
        assert backend.get_serialized("key") == b"later"


class TestForks:
    def test_no_connection_lives_through_a_fork(self, backend: SqliteBackend) -> None:
        backend.set_serialized("key", b"value")
        [link] = backend._file.idle

        def look() -> None:
            assert not backend._file._links
            assert backend.get_serialized("key") == b"value"

        assert in_child(look) == 0
        assert backend.get_serialized("key") == b"value"
        assert link not in backend._file.idle

    def test_a_parent_that_closes_takes_nothing_from_its_child(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        backend.set_serialized("key", b"before")
        ours, theirs = os.pipe()
        answers, answer = os.pipe()
        child = os.fork()
        if not child:
            os.close(theirs)
            backend.get_serialized("key")
            os.write(answer, b"opened")
            os.read(ours, 1)
            backend.set_serialized("key", b"of the child")
            os._exit(0)
        os.read(answers, 6)

        # The last to close removes the write-ahead log; a child that SQLite
        # does not know of would go on writing to the removed one.
        backend.close()
        os.close(theirs)

        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        for descriptor in (ours, answers, answer):
            os.close(descriptor)
        assert opened().get_serialized("key") == b"of the child"

    def test_a_fork_amid_busy_threads_stops_nobody(
        self, backend: SqliteBackend
    ) -> None:
        def work(number: int) -> None:
            backend.set_serialized(f"key {number}", b"value")
            backend.get_serialized(f"key {number}")

        def use() -> None:
            for number in range(20):
                backend.set_serialized(f"child {number}", b"value")
                assert backend.get_serialized(f"child {number}") == b"value"

        codes, errors = fork_amid(work, use)

        assert codes == [0] * 5
        assert not errors
        assert backend.get_serialized("child 0") == b"value"

    def test_what_is_used_after_its_end_opens_again(
        self, backend: SqliteBackend
    ) -> None:
        backend.set_serialized("key", b"value")

        sqlite_file._close_all(backend._file._rest)

        assert backend.get_serialized("key") == b"value"

    def test_a_backend_that_is_forgotten_closes_its_file(self, opened: Opener) -> None:
        backend = SqliteBackend({"filename": opened.filename})
        backend.set_serialized("key", b"value")

        del backend
        gc.collect()

        assert not os.path.exists(opened.filename + "-wal")

    def test_a_connection_in_use_is_left_alone_by_the_child(
        self, backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_file, "_DRAIN_FOR_FORK", 0.0)
        backend.set_serialized("key", b"value")
        link = backend._file.idle.pop()
        link.execute("BEGIN IMMEDIATE")

        def look() -> None:
            assert link in sqlite_file._inherited
            assert not backend._file._links
            assert backend.get_serialized("key") == b"value"

        assert in_child(look) == 0

        link.execute("COMMIT")
        backend._file.idle.append(link)
        assert backend.get_serialized("key") == b"value"


class TestBrokenFile:
    def test_garbage_is_moved_aside(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        os.mkdir(os.path.dirname(opened.filename), 0o700)
        Path(opened.filename).write_bytes(b"no database at all" * 100)
        os.chmod(opened.filename, 0o600)

        with pytest.warns(RuntimeWarning, match=r"moved to .*\.broken-1") as warned:
            found = backend.get_serialized("key")
        backend.set_serialized("key", b"value")

        assert found is NO_VALUE
        assert len(warned) == 1
        assert backend.get_serialized("key") == b"value"
        aside = Path(opened.filename + ".broken-1")
        assert aside.read_bytes() == b"no database at all" * 100
        [(name, details)] = opened.events
        assert name == "backend_error"
        assert details["operation"] == "get"

    @pytest.mark.parametrize("size", [100, 4096, 9000])
    def test_a_truncated_file_is_moved_aside(self, opened: Opener, size: int) -> None:
        before = opened()
        keys = [f"key {number}" for number in range(200)]
        before.set_serialized_multi({key: bytes(1000) for key in keys})
        before.close()
        os.truncate(opened.filename, size)
        backend = opened()

        with pytest.warns(RuntimeWarning, match="begins afresh") as warned:
            found = backend.get_serialized_multi(keys)
        backend.set_serialized("key", b"value")

        assert len(warned) == 1
        assert set(found) == {NO_VALUE}
        assert opened().get_serialized("key") == b"value"
        assert os.path.getsize(opened.filename + ".broken-1") == size

    @pytest.mark.parametrize("operation", ["get", "set", "lease"])
    def test_a_file_damaged_under_a_running_process_is_moved_aside(
        self, backend: SqliteBackend, opened: Opener, operation: str
    ) -> None:
        keys = [f"key {number}" for number in range(3000)]
        backend.set_serialized_multi({key: bytes(1000) for key in keys})
        opened.sql("PRAGMA wal_checkpoint(TRUNCATE)")
        size = os.path.getsize(opened.filename)
        with open(opened.filename, "r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * (size - 4096))
        act: dict[str, Callable[[], object]] = {
            "get": lambda: backend.get_serialized("key 1"),
            "set": lambda: backend.set_serialized("key 1", b"new"),
            "lease": lambda: backend.release(backend.lease("key 1", 10.0)),
        }

        with pytest.warns(RuntimeWarning, match="begins afresh") as warned:
            act[operation]()

        assert len(warned) == 1
        assert os.path.getsize(opened.filename + ".broken-1") == size
        backend.set_serialized("key", b"value")
        assert opened().get_serialized("key") == b"value"

    def test_of_two_processes_one_moves_it(self, opened: Opener) -> None:
        one, two = opened(), opened()
        keys = [f"key {number}" for number in range(3000)]
        one.set_serialized_multi({key: bytes(1000) for key in keys})
        two.get_serialized("key 1")
        opened.sql("PRAGMA wal_checkpoint(TRUNCATE)")
        with open(opened.filename, "r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * 3_000_000)

        with pytest.warns(RuntimeWarning, match="begins afresh") as warned:
            one.set_serialized("key 1", b"of one")
        found = two.lease("key 1", 10.0).found

        assert found == b"of one"
        assert len(warned) == 1
        assert not os.path.exists(opened.filename + ".broken-2")

    def test_a_damaged_log_loses_nothing_but_itself(self, opened: Opener) -> None:
        with closing(opened.program()) as program:
            program.ask("backend.set_serialized('old', b'value')")
            program.ask("backend.close()")
            program.ask("backend.set_serialized('new', b'value')")
        with open(opened.filename + "-wal", "r+b") as file:
            file.write(b"\xa5" * 5000)
        backend = opened()

        found = list(backend.get_serialized_multi(["old", "new"]))

        assert found == [b"value", NO_VALUE]

    def test_a_truncated_log_under_a_running_process_stops_nobody(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        backend.set_serialized("key", b"value")
        os.truncate(opened.filename + "-wal", 0)
        [link] = backend._file.idle
        link.execute("PRAGMA shrink_memory")

        backend.set_serialized("key", b"later")

        assert backend.get_serialized("key") == b"later"
        assert opened().get_serialized("key") == b"later"

    def test_missing_tables_are_damage_too(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        backend.set_serialized("key", b"value")
        opened.sql("DROP TABLE entries")

        with pytest.warns(RuntimeWarning, match="begins afresh"):
            backend.set_serialized("key", b"later")

        assert backend.get_serialized("key") == b"later"

    def test_a_warning_that_is_an_error_leaves_a_file_that_works(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        os.mkdir(os.path.dirname(opened.filename), 0o700)
        Path(opened.filename).write_bytes(b"no database at all" * 100)
        os.chmod(opened.filename, 0o600)

        with pytest.raises(RuntimeWarning):
            backend.set_serialized("key", b"value")

        backend.set_serialized("key", b"value")
        assert backend.get_serialized("key") == b"value"


class TestFileThatGoesAway:
    def delete(self, opened: Opener) -> None:
        for suffix in ("", "-wal", "-shm"):
            os.unlink(opened.filename + suffix)

    def test_nothing_is_written_into_the_void(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        backend.set_serialized("old", b"value")
        self.delete(opened)

        backend.set_serialized("new", b"value")

        assert opened().get_serialized("new") == b"value"
        assert backend.get_serialized("old") is NO_VALUE

    @pytest.mark.parametrize(
        "act",
        [
            lambda backend: backend.set_serialized_multi({"new": b"value"}),
            lambda backend: backend.set_serialized(RECORD, b"value"),
            lambda backend: backend.delete("old"),
            lambda backend: backend.lease("new", 10.0),
        ],
    )
    def test_every_way_to_write_notices(
        self,
        backend: SqliteBackend,
        opened: Opener,
        act: Callable[[SqliteBackend], object],
    ) -> None:
        backend.set_serialized("old", b"value")
        self.delete(opened)

        act(backend)

        assert backend.get_serialized("old") is NO_VALUE
        assert os.path.exists(opened.filename)

    def test_a_storm_of_writes_notices_after_a_moment(
        self,
        backend: SqliteBackend,
        opened: Opener,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        clock = FakeClock()
        monkeypatch.setattr(sqlite, "SYSTEM_CLOCK", clock)
        for number in range(100):
            clock.advance(0.0001)
            backend.set_serialized(f"key {number}", b"value")
        self.delete(opened)

        clock.advance(sqlite._BETWEEN_LOOKS * 1.01)
        backend.set_serialized("new", b"value")

        assert opened().get_serialized("new") == b"value"
        assert backend.get_serialized("key 1") is NO_VALUE

    def test_the_first_write_after_a_lull_notices(
        self,
        backend: SqliteBackend,
        opened: Opener,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        clock = FakeClock()
        monkeypatch.setattr(sqlite, "SYSTEM_CLOCK", clock)
        for number in range(sqlite._ALL_LOOKED_AT + 1):
            backend.set_serialized(f"key {number}", b"value")
        self.delete(opened)
        clock.advance(sqlite._LULL)

        backend.set_serialized("new", b"value")

        assert opened().get_serialized("new") == b"value"

    def test_a_reader_notices_after_a_moment(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        backend.set_serialized("key", b"value")
        assert backend.get_serialized("key") == b"value"
        self.delete(opened)

        opened.clock.advance(0.2)

        assert backend.get_serialized("key") is NO_VALUE

    def test_a_reader_notices_when_the_clock_is_set_back(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        backend.set_serialized("key", b"value")
        assert backend.get_serialized("key") == b"value"
        self.delete(opened)

        opened.clock.jump(-1000.0)

        assert backend.get_serialized("key") is NO_VALUE

    def test_a_creation_begun_before_is_refused(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        lease = backend.lease("key", 10.0)
        self.delete(opened)

        assert not backend.renew(lease, 10.0)
        assert not backend.commit(lease, b"late")
        assert backend.get_serialized("key") is NO_VALUE

    def test_its_folder_may_go_too(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        backend.set_serialized("old", b"value")
        shutil.rmtree(os.path.dirname(opened.filename))

        backend.set_serialized("new", b"value")

        assert opened().get_serialized("new") == b"value"

    def test_a_log_left_behind_is_not_the_new_files(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        backend.set_serialized("old", b"value")
        os.unlink(opened.filename)

        backend.set_serialized("new", b"value")
        other = opened()

        assert other.get_serialized("old") is NO_VALUE
        assert other.get_serialized("new") == b"value"

    def test_another_in_its_place_is_taken(
        self, backend: SqliteBackend, opened: Opener
    ) -> None:
        backend.set_serialized("key", b"old")
        self.delete(opened)
        other = opened()
        other.set_serialized("key", b"of the new file")

        opened.clock.advance(0.2)

        assert backend.get_serialized("key") == b"of the new file"
        backend.set_serialized("key", b"newer")
        assert other.get_serialized("key") == b"newer"

    def test_all_processes_meet_again(self, opened: Opener) -> None:
        one, two = opened.program(), opened.program()
        one.ask("backend.set_serialized('old', b'value')")
        two.ask("backend.set_serialized('older', b'value')")
        self.delete(opened)

        one.ask("backend.set_serialized('one', b'1')")
        two.ask("backend.set_serialized('two', b'2')")

        keys = "['old', 'older', 'one', 'two']"
        expression = f"[x or None for x in backend.get_serialized_multi({keys})]"
        assert one.ask(expression) == [None, None, b"1", b"2"]
        assert two.ask(expression) == [None, None, b"1", b"2"]

    def test_one_that_goes_away_all_the_time_is_an_error(
        self, backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backend._file, "is_current", lambda link: False)

        with pytest.raises(BackendUnavailable, match="replaced all the time"):
            backend.delete("key")


@pytest.mark.skipif(os.name != "posix", reason="modes and links are those of POSIX")
class TestUnsafeFile:
    def test_a_link_is_refused(
        self, backend: SqliteBackend, opened: Opener, tmp_path: Path
    ) -> None:
        os.mkdir(os.path.dirname(opened.filename), 0o700)
        os.symlink(tmp_path / "target", opened.filename)

        with pytest.raises(UnsafeFile, match="is a symbolic link"):
            backend.get_serialized("key")
        assert not os.path.exists(tmp_path / "target")

    def test_a_file_that_others_write_is_refused(self, opened: Opener) -> None:
        first = opened()
        first.set_serialized("key", b"value")
        first.close()
        os.chmod(opened.filename, 0o666)

        with pytest.raises(UnsafeFile, match="may be written to by others"):
            opened().get_serialized("key")

    def test_a_planted_log_is_refused_before_it_is_read(self, opened: Opener) -> None:
        with closing(opened.program()) as program:
            program.ask("backend.set_serialized('key', b'planted')")
        os.chmod(opened.filename + "-wal", 0o666)

        with pytest.raises(UnsafeFile, match="-wal may be written to by others"):
            opened().get_serialized("key")

    def test_a_folder_that_everybody_writes_is_refused(self, opened: Opener) -> None:
        folder = os.path.dirname(opened.filename)
        os.mkdir(folder)
        os.chmod(folder, 0o777)

        with pytest.raises(UnsafeFile, match="written to by everybody"):
            opened().set_serialized("key", b"value")
        assert not os.listdir(folder)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root makes others' files")
    def test_a_file_of_another_user_is_refused(self, opened: Opener) -> None:
        first = opened()
        first.set_serialized("key", b"value")
        first.close()
        os.chown(opened.filename, NOBODY, NOBODY)

        with pytest.raises(UnsafeFile, match="belongs to another user"):
            opened().get_serialized("key")

    def test_a_file_exchanged_while_it_is_opened_is_not_used(
        self, opened: Opener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connect = sqlite3.connect
        exchanged: list[sqlite3.Connection] = []

        def exchange(path: str, **options: Any) -> Any:
            os.rename(path, f"{path}.{len(exchanged)}")
            connection = connect(f"{path}.{len(exchanged)}", **options)
            exchanged.append(connection)
            Path(path).touch(0o600)
            return connection

        monkeypatch.setattr(sqlite3, "connect", exchange)

        with pytest.raises(BackendUnavailable, match="replaced all the time"):
            opened().get_serialized("key")
        for connection in exchanged:
            with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                connection.execute("SELECT 1")

    def test_a_file_deleted_while_it_is_opened_is_opened_again(
        self, opened: Opener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connect = sqlite3.connect

        def delete(path: str, **options: Any) -> Any:
            monkeypatch.setattr(sqlite3, "connect", connect)
            connection = connect(path, **options)
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            os.unlink(path)
            return connection

        monkeypatch.setattr(sqlite3, "connect", delete)
        backend = opened()

        backend.set_serialized("key", b"value")

        assert opened().get_serialized("key") == b"value"


class TestNoRoom:
    def refused(self, folder: Path, act: Callable[[SqliteBackend], object]) -> str:
        backend = SqliteBackend({"filename": str(folder / "cache.sqlite")})
        with pytest.raises(BackendError) as caught:
            act(backend)
        assert not isinstance(caught.value, BackendUnavailable)
        return str(caught.value)

    def test_a_folder_that_may_not_be_written_is_named(self, open_folder: Path) -> None:
        def act() -> None:
            if os.geteuid() == 0:
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            for operation in (
                lambda backend: backend.set_serialized("key", b"value"),
                lambda backend: backend.get_serialized("key"),
                lambda backend: backend.lease("key", 10.0),
            ):
                assert str(open_folder) in self.refused(open_folder, operation)

        open_folder.chmod(0o555)

        assert in_child(act) == 0

    def test_a_file_that_may_not_grow_is_named(self, tmp_path: Path) -> None:
        def act() -> None:
            limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limit))
            backend = SqliteBackend({"filename": str(tmp_path / "cache.sqlite")})
            backend.set_serialized("kept", b"value")
            with pytest.raises(BackendError, match=r"set\(\): .*cache\.sqlite: "):
                backend.set_serialized("key", bytes(1_000_000))
            assert backend.get_serialized("kept") == b"value"
            assert backend.get_serialized("key") is NO_VALUE
            backend.set_serialized("key", b"small")
            assert backend.get_serialized("key") == b"small"

        assert in_child(act) == 0

    def test_a_full_disk_is_named_and_loses_nothing(self, small_disk: Path) -> None:
        (small_disk / "ballast").write_bytes(bytes(200_000))
        backend = SqliteBackend({"filename": str(small_disk / "cache.sqlite")})
        backend.set_serialized("kept", b"value")

        def fill() -> None:
            for number in range(2000):
                backend.set_serialized(str(number), bytes(1000))

        with pytest.raises(
            BackendError,
            match=r"set\(\): .*cache\.sqlite: .*full \(make room on the disk, or",
        ):
            fill()
        kept = backend.get_serialized("kept")
        (small_disk / "ballast").unlink()
        backend.set_serialized("key", b"later")
        later = backend.get_serialized("key")
        backend.close()

        assert (kept, later) == (b"value", b"later")


class Model:
    """Two backends of one file, and what a dictionary would hold."""

    SECONDS = 10.5

    def __init__(self, opened: Opener) -> None:
        self.clock = opened.clock
        self.backends = [opened(), opened()]
        self.values: dict[Any, tuple[bytes, float]] = {}
        self.ends: dict[Any, tuple[str, float]] = {}
        self.leases: dict[Any, Lease] = {}

    def put(self, backend: SqliteBackend, key: Any, value: bytes) -> None:
        backend.set_serialized(key, value)
        self.stored(key, value)

    def put_for(self, backend: SqliteBackend, key: Any, value: bytes) -> None:
        backend.set_serialized(key, value, 5.5)
        self.stored(key, value, 5.5)

    def delete(self, backend: SqliteBackend, key: Any, value: bytes) -> None:
        backend.delete(key)
        self.values.pop(key, None)
        self.ends.pop(key, None)

    def lease(self, backend: SqliteBackend, key: Any, value: bytes) -> None:
        lease = backend.lease(key, self.SECONDS)
        assert lease.found == self.get(key)
        assert lease.granted is not self.is_leased(key)
        if lease.granted:
            self.ends[key] = (lease.token, self.clock.time() + self.SECONDS)
            self.leases[key] = lease

    def commit(self, backend: SqliteBackend, key: Any, value: bytes) -> None:
        lease = self.leases.get(key, Lease(key, "nobody's", granted=False))
        is_held = self.holds(lease)
        assert backend.commit(lease, value) is is_held
        if is_held:
            self.stored(key, value)

    def renew(self, backend: SqliteBackend, key: Any, value: bytes) -> None:
        lease = self.leases.get(key, Lease(key, "nobody's", granted=False))
        is_held = self.holds(lease)
        assert backend.renew(lease, self.SECONDS) is is_held
        if is_held:
            self.ends[key] = (lease.token, self.clock.time() + self.SECONDS)

    def fail(self, backend: SqliteBackend, key: Any, value: bytes) -> None:
        lease = self.leases.get(key, Lease(key, "nobody's", granted=False))
        backend.release(lease, b"why")
        if self.holds(lease):
            del self.ends[key]

    def stored(self, key: Any, value: bytes, ttl: float = float("inf")) -> None:
        self.values[key] = (value, self.clock.time() + ttl)
        self.ends.pop(key, None)

    def get(self, key: Any) -> Any:
        value, ends = self.values.get(key, (NO_VALUE, float("inf")))
        return value if ends > self.clock.time() else NO_VALUE

    def is_leased(self, key: Any) -> bool:
        return key in self.ends and self.ends[key][1] > self.clock.time()

    def holds(self, lease: Lease) -> bool:
        return self.is_leased(lease.key) and self.ends[lease.key][0] == lease.token


STEPS = st.tuples(
    st.sampled_from(["put", "put_for", "delete", "lease", "commit", "renew", "fail"]),
    st.sampled_from(["a", b"a", 1, "b"]),
    st.integers(0, 1),
    st.sampled_from([0.0, 0.0, 1.0, 7.0]),
)


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(STEPS, max_size=50))
def test_two_backends_of_one_file_agree_with_a_dictionary(
    steps: list[tuple[str, Any, int, float]],
) -> None:
    folder = tempfile.mkdtemp()
    opened = Opener(Path(folder) / "cache.sqlite")
    model = Model(opened)

    for number, (name, key, which, pause) in enumerate(steps):
        opened.clock.advance(pause)
        getattr(model, name)(model.backends[which], key, str(number).encode())

        for backend in model.backends:
            assert backend.get_serialized(key) == model.get(key)
            assert backend.is_leased(key) is model.is_leased(key)

    opened.close()
    shutil.rmtree(folder)
