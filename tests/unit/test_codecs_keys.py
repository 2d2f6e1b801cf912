"""Signed and encrypted values: what is planted, altered or moved is refused."""

from __future__ import annotations

import base64
import itertools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from dogpile.cache.api import CachedValue
from dogpile.cache.codecs import Chain, ciphers, signing
from dogpile.cache.exception import CodecError, CreationError, ValidationError

KEY = "module:function|7"
METADATA = {"ct": 1_700_000_000.25, "v": 3, "d": 0.05, "t": {"user": "5f2a"}}
VALUE = CachedValue({"name": "Ann", "rows": [1, 2, 3]}, METADATA)

OLD, NEW, OTHER = (
    f"the {name} key, of 16 bytes and more" for name in ("old", "new", "other")
)
FERNET_OLD, FERNET_NEW = (
    "fernet:" + base64.urlsafe_b64encode(letter * 32).decode()
    for letter in (b"o", b"n")
)

#: The settings under which nothing may be read that the chain did not write.
GUARDS: dict[str, dict[str, Any]] = {
    "signed": {"signing_key": OLD},
    "aes-gcm": {"encryption_key": OLD},
    "fernet": {"encryption_key": FERNET_OLD},
    "both": {"signing_key": OLD, "encryption_key": OLD},
}


#: What is said of bytes with the right header that the chain did not write.
NOT_ITS_OWN = "their signature is of no key|no key in encryption_key decrypts"


@pytest.fixture(params=list(GUARDS.values()), ids=list(GUARDS))
def guard(request: pytest.FixtureRequest) -> dict[str, Any]:
    settings: dict[str, Any] = request.param
    return settings


def chain_with(setting: str, keys: Any) -> Chain:
    settings: dict[str, Any] = {setting: keys}
    return Chain(**settings)


class Bomb:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


class TestAltered:
    @pytest.mark.parametrize("serializer", ["pickle", "json", "msgpack"])
    @pytest.mark.parametrize("compressor", [None, "zlib"])
    def test_every_flipped_bit_is_refused(
        self, guard: dict[str, Any], serializer: str, compressor: str | None
    ) -> None:
        chain = Chain(serializer, compressor=compressor, compress_above=0, **guard)
        raw = chain.encode(KEY, VALUE)

        for at, bit in itertools.product(range(len(raw)), range(8)):
            flipped = raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :]
            with pytest.raises(CodecError):
                chain.decode(KEY, flipped)

    def test_every_truncation_is_refused(self, guard: dict[str, Any]) -> None:
        chain = Chain(**guard)
        raw = chain.encode(KEY, VALUE)

        for length in range(len(raw)):
            with pytest.raises(CodecError):
                chain.decode(KEY, raw[:length])

    def test_whatever_is_added_is_refused(self, guard: dict[str, Any]) -> None:
        chain = Chain(**guard)
        raw = chain.encode(KEY, VALUE)

        for longer in (raw + b"\0", raw[:1] + b"\0" + raw[1:], b"\0" + raw, raw + raw):
            with pytest.raises(CodecError):
                chain.decode(KEY, longer)

    @settings(max_examples=100, deadline=None)
    @given(rest=st.binary(max_size=300))
    def test_random_bytes_are_refused(self, rest: bytes) -> None:
        for guard in GUARDS.values():
            chain = Chain(**guard)
            with pytest.raises(CodecError):
                chain.decode(KEY, chain.encode(KEY, VALUE)[:1] + rest)


