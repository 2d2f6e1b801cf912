"""The applications in ``examples/``, run as whoever tries them does: by one command."""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from dogpile.cache.clock import SYSTEM_CLOCK

EXAMPLES = Path(__file__).parents[1] / "examples"
PATIENCE = 60
NOTHING: Mapping[str, str] = {}
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/?")


class Answer(NamedTuple):
    """What a site has answered."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def made(self) -> str:
        """The number that the page says it was made as."""
        [number] = re.findall(r'id="made">(\w+)<', self.text)
        return str(number)


class Site:
    """A running example.

    :param port: that it listens on.
    :param folder: where its files lie.
    """

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self.folder = folder
        self.address = f"http://127.0.0.1:{port}"

    def get(self, path: str, headers: Mapping[str, str] = NOTHING) -> Answer:
        """Ask for a page; redirections are not followed."""
        return self._ask("GET", path, None, headers)

    def post(
        self, path: str, headers: Mapping[str, str] = NOTHING, **form: Any
    ) -> Answer:
        """Send a form."""
        return self._ask("POST", path, urlencode(form), {**_FORM, **headers})

    def _ask(
        self, method: str, path: str, body: str | None, headers: Mapping[str, str]
    ) -> Answer:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            link.request(method, path, body, dict(headers))
            response = link.getresponse()
            text = response.read().decode()
            return Answer(response.status, response.headers, text)
        finally:
            link.close()


@contextmanager
def running(
    program: str, folder: Path, *options: str, **environment: str
) -> Iterator[Site]:
    """Run an example until the block ends.

    :param program: its path below ``examples/``.
    :param folder: where it keeps what is its own; of the test.
    :param options: of its command line, beside the port.
    :param environment: beside that of the tests.
    """
    process = subprocess.Popen(
        [
            *(sys.executable, "-u", "-W", "error", str(EXAMPLES / program)),
            *options,
            *("--port", "0"),
        ],
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout is not None
    # One that says nothing is ended, so that nobody waits for its words.
    alarm = threading.Timer(PATIENCE, process.kill)
    alarm.start()
    said: list[str] = []
    echo: threading.Thread | None = None
    try:
        for line in process.stdout:
            said.append(line)
            address = _ADDRESS.search(line)
            if address:
                break
        else:
            pytest.fail(f"{program} has not started: {''.join(said)}")
        alarm.cancel()
        # Of a test that fails it is shown.
        echo = threading.Thread(target=sys.stdout.writelines, args=[process.stdout])
        echo.start()
        site = Site(int(address[1]), folder)
        _await(site)
        yield site
    finally:
        alarm.cancel()
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if echo is not None:
            echo.join(PATIENCE)
        process.stdout.close()


def _await(site: Site) -> None:
    """Return when it listens: some say their address a moment before."""
    end = SYSTEM_CLOCK.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", site.port), PATIENCE).close()
        except ConnectionRefusedError:
            if SYSTEM_CLOCK.monotonic() > end:
                raise
            SYSTEM_CLOCK.sleep(0.02)
        else:
            return


def command(*line: str, folder: Path, **environment: str) -> str:
    """Run a command of an application beside it, and return what it says."""
    done = subprocess.run(
        [sys.executable, *line],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout
