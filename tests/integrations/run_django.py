"""Run Django's own tests of caches, with ``DogpileCache`` in the place of its own.

    python tests/integrations/run_django.py --folder FOLDER [--sdist SDIST] [KIND ...]

The sdist of the Django that is installed is downloaded, and its tests are unpacked.
The ``BaseCacheTests`` that every backend of Django's has to pass, and the tests of
the cache middleware, of the utilities, of ``{% cache %}``, of the decorators and of
the sessions that are kept in a cache, run over each kind of backend: memory, sqlite,
memcached, redis. The servers are started here.

What is skipped is told, with Django's reason; any failure, and any kind that runs
fewer tests than it has to, ends with 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import outside_suites
import servers

KINDS = ("memory", "sqlite", "memcached", "redis")
# What is imported by name from where Django's tests are.
LABELS = (
    "cache.test_dogpile",
    "template_tests.syntax_tests.test_cache",
    "decorators.test_cache",
    "sessions_tests.tests.CacheSessionTests",
    "sessions_tests.tests.CacheDBSessionTests",
    "sessions_tests.tests.SessionMiddlewareTests",
)
#: Tests that there are at least: fewer mean that something was not found.
FEWEST = 290

SETTINGS = """
from test_sqlite import *
import json, os

_OURS = "dogpile.cache.integrations.django.DogpileCache"
SECRET_KEY = "a secret of Django's tests, long enough"


def ours(caches):
    '''Return settings of caches with our backend in the place of Django's.'''
    kept = json.loads(os.environ["DOGPILE_KIND"])
    return {
        alias: {
            **params,
            "BACKEND": _OURS,
            "OPTIONS": {**params.get("OPTIONS", {}), **kept},
        }
        for alias, params in caches.items()
    }


