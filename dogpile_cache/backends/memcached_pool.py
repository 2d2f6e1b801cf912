"""Clients of memcached that threads take turns with: few, and never two at once."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from dogpile.cache.backends.network import watch_forks
from dogpile.cache.clock import SYSTEM_CLOCK


class Busy(ConnectionError):
    """All clients are with other threads, and none came back in time."""


class ClientPool:
    """At most so many clients; each is with one thread at a time.

    The last one given back is the first one taken, so that no more stand
    open than are needed at once. A forked child starts with none.

    :param create: makes a client; no I/O is done by it.
    :param close: closes one.
    :param abandon: makes one harmless that belongs to the parent of a fork.
    :param size: how many there may be.
    :param patience: seconds to wait for one that others are using.
    """

    def __init__(
        self,
        create: Callable[[], Any],
        close: Callable[[Any], None],
        abandon: Callable[[Any], None],
        *,
        size: int,
        patience: float,
    ) -> None:
        self._create = create
        self._close = close
        self._abandon = abandon
        self._size = size
        self._patience = patience
        self._clients: set[Any] = set()
        self._idle: deque[Any] = deque()
        self._leaving: set[Any] = set()
        self._users: weakref.WeakSet[Any] = weakref.WeakSet()
        self._begin()
        watch_forks(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._waiting = 0
        self._pending = 0

    @property
    def memcached(self) -> Any:
        """A client for who looks at it: the one that would be taken next."""
        client = self.take()
        self.give(client)
        return client

    @property
    def open(self) -> int:
        """How many clients there are."""
        return len(self._clients)

    def join(self, user: object) -> None:
        """Note that somebody uses the pool."""
        self._users.add(user)

    def leave(self, user: object) -> None:
        """Note that somebody uses it no longer; the last one closes it."""
        self._users.discard(user)
        if not self._users:
            self.close()

    def take_idle(self) -> Any:
        """Return a client that was used before, or ``None``."""
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def take(self) -> Any:
        """Return a client that nobody else has.

        :raises Busy: none was given back in time.
        """
        try:
            return self._idle.pop()
        except IndexError:
            return self.take_new()

    def take_new(self) -> Any:
        """Return a new client, or one that is given back if there are enough.

        :raises Busy: none was given back in time.
        """
        client = self._take_or_reserve()
        if client is not None:
            return client
        try:
            client = self._create()
        finally:
            with self._changed:
                self._pending -= 1
                if client is not None:
                    self._clients.add(client)
                elif self._waiting:
                    self._changed.notify()
        return client

    def give(self, client: Any) -> None:
        """Give a client back that is fit for use."""
        if self._leaving and client in self._leaving:
            self.discard(client)
            return
        self._idle.append(client)
        if self._waiting:
            with self._changed:
                self._changed.notify()

    def discard(self, client: Any) -> None:
        """Give a client back that nobody is to use again."""
        with self._changed:
            self._clients.discard(client)
            self._leaving.discard(client)
            if self._waiting:
                self._changed.notify()
        self._close(client)

    def discard_idle(self) -> None:
        """Close the clients that are not in use."""
        while (client := self.take_idle()) is not None:
            self.discard(client)

    def close(self) -> None:
        """Close all clients, those in use as soon as they are given back."""
        self._leaving.update(self._clients)
        self.discard_idle()

    def start_afresh(self) -> None:
        """Leave the clients to the parent; called in the child of a fork."""
        clients, self._clients = self._clients, set()
        self._idle = deque()
        self._leaving = set()
        self._begin()
        for client in clients:
            self._abandon(client)

    def _take_or_reserve(self) -> Any:
        """Return a client that was given back, or ``None`` for a place of one."""
        until = SYSTEM_CLOCK.monotonic() + self._patience
        with self._changed:
            # From here on whoever gives one back says so.
            self._waiting += 1
            try:
                while (client := self.take_idle()) is None:
                    if len(self._clients) + self._pending < self._size:
                        self._pending += 1
                        return None
                    left = until - SYSTEM_CLOCK.monotonic()
                    if left <= 0:
                        raise Busy(
                            f"all {self._size} clients were with other threads for "
                            f"{self._patience:g} s (max_clients= allows for more)"
                        )
                    self._changed.wait(left)
            finally:
                self._waiting -= 1
        return client


class SharedClient:
    """A client for everybody: each call is made by one out of a pool.

    This is what a backend shows as its ``client``: it may be used by many
    threads at once, as none of the clients may.
    """

    def __init__(self, pool: ClientPool) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        client = self._pool.take()
        try:
            found = getattr(client, name)
        finally:
            self._pool.give(client)
        return _Call(self._pool, name) if callable(found) else found

    def __repr__(self) -> str:
        return f"<SharedClient, {self._pool.open} open>"


class _Call:
    """A method of whichever client is free."""

    __slots__ = ("_name", "_pool")

    def __init__(self, pool: ClientPool, name: str) -> None:
        self._pool = pool
        self._name = name

    def __call__(self, *args: Any, **options: Any) -> Any:
        client = self._pool.take()
        try:
            answer = getattr(client, self._name)(*args, **options)
        except BaseException:
            # An answer may still be on its way: nobody may take it for his.
            self._pool.discard(client)
            raise
        self._pool.give(client)
        return answer


_shared: weakref.WeakValueDictionary[Any, ClientPool] = weakref.WeakValueDictionary()


def shared_pool(key: object, build: Callable[[], ClientPool]) -> ClientPool:
    """Return the pool of all who have the same settings.

    :param key: what has to be the same; unhashable for a pool of one's own.
    """
    try:
        hash(key)
    except TypeError:
        return build()
    # Of two that are built at once one goes unused.
    return _shared.get(key) or _shared.setdefault(key, build())
