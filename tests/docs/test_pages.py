"""The README and the pages: what they show is what happens."""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest
import servers
from code_blocks import PLAIN, Block, blocks_of, run
from usual_ports import served

from dogpile.cache import CacheRegion, make_region, registry

ROOT = Path(__file__).parents[2]
README = ROOT / "README.rst"
#: The design document has tests of its own.
PAGES = sorted({README, *(ROOT / "docs").glob("*.rst")} - {ROOT / "docs" / "seed.rst"})

#: What the examples of a page say that they are in.
MODULES = {"keys.rst": "shop"}
#: What has to be there before a page is read: settings, and tables.
SITES = {"django.rst": "django_site"}
RUN = {"python", "pycon", "doctest"}
#: What a page may show that is no Python.
SHOWN = {
    PLAIN,
    "console",
    "html+django",
    "html+jinja",
    "html+mako",
    "ini",
    "json",
    "none",
    "sql",
    "text",
    "toml",
}
#: By the words in a backend's name: the module that it needs, where its server is
#: if nobody says so, and what starts one.
SERVERS: dict[str, tuple[str, int, Callable[[], servers.Server]]] = {
    "redis": ("redis", 6379, servers._new_redis),
    "valkey": ("valkey", 6379, servers._new_valkey),
    "pylibmc": ("pylibmc", 11211, servers._new_memcached),
    "pymemcache": ("pymemcache", 11211, servers._new_memcached),
    "bmemcached": ("bmemcached", 11211, servers._new_memcached),
    "memcached": ("memcache", 11211, servers._new_memcached),
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a page make its files where nobody minds, and leave no trace."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "LOCALAPPDATA", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("CACHE_SIGNING_KEY", "a key of many bytes for the examples")
    places = dict(registry.BACKENDS._places)
    yield
    registry.BACKENDS._places.clear()
    registry.BACKENDS._places.update(places)


def examples_of(page: Path) -> list[Block]:
    return [block for block in blocks_of(page) if block.language in RUN]


def servers_of(page: Path) -> set[str]:
    """Return the servers that the examples of a page talk about."""
    text = "".join(block.text for block in examples_of(page))
    named = re.findall(r"dogpile\.cache\.([a-z]+)[_a-z]*[\"']", text)
    return set(named) & SERVERS.keys()


def run_examples(page: Path) -> None:
    """Run the examples of a page, one after the other, as one program."""
    if page.name in SITES:
        importlib.import_module(SITES[page.name])
    # A module, so that what it defines has a place to be found in.
    module = ModuleType(MODULES.get(page.name, f"page_{page.stem}"))
    names = vars(module)
    # What is imported in every example is not said in each.
    names.update(make_region=make_region, os=os)
    sys.modules[module.__name__] = module
    try:
        for block in examples_of(page):
            run(block, names)
    finally:
        del sys.modules[module.__name__]
        if page.name in SITES:
            _empty_site()
        for value in list(names.values()):
            if isinstance(value, CacheRegion) and value.is_configured:
                value.close()


def _empty_site() -> None:
    """Remove what a page has left in the site that it shares with other tests."""
    management = importlib.import_module("django.core.management")
    management.call_command("flush", verbosity=0, interactive=False)
    importlib.import_module("django.core.cache").cache.clear()


@pytest.mark.parametrize(
    "page", [page for page in PAGES if not servers_of(page)], ids=lambda page: page.name
)
def test_the_examples_of_a_page_run(page: Path) -> None:
    run_examples(page)


@pytest.mark.server
@pytest.mark.parametrize(
    "page", [page for page in PAGES if servers_of(page)], ids=lambda page: page.name
)
def test_the_examples_of_a_page_about_servers_run(page: Path) -> None:
    with ExitStack() as stack:
        for name in sorted(servers_of(page)):
            module, port, new = SERVERS[name]
            pytest.importorskip(module)
            stack.enter_context(served(new, port))
        run_examples(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_language_of_a_block_is_known(page: Path) -> None:
    odd = [
        f"{block}: {block.language}"
        for block in blocks_of(page)
        if block.language not in RUN | SHOWN
    ]

    assert odd == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_no_blanks_in_vain(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()

    assert [line for line in lines if line != line.rstrip()] == []
    assert "\t" not in "".join(lines)


class TestReadme:
    def test_it_is_short(self) -> None:
        assert len(README.read_text(encoding="utf-8").splitlines()) <= 120

    def test_it_renders_without_a_warning(self) -> None:
        publish = pytest.importorskip(
            "docutils.core", reason="docutils is not installed"
        ).publish_string
        told = io.StringIO()
        settings = {
            "warning_stream": told,
            "report_level": 1,
            "syntax_highlight": "none",
            # As the package index does.
            "file_insertion_enabled": False,
            "raw_enabled": False,
        }

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # docutils' own
            publish(
                README.read_text(encoding="utf-8"),
                writer="html5",
                settings_overrides=settings,
            )

        assert told.getvalue() == ""

    def test_what_it_names_is_there(self) -> None:
        text = README.read_text(encoding="utf-8")
        named = re.findall(r"``((?:docs|\.ci|examples)/[^`]*)``", text)

        assert named
        assert [name for name in named if not (ROOT / name).exists()] == []


class TestBlocks:
    """The finder itself: what it must not pass over."""

    def find(self, folder: Path, text: str) -> list[Block]:
        page = folder / "page.rst"
        page.write_text(text)
        return blocks_of(page)

    def test_blocks_are_found_in_each_of_their_forms(self, tmp_path: Path) -> None:
        found = self.find(
            tmp_path,
            "Text::\n\n    one\n\n      two\n\n"
            ".. code-block:: python\n   :caption: It\n\n   three = 3\n\n"
            "* in a list:\n\n  >>> 4\n  4\n\n"
            ".. note::\n\n   .. code-block:: ini\n\n      [five]\n\nthe end.\n",
        )

        assert [(block.line, block.language, block.text) for block in found] == [
            (3, PLAIN, "one\n\n  two\n"),
            (10, "python", "three = 3\n"),
            (14, "doctest", ">>> 4\n4\n"),
            (21, "ini", "[five]\n"),
        ]

    def test_what_is_wrong_is_told(self, tmp_path: Path) -> None:
        [right, wrong] = self.find(tmp_path, ">>> x = 1\n\ntext\n\n>>> x\n2\n")
        names: dict[str, object] = {}
        run(right, names)

        with pytest.raises(AssertionError, match=r"Got:\n +1"):
            run(wrong, names)
