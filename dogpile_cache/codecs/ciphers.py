"""Bytes that only who has the key can read: AES-GCM or Fernet."""

from __future__ import annotations

import base64
import os
import re
from typing import Any

from dogpile.cache.codecs.checks import load
from dogpile.cache.exception import ValidationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import hmac
    from typing import Protocol

    class Cipher(Protocol):
        """Encrypts under one key."""

        name: str

        def encrypt(self, bound: bytes, body: bytes) -> bytes:
            """Return the body, unreadable, and tied to what it belongs to."""

        def decrypt(self, bound: bytes, sealed: memoryview) -> bytes | None:
            """Return the body, or ``None`` where it is not from this key."""


_FERNET = b"fernet:"
_FERNET_KEY = re.compile(rb"[A-Za-z0-9_-]{43}=")
LABEL = b"dogpile.cache 3 aes-gcm key\0"
_NONCE_SIZE = 12
_DIGEST_SIZE = 32


class Ciphers:
    """Encrypts with the first of its keys, and decrypts with any."""

    __slots__ = ("_ciphers", "name")

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._ciphers = tuple(map(_cipher, keys))
        self.name: str = self._ciphers[0].name

    def encrypt(self, bound: bytes, body: bytes) -> bytes:
        """Return the body, unreadable.

        :param bound: what the body belongs to; it has to be the same again
            when it is decrypted.
        """
        return self._ciphers[0].encrypt(bound, body)

    def decrypt(self, bound: bytes, sealed: memoryview) -> bytes | None:
        """Return the body, or ``None`` where it is from none of the keys."""
        for cipher in self._ciphers:
            body = cipher.decrypt(bound, sealed)
            if body is not None:
                return body
        return None


def _cipher(key: bytes) -> Cipher:
    if key.startswith(_FERNET):
        return _Fernet(key[len(_FERNET) :])
    return _AesGcm(key)


class _AesGcm:
    """AES-256-GCM, each cache key under an encryption key of its own.

    A nonce of 96 random bits must not come twice under one encryption key,
    so that one is good for 2**32 messages; derived as here, that is 2**32
    values of one cache key, and not of the whole region.
    """

    __slots__ = ("_begun", "_cipher", "_refused")

    name = "aes-gcm"

    def __init__(self, key: bytes) -> None:
        import hmac

        package = "cryptography.hazmat.primitives.ciphers.aead"
        self._cipher = load("encryption_key", "crypto", package).AESGCM
        exceptions = load("encryption_key", "crypto", "cryptography.exceptions")
        self._refused: Any = (exceptions.InvalidTag, ValueError)
        self._begun: hmac.HMAC = hmac.new(key, LABEL, "sha256")

    def encrypt(self, bound: bytes, body: bytes) -> bytes:
        nonce = os.urandom(_NONCE_SIZE)
        sealed: bytes = self._derive(bound).encrypt(nonce, body, bound)
        return nonce + sealed

    def decrypt(self, bound: bytes, sealed: memoryview) -> bytes | None:
        nonce, rest = sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:]
        try:
            body: bytes = self._derive(bound).decrypt(nonce, rest, bound)
        except self._refused:
            return None
        return body

    def _derive(self, bound: bytes) -> Any:
        derived = self._begun.copy()
        derived.update(bound)
        return self._cipher(derived.digest())


class _Fernet:
    """Fernet (AES-CBC and HMAC-SHA256), its key as its own library makes it."""

    __slots__ = ("_compare", "_fernet", "_hash", "_refused")

    name = "fernet"

    def __init__(self, key: bytes) -> None:
        import hashlib
        import hmac

        fernet = load("encryption_key", "crypto", "cryptography.fernet")
        # The library passes over what is not of the alphabet.
        if not _FERNET_KEY.fullmatch(key):
            raise ValidationError(
                "encryption_key: what follows 'fernet:' is no Fernet key; make one "
                "with cryptography.fernet.Fernet.generate_key()"
            )
        self._fernet = fernet.Fernet(key)
        self._refused: Any = fernet.InvalidToken
        self._compare = hmac.compare_digest
        self._hash = hashlib.sha256

    def encrypt(self, bound: bytes, body: bytes) -> bytes:
        # Fernet has no room for what a message belongs to, so it goes inside.
        token: bytes = self._fernet.encrypt(self._hash(bound).digest() + body)
        # Its base 64 has several spellings of the same bytes, and a third more.
        return base64.urlsafe_b64decode(token)

    def decrypt(self, bound: bytes, sealed: memoryview) -> bytes | None:
        try:
            opened: bytes = self._fernet.decrypt(base64.urlsafe_b64encode(sealed))
        except self._refused:
            return None
        if not self._compare(opened[:_DIGEST_SIZE], self._hash(bound).digest()):
            return None
        return opened[_DIGEST_SIZE:]
