"""The regions that templates may name: an application's, or this process's."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from dogpile.cache import CacheRegion, ValidationError, regions
from dogpile.cache.integrations.options import near, shown
from dogpile.cache.integrations.settings import build_region


class TemplateRegions:
    """Regions by the names that templates have for them.

    :param given: regions, names of regions, or their settings; ``None`` for all
        the regions that have a name: those of Flask's current application, then
        those of this process, then those of Django's settings.
    """

    def __init__(self, given: Mapping[str, Any] | None = None) -> None:
        if given is not None and not isinstance(given, Mapping):
            raise ValidationError(
                "the regions of templates are a dictionary from names to regions, "
                f"not a {type(given).__name__}"
            )
        if type(given) is dict:  # others may make their regions when asked for one
            for name, region in given.items():
                _check(name, region)
        self._given = given
        self._built: dict[str, tuple[Any, CacheRegion]] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Return the names that a template may use."""
        return _names_in(self._scopes())

    def find(self, name: Any, where: str) -> Any:
        """Return a region.

        :param name: ``None`` for the only one, or else ``"default"``.
        :param where: the template, for the error.
        :raises ValidationError: there is no such region.
        """
        scopes = self._scopes()
        if name is None:
            name = _default(scopes, where)
        found = _first(name, scopes, where)
        if isinstance(found, CacheRegion) or _is_like_one(found):
            return found
        _check(name, found)
        return self._built_from(name, found, where)

    def _scopes(self) -> list[Mapping[str, Any]]:
        return _scopes_here() if self._given is None else [self._given]

    def _built_from(self, name: str, given: Any, where: str) -> Any:
        if isinstance(given, str) and "://" not in given:
            return _first(given, _scopes_here(), f"cache_regions[{name!r}]")
        with self._lock:
            built = self._built.get(name)
            if built is None or built[0] is not given:
                place = f"the templates' region {name!r}"
                region = build_region(name, given, where=place)
                built = self._built[name] = (given, region)
        return built[1]


def _is_like_one(given: Any) -> bool:
    """Return whether something can be asked as 1.x asked whatever it was given."""
    is_setting = isinstance(given, (str, Mapping))
    return not is_setting and callable(getattr(given, "get_or_create", None))


def _check(name: Any, given: Any) -> None:
    """Refuse what is no region, and cannot be one.

    :raises ValidationError: it is none, or its name is no text.
    """
    if not isinstance(name, str):
        raise ValidationError(f"a region of templates has a text for a name: {name!r}")
    if not (isinstance(given, (str, Mapping)) or _is_like_one(given)):
        raise ValidationError(
            f"cache_regions[{name!r}] takes a region, its settings, a URL, or the name "
            f"of a region, not {shown(given)}"
        )


def _scopes_here() -> list[Mapping[str, Any]]:
    """Return the regions that are found by their names; the first ones win."""
    # Two applications of Flask in a process may each have a region of one name.
    return [*_of_flask(), regions, *_of_django()]


# Templates need neither Flask nor Django: what is imported already is asked.


def _of_flask() -> list[Mapping[str, Any]]:
    if "dogpile.cache.integrations.flask.state" not in sys.modules:
        return []
    from dogpile.cache.integrations.flask.state import regions_here

    return [regions_here()]


def _of_django() -> list[Mapping[str, Any]]:
    registry: Any = getattr(sys.modules.get("django.apps"), "apps", None)
    # Where the registry is ready, the settings are configured.
    if registry is None or not registry.apps_ready:
        return []
    if not registry.is_installed("dogpile.cache.integrations.django"):
        return []
    from dogpile.cache.integrations.django.handler import regions as of_project

    return [of_project]


def _default(scopes: Iterable[Mapping[str, Any]], where: str) -> str:
    for known in scopes:
        if len(known) == 1:
            return next(iter(known))
        if "default" in known:
            return "default"
    raise ValidationError(
        f'{where} names no region: write cache_region="..." in the tag, or give '
        f"the lookup its cache_region= ({_listed(_names_in(scopes))})"
    )


def _first(name: Any, scopes: Iterable[Mapping[str, Any]], where: str) -> Any:
    for known in scopes:
        found = known.get(name)
        if found is not None:
            return found
    raise ValidationError(_unknown(name, _names_in(scopes), where))


def _names_in(scopes: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted({name for known in scopes for name in known})


def _unknown(name: Any, known: Iterable[str], where: str) -> str:
    hint = near(name, known)
    return (
        f"{where} names the region {shown(name)}, which is unknown{hint} "
        f"({_listed(known)})"
    )


def _listed(known: Iterable[str]) -> str:
    names = sorted(known)
    if names:
        return f"known: {', '.join(names)}"
    return (
        "there are none: give the lookup its cache_regions=, or make a region that "
        "has a name"
    )
