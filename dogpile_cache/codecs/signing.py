"""Who wrote these bytes? HMAC-SHA256, under any of several keys."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import hmac

# So that one secret may serve as signing key and encryption key: nothing
# that is computed under one label is of use under the other.
LABEL = b"dogpile.cache 3 signature\0"

SIGNATURE_SIZE = 32


class Signer:
    """Signs with the first of its keys, and takes the signatures of all."""

    __slots__ = ("_begun", "_compare")

    name = "hmac-sha256"

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        import hmac

        self._begun = tuple(hmac.new(key, LABEL, "sha256") for key in keys)
        self._compare = hmac.compare_digest

    def sign(self, bound: bytes, body: bytes | memoryview) -> bytes:
        """Return the signature.

        :param bound: what the body belongs to.
        :param body: what is to be stored.
        """
        return _finish(self._begun[0], bound, body)

    def verify(self, signature: memoryview, bound: bytes, body: memoryview) -> bool:
        """Return whether a signature was made with one of the keys."""
        return any(
            self._compare(_finish(begun, bound, body), signature)
            for begun in self._begun
        )


def _finish(begun: hmac.HMAC, bound: bytes, body: bytes | memoryview) -> bytes:
    digest = begun.copy()
    digest.update(bound)
    digest.update(body)
    return digest.digest()
