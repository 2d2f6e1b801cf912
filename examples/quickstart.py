"""A crowd asks for one expensive report at once, without and with a cache.

    python examples/quickstart.py [--processes N] [--threads N]

The report is about the source of this Python's own standard library. What is
printed was counted and measured while it ran, and nothing is left running.
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from dogpile.cache import CacheRegion, DogpileCacheException, make_region

KEY = "report on the standard library"
# What the crowd may take without a cache, in seconds; the report is cut to it.
BUDGET = 10.0
# Who waits for the others for longer than this waits for nobody.
PATIENCE = 120.0
MINUTE, HOUR = 60.0, 3600.0


def make_report(paths: Sequence[Path]) -> dict[str, Any]:
    """Parse modules and sum up what is in them: the expensive function."""
    kinds: dict[str, int] = {"functions": 0, "classes": 0, "without docstring": 0}
    lines, longest = 0, (0, "")
    for path in paths:
        source = path.read_bytes()
        lines += source.count(b"\n")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                kinds["functions"] += 1
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                longest = max(longest, (size, f"{path.stem}.{node.name}()"))
            elif isinstance(node, ast.ClassDef):
                kinds["classes"] += 1
            else:
                continue
            kinds["without docstring"] += ast.get_docstring(node) is None
    return {"lines": lines, "longest": longest, "made at": time.time(), **kinds}


def find_modules() -> list[Path]:
    """Return the modules at the top of the standard library, largest first."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    found = sorted(folder.glob("*.py"), key=lambda path: -path.stat().st_size)
    if not found:
        sys.exit(f"this Python comes without its source: no module is in {folder}")
    return found


# The crowd: processes, each with threads that all ask at the same moment


class Question(NamedTuple):
    """What the crowd asks for.

    :param filename: of the cache; ``None`` for the default.
    :param expiration_time: seconds a report is fresh; ``None``: do not cache.
    :param fails: the creator raises.
    """

    paths: Sequence[Path]
    filename: str | None
    expiration_time: float | None
    fails: bool = False


class Outcome(NamedTuple):
    """What the callers of one process, or of all of them, have seen.

    :param creations: how often the creator was called.
    :param failures: how many of its errors were told to the listeners.
    :param waits: the seconds that each caller waited.
    :param editions: when the report that each caller got was made.
    """

    creations: int
    failures: int
    waits: list[float]
    editions: list[float]


class Crowd(NamedTuple):
    """What a process of the crowd shares with the others.

    :param start: lets all the callers of all processes ask at once.
    :param answered: counts the answers.
    """

    threads: int
    start: Any
    answered: Any


def open_region(filename: str | None, expiration_time: float) -> CacheRegion:
    """Return the cache: a file that all processes share."""
    arguments = {} if filename is None else {"filename": filename}
    return make_region(
        "dogpile.cache.sqlite",
        name="quickstart",
        expiration_time=expiration_time,
        grace=HOUR,  # so long an expired report may still be served
        retry_after=MINUTE,  # until a refresh that failed is tried again
        arguments=arguments,
    )


def join_crowd(crowd: Crowd) -> None:
    """Keep what this process was given when it was started."""
    global _crowd  # noqa: PLW0603 - how a process pool hands things over
    _crowd = crowd


def ask_all(question: Question) -> Outcome:
    """Have the threads of this process ask at once, together with the others."""
    calls: list[None] = []
    failures: list[object] = []

    def create() -> dict[str, Any]:
        calls.append(None)
        if question.fails:
            raise OSError("the source cannot be read just now")
        return make_report(question.paths)

    if question.expiration_time is None:
        answers = ask_in_threads(create)
        return Outcome(len(calls), 0, *answers)
    # The end of the block waits for a refresh in the background.
    with open_region(question.filename, question.expiration_time) as region:
        region.on("create_failed", failures.append)
        answers = ask_in_threads(lambda: region.get_or_create(KEY, create))
    return Outcome(len(calls), len(failures), *answers)


