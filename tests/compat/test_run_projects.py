"""The run of the projects' tests: what it installs, and what it complains of."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from small_release import answer_of, pack

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROGRAM = Path(__file__).with_name("run_projects.py")
DOCS = Path(__file__).parents[2] / "docs"

# Builds a wheel by itself: nothing is downloaded to install it.
BUILD = """
import zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name, info = "{name}-1-py3-none-any.whl", "{name}-1.dist-info"
    with zipfile.ZipFile(folder + "/" + name, "w") as wheel:
        wheel.writestr("{name}.py", open("{name}.py").read())
        wheel.writestr(
            info + "/METADATA",
            "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1\\n"
            "Requires-Dist: dogpile.cache<2\\n",
        )
        wheel.writestr(
            info + "/WHEEL",
            "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        )
        wheel.writestr(info + "/RECORD", "")
    return name
"""

PYPROJECT = """
[build-system]
requires = []
build-backend = "build_it"
backend-path = ["building"]
"""

BUILT = {"pyproject.toml": PYPROJECT, "building/build_it.py": BUILD}

SHELF = {
    "shelf.py": "from dogpile.cache import make_region\nanswer = 42",
    "tests/__init__.py": "",
    "tests/test_it.py": """
import importlib.metadata
import shelf

class TestIt:
    def test_right(self):
        assert shelf.answer == 42
        assert importlib.metadata.version("shelf") == "1"

    def test_wrong(self):
        assert shelf.answer == 43
""",
}

# It imports what another project installs, and has a package of the same name.
ROOM = {
    "room.py": "import shelf",
    "tests/__init__.py": "",
    "tests/test_room.py": "import room\ndef test_room(): assert room.shelf.answer",
}

LIST = """
[kinds]
seed = "otherwise"
[[project]]
release = "shelf==1"
modules = ["tests"]
fewest = {fewest}
{more}
"""

NEEDY = """
[[project]]
release = "room==1"
modules = ["tests"]
fewest = 1
needs = ["shelf"]
"""

LISTED = """
[[difference]]
kind = "seed"
reason = "There is but one answer."
tests = ["shelf/tests/test_it.py::TestIt::{test}"]
"""


def run(
    folder: Path,
    more: str,
    *,
    fewest: int = 2,
    packed: Iterable[str] = ("shelf", "room"),
    names: Iterable[str] = (),
    ci: str = "",
) -> tuple[int, str]:
    """Run small projects against a list, and return code and answer."""
    for name in packed:
        files = {**{"shelf": SHELF, "room": ROOM}[name], **BUILT}
        texts = {path: text.replace("{name}", name) for path, text in files.items()}
        pack(folder / f"{name}-1.tar.gz", f"{name}-1", texts)
    listed = folder / "listed.toml"
    listed.write_text(LIST.format(fewest=fewest, more=more))
    return answer_of(
        PROGRAM,
        *("--folder", folder, "--sdists", folder, "--projects", listed, *names),
        CI=ci,
    )


def test_projects_are_installed_and_a_listed_failure_is_expected(
    tmp_path: Path,
) -> None:
    code, answer = run(tmp_path, NEEDY + LISTED.format(test="test_wrong"), ci="true")

    assert "2 tests, 1 fail, 1 listed, 0 not as expected" in answer
    assert "1 tests, 0 fail, 0 listed, 0 not as expected" in answer
    assert "2 of 2 projects, 0 not as expected" in answer
    assert code == 0


def test_a_failure_that_is_not_listed_fails_the_run(tmp_path: Path) -> None:
    code, answer = run(tmp_path, "")

    assert (
        "shelf==1: fails, and is not listed: shelf/tests/test_it.py::TestIt" in answer
    )
    assert code == 1


def test_a_listed_test_that_does_not_fail_fails_the_run(tmp_path: Path) -> None:
    names = ("test_wrong", "test_right", "test_gone")

    code, answer = run(tmp_path, "".join(LISTED.format(test=name) for name in names))

    assert "is listed, and passes: shelf/tests/test_it.py::TestIt::test_right" in answer
    assert "is listed, and did not run: shelf/tests/test_it.py" in answer
    assert code == 1


def test_what_is_left_out_does_not_run(tmp_path: Path) -> None:
    left_out = '[project.left_out]\n"tests/test_it.py::TestIt::test_wrong" = "Because"'

    code, answer = run(tmp_path, left_out, fewest=1)

    assert "1 tests, 0 fail, 0 listed, 0 not as expected" in answer
    assert code == 0


def test_a_run_of_too_few_tests_is_no_proof(tmp_path: Path) -> None:
    code, answer = run(tmp_path, LISTED.format(test="test_wrong"), fewest=3)

    assert "2 tests ran, at least 3 must" in answer
    assert code == 1


@pytest.mark.parametrize(("ci", "expected"), [("", 0), ("true", 1)])
def test_what_cannot_be_installed_is_skipped_but_not_in_ci(
    tmp_path: Path, ci: str, expected: int
) -> None:
    (tmp_path / "shelf-1.tar.gz").write_bytes(b"no archive")

    code, answer = run(tmp_path, NEEDY, packed=["room"], ci=ci)

    assert "skipped: shelf==1 cannot be installed" in answer
    assert "skipped: room==1 needs shelf" in answer
    assert "0 of 2 projects, 0 not as expected" in answer
    assert ("none may be skipped" in answer) == bool(ci)
    assert code == expected


def test_a_project_is_chosen_with_those_that_it_needs(tmp_path: Path) -> None:
    listed = NEEDY + LISTED.format(test="test_wrong")

    code, answer = run(tmp_path, listed, names=["room"])

    assert "2 of 2 projects, 0 not as expected" in answer
    assert code == 0


def test_a_project_that_is_not_there_is_told(tmp_path: Path) -> None:
    code, answer = run(tmp_path, "", names=["cupboard"])

    assert "no such project: cupboard" in answer
    assert code == 1


@pytest.mark.parametrize(
    ("differences", "complaint"),
    [
        (
            LISTED.replace("There is but one answer.", " "),
            "a reason and a kind are needed",
        ),
        (2 * LISTED.format(test="test_wrong"), "TestIt::test_wrong is listed twice"),
        (LISTED.replace("shelf/", "cupboard/"), "is of no project"),
    ],
)
def test_a_list_that_is_wrong_is_refused(
    tmp_path: Path, differences: str, complaint: str
) -> None:
    code, answer = run(tmp_path, differences, packed=[])

    assert complaint in answer
    assert code == 1


def test_the_page_tells_of_the_projects_and_of_no_other() -> None:
    page = (DOCS / "migrating.rst").read_text(encoding="utf-8")
    listed = tomllib.loads((DOCS / "compat_projects.toml").read_text(encoding="utf-8"))

    told = re.findall(r"\* - ``(\S+==\S+)``\n.*\n     - (\d+)\n", page)

    assert told == [(p["release"], str(p["fewest"])) for p in listed["project"]]
