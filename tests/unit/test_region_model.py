"""A region beside a dictionary, whatever is done to it, in whatever order."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dogpile.cache import NO_VALUE, CacheRegion
from dogpile.cache.testing import FakeClock

LIFETIME = 10
OF_FUNCTION = 4
ROOT, USERS = "root", "users"
TAGS = ("red", "blue")

DEEDS = ("put", "delete", "invalidate", "invalidate_tags")

keys = st.sampled_from(["a", "b", "f(1)", "f('x')"])
several_keys = st.lists(keys, max_size=4)
regions = st.sampled_from([ROOT, USERS])
tags = st.sets(st.sampled_from(TAGS)).map(lambda chosen: tuple(sorted(chosen)))
lifetimes = st.none() | st.just(3)


@dataclass
class Stored:
    """What the model knows of a value."""

    payload: int
    born: float
    lifetime: int | None
    #: The marks it was created under, by record.
    marks: Mapping[str, tuple[int, int]]


class RegionModel(RuleBasedStateMachine):
    """Subclass it, and make the backend's arguments."""

    backend: str

    def arguments(self) -> dict[str, Any]:
        return {}

    @initialize()
    def begin(self) -> None:
        self.clock = FakeClock()
        root = CacheRegion("model", clock=self.clock, expiration_time=LIFETIME)
        root.configure(f"dogpile.cache.{self.backend}", arguments=self.arguments())
        self.regions = {ROOT: root, USERS: root.namespace("users")}
        self.cached = root.cache_on_arguments(expiration_time=OF_FUNCTION)(self.make())
        self.values: dict[tuple[str, str], Stored] = {}
        self.marks: dict[str, tuple[int, int]] = {}
        self.numbers = 0

    def make(self) -> Callable[[int | str], int]:
        def f(argument: int | str) -> int:
            return self.next_number()

        return f

    def next_number(self) -> int:
        self.numbers += 1
        return self.numbers

    def teardown(self) -> None:
        if hasattr(self, "regions"):
            self.regions[ROOT].close()

    # What the model thinks

    def key(self, key: str) -> Any:
        """Return the key that the region is asked for."""
        function: Any = self.cached
        return {"f(1)": function.key(1), "f('x')": function.key("x")}.get(key, key)

    def records(self, region: str, chosen: tuple[str, ...]) -> list[str]:
        own = [ROOT] if region == ROOT else [ROOT, USERS]
        return [*own, *(f"{region} {tag}" for tag in chosen)]

    def now(self, records: list[str]) -> dict[str, tuple[int, int]]:
        return {name: self.marks.get(name, (0, 0)) for name in records}

    def store(
        self,
        region: str,
        key: str,
        payload: int,
        *,
        lifetime: int | None = None,
        chosen: tuple[str, ...] = (),
    ) -> None:
        marks = self.now(self.records(region, chosen))
        born = self.clock.time()
        self.values[region, key] = Stored(payload, born, lifetime, marks)

    def is_valid(self, region: str, key: str, chosen: tuple[str, ...] = ()) -> bool:
        """Return whether there is a value that was not invalidated."""
        stored = self.values.get((region, key))
        if stored is None:
            return False
        records = {*self.records(region, chosen), *stored.marks}
        return all(
            stored.marks.get(name, (0, 0)) == mark
            for name, mark in self.now(sorted(records)).items()
        )

    def is_fresh(
        self,
        region: str,
        key: str,
        *,
        lifetime: int | None = None,
        chosen: tuple[str, ...] = (),
    ) -> bool:
        """Return whether there is a valid value that is young enough."""
        if not self.is_valid(region, key, chosen):
            return False
        stored = self.values[region, key]
        given = lifetime or stored.lifetime or LIFETIME
        return self.clock.time() < stored.born + given

    def payload(self, region: str, key: str) -> Any:
        if not self.is_valid(region, key):
            return NO_VALUE
        return self.values[region, key].payload

    # What is done

    @rule(seconds=st.integers(0, 5))
    def advance(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.integers(-4, 4))
    def jump(self, seconds: int) -> None:
        self.clock.jump(seconds)

    @rule(region=regions, key=keys, chosen=tags, lifetime=lifetimes)
    def put(
        self, region: str, key: str, chosen: tuple[str, ...], lifetime: int | None
    ) -> None:
        number = self.next_number()
        policy: dict[str, Any] = (
            {} if lifetime is None else {"expiration_time": lifetime}
        )
        self.regions[region].put(self.key(key), number, tags=chosen, **policy)
        self.store(region, key, number, lifetime=lifetime, chosen=chosen)

    @rule(region=regions, several=several_keys, chosen=tags)
    def put_multi(
        self, region: str, several: list[str], chosen: tuple[str, ...]
    ) -> None:
        numbers = {key: self.next_number() for key in dict.fromkeys(several)}
        mapping = {self.key(key): number for key, number in numbers.items()}
        self.regions[region].put_multi(mapping, tags=chosen)
        for key, number in numbers.items():
            self.store(region, key, number, chosen=chosen)

    @rule(region=regions, key=keys)
    def delete(self, region: str, key: str) -> None:
        self.regions[region].delete(self.key(key))
        self.values.pop((region, key), None)

    @rule(region=regions, several=several_keys)
    def delete_multi(self, region: str, several: list[str]) -> None:
        self.regions[region].delete_multi([self.key(key) for key in several])
        for key in several:
            self.values.pop((region, key), None)

    def invalidate_record(self, name: str, *, hard: bool) -> None:
        number = self.next_number()
        kept, _ = self.marks.get(name, (0, 0))
        self.marks[name] = (number, 0) if hard else (kept, number)

    @rule(region=regions, hard=st.booleans())
    def invalidate(self, region: str, hard: bool) -> None:
        self.regions[region].invalidate(hard)
        self.invalidate_record(region, hard=hard)

    @rule(region=regions, chosen=tags, hard=st.booleans())
    def invalidate_tags(self, region: str, chosen: tuple[str, ...], hard: bool) -> None:
        self.regions[region].invalidate_tags(*chosen, hard=hard)
        for tag in chosen:
            self.invalidate_record(f"{region} {tag}", hard=hard)

    @rule(region=regions, key=keys, chosen=tags, lifetime=lifetimes)
    def get_or_create(
        self, region: str, key: str, chosen: tuple[str, ...], lifetime: int | None
    ) -> None:
        is_fresh = self.is_fresh(region, key, lifetime=lifetime, chosen=chosen)
        more: dict[str, Any] = {"tags": chosen} if chosen else {}
        got = self.regions[region].get_or_create(
            self.key(key), self.next_number, lifetime, **more
        )
        if is_fresh:
            assert got == self.values[region, key].payload
        else:
            assert got == self.numbers
            self.store(region, key, got, lifetime=lifetime, chosen=chosen)

    @rule(region=regions, key=keys)
    def get_or_create_plainly(self, region: str, key: str) -> None:
        """Take the short way, if there is one."""
        is_fresh = self.is_fresh(region, key)
        got = self.regions[region].get_or_create(
            self.key(key),
            lambda: self.next_number(),
        )
        if is_fresh:
            assert got == self.values[region, key].payload
        else:
            assert got == self.numbers
            self.store(region, key, got)

    @rule(region=regions, several=several_keys, chosen=tags)
    def get_or_create_multi(
        self, region: str, several: list[str], chosen: tuple[str, ...]
    ) -> None:
        by_key = {self.key(key): key for key in several}
        fresh = {key for key in several if self.is_fresh(region, key, chosen=chosen)}
        made: dict[str, int] = {}

        def create(*asked: Any) -> list[int]:
            assert len({*asked}) == len(asked)
            made.update((by_key[key], self.next_number()) for key in asked)
            return [made[by_key[key]] for key in asked]

        got = self.regions[region].get_or_create_multi(
            [self.key(key) for key in several], create, tags=chosen
        )

        assert made.keys() == {*several} - fresh
        for key, number in made.items():
            self.store(region, key, number, chosen=chosen)
        assert got == [self.values[region, key].payload for key in several]

    @rule(argument=st.sampled_from([1, "x"]))
    def call(self, argument: int | str) -> None:
        """Call the decorated function, whose values are the region's too."""
        key = f"f({argument!r})"
        is_fresh = self.is_fresh(ROOT, key, lifetime=OF_FUNCTION)
        got = self.cached(argument)
        if is_fresh:
            assert got == self.values[ROOT, key].payload
        else:
            assert got == self.numbers
            self.store(ROOT, key, got, lifetime=OF_FUNCTION)

    @rule(
        argument=st.sampled_from([1, "x"]),
        deed=st.sampled_from(DEEDS),
        region=regions,
        key=keys,
        hard=st.booleans(),
    )
    def call_before_and_after(
        self, argument: int | str, deed: str, region: str, key: str, hard: bool
    ) -> None:
        """Call what remembers its values by its arguments, and must forget them."""
        self.call(argument)
        self.act(deed, region, key, hard=hard)
        self.call(argument)

    @rule(
        region=regions,
        key=keys,
        other=keys,
        deed=st.sampled_from(DEEDS),
        hard=st.booleans(),
    )
    def create_late(
        self, region: str, key: str, other: str, deed: str, hard: bool
    ) -> None:
        """Do something to a value, or to all, while one is created."""
        if self.is_fresh(region, key):
            return
        marks = dict(self.marks)

        def create() -> int:
            self.act(deed, region, other, hard=hard)
            return self.next_number()

        got = self.regions[region].get_or_create(self.key(key), create)

        assert got == self.numbers
        if other != key and marks == self.marks:
            self.store(region, key, got)

    def act(self, deed: str, region: str, key: str, *, hard: bool) -> None:
        if deed == "put":
            self.put(region, key, (), None)
        elif deed == "delete":
            self.delete(region, key)
        elif deed == "invalidate":
            self.invalidate(region, hard)
        else:
            self.invalidate_tags(region, TAGS, hard)

    @rule()
    def reopen(self) -> None:
        self.regions[ROOT].close()

    # What is seen

    @rule(region=regions, key=keys)
    def get(self, region: str, key: str) -> None:
        assert self.regions[region].get(self.key(key)) == self.payload(region, key)

    @rule(region=regions, key=keys, lifetime=lifetimes)
    def get_young(self, region: str, key: str, lifetime: int | None) -> None:
        got = self.regions[region].get(self.key(key), lifetime, ignore_expiration=False)
        is_fresh = self.is_fresh(region, key, lifetime=lifetime)
        assert got == (self.values[region, key].payload if is_fresh else NO_VALUE)

    @invariant()
    def holds_what_the_dictionary_holds(self) -> None:
        if not hasattr(self, "regions"):
            return
        every = ["a", "b", "f(1)", "f('x')"]
        for name, region in self.regions.items():
            asked = [self.key(key) for key in every]
            expected = [self.payload(name, key) for key in every]
            assert region.get_multi(asked) == expected
            assert not any(map(region.key_is_locked, asked))


class MemoryModel(RegionModel):
    backend = "memory"


class OtherMemoryModel(RegionModel):
    """Where each hit goes through the backend."""

    backend = "memory"

    def arguments(self) -> dict[str, Any]:
        return {"cache_dict": {}}


class MemoryPickleModel(RegionModel):
    backend = "memory_pickle"


class SqliteModel(RegionModel):
    backend = "sqlite"

    def arguments(self) -> dict[str, Any]:
        self.folder = Path(tempfile.mkdtemp())
        return {"filename": str(self.folder / "cache")}

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


QUICK = settings(max_examples=120, stateful_step_count=30, deadline=None)

TestMemoryModel = MemoryModel.TestCase
TestOtherMemoryModel = OtherMemoryModel.TestCase
TestMemoryPickleModel = MemoryPickleModel.TestCase
TestSqliteModel = SqliteModel.TestCase

TestMemoryModel.settings = QUICK
TestOtherMemoryModel.settings = settings(QUICK, max_examples=40)
TestMemoryPickleModel.settings = settings(QUICK, max_examples=40)
TestSqliteModel.settings = settings(QUICK, max_examples=25)