class TestMoved:
    @pytest.mark.parametrize("key", ["module:function|8", "", KEY + "x", b"bytes", 7])
    def test_a_value_under_another_key_is_refused(
        self, guard: dict[str, Any], key: Any
    ) -> None:
        chain = Chain(context="users", **guard)

        with pytest.raises(CodecError):
            chain.decode(key, chain.encode(KEY, VALUE))

    @pytest.mark.parametrize("context", ["", "orders", "user", None])
    def test_a_value_of_another_region_is_refused(
        self, guard: dict[str, Any], context: str | None
    ) -> None:
        raw = Chain(context="users", **guard).encode(KEY, VALUE)

        with pytest.raises(CodecError):
            Chain(context=context, **guard).decode(KEY, raw)

    @pytest.mark.parametrize(
        ("one", "other"), [(("ab", "c"), ("a", "bc")), (("as", "b"), ("a", "sb"))]
    )
    def test_region_and_key_cannot_be_shifted_into_each_other(
        self, guard: dict[str, Any], one: tuple[str, str], other: tuple[str, str]
    ) -> None:
        raw = Chain(context=one[0], **guard).encode(one[1], VALUE)

        with pytest.raises(CodecError):
            Chain(context=other[0], **guard).decode(other[1], raw)

    def test_key_and_body_cannot_be_shifted_into_each_other(self) -> None:
        chain = Chain(**GUARDS["signed"])
        raw = chain.encode("key", VALUE)
        begin = 1 + 32
        shifted = raw[:begin] + raw[begin + 1 :]

        with pytest.raises(CodecError):
            chain.decode("key" + chr(raw[begin]), shifted)

    @pytest.mark.parametrize(("one", "other"), [("a", b"a"), ("7", 7), ("b'a'", b"a")])
    def test_keys_of_two_types_are_two_keys(
        self, guard: dict[str, Any], one: Any, other: Any
    ) -> None:
        chain = Chain(**guard)

        with pytest.raises(CodecError):
            chain.decode(other, chain.encode(one, VALUE))

    def test_a_value_does_not_pass_for_a_failure(self, guard: dict[str, Any]) -> None:
        chain = Chain(**guard)

        error = chain.decode_failure(KEY, chain.encode(KEY, VALUE))

        assert str(error) == "the creator failed in another process"

    def test_a_failure_does_not_pass_for_a_value(self, guard: dict[str, Any]) -> None:
        chain = Chain(**guard)

        with pytest.raises(CodecError, match=NOT_ITS_OWN):
            chain.decode(KEY, chain.encode_failure(KEY, ValueError("x")))

    @pytest.mark.parametrize(
        ("one", "other"), list(itertools.permutations(("pickle", "json", "msgpack"), 2))
    )
    def test_the_bytes_of_one_serializer_are_not_read_by_another(
        self, guard: dict[str, Any], one: str, other: str
    ) -> None:
        raw = Chain(one, **guard).encode(KEY, VALUE)
        reader = Chain(other, **guard)
        renamed = reader.encode(KEY, VALUE)[:1] + raw[1:]

        with pytest.raises(CodecError, match="serializer"):
            reader.decode(KEY, raw)
        with pytest.raises(CodecError, match=NOT_ITS_OWN):
            reader.decode(KEY, renamed)


class TestPlanted:
    @pytest.mark.parametrize("compressor", [None, "zlib"])
    def test_a_planted_pickle_is_never_executed(
        self, guard: dict[str, Any], compressor: str | None, tmp_path: Path
    ) -> None:
        trace = tmp_path / "executed"
        bomb = CachedValue(Bomb(trace), METADATA)
        victim = Chain(compressor=compressor, compress_above=0, **guard)
        own_header = victim.encode(KEY, VALUE)[:1]
        weaker = [
            Chain(),
            Chain(compressor="zlib", compress_above=0),
            Chain(signing_key=OTHER),
            Chain(encryption_key=OTHER),
            Chain(signing_key=OTHER, encryption_key=OTHER),
        ]
        planted = [chain.encode(KEY, bomb) for chain in weaker]
        planted += [own_header + raw[1:] for raw in planted]
        planted += [own_header + bytes(32) + raw[1:] for raw in planted]
        planted += [pickle.dumps(Bomb(trace)), own_header + pickle.dumps(Bomb(trace))]

        for raw in planted:
            with pytest.raises(CodecError):
                victim.decode(KEY, raw)
            assert isinstance(victim.decode_failure(KEY, raw), CreationError)

        assert not trace.exists()

    def test_the_bomb_would_have_gone_off(self, tmp_path: Path) -> None:
        trace = tmp_path / "executed"
        raw = Chain().encode(KEY, CachedValue(Bomb(trace), METADATA))

        Chain().decode(KEY, raw)

        assert trace.exists()

    def test_nothing_is_expanded_before_the_signature_is_verified(self) -> None:
        class Alarm:
            def compress(self, body: bytes) -> bytes:
                return body[:-1]

            def decompress(self, body: bytes) -> bytes:
                raise AssertionError("expanded")

        chain = Chain(compressor=Alarm(), compress_above=0, signing_key=OLD)
        raw = chain.encode(KEY, VALUE)

        with pytest.raises(CodecError, match="signature"):
            chain.decode(KEY, raw[:-1] + b"?")

    def test_both_links_demand_both(self) -> None:
        both = Chain(**GUARDS["both"])

        for lesser in ("signed", "aes-gcm"):
            with pytest.raises(CodecError):
                both.decode(KEY, Chain(**GUARDS[lesser]).encode(KEY, VALUE))

    def test_a_lesser_chain_refuses_both(self) -> None:
        raw = Chain(**GUARDS["both"]).encode(KEY, VALUE)

        for lesser in ({}, GUARDS["signed"], GUARDS["aes-gcm"]):
            with pytest.raises(CodecError):
                Chain(**lesser).decode(KEY, raw)

    def test_one_secret_may_serve_for_both(self) -> None:
        # Under the same secret, and yet neither is of use as the other.
        signed, encrypted = Chain(**GUARDS["signed"]), Chain(**GUARDS["aes-gcm"])

        with pytest.raises(CodecError):
            encrypted.decode(KEY, b"\xa2" + signed.encode(KEY, VALUE)[1:])
        with pytest.raises(CodecError):
            signed.decode(KEY, b"\xa1" + encrypted.encode(KEY, VALUE)[1:])
        assert signing.LABEL != ciphers.LABEL


