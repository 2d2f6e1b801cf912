"""From a value to the bytes that leave the process, and back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from dogpile.cache.api import CachedValue, KeyType, MetaDataType
from dogpile.cache.codecs import compressors, head, plain, seal, secret, serializers
from dogpile.cache.codecs.checks import whole
from dogpile.cache.codecs.ciphers import Ciphers
from dogpile.cache.codecs.failure import Failures
from dogpile.cache.codecs.refusal import cause, describe, undecodable, unserializable
from dogpile.cache.codecs.signing import Signer

#: What compressed bytes may expand to where nothing else is said.
MAX_DECODED_BYTES = 64 * 1024 * 1024


class Shape(NamedTuple):
    """What the bytes of a value consist of, for who reads many of them.

    :param header: the first byte, before the metadata; ``None`` where other
        links hide them.
    :param opened: from a key and bytes to what they hide; ``None`` where they
        hide nothing. It raises an exception of any type.
    :param dumps: from a payload to bytes. It raises an exception of any type.
    :param loads: from what follows the metadata and a bar to a payload.
    :param large: from so many bytes on a view costs less than a copy.
    """

    header: bytes | None
    opened: Callable[[KeyType, bytes], bytes] | None
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]
    large: int


class Chain:
    """A serializer, and what may follow it: compressor, cipher, signer.

    :param serializer: ``"pickle"``, ``"json"``, ``"msgpack"``, an object with
        ``dumps`` and ``loads``, or a function beside ``deserializer``.
    :param deserializer: a function from bytes to a payload.
    :param compressor: ``"zlib"``, ``"zstd"``, ``"lz4"``, or an object with
        ``compress`` and ``decompress``.
    :param compress_above: only what has more bytes is compressed.
    :param compression_level: as the compressor counts them.
    :param signing_key: 16 bytes or more, or a list: the first signs.
    :param encryption_key: the same; ``"fernet:..."`` for Fernet keys.
    :param max_decoded_bytes: what compressed bytes may expand to at most.
    :param context: the region's name, which values are bound to.
    """

    __slots__ = (
        "_above",
        "_current",
        "_limit",
        "_seal",
        "_serial",
        "decode",
        "decode_failure",
        "encode",
        "encode_failure",
    )

    #: From a key and a value to bytes; ``Unserializable`` for what is not fit.
    encode: Callable[[KeyType, CachedValue], bytes]
    #: From a key and bytes to a value; ``CodecError`` for what does not decode.
    decode: Callable[[KeyType, bytes], CachedValue]
    #: From a key and an exception to bytes.
    encode_failure: Callable[[KeyType, BaseException], bytes]
    #: From a key and such bytes to an exception to raise, whatever they are.
    decode_failure: Callable[[KeyType, bytes], BaseException]

    def __init__(
        self,
        serializer: Any = "pickle",
        deserializer: Callable[[bytes], Any] | None = None,
        *,
        compressor: Any = None,
        compress_above: int = 1024,
        compression_level: int | None = None,
        signing_key: Any = None,
        encryption_key: Any = None,
        max_decoded_bytes: int = MAX_DECODED_BYTES,
        context: str | None = None,
    ) -> None:
        self._above = whole("compress_above", compress_above, lowest=0)
        self._limit = whole("max_decoded_bytes", max_decoded_bytes, lowest=1)
        if compression_level is not None:
            whole("compression_level", compression_level)
        signing_keys = secret.read("signing_key", signing_key)
        encryption_keys = secret.read("encryption_key", encryption_key)
        self._serial = serializers.choose(serializer, deserializer)
        begun = functools.partial(
            seal.Seal,
            self._serial.name,
            compressor=compressors.choose(
                compressor, level=compression_level, limit=self._limit
            ),
            compress_above=self._above,
            context=context or "",
        )
        self._seal = _with_keys(begun, signing_keys, encryption_keys)
        self._current = (
            _with_keys(begun, signing_keys[:1], encryption_keys[:1])
            if len(signing_keys) > 1 or len(encryption_keys) > 1
            else None
        )
        failures = Failures(self._seal)
        self.encode_failure = failures.encode
        self.decode_failure = failures.decode
        # Settled once, so that the usual chain asks nothing about itself.
        is_plain = self.is_plain_pickle
        self.encode = plain.encode if is_plain else self._encode
        self.decode = plain.decode if is_plain else self._decode

    @property
    def is_plain_pickle(self) -> bool:
        """Whether values are pickled, and nothing else is done to them."""
        return self._seal.links == plain.LINKS

    @property
    def is_signed(self) -> bool:
        """Whether only what was signed with one of the keys is read."""
        return self._seal.links.signed

    @property
    def is_encrypted(self) -> bool:
        """Whether only who has one of the keys can read what is stored."""
        return self._seal.links.encrypted

    @property
    def is_unguarded_pickle(self) -> bool:
        """Whether who writes to the storage can run code in this process."""
        links = self._seal.links
        return links.serializer == "pickle" and not (links.signed or links.encrypted)

    @property
    def shape(self) -> Shape:
        """What the bytes of a value consist of."""
        links = self._seal.links
        rest = self._serial.dumps, self._serial.loads, plain.LARGE
        if links.compressor == "none" and not (links.signed or links.encrypted):
            return Shape(bytes([links.header()]), None, *rest)
        return Shape(None, self._body, *rest)

    def tail(self, metadata: MetaDataType) -> bytes:
        """Return what stands between a value's time of creation and the bar."""
        return head.write({**metadata, "ct": 0.0}).removeprefix(b"0.0")

    def is_current(self, key: KeyType, raw: bytes) -> bool:
        """Return whether bytes that decode are of the first keys.

        What is not will be a miss once the other keys are retired; while
        there is one key only, everything that decodes is current.
        """
        if self._current is None:
            return True
        try:
            self._current.open(seal.VALUE, key, raw)
        # As for decode(): a link may raise anything.
        except Exception:  # noqa: BLE001
            return False
        return True

    def __repr__(self) -> str:
        links = [self._serial.name]
        if self._seal.links.compressor != "none":
            links.append(f"{self._seal.links.compressor} above {self._above} bytes")
        return f"<Chain {', '.join(links + self._seal.guards)}>"

    def _encode(self, key: KeyType, value: CachedValue) -> bytes:
        try:
            return self._seal.close(seal.VALUE, key, self._pack(value))
        except (_Oversize, head.UnfitMetadata, serializers.Foreign) as error:
            raise unserializable(key, value[0], str(error)) from None
        # Whatever a type's own methods, or a link of the user's own, raise.
        except Exception as error:  # noqa: BLE001
            reason = f"it does not become bytes ({describe(error)})"
            raise unserializable(key, value[0], reason) from None

    def _pack(self, value: CachedValue) -> bytes:
        payload, metadata = value
        body = b"%b|%b" % (head.write(metadata), self._serial.dumps(payload))
        if self._seal.links.compressor != "none" and len(body) > self._limit:
            raise _Oversize(
                f"it has {len(body)} bytes, more than max_decoded_bytes="
                f"{self._limit} lets readers expand"
            )
        return body

    def _body(self, key: KeyType, raw: bytes) -> bytes:
        body, begin = self._seal.open(seal.VALUE, key, raw)
        return body[begin:] if begin else body

    def _decode(self, key: KeyType, raw: bytes) -> CachedValue:
        try:
            body, begin = self._seal.open(seal.VALUE, key, raw)
            bar = body.index(b"|", begin)
            metadata = head.read(body[begin:bar])
            rest: bytes | memoryview
            if self._serial.takes_views and len(body) > plain.LARGE:
                rest = memoryview(body)[bar + 1 :]
            else:
                rest = body[bar + 1 :]
            return CachedValue(self._serial.loads(rest), metadata)
        except compressors.Refused as error:
            raise undecodable(key, str(error)) from None
        # Damaged bytes make a link raise anything, and so may a pickle.
        except Exception as error:  # noqa: BLE001
            reason = f"they are truncated or damaged ({describe(error)})"
            raise undecodable(key, reason) from cause(error)


def _with_keys(
    begun: Callable[..., seal.Seal],
    signing_keys: tuple[bytes, ...],
    encryption_keys: tuple[bytes, ...],
) -> seal.Seal:
    return begun(
        signer=Signer(signing_keys) if signing_keys else None,
        ciphers=Ciphers(encryption_keys) if encryption_keys else None,
    )


class _Oversize(Exception):
    """A value that readers would take for a decompression bomb."""