def ask_in_threads(
    ask: Callable[[], dict[str, Any]],
) -> tuple[list[float], list[float]]:
    """Return how long each thread waited, and which edition it got."""

    def ask_once(_: int) -> tuple[float, float]:
        _crowd.start.wait(PATIENCE)
        began = time.perf_counter()
        report = ask()
        seconds = time.perf_counter() - began
        with _crowd.answered.get_lock():
            _crowd.answered.value += 1
        return seconds, report["made at"]

    with ThreadPoolExecutor(_crowd.threads) as pool:
        answers = list(pool.map(ask_once, range(_crowd.threads)))
    waits, editions = zip(*answers, strict=True)
    return list(waits), list(editions)


_crowd: Crowd


class Callers:
    """The crowd, as the main process sees it.

    :param processes: how many there are.
    :param threads: how many each of them has.
    """

    def __init__(self, processes: int, threads: int) -> None:
        # Spawned, as on every platform; threads and forks do not go together.
        context = get_context("spawn")
        self.count = processes * threads
        self._processes = processes
        self._answered = context.Value("i", 0)
        crowd = Crowd(threads, context.Barrier(self.count), self._answered)
        self._pool = ProcessPoolExecutor(
            processes, mp_context=context, initializer=join_crowd, initargs=(crowd,)
        )

    def close(self) -> None:
        """Send everybody home."""
        self._pool.shutdown(cancel_futures=True)

    def ask(self, title: str, question: Question) -> Outcome:
        """Have everybody ask at once, and return what they have seen together.

        :param title: for the progress bar.
        """
        self._answered.value = 0
        # Nobody is done before all have begun, so each process gets one.
        jobs = [self._pool.submit(ask_all, question) for _ in range(self._processes)]
        progress = Progress(title, self.count)
        while wait(jobs, timeout=0.1).not_done:
            progress.show(self._answered.value)
        progress.clear()
        return total(jobs)


def total(jobs: Iterable[Future[Outcome]]) -> Outcome:
    """Return the outcomes of all processes as one."""
    outcomes = [job.result() for job in jobs]
    return Outcome(
        sum(each.creations for each in outcomes),
        sum(each.failures for each in outcomes),
        [seconds for each in outcomes for seconds in each.waits],
        [edition for each in outcomes for edition in each.editions],
    )


class Progress:
    """Says how far something is, once it has taken two seconds.

    On a terminal it is a bar, elsewhere a line now and then.

    :param count: how many steps there are.
    """

    def __init__(self, title: str, count: int) -> None:
        self._title = title
        self._count = count
        self._is_terminal = sys.stderr.isatty()
        self._next = time.monotonic() + 2.0
        self._is_shown = False

    def show(self, done: int) -> None:
        """Show it, if it is time to."""
        if time.monotonic() < self._next:
            return
        text = f"{done} of {self._count}"
        if self._is_terminal:
            filled = 30 * done // self._count
            bar = "#" * filled + "-" * (30 - filled)
            print(f"\r  [{bar}] {text}", end="", file=sys.stderr, flush=True)
            self._is_shown = True
        else:
            print(f"  {self._title}: {text}", file=sys.stderr, flush=True)
            self._next += 5.0

    def clear(self) -> None:
        """Leave the line to what comes next."""
        if self._is_shown:
            print(f"\r{'':60}\r", end="", file=sys.stderr, flush=True)


# What is told about it


def sample(paths: list[Path], callers: int) -> tuple[list[Path], float]:
    """Return some of the modules, and the seconds that a report on them takes.

    :return: fewer modules on a slow machine, so that nobody waits too long.
    """
    seconds = timed(paths)
    step = 1 + int(seconds * callers / (os.cpu_count() or 1) / BUDGET)
    if step > 1:
        paths = paths[::step]
        seconds = timed(paths)
    return paths, seconds


