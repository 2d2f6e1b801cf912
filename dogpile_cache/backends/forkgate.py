"""Keeps all threads out of a library while one of them forks."""

from __future__ import annotations

import os
import threading
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self


class ForkGate:
    """Lets threads in, but for the time that a fork takes.

    Some libraries have locks of their own for the whole process. What another
    thread holds of them while the process is forked nobody frees in the child.

    :param patience: seconds that a fork waits until all threads have come out.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._changed = threading.Condition()
        self._inside = 0
        self._forks = 0
        _gates.add(self)

    def __enter__(self) -> Self:
        with self._changed:
            while self._forks:
                self._changed.wait()
            self._inside += 1
        return self

    def __exit__(self, *raised: object) -> None:
        with self._changed:
            # None is inside for a child that was forked in there.
            self._inside = max(0, self._inside - 1)
            self._changed.notify_all()

    @property
    def inside(self) -> int:
        """How many threads are inside."""
        return self._inside

    def close(self) -> None:
        """Let nobody in any more, and wait until all have come out."""
        with self._changed:
            self._forks += 1
            self._changed.wait_for(lambda: not self._inside, self._patience)

    def open(self) -> None:
        """Let them in again, in the parent."""
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()

    def forget(self) -> None:
        """Begin anew, in the child."""
        self._changed = threading.Condition()
        self._inside = self._forks = 0


def _before_fork() -> None:
    for gate in list(_gates):
        gate.close()


def _after_fork_in_parent() -> None:
    for gate in list(_gates):
        gate.open()


def _after_fork_in_child() -> None:
    for gate in list(_gates):
        gate.forget()


_gates: weakref.WeakSet[ForkGate] = weakref.WeakSet()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
