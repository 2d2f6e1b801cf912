"""Run the tests of projects that depend on 1.x against the installed package.

    python tests/compat/run_projects.py --folder FOLDER [PROJECT ...]

``docs/compat_projects.toml`` lists the projects. The sdist of each is downloaded, and
installed without what it depends on: this package is the one that it finds. What
fails of the tests that are in it is compared with the differences of that file: a
failure that is not listed fails the run, and so does a listed test that passes. A
project that this Python cannot have is skipped, which fails the run where ``CI`` is
set in the environment.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import outside_suites  # noqa: E402 - in the folder above
import servers  # noqa: E402
from run_1x import Answer, Differences, compare  # noqa: E402 - beside this file

PROJECTS = HERE.parents[1] / "docs" / "compat_projects.toml"


@dataclass(frozen=True)
class Project:
    """What ``docs/compat_projects.toml`` says of a project.

    :param release: as in ``"oslo.cache==4.3.0"``.
    :param modules: what to run, as paths in its sdist.
    :param fewest: how many tests must have run at least.
    :param needs: other projects of the file, which it imports.
    :param servers: whether its tests need servers.
    :param left_out: why tests are not run, by the beginning of their names.
    :param reasons: why a test fails, by the project's name and its name.
    """

    release: str
    modules: list[str]
    fewest: int
    needs: list[str] = field(default_factory=list)
    servers: bool = False
    left_out: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return what it is called, without the number."""
        return self.release.partition("==")[0]


def read(path: Path) -> list[Project]:
    """Read and check the file.

    :raises SystemExit: a difference is listed twice, without a reason, or for a
        project that is not there.
    """
    content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    projects = {each.name: each for each in (Project(**p) for p in content["project"])}
    for difference in content.get("difference", []):
        reason = difference.get("reason", "").strip()
        if not reason or difference.get("kind") not in content["kinds"]:
            sys.exit(f"{path.name}: a reason and a kind are needed: {difference}")
        for test in difference["tests"]:
            project = projects.get(test.partition("/")[0])
            if project is None:
                sys.exit(f"{path.name}: {test} is of no project")
            if test in project.reasons:
                sys.exit(f"{path.name}: {test} is listed twice")
            project.reasons[test] = reason
    return list(projects.values())


def chosen(projects: list[Project], names: list[str]) -> list[Project]:
    """Return the projects of these names and those that they need; all without names.

    :raises SystemExit: there is no such project.
    """
    by_name = {project.name: project for project in projects}
    unknown = sorted(set(names) - by_name.keys())
    if unknown:
        sys.exit(f"no such project: {', '.join(unknown)}")
    wanted = {*names, *(need for name in names for need in by_name[name].needs)}
    return [each for each in projects if not names or each.name in wanted]


def install(project: Project, folder: Path, sdists: Path | None) -> str:
    """Unpack and install a project; return why that cannot be, or nothing.

    :param folder: the project's own.
    :param sdists: where the sdists are, if they are at hand.
    """
    folder = outside_suites.emptied(folder)
    try:
        sdist = find(project.release, sdists) or outside_suites.download(
            project.release, folder, option="--sdists"
        )
    except SystemExit as error:
        return str(error)
    shutil.copyfile(HERE / "conftest_1x.py", folder / "answering.py")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--target", str(folder / "site"), str(sdist)],
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        return f"{project.release} cannot be installed"
    outside_suites.unpack(sdist, folder / project.name, lambda path: True)
    return ""


def find(release: str, sdists: Path | None) -> Path | None:
    """Return the sdist of a release, where a folder of them is at hand."""
    name, _, number = release.partition("==")
    return sdists and sdists / f"{name.replace('.', '_')}-{number}.tar.gz"


def run(
    project: Project, names: list[str], folder: Path, sites: list[Path]
) -> tuple[Answer, str]:
    """Run tests of a project; return how they ended, and what was printed.

    :param names: modules or single tests, as they are named in the sdist.
    :param folder: the project's own.
    :param sites: where the projects are installed.
    """
    answer = folder / "answer.json"
    answer.unlink(missing_ok=True)
    own = [f"--rootdir={folder}", "-c", os.devnull, "-p", "no:cacheprovider"]
    own += ["-p", "answering", "-p", "no:warnings", "--tb=short", "-q"]
    own += [f"--deselect={project.name}/{test}" for test in project.left_out]
    found = os.pathsep.join(map(str, [folder, *sites]))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *own, *names],
        cwd=folder / project.name,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTEST_ADDOPTS": "", "PYTHONPATH": found},
    )
    if not answer.exists():
        return Answer({project.name: "pytest ended without an answer"}, ()), done.stdout
    return Answer(**json.loads(answer.read_text(encoding="utf-8"))), done.stdout


