"""The example of Django: a real shop, in a process of its own, by plain HTTP."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from servers import Server, free_port
from sites import EXAMPLES, Answer, Site, command, running

from dogpile.cache.testing.concurrency import together

pytest.importorskip("django", reason="Django is not installed")

pytestmark = pytest.mark.slow

MANAGE = EXAMPLES / "django_shop" / "manage.py"
BAG, SAME_SHELF, OTHER_SHELF = (
    "/product/basil/",
    "/category/herbs/",
    "/category/roots/",
)


def shop(folder: Path, **environment: str) -> AbstractContextManager[Site]:
    """Run the shop, as a user does with one command."""
    return running(
        "django_shop/manage.py",
        folder,
        "open_shop",
        SHOP_FOLDER=str(folder),
        **environment,
    )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with shop(tmp_path) as made:
        yield made


def send(site: Site, path: str, **form: Any) -> Answer:
    """Ask for a form, fill it, and send it with its token."""
    page = site.get(path)
    [token] = re.findall(r'csrfmiddlewaretoken" value="(\w+)"', page.text)
    cookie = SimpleCookie(page.headers["Set-Cookie"])["csrftoken"].value
    return site.post(
        path, {"Cookie": f"csrftoken={cookie}"}, csrfmiddlewaretoken=token, **form
    )


def made(site: Site, *paths: str) -> list[str]:
    """Return the numbers that pages were made as."""
    # As the address of all of them: pages of another port are other pages.
    return [site.get(path, {"Host": "localhost"}).made for path in paths]


def stock(site: Site) -> int:
    """Return how much basil there is, as its page has it."""
    [number] = re.findall(r'id="stock">(\d+)<', site.get(BAG).text)
    return int(number)


def card(site: Site) -> str:
    """Return the number that the card of the basil was made as."""
    [number] = re.findall(r'id="card">(\w+)<', site.get(BAG).text)
    return str(number)


def check_a_sale(site: Site) -> None:
    """Look at pages, buy something, and look at them again."""
    paths = ("/", SAME_SHELF, OTHER_SHELF, "/orders/")
    before, left, old_card = made(site, *paths), stock(site), card(site)
    assert made(site, *paths) == before
    assert card(site) == old_card

    sold = send(site, BAG, count="2", customer="Zoe <3")

    assert (sold.status, sold.headers["Location"]) == (302, BAG)
    assert stock(site) == left - 2
    assert card(site) != old_card
    assert f'data-stock="basil">{left - 2}<' in site.get(SAME_SHELF).text
    assert "Zoe &lt;3" in site.get("/orders/").text
    home, same, other, orders = made(site, *paths)
    assert home != before[0]
    assert same != before[1]
    assert other == before[2]
    assert orders != before[3]


def test_a_sale_is_seen_and_other_pages_stay(site: Site) -> None:
    check_a_sale(site)

    assert (site.folder / "cache.sqlite").exists()


@pytest.mark.server
@pytest.mark.parametrize("client", ["pymemcache", "pylibmc"])
def test_it_is_the_same_with_memcached(
    tmp_path: Path, start_memcached: Callable[[], Server], client: str
) -> None:
    pytest.importorskip(client)
    url = f"{client}://127.0.0.1:{start_memcached().port}?generation_ttl=0"

    with shop(tmp_path, DOGPILE_CACHE_URL=url) as site:
        check_a_sale(site)

    assert not (tmp_path / "cache.sqlite").exists()


@pytest.mark.server
def test_it_is_the_same_with_redis(
    tmp_path: Path, start_redis: Callable[[], Server]
) -> None:
    pytest.importorskip("redis")
    url = f"redis://127.0.0.1:{start_redis().port}/0"

    with shop(tmp_path, DOGPILE_CACHE_URL=url) as site:
        check_a_sale(site)

    assert not (tmp_path / "cache.sqlite").exists()


def test_what_the_staff_changes_is_seen(site: Site) -> None:
    other = made(site, OTHER_SHELF)

    sent = send(site, f"{BAG}edit/", price="9.75", stock="123", text="Now in tins.")

    assert sent.status == 302
    for path in (BAG, SAME_SHELF):
        assert "9.75 €" in site.get(path).text
        assert "Now in tins." in site.get(path).text
    assert made(site, OTHER_SHELF) == other


def test_processes_share_what_is_in_the_file(site: Site, tmp_path: Path) -> None:
    with shop(tmp_path) as another:
        here, there = made(site, "/", BAG), made(another, "/", BAG)
        # A page with a form is each visitor's own.
        assert (here[0] == there[0], here[1] == there[1]) == (True, False)

        send(another, BAG, count="1", customer="Zoe")

        assert made(site, "/") == made(another, "/") != here[:1]


def test_a_crowd_on_a_cold_page_makes_it_once(site: Site) -> None:
    pages = together(lambda _: site.get("/orders/").made, range(16))

    assert len(set(pages)) == 1


def test_nobody_gets_the_last_bag_twice(site: Site) -> None:
    send(site, f"{BAG}edit/", price="2.30", stock="3", text="The last three.")
    barrier = threading.Barrier(6, timeout=60)

    def buy(number: int) -> int:
        barrier.wait()
        return send(site, BAG, count="1", customer=f"Customer {number}").status

    statuses = together(buy, range(6))

    assert sorted(statuses) == [302] * 3 + [422] * 3
    assert stock(site) == 0


@pytest.mark.parametrize(
    ("form", "complaint"),
    [
        ({"count": "0", "customer": "Zoe"}, "greater than or equal to 1"),
        ({"count": "21", "customer": "Zoe"}, "less than or equal to 20"),
        ({"count": "many", "customer": "Zoe"}, "Enter a whole number"),
        ({"count": "1", "customer": ""}, "This field is required"),
    ],
)
def test_an_order_that_is_no_use_changes_nothing(
    site: Site, form: dict[str, Any], complaint: str
) -> None:
    before = made(site, "/", "/orders/")

    refused = send(site, BAG, **form)

    assert refused.status == 422
    assert complaint in refused.text
    assert made(site, "/", "/orders/") == before


def test_a_form_without_its_token_is_refused(site: Site) -> None:
    assert site.post(BAG, count="1", customer="Zoe").status == 403


@pytest.mark.parametrize("path", ["/product/none/", "/category/none/", "/none"])
def test_what_is_not_there_is_not_found(site: Site, path: str) -> None:
    assert [site.get(path).status for _ in range(2)] == [404, 404]


def test_looks_are_counted_where_everybody_counts(site: Site, tmp_path: Path) -> None:
    with shop(tmp_path) as another:
        for each in (site, another, site):
            last = each.get(BAG)

    assert 'id="looks">3<' in last.text


def test_a_dead_server_breaks_no_page(tmp_path: Path) -> None:
    pytest.importorskip("redis")
    url = f"redis://127.0.0.1:{free_port()}/0"

    with shop(tmp_path, DOGPILE_CACHE_URL=url) as site:
        pages = ["/", "/", BAG, SAME_SHELF, "/orders/", "/product/basil/edit/"]
        assert {page: site.get(page).status for page in pages} == dict.fromkeys(
            pages, 200
        )


@pytest.mark.parametrize("url", ["", "redis://localhost"])
def test_its_settings_pass_the_checks(tmp_path: Path, url: str) -> None:
    if url:
        pytest.importorskip("redis")
    run = partial(
        command, folder=tmp_path, SHOP_FOLDER=str(tmp_path), DOGPILE_CACHE_URL=url
    )

    told = run("-W", "error", str(MANAGE), "check", "--fail-level", "WARNING")

    assert "no issues" in told


def test_its_tables_are_those_of_its_models(tmp_path: Path) -> None:
    told = command(
        *(str(MANAGE), "makemigrations", "--check", "shop"),
        folder=tmp_path,
        SHOP_FOLDER=str(tmp_path),
    )

    assert told == "No changes detected in app 'shop'\n"
