"""What an error of a Redis or Valkey client means to a region."""

from __future__ import annotations

import errno
import os
import re
from typing import NamedTuple, NoReturn

from dogpile.cache.backends.network import spell_tls, wrapped
from dogpile.cache.exception import (
    BackendError,
    BackendUnavailable,
    DogpileCacheException,
)


class Place(NamedTuple):
    """Where the servers are, for errors.

    :param address: of the server, or of several; without user and password.
    :param is_tls: whether TLS is spoken to it.
    """

    address: str
    is_tls: bool = False


class _Meaning(NamedTuple):
    """What an error says about the server.

    :param is_gone: whether it may pass by itself, as when nobody answers.
    :param reason: what to tell.
    :param remedy: what to do, if that is known.
    :param is_plain: whether the client's own words hold no password or value,
        so that they may be shown as the cause.
    :param is_ours: whether no server has to do with it.
    """

    is_gone: bool
    reason: str
    remedy: str = ""
    is_plain: bool = False
    is_ours: bool = False


_REFUSED = _Meaning(
    False,
    "the server refuses the user name or the password",
    "look at username= and password=",
)
_UNASKED = _Meaning(
    False,
    "the server wants a password, and was given none",
    "set password=, and username= for another user than the default one",
)
_FORBIDDEN = _Meaning(
    False,
    "the server does not allow the user of username= a command that is needed",
    "allow GET, MGET, SET, DEL, PEXPIRE, PTTL, EVAL, EVALSHA and PUBLISH",
)
_NO_MEMORY = _Meaning(
    False,
    "the server is at its memory limit and evicts nothing",
    "raise its maxmemory, or set maxmemory-policy to allkeys-lru",
)
_NO_DATABASE = _Meaning(
    False,
    "the server has no database of that number",
    "give a smaller db=, from 0 to 15 unless its setting databases says otherwise",
)
_REPLICA = _Meaning(
    True,
    "the server is a replica, or a failover is under way",
    "name the master, or use the backend with _sentinel in its name",
)
_NO_CLUSTER = _Meaning(
    True, "no node of the cluster can be reached, or the cluster does not work"
)
_ALONE = _Meaning(
    True,
    "the server is not a node of a cluster",
    "name a cluster's nodes, or use the backend without _cluster in its name",
)
_NODE = _Meaning(
    False,
    "the server is a node of a cluster",
    "use the backend with _cluster in its name",
)
_SENTINEL = _Meaning(
    False,
    "what answers keeps no values: it is a sentinel, it seems",
    "name the server itself, or use the backend with _sentinel in its name",
)
_NO_MASTER = _Meaning(True, "no sentinel can be reached that knows a master")
_UNKNOWN_MASTER = _Meaning(
    True,
    "the sentinels know no master of that name, or none that is well",
    "look at service_name=",
)
_NO_SENTINEL = _Meaning(
    False,
    "what answers is not a sentinel",
    "look at sentinels=; the usual port is 26379",
)
_LOADING = _Meaning(True, "the server is busy: it loads its data, or runs a script")
_NONSENSE = _Meaning(
    True,
    "what answers does not speak the protocol of Redis and Valkey",
    "look at host and port, and whether TLS is spoken there",
)
_OLD = _Meaning(
    False,
    "the server is too old, or a command was taken from it",
    "scripts (EVAL, EVALSHA) and SET with PX are needed, which Redis 2.6.12 and every "
    "Valkey have; with a server below 6.0 set connection_kwargs={'protocol': 2}",
)

_OURS = _Meaning(False, "", is_ours=True)

