"""What every backend promises, as tests: subclass :class:`BackendSuite`."""

from __future__ import annotations

from typing import Any

import pytest

from dogpile.cache.api import NO_VALUE, CacheBackend
from dogpile.cache.testing.clock import FakeClock
from dogpile.cache.testing.concurrency import in_child, together
from dogpile.cache.testing.suite_values import THREADS, ValueSuite


class BackendSuite(ValueSuite):
    """Subclass it, and give a ``backend`` fixture: each test is one promise.

    ::

        class TestMyBackend(BackendSuite):
            @pytest.fixture
            def backend(self) -> MyBackend:
                return MyBackend({"url": "..."})

    The suite hands the backend its ``clock`` fixture, a :class:`FakeClock`,
    and closes it at the end. What a backend cannot do it declares in one of
    the attributes, or in its ``capabilities``; the suite skips by them.
    """

    #: Seconds of the leases that the suite asks for.
    seconds: float = 10.0

    @pytest.fixture
    def leasing(self, storing: CacheBackend) -> Any:  # it may be a proxy
        """Return the backend; skip if it grants no leases."""
        if not storing.capabilities.leases:
            pytest.skip("the backend grants no leases")
        return storing

    @pytest.fixture
    def timed(self, leasing: Any) -> Any:  # as above
        """Return the backend; skip if its leases go by a clock of its own."""
        if self.keeps_own_time:
            pytest.skip("the backend's leases end by a clock of its own")
        return leasing

    def test_a_free_lease_is_granted(self, leasing: Any) -> None:
        lease = leasing.lease(self.key, self.seconds)

        assert lease.granted
        assert lease.token
        assert lease.key == self.key
        assert lease.found is NO_VALUE

    def test_a_lease_shows_what_is_stored(self, leasing: Any) -> None:
        value = self.value(leasing, "payload")
        leasing.put(self.key, value)

        granted = leasing.lease(self.key, self.seconds)
        refused = leasing.lease(self.key, self.seconds)

        assert (granted.granted, refused.granted) == (True, False)
        assert granted.found == refused.found == value

    def test_a_lease_is_no_value(self, leasing: Any) -> None:
        leasing.lease(self.key, self.seconds)

        assert leasing.get(self.key) is NO_VALUE
        assert list(leasing.get_multi([self.key])) == [NO_VALUE]

    def test_a_held_lease_is_refused(self, leasing: Any) -> None:
        held = leasing.lease(self.key, self.seconds)

        refused = leasing.lease(self.key, self.seconds)

        assert not refused.granted
        assert refused.token == held.token
        assert refused.failure is None

    def test_who_waits_is_refused_while_it_is_held(self, leasing: Any) -> None:
        held = leasing.lease(self.key, self.seconds)

        refused = leasing.lease(self.key, self.seconds, after=held.token)

        assert not refused.granted
        assert refused.token == held.token
        assert refused.failure is None

    def test_leases_of_two_keys_are_two(self, leasing: Any) -> None:
        one = leasing.lease("one", self.seconds)
        two = leasing.lease("two", self.seconds)

        assert one.granted
        assert two.granted
        assert one.token != two.token

    def test_one_of_many_threads_is_granted_it(self, leasing: Any) -> None:
        leases = together(
            lambda seconds: leasing.lease(self.key, seconds), [self.seconds] * THREADS
        )

        assert [lease.granted for lease in leases].count(True) == 1

    def test_a_commit_stores_the_value(self, leasing: Any) -> None:
        value = self.value(leasing, "created")
        lease = leasing.lease(self.key, self.seconds)

        is_stored = leasing.commit(lease, value)

        assert is_stored
        assert leasing.get(self.key) == value

    def test_a_commit_replaces_the_value(self, leasing: Any) -> None:
        value = self.value(leasing, "created anew")
        leasing.put(self.key, self.value(leasing, "old"))
        lease = leasing.lease(self.key, self.seconds)

        is_stored = leasing.commit(lease, value)

        assert is_stored
        assert leasing.get(self.key) == value

    def test_a_commit_ends_the_lease(self, leasing: Any) -> None:
        value = self.value(leasing, "created")
        lease = leasing.lease(self.key, self.seconds)

        leasing.commit(lease, value)

        assert not leasing.is_leased(self.key)
        assert not leasing.commit(lease, value)
        assert leasing.lease(self.key, self.seconds).granted

    def test_a_put_voids_the_lease(self, leasing: Any) -> None:
        value = self.value(leasing, "put")
        lease = leasing.lease(self.key, self.seconds)

        leasing.put(self.key, value)

        assert not leasing.is_leased(self.key)
        assert not leasing.renew(lease, self.seconds)
        assert not leasing.commit(lease, self.value(leasing, "created before"))
        assert leasing.get(self.key) == value

    def test_a_put_of_many_voids_their_leases(self, leasing: Any) -> None:
        value = self.value(leasing, "put")
        lease = leasing.lease(self.key, self.seconds)

        leasing.set_multi({self.key: value})

        assert not leasing.commit(lease, self.value(leasing, "created before"))
        assert leasing.get(self.key) == value

    def test_a_put_over_a_value_voids_the_lease(self, leasing: Any) -> None:
        value = self.value(leasing, "put")
        leasing.put(self.key, self.value(leasing, "old"))
        lease = leasing.lease(self.key, self.seconds)

        leasing.put(self.key, value)

        assert not leasing.commit(lease, self.value(leasing, "created before"))
        assert leasing.get(self.key) == value

    def test_a_delete_voids_the_lease(self, leasing: Any) -> None:
        lease = leasing.lease(self.key, self.seconds)

        self.delete(leasing, self.key)

        assert not leasing.is_leased(self.key)
        assert not leasing.commit(lease, self.value(leasing, "created before"))
        assert leasing.get(self.key) is NO_VALUE

    def test_a_delete_of_many_voids_their_leases(self, leasing: Any) -> None:
        leasing.put(self.key, self.value(leasing, "old"))
        lease = leasing.lease(self.key, self.seconds)

        leasing.delete_multi([self.key])

        assert not leasing.commit(lease, self.value(leasing, "created before"))
        assert leasing.get(self.key) is NO_VALUE

    def test_a_write_to_one_key_leaves_anothers_lease(self, leasing: Any) -> None:
        value = self.value(leasing, "created")
        lease = leasing.lease(self.key, self.seconds)

        leasing.put("another", self.value(leasing, "put"))
        leasing.delete("another")

        assert leasing.commit(lease, value)
        assert leasing.get(self.key) == value

    def test_of_many_waiters_one_takes_a_lease_over(self, leasing: Any) -> None:
        """With ``after``, it is stolen only from the holder waited for."""
        holder = leasing.lease(self.key, self.seconds)

        first, second = (
            leasing.lease(self.key, self.seconds, after=holder.token, steal=True)
            for _ in range(2)
        )

        assert first.granted
        assert (second.granted, second.token) == (False, first.token)

    def test_a_stolen_lease_is_the_thiefs(self, leasing: Any) -> None:
        value = self.value(leasing, "the thief's")
        robbed = leasing.lease(self.key, self.seconds)

        thief = leasing.lease(self.key, self.seconds, steal=True)

        assert thief.granted
        assert not leasing.renew(robbed, self.seconds)
        assert not leasing.commit(robbed, self.value(leasing, "the robbed one's"))
        assert leasing.commit(thief, value)
        assert leasing.get(self.key) == value

    def test_a_robbed_holder_does_not_end_the_thiefs_lease(self, leasing: Any) -> None:
        robbed = leasing.lease(self.key, self.seconds)
        thief = leasing.lease(self.key, self.seconds, steal=True)

        leasing.release(robbed)
        leasing.release(robbed, b"failed")

        assert leasing.lease(self.key, self.seconds).token == thief.token

    def test_a_free_lease_can_be_stolen(self, leasing: Any) -> None:
        assert leasing.lease(self.key, self.seconds, steal=True).granted

    def test_a_released_lease_is_free(self, leasing: Any) -> None:
        lease = leasing.lease(self.key, self.seconds)

        leasing.release(lease)

        assert not leasing.is_leased(self.key)
        assert not leasing.commit(lease, self.value(leasing, "late"))
        assert leasing.get(self.key) is NO_VALUE
        assert leasing.lease(self.key, self.seconds, after=lease.token).granted

    def test_releasing_is_idempotent(self, leasing: Any) -> None:
        lease = leasing.lease(self.key, self.seconds)

        leasing.release(lease)
        leasing.release(lease)

        assert leasing.lease(self.key, self.seconds).granted

    def test_a_release_leaves_the_value(self, leasing: Any) -> None:
        value = self.value(leasing, "old")
        leasing.put(self.key, value)
        lease = leasing.lease(self.key, self.seconds)

        leasing.release(lease, b"failed")

        assert leasing.get(self.key) == value

    def test_who_waited_is_told_of_the_failure(self, leasing: Any) -> None:
        lease = leasing.lease(self.key, self.seconds)

        leasing.release(lease, b"why \xff")
        told = leasing.lease(self.key, self.seconds, after=lease.token)

        assert not told.granted
        assert told.failure == b"why \xff"
        assert leasing.get(self.key) is NO_VALUE

    def test_all_who_waited_are_told_of_the_failure(self, leasing: Any) -> None:
        lease = leasing.lease(self.key, self.seconds)
        leasing.release(lease, b"why")

        told = [leasing.lease(self.key, 5.0, after=lease.token) for _ in range(3)]

        assert [each.failure for each in told] == [b"why"] * 3

    def test_a_failed_lease_is_free_to_others(self, leasing: Any) -> None:
        lease = leasing.lease(self.key, self.seconds)
        leasing.release(lease, b"why")

        assert not leasing.is_leased(self.key)
        assert not leasing.commit(lease, self.value(leasing, "late"))
        assert leasing.lease(self.key, self.seconds).granted

    def test_who_waited_for_another_is_not_told(self, leasing: Any) -> None:
        earlier = leasing.lease(self.key, self.seconds)
        leasing.release(earlier)
        lease = leasing.lease(self.key, self.seconds)
        leasing.release(lease, b"why")

        asked = leasing.lease(self.key, self.seconds, after=earlier.token)

        assert asked.granted
        assert asked.failure is None

    def test_a_lease_is_seen_until_it_ends(self, leasing: Any) -> None:
        before = leasing.is_leased(self.key)
        lease = leasing.lease(self.key, self.seconds)
        meanwhile = leasing.is_leased(self.key)
        leasing.release(lease)

        assert (before, meanwhile) == (False, True)
        assert not leasing.is_leased(self.key)

    def test_a_lease_ends_by_itself(self, timed: Any, clock: FakeClock) -> None:
        lease = timed.lease(self.key, self.seconds)

        clock.advance(self.seconds + 1)

        assert not timed.is_leased(self.key)
        assert not timed.renew(lease, self.seconds)
        assert not timed.commit(lease, self.value(timed, "late"))
        assert timed.get(self.key) is NO_VALUE
        assert timed.lease(self.key, self.seconds, after=lease.token).granted

    def test_a_lease_holds_until_its_end(self, timed: Any, clock: FakeClock) -> None:
        lease = timed.lease(self.key, self.seconds)

        clock.advance(self.seconds - 1)

        assert timed.is_leased(self.key)
        assert not timed.lease(self.key, self.seconds).granted
        assert timed.commit(lease, self.value(timed, "in time"))

    def test_a_renewed_lease_ends_later(self, timed: Any, clock: FakeClock) -> None:
        lease = timed.lease(self.key, self.seconds)

        for _ in range(3):
            clock.advance(self.seconds - 1)
            assert timed.renew(lease, self.seconds)
        clock.advance(self.seconds - 1)

        assert timed.is_leased(self.key)
        assert timed.commit(lease, self.value(timed, "in time"))

    def test_a_clock_set_back_makes_no_lease_endless(
        self, timed: Any, clock: FakeClock
    ) -> None:
        timed.lease(self.key, self.seconds)

        clock.jump(-3600)
        clock.advance(self.seconds + 1)

        assert timed.lease(self.key, self.seconds).granted

    def test_a_failure_is_forgotten_in_the_end(
        self, timed: Any, clock: FakeClock
    ) -> None:
        lease = timed.lease(self.key, self.seconds)
        timed.release(lease, b"why")

        clock.advance(self.seconds + 1)

        assert timed.lease(self.key, self.seconds, after=lease.token).granted

    def test_a_committed_value_is_dropped_too(
        self, dropping: Any, leasing: Any, clock: FakeClock
    ) -> None:
        value = self.value(dropping, "created")
        for key, ttl in (("short", 10), ("for ever", None)):
            dropping.commit(dropping.lease(key, self.seconds), value, ttl=ttl)

        clock.advance(11)

        assert list(dropping.get_multi(["short", "for ever"])) == [NO_VALUE, value]

    # Many leases

    def test_many_leases_come_in_the_order_asked(self, leasing: Any) -> None:
        held = leasing.lease("b", self.seconds)
        leasing.put("c", self.value(leasing, "stored"))

        leases = leasing.lease_multi(["c", "b", "a"], self.seconds)

        assert [lease.key for lease in leases] == ["c", "b", "a"]
        assert [lease.granted for lease in leases] == [True, False, True]
        assert leases[1].token == held.token
        assert leases[0].found == self.value(leasing, "stored")

    def test_many_values_are_committed_each_by_its_lease(self, leasing: Any) -> None:
        values = {key: self.value(leasing, key) for key in ("a", "b", "c")}
        leases = leasing.lease_multi(list(values), self.seconds)
        leasing.delete("b")

        are_stored = leasing.commit_multi(
            [(lease, values[lease.key]) for lease in leases]
        )

        assert list(are_stored) == [True, False, True]
        assert [*leasing.get_multi("abc")] == [values["a"], NO_VALUE, values["c"]]

    def test_many_leases_are_released(self, leasing: Any) -> None:
        leases = leasing.lease_multi(["a", "b"], self.seconds)

        leasing.release_multi(leases, b"why")
        told = [leasing.lease(one.key, 5.0, after=one.token) for one in leases]

        assert [each.failure for each in told] == [b"why", b"why"]

    def test_no_leases_at_all_are_no_error(self, leasing: Any) -> None:
        leasing.release_multi([])

        assert list(leasing.lease_multi([], self.seconds)) == []
        assert list(leasing.commit_multi([])) == []

    def test_a_lease_keeps_a_forked_child_out(self, leasing: Any) -> None:
        self._skip_unless_forking()
        if leasing.capabilities.scope == "process":
            pytest.skip("the backend's leases end at the process's border")
        lease = leasing.lease(self.key, self.seconds)

        def ask() -> None:
            assert not leasing.lease(self.key, self.seconds).granted

        assert in_child(ask) == 0
        assert leasing.commit(lease, self.value(leasing, "created"))

    def test_a_childs_put_voids_the_parents_lease(self, leasing: Any) -> None:
        self._skip_unless_forking()
        if leasing.capabilities.scope == "process":
            pytest.skip("the backend's values end at the process's border")
        value = self.value(leasing, "the child's")
        lease = leasing.lease(self.key, self.seconds)

        assert in_child(lambda: leasing.put(self.key, value)) == 0
        assert not leasing.commit(lease, self.value(leasing, "the parent's"))
        assert leasing.get(self.key) == value
