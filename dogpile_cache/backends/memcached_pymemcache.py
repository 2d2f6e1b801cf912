"""pymemcache: a server that is away is an error, whichever of the ring it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pymemcache.client.retrying import RetryingClient  # type: ignore[import-untyped,import-not-found,unused-ignore]
from pymemcache.exceptions import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
    MemcacheClientError,
    MemcacheError,
    MemcacheIllegalInputError,
    MemcacheServerError,
    MemcacheUnexpectedCloseError,
    MemcacheUnknownCommandError,
    MemcacheUnknownError,
)

from dogpile.cache.backends.memcached_edge import (
    HUNG_UP,
    NOT_SPOKEN,
    REFUSED_VALUE,
    Faults,
)
from dogpile.cache.backends.memcached_text import WANTS_LOGIN, Batches, Swap
from dogpile.cache.backends.memcached_wire import (
    Channel,
    Received,
    Unreachable,
    limit_silence,
    stamp,
)

__all__ = ["PymemcacheFaults", "RetryingClient", "Ring", "SingleClient"]


if TYPE_CHECKING:
    # What is used here of pymemcache, which has no types.
    class _Client:
        sock: Any
        timeout: float | None
        serde: Any

        def __init__(self, server: Any, **options: Any) -> None: ...
        def close(self) -> None: ...
        def _connect(self) -> None: ...

    class _HashClient:
        clients: Mapping[str, Any]

        def __init__(self, servers: Sequence[Any], **options: Any) -> None: ...
        def _get_client(self, key: str) -> Any: ...
        def _safely_run_func(
            self, client: Any, func: Any, default_val: Any, *args: Any, **kwargs: Any
        ) -> Any: ...

else:
    from pymemcache.client.base import Client as _Client
    from pymemcache.client.hash import HashClient as _HashClient


class SingleClient(_Client):
    """A client of one server, which lends its connection to batches."""

    def __init__(self, server: Any, **options: Any) -> None:
        self.born: int = 0
        self._received: Received | None = None
        super().__init__(server, **options)
        self._batches = Batches(lambda key: self, self.serde)

    def _connect(self) -> None:
        super()._connect()
        limit_silence(self.sock, self.timeout)
        self._received = Received(self.sock.recv)
        self.born = stamp()

    def connect(self) -> None:
        """See to it that a connection stands."""
        if self.sock is None:
            self._connect()

    def send(self, request: bytes) -> None:
        """Send bytes over the connection that stands."""
        self.sock.sendall(request)

    def line(self) -> bytes:
        """Receive a line, and return it without its end."""
        return self._stream().line()

    def block(self, size: int) -> bytes:
        """Receive so many bytes and a line's end, and return the bytes."""
        return self._stream().block(size)

    def drop(self) -> None:
        """End the connection; the next ``connect()`` makes another."""
        self.close()

    def _stream(self) -> Received:
        if self._received is None:
            raise ConnectionResetError("there is no connection")
        return self._received

    def take_many(
        self, marks: Mapping[str, bytes], time: int
    ) -> Mapping[str, tuple[Any, int]]:
        """Add the values of keys that have none; return all with cas ids."""
        return self._batches.take(marks, time)

    def read_many(self, keys: Sequence[str]) -> Mapping[str, tuple[Any, int]]:
        """Return the values of the keys that have one, with cas ids."""
        return self._batches.gets(keys)

    def swap_many(self, swaps: Sequence[Swap], time: int) -> list[bool | None]:
        """Store values where the cas id is still the same."""
        return self._batches.swap(swaps, time)

    def store_many(self, mapping: Mapping[str, bytes], time: int) -> None:
        """Store values, whatever the keys had."""
        self._batches.store(mapping, time)

    def remove_many(self, keys: Sequence[str]) -> None:
        """Remove the values of the keys."""
        self._batches.remove(keys)


