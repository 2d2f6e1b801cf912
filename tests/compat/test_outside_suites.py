"""Suites of other releases: what is unpacked, and what is said where they lack."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import outside_suites
import pytest


def test_only_what_is_wanted_is_unpacked_and_nothing_beside_the_folder(
    tmp_path: Path,
) -> None:
    sdist = tmp_path / "release.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        for name in ("tests/test_it.py", "source.py", "../out.py", "tests/../../o.py"):
            archive.addfile(tarfile.TarInfo(f"release-1/{name}"), io.BytesIO())
    folder = outside_suites.emptied(tmp_path / "suite")

    outside_suites.unpack(sdist, folder, lambda path: path.name != "source.py")

    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(kept) == [sdist, folder / "tests" / "test_it.py"]


def test_what_an_earlier_run_left_is_gone(tmp_path: Path) -> None:
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "old.py").touch()

    folder = outside_suites.emptied(tmp_path / "suite")

    assert list(folder.iterdir()) == []


def test_who_cannot_download_is_told_how_to_give_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(command: Any, **how: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(subprocess, "run", fail)

    with pytest.raises(SystemExit, match=r"mako==1 cannot be downloaded; .* --suite"):
        outside_suites.download("mako==1", tmp_path, option="--suite")
