"""The regions that templates may name: an application's, or this process's."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from dogpile.cache import CacheRegion, ValidationError, regions
from dogpile.cache.integrations.settings import build_region


class TemplateRegions:
    """Regions by the names that templates have for them.

    :param given: regions, names of regions of this process, or their settings;
        ``None`` for all the regions of this process that have a name.
    """

    def __init__(self, given: Mapping[str, Any] | None = None) -> None:
        if given is not None and not isinstance(given, Mapping):
            raise ValidationError(
                "the regions of templates are a dictionary from names to regions, "
                f"not a {type(given).__name__}"
            )
        self._given = given
        self._built: dict[str, tuple[Any, CacheRegion]] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Return the names that a template may use."""
        return sorted(regions if self._given is None else self._given)

    def find(self, name: Any, where: str) -> Any:
        """Return a region.

        :param name: ``None`` for the only one, or else ``"default"``.
        :param where: the template, for the error.
        :raises ValidationError: there is no such region.
        """
        known: Mapping[str, Any] = regions if self._given is None else self._given
        if name is None:
            name = self._default(known, where)
        found = known.get(name)
        if found is None:
            raise ValidationError(_unknown(name, known, where))
        if isinstance(found, (str, Mapping)):
            return self._built_from(name, found, where)
        return found

    def _default(self, known: Mapping[str, Any], where: str) -> str:
        names = list(known)
        if len(names) == 1:
            return names[0]
        if "default" in known:
            return "default"
        raise ValidationError(
            f'{where} names no region: write cache_region="..." in the tag, or give '
            f"the lookup its cache_region= ({_listed(names)})"
        )

    def _built_from(self, name: str, given: Any, where: str) -> Any:
        if isinstance(given, str) and "://" not in given:
            found = regions.get(given)
            if found is None:
                raise ValidationError(_unknown(given, regions, where))
            return found
        with self._lock:
            built = self._built.get(name)
            if built is None or built[0] is not given:
                place = f"the templates' region {name!r}"
                region = build_region(name, given, where=place)
                built = self._built[name] = (given, region)
        return built[1]


def _unknown(name: Any, known: Iterable[str], where: str) -> str:
    near = get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return (
        f"{where} names the region {name!r}, which is unknown{hint} ({_listed(known)})"
    )


def _listed(known: Iterable[str]) -> str:
    names = sorted(known)
    if names:
        return f"known: {', '.join(names)}"
    return (
        "there are none: give the lookup its cache_regions=, or make a region that "
        "has a name"
    )
