"""The text that stands for a value: distinct, stable, or refused."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import functools
import math
import pathlib
import re
import sys
import types
import uuid
import zoneinfo
from typing import Any

import pytest
from arguments import (
    HERE,
    Cell,
    Color,
    Derived,
    Length,
    Level,
    Money,
    Name,
    Pair,
    Place,
    Plain,
    Rights,
    Shown,
    Site,
    User,
    UserId,
    WithMeta,
    Word,
    exact,
    gather,
    load,
    outer_one,
    values,
)
from hypothesis import given

from dogpile.cache.canonical import canonical
from dogpile.cache.exception import UncacheableArgument
from dogpile.cache.keys import compile_key, plan


class Scalar:
    """What numpy's values look like from outside."""

    __module__ = "numpy"

    def __init__(self, content: bytes, kind: str = "i", shape: tuple[int, ...] = ()):
        self.dtype = types.SimpleNamespace(
            hasobject=kind == "O", kind=kind, str=f"<{kind}8", names=None
        )
        self.shape = shape
        self.content = content

    def tobytes(self) -> bytes:
        return self.content


class TestCanonicalForms:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (None, "None"),
            (-0.0, "-0.0"),
            (float("nan"), "nan"),
            (float("inf"), "inf"),
            (2 + 1j, "(2+1j)"),
            ("it's", '"it\'s"'),
            (b"x", "b'x'"),
            (bytearray(b"x"), "bytearray(b'x')"),
            ((), "()"),
            ((1,), "(1,)"),
            ([1, "x"], "[1,'x']"),
            ({}, "{}"),
            ({"b": 1, "a": 2}, "{'a':2,'b':1}"),
            (set(), "set()"),
            ({2, 1}, "{1,2}"),
            (frozenset({1}), "frozenset({1})"),
            (range(3), "range(0,3,1)"),
            (slice(1), "slice(None,1,None)"),
            (..., "Ellipsis"),
            (types.MappingProxyType({"a": 1}), "mappingproxy({'a':1})"),
            (types.SimpleNamespace(a=1), "types:SimpleNamespace({'a':1})"),
            (collections.deque([1], 3), "collections:deque([1],3)"),
            (collections.Counter("a"), "collections:Counter({'a':1})"),
            (Color.RED, f"{HERE}:Color.RED"),
            (Color.CRIMSON, f"{HERE}:Color.RED"),
            (Level.LOW, f"{HERE}:Level.LOW"),
            (Word.HELLO, f"{HERE}:Word.HELLO"),
            (Rights.READ | Rights.WRITE, f"{HERE}:Rights(3)"),
            (Pair(1, 2), f"{HERE}:Pair((1,2))"),
            (Place("a", 1), f"{HERE}:Place(name='a',hidden=1)"),
            (UserId(5), f"{HERE}:UserId(5)"),
            (Name("x"), f"{HERE}:Name('x')"),
            (User(5), f"{HERE}:User(5)"),
            (User((1, "x")), f"{HERE}:User((1,'x'))"),
            (Shown("<5>"), f"{HERE}:Shown('<5>')"),
            (Shown("Log('a...b')"), f"{HERE}:Shown(\"Log('a...b')\")"),
            (WithMeta, f"{HERE}:Meta('of the class')"),
            (WithMeta(), f"{HERE}:WithMeta('with meta')"),
            (int, "<int>"),
            (Plain, f"<{HERE}:Plain>"),
            (load, f"<{HERE}:load>"),
            (len, "<builtins:len>"),
            (math.sin, "<math:sin>"),
            (Derived.make, f"method(<{HERE}:Derived>,<{HERE}:Base.make>)"),
            (
                functools.partial(math.sin, 1),
                "functools:partial(<math:sin>,(1,),{})",
            ),
            (uuid.UUID(int=1), "uuid:UUID('00000000-0000-0000-0000-000000000001')"),
            (decimal.Decimal("1.0"), "decimal:Decimal('1.0')"),
            (fractions.Fraction(1, 2), "fractions:Fraction(1,2)"),
            (pathlib.PurePosixPath("a/b"), "pathlib:PurePosixPath('a/b')"),
            (pathlib.PureWindowsPath("a/b"), "pathlib:PureWindowsPath('a/b')"),
            (datetime.date(2024, 1, 2), "datetime:date('2024-01-02')"),
            (datetime.timedelta(1, 2, 3), "datetime:timedelta(1,2,3)"),
            (re.compile("x"), "re:Pattern('x',32)"),
        ],
    )
    def test_a_value_has_its_form(self, value: object, text: str) -> None:
        assert canonical(value) == text

    def test_paths_of_this_machine_have_a_form(self) -> None:
        path = pathlib.Path("a")

        assert canonical(path) == f"pathlib:{type(path).__name__}('a')"

    def test_equal_containers_have_one_form_whatever_their_order(self) -> None:
        forward = {"a": {1, 2, 3}, 1: None, (1, 2): "x"}
        backward = {(1, 2): "x", 1: None, "a": {3, 2, 1}}

        assert canonical(forward) == canonical(backward)

    def test_an_ordered_dictionary_keeps_its_order(self) -> None:
        ordered = collections.OrderedDict

        assert canonical(ordered(a=1, b=2)) != canonical(ordered(b=2, a=1))

    def test_moments_tell_naive_from_aware_and_zone_from_zone(self) -> None:
        naive = datetime.datetime(2024, 1, 1, 12)
        offset = datetime.timezone(datetime.timedelta(hours=1))
        named = datetime.timezone(datetime.timedelta(hours=1), "CET")
        moments = [
            naive,
            naive.replace(fold=1),
            naive.replace(tzinfo=datetime.timezone.utc),
            naive.replace(tzinfo=offset),
            naive.replace(tzinfo=named),
            naive.replace(tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
            naive.replace(tzinfo=zoneinfo.ZoneInfo("Europe/Paris")),
            naive.date(),
            naive.time(),
            naive.timetz().replace(tzinfo=offset),
            offset,
            named,
        ]

        assert len(set(map(canonical, moments))) == len(moments)
        assert canonical(moments[2]) == "datetime:datetime('2024-01-01T12:00:00+00:00')"

    def test_dataclasses_differ_by_class_and_by_hidden_fields(self) -> None:
        assert canonical(Place("a")) != canonical(Site("a"))
        assert canonical(Place("a", 1)) != canonical(Place("a", 2))

    def test_what_a_subclass_adds_is_in_its_form(self) -> None:
        euro, dollar = Money("1"), Money("1")
        euro.currency, dollar.currency = "EUR", "USD"

        assert canonical(euro) == f"{HERE}:Money('1',currency='EUR')"
        assert canonical(euro) != canonical(dollar)
        assert canonical(Length(1).in_unit("m")) != canonical(Length(1).in_unit("s"))

    def test_what_a_class_in_c_may_hide_is_read_off_its_repr(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Ticks(datetime.timedelta):
            def __repr__(self) -> str:
                return "Ticks(1 ns)"

        plain = canonical(Ticks())
        monkeypatch.setattr("dogpile.cache.canonical._undeclared", lambda cls: 8)

        assert canonical(Ticks()) == plain.replace("(0,0,0)", "(0,0,0,'Ticks(1 ns)')")

    def test_a_function_of_another_module_differs(self) -> None:
        assert canonical(math.sin) != canonical(math.cos)

    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            (object(), "object"),
            (Plain(), f"{HERE}.Plain"),
            ([Plain()], f"{HERE}.Plain"),
            (Cell(Plain()), f"{HERE}.Plain"),
            (lambda: 1, "lambda"),
            (outer_one(), "function defined inside a function"),
            ("x".upper, "bound method"),
            (Shown("<Thing at 0x7fA0>"), f"{HERE}.Shown"),
            (Shown("array([0, ..., 9])"), f"{HERE}.Shown"),
            (iter([]), "list_iterator"),
            (re.match("x", "x"), "re.Match"),
            (sys.__stdout__, "_io.TextIOWrapper"),
        ],
    )
    def test_a_value_without_a_stable_form_is_refused(
        self, value: object, kind: str
    ) -> None:
        with pytest.raises(UncacheableArgument) as caught:
            canonical(value, function="load", parameter="a")

        assert f"for 'a' ({kind}) has" in str(caught.value)
        assert (caught.value.function, caught.value.parameter) == ("load", "a")

    def test_a_class_made_inside_a_function_is_refused(self) -> None:
        class Inner:
            pass

        with pytest.raises(UncacheableArgument, match="class defined inside"):
            canonical(Inner)

    def test_containers_that_contain_themselves_are_refused(self) -> None:
        loop: list[Any] = []
        loop.append({"loop": (loop,)})
        cell = Cell(None)
        cell.content = cell
        user = User(None)
        user.user_id = [user]

        for value in (loop, cell, user):
            with pytest.raises(UncacheableArgument, match="contains itself"):
                canonical(value)

    def test_what_stands_twice_does_not_contain_itself(self) -> None:
        shared = [1]

        assert canonical([shared, shared]) == "[[1],[1]]"

    def test_what_is_nested_too_deeply_is_refused(self) -> None:
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]

        with pytest.raises(UncacheableArgument, match="too deeply nested list"):
            canonical(deep)

    def test_the_parameter_is_named(self) -> None:
        for call, parameter in (
            ((object(),), "a"),
            ((1, object()), "more"),
        ):
            with pytest.raises(UncacheableArgument, match=rf"ignore=\['{parameter}'"):
                compile_key(plan(gather))(*call)
        with pytest.raises(UncacheableArgument, match=r"ignore=\['debug'"):
            compile_key(plan(gather))(1, debug=object())

    def test_a_refusal_stands_alone(self) -> None:
        with pytest.raises(UncacheableArgument) as caught:
            compile_key(plan(load))(object())

        assert caught.value.__context__ is None


