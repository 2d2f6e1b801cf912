"""Leases for backends that have none, and their renewal for those that have."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from dogpile.cache import NO_VALUE, CacheBackend, CachedValue
from dogpile.cache.api import BytesBackend, CacheMutex, Lease, LeasingBackend
from dogpile.cache.backends.memory import MemoryBackend
from dogpile.cache.clock import SYSTEM_CLOCK
from dogpile.cache.lease import Fence, Renewer, pauses
from dogpile.cache.testing import FakeClock

PATIENCE = 10.0


def value(payload: Any) -> CachedValue:
    return CachedValue(payload, {"ct": 1000.0, "v": 3})


OLD, NEW, PUT = value("old"), value("new"), value("put")


@pytest.fixture
def backend() -> CacheBackend:
    return MemoryBackend({"cache_dict": {}})


@pytest.fixture
def fence(backend: CacheBackend) -> Fence:
    return Fence(backend, "")


class TestFence:
    def test_a_lease_is_granted_and_shows_what_is_stored(
        self, fence: Fence, backend: CacheBackend
    ) -> None:
        empty = fence.lease("one", 10)
        backend.set("two", OLD)
        full = fence.lease("two", 10)

        assert (empty.granted, empty.found) == (True, NO_VALUE)
        assert (full.granted, full.found) == (True, OLD)
        assert empty.token != full.token

    def test_a_commit_stores_and_ends_it(
        self, fence: Fence, backend: CacheBackend
    ) -> None:
        lease = fence.lease("key", 10)

        answers = [fence.commit(lease, NEW), fence.commit(lease, OLD)]

        assert answers == [True, False]
        assert backend.get("key") == NEW
        assert not fence.is_leased("key")

    def test_a_key_is_leased_until_the_end(self, fence: Fence) -> None:
        before = fence.is_leased("key")
        lease = fence.lease("key", 10)
        during = fence.is_leased("key")
        fence.release(lease)

        assert (before, during, fence.is_leased("key")) == (False, True, False)

    def test_a_released_lease_commits_nothing(
        self, fence: Fence, backend: CacheBackend
    ) -> None:
        lease = fence.lease("key", 10)

        fence.release(lease)

        assert not fence.renew(lease, 10)
        assert not fence.commit(lease, NEW)
        assert backend.get("key") is NO_VALUE

    def test_a_lease_holds_until_it_is_voided(self, fence: Fence) -> None:
        lease = fence.lease("key", 10)

        before = fence.renew(lease, 10)
        fence.set("key", PUT)

        assert before
        assert not fence.renew(lease, 10)

    @pytest.mark.parametrize("write", ["set", "set_multi"])
    def test_what_was_put_before_the_commit_stays(
        self, fence: Fence, backend: CacheBackend, write: str
    ) -> None:
        lease = fence.lease("key", 10)

        if write == "set":
            fence.set("key", PUT)
        else:
            fence.set_multi({"key": PUT, "other": PUT})

        assert not fence.commit(lease, NEW)
        assert backend.get("key") == PUT

    @pytest.mark.parametrize("remove", ["delete", "delete_multi"])
    def test_what_was_deleted_before_the_commit_stays_away(
        self, fence: Fence, backend: CacheBackend, remove: str
    ) -> None:
        backend.set("key", OLD)
        lease = fence.lease("key", 10)

        if remove == "delete":
            fence.delete("key")
        else:
            fence.delete_multi(["other", "key"])

        assert not fence.commit(lease, NEW)
        assert backend.get("key") is NO_VALUE

    def test_the_later_of_two_leases_counts(
        self, fence: Fence, backend: CacheBackend
    ) -> None:
        late = fence.lease("key", 10)
        own = fence.lease("key", 10, steal=True)

        answers = [fence.commit(late, OLD), fence.commit(own, NEW)]

        assert answers == [False, True]
        assert backend.get("key") == NEW

    def test_releasing_an_older_lease_leaves_the_later_one(
        self, fence: Fence, backend: CacheBackend
    ) -> None:
        late = fence.lease("key", 10)
        own = fence.lease("key", 10, steal=True)

        fence.release(late)

        assert fence.is_leased("key")
        assert fence.commit(own, NEW)

    def test_writes_to_other_keys_do_not_matter(self, fence: Fence) -> None:
        lease = fence.lease("key", 10)

        fence.set("other", PUT)
        fence.delete("another")

        assert fence.commit(lease, NEW)

    def test_a_delete_is_idempotent(self, fence: Fence) -> None:
        fence.delete("never")
        fence.delete_multi(["never", "ever"])

        assert not fence.is_leased("never")

    def test_many_are_committed_but_those_that_were_written_to(
        self, fence: Fence, backend: CacheBackend
    ) -> None:
        leases = fence.lease_multi(["a", "b", "c", "d"], 10)

        fence.set("b", PUT)
        fence.delete("c")
        answers = fence.commit_multi([(lease, NEW) for lease in leases])

        assert answers == [True, False, False, True]
        assert backend.get_multi(["a", "b", "c", "d"]) == [NEW, PUT, NO_VALUE, NEW]
        assert not any(fence.is_leased(key) for key in "abcd")

    def test_many_are_released(self, fence: Fence) -> None:
        leases = fence.lease_multi(["a", "b"], 10)

        fence.release_multi(leases)

        assert fence.commit_multi([(lease, NEW) for lease in leases]) == [False, False]

    def test_a_child_of_a_fork_holds_nothing(self, fence: Fence) -> None:
        lease = fence.lease("key", 10)

        fence.forget()

        assert not fence.is_leased("key")
        assert not fence.commit(lease, NEW)

    def test_a_backend_of_bytes_is_given_bytes(self) -> None:
        stored: dict[Any, bytes] = {}

        class Own(BytesBackend):
            def get_serialized(self, key: Any) -> Any:
                return stored.get(key, NO_VALUE)

            def set_serialized(self, key: Any, value: bytes) -> None:
                stored[key] = value

            def delete(self, key: Any) -> None:
                del stored[key]

        fence = Fence(Own({}), "_serialized")
        lease = fence.lease("key", 10)

        assert fence.commit(lease, b"bytes")
        assert stored == {"key": b"bytes"}


class Pausing(CacheBackend):
    """Stops within a write, until the test goes on."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.cache: dict[Any, Any] = {}
        self.pauses_at: Any = None
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def get(self, key: Any) -> Any:
        return self.cache.get(key, NO_VALUE)

    def set(self, key: Any, value: Any) -> None:
        if value == self.pauses_at:
            self.reached.set()
            assert self.go_on.wait(PATIENCE)
        self.cache[key] = value

    def delete(self, key: Any) -> None:
        self.cache.pop(key, None)


