"""Keys and values as a backend takes them: mangled, coded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from dogpile.cache.api import (
    NO_VALUE,
    CachedValue,
    KeyManglerType,
    KeyType,
    NoValueType,
)
from dogpile.cache.events import Events
from dogpile.cache.exception import CodecError


class Coder(Protocol):
    """From values to bytes and back: ``codecs.Chain``."""

    @property
    def is_unguarded_pickle(self) -> bool:
        """Whether whoever can write bytes has code run where they are read."""

    def encode(self, key: KeyType, value: CachedValue) -> bytes:
        """Return a value as bytes."""

    def decode(self, key: KeyType, raw: bytes) -> CachedValue:
        """Return bytes as a value."""

    def is_current(self, key: KeyType, raw: bytes) -> bool:
        """Return whether bytes were written as they would be now."""

    def encode_failure(self, key: KeyType, error: BaseException) -> bytes:
        """Return a creator's error as bytes."""

    def decode_failure(self, key: KeyType, raw: bytes) -> BaseException:
        """Return bytes as a creator's error."""


class Coding:
    """What a region does to keys and values before a backend gets them.

    :param prefix: put before each key; a namespace has one.
    :param mangler: makes keys that the backend takes.
    :param coder: for a backend of bytes.
    :param events: hear of what does not decode.
    """

    __slots__ = ("_events", "coder", "mangler", "prefix")

    def __init__(
        self,
        prefix: str,
        mangler: KeyManglerType | None,
        coder: Coder | None,
        events: Events,
    ) -> None:
        self.prefix: str = prefix
        self.mangler: KeyManglerType | None = mangler
        self.coder: Coder | None = coder
        self._events = events

    def key(self, key: KeyType) -> KeyType:
        """Return a key as it is stored."""
        if self.prefix:
            key = f"{self.prefix}{key}"
        return key if self.mangler is None else self.mangler(key)

    def keys(self, keys: Iterable[KeyType]) -> list[KeyType]:
        """Return keys as they are stored."""
        if self.prefix:
            keys = [f"{self.prefix}{key}" for key in keys]
        if self.mangler is None:
            return list(keys)
        many = getattr(self.mangler, "many", None)
        if many is not None:
            found: list[KeyType] = many(list(keys))
            return found
        return list(map(self.mangler, keys))

    def decode(self, key: KeyType, raw: Any) -> CachedValue | NoValueType:
        """Return what a backend gave as a value; what does not decode is none.

        :param key: as it is stored.
        """
        if raw is NO_VALUE or raw is None:
            return NO_VALUE
        if self.coder is None:
            if isinstance(raw, CachedValue):
                return raw
            # A backend may hand out a plain tuple, such as JSON's.
            return _as_value(raw)
        try:
            return self.coder.decode(key, raw)
        except CodecError as error:
            self._events.emit("decode_failed", key, error=error)
            return NO_VALUE

    def encode(self, key: KeyType, value: CachedValue) -> Any:
        """Return a value in the form that the backend takes.

        :raises Unserializable: it cannot be turned into bytes.
        """
        return value if self.coder is None else self.coder.encode(key, value)


def _as_value(raw: Any) -> CachedValue | NoValueType:
    try:
        payload, metadata = raw
        metadata["ct"]
    except (TypeError, ValueError, KeyError):
        return NO_VALUE
    return CachedValue(payload, metadata)
