"""The chain from a value to the bytes that leave the process, and back."""

from __future__ import annotations

from dogpile.cache.codecs.chain import Chain
from dogpile.cache.codecs.settings import (
    CODEC_SETTINGS,
    SECRET_SETTINGS,
    build_chain,
)

__all__ = ["CODEC_SETTINGS", "SECRET_SETTINGS", "Chain", "build_chain"]