def write_often(fence: Fence, keys: list[str]) -> None:
    for _ in range(50):
        fence.set_multi(dict.fromkeys(keys, PUT))


class TestInterleaving:
    """Writes and commits of one key exclude each other."""

    @pytest.fixture
    def backend(self) -> Pausing:
        return Pausing({})

    @pytest.mark.parametrize("write", ["set", "set_multi"])
    def test_a_put_that_began_first_ends_last(
        self, fence: Fence, backend: Pausing, write: str
    ) -> None:
        lease = fence.lease("key", 10)
        backend.pauses_at = PUT
        given = ("key", PUT) if write == "set" else ({"key": PUT},)
        putting = threading.Thread(target=getattr(fence, write), args=given)
        committed: list[bool] = []
        committing = threading.Thread(
            target=lambda: committed.append(fence.commit(lease, NEW))
        )

        putting.start()
        assert backend.reached.wait(PATIENCE)
        committing.start()
        backend.go_on.set()
        putting.join(PATIENCE)
        committing.join(PATIENCE)

        assert committed == [False]
        assert backend.get("key") == PUT

    @pytest.mark.parametrize("many", [False, True])
    def test_a_commit_that_began_first_is_overwritten(
        self, fence: Fence, backend: Pausing, many: bool
    ) -> None:
        lease = fence.lease("key", 10)
        backend.pauses_at = NEW
        committed: list[Any] = []

        def commit() -> None:
            if many:
                committed.extend(fence.commit_multi([(lease, NEW)]))
            else:
                committed.append(fence.commit(lease, NEW))

        committing = threading.Thread(target=commit)
        putting = threading.Thread(target=fence.set, args=("key", PUT))

        committing.start()
        assert backend.reached.wait(PATIENCE)
        putting.start()
        backend.go_on.set()
        committing.join(PATIENCE)
        putting.join(PATIENCE)

        assert committed == [True]
        assert backend.get("key") == PUT

    def test_a_lease_taken_during_a_put_commits_nothing(
        self, fence: Fence, backend: Pausing
    ) -> None:
        # It may have been created from what was there before the put.
        backend.pauses_at = PUT
        putting = threading.Thread(target=fence.set, args=("key", PUT))

        putting.start()
        assert backend.reached.wait(PATIENCE)
        lease = fence.lease("key", 10)
        backend.go_on.set()
        putting.join(PATIENCE)

        assert not fence.commit(lease, NEW)
        assert backend.get("key") == PUT

    def test_many_writers_of_many_keys_do_not_wait_in_a_circle(
        self, fence: Fence
    ) -> None:
        keys = [f"{number}" for number in range(100)]
        orders = [keys, keys[::-1], keys[::2] + keys[1::2]]
        threads = [
            threading.Thread(target=write_often, args=(fence, order), daemon=True)
            for order in orders
        ]

        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)

        assert not any(thread.is_alive() for thread in threads)

    def test_a_failed_write_ends_the_lease_and_frees_the_key(
        self, backend: Pausing, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(key: Any, value: Any) -> None:
            raise OSError

        monkeypatch.setattr(backend, "set", fail)
        fence = Fence(backend, "")
        lease = fence.lease("key", 10)

        with pytest.raises(OSError):  # noqa: PT011 - the backend's own
            fence.commit(lease, NEW)
        fence.delete("key")

        assert not fence.is_leased("key")


class Mutex:
    """A 1.x mutex, as a backend hands it out."""

    def __init__(self) -> None:
        self.holders = 0

    def acquire(self, wait: bool = True) -> bool:
        if self.holders:
            return False
        self.holders += 1
        return True

    def release(self) -> None:
        self.holders -= 1

    def locked(self) -> bool:
        return bool(self.holders)


class WithMutex(MemoryBackend):
    def __init__(self) -> None:
        super().__init__({"cache_dict": {}})
        self.mutex = Mutex()

    def get_mutex(self, key: Any) -> CacheMutex:
        mutex: Any = self.mutex
        assert isinstance(mutex, CacheMutex)
        return mutex


class TestMutex:
    """A mutex of the backend's own keeps other processes out."""

    @pytest.fixture
    def backend(self) -> WithMutex:
        return WithMutex()

    def test_its_holder_is_granted_the_lease(
        self, fence: Fence, backend: WithMutex
    ) -> None:
        lease = fence.lease("key", 10)

        assert lease.granted
        assert backend.mutex.locked()

    @pytest.mark.parametrize("many", [False, True])
    def test_a_commit_gives_it_back(
        self, fence: Fence, backend: WithMutex, many: bool
    ) -> None:
        lease = fence.lease("key", 10)

        if many:
            fence.commit_multi([(lease, NEW)])
        else:
            fence.commit(lease, NEW)

        assert backend.mutex.holders == 0
        assert backend.get("key") == NEW

    def test_a_release_gives_it_back_once(
        self, fence: Fence, backend: WithMutex
    ) -> None:
        lease = fence.lease("key", 10)

        fence.release(lease)
        fence.release(lease)

        assert backend.mutex.holders == 0

    def test_a_refused_commit_gives_it_back(
        self, fence: Fence, backend: WithMutex
    ) -> None:
        lease = fence.lease("key", 10)

        fence.set("key", PUT)
        is_stored = fence.commit(lease, NEW)

        assert not is_stored
        assert backend.mutex.holders == 0

    def test_who_finds_it_held_is_refused(
        self, fence: Fence, backend: WithMutex
    ) -> None:
        backend.set("key", OLD)
        backend.mutex.acquire()

        refused = fence.lease("key", 10)

        assert not refused.granted
        assert refused.found == OLD
        assert fence.is_leased("key")
        assert backend.mutex.holders == 1

    def test_who_steals_creates_without_it(
        self, fence: Fence, backend: WithMutex
    ) -> None:
        backend.mutex.acquire()

        stolen = fence.lease("key", 10, steal=True)
        is_stored = fence.commit(stolen, NEW)

        assert stolen.granted
        assert is_stored
        # It is for its holder to give back.
        assert backend.mutex.holders == 1


class Renewed(LeasingBackend):
    """Notes each renewal."""

    def __init__(self) -> None:
        self.renewals: list[tuple[str, float]] = []
        self.answers: dict[str, Any] = {}
        self.called = threading.Event()

    def renew(self, lease: Lease, seconds: float) -> bool:
        self.renewals.append((lease.key, seconds))
        self.called.set()
        answer = self.answers.get(lease.key, True)
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)


