"""The names and scripts of a Redis backend, and what the answers mean. No I/O."""

from __future__ import annotations

import binascii
import functools
import hashlib
import itertools
import math
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from dogpile.cache.api import NO_VALUE, KeyType, Lease
from dogpile.cache.exception import ValidationError

Answer = TypeVar("Answer")

#: No value's name ends so: it is how the names of leases end.
LEASE_ENDING = "}:l"

# What a failed creation leaves for those who wait for it is kept so long.
_FAILURE_SECONDS = 10.0
# A token is so many hexadecimal digits: the scripts count on it.
_TOKEN_DIGITS = 32
# Beyond it the server counts no longer; such a value may as well stay.
_LONGEST_TTL = 1e12


class Script:
    """A Lua script, known to the server by its hash.

    :param text: its source.
    """

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text: str = text
        self.sha: str = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """One step of the server: a script, what it is given, how to read its answer.

    :param key: the key that the step is about.
    """

    script: Script
    key: KeyType
    arguments: tuple[Any, ...]
    read: Callable[[Any], Answer]

    def command(self, *, whole: bool = False) -> tuple[Any, ...]:
        """Return the words to send.

        :param whole: send the script's text, as the server has not seen it.
        """
        name, body = ("EVAL", "text") if whole else ("EVALSHA", "sha")
        return (
            name,
            getattr(self.script, body),
            2,
            self.key,
            lease_name(self.key),
            *self.arguments,
        )


def lease_name(key: KeyType) -> Any:
    """Return the name of a key's lease, which lies in the slot of the key.

    A cluster hashes what stands between the first ``{`` and the next ``}``, or
    all of the key where nothing does.

    >>> lease_name("user:42"), lease_name("user:{42}:name")
    ('{user:42}:l', 'user:{42}:name}:l')

    :raises ValidationError: the key ends as the names of leases do.
    """
    if isinstance(key, bytes):
        # Each byte is one character of Latin-1: nothing is lost either way.
        return _lease_name(key.decode("latin-1"), "latin-1").encode("latin-1")
    return _lease_name(key if isinstance(key, str) else str(key), "utf-8")


def _lease_name(key: str, encoding: str) -> str:
    if key and "}" not in key:
        return "{" + key + LEASE_ENDING
    if key.endswith(LEASE_ENDING):
        raise ValidationError(
            f"a key must not end with {LEASE_ENDING!r}: the names of leases do"
        )
    start = key.find("{")
    if start >= 0 and key.find("}", start + 1) > start + 1:
        return key + LEASE_ENDING
    # All of the key is hashed, and yet it cannot stand between braces: the tag is
    # another that comes to the same slot. No other key's lease is named so, as
    # that key would have to end with the forbidden ending.
    slot = slot_of(key.encode(encoding, "surrogatepass"))
    return "{" + _tag_of(slot) + "}" + key + LEASE_ENDING + LEASE_ENDING


def is_lease_name(name: bytes) -> bool:
    """Return whether a name in the server is that of a lease."""
    return name.endswith(LEASE_ENDING.encode())


def scan_pattern(start: str) -> str:
    r"""Return the pattern of all keys that begin so.

    >>> print(scan_pattern("a*"))
    a\**
    """
    return re.sub(r"([*?\[\]^\\])", r"\\\1", start) + "*"


def slot_of(raw: bytes) -> int:
    """Return the slot of a name, by the rule of Redis and Valkey clusters."""
    start = raw.find(b"{")
    if start >= 0:
        end = raw.find(b"}", start + 1)
        if end > start + 1:
            raw = raw[start + 1 : end]
    return binascii.crc_hqx(raw, 0) & 0x3FFF


@functools.lru_cache(maxsize=1024)
def _tag_of(slot: int) -> str:
    """Return the smallest number whose digits come to the slot."""
    return next(
        tag for tag in map(str, itertools.count()) if slot_of(tag.encode()) == slot
    )


def milliseconds(seconds: float | None) -> int | str:
    """Return a time in the server's unit; an empty string for ever.

    >>> milliseconds(1.5), milliseconds(None), milliseconds(-1)
    (1500, '', 1)
    """
    if seconds is None or not seconds < _LONGEST_TTL:
        return ""
    return max(1, math.ceil(seconds * 1000))


# A lease is the string "h" and the token of its holder; once its creation has
# failed "f", the token, and what the holder left. KEYS are the value's name and the
# lease's. The server runs out of memory at SET if at all, so SET comes first.
_STORE = """
if ARGV[2] == '' then redis.call('SET', KEYS[1], ARGV[1])
else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
redis.call('DEL', KEYS[2])
"""
_TELL = "if ARGV[{}] == '1' then redis.call('PUBLISH', KEYS[2], '') end\nreturn 1"
_UNLESS_MINE = "if redis.call('GET', KEYS[2]) ~= 'h' .. ARGV[{}] then return 0 end\n"

