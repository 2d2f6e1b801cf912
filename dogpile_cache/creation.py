"""What a creator may say about the value that it creates."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType, MethodType
from typing import Any, NamedTuple, TypeAlias

from dogpile.cache.api import NO_VALUE, CachedValue, NoValueType
from dogpile.cache.exception import BackendError
from dogpile.cache.flight import Flight
from dogpile.cache.policy import MISS, STALE, Policy, Verdict, seconds


class Skipped(NamedTuple):
    """A value that is returned, and not stored."""

    value: Any


class _NotModified:
    """The stale value is as good as a new one."""


NOT_MODIFIED = _NotModified()


class Creation:
    """Handed to a creator that takes one argument: what it may know and say.

    :param stale: the old :class:`CachedValue`, or ``None``.
    """

    __slots__ = (
        "_flight",
        "_marks_of",
        "is_stored",
        "is_unsure",
        "lifetime",
        "marks",
        "stale",
        "validator",
    )

    def __init__(
        self,
        found: CachedValue | NoValueType,
        flight: Flight,
        marks_of: Callable[[tuple[str, ...]], Mapping[str, str]],
    ) -> None:
        self.stale: CachedValue | None = None if found is NO_VALUE else found
        self._flight = flight
        self._marks_of = marks_of
        #: Whatever tells the source's state, such as an ETag; it is stored
        #: with the value, and found here by the next creation.
        self.validator: Any = None
        if self.stale is not None:
            self.validator = self.stale.metadata.get("e")
        #: What the creator said to ``expires``: ``(seconds,)``, or ``None``.
        self.lifetime: tuple[float | None] | None = None
        self.marks: dict[str, str] = {}
        #: The value must not be stored: the backend failed at a tag.
        self.is_unsure: bool = False
        #: The backend has taken the value; known once the creation has ended.
        self.is_stored: bool = False

    @property
    def cancelled(self) -> bool:
        """Whether what is being created will be refused, so that one may stop."""
        return self._flight.void

    def not_modified(self) -> Any:
        """Return this from the creator: the stale value is fresh again.

        :raises ValueError: there is no stale value.
        """
        if self.stale is None:
            raise ValueError("not_modified(): there is no stale value to keep")
        return NOT_MODIFIED

    def skip(self, value: Any) -> Any:
        """Return this from the creator: hand the value out, do not store it."""
        return Skipped(value)

    def expires(self, after: Any) -> None:
        """Choose how long the value is fresh; it goes before every policy.

        :param after: seconds from the creation's start, or a
            :class:`~datetime.timedelta`; ``None`` for ever.
        :raises ValidationError: it is neither, or negative.
        """
        self.lifetime = (seconds("expires()", after),)

    def tag(self, *names: str) -> None:
        """Tag the value; call it before reading what the value is made from.

        :param names: an invalidation of one of them makes the value invalid.
        """
        try:
            self.marks.update(self._marks_of(names))
        except BackendError:
            # The value is fine; it is only not known what would invalidate it.
            self.is_unsure = True

    def metadata(self) -> dict[str, Any]:
        """Return what the creator said, as metadata."""
        said: dict[str, Any] = {}
        if self.lifetime is not None:
            said["x"], said["c"] = self.lifetime[0], 1
        if self.validator is not None:
            said["e"] = self.validator
        return said


Found: TypeAlias = CachedValue | NoValueType


class Seen(NamedTuple):
    """What a reader saw: the value, what it is good for, and the generations."""

    value: Found
    verdict: Verdict
    marks: Mapping[str, str]

    def is_needed(self, policy: Policy) -> bool:
        """Return whether who asks waits for a new value, or gets the creator's error.

        Else the old one stands in for it.
        """
        return self.verdict is MISS or (self.verdict is STALE and policy.grace is None)


class Call:
    """One call for a value: what a flow has to know.

    :param key: as it is stored.
    :param name: the key as the caller gave it.
    :param explicit: the caller named an ``expiration_time``.
    :param records: the generation records to be read.
    :param takes_creation: the creator takes a :class:`Creation`.
    """

    __slots__ = (
        "creator",
        "explicit",
        "in_place",
        "key",
        "name",
        "policy",
        "records",
        "runner",
        "takes_creation",
    )

    def __init__(
        self,
        key: Any,
        name: Any,
        creator: Callable[..., Any],
        policy: Policy,
        *,
        explicit: bool,
        records: tuple[str, ...],
        takes_creation: bool,
        runner: Callable[[Any], object] | None = None,
        in_place: bool = False,
    ) -> None:
        self.key: Any = key
        self.name: Any = name
        self.creator: Callable[..., Any] = creator
        self.policy: Policy = policy
        self.explicit: bool = explicit
        self.records: tuple[str, ...] = records
        self.takes_creation: bool = takes_creation
        #: The 1.x ``async_creation_runner``, given the mutex to release.
        self.runner: Callable[[Any], object] | None = runner
        #: Create in the caller's own thread, even within grace.
        self.in_place: bool = in_place


class Many(NamedTuple):
    """One call for the values of many keys.

    :param creator: called with the keys it is to create, as the caller gave
        them; returns a value for each.
    """

    creator: Callable[..., Sequence[Any]]
    policy: Policy
    explicit: bool
    records: tuple[str, ...]


def wants_creation(creator: Callable[..., Any]) -> bool:
    """Return whether a creator has exactly one required parameter."""
    if type(creator) is FunctionType:
        return _required(creator) == 1
    if type(creator) is MethodType and type(creator.__func__) is FunctionType:
        return _required(creator.__func__) == 2
    return _required_by_signature(creator) == 1


def _required(function: FunctionType) -> int:
    code = function.__code__
    missing = code.co_kwonlyargcount - len(function.__kwdefaults__ or ())
    if missing > 0:
        return -1
    return code.co_argcount - len(function.__defaults__ or ())


def _required_by_signature(creator: Callable[..., Any]) -> int:
    import inspect

    try:
        parameters = inspect.signature(creator).parameters.values()
    except (TypeError, ValueError):
        return 0
    kinds = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )
    return sum(p.kind in kinds and p.default is p.empty for p in parameters)


def with_arguments(
    creator: Callable[..., Any], creator_args: tuple[Any, Any] | None
) -> Callable[..., Any]:
    """Return a creator that is called with the arguments given for it (1.x)."""
    if not creator_args:
        return creator
    given, named = creator_args
    return functools.wraps(creator)(functools.partial(creator, *given, **named))
