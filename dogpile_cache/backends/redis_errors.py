"""What an error of a Redis or Valkey client means to a region."""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from dogpile.cache.backends.network import wrapped
from dogpile.cache.exception import (
    BackendError,
    BackendUnavailable,
    DogpileCacheException,
)


class _Meaning(NamedTuple):
    """What an error says about the server.

    :param is_gone: whether it may pass by itself, as when nobody answers.
    :param reason: what to tell.
    :param is_plain: whether the client's own words hold no password or value,
        so that they may be shown as the cause.
    """

    is_gone: bool
    reason: str
    is_plain: bool = False


_REFUSED = _Meaning(
    False,
    "the server refuses the user name or the password, or does not allow the user "
    "a command that is needed (GET, MGET, SET, DEL, PEXPIRE, PTTL, EVAL, EVALSHA, "
    "PUBLISH)",
)
_NO_MEMORY = _Meaning(
    False,
    "the server is at its memory limit and evicts nothing: raise its maxmemory, or "
    "set maxmemory-policy to allkeys-lru",
)
_REPLICA = _Meaning(True, "the server is a replica, or a failover is under way")
_NO_CLUSTER = _Meaning(
    True, "no node of the cluster can be reached, or the cluster does not work"
)
_NO_MASTER = _Meaning(True, "no sentinel can be reached that knows a master")
_LOADING = _Meaning(True, "the server is busy: it loads its data, or runs a script")
_NONSENSE = _Meaning(
    True, "what answers does not speak the protocol: is it a Redis or Valkey server?"
)

_OURS = _Meaning(False, "")

# By the name of the client's class: both libraries have the same names.
_BY_CLASS = {
    "AuthenticationError": _REFUSED,
    "AuthorizationError": _REFUSED,
    "AuthenticationWrongNumberOfArgsError": _REFUSED,
    "NoPermissionError": _REFUSED,
    "OutOfMemoryError": _NO_MEMORY,
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
        True, "all connections of the pool are in use: raise max_connections"
    ),
    "TimeoutError": _Meaning(True, "no answer in time", is_plain=True),
    "DataError": _Meaning(False, "a key must be str, bytes, int or float"),
    "UnicodeError": _Meaning(False, "a key is no text that can be encoded"),
    "InvalidResponse": _NONSENSE,
    "LockError": _Meaning(False, "the lock is not, or no longer, the caller's"),
}

# By the word that the server's own error begins with, or has inside where a script
# failed at it.
_BY_CODE = {
    "OOM": _NO_MEMORY,
    "WRONGTYPE": _Meaning(
        False, "the server holds something under the key that is no string"
    ),
    "NOAUTH": _REFUSED,
    "WRONGPASS": _REFUSED,
    "NOPERM": _REFUSED,
    "READONLY": _REPLICA,
    "MASTERDOWN": _REPLICA,
    "NOREPLICAS": _REPLICA,
    "MISCONF": _Meaning(
        False, "the server takes no writes, as it cannot write to its disk"
    ),
    "LOADING": _LOADING,
    "BUSY": _LOADING,
    "CLUSTERDOWN": _NO_CLUSTER,
    "TRYAGAIN": _NO_CLUSTER,
    "unknown command": _Meaning(
        False,
        "the server is too old, or a command was taken from it: scripts (EVAL, "
        "EVALSHA) and SET with PX are needed, which Redis 2.6.12 and every Valkey "
        "have; with a server below 6.0 set connection_kwargs={'protocol': 2}",
    ),
}
_CODES = re.compile(rf"\b({'|'.join(_BY_CODE)})\b")


def raise_failure(backend: str, operation: str, error: Exception) -> NoReturn:
    """Raise an error of the client as one of ours.

    :param backend: the registered name.
    :param operation: the method that failed.
    :param error: what the client raised.
    """
    if isinstance(error, DogpileCacheException):
        raise error
    meaning = _meaning(error)
    # A client's words may hold keys, values, bytes from the wire, or (sentinel) the
    # password: then neither they nor their error are passed on.
    cause = error if meaning.is_plain else None
    if isinstance(error, OSError):
        raise wrapped(backend, operation, error) from cause
    kind = BackendUnavailable if meaning.is_gone else BackendError
    raise kind(backend, operation, meaning.reason) from cause


def is_nonsense(error: Exception) -> bool:
    """Return whether a client stumbled over what it read.

    It may then take a connection for ready that is not: it has to be closed.
    """
    return _meaning(error) is _NONSENSE


def _meaning(error: Exception) -> _Meaning:
    if isinstance(error, DogpileCacheException):
        return _OURS
    if isinstance(error.__cause__, Exception) and "Cluster" in type(error).__name__:
        # No node of a cluster would do, and this is what the last one said.
        return _meaning(error.__cause__)._replace(is_plain=False)
    names = [kind.__name__ for kind in type(error).__mro__]
    for name in names:
        if name in _BY_CLASS:
            return _BY_CLASS[name]
    if "ConnectionError" in names:
        return _Meaning(True, _of_connection(error), is_plain=True)
    if "ResponseError" in names:
        text = str(error)
        found = _CODES.search(text)
        if found:
            return _BY_CODE[found[1]]
        code = text.partition(" ")[0]
        told = code if re.fullmatch("[A-Z]{2,20}", code) else "an error"
        return _Meaning(False, f"the server answers {told}")
    # Parsers stumble over nonsense with errors of every kind.
    return _NONSENSE


def _of_connection(error: Exception) -> str:
    """Tell what a connection died of; the client's text names host and port only."""
    return str(error).rstrip(".") or "the connection was lost"
