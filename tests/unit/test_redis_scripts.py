"""The names of leases, and what the answers of scripts mean; no server is asked."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from dogpile.cache.api import NO_VALUE
from dogpile.cache.backends.redis_scripts import (
    LEASE_ENDING,
    as_value,
    commit_call,
    lease_call,
    lease_name,
    milliseconds,
    slot_of,
)
from dogpile.cache.exception import ValidationError

# Braces at every turn: they are what a cluster looks for.
KEYS = st.text(st.sampled_from("{}ab:l"), max_size=12) | st.text(max_size=20)
LEGAL_KEYS = KEYS.filter(lambda key: not key.endswith(LEASE_ENDING))


@pytest.mark.parametrize(
    ("name", "slot"),
    [
        (b"", 0),
        (b"123456789", 0x31C3),
        (b"foo", 12182),
        (b"bar{foo}", 12182),
        (b"{foo}{bar}", 12182),
    ],
)
def test_slots_are_those_of_the_servers(name: bytes, slot: int) -> None:
    assert slot_of(name) == slot


@given(LEGAL_KEYS)
def test_a_lease_lies_in_the_slot_of_its_key(key: str) -> None:
    name = lease_name(key)

    raw, raw_name = (text.encode("utf-8", "surrogatepass") for text in (key, name))
    assert slot_of(raw_name) == slot_of(raw)


@given(LEGAL_KEYS, LEGAL_KEYS)
def test_no_two_keys_share_a_lease(one: str, other: str) -> None:
    assert (lease_name(one) == lease_name(other)) == (one == other)


@given(LEGAL_KEYS)
def test_no_lease_is_named_as_a_key_may_be(key: str) -> None:
    assert lease_name(key).endswith(LEASE_ENDING)


@given(LEGAL_KEYS)
def test_bytes_and_text_have_the_same_lease(key: str) -> None:
    raw = key.encode("utf-8", "surrogatepass")

    if slot_of(raw) == slot_of(lease_name(raw)):
        assert lease_name(raw) == lease_name(key).encode("utf-8", "surrogatepass")


@given(st.binary(max_size=12).filter(lambda key: not key.endswith(b"}:l")))
def test_a_lease_of_bytes_lies_in_their_slot(key: bytes) -> None:
    assert slot_of(lease_name(key)) == slot_of(key)


@pytest.mark.parametrize("key", ["{a}:l", "a}:l", b"{a}:l"])
def test_a_key_that_is_named_like_a_lease_is_refused(key: str | bytes) -> None:
    with pytest.raises(ValidationError, match="must not end"):
        lease_name(key)


def test_a_number_is_named_as_the_client_writes_it() -> None:
    assert lease_name(42) == "{42}:l"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, ""),
        (float("inf"), ""),
        (1e30, ""),
        (1, 1000),
        (0.0001, 1),
        (0, 1),
        (-5, 1),
        (2.0005, 2001),
    ],
)
def test_times_are_told_in_milliseconds(
    seconds: float | None, expected: int | str
) -> None:
    assert milliseconds(seconds) == expected


def test_each_question_for_a_lease_has_a_token_of_its_own() -> None:
    tokens = {lease_call("key", 1).arguments[0] for _ in range(100)}

    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {32}


def test_a_script_is_sent_by_its_hash_first() -> None:
    call = lease_call("key", 1)

    assert call.command()[:5] == ("EVALSHA", call.script.sha, 2, "key", "{key}:l")
    assert call.command(whole=True)[:3] == ("EVAL", call.script.text, 2)


def test_a_refused_lease_is_read() -> None:
    lease = lease_call("key", 1).read([b"old", b"ab" * 16, 0, b"why"])

    assert not lease.granted
    assert (lease.token, lease.found, lease.failure) == ("ab" * 16, b"old", b"why")


@pytest.mark.parametrize("answer", [None, 1, [], [None, b"t", 2, None], b"abcd"])
def test_what_no_script_answers_is_no_lease(answer: object) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError)):
        lease_call("key", 1).read(answer)


@pytest.mark.parametrize("answer", [2, -1, b"1", None, [1], "OK"])
def test_what_no_script_answers_is_no_commit(answer: object) -> None:
    lease = lease_call("key", 1).read([None, b"ab" * 16, 1, None])

    with pytest.raises(TypeError):
        commit_call(lease, b"value", None, tell=False).read(answer)


def test_a_value_is_bytes_or_missing() -> None:
    assert as_value(b"") == b""
    assert as_value(None) is NO_VALUE
    with pytest.raises(TypeError):
        as_value("text")