class TestSecrecy:
    @pytest.mark.parametrize("name", ["aes-gcm", "fernet", "both"])
    def test_what_is_encrypted_cannot_be_read(self, name: str) -> None:
        raw = Chain(**GUARDS[name]).encode(KEY, VALUE)

        assert b"Ann" not in raw
        assert b"user" not in raw
        assert b"1700000000" not in raw

    @pytest.mark.parametrize("name", ["aes-gcm", "fernet", "both"])
    def test_the_same_value_never_looks_the_same(self, name: str) -> None:
        chain = Chain(**GUARDS[name])

        assert len({chain.encode(KEY, VALUE) for _ in range(20)}) == 20


class TestRotation:
    STEPS = (
        pytest.param("signing_key", OLD, NEW, id="hmac-sha256"),
        pytest.param("encryption_key", OLD, NEW, id="aes-gcm"),
        pytest.param("encryption_key", FERNET_OLD, FERNET_NEW, id="fernet"),
        pytest.param("encryption_key", FERNET_OLD, NEW, id="fernet-to-aes-gcm"),
        pytest.param("encryption_key", OLD, FERNET_NEW, id="aes-gcm-to-fernet"),
    )

    @pytest.mark.parametrize(("setting", "old", "new"), STEPS)
    def test_no_step_of_a_rotation_makes_the_cache_cold(
        self, setting: str, old: str, new: str
    ) -> None:
        # While a step is rolled out, processes of this step and of the one
        # before read what the other writes.
        steps = [
            chain_with(setting, keys) for keys in (old, [old, new], [new, old], new)
        ]

        for before, after in itertools.pairwise(steps):
            assert after.decode(KEY, before.encode(KEY, VALUE)) == VALUE
        for before, after in itertools.pairwise(steps[:-1]):
            assert before.decode(KEY, after.encode(KEY, VALUE)) == VALUE

    @pytest.mark.parametrize(("setting", "old", "new"), STEPS)
    def test_a_retired_key_is_refused(self, setting: str, old: str, new: str) -> None:
        raw = chain_with(setting, old).encode(KEY, VALUE)

        with pytest.raises(CodecError):
            chain_with(setting, new).decode(KEY, raw)

    def test_the_first_key_signs(self) -> None:
        raw = Chain(signing_key=[NEW, OLD]).encode(KEY, VALUE)

        assert Chain(signing_key=NEW).decode(KEY, raw) == VALUE
        with pytest.raises(CodecError):
            Chain(signing_key=OLD).decode(KEY, raw)

    @pytest.mark.parametrize(("setting", "old", "new"), STEPS)
    def test_it_tells_what_is_not_yet_of_the_first_key(
        self, setting: str, old: str, new: str
    ) -> None:
        before, after = chain_with(setting, old), chain_with(setting, [new, old])
        of_old, of_new = before.encode(KEY, VALUE), after.encode(KEY, VALUE)

        assert before.is_current(KEY, of_old)
        assert not after.is_current(KEY, of_old)
        assert after.is_current(KEY, of_new)

    def test_text_and_bytes_are_the_same_key(self) -> None:
        raw = Chain(signing_key=OLD).encode(KEY, VALUE)

        assert Chain(signing_key=(NEW, OLD.encode())).decode(KEY, raw) == VALUE


class TestKeys:
    @pytest.mark.parametrize("setting", ["signing_key", "encryption_key"])
    @pytest.mark.parametrize("key", ["x" * 15, b"x" * 15, "", b""])
    def test_a_short_key_is_refused(self, setting: str, key: str | bytes) -> None:
        with pytest.raises(ValidationError, match="fewer than 16 bytes"):
            chain_with(setting, key)

    @pytest.mark.parametrize("setting", ["signing_key", "encryption_key"])
    @pytest.mark.parametrize("key", ["x" * 16, b"x" * 16, "é" * 8])
    def test_sixteen_bytes_are_enough(self, setting: str, key: str | bytes) -> None:
        chain = chain_with(setting, key)

        assert chain.decode(KEY, chain.encode(KEY, VALUE)) == VALUE