def lease_of(key: str) -> Lease:
    return Lease(key, "token", granted=True)


class TestRenewer:
    @pytest.fixture
    def renewer(self, monkeypatch: pytest.MonkeyPatch) -> Renewer:
        # Driven by hand: a thread would look at the system's clock.
        monkeypatch.setattr(Renewer, "_run", lambda self: None)
        return Renewer()

    @pytest.fixture
    def renewed(self) -> Renewed:
        return Renewed()

    def test_nothing_is_renewed_before_a_third_of_its_time(
        self, renewer: Renewer, renewed: Renewed, clock: FakeClock
    ) -> None:
        renewer.keep(renewed, lease_of("key"), 30, clock)

        clock.advance(9)
        left = renewer.renew_due()

        assert renewed.renewals == []
        assert left == 1

    def test_it_is_renewed_at_each_third_of_its_time(
        self, renewer: Renewer, renewed: Renewed, clock: FakeClock
    ) -> None:
        renewer.keep(renewed, lease_of("key"), 30, clock)

        for _ in range(9):
            clock.advance(5)
            renewer.renew_due()

        assert renewed.renewals == [("key", 30)] * 4

    def test_what_is_dropped_is_renewed_no_longer(
        self, renewer: Renewer, renewed: Renewed, clock: FakeClock
    ) -> None:
        handle = renewer.keep(renewed, lease_of("key"), 30, clock)

        renewer.drop(handle)
        renewer.drop(handle)
        clock.advance(10)
        renewer.renew_due()

        assert renewed.renewals == []

    def test_what_was_lost_is_renewed_no_longer(
        self, renewer: Renewer, renewed: Renewed, clock: FakeClock
    ) -> None:
        renewed.answers["key"] = False
        renewer.keep(renewed, lease_of("key"), 30, clock)

        for _ in range(3):
            clock.advance(10)
            renewer.renew_due()

        assert len(renewed.renewals) == 1

    def test_a_backend_that_fails_is_asked_again(
        self, renewer: Renewer, renewed: Renewed, clock: FakeClock
    ) -> None:
        renewed.answers["key"] = OSError()
        renewer.keep(renewed, lease_of("key"), 30, clock)

        for _ in range(3):
            clock.advance(10)
            renewer.renew_due()

        assert len(renewed.renewals) == 3

    def test_one_that_fails_does_not_keep_others_from_renewal(
        self, renewer: Renewer, renewed: Renewed, clock: FakeClock
    ) -> None:
        renewed.answers["one"] = OSError()
        renewer.keep(renewed, lease_of("one"), 30, clock)
        renewer.keep(renewed, lease_of("two"), 30, clock)

        clock.advance(10)
        renewer.renew_due()

        assert renewed.renewals == [("one", 30), ("two", 30)]

    def test_it_tells_when_the_next_one_is_due(
        self, renewer: Renewer, renewed: Renewed, clock: FakeClock
    ) -> None:
        renewer.keep(renewed, lease_of("one"), 12, clock)
        renewer.keep(renewed, lease_of("two"), 6, clock)

        first = renewer.renew_due()
        clock.advance(2)
        second = renewer.renew_due()

        assert (first, second) == (2, 2)
        assert renewed.renewals == [("two", 6)]

    def test_a_child_of_a_fork_renews_nothing(
        self, renewer: Renewer, renewed: Renewed, clock: FakeClock
    ) -> None:
        renewer.keep(renewed, lease_of("key"), 30, clock)

        renewer.forget()
        clock.advance(10)
        renewer.renew_due()

        assert renewed.renewals == []


