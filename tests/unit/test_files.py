"""Cache files: whose they are, what is refused, and how a broken one gives way."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dogpile.cache.backends import files
from dogpile.cache.backends.files import CacheFile, cache_folder
from dogpile.cache.exception import (
    BackendError,
    BackendUnavailable,
    ConfigurationError,
    UnsafeFile,
)
from dogpile.cache.testing.concurrency import in_child

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="modes, owners and links are those of POSIX"
)

NOBODY = 65534


@pytest.fixture
def file(tmp_path: Path) -> CacheFile:
    tmp_path.chmod(0o700)
    return CacheFile(tmp_path / "cache", "a.backend", ("", "-wal"))


@pytest.fixture
def lax_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def foreign_file(tmp_path: Path) -> str:
    if os.geteuid() != 0:
        return "/etc/passwd"
    path = tmp_path / "foreign"
    path.touch(0o600)
    os.chown(path, NOBODY, NOBODY)
    return str(path)


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


class TestCacheFolder:
    def test_it_is_where_the_user_says(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

        assert cache_folder() == str(tmp_path / "dogpile.cache")

    @pytest.mark.parametrize("said", ["", "relative/folder"])
    def test_it_is_in_the_users_home(
        self, monkeypatch: pytest.MonkeyPatch, said: str
    ) -> None:
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setenv("XDG_CACHE_HOME", said)
        monkeypatch.setenv("HOME", "/home/someone")

        assert cache_folder() == "/home/someone/.cache/dogpile.cache"

    def test_it_is_in_the_library_on_macos(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "platform", "darwin")
        monkeypatch.setenv("HOME", "/Users/someone")

        assert cache_folder() == "/Users/someone/Library/Caches/dogpile.cache"

    def test_it_is_local_on_windows(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(sys, "platform", "win32")
        monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))

        assert cache_folder() == str(tmp_path / "dogpile.cache")

    def test_who_has_no_home_is_told_what_to_do(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)

        with pytest.raises(ConfigurationError, match="filename"):
            cache_folder()


class TestMaking:
    def test_building_one_touches_nothing(self, tmp_path: Path) -> None:
        CacheFile(tmp_path / "folder" / "cache", "a.backend")

        assert not list(tmp_path.iterdir())

    def test_the_name_is_made_absolute(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/someone")

        assert CacheFile("~/x/../cache", "a.backend").path == "/home/someone/cache"
        assert CacheFile("cache", "a.backend").path == os.path.abspath("cache")

    @pytest.mark.usefixtures("lax_umask")
    def test_files_and_folders_are_their_owners_alone(self, tmp_path: Path) -> None:
        file = CacheFile(tmp_path / "one" / "two" / "cache", "a.backend")

        identity = file.prepare("get")

        assert mode(file.path) == 0o600
        assert mode(tmp_path / "one") == mode(tmp_path / "one" / "two") == 0o700
        assert identity == file.identity()
        assert os.listdir(file.folder) == ["cache"]

    def test_what_is_there_is_kept(self, file: CacheFile) -> None:
        identity = file.prepare("get")
        Path(file.path).write_bytes(b"content")

        assert file.prepare("get") == identity
        assert Path(file.path).read_bytes() == b"content"

    def test_it_is_made_where_there_are_no_links(
        self, file: CacheFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(source: str, target: str) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)

        file.prepare("get")

        assert mode(file.path) == 0o600
        assert os.listdir(file.folder) == ["cache"]

    def test_what_a_killed_maker_left_is_no_hindrance(self, file: CacheFile) -> None:
        Path(f"{file.path}.new-{os.getpid()}").touch()

        file.prepare("get")

        assert os.listdir(file.folder) == ["cache"]

    def test_one_deleted_at_once_is_made_again(
        self, file: CacheFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        identity, check = file.identity, file.check

        def delete_and_check(operation: str) -> None:
            monkeypatch.setattr(file, "check", check)
            os.unlink(file.path)

        monkeypatch.setattr(file, "check", delete_and_check)

        assert file.prepare("get") == identity()

    def test_one_deleted_all_the_time_is_an_error(
        self, file: CacheFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(file, "check", lambda operation: os.unlink(file.path))

        with pytest.raises(BackendUnavailable, match="is deleted all the time"):
            file.prepare("get")

    def test_kin_of_a_file_that_is_gone_is_removed(self, file: CacheFile) -> None:
        Path(file.path + "-wal").write_bytes(b"of the old file")

        file.prepare("get")

        assert os.listdir(file.folder) == ["cache"]

    def test_sqlites_locks_outlive_a_look_at_the_file(self, file: CacheFile) -> None:
        file.prepare("get")
        holder = sqlite3.connect(file.path, isolation_level=None)
        holder.execute("CREATE TABLE t (x)")
        holder.execute("BEGIN EXCLUSIVE")

        file.prepare("get")
        file.check("get")

        code = (
            "import sqlite3, sys\n"
            "other = sqlite3.connect(sys.argv[1], timeout=0)\n"
            "other.execute('SELECT * FROM t')\n"
        )
        other = subprocess.run(
            [sys.executable, "-c", code, file.path],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "database is locked" in other.stderr
        holder.close()


class TestRefusing:
    def test_a_link_is_not_followed(self, file: CacheFile, tmp_path: Path) -> None:
        target = tmp_path / "target"
        target.write_bytes(b"precious")
        os.symlink(target, file.path)

        with pytest.raises(UnsafeFile, match=r"cache is a symbolic link.*name the"):
            file.prepare("get")
        with pytest.raises(UnsafeFile, match=r"cache is a symbolic link.*name the"):
            file.open("get")
        assert target.read_bytes() == b"precious"

    def test_a_link_to_nothing_makes_nothing(
        self, file: CacheFile, tmp_path: Path
    ) -> None:
        os.symlink(tmp_path / "target", file.path)

        with pytest.raises(UnsafeFile, match="symbolic link"):
            file.prepare("get")
        assert os.listdir(tmp_path) == ["cache"]

    def test_kin_that_is_a_link_is_refused(self, file: CacheFile) -> None:
        file.prepare("get")
        os.symlink("/dev/null", file.path + "-wal")

        with pytest.raises(UnsafeFile, match="cache-wal is a symbolic link"):
            file.prepare("get")

    @pytest.mark.parametrize("right", [stat.S_IWGRP, stat.S_IWOTH])
    def test_a_file_that_others_write_is_refused(
        self, file: CacheFile, right: int
    ) -> None:
        file.prepare("get")
        os.chmod(file.path, 0o600 | right)

        with pytest.raises(UnsafeFile, match=r"cache may be written .* chmod go-w"):
            file.check("get")
        with pytest.raises(UnsafeFile, match="cache may be written to by others"):
            file.open("get")

    def test_a_file_that_others_read_is_taken(self, file: CacheFile) -> None:
        file.prepare("get")
        os.chmod(file.path, 0o644)

        file.check("get")

    def test_a_file_of_another_user_is_refused(self, foreign_file: str) -> None:
        file = CacheFile(foreign_file, "a.backend")

        with pytest.raises(UnsafeFile, match=r"belongs to another user \(.*filename="):
            file.check("get")
        with pytest.raises(UnsafeFile, match=r"belongs to another user \(.*filename="):
            file.open("get", flags=os.O_RDONLY)

    def test_a_pipe_is_refused_at_once(self, file: CacheFile) -> None:
        os.mkfifo(file.path, 0o600)

        with pytest.raises(UnsafeFile, match=r"is not a regular file \(.*filename="):
            file.check("get")
        with pytest.raises(UnsafeFile, match=r"is not a regular file \(.*filename="):
            file.open("get")

    def test_a_folder_that_everybody_writes_is_refused(
        self, file: CacheFile, tmp_path: Path
    ) -> None:
        tmp_path.chmod(0o777)

        with pytest.raises(UnsafeFile, match=r"written to by everybody .* chmod o-w"):
            file.prepare("get")
        assert not list(tmp_path.iterdir())

    def test_a_folder_like_tmp_is_taken(self, file: CacheFile, tmp_path: Path) -> None:
        tmp_path.chmod(0o1777)

        file.prepare("get")

    def test_a_folder_that_is_the_users_own_link_is_taken(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir(0o700)
        os.symlink(tmp_path / "real", tmp_path / "link")

        CacheFile(tmp_path / "link" / "cache", "a.backend").prepare("get")

        assert os.listdir(tmp_path / "real") == ["cache"]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root makes others' links")
    def test_a_folder_that_is_anothers_link_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir(0o700)
        os.symlink(tmp_path / "real", tmp_path / "link")
        os.lchown(tmp_path / "link", NOBODY, NOBODY)

        with pytest.raises(
            UnsafeFile, match=r"link made by another user.*name the folder"
        ):
            CacheFile(tmp_path / "link" / "cache", "a.backend").prepare("get")

    def test_a_file_where_a_folder_should_be_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()

        with pytest.raises(UnsafeFile, match=r"file is not a folder \(.*filename="):
            CacheFile(tmp_path / "file" / "cache", "a.backend").prepare("get")
        with pytest.raises(BackendError, match="file"):
            CacheFile(tmp_path / "file" / "below" / "cache", "x").prepare("get")


class TestOpening:
    @pytest.mark.usefixtures("lax_umask")
    def test_a_new_file_is_its_owners_alone(self, file: CacheFile) -> None:
        descriptor = file.open("get", "-wal")

        os.close(descriptor)

        assert mode(file.path + "-wal") == 0o600

    def test_children_do_not_inherit_it(self, file: CacheFile) -> None:
        descriptor = file.open("get")

        is_inheritable = os.get_inheritable(descriptor)

        os.close(descriptor)
        assert not is_inheritable

    def test_an_error_of_the_system_names_the_file(self, tmp_path: Path) -> None:
        file = CacheFile(tmp_path / "missing" / "cache", "a.backend")

        with pytest.raises(BackendError) as caught:
            file.open("get")

        assert str(caught.value) == (
            f"a.backend failed at get(): {file.path}: No such file or directory"
        )
        assert isinstance(caught.value.__cause__, FileNotFoundError)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)

    @pytest.mark.parametrize(
        ("number", "remedy"),
        [
            (errno.EACCES, "choose another filename=, or let this user write to it"),
            (errno.EROFS, "choose another filename="),
            (errno.ENOSPC, "make room on the disk, or choose another filename="),
            (errno.EISDIR, "choose another filename="),
        ],
    )
    def test_a_refusal_of_the_system_says_what_to_do(
        self, file: CacheFile, number: int, remedy: str
    ) -> None:
        error = OSError(number, os.strerror(number))

        told = str(file.failure("put", error))

        assert told.endswith(f"{file.path}: {os.strerror(number)} ({remedy})")

    @pytest.mark.parametrize(
        ("text", "remedy"),
        [
            ("database or disk is full", "make room on the disk, or choose another"),
            ("attempt to write a readonly database", "choose another filename=, or "),
            ("unable to open database file", "choose another filename=, or let"),
        ],
    )
    def test_a_refusal_of_sqlite_says_what_to_do(
        self, file: CacheFile, text: str, remedy: str
    ) -> None:
        told = str(file.failure("put", sqlite3.OperationalError(text)))

        assert f"{file.path}: {text} ({remedy}" in told


class TestIdentity:
    def test_a_missing_file_has_none(self, file: CacheFile) -> None:
        assert file.identity() is None

    def test_another_file_of_the_same_name_has_another(self, file: CacheFile) -> None:
        before = file.prepare("get")
        os.rename(file.path, file.path + ".old")

        assert file.prepare("get") != before


class TestMovingAside:
    def test_it_goes_with_its_kin(self, file: CacheFile) -> None:
        Path(file.path).write_bytes(b"broken")
        Path(file.path + "-wal").write_bytes(b"kin")

        aside = file.move_aside("get")

        assert aside == file.path + ".broken-1"
        assert Path(aside).read_bytes() == b"broken"
        assert Path(aside + "-wal").read_bytes() == b"kin"
        assert len(os.listdir(file.folder)) == 2

    def test_nothing_is_overwritten_but_the_ninth(self, file: CacheFile) -> None:
        names = []
        for number in range(10):
            Path(file.path).write_text(str(number))
            names.append(os.path.basename(file.move_aside("get")))

        assert names == [f"cache.broken-{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 9)]
        assert Path(file.folder, "cache.broken-1").read_text() == "0"
        assert Path(file.folder, "cache.broken-9").read_text() == "9"

    def test_it_is_told_once_as_warning_and_event(self, file: CacheFile) -> None:
        events = []

        with pytest.warns(RuntimeWarning, match="cache is broken") as warned:
            file.tell_broken("get", "elsewhere", lambda *event: events.append(event), 1)

        assert len(warned) == 1
        assert warned[0].filename == __file__
        [(name, details)] = events
        assert name == "backend_error"
        assert (details["backend"], details["operation"]) == ("a.backend", "get")
        assert isinstance(details["error"], BackendError)
        assert "elsewhere" in str(details["error"])

    def test_nobody_need_listen(self, file: CacheFile) -> None:
        with pytest.warns(RuntimeWarning, match="begins afresh"):
            file.tell_broken("get", "elsewhere", None)


class TestGuard:
    def test_it_keeps_others_out(self, file: CacheFile) -> None:
        other = CacheFile(file.path, "a.backend")

        with (
            file.guard("get", 0.0),
            pytest.raises(BackendUnavailable, match=r"cache\.lock was held by others"),
            other.guard("put", 0.0),
        ):
            pass

        with other.guard("put", 0.0):
            pass

    def test_who_waits_gets_it(self, file: CacheFile) -> None:
        entered = []
        waits = threading.Event()

        def enter() -> None:
            waits.set()
            with file.guard("get", 30.0):
                entered.append("later")

        thread = threading.Thread(target=enter)
        with file.guard("get", 0.0):
            thread.start()
            waits.wait(30)
            entered.append("first")
        thread.join(30)

        assert entered == ["first", "later"]

    def test_a_killed_holder_holds_it_no_longer(self, file: CacheFile) -> None:
        def die_with_it() -> None:
            with file.guard("get", 0.0):
                os.kill(os.getpid(), signal.SIGKILL)

        assert in_child(die_with_it) == -signal.SIGKILL

        with file.guard("get", 0.0):
            pass

    def test_a_fork_does_not_prolong_it(self, file: CacheFile) -> None:
        with file.guard("get", 0.0):
            ours, theirs = os.pipe()
            child = os.fork()
            if not child:
                os.close(theirs)
                os.read(ours, 1)
                os._exit(0)

        with file.guard("get", 0.0):
            pass

        os.close(theirs)
        os.close(ours)
        os.waitpid(child, 0)

    def test_a_lock_file_that_was_deleted_keeps_nobody_out(
        self, file: CacheFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lock = files._lock

        def lock_late(descriptor: int) -> bool:
            # Between the opening and the locking somebody deletes the file.
            monkeypatch.setattr(files, "_lock", lock)
            os.unlink(file.path + ".lock")
            return lock(descriptor)

        monkeypatch.setattr(files, "_lock", lock_late)

        with file.guard("get", 30.0):
            assert os.path.exists(file.path + ".lock")
            with (
                pytest.raises(BackendUnavailable),
                CacheFile(file.path, "a.backend").guard("get", 0.0),
            ):
                pass

    def test_a_lock_file_of_another_user_is_refused(
        self, foreign_file: str, tmp_path: Path
    ) -> None:
        file = CacheFile(tmp_path / "cache", "a.backend")
        os.symlink(foreign_file, file.path + ".lock")

        with pytest.raises(UnsafeFile), file.guard("get", 0.0):
            pass
