"""Cached sections of Mako templates: ``cached=True`` on any tag that takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dogpile.cache import ValidationError
from dogpile.cache.integrations.missing import refuse_missing

try:
    from dogpile.cache.integrations.mako_bases import (
        LexerBase,
        TemplateBase,
        TemplateLookupBase,
    )
    from dogpile.cache.integrations.mako_cache import DogpileCacheImpl
    from dogpile.cache.integrations.mako_regions import TemplateRegions
    from dogpile.cache.integrations.mako_settings import check_fingerprint, check_lookup
    from dogpile.cache.integrations.mako_syntax import translate
    from dogpile.cache.integrations.mako_text import note_handled
except ModuleNotFoundError as _error:
    refuse_missing(_error, "mako")
    raise

__all__ = ["DogpileCacheImpl", "Template", "TemplateLookup", "init_mako"]

_IMPL = "dogpile.cache"


class TemplateLookup(TemplateLookupBase):
    """Mako's, with regions for the sections that its templates cache.

    :param directories: and all else is as of Mako's.
    :param cache_regions: regions by the names that templates have for them:
        regions, names of regions of this process, or settings of regions.
        ``None`` for the regions of this process.
    :param cache_region: the name for whatever names none itself.
    :param cache_fingerprint: what makes stored sections unfit: a changed
        ``"source"``; ``"tree"``, with all that it includes or inherits from;
        ``"starttime"``, each compilation; ``None``, nothing.
    :raises ValidationError: the regions are no mapping, or the like.

    >>> TemplateLookup(["templates"], cache_regions={}).directories
    ['templates']
    """

    def __init__(
        self,
        directories: Any = None,
        *given: Any,
        cache_regions: Mapping[str, Any] | None = None,
        cache_region: str | None = None,
        cache_fingerprint: str | None = "source",
        **settings: Any,
    ) -> None:
        caching = _caching(cache_regions, cache_region, cache_fingerprint)
        super().__init__(directories, *given, **_prepared(settings, caching))

    def put_string(self, uri: str, text: str) -> None:
        """Place a template that is made of a text.

        :raises ValidationError: a tag of it is no use for caching.
        """
        with _naming(uri):
            super().put_string(uri, text)


class Template(TemplateBase):
    """Mako's, with regions for the sections that it caches.

    :param text: and all else is as of Mako's.
    :param cache_regions: as of :class:`TemplateLookup`.
    :param cache_region: as of :class:`TemplateLookup`.
    :param cache_fingerprint: as of :class:`TemplateLookup`.
    :raises ValidationError: as of :class:`TemplateLookup`.
    """

    def __init__(
        self,
        text: Any = None,
        *given: Any,
        cache_regions: Mapping[str, Any] | None = None,
        cache_region: str | None = None,
        cache_fingerprint: str | None = "source",
        **settings: Any,
    ) -> None:
        caching = _caching(cache_regions, cache_region, cache_fingerprint)
        prepared = _prepared(settings, caching)
        with _naming(settings.get("uri") if settings.get("filename") is None else None):
            super().__init__(text, *given, **prepared)


def init_mako(
    lookup: Any,
    regions: Mapping[str, Any] | None = None,
    *,
    region: str | None = None,
    fingerprint: str | None = "source",
) -> None:
    """Have a lookup of Mako's own cache in regions.

    It holds for the templates that it loads from now on.

    :param lookup: a ``mako.lookup.TemplateLookup``, such as a framework's.
    :param regions: as ``cache_regions`` of :class:`TemplateLookup`.
    :param region: as ``cache_region`` of :class:`TemplateLookup`.
    :param fingerprint: as ``cache_fingerprint`` of :class:`TemplateLookup`.
    :raises ValidationError: as of :class:`TemplateLookup`.
    """
    caching = _caching(regions, region, fingerprint)
    settings = getattr(lookup, "template_args", None)
    if settings is None:
        raise ValidationError(
            f"init_mako() takes a TemplateLookup of Mako, not {lookup!r}"
        )
    earlier = settings.get("cache_args") or {}
    settings["cache_impl"] = _IMPL
    settings["cache_args"] = {n: v for n, v in earlier.items() if n not in caching}
    settings.update(_prepared(settings, caching))


def _caching(
    regions: Mapping[str, Any] | None, region: str | None, fingerprint: str | None
) -> dict[str, Any]:
    check_fingerprint(fingerprint, "the lookup")
    caching: dict[str, Any] = {"fingerprint": fingerprint}
    if regions is not None:
        caching["regions"] = TemplateRegions(regions)
    if region is not None:
        caching["region"] = region
    return caching


def _prepared(
    settings: Mapping[str, Any], caching: Mapping[str, Any]
) -> dict[str, Any]:
    """Return Mako's own settings, with what caching adds to them."""
    check_lookup(settings)
    prepared = {"cache_impl": _IMPL, **settings}
    given = prepared.get("cache_args") or {}
    for name in ("regions", "region"):
        if name in given and name in caching:
            raise ValidationError(
                f"the {name} is given twice: as cache_{name}= and within cache_args="
            )
    prepared["cache_args"] = {**caching, **given}
    before = [
        each for each in _listed(prepared.get("preprocessor")) if each != translate
    ]
    prepared["preprocessor"] = [*before, translate]
    if prepared.get("lexer_cls") is None:
        prepared["lexer_cls"] = _Lexer
    handler = prepared.get("include_error_handler")
    if handler is not None and not isinstance(handler, _Handler):
        prepared["include_error_handler"] = _Handler(handler)
    return prepared


def _listed(preprocessor: Any) -> list[Callable[[str], str]]:
    # As Mako's lexer takes it: one, or several, or none.
    if preprocessor is None:
        return []
    return list(preprocessor) if hasattr(preprocessor, "__iter__") else [preprocessor]


@contextmanager
def _naming(template: str | None) -> Iterator[None]:
    """Say in which template a tag is no use for caching.

    :param template: its file, or the URI of a text; ``None`` if neither is known.
    """
    try:
        yield
    except ValidationError as error:
        if template is None:
            raise
        raise ValidationError(f"the template {template!r}: {error}") from None


class _Lexer(LexerBase):
    """Mako's, which knows the file that it reads."""

    def parse(self) -> Any:
        """Return the template as a tree."""
        with _naming(self.filename):
            return super().parse()


class _Handler:
    """An error handler whose answers are not stored.

    :param handler: the user's own.
    """

    def __init__(self, handler: Callable[[Any, Any], Any]) -> None:
        self._handler = handler

    def __call__(self, context: Any, error: Any) -> Any:
        note_handled(error)
        return self._handler(context, error)
