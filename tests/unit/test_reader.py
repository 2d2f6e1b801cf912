"""What format strings and callables read off the arguments of a call."""

from __future__ import annotations

import re

import pytest
from arguments import HERE, Cell, Color, Plain, load

from dogpile.cache.exception import UncacheableArgument, ValidationError
from dogpile.cache.keys import plan
from dogpile.cache.reader import format_fields


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
