"""Many classic memcached commands in one exchange, as text over any channel."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from dogpile.cache.backends.memcached_wire import (
    Channel,
    Garbled,
    IllegalKey,
    Oversized,
    Refused,
    Unfit,
    Unreachable,
)

#: What the values that a client compressed may expand to at most.
MAX_EXPANDED_BYTES = 64 * 1024 * 1024

#: Of a login in text no client here is capable.
WANTS_LOGIN = (
    "the server wants a login in text (-Y); start it with SASL instead (-S), and use "
    "dogpile.cache.bmemcached"
)
_TOO_OLD = (
    "the server does not know a command that is needed: gets and cas, which every "
    "memcached since 1.2.4 has"
)

#: Flags that the clients for Python share: a text, and bytes deflated by zlib.
FLAG_TEXT = 16
FLAG_COMPRESSED = 8

_KEY = re.compile(r"[!-~]{1,250}")
_PART = 256 * 1024
_REFUSALS = (b"NOT_STORED", b"EXISTS", b"NOT_FOUND")


class Swap(NamedTuple):
    """A value to be stored if nobody has written to the key meanwhile.

    :param cas: the id that the key's value has to have.
    :param since: the serial number of the moment when that was read; ``None``
        for just now. A server that was restarted counts its ids anew, so that
        they are good only on connections that are older than they are.
    """

    key: str
    value: bytes
    cas: int
    since: int | None = None


class Serde:
    """From values to bytes and flags and back, without pickle.

    :param min_compress_len: deflate what has as many bytes; 0 for nothing.
    """

    def __init__(self, min_compress_len: int = 0) -> None:
        self._least = min_compress_len

    def serialize(self, key: object, value: object) -> tuple[bytes, int]:
        """Return what to store, and the flags to store it with."""
        flags = 0
        if isinstance(value, str):
            value, flags = value.encode(), FLAG_TEXT
        if not isinstance(value, bytes):
            raise TypeError(f"only bytes are stored, not {type(value).__name__}")
        if self._least and len(value) >= self._least:
            deflated = zlib.compress(value)
            if len(deflated) < len(value):
                return deflated, flags | FLAG_COMPRESSED
        return value, flags

    def deserialize(self, key: object, value: bytes, flags: int) -> Any:
        """Return what was stored; what is not ours as the bytes that it is."""
        if flags & FLAG_COMPRESSED and self._least:
            value = _inflated(value)
        return value.decode(errors="replace") if flags & FLAG_TEXT else value


def _inflated(value: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(value, MAX_EXPANDED_BYTES)
    except zlib.error:
        return value
    return inflated if stream.eof else value


def check_key(key: object) -> str:
    """Return a key that may stand in a command.

    :raises IllegalKey: it may not.
    """
    if not isinstance(key, str):
        raise IllegalKey(f"a key must be a string, not of type {type(key).__name__}")
    if _KEY.fullmatch(key) is None:
        raise IllegalKey(
            "a key must have 1 to 250 characters of printable ASCII, and no blanks"
        )
    return key


class Batches:
    """Commands on many keys: one exchange with each server they belong to.

    What goes wrong in one of them ends all the connections that took part, so
    that no answer is ever taken for that to another question.

    :param channel_of: from a key to the channel of its server.
    :param serde: from values to bytes and flags, and back.
    """

    def __init__(self, channel_of: Callable[[str], Channel], serde: Any) -> None:
        self._channel_of = channel_of
        self._serde = serde

    def get(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of the keys that have one."""
        found: dict[str, Any] = {}

        def receive(channel: Channel, asked: Sequence[str]) -> None:
            self._values(channel, asked, found, with_ids=False)

        self._exchange(self._grouped(keys), _getting(b"get"), receive)
        return found

    def gets(self, keys: Iterable[str]) -> dict[str, tuple[Any, int]]:
        """Return the values of the keys that have one, each with its cas id."""
        found: dict[str, tuple[Any, int]] = {}

        def receive(channel: Channel, asked: Sequence[str]) -> None:
            self._values(channel, asked, found, with_ids=True)

        self._exchange(self._grouped(keys), _getting(b"gets"), receive)
        return found

    def take(self, marks: Mapping[str, bytes], time: int) -> dict[str, tuple[Any, int]]:
        """Add the values of keys that have none, then read all of them.

        :param time: when the added ones expire, as memcached counts it.
        :return: the values, each with its cas id.
        """
        found: dict[str, tuple[Any, int]] = {}

        def request(asked: Sequence[str]) -> Iterable[bytes]:
            for key in asked:
                yield self._storing(b"add", key, marks[key], time)
            yield from _getting(b"gets")(asked)

        def receive(channel: Channel, asked: Sequence[str]) -> None:
            for _ in asked:
                _stored(channel.line())
            self._values(channel, asked, found, with_ids=True)

        self._exchange(self._grouped(marks), request, receive)
        return found

    def swap(self, swaps: Sequence[Swap], time: int) -> list[bool | None]:
        """Store values where the cas id is still the same.

        :return: for each, whether that was so; ``None`` where the connection
            is younger than the id, and nothing was sent.
        :raises Oversized: a value is too large; the others were stored.
        """
        answers: list[bool | None] = [None] * len(swaps)
        groups: dict[Channel, list[int]] = {}
        for index, swap in enumerate(swaps):
            channel = self._channel_of(check_key(swap.key))
            channel.connect()
            if swap.since is None or channel.born <= swap.since:
                groups.setdefault(channel, []).append(index)
        problems: list[Exception] = []

        def request(indexes: Sequence[int]) -> Iterable[bytes]:
            for swap in map(swaps.__getitem__, indexes):
                yield self._storing(b"cas", swap.key, swap.value, time, swap.cas)

        def receive(channel: Channel, indexes: Sequence[int]) -> None:
            for index in indexes:
                answers[index] = _noted(channel.line(), problems)

        self._exchange(groups, request, receive)
        _raise_first(problems)
        return answers

    def store(self, mapping: Mapping[str, bytes], time: int) -> None:
        """Store values, whatever the keys had.

        :raises Oversized: a value is too large; the others were stored.
        :raises Refused: a value was not stored.
        """
        problems: list[Exception] = []

        def request(asked: Sequence[str]) -> Iterable[bytes]:
            for key in asked:
                yield self._storing(b"set", key, mapping[key], time)

        def receive(channel: Channel, asked: Sequence[str]) -> None:
            for _ in asked:
                if not _noted(channel.line(), problems):
                    problems.append(Refused())

        self._exchange(self._grouped(mapping), request, receive)
        _raise_first(problems)

    def add(self, key: str, value: bytes, time: int) -> bool:
        """Store a value if the key has none."""
        answers: list[bool] = []

        def receive(channel: Channel, asked: Sequence[str]) -> None:
            answers.append(_stored(channel.line()))

        request = self._storing(b"add", check_key(key), value, time)
        self._exchange(self._grouped([key]), lambda asked: [request], receive)
        return answers[0]

    def remove(self, keys: Iterable[str]) -> bool:
        """Remove the values of the keys.

        :return: whether all had one.
        """
        answers: list[bool] = []

        def request(asked: Sequence[str]) -> Iterable[bytes]:
            return (b"delete %b\r\n" % key.encode("ascii") for key in asked)

        def receive(channel: Channel, asked: Sequence[str]) -> None:
            answers.extend(_deleted(channel.line()) for _ in asked)

        self._exchange(self._grouped(keys), request, receive)
        return all(answers)

    def _grouped(self, keys: Iterable[str]) -> dict[Channel, list[str]]:
        groups: dict[Channel, list[str]] = {}
        for key in dict.fromkeys(keys):
            groups.setdefault(self._channel_of(check_key(key)), []).append(key)
        return groups

    def _exchange(
        self,
        groups: Mapping[Channel, Any],
        request: Callable[[Any], Iterable[bytes]],
        receive: Callable[[Channel, Any], None],
    ) -> None:
        """Ask all servers before the first answer is waited for."""
        try:
            for channel, asked in groups.items():
                channel.connect()
                _send(channel, request(asked))
            for channel, asked in groups.items():
                receive(channel, asked)
        except BaseException:
            for channel in groups:
                channel.drop()
            raise

    def _storing(
        self, command: bytes, key: str, value: bytes, time: int, cas: int | None = None
    ) -> bytes:
        stored, flags = self._serde.serialize(key, value)
        name = key.encode("ascii")
        if cas is None:
            head = b"%b %b %d %d %d\r\n" % (command, name, flags, time, len(stored))
        else:
            head = b"%b %b %d %d %d %d\r\n" % (
                *(command, name, flags, time),
                *(len(stored), cas),
            )
        return b"%b%b\r\n" % (head, stored)

    def _values(
        self,
        channel: Channel,
        asked: Sequence[str],
        found: dict[str, Any],
        *,
        with_ids: bool,
    ) -> None:
        wanted = set(asked)
        while (line := channel.line()) != b"END":
            words = line.split(b" ")
            if len(words) != 4 + with_ids or words[0] != b"VALUE":
                raise _nonsense(line)
            key = words[1].decode("latin-1")
            if key not in wanted or not all(word.isdigit() for word in words[2:]):
                raise Garbled("an answer is one to another question")
            flags, size = int(words[2]), int(words[3])
            value = self._serde.deserialize(key, channel.block(size), flags)
            found[key] = (value, int(words[4])) if with_ids else value


