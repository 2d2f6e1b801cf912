"""What ``manage.py dogpile`` and ``flask dogpile`` do alike: tell a mute server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from dogpile.cache import CacheRegion, DogpileCacheException


class Unanswered(DogpileCacheException):
    """A command has come to nothing, as a cache's server did not answer."""


class Asking:
    """Have a command end in an error where a page goes on without the server.

    What a region remembers to make up for later ends with the command's process.

    :param regions: that the command asks.
    :raises Unanswered: a backend failed, on leaving.
    """

    def __init__(self, regions: Iterable[CacheRegion]) -> None:
        self._regions = {id(region): region for region in regions}.values()
        self._endings: list[Callable[[], None]] = []
        self._failed: list[Any] = []

    def __enter__(self) -> None:
        self._endings = [
            region.on("backend_error", self._failed.append) for region in self._regions
        ]

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
        event = self._failed[0]
        cause = event.details.get("error")
        raise Unanswered(
            f"the server of the region {event.region!r} did not answer: {cause}; run "
            "the command again when it does"
        ) from cause
