"""Run Mako's own tests of caches with the installed plugin.

    python tests/integrations/run_mako.py --folder FOLDER [--sdist SDIST]

The sdist of the Mako that is installed is downloaded, and its
``test/test_cache.py`` is unpacked. Every test in it that is about dogpile.cache
must pass, and there must be 23 of them: one that is skipped or has gone away is
as bad as one that fails.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path, PurePosixPath

#: The class whose tests use the implementation "dogpile.cache".
TESTS = "DogpileCacheTest"
EXPECTED = 23
# What its tests are made of: Mako reads a setting from the second.
WANTED = {"test/test_cache.py", "setup.cfg"}


def download(folder: Path) -> Path:
    """Fetch the sdist of the Mako that is installed.

    :raises SystemExit: it cannot be had.
    """
    release = f"mako=={importlib.metadata.version('mako')}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--no-binary", ":all:", "--dest", str(folder), release],
        check=False,
        stdin=subprocess.DEVNULL,
    )
    found = sorted(folder.glob("[Mm]ako-*.tar.gz"))
    if done.returncode or not found:
        sys.exit(f"the sdist of {release} cannot be downloaded; give it by --sdist")
    return found[0]


def unpack(sdist: Path, folder: Path) -> None:
    """Unpack the tests, and no module that could be imported for Mako's own."""
    with tarfile.open(sdist) as archive:
        for member in archive:
            path = PurePosixPath(*PurePosixPath(member.name).parts[1:])
            if not member.isfile() or str(path) not in WANTED:
                continue
            content = archive.extractfile(member)
            if content is not None:
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())


def run_tests(folder: Path) -> dict[str, str]:
    """Run the tests, and return how each of them ended."""
    report = folder / "report.xml"
    own = [f"--rootdir={folder}", "-c", os.devnull, "-p", "no:cacheprovider"]
    own += ["-o", "python_classes=*Test", "-p", "no:warnings", "--tb=native", "-q"]
    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", *own),
            *(f"--junitxml={report}", f"test/test_cache.py::{TESTS}"),
        ],
        cwd=folder,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
    )
    if not report.exists():
        sys.exit("pytest ended without a report")
    return {
        case.attrib["name"]: case[0].tag if len(case) else "passed"
        for case in ElementTree.parse(report).iter("testcase")
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the tests, and say how many passed.

    :return: 1 where it is not all of them, else 0.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="to unpack into")
    parser.add_argument("--sdist", type=Path, help="where it is at hand")
    known = parser.parse_args(arguments)
    folder = known.folder.resolve() / "suite-mako"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    unpack(known.sdist or download(folder), folder)
    ended = run_tests(folder)
    for name, how in ended.items():
        if how != "passed":
            print(f"{name}: {how}")
    passed = list(ended.values()).count("passed")
    print(f"Mako's suite: {passed} of {EXPECTED} tests pass")
    return int(passed != EXPECTED or len(ended) != EXPECTED)


if __name__ == "__main__":
    sys.exit(main())
