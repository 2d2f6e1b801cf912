"""From a call to a key: what is promised of plans."""

from __future__ import annotations

import functools
import gc
import importlib.util
import inspect
import pathlib
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from arguments import (
    HERE,
    Base,
    Derived,
    Level,
    Other,
    Plain,
    UserId,
    both,
    exact,
    gather,
    load,
    outer_one,
    outer_two,
    values,
)
from hypothesis import given, settings, strategies as st

from dogpile.cache.exception import UncacheableArgument, ValidationError
from dogpile.cache.keys import (
    KeyPlan,
    compile_key,
    multi_plan,
    multi_prefix,
    note_function,
    plan,
)
from dogpile.cache.names import bare


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


class TestAnyCall:
    @given(st.lists(values(), max_size=3), st.lists(values(), max_size=3))
    def test_distinct_calls_have_distinct_keys(self, one: Any, other: Any) -> None:
        def collect(*args: Any) -> None: ...

        made = compile_key(plan(collect))

        assert (made(*one) == made(*other)) == (exact(one) == exact(other))

    @given(st.lists(st.text("a'\\,\" ", max_size=3), min_size=2, max_size=2))
    def test_near_misses_of_quoting_have_distinct_keys(self, pair: list[str]) -> None:
        one, other = pair

        assert (both(load, one, other) == both(load, other, one)) == (one == other)


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
            f"{__name__}:{bare(fetch.__qualname__)}|10",
            f"{__name__}:{bare(fetch.__qualname__)}|'10'",
        ]

    def test_with_a_namespace_the_prefix_is_that_of_1x(self) -> None:
        def fetch(*ids: Any) -> None: ...

        assert multi_prefix(fetch, "foo") == f"{__name__}:fetch|foo"
        assert multi_plan(fetch, namespace="foo").keys((10,)) == [
            f"{__name__}:fetch|foo|10"
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

        assert multi_prefix(fetch, "foo", 2) == f"{__name__}:fetch@2|foo"
        assert multi_plan(fetch, namespace="n", to_str=str).keys(("x", "a|b")) == [
            f"{__name__}:fetch|n|x",
            f"{__name__}:fetch|n|'a|b'",
        ]

    def test_an_argument_without_a_stable_form_is_refused(self) -> None:
        def fetch(*ids: Any) -> None: ...

        with pytest.raises(UncacheableArgument, match="for 'ids'"):
            multi_plan(fetch).keys((Plain(),))