class TestRenewersThread:
    @pytest.fixture
    def renewer(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Renewer]:
        # So long that what is not seen at once is never seen.
        monkeypatch.setattr("dogpile.cache.lease._IDLE", 3600.0)
        renewer = Renewer()
        yield renewer
        renewer._held.clear()

    def test_it_renews_what_is_due(self, renewer: Renewer) -> None:
        renewed = Renewed()

        handle = renewer.keep(renewed, lease_of("key"), 0.003, SYSTEM_CLOCK)

        assert renewed.called.wait(PATIENCE)
        renewer.drop(handle)

    def test_it_is_woken_for_what_is_due_before_the_others(
        self, renewer: Renewer
    ) -> None:
        later, sooner = Renewed(), Renewed()
        renewer.keep(later, lease_of("later"), 0.03, SYSTEM_CLOCK)
        assert later.called.wait(PATIENCE)
        renewer._held.clear()
        renewer.keep(later, lease_of("much later"), 3600, SYSTEM_CLOCK)

        renewer.keep(sooner, lease_of("sooner"), 0.003, SYSTEM_CLOCK)

        assert sooner.called.wait(PATIENCE)

    def test_it_sees_what_comes_while_it_renews(self, renewer: Renewer) -> None:
        sooner = Renewed()

        class Slow(Renewed):
            def renew(self, lease: Lease, seconds: float) -> bool:
                renewer.keep(sooner, lease_of("sooner"), 0.003, SYSTEM_CLOCK)
                return False

        renewer.keep(Slow(), lease_of("slow"), 0.003, SYSTEM_CLOCK)

        assert sooner.called.wait(PATIENCE)


def test_the_pauses_grow_from_short_ones_to_a_quarter_of_a_second() -> None:
    next_pause = pauses()

    found = [next_pause() for _ in range(120)]

    assert found[0] < 0.001
    assert found == sorted(found)
    assert all(later <= 2 * earlier for earlier, later in itertools.pairwise(found))
    assert found[-1] == 0.25
    # A wait gets longer by a fifteenth at most, and by few looks at the server.
    waited = [0.03, *itertools.accumulate(found)]
    for pause, before in zip(found, waited, strict=False):
        assert pause <= max(before, 0.03) / 15 + 1e-9
    assert sum(1 for pause in found if pause < 0.01) < 45
