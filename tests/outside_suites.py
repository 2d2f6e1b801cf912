"""The test-suites of other releases: fetched, and unpacked as far as is wanted."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath


def installed(package: str) -> str:
    """Return the release of a package that is installed, as pip names it."""
    return f"{package}=={importlib.metadata.version(package)}"


def emptied(folder: Path) -> Path:
    """Return a folder's full path; it is made, and nothing is in it."""
    folder = folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def download(release: str, folder: Path, *, option: str = "--sdist") -> Path:
    """Fetch the sdist of a release into an empty folder.

    :param release: as in ``"mako==1.3.10"``.
    :param option: by which whoever cannot download gives the file.
    :raises SystemExit: it cannot be had.
    """
    name = release.partition("==")[0]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--no-binary", name, "--dest", str(folder), release],
        check=False,
        stdin=subprocess.DEVNULL,
    )
    found = sorted(folder.glob("*.tar.gz"))
    if done.returncode or not found:
        sys.exit(f"the sdist of {release} cannot be downloaded; give it by {option}")
    return found[0]


def unpack(
    sdist: Path, folder: Path, is_wanted: Callable[[PurePosixPath], bool]
) -> None:
    """Unpack files of a release into a folder, and none beside it.

    :param is_wanted: of a path in the release, without the release's own folder.
    """
    with tarfile.open(sdist) as archive:
        for member in archive:
            path = PurePosixPath(*PurePosixPath(member.name).parts[1:])
            if ".." in path.parts or path.is_absolute() or not is_wanted(path):
                continue
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
