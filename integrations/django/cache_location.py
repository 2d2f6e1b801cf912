"""``LOCATION`` of an alias of ``CACHES``: in the forms that Django knows, and shown."""

from __future__ import annotations

import re
from typing import Any

from dogpile.cache import ValidationError

# As Django parts it, where a URL follows.
_PARTING = re.compile(r"[;,]\s*(?=[a-z]+://)").split
# A name, a path, or a host with its port: no part of it is a password.
_HARMLESS = re.compile(r"[\w./-]*(:\d{1,5})?", re.ASCII).fullmatch


def one_location(location: Any) -> str:
    """Return the one text that says where the values lie.

    :param location: a text, or a list with one.
    :raises ValidationError: it is neither.
    """
    given: Any = _PARTING(location) if isinstance(location, str) else location
    if isinstance(given, (list, tuple)):
        if len(given) == 1 and isinstance(given[0], str):
            return given[0]
        if given and all(isinstance(each, str) and "://" in each for each in given):
            raise ValidationError(
                f"LOCATION has {len(given)} URLs: replicas are not asked, so name the "
                "first one; a cluster has OPTIONS['backend'], as "
                "'dogpile.cache.redis_cluster', and memcached has one URL, as "
                "memcached://host1,host2"
            )
    raise ValidationError(
        f"LOCATION is a {type(location).__name__}: it takes the name of a region or of "
        "a backend, or a URL, or a list with one of them; several servers belong to "
        "OPTIONS['arguments']"
    )


def shown(location: Any) -> str:
    """Return a location as errors show it, without what may be a password."""
    if isinstance(location, (list, tuple)):
        return f"[{', '.join(map(shown, location))}]"
    if not isinstance(location, str):
        return f"a {type(location).__name__}"
    if "://" in location:
        scheme = location.partition("://")[0]
        return repr(f"{scheme}://…" if _HARMLESS(scheme) else "…")
    return repr(location) if _HARMLESS(location) else repr("…")
