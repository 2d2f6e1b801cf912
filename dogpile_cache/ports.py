"""How a flow reads, writes, creates and waits, in threads and in event loops."""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from dogpile.cache.clock import Clock
from dogpile.cache.creator import checked, is_coroutine_function, name_of
from dogpile.cache.exception import CreatorTimeout
from dogpile.cache.flight import Flight, lead, running_loop
from dogpile.cache.storage import Storage
from dogpile.cache.workers import (
    CALLERS,
    CREATORS,
    REFRESHERS,
    Workers,
    while_others_work,
)

T = TypeVar("T")


class Ports(Protocol):
    """What a flow needs of the world."""

    @property
    def loop(self) -> Any:
        """The event loop that the flow runs in; ``None`` in a thread."""

    async def call(self, storage: Storage, name: str, *given: Any, **how: Any) -> Any:
        """Call an operation of the backend."""

    async def create(
        self,
        creator: Callable[[], Any],
        clock: Clock,
        seconds: float | None,
        on_timeout: Callable[[], None],
    ) -> Any:
        """Call a creator, for at most some seconds."""

    async def join(self, flight: Flight, clock: Clock, seconds: float | None) -> bool:
        """Wait for a flight's end."""

    async def pause(self, clock: Clock, seconds: float) -> None:
        """Wait."""

    def start(
        self,
        work: Callable[[Ports], Coroutine[Any, Any, Any]],
        drop: Callable[[], None],
    ) -> bool:
        """Start work in the background, unless there is too much already.

        :param drop: called if the work will never begin.
        """


class Carried(Exception):
    """Carries a StopIteration out of a coroutine, which must not raise it."""

    def __init__(self, error: StopIteration) -> None:
        super().__init__(error)
        self.error = error


def run_now(flow: Coroutine[Any, Any, T]) -> T:
    """Run a flow that never suspends to its end.

    :raises BaseException: whatever the flow raises.
    """
    try:
        flow.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    except Carried as carrier:
        raise carrier.error from carrier.error.__cause__
    flow.close()
    raise AssertionError("a flow for threads was suspended")


class ThreadPorts:
    """Call and block."""

    @property
    def loop(self) -> Any:
        """No loop."""
        return None

    async def call(self, storage: Storage, name: str, *given: Any, **how: Any) -> Any:
        """Call an operation of the backend."""
        return storage.ops[name](*given, **how)

    async def create(
        self,
        creator: Callable[[], Any],
        clock: Clock,
        seconds: float | None,
        on_timeout: Callable[[], None],
    ) -> Any:
        """Call a creator; one with a time limit runs in a thread of its own."""
        if seconds is None:
            try:
                value = creator()
            except StopIteration as error:
                raise Carried(error) from error
        else:
            try:
                value = _create_in_time(creator, clock, seconds, on_timeout)
            except StopIteration as error:
                raise Carried(error) from error
        return checked(creator, value)

    async def join(self, flight: Flight, clock: Clock, seconds: float | None) -> bool:
        """Block until a flight has ended."""
        return while_others_work(lambda: flight.wait(clock, seconds))

    async def pause(self, clock: Clock, seconds: float) -> None:
        """Block for some seconds."""
        while_others_work(lambda: clock.sleep(seconds))

    def start(
        self,
        work: Callable[[Ports], Coroutine[Any, Any, Any]],
        drop: Callable[[], None],
    ) -> bool:
        """Start work in a thread of the background."""
        context = contextvars.copy_context()
        # It is no part of what this thread creates: nobody waits for it.
        context.run(lead, None)
        is_started = REFRESHERS.submit(
            lambda: context.run(run_now, work(THREAD_PORTS)), queue=False
        )
        if not is_started:
            drop()
        return is_started


THREAD_PORTS = ThreadPorts()


def _create_in_time(
    creator: Callable[[], Any],
    clock: Clock,
    seconds: float,
    on_timeout: Callable[[], None],
) -> Any:
    answer: list[tuple[Any, BaseException | None]] = []
    gate = threading.Lock()
    gate.acquire()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            answer.append((context.run(creator), None))
        except BaseException as error:  # noqa: BLE001 - it is raised below
            answer.append((None, error))
        gate.release()

    REFRESHERS.submit(work, queue=True)
    while_others_work(lambda: clock.acquire(gate, seconds))
    if not answer:
        on_timeout()
        raise CreatorTimeout(
            f"{name_of(creator)} took longer than its hard_timeout of {seconds:g} s; "
            "what it may still return is refused"
        )
    value, error = answer[0]
    if error is not None:
        raise error
    return value


