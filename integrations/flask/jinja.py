"""The tag ``{% cache %}``: parts of a template that are rendered once.

``{% cache "name", 60, region="pages", vary=[user.id], tags=["nav"] %} …
{% endcache %}``
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask
from jinja2 import Environment, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from dogpile.cache import CacheRegion
from dogpile.cache.integrations.flask.state import current_state

_OPTIONS = frozenset({"region", "vary", "tags"})


def install(app: Flask) -> None:
    """Let the templates of an application know the tag."""
    if "jinja_env" in vars(app):
        app.jinja_env.add_extension(CacheTag)
        return
    # The options are the class's; asking for the environment would settle them.
    options: dict[str, Any] = dict(app.jinja_options)
    options["extensions"] = [*options.get("extensions", ()), CacheTag]
    app.jinja_options = options


def fragment_tag(name: str) -> str:
    """Return the tag of all fragments of a name."""
    return f"fragment:{name}"


def _fragment(template: str, name: str, vary: object) -> None:
    """Name a fragment: only the keys of this function are used."""


_named_fragment: Any = CacheRegion().cache_on_arguments(_fragment)


class CacheTag(Extension):
    """The tag itself.

    A fragment is known by its name, its template, and what it varies by; a
    template that was changed has other fragments.
    """

    tags: set[str] = {"cache"}  # noqa: RUF012 - Jinja's own form

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._prints: dict[str, str] = {}

    def preprocess(
        self, source: str, name: str | None, filename: str | None = None
    ) -> str:
        """Note what the template's source is."""
        made = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
        self._prints[name or ""] = made[:16]
        return source

    def parse(self, parser: Parser) -> nodes.Node:
        """Parse the tag."""
        line = next(parser.stream).lineno
        name, expiration_time = _positional(parser)
        options = _named(parser)
        stem = f"{parser.name or ''}:{self._prints.get(parser.name or '', '')}"
        body = parser.parse_statements(("name:endcache",), drop_needle=True)
        call = self.call_method(
            "_fragment",
            [nodes.Const(stem), name, expiration_time],
            [nodes.Keyword(key, value) for key, value in options.items()],
        )
        made = nodes.CallBlock(call, [], [], body).set_lineno(line)
        block = made.find(nodes.Block)
        if block is not None:
            parser.fail(
                f"{{% block {block.name} %}} within {{% cache %}}: what one template "
                "puts into it would be shown by all; put {% cache %} inside of the "
                "block",
                block.lineno,
            )
        return made

    def _fragment(
        self,
        stem: str,
        name: str,
        expiration_time: Any,
        *,
        caller: Callable[[], str],
        region: str | None = None,
        vary: Any = (),
        tags: str | Iterable[str] = (),
    ) -> str:
        found = current_state().region(region)
        key = _named_fragment.key(stem, name, vary)
        named = (tags,) if isinstance(tags, str) else tuple(tags)
        made: str = found.get_or_create(
            key,
            lambda: caller(),  # noqa: PLW0108 - a macro seems to take an argument
            expiration_time,
            # It is rendered with this request: never in the background.
            in_place=True,
            tags=(fragment_tag(name), *named),
        )
        return made


def _positional(parser: Parser) -> tuple[nodes.Expr, nodes.Expr]:
    if parser.stream.current.type == "block_end":
        parser.fail("{% cache %} takes the name of the fragment first")
    name = parser.parse_expression()
    if parser.stream.skip_if("comma") and not _is_option(parser):
        return name, parser.parse_expression()
    return name, nodes.Const(None)


def _named(parser: Parser) -> dict[str, nodes.Expr]:
    found: dict[str, nodes.Expr] = {}
    while parser.stream.current.type != "block_end":
        parser.stream.skip_if("comma")
        token = parser.stream.expect("name")
        if token.value not in _OPTIONS:
            parser.fail(
                f"{{% cache %}} takes no {token.value}= "
                f"(known: {', '.join(sorted(_OPTIONS))})",
                token.lineno,
            )
        if token.value in found:
            parser.fail(f"{{% cache %}} got {token.value}= twice", token.lineno)
        parser.stream.expect("assign")
        found[token.value] = parser.parse_expression()
    return found


def _is_option(parser: Parser) -> bool:
    is_name = parser.stream.current.type == "name"
    return is_name and parser.stream.look().type == "assign"
