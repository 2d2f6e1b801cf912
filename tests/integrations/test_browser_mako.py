"""The example of Mako in a real browser: change something, and look again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from browser import Browser
from crowd import result, start
from sites import EXAMPLES, Site, running

from dogpile.cache import CacheRegion
from dogpile.cache.integrations.settings import build_region

pytest.importorskip("mako", reason="Mako is not installed")

from dogpile.cache.integrations.mako import TemplateLookup

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running("mako_site/birds.py", tmp_path, "--folder", str(tmp_path)) as made:
        yield made


def shared_region(site: Site) -> CacheRegion:
    """Return a region over the file that the site keeps its sections in."""
    url = f"sqlite:///{site.folder / 'pages.sqlite'}"
    return build_region("pages", {"url": url, "serializer": "json"})


def keys_of_home(region: CacheRegion) -> list[str]:
    """Return the keys of the first page's sections."""
    lookup = TemplateLookup(
        [EXAMPLES / "mako_site" / "templates"],
        default_filters=["h"],
        cache_regions={"pages": region},
    )
    impl = lookup.get_template("home.mako").cache.impl
    return [impl.stored_key(f"render_{name}") for name in ("latest", "totals")]


def other_than(text: str, site: Site) -> None:
    """Ask for the first page until a text is no longer in it."""
    while text in site.get("/").text:
        pass


def sections(browser: Browser) -> dict[str, str]:
    """Return when each of the page's cached sections was made."""
    return {
        each.get_attribute("data-section") or "": each.text
        for each in browser.all("[data-section]")
    }


def test_a_form_changes_the_pages_that_show_it(site: Site, browser: Browser) -> None:
    paths = ["/", "/birds/osprey", "/birds/barn-owl"]
    before = {}
    for path in paths:
        browser.visit(site.address + path)
        before[path] = sections(browser)
    browser.visit(site.address + "/")
    seen = int(browser.text("[data-bird=osprey]"))
    browser.click("nav a[href='/birds/osprey']")
    assert sections(browser) == before["/birds/osprey"]

    browser.send(place="Under the <b>bridge</b>", number="7", person="Zoe")

    assert browser.path == "/birds/osprey"
    assert "Under the <b>bridge</b> 7 Zoe" in browser.text("#sightings")
    assert not sections(browser).items() & before["/birds/osprey"].items()
    browser.click("nav a[href='/']")
    assert int(browser.text("[data-bird=osprey]")) == seen + 7
    assert not sections(browser).items() & before["/"].items()
    browser.click("nav a[href='/birds/barn-owl']")
    assert sections(browser) == before["/birds/barn-owl"]


def test_a_page_from_the_cache_asks_the_database_nothing(
    site: Site, browser: Browser
) -> None:
    browser.visit(site.address)
    assert int(browser.text("#queries")) > 0

    browser.reload()

    assert int(browser.text("#queries")) == 0


def test_what_is_wrong_with_a_form_is_shown(site: Site, browser: Browser) -> None:
    browser.visit(site.address + "/birds/osprey")
    before = sections(browser)

    browser.send(place="Mill brook", number="none", person="Zoe")

    assert "A number from 1 to 9999" in browser.text(".complaint")
    assert browser.one("[name=person]").get_attribute("value") == "Zoe"
    assert sections(browser) == before


def test_the_old_section_is_shown_while_it_is_rendered_anew(
    site: Site, browser: Browser
) -> None:
    browser.visit(site.address)
    before = sections(browser)
    with closing(sqlite3.connect(site.folder / "birds.sqlite")) as database:
        # Whoever asks the database waits until this is over.
        database.execute("BEGIN EXCLUSIVE")
        with shared_region(site) as region:
            region.invalidate_tags("sightings", hard=False)
            # One of them renders the one section, and one the other. It may take
            # the site a second to hear that they are stale.
            crowd = [start(lambda: other_than(before["totals"], site)) for _ in "12"]
            for key in keys_of_home(region):
                browser.wait_for(partial(region.key_is_locked, key), "a rendering")

        browser.reload()

        assert sections(browser) == before
        database.rollback()
    for each in crowd:
        result(each)
    browser.reload()
    assert not sections(browser).items() & before.items()
