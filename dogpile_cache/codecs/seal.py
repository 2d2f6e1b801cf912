"""From a body to what is stored, and back: smaller, unreadable, signed.

What is stored is the header byte, then, where there are such links, the
signature of all that follows, the encrypted body, the compressed body.
"""

from __future__ import annotations

from dogpile.cache.api import KeyType
from dogpile.cache.codecs import header
from dogpile.cache.codecs.ciphers import Ciphers
from dogpile.cache.codecs.compressors import Compressor, Refused
from dogpile.cache.codecs.signing import SIGNATURE_SIZE, Signer

#: What a body is, so that none of them passes for the other.
VALUE = b"v"
FAILURE = b"f"

# What no byte is, and what stands for no byte at all.
_NO_SUCH_HEADER = -1
_NO_HEADER = -2


class Seal:
    """The links of a chain behind its serializer.

    :param serializer: its name in the header.
    :param compressor: for bodies longer than ``compress_above`` bytes.
    :param ciphers: who encrypts, if anybody does.
    :param signer: who signs, if anybody does.
    :param context: what every value belongs to beside its key.
    """

    __slots__ = (
        "_above",
        "_ciphers",
        "_compressed_header",
        "_compressor",
        "_context",
        "_header",
        "_signer",
        "guards",
        "links",
    )

    def __init__(
        self,
        serializer: str,
        *,
        compressor: Compressor | None,
        compress_above: int,
        ciphers: Ciphers | None,
        signer: Signer | None,
        context: str,
    ) -> None:
        compressor_name = compressor.name if compressor else "none"
        self.links: header.Links = header.Links(
            serializer, compressor_name, ciphers is not None, signer is not None
        )
        #: The names of the links that keep others out.
        self.guards: list[str] = [
            link.name for link in (ciphers, signer) if link is not None
        ]
        self._header = self.links._replace(compressor="none").header()
        self._compressed_header = self.links.header() if compressor else _NO_SUCH_HEADER
        self._compressor = compressor
        self._above = compress_above
        self._ciphers = ciphers
        self._signer = signer
        self._context = _measured(context.encode("utf-8", "surrogatepass"))

    def close(self, purpose: bytes, key: KeyType, body: bytes) -> bytes:
        """Return what is to be stored.

        :param purpose: :data:`VALUE` or :data:`FAILURE`.
        """
        first = self._header
        # A failure is short, and a compressor of the user's own may fail too.
        if purpose == VALUE:
            first, body = self._compress(body)
        if self._ciphers is None and self._signer is None:
            return b"%c%b" % (first, body)
        bound = self._bind(purpose, first, key)
        if self._ciphers is not None:
            body = self._ciphers.encrypt(bound, body)
        if self._signer is None:
            return b"%c%b" % (first, body)
        return b"%c%b%b" % (first, self._signer.sign(bound, body), body)

    def open(self, purpose: bytes, key: KeyType, raw: bytes) -> tuple[bytes, int]:
        """Return bytes that hold the body, and where in them it begins.

        Nothing is parsed before the signature is verified.

        :raises Refused: for whatever this very chain did not write.
        """
        first = raw[0] if raw and isinstance(raw, bytes) else _NO_HEADER
        if first not in (self._header, self._compressed_header):
            raise Refused(header.explain(self.links, raw))
        begin = 1
        bound = b""
        if self._ciphers is not None or self._signer is not None:
            bound = self._bind(purpose, first, key)
        if self._signer is not None:
            begin += SIGNATURE_SIZE
            view = memoryview(raw)
            if not self._signer.verify(view[1:begin], bound, view[begin:]):
                raise Refused(
                    "their signature is of no key in signing_key, or was made for "
                    "another key, another region or other bytes"
                )
        if self._ciphers is not None:
            body = self._ciphers.decrypt(bound, memoryview(raw)[begin:])
            if body is None:
                raise Refused(
                    "no key in encryption_key decrypts them, or they were "
                    "encrypted for another key or region, or altered"
                )
            raw, begin = body, 0
        if first == self._header or self._compressor is None:
            return raw, begin
        return self._compressor.expand(memoryview(raw)[begin:]), 0

    def _compress(self, body: bytes) -> tuple[int, bytes]:
        if self._compressor is not None and len(body) > self._above:
            compressed = self._compressor.compress(body)
            if len(compressed) < len(body):
                return self._compressed_header, compressed
        return self._header, body

    def _bind(self, purpose: bytes, first: int, key: KeyType) -> bytes:
        # Whatever has no fixed length comes after its length, so that no two
        # lists of parts give the same bytes.
        if isinstance(key, str):
            kind, text = b"s", key.encode("utf-8", "surrogatepass")
        elif isinstance(key, bytes):
            kind, text = b"b", key
        else:
            kind, text = b"r", repr(key).encode("utf-8", "surrogatepass")
        return b"%b%c%b%b%b" % (purpose, first, self._context, kind, _measured(text))


def _measured(text: bytes) -> bytes:
    return len(text).to_bytes(8, "big") + text
