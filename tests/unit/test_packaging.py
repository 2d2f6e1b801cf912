"""What is installed under which name, and what importing it costs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dogpile
import dogpile.cache.legacy
import dogpile.cache.util
import dogpile.lock
import dogpile.util
from dogpile.cache import registry
from dogpile.util import compat, readwrite_lock

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
SETTINGS: dict[str, Any] = tomllib.loads(
    (ROOT / "pyproject.toml").read_text(encoding="utf-8")
)
PROJECT = SETTINGS["project"]
SETUPTOOLS = SETTINGS["tool"]["setuptools"]

# From the top, so that the longest prefix is found first.
FOLDERS = sorted(SETUPTOOLS["package-dir"].items(), key=lambda item: -len(item[1]))


def package_of(folder: Path) -> str:
    """Return the name under which a folder is installed."""
    path = folder.relative_to(ROOT).as_posix()
    for package, base in FOLDERS:
        if path == base or path.startswith(base + "/"):
            return str(package + path[len(base) :].replace("/", "."))
    raise AssertionError(f"{path} lies in no package")


def folders_with_modules() -> set[Path]:
    return {
        module.parent
        for top in ("dogpile_cache", "integrations")
        for module in (ROOT / top).rglob("*.py")
    }


class TestPackages:
    def test_every_folder_is_listed_by_its_name(self) -> None:
        named = {package_of(folder) for folder in folders_with_modules()}

        assert named == set(SETUPTOOLS["packages"])

    def test_every_folder_has_an_init(self) -> None:
        without = {
            folder
            for folder in folders_with_modules()
            if not (folder / "__init__.py").is_file()
        }

        assert without == set()

    @pytest.mark.parametrize("package", ["dogpile", "dogpile.cache"])
    def test_type_checkers_find_the_marker(self, package: str) -> None:
        [folder] = list(importlib.import_module(package).__path__)

        assert (Path(folder) / "py.typed").is_file()
        assert SETUPTOOLS["package-data"][package] == ["py.typed"]

    def test_the_integrations_are_found_below_the_cache(self) -> None:
        spec = importlib.util.find_spec("dogpile.cache.integrations")

        assert spec is not None


class TestMetadata:
    def test_the_version_is_the_one_that_is_installed(self) -> None:
        assert dogpile.__version__ == PROJECT["version"]

    def test_the_core_needs_nothing(self) -> None:
        assert PROJECT["dependencies"] == []
        assert all(
            "extra ==" in requirement
            for requirement in importlib.metadata.requires("dogpile.cache") or ()
        )

    def test_the_extras_are_those_that_the_errors_name(self) -> None:
        assert set(PROJECT["optional-dependencies"]) == {
            *("pylibmc", "pymemcache", "bmemcached", "memcached", "redis", "valkey"),
            *("mako", "flask", "django"),
            *("msgpack", "zstd", "lz4", "crypto"),
            *("prometheus", "otel", "cli"),
            "all",
        }

    def test_all_brings_every_extra(self) -> None:
        extras = set(PROJECT["optional-dependencies"])
        together = " ".join(PROJECT["optional-dependencies"]["all"])

        brought = set(
            re.findall(r"[a-z0-9]+", " ".join(re.findall(r"\[(.*?)]", together)))
        )

        assert brought == extras - {"all"}

    def test_bounds_are_lower_bounds(self) -> None:
        requirements = [
            requirement.partition(";")[0].strip()
            for extra, requirements in PROJECT["optional-dependencies"].items()
            for requirement in requirements
            if extra != "all"
        ]

        odd = [
            each for each in requirements if not re.fullmatch(r"[\w.-]+>=[\d.]+", each)
        ]

        assert odd == []

    def test_every_python_that_is_named_is_taken(self) -> None:
        named = re.findall(r"3\.\d+", " ".join(PROJECT["classifiers"]))

        assert PROJECT["requires-python"] == f">={named[0]}"
        assert named == [f"3.{minor}" for minor in range(10, 15)]

    @pytest.mark.parametrize(
        ("path", "registered"),
        [
            (
                "integrations/mako.py",
                PROJECT.get("entry-points", {}).get("mako.cache", {}),
            ),
            ("dogpile_cache/cli/__init__.py", PROJECT.get("scripts", {})),
        ],
    )
    def test_an_entry_point_is_there_when_its_module_is(
        self, path: str, registered: dict[str, str]
    ) -> None:
        assert bool(registered) == (ROOT / path).exists()

    def test_every_entry_point_leads_to_a_module(self) -> None:
        groups = [PROJECT.get("scripts", {}), *PROJECT.get("entry-points", {}).values()]
        places = [place for group in groups for place in group.values()]

        lost = [
            place
            for place in places
            if importlib.util.find_spec(place.partition(":")[0]) is None
        ]

        assert lost == []


class TestOldPaths:
    @pytest.mark.parametrize("name", ["Lock", "NeedRegenerationException"])
    def test_the_top_package_has_the_lock(self, name: str) -> None:
        from dogpile.cache import lock

        assert getattr(dogpile, name) is getattr(lock, name)
        assert getattr(dogpile.lock, name) is getattr(lock, name)

    def test_the_top_package_shows_its_names(self) -> None:
        assert {"Lock", "NeedRegenerationException", "__version__"} <= set(dir(dogpile))

    def test_the_top_package_refuses_other_names(self) -> None:
        with pytest.raises(AttributeError, match="'dogpile' has no attribute 'Beaker'"):
            dogpile.Beaker  # type: ignore[attr-defined]  # noqa: B018 - not there

    @pytest.mark.parametrize("name", dogpile.util.__all__)
    def test_the_tools_are_found_in_dogpile_util(self, name: str) -> None:
        assert getattr(dogpile.util, name) is getattr(dogpile.cache.legacy, name)

    def test_the_tools_are_found_in_their_modules(self) -> None:
        assert readwrite_lock.ReadWriteMutex is dogpile.util.ReadWriteMutex
        assert compat.inspect_getargspec(lambda key: key).args == ["key"]

    @pytest.mark.parametrize(
        "name",
        [
            *("function_key_generator", "function_multi_key_generator"),
            *("kwarg_function_key_generator", "sha1_mangle_key"),
            *("length_conditional_mangler", "repr_obj", "coerce_string_conf"),
            *("KeyReentrantMutex", "memoized_property", "PluginLoader", "to_list"),
        ],
    )
    def test_the_cache_has_its_tools_in_util(self, name: str) -> None:
        assert callable(getattr(dogpile.cache.util, name))
        assert name in dogpile.cache.util.__all__


HEAVY = [
    *("asyncio", "dbm", "importlib.metadata", "sqlite3", "ssl"),
    *("pylibmc", "pymemcache", "bmemcached", "memcache", "redis", "valkey"),
    *("mako", "flask", "django", "jinja2", "pytest", "hypothesis"),
    *("msgpack", "lz4", "backports", "cryptography"),
    *("prometheus_client", "opentelemetry", "rich"),
]


@pytest.mark.parametrize("statement", ["import dogpile.cache", "import dogpile"])
def test_importing_brings_nothing_heavy(statement: str) -> None:
    program = (
        f"import sys; before = set(sys.modules); {statement}; "
        f"print(*sorted(set({HEAVY}) & (set(sys.modules) - before)))"
    )

    # -I: neither the folder nor the environment takes part.
    brought = run(sys.executable, "-I", "-c", program)

    assert brought.stdout.split() == []


class TestChecks:
    """The gate itself: what it must not let through."""

    @pytest.mark.parametrize(
        ("ci", "outcome"), [("true", "1 failed"), ("", "1 skipped"), ("0", "1 skipped")]
    )
    def test_a_skipped_server_test_fails_in_ci(
        self, tmp_path: Path, ci: str, outcome: str
    ) -> None:
        test = "@pytest.mark.server\ndef test_it():\n    pytest.skip('no server')\n"

        assert outcome in run_pytest(tmp_path, test, CI=ci)

    def test_a_server_fixture_that_skips_fails_in_ci(self, tmp_path: Path) -> None:
        test = (
            "pytestmark = pytest.mark.server\n"
            "@pytest.fixture\ndef server():\n    pytest.skip('no server')\n"
            "def test_it(server):\n    pass\n"
        )

        assert "no server" in run_pytest(tmp_path, test, CI="true")
        assert "skipped" not in run_pytest(tmp_path, test, CI="true").splitlines()[-1]

    def test_other_skips_and_expected_failures_stay(self, tmp_path: Path) -> None:
        test = (
            "def test_it():\n    pytest.skip('not on this platform')\n"
            "@pytest.mark.server\n@pytest.mark.xfail\n"
            "def test_other():\n    assert False\n"
        )

        assert "1 skipped, 1 xfailed" in run_pytest(tmp_path, test, CI="true")

    def test_a_second_copy_of_the_package_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "dogpile_cache.py").touch()
        test = (
            "import sys\nsys.path.insert(0, '.')\n"
            "def test_it():\n    import dogpile_cache\n"
            "def test_other():\n    pass\n"
        )

        answer = run_pytest(tmp_path, test)

        assert "dogpile_cache was imported" in answer
        assert "1 failed, 1 passed" in answer

    def test_the_floors_list_every_backend(self) -> None:
        contracts = SETTINGS["tool"]["importlinter"]["contracts"]
        [strangers] = [each for each in contracts if each["type"] == "independence"]
        backends = {
            f"dogpile.cache.backends.{place.partition(':')[0]}"
            for place in [*registry._BUILT_IN.values(), "tiered:TieredBackend"]
        }

        there = {each for each in backends if importlib.util.find_spec(each)}

        assert set(strangers["modules"]) == there

    def test_the_gate_runs_the_command_of_the_readme(self) -> None:
        gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
        [command] = re.findall(r"^readme_tests='(.*)'$", gate, re.MULTILINE)

        assert command in (ROOT / "README.rst").read_text(encoding="utf-8")
        assert os.access(ROOT / ".ci" / "run", os.X_OK)


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        check=False,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **options,
    )


def run_pytest(folder: Path, test: str, **environment: str) -> str:
    """Run a test module under this suite's conftest, and return what it says."""
    conftest = ROOT / "tests" / "conftest.py"
    (folder / "conftest.py").write_text(conftest.read_text(encoding="utf-8"))
    (folder / "test_it.py").write_text(f"import pytest\n{test}")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = server\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA"]
    return run(
        *command,
        "--import-mode=importlib",
        cwd=folder,
        env={
            **os.environ,
            "PYTEST_ADDOPTS": "",
            "PYTHONPATH": str(conftest.parent),
            **environment,
        },
    ).stdout
