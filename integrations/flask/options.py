"""How a view is kept: what its decorator was given, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from flask import Response

from dogpile.cache import Policy
from dogpile.cache.integrations import http


class ViewOptions(NamedTuple):
    """How a view is kept.

    :param region: its name; ``None`` for the default one.
    :param expiration_time: seconds; ``None`` for the region's.
    :param lifetime: the same in seconds, whatever it was given as.
    :param tags: names, format strings over the view's arguments, functions.
    :param varied: headers by their CGI names.
    :param select: makes the canonical query.
    :param key: what stands in the key instead of path and query.
    :param policy: other fields of ``Policy``.
    """

    region: str | None
    expiration_time: Any
    lifetime: float | None
    tags: tuple[Any, ...]
    varied: Mapping[str, str]
    select: http.Select
    unless: Callable[[], Any] | None
    response_filter: Callable[[Response], Any] | None
    key: str | Callable[[], str] | None
    policy: Mapping[str, Any]


def read_options(
    expiration_time: Any,
    region: str | None,
    tags: Any,
    vary: Iterable[str],
    query: Any,
    unless: Callable[[], Any] | None,
    response_filter: Callable[[Response], Any] | None,
    key: str | Callable[[], str] | None,
    policy: Mapping[str, Any],
) -> ViewOptions:
    """Check what a view is decorated with.

    :raises ValidationError: something of it is no use.
    """
    checked = Policy().merged({**policy, "expiration_time": expiration_time})
    return ViewOptions(
        region,
        expiration_time,
        checked.expiration_time,
        (tags,) if isinstance(tags, str) or callable(tags) else tuple(tags),
        http.vary_names(vary),
        http.select_query(query),
        unless,
        response_filter,
        key,
        dict(policy),
    )


def view_tags(endpoint: str, view_args: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the tags that each page of a view has."""
    tag = f"view:{endpoint}"
    if not view_args:
        return (tag,)
    return tag, f"{tag}?{urlencode(sorted(view_args.items()))}"
