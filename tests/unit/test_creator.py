"""What kind of function a creator is, and what it is called."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

from dogpile.cache import NO_VALUE, quick
from dogpile.cache.creator import checked, is_coroutine_function, name_of
from dogpile.cache.exception import CoroutineCreatorError


def do_nothing() -> None: ...


class TestCreators:
    def test_coroutine_functions_are_told_apart(self) -> None:
        async def coroutine() -> None: ...

        class Both:
            async def method(self) -> None: ...

            async def __call__(self) -> None: ...

        class Plain:
            def __call__(self) -> None: ...

        coroutines: list[Any] = [
            coroutine,
            Both().method,
            Both(),
            functools.partial(coroutine),
            functools.partial(functools.partial(Both().method)),
        ]
        plain: list[Any] = [do_nothing, Plain(), int, functools.partial(int), coroutine]

        assert all(map(is_coroutine_function, coroutines))
        assert [is_coroutine_function(each) for each in plain] == [
            False,
            False,
            False,
            False,
            True,
        ]

    def test_a_creator_is_named_by_what_is_inside(self) -> None:
        class Creator:
            def __call__(self) -> None: ...

        assert name_of(do_nothing) == "do_nothing"
        assert name_of(functools.partial(functools.partial(do_nothing))) == "do_nothing"
        assert name_of(Creator()) == "Creator"
        assert name_of(int) == "int"

    def test_what_need_not_be_awaited_passes(self) -> None:
        payload = object()

        assert checked(do_nothing, payload) is payload
        assert checked(do_nothing, NO_VALUE) is NO_VALUE

    def test_a_future_is_refused_too(self) -> None:
        async def scenario() -> None:
            future = asyncio.get_running_loop().create_future()
            with pytest.raises(CoroutineCreatorError, match="do_nothing"):
                checked(do_nothing, future)
            future.cancel()

        asyncio.run(scenario())

    def test_a_quick_creator_is_itself(self) -> None:
        def create() -> int:
            return 5

        assert quick(create) is create
        assert create() == 5
