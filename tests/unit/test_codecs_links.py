"""The links behind the serializer: thresholds, limits, bombs, settings."""

from __future__ import annotations

import bz2
import json
import lzma
import pickle
import sys
import zlib
from hashlib import sha256
from typing import Any

import pytest

from dogpile.cache.api import CachedValue
from dogpile.cache.codecs import (
    CODEC_SETTINGS,
    SECRET_SETTINGS,
    Chain,
    build_chain,
)
from dogpile.cache.codecs.checks import load
from dogpile.cache.exception import (
    CodecError,
    ConfigurationError,
    Unserializable,
    ValidationError,
)

COMPRESSORS = ("zlib", "zstd", "lz4")
KEY = "module:function|7"
SIGNING_KEY = "a signing key of many bytes"
METADATA = {"ct": 1_700_000_000.25, "v": 3}
COMPRESSED_BIT = 0b11100


class Broken:
    """A compressor that fails, and quotes what it was given."""

    def compress(self, body: bytes) -> bytes:
        raise ValueError(body)

    def decompress(self, body: bytes) -> bytes:
        raise ValueError(body)


def is_compressed(raw: bytes) -> bool:
    return bool(raw[0] & COMPRESSED_BIT)


class TestCompression:
    @pytest.mark.parametrize("compressor", COMPRESSORS)
    def test_only_what_is_above_the_threshold_is_compressed(
        self, compressor: str
    ) -> None:
        chain = Chain("json", compressor=compressor, compress_above=200)
        body_beside_text = len(chain.encode(KEY, CachedValue("", METADATA))) - 1
        at = CachedValue("x" * (200 - body_beside_text), METADATA)
        above = CachedValue("x" * (201 - body_beside_text), METADATA)

        assert not is_compressed(chain.encode(KEY, at))
        assert is_compressed(chain.encode(KEY, above))

    @pytest.mark.parametrize("compressor", COMPRESSORS)
    def test_what_does_not_get_smaller_stays_as_it_is(self, compressor: str) -> None:
        chain = Chain(compressor=compressor, compress_above=0)
        random = b"".join(sha256(bytes([n])).digest() for n in range(50))

        raw = chain.encode(KEY, CachedValue(random, METADATA))

        assert not is_compressed(raw)
        assert chain.decode(KEY, raw).payload == random

    @pytest.mark.parametrize("compressor", COMPRESSORS)
    def test_what_repeats_gets_much_smaller(self, compressor: str) -> None:
        value = CachedValue("dogpile " * 10_000, METADATA)

        raw = Chain(compressor=compressor).encode(KEY, value)

        assert len(raw) < 2_000

    @pytest.mark.parametrize(
        ("compressor", "level"),
        [("zlib", 0), ("zlib", 9), ("zstd", -5), ("zstd", 22), ("lz4", 0), ("lz4", 16)],
    )
    def test_the_lowest_and_the_highest_levels_work(
        self, compressor: str, level: int
    ) -> None:
        chain = Chain(compressor=compressor, compress_above=0, compression_level=level)
        value = CachedValue("dogpile " * 1_000, METADATA)

        assert chain.decode(KEY, chain.encode(KEY, value)) == value

    @pytest.mark.parametrize(
        ("compressor", "level"),
        [("zlib", 10), ("zlib", -2), ("zstd", 23), ("lz4", 17), ("lz4", -1)],
    )
    def test_other_levels_are_refused(self, compressor: str, level: int) -> None:
        with pytest.raises(ValidationError, match=f"of {compressor} goes from"):
            Chain(compressor=compressor, compression_level=level)

    @pytest.mark.parametrize("compressor", [bz2, lzma])
    def test_a_compressor_may_be_handed_in(self, compressor: Any) -> None:
        chain = Chain("json", compressor=compressor, compress_above=0)
        value = CachedValue("x" * 1_000, METADATA)

        raw = chain.encode(KEY, value)

        assert is_compressed(raw)
        assert chain.decode(KEY, raw) == value
        assert repr(chain) == "<Chain json, own above 0 bytes>"

    def test_the_modules_of_named_compressors_are_known(self) -> None:
        assert repr(Chain(compressor=zlib)) == "<Chain pickle, zlib above 1024 bytes>"

    def test_a_compressor_of_ones_own_may_fail_without_quoting(self) -> None:
        with pytest.raises(Unserializable) as caught:
            Chain(compressor=Broken(), compress_above=0).encode(
                KEY, CachedValue("the secret", METADATA)
            )

        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is None


