"""A creator's exception, told to those who wait in other processes."""

from __future__ import annotations

import sys
import threading
import types
from typing import Any

import pytest

from dogpile.cache.codecs import Chain
from dogpile.cache.exception import CreationError, CreatorTimeout

KEY = "module:function|7"
SIGNING_KEY = "a signing key of many bytes"
ELSEWHERE = "the creator failed in another process"


class Demanding(Exception):
    """Pickles, but its class wants more than its one argument back."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")


class Holding(Exception):
    """Holds what does not pickle."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class Mute(Exception):
    """Cannot even say what it is."""

    def __str__(self) -> str:
        raise ValueError("no")

    def __reduce__(self) -> tuple[object, ...]:
        raise ValueError("no")


class Disguised(Exception):
    """Unpickles to another exception."""

    def __reduce__(self) -> tuple[object, ...]:
        return KeyError, ("text",)


class Escaped(Exception):
    """Unpickles to something that is no exception."""

    def __reduce__(self) -> tuple[object, ...]:
        return str, ("text",)


@pytest.fixture(
    params=[
        {},
        {"compressor": "zlib", "compress_above": 0},
        {"signing_key": SIGNING_KEY},
        {"encryption_key": SIGNING_KEY},
        {"signing_key": SIGNING_KEY, "encryption_key": SIGNING_KEY},
    ],
    ids=["plain", "compressed", "signed", "encrypted", "both"],
)
def links(request: pytest.FixtureRequest) -> dict[str, Any]:
    settings: dict[str, Any] = request.param
    return settings


def carry(chain: Chain, error: BaseException) -> BaseException:
    return chain.decode_failure(KEY, chain.encode_failure(KEY, error))


def test_an_exception_comes_back_as_itself(links: dict[str, Any]) -> None:
    carried = carry(Chain(**links), KeyError("no such|user", 7))

    assert type(carried) is KeyError
    assert carried.args == ("no such|user", 7)


def test_our_own_errors_come_back(links: dict[str, Any]) -> None:
    carried = carry(Chain(**links), CreatorTimeout("too slow"))

    assert type(carried) is CreatorTimeout


@pytest.mark.parametrize("serializer", ["json", "msgpack"])
def test_without_pickle_its_name_and_text_come_back(
    links: dict[str, Any], serializer: str
) -> None:
    carried = carry(Chain(serializer, **links), ValueError("a|b é"))

    assert type(carried) is CreationError
    assert str(carried) == f"{ELSEWHERE}: ValueError: a|b é"


def test_a_serializer_of_ones_own_is_not_asked() -> None:
    def refuse(_anything: object) -> bytes:
        raise AssertionError

    carried = carry(Chain(refuse, refuse), ValueError("x"))

    assert str(carried) == f"{ELSEWHERE}: ValueError: x"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Demanding(404, "gone"), "Demanding: 404: gone"),
        (Holding("with a connection"), "Holding: with a connection"),
        (Mute(), "Mute: (its text cannot be had)"),
        (Disguised("masked"), "Disguised: masked"),
        (Escaped("away"), "Escaped: away"),
        (KeyboardInterrupt("ctrl-c"), "KeyboardInterrupt: ctrl-c"),
        (SystemExit(3), "SystemExit: 3"),
        (ValueError("x" * 100_000), "ValueError: " + "x" * 4096),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_does_not_come_back_is_told_by_name_and_text(
    error: BaseException, text: str
) -> None:
    carried = carry(Chain(), error)

    assert type(carried) is CreationError
    assert str(carried).startswith(ELSEWHERE)
    assert str(carried).endswith(text)


def test_a_class_that_the_other_process_lacks_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = types.ModuleType("a_module_of_another_process")
    kind = type("Elsewhere", (Exception,), {"__module__": module.__name__})
    monkeypatch.setattr(module, "Elsewhere", kind, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    raw = Chain().encode_failure(KEY, kind("lost"))
    monkeypatch.delitem(sys.modules, module.__name__)

    carried = Chain().decode_failure(KEY, raw)

    assert str(carried) == (f"{ELSEWHERE}: a_module_of_another_process.Elsewhere: lost")


@pytest.mark.parametrize("raw", [b"", b"\xa0", b"\xa0!", b"\xa0![]|", b"x", "x", None])
def test_bytes_that_do_not_decode_are_some_failure(
    links: dict[str, Any], raw: Any
) -> None:
    carried = Chain(**links).decode_failure(KEY, raw)

    assert type(carried) is CreationError
    assert str(carried) == ELSEWHERE


def test_every_truncation_is_some_failure(links: dict[str, Any]) -> None:
    chain = Chain(**links)
    raw = chain.encode_failure(KEY, ValueError("x"))

    carried = [chain.decode_failure(KEY, raw[:n]) for n in range(len(raw))]

    assert all(isinstance(error, CreationError) for error in carried)


@pytest.mark.parametrize(
    "guard", [{"signing_key": SIGNING_KEY}, {"encryption_key": SIGNING_KEY}]
)
def test_a_failure_of_another_key_or_region_is_not_told(guard: dict[str, Any]) -> None:
    raw = Chain(context="users", **guard).encode_failure(KEY, ValueError("x"))

    moved = [
        Chain(context="users", **guard).decode_failure(KEY + "8", raw),
        Chain(context="orders", **guard).decode_failure(KEY, raw),
    ]

    assert [str(error) for error in moved] == [ELSEWHERE, ELSEWHERE]


def test_a_compressor_of_ones_own_cannot_lose_a_failure() -> None:
    class Broken:
        def compress(self, body: bytes) -> bytes:
            raise ValueError(body)

        decompress = compress

    chain = Chain(compressor=Broken(), compress_above=0)

    assert type(carry(chain, KeyError("x"))) is KeyError
