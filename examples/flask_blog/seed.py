"""What the blog begins with: a database, and a secret of its own."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from pathlib import Path

SCHEMA = """
CREATE TABLE post (
    slug TEXT PRIMARY KEY, title TEXT NOT NULL, author TEXT NOT NULL,
    body TEXT NOT NULL, written TEXT NOT NULL
);
CREATE TABLE comment (
    id INTEGER PRIMARY KEY, post TEXT NOT NULL REFERENCES post (slug),
    name TEXT NOT NULL, text TEXT NOT NULL, written TEXT NOT NULL
);
CREATE INDEX comment_of ON comment (post);
"""

# Title, author, day, text, and who has said what about it.
POSTS = [
    (
        "The lake in winter",
        "Mira",
        "2026-01-12",
        "The ice came overnight, thin enough to sing when a stone skips over it.",
        [("Tomas", "It sang all the way to our side."), ("Ines", "Photographs!")],
    ),
    (
        "Bread without hurry",
        "Tomas",
        "2026-01-25",
        "Flour, water, salt, and a day of doing nothing. The last part is the recipe.",
        [("Mira", "The second loaf was the good one.")],
    ),
    (
        "A map of the footpaths",
        "Ines",
        "2026-02-08",
        "Forty-one paths, six of which end at a fence that was not there last year.",
        [],
    ),
    (
        "Repairing the old radio",
        "Tomas",
        "2026-02-21",
        "One capacitor, two evenings, and a station that still plays waltzes.",
        [("Jon", "Which station?"), ("Tomas", "I am not telling.")],
    ),
    (
        "The swallows are late",
        "Mira",
        "2026-04-17",
        "Nine days later than last spring. The barn has been very quiet about it.",
        [],
    ),
    (
        "What the tide leaves",
        "Ines",
        "2026-05-03",
        "Glass, rope, one shoe, and a letter that the sea had read before us.",
        [("Mira", "What did it say?")],
    ),
    (
        "A bench for the hill",
        "Tomas",
        "2026-06-14",
        "Oak, because it will be there when nobody knows who carried it up.",
        [],
    ),
    (
        "Counting stars badly",
        "Ines",
        "2026-08-12",
        "We agreed on two hundred and eleven, and that one of them was a plane.",
        [("Jon", "Two hundred and twelve.")],
    ),
]


def fill(path: Path) -> None:
    """Make the database, unless it is there."""
    if path.exists():
        return
    making = _beside(path)
    connection = sqlite3.connect(making)
    with connection:
        connection.executescript(SCHEMA)
        for title, author, day, body, comments in POSTS:
            slug = title.lower().replace(" ", "-")
            written = f"{day}T08:00:00+00:00"
            connection.execute(
                "INSERT INTO post VALUES (?, ?, ?, ?, ?)",
                (slug, title, author, body, written),
            )
            connection.executemany(
                "INSERT INTO comment (post, name, text, written) VALUES (?, ?, ?, ?)",
                [(slug, name, text, written) for name, text in comments],
            )
    connection.close()
    _settle(making, path)


def secret(folder: Path) -> str:
    """Return the secret that signs sessions and cached pages; made once."""
    path = folder / "secret"
    if not path.exists():
        making = _beside(path)
        making.touch(mode=0o600)
        making.write_text(secrets.token_hex(32), encoding="ascii")
        _settle(making, path)
    return path.read_text(encoding="ascii")


def _beside(path: Path) -> Path:
    # Several processes may start at the same time.
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}")


def _settle(making: Path, path: Path) -> None:
    """Give a file its name, unless another process was faster."""
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(making)
    making.unlink()
