"""The short ways to values that a backend keeps as bytes.

Most values of a region were stored under one policy and the same marks, so that
what stands before their payloads differs in the time of creation alone. A hit is
one look at the backend, one split where all heads end alike, and a comparison of
the time as it is written. Whatever is not as simple takes the general way, with
the bytes that were read: nothing is read twice. What is written under the same
marks has the same text between its time of creation and its payload.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

from dogpile.cache.api import NO_VALUE, CachedValue
from dogpile.cache.exception import BackendError
from dogpile.cache.fast_templates import BYTES
from dogpile.cache.policy import Policy, kept_for
from dogpile.cache.storage import Storage


class Known(NamedTuple):
    """What is known of fresh values, and for how long.

    :param until: the monotonic time that their marks are known well enough for.
    :param version: of the marks.
    :param since: the time of day from which on the next three hold.
    :param till: the time of day before which they do.
    :param oldest: of the texts of times of creation, with what is before them.
    :param newest: of them.
    :param dot: where these have their decimal point.
    :param tail: what the text before the payload ends with: all that follows
        the time of creation; or a digit, where nothing does.
    :param counted: what such texts have in them ``each`` times.
    """

    until: float
    version: object
    since: float
    till: float
    oldest: bytes
    newest: bytes
    dot: int
    tail: bytes | tuple[bytes, ...]
    counted: bytes
    each: int


class Writing(NamedTuple):
    """What is known of values to be written, and for how long.

    :param until: as of :class:`Known`.
    :param version: of the marks.
    :param metadata: all but the time of creation.
    :param tail: the same as text.
    :param ttl: seconds that the backend is to keep them for.
    """

    until: float
    version: object
    metadata: Mapping[str, Any]
    tail: bytes
    ttl: float | None


# What is asked of all raw bytes at once, or of all heads where these are hidden.
_SEEN_WHEN_OPENED = {"ARE_OURS": "HAVE_TIMES", "ARE_FRESH": "HAVE_FRESH_TIMES"}

_NOTHING = Known(-math.inf, None, 0.0, 0.0, b"", b"", 0, b"", b"", 0)
_NEVER = Writing(-math.inf, None, {}, b"", None)
_DIGITS = tuple(b"%d" % digit for digit in range(10))

# Seconds for which one pair of texts serves; what expires meanwhile takes the
# general way already.
_WINDOW = 1.0


def _present(raw: Any) -> Any:
    return NO_VALUE if raw is None else raw


class BytesPath:
    """The short ways of one region.

    :param region: whose instance attributes they become.
    :param storage: whose backend they read.
    """

    def __init__(self, region: Any, storage: Storage) -> None:
        coder: Any = storage.coder
        self._region = region
        self._storage = storage
        self._coder = coder
        self._shape = coder.shape
        self._space: dict[str, Any] = {"known": _NOTHING, "writing": _NEVER}
        self._is_retired = False

    @staticmethod
    def fits(storage: Storage) -> bool:
        """Return whether there are short ways to what a storage holds."""
        policy = storage.policy
        return (
            storage.coder is not None
            and hasattr(storage.coder, "shape")
            and storage.backend is storage.actual
            and storage.invalidator is None
            and not storage.marks.is_held
            and policy.on_backend_error != "stale"
            and not (policy.early or policy.jitter or policy.tags)
            and storage.generation_ttl > 0
        )

    def bind(self, kind: Any) -> None:
        """Make the operations of the region short.

        :param kind: the class whose own methods they replace; those of a
            subclass are left alone.
        """
        region, storage, shape = self._region, self._storage, self._shape
        own: Any = type(region)
        ops = storage.ops
        self._space.update(
            BackendError=BackendError,
            CachedValue=CachedValue,
            LARGE=shape.large,
            NO_VALUE=NO_VALUE,
            arm=self.arm,
            clock=storage.clock.source,
            dumps=shape.dumps,
            encode=self._coder.encode,
            first=shape.header and shape.header[0],
            header=shape.header,
            key_of=storage.coding.key,
            keys_of=storage.coding.keys,
            last=storage.shared.last,
            least=(shape.header or b"") + b"0",
            loads=shape.loads,
            mangled=storage.mangler,
            most=(shape.header or b"") + b":",
            opened=shape.opened,
            peeked=getattr(storage.actual, "peeked", _present),
            read=ops.get("peek", ops["get"]),
            read_multi=ops.get("peek_multi", ops["get_multi"]),
            region=region,
            shared=storage.shared,
            void=storage.flights.void,
            write=ops["set"],
        )
        key_of = "key_of(key)"
        if not storage.prefix:
            key_of = "key" if storage.mangler is None else "mangled(key)"
        words = {
            "STORED": key_of,
            "OPENED": "raw" if shape.opened is None else "opened(stored, raw)",
            "IS_OURS": "True" if shape.header is None else "head[0] == first",
            "WANTED": "raw in raws",
            "REMAINING": "raw in raws[len(payloads) :]",
            # Nothing of another form is read: as a pickle it may take gigabytes.
            "ARE_OURS": "least <= min(raws) and max(raws) < most",
            "HAVE_TIMES": "True",
            "ARE_FRESH": "oldest <= min(raws) and max(raws) <= newest",
            "HAVE_FRESH_TIMES": "True",
            "ENCODED": 'b"%b%a%b|%b" % (header, clock.time(), tail, dumps(value))',
            "WRITTEN": "write(stored, raw, ttl=ttl)",
        }
        if shape.opened is not None:
            pairs = "zip(stored_keys, raws)"
            words["WANTED"] = f"stored, raw in {pairs}"
            words["REMAINING"] = f"stored, raw in list({pairs})[len(payloads) :]"
            for before, after in _SEEN_WHEN_OPENED.items():
                words[after] = words[before].replace("raws", "heads")
                words[before] = "True"
            words["ENCODED"] = (
                'encode(stored, CachedValue(value, {**metadata, "ct": clock.time()}))'
            )
        if not storage.capabilities.ttl:
            words["WRITTEN"] = "write(stored, raw)"

        space: MutableMapping[str, Any] = region.__dict__
        for name, source in BYTES.items():
            method = getattr(kind, name)
            if getattr(own, name) is not method:
                continue
            if name in ("get", "get_multi") and not region.ignore_expiration:
                continue
            if name == "set" and own.put is not kind.put:
                continue
            general = kind.put if name == "set" else method
            self._space[f"general_{name}"] = general.__get__(region)
            space[name] = self._compile(name, source, words)

    def _compile(
        self, name: str, source: str, words: dict[str, str]
    ) -> Callable[..., Any]:
        for word, text in words.items():
            source = source.replace(word, text)
        exec(source, self._space)  # noqa: S102 - the templates below, nothing else
        made: Callable[..., Any] = self._space.pop(name)
        made.__doc__ = getattr(type(self._region), name).__doc__
        made.__module__ = __name__
        return made

    def retire(self) -> None:
        """Have whoever still holds the short ways take the general one."""
        self._is_retired = True
        self._forget_if_retired()

    def _forget_if_retired(self) -> None:
        if self._is_retired:
            self._space.update(known=_NOTHING, writing=_NEVER)

    def arm(self) -> None:
        """Learn anew what is known of fresh values, if that is due."""
        storage = self._storage
        clock = storage.clock.source
        known: Known = self._space["known"]
        version, now = storage.shared.version, clock.time()
        is_current = version is known.version and clock.monotonic() < known.until
        if is_current and known.since <= now < known.till:
            return
        marks = storage.marks.known(storage.records)
        if marks is None or self._is_retired:
            return
        # An invalidation from here on makes another version, with which this is
        # never used.
        until = storage.marks.until
        metadata = storage.metadata(0.0, storage.policy, marks)
        tail: bytes = self._coder.tail(metadata)
        self._space["known"] = self._learn(until, version, now, tail)
        ttl = kept_for(metadata, storage.policy)
        self._space["writing"] = Writing(until, version, metadata, tail, ttl)
        self._forget_if_retired()

    def _learn(self, until: float, version: object, now: float, tail: bytes) -> Known:
        policy = self._storage.policy
        window = _WINDOW
        if policy.expiration_time is not None:
            window = min(window, policy.expiration_time / 8)
        oldest, newest, digits = _texts(now + window, now, policy)
        first: bytes = self._shape.header or b""
        return Known(
            until,
            version,
            now,
            now + window,
            first + oldest.encode(),
            first + newest.encode(),
            len(first) + digits,
            tail or _DIGITS,
            tail or b";",
            1 if tail else 0,
        )


def _texts(till: float, since: float, policy: Policy) -> tuple[str, str, int]:
    """Return the texts of the oldest and newest times of fresh values.

    Numbers with the same count of digits before the point are in the order of
    their texts. Those two have one decimal, as no time is written with fewer:
    what has the same digits, and more behind them, is greater.

    :param till: the latest time that a value is to be fresh at.
    :param since: the earliest time that one is looked at.
    :return: the texts, and the count of digits; nothing is between the texts if
        that cannot be told from them.
    """
    if not 1.0 <= since < till < _LATEST:
        return _NOTHING_BETWEEN
    digits = len(str(int(since)))
    new = "9" * digits + "."
    newest = math.floor((since + policy.max_clock_skew - _MARGIN) * 10) / 10
    if newest < 10.0 ** (digits - 1):
        return _NOTHING_BETWEEN
    if newest < 10.0**digits:
        new = f"{newest:.1f}"
    old = "1" + "0" * (digits - 1) + "."
    if policy.expiration_time is not None:
        oldest = math.ceil((till - policy.expiration_time + _MARGIN) * 10) / 10
        if oldest >= 10.0 ** (digits - 1):
            old = f"{oldest:.1f}"
    return old, new, digits


# Above it, numbers are written another way.
_LATEST = 1e15
_NOTHING_BETWEEN = "1", "0", 0
# Seconds; what is nearer to a limit is judged by numbers.
_MARGIN = 0.001
