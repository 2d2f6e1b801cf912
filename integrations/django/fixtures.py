"""Fixtures for pytest: each test has a cache of its own.

``pytest_plugins = ["dogpile.cache.integrations.django.fixtures"]`` in the topmost
``conftest.py`` loads them; ``usefixtures = dogpile_cache_prefix`` in ``pytest.ini``
has every test use them. They need pytest and, for databases, pytest-django.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

__all__ = ["dogpile_cache_prefix"]


@pytest.fixture
def dogpile_cache_prefix() -> Iterator[str]:
    """Set the keys of a test apart from those of all others.

    For the regions of ``DOGPILE_CACHE_REGIONS`` and for the aliases of ``CACHES``;
    tests may run at the same time, by pytest-xdist or on several machines, against
    one server. Regions in memory begin empty.

    :return: the prefix.
    """
    # This module is loaded before the settings are known.
    from django.conf import settings
    from django.test import override_settings

    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    prefix = f"test-{worker}-{uuid.uuid4().hex[:16]}"
    caches = {
        alias: {**chosen, "KEY_PREFIX": _joined(prefix, chosen.get("KEY_PREFIX"))}
        for alias, chosen in settings.CACHES.items()
    }
    own = _joined(prefix, getattr(settings, "DOGPILE_CACHE_KEY_PREFIX", ""))
    with override_settings(DOGPILE_CACHE_KEY_PREFIX=own, CACHES=caches):
        yield prefix


def _joined(prefix: str, own: str | None) -> str:
    return f"{prefix}-{own}" if own else prefix
