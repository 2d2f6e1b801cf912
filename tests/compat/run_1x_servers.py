"""Run the server tests of the 1.x release, on servers that are started here.

    python tests/compat/run_1x_servers.py --folder FOLDER [RUN_1X OPTIONS]

Memcached with and without TLS, Redis, Valkey, and a sentinel for each; the
differences are listed in ``docs/compat_1x_servers.toml``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import run_1x  # noqa: E402 - beside this file, which need not be a package
import servers  # noqa: E402

DIFFERENCES = HERE.parents[1] / "docs" / "compat_1x_servers.toml"


@contextlib.contextmanager
def running(suite: Path) -> Iterator[dict[str, str]]:
    """Start the servers; yield the variables by which the suite finds them.

    :param suite: the unpacked release, whose certificates its clients trust.
    """
    with contextlib.ExitStack() as stack:

        def start(server: servers.Server) -> str:
            stack.callback(server.stop)
            return str(server.start().port)

        def start_sentinel(program: str) -> str:
            sentinel = servers.Sentinel(program, service_name="pifpaf")
            stack.callback(sentinel.stop)
            sentinel.start()
            return str(sentinel.port)

        def start_tls(command: list[str]) -> str:
            # What speaks TLS alone cannot be asked how it is.
            port = str(servers.free_port())
            user = ["-u", "nobody"] if os.geteuid() == 0 else []
            process = subprocess.Popen(
                [*command, *user, "-l", servers.HOST, "-p", port]
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
            servers.wait_until(lambda: is_open(int(port)), "it takes connections")
            return port

        redis = servers.find_redis("redis-server")
        valkey = servers.find_redis("valkey-server")
        memcached = servers.find_memcached()
        keys = suite / "tests" / "tls"
        secret = (
            f"ssl_chain_cert={keys / 'server_chain.pem'},ssl_key={keys / 'server.key'}"
        )
        yield {
            "DOGPILE_MEMCACHED_PORT": start(servers.memcached_like(memcached)),
            "DOGPILE_TLS_MEMCACHED_PORT": start_tls([*memcached, "-Z", "-o", secret]),
            "DOGPILE_REDIS_PORT": start(servers.redis_like(redis)),
            "DOGPILE_VALKEY_PORT": start(servers.redis_like(valkey)),
            "DOGPILE_REDIS_SENTINEL_PORT": start_sentinel(redis),
            "DOGPILE_VALKEY_SENTINEL_PORT": start_sentinel(valkey),
        }


def is_open(port: int) -> bool:
    """Return whether somebody listens."""
    with contextlib.suppress(OSError), socket.create_connection((servers.HOST, port)):
        return True
    return False


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        sdist = run_1x.download(folder)
        run_1x.unpack(sdist, folder / "suite")
        # Memcached reads the key as another user than root.
        for each in (folder, folder / "suite", *(folder / "suite").rglob("*")):
            each.chmod(0o755 if each.is_dir() else 0o644)
        with running(folder / "suite") as variables:
            os.environ.update(variables)
            options = ["--differences", str(DIFFERENCES), "--suite", str(sdist)]
            sys.exit(run_1x.main([*options, *sys.argv[1:]]))
