"""The tag ``{% cached %}``: parts of a template that are rendered once.

``{% load dogpile_cache %}{% cached "name" 300 region="pages" vary=user.id tags="nav" %}
… {% endcached %}``
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from django import template
from django.template.base import FilterExpression, NodeList, Parser, Token, token_kwargs
from django.template.context import Context
from django.template.defaulttags import CsrfTokenNode
from django.template.loader_tags import BlockNode
from django.utils.safestring import SafeString, mark_safe

from dogpile.cache import (
    CacheRegion,
    ConfigurationError,
    Policy,
    UncacheableArgument,
    ValidationError,
)
from dogpile.cache.integrations.django import apart
from dogpile.cache.integrations.django.expressions import read
from dogpile.cache.integrations.django.fragments import (
    OfClient,
    fragment,
    fragment_tag,
)
from dogpile.cache.integrations.django.handler import regions
from dogpile.cache.integrations.django.model_tags import listed, tag_names
from dogpile.cache.integrations.django.rows import keyed
from dogpile.cache.integrations.django.tokens import watch_token
from dogpile.cache.integrations.options import near, read_seconds

register: template.Library = template.Library()

_OPTIONS = frozenset({"grace", "region", "tags", "vary"})


def _fragment(template: str, name: str, vary: object, locale: object) -> None:
    """Name a fragment: only the keys of this function are used."""


_named_fragment: Any = CacheRegion().cache_on_arguments(_fragment)


@register.tag("cached")
def cached(parser: Parser, token: Token) -> CachedNode:
    """Render a part of a template once, and keep its text.

    The fragment is known by its name, the source of the part, what it varies by,
    and by the language and the time zone; a template that was changed has other
    fragments. It is rendered within the request, never in the background: with
    ``grace`` one request renders, and the others get the stale text.

    Name and seconds come first, the seconds may be left out. ``region`` is a
    region's name; ``vary`` what the text depends on, a value or a list; ``tags``
    names, or a list of names, models and instances; ``grace`` seconds.
    """
    first, *bits = token.split_contents()
    positional: list[FilterExpression] = []
    while bits and "=" not in _outside_quotes(bits[0]):
        positional.append(parser.compile_filter(bits.pop(0)))
    if not 1 <= len(positional) <= _MOST_POSITIONAL:
        raise template.TemplateSyntaxError(
            f"{{% {first} %}} takes the name of the fragment, and the seconds that it "
            'is fresh for, as in {% cached "name" 300 %}'
        )
    options = token_kwargs(bits, parser)
    for name in [*options, *(bit.partition("=")[0] for bit in bits)]:
        if name not in _OPTIONS:
            raise template.TemplateSyntaxError(
                f"{{% {first} %}} takes no {name}={near(name, _OPTIONS)} "
                f"(known: {', '.join(sorted(_OPTIONS))})"
            )
    if bits:
        raise template.TemplateSyntaxError(
            f"{{% {first} %}} does not understand {bits[0]!r}: options are written "
            "without spaces, as in vary=user.pk"
        )
    tokens: list[Any] = list(parser.tokens)
    body = parser.parse((f"end{first}",))
    parser.delete_first_token()
    _refuse(body, first)
    # They are there in the order from the last one to the first.
    source = tokens[len(parser.tokens) :]
    return CachedNode(body, _print_of(source), positional, options)


_MOST_POSITIONAL = 2


def _refuse(body: NodeList, tag: str) -> None:
    """Refuse a part that shows what is not the same for all."""
    if body.get_nodes_by_type(CsrfTokenNode):
        raise template.TemplateSyntaxError(
            f"{{% csrf_token %}} within {{% {tag} %}}: the token of one client would "
            "be shown to all; put the form's token outside"
        )
    blocks: list[Any] = body.get_nodes_by_type(BlockNode)
    for block in blocks:
        raise template.TemplateSyntaxError(
            f"{{% block {block.name} %}} within {{% {tag} %}}: what one template puts "
            f"into it would be shown by all; put {{% {tag} %}} inside of the block"
        )


def _outside_quotes(bit: str) -> str:
    return bit.partition('"')[0].partition("'")[0]


def _print_of(source: Iterable[Token]) -> str:
    made = hashlib.sha256()
    for token in source:
        made.update(f"{token.token_type}:{token.contents}\0".encode())
    return made.hexdigest()[:16]


class CachedNode(template.Node):
    """A part of a template that is rendered once.

    :param source: a digest of the part's source.
    :param positional: the name, and the seconds.
    """

    child_nodelists: tuple[str, ...] = ("nodelist",)

    def __init__(
        self,
        nodelist: NodeList,
        source: str,
        positional: list[FilterExpression],
        options: Mapping[str, FilterExpression],
    ) -> None:
        self.nodelist = nodelist
        self._source = source
        self._positional = positional
        self._options = options

    def render(self, context: Context) -> SafeString:
        """Return the text, rendered if need be."""
        try:
            name = self._name(context)
            key, seconds, options = self._read(name, context)
        except ConfigurationError as error:
            kind = type(error) if type(error) is ValidationError else ConfigurationError
            raise kind(
                f"{{% cached {self._positional[0]} %}} in "
                f"{self._template or 'a template'}: {error}"
            ) from error
        made = fragment(key, lambda: self._rendered(context), seconds, **options)
        return mark_safe(made)  # noqa: S308 - the template has escaped it

    def _name(self, context: Context) -> str:
        name = read(self._positional[0], context, "its name")
        if name is None or name == "":
            raise ValidationError(
                'it has no name: names stand in quotes, as in {% cached "nav" 300 %}'
            )
        return str(name)

    def _read(self, name: str, context: Context) -> tuple[str, Any, dict[str, Any]]:
        """Return the key, the seconds, and what else ``fragment()`` takes."""
        seconds = [read(each, context, "its seconds") for each in self._positional[1:]]
        given = {
            option: read(each, context, f"{option}=")
            for option, each in self._options.items()
        }
        region = given.get("region") or None
        if region is not None:
            regions.region(region)  # which says if there is none
        key = _key(f"{self._template}:{self._source}", name, given.get("vary"))
        options: dict[str, Any] = {
            "region": region,
            "tags": (fragment_tag(name), *tag_names(_separated(given.get("tags")))),
        }
        if "grace" in given:
            options["grace"] = _checked("grace", given["grace"])
        return key, _seconds(seconds), options

    def _rendered(self, context: Context) -> str:
        with watch_token(context) as watch:
            # Of the very type, as not every codec gives another one back.
            text = str.__str__(self.nodelist.render(context))
        return OfClient(text) if watch.is_used else text

    @property
    def _template(self) -> str:
        origin = self.origin
        return str(getattr(origin, "template_name", None) or "")


def _key(stem: str, name: str, vary: Any) -> Any:
    try:
        return _named_fragment.key(stem, name, _plain(vary), apart.locale())
    except UncacheableArgument as error:
        raise ValidationError(
            f"vary is given a value of type {error.kind}, which has another text in "
            "each process: name one of its attributes, or give its class a method "
            "__cache_key__()"
        ) from None


def _separated(tags: Any) -> list[Any]:
    """Return tags, of which a text may name several."""
    if isinstance(tags, str):
        return [name for name in (part.strip() for part in tags.split(",")) if name]
    return listed(tags)


def _plain(value: Any) -> Any:
    """Return what a fragment varies by as a value of a key."""
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, SafeString):
        return str(value)
    return keyed(value, "cached")


def _seconds(given: list[Any]) -> Any:
    if not given or given[0] is None:
        return None
    try:
        return _checked("expiration_time", given[0])
    except ValidationError as error:
        if not isinstance(given[0], str) or given[0].strip()[:1] in _OF_NUMBERS:
            raise
        raise ValidationError(
            f"it takes the name first and seconds second, not {given[0]!r}: is an "
            "option without its name?"
        ) from error


_OF_NUMBERS = frozenset("-0123456789")


def _checked(name: str, value: Any) -> Any:
    """Return a duration in seconds; a text such as ``"5m"`` is read."""
    return getattr(Policy().merged({name: read_seconds(name, value)}), name)
