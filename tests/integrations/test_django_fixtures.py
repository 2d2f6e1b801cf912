"""The fixtures for tests of Django projects, under pytest-django and xdist."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

for needed in ("django", "pytest_django", "xdist"):
    pytest.importorskip(needed)

pytestmark = pytest.mark.slow

SETTINGS = """
from pathlib import Path
SECRET_KEY = "a secret of the tests, long enough"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth",
                  "dogpile.cache.integrations.django"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
USE_TZ = True
FILE = {"filename": str(Path(__file__).parent / "cache.db")}
DOGPILE_CACHE_REGIONS = {"default": {"backend": "sqlite", "arguments": FILE},
                         "near": "memory"}
OURS = "dogpile.cache.integrations.django.DogpileCache"
CACHES = {"default": {"BACKEND": OURS, "LOCATION": "default", "KEY_PREFIX": "own"},
          "near": {"BACKEND": OURS, "LOCATION": "dogpile.cache.memory"}}
"""

CONFTEST = """
pytest_plugins = ["dogpile.cache.integrations.django.fixtures"]
"""

TESTS = """
import os
import pytest
from django.contrib.auth.models import Group
from django.core.cache import caches
from dogpile.cache import NO_VALUE
from dogpile.cache.integrations.django import cached, regions

@cached(60, tags=[Group])
def names():
    return sorted(Group.objects.values_list("name", flat=True))

@pytest.mark.parametrize("number", range(8))
def test_the_cache_is_empty(number):
    for name in ("default", "near"):
        assert regions[name].get("key") is NO_VALUE
        assert caches[name].get("key") is None
        regions[name].put("key", number)
        caches[name].set("key", number)
        assert regions[name].get("key") == caches[name].get("key") == number

def test_prefixes_name_the_worker(dogpile_cache_prefix):
    assert os.environ["PYTEST_XDIST_WORKER"] in dogpile_cache_prefix
    assert caches["default"].key_prefix == f"{dogpile_cache_prefix}-own"

@pytest.mark.django_db
@pytest.mark.parametrize("number", range(2))
def test_what_a_test_has_written_is_seen(number):
    assert names() == []
    Group.objects.create(name=str(number))
    assert names() == [str(number)]

@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", range(2))
def test_what_was_committed_is_seen(number):
    assert names() == []
    Group.objects.create(name=str(number))
    assert [names(), names.get()] == [[str(number)]] * 2
"""


def test_each_test_has_its_own_keys(tmp_path: Path) -> None:
    (tmp_path / "site_settings.py").write_text(SETTINGS)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_site.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nusefixtures = dogpile_cache_prefix\n"
        "DJANGO_SETTINGS_MODULE = site_settings\nfilterwarnings = error\n"
    )

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2"],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=300,
    )

    assert "13 passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
