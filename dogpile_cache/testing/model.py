"""A backend compared with a dictionary, by whatever happens to both."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from dogpile.cache.api import (
    NO_VALUE,
    BackendSetType,
    BytesBackend,
    CacheBackend,
    CachedValue,
    Lease,
    value_version,
)
from dogpile.cache.testing.clock import FakeClock

_KEYS = ("a", "b", "c")
# No sum of these is the time of a lease: what happens at the very moment when
# it ends is nobody's business.
_STEPS = (0.25, 4.5, 20.0)
_SECONDS = 10.1


@dataclass
class _Held:
    token: str
    end: float
    failure: bytes | None = None


class BackendModel(RuleBasedStateMachine):
    """Subclass it, and give ``make_backend``; pytest runs its ``TestCase``.

    ::

        class MyModel(BackendModel):
            def make_backend(self) -> MyBackend:
                return MyBackend({})

        TestMyModel = MyModel.TestCase

    The rules put, delete, lease, commit, release and let time pass, by
    :attr:`clock`; after each the backend must hold what a dictionary holds.
    """

    leases: Bundle[Any] = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.clock: FakeClock = FakeClock()
        self.backend: Any = None  # with leases or without
        self._values: dict[str, BackendSetType] = {}
        self._held: dict[str, _Held] = {}

    def make_backend(self) -> CacheBackend:
        """Return a backend that holds nothing."""
        raise NotImplementedError(f"{type(self).__name__}.make_backend")

    @initialize()
    def begin(self) -> None:
        """Make the backend."""
        self.backend = self.make_backend()
        self.backend.clock = self.clock

    def teardown(self) -> None:
        """Close the backend."""
        if self.backend is not None:
            self.backend.close()

    @rule(key=st.sampled_from(_KEYS), payload=st.integers(0, 9))
    def put(self, key: str, payload: int) -> None:
        """Put a value."""
        value = self._value(payload)
        self.backend.put(key, value)
        self._values[key] = value
        self._held.pop(key, None)

    @rule(payloads=st.dictionaries(st.sampled_from(_KEYS), st.integers(0, 9)))
    def put_many(self, payloads: dict[str, int]) -> None:
        """Put values in one step."""
        values = {key: self._value(payload) for key, payload in payloads.items()}
        self.backend.set_multi(values)
        self._values.update(values)
        for key in values:
            self._held.pop(key, None)

    @rule(key=st.sampled_from(_KEYS))
    def delete(self, key: str) -> None:
        """Delete a value, or nothing."""
        self.backend.delete(key)
        self._values.pop(key, None)
        self._held.pop(key, None)

    @rule(keys=st.lists(st.sampled_from(_KEYS)))
    def delete_many(self, keys: list[str]) -> None:
        """Delete values in one step."""
        self.backend.delete_multi(keys)
        for key in keys:
            self._values.pop(key, None)
            self._held.pop(key, None)

    @rule(seconds=st.sampled_from(_STEPS))
    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    @precondition(lambda self: self._has_leases())
    @rule(target=leases, key=st.sampled_from(_KEYS), steal=st.booleans())
    def lease(self, key: str, steal: bool) -> Any:  # a lease for the bundle, or none
        """Ask for a lease, as who comes new."""
        lease = self.backend.lease(key, _SECONDS, steal=steal)
        return self._judge(lease, is_free=steal or self._is_free(key))

    @precondition(lambda self: self._has_leases())
    @rule(target=leases, waited_for=leases)
    def lease_again(self, waited_for: Lease) -> Any:  # as above
        """Ask for a lease, as who waited for another."""
        key = waited_for.key
        lease = self.backend.lease(key, _SECONDS, after=waited_for.token)
        held = self._held.get(key)
        why = held.failure if held and held.token == waited_for.token else None
        # A failure is told as long as the lease would have held, or longer.
        assert lease.failure == why or not (lease.failure or self._alive(key))
        return self._judge(lease, is_free=self._is_free(key) and not lease.failure)

    @rule(lease=leases)
    def renew(self, lease: Lease) -> None:
        """Renew a lease that may long be lost."""
        held = self._held_by(lease)
        assert self.backend.renew(lease, _SECONDS) == (held is not None)
        if held is not None:
            held.end = self.clock.monotonic() + _SECONDS

    @rule(lease=consumes(leases), payload=st.integers(0, 9))
    def commit(self, lease: Lease, payload: int) -> None:
        """Commit a value under a lease that may long be lost."""
        value = self._value(payload)
        is_held = self._held_by(lease) is not None
        assert self.backend.commit(lease, value) == is_held
        if is_held:
            self._values[lease.key] = value
            del self._held[lease.key]

    @rule(lease=leases, failure=st.none() | st.binary(min_size=1, max_size=3))
    def release(self, lease: Lease, failure: bytes | None) -> None:
        """Give a lease back that may long be lost."""
        held = self._held_by(lease)
        self.backend.release(lease, failure)
        if held is None:
            return
        if failure is None:
            del self._held[lease.key]
        else:
            held.failure = failure

    @invariant()
    def holds_what_a_dictionary_holds(self) -> None:
        """Compare."""
        if self.backend is None:
            return
        expected = [self._values.get(key, NO_VALUE) for key in _KEYS]
        assert [self.backend.get(key) for key in _KEYS] == expected
        assert list(self.backend.get_multi(_KEYS)) == expected
        if self._has_leases():
            leased = [not self._is_free(key) for key in _KEYS]
            assert [self.backend.is_leased(key) for key in _KEYS] == leased

    def _has_leases(self) -> bool:
        return self.backend is not None and bool(self.backend.capabilities.leases)

    def _value(self, payload: int) -> BackendSetType:
        cached = CachedValue(payload, {"ct": self.clock.time(), "v": value_version})
        has_serializer = self.backend.serializer is not None
        if has_serializer or isinstance(self.backend, BytesBackend):
            return pickle.dumps(tuple(cached))
        return cached

    def _judge(self, lease: Lease, *, is_free: bool) -> Any:  # as above
        assert lease.granted == is_free
        assert lease.found == self._values.get(lease.key, NO_VALUE)
        if not lease.granted:
            assert lease.token == self._held[lease.key].token
            return multiple()
        self._held[lease.key] = _Held(lease.token, self.clock.monotonic() + _SECONDS)
        return lease

    def _alive(self, key: str) -> _Held | None:
        held = self._held.get(key)
        if held is None or self.clock.monotonic() >= held.end:
            return None
        return held

    def _held_by(self, lease: Lease) -> _Held | None:
        held = self._alive(lease.key)
        if held is None or held.failure is not None or held.token != lease.token:
            return None
        return held

    def _is_free(self, key: str) -> bool:
        held = self._alive(key)
        return held is None or held.failure is not None
