"""Measure the figures that the package promises, and print a table of them.

    python benchmarks/run.py [--only NAME] [--rounds 7] [--json FILE] [--rst FILE]

Each round of a figure runs in a process of its own, in which the contestants
take turns; a ratio is one of two contestants in one round, and what is printed
is the median of the rounds. The 1.x release, which cannot be in the same
environment, runs in a second one, beside the same floor.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import classic
import report
import rivals
from measure import CLASSIC, Effort, Figure, Readings

_MODULES = (
    "bench_hits",
    "bench_misses",
    "bench_crowds",
    "bench_processes",
    "bench_sqlite",
    "bench_many",
    "bench_memory",
    "bench_evictions",
    "bench_imports",
    "bench_flask",
    "bench_django",
    "bench_mako",
    "bench_servers",
)
# Seconds after which a round is given up.
_PATIENCE = 900


def figures() -> list[Figure]:
    """Return all figures, in the order of the table."""
    found: list[Figure] = []
    for name in _MODULES:
        found.extend(importlib.import_module(name).FIGURES)
    return found


def one_round(name: str, effort: Effort) -> Readings:
    """Run a round in this process."""
    [figure] = [figure for figure in figures() if figure.name == name]
    if not figure.is_parallel and hasattr(os, "sched_setaffinity"):
        # One processor, so that none of the time goes into moving around.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return figure.measure(effort)


def elsewhere(interpreter: str, figure: Figure, effort: Effort) -> Readings:
    """Run a round in a process of its own.

    :raises OSError: it failed.
    """
    command = [interpreter, __file__, "--round", figure.name]
    command += ["--scale", str(effort.scale), "--turn", str(effort.turn)]
    if effort.is_classic:
        command.append("--classic")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=_PATIENCE)
        except BaseException:
            # With the processes that it has started.
            _kill(process)
            raise
    if process.returncode:
        raise OSError(f"{figure.name} ended with {process.returncode}")
    readings: Readings = json.loads(output.splitlines()[-1])
    return readings


def _kill(process: subprocess.Popen[str]) -> None:
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def measured(
    figure: Figure, options: argparse.Namespace, old: str | None
) -> list[report.Line]:
    """Run the rounds of a figure."""
    rounds = []
    for turn in range(options.rounds):
        effort = Effort(options.scale, turn, is_classic=False)
        own = elsewhere(sys.executable, figure, effort)
        its = None
        if old is not None and figure.with_classic:
            its = _of_classic(old, figure, effort)
        rounds.append(report.joined(own, its))
    return report.summed_up(figure, rounds)


def _of_classic(old: str, figure: Figure, effort: Effort) -> Readings | None:
    try:
        return elsewhere(old, figure, effort._replace(is_classic=True))
    except (OSError, subprocess.SubprocessError) as error:
        print(f"skipped: a round of dogpile.cache {CLASSIC}: {error}")
        return None


def _old(options: argparse.Namespace) -> str | None:
    if options.without_1x:
        return None
    try:
        return classic.python(options.environments)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"skipped: dogpile.cache {CLASSIC}: {error}")
        return None


def measure_all(options: argparse.Namespace) -> int:
    """Run what was asked for, and print the tables.

    :return: how many figures failed.
    """
    for name in rivals.missing():
        print(f"skipped: {name} is not installed")
    old = _old(options)
    print(report.machine())
    lines: list[report.Line] = []
    failed = 0
    for figure in figures():
        if options.only and figure.name not in options.only:
            continue
        if not figure.rows:
            print(f"\nskipped: {figure.name}: what it measures is not installed")
            continue
        try:
            found = measured(figure, options, old)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"\nfailed: {error}")
            failed += 1
            continue
        lines += found
        print(f"\n{report.plain(found)}", flush=True)
    missed = sum(j.is_kept is False for line in lines for j in line.judged)
    print(f"\n{sum(len(line.judged) for line in lines)} limits, {missed} missed")
    if options.json:
        content = {
            "machine": report.machine(),
            "figures": [report.as_json(line) for line in lines],
        }
        options.json.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    if options.rst:
        text = report.restructured(lines, options.rounds)
        options.rst.write_text(text, "utf-8")
    return failed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--only", action="append", metavar="NAME", help="a figure; may be repeated")
    add("--list", action="store_true", help="print the names of the figures")
    add("--rounds", type=int, default=7, help="whose medians are printed")
    add("--json", type=Path, metavar="FILE", help="write all rounds to it")
    add("--rst", type=Path, metavar="FILE", help="write the table to it")
    add("--without-1x", action="store_true", help=f"leave {CLASSIC} out")
    add("--environments", type=Path, help=f"folder for the environment of {CLASSIC}")
    add("--scale", type=float, default=1.0, help="less than 1: a trial")
    add("--round", help=argparse.SUPPRESS)
    add("--turn", type=int, default=0, help=argparse.SUPPRESS)
    add("--classic", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; or run one round, for a process that measures."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.round:
        effort = Effort(options.scale, options.turn, options.classic)
        print(json.dumps(one_round(options.round, effort)))
        return 0
    names = [figure.name for figure in figures()]
    if options.list:
        print("\n".join(figure.name for figure in figures() if figure.rows))
        return 0
    for name in options.only or ():
        if name not in names:
            parser.error(f"there is no figure {name!r}; there are {', '.join(names)}")
    if options.rounds < 1:
        parser.error("--rounds takes a number from 1 on")
    return 1 if measure_all(options) else 0


if __name__ == "__main__":
    sys.exit(main())
