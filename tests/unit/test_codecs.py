"""The chain: what is written, what comes back, and what is refused."""

from __future__ import annotations

import enum
import json
import pickle
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from dogpile.cache.api import CachedValue, value_version
from dogpile.cache.codecs import Chain, header
from dogpile.cache.exception import (
    CantDeserializeException,
    CodecError,
    Unserializable,
)

SERIALIZERS = ("pickle", "json", "msgpack")
COMPRESSORS = (None, "zlib", "zstd", "lz4")
KEY = "module:function|7"
SIGNING_KEY = "a signing key of many bytes"
ENCRYPTION_KEY = "an encryption key of many bytes"
NOW = 1_700_000_000.25

PLAIN_METADATA = {"ct": NOW, "v": value_version}
METADATA = {
    "ct": NOW,
    "v": value_version,
    "d": 0.05,
    "x": 60,
    "g": 0.5,
    "t": {"user|7": "5f2a", "région": "|"},
    "e": ['W/"abc|def"', None, True],
    "f": [2, NOW + 5],
    "n": "2",
    "c": True,
}

# What every serializer gives back as it was.
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(blacklist_categories=())),
)
trees = st.recursive(
    scalars,
    lambda node: st.lists(node, max_size=4) | st.dictionaries(st.text(), node),
    max_leaves=12,
)
rests = st.dictionaries(
    st.text(max_size=4).filter(lambda name: name not in {"ct", "v"}),
    trees,
    max_size=4,
)


class Mood(enum.Enum):
    GOOD = "the secret mood"


class IntMood(enum.IntEnum):
    GOOD = 7


class Text(str):
    __slots__ = ()


class Hostile:
    """Its own methods fail, and quote what it holds."""

    def __reduce__(self) -> tuple[object, ...]:
        raise ValueError("the secret")


class Vanishing:
    """Pickles, and does not unpickle once its class is gone."""


def iter_nothing() -> Iterator[None]:
    yield


def chains() -> list[Any]:
    return [
        pytest.param(
            Chain(
                serializer,
                compressor=compressor,
                compress_above=0,
                signing_key=signing_key,
                encryption_key=encryption_key,
            ),
            id="-".join(
                [
                    serializer,
                    compressor or "none",
                    "signed" if signing_key else "unsigned",
                    "encrypted" if encryption_key else "open",
                ]
            ),
        )
        for serializer in SERIALIZERS
        for compressor in COMPRESSORS
        for signing_key in (None, SIGNING_KEY)
        for encryption_key in (None, ENCRYPTION_KEY)
    ]


@pytest.fixture(params=chains())
def chain(request: pytest.FixtureRequest) -> Chain:
    built = request.param
    assert isinstance(built, Chain)
    return built


