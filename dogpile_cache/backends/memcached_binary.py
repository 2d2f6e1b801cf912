"""python-binary-memcached: plain bytes, and a lost server is no miss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bmemcached.exceptions import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
    InvalidCredentials,
    MemcachedException,
)

from dogpile.cache.backends.memcached_edge import (
    REFUSED_LOGIN,
    REFUSED_VALUE,
    Faults,
)
from dogpile.cache.backends.memcached_text import Serde, Swap
from dogpile.cache.backends.memcached_wire import (
    Refused,
    Unreachable,
    limit_silence,
    stamp,
)

_TOO_LARGE = 0x03
_NO_MEMORY = 0x82
_NO_LOGIN = 0x20
_RETRY_SECONDS = 1


if TYPE_CHECKING:
    # What is used here of python-binary-memcached, which has no types.
    class _Protocol:
        server: str
        connection: Any

        def __init__(self, server: str, **options: Any) -> None: ...
        def set_retry_delay(self, value: int) -> None: ...
        def disconnect(self) -> None: ...
        def _open_connection(self) -> None: ...

    class _Servers:
        def __init__(self, servers: Iterable[str]) -> None: ...
        def __getattr__(self, name: str) -> Any: ...

    class _ReplicatingClient(_Servers): ...

    class _DistributedClient(_Servers): ...

else:
    from bmemcached import (
        DistributedClient as _DistributedClient,
        ReplicatingClient as _ReplicatingClient,
    )
    from bmemcached.protocol import Protocol as _Protocol


class Link(_Protocol):
    """A connection to one server that says so when it is lost."""

    # Its base class has one connection a thread: a pool has its own.
    if not TYPE_CHECKING:
        __getattribute__ = object.__getattribute__
        __setattr__ = object.__setattr__
        __delattr__ = object.__delattr__

    def __init__(self, server: str, *, read_timeout: float | None, **options: Any):
        self.born: int = 0
        self._read_timeout = read_timeout
        self._serde = Serde()
        super().__init__(server, **options)
        self.set_retry_delay(_RETRY_SECONDS)

    def connect(self) -> None:
        """See to it that a connection stands."""
        self._open_connection()
        if self.connection is None:
            raise Unreachable("a server is gone, and spared for a moment")

    def _open_connection(self) -> None:
        is_new = self.connection is None
        super()._open_connection()
        if is_new and self.connection is not None:
            limit_silence(self.connection, self._read_timeout)
            self.born = stamp()

    def _connection_error(self, exception: Exception) -> None:
        self.disconnect()
        if exception.args == ("Delaying reconnection attempt",):
            raise Unreachable("a server is gone, and spared for a moment")
        if exception.args:
            raise exception
        raise ConnectionResetError("the server closed the connection")

    def serialize(self, value: Any, compress_level: int = -1) -> tuple[int, bytes]:
        """Return the flags to store a value with, and what to store."""
        stored, flags = self._serde.serialize(None, value)
        return flags, stored

    def deserialize(self, value: bytes, flags: int) -> Any:
        """Return what is stored; nothing is unpickled or expanded."""
        return self._serde.deserialize(None, value, flags)


class SingleClient(_ReplicatingClient):
    """A client of one server.

    :param links: the connection to it.
    """

    def __init__(self, links: Sequence[Link]) -> None:
        self._links = links
        super().__init__([link.server for link in links])

    def set_servers(self, servers: Iterable[str]) -> None:
        """Use the connections that were given."""
        self._servers = list(self._links)

    def take_many(
        self, marks: Mapping[str, bytes], time: int
    ) -> Mapping[str, tuple[Any, int]]:
        """Add the values of keys that have none; return all with cas ids."""
        return _take(self, marks, time)

    def read_many(self, keys: Sequence[str]) -> Mapping[str, tuple[Any, int]]:
        """Return the values of the keys that have one, with cas ids."""
        found: Mapping[str, tuple[Any, int]] = self.get_multi(keys, get_cas=True)
        return found

    def swap_many(self, swaps: Sequence[Swap], time: int) -> list[bool | None]:
        """Store values where the cas id is still the same."""
        return _swap(self, lambda key: self._links[0], swaps, time)

    def store_many(self, mapping: Mapping[str, bytes], time: int) -> None:
        """Store values, whatever the keys had."""
        _store(self, mapping, time)

    def remove_many(self, keys: Sequence[str]) -> None:
        """Remove the values of the keys."""
        self.delete_multi(keys)


class Ring(_DistributedClient):
    """A client of several servers, of which each key has one.

    1.x wrote to all of them, which cannot be done in one step: whoever reads
    may find what another has deleted.

    :param links: the connections to them.
    """

    def __init__(self, links: Sequence[Link]) -> None:
        self._links = links
        super().__init__([link.server for link in links])

    def set_servers(self, servers: Iterable[str]) -> None:
        """Use the connections that were given."""
        self._servers = list(self._links)

    def take_many(
        self, marks: Mapping[str, bytes], time: int
    ) -> Mapping[str, tuple[Any, int]]:
        """Add the values of keys that have none; return all with cas ids."""
        return _take(self, marks, time)

    def read_many(self, keys: Sequence[str]) -> Mapping[str, tuple[Any, int]]:
        """Return the values of the keys that have one, with cas ids."""
        found: Mapping[str, tuple[Any, int]] = self.get_multi(keys, get_cas=True)
        return found

    def swap_many(self, swaps: Sequence[Swap], time: int) -> list[bool | None]:
        """Store values where the cas id is still the same."""
        return _swap(self, self._get_server, swaps, time)

    def store_many(self, mapping: Mapping[str, bytes], time: int) -> None:
        """Store values, whatever the keys had."""
        _store(self, mapping, time)

    def remove_many(self, keys: Sequence[str]) -> None:
        """Remove the values of the keys."""
        self.delete_multi(keys)


def _take(
    client: Any, marks: Mapping[str, bytes], time: int
) -> dict[str, tuple[Any, int]]:
    # A cas id of 0 asks for a key that has no value.
    adding = {(key, 0): mark for key, mark in marks.items()}
    added: Mapping[str, int | None] = client.set_multi_cas(adding, time)
    found = {key: (marks[key], cas) for key, cas in added.items() if cas is not None}
    others = [key for key in marks if key not in found]
    if others:
        found.update(client.get_multi(others, get_cas=True))
    return found


def _swap(
    client: Any, link_of: Any, swaps: Sequence[Swap], time: int
) -> list[bool | None]:
    tried: list[Swap] = []
    for swap in swaps:
        link = link_of(swap.key)
        link.connect()
        if swap.since is None or link.born <= swap.since:
            tried.append(swap)
    if len(tried) == 1:
        [swap] = tried
        stored = {swap.key: client.cas(swap.key, swap.value, swap.cas, time=time)}
    else:
        wanted = {(swap.key, swap.cas): swap.value for swap in tried}
        stored = client.set_multi_cas(wanted, time) if wanted else {}
    keys = {swap.key for swap in tried}
    return [bool(stored[s.key]) if s.key in keys else None for s in swaps]


def _store(client: Any, mapping: Mapping[str, bytes], time: int) -> None:
    failed = client.set_multi(dict(mapping), time)
    for key in failed:
        # Alone it is told why.
        if not client.set(key, mapping[key], time):
            raise Refused


class BinaryFaults(Faults):
    """What the errors of python-binary-memcached mean."""

    def is_lost(self, error: Exception) -> bool:
        """Return whether nobody answers."""
        if isinstance(error, MemcachedException):
            return "Invalid memcached response" in str(error.message)
        return super().is_lost(error)

    def is_too_large(self, error: Exception) -> bool:
        """Return whether the server takes no value of that size."""
        if isinstance(error, MemcachedException):
            return bool(error.code == _TOO_LARGE)
        return super().is_too_large(error)

    def silence(self) -> str:
        """Return what a server may not speak that does not answer in time."""
        return "; does the server speak memcached's binary protocol?"

    def reason(self, error: Exception) -> str | None:
        """Return why, where that can be said better than by the error's name."""
        if isinstance(error, InvalidCredentials):
            return REFUSED_LOGIN
        if isinstance(error, MemcachedException):
            if self.is_lost(error):
                # What it read of the answer is gone.
                return (
                    "what answers does not speak memcached's binary protocol, or has "
                    "too many connections (-c)"
                )
            if error.code == _NO_LOGIN:
                return REFUSED_LOGIN
            if error.code == _NO_MEMORY:
                return REFUSED_VALUE
            return f"the server answered with status {error.code}"
        return None
