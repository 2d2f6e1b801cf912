"""The 1.x release, in an environment of its own: both cannot be in one."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

from measure import CLASSIC


def python(folder: Path | None = None) -> str:
    """Return the interpreter of the environment, which is made if need be.

    :param folder: for environments; the user's cache folder else.
    :raises OSError: it could not be made.
    """
    version = ".".join(map(str, sys.version_info[:2]))
    home = (folder or _cache()) / f"dogpile.cache-{CLASSIC}-python{version}"
    names = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    interpreter = home.joinpath(*names)
    if not _has_release(interpreter):
        home.parent.mkdir(parents=True, exist_ok=True)
        venv.create(home, with_pip=True, clear=True)
        _pip(interpreter)
    return str(interpreter)


def _cache() -> Path:
    given = os.environ.get("XDG_CACHE_HOME")
    cache = Path(given) if given else Path.home() / ".cache"
    return cache / "dogpile-benchmarks"


def _has_release(interpreter: Path) -> bool:
    if not interpreter.exists():
        return False
    show = "from importlib.metadata import version; print(version('dogpile.cache'))"
    found = subprocess.run(
        [interpreter, "-c", show], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() == CLASSIC


def _pip(interpreter: Path) -> None:
    command = [str(interpreter), "-m", "pip", "install", "--quiet"]
    command += ["--disable-pip-version-check", f"dogpile.cache=={CLASSIC}"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        said = found.stderr.strip().splitlines() or ["pip said nothing"]
        raise OSError(f"pip could not install dogpile.cache {CLASSIC}: {said[-1]}")
