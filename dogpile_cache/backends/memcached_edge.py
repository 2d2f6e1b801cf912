"""Where a client of memcached is called, and what it raises becomes ours."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from dogpile.cache.backends.memcached_pool import Busy, ClientPool
from dogpile.cache.backends.memcached_text import check_key
from dogpile.cache.backends.memcached_wire import (
    Garbled,
    IllegalKey,
    Oversized,
    Refused,
    Unfit,
    Unreachable,
)
from dogpile.cache.backends.network import key_prefix, spell_tls, wrapped
from dogpile.cache.exception import BackendError, ValueTooLarge

REFUSED_LOGIN = "the server refuses the user name or the password"
NOT_SPOKEN = "what answers does not speak the memcached protocol"
HUNG_UP = "the server closed the connection"
REFUSED_VALUE = "the server did not store it, for want of memory most likely"

_LEGAL = "without a key_mangler of its own a region makes such keys of all others"
_TRUST = "tls_context=ssl.create_default_context(cafile=...)"
# Who is not there, or not to be reached at all.
_ABSENT = (ConnectionRefusedError, FileNotFoundError, PermissionError, socket.gaierror)
# What to do, by what is told.
_REMEDIES = {
    NOT_SPOKEN: "look at url=, and whether TLS is spoken there",
    HUNG_UP: "it may have too many connections (-c), or want a login or TLS",
    REFUSED_LOGIN: "look at username= and password=",
    REFUSED_VALUE: "give it more (-m), or store less",
}
_NEWS = (ConnectionRefusedError, Garbled, Unreachable, Busy)


class Faults:
    """What the errors of a client mean; each client has its own.

    :param is_ring: there are several servers, of which one may be gone.
    """

    def __init__(self, *, is_ring: bool = False) -> None:
        self.is_ring = is_ring

    def is_lost(self, error: Exception) -> bool:
        """Return whether nobody answers."""
        return isinstance(error, OSError)

    def is_too_large(self, error: Exception) -> bool:
        """Return whether the server takes no value of that size."""
        return isinstance(error, Oversized)

    def is_harmless(self, error: BaseException) -> bool:
        """Return whether the client is as good as before."""
        # A ring remembers which server is gone, and spares it for a while.
        is_noted = self.is_ring and isinstance(error, OSError)
        return is_noted or isinstance(error, (Oversized, Refused, IllegalKey))

    def is_stale(self, error: BaseException) -> bool:
        """Return whether the connection may have ended before it was used."""
        return isinstance(error, ConnectionError) and not isinstance(error, _NEWS)

    def silence(self) -> str:
        """Return what a server may not speak that does not answer in time."""
        return ""

    def reason(self, error: Exception) -> str | None:
        """Return why, where that can be said better than by the error's name."""
        return None


