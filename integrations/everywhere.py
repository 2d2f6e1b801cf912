"""Invalidation in several regions: one whose server is down spares no other."""

from __future__ import annotations

from collections.abc import Iterable

from dogpile.cache import BackendError, CacheRegion


def invalidate_everywhere(
    regions: Iterable[CacheRegion], tags: Iterable[str], *, hard: bool = True
) -> None:
    """Invalidate tags in every region, whichever of them fail.

    :param hard: what has the tags is gone; else it is stale.
    :raises BackendError: of the first region that failed and is to say so; the
        others have been told.
    """
    failed: list[BackendError] = []
    names = tuple(tags)
    for region in {id(region): region for region in regions}.values():
        try:
            region.invalidate_tags(*names, hard=hard)
        except BackendError as error:
            failed.append(error)
    if failed:
        raise failed[0]
