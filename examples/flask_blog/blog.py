"""A blog whose pages are made once: Flask, a database of sqlite, and the cache.

    python examples/flask_blog/blog.py

fills a database where there is none, and serves http://127.0.0.1:5000/. Pages lie
in a file beside the database; ``FLASK_DOGPILE_CACHE_URL=redis://localhost`` (or
``memcached://localhost``) in the environment is all that changes that.
"""

from __future__ import annotations

import argparse
import re
import sqlite3
import sys
import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import seed
from flask import (
    Blueprint,
    Flask,
    abort,
    current_app,
    flash,
    g,
    redirect,
    render_template,
    request,
    url_for,
)

from dogpile.cache import ConfigurationError
from dogpile.cache.integrations.flask import DogpileCache

PAGE = 5
LAST_PAGE = 1_000_000  # a visitor may ask for any number; the database has its own

cache = DogpileCache()
blog = Blueprint("blog", __name__)


def create_app(**config: Any) -> Flask:
    """Make the application.

    :param config: ``BLOG_FOLDER`` for where the files lie, and whatever else.
    """
    app = Flask(__name__)
    app.config["BLOG_FOLDER"] = app.instance_path
    app.config.from_prefixed_env()
    app.config.update(config)
    folder = Path(app.config["BLOG_FOLDER"])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not {"DOGPILE_CACHE_URL", "DOGPILE_CACHE_REGIONS"} & app.config.keys():
        app.config["DOGPILE_CACHE_REGIONS"] = {
            "default": {
                "backend": "sqlite",
                "arguments": {"filename": str(folder / "cache.db")},
                "generation_ttl": 0,  # what one process changes, all see at once
            }
        }
    if app.config["SECRET_KEY"] is None:
        app.config["SECRET_KEY"] = seed.secret(folder)
    cache.init_app(app)
    app.register_blueprint(blog)
    app.teardown_appcontext(close_database)
    app.context_processor(lambda: {"made": uuid.uuid4().hex[:8], "authors": authors})
    app.jinja_env.filters["day"] = day
    seed.fill(folder / "blog.db")
    return app


# The database


def database() -> sqlite3.Connection:
    """Return the connection of this request, or of this refresh."""
    if "database" not in g:
        path = Path(current_app.config["BLOG_FOLDER"]) / "blog.db"
        g.database = sqlite3.connect(path)
        g.database.row_factory = sqlite3.Row
    connection: sqlite3.Connection = g.database
    return connection


def close_database(error: BaseException | None) -> None:
    """Close the connection."""
    if "database" in g:
        g.pop("database").close()


def read(query: str, *given: object) -> list[sqlite3.Row]:
    """Return the rows of a query."""
    return database().execute(query, given).fetchall()


def write(query: str, *given: object) -> None:
    """Change something."""
    with database() as connection:
        connection.execute(query, given)


def day(moment: str) -> str:
    """Write a moment for people."""
    return datetime.fromisoformat(moment).strftime("%d %B %Y")


POSTS = """
    SELECT post.*, count(comment.id) AS comments
    FROM post LEFT JOIN comment ON comment.post = post.slug
    GROUP BY post.slug ORDER BY post.written DESC LIMIT ? OFFSET ?
"""


@cache.memoize(600, grace=3600, tags="posts")
def authors() -> list[dict[str, Any]]:
    """Return who has written how much: on every page, and made once for all."""
    rows = read("SELECT author, count(*) AS posts FROM post GROUP BY author")
    return [dict(row) for row in rows]


# Pages that are the same for everybody


@blog.get("/")
@cache.cached(300, grace=3600, tags=["posts"], query=("page",))
def index() -> str:
    """Show the posts, the newest first."""
    page = min(max(1, request.args.get("page", 1, type=int)), LAST_PAGE)
    found = read(POSTS, PAGE + 1, (page - 1) * PAGE)
    if not found and page > 1:
        abort(404)
    more = len(found) > PAGE
    return render_template("index.html", posts=found[:PAGE], page=page, more=more)


@blog.get("/post/<slug>")
@cache.cached(300, grace=3600, tags=["posts", "post:{slug}"], query=None)
def post(slug: str) -> str:
    """Show a post with its comments."""
    found = read("SELECT * FROM post WHERE slug = ?", slug)
    if not found:
        abort(404)
    comments = read("SELECT * FROM comment WHERE post = ? ORDER BY id", slug)
    return render_template("post.html", post=found[0], comments=comments)


@blog.get("/author/<name>")
@cache.cached(300, grace=3600, tags=["posts"], query=None)
def author(name: str) -> str:
    """Show what somebody has written."""
    found = read("SELECT * FROM post WHERE author = ? ORDER BY written DESC", name)
    if not found:
        abort(404)
    return render_template("author.html", name=name, posts=found)


# What changes something, and says what it has changed


@blog.before_request
def refuse_strangers() -> None:
    """Refuse forms that another site has sent in a visitor's name."""
    origin = request.headers.get("Origin")
    if request.method == "POST" and origin and urlsplit(origin).netloc != request.host:
        abort(400, "The form was sent from another site.")


@blog.post("/post/<slug>/comments")
def comment(slug: str) -> Any:
    """Keep a comment: this post's page changes, and the number on the first."""
    name, text = (request.form.get(each, "").strip() for each in ("name", "text"))
    if not read("SELECT 1 FROM post WHERE slug = ?", slug):
        abort(404)
    if not name or not text:
        abort(400, "A comment needs a name and a text.")
    write(
        "INSERT INTO comment (post, name, text, written) VALUES (?, ?, ?, ?)",
        *(slug, name, text, now()),
    )
    cache.invalidate_tags(f"post:{slug}")
    cache.invalidate_view("blog.index")
    return redirect(url_for(".post", slug=slug), 303)


@blog.route("/write", methods=["GET", "POST"])
def compose() -> Any:
    """Write a new post: all pages that list posts change."""
    if request.method == "GET":
        return render_template("compose.html")
    title, name, body = (
        request.form.get(each, "").strip() for each in ("title", "author", "body")
    )
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    if not slug or not name or not body:
        flash("A post needs a title, an author and a text.")
        return render_template("compose.html"), 400
    if read("SELECT 1 FROM post WHERE slug = ?", slug):
        flash("There is a post of that title already.")
        return render_template("compose.html"), 409
    write(
        "INSERT INTO post (slug, title, author, body, written) VALUES (?, ?, ?, ?, ?)",
        *(slug, title, name, body, now()),
    )
    cache.invalidate_tags("posts")
    return redirect(url_for(".post", slug=slug), 303)


def now() -> str:
    """Return this moment as it is stored."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def main() -> None:
    """Serve the blog to this machine."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--folder", help="where the database and the cache lie")
    asked = parser.parse_args()
    config = {} if asked.folder is None else {"BLOG_FOLDER": asked.folder}
    try:
        app = create_app(**config)
    except ConfigurationError as error:
        sys.exit(str(error))
    app.run(port=asked.port)


if __name__ == "__main__":
    main()
