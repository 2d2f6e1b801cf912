"""pylibmc: plain bytes, no miss in place of an error, batches in one exchange."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pylibmc  # type: ignore[import-untyped,import-not-found,unused-ignore]
from pylibmc.client import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
    server_type_map,
    translate_server_spec,
)

from dogpile.cache.backends.address import (
    Address,
    host_in,
    unreadable_address,
)
from dogpile.cache.backends.memcached_edge import (
    NOT_SPOKEN,
    REFUSED_LOGIN,
    REFUSED_VALUE,
    Faults,
)
from dogpile.cache.backends.memcached_settings import KeyLines
from dogpile.cache.backends.memcached_text import FLAG_TEXT, Batches, Swap
from dogpile.cache.backends.memcached_wire import Channel, Refused, SocketChannel
from dogpile.cache.clock import SYSTEM_CLOCK

#: What pylibmc raises where it cannot be what it is asked to be.
UNFIT = (TypeError, ValueError, KeyError, pylibmc.Error)

# The time-outs of libmemcached are as exact as the scheduler is.
_ALMOST = 0.9
# For so long a connection on which a miss was one is trusted.
_TRUSTED_SECONDS = 1.0
# With these the servers change places, and its hash() tells the old ones.
_MOVING = frozenset({"namespace", "auto_eject", "remove_failed"})


class Silent(TimeoutError):
    """The server said nothing in time."""


if TYPE_CHECKING:
    # What is used here of pylibmc, which has no types.
    class _Client:
        def __init__(self, servers: Sequence[str], **options: Any) -> None: ...
        def add(self, key: str, val: Any, *, time: int) -> bool: ...
        def cas(self, key: str, val: Any, cas: Any, *, time: int) -> bool: ...
        def delete_multi(self, keys: Sequence[str]) -> bool: ...
        def disconnect_all(self) -> None: ...
        def gets(self, key: bytes) -> tuple[Any, Any]: ...
        def hash(self, key: str) -> int: ...
        def set(self, key: str, val: Any, *, time: int) -> bool: ...

else:
    _Client = pylibmc.Client


class Client(_Client):
    """A client that reads bytes, and tells a silent server from a miss.

    libmemcached makes a round trip for each key that is written, and cannot
    read the cas ids of many keys. So that is done over a connection of our
    own, to the server that libmemcached would choose.

    :param servers: as pylibmc takes them.
    :param behaviors: as pylibmc takes them.
    :param binary: speak the binary protocol.
    :param login: user name and password, for SASL.
    :param patience: seconds after which the server was silent.
    :param channels: to the servers, in their order; may be none.
    :param serde: from values to bytes and flags, and back.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        behaviors: Mapping[str, Any],
        binary: bool,
        login: tuple[str, str] | None,
        patience: float,
        channels: Sequence[Channel],
        serde: Any,
    ) -> None:
        username, password = login or (None, None)
        super().__init__(
            list(servers),
            behaviors=dict(behaviors),
            binary=binary,
            username=username,
            password=password,
        )
        self._patience = patience * _ALMOST
        # It has no connection yet that might have ended.
        self._well_at = _now()
        self._channels = channels
        self._batches: Batches | None = None
        # A server with SASL speaks the binary protocol alone.
        is_fixed = login is None and not any(map(behaviors.get, _MOVING))
        if is_fixed and channels:
            self._batches = Batches(self._channel_of, serde)

    def _channel_of(self, key: str) -> Channel:
        return self._channels[self._server_of(key)]

    @staticmethod
    def deserialize(value: bytes | None, flags: int) -> Any:
        """Return what is stored; nothing is unpickled."""
        # An empty value arrives as None.
        if flags & FLAG_TEXT:
            return (value or b"").decode(errors="replace")
        return value or b""

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key."""
        began = _now()
        try:
            value = _get(self, key)
        except Exception as error:  # noqa: BLE001 - it may be raised again
            value = self._reread(error, key)
        return self._missed(key, began, default) if value is None else value

    def _missed(self, key: str, began: float, default: Any) -> Any:
        """Return what is to be said of a key that had no value."""
        self._require_answer(began)
        if began - self._well_at <= _TRUSTED_SECONDS:
            return default
        try:
            value = _get(self, key)
        except Exception as error:  # noqa: BLE001 - as above
            value = self._reread(error, key)
        self._require_answer(began)
        self._well_at = began
        return default if value is None else value

    def _reread(self, error: Exception, key: str) -> Any:
        """Return what stands for a value that was not read because of an error.

        :raises Exception: it is the connection that is at fault.
        """
        require_unread(error)
        return b""

    def get_multi(self, keys: Sequence[str], **options: Any) -> Any:
        """Return the values of the keys that have one."""
        began = _now()
        found = self._found(keys, options)
        if len(found) < len(keys):
            self._doubt(keys, found, began, options)
        self._well_at = began
        return found

    def get_values(self, keys: Sequence[str]) -> list[Any]:
        """Return the value of each key, or ``None``, in their order."""
        began = _now()
        text = keys.text if keys.__class__ is KeyLines else "\n".join(keys)
        # libmemcached takes bytes; for each string pylibmc keeps a book.
        sent = text.encode("ascii").split(b"\n")
        if len(sent) != len(keys):
            sent = [key.encode("ascii") for key in keys]
        found = self._found(sent, {})
        if len(found) < len(sent):
            self._doubt(sent, found, began, {})
        self._well_at = began
        # As a server answers, which is faster to see than to look for each.
        if list(found) == sent:
            return list(found.values())
        return list(map(found.get, sent))

    def _found(self, keys: Sequence[Any], options: Mapping[str, Any]) -> dict[Any, Any]:
        try:
            found: dict[Any, Any] = _get_multi(self, keys, **options)
        except Exception as error:  # noqa: BLE001 - it may be raised again
            found = self._reread_many(error, keys, options)
        return found

    def _reread_many(
        self, error: Exception, keys: Sequence[Any], options: Mapping[str, Any]
    ) -> dict[Any, Any]:
        """Return values of which one was not read because of an error.

        :raises Exception: it is the connection that is at fault.
        """
        require_unread(error)
        found = {key: self.get(key) for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    def _doubt(
        self,
        keys: Sequence[Any],
        found: dict[Any, Any],
        began: float,
        options: Mapping[str, Any],
    ) -> None:
        """Ask the servers once more of which nothing came, if that may be no miss.

        Where a connection had ended, libmemcached finds nothing too; the next
        time it makes another, or raises an error. It matters to the records of
        regions: one that is lost makes every value a miss.
        """
        self._require_answer(began)
        if began - self._well_at <= _TRUSTED_SECONDS:
            return
        answering = set(map(self._server_of, found))
        doubtful = [key for key in keys if self._server_of(key) not in answering]
        if doubtful:
            found.update(self._found(doubtful, options))
        self._require_answer(began)

    def _server_of(self, key: str | bytes) -> int:
        number: int = self.hash(key.decode("ascii") if isinstance(key, bytes) else key)
        return number

    def _require_answer(self, began: float) -> None:
        # To libmemcached a server that says nothing has nothing.
        if _now() - began >= self._patience:
            raise Silent

    def take_many(
        self, marks: Mapping[str, bytes], time: int
    ) -> Mapping[str, tuple[Any, int]]:
        """Add the values of keys that have none; return all with cas ids."""
        if self._batches is not None:
            return self._batches.take(marks, time)
        for key, mark in marks.items():
            self.add(key, mark, time=time)
        return self.read_many(list(marks))

    def read_many(self, keys: Sequence[str]) -> Mapping[str, tuple[Any, int]]:
        """Return the values of the keys that have one, with cas ids."""
        if self._batches is not None:
            return self._batches.gets(keys)
        began = _now()
        # As bytes: of a string it lets go before it has sent it, and another
        # thread may write something else into its place.
        found = {key: self.gets(key.encode("ascii")) for key in keys}
        stored = {key: pair for key, pair in found.items() if pair[1] is not None}
        if len(stored) < len(found):
            self._require_answer(began)
        return stored

    def swap_many(self, swaps: Sequence[Swap], time: int) -> list[bool | None]:
        """Store values where the cas id is still the same."""
        if self._batches is not None:
            return self._batches.swap(swaps, time)
        # It does not say how old its connections are.
        return [
            None if swap.since is not None else self._swap(swap, time) for swap in swaps
        ]

    def _swap(self, swap: Swap, time: int) -> bool:
        try:
            return bool(self.cas(swap.key, swap.value, swap.cas, time=time))
        except pylibmc.NotFound:
            return False

    def store_many(self, mapping: Mapping[str, bytes], time: int) -> None:
        """Store values, whatever the keys had."""
        if self._batches is not None:
            self._batches.store(mapping, time)
            return
        # set_multi() would leave out what comes behind one that is too large.
        problems: list[Exception] = []
        for key, value in mapping.items():
            try:
                if not self.set(key, value, time=time):
                    problems.append(Refused())
            except pylibmc.TooBig as error:
                problems.append(error)
        if problems:
            raise problems[0]

    def remove_many(self, keys: Sequence[str]) -> None:
        """Remove the values of the keys."""
        if self._batches is not None:
            self._batches.remove(keys)
        else:
            self.delete_multi(keys)

    def disconnect_all(self) -> None:
        """End all connections."""
        for channel in self._channels:
            channel.drop()
        super().disconnect_all()

    def abandon(self) -> None:
        """Never say goodbye: the connection is the parent's, who needs it yet."""
        for channel in self._channels:
            channel.drop()
        # Whatever libmemcached frees, it first tells the server to quit.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))


