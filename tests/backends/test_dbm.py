"""What is particular to the dbm backend: its file, its lock, its 1.x ways."""

from __future__ import annotations

import dbm
import dbm.dumb
import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from crowd import fork_amid

from dogpile.cache.api import NO_VALUE
from dogpile.cache.backends import dbmfile
from dogpile.cache.backends.dbm import DBMBackend
from dogpile.cache.backends.file import AbstractFileLock, FileLock
from dogpile.cache.exception import (
    BackendError,
    BackendUnavailable,
    UnsafeFile,
    ValidationError,
)
from dogpile.cache.testing import FakeClock
from dogpile.cache.testing.concurrency import in_child, together

POSIX = pytest.mark.skipif(os.name != "posix", reason="modes, owners and forks")
ROOT = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away"
)
NOBODY = 65534


@pytest.fixture
def filename(tmp_path: Path) -> str:
    return str(tmp_path / "cache.dbm")


@pytest.fixture
def backend(filename: str) -> DBMBackend:
    return DBMBackend({"filename": filename})


def made_as_dumb(filename: str, records: Mapping[bytes, bytes]) -> None:
    """Make a file whose parts every Python knows."""
    with dbm.dumb.open(filename, "n", 0o600) as database:
        for key, value in records.items():
            database[key] = value


def files(backend: DBMBackend) -> list[str]:
    folder, base = os.path.split(backend.filename)
    return sorted(
        name
        for name in os.listdir(folder)
        if name.startswith(base) and not name.endswith(".lock")
    )


