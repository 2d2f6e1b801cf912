"""A backend that is away: a breaker, and a journal of what was invalidated.

The breaker opens at the first time-out, so that a dead server costs one, not
one for each call. What was deleted, replaced or invalidated meanwhile stands
in the journal; when it is time to try again, one caller replays the journal
first, so that nothing is served that is older than an invalidation of ours.

Nygard: *Release It!*, 2nd edition, 2018, chapter 5 (circuit breaker).
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping
from threading import Lock
from typing import Any

from dogpile.cache.clock import Clock
from dogpile.cache.exception import BackendUnavailable

# What the operations of a region's backend are called by those who ask for them.
_PUBLIC = {
    "set": "put",
    "set_multi": "put_multi",
    "peek": "get",
    "peek_multi": "get_multi",
    "get_records": "get_multi",
    "set_record": "invalidate",
    "lease_record": "invalidate",
    "commit_record": "invalidate",
    "release_record": "invalidate",
}
# Seconds until the first try, and between the later ones at most.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 4.0
# Times that one caller makes up for what was missed while it did so.
_MOST_ROUNDS = 20
# Keys in the journal; beyond, the whole region is invalidated instead.
_MOST_KEYS = 10_000


class Journal:
    """What has to be told to a backend as soon as it is there again."""

    def __init__(self, overflow: Callable[[], tuple[str, Any]]) -> None:
        #: Returns the record of the whole region, and what it has to hold.
        self._overflow = overflow
        self._keys: dict[Any, None] = {}
        self._records: dict[str, Any] = {}
        # What is being replayed: the same may have to be done once more, if it
        # is noted again meanwhile.
        self._taken_keys: dict[Any, None] = {}
        self._taken_records: dict[str, Any] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to be made up for."""
        return bool(
            self._keys or self._records or self._taken_keys or self._taken_records
        )

    def note(self, name: str, given: tuple[Any, ...]) -> None:
        """Note that an operation did not reach the backend.

        :param name: of the operation.
        :param given: its positional arguments.
        """
        if name == "set_record":
            self._records[given[0]] = given[1]
        elif name in ("set", "delete"):
            self._add((given[0],))
        elif name in ("set_multi", "delete_multi"):
            self._add(given[0])

    def _add(self, keys: Iterable[Any]) -> None:
        self._keys.update(dict.fromkeys(keys))
        if len(self._keys) > _MOST_KEYS:
            self._keys.clear()
            record, raw = self._overflow()
            self._records[record] = raw

    def steps(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Return the operations that make up for what was missed."""
        self._taken_keys.update(self._keys)
        self._taken_records.update(self._records)
        self._keys.clear()
        self._records.clear()
        steps: list[tuple[str, tuple[Any, ...]]] = [
            ("set_record", item) for item in self._taken_records.items()
        ]
        if self._taken_keys:
            steps.append(("delete_multi", (list(self._taken_keys),)))
        return steps

    def done(self, name: str, given: tuple[Any, ...]) -> None:
        """Note that an operation of :meth:`steps` was made up for."""
        if name == "delete_multi":
            for key in given[0]:
                self._taken_keys.pop(key, None)
        elif self._taken_records.get(given[0]) == given[1]:
            del self._taken_records[given[0]]


class Guard:
    """A circuit breaker around the operations of one backend.

    :param backend: its name, for the errors.
    :param clock: what tells the time.
    :param overflow: see :class:`Journal`.
    """

    def __init__(
        self,
        backend: str,
        clock: Clock,
        overflow: Callable[[], tuple[str, Any]],
    ) -> None:
        self._backend = backend
        # Why it opened, where that is known.
        self._reason = ""
        self._clock = clock
        self._pause = 0.0
        self._retry_at = 0.0
        self.forget()
        _guards.add(self)
        #: Whether calls are refused; asked on each of them.
        self.is_open: bool = False
        self.journal: Journal = Journal(overflow)

    def forget(self) -> None:
        """Start anew in the child of a fork: who tries is not there, nor its lock."""
        self._lock = Lock()
        self._is_probing = False

    def admit(self, name: str, given: tuple[Any, ...] = ()) -> bool:
        """Let one caller try an open breaker, and refuse all others.

        :return: whether this caller is the one; False if it has closed meanwhile.
        :raises BackendUnavailable: it is not time to try yet; the journal has
            what was refused.
        """
        with self._lock:
            now = self._clock.monotonic()
            if not self.is_open:
                return False
            if self._is_probing or now < self._retry_at:
                # Before anybody can find that nothing is left to be done.
                self.journal.note(name, given)
                raise self._refusal(name, self._retry_at - now)
            self._is_probing = True
            return True

    def _refusal(self, name: str, left: float) -> BackendUnavailable:
        when = f"next try in {left:.1f} s" if left > 0 else "the next try is under way"
        why = self._reason or "it did not answer"
        return BackendUnavailable(
            self._backend,
            _PUBLIC.get(name, name),
            f"not asked, {when}; a moment ago: {why}",
        )

    def failed(
        self,
        name: str,
        given: tuple[Any, ...],
        *,
        is_probe: bool = False,
        error: BaseException | None = None,
    ) -> None:
        """Note that an operation did not reach the backend.

        :param error: what it raised.
        :param is_probe: its caller had tried an open breaker. Of those that were
            under way when it opened, none makes the next try come later.
        """
        with self._lock:
            self.journal.note(name, given)
            if self.is_open and not is_probe:
                return
            self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
            self._retry_at = self._clock.monotonic() + self._pause
            self._is_probing = False
            self.is_open = True
            if isinstance(error, BackendUnavailable):
                self._backend = error.backend
                self._reason = error.reason

    def refused(self, name: str, given: tuple[Any, ...]) -> None:
        """Note that an operation was not even tried, and is to be made up for."""
        with self._lock:
            self.journal.note(name, given)
            if not self.is_open:
                # It is well again already: whoever comes next makes up for it.
                self._retry_at = self._clock.monotonic()
                self.is_open = True

    def let_go(self) -> None:
        """Note that this caller does not try any more."""
        with self._lock:
            self._is_probing = False

    def recovered(self) -> bool:
        """Close the breaker, as the backend answers again.

        :return: False if there is more to be made up for first.
        """
        with self._lock:
            if self.journal:
                return False
            self._pause = 0.0
            self._is_probing = False
            self.is_open = False
            return True

    def due(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Return the operations that make up for what was missed."""
        with self._lock:
            return self.journal.steps()

    def done(self, step: str, given: tuple[Any, ...]) -> None:
        """Note that one of them was made up for."""
        with self._lock:
            self.journal.done(step, given)

    def wrap(
        self, name: str, ops: Mapping[str, Callable[..., Any]]
    ) -> Callable[..., Any]:
        """Return an operation inside the breaker.

        Only who tries an open one closes it: an answer to a question of before
        says nothing of what was missed since.

        :param ops: all operations, for the replay.
        """
        return _Guarded(self, name, ops)

    def wrap_read(
        self, name: str, ops: Mapping[str, Callable[..., Any]]
    ) -> Callable[[Any], Any]:
        """Return an operation that reads inside the breaker, in few steps.

        :param name: of one that takes one argument, and stands in no journal.
        :param ops: all operations, for the replay.
        """
        operation, general = ops[name], self.wrap(name, ops)

        def read(wanted: Any) -> Any:
            if self.is_open:
                return general(wanted)
            try:
                return operation(wanted)
            except BackendUnavailable as error:
                self.failed(name, (wanted,), error=error)
                raise

        return read

    def wrap_async(
        self, name: str, op: Callable[[str], Callable[..., Awaitable[Any]]]
    ) -> Callable[..., Awaitable[Any]]:
        """Return a native operation inside the breaker; as :meth:`wrap`.

        :param op: returns the native operation of a name.
        """
        return _AsyncGuarded(self, name, op).call


class _Guarded:
    """An operation inside a breaker, for threads."""

    __slots__ = ("_guard", "_name", "_operation", "_ops")

    def __init__(
        self, guard: Guard, name: str, ops: Mapping[str, Callable[..., Any]]
    ) -> None:
        self._guard = guard
        self._name = name
        self._ops = ops
        self._operation = ops[name]

    def __call__(self, *given: Any, **how: Any) -> Any:
        guard, name = self._guard, self._name
        is_probe = guard.is_open and guard.admit(name, given)
        if is_probe:
            self._replay(given)
        try:
            answer = self._operation(*given, **how)
        except BackendUnavailable as error:
            guard.failed(name, given, is_probe=is_probe, error=error)
            raise
        except BaseException:
            # It did answer, or this caller was interrupted.
            if is_probe:
                guard.let_go()
            raise
        if is_probe:
            self._close(given)
        return answer

    def _replay(self, given: tuple[Any, ...]) -> None:
        guard = self._guard
        try:
            for step, arguments in guard.due():
                self._ops[step](*arguments)
                guard.done(step, arguments)
        except BaseException as error:
            guard.failed(self._name, given, is_probe=True, error=error)
            raise

    def _close(self, given: tuple[Any, ...]) -> None:
        for _ in range(_MOST_ROUNDS):
            if self._guard.recovered():
                return
            self._replay(given)
        self._guard.let_go()  # the next one goes on


class _AsyncGuarded:
    """The same for event loops."""

    __slots__ = ("_guard", "_name", "_op", "_operation")

    def __init__(
        self,
        guard: Guard,
        name: str,
        op: Callable[[str], Callable[..., Awaitable[Any]]],
    ) -> None:
        self._guard = guard
        self._name = name
        self._op = op
        self._operation = op(name)

    async def call(self, *given: Any, **how: Any) -> Any:
        """Call the operation."""
        guard, name = self._guard, self._name
        is_probe = guard.is_open and guard.admit(name, given)
        if is_probe:
            await self._replay(given)
        try:
            answer = await self._operation(*given, **how)
        except BackendUnavailable as error:
            guard.failed(name, given, is_probe=is_probe, error=error)
            raise
        except BaseException:
            if is_probe:
                guard.let_go()
            raise
        if is_probe:
            await self._close(given)
        return answer

    async def _replay(self, given: tuple[Any, ...]) -> None:
        guard = self._guard
        try:
            for step, arguments in guard.due():
                await self._op(step)(*arguments)
                guard.done(step, arguments)
        except BaseException as error:
            guard.failed(self._name, given, is_probe=True, error=error)
            raise

    async def _close(self, given: tuple[Any, ...]) -> None:
        for _ in range(_MOST_ROUNDS):
            if self._guard.recovered():
                return
            await self._replay(given)
        self._guard.let_go()


_guards: weakref.WeakSet[Guard] = weakref.WeakSet()


def _after_fork() -> None:
    for guard in list(_guards):
        guard.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
