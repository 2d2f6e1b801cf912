"""A site of bird sightings: Mako templates whose sections are cached.

    python examples/mako_site/birds.py [--port PORT] [--cache URL] [--folder FOLDER]

Sections are kept in a file of SQLite, in the folder beside the site's own data,
for all the processes that use it. Another cache is one setting away, by
``--cache`` or by ``DOGPILE_CACHE_URL`` in the environment::

    DOGPILE_CACHE_URL=redis://localhost:6379/0 python examples/mako_site/birds.py
    python examples/mako_site/birds.py --cache memcached://localhost
"""

from __future__ import annotations

import argparse
import datetime
import getpass
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from sightings import Database, opened, seed

from dogpile.cache import CacheRegion, ConfigurationError
from dogpile.cache.integrations.mako import TemplateLookup
from dogpile.cache.integrations.settings import build_region

TEMPLATES = Path(__file__).parent / "templates"
LONGEST_FORM = 10_000
POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"


class Answer(NamedTuple):
    """What the site says to a request."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes = b""


class Site:
    """The site, as an application of WSGI.

    :param path: of the database.
    :param region: keeps the sections of the pages.
    """

    def __init__(self, path: Path, region: CacheRegion) -> None:
        self._path = path
        self._region = region
        self._lookup = TemplateLookup(
            directories=[str(TEMPLATES)],
            default_filters=["h"],
            cache_regions={"pages": region},
        )

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., object]
    ) -> Iterable[bytes]:
        """Answer a request."""
        answer = self._answer(environ)
        start_response(answer.status, answer.headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _answer(self, environ: dict[str, Any]) -> Answer:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        reads = method in ("GET", "HEAD")
        with opened(self._path) as database:
            page = Page(self._lookup, database, environ)
            if path == "/" and reads:
                return page.answer("home.mako")
            found = re.fullmatch(r"/birds/([a-z-]+)", path)
            bird = database.bird(found[1]) if found else None
            if bird is not None and reads:
                return page.answer("bird.mako", bird=bird, form={}, complaint="")
            if bird is not None and method == "POST":
                return self._add(page, database, bird, environ)
            return page.answer("missing.mako", status="404 Not Found")

    def _add(
        self, page: Page, database: Database, bird: Any, environ: dict[str, Any]
    ) -> Answer:
        """Note a sighting that a form tells of."""
        form = read_form(environ)
        complaint = complaint_about(form, environ)
        if complaint:
            return page.answer(
                "bird.mako",
                status="422 Unprocessable Content",
                bird=bird,
                form=form,
                complaint=complaint,
            )
        database.add(bird, form["place"], int(form["number"]), form["person"])
        # Only now, as who reads before has read the old state. What shows this
        # bird is made anew when somebody asks for it; other pages stay.
        self._region.invalidate_tags(f"bird:{bird.id}", "sightings")
        return Answer("303 See Other", [("Location", f"/birds/{quote(bird.slug)}")])


class Page:
    """A page that is to be made.

    :param database: asked by the sections that are not in the cache.
    """

    def __init__(
        self, lookup: TemplateLookup, database: Database, environ: Mapping[str, Any]
    ) -> None:
        self._lookup = lookup
        self._database = database
        asked = parse_qs(environ.get("QUERY_STRING", ""))
        self._units = "in" if asked.get("units") == ["in"] else "cm"
        self._began = time.perf_counter()

    def answer(self, template: str, *, status: str = "200 OK", **more: Any) -> Answer:
        """Render it."""
        text = self._lookup.get_template(template).render_unicode(
            database=self._database,
            units=self._units,
            made=lambda: datetime.datetime.now().strftime("%H:%M:%S.%f"),
            cost=lambda: (time.perf_counter() - self._began) * 1000,
            **more,
        )
        headers = [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Security-Policy", POLICY),
        ]
        return Answer(status, headers, text.encode())


def read_form(environ: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields that a browser has sent."""
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = 0
    body = environ["wsgi.input"].read(min(max(length, 0), LONGEST_FORM))
    fields = parse_qs(body.decode("utf-8", "replace"))
    return {name: values[0].strip() for name, values in fields.items()}


def complaint_about(form: Mapping[str, str], environ: Mapping[str, Any]) -> str:
    """Return what is wrong with a form, or nothing."""
    if environ.get("HTTP_SEC_FETCH_SITE", "same-origin") != "same-origin":
        return "The form comes from another site."
    for name in ("place", "person"):
        if not 0 < len(form.get(name, "")) <= 60:
            return f"Say in up to 60 letters what the {name} is called."
    number = form.get("number", "")
    if not (number.isascii() and number.isdigit() and 0 < int(number[:6]) < 10_000):
        return "How many were there? A number from 1 to 9999, please."
    return ""


class ThreadingServer(ThreadingMixIn, WSGIServer):
    """A thread for each request."""

    daemon_threads = True


class QuietHandler(WSGIRequestHandler):
    """Says nothing of requests that went well."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say it only where it did not."""
        if str(code).startswith("5"):
            super().log_request(code, size)


def read_arguments() -> argparse.Namespace:
    """Return what the command line says."""
    user = re.sub(r"\W", "_", getpass.getuser())
    folder = Path(tempfile.gettempdir(), f"dogpile-birds-{user}")
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free")
    parser.add_argument("--cache", metavar="URL", help="where sections are kept")
    parser.add_argument("--folder", type=Path, default=folder, help="for the data")
    return parser.parse_args()


def main() -> None:
    """Make what is missing, and serve the site."""
    arguments = read_arguments()
    folder = arguments.folder.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    seed(folder / "birds.sqlite")
    url = arguments.cache or os.environ.get("DOGPILE_CACHE_URL")
    pages: dict[str, Any] = {
        "url": url or f"sqlite:///{quote((folder / 'pages.sqlite').as_posix())}",
        "expiration_time": 300,
        # An expired section is served while somebody makes it anew, and for up
        # to an hour where that fails.
        "grace": 3600,
        # Sections are texts: nothing needs to be pickled.
        "serializer": "json",
    }
    try:
        region = build_region("pages", pages, where="the site's cache")
    except ConfigurationError as error:
        sys.exit(str(error))
    with region:
        serve(Site(folder / "birds.sqlite", region), arguments.port)


def serve(site: Site, port: int) -> None:
    """Serve the site until somebody interrupts it."""
    with make_server("127.0.0.1", port, site, ThreadingServer, QuietHandler) as server:
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("bye")


if __name__ == "__main__":
    main()
