"""Clients of memcached that threads take turns with: few, and never two at once."""

from __future__ import annotations

import functools
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

    :param close: closes a client.
    :param abandon: makes one harmless that belongs to the parent of a fork.
    :param size: how many there may be.
    :param patience: seconds to wait for one that others are using.
    """

    def __init__(
        self,
        close: Callable[[Any], None],
        abandon: Callable[[Any], None],
        *,
        size: int,
        patience: float,
    ) -> None:
        self._close = close
        self._abandon = abandon
        self._size = size
        self._patience = patience
        #: The clients that nobody has; the last one goes first.
        self.idle: deque[Any] = deque()
        #: Those in use that are to be closed when they are given back.
        self.leaving: set[Any] = set()
        #: How many threads wait for a client.
        self.waiting: int = 0
        self._clients: set[Any] = set()
        self._users: weakref.WeakSet[Any] = weakref.WeakSet()
        self._begin()
        watch_forks(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._pending = 0

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
            return self.idle.pop()
        except IndexError:
            return None

    def take_new(self, create: Callable[[], Any]) -> Any:
        """Return a new client, or one that is given back if there are enough.

        :param create: makes a client.
        :raises Busy: none was given back in time.
        """
        client = self._take_or_reserve()
        if client is not None:
            return client
        try:
            client = create()
        finally:
            with self._changed:
                self._pending -= 1
                if client is not None:
                    self._clients.add(client)
                elif self.waiting:
                    self._changed.notify()
        return client

    def give(self, client: Any) -> None:
        """Give a client back that is fit for use."""
        if self.leaving and client in self.leaving:
            self.discard(client)
            return
        self.idle.append(client)
        # Asked after the client was put there, so that nobody is forgotten.
        if self.waiting:
            self.wake()

    def wake(self) -> None:
        """Tell somebody who waits that there is a client."""
        with self._changed:
            self._changed.notify()

    def discard(self, client: Any) -> None:
        """Give a client back that nobody is to use again."""
        with self._changed:
            self._clients.discard(client)
            self.leaving.discard(client)
            if self.waiting:
                self._changed.notify()
        self._close(client)

    def discard_idle(self) -> None:
        """Close the clients that are not in use."""
        while (client := self.take_idle()) is not None:
            self.discard(client)

    def close(self) -> None:
        """Close all clients, those in use as soon as they are given back."""
        self.leaving.update(self._clients)
        self.discard_idle()

    def start_afresh(self) -> None:
        """Leave the clients to the parent; called in the child of a fork."""
        clients, self._clients = self._clients, set()
        self.idle.clear()
        self.leaving.clear()
        self.waiting = 0
        self._begin()
        for client in clients:
            self._abandon(client)

    def _take_or_reserve(self) -> Any:
        """Return a client that was given back, or ``None`` for a place of one."""
        until = SYSTEM_CLOCK.monotonic() + self._patience
        with self._changed:
            # From here on whoever gives one back says so.
            self.waiting += 1
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
                self.waiting -= 1
        return client


class SharedClient:
    """A client for everybody: each call is made by one out of a pool.

    This is what a backend shows as its ``client``: it may be used by many
    threads at once, as none of the clients may.

    :param create: makes a client.
    """

    def __init__(self, pool: ClientPool, create: Callable[[], Any]) -> None:
        self._pool = pool
        self._create = create

    @property
    def memcached(self) -> Any:
        """A client for who looks at it: the one that would be taken next."""
        client = self._take()
        self._pool.give(client)
        return client

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        found = getattr(self.memcached, name)
        return functools.partial(self._call, name) if callable(found) else found

    def __repr__(self) -> str:
        return f"<SharedClient, {self._pool.open} open>"

    def _take(self) -> Any:
        client = self._pool.take_idle()
        return self._pool.take_new(self._create) if client is None else client

    def _call(self, name: str, *args: Any, **options: Any) -> Any:
        client = self._take()
        try:
            answer = getattr(client, name)(*args, **options)
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
