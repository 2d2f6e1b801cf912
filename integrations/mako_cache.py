"""The plugin that Mako calls: a template's sections, kept in regions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from dogpile.cache import (
    NO_VALUE,
    BackendError,
    CacheRegion,
    Creation,
    UncacheableArgument,
    ValidationError,
    canonical_text,
)
from dogpile.cache.integrations.everywhere import invalidate_everywhere
from dogpile.cache.integrations.mako_bases import CacheImplBase
from dogpile.cache.integrations.mako_regions import TemplateRegions
from dogpile.cache.integrations.mako_sections import (
    Section,
    TreeFingerprint,
    page_of,
    read_sections,
    source_fingerprint,
)
from dogpile.cache.integrations.mako_settings import (
    check_arguments,
    check_fingerprint,
    names_of,
    seconds_of,
    unknown_of_tag,
    value_of,
)
from dogpile.cache.integrations.mako_text import Unstored, read, render, written
from dogpile.cache.integrations.options import near

# What Mako puts before the name of a section.
_SECTION = "render_"
# What it calls a block without a name, with the line behind it.
_NAMELESS = "__M_anon_"


class _Plan(NamedTuple):
    """How a section is asked for.

    What a creation can say itself is no wish: the region's short way to a hit
    is for calls that wish for nothing.

    :param given: what Mako has passed, without the context.
    :param lifetime: seconds, in a tuple; ``None`` for the region's.
    :param wishes: policy for ``get_or_create()``.
    :param is_ours: the region is no wrapper or the like of somebody else's.
    """

    given: Mapping[str, Any]
    region: Any
    key: str
    lifetime: tuple[Any] | None
    tags: list[str]
    wishes: dict[str, Any]
    is_ours: bool


class _NothingKept(dict[str, Any]):
    """In place of Mako's memory of what a section was first asked for with.

    With that, the tags of the first visitor would be everybody's, and an
    invalidation before the first rendering would decide on the region.
    """

    def __setitem__(self, name: str, settings: Any) -> None:
        pass


class DogpileCacheImpl(CacheImplBase):
    """Keeps the sections of one template in regions.

    Mako makes one for each template, by ``cache_impl="dogpile.cache"``. Of the
    ``cache_args`` it reads ``regions``, and what a tag may say, without the
    ``cache_``: ``region``, ``timeout``, ``grace``, ``tags``, ``vary`` and
    ``fingerprint``.

    :param cache: of the template.
    :raises ValidationError: the regions are no mapping.
    """

    def __init__(self, cache: Any) -> None:
        super().__init__(cache)
        template = cache.template
        self._template = template
        self._where = f"the template {template.uri!r}"
        check_arguments(template.cache_args, self._where)
        given = template.cache_args.get("regions")
        if not isinstance(given, TemplateRegions):
            given = TemplateRegions(given)
            # For the other templates of the lookup, too.
            template.cache_args["regions"] = given
        self.regions: TemplateRegions = given
        self._sections = read_sections(template)
        self._keys = {each.key for each in self._sections if each.key is not None}
        self._around = {each.key for each in self._sections if each.is_around}
        self.pass_context: bool = "vary" in template.cache_args or any(
            each.varies or each.is_around for each in self._sections
        )
        self._plans: dict[tuple[Any, str], _Plan] = {}
        self._source: str | None = None
        self._tree = TreeFingerprint(template)
        self._warned: set[str] = set()
        cache._def_regions = _NothingKept()  # noqa: SLF001 - see _NothingKept

    # What Mako calls

    def get_or_create(
        self, key: Any, creation_function: Callable[[], Any], **kw: Any
    ) -> Any:
        """Return a section's text, rendered here and now where need be.

        :param key: Mako's; of any type that has a canonical text.
        :param creation_function: renders it into the live context.
        :param kw: what the tags and the lookup say.
        :raises ValidationError: they name an unknown region, or are no use.
        """
        context = kw.pop("context", None)
        page = self._page(key, context)
        plan = self._plans.get((key, page)) if type(key) is str else None
        if (
            plan is None
            or plan.given != kw
            or plan.region is not self.regions.find(kw.get("region"), self._where)
        ):
            plan = self._plan(key, kw, page, context)
        if not plan.is_ours:
            return _asked_as_in_1_x(plan, creation_function)
        text = plan.region.get_or_create(
            plan.key,
            lambda creation: self._render(creation_function, creation, plan),
            in_place=True,
            **plan.wishes,
        )
        return text if type(text) is str else read(text)

    def set(self, key: Any, value: Any, **kw: Any) -> None:
        """Store a section's text.

        :param value: a text; nothing else is cached.
        :raises ValidationError: it is none.
        :raises BackendError: the backend could not store it.
        """
        if not isinstance(value, str):
            raise ValidationError(
                f"{self._where}: only text is cached, not a {type(value).__name__}"
            )
        plan = self._planned(key, kw)
        policy = {n: v for n, v in plan.wishes.items() if n != "on_backend_error"}
        if plan.tags:
            policy["tags"] = plan.tags
        if plan.lifetime is not None:
            policy["expiration_time"] = plan.lifetime[0]
        plan.region.put(plan.key, written(value), **policy)

    put = set

    def get(self, key: Any, **kw: Any) -> Any:
        """Return a section's text, or ``None`` where there is no fresh one."""
        plan = self._planned(key, kw)
        try:
            found = plan.region.get(plan.key, ignore_expiration=False)
        except BackendError:
            return None
        return None if found is NO_VALUE else read(found)

    def invalidate(self, key: Any, **kw: Any) -> None:
        """Invalidate a section: whatever was rendered for it, in any variant.

        :param key: as the section's tag says it, or the section's name, as
            ``invalidate_def()`` of Mako's cache does.
        :param kw: ``region``, where it is not the section's own.
        """
        named: list[Any] = [s for s in self._sections if key in (s.name, s.key)]
        computed: list[Any] = [s for s in self._sections if s.key is None]
        if not named and str(key).startswith(_SECTION):
            self._warn_of_no_section(str(key))
        for section in named or computed or [None]:
            self._invalidate(section, key, kw)

    # More than Mako asks for

    def invalidate_template(self) -> None:
        """Invalidate every section of the template."""
        for section in self._sections:
            self._invalidate(section, section.name, self._template.cache_args)

    def invalidate_tags(self, *tags: str, hard: bool = True) -> None:
        """Invalidate what has one of the tags, in the template's regions.

        :param hard: it is gone; else it is stale.
        """
        found: list[Any] = []
        sections: list[Section | None] = [*self._sections]
        for section in sections or [None]:
            name = None if section is None else section.name
            found += self._regions_of(section, self._completed(name, {})[1])
        invalidate_everywhere(found, tags, hard=hard)

    def stored_key(self, key: Any, **kw: Any) -> str:
        """Return the key under which a section lies in its region.

        :param kw: ``context``, where the section varies.
        """
        return self._planned(key, kw).key

    # From what Mako passes to a call of a region

    def _planned(self, key: Any, kw: dict[str, Any]) -> _Plan:
        """Plan what no rendering asks for."""
        context = kw.pop("context", None)
        key, settings = self._completed(key, kw)
        return self._plan(key, settings, self._page(key, context), context)

    def _plan(self, key: Any, kw: Mapping[str, Any], page: str, context: Any) -> _Plan:
        for name, text in unknown_of_tag(kw):
            self._warn(name, text)
        region = self.regions.find(kw.get("region"), self._where)
        names = names_of("cache_vary", kw.get("vary"), self._where)
        variant = self._variant(key, names, page, context)
        is_computed = not (isinstance(key, str) and key in self._keys)
        tags = names_of("cache_tags", kw.get("tags"), self._where)
        if is_computed:
            tags.append(self._tag())
        if variant:
            tags.append(self._tag(key))
        wishes: dict[str, Any] = {}
        lifetime = None
        if kw.get("timeout") is not None:
            lifetime = (seconds_of("cache_timeout", kw["timeout"], self._where),)
        if kw.get("grace") is not None:
            wishes["grace"] = seconds_of("cache_grace", kw["grace"], self._where)
        is_ours = isinstance(region, CacheRegion)
        if is_ours and _is_to_be_shielded(region):
            wishes["on_backend_error"] = "miss"
        if not is_ours and kw.get("tags") is not None:
            kind = type(region).__name__
            self._warn("tags", f"cache_tags needs a CacheRegion, not a {kind}")
        stored = self._stored(key, kw, variant)
        plan = _Plan(kw, region, stored, lifetime, tags, wishes, is_ours)
        if not is_computed and not names and kw.get("fingerprint") != "tree":
            self._plans[key, page] = plan
        return plan

    def _completed(self, key: Any, kw: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return key and settings as a rendering would pass them."""
        given = self._template.cache_args
        explicit = {n: v for n, v in kw.items() if n not in given or given[n] is not v}
        for section in self._sections:
            if key in (section.name, section.key):
                key = key if section.key is None else section.key
                return key, {**given, **section.settings, **explicit}
        return key, {**given, **explicit}

    def _stored(self, key: Any, kw: Mapping[str, Any], variant: str = "") -> str:
        # What has a fixed length stands before what may hold anything.
        fingerprint = self._fingerprint(kw.get("fingerprint", "source"))
        text = f":{key}" if isinstance(key, str) else f"#{self._canonical('key', key)}"
        return f"mako:{_uri(self._template)}:{fingerprint}{variant}{text}"

    def _fingerprint(self, kind: Any) -> str:
        if kind == "source":
            if self._source is None:
                self._source = source_fingerprint(self._template)
            return self._source
        if kind == "tree":
            return self._tree.read()
        if kind == "starttime":
            return repr(self.cache.starttime)
        check_fingerprint(kind, self._where)
        return "-"

    def _page(self, key: Any, context: Any) -> str:
        if context is None or not self._around:
            return ""
        known = key if isinstance(key, str) and key in self._keys else None
        return page_of(context, self._template) if known in self._around else ""

    def _variant(self, key: Any, names: list[str], page: str, context: Any) -> str:
        if not names and not page:
            return ""
        if context is None:
            raise ValidationError(
                f"{self._where}: the section {key!r} has a value for each context; "
                "hand over yours, as context=context"
            )
        digest = blake2b(f"{page}\0".encode(), digest_size=16)
        where = f"{self._where}: the section {self._told(key)}"
        for name in names:
            text = self._canonical("vary", value_of(name, context, where))
            digest.update(f"{name}={text}\0".encode("utf-8", "surrogatepass"))
        return f"~{digest.hexdigest()}"

    def _told(self, key: Any) -> str:
        """Return how an error tells of a section: by its name, or by its line."""
        found = [section.name for section in self._sections if section.key == key]
        name = found[0].removeprefix(_SECTION) if found else key
        if isinstance(name, str) and name.startswith(_NAMELESS):
            return f"in line {name.removeprefix(_NAMELESS)}"
        return repr(name)

    def _canonical(self, what: str, value: Any) -> str:
        try:
            return canonical_text(value)
        except UncacheableArgument as error:
            raise ValidationError(
                f"{self._where}: cache_{what} is given a {error.kind}, which has not "
                "the same text in every process: name one of its attributes, or give "
                "its class a method __cache_key__()"
            ) from None

    # Rendering

    def _render(
        self, creation_function: Callable[[], Any], creation: Creation, plan: _Plan
    ) -> Any:
        if plan.tags:
            creation.tag(*plan.tags)
        if plan.lifetime is not None:
            creation.expires(plan.lifetime[0])
        rendered = render(creation_function)
        if isinstance(rendered, Unstored):
            if rendered.odd_type is not None:
                self._warn(
                    "text", f"only text is cached, and it renders a {rendered.odd_type}"
                )
            return creation.skip(rendered)
        return rendered

    # Invalidating

    def _invalidate(
        self, section: Section | None, key: Any, kw: Mapping[str, Any]
    ) -> None:
        _, settings = self._completed(key if section is None else section.name, kw)
        if section is not None and key == section.name:
            key = section.key
        varies = "vary" in settings or (section is not None and section.varies)
        for region in self._regions_of(section, settings):
            if key is None:
                region.invalidate_tags(self._tag())
                continue
            if varies or (section is not None and section.is_around):
                region.invalidate_tags(self._tag(key))
            if not varies:
                region.delete(self._stored(key, settings))

    def _regions_of(
        self, section: Section | None, settings: Mapping[str, Any]
    ) -> Iterable[Any]:
        names = [settings.get("region")]
        if section is not None and "region" in section.computed:
            names = [*self.regions.names()] if names == [None] else names
        return [self.regions.find(name, self._where) for name in names]

    def _tag(self, key: Any = None) -> str:
        """Return the tag of one key's variants, or of all the computed keys."""
        tag = f"mako:{_uri(self._template) or source_fingerprint(self._template)}"
        return tag if key is None else f"{tag}:{key}"

    # Warnings

    def _warn_of_no_section(self, name: str) -> None:
        known = [each.name.removeprefix(_SECTION) for each in self._sections]
        wrong = name.removeprefix(_SECTION)
        # All bodies may be invalidated alike; and where another process has removed
        # the code of a template, it is not known what is in it.
        if wrong == "body" or not known:
            return
        self._warn(
            name,
            f"it has no cached section {wrong!r} to invalidate{near(wrong, known)} "
            f"(known: {', '.join(known)}; what it inherits is its own template's)",
        )

    def _warn(self, about: str, text: str) -> None:
        if about not in self._warned:
            self._warned.add(about)
            warnings.warn(f"{self._where}: {text}", UserWarning, stacklevel=2)


def _asked_as_in_1_x(plan: _Plan, creation_function: Callable[[], Any]) -> Any:
    """Ask what is only like a region: for a lifetime, and what else a tag wishes."""
    wishes = dict(plan.wishes)
    if plan.lifetime is not None:
        wishes["expiration_time"] = plan.lifetime[0]
    return plan.region.get_or_create(plan.key, creation_function, **wishes)


def _uri(template: Any) -> str:
    # Mako makes one for a text, of its place in memory.
    uri = str(template.uri)
    return "" if uri == f"memory:{hex(id(template))}" else uri


def _is_to_be_shielded(region: Any) -> bool:
    """Return whether a failing backend would break the page."""
    able = region.actual_backend.capabilities
    return region.policy.on_backend_error is None and not (able.network or able.inline)