CACHES = ours({"default": {}})
"""

TESTS = '''
import os

from django.core.cache import cache, caches
from django.test import SimpleTestCase, TestCase, override_settings
from dogpile_settings import _OURS, ours

from . import tests as theirs
from dogpile.cache.integrations.django import DogpileCache

# Where Django has them for backends that keep their values in the process.
BOUNDED = "memory" in os.environ["DOGPILE_KIND"]
LEFT_OUT = set() if BOUNDED else {"cull", "zero_cull"}


@override_settings(CACHES=ours(theirs.caches_setting_for_tests(exclude=LEFT_OUT)))
class DogpileCacheTests(theirs.BaseCacheTests, TestCase):
    @override_settings(
        CACHES=ours({"default": {}, "other": {"LOCATION": "other"}})
    )
    def test_multiple_caches(self):
        theirs.LocMemCacheTests.test_multiple_caches.__wrapped__(self)


if BOUNDED:
    for name in ("test_lru_get", "test_lru_set", "test_lru_incr"):
        bounded = override_settings(
            CACHES=ours(theirs.caches_setting_for_tests(OPTIONS={"MAX_ENTRIES": 9}))
        )
        inner = getattr(theirs.LocMemCacheTests, name)
        while hasattr(inner, "__wrapped__"):
            inner = inner.__wrapped__
        setattr(DogpileCacheTests, name, bounded(inner))


def adapted(case):
    """Return a case of theirs, for our backend."""
    chosen = ours(case._overridden_settings["CACHES"])
    made = type("Dogpile" + case.__name__, (case,), {"__module__": __name__})
    return override_settings(CACHES=chosen)(made)


for each in (
    theirs.CacheUtils,
    theirs.PrefixedCacheUtils,
    theirs.CacheHEADTest,
    theirs.CacheI18nTest,
    theirs.PrefixedCacheI18nTest,
    theirs.CacheMiddlewareTest,
    theirs.TestWithTemplateResponse,
):
    globals()["Dogpile" + each.__name__] = adapted(each)
del each


class CacheHandlerTest(theirs.CacheHandlerTest):
    """The default cache is ours."""


class LiberalCache(DogpileCache):
    def validate_key(self, key):
        pass


class CustomCacheKeyValidationTests(theirs.CustomCacheKeyValidationTests):
    def setUp(self):
        chosen = ours({"default": {}})
        chosen["default"]["BACKEND"] = "cache.test_dogpile.LiberalCache"
        override = override_settings(CACHES=chosen)
        override.enable()
        self.addCleanup(override.disable)


class DefaultTimeoutTests(SimpleTestCase):
    """Those of DefaultNonExpiringCacheKeyTests that do not look into LocMem."""

    setUp = theirs.DefaultNonExpiringCacheKeyTests.setUp
    tearDown = theirs.DefaultNonExpiringCacheKeyTests.tearDown
    test_default_expiration_time_for_keys_is_5_minutes = (
        theirs.DefaultNonExpiringCacheKeyTests
        .test_default_expiration_time_for_keys_is_5_minutes
    )

    @override_settings(CACHES=ours({"default": {}}))
    def test_caches_with_unset_timeout_has_correct_default_timeout(self):
        self.assertEqual(caches["default"].default_timeout, 300)

    @override_settings(CACHES=ours({"default": {"TIMEOUT": None}}))
    def test_caches_set_with_timeout_as_none_has_correct_default_timeout(self):
        self.assertIsNone(caches["default"].default_timeout)
        self.assertIsNone(caches["default"].get_backend_timeout())

    @override_settings(CACHES=ours({"default": {"TIMEOUT": None}}))
    def test_caches_set_with_timeout_as_none_set_non_expiring_key(self):
        cache.set("another-key", "another-value")
        self.assertIsNone(cache.ttl("another-key"))
'''


def add_ours(folder: Path) -> Path:
    """Add our tests to those that are unpacked in a folder; return where they are."""
    tests = folder / "tests"
    (tests / "dogpile_settings.py").write_text(SETTINGS, encoding="utf-8")
    (tests / "cache" / "test_dogpile.py").write_text(TESTS, encoding="utf-8")
    return tests


@contextlib.contextmanager
def kept(kind: str, folder: Path) -> Iterator[dict[str, object]]:
    """Yield the options of a region that keeps its values in a kind of backend."""
    if kind == "memory":
        yield {"backend": "dogpile.cache.memory"}
    elif kind == "sqlite":
        filename = str(folder / "cache.sqlite")
        yield {"backend": "dogpile.cache.sqlite", "arguments": {"filename": filename}}
    else:
        if kind == "redis":
            server = servers.redis_like(servers.find_redis())
        else:
            server = servers.memcached_like(servers.find_memcached())
        server.start()
        try:
            place = f"{servers.HOST}:{server.port}"
            url = f"redis://{place}" if kind == "redis" else place
            backend = "redis" if kind == "redis" else "pymemcache"
            yield {"backend": f"dogpile.cache.{backend}", "arguments": {"url": url}}
        finally:
            server.stop()


def run(tests: Path, options: dict[str, object]) -> str:
    """Run the tests over one kind of backend; return what they say."""
    command = [sys.executable, "-W", "ignore::ResourceWarning", "runtests.py"]
    done = subprocess.run(
        [*command, "--settings=dogpile_settings", "--parallel=1", "-v", "2", *LABELS],
        cwd=tests,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        env={**os.environ, "DOGPILE_KIND": json.dumps(options)},
    )
    return done.stdout


def told(kind: str, said: str) -> bool:
    """Print how the tests of a kind ended; return whether all is well."""
    ran = re.search(r"^Ran (\d+) tests? in ([\d.]+)s", said, re.MULTILINE)
    # What it prints itself comes in between what unittest says of the end.
    ended = re.findall(r"^ ?(OK|FAILED)(?: \(.*\))?$", said, re.MULTILINE)
    is_well = "OK" in ended and "FAILED" not in ended
    count = int(ran[1]) if ran else 0
    skipped = re.findall(r"\.\.\. skipped ['\"](.*)['\"]$", said, re.MULTILINE)
    if not is_well:
        print(said)
    passed = count - len(skipped)
    print(f"{kind}: {passed} of {count} tests pass, {len(skipped)} are skipped")
    for reason in sorted(set(skipped)):
        print(f"  {skipped.count(reason)} skipped: {reason}")
    if count < FEWEST:
        print(f"  fewer than {FEWEST}: some were not found")
    return is_well and count >= FEWEST


def main(arguments: list[str] | None = None) -> int:
    """Run the tests over each kind, and say how many passed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="to unpack into")
    parser.add_argument("--sdist", type=Path, help="where it is at hand")
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="all if none")
    known = parser.parse_args(arguments)
    folder = outside_suites.emptied(known.folder / "suite-django")
    release = outside_suites.installed("django")
    sdist = known.sdist or outside_suites.download(release, folder)
    outside_suites.unpack(sdist, folder, lambda path: path.parts[:1] == ("tests",))
    tests = add_ours(folder)
    print(release)
    is_well = True
    for kind in known.kinds or KINDS:
        with kept(kind, folder) as options:
            is_well &= told(kind, run(tests, options))
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
