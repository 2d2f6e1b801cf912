"""Invalidations in all regions: one that fails keeps no other from being told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from dogpile.cache import BackendError
from dogpile.cache.integrations.django.handler import regions


def invalidate_everywhere(*tags: str, hard: bool) -> None:
    """Invalidate tags in all regions.

    :raises BackendError: the first one of those regions that raise it; by then all
        have been told.
    """
    chosen = {id(region): region for region in regions.values()}.values()
    try_all(partial(each.invalidate_tags, *tags, hard=hard) for each in chosen)


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
