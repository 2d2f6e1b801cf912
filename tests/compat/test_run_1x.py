"""The run of the 1.x suite: what it unpacks, and what it complains of."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_release import answer_of, pack

PROGRAM = Path(__file__).with_name("run_1x.py")

SUITE = {
    "dogpile/cache/region.py": "raise AssertionError('not to be unpacked')",
    "dogpile/testing/__init__.py": "answer = 42",
    "tests/__init__.py": "",
    "tests/test_it.py": """
import dogpile.cache.legacy
from dogpile.testing import answer

class ItTest:
    def test_right(self):
        assert answer == 42

    def test_wrong(self):
        assert answer == 43
""",
    "tests/test_broken.py": "import dogpile.no_such_room",
}

LISTED = """
[[difference]]
kind = "seed"
reason = "There is but one answer."
tests = ["tests/test_it.py::ItTest::{test}"]
"""


def run(
    folder: Path, differences: str, *, fewest: int = 2, module: str = "test_it"
) -> tuple[int, str]:
    """Run a small suite against a list, and return code and answer."""
    sdist = folder / "release.tar.gz"
    pack(sdist, "release-1", SUITE)
    listed = folder / "listed.toml"
    listed.write_text(
        f'modules = ["tests/{module}.py"]\nfewest = {fewest}\n'
        f'{differences}\n[kinds]\nseed = "otherwise"\n'
    )
    return answer_of(
        PROGRAM,
        *("--workers", "0", "--folder", folder),
        *("--suite", sdist, "--differences", listed),
    )


def test_a_listed_failure_is_expected(tmp_path: Path) -> None:
    code, answer = run(tmp_path, LISTED.format(test="test_wrong"))

    assert "2 tests, 1 fail, 1 listed, 0 not as expected" in answer
    assert code == 0


def test_a_failure_that_is_not_listed_fails_the_run(tmp_path: Path) -> None:
    code, answer = run(tmp_path, "")

    assert "not listed: tests/test_it.py::ItTest::test_wrong: AssertionError" in answer
    assert code == 1


@pytest.mark.parametrize(
    ("test", "complaint"), [("test_right", "passes"), ("test_gone", "did not run")]
)
def test_a_listed_test_that_does_not_fail_fails_the_run(
    tmp_path: Path, test: str, complaint: str
) -> None:
    listed = LISTED.format(test="test_wrong") + LISTED.format(test=test)

    code, answer = run(tmp_path, listed)

    assert f"is listed, and {complaint}: tests/test_it.py::ItTest::{test}" in answer
    assert code == 1


def test_a_module_that_cannot_be_imported_fails_the_run(tmp_path: Path) -> None:
    code, answer = run(tmp_path, "", fewest=0, module="test_broken")

    assert "not listed: tests/test_broken.py" in answer
    assert code == 1


def test_a_run_of_too_few_tests_is_no_proof(tmp_path: Path) -> None:
    code, answer = run(tmp_path, LISTED.format(test="test_wrong"), fewest=3)

    assert "2 tests ran, at least 3 must" in answer
    assert code == 1


def test_a_difference_needs_a_reason(tmp_path: Path) -> None:
    code, answer = run(tmp_path, LISTED.replace("There is but one answer.", " "))

    assert "a reason and a kind are needed" in answer
    assert code == 1


def test_the_same_test_is_listed_once(tmp_path: Path) -> None:
    code, answer = run(tmp_path, 2 * LISTED.format(test="test_wrong"))

    assert "tests/test_it.py::ItTest::test_wrong is listed twice" in answer
    assert code == 1
