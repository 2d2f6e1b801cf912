"""The shortest way: pickle, and no other link. Nothing here is looked up twice."""

from __future__ import annotations

import pickle
from typing import Final

from dogpile.cache.api import CachedValue, KeyType, value_version
from dogpile.cache.codecs import head, header
from dogpile.cache.codecs.refusal import cause, describe, undecodable, unserializable
from dogpile.cache.codecs.serializers import PICKLE_PROTOCOL

LINKS = header.Links("pickle")

_HEADER: Final = LINKS.header()
_HEADER_BYTE: Final = bytes([_HEADER])
_CLOSING_BRACE: Final = ord("}")

#: From here on a view costs less than a copy of the payload.
LARGE: Final = 16_384

_dumps = pickle.dumps
_loads = pickle.loads
# What CachedValue() does in the end, without the way there.
_new = tuple.__new__


def encode(key: KeyType, value: CachedValue) -> bytes:
    """Turn a value into bytes; see :meth:`Chain.encode`."""
    payload, metadata = value
    try:
        pickled = _dumps(payload, PICKLE_PROTOCOL)
    # Whatever a type's own methods raise: the value is not for storing.
    except Exception as error:  # noqa: BLE001
        reason = f"it does not pickle ({describe(error)})"
        raise unserializable(key, payload, reason) from None
    if len(metadata) == 2 and "v" in metadata:
        created = metadata.get("ct")
        if type(created) is float:
            return b"%b%a|%b" % (_HEADER_BYTE, created, pickled)
    try:
        return b"%b%b|%b" % (_HEADER_BYTE, head.write(metadata), pickled)
    except head.UnfitMetadata as error:
        raise unserializable(key, payload, str(error)) from None


def decode(key: KeyType, raw: bytes) -> CachedValue:
    """Turn bytes into a value again; see :meth:`Chain.decode`."""
    pickled: bytes | memoryview
    try:
        if raw[0] == _HEADER:
            if len(raw) < LARGE:
                text, _, pickled = raw.partition(b"|")
            else:
                text, pickled = _split(raw)
            if text[-1] == _CLOSING_BRACE:
                metadata = head.read(text[1:])
            else:
                metadata = {"ct": float(text[1:]), "v": value_version}
            # Who demands a signature has a signing_key, and another chain.
            payload = _loads(pickled)
            return _new(CachedValue, (payload, metadata))
    # A pickle may raise anything, and so may what is no pickle.
    except Exception as error:  # noqa: BLE001
        reason = f"{header.explain(LINKS, raw)} ({describe(error)})"
        raise undecodable(key, reason) from cause(error)
    raise undecodable(key, header.explain(LINKS, raw))


def _split(raw: bytes) -> tuple[bytes, memoryview]:
    bar = raw.index(b"|")
    return raw[:bar], memoryview(raw)[bar + 1 :]