_SET = Script(_STORE + _TELL.format(3))
_COMMIT = Script(_UNLESS_MINE.format(4) + _STORE + _TELL.format(3))
_DELETE = Script("redis.call('DEL', KEYS[1], KEYS[2])\n" + _TELL.format(1))
_RENEW = Script(
    _UNLESS_MINE.format(1) + "return redis.call('PEXPIRE', KEYS[2], ARGV[2])"
)
_RELEASE = Script(
    _UNLESS_MINE.format(1)
    + """
if ARGV[2] == '' then redis.call('DEL', KEYS[2])
else redis.call('SET', KEYS[2], 'f' .. ARGV[1] .. ARGV[4], 'PX', ARGV[2]) end
"""
    + _TELL.format(3)
)
# The holder's own token is granted again: its first question was answered, but
# the answer got lost on the way.
_LEASE = Script(
    f"""
local found = redis.call('GET', KEYS[1])
local held = redis.call('GET', KEYS[2])
if held then
  local token = string.sub(held, 2, {_TOKEN_DIGITS + 1})
  if string.sub(held, 1, 1) == 'f' then
    if token == ARGV[3] then
      return {{found, token, 0, string.sub(held, {_TOKEN_DIGITS + 2})}}
    end
  elseif token ~= ARGV[1]
      and not (ARGV[4] == '1' and (ARGV[3] == '' or ARGV[3] == token)) then
    return {{found, token, 0, false}}
  end
end
redis.call('SET', KEYS[2], 'h' .. ARGV[1], 'PX', ARGV[2])
return {{found, ARGV[1], 1, false}}
"""
)
_HELD = Script(
    """
local held = redis.call('GET', KEYS[2])
if held and string.sub(held, 1, 1) == 'h' then return redis.call('PTTL', KEYS[2]) end
return 0
"""
)


def set_call(key: KeyType, value: bytes, ttl: float | None, tell: bool) -> Call[bool]:
    """Store a value, and void the lease of its key.

    :param ttl: seconds after which the server drops it.
    :param tell: tell those who wait.
    """
    arguments = (value, milliseconds(ttl), _flag(tell))
    return Call(_SET, key, arguments, _is_done)


def delete_call(key: KeyType, tell: bool) -> Call[bool]:
    """Remove a value, and void the lease of its key."""
    return Call(_DELETE, key, (_flag(tell),), _is_done)


def lease_call(
    key: KeyType, seconds: float, after: str | None = None, steal: bool = False
) -> Call[Lease]:
    """Read a key and ask for its lease; the token is made here."""
    arguments = (
        secrets.token_hex(_TOKEN_DIGITS // 2),
        milliseconds(seconds),
        after or "",
        _flag(steal),
    )
    return Call(_LEASE, key, arguments, functools.partial(_read_lease, key))


def renew_call(lease: Lease, seconds: float) -> Call[bool]:
    """Let a lease end later."""
    return Call(_RENEW, lease.key, (lease.token, milliseconds(seconds)), _is_done)


def commit_call(
    lease: Lease, value: bytes, ttl: float | None, tell: bool
) -> Call[bool]:
    """Store a value and end its lease, if the lease still holds."""
    arguments = (value, milliseconds(ttl), _flag(tell), lease.token)
    return Call(_COMMIT, lease.key, arguments, _is_done)


def release_call(lease: Lease, failure: bytes | None, tell: bool) -> Call[bool]:
    """End a lease without a value."""
    kept = "" if failure is None else milliseconds(_FAILURE_SECONDS)
    arguments = (lease.token, kept, _flag(tell), failure or b"")
    return Call(_RELEASE, lease.key, arguments, _is_done)


def held_call(key: KeyType) -> Call[float]:
    """Ask for the seconds that a lease still has; 0 if nobody holds it."""
    return Call(_HELD, key, (), _read_seconds)


def as_value(answer: Any) -> Any:
    """Return what a ``GET`` brought, as a backend says it.

    :raises TypeError: no server answers so.
    """
    if type(answer) is bytes:
        return answer
    if answer is None:
        return NO_VALUE
    raise TypeError("neither bytes nor nothing")


def _flag(value: bool) -> str:
    return "1" if value else ""


def _is_done(answer: Any) -> bool:
    if answer not in (0, 1):
        raise TypeError("neither 0 nor 1")
    return bool(answer)


def _read_seconds(answer: Any) -> float:
    return max(0, int(answer)) / 1000


def _read_lease(key: KeyType, answer: Any) -> Lease:
    found, token, granted, failure = answer
    return Lease(
        key=key,
        token=token.decode("ascii"),
        granted=_is_done(granted),
        found=as_value(found),
        failure=failure,
    )
