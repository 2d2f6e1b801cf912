"""Invalidation in several regions: one whose server is down spares no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from dogpile.cache import BackendError, CacheRegion


def invalidate_everywhere(
    regions: Iterable[CacheRegion], tags: Iterable[str], *, hard: bool = True
) -> None:
    """Invalidate tags in every region, whichever of them fail.

    :param hard: what has the tags is gone; else it is stale.
    :raises BackendError: of the first region that failed and is to say so; the
        others have been told.
    """
    names = tuple(tags)
    chosen = {id(region): region for region in regions}.values()
    try_all(partial(region.invalidate_tags, *names, hard=hard) for region in chosen)


def try_all(calls: Iterable[Callable[[], object]]) -> None:
    """Call functions, whatever becomes of those before.

    :raises BackendError: the first one that was raised, after the last call.
    """
    errors: list[BackendError] = []
    for call in calls:
        try:
            call()
        except BackendError as error:
            errors.append(error)
    if errors:
        raise errors[0]
