"""From a call to a key: what is promised of plans, forms and manglers."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import gc
import importlib.util
import inspect
import math
import pathlib
import re
import subprocess
import sys
import textwrap
import types
import uuid
import weakref
import zoneinfo
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings, strategies as st

from dogpile.cache.canonical import bare
from dogpile.cache.exception import UncacheableArgument, ValidationError
from dogpile.cache.keys import (
    KeyLimit,
    KeyPlan,
    canonical,
    compile_key,
    format_fields,
    function_key_generator,
    function_multi_key_generator,
    kwarg_function_key_generator,
    length_conditional_mangler,
    limited,
    multi_plan,
    multi_prefix,
    note_function,
    plan,
    sha1_mangle_key,
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


class TestTheKeyOfACall:
    def test_a_key_can_be_read(self) -> None:
        assert both(load, 1, "x") == f"{HERE}:load|1,'x'"

    def test_one_binding_has_one_key(self) -> None:
        keys = {
            both(load, 1),
            both(load, 1, 2),
            both(load, a=1),
            both(load, b=2, a=1),
        }

        assert len(keys) == 1

    def test_arguments_do_not_run_into_each_other(self) -> None:
        assert both(load, "a_b", "c") != both(load, "a", "b_c")
        assert both(load, "a,'b'", "c") != both(load, "a", "'b','c'")

    def test_a_type_is_part_of_the_value(self) -> None:
        values = [1, "1", True, 1.0, 1 + 0j, b"1", None, "None", Level.LOW, UserId(1)]

        assert len({both(load, value) for value in values}) == len(values)

    def test_surplus_arguments_are_told_from_others(self) -> None:
        keys = [
            both(gather, 1),
            both(gather, 1, 2),
            both(gather, 1, (2,)),
            both(gather, 1, 2, 3),
            both(gather, 1, (2, 3)),
            both(gather, 1, x=2),
            both(gather, 1, {"x": 2}),
            both(gather, 1, flag=True),
            both(gather, 1, options=1),
        ]

        assert len(set(keys)) == len(keys)

    def test_surplus_keywords_are_sorted(self) -> None:
        assert both(gather, 1, x=1, y=2) == both(gather, 1, y=2, x=1)
        assert both(gather, 1, 2, x=3) == (f"{HERE}:gather|1,*(2),False,**{{'x':3}}")

    def test_functions_of_one_name_differ_by_where_they_are_defined(self) -> None:
        assert both(outer_one(), 1) != both(outer_two(), 1)

    def test_an_integer_of_thousands_of_digits_has_a_key(self) -> None:
        assert both(load, 10**6000) != both(load, 10**6000 + 1)
        assert both(load, [10**6000]) != both(load, 10**6000)

    def test_parameters_may_have_any_name(self) -> None:
        def odd(_k: Any, _k0: Any = 1, *, _ktype: Any = 2, key: Any) -> None: ...

        assert both(odd, 1, key=3).endswith("|1,1,2,3")

    def test_a_default_is_not_copied(self) -> None:
        default: list[int] = []

        def grow(x: Any = default) -> None: ...

        made = compile_key(plan(grow))
        default.append(1)

        assert made().endswith("|[1]")

    def test_a_call_that_does_not_fit_is_told_as_python_does(self) -> None:
        made = plan(load)

        with pytest.raises(TypeError, match=r"load\(\) missing 1 required"):
            made.key((), {})
        with pytest.raises(TypeError, match=r"load\(\) got an unexpected"):
            compile_key(made)(1, c=1)

    def test_the_bound_arguments_have_their_defaults(self) -> None:
        assert plan(gather).bound((1, 2), {"x": 3}) == {
            "a": 1,
            "more": (2,),
            "flag": False,
            "options": {"x": 3},
        }

    def test_a_wrapped_function_is_bound_to_its_own_signature(self) -> None:
        @functools.wraps(load)
        def wrapper(*args: Any, **kwargs: Any) -> None: ...

        assert both(wrapper, a=1) == both(load, 1)

    def test_a_function_without_a_name_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="partial has no name"):
            plan(functools.partial(load, 1))

    def test_no_prefix_can_break_what_is_generated(self) -> None:
        made = plan(load, namespace="{x}\n'\"", version="\\{0}")

        assert compile_key(made)(1) == made.key((1,), {})


class TestOptions:
    def test_ignored_parameters_are_not_in_the_key(self) -> None:
        made = plan(load, ignore=["b"])

        assert made.parameters == ("a",)
        assert made.key((1, object()), {}) == compile_key(made)(1, 3)

    def test_a_single_name_may_be_ignored_without_a_list(self) -> None:
        assert plan(outer_one(), ignore="x").parameters == ()

    def test_an_unknown_name_is_refused_with_the_nearest(self) -> None:
        def fetch(user_id: int, session: object) -> None: ...

        with pytest.raises(ValidationError, match="did you mean 'session'"):
            plan(fetch, ignore=["sesion"])

    def test_a_keyword_among_the_surplus_can_be_ignored(self) -> None:
        made = plan(gather, ignore=["debug"])

        assert made.key((1,), {"debug": object()}) == made.key((1,), {})
        assert compile_key(made)(1, debug=object()) == made.key((1,), {})

    def test_namespace_and_version_set_keys_apart(self) -> None:
        keys = {
            plan(load, namespace=namespace, version=version).key((1,), {})
            for namespace in (None, "a", "b", "3", "a|1", "'a'", "self=a")
            for version in (None, 3, 4, "a|b")
        }

        assert len(keys) == 28
        assert plan(load, version=3, namespace="n").prefix == f"{HERE}:load@3|n"

    def test_a_namespace_is_not_taken_for_an_argument(self) -> None:
        with_namespace = plan(load, namespace="1").key((2, 3), {})

        assert with_namespace != plan(load).key(("1|2", 3), {})

    def test_a_format_string_makes_the_whole_key(self) -> None:
        made = plan(load, key="load:{a}:{b}")

        assert made.key((1,), {"b": "x"}) == compile_key(made)(1, "x") == "load:1:x"
        assert made.has_own_key

    def test_namespace_and_version_stand_around_a_key_of_ones_own(self) -> None:
        made = plan(load, key="load:{a}", namespace="n", version=2)

        assert made.key((1,), {}) == "n|load:1@2"

    def test_a_callable_is_given_the_parameters_that_it_names(self) -> None:
        made = plan(gather, key=lambda flag, a: f"{a}/{flag}")

        assert made.key((1,), {}) == compile_key(made)(1) == "1/False"

    def test_a_callable_that_names_none_of_them_is_given_all(self) -> None:
        made = plan(gather, key=lambda *args, **kwargs: f"{args}{kwargs}")

        assert made.key((1, 2), {"x": 3}) == "(1, 2){'flag': False, 'x': 3}"
        assert compile_key(made)(1, 2, x=3) == "(1, 2){'flag': False, 'x': 3}"

    def test_a_key_that_is_no_string_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="key= must return a string, not int"):
            plan(load, key=lambda a: 5).key((1,), {})  # type: ignore[arg-type,return-value]  # as said

    def test_to_str_writes_the_arguments(self) -> None:
        made = plan(load, to_str=str)

        assert made.key((1, "x"), {}) == compile_key(made)(1, "x") == f"{HERE}:load|1,x"
        assert made.key(("a,b", "c"), {}) != made.key(("a", "b,c"), {})

    def test_a_text_of_to_str_that_is_none_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="to_str= must return a string"):
            plan(load, to_str=lambda value: b"x").key((1,), {})  # type: ignore[arg-type,return-value]  # as said


class TestMethods:
    def test_the_class_of_the_method_goes_without_saying(self) -> None:
        assert both(Base.go, Base(), 1) == f"{HERE}:Base.go|1"

    def test_a_subclass_has_its_own_values(self) -> None:
        assert both(Base.go, Derived(), 1) == f"{HERE}:Base.go|self={HERE}:Derived|1"
        make = Base.make.__func__  # type: ignore[attr-defined]  # of a classmethod
        assert both(make, Base, 1) == f"{HERE}:Base.make|1"
        assert both(make, Derived, 1) == f"{HERE}:Base.make|cls={HERE}:Derived|1"

    def test_two_instances_share_their_values(self) -> None:
        assert both(Derived.go, Derived(), 1) == both(Derived.go, Derived(), 1)

    def test_the_class_may_stand_for_its_instances(self) -> None:
        assert both(Base.go, Derived, 1) == both(Base.go, Derived(), 1)

    def test_two_classes_methods_differ(self) -> None:
        assert both(Base.go, Base(), 1) != both(Other.go, Other(), 1)

    def test_an_instance_may_say_who_it_is(self) -> None:
        assert both(Base.go, Keyed(7), 1) == f"{HERE}:Base.go|self={HERE}:Keyed(7)|1"
        assert both(Base.go, Keyed(7), 1) != both(Base.go, Keyed(8), 1)

    def test_the_class_cannot_stand_for_instances_that_say_so(self) -> None:
        with pytest.raises(ValidationError, match="pass the instance first"):
            plan(Base.go).key((Keyed, 1), {})

    def test_only_the_classes_own_method_says_so(self) -> None:
        assert both(WithMeta.go, WithMeta(), 1) == f"{HERE}:WithMeta.go|1"
        assert both(Base.go, Unkeyed(7), 1) == both(Base.go, Unkeyed(8), 1)

    @pytest.mark.parametrize("receiver", [3, None, "x", Other, int, Plain()])
    def test_what_cannot_be_the_instance_is_refused(self, receiver: object) -> None:
        made = plan(Base.index)

        with pytest.raises(ValidationError, match="pass the instance first"):
            made.key((receiver, 3), {})
        with pytest.raises(ValidationError, match="pass the instance first"):
            compile_key(made)(receiver, 3)

    def test_a_private_method_is_found(self) -> None:
        assert both(Base.hidden, Derived(), 1).endswith(f"self={HERE}:Derived|1")

    def test_a_static_method_and_a_function_have_no_receiver(self) -> None:
        def go(self: Any, x: Any) -> None: ...

        assert not plan(Base.count).is_method
        assert not plan(go).is_method
        assert both(go, 1, 2).endswith("|1,2")

    def test_the_instance_can_be_ignored_with_its_class(self) -> None:
        made = plan(Base.go, ignore=["self"])

        assert made.key((Keyed(1), 1), {}) == compile_key(made)(Derived(), 1)

    def test_a_bound_method_keeps_its_receiver_in_the_prefix(self) -> None:
        assert both(Keyed(7).go, 1) == both(Base.go, Keyed(7), 1)
        assert both(Derived.make, 1) != both(Base.make, 1)
        assert both(Base().go, 1) == both(Base.go, Base(), 1)

    def test_classes_are_not_kept_alive(self) -> None:
        made = plan(Base.go)

        class Passing(Base):
            def __cache_key__(self) -> object:
                return super().__class__.__name__

        made.key((Passing(), 1), {})
        gone = weakref.ref(Passing)
        del Passing
        gc.collect()

        assert gone() is None
        assert made.receive is not None
        assert not made.receive._known


class TestScripts:
    SCRIPT = """
        import dataclasses, multiprocessing
        from dogpile.cache.keys import plan

        @dataclasses.dataclass
        class Point:
            x: int

        def load(point): ...

        def show(_):
            return plan(load).key((Point(1),), {})

        if __name__ == "__main__":
            print(show(None))
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(show, [None])[0])
    """

    def test_the_file_of_a_script_is_its_location(self, tmp_path: pathlib.Path) -> None:
        script = tmp_path / "report.py"
        script.write_text(textwrap.dedent(self.SCRIPT))

        out = subprocess.run(
            [sys.executable, str(script)],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout.split()

        place = bare(str(script))
        assert out == [f"{place}:load|{place}:Point(x=1)"] * 2


@dataclasses.dataclass
class Cell:
    content: Any


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

        assert f"for 'a' is a {kind}," in str(caught.value)
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


class TestAnyValue:
    @given(values(), values())
    def test_distinct_values_have_distinct_forms(self, one: Any, other: Any) -> None:
        assert (canonical(one) == canonical(other)) == (exact(one) == exact(other))

    @given(st.lists(values(), max_size=3), st.lists(values(), max_size=3))
    def test_distinct_calls_have_distinct_keys(self, one: Any, other: Any) -> None:
        def collect(*args: Any) -> None: ...

        made = compile_key(plan(collect))

        assert (made(*one) == made(*other)) == (exact(one) == exact(other))

    @given(st.lists(st.text("a'\\,\" ", max_size=3), min_size=2, max_size=2))
    def test_near_misses_of_quoting_have_distinct_keys(self, pair: list[str]) -> None:
        one, other = pair

        assert (both(load, one, other) == both(load, other, one)) == (one == other)

    @given(values())
    def test_a_form_is_one_line_of_encodable_text(self, value: Any) -> None:
        text = canonical(value)

        assert text.isprintable()
        assert text.encode()


NAMES = st.sampled_from(
    ["a", "b", "c", "type", "str", "int", "_k", "_k0", "_ktype", "key", "repr", "self"]
)
POSITIONAL_ONLY = inspect.Parameter.POSITIONAL_ONLY
POSITIONAL_OR_KEYWORD = inspect.Parameter.POSITIONAL_OR_KEYWORD
KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY
VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
KINDS = [POSITIONAL_ONLY, POSITIONAL_OR_KEYWORD, KEYWORD_ONLY, *VARIABLE]


@st.composite
def plans(draw: st.DrawFn) -> KeyPlan:
    """Plan a function with any parameters, some of them ignored."""
    names = draw(st.lists(NAMES, unique=True, max_size=6))
    kinds = sorted(draw(st.lists(st.sampled_from(KINDS), min_size=6, max_size=6)))
    literals = st.integers() | st.text(max_size=2) | st.none()
    parameters: list[inspect.Parameter] = []
    has_default = False
    for name, kind in zip(names, kinds, strict=False):
        default: Any = inspect.Parameter.empty
        if kind in VARIABLE:
            if any(kind == parameter.kind for parameter in parameters):
                continue
        elif draw(st.booleans()) or (has_default and kind != KEYWORD_ONLY):
            has_default = True
            default = draw(literals)
        parameters.append(inspect.Parameter(name, kind, default=default))
    space: dict[str, Any] = {"__name__": "made"}
    exec(f"def made{inspect.Signature(parameters)}: ...", space)
    known = [parameter.name for parameter in parameters]
    ignored = st.lists(st.sampled_from(known), unique=True) if known else st.just([])
    return plan(space["made"], ignore=draw(ignored))


class TestAnySignature:
    @settings(max_examples=200)
    @given(
        plans(),
        st.lists(values(), max_size=5),
        st.dictionaries(NAMES | st.just("z"), values(), max_size=4),
    )
    def test_both_ways_make_the_same_key_or_refuse_the_call(
        self, made: KeyPlan, args: list[Any], kwargs: dict[str, Any]
    ) -> None:
        fast = compile_key(made)
        try:
            made.fn(*args, **kwargs)
        except TypeError:
            with pytest.raises(TypeError):
                made.key(args, kwargs)
            with pytest.raises(TypeError):
                fast(*args, **kwargs)
        else:
            assert fast(*args, **kwargs) == made.key(args, kwargs)

    @settings(max_examples=50)
    @given(plans(), st.data())
    def test_one_binding_has_one_key(self, made: KeyPlan, data: st.DataObject) -> None:
        signature = inspect.signature(made.fn)
        by_name = {
            name: data.draw(values())
            for name, parameter in signature.parameters.items()
            if parameter.kind not in VARIABLE
        }
        movable = [
            name
            for name in by_name
            if signature.parameters[name].kind == POSITIONAL_OR_KEYWORD
        ]
        first = [by_name.pop(n) for n in made.shape.positional if n not in movable]
        moved = movable[: data.draw(st.integers(0, len(movable)))]

        some_by_position = [*first, *(by_name[name] for name in moved)]
        others = {name: by_name[name] for name in by_name if name not in moved}

        assert made.key(first, by_name) == made.key(some_by_position, others)


class TestFormatStrings:
    def test_strings_and_integers_stand_as_they_are(self) -> None:
        fill = format_fields("user:{user_id}:{name}!", ["user_id", "name"])

        assert fill({"user_id": 5, "name": "it's"}) == "user:5:it's!"

    def test_other_values_stand_in_their_canonical_form(self) -> None:
        fill = format_fields("{x}", ["x"])

        assert fill({"x": True}) == "True"
        assert fill({"x": [1, "a"]}) == "[1,'a']"
        assert fill({"x": Color.RED}) == f"{HERE}:Color.RED"

    def test_attributes_items_and_formats_are_understood(self) -> None:
        fill = format_fields("{cell.content[0]:03d}-{x!r}-{{}}", ["cell", "x"])

        assert fill({"cell": Cell([7]), "x": "y"}) == "007-'y'-{}"

    @pytest.mark.parametrize(
        ("template", "reason"),
        [
            ("{user}", "no parameter 'user'; did you mean 'user_id'"),
            ("{}", "no parameter ''"),
            ("{0}", "no parameter '0'"),
            ("{user_id:{width}}", "a field in a field"),
            ("{user_id", "expected '}'"),
        ],
    )
    def test_a_wrong_template_is_refused_at_once(
        self, template: str, reason: str
    ) -> None:
        def fetch(user_id: int) -> None: ...

        for wrong in (
            lambda: plan(fetch, key=template),
            lambda: plan(fetch).reader(template),
        ):
            with pytest.raises(ValidationError, match=re.escape(reason)):
                wrong()

    @pytest.mark.parametrize("template", ["{x}", "{x!r}", "{x.content}"])
    def test_a_field_without_a_stable_form_is_refused(self, template: str) -> None:
        fill = format_fields(template, ["x"], function="load")

        with pytest.raises(UncacheableArgument, match=r"load\(\): .* for 'x'"):
            fill({"x": Cell(Plain()) if "." in template else Plain()})

    def test_a_reader_reads_templates_and_callables_alike(self) -> None:
        made = plan(load)
        bound = made.bound((1,), {})

        assert made.reader("a:{a}")(bound) == "a:1"
        assert made.reader(lambda b: [b, b])(bound) == [2, 2]
        assert made.reader(lambda: "all")(bound) == "all"
        assert made.reader(max)(bound) == 2


def make_counter(start: int) -> Callable[..., object]:
    def count(x: int) -> int:
        return start + x

    return count


class TestRedefinitions:
    def note(self, fn: Callable[..., object], **options: Any) -> None:
        note_function(plan(fn, **options), fn)

    def test_a_second_function_of_one_name_is_a_warning(self) -> None:
        def twice(x: int) -> None: ...

        first = twice

        def twice(x: int) -> None: ...  # type: ignore[no-redef]  # as said

        self.note(first)

        with pytest.warns(UserWarning, match="share their keys") as caught:
            self.note(twice)
        text = str(caught[0].message)
        assert f"{__file__}:{first.__code__.co_firstlineno}" in text
        assert f"{__file__}:{twice.__code__.co_firstlineno}" in text

    def test_a_factory_that_runs_again_is_none(self) -> None:
        kept = [make_counter(1), make_counter(2)]

        for fn in kept:
            self.note(fn)

    def test_a_module_that_is_loaded_again_is_none(
        self, tmp_path: pathlib.Path
    ) -> None:
        file = tmp_path / "loaded.py"
        file.write_text("def load(x): ...")
        kept = []
        for _ in range(2):
            spec = importlib.util.spec_from_file_location("loaded", file)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            kept.append(module.load)

        for fn in kept:
            self.note(fn)

    def test_a_namespace_or_a_key_of_its_own_sets_it_apart(self) -> None:
        def apart(x: int) -> None: ...

        first = apart

        def apart(x: int) -> None: ...  # type: ignore[no-redef]  # as said

        self.note(first)
        self.note(apart, namespace="second")
        self.note(apart, key="{x}")

    def test_functions_are_not_kept_alive(self) -> None:
        def passing(x: int) -> None: ...

        self.note(passing)
        gone = weakref.ref(passing)
        del passing
        gc.collect()

        assert gone() is None


class TestMultiKeys:
    def test_each_argument_has_its_own_key(self) -> None:
        def fetch(*ids: Any) -> None: ...

        assert multi_plan(fetch).keys((10, "10")) == [
            f"{HERE}:{bare(fetch.__qualname__)}|10",
            f"{HERE}:{bare(fetch.__qualname__)}|'10'",
        ]

    def test_with_a_namespace_the_prefix_is_that_of_1x(self) -> None:
        def fetch(*ids: Any) -> None: ...

        assert multi_prefix(fetch, "foo") == f"{HERE}:fetch|foo"
        assert multi_plan(fetch, namespace="foo").keys((10,)) == [
            f"{HERE}:fetch|foo|10"
        ]

    @pytest.mark.parametrize("namespace", [None, "foo"])
    def test_classes_have_keys_of_their_own(self, namespace: str | None) -> None:
        base = multi_plan(Base.many, namespace=namespace)
        other = multi_plan(Other.many, namespace=namespace)
        keys = {
            base.keys((Base(), 1))[0],
            base.keys((Derived(), 1))[0],
            other.keys((Other(), 1))[0],
        }

        assert len(keys) == 3

    def test_a_method_without_its_instance_is_refused(self) -> None:
        made = multi_plan(Base.many)

        with pytest.raises(ValidationError, match="pass the instance first"):
            made.keys((1, 2))
        with pytest.raises(TypeError, match="lacks the instance"):
            made.keys(())

    def test_version_and_to_str_are_understood(self) -> None:
        def fetch(*ids: Any) -> None: ...

        assert multi_prefix(fetch, "foo", 2) == f"{HERE}:fetch@2|foo"
        assert multi_plan(fetch, namespace="n", to_str=str).keys(("x", "a|b")) == [
            f"{HERE}:fetch|n|x",
            f"{HERE}:fetch|n|'a|b'",
        ]

    def test_an_argument_without_a_stable_form_is_refused(self) -> None:
        def fetch(*ids: Any) -> None: ...

        with pytest.raises(UncacheableArgument, match="for 'ids'"):
            multi_plan(fetch).keys((Plain(),))


class TestGeneratorsOf1x:
    def test_arguments_are_joined_by_blanks(self) -> None:
        assert function_key_generator(None, load)(1, "x") == f"{HERE}:load|1 x"
        assert function_key_generator("n", load)(None, 5) == f"{HERE}:load|n|None 5"

    def test_keywords_are_refused(self) -> None:
        with pytest.raises(ValueError, match="does not accept keyword arguments"):
            function_key_generator(None, load)(1, b=2)
        with pytest.raises(ValueError, match="does not accept keyword arguments"):
            function_multi_key_generator(None, load)(1, b=2)

    def test_the_receiver_is_left_out(self) -> None:
        assert function_key_generator(None, Base.go)(object(), 1) == f"{HERE}:go|1"
        assert function_multi_key_generator("n", Base.many)(None, 1, 2) == [
            f"{HERE}:many|n|1",
            f"{HERE}:many|n|2",
        ]
        assert kwarg_function_key_generator(None, Base.go)(None, x=1) == f"{HERE}:go|1"

    def test_names_decide_the_order_where_keywords_are_taken(self) -> None:
        def odd(b: Any, a: Any = None) -> None: ...

        generate = kwarg_function_key_generator(None, odd)

        assert generate(1) == generate(b=1) == f"{HERE}:odd|None 1"
        assert generate(1, 2) == generate(a=2, b=1) == f"{HERE}:odd|2 1"

    def test_more_arguments_than_parameters_are_refused(self) -> None:
        with pytest.raises(TypeError, match="more arguments than parameters"):
            kwarg_function_key_generator(None, load)(1, 2, 3)

    def test_to_str_writes_the_arguments(self) -> None:
        assert function_key_generator(None, load, repr)("x") == f"{HERE}:load|'x'"
        assert function_multi_key_generator(None, load, to_str=hex)(10) == [
            f"{HERE}:load|0xa"
        ]

    def test_manglers_hash_strings_and_bytes(self) -> None:
        digest = "53def077a4264bd3183d4eb21b1f56f883e1b572"

        assert sha1_mangle_key("some_key") == sha1_mangle_key(b"some_key") == digest
        mangle = length_conditional_mangler(8, sha1_mangle_key)
        assert (mangle("some_key"), mangle("somekey")) == (digest, "somekey")


KEYS = st.one_of(
    st.text(max_size=5),
    st.text(alphabet="ab~ \té\udc80\x7f\x85\u2028", max_size=80),
    st.integers(),
    st.binary(max_size=4),
    st.tuples(st.integers() | st.text(max_size=3)),
    st.none(),
)
LIMITS = st.builds(
    limited,
    st.integers(65, 90),
    forbid_controls=st.booleans(),
    ascii_only=st.booleans(),
)


class TestLimits:
    def test_a_legal_key_stays(self) -> None:
        mangle = limited(250, forbid_controls=True)

        assert mangle("pkg.mod:load|1,'é'") == "pkg.mod:load|1,'é'"
        assert mangle("x" * 250) == "x" * 250

    def test_a_long_key_keeps_its_head_and_gets_a_hash(self) -> None:
        mangle = limited(100)

        mangled = mangle("pkg.mod:load|" + "x" * 100)

        assert re.fullmatch(r"pkg\.mod:load\|x{22}~[0-9a-f]{64}", mangled)

    @pytest.mark.parametrize("key", ["", "a b", "a\nb", "a\x7f", "\udc80", "\x85"])
    def test_blanks_and_controls_are_hashed_where_forbidden(self, key: str) -> None:
        mangled = limited(250, forbid_controls=True)(key)

        assert re.fullmatch(r"[!-~]*~[0-9a-f]{64}", mangled)

    def test_blanks_are_left_alone_where_they_are_not(self) -> None:
        assert limited(250)("a b\n") == "a b\n"

    def test_other_keys_are_told_from_strings(self) -> None:
        mangle = limited(250, forbid_controls=True)

        assert mangle(1) == "~1"
        assert mangle((1, "a")) == "~(1,'a')"
        assert len({mangle(key) for key in (1, "1", "~1", b"1", True, None)}) == 6

    def test_a_string_counts_by_its_content(self) -> None:
        mangled = limited(250)(Word.HELLO)

        assert mangled == "hello"
        assert type(mangled) is str

    def test_a_key_that_looks_hashed_is_hashed(self) -> None:
        mangle = limited(100)
        hashed = mangle("x" * 200)

        assert mangle(hashed) != hashed
        assert mangle(mangle(hashed)) not in {hashed, mangle(hashed)}

    def test_a_key_without_a_stable_form_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="Plain cannot be a key"):
            limited(250)(Plain())

    def test_a_limit_without_room_for_a_hash_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="at least 65"):
            limited(64)

    @settings(max_examples=300)
    @given(LIMITS, KEYS)
    def test_every_key_becomes_a_legal_one(self, mangle: KeyLimit, key: Any) -> None:
        mangled = mangle(key)

        assert len(mangled.encode()) <= mangle._max_bytes
        if mangle._forbid_controls:
            assert mangled.isprintable()
            assert " " not in mangled
            assert mangled
        if mangle._ascii_only:
            assert mangled.isascii()

    @settings(max_examples=300)
    @given(LIMITS, KEYS, KEYS)
    def test_two_keys_never_become_one(
        self, mangle: KeyLimit, one: Any, other: Any
    ) -> None:
        keys = [one, other, mangle(one), mangle(other), mangle(mangle(one))]
        exactly = {exact(key) for key in keys}

        assert len({mangle(key) for key in keys}) == len(exactly)
