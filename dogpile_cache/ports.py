"""How a flow reads, writes, creates and waits, in threads and in event loops."""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from dogpile.cache.clock import Clock
from dogpile.cache.exception import CoroutineCreatorError, CreatorTimeout
from dogpile.cache.flight import Flight, lead, running_loop
from dogpile.cache.storage import Storage

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


def _while_others_work(wait: Callable[[], T]) -> T:
    """Wait; a worker lends its place to another one meanwhile."""
    workers = _here.workers
    if workers is None:
        return wait()
    workers.lend(1)
    try:
        return wait()
    finally:
        workers.lend(-1)


# Seconds after which a thread without work ends.
_IDLE = 10.0

#: Creations in the background, and creators that have a time limit.
REFRESHERS = Workers(32)
#: Operations of blocking backends, for event loops.
CALLERS = Workers(32)
#: Plain creators, for event loops: they may wait for operations in turn.
CREATORS = Workers(64)


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
        return _while_others_work(lambda: flight.wait(clock, seconds))

    async def pause(self, clock: Clock, seconds: float) -> None:
        """Block for some seconds."""
        _while_others_work(lambda: clock.sleep(seconds))

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
    _while_others_work(lambda: clock.acquire(gate, seconds))
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
        native = storage.async_op(name)
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


def is_coroutine_function(creator: Any) -> bool:
    """Return whether calling it makes a coroutine."""
    # Who has written one has compiled it with this flag (CO_COROUTINE).
    while hasattr(creator, "func"):  # functools.partial
        creator = creator.func
    function = getattr(creator, "__func__", creator)
    code = getattr(function, "__code__", None)
    if code is None:
        code = getattr(vars(type(creator)).get("__call__"), "__code__", None)
    return bool(code is not None and getattr(code, "co_flags", 0) & 0x80)


def quick(creator: T) -> T:
    """Mark a plain creator as quick enough to run in an event loop.

    :param creator: a function that neither blocks nor computes for long.
    :return: the same function.
    """
    creator.quick = True  # type: ignore[attr-defined]  # a mark of ours
    return creator


def checked(creator: Any, value: Any) -> Any:
    """Return what a creator returned, unless it has to be awaited.

    :raises CoroutineCreatorError: it has.
    """
    if not hasattr(value, "__await__"):
        return value
    close = getattr(value, "close", None)
    if close is not None:
        close()  # else Python warns that it was never awaited
    raise CoroutineCreatorError(
        f"{name_of(creator)} returns an awaitable, which get_or_create() cannot "
        "await: use aget_or_create(), or decorate the coroutine function itself"
    )


def name_of(creator: Any) -> str:
    """Return what a creator is called in errors and warnings."""
    while hasattr(creator, "func"):  # functools.partial
        creator = creator.func
    return str(getattr(creator, "__qualname__", None) or type(creator).__name__)


def _after_fork() -> None:
    REFRESHERS.forget()
    CALLERS.forget()
    CREATORS.forget()
    _loop_ports.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