class Ring(_HashClient):
    """A client of several servers that never takes one for another silently."""

    client_class = SingleClient

    def __init__(self, servers: Sequence[Any], **options: Any) -> None:
        super().__init__(servers, **options)
        self._batches = Batches(self._channel_of, options["serde"])

    def _channel_of(self, key: str) -> Channel:
        channel: Channel = self._get_client(key)
        return channel

    def close(self) -> None:
        """End all connections; a server that is spared hinders none of the others."""
        for client in self.clients.values():
            client.close()

    disconnect_all = close

    def _safely_run_func(
        self, client: Any, func: Any, default_val: Any, *args: Any, **kwargs: Any
    ) -> Any:
        # pymemcache answers with the default value while it spares a server:
        # a miss that is none, and a delete that was never sent.
        found = super()._safely_run_func(client, func, _UNSENT, *args, **kwargs)
        if found is _UNSENT:
            raise Unreachable("a server of the ring is gone, and spared for a moment")
        return found

    def take_many(
        self, marks: Mapping[str, bytes], time: int
    ) -> Mapping[str, tuple[Any, int]]:
        """Add the values of keys that have none; return all with cas ids."""
        return self._batches.take(marks, time)

    def read_many(self, keys: Sequence[str]) -> Mapping[str, tuple[Any, int]]:
        """Return the values of the keys that have one, with cas ids."""
        return self._batches.gets(keys)

    def swap_many(self, swaps: Sequence[Swap], time: int) -> list[bool | None]:
        """Store values where the cas id is still the same."""
        return self._batches.swap(swaps, time)

    def store_many(self, mapping: Mapping[str, bytes], time: int) -> None:
        """Store values, whatever the keys had."""
        self._batches.store(mapping, time)

    def remove_many(self, keys: Sequence[str]) -> None:
        """Remove the values of the keys."""
        self._batches.remove(keys)


_UNSENT = object()


class PymemcacheFaults(Faults):
    """What the errors of pymemcache mean."""

    def is_lost(self, error: Exception) -> bool:
        """Return whether nobody answers."""
        if isinstance(error, MemcacheUnexpectedCloseError):
            return True
        if isinstance(error, (MemcacheServerError, MemcacheIllegalInputError)):
            return False
        if _wants_login(error):
            return False
        return isinstance(error, MemcacheError) or super().is_lost(error)

    def is_too_large(self, error: Exception) -> bool:
        """Return whether the server takes no value of that size."""
        if isinstance(error, MemcacheServerError):
            return b"too large" in _words(error)
        return super().is_too_large(error)

    def is_harmless(self, error: BaseException) -> bool:
        """Return whether the client is as good as before."""
        # It ends its connection itself; a ring remembers which server is gone.
        return isinstance(error, Exception)

    def is_stale(self, error: BaseException) -> bool:
        """Return whether the connection may have ended before it was used."""
        is_closed = isinstance(error, MemcacheUnexpectedCloseError)
        return is_closed or super().is_stale(error)

    def reason(self, error: Exception) -> str | None:
        """Return why, where that can be said better than by the error's name."""
        if isinstance(error, MemcacheUnexpectedCloseError):
            return HUNG_UP
        if isinstance(error, MemcacheServerError):
            return REFUSED_VALUE
        if isinstance(error, MemcacheUnknownCommandError):
            # All that is told of it is the command.
            return (
                "the server does not know a command that is needed, being too old, or "
                "has too many connections (-c)"
            )
        if _wants_login(error):
            return WANTS_LOGIN
        if isinstance(error, MemcacheClientError):
            return "the server refuses a command that is needed (CLIENT_ERROR)"
        if isinstance(error, MemcacheUnknownError):
            return NOT_SPOKEN
        return None


def _wants_login(error: Exception) -> bool:
    is_refused = isinstance(error, MemcacheClientError)
    return is_refused and _words(error) == b"unauthenticated"


def _words(error: Exception) -> bytes:
    words = error.args[0] if error.args else b""
    return words if isinstance(words, bytes) else b""
