"""Threads for what must not block its caller."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Seconds after which a thread without work ends.
_IDLE = 10.0


class Workers:
    """Threads for what must not block its caller; bounded, and never waited for.

    They are daemons: a creator that hangs must not keep a program from
    ending, as the threads of :mod:`concurrent.futures` would.

    :param most: threads at the same time.
    """

    def __init__(self, most: int) -> None:
        self._size = self._most = most
        self._tasks: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0

    def submit(self, task: Callable[[], object], *, queue: bool) -> bool:
        """Have a thread run a task.

        :param task: it must not raise.
        :param queue: wait for a thread to be free.
        :return: False if none is, and ``queue`` is not set.
        """
        with self._changed:
            if self._idle > len(self._tasks):
                self._tasks.append(task)
                self._changed.notify()
                return True
            if self._threads < self._most:
                try:
                    self._add_thread()
                except RuntimeError:
                    # There are no more, as when the interpreter ends.
                    if queue and not self._threads:
                        raise
                else:
                    self._tasks.append(task)
                    return True
            if queue:
                self._tasks.append(task)
            return queue

    def lend(self, places: int) -> None:
        """Let more threads work while as many wait for others, or fewer again.

        Else a creator might wait for one that waits for a thread.
        """
        with self._changed:
            self._most += places
            if self._idle < len(self._tasks) and self._threads < self._most:
                with contextlib.suppress(RuntimeError):
                    self._add_thread()

    def _add_thread(self) -> None:
        threading.Thread(target=self._run, name="dogpile-worker", daemon=True).start()
        self._threads += 1

    def forget(self) -> None:
        """Start anew in the child of a fork: threads do not survive it."""
        self._tasks = deque()
        self._changed = threading.Condition()
        self._threads = self._idle = 0
        self._most = self._size

    def _run(self) -> None:
        _here.workers = self
        while True:
            with self._changed:
                if self._threads > self._most:
                    self._threads -= 1
                    return  # it took the place of one that waited
                self._idle += 1
                while not self._tasks:
                    if not self._changed.wait(_IDLE) and not self._tasks:
                        self._idle -= 1
                        self._threads -= 1
                        return
                self._idle -= 1
                task = self._tasks.popleft()
            try:
                task()
            except BaseException:
                with self._changed:
                    self._threads -= 1
                raise
            del task


class _Here(threading.local):
    """What this thread works for, if it is a worker."""

    workers: Workers | None = None


_here = _Here()


def while_others_work(wait: Callable[[], T]) -> T:
    """Wait; a worker lends its place to another one meanwhile."""
    workers = _here.workers
    if workers is None:
        return wait()
    workers.lend(1)
    try:
        return wait()
    finally:
        workers.lend(-1)


#: Creations in the background, and creators that have a time limit.
REFRESHERS = Workers(32)
#: Operations of blocking backends, for event loops.
CALLERS = Workers(32)
#: Plain creators, for event loops: they may wait for operations in turn.
CREATORS = Workers(64)


def _after_fork() -> None:
    REFRESHERS.forget()
    CALLERS.forget()
    CREATORS.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
