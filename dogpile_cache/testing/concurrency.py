"""Races and forks for tests, without guessing how long anything takes."""

from __future__ import annotations

import os
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_T = TypeVar("_T")
# Real seconds after which something must be wrong.
_PATIENCE = 30


def together(act: Callable[[Any], _T], arguments: Iterable[Any]) -> list[_T]:
    """Call a function in as many threads as there are arguments, at once.

    :return: what each call returned, in the order of the arguments.
    :raises Exception: what the first of them raised.
    """
    given = list(arguments)
    barrier = threading.Barrier(len(given))

    def start(argument: Any) -> _T:
        barrier.wait(_PATIENCE)
        return act(argument)

    with ThreadPoolExecutor(len(given)) as pool:
        futures = [pool.submit(start, argument) for argument in given]
    return [future.result() for future in futures]


def in_child(act: Callable[[], object]) -> int:
    """Fork, and call a function in the child.

    :return: the child's exit code: 0, 1 for an error (which it prints),
        negative for the signal that killed it, at the latest after 30 s.
    """
    with warnings.catch_warnings():
        # A fork beside other threads is what is to be tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        signal.alarm(_PATIENCE)
        act()
        code = 0
    except BaseException:  # noqa: BLE001 - nothing may pass on into the test run
        traceback.print_exc()
    finally:
        os._exit(code)