class TestNumbersInArrays:
    def test_type_shape_and_bytes_are_in_the_form(self) -> None:
        forms = [
            canonical(Scalar(b"\1" * 8)),
            canonical(Scalar(b"\1" * 8, "f")),
            canonical(Scalar(b"\1" * 8, shape=(1,))),
            canonical(Scalar(b"\1" * 80, shape=(10,))),
            canonical(Scalar(b"\1" * 79 + b"\2", shape=(10,))),
        ]

        assert forms[0] == "numpy:Scalar('<i8',(),0101010101010101)"
        assert len(set(forms)) == len(forms)
        assert max(map(len, forms)) < 120

    def test_an_array_of_objects_is_refused(self) -> None:
        with pytest.raises(UncacheableArgument, match="numpy value of dtype"):
            canonical(Scalar(b"", "O"))

    def test_what_only_offers_an_array_is_refused(self) -> None:
        class Frame(Shown):
            def __array__(self) -> None: ...

        with pytest.raises(UncacheableArgument, match="Frame"):
            canonical(Frame("Frame(0)"))


class TestAnyValue:
    @given(values(), values())
    def test_distinct_values_have_distinct_forms(self, one: Any, other: Any) -> None:
        assert (canonical(one) == canonical(other)) == (exact(one) == exact(other))

    @given(values())
    def test_a_form_is_one_line_of_encodable_text(self, value: Any) -> None:
        text = canonical(value)

        assert text.isprintable()
        assert text.encode()
