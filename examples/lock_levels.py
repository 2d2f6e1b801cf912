"""The lock around a value-creation function, from one variable to a whole cache.

    python examples/lock_levels.py

``docs/lock.rst`` tells what each level is about.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dogpile.cache.backends.file import FileLock
from dogpile.lock import Lock, NeedRegenerationException
from dogpile.util import NameRegistry


class Level1:
    """One value, in an attribute."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()
        self.value = ""
        self.created = 0.0  # there is none yet

    def create(self) -> tuple[str, float]:
        """Create the value, keep it, and tell when that was."""
        self.value, self.created = "expensive", time.time()
        return self.value, self.created

    def read(self) -> tuple[str, float]:
        """Return the value that is kept, and when it was created."""
        return self.value, self.created

    def get(self) -> str:
        """Return a value that is not older than a minute."""
        with Lock(self.mutex, self.create, self.read, 60) as value:
            return str(value)


class Level2:
    """Many values, in a dictionary; a mutex for each key."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[str, float]] = {}
        # The same mutex for all who ask for a key at the same time.
        self.mutexes = NameRegistry(lambda key: threading.Lock())

    def get(self, key: str) -> str:
        """Return a key's value that is not older than a minute."""

        def create() -> tuple[str, float]:
            self.values[key] = (f"expensive {key}", time.time())
            return self.values[key]

        def read() -> tuple[str, float]:
            try:
                return self.values[key]
            except KeyError:
                raise NeedRegenerationException from None

        with Lock(self.mutexes.get(key), create, read, 60) as value:
            return str(value)


class Level3:
    """One value, in a file; a mutex among processes."""

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.mutex = FileLock(f"{filename}.lock")

    def create(self) -> tuple[Any, float]:
        """Create the value, and let the file appear whole."""
        value = {"rates": [1.1, 1.2]}
        with open(f"{self.filename}.new", "w", encoding="utf-8") as file:
            json.dump(value, file)
        os.replace(f"{self.filename}.new", self.filename)
        return value, os.stat(self.filename).st_mtime

    def read(self) -> tuple[Any, float]:
        """Return what the file holds, and when it was written."""
        try:
            with open(self.filename, encoding="utf-8") as file:
                return json.load(file), os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            raise NeedRegenerationException from None

    def get(self) -> Any:
        """Return a value that is not older than a minute."""
        with Lock(self.mutex, self.create, self.read, 60) as value:
            return value


class Level4(Level1):
    """An old value at once, and a new one from the background."""

    def refresh(self, mutex: threading.Lock) -> None:
        """Create the value in a thread, which gives the mutex back."""

        def work() -> None:
            try:
                self.create()
            finally:
                mutex.release()

        self.thread = threading.Thread(target=work)
        self.thread.start()

    def get(self) -> str:
        """Return a value, however old; one that is too old is refreshed."""
        with Lock(self.mutex, self.create, self.read, 60, self.refresh) as value:
            return str(value)


class Level5:
    """A cache: any key, any creator, any mapping to keep the values in."""

    def __init__(self, values: Any, mutex_for: Callable[[str], Any]) -> None:
        self.values = values
        self.mutex_for = mutex_for

    def get_or_create(
        self, key: str, creator: Callable[[], Any], expiration_time: float
    ) -> Any:
        """Return the value of a key, created by one caller where need be."""

        def create() -> tuple[Any, float]:
            created = time.time()
            self.values[key] = (creator(), created)
            return self.values[key]  # type: ignore[no-any-return]  # any mapping

        def read() -> tuple[Any, float]:
            if key not in self.values:
                raise NeedRegenerationException
            return self.values[key]  # type: ignore[no-any-return]  # as above

        with Lock(self.mutex_for(key), create, read, expiration_time) as value:
            return value


def main() -> None:
    """Have a crowd ask each of them."""
    calls: list[str] = []

    def create() -> str:
        calls.append("a call")
        return "expensive"

    mutexes = NameRegistry(lambda key: threading.Lock())
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(8) as crowd:
        one, two = Level1(), Level2()
        three = Level3(os.path.join(folder, "rates.json"))
        four, five = Level4(), Level5({}, mutexes.get)
        for level, ask in enumerate(
            (
                one.get,
                lambda: two.get("key"),
                three.get,
                four.get,
                lambda: five.get_or_create("key", create, 60),
            ),
            start=1,
        ):
            answers = crowd.map(lambda ask: ask(), [ask] * 20)
            print(f"level {level}: {set(map(str, answers))}")
        print(f"the creator of level 5 was called {len(calls)} time(s) by 20 callers")

        four.value, four.created = "old", time.time() - 61
        print(f"level 4, expired: {four.get()!r} now", end=", ")
        four.thread.join()
        print(f"{four.get()!r} after the refresh")


if __name__ == "__main__":
    main()
