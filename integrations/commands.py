"""What ``manage.py dogpile`` and ``flask dogpile`` do alike.

They tell of a server that is mute, and say of regions and values the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any

from dogpile.cache import (
    NO_VALUE,
    CacheRegion,
    ConfigurationError,
    DogpileCacheException,
)


class Unanswered(DogpileCacheException):
    """A command has come to nothing, as a cache's server did not answer."""


class Asking:
    """Have a command end in an error where a page goes on without the server.

    What a region remembers to make up for later ends with the command's process.

    :param regions: that the command asks, by the names that the settings have
        for them.
    :raises Unanswered: a backend failed, on leaving.
    """

    def __init__(self, regions: Mapping[str, CacheRegion]) -> None:
        self._regions = dict(regions)
        self._endings: list[Callable[[], None]] = []
        self._failed: list[tuple[str, Any]] = []

    def __enter__(self) -> None:
        self._endings = [
            region.on("backend_error", partial(self._note, name))
            for name, region in self._regions.items()
        ]

    def _note(self, name: str, event: Any) -> None:
        self._failed.append((name, event))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for end in self._endings:
            end()
        if error is not None or not self._failed:
            return
        name, event = self._failed[0]
        cause = event.details.get("error")
        raise Unanswered(
            f"the server of the region {name!r} did not answer: {cause}; run the "
            "command again when it does"
        ) from cause


class NoSuchValue(DogpileCacheException):
    """A command has asked for a value that there is not."""


def say_regions(
    regions: Mapping[str, CacheRegion], default: str
) -> list[dict[str, Any]]:
    """Return what is said of regions, in the order of their names.

    :param default: the name of the region that is meant where none is named.
    """
    return [
        {
            "name": name,
            "backend": type(regions[name].actual_backend).__name__,
            "expiration_time": regions[name].expiration_time,
            "is_default": name == default,
        }
        for name in sorted(regions)
    ]


def lines_of(said: Iterable[Mapping[str, Any]]) -> str:
    """Return what is said of regions as a text, with a line for each."""
    return "\n".join(
        f"{each['name']}{' (default)' if each['is_default'] else ''}: "
        f"{each['backend']}, fresh {_time(each['expiration_time'])}"
        for each in said
    )


def _time(seconds: Any) -> str:
    return "for ever" if seconds is None else f"{seconds:g} s"


def say_value(name: str, region: CacheRegion, key: str, *others: str) -> dict[str, Any]:
    """Return what is said of a value: its key, itself, its age in seconds.

    :param name: the region's, in the settings.
    :param others: further keys, under which it may be instead.
    :raises NoSuchValue: there is none.
    :raises Unanswered: it is not known whether there is one.
    :raises ConfigurationError: its class fails at showing it.
    """
    with Asking({name: region}):
        stored = (region.get_value_metadata(each) for each in (key, *others))
        found = next((each for each in stored if each is not None), None)
    if found is None or found.payload is NO_VALUE:
        raise NoSuchValue(f"there is no value under {key!r}")
    _check_repr(key, found.payload)
    age = region.clock.time() - found.metadata["ct"]
    return {"key": key, "value": found.payload, "age": round(age, 3)}


def _check_repr(key: str, value: Any) -> None:
    """Refuse a value that cannot be shown.

    :raises ConfigurationError: its class fails at it.
    """
    try:
        repr(value)
    except Exception as error:  # whatever the value's class does
        raise ConfigurationError(
            f"the value under {key!r} cannot be shown: the repr() of this "
            f"{type(value).__name__} raises {type(error).__name__}: {error}"
        ) from error


def as_json(said: Any) -> str:
    """Return what a command says to a program; what JSON has not, as ``repr``.

    >>> as_json({"value": {(1, 2): 3}, "age": float("inf")})
    '{"age": "inf", "value": "{(1, 2): 3}"}'
    """
    try:
        return _dumped(said)
    except _NOT_JSON:
        return _dumped({name: _of_json(value) for name, value in said.items()})


def _of_json(value: Any) -> Any:
    try:
        _dumped(value)
    except _NOT_JSON:
        return repr(value)
    return value


def _dumped(said: Any) -> str:
    return json.dumps(said, default=repr, sort_keys=True, allow_nan=False)


# Keys that JSON has not, or of several types; circles and numbers; too deep.
_NOT_JSON = (TypeError, ValueError, RecursionError)
