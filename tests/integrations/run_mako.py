"""Run Mako's own tests of caches with the installed plugin.

    python tests/integrations/run_mako.py --folder FOLDER [--sdist SDIST]

The sdist of the Mako that is installed is downloaded, and its
``test/test_cache.py`` is unpacked. Every test in it that is about dogpile.cache
must pass, and there must be 23 of them: one that is skipped or has gone away is
as bad as one that fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import outside_suites

#: The class whose tests use the implementation "dogpile.cache".
TESTS = "DogpileCacheTest"
EXPECTED = 23
# What its tests are made of, and no module that could be imported for Mako's own:
# Mako reads a setting from the second.
WANTED = {"test/test_cache.py", "setup.cfg"}


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
    folder = outside_suites.emptied(known.folder / "suite-mako")
    release = outside_suites.installed("mako")
    sdist = known.sdist or outside_suites.download(release, folder)
    outside_suites.unpack(sdist, folder, lambda path: str(path) in WANTED)
    ended = run_tests(folder)
    for name, how in ended.items():
        if how != "passed":
            print(f"{name}: {how}")
    passed = list(ended.values()).count("passed")
    print(f"Mako's suite: {passed} of {EXPECTED} tests pass")
    return int(passed != EXPECTED or len(ended) != EXPECTED)


if __name__ == "__main__":
    sys.exit(main())
