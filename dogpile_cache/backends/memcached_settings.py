"""From arguments to what memcached understands: servers, keys, times."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from dogpile.cache.backends.address import (
    Address,
    parse_address,
    server_list,
)
from dogpile.cache.backends.network import (
    are_plain_keys,
    integer_in,
    is_plain,
    plain_key,
)
from dogpile.cache.exception import ValidationError

DEFAULT_PORT = 11211

#: What a key may have at most, so that the key of its lease is not too long.
LONGEST_KEY = 247
#: Above it, memcached takes a time for one since the epoch.
LONGEST_RELATIVE = 60 * 60 * 24 * 30

# memcached reads times as signed numbers of 32 bits.
_LAST_TIME = 2**31 - 1
_READABLE = 100
_READABLE_AS = str.maketrans({chr(code): "_" for code in (*range(33), 127)})


def mangle_key(key: object) -> str:
    """Return a key that memcached takes, and that no other key becomes.

    What is too long, or has other characters than printable ASCII, is hashed;
    a part of it stays readable.

    >>> mangle_key("user:42")
    'user:42'
    >>> mangle_key("two words")[55:]
    'ad6b911d3a:two_words'
    """
    # The one test that most keys pass, in place.
    if key.__class__ is str and len(key) <= LONGEST_KEY and is_plain(key):
        return key
    plain = plain_key(key, LONGEST_KEY)
    if plain is key:
        return plain
    head = str(key)[:_READABLE].translate(_READABLE_AS)
    return f"{plain}:{head.encode('ascii', 'replace').decode()}"


class KeyLines(list[str]):
    """Keys that memcached takes.

    :param text: which has them for its lines.
    """

    __slots__ = ("text",)
    text: str


def mangle_keys(keys: Sequence[object]) -> list[str]:
    """Return keys that memcached takes; as :func:`mangle_key`, for many.

    >>> mangle_keys(["user:42", "user:43"])
    ['user:42', 'user:43']
    """
    try:
        text = "\n".join(keys)  # type: ignore[arg-type]  # they mostly are
    except TypeError:
        return list(map(mangle_key, keys))
    # As long as none of them has a line's end itself.
    if are_plain_keys(text, LONGEST_KEY) and text.count("\n") == len(keys) - 1:
        lines = KeyLines(keys)  # type: ignore[arg-type]  # as above
        lines.text = text
        return lines
    return list(map(mangle_key, keys))


mangle_key.many = mangle_keys  # type: ignore[attr-defined]  # a region looks for it


def expiry(seconds: float, now: Callable[[], float]) -> int:
    """Return when something expires, as memcached counts it.

    :param seconds: from now; infinite for never.
    :param now: tells the time.
    """
    if seconds == math.inf:
        return 0
    # Its clock ticks once a second: what is to last for one second needs two.
    whole = max(math.ceil(seconds), 0) + 1
    if whole <= LONGEST_RELATIVE:
        return whole
    then = int(now()) + whole
    return then if then <= _LAST_TIME else 0


def check_expire_time(value: Any) -> int:
    """Return the argument ``memcached_expire_time`` as a number of seconds.

    :raises ValidationError: it is none.
    """
    if hasattr(value, "total_seconds"):
        value = int(value.total_seconds())
    return integer_in({"memcached_expire_time": value}, "memcached_expire_time", 0)


def read_servers(arguments: Mapping[str, Any]) -> list[Any]:
    """Return the servers that ``url`` names, as they were written.

    :raises ValidationError: there is none, or one that cannot be read.
    """
    if "url" not in arguments:
        raise ValidationError(
            "url= is needed: the servers, as in '127.0.0.1' or "
            "['10.0.0.1:11211', '10.0.0.2:11211']"
        )
    value = arguments["url"]
    if isinstance(value, tuple) and _is_pair(value):
        value = [value]
    if not isinstance(value, str) and isinstance(value, Iterable):
        value = [_joined(each) for each in value]
    return server_list(value)


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int)
    )


def _joined(value: Any) -> Any:
    """Return ``(host, port)``, as some clients want it, in one string."""
    return f"{value[0]}:{value[1]}" if _is_pair(value) else value


def without_word(server: Any, word: str) -> Any:
    """Return a server without what some clients want in front of it."""
    return server.removeprefix(word) if isinstance(server, str) else server


def addresses(servers: Iterable[str]) -> list[Address]:
    """Return where the servers listen.

    :raises ValidationError: one cannot be read.
    """
    return [_address(server) for server in servers]


def told(servers: Iterable[Any]) -> str:
    """Return servers as errors name them: with their ports, without a login."""
    return ", ".join(map(_told, servers))


def _told(server: Any) -> str:
    try:
        return str(_address(server))
    except (AttributeError, ValidationError):
        # A client of somebody else's may understand it.
        return str(server).rpartition("@")[2]


def _address(server: str) -> Address:
    # The words that some of the clients put in front.
    for word in ("inet6:", "inet:"):
        server = server.removeprefix(word)
    return parse_address(server, DEFAULT_PORT)


def frozen(value: Any) -> Any:
    """Return arguments in a form that can be compared and hashed, if there is one.

    >>> frozen({"url": ["a"], "binary": True})
    (('binary', True), ('url', ('a',)))
    """
    if isinstance(value, Mapping):
        return tuple(sorted((str(name), frozen(value[name])) for name in value))
    if isinstance(value, (list, tuple)):
        return tuple(map(frozen, value))
    return value
