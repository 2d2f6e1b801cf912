"""One creator per key in this process: who leads, who waits, and what all get."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dogpile.cache import flight as flights
from dogpile.cache.clock import SYSTEM_CLOCK
from dogpile.cache.exception import BackendError, CreationCycleError
from dogpile.cache.flight import (
    ABANDONED,
    Flight,
    FlightTable,
    Waiting,
    copy_of,
    lead,
    running_loop,
    unlead,
)
from dogpile.cache.testing import FakeClock

PATIENCE = 10.0


def led() -> Flight | None:
    """Return the innermost creation that this thread leads."""
    return flights._led.get()


@pytest.fixture
def table() -> FlightTable:
    return FlightTable()


class Leading:
    """While this thread leads a flight."""

    def __init__(self, flight: Flight) -> None:
        self._flight = flight

    def __enter__(self) -> Flight:
        self._token = lead(self._flight)
        return self._flight

    def __exit__(self, *exc_info: object) -> None:
        unlead(self._token)


@pytest.fixture(autouse=True)
def nothing_is_led() -> Iterator[None]:
    assert led() is None
    yield
    assert led() is None


class TestBoarding:
    def test_who_comes_first_leads(self, table: FlightTable) -> None:
        first, leads_first = table.board("key")
        second, leads_second = table.board("key")

        assert (leads_first, leads_second) == (True, False)
        assert first is second
        assert first.key == "key"

    def test_two_keys_have_two_flights(self, table: FlightTable) -> None:
        one, leads_one = table.board("one")
        two, leads_two = table.board("two")

        assert leads_one
        assert leads_two
        assert one is not two

    def test_two_tables_have_two_flights(self, table: FlightTable) -> None:
        table.board("key")

        _, is_leader = FlightTable().board("key")

        assert is_leader

    def test_a_flight_is_in_the_air_until_it_lands(self, table: FlightTable) -> None:
        before = table.is_flying("key")
        flight, _ = table.board("key")
        during = table.is_flying("key")
        table.land(flight, "payload")

        assert (before, during, table.is_flying("key")) == (False, True, False)

    def test_after_the_landing_the_next_one_leads(self, table: FlightTable) -> None:
        flight, _ = table.board("key")
        table.land(flight, "payload")

        another, is_leader = table.board("key")

        assert is_leader
        assert another is not flight


class TestLanding:
    def test_who_waits_is_told_once(self, table: FlightTable) -> None:
        flight, _ = table.board("key")
        woken: list[str] = []

        waits = flight.add_waiter(lambda: woken.append("waiter"))
        before = list(woken)
        table.land(flight, "payload")

        assert waits
        assert (before, woken) == ([], ["waiter"])
        assert (flight.done, flight.value, flight.error) == (True, "payload", None)

    def test_who_comes_too_late_need_not_wait(self, table: FlightTable) -> None:
        flight, _ = table.board("key")
        table.land(flight, "payload")

        assert not flight.add_waiter(lambda: None)
        assert flight.wait(FakeClock(), 5)

    def test_a_thread_waits_for_the_value(self, table: FlightTable) -> None:
        flight, _ = table.board("key")
        values: list[Any] = []

        def wait() -> None:
            assert flight.wait(SYSTEM_CLOCK, PATIENCE)
            values.append(flight.value)

        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        table.land(flight, "payload")
        for thread in threads:
            thread.join(PATIENCE)

        assert values == ["payload"] * 3

    def test_a_thread_waits_no_longer_than_it_says(self, table: FlightTable) -> None:
        clock = FakeClock()
        flight, _ = table.board("key")
        answers: list[bool] = []
        thread = threading.Thread(
            target=lambda: answers.append(flight.wait(clock, 5)), daemon=True
        )

        thread.start()
        clock.wait_for_sleepers(1)
        clock.advance(5)
        thread.join(PATIENCE)

        assert answers == [False]

    def test_an_error_is_for_who_waits(self, table: FlightTable) -> None:
        flight, _ = table.board("key")
        error = LookupError("of the creator")

        table.land(flight, ABANDONED, error)

        assert flight.error is error
        assert flight.value is ABANDONED

    def test_one_that_was_replaced_leaves_the_other_in_the_air(
        self, table: FlightTable
    ) -> None:
        late, _ = table.board("key")
        own = table.take_over(late)
        assert own is not None

        table.land(late, "late")

        assert table.is_flying("key")
        assert table.board("key") == (own, False)


class TestVoiding:
    def test_what_is_being_created_will_not_be_stored(self, table: FlightTable) -> None:
        flight, _ = table.board("key")
        other, _ = table.board("other")

        table.void("key")
        table.void("never")

        assert (flight.void, other.void) == (True, False)

    def test_who_comes_after_it_creates_anew(self, table: FlightTable) -> None:
        flight, _ = table.board("key")

        table.void("key")
        another, is_leader = table.board("key")

        assert is_leader
        assert another is not flight
        assert not another.void

    def test_who_waited_before_it_gets_the_value(self, table: FlightTable) -> None:
        flight, _ = table.board("key")
        woken: list[str] = []
        flight.add_waiter(lambda: woken.append("waiter"))

        table.void("key")
        table.land(flight, "payload")

        assert woken == ["waiter"]
        assert flight.value == "payload"

    def test_all_are_voided_at_once(self, table: FlightTable) -> None:
        flights = [table.board(key)[0] for key in "abc"]

        table.void_all()

        assert all(flight.void for flight in flights)
        assert not any(table.is_flying(key) for key in "abc")


class TestTakingOver:
    def test_a_late_flight_is_replaced(self, table: FlightTable) -> None:
        late, _ = table.board("key")

        own = table.take_over(late)

        assert own is not None
        assert own is not late
        assert late.void
        assert not own.void
        assert table.board("key") == (own, False)

    def test_one_of_two_takes_over(self, table: FlightTable) -> None:
        late, _ = table.board("key")

        first, second = table.take_over(late), table.take_over(late)

        assert first is not None
        assert second is None

    def test_what_has_landed_is_not_taken_over(self, table: FlightTable) -> None:
        late, _ = table.board("key")
        table.land(late, "payload")

        assert table.take_over(late) is None


class TestCycles:
    def test_a_flight_is_part_of_the_one_that_is_led(self, table: FlightTable) -> None:
        outer, _ = table.board("outer")

        with Leading(outer):
            inner, _ = table.board("inner")
            assert led() is outer

        assert inner.parent is outer
        assert [flight.key for flight in inner.ancestors()] == ["inner", "outer"]
        assert outer.needs == (inner,)

    def test_what_has_landed_is_not_needed_any_more(self, table: FlightTable) -> None:
        outer, _ = table.board("outer")
        with Leading(outer):
            inner, _ = table.board("inner")

        table.land(inner, "payload")

        assert outer.needs == ()

    def test_a_creation_must_not_wait_for_itself(self, table: FlightTable) -> None:
        flight, _ = table.board("key")

        with (
            Leading(flight),
            pytest.raises(CreationCycleError) as caught,
            Waiting(flight),
        ):
            pass

        assert caught.value.chain == ("key", "key")

    def test_nor_for_one_that_it_is_a_part_of(self, table: FlightTable) -> None:
        outer, _ = table.board("outer")
        with Leading(outer):
            inner, _ = table.board("inner")
            with Leading(inner), pytest.raises(CreationCycleError) as caught:
                Waiting(outer).__enter__()

        assert caught.value.chain == ("outer", "inner", "outer")

    def test_nor_for_one_that_waits_for_it(self, table: FlightTable) -> None:
        one, _ = table.board("one")
        two, _ = table.board("two")

        with Leading(one):
            waiting = Waiting(two)
        with waiting, Leading(two), pytest.raises(CreationCycleError) as caught:
            Waiting(one).__enter__()

        assert caught.value.chain == ("two", "one", "two")

    def test_many_may_wait_for_the_same(self, table: FlightTable) -> None:
        one, _ = table.board("one")
        two, _ = table.board("two")
        shared, _ = table.board("shared")

        with Leading(one):
            first = Waiting(shared)
        with Leading(two):
            second = Waiting(shared)
        with first, second:
            needs = (one.needs, two.needs)

        assert needs == ((shared,), (shared,))
        assert (one.needs, two.needs) == ((), ())

    def test_who_leads_nothing_may_wait_for_anything(self, table: FlightTable) -> None:
        flight, _ = table.board("key")

        with Waiting(flight):
            needs = flight.needs

        assert needs == ()

    def test_another_context_leads_nothing(self, table: FlightTable) -> None:
        flight, _ = table.board("key")

        with Leading(flight):
            elsewhere = contextvars.Context().run(led)
            within = contextvars.copy_context().run(led)

        assert elsewhere is None
        assert within is flight


class TestForking:
    def test_a_child_starts_without_flights(self, table: FlightTable) -> None:
        flight, _ = table.board("key")

        table.forget()

        assert flight.void
        assert not table.is_flying("key")
        assert table.board("key")[1]


class Telling(Exception):
    def __init__(self, one: str, *, two: str) -> None:
        super().__init__(one)
        self.two = two


class Slotted(Exception):
    __slots__ = ("more",)


class Refusing(Exception):
    def __new__(cls, *args: object) -> Any:
        if not args:
            return super().__new__(cls)
        raise TypeError("not this way")

    def __init__(self) -> None:
        super().__init__("of the creator")


class TestCopies:
    @pytest.mark.parametrize(
        "error",
        [
            LookupError("of the creator"),
            OSError(2, "no such file", "name"),
            UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
            BackendError("dogpile.cache.x", "get", "because"),
            Telling("one", two="two"),
            StopIteration("payload"),
        ],
    )
    def test_a_waiter_gets_its_own(self, error: Exception) -> None:
        copy = copy_of(error)

        assert copy is not error
        assert type(copy) is type(error)
        assert copy.args == error.args
        assert vars(copy) == vars(error)
        assert copy.__cause__ is error
        assert copy.__traceback__ is None

    def test_an_os_error_keeps_what_it_tells(self) -> None:
        copy = copy_of(FileNotFoundError(2, "no such file", "name"))

        assert isinstance(copy, FileNotFoundError)
        assert (copy.errno, copy.filename) == (2, "name")

    @pytest.mark.parametrize(
        "error",
        [
            UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
            FileNotFoundError(2, "no such file", "name"),
            ImportError("no module", name="module", path="path"),
            SyntaxError("wrong", ("file", 1, 2, "text")),
            KeyError("key"),
            Telling("one", two="two"),
        ],
    )
    def test_it_reads_like_the_creators(self, error: Exception) -> None:
        copy = copy_of(error)

        assert copy is not error
        assert (str(copy), repr(copy)) == (str(error), repr(error))

    def test_a_stop_iteration_keeps_its_value(self) -> None:
        copy = copy_of(StopIteration("payload"))

        assert isinstance(copy, StopIteration)
        assert copy.value == "payload"

    def test_what_cannot_be_copied_is_itself(self) -> None:
        error = Refusing()

        assert copy_of(error) is error


def test_no_loop_runs_in_a_thread() -> None:
    import asyncio

    async def scenario() -> bool:
        return running_loop() is asyncio.get_running_loop()

    assert running_loop() is None
    assert asyncio.run(scenario())
