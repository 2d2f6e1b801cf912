"""The example of Flask in a real browser: change something, and look again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from browser import Browser
from sites import EXAMPLES, Site, command, running

pytest.importorskip("flask", reason="Flask is not installed")

pytestmark = [pytest.mark.browser, pytest.mark.slow]

BLOG = EXAMPLES / "flask_blog" / "blog.py"
POST = "/post/what-the-tide-leaves"
OTHER = "/post/bread-without-hurry"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running("flask_blog/blog.py", tmp_path, "--folder", str(tmp_path)) as made:
        yield made


def number(browser: Browser, address: str) -> str:
    """Go to a page, and return the number that it was made as."""
    browser.visit(address)
    return browser.text("#made")


def test_a_form_changes_the_pages_that_show_it(site: Site, browser: Browser) -> None:
    addresses = [site.address + path for path in ("/", POST, OTHER)]
    before = [number(browser, address) for address in addresses]
    assert [number(browser, address) for address in addresses] == before
    browser.visit(site.address + POST)

    browser.send(name="Ada", text="A letter <to whom>?")

    assert browser.path == POST
    assert browser.texts("blockquote p")[-1] == "A letter <to whom>?"
    index, post, other = (number(browser, address) for address in addresses)
    assert index != before[0]
    assert post != before[1]
    assert other == before[2]


def test_a_new_post_changes_the_pages_that_list_posts(
    site: Site, browser: Browser
) -> None:
    before = number(browser, site.address)
    browser.click("header a[href='/write']")

    browser.send(title="A Quiet Day", author="Ada", body="Nothing happened.")

    assert browser.path == "/post/a-quiet-day"
    assert "Ada" in browser.texts("aside a")
    browser.click("header .name")
    assert browser.text("#made") != before
    assert browser.texts("article h2")[0] == "A Quiet Day"


def test_the_headers_tell_what_the_cache_has_done(site: Site, browser: Browser) -> None:
    # The page that the script stands in is another one.
    browser.visit(site.address + "/write")

    first, again = browser.fetch(POST), browser.fetch(POST)

    assert first.headers["cache-status"] == "dogpile; fwd=uri-miss; ttl=300; stored"
    assert again.headers["cache-status"].startswith("dogpile; hit; ttl=")
    # The browser keeps it, too, and asks whether it is still the same.
    assert again.headers["cache-control"].startswith("no-cache")
    assert (again.status, again.text) == (200, first.text)
    assert again.headers["etag"] == first.headers["etag"]


def test_the_old_page_is_shown_while_it_is_made_anew(
    site: Site, browser: Browser
) -> None:
    address = site.address + POST
    before = number(browser, address)
    with closing(sqlite3.connect(site.folder / "blog.db")) as database:
        # Whoever asks the database waits until this is over.
        database.execute("BEGIN EXCLUSIVE")
        command(
            *("-m", "flask", "--app", str(BLOG), "dogpile"),
            *("invalidate", "--tag", "posts", "--soft"),
            folder=site.folder,
            FLASK_BLOG_FOLDER=str(site.folder),
        )

        stale = [number(browser, address) for _ in range(3)]
        told = browser.fetch(POST).headers["cache-status"]

        assert stale == [before] * 3
        assert told.startswith("dogpile; hit; ttl=")
        database.rollback()
    browser.wait_for(lambda: number(browser, address) != before, "the new page")
