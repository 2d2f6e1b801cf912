"""From a key to one that a backend takes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from arguments import Plain, Word, exact
from hypothesis import given, settings, strategies as st

from dogpile.cache.exception import ValidationError
from dogpile.cache.mangler import (
    KeyLimit,
    length_conditional_mangler,
    limited,
    sha1_mangle_key,
)

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


def test_manglers_hash_strings_and_bytes() -> None:
    digest = "53def077a4264bd3183d4eb21b1f56f883e1b572"

    assert sha1_mangle_key("some_key") == sha1_mangle_key(b"some_key") == digest
    mangle = length_conditional_mangler(8, sha1_mangle_key)
    assert (mangle("some_key"), mangle("somekey")) == (digest, "somekey")
