"""Functions, classes and values that keys are made of, for their tests."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st

from dogpile.cache.keys import (
    compile_key,
    plan,
)

HERE = __name__


def load(a: Any, b: Any = 2) -> None: ...


def gather(a: Any, *more: Any, flag: Any = False, **options: Any) -> None: ...


class Color(enum.Enum):
    RED = 1
    CRIMSON = RED
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


class Word(str, enum.Enum):
    HELLO = "hello"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Place:
    name: Any
    hidden: Any = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass
class Site:
    name: Any
    hidden: Any = None


class UserId(int):
    pass


class Name(str):
    __slots__ = ()


class Money(decimal.Decimal):
    currency: str


class Length(int):
    __unit: str

    def in_unit(self, unit: str) -> Length:
        self.__unit = unit
        return self


class User:
    def __init__(self, user_id: object) -> None:
        self.user_id = user_id

    def __cache_key__(self) -> object:
        return self.user_id


class Shown:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


class Plain:
    pass


class Meta(type):
    def __cache_key__(cls) -> str:
        return "of the class"


class WithMeta(metaclass=Meta):
    def __repr__(self) -> str:
        return "with meta"

    def go(self, x: Any) -> None: ...


class Base:
    def go(self, x: Any) -> None: ...

    def __hide(self, x: Any) -> None: ...

    @classmethod
    def make(cls, x: Any) -> None: ...

    @staticmethod
    def count(x: Any) -> None: ...

    def many(self, *ids: Any) -> None: ...

    def index(self, x: Any) -> None: ...

    hidden = __hide


class Other:
    def go(self, x: Any) -> None: ...

    def many(self, *ids: Any) -> None: ...


class Derived(Base):
    pass


class Keyed(Base):
    def __init__(self, number: int) -> None:
        self.number = number

    def __cache_key__(self) -> int:
        return self.number


class Unkeyed(Keyed):
    __cache_key__ = None  # type: ignore[assignment]  # takes it back


def both(fn: Callable[..., object], *args: Any, **kwargs: Any) -> str:
    """Return the key, which the two ways to make it must agree on."""
    made = plan(fn)
    key = made.key(args, kwargs)
    assert compile_key(made)(*args, **kwargs) == key
    return key


def outer_one() -> Callable[..., object]:
    def inner(x: Any) -> None: ...

    return inner


def outer_two() -> Callable[..., object]:
    def inner(x: Any) -> None: ...

    return inner


@dataclasses.dataclass
class Cell:
    content: Any


def values(*, hashable: bool = False) -> st.SearchStrategy[Any]:
    scalars = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        st.complex_numbers(allow_nan=False),
        st.text(alphabet="a1,'\"\\()[]{}|= \n\udc80é", max_size=4),
        st.text(max_size=4),
        st.binary(max_size=3),
        st.sampled_from([*Color, *Level, *Word, int, load, UserId(1), Name("a")]),
        st.decimals(allow_nan=False),
        st.datetimes(timezones=st.none() | st.timezones()),
        st.dates(),
        st.timedeltas(),
        st.uuids(),
        st.fractions(),
    )
    return scalars if hashable else st.recursive(scalars, _containers, max_leaves=6)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(values(hashable=True), inner, max_size=2),
        st.sets(values(hashable=True), max_size=2),
        st.frozensets(values(hashable=True), max_size=2),
        st.builds(Pair, inner, inner),
        st.builds(Cell, inner),
        st.builds(Place, inner, inner),
        st.builds(User, inner),
    )


def exact(value: Any) -> Any:
    """Make a value comparable by type and content, unlike ``1 == True``."""
    kind = type(value)
    if kind is float or kind is complex:
        return kind, repr(value)
    if kind is decimal.Decimal:
        return kind, value.as_tuple()
    if kind is datetime.datetime:
        return kind, value.replace(tzinfo=None), value.fold, repr(value.tzinfo)
    if isinstance(value, (list, tuple)):
        return kind, tuple(map(exact, value))
    if isinstance(value, (set, frozenset)):
        return kind, frozenset(map(exact, value))
    if isinstance(value, dict):
        return kind, frozenset((exact(k), exact(v)) for k, v in value.items())
    if isinstance(value, (Cell, Place, User)):
        return kind, exact(tuple(vars(value).values()))
    return kind, value
