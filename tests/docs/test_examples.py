"""Every program in ``examples/`` runs to its end, and prints what it promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
APPLICATIONS = sorted(
    path.name
    for path in EXAMPLES.iterdir()
    if path.is_dir() and not path.name.startswith((".", "_"))
)
#: What is given to a program, so that it is done soon.
ARGUMENTS = {"quickstart.py": ["--processes", "2", "--threads", "2"]}


def run(name: str, folder: Path) -> str:
    """Run an example as a user does, and return what it prints."""
    homes = dict.fromkeys(("HOME", "LOCALAPPDATA", "XDG_CACHE_HOME"), str(folder))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *ARGUMENTS.get(name, [])],
        cwd=folder,
        env={**os.environ, **homes, "PYTHONIOENCODING": "utf-8"},
        text=True,
        encoding="utf-8",
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.parametrize(
    "name", sorted({path.name for path in EXAMPLES.glob("*.py")} - {"quickstart.py"})
)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    assert run(name, tmp_path)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_application_is_started_by_one_command_of_its_page(name: str) -> None:
    pages = [page.read_text(encoding="utf-8") for page in ROOT.glob("docs/*.rst")]
    settings = ConfigParser(interpolation=None)
    settings.read(ROOT / "tox.ini", encoding="utf-8")

    address = re.search(r"http://\S+/", settings[f"testenv:{name}"]["description"])

    assert address is not None
    assert [
        page
        for page in pages
        if f"    $ tox -e {name}\n" in page
        and address[0] in page
        and f"image:: img/{name}.png" in page
    ]
    # What starts is tested in tests/integrations, each in its framework.
    assert f"examples/{name}/" in settings[f"testenv:{name}"]["commands"]


@pytest.mark.slow
def test_the_quickstart_shows_what_it_is_about(tmp_path: Path) -> None:
    for _ in range(2):
        told = run("quickstart.py", tmp_path)

        titled = dict(re.findall(r"^(\w.*)\n((?:    .*\n)+)", told, re.MULTILINE))
        ran = [re.search(r"ran +(.*)", text) for text in titled.values()]
        assert [found and found[1] for found in ran] == [
            "4 times",  # without a cache
            "once",  # empty
            "0 times",  # full
            "once",  # expired, and refreshed
            "once",  # expired, and the creator fails
        ]
        expired, failing = list(titled.values())[3:]
        assert re.search("old report +4 of 4", expired)
        assert re.search("old report +4 of 4", failing)
        [file] = re.findall(r"It lies in (.*) \(", told)
        assert Path(file).is_file()


def test_the_quickstart_says_what_is_wrong(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "quickstart.py"), "--threads", "none"],
        cwd=tmp_path,
        text=True,
        check=False,
        capture_output=True,
    )

    assert done.returncode == 2
    assert "--threads: a number from 1 on, not 'none'" in done.stderr