class LoopPorts:
    """Await. One for each running event loop."""

    def __init__(self, loop: Any) -> None:
        self._loop = weakref.ref(loop)
        self._tasks: set[Any] = set()

    @property
    def loop(self) -> Any:
        """The event loop."""
        return self._loop()

    async def call(self, storage: Storage, name: str, *given: Any, **how: Any) -> Any:
        """Await a native operation, call a quick one, have a thread call others."""
        if storage.capabilities.inline:
            return storage.ops[name](*given, **how)
        native = storage.shared.async_op(name)
        if native is not None:
            return await native(*given, **how)
        operation = storage.ops[name]
        return await in_thread(lambda: operation(*given, **how))

    async def create(
        self,
        creator: Callable[[], Any],
        clock: Clock,
        seconds: float | None,
        on_timeout: Callable[[], None],
    ) -> Any:
        """Await a coroutine function; a plain one runs in a thread unless quick."""
        if is_coroutine_function(creator) or getattr(creator, "quick", False):
            pending: Any = creator()
            if not hasattr(pending, "__await__"):
                return pending
        else:
            pending = _created_in_thread(creator)
        if seconds is not None:
            pending = self._in_time(pending, creator, clock, seconds, on_timeout)
        return await pending

    async def _in_time(
        self,
        pending: Awaitable[Any],
        creator: Callable[[], Any],
        clock: Clock,
        seconds: float,
        on_timeout: Callable[[], None],
    ) -> Any:
        import asyncio

        task = asyncio.ensure_future(pending)
        timer = asyncio.ensure_future(clock.asleep(seconds))
        try:
            await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            on_timeout()
            raise CreatorTimeout(
                f"{name_of(creator)} took longer than its hard_timeout of "
                f"{seconds:g} s; what it may still return is refused"
            )
        finally:
            task.cancel()
            timer.cancel()

    async def join(self, flight: Flight, clock: Clock, seconds: float | None) -> bool:
        """Wait until a flight has ended; being cancelled concerns nobody else."""
        import asyncio

        loop = asyncio.get_running_loop()
        arrived: Any = loop.create_future()
        if not flight.add_waiter(_Waker(loop, arrived)):
            return True
        if seconds is None:
            await arrived
        elif type(clock) is Clock:
            timer = loop.call_later(seconds, _set, arrived)
            try:
                await arrived
            finally:
                timer.cancel()
        else:
            sleeper = asyncio.ensure_future(clock.asleep(seconds))
            try:
                await asyncio.wait(
                    {arrived, sleeper}, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                sleeper.cancel()
        return flight.done

    async def pause(self, clock: Clock, seconds: float) -> None:
        """Wait for some seconds."""
        await clock.asleep(seconds)

    def start(
        self,
        work: Callable[[Ports], Coroutine[Any, Any, Any]],
        drop: Callable[[], None],
    ) -> bool:
        """Start work in a task of this loop."""
        import asyncio

        context = contextvars.copy_context()
        context.run(lead, None)
        begun = _Begun(work, self)
        task = context.run(asyncio.ensure_future, begun.run())
        # A loop holds its tasks weakly.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: None if begun else drop())
        return True


class _Begun:
    """Work that is true once it has begun: a cancelled task may never begin."""

    __slots__ = ("_is_begun", "_ports", "_work")

    def __init__(
        self, work: Callable[[Ports], Coroutine[Any, Any, Any]], ports: Ports
    ) -> None:
        self._work = work
        self._ports = ports
        self._is_begun = False

    def __bool__(self) -> bool:
        return self._is_begun

    async def run(self) -> None:
        self._is_begun = True
        await self._work(self._ports)


class _Waker:
    """Ends a task's wait, from whichever thread."""

    __slots__ = ("_arrived", "_loop")

    def __init__(self, loop: Any, arrived: Any) -> None:
        self._loop = loop
        self._arrived = arrived

    def __call__(self) -> None:
        if running_loop() is self._loop:
            _set(self._arrived)
            return
        # If the loop was closed, nobody waits any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_set, self._arrived)


def _set(arrived: Any) -> None:
    if not arrived.done():
        arrived.set_result(None)


async def in_thread(work: Callable[[], Any], workers: Workers = CALLERS) -> Any:
    """Have a worker thread run something, which may outlive this task."""
    import asyncio

    loop = asyncio.get_running_loop()
    arrived: Any = loop.create_future()
    answer: list[tuple[Any, BaseException | None]] = []
    context = contextvars.copy_context()
    wake = _Waker(loop, arrived)

    def task() -> None:
        try:
            answer.append((context.run(work), None))
        except BaseException as error:  # noqa: BLE001 - it is raised below
            answer.append((None, error))
        wake()

    workers.submit(task, queue=True)
    await arrived
    value, error = answer[0]
    if error is not None:
        raise error
    return value


async def _created_in_thread(creator: Callable[[], Any]) -> Any:
    value = await in_thread(creator, CREATORS)
    # A plain function may return an awaitable, such as a lambda's call.
    return await value if hasattr(value, "__await__") else value


_loop_ports: weakref.WeakKeyDictionary[Any, LoopPorts] = weakref.WeakKeyDictionary()


def loop_ports() -> LoopPorts:
    """Return the ports of the event loop that runs here."""
    loop = running_loop()
    ports = _loop_ports.get(loop)
    if ports is None:
        ports = _loop_ports[loop] = LoopPorts(loop)
    return ports


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_loop_ports.clear)
