"""A creator's exception as bytes, to be shown to who waits elsewhere."""

from __future__ import annotations

import pickle

from dogpile.cache.api import KeyType
from dogpile.cache.codecs import head, seal
from dogpile.cache.codecs.refusal import type_name
from dogpile.cache.exception import CreationError

# A record of a failure is short, whatever the failure drags along.
_LONGEST_TEXT = 4_096
_LARGEST_PICKLE = 64 * 1024

# No time of creation begins with it, so that no failure passes for a value.
_MARK = b"!"

_ELSEWHERE = "the creator failed in another process"


class Failures:
    """Turns exceptions into bytes and back, through the links of a chain.

    :param links: what closes and opens the bytes.
    """

    __slots__ = ("_pickles", "_seal")

    def __init__(self, links: seal.Seal) -> None:
        self._seal = links
        self._pickles = links.links.serializer == "pickle"

    def encode(self, key: KeyType, error: BaseException) -> bytes:
        """Turn an exception into bytes.

        Its type's name and its text are stored, and the exception itself
        where the chain pickles and it comes back from that.
        """
        pickled = _pickle(error) if self._pickles else b""
        text = head.write_json([type_name(error), _text(error)])
        return self._seal.close(seal.FAILURE, key, b"%b%b|%b" % (_MARK, text, pickled))

    def decode(self, key: KeyType, raw: bytes) -> BaseException:
        """Turn bytes into an exception, and into some exception in any case.

        :return: the creator's own; where it cannot be had, a
            :class:`CreationError` with its type's name and its text; where
            the bytes do not decode, a :class:`CreationError` without them.
        """
        try:
            body, begin = self._seal.open(seal.FAILURE, key, raw)
            described, _, pickled = body[begin:].partition(b"|")
            if not described.startswith(_MARK):
                return CreationError(_ELSEWHERE)
            name, text = map(str, head.read_json(described[len(_MARK) :]))
        # Damaged bytes make a link raise anything; the caller has a failure
        # to report in any case.
        except Exception:  # noqa: BLE001
            return CreationError(_ELSEWHERE)
        error = _unpickle(pickled) if self._pickles and pickled else None
        if error is None:
            return CreationError(f"{_ELSEWHERE}: {name}: {text}")
        return error


def _pickle(error: BaseException) -> bytes:
    try:
        pickled = pickle.dumps(error, protocol=5)
    # Exceptions hold anything, and their types' methods raise anything.
    except Exception:  # noqa: BLE001
        return b""
    if len(pickled) > _LARGEST_PICKLE or type(_unpickle(pickled)) is not type(error):
        return b""
    return pickled


def _unpickle(pickled: bytes) -> Exception | None:
    try:
        # Who demands a signature had it verified before.
        error = pickle.loads(pickled)  # noqa: S301
    # Many an exception pickles and does not unpickle, in any way it likes.
    except Exception:  # noqa: BLE001
        return None
    # An exit or an interrupt is for its own process alone.
    return error if isinstance(error, Exception) else None


def _text(error: BaseException) -> str:
    try:
        return str(error)[:_LONGEST_TEXT]
    # A type's own __str__ may raise anything.
    except Exception:  # noqa: BLE001
        return "(its text cannot be had)"
