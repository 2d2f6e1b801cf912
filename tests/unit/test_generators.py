"""The key generators of 1.x."""

from __future__ import annotations

from typing import Any

import pytest
from arguments import HERE, Base, load

from dogpile.cache.generators import (
    function_key_generator,
    function_multi_key_generator,
    kwarg_function_key_generator,
)


class TestGenerators:
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

        assert generate(1) == generate(b=1) == f"{__name__}:odd|None 1"
        assert generate(1, 2) == generate(a=2, b=1) == f"{__name__}:odd|2 1"

    def test_more_arguments_than_parameters_are_refused(self) -> None:
        with pytest.raises(TypeError, match="more arguments than parameters"):
            kwarg_function_key_generator(None, load)(1, 2, 3)

    def test_to_str_writes_the_arguments(self) -> None:
        assert function_key_generator(None, load, repr)("x") == f"{HERE}:load|'x'"
        assert function_multi_key_generator(None, load, to_str=hex)(10) == [
            f"{HERE}:load|0xa"
        ]
