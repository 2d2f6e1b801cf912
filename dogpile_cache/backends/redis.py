"""Values and leases in a Redis or Valkey: alone, behind sentinels, a cluster."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NoReturn, TypeVar

from dogpile.cache.api import (
    BackendArguments,
    CacheMutex,
    KeyType,
    Lease,
    SerializedReturnType,
)
from dogpile.cache.backends.network import flag_in, watch_forks
from dogpile.cache.backends.redis_async import PAUSE, PerLoop, RedisTwins
from dogpile.cache.backends.redis_clients import Clients, Sentinels, Sharded
from dogpile.cache.backends.redis_core import granted_of, is_unknown, unknown_in
from dogpile.cache.backends.redis_errors import is_nonsense
from dogpile.cache.backends.redis_mutex import Mutexes
from dogpile.cache.backends.redis_scripts import (
    Call,
    as_value,
    held_call,
    is_lease_name,
    lease_call,
    lease_name,
    release_call,
    renew_call,
    scan_pattern,
)
from dogpile.cache.backends.redis_settings import VALKEY
from dogpile.cache.exception import BackendError

__all__ = [
    "RedisBackend",
    "RedisClusterBackend",
    "RedisSentinelBackend",
    "ValkeyBackend",
    "ValkeyClusterBackend",
    "ValkeySentinelBackend",
]

Answer = TypeVar("Answer")

_CONNECTION_ARGUMENTS = {
    *("username", "password", "db", "ssl", "connection_kwargs"),
    *("socket_timeout", "socket_connect_timeout"),
    *("socket_keepalive", "socket_keepalive_options"),
}
_OWN_ARGUMENTS = {
    *("redis_expiration_time", "max_value_bytes", "notify"),
    *("distributed_lock", "lock_timeout", "lock_sleep", "lock_prefix"),
    *("lock_blocking", "lock_blocking_timeout", "thread_local_lock"),
}


# Keys that one SCAN looks at.
_SCANNED_AT_ONCE = 1000


class RedisBackend(RedisTwins):
    """Keep values in a Redis server.

    Of the ``arguments`` ``url`` or ``host``, ``port`` and ``db`` say which, or a
    ``connection_pool`` does; all of them stand on the page *Redis and Valkey*.

    >>> from dogpile.cache import make_region
    >>> region = make_region().configure(  # doctest: +SKIP
    ...     "dogpile.cache.redis", arguments={"url": "redis://localhost:6379/0"}
    ... )

    :raises ConfigurationError: the client library is missing, or does not take
        the arguments.
    """

    argument_names: frozenset[str] = frozenset(
        {"url", "host", "port", "connection_pool"}
        | _CONNECTION_ARGUMENTS
        | _OWN_ARGUMENTS
    )
    # What 1.x has by default, for the mutexes only.
    _distributed_lock: ClassVar[bool] = False

    def __init__(self, arguments: BackendArguments) -> None:
        super().__init__(arguments)
        self.distributed_lock: bool = flag_in(
            arguments, "distributed_lock", self._distributed_lock
        )
        self._mutexes = Mutexes(
            arguments, self._fail, thread_local=not self._distributed_lock
        )
        self.lock_timeout: float | None = self._mutexes.timeout
        self._per_loop = PerLoop(self._connector.aconnect)
        self._clients: Clients | None = None
        self._left_behind: list[object] = []
        self._get: Callable[[KeyType], Any]
        self._start()
        watch_forks(self)

    @property
    def reader_client(self) -> Any:
        """The client library's client that reads."""
        return self._connected().reader

    @property
    def writer_client(self) -> Any:
        """The client library's client that writes."""
        return self._connected().writer

    def get_serialized(self, key: KeyType) -> SerializedReturnType:
        """Return the bytes stored under the key, or :data:`NO_VALUE`."""
        try:
            value = self._get(key)
            # The one test of a hit, in place.
            return value if type(value) is bytes else as_value(value)
        except Exception as error:  # noqa: BLE001 - _fail() raises it as ours
            self._fail("get", error)
        except BaseException:
            self._distrust()
            raise

    def get_serialized_multi(
        self, keys: Sequence[KeyType]
    ) -> Sequence[SerializedReturnType]:
        """Return the bytes stored under each key, in their order."""
        if not keys:
            return []
        try:
            reader = self._connected().reader
            read = reader.mget_nonatomic if self._is_sharded else reader.mget
            return self._as_values(keys, read(list(keys)))
        except Exception as error:  # noqa: BLE001 - _fail() raises it as ours
            self._fail("get_multi", error)
        except BaseException:
            self._distrust()
            raise

    def set_serialized(
        self, key: KeyType, value: bytes, ttl: float | None = None
    ) -> None:
        """Store bytes under the key, and void its lease.

        :param ttl: seconds after which the server may drop them.
        """
        self._run("put", self._set_call(key, value, ttl))

    def set_serialized_multi(
        self, mapping: Mapping[KeyType, bytes], ttl: float | None = None
    ) -> None:
        """Store the bytes of each key, and void the leases of all."""
        calls = [self._set_call(key, mapping[key], ttl) for key in mapping]
        self._run_many("put_multi", calls)

    def delete(self, key: KeyType) -> None:
        """Remove the value, and void the lease of its key."""
        self._run("delete", self._delete_call(key))

    def delete_multi(self, keys: Sequence[KeyType]) -> None:
        """Remove the values of all the keys, and void their leases."""
        self._run_many("delete_multi", [self._delete_call(key) for key in keys])

    def lease(
        self,
        key: KeyType,
        seconds: float,
        *,
        after: str | None = None,
        steal: bool = False,
    ) -> Lease:
        """Ask for the right to create the value of a key, and read the key."""
        return self._run("lease", lease_call(key, seconds, after, steal))

    def lease_multi(self, keys: Sequence[KeyType], seconds: float) -> list[Lease]:
        """Ask for the leases of many keys, in one round trip."""
        answers = self._ask("lease_multi", [lease_call(key, seconds) for key in keys])
        try:
            return self._checked("lease_multi", answers)
        except BackendError:
            # Nobody would create for these.
            with contextlib.suppress(BackendError):
                self.release_multi(granted_of(answers))
            raise

    def renew(self, lease: Lease, seconds: float) -> bool:
        """Let a lease end later; return whether it is still the caller's."""
        return self._run("renew", renew_call(lease, seconds))

    def commit(self, lease: Lease, value: Any, *, ttl: float | None = None) -> bool:
        """Store the created value and end the lease, in one step."""
        return self._run("commit", self._commit_call(lease, value, ttl))

    def commit_multi(
        self, values: Sequence[tuple[Lease, Any]], *, ttl: float | None = None
    ) -> list[bool]:
        """Store many created values, in one round trip.

        :raises ValueTooLarge: one of them has more than ``max_value_bytes``; the
            others are stored.
        """
        calls, refused = self._commits(values, ttl)
        stored = self._run_many("commit_multi", calls)
        if refused is not None:
            raise refused
        return stored

    def release(self, lease: Lease, failure: bytes | None = None) -> None:
        """End a lease without a value."""
        self._run("release", release_call(lease, failure, self.notify))

    def release_multi(
        self, leases: Sequence[Lease], failure: bytes | None = None
    ) -> None:
        """End many leases without a value, in one round trip."""
        calls = [release_call(lease, failure, self.notify) for lease in leases]
        self._run_many("release_multi", calls)

    def is_leased(self, key: KeyType) -> bool:
        """Return whether somebody holds the lease of the key now."""
        return self._run("is_leased", held_call(key)) > 0

    def wait_for(self, key: KeyType, seconds: float) -> None:
        """Wait until the lease of a key ends, or nearly so, or time is up.

        With ``notify`` whoever ends a lease tells those who wait; without, this
        is a short rest.

        :param seconds: how long at most. It may come back earlier.
        """
        if not self.notify:
            left = self._run("wait_for", held_call(key))
            self.clock.sleep(min(seconds, left, PAUSE))
            return
        try:
            with self._connected().writer.pubsub() as channel:
                channel.subscribe(lease_name(key))
                channel.get_message(timeout=seconds)
                # It may have ended before anybody listened.
                left = self._run("wait_for", held_call(key))
                if left > 0:
                    channel.get_message(timeout=min(seconds, left))
        except Exception as error:  # noqa: BLE001 - _fail() raises it as ours
            self._fail("wait_for", error)

    def iter_keys(self, start: str) -> Iterator[str]:
        """Yield the keys that begin so, as the server's ``SCAN`` finds them."""
        seen: set[bytes] = set()  # SCAN may tell a key twice
        try:
            found = self._connected().reader.scan_iter(
                match=scan_pattern(start), count=_SCANNED_AT_ONCE
            )
            for key in found:
                if key not in seen and not is_lease_name(key):
                    seen.add(key)
                    yield key.decode("utf-8", "surrogateescape")
        except Exception as error:  # noqa: BLE001 - _fail() raises it as ours
            self._fail("iter_keys", error)

    def has_lock_timeout(self) -> bool:
        """Return whether the mutexes of 1.x end by themselves."""
        return self.lock_timeout is not None

    def get_mutex(self, key: KeyType) -> CacheMutex | None:
        """Return a 1.x mutex, if ``distributed_lock`` asks for them."""
        if not self.distributed_lock:
            return None
        return self._mutexes.mutex(self.writer_client, key)

    def close(self) -> None:
        """Give back the connections of its own; it may be used again after."""
        clients = self._clients
        if clients is not None:
            if self._connector.eager:
                self._start()
            clients.close()

    def start_afresh(self) -> None:
        """Forget sockets and locks; called in a forked child.

        The old clients are kept, as to let go of them is to wait for locks that
        a thread of the parent may have held.
        """
        self._left_behind.append(self._clients)
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._clients = None
        self._get = self._first_get
        if not self._connector.eager:
            self._connected()

    def _connected(self) -> Clients:
        clients = self._clients
        if clients is None:
            with self._lock:
                clients = self._clients
                if clients is None:
                    clients = self._connector.connect()
                    self._get = clients.reader.get
                    self._clients = clients
        return clients

    def _first_get(self, key: KeyType) -> Any:
        return self._connected().reader.get(key)

    def _distrust(self) -> None:
        """Close the idle connections: one of them may not be what it seems.

        An interrupt between a question and its answer leaves the answer unread,
        for whoever comes next to take it for that to its own question; nonsense
        in the greetings leaves a connection that is not logged in.
        """
        if self._clients is not None:
            self._clients.drop_idle()

    def _fail(self, operation: str, error: Exception) -> NoReturn:
        if is_nonsense(error):
            self._distrust()
        super()._fail(operation, error)

    def _run(self, operation: str, call: Call[Answer]) -> Answer:
        try:
            return call.read(self._evaluate(self._connected().writer, call))
        except Exception as error:  # noqa: BLE001 - _fail() raises it as ours
            self._fail(operation, error)
        except BaseException:
            self._distrust()
            raise

    def _evaluate(self, client: Any, call: Call[Any]) -> Any:
        try:
            return client.execute_command(*call.command())
        except Exception as error:
            if not is_unknown(error):
                raise
        return client.execute_command(*call.command(whole=True))

    def _run_many(self, operation: str, calls: Sequence[Call[Answer]]) -> list[Answer]:
        answers = self._ask(operation, calls)
        return self._checked(operation, answers)

    def _ask(
        self, operation: str, calls: Sequence[Call[Answer]]
    ) -> list[Answer | Exception]:
        """Send many calls in one round trip; return answers and errors."""
        if not calls:
            return []
        try:
            client = self._connected().writer
            answers = self._pipeline(client, calls).execute(raise_on_error=False)
            unknown = unknown_in(answers)
            if unknown:
                again = [calls[place] for place in unknown]
                pipeline = self._pipeline(client, again, whole=True)
                told = pipeline.execute(raise_on_error=False)
                for place, answer in zip(unknown, told, strict=True):
                    answers[place] = answer
            return self._read_all(calls, answers)
        except Exception as error:  # noqa: BLE001 - _fail() raises it as ours
            self._fail(operation, error)
        except BaseException:
            self._distrust()
            raise


