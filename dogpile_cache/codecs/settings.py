"""From settings, as configuration has them, to a chain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dogpile.cache.codecs.checks import nearest
from dogpile.cache.exception import ValidationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dogpile.cache.codecs.chain import Chain

#: The settings that must never be shown, nor coerced to numbers.
SECRET_SETTINGS = frozenset({"signing_key", "encryption_key"})

_NUMBERS = frozenset({"compress_above", "compression_level", "max_decoded_bytes"})

#: The names of all the settings of a chain.
CODEC_SETTINGS = (
    SECRET_SETTINGS | _NUMBERS | {"serializer", "deserializer", "compressor"}
)


def build_chain(settings: Mapping[str, Any], *, context: str | None) -> Chain:
    """Build a chain from settings.

    Text stands for numbers, as it comes from files, and for several keys,
    which commas part. ``None`` is the default.

    :param settings: names of :data:`CODEC_SETTINGS` and their values.
    :param context: the region's name; values are bound to it.
    :raises ValidationError: for a name that is not known, or a value that
        is no use; the text has no key.
    :raises ConfigurationError: where a package is not installed.
    """
    # A region of objects has no chain, and does without what it imports.
    from dogpile.cache.codecs.chain import Chain

    chosen: dict[str, Any] = {}
    for name, given in settings.items():
        if name not in CODEC_SETTINGS:
            raise ValidationError(
                f"codec setting {name!r} is not known: {nearest(name, CODEC_SETTINGS)}"
            )
        if given is not None:
            chosen[name] = _coerce(name, given)
    return Chain(**chosen, context=context)


def _coerce(name: str, given: Any) -> Any:
    if name in SECRET_SETTINGS and isinstance(given, str):
        return _split(name, given)
    if name in _NUMBERS and isinstance(given, str):
        try:
            return int(given)
        except ValueError:
            raise ValidationError(
                f"{name} must be a whole number, not {given!r}"
            ) from None
    return given


def _split(name: str, given: str) -> list[str]:
    keys = [key.strip() for key in given.split(",")]
    if not all(keys):
        raise ValidationError(
            f"{name} is empty, or has an empty key between its commas; leave it "
            "out for no key at all"
        )
    return keys
