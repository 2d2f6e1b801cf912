"""The example of Mako: a real site, in a process of its own, by plain HTTP."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from servers import Server, free_port
from sites import EXAMPLES, PATIENCE, Answer, Site, running

from dogpile.cache.testing.concurrency import together

pytest.importorskip("mako", reason="Mako is not installed")

SITE = EXAMPLES / "mako_site" / "birds.py"
SECTION = re.compile(r'data-section="(\w+)">This section was made at (\S+)\.<')


def sections(page: Answer) -> dict[str, str]:
    """Return when each of a page's cached sections was made."""
    return dict(SECTION.findall(page.text))


def queries(page: Answer) -> int:
    """Return how often a page has asked the database."""
    [count] = re.findall(r'id="queries">(\d+)<', page.text)
    return int(count)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Return what runs the site; all that a test starts share one folder."""
    folder = ("--folder", str(tmp_path))
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(
            running("mako_site/birds.py", tmp_path, *folder, *options)
        )


def check_a_change(site: Site) -> None:
    """Look at pages, change something, and look at them again."""
    paths = ("/", "/birds/osprey", "/birds/barn-owl")
    first = [site.get(path) for path in paths]
    again = [site.get(path) for path in paths]

    changed = site.post(
        "/birds/osprey", place="Under the <b>bridge</b>", number="7", person="Zoe"
    )
    home, osprey, owl = [site.get(path) for path in paths]

    assert [page.status for page in first] == [200, 200, 200]
    assert [sections(page) for page in first] == [sections(page) for page in again]
    assert set(sections(first[0])) == {"latest", "totals"}
    # Only the species itself is looked up each time.
    assert [queries(page) for page in again] == [0, 1, 1]
    assert (changed.status, changed.headers["Location"]) == (303, "/birds/osprey")
    for page in (home, osprey):
        assert "Under the &lt;b&gt;bridge&lt;/b&gt;" in page.text
    assert seen(home, "osprey") == seen(first[0], "osprey") + 7
    assert not sections(home).items() & sections(first[0]).items()
    assert not sections(osprey).items() & sections(first[1]).items()
    assert sections(owl) == sections(first[2])


def seen(home: Answer, slug: str) -> int:
    """Return how many of a bird were seen, as the page has it."""
    [number] = re.findall(rf'data-bird="{slug}">(\d+)<', home.text)
    return int(number)


def test_a_change_is_seen_and_other_pages_stay(start: Callable[..., Site]) -> None:
    check_a_change(start())


@pytest.mark.server
@pytest.mark.parametrize("client", ["pymemcache", "pylibmc"])
def test_it_is_the_same_with_memcached(
    start: Callable[..., Site], start_memcached: Callable[[], Server], client: str
) -> None:
    pytest.importorskip(client)

    check_a_change(start("--cache", f"{client}://127.0.0.1:{start_memcached().port}"))


@pytest.mark.server
def test_it_is_the_same_with_redis(
    start: Callable[..., Site], start_redis: Callable[[], Server]
) -> None:
    pytest.importorskip("redis")

    check_a_change(start("--cache", f"redis://127.0.0.1:{start_redis().port}/0"))


def test_processes_share_what_is_in_the_file(start: Callable[..., Site]) -> None:
    here, there = start(), start()

    assert sections(here.get("/")) == sections(there.get("/"))


def test_a_crowd_on_a_cold_page_makes_it_once(start: Callable[..., Site]) -> None:
    site = start()

    pages = together(lambda _: site.get("/birds/red-kite"), range(16))

    assert len({tuple(sections(page).items()) for page in pages}) == 1


def test_units_have_sections_of_their_own(start: Callable[..., Site]) -> None:
    site = start()

    inches = site.get("/birds/osprey?units=in")
    centimetres = site.get("/birds/osprey?units=cm")

    assert "23 inches" in inches.text
    assert "58 cm" in centimetres.text
    assert sections(inches)["sightings"] == sections(centimetres)["sightings"]


@pytest.mark.parametrize(
    ("form", "complaint"),
    [
        ({"place": "", "number": "1", "person": "Zoe"}, "what the place is called"),
        ({"place": "a", "number": "1", "person": "Z" * 61}, "what the person is"),
        ({"place": "a", "number": "none", "person": "Zoe"}, "A number from 1 to"),
        ({"place": "a", "number": "10000", "person": "Zoe"}, "A number from 1 to"),
        ({}, "what the place is called"),
    ],
)
def test_a_form_that_is_no_use_changes_nothing(
    start: Callable[..., Site], form: dict[str, Any], complaint: str
) -> None:
    site = start()
    before = sections(site.get("/birds/osprey"))

    refused = site.post("/birds/osprey", **form)

    assert refused.status == 422
    assert complaint in refused.text
    assert sections(site.get("/birds/osprey")) == before


def test_a_form_of_another_site_is_refused(start: Callable[..., Site]) -> None:
    refused = start().post(
        "/birds/osprey",
        headers={"Sec-Fetch-Site": "cross-site"},
        place="a",
        number="1",
        person="Zoe",
    )

    assert refused.status == 422
    assert "from another site" in refused.text


@pytest.mark.parametrize("path", ["/birds/phoenix", "/nowhere", "/birds/../osprey"])
def test_what_is_not_there_is_not_found(start: Callable[..., Site], path: str) -> None:
    site = start()

    assert site.get(path).status == 404
    assert site.post(path, place="a").status == 404


def test_a_dead_server_breaks_no_page(start: Callable[..., Site]) -> None:
    pytest.importorskip("redis")
    site = start("--cache", f"redis://127.0.0.1:{free_port()}/0")

    pages = [site.get("/birds/osprey") for _ in range(2)]

    assert [page.status for page in pages] == [200, 200]
    assert set(sections(pages[0])) == set(sections(pages[1])) == {"facts", "sightings"}


def test_a_setting_that_is_no_use_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, str(SITE), "--port", "0", "--folder", str(tmp_path)),
            *("--cache", "reddis://localhost"),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("the site's cache: no cache has a URL")
    assert "did you mean redis://" in done.stderr
