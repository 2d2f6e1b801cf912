"""The chain from a value to the bytes that leave the process, and back."""

from __future__ import annotations

from dogpile.cache.codecs.settings import (
    CODEC_SETTINGS,
    SECRET_SETTINGS,
    build_chain,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dogpile.cache.codecs.chain import Chain

__all__ = ["CODEC_SETTINGS", "SECRET_SETTINGS", "Chain", "build_chain"]


def __getattr__(name: str) -> object:
    # Regions ask for the names of the settings, and many never for a chain.
    if name == "Chain":
        from dogpile.cache.codecs.chain import Chain

        return Chain
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
