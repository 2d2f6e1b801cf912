"""One creator per key in this process: a table of flights, for threads and loops.

A flight is the creation of one value. Who boards first leads it; the others
wait for it. No lock and no future is made for a flight that nobody waits for.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from threading import Lock
from typing import Any

from dogpile.cache.api import KeyType
from dogpile.cache.clock import Clock
from dogpile.cache.exception import CreationCycleError


class _Abandoned:
    """The value of a flight whose leader left without one."""

    def __repr__(self) -> str:
        return "ABANDONED"


ABANDONED: Any = _Abandoned()

_NO_MARKS: Mapping[str, str] = {}


class Flight:
    """One creation, and who waits for it.

    What most flights never change stands in the class: each attribute that is
    set when one begins is a part of what a miss costs.

    :param key: the stored key.
    :param parent: the creation that this one is a part of.
    """

    done: bool = False
    #: Refuse to store what this flight creates: the key was written to.
    void: bool = False
    value: Any = ABANDONED
    error: BaseException | None = None
    #: The flights that this one cannot end without.
    needs: tuple[Flight, ...] = ()
    #: How many waited when its value was last known to be good, where
    #: other processes may write; ``None`` if that does not matter.
    sealed: int | None = None
    #: Of the lease that its leader holds.
    token: str | None = None
    #: The event loop whose task leads it; a thread leads if ``None``.
    loop: object = None
    #: The generations that it began under, where other processes may
    #: change them; ``None`` if others wrote to the key meanwhile.
    marks: Mapping[str, str] | None = _NO_MARKS

    def __init__(self, key: KeyType, parent: Flight | None) -> None:
        self.key: KeyType = key
        self.parent: Flight | None = parent
        self.waiters: list[Callable[[], None]] = []

    def seal(self) -> None:
        """Note that its value will be as old as what is asked of the backend now.

        Another process may write right after, and who comes after that write
        must not get the value of a flight that has not ended yet.
        """
        self.sealed = len(self.waiters)

    def serves(self, marks: Mapping[str, str], arrived: int) -> bool:
        """Return whether its value is good for who came when it had begun.

        :param marks: the generations that the waiter saw when it came.
        :param arrived: how many waited when it came.
        """
        if self.sealed is not None and arrived >= self.sealed:
            return False
        began = self.marks
        if began is None:
            return False
        return all(began.get(name, mark) == mark for name, mark in marks.items())

    def add_waiter(self, wake: Callable[[], None]) -> bool:
        """Ask to be told of the end; ``wake`` must not block.

        :return: False if the flight has ended already.
        """
        # The leader sets done first and reads the list after it, a waiter
        # writes the list first and reads done after it: one sees the other.
        self.waiters.append(wake)
        return not self.done

    def wait(self, clock: Clock, seconds: float | None) -> bool:
        """Block this thread until the flight has ended.

        :param seconds: to wait at most.
        :return: whether it has ended.
        """
        gate = Lock()
        gate.acquire()
        if self.add_waiter(gate.release):
            clock.acquire(gate, seconds)
        return self.done

    def ancestors(self) -> Iterator[Flight]:
        """Return this flight and those that it is a part of."""
        flight: Flight | None = self
        while flight is not None:
            yield flight
            flight = flight.parent


#: The innermost creation that this thread or task leads.
_led: ContextVar[Flight | None] = ContextVar("dogpile_led", default=None)
# Held only by creators that wait for other creations.
_graph = Lock()


def lead(flight: Flight | None) -> Token[Flight | None]:
    """Note that this thread or task leads the flight; ``None``: no flight."""
    return _led.set(flight)


def unlead(token: Token[Flight | None]) -> None:
    """Note that it leads the flight no longer."""
    try:  # noqa: SIM105 - suppress() takes as long as all the rest of a miss
        _led.reset(token)
    except ValueError:
        pass  # a task thrown away with its loop ends in another context


@dataclass(frozen=True, slots=True)
class UpdateOf:
    """What is boarded for an ``update()``: other than the creation of its key.

    :param key: as it is stored.
    """

    key: KeyType


class Waiting:
    """While a creator waits for another flight: an edge in the graph.

    :raises CreationCycleError: the other flight cannot end before this does.
    """

    __slots__ = ("_flight", "_leader")

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        self._leader = _led.get()

    def __enter__(self) -> None:
        leader = self._leader
        if leader is None:
            return
        with _graph:
            chain = _path(self._flight, set(leader.ancestors()), set())
            if chain is not None:
                mine = [flight.key for flight in leader.ancestors()][::-1]
                start = mine.index(chain[-1])
                raise CreationCycleError(tuple(map(_name, (*mine[start:], *chain))))
            leader.needs = (*leader.needs, self._flight)

    def __exit__(self, *exc_info: object) -> None:
        if self._leader is not None:
            _part(self._leader, self._flight)


def _name(key: KeyType) -> KeyType:
    return key.key if isinstance(key, UpdateOf) else key


def _path(
    flight: Flight, goals: set[Flight], seen: set[Flight]
) -> list[KeyType] | None:
    if flight.done or flight in seen:
        return None
    if flight in goals:
        return [flight.key]
    seen.add(flight)
    for needed in flight.needs:
        found = _path(needed, goals, seen)
        if found is not None:
            return [flight.key, *found]
    return None


def needs_loop(flight: Flight, loop: object) -> bool:
    """Return whether a flight cannot end while an event loop is blocked."""
    todo, seen = [flight], {flight}
    with _graph:
        while todo:
            each = todo.pop()
            if each.loop is loop and not each.done:
                return True
            todo += {*each.needs} - seen
            seen.update(each.needs)
    return False


def _join(leader: Flight, needed: Flight) -> None:
    with _graph:
        leader.needs = (*leader.needs, needed)


def _part(leader: Flight, needed: Flight) -> None:
    with _graph:
        needs = list(leader.needs)
        needs.remove(needed)
        leader.needs = tuple(needs)


class FlightTable:
    """The flights of one backend in this process."""

    def __init__(self) -> None:
        self._flights: dict[KeyType, Flight] = {}
        self._lock = Lock()
        _tables.add(self)

    def board(self, key: KeyType) -> tuple[Flight, bool]:
        """Board the flight of a key.

        :return: the flight, and whether the caller leads it.
        """
        flight = Flight(key, _led.get())
        found = self._flights.setdefault(key, flight)
        if found is not flight:
            return found, False
        if flight.parent is not None:
            _join(flight.parent, flight)
        return flight, True

    def take_over(self, late: Flight) -> Flight | None:
        """Replace a flight that takes too long; what it creates is refused.

        :return: the caller's own flight, or ``None`` if somebody else was
            faster, or the flight has ended.
        """
        with self._lock:
            if late.done or self._flights.get(late.key) is not late:
                return None
            late.void = True
            flight = Flight(late.key, _led.get())
            self._flights[late.key] = flight
        if flight.parent is not None:
            _join(flight.parent, flight)
        return flight

    def land(
        self, flight: Flight, value: Any, error: BaseException | None = None
    ) -> None:
        """End a flight, and wake who waits for it.

        :param value: for the waiters; :data:`ABANDONED` has them board again.
        :param error: what the creator raised, for the waiters.
        """
        flight.value = value
        flight.error = error
        with self._lock:
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
        flight.done = True
        if flight.parent is not None:
            _part(flight.parent, flight)
        for wake in flight.waiters:
            wake()

    def void(self, key: KeyType) -> None:
        """Have what is being created for a key not be stored.

        Who comes later does not wait for it either: it is too old for them.
        """
        if key in self._flights:
            with self._lock:
                flight = self._flights.pop(key, None)
                if flight is not None:
                    flight.void = True

    def void_all(self) -> None:
        """Have nothing that is being created be stored."""
        for key in list(self._flights):
            self.void(key)

    def is_flying(self, key: KeyType) -> bool:
        """Return whether the value of a key is being created."""
        return key in self._flights

    def forget(self) -> None:
        """Start anew in the child of a fork: its flights have no leaders."""
        for flight in list(self._flights.values()):
            flight.void = flight.done = True
        self._flights = {}
        self._lock = Lock()


_tables: weakref.WeakSet[FlightTable] = weakref.WeakSet()


def _after_fork() -> None:
    global _graph  # noqa: PLW0603 - a lock that a lost thread may hold
    _graph = Lock()
    for table in list(_tables):
        table.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def running_loop() -> object:
    """Return the event loop that runs in this thread, or ``None``."""
    # Whoever runs a loop has imported asyncio; nobody else should have to.
    events = sys.modules.get("asyncio.events")
    return None if events is None else events._get_running_loop()  # noqa: SLF001


def copy_of(error: BaseException) -> BaseException:
    """Return a waiter's own copy of the creator's error.

    A traceback grows with each frame that an error passes, so that threads
    must not raise one object together.
    """
    kind: Any = type(error)
    # What the interpreter itself keeps of it, as an OSError's filename, stands
    # neither in args nor in __dict__; its own __init__() may ask for anything.
    base: Any = next(each for each in kind.__mro__ if each.__module__ == "builtins")
    try:
        _, args, *state = base.__reduce__(error)
        copy: BaseException = kind.__new__(kind, *args)
        base.__init__(copy, *args)
        copy.__setstate__(*state or ({},))
        copy.args = error.args
    except Exception:  # noqa: BLE001 - a class may refuse in any way
        return error
    copy.__cause__ = error
    return copy