class TestBombs:
    @pytest.mark.parametrize("compressor", COMPRESSORS)
    @pytest.mark.parametrize("signing_key", [None, SIGNING_KEY])
    def test_a_bomb_stops_at_the_limit(
        self, compressor: str, signing_key: str | None
    ) -> None:
        settings: dict[str, Any] = {
            "compressor": compressor,
            "signing_key": signing_key,
        }
        raw = Chain(**settings).encode(KEY, CachedValue(b"\0" * 5_000_000, METADATA))

        with pytest.raises(CodecError, match="max_decoded_bytes=1000000"):
            Chain(**settings, max_decoded_bytes=1_000_000).decode(KEY, raw)

    @pytest.mark.parametrize("compressor", COMPRESSORS)
    def test_a_bomb_takes_no_more_memory_than_the_limit(self, compressor: str) -> None:
        import tracemalloc

        raw = Chain(compressor=compressor).encode(
            KEY, CachedValue(b"\0" * 50_000_000, METADATA)
        )
        small = Chain(compressor=compressor, max_decoded_bytes=1_000_000)
        tracemalloc.start()

        with pytest.raises(CodecError):
            small.decode(KEY, raw)

        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # The buffers of a stream, and one that is doubled, are among them.
        assert peak < 8_000_000

    @pytest.mark.parametrize("compressor", COMPRESSORS)
    def test_what_has_the_limit_exactly_is_read(self, compressor: str) -> None:
        value = CachedValue("dogpile " * 1_000, METADATA)
        size = len(Chain("json").encode(KEY, value)) - 1
        chain = Chain("json", compressor=compressor, max_decoded_bytes=size)

        assert chain.decode(KEY, chain.encode(KEY, value)) == value

    @pytest.mark.parametrize("compressor", [*COMPRESSORS, bz2])
    def test_what_has_one_byte_more_is_refused_by_reader_and_writer(
        self, compressor: Any
    ) -> None:
        value = CachedValue("dogpile " * 1_000, METADATA)
        size = len(Chain("json").encode(KEY, value)) - 1
        raw = Chain("json", compressor=compressor).encode(KEY, value)
        small = Chain("json", compressor=compressor, max_decoded_bytes=size - 1)

        with pytest.raises(CodecError, match="max_decoded_bytes"):
            small.decode(KEY, raw)
        with pytest.raises(Unserializable, match=f"it has {size} bytes"):
            small.encode(KEY, value)

    def test_without_a_compressor_there_is_no_limit(self) -> None:
        chain = Chain("json", max_decoded_bytes=10)
        value = CachedValue("dogpile " * 1_000, METADATA)

        assert chain.decode(KEY, chain.encode(KEY, value)) == value

    def test_a_frame_that_demands_a_huge_window_is_refused(self) -> None:
        zstd = load("the test", "zstd", "compression.zstd", "backports.zstd")
        written = zstd.CompressionParameter
        stream = zstd.ZstdCompressor(options={written.window_log: 27})
        # Written in two steps, so that the frame cannot tell its size.
        frame = stream.compress(b'1.5|"xxxx') + stream.flush(stream.FLUSH_BLOCK)
        frame += stream.compress(b'xxxx"\n') + stream.flush()
        header = Chain("json", compressor="zstd", compress_above=0).encode(
            KEY, CachedValue("x" * 100, METADATA)
        )[:1]

        with pytest.raises(CodecError, match="ZstdError"):
            Chain("json", compressor="zstd", max_decoded_bytes=1_000_000).decode(
                KEY, header + frame
            )

    @pytest.mark.parametrize("compressor", COMPRESSORS)
    def test_what_follows_the_compressed_bytes_is_refused(
        self, compressor: str
    ) -> None:
        chain = Chain("json", compressor=compressor, compress_above=0)
        raw = chain.encode(KEY, CachedValue("x" * 100, METADATA))

        with pytest.raises(CodecError):
            chain.decode(KEY, raw + b"more")


