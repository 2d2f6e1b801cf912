"""The metadata of a stored value as text, in front of its payload."""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii as _quote
from typing import Any

from dogpile.cache.api import MetaDataType, value_version

# For what is rare in metadata; the rest is written right here, which takes
# half the time, and refuses keys that JSON would make text of.
_encode = json.JSONEncoder(separators=(",", ":")).encode
_read = json.JSONDecoder().raw_decode

_CLOSING_BRACE = ord("}")
_INFINITE = float("inf")

# The format's version is in the header byte.
_IMPLIED = frozenset({"ct", "v"})


class UnfitMetadata(Exception):
    """Metadata that would not come back as it was."""


def write(metadata: MetaDataType) -> bytes:
    """Turn metadata into text: the time of creation, then the rest as JSON.

    :raises UnfitMetadata: where there is no time, or something else than
        JSON knows.
    """
    try:
        created = float(metadata["ct"])
    except (KeyError, TypeError, ValueError):
        raise UnfitMetadata("its metadata has no time of creation ('ct')") from None
    rest = {name: metadata[name] for name in metadata if name not in _IMPLIED}
    if not rest:
        return b"%a" % created
    return b"%a;%b" % (created, write_json(rest))


def read(text: bytes) -> dict[str, Any]:
    """Turn what :func:`write` returned into metadata again.

    It raises an exception of any type for anything else.
    """
    if text[-1] != _CLOSING_BRACE:
        return {"ct": float(text), "v": value_version}
    created, _, rest = text.partition(b";")
    metadata: dict[str, Any] = read_json(rest)
    metadata["ct"] = float(created)
    metadata["v"] = value_version
    return metadata


def write_json(value: Any) -> bytes:
    """Turn a JSON value into ASCII text that holds no bar.

    :raises UnfitMetadata: where it has something else than JSON knows.
    """
    try:
        text = _write(value)
    except (TypeError, ValueError, RecursionError):
        raise UnfitMetadata(
            "its metadata (a tag's id or a validator) has something that is not JSON"
        ) from None
    return text.replace("|", "\\u007c").encode("ascii")


def read_json(text: bytes) -> Any:
    """Turn what :func:`write_json` returned into a value again.

    It raises an exception of any type for anything else.
    """
    decoded = text.decode("ascii")
    value, end = _read(decoded)
    if end != len(decoded):
        raise ValueError("something follows")
    return value


def _write(node: Any) -> str:
    kind = type(node)
    if kind is str:
        return _quote(node)
    if kind is float and -_INFINITE < node < _INFINITE:
        return repr(node)
    if isinstance(node, dict):
        items = [f"{_quote(key)}:{_write(value)}" for key, value in node.items()]
        return "{" + ",".join(items) + "}"
    if isinstance(node, (list, tuple)):
        return "[" + ",".join(map(_write, node)) + "]"
    return _encode(node)
