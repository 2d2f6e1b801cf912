"""Fragments of templates: texts that are rendered within a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dogpile.cache import NO_VALUE, Creation
from dogpile.cache.integrations.django.handler import regions
from dogpile.cache.integrations.django.snapshots import has_old_view
from dogpile.cache.integrations.django.transactions import written_tags
from dogpile.cache.integrations.everywhere import invalidate_everywhere


class OfClient(str):
    """A text that one client alone may see: it is not kept."""

    __slots__ = ()


def fragment_tag(name: str) -> str:
    """Return the tag of all fragments of a name."""
    return f"fragment:{name}"


def fragment(
    key: str,
    render: Callable[[], str],
    expiration_time: Any,
    *,
    region: str | None,
    tags: tuple[str, ...],
    **policy: Any,
) -> str:
    """Return a text, rendered in this thread if need be.

    :param render: returns an :class:`OfClient` if the text is not to be kept.
    :param region: the region's name; ``None`` for the default one.
    :param policy: other fields of ``Policy``.
    """
    found = regions.region(region)
    if not written_tags().isdisjoint(tags):
        return render()
    if has_old_view():
        stored = found.get(key, expiration_time, ignore_expiration=False)
        return render() if stored is NO_VALUE else str(stored)
    own: list[str] = []

    def create(creation: Creation) -> Any:
        text = render()
        own.append(text)
        return creation.skip(text) if isinstance(text, OfClient) else text

    made: str = found.get_or_create(
        key, create, expiration_time, in_place=True, tags=tags, **policy
    )
    if isinstance(made, OfClient) and made not in own:
        # Another request's, which this one has waited for.
        return render()
    return made


def invalidate_fragment(name: str, *, hard: bool = True) -> None:
    """Invalidate the fragments of a name, in all regions of the project.

    :param name: as in ``{% cached "name" %}``.
    :param hard: they are gone; else they are stale.
    """
    invalidate_everywhere(regions.values(), [fragment_tag(name)], hard=hard)
