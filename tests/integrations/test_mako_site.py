"""The example of Mako: a real site, in a process of its own, by plain HTTP."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

import pytest
from servers import Server, free_port

from dogpile.cache.testing.concurrency import together

pytest.importorskip("mako", reason="Mako is not installed")

SITE = Path(__file__).parents[2] / "examples" / "mako_site" / "birds.py"
PATIENCE = 60
NO_HEADERS: Mapping[str, str] = {}
SECTION = re.compile(r'data-section="(\w+)">This section was made at (\S+)\.<')


class Page(NamedTuple):
    """What the site has answered."""

    status: int
    text: str
    location: str | None

    @property
    def sections(self) -> dict[str, str]:
        """When each of the cached sections was made."""
        return dict(
            re.findall(
                r'data-section="(\w+)">This section was made at (\S+)\.<', self.text
            )
        )

    @property
    def queries(self) -> int:
        """How often it has asked the database."""
        [count] = re.findall(r'id="queries">(\d+)<', self.text)
        return int(count)


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Let the test see the redirection."""


class Client:
    """A browser without a window.

    :param address: of the site.
    """

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")
        self._opener = build_opener(_NoRedirects)

    def get(self, path: str) -> Page:
        return self._ask(Request(self._address + path))

    def post(
        self, path: str, *, headers: dict[str, str] | None = None, **form: Any
    ) -> Page:
        body = urlencode(form).encode()
        return self._ask(Request(self._address + path, body, headers or {}))

    def _ask(self, request: Request) -> Page:
        try:
            response = self._opener.open(request, timeout=PATIENCE)
        except HTTPError as error:
            response = error
        with response:
            text = response.read().decode()
            return Page(response.status, text, response.headers.get("Location"))


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Client]:
    """Run the site, as a user does with one command."""
    command = [sys.executable, "-W", "error", str(SITE), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--folder", str(folder), *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://"), "the site has not started"
        yield Client(address)
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """Return what runs the site; all that a test starts share one folder."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(running(tmp_path / "site", *options))


def check_a_change(site: Client) -> None:
    """Look at pages, change something, and look at them again."""
    paths = ("/", "/birds/osprey", "/birds/barn-owl")
    first = [site.get(path) for path in paths]
    again = [site.get(path) for path in paths]

    changed = site.post(
        "/birds/osprey", place="Under the <b>bridge</b>", number="7", person="Zoe"
    )
    home, osprey, owl = [site.get(path) for path in paths]

    assert [page.status for page in first] == [200, 200, 200]
    assert [page.sections for page in first] == [page.sections for page in again]
    assert set(first[0].sections) == {"latest", "totals"}
    # Only the species itself is looked up each time.
    assert [page.queries for page in again] == [0, 1, 1]
    assert (changed.status, changed.location) == (303, "/birds/osprey")
    for page in (home, osprey):
        assert "Under the &lt;b&gt;bridge&lt;/b&gt;" in page.text
    assert seen(home, "osprey") == seen(first[0], "osprey") + 7
    assert not home.sections.items() & first[0].sections.items()
    assert not osprey.sections.items() & first[1].sections.items()
    assert owl.sections == first[2].sections


def seen(home: Page, slug: str) -> int:
    """Return how many of a bird were seen, as the page has it."""
    [number] = re.findall(rf'data-bird="{slug}">(\d+)<', home.text)
    return int(number)


def test_a_change_is_seen_and_other_pages_stay(start: Callable[..., Client]) -> None:
    check_a_change(start())


@pytest.mark.server
@pytest.mark.parametrize("client", ["pymemcache", "pylibmc"])
def test_it_is_the_same_with_memcached(
    start: Callable[..., Client], start_memcached: Callable[[], Server], client: str
) -> None:
    pytest.importorskip(client)

    check_a_change(start("--cache", f"{client}://127.0.0.1:{start_memcached().port}"))


@pytest.mark.server
def test_it_is_the_same_with_redis(
    start: Callable[..., Client], start_redis: Callable[[], Server]
) -> None:
    pytest.importorskip("redis")

    check_a_change(start("--cache", f"redis://127.0.0.1:{start_redis().port}/0"))


def test_processes_share_what_is_in_the_file(start: Callable[..., Client]) -> None:
    here, there = start(), start()

    assert here.get("/").sections == there.get("/").sections


def test_a_crowd_on_a_cold_page_makes_it_once(start: Callable[..., Client]) -> None:
    site = start()

    pages = together(lambda _: site.get("/birds/red-kite"), range(16))

    assert len({tuple(page.sections.items()) for page in pages}) == 1


def test_units_have_sections_of_their_own(start: Callable[..., Client]) -> None:
    site = start()

    inches = site.get("/birds/osprey?units=in")
    centimetres = site.get("/birds/osprey?units=cm")

    assert "23 inches" in inches.text
    assert "58 cm" in centimetres.text
    assert inches.sections["sightings"] == centimetres.sections["sightings"]


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
    start: Callable[..., Client], form: dict[str, Any], complaint: str
) -> None:
    site = start()
    before = site.get("/birds/osprey").sections

    refused = site.post("/birds/osprey", **form)

    assert refused.status == 422
    assert complaint in refused.text
    assert site.get("/birds/osprey").sections == before


def test_a_form_of_another_site_is_refused(start: Callable[..., Client]) -> None:
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
def test_what_is_not_there_is_not_found(
    start: Callable[..., Client], path: str
) -> None:
    site = start()

    assert site.get(path).status == 404
    assert site.post(path, place="a").status == 404


def test_a_dead_server_breaks_no_page(start: Callable[..., Client]) -> None:
    pytest.importorskip("redis")
    site = start("--cache", f"redis://127.0.0.1:{free_port()}/0")

    pages = [site.get("/birds/osprey") for _ in range(2)]

    assert [page.status for page in pages] == [200, 200]
    assert set(pages[0].sections) == set(pages[1].sections) == {"facts", "sightings"}


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
