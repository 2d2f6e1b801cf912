"""The first byte of everything stored: which links a chain consists of."""

from __future__ import annotations

from typing import NamedTuple

# The bytes from 0x80 up belong to format 3; 0x7c, the bar that ends the
# metadata, is none of them.
_FORMAT_3 = 0x80

#: What a header can name; the position is the number in the byte.
SERIALIZERS = ("own", "pickle", "json", "msgpack")
COMPRESSORS = ("none", "zlib", "zstd", "lz4", "own")


class Links(NamedTuple):
    """The links of a chain, as far as a reader has to know them."""

    serializer: str
    compressor: str = "none"
    encrypted: bool = False
    signed: bool = False

    def header(self) -> int:
        """Return the byte that stands for these links."""
        return (
            _FORMAT_3
            | SERIALIZERS.index(self.serializer) << 5
            | COMPRESSORS.index(self.compressor) << 2
            | self.encrypted << 1
            | self.signed
        )


def read(header: int) -> Links | None:
    """Return the links that a byte stands for, or ``None`` if for none."""
    compressor = header >> 2 & 0b111
    if header < _FORMAT_3 or compressor >= len(COMPRESSORS):
        return None
    return Links(
        SERIALIZERS[header >> 5 & 0b11],
        COMPRESSORS[compressor],
        bool(header & 0b10),
        bool(header & 0b1),
    )


def explain(expected: Links, raw: object) -> str:
    """Say why bytes with another header are refused.

    :param expected: the links of the chain that refuses them.
    :param raw: the bytes, or whatever came in their stead.
    """
    if not isinstance(raw, bytes):
        return f"they are of type {type(raw).__qualname__}, not bytes"
    found = read(raw[0]) if raw else None
    if found is None:
        return "they are not in the format of this version"
    if found.signed != expected.signed:
        return _either(found.signed, "signed", "signing_key")
    if found.encrypted != expected.encrypted:
        return _either(found.encrypted, "encrypted", "encryption_key")
    if found.serializer != expected.serializer:
        return _other("serializer", found.serializer, expected.serializer)
    if found.compressor not in {"none", expected.compressor}:
        return _other("compressor", found.compressor, expected.compressor)
    return "they are truncated or damaged"


def _either(is_so: bool, what: str, setting: str) -> str:
    if is_so:
        return f"they are {what}, and this region has no {setting}"
    return f"they are not {what}, and this region has a {setting}"


def _other(link: str, found: str, expected: str) -> str:
    return f"their {link} is {found}, and this region's is {expected}"
