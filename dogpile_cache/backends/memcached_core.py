"""Values and leases in memcached, whatever the client that talks to it."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from dogpile.cache.api import (
    NO_VALUE,
    BackendArguments,
    BackendSetType,
    BytesBackend,
    CacheMutex,
    Capabilities,
    KeyManglerType,
    KeyType,
    Lease,
    LeasingBackend,
    SerializedReturnType,
)
from dogpile.cache.backends import memcached_lease as leases
from dogpile.cache.backends.memcached_edge import Edge, Faults
from dogpile.cache.backends.memcached_mutex import MemcachedLock
from dogpile.cache.backends.memcached_pool import (
    ClientPool,
    SharedClient,
    shared_pool,
)
from dogpile.cache.backends.memcached_settings import (
    LONGEST_RELATIVE,
    check_expire_time,
    expiry,
    frozen,
    mangle_key,
    read_servers,
    told,
)
from dogpile.cache.backends.memcached_text import check_key
from dogpile.cache.backends.memcached_wire import IllegalKey, Refused
from dogpile.cache.backends.network import (
    CONNECT_SECONDS,
    READ_SECONDS,
    flag_in,
    integer_in,
    seconds_in,
    seconds_or_none,
)
from dogpile.cache.exception import ValidationError

# Whatever is greater is no mark: a short way to tell most values from them.
_LAST_MARK = b"\x01"


class GenericMemcachedBackend(BytesBackend, LeasingBackend):
    """What the backends of all clients have in common; a 1.x name.

    Of the ``arguments`` ``url`` says which servers; the others stand on the
    page *Memcached*. A subclass that brings a client of its own, by
    ``_create_client()`` or as ``client``, is used by the methods that 1.x
    used, and leaves leases to the region, which has them inside a process.

    :raises ValidationError: an argument is no use.
    :raises ConfigurationError: the client library is missing.
    """

    #: The registered name, for errors.
    name: ClassVar[str] = "memcached"
    argument_names: frozenset[str] = frozenset(
        {
            *("url", "distributed_lock", "lock_timeout", "memcached_expire_time"),
            *("socket_timeout", "socket_connect_timeout", "max_clients"),
        }
    )
    capabilities: Capabilities = Capabilities(
        leases=True,
        scope="cluster",
        lasting=False,
        ttl=True,
        multi=True,
        network=True,
    )
    key_mangler: KeyManglerType | None = staticmethod(mangle_key)

    #: What the client's ``set()`` calls the time after which a value is gone.
    _time_argument: ClassVar[str] = "time"
    #: The client's method that returns a value, or ``None``, for each key.
    _values_method: ClassVar[str | None] = None
    #: Whether the client is one of ours, that can do what leases need.
    _is_own: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = vars(cls)
        if "_is_own" not in own and ("_create_client" in own or "client" in own):
            cls._is_own = False

    def __init__(self, arguments: BackendArguments) -> None:
        self._imports()
        self.url: list[Any] = read_servers(arguments)
        self.distributed_lock: bool = flag_in(arguments, "distributed_lock", False)
        # In 1.x 0 says that a lock never ends by itself.
        self.lock_timeout = seconds_or_none(arguments, "lock_timeout") or 0
        self.socket_timeout: float | None = seconds_in(
            arguments, "socket_timeout", READ_SECONDS
        )
        self.socket_connect_timeout: float | None = seconds_in(
            arguments, "socket_connect_timeout", CONNECT_SECONDS
        )
        #: What 1.x hands over with each ``set()`` of the client.
        self.set_arguments: dict[str, Any] = {}
        if arguments.get("memcached_expire_time") is not None:
            time = check_expire_time(arguments["memcached_expire_time"])
            self.set_arguments[self._time_argument] = time
        self._max_clients = integer_in(arguments, "max_clients", 32)
        if not self._max_clients:
            raise ValidationError("max_clients= must be at least 1, not 0")
        if not self._is_own:
            self.capabilities = Capabilities(
                scope="cluster", lasting=False, multi=True, network=True
            )
        self._is_tls = arguments.get("tls_context") is not None
        self._shares = self._sharing_key(arguments)
        self._use_pool(self._shares)

    def _use_pool(self, shares: object) -> None:
        """Take the clients from a pool.

        :param shares: what all have in common who take theirs from there.
        """
        self._pool = shared_pool(shares, self._build_pool)
        self._pool.join(self)
        self._shared = SharedClient(self._pool, self._create_client)
        self._edge = Edge(
            self._pool,
            self._create_client,
            self._faults,
            name=self.name,
            servers=told(self.url),
            is_tls=self._is_tls,
        )
        self._call: Callable[..., Any] = self._edge.call
        self._get: Callable[[Any], Any] = self._edge.get
        if type(self).client is not GenericMemcachedBackend.client:
            self._call = self._call_theirs
            self._get = functools.partial(self._call_theirs, "get", "get")
        # As an attribute, it costs no call of its own.
        self.peek = self._get  # type: ignore[method-assign]

    def _imports(self) -> None:
        """Import the client library."""

    def _create_client(self) -> Any:
        """Return a client; it connects when it is first used."""
        raise NotImplementedError(f"{type(self).__name__}._create_client")

    @staticmethod
    def _close_client(client: Any) -> None:
        """Close a client; static, so that a pool keeps no backend alive."""
        close = getattr(client, "disconnect_all", None) or getattr(
            client, "close", None
        )
        if close is not None:
            # What it says to a server that is gone is nobody's concern.
            with contextlib.suppress(Exception):
                close()

    @staticmethod
    def _abandon_client(client: Any) -> None:
        """Leave a client to the parent of this process, which is a fork."""
        GenericMemcachedBackend._close_client(client)

    def _faults(self) -> Faults:
        """Return what the client's errors mean."""
        return Faults()

    # Who brings a client brings its login, and its TLS.

    def _refuse_login(self, arguments: BackendArguments) -> None:
        names = ("username", "password")
        if self._is_own and any(arguments.get(name) is not None for name in names):
            raise ValidationError(
                f"{self.name} knows no username= and password=: its client cannot log "
                "in; use dogpile.cache.bmemcached or dogpile.cache.pylibmc"
            )

    def _refuse_tls(self, arguments: BackendArguments) -> None:
        if self._is_own and arguments.get("tls_context") is not None:
            raise ValidationError(
                f"{self.name} knows no tls_context=: its client speaks no TLS; use "
                "dogpile.cache.pymemcache, .bmemcached or .memcached"
            )

    def _sharing_key(self, arguments: BackendArguments) -> object:
        """Return what the backends have in common that share their clients."""
        if not vars(type(self)).get("_is_own"):
            # A class of somebody else's may make each client another way.
            return object()
        return type(self), frozen(arguments)

    def _build_pool(self) -> ClientPool:
        patience = (self.socket_timeout or 60) + (self.socket_connect_timeout or 60)
        return ClientPool(
            self._close_client,
            self._abandon_client,
            size=self._max_clients,
            patience=patience,
        )

    @property
    def client(self) -> Any:
        """A client that any number of threads may use at once."""
        return self._shared

    @property
    def _clients(self) -> SharedClient:
        # Its 1.x name; `_clients.memcached` is a client.
        return self._shared

    # Values

    def get_serialized(self, key: KeyType) -> SerializedReturnType:
        """Return the bytes stored under the key, or :data:`NO_VALUE`."""
        value = self._get(key)
        if value.__class__ is bytes and value > _LAST_MARK:
            return value
        return _plain(value)

    def peek(self, key: KeyType) -> Any:
        """Return what the client has under the key, a value or something else."""
        return self._get(key)

    def peek_multi(self, keys: Sequence[KeyType]) -> list[Any]:
        """Return what the client has under each key, in their order."""
        if self._is_own and self._values_method is not None:
            values: list[Any] = self._call("get_multi", self._values_method, keys)
            return values
        found: Mapping[Any, Any] = self._call("get_multi", "get_multi", keys)
        return list(map(found.get, keys))

    @staticmethod
    def peeked(value: Any) -> SerializedReturnType:
        """Return what :meth:`peek` found, if it is a value."""
        return _plain(value)

    def get_serialized_multi(
        self, keys: Sequence[KeyType]
    ) -> Sequence[SerializedReturnType]:
        """Return the bytes stored under each key, in their order."""
        if not keys:
            return []
        found: Mapping[Any, Any] = self._call("get_multi", "get_multi", keys)
        return [
            value if value.__class__ is bytes and value > _LAST_MARK else _plain(value)
            for value in map(found.get, keys)
        ]

    def set(
        self, key: KeyType, value: BackendSetType, *, ttl: float | None = None
    ) -> None:
        """Store bytes under the key, and void its lease."""
        self.set_serialized(key, value, ttl=ttl)  # type: ignore[arg-type]  # bytes

    def put(
        self, key: KeyType, value: BackendSetType, *, ttl: float | None = None
    ) -> None:
        """Store bytes under the key, and void its lease."""
        self.set_serialized(key, value, ttl=ttl)  # type: ignore[arg-type]  # bytes

    def set_multi(
        self, mapping: Mapping[KeyType, BackendSetType], *, ttl: float | None = None
    ) -> None:
        """Store the bytes of each key, and void their leases."""
        self.set_serialized_multi(mapping, ttl=ttl)  # type: ignore[arg-type]  # bytes

    def set_serialized(
        self, key: KeyType, value: bytes, *, ttl: float | None = None
    ) -> None:
        """Store bytes under the key, and void its lease.

        :param ttl: seconds after which nobody will want them.
        :raises ValueTooLarge: the server takes none of that size.
        """
        self._check("put", [key])
        stored = self._call("put", "set", key, value, **self._set_options(ttl))
        if stored is not None and not stored:
            self._edge.fail("put", Refused(), (key,))

    def set_serialized_multi(
        self, mapping: Mapping[KeyType, bytes], *, ttl: float | None = None
    ) -> None:
        """Store the bytes of each key, and void their leases.

        :param ttl: seconds after which nobody will want them.
        :raises ValueTooLarge: the server takes one of them not; the others
            are stored.
        """
        if not mapping:
            return
        options = self._set_options(ttl)
        if self._is_own:
            time = options.get(self._time_argument, 0)
            self._check("put_multi", mapping)
            self._call("put_multi", "store_many", dict(mapping), time)
        elif self._call("put_multi", "set_multi", dict(mapping), **options):
            self._edge.fail("put_multi", Refused())

    def delete(self, key: KeyType) -> None:
        """Remove the value and void its lease; it is no error if there is none."""
        self._check("delete", [key])
        self._call("delete", "delete", key)

    def delete_multi(self, keys: Sequence[KeyType]) -> None:
        """Remove the values of all the keys, and void their leases."""
        if keys:
            self._check("delete_multi", keys)
            name = "remove_many" if self._is_own else "delete_multi"
            self._call("delete_multi", name, list(keys))

    # Leases

    def lease(
        self,
        key: KeyType,
        seconds: float,
        *,
        after: str | None = None,
        steal: bool = False,
    ) -> Lease:
        """Ask for the right to create the value of a key, and read the key."""
        terms = leases.Terms(leases.new_token(), self._expiry(seconds), after, steal)
        [lease] = self._call("lease", leases.ask, self._check("lease", [key]), terms)
        return lease  # type: ignore[no-any-return]  # ask() returns leases

    def lease_multi(self, keys: Sequence[KeyType], seconds: float) -> list[Lease]:
        """Ask for the leases of many keys, in as few steps as can be."""
        if not keys:
            return []
        terms = leases.Terms(leases.new_token(), self._expiry(seconds))
        granted: list[Lease] = self._call(
            "lease_multi", leases.ask, self._check("lease_multi", keys), terms
        )
        return granted

    def renew(self, lease: Lease, seconds: float) -> bool:
        """Let a lease end later."""
        time = self._expiry(seconds)
        return lease.granted and bool(self._call("renew", leases.renew, lease, time))

    def commit(
        self, lease: Lease, value: BackendSetType, *, ttl: float | None = None
    ) -> bool:
        """Store the created value and end the lease, in one step.

        :raises ValueTooLarge: the server takes none of that size.
        """
        [is_stored] = self.commit_multi([(lease, value)], ttl=ttl)
        return is_stored

    def commit_multi(
        self,
        values: Sequence[tuple[Lease, BackendSetType]],
        *,
        ttl: float | None = None,
    ) -> list[bool]:
        """Store many created values, in as few steps as can be.

        :raises ValueTooLarge: the server takes one of them not; the others
            are stored.
        """
        time = self._set_options(ttl).get(self._time_argument, 0)
        granted = [pair for pair in values if pair[0].granted]
        stored = iter(self._call("commit", leases.commit, granted, time))
        return [lease.granted and bool(next(stored)) for lease, _ in values]

    def release(self, lease: Lease, failure: bytes | None = None) -> None:
        """End a lease without a value."""
        self.release_multi([lease], failure)

    def release_multi(
        self, leases_held: Sequence[Lease], failure: bytes | None = None
    ) -> None:
        """End many leases without a value."""
        granted = [lease for lease in leases_held if lease.granted]
        if granted:
            self._call("release", leases.release, granted, failure)

    def is_leased(self, key: KeyType) -> bool:
        """Return whether somebody holds the lease of the key now."""
        [name] = self._check("is_leased", [key])
        return bool(self._call("is_leased", leases.is_leased, name))

    # The rest of the contract

    def has_lock_timeout(self) -> bool:
        """Return whether a time was set for the mutexes of 1.x to end after."""
        return self.lock_timeout != 0

    def get_mutex(self, key: KeyType) -> CacheMutex | None:
        """Return a 1.x mutex, if ``distributed_lock`` asks for them."""
        if not self.distributed_lock:
            return None
        return MemcachedLock(
            lambda: self.client,
            key,
            timeout=self.lock_timeout,
            clock=self.clock,
            fail=self._edge.fail,
        )

    def close(self) -> None:
        """Give back the clients that no other region uses."""
        self._pool.leave(self)

    # The edge to the client

    def _expiry(self, seconds: float) -> int:
        return expiry(seconds, self.clock.time)

    def _set_options(self, ttl: float | None) -> Mapping[str, Any]:
        options = self.set_arguments
        given = options.get(self._time_argument, 0)
        if ttl is None and given <= LONGEST_RELATIVE:
            return options
        seconds = min(ttl if ttl is not None else math.inf, given or math.inf)
        return {**options, self._time_argument: self._expiry(seconds)}

    def _check(self, operation: str, keys: Any) -> list[str]:
        """Return keys that may stand in a command."""
        key: Any = None
        try:
            return [check_key(key := each) for each in keys] if self._is_own else []
        except IllegalKey as error:
            self._edge.fail(operation, error, (key,))

    def _call_theirs(
        self, operation: str, method: str, *args: Any, **options: Any
    ) -> Any:
        """Call a method of the client that a subclass brings."""
        try:
            return getattr(self.client, method)(*args, **options)
        except Exception as error:  # noqa: BLE001 - fail() raises it as ours
            self._edge.fail(operation, error, args)


def _plain(value: object) -> SerializedReturnType:
    """Return what a client found as bytes; a mark is no value."""
    if isinstance(value, bytes) and not value.startswith(leases.PREFIX):
        return value
    # Nothing, or what only another client's own coding understands.
    return NO_VALUE
