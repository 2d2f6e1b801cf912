"""Small releases to be unpacked, and what a program that runs them answers."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def pack(sdist: Path, top: str, files: Mapping[str, str]) -> None:
    """Write a release.

    :param top: the folder that everything is in.
    :param files: their texts, by their paths in there.
    """
    with tarfile.open(sdist, "w:gz") as archive:
        for path, text in files.items():
            content = text.encode()
            member = tarfile.TarInfo(f"{top}/{path}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def answer_of(
    program: Path, *arguments: str | Path, **variables: str
) -> tuple[int, str]:
    """Run a program of Python, and return its code and all that it says.

    :param variables: of its environment, beside those of this process.
    """
    command: Sequence[str | Path] = (sys.executable, program, *arguments)
    # It runs pytest itself, and is no part of this run.
    own = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**own, **variables},
    )
    return done.returncode, done.stdout