def timed(paths: Sequence[Path]) -> float:
    """Return the seconds that a report takes."""
    began = time.perf_counter()
    make_report(paths)
    return time.perf_counter() - began


def find_file() -> str | None:
    """Forget the last run's report, and return the file's name; None: the default."""
    try:
        forget(None)
    except DogpileCacheException as error:
        print(f"the cache lies in a temporary folder, as {error}", file=sys.stderr)
        filename = str(Path(tempfile.mkdtemp(prefix="dogpile-"), "quickstart.sqlite"))
        forget(filename)
        return filename
    return None


def forget(filename: str | None) -> None:
    """Remove the report from the cache."""
    with open_region(filename, HOUR) as region:
        region.delete(KEY)


def await_expiry(filename: str | None, seconds: float) -> float:
    """Wait until the report has expired, and return when it was made."""
    with open_region(filename, seconds) as region:
        value = region.get_value_metadata(KEY)
    if value is None:
        sys.exit("the report is gone from the cache: did somebody delete it?")
    time.sleep(max(0.0, seconds - value.age) + 0.1)
    made: float = value.payload["made at"]
    return made


def tell(title: str, outcome: Outcome, made: float | None = None) -> None:
    """Print what was seen.

    :param made: when the old report was made.
    """
    count = len(outcome.waits)
    print(f"\n{title}")
    print(f"    the creator ran      {times(outcome.creations)}")
    if outcome.failures:
        print(f"    its error was told   {times(outcome.failures)}, to the listeners")
    print(f"    a caller waited      {show(median(outcome.waits))} (median)")
    print(f"    the longest wait     {show(max(outcome.waits))}")
    if made is not None:
        print(f"    got the old report   {outcome.editions.count(made)} of {count}")
    sys.stdout.flush()


def times(count: int) -> str:
    """Return how often something was."""
    return "once" if count == 1 else f"{count} times"


def show(seconds: float) -> str:
    """Return a time in the unit that fits."""
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.2f} ms"


def main(processes: int, threads: int) -> None:
    """Let the crowd ask five times, and tell what it saw."""
    callers = processes * threads
    paths, seconds = sample(find_modules(), callers)
    filename = find_file()
    print(
        f"A report on {len(paths)} modules of {paths[0].parent}\n"
        f"takes {show(seconds)}. Callers at once: {callers} "
        f"({processes} processes, {threads} threads each)."
    )
    with closing(Callers(processes, threads)) as crowd:
        tell("No cache", crowd.ask("no cache", Question(paths, filename, None)))

        question = Question(paths, filename, HOUR)
        tell("The cache is empty: one creates", crowd.ask("empty", question))
        tell("The cache has the report", crowd.ask("full", question))

        question = Question(paths, filename, 1.0)
        made = await_expiry(filename, 1.0)
        title = "It has expired: the old one is served, one refresh runs meanwhile"
        tell(title, crowd.ask("expired", question), made)

        question = Question(paths, filename, 1.0, fails=True)
        made = await_expiry(filename, 1.0)
        title = "It has expired, and the creator fails"
        tell(title, crowd.ask("failing", question), made)

    with open_region(filename, HOUR) as region:
        report = region.get(KEY)
        backend: Any = region.actual_backend
    file = Path(backend.filename)
    size, name = report["longest"]
    print(
        f"\nThe report: {report['lines']} lines, {report['functions']} functions, "
        f"{report['classes']} classes;\n{report['without docstring']} of these "
        f"without a docstring. The longest is {name}, {size} lines.\n"
        f"It lies in {file} ({file.stat().st_size // 1024} KiB)."
    )


def read_arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--processes", type=at_least_one, default=4, metavar="N")
    parser.add_argument("--threads", type=at_least_one, default=8, metavar="N")
    return parser.parse_args()


def at_least_one(text: str) -> int:
    """Return a number from the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number from 1 on, not {text!r}")
    return int(text)


if __name__ == "__main__":
    arguments = read_arguments()
    main(arguments.processes, arguments.threads)