class TestSettings:
    def test_settings_come_as_text(self) -> None:
        chain = build_chain(
            {
                "serializer": "json",
                "compressor": "zlib",
                "compress_above": "2048",
                "compression_level": "9",
                "max_decoded_bytes": "1000000",
                "signing_key": f"{SIGNING_KEY}, {SIGNING_KEY} of old",
            },
            context="users",
        )

        assert repr(chain) == "<Chain json, zlib above 2048 bytes, hmac-sha256>"

    def test_commas_part_keys(self) -> None:
        old = build_chain({"signing_key": f"{SIGNING_KEY} of old"}, context="users")
        raw = old.encode(KEY, CachedValue("x", METADATA))

        new = build_chain(
            {"signing_key": f"{SIGNING_KEY}, {SIGNING_KEY} of old"}, context="users"
        )

        assert new.decode(KEY, raw).payload == "x"

    def test_objects_and_lists_are_handed_in(self) -> None:
        chain = build_chain(
            {
                "serializer": lambda payload: json.dumps(payload).encode(),
                "deserializer": json.loads,
                "compressor": bz2,
                "signing_key": [SIGNING_KEY.encode(), SIGNING_KEY],
            },
            context="users",
        )
        value = CachedValue([1], METADATA)

        assert chain.decode(KEY, chain.encode(KEY, value)) == value

    def test_none_is_the_default(self) -> None:
        chain = build_chain(dict.fromkeys(CODEC_SETTINGS), context=None)

        assert chain.is_plain_pickle

    def test_no_settings_give_plain_pickle(self) -> None:
        assert build_chain({}, context="users").is_plain_pickle

    @pytest.mark.parametrize(
        ("settings", "reason"),
        [
            ({"compresor": "zlib"}, "did you mean 'compressor'"),
            ({"qqq": 1}, "'qqq' is not known: Known are 'compress_above'"),
            ({"serializer": "pickel"}, "did you mean 'pickle'"),
            ({"serializer": "yaml"}, "Known are 'json', 'msgpack', 'pickle'"),
            ({"serializer": 7}, "must be a name, an object .* of type int"),
            ({"serializer": len}, "needs a deserializer= beside it"),
            ({"deserializer": "json"}, "must be a function .* not a str"),
            ({"compressor": "zstandard"}, "did you mean 'zstd'"),
            ({"compressor": "gzip"}, "compressor 'gzip' is not known"),
            ({"compressor": 7}, "got something of type int"),
            ({"compressor": bz2, "compression_level": 3}, "to the object itself"),
            ({"compress_above": "many"}, "must be a whole number, not 'many'"),
            ({"compress_above": 1.5}, "must be a whole number, not of type float"),
            ({"compress_above": True}, "must be a whole number, not of type bool"),
            ({"compress_above": -1}, "must be at least 0, not -1"),
            ({"max_decoded_bytes": 0}, "must be at least 1, not 0"),
            ({"compression_level": "high"}, "must be a whole number"),
            ({"signing_key": "short"}, "key 1 has fewer than 16 bytes"),
            ({"signing_key": [SIGNING_KEY, b"short"]}, "key 2 has fewer than 16"),
            ({"signing_key": 12345678901234567890}, "text or bytes, not of type int"),
            ({"signing_key": []}, "is an empty list"),
            ({"signing_key": ""}, "is empty, or has an empty key"),
            ({"signing_key": f"{SIGNING_KEY},"}, "has an empty key"),
            ({"encryption_key": "short"}, "encryption_key: key 1 has fewer"),
            ({"encryption_key": "fernet:no key at all"}, "is no Fernet key"),
        ],
    )
    def test_settings_of_no_use_are_refused(
        self, settings: dict[str, Any], reason: str
    ) -> None:
        with pytest.raises(ValidationError, match=reason):
            build_chain(settings, context="users")

    def test_the_secret_settings_are_among_them(self) -> None:
        assert SECRET_SETTINGS < CODEC_SETTINGS

    @pytest.mark.parametrize(
        ("settings", "missing", "extra"),
        [
            ({"serializer": "msgpack"}, ["msgpack"], "msgpack"),
            ({"compressor": "lz4"}, ["lz4", "lz4.frame"], "lz4"),
            ({"compressor": "zstd"}, ["compression.zstd", "backports.zstd"], "zstd"),
            (
                {"encryption_key": SIGNING_KEY},
                ["cryptography.hazmat.primitives.ciphers.aead"],
                "crypto",
            ),
            (
                {"encryption_key": f"fernet:{SIGNING_KEY}"},
                ["cryptography.fernet"],
                "crypto",
            ),
        ],
    )
    def test_a_missing_package_is_named_by_its_extra(
        self,
        monkeypatch: pytest.MonkeyPatch,
        settings: dict[str, Any],
        missing: list[str],
        extra: str,
    ) -> None:
        for name in missing:
            monkeypatch.setitem(sys.modules, name, None)

        with pytest.raises(ConfigurationError, match=rf"dogpile\.cache\[{extra}\]"):
            build_chain(settings, context="users")

    def test_json_and_pickle_need_no_optional_package(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("msgpack", "lz4", "backports.zstd", "cryptography"):
            monkeypatch.setitem(sys.modules, name, None)

        chain = Chain("json", compressor="zlib", signing_key=SIGNING_KEY)

        assert chain.is_signed


class TestSerializersOfOnesOwn:
    def test_an_object_with_dumps_and_loads(self) -> None:
        class Reprs:
            def dumps(self, payload: Any) -> bytes:
                return repr(payload).encode()

            def loads(self, raw: bytes) -> Any:
                assert type(raw) is bytes
                return int(raw)

        chain = Chain(Reprs())

        assert chain.decode(KEY, chain.encode(KEY, CachedValue(7, METADATA)))[0] == 7

    def test_a_deserializer_alone_reads_what_pickle_writes(self) -> None:
        seen: list[bytes] = []

        def loads(raw: bytes) -> Any:
            seen.append(raw)
            return pickle.loads(raw)

        chain = Chain(deserializer=loads)

        assert chain.decode(KEY, chain.encode(KEY, CachedValue(7, METADATA)))[0] == 7
        assert len(seen) == 1
        assert not chain.is_plain_pickle

    def test_the_json_module_is_the_named_serializer(self) -> None:
        assert repr(Chain(json)) == "<Chain json>"