class TestArguments:
    @pytest.mark.parametrize("arguments", [{}, {"filename": ""}, {"filename": 7}])
    def test_a_filename_is_needed(self, arguments: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match=r'arguments=\{"filename": ...\}'):
            DBMBackend(arguments)

    def test_a_path_is_a_filename(self, tmp_path: Path) -> None:
        backend = DBMBackend({"filename": tmp_path / "cache"})

        assert backend.filename == str(tmp_path / "cache")

    def test_a_file_is_named_from_the_folder_of_the_beginning(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        backend = DBMBackend({"filename": "cache"})
        monkeypatch.chdir("/")

        backend.put("key", b"value")

        assert os.path.dirname(backend.filename) == str(tmp_path)
        assert backend.get("key") == b"value"

    def test_building_it_does_nothing(self, backend: DBMBackend) -> None:
        assert os.listdir(os.path.dirname(backend.filename)) == []

    def test_reading_makes_no_file(self, backend: DBMBackend) -> None:
        assert backend.get("key") is NO_VALUE
        assert list(backend.get_multi(["a", "b"])) == [NO_VALUE, NO_VALUE]
        assert not backend.is_leased("key")
        assert os.listdir(os.path.dirname(backend.filename)) == []

    @pytest.mark.parametrize("name", ["rw_lockfile", "dogpile_lockfile"])
    def test_a_lock_file_has_a_name(self, filename: str, name: str) -> None:
        with pytest.raises(ValidationError, match="a lock file of dogpile"):
            DBMBackend({"filename": filename, name: 7})

    def test_a_lock_factory_is_called(self, filename: str) -> None:
        with pytest.raises(ValidationError, match="lock_factory"):
            DBMBackend({"filename": filename, "lock_factory": "fcntl"})

    def test_a_lock_timeout_is_kept_for_the_region(self, filename: str) -> None:
        assert DBMBackend({"filename": filename}).lock_timeout is None
        given = {"filename": filename, "lock_timeout": 30}
        assert DBMBackend(given).lock_timeout == 30.0

    @pytest.mark.parametrize("seconds", [0, -1, "soon"])
    def test_a_lock_timeout_is_a_number_of_seconds(
        self, filename: str, seconds: object
    ) -> None:
        with pytest.raises(ValidationError, match="lock_timeout"):
            DBMBackend({"filename": filename, "lock_timeout": seconds})

    @pytest.mark.parametrize("key", [b"key", 7, None, ("a", "b")])
    def test_keys_are_strings(self, backend: DBMBackend, key: object) -> None:
        with pytest.raises(ValidationError, match="takes strings for keys"):
            backend.get(key)
        with pytest.raises(ValidationError, match="takes strings for keys"):
            backend.put(key, b"value")

    def test_it_tells_its_file_and_nothing_more(self, backend: DBMBackend) -> None:
        assert repr(backend) == f"<DBMBackend {backend.filename}>"


@POSIX
class TestWhoMayTouchTheFile:
    def test_its_files_are_its_owners_alone(self, tmp_path: Path) -> None:
        backend = DBMBackend({"filename": tmp_path / "deep" / "er" / "cache"})

        backend.put("key", b"value")
        backend.lease("key", 10)

        modes = {
            path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")
        }
        assert {modes[path] for path in modes if path.is_dir()} == {0o700}
        assert {modes[path] for path in modes if path.is_file()} == {0o600}

    @pytest.mark.parametrize("suffix", ["", ".dat", ".dir", ".bak", ".rw.lock"])
    def test_a_symbolic_link_is_refused(
        self, backend: DBMBackend, tmp_path: Path, suffix: str
    ) -> None:
        made_as_dumb(backend.filename, {})
        target = tmp_path / "target"
        target.write_bytes(b"precious")
        Path(backend.filename + suffix).unlink(missing_ok=True)
        Path(backend.filename + suffix).symlink_to(target)

        with pytest.raises(UnsafeFile, match="is a symbolic link"):
            backend.put("key", b"value")
        with pytest.raises(UnsafeFile, match="is a symbolic link"):
            backend.get("key")

        assert target.read_bytes() == b"precious"

    def test_a_file_that_others_may_write_to_is_refused(
        self, backend: DBMBackend
    ) -> None:
        made_as_dumb(backend.filename, {})
        os.chmod(backend.filename + ".dat", 0o622)

        with pytest.raises(UnsafeFile, match="may be written to by others"):
            backend.get("key")

    @ROOT
    def test_a_file_of_another_owner_is_refused(self, backend: DBMBackend) -> None:
        made_as_dumb(backend.filename, {})
        os.chown(backend.filename + ".dat", NOBODY, NOBODY)

        with pytest.raises(UnsafeFile, match="belongs to another user"):
            backend.get("key")

    def test_a_folder_that_everybody_may_write_to_is_refused(
        self, backend: DBMBackend, tmp_path: Path
    ) -> None:
        tmp_path.chmod(0o777)

        with pytest.raises(UnsafeFile, match="may be written to by everybody"):
            backend.put("key", b"value")

    def test_a_file_is_not_made_through_a_link_left_there(
        self, backend: DBMBackend, tmp_path: Path
    ) -> None:
        target = tmp_path / "target"
        for suffix in ("", ".dat", ".db", ".dir"):
            Path(backend.filename + suffix).symlink_to(target)

        with pytest.raises(UnsafeFile):
            backend.put("key", b"value")

        assert not target.exists()

    def test_a_read_only_folder_is_read(self, tmp_path: Path) -> None:
        folder = tmp_path / "cache"
        folder.mkdir(0o700)
        backend = DBMBackend({"filename": folder / "file"})
        made_as_dumb(backend.filename, {})
        backend.put("key", b"value")

        with as_somebody_who_may_not_write(folder):
            assert backend.get("key") == b"value"
            with pytest.raises(BackendError, match=str(folder)):
                backend.put("key", b"other")

        assert backend.get("key") == b"value"

    def test_a_read_only_folder_without_a_lock_file_is_read(
        self, tmp_path: Path
    ) -> None:
        folder = tmp_path / "cache"
        folder.mkdir(0o700)
        backend = DBMBackend({"filename": folder / "file"})
        made_as_dumb(backend.filename, {})
        backend.put("key", b"value")
        (folder / "file.rw.lock").unlink()

        with as_somebody_who_may_not_write(folder):
            assert backend.get("key") == b"value"

    def test_a_full_disk_is_an_error_that_names_the_file(
        self, backend: DBMBackend
    ) -> None:
        import resource

        made_as_dumb(backend.filename, {})
        backend.put("kept", b"value")

        def put_too_much() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            with pytest.raises(BackendError, match=backend.filename):
                backend.put("large", os.urandom(200_000))

        assert in_child(put_too_much) == 0
        assert backend.get("kept") == b"value"
        assert backend.get("large") is NO_VALUE


@contextmanager
def as_somebody_who_may_not_write(folder: Path) -> Iterator[None]:
    # Root may always write: become somebody else, who owns the folder.
    is_root = os.geteuid() == 0
    owned = [folder, *folder.iterdir()]
    if is_root:
        for path in owned:
            os.chown(path, NOBODY, NOBODY)
        parents = [path for path in folder.parents if path.stat().st_mode & 0o077 == 0]
        for path in parents:
            path.chmod(0o711)
        os.seteuid(NOBODY)
    for path in owned:
        path.chmod(0o500 if path == folder else 0o400)
    try:
        yield
    finally:
        for path in owned:
            path.chmod(0o700 if path == folder else 0o600)
        if is_root:
            os.seteuid(0)
            for path in parents:
                path.chmod(0o700)
            for path in owned:
                os.chown(path, 0, 0)


def scribble(path: str) -> None:
    Path(path).write_bytes(b"\x00\xffgarbage\n" * 100)
    os.chmod(path, 0o600)


def truncate(path: str) -> None:
    os.truncate(path, os.path.getsize(path) // 2)


BREAKS: dict[str, Callable[[str], object]] = {
    "the index is garbage": lambda name: scribble(name + ".dir"),
    "the index is cut": lambda name: truncate(name + ".dir"),
    "the index is gone": lambda name: os.unlink(name + ".dir"),
    "the values are garbage": lambda name: scribble(name + ".dat"),
    "the values are cut": lambda name: os.truncate(name + ".dat", 300),
    "the values are empty": lambda name: os.truncate(name + ".dat", 0),
}


class TestABrokenFile:
    @pytest.fixture
    def broken(self, backend: DBMBackend, request: pytest.FixtureRequest) -> DBMBackend:
        made_as_dumb(backend.filename, {})
        backend.put("key", os.urandom(500))
        backend.put("other", os.urandom(500))
        BREAKS[request.param](backend.filename)
        return backend

    @pytest.mark.parametrize("broken", BREAKS, indirect=True)
    def test_it_is_moved_aside_with_one_warning(self, broken: DBMBackend) -> None:
        with pytest.warns(RuntimeWarning, match="is broken; it was moved to") as told:
            found = broken.get("key")
        broken.put("key", b"new")

        assert found is NO_VALUE
        assert len(told) == 1
        assert broken.get("key") == b"new"
        assert any(".broken-1" in name for name in files(broken))

    @pytest.mark.parametrize(
        "broken", [name for name in BREAKS if "index" in name], indirect=True
    )
    def test_a_put_goes_through(self, broken: DBMBackend) -> None:
        with pytest.warns(RuntimeWarning, match="is broken"):
            broken.put("key", b"new")

        assert broken.get("key") == b"new"

    def test_a_warning_that_is_an_error_comes_after_the_deed(
        self, backend: DBMBackend
    ) -> None:
        scribble(backend.filename)

        with pytest.raises(RuntimeWarning, match="is broken"):
            backend.put("key", b"value")

        assert backend.get("key") == b"value"

    def test_it_is_told_as_an_event(self, backend: DBMBackend) -> None:
        scribble(backend.filename)
        events: list[tuple[str, Mapping[str, Any]]] = []
        backend.report = lambda name, details: events.append((name, details))

        with pytest.warns(RuntimeWarning):
            backend.put("key", b"value")

        assert [name for name, _ in events] == ["backend_error"]
        assert events[0][1]["backend"] == "dogpile.cache.dbm"

    def test_no_value_is_told(self, backend: DBMBackend) -> None:
        made_as_dumb(backend.filename, {b"vkey": b"\x00secret"})

        with pytest.warns(RuntimeWarning) as told:
            backend.get("key")

        assert "secret" not in str(told[0].message)

    def test_what_another_program_wrote_is_kept_aside(
        self, backend: DBMBackend
    ) -> None:
        Path(backend.filename).write_text("my notes", encoding="utf-8")
        os.chmod(backend.filename, 0o600)

        with pytest.warns(RuntimeWarning):
            backend.put("key", b"value")

        aside = Path(backend.filename + ".broken-1")
        assert aside.read_text(encoding="utf-8") == "my notes"

    def test_an_empty_file_is_no_broken_one(self, backend: DBMBackend) -> None:
        Path(backend.filename).touch(0o600)

        assert backend.get("key") is NO_VALUE
        backend.put("key", b"value")

        assert backend.get("key") == b"value"

    def test_a_deleted_file_is_noticed(self, backend: DBMBackend) -> None:
        backend.put("key", b"value")
        lease = backend.lease("key", 10)
        for name in files(backend):
            os.unlink(os.path.join(os.path.dirname(backend.filename), name))

        assert backend.get("key") is NO_VALUE
        assert not backend.commit(lease, b"late")
        backend.put("key", b"again")
        assert backend.get("key") == b"again"

    def test_a_deleted_lock_file_is_made_again(self, backend: DBMBackend) -> None:
        backend.put("key", b"value")
        os.unlink(backend.filename + ".rw.lock")

        backend.put("key", b"other")

        assert backend.get("key") == b"other"

    def test_what_the_system_refuses_is_no_damage(
        self, backend: DBMBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made_as_dumb(backend.filename, {})
        backend.put("key", b"value")
        before = files(backend)

        def refuse(*_: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        with monkeypatch.context() as patch:
            patch.setattr(dbm.dumb, "open", refuse)
            with pytest.raises(BackendError, match="Too many open files"):
                backend.put("key", b"other")

        assert files(backend) == before
        assert backend.get("key") == b"value"

    def test_a_kind_that_this_python_lacks_is_no_damage(
        self, backend: DBMBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made_as_dumb(backend.filename, {})
        before = files(backend)
        monkeypatch.setattr(dbm, "whichdb", lambda _: "dbm.other")

        with pytest.raises(BackendUnavailable, match="which this Python lacks"):
            backend.put("key", b"value")

        assert files(backend) == before

    def test_a_file_of_1x_is_a_file_of_misses(self, backend: DBMBackend) -> None:
        stored = b'{"ct": 1.0, "v": 2}|\x80\x04K\x01.'
        made_as_dumb(backend.filename, {b"key": stored, b"vkey": stored})

        assert backend.get("key") is NO_VALUE
        backend.put("key", b"new")
        assert backend.get("key") == b"new"


DAMAGES: dict[str, Callable[[str], object]] = {
    "garbage": scribble,
    "cut to half": truncate,
    "cut to nothing": lambda path: os.truncate(path, 0),
    "cut to its first page": lambda path: os.truncate(path, 4096),
    "garbage at its end": lambda path: Path(path).write_bytes(
        Path(path).read_bytes()[:-600] + b"\xaa" * 600
    ),
}


@POSIX
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("kind", ["dbm.dumb", "dbm.ndbm", "dbm.gnu", "dbm.sqlite3"])
def test_no_damage_is_fatal(
    backend: DBMBackend, kind: str, damage: Callable[[str], object]
) -> None:
    reason = f"this Python lacks {kind}"
    module = pytest.importorskip(kind, reason=reason, exc_type=ImportError)
    module.open(backend.filename, "n", 0o600).close()
    values = {f"key {number}": os.urandom(1000) for number in range(20)}
    backend.set_multi(values)
    for name in files(backend):
        damage(os.path.join(os.path.dirname(backend.filename), name))

    def use() -> None:
        # In a child, for a dbm module may even crash.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            for key, value in values.items():
                assert backend.get(key) in (value, NO_VALUE)
            for key in values:
                backend.put(key, b"new")
            assert [backend.get(key) for key in values] == [b"new"] * 20

    assert in_child(use) == 0


@POSIX
class TestForks:
    @pytest.mark.parametrize("kind", ["dbm.dumb", "dbm.ndbm", "dbm.gnu", "dbm.sqlite3"])
    def test_a_fork_amid_busy_threads_stops_nobody(
        self, backend: DBMBackend, kind: str
    ) -> None:
        reason = f"this Python lacks {kind}"
        module = pytest.importorskip(kind, reason=reason, exc_type=ImportError)
        module.open(backend.filename, "n", 0o600).close()

        def work(number: int) -> None:
            backend.put(f"key {number}", b"value")
            backend.get(f"key {number}")

        def use() -> None:
            backend.put("child", b"value")
            assert backend.get("child") == b"value"

        codes, errors = fork_amid(work, use)

        assert codes == [0] * 5
        assert not errors

    @pytest.mark.parametrize(("kind", "inside"), [("dbm.dumb", 0), ("dbm.sqlite3", 1)])
    def test_nobody_forks_while_another_is_within_sqlite(
        self,
        backend: DBMBackend,
        monkeypatch: pytest.MonkeyPatch,
        kind: str,
        inside: int,
    ) -> None:
        seen = []
        opened = dbm.dumb.open

        def look(path: str, flag: str, mode: int) -> Any:
            seen.append(dbmfile._FORK_GATE.inside)
            return opened(path, flag, mode)

        made_as_dumb(backend.filename, {})
        monkeypatch.setitem(sys.modules, kind, SimpleNamespace(open=look))
        monkeypatch.setattr(backend._file, "_kind", lambda operation: kind)

        backend.put("key", b"new")
        backend.get("key")

        assert seen == [inside, inside]
        assert dbmfile._FORK_GATE.inside == 0


@POSIX
class TestAKilledProcess:
    def test_a_dead_holders_lease_ends_in_time(self, backend: DBMBackend) -> None:
        clock = backend.clock = FakeClock()

        def die_holding_the_lease() -> None:
            assert backend.lease("key", 10).granted
            os.kill(os.getpid(), signal.SIGKILL)

        assert in_child(die_holding_the_lease) == -signal.SIGKILL
        assert not backend.lease("key", 10).granted
        clock.advance(11)
        assert backend.lease("key", 10).granted

    def test_a_dead_readers_lock_is_free(self, backend: DBMBackend) -> None:
        backend.put("key", b"value")

        def die_reading() -> None:
            with FileLock(backend.filename + ".rw.lock").read():
                os.kill(os.getpid(), signal.SIGKILL)

        assert in_child(die_reading) == -signal.SIGKILL
        backend.put("key", b"other")
        assert backend.get("key") == b"other"

    def test_what_a_dead_writer_left_half_done_is_not_trusted(
        self, backend: DBMBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made_as_dumb(backend.filename, {})
        backend.put("key", b"value")

        def die_writing() -> None:
            monkeypatch.setattr(
                dbmfile.DBMFile, "_close", lambda *_: os.kill(os.getpid(), 9)
            )
            backend.put("other", b"value")

        assert in_child(die_writing) == -signal.SIGKILL
        with pytest.warns(RuntimeWarning, match="is broken"):
            assert backend.get("key") is NO_VALUE
        backend.put("key", b"new")
        assert backend.get("key") == b"new"

    def test_a_reader_that_dies_leaves_the_file_trusted(
        self, backend: DBMBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend.put("key", b"value")

        def die_reading() -> None:
            monkeypatch.setattr(
                dbmfile.Table, "get", lambda *_: os.kill(os.getpid(), 9)
            )
            backend.get("key")

        assert in_child(die_reading) == -signal.SIGKILL
        assert backend.get("key") == b"value"

    def test_an_interrupted_write_leaves_the_file_whole(
        self, backend: DBMBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend.put("key", b"value")

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(dbmfile.Table, "put", interrupt)
            with pytest.raises(KeyboardInterrupt):
                backend.put("key", b"other")

        assert backend.get("key") == b"value"


COUNT = """
import sys
from dogpile.cache.backends.dbm import DBMBackend
backend = DBMBackend({"filename": sys.argv[1]})
done = 0
while done < 25:
    lease = backend.lease("count", 30)
    if lease.granted:
        count = int(lease.found or b"0")
        done += backend.commit(lease, str(count + 1).encode())
    else:
        backend.clock.sleep(0.001)
    backend.put(f"key {done} of {sys.argv[2]}", sys.argv[2].encode() * 100)
"""


class TestManyProcesses:
    def test_no_write_is_lost_and_no_lease_is_granted_twice(
        self, backend: DBMBackend
    ) -> None:
        processes = [
            subprocess.Popen([sys.executable, "-c", COUNT, backend.filename, str(n)])
            for n in range(4)
        ]

        codes = [process.wait(120) for process in processes]

        keys = [(f"key 25 of {n}", str(n).encode() * 100) for n in range(4)]
        assert codes == [0, 0, 0, 0]
        assert backend.get("count") == b"100"
        assert [backend.get(key) for key, _ in keys] == [value for _, value in keys]

    def test_a_child_that_writes_is_seen_at_once(self, backend: DBMBackend) -> None:
        made_as_dumb(backend.filename, {})
        seen = []
        for number in range(5):
            value = str(number).encode()
            in_child(lambda value=value: backend.put("key", value))  # type: ignore[misc]
            seen.append(backend.get("key"))

        assert seen == [b"0", b"1", b"2", b"3", b"4"]


class TestTheLock:
    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        return str(tmp_path / "lock")

    def test_it_makes_its_file_when_it_is_taken(self, path: str) -> None:
        lock = FileLock(path)
        assert not os.path.exists(path)

        with lock.write():
            assert lock.is_open
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600

        assert not lock.is_open

    def test_readers_share_it(self, path: str) -> None:
        lock = FileLock(path)
        barrier = threading.Barrier(3)

        def read(_: int) -> int:
            with lock.read():
                return barrier.wait(10)

        assert sorted(together(read, range(3))) == [0, 1, 2]

    def test_a_writer_is_alone(self, path: str) -> None:
        one, other = FileLock(path), FileLock(path)

        with one.write():
            assert not other.acquire_read_lock(False)
            assert not other.acquire_write_lock(False)
            assert not other.acquire(False)

        assert other.acquire(False)
        other.release()

    def test_readers_keep_a_writer_out(self, path: str) -> None:
        one, other = FileLock(path), FileLock(path)

        with one.read():
            assert not other.acquire_write_lock(False)
            assert other.acquire_read_lock(False)
            other.release_read_lock()

    def test_threads_hold_it_each_for_themselves(self, path: str) -> None:
        lock = FileLock(path)

        with lock.write():
            is_open, is_taken = together(
                lambda act: act(),
                [lambda: lock.is_open, lambda: lock.acquire(False)],
            )

        assert not is_open
        assert not is_taken

    def test_who_waits_too_long_is_told(self, path: str) -> None:
        lock, other = FileLock(path), FileLock(path)

        with (
            lock.write(),
            pytest.raises(BackendUnavailable, match=r"held by others for 0\.01 s"),
            other.hold("get", 0.01, alone=False),
        ):
            pass

    def test_an_operation_does_not_wait_for_ever(
        self, backend: DBMBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dbmfile, "_PATIENCE", 0.01)
        backend.put("key", b"value")

        with (
            FileLock(backend.filename + ".rw.lock").write(),
            pytest.raises(BackendUnavailable, match=r"get\(\): .*held by others"),
        ):
            backend.get("key")

    def test_a_writer_comes_before_readers_that_come_later(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from dogpile.cache.backends import filelock

        monkeypatch.setattr(filelock, "_GIVE_WAY", 60.0)
        monkeypatch.setattr(filelock, "_WISH_HOLDS", 60.0)
        lock, order = FileLock(path), list[str]()
        wishes, late = threading.Event(), threading.Event()
        wish, give_way = filelock._wish, filelock._give_way

        def told_wish(descriptor: int, now: float) -> None:
            wish(descriptor, now)
            wishes.set()

        def told_give_way(descriptor: int) -> None:
            late.set()
            give_way(descriptor)

        def hold(name: str) -> None:
            with lock.hold("test", 60.0, alone=name == "writer"):
                order.append(name)

        lock.acquire_read_lock(True)
        monkeypatch.setattr(filelock, "_wish", told_wish)
        writer = threading.Thread(target=hold, args=["writer"])
        writer.start()
        assert wishes.wait(30)
        monkeypatch.setattr(filelock, "_give_way", told_give_way)
        reader = threading.Thread(target=hold, args=["reader"])
        reader.start()
        assert late.wait(30)
        lock.release_read_lock()
        writer.join(60)
        reader.join(60)

        assert order == ["writer", "reader"]

    def test_a_deleted_lock_file_locks_nobody_out(self, path: str) -> None:
        lock = FileLock(path)
        with lock.write():
            os.unlink(path)

        with lock.write():
            assert not FileLock(path).acquire(False)

    def test_a_note_outlives_its_writer(self, path: str) -> None:
        lock = FileLock(path)
        with lock.write():
            before = lock.note
            lock.note = b"a longer note"
            lock.note = b"a note"

        with FileLock(path).read():
            pass
        with lock.read():
            assert (before, lock.note) == (b"", b"a note")

    @POSIX
    def test_a_child_of_a_fork_holds_nothing(self, path: str) -> None:
        lock = FileLock(path)

        def look() -> None:
            assert not lock.is_open
            lock.release()
            assert not lock.acquire(False)

        with lock.write():
            assert in_child(look) == 0
            assert not FileLock(path).acquire(False)
        assert FileLock(path).acquire(False)

    @POSIX
    def test_a_lock_among_threads_is_free_in_the_child(self, filename: str) -> None:
        backend = DBMBackend({"filename": filename, "rw_lockfile": False})
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with backend._file._lock.write():
                held.set()
                done.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        assert held.wait(30)
        code = in_child(lambda: backend.put("key", b"value"))
        done.set()
        thread.join(30)

        assert code == 0
        assert backend.get("key") == b"value"


class CountingLock(AbstractFileLock):
    """A lock of a 1.x program: among threads, and it counts."""

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.mutex = threading.Lock()
        self.taken = {"read": 0, "write": 0}

    def acquire_read_lock(self, wait: bool) -> bool:
        self.taken["read"] += 1
        return self.mutex.acquire(wait)

    def acquire_write_lock(self, wait: bool) -> bool:
        self.taken["write"] += 1
        return self.mutex.acquire(wait)

    def release_read_lock(self) -> None:
        self.mutex.release()

    def release_write_lock(self) -> None:
        self.mutex.release()


class TestThe1xWays:
    def test_a_lock_of_ones_own_is_used(self, filename: str) -> None:
        made: list[CountingLock] = []

        def factory(name: str) -> CountingLock:
            made.append(CountingLock(name))
            return made[-1]

        backend = DBMBackend({"filename": filename, "lock_factory": factory})
        backend.put("key", b"value")
        backend.get("key")

        assert [lock.filename for lock in made] == [filename + ".rw.lock"]
        assert made[0].taken == {"read": 1, "write": 1}
        assert not os.path.exists(filename + ".rw.lock")

    def test_a_lock_file_has_the_name_given(
        self, filename: str, tmp_path: Path
    ) -> None:
        backend = DBMBackend({"filename": filename, "rw_lockfile": tmp_path / "mine"})

        backend.put("key", b"value")

        assert (tmp_path / "mine").exists()
        assert not os.path.exists(filename + ".rw.lock")

    def test_without_a_lock_file_there_is_none(self, filename: str) -> None:
        backend = DBMBackend(
            {"filename": filename, "rw_lockfile": False, "dogpile_lockfile": False}
        )

        backend.put("key", b"value")

        assert backend.get_mutex("key") is None
        assert not [
            name for name in os.listdir(os.path.dirname(filename)) if "lock" in name
        ]

    @pytest.mark.parametrize("factory", [FileLock, CountingLock])
    def test_a_mutex_is_held_once_a_key(self, filename: str, factory: Any) -> None:
        backend = DBMBackend({"filename": filename, "lock_factory": factory})
        mutex, other = backend.get_mutex("key"), backend.get_mutex("other")
        assert mutex is not None
        assert other is not None

        assert mutex.acquire()
        assert mutex.locked()
        assert not mutex.acquire(False)
        assert other.acquire(False)
        other.release()
        mutex.release()

        assert not mutex.locked()
        assert mutex.acquire(False)
        mutex.release()

    def test_a_mutex_keeps_other_threads_out(self, backend: DBMBackend) -> None:
        mutex = backend.get_mutex("key")
        assert mutex is not None
        mutex.acquire()

        taken = together(
            lambda m: m.acquire(False), [mutex, backend.get_mutex("other")]
        )

        assert taken == [False, False]
        mutex.release()

    def test_a_mutex_is_released_by_its_holder(self, backend: DBMBackend) -> None:
        mutex, other = backend.get_mutex("key"), backend.get_mutex("other")
        assert mutex is not None
        assert other is not None

        with pytest.raises(AssertionError, match="this thread didn't do the acquire"):
            mutex.release()
        mutex.acquire()
        with pytest.raises(AssertionError, match="No acquire held for key 'other'"):
            other.release()
        mutex.release()

    @POSIX
    def test_a_child_of_a_fork_does_not_hold_the_mutex(
        self, backend: DBMBackend
    ) -> None:
        mutex = backend.get_mutex("key")
        assert mutex is not None
        mutex.acquire()

        def ask() -> None:
            childs = backend.get_mutex("key")
            assert childs is not None
            assert not childs.acquire(False)

        assert in_child(ask) == 0
        mutex.release()

    @pytest.mark.parametrize(
        "name",
        [
            "__init__",
            "is_open",
            "acquire_read_lock",
            "acquire_write_lock",
            "release_read_lock",
            "release_write_lock",
        ],
    )
    def test_an_abstract_lock_says_what_is_missing(self, name: str) -> None:
        class Empty(AbstractFileLock):
            def __init__(self) -> None:
                pass

        calls: dict[str, Callable[[], object]] = {
            "__init__": lambda: AbstractFileLock("name"),
            "is_open": lambda: Empty().is_open,
            "acquire_read_lock": lambda: Empty().acquire_read_lock(True),
            "acquire_write_lock": lambda: Empty().acquire(),
            "release_read_lock": lambda: Empty().release_read_lock(),
            "release_write_lock": lambda: Empty().release(),
        }

        with pytest.raises(NotImplementedError, match=name):
            calls[name]()


class TestKeys:
    def test_long_keys_are_kept_apart(self, backend: DBMBackend) -> None:
        keys = [f"{'long' * 100}{number}" for number in range(3)]

        backend.set_multi({key: key.encode() for key in keys})

        assert list(backend.get_multi(keys)) == [key.encode() for key in keys]

    def test_keys_do_not_look_like_leases(self, backend: DBMBackend) -> None:
        lease = backend.lease("key", 10)

        for key in ("lkey", "vkey", "\xffkey", ""):
            backend.put(key, b"value")

        assert backend.commit(lease, b"created")
        assert backend.get("lkey") == b"value"


class TestLeases:
    def test_a_clock_set_back_ends_leases_at_once(self, backend: DBMBackend) -> None:
        clock = backend.clock = FakeClock()
        lease = backend.lease("key", 10)

        clock.jump(-3600)

        assert not backend.is_leased("key")
        assert not backend.commit(lease, b"late")
        assert backend.lease("key", 10).granted

    def test_a_clock_that_wavers_ends_none(self, backend: DBMBackend) -> None:
        clock = backend.clock = FakeClock()
        lease = backend.lease("key", 10)

        clock.jump(-0.5)

        assert backend.is_leased("key")
        assert backend.commit(lease, b"value")

    def test_who_waits_does_not_write(
        self, backend: DBMBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lease = backend.lease("key", 10)

        with monkeypatch.context() as patch:
            patch.setattr(backend, "_write", None)
            refused = backend.lease("key", 10, after=lease.token)

        assert not refused.granted