class Edge:
    """Calls clients out of a pool: each answers one caller at a time.

    :param pool: of the clients.
    :param create: makes a client.
    :param faults: returns what the client's errors mean.
    :param name: the backend's, for errors.
    :param servers: for errors.
    :param is_tls: whether TLS is spoken to them.
    """

    def __init__(
        self,
        pool: ClientPool,
        create: Callable[[], Any],
        faults: Callable[[], Faults],
        *,
        name: str,
        servers: str,
        is_tls: bool,
    ) -> None:
        self._pool = pool
        self._pop = pool.idle.pop
        self._push = pool.idle.append
        self._create = create
        self._faults = faults
        self._name = name
        self._servers = servers
        self._is_tls = is_tls

    def get(self, key: Any) -> Any:
        """Return what a client has for a key: ``call("get", "get", key)``."""
        try:
            client = self._pop()
        except IndexError:
            return self._call_new("get", "get", (key,), {})
        try:
            value = client.get(key)
        except BaseException as error:  # noqa: BLE001 - fail() raises it again
            if not self._was_left_behind(client, error):
                self.fail("get", error, (key,))
            return self._call_new("get", "get", (key,), {})
        pool = self._pool
        if pool.leaving:
            pool.give(client)
        else:
            self._push(client)
            if pool.waiting:
                pool.wake()
        return value

    def call(
        self,
        operation: str,
        work: str | Callable[..., Any],
        *args: Any,
        **options: Any,
    ) -> Any:
        """Have a client do something.

        :param operation: the backend's method, for errors.
        :param work: a method of the client, or what is called with a client.
        :raises BackendError: it failed.
        """
        client = self._pool.take_idle()
        if client is None:
            return self._call_new(operation, work, args, options)
        try:
            answer = _asked(client, work, args, options)
        except BaseException as error:  # noqa: BLE001 - fail() raises it again
            if not self._was_left_behind(client, error):
                self.fail(operation, error, args)
        else:
            self._pool.give(client)
            return answer
        return self._call_new(operation, work, args, options)

    def _call_new(
        self,
        operation: str,
        work: str | Callable[..., Any],
        args: tuple[Any, ...],
        options: Mapping[str, Any],
    ) -> Any:
        client = None
        try:
            client = self._pool.take_new(self._create)
            answer = _asked(client, work, args, options)
        except BaseException as error:  # noqa: BLE001 - fail() raises it again
            if client is not None:
                self._put_away(client, error)
            self.fail(operation, error, args)
        self._pool.give(client)
        return answer

    def _was_left_behind(self, client: Any, error: BaseException) -> bool:
        """Put a client away, and return whether a new one may have more luck.

        So it is where its connection had ended before it was asked: the server
        was restarted, or somebody on the way has no patience.
        """
        self._put_away(client, error)
        if not self._faults().is_stale(error):
            return False
        # The others were connected to the same server.
        self._pool.discard_idle()
        return True

    def _put_away(self, client: Any, error: BaseException) -> None:
        if self._faults().is_harmless(error):
            self._pool.give(client)
        else:
            # An answer may still be on its way: nobody may take it for his.
            self._pool.discard(client)

    def fail(
        self, operation: str, error: BaseException, args: tuple[Any, ...] = ()
    ) -> NoReturn:
        """Raise a client's error as one of ours.

        :param args: what the client was called with; the key comes first.
        """
        if not isinstance(error, Exception):
            raise error
        key = args[0] if args else None
        if not isinstance(error, OSError):
            # Each client has a way of its own to say that a key is no key.
            illegal, fault = _illegality(operation, key)
            if fault is not None:
                key, error = illegal, fault
        where = f"{key_prefix(key)}: " if isinstance(key, (str, bytes)) else ""
        if self._faults().is_too_large(error):
            raise ValueTooLarge(
                self._name,
                operation,
                f"{where}more bytes than the server takes ({self._servers}), which is "
                "1 MB unless it was started with -I",
            ) from error
        raise self._as_ours(operation, error, where) from error

    def _as_ours(self, operation: str, error: Exception, where: str) -> BackendError:
        faults = self._faults()
        if isinstance(error, IllegalKey):
            reason: str | None = f"{where}{error}; {_LEGAL}"
        elif isinstance(error, (Refused, Unfit)):
            told = REFUSED_VALUE if isinstance(error, Refused) else str(error)
            reason = f"{where}{self._placed(told)}"
        else:
            told_of = faults.reason(error) or self._told(error, faults)
            reason = None if told_of is None else self._placed(told_of)
        if reason is None:
            kind = type(error)
            name = f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
            reason = self._placed(name)
        gone = (type(error),) if faults.is_lost(error) else ()
        return wrapped(self._name, operation, error, gone=gone, reason=reason)

    def _told(self, error: Exception, faults: Faults) -> str | None:
        """Return what an error of a connection says."""
        if isinstance(error, Garbled):
            return NOT_SPOKEN
        if isinstance(error, (Unreachable, Busy)):
            return str(error)
        if isinstance(error, (TimeoutError, BlockingIOError)):
            return f"no answer in time{faults.silence()}"
        if isinstance(error, ssl.SSLError):
            return spell_tls(error, _TRUST) or "TLS cannot be spoken to the server"
        if isinstance(error, (ConnectionResetError, BrokenPipeError)):
            return HUNG_UP
        if isinstance(error, _ABSENT):
            return f"cannot connect: {error.strerror or type(error).__name__}"
        if isinstance(error, OSError):
            return error.strerror or type(error).__name__
        return None

    def _placed(self, told: str) -> str:
        """Return a text with the servers' addresses, and what to do."""
        remedy = _REMEDIES.get(told, "")
        if told == HUNG_UP and self._is_tls:
            remedy = ""
        return f"{told} ({self._servers})" + (f"; {remedy}" if remedy else "")


def _asked(
    client: Any,
    work: str | Callable[..., Any],
    args: tuple[Any, ...],
    options: Mapping[str, Any],
) -> Any:
    if isinstance(work, str):
        return getattr(client, work)(*args, **options)
    return work(client, *args, **options)


def _illegality(operation: str, key: object) -> tuple[object, IllegalKey | None]:
    """Return the first key that is none, among those that a client was given.

    Of many only those that are read are given as a list, and unchecked.
    """
    keys = key if operation == "get_multi" and isinstance(key, (list, tuple)) else [key]
    given = operation in ("get", "get_multi") or isinstance(key, str)
    for each in keys if given else ():
        try:
            # pylibmc is given bytes, which others take too.
            check_key(each.decode("latin-1") if isinstance(each, bytes) else each)
        except IllegalKey as error:
            return each, error
    return None, None
