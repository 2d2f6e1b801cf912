"""What the blocking and the asynchronous half of a Redis backend decide alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn, TypeVar

from dogpile.cache.api import (
    BackendArguments,
    BytesBackend,
    Capabilities,
    KeyType,
    Lease,
    LeasingBackend,
    SerializedReturnType,
)
from dogpile.cache.backends.network import (
    flag_in,
    import_client,
    integer_in,
    key_prefix,
    seconds_in,
)
from dogpile.cache.backends.redis_clients import Alone, Connector
from dogpile.cache.backends.redis_errors import raise_failure
from dogpile.cache.backends.redis_scripts import (
    Call,
    as_value,
    commit_call,
    delete_call,
    set_call,
)
from dogpile.cache.backends.redis_settings import REDIS, Library
from dogpile.cache.exception import ValueTooLarge

Answer = TypeVar("Answer")

# What a server takes at most in one piece, unless it was told otherwise.
_MAX_VALUE_BYTES = 512 * 1024 * 1024


class RedisCore(BytesBackend, LeasingBackend):
    """Arguments and decisions; parent class of the backend.

    :param arguments: see :class:`~dogpile.cache.backends.redis.RedisBackend`.
    """

    capabilities: Capabilities = Capabilities(
        leases=True,
        scope="cluster",
        native_async=True,
        lasting=False,
        ttl=True,
        multi=True,
        network=True,
    )
    _library: ClassVar[Library] = REDIS
    _kind: ClassVar[str] = ""
    _connector_class: ClassVar[type[Any]] = Alone

    def __init__(self, arguments: BackendArguments) -> None:
        super().__init__(arguments)
        import_client(self._library.name, backend=self._name, extra=self._library.name)
        self.notify: bool = flag_in(arguments, "notify", False)
        self.redis_expiration_time: float | None = _expiration_in(arguments)
        self.max_value_bytes: int = integer_in(
            arguments, "max_value_bytes", _MAX_VALUE_BYTES
        )
        self._connector: Connector = self._connector_class(self._library, arguments)
        self._is_sharded = self._connector.sharded
        if not self._connector.native_async:
            self.capabilities = dataclasses.replace(
                self.capabilities, native_async=False
            )

    @property
    def _name(self) -> str:
        """The registered name, as errors tell it."""
        return f"dogpile.cache.{self._library.name}{self._kind}"

    def _fail(self, operation: str, error: Exception) -> NoReturn:
        raise_failure(self._name, operation, error, self._connector.place)

    def _set_call(
        self, key: KeyType, value: bytes, ttl: float | None, operation: str = "put"
    ) -> Call[bool]:
        self._weigh(key, value, operation)
        return set_call(key, value, self._shorter(ttl), self.notify)

    def _commit_call(self, lease: Lease, value: Any, ttl: float | None) -> Call[bool]:
        self._weigh(lease.key, value, "commit")
        return commit_call(lease, value, self._shorter(ttl), self.notify)

    def _commits(
        self, values: Sequence[tuple[Lease, Any]], ttl: float | None
    ) -> tuple[list[Call[bool]], ValueTooLarge | None]:
        """Return the calls for values that fit, and the error of one that does not.

        One that is too large keeps none of the others from being stored.
        """
        calls: list[Call[bool]] = []
        refused: ValueTooLarge | None = None
        for lease, value in values:
            try:
                calls.append(self._commit_call(lease, value, ttl))
            except ValueTooLarge as error:
                refused = error
        return calls, refused

    def _delete_call(self, key: KeyType) -> Call[bool]:
        return delete_call(key, self.notify)

    def _weigh(self, key: KeyType, value: bytes, operation: str) -> None:
        if len(value) > self.max_value_bytes:
            raise ValueTooLarge(
                self._name,
                operation,
                f"the value of {key_prefix(key)} has {len(value)} bytes, and "
                f"max_value_bytes is {self.max_value_bytes}",
            )

    def _shorter(self, ttl: float | None) -> float | None:
        limit = self.redis_expiration_time
        if limit is None or ttl is None:
            return limit if ttl is None else ttl
        return min(limit, ttl)

    def _as_values(
        self, keys: Sequence[KeyType], answer: Any
    ) -> list[SerializedReturnType]:
        if len(answer) != len(keys):
            raise TypeError("not one answer for each key")
        # The one test of a hit, in place.
        return [value if type(value) is bytes else as_value(value) for value in answer]

    def _pipeline(
        self, client: Any, calls: Sequence[Call[Any]], *, whole: bool = False
    ) -> Any:
        """Return a pipeline of the client with the calls in it.

        :param whole: send the scripts' texts, as the server has not seen them.
        """
        pipeline = client.pipeline(transaction=False)
        for call in calls:
            route = self._route(client, call) if self._is_sharded else {}
            pipeline.execute_command(*call.command(whole=whole), **route)
        return pipeline

    def _route(self, client: Any, call: Call[Any]) -> dict[str, Any]:
        # Else the client asks a server, for each call, which node has its keys.
        return {"target_nodes": client.get_node_from_key(call.key)}

    @staticmethod
    def _read_all(
        calls: Sequence[Call[Answer]], answers: Sequence[Any]
    ) -> list[Answer | Exception]:
        return [
            answer if isinstance(answer, Exception) else call.read(answer)
            for call, answer in zip(calls, answers, strict=True)
        ]

    def _checked(
        self, operation: str, answers: Sequence[Answer | Exception]
    ) -> list[Answer]:
        """Return the answers; raise the first error that is among them."""
        good: list[Answer] = []
        for answer in answers:
            if isinstance(answer, Exception):
                self._fail(operation, answer)
            good.append(answer)
        return good


def granted_of(answers: Sequence[Lease | Exception]) -> list[Lease]:
    """Return the leases that were granted."""
    return [one for one in answers if isinstance(one, Lease) and one.granted]


def is_unknown(answer: object) -> bool:
    """Return whether the server says that it has not seen a script."""
    return type(answer).__name__ == "NoScriptError"


def unknown_in(answers: Sequence[object]) -> list[int]:
    """Return the places of the calls whose scripts the server has not seen."""
    return [place for place, answer in enumerate(answers) if is_unknown(answer)]


def _expiration_in(arguments: BackendArguments) -> float | None:
    for name in ("redis_expiration_time", "valkey_expiration_time"):
        if arguments.get(name):
            return seconds_in(arguments, name, None)
    return None
