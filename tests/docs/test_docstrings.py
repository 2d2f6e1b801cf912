"""The examples in the package's docstrings: what they show is what happens."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from code_blocks import check

import dogpile.cache
import dogpile.cache.integrations

#: They need a package of somebody else as soon as they are imported.
OPTIONAL = (
    "dogpile.cache.backends.memcached_",
    "dogpile.cache.exporters.",
    "dogpile.cache.integrations.",
)


def module_names() -> Iterator[str]:
    yield "dogpile"
    yield "dogpile.cache"
    for package in (dogpile.cache, dogpile.cache.integrations):
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            # In an editable install it lies below the cache.
            if not found.name.startswith("dogpile.cache._dogpile"):
                yield found.name


@pytest.mark.parametrize("name", sorted(set(module_names())))
def test_the_examples_of_a_module_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name.startswith(OPTIONAL):
        # What it lacks is a package of an extra, not a module of our own.
        pytest.importorskip(name, exc_type=ImportError)
    if name.startswith("dogpile.cache.integrations.django"):
        # Whoever looks at Django's settings, doctest too, wants them configured.
        importlib.import_module("django_site")
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)

    for test in doctest.DocTestFinder().find(module):
        if test.examples:
            check(test)
