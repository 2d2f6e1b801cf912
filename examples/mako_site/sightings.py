"""The birds that people have seen, in a database of SQLite.

    python examples/mako_site/sightings.py FILE

makes the file and fills it with the sightings of five years, the same each time.
"""

from __future__ import annotations

import datetime
import random
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

#: Name, scientific name, length in centimetres, share of the sightings, months.
BIRDS = (
    ("Barn swallow", "Hirundo rustica", 18, 9, "456789"),
    ("Barn owl", "Tyto alba", 35, 2, "123456789"),
    ("Black kite", "Milvus migrans", 55, 3, "345678"),
    ("Blue tit", "Cyanistes caeruleus", 12, 14, "123456789"),
    ("Common blackbird", "Turdus merula", 25, 16, "123456789"),
    ("Common buzzard", "Buteo buteo", 54, 8, "123456789"),
    ("Common crane", "Grus grus", 115, 4, "2349"),
    ("Common cuckoo", "Cuculus canorus", 33, 3, "4567"),
    ("Common kestrel", "Falco tinnunculus", 34, 7, "123456789"),
    ("Common kingfisher", "Alcedo atthis", 17, 3, "123456789"),
    ("Common swift", "Apus apus", 17, 8, "5678"),
    ("Eurasian bittern", "Botaurus stellaris", 75, 1, "12349"),
    ("Eurasian hoopoe", "Upupa epops", 27, 1, "45678"),
    ("Eurasian wren", "Troglodytes troglodytes", 10, 9, "123456789"),
    ("European goldfinch", "Carduelis carduelis", 13, 9, "123456789"),
    ("European robin", "Erithacus rubecula", 14, 14, "123456789"),
    ("Great spotted woodpecker", "Dendrocopos major", 23, 8, "123456789"),
    ("Grey heron", "Ardea cinerea", 94, 8, "123456789"),
    ("Northern lapwing", "Vanellus vanellus", 30, 4, "3456789"),
    ("Osprey", "Pandion haliaetus", 58, 1, "3456789"),
    ("Red kite", "Milvus milvus", 63, 5, "123456789"),
    ("White stork", "Ciconia ciconia", 105, 4, "345678"),
    ("White-tailed eagle", "Haliaeetus albicilla", 80, 2, "123456789"),
    ("Willow tit", "Poecile montanus", 12, 3, "123456789"),
)
PLACES = (
    *("Alder pond", "Beacon hill", "Castle moat", "Chapel wood", "Cider orchard"),
    *("Dyke road", "Ferry landing", "Gallows heath", "Glebe field", "Heron weir"),
    *("Kiln lane", "Long meadow", "Mill brook", "North marsh", "Old quarry"),
    *("Park lake", "Quay wall", "Reed bank", "Saltings", "South marsh"),
    *("Tannery bridge", "Vicarage garden", "Warren down", "Wharf yard"),
)
PEOPLE = ("Ada", "Bela", "Carl", "Dora", "Emil", "Fritzi", "Gus", "Hedy", "Ivo", "Jo")
YEARS = range(2020, 2025)
SIGHTINGS = 20_000

TABLES = """
CREATE TABLE bird (
    id INTEGER PRIMARY KEY, slug TEXT UNIQUE, name TEXT, latin TEXT, length REAL
);
CREATE TABLE sighting (
    id INTEGER PRIMARY KEY, bird INTEGER REFERENCES bird, day TEXT, place TEXT,
    number INTEGER, person TEXT
);
CREATE INDEX sighting_bird ON sighting (bird, day);
CREATE INDEX sighting_day ON sighting (day);
"""

LATEST_OF_ALL = """
SELECT name, slug, day, place, number, person
FROM sighting JOIN bird ON bird.id = sighting.bird
ORDER BY day DESC, sighting.id DESC LIMIT ?
"""
LATEST_OF_ONE = """
SELECT name, slug, day, place, number, person
FROM sighting JOIN bird ON bird.id = sighting.bird
WHERE bird.id = ? ORDER BY day DESC, sighting.id DESC LIMIT ?
"""


class Bird(NamedTuple):
    """A species.

    :param length: in centimetres.
    """

    id: int
    slug: str
    name: str
    latin: str
    length: float


