"""A real browser for tests: headless Chromium, told what to do by selenium.

Load it as a plug-in (``pytest_plugins = ["browser"]``). The fixture ``browser``
yields one for all tests of a session, with an empty profile. Where Chromium is not
on the ``PATH`` it is brought from the system's packages, as root; where that does
not work it is a skip, or with ``CI`` set in the environment a failure.

    python tests/browser.py

brings it beforehand: a test may not take as long as a slow network does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

PATIENCE = 60
#: What people see at once, in pixels.
WIDTH, HEIGHT = 1000, 760

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_DRIVERS = ("chromedriver", "chromium.chromedriver")
_PACKAGES = ("chromium", "chromium-driver")
_OPTIONS = (
    "--headless=new",
    # As root its sandbox cannot be had; it sees no page but the tests' own.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Containers have little of the memory that it would share among processes.
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    f"--window-size={WIDTH},{HEIGHT}",
)
# What a page's own scripts would see of an answer.
_FETCH = """
const [path, done] = arguments;
fetch(path).then(
    async answer => done({
        status: answer.status,
        headers: Object.fromEntries(answer.headers),
        text: await answer.text(),
    }),
    error => done({error: String(error)}),
);
"""


class BrowserMissing(Exception):
    """There is no browser on this machine, and none can be had."""


class Programs(NamedTuple):
    """The browser, and what drives it."""

    browser: str
    driver: str


def find_browser() -> Programs:
    """Return Chromium and its driver; bring them from the system's packages.

    :raises BrowserMissing: they are nowhere to be had.
    """
    found = _on_the_path()
    if found is not None:
        return found
    if not shutil.which("apt-get"):
        raise BrowserMissing(
            "no chromium and chromedriver on the PATH, and no apt-get to bring them"
        )
    if os.geteuid() != 0:
        raise BrowserMissing(
            "no chromium and chromedriver on the PATH, and only root may bring "
            f"them: apt-get install {' '.join(_PACKAGES)}"
        )
    told = ""
    for line in (("update", "-q"), ("install", "-y", "-q", *_PACKAGES)):
        told += _apt_get(*line)
    found = _on_the_path()
    if found is None:
        raise BrowserMissing(f"apt-get does not bring chromium: {told[-2000:]}")
    return found


def _on_the_path() -> Programs | None:
    browser, driver = _first_of(_BROWSERS), _first_of(_DRIVERS)
    return Programs(browser, driver) if browser and driver else None


def _first_of(names: tuple[str, ...]) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


def _apt_get(*line: str) -> str:
    try:
        done = subprocess.run(
            ["apt-get", *line],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            text=True,
            # It is large, and the network may be slow.
            timeout=1200,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{error}\n"
    return done.stdout


class Fetched(NamedTuple):
    """What a script in a page gets."""

    status: int
    headers: Mapping[str, str]
    text: str


class Browser:
    """A window, and what a person does with it.

    :param driver: of selenium.
    """

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def visit(self, address: str) -> None:
        """Go to a page, and wait until it is there."""
        self.driver.get(address)

    def reload(self) -> None:
        """Ask for the page again."""
        self.driver.refresh()

    def text(self, selector: str = "body") -> str:
        """Return the text that can be seen in a part of the page."""
        return self.one(selector).text

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all such parts."""
        return [each.text for each in self.all(selector)]

    def one(self, selector: str) -> WebElement:
        """Return the only such part of the page."""
        found = self.all(selector)
        assert len(found) == 1, f"{len(found)} times {selector} in {self.path}"
        return found[0]

    def all(self, selector: str) -> list[WebElement]:
        """Return all such parts of the page."""
        return self.driver.find_elements("css selector", selector)

    @property
    def path(self) -> str:
        """What stands in the address behind the host."""
        return str(self.driver.execute_script("return location.pathname"))

    def fill(self, form: str = "main form", **fields: str) -> None:
        """Type into the fields of a form, key by key."""
        for name, value in fields.items():
            field = self.one(f"{form} [name={name}]")
            field.clear()
            field.send_keys(value)

    def click(self, selector: str) -> None:
        """Click, and wait for the page that comes of it."""
        # What a page's script has left is not in the next page.
        self.driver.execute_script("window.isOld = true")
        self.one(selector).click()
        self.wait_for(self._is_new, "the next page")

    def send(self, form: str = "main form", **fields: str) -> None:
        """Fill a form and send it, and wait for the page that comes of it."""
        self.fill(form, **fields)
        self.click(f"{form} button")

    def fetch(self, path: str) -> Fetched:
        """Ask for something of the site by a script in the page."""
        told: dict[str, Any] = self.driver.execute_async_script(_FETCH, path)
        assert "error" not in told, told
        return Fetched(**told)

    def wait_for(self, claim: Callable[[], bool], what: str) -> None:
        """Ask again and again until something is so."""
        # Not at the top: the tests that need no browser need no selenium.
        from selenium.common.exceptions import WebDriverException
        from selenium.webdriver.support.wait import WebDriverWait

        # While one page gives way to the next, the driver fails in many ways.
        wait = WebDriverWait(
            self.driver,
            PATIENCE,
            poll_frequency=0.05,
            ignored_exceptions=[WebDriverException],
        )
        wait.until(lambda _: claim(), f"waited {PATIENCE} s for {what}")

    def picture(self, path: Path, height: int = HEIGHT) -> None:
        """Write what the window shows to a file ``.png``.

        :param height: of what is shown of the page, in pixels.
        """
        frame = self.driver.execute_script("return outerHeight - innerHeight")
        self.driver.set_window_size(WIDTH, height + frame)
        path.write_bytes(self.driver.get_screenshot_as_png())

    def forget(self) -> None:
        """Leave the page, and its site's cookies behind."""
        self.driver.delete_all_cookies()
        self.driver.get("about:blank")

    def _is_new(self) -> bool:
        script = "return !window.isOld && document.readyState === 'complete'"
        return bool(self.driver.execute_script(script))


@contextmanager
def browsing() -> Iterator[Browser]:
    """Open a browser, and close it with all that it has kept.

    :raises BrowserMissing: there is none.
    """
    from selenium import webdriver

    programs = find_browser()
    profile = tempfile.mkdtemp(prefix="dogpile-browser-")
    options = webdriver.ChromeOptions()
    options.binary_location = programs.browser
    for option in (*_OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    # With both of them named, selenium looks for nothing and fetches nothing.
    service = webdriver.ChromeService(programs.driver)
    try:
        with pytest.MonkeyPatch.context() as environment:
            # Between selenium and the driver on this machine there is none.
            environment.setenv("no_proxy", "*")
            driver = webdriver.Chrome(options, service)
        try:
            driver.set_page_load_timeout(PATIENCE)
            driver.set_script_timeout(PATIENCE)
            yield Browser(driver)
        finally:
            driver.quit()
    finally:
        # The last of its processes may still be writing.
        shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture(scope="session")
def _browser() -> Iterator[Browser]:
    pytest.importorskip("selenium", reason="selenium is not installed")
    try:
        find_browser()
    except BrowserMissing as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    with browsing() as browser:
        yield browser


@pytest.fixture
def browser(_browser: Browser) -> Iterator[Browser]:
    """Yield a browser that is nowhere, and has no cookies."""
    yield _browser
    _browser.forget()


def main() -> None:
    """Bring the browser; the tests say what it means if there is none."""
    try:
        sys.stdout.write(f"{find_browser().browser}\n")
    except BrowserMissing as error:
        sys.stderr.write(f"{error}\n")


if __name__ == "__main__":
    main()
