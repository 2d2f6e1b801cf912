"""Whether there is a view of a name, and an address of it with such arguments."""

from __future__ import annotations

import pkgutil
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from django.urls import NoReverseMatch, get_resolver, get_urlconf, reverse
from django.urls.resolvers import ResolverMatch, URLPattern

_MOST_SHOWN = 3


def check_view(name: Any, view_args: Mapping[str, Any], urlconf: Any = None) -> None:
    """Check that pages may be of a view of that name, and with such arguments.

    :param name: as ``reverse()`` takes it; of a route without a name, that of the
        function with its module.
    :param view_args: all arguments of an address, or none.
    :param urlconf: where the routes stand; without, the site's, and those of the
        running request.
    :raises NoReverseMatch: there is no such view, or no such address of it.
    """
    places = [get_urlconf(), None] if urlconf is None else [urlconf]
    routes = [(each, *route) for each in places for route in _routes(each)]
    found = [(place, pattern) for place, known, pattern in routes if known == name]
    if not found:
        if view_args or not _is_function(name):
            raise NoReverseMatch(_unknown(name, {known for _, known, _ in routes}))
    elif view_args and not any(_takes(pattern, view_args) for _, pattern in found):
        # It tells what was tried.
        reverse(name, found[0][0], kwargs=dict(view_args))


def _routes(urlconf: Any) -> Iterator[tuple[str, URLPattern]]:
    """Yield the routes, each with the name of its view as a page knows it."""
    yield from _of_patterns(get_resolver(urlconf).url_patterns, [])


def _of_patterns(
    patterns: Any, spaces: list[str | None]
) -> Iterator[tuple[str, URLPattern]]:
    for each in patterns:
        if isinstance(each, URLPattern):
            match = ResolverMatch(
                each.callback, (), {}, url_name=each.name, namespaces=spaces
            )
            yield match.view_name, each
        else:
            own = [each.namespace] if each.namespace else []
            yield from _of_patterns(each.url_patterns, [*spaces, *own])


def _takes(pattern: Any, view_args: Mapping[str, Any]) -> bool:
    """Return whether arguments may be those of a route without a name."""
    if pattern.name:
        return False  # reverse() says it
    own = {*pattern.pattern.regex.groupindex, *pattern.default_args}
    return own <= view_args.keys()


def _is_function(name: Any) -> bool:
    """Return whether a name is that of a function in a module.

    So are pages known that were asked for past all routes, as in tests.
    """
    if not isinstance(name, str) or "." not in name:
        return False
    try:
        return callable(pkgutil.resolve_name(name.partition(".<locals>")[0]))
    except (ImportError, AttributeError, ValueError):
        return False


def _unknown(name: Any, known: Collection[str]) -> str:
    if not isinstance(name, str):
        return f"a view is named by a text, as reverse() takes it, not by {name!r}"
    # Who leaves a namespace out means a view in one.
    near = [each for each in sorted(known) if each.rpartition(":")[2] == name]
    near += [
        each for each in get_close_matches(name, known, cutoff=0.5) if each not in near
    ]
    hint = (
        f"; did you mean {' or '.join(map(repr, near[:_MOST_SHOWN]))}?" if near else ""
    )
    return f"there is no view {name!r} among the routes of the site{hint}"