# By the name of the client's class: both libraries have the same names.
_BY_CLASS = {
    "AuthenticationError": _REFUSED,
    "AuthorizationError": _REFUSED,
    "AuthenticationWrongNumberOfArgsError": _REFUSED,
    "NoPermissionError": _FORBIDDEN,
    "OutOfMemoryError": _NO_MEMORY,
    "MovedError": _NODE,
    "AskError": _NODE,
    "ClusterCrossSlotError": _NODE,
    "ReadOnlyError": _REPLICA,
    "MasterDownError": _REPLICA,
    "BusyLoadingError": _LOADING,
    "ClusterDownError": _NO_CLUSTER,
    "SlotNotCoveredError": _NO_CLUSTER,
    "TryAgainError": _NO_CLUSTER,
    "ClusterError": _NO_CLUSTER,
    "RedisClusterException": _NO_CLUSTER,
    "ValkeyClusterException": _NO_CLUSTER,
    "MasterNotFoundError": _NO_MASTER,
    "SlaveNotFoundError": _NO_MASTER,
    "MaxConnectionsError": _Meaning(
        True, "all connections of the pool are in use", "raise max_connections"
    ),
    "TimeoutError": _Meaning(True, "no answer in time", is_plain=True),
    "DataError": _Meaning(
        False,
        "a key must be str, bytes, int or float",
        "give the region a key_mangler that makes strings of others",
        is_ours=True,
    ),
    "UnicodeError": _Meaning(
        False, "a key is no text that can be encoded", is_ours=True
    ),
    "InvalidResponse": _NONSENSE,
    "LockError": _Meaning(
        False, "the lock is not, or no longer, the caller's", is_ours=True
    ),
}

# By the word that the server's own error begins with, or has inside where a script
# failed at it.
_BY_CODE = {
    "OOM": _NO_MEMORY,
    "WRONGTYPE": _Meaning(
        False,
        "the server holds something under the key that is no string",
        "delete it, or keep the cache in a database of its own (db=)",
    ),
    "NOAUTH": _UNASKED,
    "WRONGPASS": _REFUSED,
    "NOPERM": _FORBIDDEN,
    "READONLY": _REPLICA,
    "MASTERDOWN": _REPLICA,
    "NOREPLICAS": _REPLICA,
    "MISCONF": _Meaning(
        False,
        "the server takes no writes, as it cannot write to its disk",
        "make room on it, or set stop-writes-on-bgsave-error to no",
    ),
    "LOADING": _LOADING,
    "BUSY": _LOADING,
    "CLUSTERDOWN": _NO_CLUSTER,
    "TRYAGAIN": _NO_CLUSTER,
    "DB index is out of range": _NO_DATABASE,
    "invalid DB index": _NO_DATABASE,
    "cluster support disabled": _ALONE,
    "not allowed in cluster mode": _NODE,
    "CROSSSLOT": _NODE,
    "DENIED": _Meaning(
        False,
        "the server is in protected mode, and takes no clients from other machines",
        "give it a password, or change bind and protected-mode in its settings",
    ),
    "unknown command": _OLD,
}
# No server that keeps values is without these.
_NO_VALUES = re.compile("command ['`](?:GET|MGET|SET|DEL)['`]", re.IGNORECASE)
_CODES = re.compile(rf"\b({'|'.join(_BY_CODE)})\b")
# What the words of a client's own say more than its class does.
_BY_WORDS = {
    "Authentication required": _UNASKED,
    "already authenticated": _UNASKED,
    "Cluster mode is not enabled": _ALONE,
    "cluster support disabled": _ALONE,
}


def raise_failure(
    backend: str, operation: str, error: Exception, place: Place
) -> NoReturn:
    """Raise an error of the client as one of ours.

    :param backend: the registered name.
    :param operation: the method that failed.
    :param error: what the client raised.
    :param place: where the servers are.
    """
    if isinstance(error, DogpileCacheException):
        raise error
    meaning = _meaning(error)
    # A client's words may hold keys, values, bytes from the wire, or (sentinel) the
    # password: then neither they nor their error are passed on.
    cause = error if meaning.is_plain else None
    if isinstance(error, OSError):
        told = spell_tls(error, _TRUST) or error.strerror or "no answer in time"
        reason = f"{told} ({place.address})"
        raise wrapped(backend, operation, error, reason=reason) from cause
    kind = BackendUnavailable if meaning.is_gone else BackendError
    raise kind(backend, operation, _told(meaning, place)) from cause


