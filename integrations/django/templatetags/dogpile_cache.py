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

from dogpile.cache import CacheRegion, ConfigurationError
from dogpile.cache.integrations.django import apart
from dogpile.cache.integrations.django.fragments import (
    OfClient,
    fragment,
    fragment_tag,
)
from dogpile.cache.integrations.django.model_tags import listed, tag_names
from dogpile.cache.integrations.django.rows import keyed
from dogpile.cache.integrations.django.tokens import watch_token
from dogpile.cache.integrations.options import near, refuse_negative

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
        name, *seconds = (each.resolve(context) for each in self._positional)
        if _is_missing(name, context):
            raise ConfigurationError(
                f"{{% cached %}} in {self._template or 'a template'} has no name: "
                f"there is no variable {self._positional[0]}; names stand in quotes, "
                'as in {% cached "nav" 300 %}'
            )
        options = {key: each.resolve(context) for key, each in self._options.items()}
        region = options.get("region") or None
        tags = tag_names(_separated(options.get("tags")))
        key = _named_fragment.key(
            f"{self._template}:{self._source}",
            str(name),
            _plain(options.get("vary")),
            apart.locale(),
        )
        policy = {"grace": options["grace"]} if "grace" in options else {}
        refuse_negative(policy)
        made = fragment(
            key,
            lambda: self._rendered(context),
            _seconds(seconds, self._template),
            region=region,
            tags=(fragment_tag(str(name)), *tags),
            **policy,
        )
        return mark_safe(made)  # noqa: S308 - the template has escaped it

    def _rendered(self, context: Context) -> str:
        with watch_token(context) as watch:
            text = str(self.nodelist.render(context))
        return OfClient(text) if watch.is_used else text

    @property
    def _template(self) -> str:
        origin = self.origin
        return str(getattr(origin, "template_name", None) or "")


def _is_missing(value: Any, context: Context) -> bool:
    """Return whether a value stands for a variable that is not there."""
    whole = context.template
    return bool(value == ("" if whole is None else whole.engine.string_if_invalid))


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


def _seconds(given: list[Any], name: str) -> Any:
    if not given or given[0] is None:
        return None
    if isinstance(given[0], str):
        raise ConfigurationError(
            f"{{% cached %}} in {name or 'a template'} takes the name first and "
            f"seconds second, not {given[0]!r}: is a variable unknown, or an option "
            "without its name?"
        )
    return given[0]
