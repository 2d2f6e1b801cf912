"""Run Flask-Caching's own test-suite with ``compat.Cache`` in its place.

    python tests/integrations/run_flask_caching.py --folder FOLDER [--sdist SDIST]

The tests of its backends and serializers are about classes of another package,
cachelib, and are left out; the table in ``docs/flask_caching.toml`` names every other
test that differs, with the reason.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import outside_suites
import servers

RELEASE = "flask-caching==2.5.1"
ROOT = Path(__file__).parents[2]
DIFFERENCES = ROOT / "docs" / "flask_caching.toml"

#: Where its tests look for a Redis.
REDIS_PORT = 6360

#: Put before its conftest: its module is ours, and so is its clock.
CONFTEST = """
import sys, types
from dogpile.cache.integrations.flask import compat
import hashlib
shim = types.ModuleType("flask_caching")
for name in compat.__all__:
    setattr(shim, name, getattr(compat, name))
shim.SUPPORTED_HASH_FUNCTIONS = [
    hashlib.sha1, hashlib.sha224, hashlib.sha256, hashlib.sha384, hashlib.sha512,
    hashlib.md5,
]
def function_namespace(f, args=None):
    from dogpile.cache.integrations.flask.compat_keys import namespaces
    return namespaces(f, args or ())
shim.function_namespace = function_namespace
sys.modules["flask_caching"] = shim
# Their modules of backends.
from dogpile.cache.integrations.flask import compat_store
for name in ("backends", "backends.simplecache", "backends.rediscache"):
    module = types.ModuleType("flask_caching." + name)
    for each in (
        "FileSystemCache", "MemcachedCache", "NullCache", "RedisCache",
        "RedisSentinelCache", "SASLMemcachedCache", "SimpleCache",
    ):
        setattr(module, each, getattr(compat_store, each))
    module.SpreadSASLMemcachedCache = compat_store.SASLMemcachedCache
    sys.modules[module.__name__] = module
shim.backends = sys.modules["flask_caching.backends"]
"""
CLOCK = """

from dogpile.cache.integrations.flask import compat_store
from dogpile.cache.testing import FakeClock

_build_region = compat_store.build_region
_clocks = []

@pytest.fixture(autouse=True)
def _fake_clock(monkeypatch):
    fake = FakeClock()
    monkeypatch.setattr(
        compat_store,
        "build_region",
        lambda name, settings, **how: _build_region(
            name, {**settings, "clock": fake}, **how
        ),
    )
    _clocks[:] = [fake]

@pytest.fixture
def clock():
    return _clocks[0]
"""


def main() -> int:
    """Run the suite, and compare what failed with what may."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="to unpack into")
    parser.add_argument("--sdist", type=Path, help="where it is at hand")
    asked = parser.parse_args()
    folder = outside_suites.emptied(asked.folder / "suite-flask-caching")
    sdist = asked.sdist or outside_suites.download(RELEASE, folder)
    outside_suites.unpack(sdist, folder, lambda path: path.parts[:1] == ("tests",))
    table = tomllib.loads(DIFFERENCES.read_text(encoding="utf-8"))
    redis = servers.redis_like(servers.find_redis())
    redis.port = REDIS_PORT
    try:
        redis.start()
        told = run(with_ours(folder / "tests"), table["left_out"])
    finally:
        redis.stop()
    outcomes = {
        test: outcome
        for outcome, test in re.findall(
            r"^(PASSED|FAILED|ERROR) (\S+)", told, re.MULTILINE
        )
    }
    if not outcomes:
        print(told)
        return 1
    failed = {test for test, outcome in outcomes.items() if outcome != "PASSED"}
    expected = {test for each in table["difference"] for test in each["tests"]}
    passed = len(outcomes) - len(failed)
    print(f"{passed} of {len(outcomes)} pass ({passed / len(outcomes):.1%})")
    for test in sorted(failed - expected):
        print(f"fails without a reason: {test}")
    for test in sorted(expected - failed):
        print(f"passes, and has a reason: {test}")
    return int(failed != expected)


def with_ours(tests: Path) -> Path:
    """Put our module in the place of theirs; return the folder of the tests."""
    conftest = tests / "conftest.py"
    theirs = conftest.read_text(encoding="utf-8")
    conftest.write_text(CONFTEST + theirs + CLOCK, encoding="utf-8")
    return tests


def run(tests: Path, left_out: list[str]) -> str:
    """Run the tests in a process of their own, and return what it says."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-rA", "--tb=line"),
            *("--rootdir", str(tests), "-c", "/dev/null"),
            *(f"--ignore={tests / name}" for name in left_out),
            str(tests),
        ],
        cwd=tests,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