def require_unread(error: Exception) -> None:
    """Return if an error says that pylibmc cannot read a value.

    :raises Exception: it is one of the connection; these have numbers.
    """
    if type(error) is not pylibmc.Error or _code(error):
        raise error


_get = pylibmc.Client.get
_get_multi = pylibmc.Client.get_multi
_now = SYSTEM_CLOCK.monotonic


class PylibmcFaults(Faults):
    """What the errors of pylibmc mean.

    :param is_binary: whether the binary protocol is spoken.
    """

    _lost = (
        *(pylibmc.ConnectionError, pylibmc.HostLookupError, pylibmc.SocketCreateError),
        *(pylibmc.ServerDown, pylibmc.ServerDead, pylibmc.UnknownReadFailure),
        *(pylibmc.ReadError, pylibmc.WriteError, pylibmc.ProtocolError),
        *(pylibmc.UnixSocketError, pylibmc.NoServers),
    )
    _gone = (pylibmc.ConnectionError, pylibmc.ServerDown, pylibmc.ServerDead)

    def __init__(self, *, is_ring: bool = False, is_binary: bool = False) -> None:
        super().__init__(is_ring=is_ring)
        self._is_binary = is_binary

    def is_lost(self, error: Exception) -> bool:
        """Return whether nobody answers."""
        if _is_refused_login(error) or _is_refused_value(error):
            return False
        # Time-outs have no class of their own.
        is_bare = type(error) is pylibmc.Error and _code(error) != 0
        is_lost = is_bare or isinstance(error, self._lost)
        return is_lost or super().is_lost(error)

    def is_too_large(self, error: Exception) -> bool:
        """Return whether the server takes no value of that size."""
        return isinstance(error, pylibmc.TooBig) or super().is_too_large(error)

    def is_harmless(self, error: BaseException) -> bool:
        """Return whether the client is as good as before."""
        is_noted = self.is_ring and isinstance(error, self._gone)
        return (
            is_noted or isinstance(error, pylibmc.TooBig) or super().is_harmless(error)
        )

    def is_stale(self, error: BaseException) -> bool:
        """Return whether the connection may have ended before it was used."""
        if isinstance(error, self._gone):
            return not self.is_ring or isinstance(error, pylibmc.ConnectionError)
        return super().is_stale(error)

    def reason(self, error: Exception) -> str | None:
        """Return why, where that can be said better than by the error's name."""
        if _is_refused_login(error):
            return REFUSED_LOGIN
        if _is_refused_value(error):
            return REFUSED_VALUE
        if isinstance(error, pylibmc.Error):
            # Its own words may have the key in them.
            if _code(error) == _TIMED_OUT:
                return "no answer in time"
            kind = type(error).__name__
            if isinstance(error, self._gone) and self._is_binary:
                return f"{_DOWN}, {_NOT_AS_ASKED}"
            return _WORDS.get(kind) or f"pylibmc.{kind} {_code(error)}".rstrip()
        return None


