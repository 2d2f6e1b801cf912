"""Threads are kept out while one of them forks."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dogpile.cache.backends.forkgate import ForkGate
from dogpile.cache.testing.concurrency import in_child

PATIENCE = 30.0

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="this platform has no fork"
)


def test_a_fork_waits_until_all_have_come_out() -> None:
    gate = ForkGate(PATIENCE)
    is_inside, leave = threading.Event(), threading.Event()

    def act() -> None:
        with gate:
            is_inside.set()
            leave.wait(PATIENCE)

    with ThreadPoolExecutor(2) as pool:
        worker = pool.submit(act)
        is_inside.wait(PATIENCE)
        closing = pool.submit(gate.close)
        was_closed = closing.done()
        leave.set()
        worker.result(PATIENCE)
        closing.result(PATIENCE)

    assert not was_closed
    assert gate.inside == 0


def test_nobody_comes_in_until_it_has_forked() -> None:
    gate = ForkGate(PATIENCE)
    has_entered = threading.Event()

    def act() -> None:
        with gate:
            has_entered.set()

    gate.close()
    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(act)
        entered_early = has_entered.is_set()
        gate.open()
        worker.result(PATIENCE)

    assert not entered_early


def test_a_fork_does_not_wait_for_ever() -> None:
    gate = ForkGate(0.0)

    with gate:
        gate.close()
        gate.open()

    assert gate.inside == 0


def test_the_child_finds_it_open_and_empty() -> None:
    gate = ForkGate(0.0)

    def use() -> None:
        assert gate.inside == 0
        with gate:
            assert gate.inside == 1

    with gate:
        assert in_child(use) == 0
        assert gate.inside == 1


def test_a_child_that_is_forked_inside_comes_out() -> None:
    gate = ForkGate(0.0)

    def come_out() -> None:
        gate.__exit__()
        assert gate.inside == 0

    with gate:
        assert in_child(come_out) == 0
