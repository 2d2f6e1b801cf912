"""A PostgreSQL of the tests' own, for what Django does with one.

It is taken from the system, which as root is given it by ``apt-get``. The server
listens on a free port, trusts everybody who asks from this machine, writes nothing
that has to outlive it, and does not run as root, which it would refuse.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from servers import HOST, Server, ServerMissing, _or_skip, _runs

USER = "postgres"
#: Who the server runs as where the tests run as root.
UNPRIVILEGED = "nobody"

# What a client says first, and what it is told once it may come in.
_PARAMETERS = f"user\0{USER}\0database\0{USER}\0\0".encode()
_GREETING = (
    (len(_PARAMETERS) + 8).to_bytes(4, "big") + b"\x00\x03\x00\x00" + _PARAMETERS
)
_WELCOME = b"R\x00\x00\x00\x08\x00\x00\x00\x00"
_SWIFT = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "16MB",
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "40",
}


def find_programs() -> Path:
    """Return the folder with ``initdb`` and ``postgres``.

    :raises ServerMissing: they are nowhere to be had.
    """
    found = _installed()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        wanted = ("apt-get", "install", "-y", "-q", "--no-install-recommends")
        if not _runs(*wanted, "postgresql"):
            _runs("apt-get", "update", "-q")
            _runs(*wanted, "postgresql")
        found = _installed()
    if found is None:
        raise ServerMissing(
            "no PostgreSQL on the PATH or in /usr/lib/postgresql: install the "
            "system's package postgresql, which apt-get does for root alone"
        )
    return found


def _installed() -> Path | None:
    on_path = shutil.which("initdb")
    kept = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: float(path.parts[-3]),
    )
    for program in [*([Path(on_path)] if on_path else []), *reversed(kept)]:
        folder = program.resolve().parent
        if (folder / "postgres").exists():
            return folder
    return None


def postgresql() -> Server:
    """Return a server with a cluster that is made when it is started."""
    programs = find_programs()

    def command(port: int, folder: Path) -> Sequence[str]:
        cluster = folder / "cluster"
        _make_cluster(programs, cluster)
        chosen = [f"--{name}={value}" for name, value in _SWIFT.items()]
        server = str(programs / "postgres")
        return [*_as_nobody(), server, "-D", str(cluster), "-p", str(port), *chosen]

    return Server(command, greeting=_GREETING, answer=_WELCOME)


def _make_cluster(programs: Path, cluster: Path) -> None:
    cluster.mkdir()
    if os.geteuid() == 0:
        owner = pwd.getpwnam(UNPRIVILEGED)
        os.chown(cluster, owner.pw_uid, owner.pw_gid)
    made = subprocess.run(
        [
            *(*_as_nobody(), str(programs / "initdb"), "-D", str(cluster)),
            *("-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    if made.returncode:
        raise ServerMissing(f"initdb makes no cluster: {made.stderr[-1000:]}")


def _as_nobody() -> list[str]:
    if os.geteuid():
        return []
    owner = pwd.getpwnam(UNPRIVILEGED)
    groups = f"--regid={owner.pw_gid}"
    return ["setpriv", f"--reuid={owner.pw_uid}", groups, "--clear-groups"]


def running() -> Iterator[Server]:
    """Yield a server, which is gone in the end."""
    with _or_skip():
        server = postgresql()
    try:
        with _or_skip():
            server.start()
        yield server
    finally:
        server.stop()


def ask(port: int, *statements: str, database: str = USER) -> None:
    """Run statements, each on its own."""
    import psycopg

    at = {"host": HOST, "port": port, "user": USER, "dbname": database}
    with psycopg.connect(**at, autocommit=True) as link:
        for statement in statements:
            link.execute(statement)


def settings_of(port: int, name: str, **options: Any) -> dict[str, Any]:
    """Return the settings of a database, as ``DATABASES`` has them."""
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": HOST,
        "PORT": port,
        "USER": USER,
        "NAME": name,
        "OPTIONS": options,
    }
