"""The backends for memcached, one for each client library."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from dogpile.cache.api import BackendArguments
from dogpile.cache.backends.memcached_core import GenericMemcachedBackend
from dogpile.cache.backends.memcached_edge import Faults
from dogpile.cache.backends.memcached_mutex import MemcachedLock
from dogpile.cache.backends.memcached_settings import addresses, without_word
from dogpile.cache.backends.memcached_text import Serde
from dogpile.cache.backends.network import (
    flag_in,
    import_client,
    integer_in,
    seconds_in,
)
from dogpile.cache.exception import ConfigurationError, ValidationError

__all__ = [
    "BMemcachedBackend",
    "GenericMemcachedBackend",
    "MemcachedBackend",
    "MemcachedLock",
    "PyMemcacheBackend",
    "PylibmcBackend",
]

_RETRY_ARGUMENTS = (
    "retry_attempts",
    "retry_delay",
    "retry_for",
    "do_not_retry_for",
)
# The kernel holds so much of an answer, if it may.
_RECEIVED_BYTES = 1024 * 1024
# So often that a server of a ring is never left out for good.
_FOR_EVER = 2**31


class PylibmcBackend(GenericMemcachedBackend):
    """Keep values in memcached, by way of pylibmc.

    Beside the arguments of all clients it takes ``binary``, ``behaviors``,
    ``min_compress_len``, ``username`` and ``password``.

    >>> from dogpile.cache import make_region
    >>> region = make_region().configure(  # doctest: +SKIP
    ...     "dogpile.cache.pylibmc",
    ...     arguments={"url": ["127.0.0.1"], "behaviors": {"ketama": True}},
    ... )

    :raises ConfigurationError: pylibmc is missing, or does not take them.
    """

    name = "dogpile.cache.pylibmc"
    argument_names: frozenset[str] = GenericMemcachedBackend.argument_names | {
        *("binary", "behaviors", "min_compress_len", "username", "password"),
    }
    _values_method = "get_values"
    _is_own = True

    def __init__(self, arguments: BackendArguments) -> None:
        super().__init__(arguments)
        self._refuse_tls(arguments)
        self._login = _login(arguments)
        self.binary: bool = flag_in(arguments, "binary", self._login is not None)
        self.behaviors: Mapping[str, Any] = arguments.get("behaviors") or {}
        if not isinstance(self.behaviors, Mapping):
            raise ValidationError(
                "behaviors= must be a dictionary, as in {'ketama': True}, not of type "
                f"{type(self.behaviors).__name__}"
            )
        self.min_compress_len: int = _least(arguments, self.set_arguments)
        if self._login is not None and not self.binary:
            raise ValidationError(
                "username= needs the binary protocol: leave binary= out, or set it"
            )
        if self._is_own and self._has_sasl is not None:
            # It does not connect, but says what is wrong with the arguments.
            self._create_client()

    #: Whether pylibmc itself makes values of what arrives.
    _is_trusting = False
    #: Whether pylibmc can log in; ``None`` where somebody has replaced _imports(), as
    #: programs for 1.x do who configure it without.
    _has_sasl: bool | None = None

    def trust_values(self, *, is_trusting: bool) -> None:
        """Have pylibmc itself make values of what arrives, or not.

        It takes less time, and unpickles what says that it is a pickle. For
        regions whose values are pickles that nobody has signed: who writes to
        the server can run code in this process already. Clients are shared
        with no other regions.
        """
        if self._is_own and self._is_trusting != is_trusting:
            self._is_trusting = is_trusting
            self._pool.leave(self)
            kind = (self._shares, "trusting") if is_trusting else self._shares
            self._use_pool(kind)

    def _imports(self) -> None:
        module = import_client("pylibmc", backend=self.name, extra="pylibmc")
        self._has_sasl = bool(module.support_sasl)

    def _create_client(self) -> Any:
        from dogpile.cache.backends.memcached_pylibmc import (
            UNFIT,
            Client,
            channels_to,
            check_servers,
        )
        from dogpile.cache.backends.memcached_trusting import TrustingClient

        if self._login is not None and not self._has_sasl:
            raise ConfigurationError(
                "username= needs a pylibmc that was built with SASL"
            )
        behaviors = {**self._default_behaviors(), **self.behaviors}
        if isinstance(behaviors.get("namespace"), str):
            # Of text pylibmc says that it is a bad key, and shows rubbish.
            behaviors["namespace"] = behaviors["namespace"].encode()
        waits = (behaviors["_poll_timeout"], behaviors["connect_timeout"])
        servers = [without_word(server, "unix:") for server in self.url]
        check_servers(servers)
        try:
            return (TrustingClient if self._is_trusting else Client)(
                servers,
                behaviors=behaviors,
                binary=self.binary,
                login=self._login,
                patience=min(waits) / 1000,
                channels=channels_to(
                    servers, self.socket_connect_timeout, self.socket_timeout
                ),
                serde=Serde(self.min_compress_len),
            )
        except UNFIT as error:
            raise ValidationError(
                f"pylibmc does not take url= or behaviors= as they are: {error}"
            ) from error

    def _default_behaviors(self) -> dict[str, Any]:
        milliseconds = round((self.socket_timeout or _A_DAY) * 1000)
        connect = round((self.socket_connect_timeout or _A_DAY) * 1000)
        return {
            "cas": True,
            "tcp_nodelay": True,
            # Without it a line's end in a key would begin another command; the
            # binary protocol has no lines, and pylibmc refuses it there.
            **({} if self.binary else {"verify_keys": True}),
            "connect_timeout": connect,
            "_poll_timeout": milliseconds,
            "send_timeout": milliseconds * 1000,
            "receive_timeout": milliseconds * 1000,
            "retry_timeout": 1,
            # Of what is more than the kernel begins with, a large answer is sent
            # and read in many parts: a hundred values take twice as long.
            "_socket_recv_size": _RECEIVED_BYTES,
        }

    def _faults(self) -> Faults:
        from dogpile.cache.backends.memcached_pylibmc import PylibmcFaults

        return PylibmcFaults(is_ring=len(self.url) > 1, is_binary=self.binary)

    @staticmethod
    def _abandon_client(client: Any) -> None:
        if hasattr(client, "abandon"):
            client.abandon()


class PyMemcacheBackend(GenericMemcachedBackend):
    """Keep values in memcached, by way of pymemcache.

    Beside the arguments of all clients it takes ``tls_context``, ``serde``,
    ``default_noreply``, ``socket_keepalive``, those of the client that tries
    again (``enable_retry_client``, ``retry_attempts``, ``retry_delay``,
    ``retry_for``, ``do_not_retry_for``), and those of a ring of servers that
    leaves out one that is gone (``hashclient_retry_attempts``,
    ``hashclient_retry_timeout``, ``hashclient_dead_timeout``).

    :raises ConfigurationError: pymemcache is missing, or does not take them.
    """

    name = "dogpile.cache.pymemcache"
    argument_names: frozenset[str] = GenericMemcachedBackend.argument_names | {
        *("tls_context", "serde", "default_noreply", "socket_keepalive"),
        *("enable_retry_client", *_RETRY_ARGUMENTS),
        *("hashclient_retry_attempts", "hashclient_retry_timeout"),
        "hashclient_dead_timeout",
    }
    _time_argument = "expire"
    _is_own = True

    def __init__(self, arguments: BackendArguments) -> None:
        super().__init__(arguments)
        self._refuse_login(arguments)
        self.serde: Any = arguments.get("serde") or Serde()
        self.default_noreply: bool = flag_in(arguments, "default_noreply", False)
        self.tls_context: ssl.SSLContext | None = _tls_context(arguments)
        self.socket_keepalive: Any = arguments.get("socket_keepalive")
        self.enable_retry_client: bool = flag_in(
            arguments, "enable_retry_client", False
        )
        self.retry_attempts: int | None = None
        if arguments.get("retry_attempts") is not None:
            self.retry_attempts = integer_in(arguments, "retry_attempts", 2)
        self.retry_delay: float | None = arguments.get("retry_delay")
        if self.retry_delay:
            self.retry_delay = seconds_in(arguments, "retry_delay", None)
        self.retry_for: Sequence[type[Exception]] | None = arguments.get("retry_for")
        self.do_not_retry_for: Sequence[type[Exception]] | None = arguments.get(
            "do_not_retry_for"
        )
        self.hashclient_retry_attempts: int = integer_in(
            arguments, "hashclient_retry_attempts", _FOR_EVER
        )
        self.hashclient_retry_timeout: float | None = seconds_in(
            arguments, "hashclient_retry_timeout", 1
        )
        self.dead_timeout: float | None = seconds_in(
            arguments, "hashclient_dead_timeout", 60
        )
        asks = any(arguments.get(name) is not None for name in _RETRY_ARGUMENTS)
        if asks and not self.enable_retry_client:
            # In the words of 1.x, and without a stack level, as programs expect.
            warnings.warn(  # noqa: B028
                "enable_retry_client is not set; retry options will be ignored"
            )
        self._addresses = addresses(self.url)

    def _imports(self) -> None:
        import_client("pymemcache", backend=self.name, extra="pymemcache")

    def _create_client(self) -> Any:
        from dogpile.cache.backends.memcached_pymemcache import (
            RetryingClient,
            Ring,
            SingleClient,
        )

        servers = [where.path or where[:2] for where in self._addresses]
        options = {
            "serde": self.serde,
            "default_noreply": self.default_noreply,
            "tls_context": self.tls_context,
            "connect_timeout": self.socket_connect_timeout,
            "timeout": self.socket_timeout,
            "no_delay": True,
            "socket_keepalive": self.socket_keepalive,
            "allow_unicode_keys": True,
        }
        client: SingleClient | Ring
        if len(servers) == 1:
            client = SingleClient(servers[0], **options)
        else:
            client = Ring(
                servers,
                retry_attempts=self.hashclient_retry_attempts,
                retry_timeout=self.hashclient_retry_timeout,
                dead_timeout=self.dead_timeout,
                **options,
            )
        if not self.enable_retry_client:
            return client
        return RetryingClient(
            client,
            attempts=self.retry_attempts or 2,
            retry_delay=self.retry_delay or 0,
            retry_for=self.retry_for,
            do_not_retry_for=self.do_not_retry_for,
        )

    def _faults(self) -> Faults:
        from dogpile.cache.backends.memcached_pymemcache import PymemcacheFaults

        return PymemcacheFaults(is_ring=len(self.url) > 1)


class BMemcachedBackend(GenericMemcachedBackend):
    """Keep values in memcached, by way of python-binary-memcached.

    Beside the arguments of all clients it takes ``username``, ``password``
    and ``tls_context``. With several servers each key has one of them.

    :raises ConfigurationError: python-binary-memcached is missing.
    """

    name = "dogpile.cache.bmemcached"
    argument_names: frozenset[str] = GenericMemcachedBackend.argument_names | {
        *("username", "password", "tls_context"),
    }
    _is_own = True

    def __init__(self, arguments: BackendArguments) -> None:
        super().__init__(arguments)
        login: tuple[str | None, str | None] = _login(arguments) or (None, None)
        self.username: str | None = login[0]
        self.password: str | None = login[1]
        self.tls_context: ssl.SSLContext | None = _tls_context(arguments)
        self._addresses = addresses(self.url)

    def _imports(self) -> None:
        import_client("bmemcached", backend=self.name, extra="bmemcached")

    def _create_client(self) -> Any:
        from dogpile.cache.backends.memcached_binary import Link, Ring, SingleClient

        links = [
            Link(
                where.path or _host_and_port(where.host, where.port),
                username=self.username,
                password=self.password,
                tls_context=self.tls_context,
                socket_timeout=self.socket_connect_timeout,
                read_timeout=self.socket_timeout,
            )
            for where in self._addresses
        ]
        return SingleClient(links) if len(links) == 1 else Ring(links)

    def _faults(self) -> Faults:
        from dogpile.cache.backends.memcached_binary import BinaryFaults

        return BinaryFaults(is_ring=len(self.url) > 1)


class MemcachedBackend(GenericMemcachedBackend):
    """Keep values in memcached, by way of python-memcached.

    Beside the arguments of all clients it takes ``dead_retry``,
    ``min_compress_len`` and ``tls_context``. A program may derive from it, and
    bring a ``client`` of its own.

    :raises ConfigurationError: python-memcached is missing.
    """

    name = "dogpile.cache.memcached"
    argument_names: frozenset[str] = GenericMemcachedBackend.argument_names | {
        *("dead_retry", "min_compress_len", "tls_context"),
    }
    _is_own = True

    def __init__(self, arguments: BackendArguments) -> None:
        super().__init__(arguments)
        self._refuse_login(arguments)
        self.dead_retry = seconds_in(arguments, "dead_retry", 1) or 0
        self.min_compress_len: int = _least(arguments, self.set_arguments)
        self.tls_context: ssl.SSLContext | None = _tls_context(arguments)
        if self._is_own:
            self._addresses = addresses(self.url)

    def _imports(self) -> None:
        import_client("memcache", backend=self.name, extra="memcached")

    def _create_client(self) -> Any:
        from dogpile.cache.backends.memcached_python import Client

        return Client(
            self._addresses,
            serde=Serde(self.min_compress_len),
            dead_retry=self.dead_retry,
            connect_timeout=self.socket_connect_timeout,
            read_timeout=self.socket_timeout,
            tls_context=self.tls_context,
        )

    def _faults(self) -> Faults:
        return Faults(is_ring=len(self.url) > 1)


# libmemcached takes no "never" for its time-outs.
_A_DAY = 24 * 60 * 60


def _host_and_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _least(arguments: BackendArguments, set_arguments: dict[str, Any]) -> int:
    """Return ``min_compress_len``, and have it handed over as 1.x does."""
    least = integer_in(arguments, "min_compress_len", 0)
    if "min_compress_len" in arguments:
        set_arguments["min_compress_len"] = least
    return least


def _login(arguments: BackendArguments) -> tuple[str, str] | None:
    username, password = arguments.get("username"), arguments.get("password")
    if username is None and password is None:
        return None
    if not isinstance(username, str) or not isinstance(password, str):
        raise ValidationError("username= and password= go together, as strings")
    return username, password


def _tls_context(arguments: BackendArguments) -> ssl.SSLContext | None:
    context = arguments.get("tls_context")
    if context is None or isinstance(context, ssl.SSLContext):
        return context
    raise ValidationError(
        "tls_context= must be an ssl.SSLContext, as ssl.create_default_context() "
        f"returns one, not of type {type(context).__name__}"
    )
