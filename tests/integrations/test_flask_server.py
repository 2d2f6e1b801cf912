"""Cached views in real server processes: one rendering for all their clients."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from listening import Server, serving
from servers import free_port
from sites import EXAMPLES, PATIENCE, Site, running

pytest.importorskip("flask")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="sockets are handed down"),
]


APPLICATION = """
import os, time
from pathlib import Path
from flask import Flask
from dogpile.cache.integrations.flask import DogpileCache

folder = Path(os.environ["SITE_FOLDER"])
app = Flask("site")
app.secret_key = "a secret of the tests, long enough"
app.config["DOGPILE_CACHE_REGIONS"] = {"default": {
    "backend": "sqlite",
    "arguments": {"filename": str(folder / "cache.db")},
    "generation_ttl": 0,
}}
cache = DogpileCache(app)

@app.get("/")
@cache.cached(3600, grace=3600, tags="all", retry_after=0)
def index():
    with (folder / "calls").open("a") as file:
        file.write("x")
    if (folder / "fail").exists():
        raise ValueError("the database is gone")
    until = time.monotonic() + 30
    while not (folder / "go").exists() and time.monotonic() < until:
        time.sleep(0.01)
    return (folder / "calls").read_text()

@app.post("/expire")
def expire():
    cache.invalidate_tags("all", hard=False)
    return ""
"""

ASGI = """
from asgiref.wsgi import WsgiToAsgi
from site_app import app as wsgi
app = WsgiToAsgi(wsgi)
"""

WAITRESS = """
import socket, sys, waitress
from site_app import app
waitress.serve(app, sockets=[socket.socket(fileno=int(sys.argv[1]))], threads=16)
"""

# By the name of the server's module: its command, given a listening socket.
SERVERS = {
    "gunicorn": (
        *("-m", "gunicorn", "--workers=4", "--threads=8", "--bind=fd://{fd}"),
        *("--worker-tmp-dir={folder}", "site_app:app"),
    ),
    "waitress": ("serve_waitress.py", "{fd}"),
    "uvicorn": ("-m", "uvicorn", "--workers=4", "--fd={fd}", "site_asgi:app"),
}


@pytest.fixture(params=list(SERVERS))
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    name = request.param
    needed = {name, "asgiref"} if name == "uvicorn" else {name}
    missing = [each for each in needed if importlib.util.find_spec(each) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")
    (tmp_path / "site_app.py").write_text(APPLICATION)
    (tmp_path / "site_asgi.py").write_text(ASGI)
    (tmp_path / "serve_waitress.py").write_text(WAITRESS)
    with serving(tmp_path, *SERVERS[name]) as made:
        yield made


class TestCrowds:
    def test_a_cold_page_is_rendered_once(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "go").touch()

        answers = list(server.crowd())

        assert {(each.status, text) for each, text in answers} == {(200, "x")}
        assert (tmp_path / "calls").read_text() == "x"

    def test_nobody_waits_for_an_expired_page(
        self, server: Server, tmp_path: Path
    ) -> None:
        (tmp_path / "go").touch()
        server.ask()
        (tmp_path / "go").unlink()
        server.ask("/expire", "POST")

        answers = list(server.crowd())

        # All have theirs, and the view has not ended.
        assert {(each.status, text) for each, text in answers} == {(200, "x")}
        (tmp_path / "go").touch()

    def test_while_the_view_fails_the_stale_page_is_served(
        self, server: Server, tmp_path: Path
    ) -> None:
        (tmp_path / "go").touch()
        server.ask()
        (tmp_path / "fail").touch()
        server.ask("/expire", "POST")

        answers = list(server.crowd())

        assert {(each.status, text) for each, text in answers} == {(200, "x")}
        for each, _ in answers:
            assert re.fullmatch(r"\d+", each.headers["Age"])
            assert each.headers["Cache-Status"].startswith("dogpile; hit")


def blogging(folder: Path, **environment: str) -> AbstractContextManager[Site]:
    """Start the example."""
    return running("flask_blog/blog.py", folder, "--folder", str(folder), **environment)


class TestBlog:
    """The example, as whoever tries it starts it."""

    @pytest.fixture
    def blog(self, tmp_path: Path) -> Iterator[Site]:
        with blogging(tmp_path) as made:
            yield made

    def test_a_change_is_seen_and_other_pages_stay(self, blog: Site) -> None:
        paths = ["/", "/post/what-the-tide-leaves", "/post/bread-without-hurry"]
        before = [blog.get(path).made for path in paths]
        assert [blog.get(path).made for path in paths] == before

        posted = blog.post(
            f"{paths[1]}/comments", name="Ada", text="A letter <to whom>?"
        )

        assert posted.status == 303
        index, changed, other = (blog.get(path) for path in paths)
        assert "A letter &lt;to whom&gt;?" in changed.text
        assert "2 comments" in changed.text
        assert index.made != before[0]
        assert other.made == before[2]

    def test_a_new_post_is_on_the_first_page(self, blog: Site) -> None:
        first = blog.get("/")
        assert "A Quiet Day" not in first.text
        form = {"title": "A Quiet Day", "author": "Ada", "body": "Nothing happened."}

        posted = blog.post("/write", **form)

        assert posted.headers["Location"].endswith("/post/a-quiet-day")
        first = blog.get("/")
        assert "A Quiet Day" in first.text
        assert re.search(r">Ada</a>\s*<small>1<", first.text)
        assert blog.post("/write", **form).status == 409
        assert blog.post("/write", title="?").status == 400

    def test_pages_that_are_not_there_are_not_kept(self, blog: Site) -> None:
        far = f"/?page={'9' * 30}"
        for path in ("/post/none", "/author/none", "/?page=99", far):
            assert blog.get(path).status == 404

    def test_a_misspelt_setting_is_one_line(self, tmp_path: Path) -> None:
        done = subprocess.run(
            [
                sys.executable,
                str(EXAMPLES / "flask_blog" / "blog.py"),
                *("--folder", str(tmp_path), "--port", str(free_port())),
            ],
            env={**os.environ, "FLASK_DOGPILE_CACHE_URL": "redsi://localhost"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

        assert done.returncode == 1
        assert done.stderr.startswith("DOGPILE_CACHE_URL in app.config: ")
        assert "did you mean redis://" in done.stderr
        assert len(done.stderr.splitlines()) == 1

    @pytest.mark.server
    @pytest.mark.parametrize("kind", ["redis", "memcached"])
    def test_one_setting_moves_it_to_a_server(
        self, kind: str, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        pytest.importorskip("redis" if kind == "redis" else "pymemcache")
        port = request.getfixturevalue(f"{kind}_server").port
        url = f"{kind}://127.0.0.1:{port}"

        with blogging(tmp_path, FLASK_DOGPILE_CACHE_URL=url) as blog:
            path = "/post/what-the-tide-leaves"
            before = blog.get(path).made
            assert blog.get(path).made == before
            blog.post(f"{path}/comments", name="Ada", text="Oh.")

            assert "Oh." in blog.get(path).text
            assert not (tmp_path / "cache.db").exists()
