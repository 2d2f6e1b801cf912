"""The views of an application by their endpoints, for whoever invalidates pages."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from flask import Flask, current_app

from dogpile.cache import ValidationError
from dogpile.cache.integrations.flask.state import behind
from dogpile.cache.integrations.options import near
from dogpile.cache.integrations.pages import ViewOptions


def regions_of(endpoint: str, view_args: Mapping[str, Any]) -> set[str | None]:
    """Return the names of the regions that the pages of a view are kept in.

    :param endpoint: as ``url_for()`` takes it.
    :param view_args: all arguments of a page, or none.
    :raises ValidationError: there is no such view, it is not cached, or no page
        of it has these arguments.
    """
    app: Flask = behind(current_app)
    view = app.view_functions.get(endpoint)
    if view is None:
        hint = near(endpoint, app.view_functions)
        raise ValidationError(f"there is no view {endpoint!r}{hint}")
    cached = [place for place in _places(view) if _options(place) is not None]
    if not cached:
        raise ValidationError(
            f"the view {endpoint!r} is not cached: decorate it with cache.cached(), "
            "below its route"
        )
    if view_args:
        _check_arguments(app, endpoint, cached, view_args)
    return {options.region for place in cached if (options := _options(place))}


def _places(view: Any) -> list[Any]:
    """Return where a view may be decorated: itself, and what its class answers by."""
    view_class = getattr(view, "view_class", None)
    names = () if view_class is None else ("get", "dispatch_request")
    return [view, *(getattr(view_class, name, None) for name in names)]


def _options(place: Any) -> ViewOptions | None:
    found = getattr(place, "dogpile_options", None)
    return found if isinstance(found, ViewOptions) else None


def _check_arguments(
    app: Flask, endpoint: str, cached: list[Any], given: Mapping[str, Any]
) -> None:
    """Refuse arguments that are in the tag of no page.

    What stands between the route and the cached view may change them: a
    preprocessor that takes one away, a decorator that adds one.
    """
    routes = [set(rule.arguments) for rule in app.url_map.iter_rules(endpoint)]
    taken = _parameters(cached)
    known = set().union(taken, *routes)
    for name in given:
        if name not in known:
            there = f"there are {', '.join(sorted(known))}" if known else "it has none"
            hint = near(name, known) or f"; {there}"
            raise ValidationError(
                f"the view {endpoint!r} has no argument {name!r}{hint}"
            )
    missing = [(route & taken) - given.keys() for route in routes]
    if missing and all(missing):
        fewest: set[str] = min(missing, key=len)
        names = ", ".join(sorted(fewest))
        raise ValidationError(
            f"the view {endpoint!r} has pages by more than that: name {names}, too, "
            "or no argument for all its pages"
        )


def _parameters(cached: list[Any]) -> set[str]:
    """Return the names of the parameters of functions."""
    return {
        name
        for place in cached
        for name, parameter in inspect.signature(place).parameters.items()
        if parameter.kind not in _ANY and name != "self"
    }


_ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