def is_nonsense(error: Exception) -> bool:
    """Return whether a client stumbled over what it read.

    It may then take a connection for ready that is not: it has to be closed.
    """
    return _meaning(error) is _NONSENSE


def _told(meaning: _Meaning, place: Place) -> str:
    told = meaning.reason
    if not meaning.is_ours and place.address not in told:
        told += f" ({place.address})"
    remedy = meaning.remedy
    if place.is_tls and meaning.reason == "no answer in time":
        remedy = "if the server speaks no TLS on that port, leave TLS out"
    elif not place.is_tls and meaning.reason == _CLOSED:
        remedy = (
            "if the server speaks TLS on that port, use it: a scheme with TLS, or ssl="
        )
    return f"{told}; {remedy}" if remedy else told


def _meaning(error: Exception) -> _Meaning:
    if isinstance(error, DogpileCacheException):
        return _OURS
    if isinstance(error.__cause__, Exception) and "Cluster" in type(error).__name__:
        # No node of a cluster would do, and this is what the last one said.
        return _meaning(error.__cause__)._replace(is_plain=False)
    names = [kind.__name__ for kind in type(error).__mro__]
    text = str(error)
    if "MasterNotFoundError" in names:
        # What the sentinels died of stands behind a colon.
        return _NO_MASTER if " : " in text else _UNKNOWN_MASTER
    for name in names:
        if name in _BY_CLASS:
            said = [words for words in _BY_WORDS if words in text]
            return _BY_WORDS[said[0]] if said else _BY_CLASS[name]
    if "ConnectionError" in names:
        return _of_connection(text)
    if "ResponseError" in names:
        return _of_response(text)
    # Parsers stumble over nonsense with errors of every kind.
    return _NONSENSE


def _of_response(text: str) -> _Meaning:
    """Tell what a server answered."""
    found = _CODES.search(text)
    if found and _BY_CODE[found[1]] is _OLD:
        if "SENTINEL" in text.upper():
            return _NO_SENTINEL
        return _SENTINEL if _NO_VALUES.search(text) else _OLD
    if found:
        return _BY_CODE[found[1]]
    code = text.partition(" ")[0]
    told = code if re.fullmatch("[A-Z]{2,20}", code) else "an error"
    return _Meaning(False, f"the server answers {told}")


_TRUST = "connection_kwargs={'ssl_ca_certs': ...}"
_CLOSED = "the server closed the connection"
_PORT = re.compile(r"[^/]:[0-9]+$")
_NO_CONNECTION = re.compile(r"Error (-?\d+) connecting to (\S+)\. ?(.*)", re.DOTALL)
_BROKEN = re.compile(
    r"Error (?:while reading from \S+ ?: \(\d+, '|\d+ while writing to socket\. )"
    r"([\w ]+)(?:'\))?"
)


def _of_connection(text: str) -> _Meaning:
    """Tell what a connection died of; the client's text names host and port only."""
    text = text.rstrip(".")
    match = _NO_CONNECTION.fullmatch(text)
    if match is not None:
        number, where, why = int(match[1]), match[2].removesuffix("."), match[3]
        if "Connect call failed" in why or not why:
            why = os.strerror(number) if number > 0 else "it is not known why"
        why = spell_tls(why, _TRUST) or why
        if number == errno.ENOENT and _PORT.search(where):
            # A connection by host and port has no other files.
            why = f"{why}, of those that the TLS settings name (ssl_ca_certs ...)"
        return _Meaning(True, f"cannot connect to {where}: {why}", is_plain=True)
    match = _BROKEN.fullmatch(text)
    if match is not None:
        return _Meaning(True, f"the connection broke: {match[1]}", is_plain=True)
    if text == "Connection closed by server":
        return _Meaning(True, _CLOSED, is_plain=True)
    return _Meaning(True, text or "the connection was lost", is_plain=True)
