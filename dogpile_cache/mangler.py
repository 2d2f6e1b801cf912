"""From a key to one that a backend takes. Pure."""

from __future__ import annotations

from collections.abc import Callable

from dogpile.cache.canonical import canonical
from dogpile.cache.exception import UncacheableArgument, ValidationError

# A hash in hexadecimal, and the sign before it.
_HASH_ROOM = 65


def limited(
    max_bytes: int, *, forbid_controls: bool = False, ascii_only: bool = False
) -> KeyLimit:
    """Return a mangler for a backend that does not take every key.

    :param max_bytes: of a key in UTF-8; at least 65.
    :param forbid_controls: whether blanks, control characters and the empty
        key are illegal.
    :param ascii_only: whether everything beyond ASCII is illegal.
    :raises ValidationError: where the limit leaves no room for a hash.
    """
    if max_bytes < _HASH_ROOM:
        raise ValidationError(
            f"max_bytes={max_bytes} leaves no room for hashed keys: give it at least "
            f"{_HASH_ROOM}"
        )
    return KeyLimit(max_bytes, forbid_controls, ascii_only)


class KeyLimit:
    """Hashes the keys that are too long or illegal; see :func:`limited`.

    A legal string stays as it is. Any other value becomes ``~`` and its
    canonical form, and what is then no legal key becomes its beginning, ``~``
    and a SHA-256. A string that looks like one of these two is hashed, so
    that two keys never become one.
    """

    __slots__ = ("_ascii_only", "_digest", "_forbid_controls", "_max_bytes")

    def __init__(self, max_bytes: int, forbid_controls: bool, ascii_only: bool) -> None:
        from hashlib import sha256

        self._digest = sha256
        self._max_bytes = max_bytes
        self._forbid_controls = forbid_controls
        self._ascii_only = ascii_only

    def __call__(self, key: object) -> str:
        """Return a legal key."""
        if isinstance(key, str):
            if type(key) is not str:
                key = str.__str__(key)  # the content, whatever it is shown as
            if key[:1] != "~" and self._is_legal(key):
                return key
            return self._hash(key, b"")
        text = "~" + self._canonical(key)
        # No string in UTF-8 begins with this byte.
        return text if self._is_legal(text) else self._hash(text, b"\xff")

    def _is_legal(self, key: str) -> bool:
        if key[-_HASH_ROOM : 1 - _HASH_ROOM] == "~":
            return False
        if self._forbid_controls and not (key and key.isprintable() and " " not in key):
            return False
        if key.isascii():
            return len(key) <= self._max_bytes
        return not self._ascii_only and self._fits(key)

    def _fits(self, key: str) -> bool:
        try:
            return len(key.encode()) <= self._max_bytes
        except UnicodeEncodeError:  # a lone surrogate has no bytes
            return False

    def _canonical(self, key: object) -> str:
        try:
            return canonical(key)
        except UncacheableArgument:
            raise ValidationError(
                f"what has the type {type(key).__qualname__} cannot be a key for this "
                "backend: its representation changes from process to process; give a "
                "string"
            ) from None

    def _hash(self, key: str, salt: bytes) -> str:
        digest = self._digest(salt + key.encode("utf-8", "surrogatepass")).hexdigest()
        room = self._max_bytes - _HASH_ROOM
        head = key[:room].replace(" ", "_")
        if not (head.isascii() and head.isprintable()):
            head = "".join(char if self._may_stand(char) else "_" for char in head)
            head = head.encode()[:room].decode("utf-8", "ignore")
        return f"{head}~{digest}"

    def _may_stand(self, char: str) -> bool:
        # Surrogates and controls are not printable.
        return char.isprintable() and (char.isascii() or not self._ascii_only)


def sha1_mangle_key(key: str | bytes) -> str:
    """Return the SHA-1 of a key, in hexadecimal (the 1.x mangler)."""
    from hashlib import sha1

    content = key.encode() if isinstance(key, str) else key
    return sha1(content, usedforsecurity=False).hexdigest()


def length_conditional_mangler(
    length: int, mangler: Callable[[str], str]
) -> Callable[[str], str]:
    """Return a mangler that leaves keys alone that are shorter than a length."""

    def mangle(key: str) -> str:
        return mangler(key) if len(key) >= length else key

    return mangle
