"""Keys that sign and encrypt: read from settings, never shown."""

from __future__ import annotations

from typing import Any

from dogpile.cache.exception import ValidationError

#: Fewer bytes than this can be guessed.
SHORTEST = 16

_HOW_TO_MAKE_ONE = (
    'make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'
)


def read(setting: str, given: Any) -> tuple[bytes, ...]:
    """Return the keys that a setting holds, the one in use first.

    :param setting: its name, for the errors.
    :param given: a key, as text or bytes, or a list of them.
    :raises ValidationError: for another type, for an empty list, and for a
        key that is too short.
    """
    if given is None:
        return ()
    listed = given if isinstance(given, (list, tuple)) else (given,)
    if not listed:
        raise ValidationError(
            f"{setting} is an empty list; leave it out for no key at all, or "
            f"{_HOW_TO_MAKE_ONE}"
        )
    return tuple(_one(setting, key, n) for n, key in enumerate(listed, start=1))


def _one(setting: str, key: Any, number: int) -> bytes:
    if isinstance(key, str):
        key = key.encode("utf-8", "surrogatepass")
    if not isinstance(key, bytes):
        raise ValidationError(
            f"{setting}: key {number} must be text or bytes, not of type "
            f"{type(key).__name__}"
        )
    if len(key) < SHORTEST:
        raise ValidationError(
            f"{setting}: key {number} has fewer than {SHORTEST} bytes, and could "
            f"be guessed; {_HOW_TO_MAKE_ONE}"
        )
    return key
