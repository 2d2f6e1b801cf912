"""What a region and its namespaces share: operations, flights, marks."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from dogpile.cache.api import CacheBackend, CachedValue, KeyType
from dogpile.cache.clock import Clock
from dogpile.cache.flight import FlightTable
from dogpile.cache.lease import Fence
from dogpile.cache.resilience import Guard

_READING = frozenset({"get", "get_multi", "peek", "peek_multi"})
_LEASING = (
    "lease",
    "lease_multi",
    "renew",
    "commit",
    "commit_multi",
    "release",
    "release_multi",
    "is_leased",
)


class Shared:
    """What a region and its namespaces have in common.

    :param backend: the outermost proxy, or the backend itself.
    :param is_coded: the backend is given bytes.
    """

    def __init__(self, backend: CacheBackend, *, is_coded: bool) -> None:
        self._backend = backend
        self._is_native: bool = backend.capabilities.native_async
        self.flights: FlightTable = FlightTable()
        #: The operations of the backend by name, leases included.
        self.ops: dict[str, Callable[..., Any]] = _operations(backend, is_coded)
        self.guard: Guard | None = None
        self._async_ops: dict[str, Callable[..., Any]] = {}
        self.pending: Pending = Pending()
        #: Called when what was judged before has to be judged anew; by region.
        self.watchers: weakref.WeakKeyDictionary[Any, Callable[[], None]] = (
            weakref.WeakKeyDictionary()
        )
        #: What was read last, by stored key, where that may be served.
        self.last: dict[KeyType, CachedValue] = {}
        #: What the records held, and until when that is known well enough.
        self.marks: dict[str, tuple[str, float]] = {}
        #: Another one whenever one of the marks has changed.
        self.version: object = object()
        #: Another one whenever this process has written a record.
        self.written: object = object()
        #: Held while a mark is kept.
        self.lock: threading.Lock = threading.Lock()
        _shared.add(self)

    def forget(self) -> None:
        """Be free in the child of a fork: a lost thread may hold the lock."""
        self.lock = threading.Lock()

    def protect(
        self, name: str, clock: Clock, overflow: Callable[[], tuple[str, Any]]
    ) -> None:
        """Put a circuit breaker around the operations.

        :param name: the backend's, for the errors.
        :param overflow: see :class:`~dogpile.cache.resilience.Journal`.
        """
        guard = Guard(name, clock, overflow)
        plain = dict(self.ops)
        for each in plain:
            self.ops[each] = guard.wrap(each, plain)
        for each in _READING & plain.keys():
            self.ops[each] = guard.wrap_read(each, plain)
        self.guard = guard

    def async_op(self, name: str) -> Callable[..., Any] | None:
        """Return an operation's native coroutine function, if there is one."""
        guard = self.guard
        # A dead server keeps nobody from closing what leads to it.
        if guard is None or not self._is_native or name == "close":
            return self._native(name)
        known = self._async_ops.get(name)
        if known is None and self._native(name) is not None:
            known = guard.wrap_async(name, self._native)  # type: ignore[arg-type]
            self._async_ops[name] = known
        return known

    def _native(self, name: str) -> Callable[..., Any] | None:
        if not self._is_native:
            return None
        suffixed = name + "_serialized" if name in ("get", "set") else name
        if name in ("get_multi", "set_multi"):
            suffixed = name.replace("_multi", "_serialized_multi")
        elif name == "get_records":
            suffixed = "get_serialized_multi"
        elif name == "set_record":
            suffixed = "set_serialized"
        elif name.endswith("_record"):
            suffixed = name.removesuffix("_record")
        found: Callable[..., Any] | None = getattr(self._backend, f"a{suffixed}", None)
        return found


class Pending:
    """The refreshes that are under way in the background."""

    def __init__(self) -> None:
        self.forget()
        _pendings.add(self)

    def forget(self) -> None:
        """Start anew in the child of a fork: the refreshes are its parent's."""
        self._count = 0
        self._changed = threading.Condition()

    def begin(self) -> None:
        """Note that one began."""
        with self._changed:
            self._count += 1

    def end(self) -> None:
        """Note that one ended."""
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until all have ended.

        :param seconds: to wait at most.
        :return: whether all have.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._count == 0, seconds)


_pendings: weakref.WeakSet[Pending] = weakref.WeakSet()
_shared: weakref.WeakSet[Shared] = weakref.WeakSet()


def _after_fork() -> None:
    for pending in list(_pendings):
        pending.forget()
    for shared in list(_shared):
        shared.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _operations(backend: CacheBackend, is_coded: bool) -> dict[str, Callable[..., Any]]:
    """Return the operations of a backend by name, leases included."""
    suffix = "_serialized" if is_coded else ""
    inner: Any = backend
    while hasattr(inner, "proxied"):
        inner = inner.proxied
    ops: dict[str, Callable[..., Any]] = {
        "get": getattr(backend, f"get{suffix}"),
        "get_multi": getattr(backend, f"get{suffix}_multi"),
        "get_records": getattr(inner, f"get{suffix}_multi"),
        "set_record": getattr(inner, f"set{suffix}"),
        "set": getattr(backend, f"set{suffix}"),
        "set_multi": getattr(backend, f"set{suffix}_multi"),
        "delete": backend.delete,
        "delete_multi": backend.delete_multi,
    }
    if is_coded and _is_peeked(backend):
        ops["peek"] = inner.peek
        ops["peek_multi"] = inner.peek_multi
    leasing: Any = backend
    names: tuple[str, ...] = _LEASING
    if not backend.capabilities.leases:
        leasing, inner = Fence(backend, suffix), Fence(inner, suffix)
        ops["set_record"] = inner.set
        names += ("set", "set_multi", "delete", "delete_multi")
    if hasattr(backend, "wait_for"):
        names += ("wait_for",)
    for name in names:
        ops[name] = getattr(leasing, name)
    for name in ("lease", "commit", "release"):
        ops[f"{name}_record"] = getattr(inner, name)
    return ops


def _is_peeked(backend: CacheBackend) -> bool:
    """Return whether a backend has what is shorter than reading, and true to it.

    A subclass that reads in a way of its own has not, and no proxy.
    """

    def owner(name: str) -> type | None:
        return next(
            (each for each in type(backend).__mro__ if name in vars(each)), None
        )

    own = owner("peek")
    return own is not None and own is owner("get_serialized") is owner(
        "get_serialized_multi"
    )
