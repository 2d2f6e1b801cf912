"""Smaller bytes for large values, and no larger ones than the limit back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from dogpile.cache.codecs.checks import load, nearest
from dogpile.cache.codecs.header import COMPRESSORS
from dogpile.cache.exception import ValidationError

_NAMES = tuple(name for name in COMPRESSORS if name not in {"none", "own"})

_ZSTD_MODULES = ("compression.zstd", "backports.zstd")

# Modules that may be handed in, and the names they are better known by: the
# named compressors stop at the limit while they expand.
_MODULES = {"zlib": "zlib", "lz4.frame": "lz4"} | dict.fromkeys(_ZSTD_MODULES, "zstd")


class Compressor(NamedTuple):
    """A compressor.

    :param name: as the header byte knows it.
    :param compress: from bytes to, with luck, fewer bytes.
    :param expand: the way back; :class:`Refused` beyond the limit.
    """

    name: str
    compress: Callable[[bytes], bytes]
    expand: Callable[[memoryview], bytes]


class Refused(Exception):
    """Compressed bytes that are not expanded, and why."""


def choose(compressor: Any, *, level: int | None, limit: int) -> Compressor | None:
    """Return the compressor that the settings ask for.

    :param compressor: a name, or an object with ``compress`` and
        ``decompress``, or ``None`` for none.
    :param level: as the compressor counts them; ``None`` for its default.
    :param limit: the most bytes that anything may expand to.
    :raises ValidationError: for another name, object or level.
    :raises ConfigurationError: where its package is not installed.
    """
    if compressor is None:
        return None
    name = compressor
    if isinstance(compressor, ModuleType):
        name = _MODULES.get(compressor.__name__, compressor)
    if not isinstance(name, str):
        return _own(compressor, level, limit)
    if name not in _NAMES:
        raise ValidationError(
            f"compressor {name!r} is not known: {nearest(name, _NAMES)}"
        )
    return {"zlib": _zlib, "zstd": _zstd, "lz4": _lz4}[name](level, limit)


def _own(compressor: Any, level: int | None, limit: int) -> Compressor:
    compress = getattr(compressor, "compress", None)
    decompress = getattr(compressor, "decompress", None)
    if not callable(compress) or not callable(decompress):
        raise ValidationError(
            "compressor must be a name, or an object with compress() and "
            f"decompress(); got something of type {type(compressor).__name__}"
        )
    if level is not None:
        raise ValidationError(
            "compression_level is for the named compressors; give the level to "
            "the object itself"
        )
    return Compressor(
        "own", compress, functools.partial(_expand_own, decompress, limit)
    )


def _expand_own(
    decompress: Callable[[bytes], bytes], limit: int, compressed: memoryview
) -> bytes:
    expanded = decompress(bytes(compressed))
    if len(expanded) > limit:
        raise Refused(_beyond(limit))
    return expanded


def _zlib(level: int | None, limit: int) -> Compressor:
    import zlib

    _check_level("zlib", level, 0, 9)
    compress = functools.partial(zlib.compress, level=-1 if level is None else level)
    return Compressor(
        "zlib", compress, functools.partial(_expand, zlib.decompressobj, limit)
    )


def _zstd(level: int | None, limit: int) -> Compressor:
    zstd = load("compressor 'zstd'", "zstd", *_ZSTD_MODULES)
    written, read = zstd.CompressionParameter, zstd.DecompressionParameter
    _check_level("zstd", level, *written.compression_level.bounds())
    options = {written.checksum_flag: 1}
    if level is not None:
        options[written.compression_level] = level
    # A frame may demand a window, which is memory, of its own choice.
    lowest, highest = read.window_log_max.bounds()
    window = min(max(limit.bit_length(), lowest), highest)
    decompressor = functools.partial(
        zstd.ZstdDecompressor, options={read.window_log_max: window}
    )
    return Compressor(
        "zstd",
        functools.partial(zstd.compress, options=options),
        functools.partial(_expand_zstd, zstd, decompressor, limit),
    )


def _expand_zstd(
    zstd: Any, decompressor: Callable[[], Any], limit: int, compressed: memoryview
) -> bytes:
    try:
        return _expand(decompressor, limit, compressed)
    except zstd.ZstdError:
        # A frame that is too large is refused for its window at once.
        size = zstd.get_frame_info(compressed).decompressed_size
        if size is None or size <= limit:
            raise
    raise Refused(_beyond(limit))


def _lz4(level: int | None, limit: int) -> Compressor:
    frame = load("compressor 'lz4'", "lz4", "lz4.frame")
    _check_level("lz4", level, 0, 16)
    compress = functools.partial(
        frame.compress, compression_level=level or 0, content_checksum=True
    )
    return Compressor(
        "lz4", compress, functools.partial(_expand, frame.LZ4FrameDecompressor, limit)
    )


def _expand(
    decompressor: Callable[[], Any], limit: int, compressed: memoryview
) -> bytes:
    stream = decompressor()
    # One byte more than allowed tells what fits exactly from what does not.
    expanded: bytes = stream.decompress(compressed, limit + 1)
    if len(expanded) > limit:
        raise Refused(_beyond(limit))
    if not stream.eof:
        raise Refused("the compressed bytes are truncated")
    if stream.unused_data:
        raise Refused("something follows the compressed bytes")
    return expanded


def _beyond(limit: int) -> str:
    return f"they expand to more than max_decoded_bytes={limit}"


def _check_level(name: str, level: int | None, lowest: int, highest: int) -> None:
    if level is not None and not lowest <= level <= highest:
        raise ValidationError(
            f"compression_level of {name} goes from {lowest} to {highest}, not {level}"
        )