def _getting(command: bytes) -> Callable[[Sequence[str]], Iterable[bytes]]:
    def request(asked: Sequence[str]) -> Iterable[bytes]:
        yield b"%b %b\r\n" % (command, " ".join(asked).encode("ascii"))

    return request


def _send(channel: Channel, parts: Iterable[bytes]) -> None:
    """Send in parts: each has the whole time-out for itself."""
    waiting: list[bytes] = []
    size = 0
    for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= _PART:
            channel.send(b"".join(waiting))
            waiting.clear()
            size = 0
    if waiting:
        channel.send(b"".join(waiting))


def _nonsense(line: bytes) -> Exception:
    """Return what an answer means that is none to any question."""
    if line.startswith(b"ERROR Too many open connections"):
        return Unreachable("the server has too many connections (-c)")
    if line == b"CLIENT_ERROR unauthenticated":
        return Unfit(WANTS_LOGIN)
    if line == b"ERROR":
        return Unfit(_TOO_OLD)
    return Garbled("an answer is none")


def _stored(line: bytes) -> bool:
    if line == b"STORED":
        return True
    if line in _REFUSALS:
        return False
    if line.startswith(b"SERVER_ERROR"):
        raise Oversized if b"too large" in line else Refused
    raise _nonsense(line)


def _noted(line: bytes, problems: list[Exception]) -> bool:
    """Return what was answered, and note what is wrong with one value only."""
    try:
        return _stored(line)
    except (Oversized, Refused) as error:
        problems.append(error)
        return True


def _deleted(line: bytes) -> bool:
    if line not in {b"DELETED", b"NOT_FOUND"}:
        raise _nonsense(line)
    return line == b"DELETED"


def _raise_first(problems: Sequence[Exception]) -> None:
    if problems:
        raise problems[0]
