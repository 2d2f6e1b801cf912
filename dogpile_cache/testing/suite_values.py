"""What every backend promises of its values, and of its life, as tests."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest

from dogpile.cache.api import (
    NO_VALUE,
    BackendFormatted,
    BackendSetType,
    BytesBackend,
    CacheBackend,
    CachedValue,
    KeyType,
    value_version,
)
from dogpile.cache.testing.clock import FakeClock
from dogpile.cache.testing.concurrency import in_child, together

THREADS = 8


class ValueSuite:
    """What is promised of values; subclass ``BackendSuite``, which has it all."""

    #: Whether values that are put can be read at all.
    stores = True
    #: Whether the suite may fork; the backend must then work in the child.
    has_fork: bool = hasattr(os, "fork")
    #: What ``delete`` raises for a missing key; a region takes it for success.
    delete_raises: tuple[type[Exception], ...] = ()
    #: Whether it goes by a clock of its own, such as a server's.
    keeps_own_time = False
    #: A size, in bytes, that it must take.
    large = 900_000
    key: KeyType = "key"
    #: They go through the backend's ``key_mangler`` first, if it has one.
    odd_keys: Sequence[KeyType] = (
        "",
        " ",
        "with blanks and\ttabs",
        "line\nbreak",
        "nul\0byte",
        "grüße 鍵 \N{SLICE OF PIZZA}",
        "lone surrogate \udc80",
        "%s {0} ' \" \\ ; --",
        "../../etc/passwd",
        "long" * 500,
    )

    @pytest.fixture
    def clock(self) -> FakeClock:
        """Return the clock that the backend goes by."""
        return FakeClock()

    @pytest.fixture(autouse=True)
    def _lifetime(self, backend: CacheBackend, clock: FakeClock) -> Iterator[None]:
        backend.clock = clock
        yield
        backend.close()

    @pytest.fixture
    def storing(self, backend: CacheBackend) -> CacheBackend:
        """Return the backend; skip if it stores nothing."""
        if not self.stores:
            pytest.skip("the backend stores nothing")
        return backend

    @pytest.fixture
    def dropping(self, storing: CacheBackend) -> Any:  # its methods take ttl=
        """Return the backend; skip if it takes no ttl, or has its own time."""
        if not storing.capabilities.ttl or self.keeps_own_time:
            pytest.skip("the backend does not drop values by the suite's clock")
        return storing

    @pytest.fixture
    def keeps_bytes(self, storing: CacheBackend) -> CacheBackend:
        """Return the backend; skip if its values are objects."""
        if not self._takes_bytes(storing):
            pytest.skip("the backend's values are objects")
        return storing

    def value(self, backend: CacheBackend, payload: object) -> BackendSetType:
        """Return a payload in the form in which a region hands it over."""
        cached = CachedValue(payload, {"ct": backend.clock.time(), "v": value_version})
        if not self._takes_bytes(backend):
            return cached
        return pickle.dumps(tuple(cached))

    def delete(self, backend: CacheBackend, key: KeyType) -> None:
        """Delete a key, as a region does."""
        with suppress(*self.delete_raises):
            backend.delete(key)

    def _takes_bytes(self, backend: CacheBackend) -> bool:
        return backend.serializer is not None or isinstance(backend, BytesBackend)

    # Values

    def test_a_missing_key_is_no_value(self, backend: CacheBackend) -> None:
        assert backend.get(self.key) is NO_VALUE

    def test_what_was_put_is_found(self, storing: CacheBackend) -> None:
        value = self.value(storing, "payload")

        storing.put(self.key, value)

        assert storing.get(self.key) == value

    def test_set_is_another_name_of_put(self, storing: CacheBackend) -> None:
        value = self.value(storing, "payload")

        storing.set(self.key, value)

        assert storing.get(self.key) == value

    def test_none_is_a_value(self, storing: CacheBackend) -> None:
        value = self.value(storing, None)

        storing.put(self.key, value)

        assert storing.get(self.key) == value

    def test_the_last_put_counts(self, storing: CacheBackend) -> None:
        for payload in ("first", "second, which is longer", "3rd"):
            storing.put(self.key, self.value(storing, payload))

        assert storing.get(self.key) == self.value(storing, "3rd")

    def test_a_deleted_key_is_no_value(self, storing: CacheBackend) -> None:
        storing.put(self.key, self.value(storing, "payload"))

        storing.delete(self.key)

        assert storing.get(self.key) is NO_VALUE

    def test_deleting_is_idempotent(self, backend: CacheBackend) -> None:
        backend.put(self.key, self.value(backend, "payload"))

        for _ in range(3):
            self.delete(backend, self.key)

        assert backend.get(self.key) is NO_VALUE

    def test_a_deleted_key_can_be_put_again(self, storing: CacheBackend) -> None:
        value = self.value(storing, "again")
        storing.put(self.key, self.value(storing, "payload"))
        storing.delete(self.key)

        storing.put(self.key, value)

        assert storing.get(self.key) == value

    def test_odd_keys_are_kept_apart(self, storing: CacheBackend) -> None:
        mangle = storing.key_mangler or (lambda key: key)
        values = {
            mangle(key): self.value(storing, number)
            for number, key in enumerate(self.odd_keys)
        }

        for key, value in values.items():
            storing.put(key, value)

        assert {key: storing.get(key) for key in values} == values
        assert list(storing.get_multi(list(values))) == list(values.values())

    def test_a_large_value_comes_back_whole(self, storing: CacheBackend) -> None:
        value = self.value(storing, os.urandom(self.large))

        storing.put(self.key, value)

        assert storing.get(self.key) == value

    def test_every_byte_comes_back(self, keeps_bytes: CacheBackend) -> None:
        value = bytes(range(256))

        keeps_bytes.put(self.key, value)

        assert keeps_bytes.get(self.key) == value
        assert type(keeps_bytes.get(self.key)) is bytes

    def test_bytes_have_two_doors(self, keeps_bytes: CacheBackend) -> None:
        keeps_bytes.put("in-by-one", b"one")
        keeps_bytes.set_serialized("in-by-the-other", b"other")

        assert keeps_bytes.get_serialized("in-by-one") == b"one"
        assert keeps_bytes.get("in-by-the-other") == b"other"

    # Many values

    def test_many_values_come_in_the_order_asked(self, storing: CacheBackend) -> None:
        values = {key: self.value(storing, key) for key in ("a", "b", "c")}

        storing.set_multi(values)

        assert list(storing.get_multi(["c", "missing", "a", "c"])) == [
            values["c"],
            NO_VALUE,
            values["a"],
            values["c"],
        ]

    def test_many_missing_keys_are_no_values(self, backend: CacheBackend) -> None:
        assert list(backend.get_multi(["a", "b"])) == [NO_VALUE, NO_VALUE]

    def test_many_keys_are_deleted(self, storing: CacheBackend) -> None:
        values = {key: self.value(storing, key) for key in ("a", "b", "c")}
        storing.set_multi(values)

        storing.delete_multi(["a", "c"])

        assert [*storing.get_multi("abc")] == [NO_VALUE, values["b"], NO_VALUE]

    def test_many_keys_may_be_missing_when_deleted(self, storing: CacheBackend) -> None:
        if self.delete_raises:
            pytest.skip("the backend's delete raises for a missing key")
        storing.put("b", self.value(storing, "payload"))

        storing.delete_multi(["a", "b"])

        assert storing.get("b") is NO_VALUE

    def test_no_keys_at_all_are_no_error(self, backend: CacheBackend) -> None:
        backend.set_multi({})
        backend.delete_multi([])

        assert list(backend.get_multi([])) == []

    # Its life

    def test_it_is_used_again_after_closing(self, storing: CacheBackend) -> None:
        value = self.value(storing, "payload")
        storing.put(self.key, self.value(storing, "before"))
        storing.close()

        storing.put(self.key, value)

        assert storing.get(self.key) == value

    def test_it_may_be_closed_twice(self, backend: CacheBackend) -> None:
        backend.close()
        backend.close()

        assert backend.get(self.key) is NO_VALUE

    def test_threads_do_not_see_each_others_values(self, storing: CacheBackend) -> None:
        values = {f"key-{n}": self.value(storing, n) for n in range(THREADS)}

        def put_and_get(key: KeyType) -> BackendFormatted:
            storing.put(key, values[key])
            return storing.get(key)

        assert together(put_and_get, list(values)) == list(values.values())

    def test_threads_that_write_one_key_leave_it_whole(
        self, storing: CacheBackend
    ) -> None:
        values = [self.value(storing, [n] * 1000 * n) for n in range(1, THREADS + 1)]

        together(lambda value: storing.put(self.key, value), values)

        assert storing.get(self.key) in values

    def test_a_child_of_a_fork_uses_it(self, storing: CacheBackend) -> None:
        self._skip_unless_forking()
        values = {key: self.value(storing, key) for key in ("parent's", "child's")}
        storing.put("parent's", values["parent's"])

        def use() -> None:
            assert storing.get("parent's") == values["parent's"]
            storing.put("child's", values["child's"])
            assert storing.get("child's") == values["child's"]

        is_shared = storing.capabilities.scope != "process"
        assert in_child(use) == 0
        assert storing.get("parent's") == values["parent's"]
        assert storing.get("child's") == (values["child's"] if is_shared else NO_VALUE)

    def test_values_are_dropped_when_nobody_wants_them(
        self, dropping: Any, clock: FakeClock
    ) -> None:
        value = self.value(dropping, "payload")
        suffix = "_serialized" if self._takes_bytes(dropping) else ""
        put = getattr(dropping, f"set{suffix}")
        put_multi = getattr(dropping, f"set{suffix}_multi")

        put("put", value, ttl=10)
        put_multi({"multi": value}, ttl=10)
        put("for ever", value)

        clock.advance(9)
        before = list(dropping.get_multi(["put", "multi", "for ever"]))
        clock.advance(2)
        after = list(dropping.get_multi(["put", "multi", "for ever"]))

        assert before == [value, value, value]
        assert after == [NO_VALUE, NO_VALUE, value]

    def _skip_unless_forking(self) -> None:
        if not self.has_fork:
            pytest.skip("nothing forks here")
