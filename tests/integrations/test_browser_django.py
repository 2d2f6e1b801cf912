"""The example of Django in a real browser: change something, and look again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from browser import Browser
from sites import EXAMPLES, Site, command, running

pytest.importorskip("django", reason="Django is not installed")

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MANAGE = EXAMPLES / "django_shop" / "manage.py"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running(
        "django_shop/manage.py", tmp_path, "open_shop", SHOP_FOLDER=str(tmp_path)
    ) as made:
        yield made


def number(browser: Browser, address: str) -> str:
    """Go to a page, and return the number that it was made as."""
    browser.visit(address)
    return browser.text("#made")


def test_a_sale_changes_the_pages_that_show_it(site: Site, browser: Browser) -> None:
    paths = ("/", "/category/herbs/", "/category/roots/", "/orders/")
    addresses = [site.address + path for path in paths]
    before = [number(browser, address) for address in addresses]
    assert [number(browser, address) for address in addresses] == before
    browser.visit(site.address + "/product/basil/")
    left, card = int(browser.text("#stock")), browser.text("#card")

    browser.send(count="2", customer="Zoe")

    assert browser.path == "/product/basil/"
    assert browser.text(".message") == "2 of it are yours."
    assert int(browser.text("#stock")) == left - 2
    assert browser.text("#card") != card
    home, herbs, roots, orders = (number(browser, address) for address in addresses)
    assert home != before[0]
    assert herbs != before[1]
    assert roots == before[2]
    assert orders != before[3]
    assert "Zoe" in browser.texts("#orders td")


def test_a_card_is_kept_while_the_page_around_it_is_made_anew(
    site: Site, browser: Browser
) -> None:
    address = site.address + "/product/basil/"
    browser.visit(address)
    page, card, looks = (browser.text(each) for each in ("#made", "#card", "#looks"))

    browser.reload()

    assert browser.text("#made") != page
    assert browser.text("#card") == card
    assert int(browser.text("#looks")) == int(looks) + 1


def test_a_new_price_is_on_the_shelf(site: Site, browser: Browser) -> None:
    roots = number(browser, site.address + "/category/roots/")
    browser.visit(site.address + "/category/herbs/")
    browser.click(".bag a[href='/product/basil/']")
    browser.click("a[href$='/edit/']")

    browser.send(price="9.75", stock="123")

    assert browser.text(".message") == "The shelf is up to date."
    browser.click(".bag a[href='/category/herbs/']")
    assert browser.text("[data-stock=basil]") == "123"
    assert number(browser, site.address + "/category/roots/") == roots


def test_the_headers_tell_what_the_cache_has_done(site: Site, browser: Browser) -> None:
    # The page that the script stands in is another one.
    browser.visit(site.address + "/product/basil/")

    first, again, form = (browser.fetch(path) for path in ("/", "/", "/product/basil/"))

    assert first.headers["cache-status"] == "dogpile; fwd=uri-miss; ttl=300; stored"
    assert again.headers["cache-status"].startswith("dogpile; hit; ttl=")
    assert (again.status, again.text) == (200, first.text)
    assert again.headers["etag"] == first.headers["etag"]
    assert "cache-status" not in form.headers


def test_the_old_page_is_shown_while_it_is_made_anew(
    site: Site, browser: Browser
) -> None:
    address = site.address + "/orders/"
    before = number(browser, address)
    with closing(sqlite3.connect(site.folder / "shop.sqlite")) as database:
        # Whoever asks the database waits until this is over.
        database.execute("BEGIN EXCLUSIVE")
        command(
            *(str(MANAGE), "dogpile", "invalidate", "--tag", "shop.Order", "--soft"),
            folder=site.folder,
            SHOP_FOLDER=str(site.folder),
        )

        stale = [number(browser, address) for _ in range(3)]
        told = browser.fetch("/orders/").headers["cache-status"]

        assert stale == [before] * 3
        assert told.startswith("dogpile; hit; ttl=")
        database.rollback()
    browser.wait_for(lambda: number(browser, address) != before, "the new page")
