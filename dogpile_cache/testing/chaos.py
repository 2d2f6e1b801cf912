"""A backend that is late, fails and loses what it is given, as planned."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from dogpile.cache.api import (
    BackendFormatted,
    BackendSetType,
    Capabilities,
    KeyType,
    Lease,
    SerializedReturnType,
)
from dogpile.cache.exception import BackendUnavailable, ValidationError
from dogpile.cache.proxy import ProxyBackend

_T = TypeVar("_T")
_STORING = frozenset({"put", "set_multi", "commit", "commit_multi"})


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to one operation.

    :param operation: its name, ``put`` for ``set`` too.
    :param key: its key, a tuple for the multi forms.
    :param delay: seconds that it takes.
    :param is_refused: it raises, and is not done.
    :param is_lost: it is acknowledged, and is not done.
    :param is_unanswered: it is done, and raises.
    """

    operation: str
    key: KeyType
    delay: float = 0.0
    is_refused: bool = False
    is_lost: bool = False
    is_unanswered: bool = False


class ChaosBackend(ProxyBackend):
    """Wraps a backend, and does it harm by a plan that the seed fixes.

    The fate of an operation depends on the seed, its name, its key and how
    often it was done to that key, so that threads do not change the plan::

        region.configure(..., wrap=[ChaosBackend(seed=7, errors=0.1)])

    :param seed: another one, another plan.
    :param delays: the share of the operations that are late.
    :param delay: by at most so many seconds, on :attr:`clock`.
    :param errors: the share that raise, half of them after they were done.
    :param lost_writes: the share of the puts and commits that are
        acknowledged, and never made.
    :param operations: the names of those that the plan is for; ``None``: all.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        delays: float = 0.0,
        delay: float = 0.1,
        errors: float = 0.0,
        lost_writes: float = 0.0,
        operations: Collection[str] | None = None,
    ) -> None:
        super().__init__()
        for name, share in (
            ("delays", delays),
            ("errors", errors),
            ("lost_writes", lost_writes),
        ):
            if not 0 <= share <= 1:
                raise ValidationError(f"{name} is a share, from 0 to 1, not {share}")
        self.seed = seed
        self.delays = delays
        self.delay = delay
        self.errors = errors
        self.lost_writes = lost_writes
        self.operations = operations
        #: While it is true, everything raises.
        self.is_down = False
        #: What happened so far, in its order.
        self.fates: list[Fate] = []
        self._turns: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]  # read only
        """Those of the proxied backend; one that is late blocks."""
        inner = super().capabilities
        return replace(inner, inline=inner.inline and not self.delays)

    def get(self, key: KeyType) -> BackendFormatted:
        """Read a value."""
        return self._meet("get", key, lambda: self.proxied.get(key))

    def get_serialized(self, key: KeyType) -> SerializedReturnType:
        """Read bytes."""
        return self._meet("get", key, lambda: self.proxied.get_serialized(key))

    def get_multi(self, keys: Sequence[KeyType]) -> Sequence[BackendFormatted]:
        """Read values."""
        return self._meet(
            "get_multi", tuple(keys), lambda: self.proxied.get_multi(keys)
        )

    def get_serialized_multi(
        self, keys: Sequence[KeyType]
    ) -> Sequence[SerializedReturnType]:
        """Read the bytes of many keys."""
        return self._meet(
            "get_multi", tuple(keys), lambda: self.proxied.get_serialized_multi(keys)
        )

    def set(self, key: KeyType, value: BackendSetType) -> None:
        """Store a value."""
        self._meet("put", key, lambda: self.proxied.set(key, value))

    def put(self, key: KeyType, value: BackendSetType) -> None:
        """Store a value."""
        self._meet("put", key, lambda: self.proxied.put(key, value))

    def set_serialized(self, key: KeyType, value: bytes) -> None:
        """Store bytes."""
        self._meet("put", key, lambda: self.proxied.set_serialized(key, value))

    def set_multi(self, mapping: Mapping[KeyType, BackendSetType]) -> None:
        """Store values."""
        self._meet("set_multi", tuple(mapping), lambda: self.proxied.set_multi(mapping))

    def set_serialized_multi(self, mapping: Mapping[KeyType, bytes]) -> None:
        """Store the bytes of many keys."""
        self._meet(
            "set_multi",
            tuple(mapping),
            lambda: self.proxied.set_serialized_multi(mapping),
        )

    def delete(self, key: KeyType) -> None:
        """Delete a value."""
        self._meet("delete", key, lambda: self.proxied.delete(key))

    def delete_multi(self, keys: Sequence[KeyType]) -> None:
        """Delete values."""
        self._meet("delete_multi", tuple(keys), lambda: self.proxied.delete_multi(keys))

    def lease(self, key: KeyType, seconds: float, **how: Any) -> Lease:
        """Ask for a lease."""
        lease: Lease = self._meet(
            "lease", key, lambda: self.proxied.lease(key, seconds, **how)
        )
        return lease

    def lease_multi(self, keys: Sequence[KeyType], seconds: float) -> list[Lease]:
        """Ask for leases."""
        return self._meet(
            "lease_multi",
            tuple(keys),
            lambda: list(self.proxied.lease_multi(keys, seconds)),
        )

    def renew(self, lease: Lease, seconds: float) -> bool:
        """Renew a lease."""
        return self._meet(
            "renew", lease.key, lambda: bool(self.proxied.renew(lease, seconds))
        )

    def commit(
        self, lease: Lease, value: BackendSetType, *, ttl: float | None = None
    ) -> bool:
        """Store a created value."""
        return self._meet(
            "commit",
            lease.key,
            lambda: bool(self.proxied.commit(lease, value, ttl=ttl)),
            if_lost=True,
        )

    def commit_multi(
        self,
        values: Sequence[tuple[Lease, BackendSetType]],
        *,
        ttl: float | None = None,
    ) -> list[bool]:
        """Store created values."""
        return self._meet(
            "commit_multi",
            tuple(lease.key for lease, _ in values),
            lambda: list(self.proxied.commit_multi(values, ttl=ttl)),
            if_lost=[True] * len(values),
        )

    def release(self, lease: Lease, failure: bytes | None = None) -> None:
        """End a lease."""
        self._meet("release", lease.key, lambda: self.proxied.release(lease, failure))

    def release_multi(
        self, leases: Sequence[Lease], failure: bytes | None = None
    ) -> None:
        """End leases."""
        self._meet(
            "release_multi",
            tuple(lease.key for lease in leases),
            lambda: self.proxied.release_multi(leases, failure),
        )

    def is_leased(self, key: KeyType) -> bool:
        """Ask whether somebody holds the lease."""
        return self._meet("is_leased", key, lambda: bool(self.proxied.is_leased(key)))

    def _meet(
        self,
        operation: str,
        key: KeyType,
        act: Callable[[], _T],
        *,
        if_lost: Any = None,  # what a caller is told who believes that it was done
    ) -> _T:
        fate = self._next_fate(operation, key)
        if fate.delay:
            self.clock.sleep(fate.delay)
        if fate.is_refused or self.is_down:
            raise self._error(operation, "refused")
        if fate.is_lost:
            lost: _T = if_lost
            return lost
        answer = act()
        if fate.is_unanswered:
            raise self._error(operation, "done, and not answered")
        return answer

    def _next_fate(self, operation: str, key: KeyType) -> Fate:
        with self._lock:
            turn = self._turns[operation, repr(key)]
            self._turns[operation, repr(key)] += 1
            fate = self._fate(operation, key, turn)
            self.fates.append(fate)
        return fate

    def _fate(self, operation: str, key: KeyType, turn: int) -> Fate:
        if self.operations is not None and operation not in self.operations:
            return Fate(operation, key)
        # Nothing is kept secret by it, and it must be the same again.
        dice = random.Random(f"{self.seed} {operation} {key!r} {turn}")  # noqa: S311
        # Each is rolled, so that one share does not change what others meet.
        is_late = dice.random() < self.delays
        delay = dice.random() * self.delay
        fails = dice.random() < self.errors
        is_done = dice.random() < 0.5
        is_lost = dice.random() < self.lost_writes and operation in _STORING
        return Fate(
            operation,
            key,
            delay=delay if is_late else 0.0,
            is_refused=fails and not is_done,
            is_lost=is_lost and not fails,
            is_unanswered=fails and is_done,
        )

    def _error(self, operation: str, reason: str) -> BackendUnavailable:
        return BackendUnavailable("chaos", operation, f"{reason}, as planned")
