"""Run the test-suite of the 1.x release against the installed package.

    python tests/compat/run_1x.py --folder FOLDER [--suite SDIST] [PYTEST OPTIONS]

The release's sdist is downloaded; its ``tests`` and its ``dogpile/testing`` are
unpacked, nothing else of it. What fails is compared with the differences that
``docs/compat_1x.toml`` lists, each with its reason: a failure that is not listed
fails the run, and so does a listed test that passes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import outside_suites

RELEASE = "dogpile.cache==1.5.0"
HERE = Path(__file__).resolve().parent
DIFFERENCES = HERE.parents[1] / "docs" / "compat_1x.toml"


@dataclass(frozen=True)
class Differences:
    """What ``docs/compat_1x.toml`` says.

    :param modules: the modules to run, as paths in the release.
    :param fewest: how many tests must have run at least.
    :param reasons: why a test fails, by its name.
    """

    modules: list[str]
    fewest: int
    reasons: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Differences:
        """Read and check the file.

        :raises SystemExit: a difference is listed twice, or without a reason.
        """
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        reasons: dict[str, str] = {}
        for difference in content.get("difference", []):
            reason = difference.get("reason", "").strip()
            if not reason or difference.get("kind") not in content["kinds"]:
                sys.exit(f"{path.name}: a reason and a kind are needed: {difference}")
            for test in difference["tests"]:
                if test in reasons:
                    sys.exit(f"{path.name}: {test} is listed twice")
                reasons[test] = reason
        return cls(content["modules"], content["fewest"], reasons)


@dataclass(frozen=True)
class Answer:
    """How a run ended.

    :param failed: the last line of each failure, by the test's name.
    :param ran: the names of all tests that ran.
    """

    failed: Mapping[str, str]
    ran: Iterable[str]


def download(folder: Path) -> Path:
    """Fetch the sdist of the release.

    :raises SystemExit: it cannot be had.
    """
    return outside_suites.download(RELEASE, folder, option="--suite")


def unpack(sdist: Path, folder: Path) -> None:
    """Unpack the release's tests and its ``dogpile/testing``, with our conftest."""
    outside_suites.unpack(sdist, folder, is_wanted)
    shutil.copyfile(HERE / "conftest_1x.py", folder / "conftest.py")


def is_wanted(path: PurePosixPath) -> bool:
    """Return whether a file of the sdist takes part."""
    return path.parts[:1] == ("tests",) or path.parts[:2] == ("dogpile", "testing")


def run_tests(folder: Path, names: list[str], options: list[str]) -> Answer:
    """Run some tests, and return how they ended.

    :param names: test modules or single tests.
    """
    answer = folder / "answer.json"
    answer.unlink(missing_ok=True)
    own = [f"--rootdir={folder}", "-c", os.devnull, "-p", "no:cacheprovider"]
    # The release's own settings.
    own += ["-o", "python_classes=*Test", "-p", "no:logging", "-p", "no:warnings"]
    own += ["--tb=native", "-q"]
    subprocess.run(
        [sys.executable, "-m", "pytest", *own, *options, *names],
        cwd=folder,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
    )
    if not answer.exists():
        sys.exit("pytest ended without an answer")
    return Answer(**json.loads(answer.read_text(encoding="utf-8")))


def compare(answer: Answer, differences: Differences) -> list[str]:
    """Return what the list and the run do not agree on."""
    reasons, ran = differences.reasons, set(answer.ran)
    complaints = [
        f"fails, and is not listed: {test}: {line}"
        for test, line in answer.failed.items()
        if test not in reasons
    ]
    complaints += [
        f"is listed, and {'passes' if test in ran else 'did not run'}: {test}"
        for test in reasons
        if test not in answer.failed
    ]
    if len(ran) < differences.fewest:
        complaints.append(f"{len(ran)} tests ran, at least {differences.fewest} must")
    return complaints


def rerun(folder: Path, answer: Answer, differences: Differences) -> Answer:
    """Give each unlisted failure a second try, one test after the other.

    The suite sleeps and measures: on a busy machine a test of it may fail by
    its own clock.
    """
    again = [
        test
        for test in answer.failed
        if test not in differences.reasons and "::" in test
    ]
    if not again:
        return answer
    second = run_tests(folder, again, ["-p", "no:xdist"])
    failed = {
        test: second.failed.get(test, line)
        for test, line in answer.failed.items()
        if test not in again or test in second.failed
    }
    return Answer(failed, answer.ran)


def main(arguments: list[str] | None = None) -> int:
    """Run the suite, and say what was not expected.

    :return: 1 where something was not, else 0.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="to unpack into")
    parser.add_argument("--suite", type=Path, help="the sdist, where it is at hand")
    parser.add_argument("--differences", type=Path, default=DIFFERENCES)
    # The suite mostly sleeps: more workers than processors pay.
    parser.add_argument("--workers", type=int, default=4, help="0: without xdist")
    known, options = parser.parse_known_args(arguments)
    folder = outside_suites.emptied(known.folder / "suite-1x")
    differences = Differences.read(known.differences)
    unpack(known.suite or download(folder), folder)
    if known.workers:
        options = ["-n", str(known.workers), "--dist", "loadgroup", *options]
    answer = run_tests(folder, differences.modules, options)
    answer = rerun(folder, answer, differences)
    complaints = compare(answer, differences)
    for complaint in complaints:
        print(complaint)
    print(
        f"1.x suite: {len(set(answer.ran))} tests, {len(answer.failed)} fail, "
        f"{len(differences.reasons)} listed, {len(complaints)} not as expected"
    )
    return int(bool(complaints))


if __name__ == "__main__":
    sys.exit(main())
