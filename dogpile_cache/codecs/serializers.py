"""From a payload to bytes and back: pickle, JSON, msgpack, or one's own."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from dogpile.cache.codecs.checks import load, nearest
from dogpile.cache.codecs.header import SERIALIZERS
from dogpile.cache.exception import ValidationError

PICKLE_PROTOCOL = 5

_NAMES = tuple(name for name in SERIALIZERS if name != "own")

# What JSON gives back as it was. Of tuples it makes lists, which is
# documented; the check lets them pass.
_JSON_SCALARS = frozenset({str, int, float, bool, type(None)})
_TEXT = frozenset({str})

_TUPLE = 1


class Serial(NamedTuple):
    """A serializer.

    :param name: as the header byte knows it.
    :param dumps: from a payload to bytes.
    :param loads: from bytes, or a view of them, to a payload.
    :param takes_views: whether ``loads`` takes a ``memoryview``.
    """

    name: str
    dumps: Callable[[Any], bytes]
    loads: Callable[[Any], Any]
    takes_views: bool = True


class Foreign(Exception):
    """Something that the serializer would give back as something else."""


def choose(serializer: Any, deserializer: Any = None) -> Serial:
    """Return the serializer that the settings ask for.

    :param serializer: a name, an object with ``dumps`` and ``loads``, or a
        function from a payload to bytes.
    :param deserializer: a function from bytes to a payload, which then reads
        what ``serializer`` writes.
    :raises ValidationError: for anything else.
    """
    if deserializer is not None and not callable(deserializer):
        raise ValidationError(
            "deserializer must be a function from bytes to a payload, not a "
            f"{type(deserializer).__name__}"
        )
    chosen = _named(serializer) or _own(serializer, deserializer)
    if deserializer is None or (
        chosen.name == "pickle" and deserializer is pickle.loads
    ):
        return chosen
    return Serial("own", _checked(chosen.dumps), deserializer, takes_views=False)


def _named(serializer: Any) -> Serial | None:
    name = serializer
    if serializer is pickle.dumps:
        name = "pickle"
    elif getattr(serializer, "__name__", "") in _NAMES and not callable(serializer):
        # One of the modules themselves.
        name = serializer.__name__
    if not isinstance(name, str):
        return None
    if name not in _NAMES:
        raise ValidationError(
            f"serializer {name!r} is not known: {nearest(name, _NAMES)}"
        )
    return {"pickle": _pickle, "json": _json, "msgpack": _msgpack}[name]()


def _own(serializer: Any, deserializer: Any) -> Serial:
    dumps = getattr(serializer, "dumps", None)
    loads = getattr(serializer, "loads", None)
    if callable(dumps) and callable(loads):
        return Serial("own", _checked(dumps), loads, takes_views=False)
    if not callable(serializer):
        raise ValidationError(
            "serializer must be a name, an object with dumps() and loads(), or a "
            f"function; got something of type {type(serializer).__name__}"
        )
    if deserializer is None:
        raise ValidationError(
            "a serializer that is a function needs a deserializer= beside it"
        )
    return Serial("own", serializer, deserializer, takes_views=False)


def _checked(dumps: Callable[[Any], Any]) -> Callable[[Any], bytes]:
    return functools.partial(_dump_own, dumps)


def _dump_own(dumps: Callable[[Any], Any], payload: Any) -> bytes:
    raw = dumps(payload)
    if not isinstance(raw, (bytes, bytearray, memoryview)):
        raise Foreign(f"the serializer returned {type(raw).__name__}, not bytes")
    return bytes(raw)


def _pickle() -> Serial:
    dumps = functools.partial(pickle.dumps, protocol=PICKLE_PROTOCOL)
    return Serial("pickle", dumps, pickle.loads)


def _json() -> Serial:
    return Serial("json", _Json().dumps, _load_json)


class _Json:
    """JSON that refuses what would come back as something else."""

    __slots__ = ("_encode",)

    def __init__(self) -> None:
        import json

        encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
        self._encode = encoder.encode

    def dumps(self, payload: Any) -> bytes:
        # The encoder goes first: it is who notices circles.
        text = self._encode(payload)
        foreign = _foreign_to_json(payload)
        if foreign is not None:
            raise Foreign(foreign)
        # The line's end tells 12 from a truncated 123.
        return (text + "\n").encode("utf-8", "surrogatepass")


def _load_json(raw: bytes | memoryview) -> Any:
    import json

    text = str(raw, "utf-8", "surrogatepass")
    if not text.endswith("\n"):
        raise ValueError("truncated")
    return json.loads(text)


def _foreign_to_json(payload: Any) -> str | None:
    """Say what JSON would not give back as it was, if there is anything."""
    waiting = [payload]
    items: Iterable[Any]
    for node in waiting:
        kind = type(node)
        if kind is dict:
            if not _TEXT.issuperset(map(type, node)):
                return "JSON makes text of keys that are not"
            items = node.values()
        elif kind is list or kind is tuple:
            items = node
        elif kind in _JSON_SCALARS:
            continue
        else:
            return f"JSON would not give back the type {kind.__name__}"
        waiting.extend([item for item in items if type(item) not in _JSON_SCALARS])
    return None


def _msgpack() -> Serial:
    msgpack = load("serializer 'msgpack'", "msgpack", "msgpack")
    own = _Msgpack(msgpack)
    return Serial("msgpack", own.dumps, own.loads)


class _Msgpack:
    """msgpack that gives tuples back as tuples, and refuses what it would change."""

    __slots__ = ("_ext", "_pack", "_unpack")

    def __init__(self, msgpack: Any) -> None:
        self._pack = msgpack.packb
        self._unpack = msgpack.unpackb
        self._ext = msgpack.ExtType

    def dumps(self, payload: Any) -> bytes:
        packed: bytes = self._pack(
            payload,
            default=self._extend,
            # Without it a subclass is written as its base, and a tuple as a list.
            strict_types=True,
            unicode_errors="surrogatepass",
        )
        return packed

    def loads(self, raw: bytes | memoryview) -> Any:
        return self._unpack(
            raw,
            ext_hook=self._restore,
            strict_map_key=False,
            unicode_errors="surrogatepass",
        )

    def _extend(self, value: Any) -> Any:
        if type(value) is not tuple:
            raise Foreign(f"msgpack does not know the type {type(value).__name__}")
        return self._ext(_TUPLE, self.dumps(list(value)))

    def _restore(self, code: int, packed: bytes) -> Any:
        if code != _TUPLE:
            raise ValueError("an extension that nobody wrote")
        return tuple(self.loads(packed))