class Sighting(NamedTuple):
    """What somebody has seen, and where."""

    bird: str
    slug: str
    day: str
    place: str
    number: int
    person: str


class Database:
    """What one request asks; it opens the file with its first question.

    :param path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        #: How many questions were asked.
        self.queries = 0

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()

    def birds(self) -> list[tuple[Bird, int]]:
        """Return the species, and how many of each were seen."""
        rows = self._ask(
            "SELECT bird.id, slug, name, latin, length, coalesce(sum(number), 0) "
            "FROM bird LEFT JOIN sighting ON sighting.bird = bird.id "
            "GROUP BY bird.id ORDER BY name"
        )
        return [(Bird(*row[:5]), row[5]) for row in rows]

    def bird(self, slug: str) -> Bird | None:
        """Return a species, if there is one of that name."""
        rows = self._ask(
            "SELECT id, slug, name, latin, length FROM bird WHERE slug = ?", slug
        )
        return Bird(*rows[0]) if rows else None

    def latest(self, count: int, bird: Bird | None = None) -> list[Sighting]:
        """Return the latest sightings, of all birds or of one."""
        rows = (
            self._ask(LATEST_OF_ALL, count)
            if bird is None
            else self._ask(LATEST_OF_ONE, bird.id, count)
        )
        return [Sighting(*row) for row in rows]

    def months(self, bird: Bird) -> list[int]:
        """Return how many of a species were seen in January, February, ..."""
        rows = self._ask(
            "SELECT substr(day, 6, 2), sum(number) FROM sighting "
            "WHERE bird = ? GROUP BY 1",
            bird.id,
        )
        counted = {int(month): number for month, number in rows}
        return [counted.get(month, 0) for month in range(1, 13)]

    def places(self, bird: Bird, count: int) -> list[tuple[str, int]]:
        """Return where a species was seen most."""
        return self._ask(
            "SELECT place, sum(number) FROM sighting WHERE bird = ? "
            "GROUP BY place ORDER BY 2 DESC, 1 LIMIT ?",
            bird.id,
            count,
        )

    def add(self, bird: Bird, place: str, number: int, person: str) -> None:
        """Note that somebody has seen something today."""
        today = datetime.date.today().isoformat()
        with self._open() as connection:
            connection.execute(
                "INSERT INTO sighting (bird, day, place, number, person) "
                "VALUES (?, ?, ?, ?, ?)",
                (bird.id, today, place, number, person),
            )

    def _ask(self, question: str, *given: Any) -> list[Any]:
        self.queries += 1
        return self._open().execute(question, given).fetchall()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(self._path)
        return self._connection


@contextmanager
def opened(path: Path) -> Iterator[Database]:
    """Let a request ask its questions."""
    with closing(Database(path)) as database:
        yield database


def seed(path: Path) -> None:
    """Make the database, unless it is there."""
    if path.exists():
        return
    by_day = sorted(made_up(), key=lambda row: row[1])
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with closing(sqlite3.connect(draft)) as connection, connection:
        connection.executescript(TABLES)
        connection.executemany(
            "INSERT INTO bird (id, slug, name, latin, length) VALUES (?, ?, ?, ?, ?)",
            [
                (number, name.lower().replace(" ", "-"), name, latin, length)
                for number, (name, latin, length, _, _) in enumerate(BIRDS, start=1)
            ],
        )
        connection.executemany(
            "INSERT INTO sighting (bird, day, place, number, person) "
            "VALUES (?, ?, ?, ?, ?)",
            by_day,
        )
    draft.replace(path)


def made_up() -> Iterator[tuple[int, str, str, int, str]]:
    """Make up the sightings of all the years."""
    chance = random.Random(7)
    shares = [bird[3] for bird in BIRDS]
    for number in chance.choices(range(len(BIRDS)), shares, k=SIGHTINGS):
        # The months are digits; 9 stands for the autumn, and for the winter.
        month = int(chance.choice(BIRDS[number][4]))
        month = chance.choice((9, 10, 11, 12)) if month == 9 else month
        day = datetime.date(chance.choice(YEARS), month, chance.randint(1, 28))
        count = 1 + int(chance.expovariate(0.5))
        place = chance.choice(PLACES)
        yield number + 1, day.isoformat(), place, count, chance.choice(PEOPLE)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FILE")
    seed(Path(sys.argv[1]))
