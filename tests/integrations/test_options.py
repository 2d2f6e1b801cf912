"""What decorators, tags and settings take: refused by name, value and the nearest."""

from __future__ import annotations

from typing import Any

import pytest

from dogpile.cache import ValidationError
from dogpile.cache.integrations import http
from dogpile.cache.integrations.options import (
    OF_FUNCTIONS,
    OF_VIEWS,
    check_function,
    near,
    read_flag,
    read_names,
    read_seconds,
    read_tags,
    refuse_negative,
    refuse_unknown,
    spelled_seconds,
)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("regoin", "; did you mean 'region'?"),
        ("tag", "; did you mean 'tags'?"),
        ("grase", "; did you mean 'grace'?"),
        ("timeout", "; here it is 'expiration_time'"),
        ("key_prefix", "; here it is 'key'"),
        ("query_string", "; here it is 'query'"),
        ("xyz", " (known: early"),
    ],
)
def test_a_misspelt_option_of_a_view_names_the_nearest(wrong: str, hint: str) -> None:
    with pytest.raises(ValidationError) as caught:
        refuse_unknown("a cached view", [wrong], OF_VIEWS)

    assert f"a cached view has no option {wrong!r}{hint}" in str(caught.value)


def test_what_a_function_does_not_take_is_no_hint() -> None:
    with pytest.raises(ValidationError) as caught:
        refuse_unknown("it", ["query_string"], OF_FUNCTIONS)

    assert "here it is" not in str(caught.value)


@pytest.mark.parametrize("value", ["a", ["a"], ("a", len), len, None, []])
def test_tags_are_one_or_several_or_none(value: Any) -> None:
    read_tags(value)


@pytest.mark.parametrize("value", [5, [5], {"a": 1}.items(), True, "", ["a", ""]])
def test_other_tags_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="tags takes names, format strings"):
        read_tags(value)


@pytest.mark.parametrize("value", [5, [5], True, "", ("a", "")])
def test_what_is_no_name_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="ignore takes names, not"):
        read_names("ignore", value, "names")


@pytest.mark.parametrize("value", [5, 5.0, [5], object()])
def test_what_is_no_query_and_no_header_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="query takes True, None or names"):
        http.select_query(value)
    with pytest.raises(ValidationError, match="vary takes names of headers"):
        http.vary_names(value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7m", 420),
        (" 1.5 h ", 5400),
        ("500ms", 0.5),
        ("2d", 172800),
        ("1w", 604800),
        ("30", 30),
        ("none", None),
        (None, None),
        (7, 7),
    ],
)
def test_a_duration_may_have_a_unit(value: Any, seconds: Any) -> None:
    assert read_seconds("grace", value) == seconds


@pytest.mark.parametrize("value", ["", "soon", "5 min", "nan", "1e3"])
def test_another_text_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="grace takes seconds, or a text such as"):
        spelled_seconds("grace", value)


@pytest.mark.parametrize("value", [-1, -0.5, "-1", "-5m"])
def test_nothing_lasts_for_less_than_no_time(value: Any) -> None:
    with pytest.raises(ValidationError, match=r"grace is -.*: it takes seconds from 0"):
        read_seconds("grace", value)


def test_a_version_may_be_a_negative_number() -> None:
    refuse_negative({"version": -1, "grace": 0})


@pytest.mark.parametrize(
    ("value", "is_on"),
    [
        *((each, True) for each in (True, 1, "true", "Yes", " ON ", "1")),
        *((each, False) for each in (False, 0, None, "", "false", "No", "off", "0")),
    ],
)
def test_a_flag_may_be_a_text(value: Any, is_on: bool) -> None:
    assert read_flag("it", value) is is_on


@pytest.mark.parametrize("value", ["maybe", 5, 0.5, [], "truee"])
def test_another_flag_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="it takes True or False, not"):
        read_flag("it", value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tags": 5}, "tags takes names, format strings"),
        ({"tags": "{b}"}, "names no parameter 'b'"),
        ({"key": 5}, "key takes a format string or a function, not 5"),
        ({"ignore": 5}, "ignore takes names of parameters, not 5"),
        ({"to_str": 5}, "to_str takes a function, not 5"),
        ({"version": [1]}, "version takes a string or a number"),
        ({"expiration_time": -1}, "expiration_time is -1: .* or None for ever"),
        ({"expiration_time": "soon"}, "expiration_time is not a number"),
        ({"regoin": "a"}, "did you mean 'region'"),
    ],
)
def test_a_function_is_refused_where_it_is_decorated(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        check_function(lambda a: a, None, options)


def test_the_name_of_a_region_is_a_text() -> None:
    with pytest.raises(ValidationError, match="region takes the name of a region"):
        check_function(abs, 5, {})


def test_what_is_near_nothing_has_no_hint() -> None:
    assert (near(5, ["a"]), near("", [])) == ("", "")