class RedisSentinelBackend(RedisBackend):
    """Keep values in the master that Redis sentinels name.

    ``sentinels`` says where they listen, ``service_name`` whom to ask them for.
    Reading goes to the master too, unless ``read_from_replicas`` is set.
    """

    argument_names: frozenset[str] = frozenset(
        {"sentinels", "service_name", "sentinel_kwargs", "read_from_replicas"}
        | _CONNECTION_ARGUMENTS
        | _OWN_ARGUMENTS
    )
    _kind = "_sentinel"
    _connector_class = Sentinels
    _distributed_lock = True


class RedisClusterBackend(RedisBackend):
    """Keep values in a Redis cluster.

    ``startup_nodes`` names some of its nodes, or ``url`` one of them; the client
    learns of the others.
    """

    argument_names: frozenset[str] = frozenset(
        {"startup_nodes", "url", "host", "port"}
        | _CONNECTION_ARGUMENTS
        | _OWN_ARGUMENTS
    )
    _kind = "_cluster"
    _connector_class = Sharded


class ValkeyBackend(RedisBackend):
    """Keep values in a Valkey server.

    The arguments are those of the Redis backend; ``valkey_expiration_time`` is
    another name of ``redis_expiration_time``.
    """

    argument_names: frozenset[str] = RedisBackend.argument_names | {
        "valkey_expiration_time"
    }
    _library = VALKEY


class ValkeySentinelBackend(RedisSentinelBackend):
    """Keep values in the master that Valkey sentinels name."""

    argument_names: frozenset[str] = RedisSentinelBackend.argument_names | {
        "valkey_expiration_time"
    }
    _library = VALKEY


class ValkeyClusterBackend(RedisClusterBackend):
    """Keep values in a Valkey cluster."""

    argument_names: frozenset[str] = RedisClusterBackend.argument_names | {
        "valkey_expiration_time"
    }
    _library = VALKEY