class TestRoundTrip:
    def test_payload_and_metadata_come_back(self, chain: Chain) -> None:
        value = CachedValue({"rows": ["x|y", 1, 2.5, None, True] * 20}, METADATA)

        raw = chain.encode(KEY, value)

        assert type(raw) is bytes
        assert chain.decode(KEY, raw) == value

    def test_what_comes_back_is_a_cached_value(self, chain: Chain) -> None:
        decoded = chain.decode(KEY, chain.encode(KEY, CachedValue(1, PLAIN_METADATA)))

        assert type(decoded) is CachedValue
        assert decoded.cached_time == NOW

    @pytest.mark.parametrize("serializer", SERIALIZERS)
    @settings(max_examples=60, deadline=None)
    @given(payload=trees, rest=rests, created=st.floats(0, 1e11))
    def test_any_tree_and_any_metadata_come_back(
        self, serializer: str, payload: Any, rest: dict[str, Any], created: float
    ) -> None:
        chain = Chain(
            serializer, compressor="zlib", compress_above=64, signing_key=SIGNING_KEY
        )
        value = CachedValue(payload, {"ct": created, "v": value_version, **rest})

        assert chain.decode(KEY, chain.encode(KEY, value)) == value

    @settings(max_examples=60, deadline=None)
    @given(payload=trees, rest=rests, created=st.floats(0, 1e11))
    def test_any_tree_and_any_metadata_come_back_from_plain_pickle(
        self, payload: Any, rest: dict[str, Any], created: float
    ) -> None:
        chain = Chain()
        value = CachedValue(payload, {"ct": created, "v": value_version, **rest})

        assert chain.decode(KEY, chain.encode(KEY, value)) == value

    @pytest.mark.parametrize("key", ["a|b", "", b"bytes", 7, ("a", 1), "\udc80", "é"])
    def test_keys_of_any_type_bind_values(self, key: Any) -> None:
        chain = Chain(signing_key=SIGNING_KEY)

        raw = chain.encode(key, CachedValue("x", PLAIN_METADATA))

        assert chain.decode(key, raw).payload == "x"

    @pytest.mark.parametrize("size", [10, 16_383, 16_384, 16_385, 500_000])
    def test_large_payloads_come_back(self, chain: Chain, size: int) -> None:
        payload = ("0123456789abcdef|" * (size // 17 + 1))[:size]

        decoded = chain.decode(
            KEY, chain.encode(KEY, CachedValue(payload, PLAIN_METADATA))
        )

        assert decoded.payload == payload

    def test_pickled_bytes_are_copies_and_not_views(self) -> None:
        chain = Chain()
        payload = b"x" * 100_000

        decoded = chain.decode(
            KEY, chain.encode(KEY, CachedValue(payload, PLAIN_METADATA))
        )

        assert type(decoded.payload) is bytes

    def test_threads_share_a_chain(self) -> None:
        chain = Chain(
            "json", compressor="zlib", compress_above=0, signing_key=SIGNING_KEY
        )
        start = threading.Barrier(4)
        failures: list[BaseException] = []

        def hammer(number: int) -> None:
            start.wait()
            value = CachedValue([str(number) * 50], {**METADATA, "n": str(number)})
            try:
                for _ in range(50):
                    assert chain.decode(KEY, chain.encode(KEY, value)) == value
            except BaseException as error:  # noqa: BLE001  shown by the test
                failures.append(error)

        threads = [threading.Thread(target=hammer, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert failures == []


class TestMetadata:
    def test_the_version_is_not_stored_but_implied(self) -> None:
        chain = Chain("json")

        raw = chain.encode(KEY, CachedValue(1, {"ct": NOW, "v": 1}))

        assert chain.decode(KEY, raw).metadata == {"ct": NOW, "v": value_version}

    def test_it_may_lack_a_version(self) -> None:
        raw = Chain().encode(KEY, CachedValue(1, {"ct": NOW, "d": 0.5}))

        assert Chain().decode(KEY, raw).metadata == {
            "ct": NOW,
            "v": value_version,
            "d": 0.5,
        }

    def test_stored_text_cannot_override_time_and_version(self) -> None:
        raw = b'\xa012.5;{"ct":99,"v":99}|' + pickle.dumps(1)

        assert Chain().decode(KEY, raw).metadata == {"ct": 12.5, "v": value_version}

    def test_tuples_come_back_as_lists(self) -> None:
        metadata = {**PLAIN_METADATA, "e": ("a", ("b",))}

        raw = Chain().encode(KEY, CachedValue(1, metadata))

        assert Chain().decode(KEY, raw).metadata["e"] == ["a", ["b"]]

    @pytest.mark.parametrize("created", [NOW, 17, True, 1e300])
    def test_the_time_is_a_float(self, created: Any) -> None:
        raw = Chain().encode(KEY, CachedValue(1, {"ct": created, "v": value_version}))

        assert type(Chain().decode(KEY, raw).metadata["ct"]) is float
        assert Chain().decode(KEY, raw).metadata["ct"] == created

    @pytest.mark.parametrize(
        "metadata",
        [
            {},
            {"v": value_version},
            {"v": value_version, "x": 1},
            {"ct": "yesterday", "v": value_version},
            {"ct": None, "v": value_version},
        ],
    )
    @pytest.mark.parametrize("serializer", SERIALIZERS)
    def test_it_needs_a_time(self, serializer: str, metadata: Any) -> None:
        with pytest.raises(Unserializable, match="no time of creation"):
            Chain(serializer).encode(KEY, CachedValue(1, metadata))

    @pytest.mark.parametrize(
        "validator", [{1, 2}, b"bytes", object(), {1: "x"}, [{None: 1}], {("a",): 1}]
    )
    @pytest.mark.parametrize("serializer", SERIALIZERS)
    def test_it_must_be_json(self, serializer: str, validator: Any) -> None:
        value = CachedValue(1, {**PLAIN_METADATA, "e": validator})

        with pytest.raises(Unserializable, match="not JSON"):
            Chain(serializer).encode(KEY, value)

    def test_a_circle_in_it_is_refused(self) -> None:
        circle: list[Any] = []
        circle.append(circle)

        with pytest.raises(Unserializable, match="not JSON"):
            Chain().encode(KEY, CachedValue(1, {**PLAIN_METADATA, "e": circle}))


class TestWireFormat:
    @pytest.mark.parametrize("serializer", SERIALIZERS)
    def test_the_first_bar_parts_metadata_from_payload(self, serializer: str) -> None:
        raw = Chain(serializer).encode(KEY, CachedValue("a|b", METADATA))

        head, _, payload = raw[1:].partition(b"|")
        created, _, rest = head.partition(b";")
        assert float(created) == NOW
        assert json.loads(rest) == {
            name: METADATA[name] for name in METADATA if name not in {"ct", "v"}
        }
        assert b"a|b" in payload

    def test_plain_metadata_is_the_time_alone(self) -> None:
        raw = Chain().encode(KEY, CachedValue("x", PLAIN_METADATA))

        assert raw == b"\xa0" + repr(NOW).encode() + b"|" + pickle.dumps("x", 5)

    def test_a_serializer_of_the_user_has_its_bytes_after_the_bar(self) -> None:
        chain = Chain(lambda v: json.dumps(v).encode("ascii"), json.loads)
        payload = {"foo": ["bar", 1, False, None]}

        raw = chain.encode(KEY, CachedValue(payload, PLAIN_METADATA))

        assert raw[raw.find(b"|") + 1 :] == json.dumps(payload).encode("ascii")

    def test_every_choice_of_links_has_a_header_of_its_own(self) -> None:
        links = [
            header.Links(serializer, compressor, encrypted, signed)
            for serializer in header.SERIALIZERS
            for compressor in header.COMPRESSORS
            for encrypted in (False, True)
            for signed in (False, True)
        ]

        headers = [link.header() for link in links]

        assert len(set(headers)) == len(links)
        assert all(0x80 <= byte <= 0xFF for byte in headers)
        assert [header.read(byte) for byte in headers] == links

    def test_the_headers_are_those_of_this_version(self) -> None:
        # Whoever changes the version changes the range of the headers too.
        assert value_version == 3

    def test_bytes_of_1x_releases_are_refused(self) -> None:
        older = b'{"ct": 1700000000.0, "v": 2}|' + pickle.dumps("x")

        with pytest.raises(CodecError, match="not in the format of this version"):
            Chain().decode(KEY, older)

    def test_a_pickled_tuple_of_old_is_refused(self) -> None:
        older = pickle.dumps(("x", {"ct": 1.0, "v": 1}))

        with pytest.raises(CodecError):
            Chain().decode(KEY, older)


class TestAnotherChain:
    """What one chain wrote, another one refuses unless it is of the same links."""

    @pytest.mark.parametrize(
        ("writer", "reader", "reason"),
        [
            ({}, {"serializer": "json"}, "serializer is pickle, and .* json"),
            ({"serializer": "json"}, {}, "serializer is json, and .* pickle"),
            ({"serializer": "msgpack"}, {"serializer": "json"}, "is msgpack"),
            ({"compressor": "zlib"}, {}, "compressor is zlib, and .* none"),
            ({"compressor": "zlib"}, {"compressor": "zstd"}, "zlib, and .* zstd"),
            ({"signing_key": SIGNING_KEY}, {}, "signed, .* no signing_key"),
            ({}, {"signing_key": SIGNING_KEY}, "not signed, .* has a signing_key"),
            ({"encryption_key": ENCRYPTION_KEY}, {}, "encrypted, .* no encryption_key"),
            ({}, {"encryption_key": ENCRYPTION_KEY}, "not encrypted, .* has a"),
        ],
    )
    def test_other_links_are_refused_with_the_reason(
        self, writer: dict[str, Any], reader: dict[str, Any], reason: str
    ) -> None:
        raw = Chain(**writer, compress_above=0).encode(
            KEY, CachedValue("x" * 200, PLAIN_METADATA)
        )

        with pytest.raises(CodecError, match=reason):
            Chain(**reader).decode(KEY, raw)

    def test_a_chain_that_compresses_reads_what_is_not_compressed(self) -> None:
        raw = Chain().encode(KEY, CachedValue("x", PLAIN_METADATA))

        assert Chain(compressor="zlib").decode(KEY, raw).payload == "x"

    def test_another_threshold_or_level_changes_nothing_for_readers(self) -> None:
        value = CachedValue("x" * 500, PLAIN_METADATA)
        raw = Chain(compressor="zlib", compress_above=0, compression_level=9).encode(
            KEY, value
        )

        assert Chain(compressor="zlib", compress_above=10_000).decode(KEY, raw) == value


class TestDamage:
    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"\xa0",
            b"\xa0|",
            b"\xa01.5",
            b"\xa01.5|",
            b"\xa0x|" + pickle.dumps(1),
            b"\xa01.5;|" + pickle.dumps(1),
            b"\xa01.5;[]}|" + pickle.dumps(1),
            b'\xa01.5;{"d":1}}|' + pickle.dumps(1),
            b"\xa01.5;{}|not a pickle",
            b"\x00\xff|",
            b"garbage",
            "text",
            None,
            17,
            [],
        ],
    )
    def test_whatever_is_no_value_is_refused(self, chain: Chain, raw: Any) -> None:
        with pytest.raises(CodecError):
            chain.decode(KEY, raw)

    def test_every_truncation_is_refused(self, chain: Chain) -> None:
        raw = chain.encode(KEY, CachedValue({"a": ["b|", 1234]}, METADATA))

        for length in range(len(raw)):
            with pytest.raises(CodecError):
                chain.decode(KEY, raw[:length])

    @pytest.mark.parametrize("serializer", SERIALIZERS)
    @pytest.mark.parametrize("payload", [1234, 12.75, True, None, "text"])
    def test_every_truncation_of_a_bare_scalar_is_refused(
        self, serializer: str, payload: Any
    ) -> None:
        chain = Chain(serializer)
        raw = chain.encode(KEY, CachedValue(payload, PLAIN_METADATA))

        for length in range(len(raw)):
            with pytest.raises(CodecError):
                chain.decode(KEY, raw[:length])

    # Pickled numbers and short texts cannot be flipped into something dangerous.
    @pytest.mark.parametrize(
        ("serializer", "payload"),
        [
            ("pickle", [1, "ab", b"c"]),
            ("json", [1, "ab", 2.5]),
            ("msgpack", [1, "ab", b"c", ("d",)]),
        ],
    )
    @pytest.mark.parametrize("compressor", COMPRESSORS)
    def test_a_flipped_bit_raises_nothing_else_than_a_codec_error(
        self, serializer: str, payload: Any, compressor: str | None
    ) -> None:
        # Without a signature, a flip may well give another value.
        chain = Chain(serializer, compressor=compressor, compress_above=0)
        raw = chain.encode(KEY, CachedValue(payload, METADATA))

        outcomes = [attempt(chain, flipped) for flipped in bit_flips(raw)]

        assert all(isinstance(each, (CachedValue, CodecError)) for each in outcomes)

    @pytest.mark.parametrize("compressor", ["zlib", "zstd", "lz4"])
    def test_a_flipped_bit_in_compressed_bytes_is_refused(
        self, compressor: str
    ) -> None:
        # All three have a checksum; what a flip changes without changing the
        # value (a flag that nobody reads) does no harm.
        chain = Chain("json", compressor=compressor, compress_above=0)
        value = CachedValue(["abcdefgh"] * 30, METADATA)
        raw = chain.encode(KEY, value)

        outcomes = [attempt(chain, flipped) for flipped in bit_flips(raw)]

        assert all(isinstance(each, CodecError) or each == value for each in outcomes)

    @pytest.mark.parametrize("serializer", ["json", "msgpack"])
    @pytest.mark.parametrize("compressor", COMPRESSORS)
    @settings(max_examples=60, deadline=None)
    @given(lead=st.integers(0, 255), head=st.binary(max_size=20), rest=st.binary())
    def test_random_bytes_raise_nothing_else_than_a_codec_error(
        self,
        serializer: str,
        compressor: str | None,
        lead: int,
        head: bytes,
        rest: bytes,
    ) -> None:
        chain = Chain(serializer, compressor=compressor, compress_above=0)
        own_header = chain.encode(KEY, CachedValue("x" * 100, PLAIN_METADATA))[:1]

        for raw in (
            bytes([lead]) + head + b"|" + rest,
            own_header + head + b"|" + rest,
            own_header + b"1.5|" + rest,
            own_header + rest,
        ):
            assert isinstance(attempt(chain, raw), (CachedValue, CodecError))

    def test_a_class_that_is_gone_is_refused_and_named(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A module of its own, because this one may be loaded under any name.
        module = types.ModuleType("a_module_of_yesterday")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(Vanishing, "__module__", module.__name__)
        monkeypatch.setattr(module, "Vanishing", Vanishing, raising=False)
        chain = Chain()
        raw = chain.encode(KEY, CachedValue(Vanishing(), PLAIN_METADATA))
        monkeypatch.delattr(module, "Vanishing")

        with pytest.raises(CodecError) as caught:
            chain.decode(KEY, raw)

        assert isinstance(caught.value.__cause__, AttributeError)
        assert "Vanishing" in str(caught.value.__cause__)

    def test_an_interrupt_while_unpickling_is_none_of_our_business(self) -> None:
        def interrupted(_raw: bytes) -> object:
            raise KeyboardInterrupt

        chain = Chain("pickle", interrupted)
        raw = chain.encode(KEY, CachedValue(1, PLAIN_METADATA))

        with pytest.raises(KeyboardInterrupt):
            chain.decode(KEY, raw)

    def test_a_deserializer_may_refuse(self) -> None:
        def refuse(_raw: bytes) -> object:
            raise CantDeserializeException

        chain = Chain(lambda v: json.dumps(v).encode(), refuse)
        raw = chain.encode(KEY, CachedValue({}, PLAIN_METADATA))

        with pytest.raises(CodecError):
            chain.decode(KEY, raw)


class TestUnserializable:
    @pytest.mark.parametrize(
        ("payload", "reason"),
        [
            (threading.Lock(), "type _thread.lock .*cannot pickle '_thread.lock'"),
            ({"a": threading.Lock()}, "type dict .*cannot pickle '_thread.lock'"),
            (Hostile(), r"Hostile .*\(ValueError\)"),
            (iter_nothing(), "type generator .*cannot pickle 'generator'"),
        ],
    )
    @pytest.mark.parametrize("settings_", [{}, {"signing_key": SIGNING_KEY}])
    def test_what_does_not_pickle_is_refused_by_its_type(
        self, settings_: dict[str, Any], payload: Any, reason: str
    ) -> None:
        with pytest.raises(Unserializable, match=reason):
            Chain(**settings_).encode(KEY, CachedValue(payload, PLAIN_METADATA))

    def test_a_local_function_is_named(self) -> None:
        def local() -> None:
            """Do nothing."""

        with pytest.raises(Unserializable, match=r"<locals>\.local"):
            Chain().encode(KEY, CachedValue(local, PLAIN_METADATA))

    def test_what_is_nested_too_deep_is_refused(self) -> None:
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]

        with pytest.raises(Unserializable):
            Chain("json").encode(KEY, CachedValue(deep, PLAIN_METADATA))

    def test_the_beginning_of_the_key_is_named(self) -> None:
        key = "module:function|" + "x" * 100

        with pytest.raises(Unserializable, match=r"'module:function\|x{24}\.\.\.'"):
            Chain().encode(key, CachedValue(Hostile(), PLAIN_METADATA))

    @pytest.mark.parametrize(
        "payload",
        [
            {1: "x"},
            {"a": [{None: 1}]},
            {1, 2},
            b"bytes",
            IntMood.GOOD,
            [Mood.GOOD],
            Text("subclass"),
            {"a": Text("x")},
            {Text("a"): 1},
            CachedValue(1, 2),  # type: ignore[arg-type]  # a named tuple
            object(),
        ],
    )
    def test_json_refuses_what_it_would_not_give_back(self, payload: Any) -> None:
        with pytest.raises(Unserializable):
            Chain("json").encode(KEY, CachedValue(payload, PLAIN_METADATA))

    def test_json_refuses_a_circle(self) -> None:
        circle: list[Any] = []
        circle.append(circle)

        with pytest.raises(Unserializable):
            Chain("json").encode(KEY, CachedValue(circle, PLAIN_METADATA))

    def test_json_makes_lists_of_tuples(self) -> None:
        chain = Chain("json")

        raw = chain.encode(KEY, CachedValue({"a": (1, ("b", []))}, PLAIN_METADATA))

        assert chain.decode(KEY, raw).payload == {"a": [1, ["b", []]]}

    @pytest.mark.parametrize(
        "payload",
        [
            {1, 2},
            2**64,
            IntMood.GOOD,
            Text("subclass"),
            Mood.GOOD,
            CachedValue(1, 2),  # type: ignore[arg-type]  # a named tuple
            object(),
        ],
    )
    def test_msgpack_refuses_what_it_would_not_give_back(self, payload: Any) -> None:
        with pytest.raises(Unserializable):
            Chain("msgpack").encode(KEY, CachedValue(payload, PLAIN_METADATA))

    def test_msgpack_keeps_tuples_bytes_and_keys_of_other_types(self) -> None:
        chain = Chain("msgpack")
        payload = {1: (1, ("b", [b"c"])), ("a", 2): None, None: -1.5}

        decoded = chain.decode(
            KEY, chain.encode(KEY, CachedValue(payload, PLAIN_METADATA))
        )

        assert decoded.payload == payload

    @pytest.mark.parametrize("returned", ["text", None, 7])
    def test_a_serializer_must_return_bytes(self, returned: Any) -> None:
        chain = Chain(lambda _payload: returned, json.loads)

        with pytest.raises(Unserializable, match="not bytes"):
            chain.encode(KEY, CachedValue(1, PLAIN_METADATA))


class TestClaims:
    def test_a_chain_tells_what_it_is(self) -> None:
        plain = Chain()
        signed = Chain(signing_key=SIGNING_KEY)
        encrypted = Chain(encryption_key=ENCRYPTION_KEY)
        compressed = Chain(compressor="zlib")

        assert (plain.is_plain_pickle, plain.is_signed) == (True, False)
        assert (signed.is_plain_pickle, signed.is_signed) == (False, True)
        assert (encrypted.is_plain_pickle, encrypted.is_encrypted) == (False, True)
        assert (compressed.is_plain_pickle, compressed.is_signed) == (False, False)

    def test_a_pickle_is_unguarded_without_any_key(self) -> None:
        assert Chain().is_unguarded_pickle
        assert Chain(compressor="zlib").is_unguarded_pickle
        assert not Chain(signing_key=SIGNING_KEY).is_unguarded_pickle
        assert not Chain(encryption_key=ENCRYPTION_KEY).is_unguarded_pickle
        assert not Chain("json").is_unguarded_pickle

    @pytest.mark.parametrize(
        "serializer", [pickle.dumps, pickle, "pickle"], ids=["dumps", "module", "name"]
    )
    def test_pickle_is_known_however_it_is_handed_in(self, serializer: Any) -> None:
        assert Chain(serializer, pickle.loads).is_plain_pickle
        assert Chain(serializer).is_plain_pickle

    def test_its_representation_names_the_links(self) -> None:
        chain = Chain(
            "json",
            compressor="zlib",
            compress_above=512,
            signing_key=SIGNING_KEY,
            encryption_key=ENCRYPTION_KEY,
        )

        assert repr(chain) == (
            "<Chain json, zlib above 512 bytes, aes-gcm, hmac-sha256>"
        )
        assert repr(Chain()) == "<Chain pickle>"


def bit_flips(raw: bytes) -> list[bytes]:
    """Return every version of the bytes that differs in one bit."""
    return [
        raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :]
        for at in range(len(raw))
        for bit in range(8)
    ]


def attempt(chain: Chain, raw: bytes) -> CachedValue | CodecError:
    """Return the value, or the one error that may be raised instead."""
    try:
        return chain.decode(KEY, raw)
    except CodecError as error:
        return error
