"""Server processes of applications, and crowds of clients that ask them at once."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLIENTS = 32


class Server:
    """A server process, and what its clients get of it."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(
        self, path: str = "/", method: str = "GET"
    ) -> tuple[http.client.HTTPResponse, str]:
        """Return a response, and its text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response, response.read().decode()
        finally:
            connection.close()

    def crowd(self) -> Iterator[tuple[http.client.HTTPResponse, str]]:
        """Ask at once, and return what came back."""
        barrier = threading.Barrier(CLIENTS, timeout=120)
        answers: list[tuple[http.client.HTTPResponse, str]] = []

        def work() -> None:
            barrier.wait()
            answers.append(self.ask())

        threads = [threading.Thread(target=work, daemon=True) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert len(answers) == CLIENTS
        yield from answers


@contextmanager
def serving(folder: Path, *command: str, **environment: str) -> Iterator[Server]:
    """Run a server; the socket is there before it, so that nobody has to wait."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        descriptor = listening.fileno()
        given = [each.format(fd=descriptor, folder=folder) for each in command]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, *given],
                cwd=folder,
                pass_fds=[descriptor],
                env={**os.environ, "SITE_FOLDER": str(folder), **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield Server(listening.getsockname()[1])
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