# libmemcached does not say more, and says the same of a host that is not known.
_DOWN = "cannot connect to a server, or it ends the connection"
_NOT_AS_ASKED = (
    "or it wants another login, or does not speak the binary protocol or SASL"
)
_WORDS = {
    "ConnectionError": _DOWN,
    "HostLookupError": "the host is not known",
    "ProtocolError": NOT_SPOKEN,
    "ServerDead": _DOWN,
    "ServerDown": _DOWN,
    "UnknownReadFailure": NOT_SPOKEN,
}
_TIMED_OUT = 31
_NO_LOGIN = (41, 42)
_NO_MEMORY = 48


def _code(error: Exception) -> int:
    """Return the number that libmemcached gave an error, 0 if it is not told."""
    match = re.match(r"error (\d+) from ", str(error))
    return int(match[1]) if match else 0


def _is_refused_login(error: Exception) -> bool:
    return isinstance(error, pylibmc.Error) and _code(error) in _NO_LOGIN


def _is_refused_value(error: Exception) -> bool:
    return isinstance(error, pylibmc.Error) and _code(error) == _NO_MEMORY


def check_servers(servers: Sequence[str]) -> None:
    """Refuse servers that libmemcached would look for in vain.

    :raises ValidationError: one cannot be read.
    """
    for server in servers:
        try:
            kind, host, port, _ = translate_server_spec(server)
        except ValueError:
            raise unreadable_address(server, "url") from None
        if kind != server_type_map["unix"]:
            if not 0 < port < 65536:
                raise unreadable_address(f"{host}:{port}", "url")
            host_in({"url": host}, "url", "")


def channels_to(
    servers: Sequence[str], connect_timeout: float | None, read_timeout: float | None
) -> list[Channel]:
    """Return channels to the servers; none if one of them is not for TCP."""
    channels: list[Channel] = []
    for server in servers:
        kind, host, port, _ = translate_server_spec(server)
        if kind == server_type_map["udp"]:
            return []
        is_path = kind == server_type_map["unix"]
        address = Address("", 0, host) if is_path else Address(host, port)
        channels.append(SocketChannel(address, connect_timeout, read_timeout))
    return channels