def check(project: Project, folder: Path, sites: list[Path]) -> list[str]:
    """Run a project's tests, print how they ended, return what was not expected.

    A failure that is not listed has a second try: some of the suites measure, and
    may fail by their own clocks on a busy machine.
    """
    answer, told = run(project, project.modules, folder, sites)
    unlisted = [test for test in answer.failed if test not in project.reasons]
    again = [test.partition("/")[2] for test in unlisted if "::" in test]
    if again:
        second, told_then = run(project, again, folder, sites)
        passed = set(unlisted) & set(second.ran) - second.failed.keys()
        failed = {t: line for t, line in answer.failed.items() if t not in passed}
        answer, told = Answer(failed, answer.ran), told + told_then
    differences = Differences(project.modules, project.fewest, project.reasons)
    complaints = compare(answer, differences)
    print(
        f"\n{project.release}\n{told}{len(set(answer.ran))} tests, "
        f"{len(answer.failed)} fail, {len(project.reasons)} listed, "
        f"{len(complaints)} not as expected",
        flush=True,
    )
    return [f"{project.release}: {complaint}" for complaint in complaints]


@contextlib.contextmanager
def running(projects: list[Project]) -> Iterator[dict[str, str]]:
    """Start servers where a project needs them; yield how its tests find them."""
    if not any(project.servers for project in projects):
        yield {}
        return
    with contextlib.ExitStack() as stack:
        program = servers.find_redis()
        memcached = servers.memcached_like(servers.find_memcached())
        redis = servers.redis_like(program)
        sentinel = servers.Sentinel(program, service_name="pifpaf")
        for server in (memcached, redis, sentinel):
            stack.callback(server.stop)
            server.start()
        yield {
            "OSLO_CACHE_TEST_MEMCACHED_PORT": str(memcached.port),
            "OSLO_CACHE_TEST_REDIS_PORT": str(redis.port),
            "OSLO_CACHE_TEST_REDIS_SENTINEL_PORT": str(sentinel.port),
        }


def without(projects: list[Project], missing: dict[str, str]) -> list[Project]:
    """Return the projects that can run, and note in ``missing`` why others cannot.

    :param projects: each one after those that it needs.
    """
    for project in projects:
        for need in project.needs:
            if need in missing:
                missing.setdefault(project.name, f"{project.release} needs {need}")
    return [project for project in projects if project.name not in missing]


def main(arguments: list[str] | None = None) -> int:
    """Run the tests of the projects, and say what was not expected.

    :return: 1 where something was not, else 0.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="to unpack into")
    parser.add_argument("--sdists", type=Path, help="where they are, if at hand")
    parser.add_argument("--projects", type=Path, default=PROJECTS, help="the list")
    parser.add_argument("names", nargs="*", help="of projects: those alone")
    asked = parser.parse_args(arguments)
    top = outside_suites.emptied(asked.folder / "projects")
    projects = chosen(read(asked.projects), asked.names)
    # One pip and one pytest for each processor of a small machine.
    with ThreadPoolExecutor(2) as pool:
        folders = [top / project.name for project in projects]
        whys = pool.map(partial(install, sdists=asked.sdists), projects, folders)
        missing = {p.name: why for p, why in zip(projects, whys, strict=True) if why}
        able = without(projects, missing)
        folders = [top / project.name for project in able]
        sites = [folder / "site" for folder in folders]
        with running(able) as variables:
            os.environ.update(variables)
            found = pool.map(partial(check, sites=sites), able, folders)
            complaints = [complaint for each in found for complaint in each]
    for line in [*(f"skipped: {why}" for why in missing.values()), *complaints]:
        print(line)
    print(f"{len(able)} of {len(projects)} projects, {len(complaints)} not as expected")
    if missing and os.environ.get("CI"):
        print("CI is set: none may be skipped")
        return 1
    return int(bool(complaints))


if __name__ == "__main__":
    sys.exit(main())
