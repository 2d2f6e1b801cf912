"""Threads for what must not block its caller."""

from __future__ import annotations

import functools
import os
import threading

import pytest

from dogpile.cache.testing.concurrency import in_child
from dogpile.cache.workers import REFRESHERS, Workers

PATIENCE = 10.0


def note_thread(threads: list[int], done: threading.Event) -> None:
    threads.append(threading.get_ident())
    done.set()


class TestWorkers:
    def test_a_task_runs_in_a_thread(self) -> None:
        workers, done = Workers(2), threading.Event()

        is_taken = workers.submit(done.set, queue=False)

        assert is_taken
        assert done.wait(PATIENCE)

    def test_there_are_no_more_threads_than_that(self) -> None:
        workers, end = Workers(2), threading.Event()
        began = threading.Semaphore(0)

        def task() -> None:
            began.release()
            assert end.wait(PATIENCE)

        taken = [workers.submit(task, queue=False) for _ in range(3)]
        both_began = [began.acquire(timeout=PATIENCE) for _ in range(2)]
        end.set()

        assert taken == [True, True, False]
        assert both_began == [True, True]

    def test_a_task_may_wait_for_a_thread(self) -> None:
        workers, end = Workers(1), threading.Event()
        done: list[int] = []
        last = threading.Event()

        workers.submit(lambda: end.wait(PATIENCE), queue=True)
        for number in range(3):
            workers.submit(functools.partial(done.append, number), queue=True)
        workers.submit(last.set, queue=True)
        before = list(done)
        end.set()

        assert last.wait(PATIENCE)
        assert (before, done) == ([], [0, 1, 2])

    def test_an_idle_thread_is_used_again(self) -> None:
        workers = Workers(1)
        threads: list[int] = []
        for _ in range(3):
            done = threading.Event()
            workers.submit(functools.partial(note_thread, threads, done), queue=True)
            assert done.wait(PATIENCE)

        assert len({*threads}) == 1

    def test_no_thread_keeps_the_program_from_ending(self) -> None:
        workers, seen = Workers(1), list[bool]()
        done = threading.Event()

        def task() -> None:
            seen.append(threading.current_thread().daemon)
            done.set()

        workers.submit(task, queue=True)

        assert done.wait(PATIENCE)
        assert seen == [True]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
    def test_a_child_of_a_fork_starts_anew(self) -> None:
        done = threading.Event()
        REFRESHERS.submit(done.set, queue=True)
        assert done.wait(PATIENCE)

        def run_in_child() -> None:
            done = threading.Event()
            assert REFRESHERS.submit(done.set, queue=True)
            assert done.wait(PATIENCE)

        assert in_child(run_in_child) == 0
