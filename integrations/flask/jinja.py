"""The tag ``{% cache %}``: parts of a template that are rendered once.

``{% cache "name", 60, region="pages", vary=[user.id], tags=["nav"] %} …
{% endcache %}``
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, TypeGuard

from flask import Flask, Request
from jinja2 import Environment, TemplateRuntimeError, Undefined, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import BlockReference, TemplateReference
from jinja2.visitor import NodeTransformer

from dogpile.cache import (
    CacheRegion,
    ConfigurationError,
    Policy,
    UncacheableArgument,
    ValidationError,
)
from dogpile.cache.integrations.flask.state import current_state
from dogpile.cache.integrations.options import (
    near,
    read_names,
    read_seconds,
    refuse_negative,
)

_OPTIONS = frozenset({"region", "vary", "tags"})
# What it may be called where it has no name.
_SECONDS = frozenset({"expiration_time", "timeout"})


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
        # Templates that may bind `self` or `super`, and which of the two.
        self._bound: dict[str, frozenset[str]] = {}
        start, end = environment.block_start_string, environment.block_end_string
        self._binding = re.compile(
            rf"{re.escape(start)}[-+]?\s*(?:{_BINDERS})\b(?:(?!{re.escape(end)}).)*",
            re.DOTALL,
        )

    def preprocess(
        self, source: str, name: str | None, filename: str | None = None
    ) -> str:
        """Note what the template's source is."""
        made = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
        self._prints[name or ""] = made[:16]
        bound = " ".join(self._binding.findall(source))
        self._bound[name or ""] = frozenset(_OWN_NAMES(bound))
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
        bound = self._bound.get(parser.name or "", frozenset())
        for node in body:
            _refuse_blocks(parser, node, bound)
        if bound:
            watching = _Watching(self.call_method, bound)
            body = [watching.visit(node) for node in body]
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _variable(self, value: Any, name: str) -> Any:
        """Return the value of a name, unless it stands for the template's blocks."""
        if isinstance(value, (BlockReference, TemplateReference)):
            raise TemplateRuntimeError(_blocks_told(name))
        return value

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
        try:
            found = current_state().region(region)
            key = _key(stem, name, vary)
            _refuse_undefined("tags", tags)
            named = read_names("tags", tags, "names")
            if type(expiration_time) not in _PLAIN:
                expiration_time = _seconds(name, expiration_time)
            refuse_negative({"expiration_time": expiration_time})
        except ConfigurationError as error:
            raise type(error)(f"{{% cache {name!r} %}}: {error}") from error
        made: str = found.get_or_create(
            key,
            lambda: caller(),  # noqa: PLW0108 - a macro seems to take an argument
            expiration_time,
            # It is rendered with this request: never in the background.
            in_place=True,
            tags=(fragment_tag(name), *named),
        )
        return made


_PLAIN = frozenset({int, float, type(None)})


def _key(stem: str, name: Any, vary: Any) -> Any:
    """Return the key of a fragment.

    :raises ValidationError: its name, or what it varies by, is no use.
    """
    if not isinstance(name, (str, int)) or isinstance(name, bool):
        given = "an undefined one" if isinstance(name, Undefined) else repr(name)
        raise ValidationError(f"it takes the name of the fragment first, not {given}")
    # All who are to be told apart would get one text.
    _refuse_undefined("vary", vary)
    try:
        return _named_fragment.key(stem, name, vary)
    except UncacheableArgument as error:
        raise ValidationError(
            f"vary is given a {error.kind}, which has not the same text in every "
            "process: name one of its attributes, or give its class a method "
            "__cache_key__()"
        ) from None


def _refuse_undefined(option: str, value: Any) -> None:
    if isinstance(value, Request):
        raise ValidationError(
            f"{option} is given the request, whose text leaves the client out: "
            "name what is needed of it"
        )
    if isinstance(value, Undefined):
        raise ValidationError(
            f"{option} has a value that is undefined: misspelt, or not given to "
            "the template"
        )
    if isinstance(value, Mapping):
        _refuse_undefined(option, [*value, *value.values()])
    elif isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            _refuse_undefined(option, each)


def _seconds(name: Any, value: Any) -> Any:
    """Return the seconds that a fragment is fresh for, as a template says them."""
    if isinstance(name, int) and isinstance(value, str):
        raise ValidationError("the name stands first, and the seconds behind it")
    if isinstance(value, Undefined):
        raise ValidationError("its seconds are undefined")
    checked = Policy().merged(
        {"expiration_time": read_seconds("expiration_time", value)}
    )
    return checked.expiration_time


def _refuse_blocks(parser: Parser, node: nodes.Node, bound: Container[str]) -> None:
    """Refuse what shows the blocks of whichever template is rendered.

    :param bound: names that may be a variable's; rendering shows it.
    :raises TemplateSyntaxError: there is such a part; it says what to do.
    """
    if isinstance(node, nodes.Block):
        parser.fail(
            f"{{% block {node.name} %}} within {{% cache %}}: what one template "
            "puts into it would be shown by all; put {% cache %} inside of the "
            "block",
            node.lineno,
        )
    if _asks_for_blocks(node) and node.name not in bound:
        parser.fail(_blocks_told(node.name), node.lineno)
    for inner in node.iter_child_nodes():
        _refuse_blocks(parser, inner, bound)


def _asks_for_blocks(node: nodes.Node) -> TypeGuard[nodes.Name]:
    return isinstance(node, nodes.Name) and node.name in _BLOCKS and node.ctx == "load"


def _blocks_told(name: str) -> str:
    return (
        f"{_BLOCKS[name]} within {{% cache %}}: what one template puts into the block "
        "would be shown by all; write {% set text = … %} before it, {{ text }} within, "
        "and vary=[text]"
    )


class _Watching(NodeTransformer):
    """Has the names looked at, as the template is rendered.

    :param call: makes a call of a method of the tag.
    :param bound: the names.
    """

    def __init__(self, call: Callable[..., nodes.Call], bound: Container[str]) -> None:
        self._call = call
        self._bound = bound

    def visit_Name(self, node: nodes.Name) -> nodes.Node:  # noqa: N802 - Jinja's name
        """Put a call around a name."""
        if not _asks_for_blocks(node) or node.name not in self._bound:
            return node
        return self._call("_variable", [node, nodes.Const(node.name)]).set_lineno(
            node.lineno
        )


# By the name in a template: how the blocks of a template are asked for.
_BLOCKS = {"self": "{{ self.…() }}", "super": "{{ super() }}"}
_OWN_NAMES = re.compile(r"\b(?:self|super)\b").findall
# What gives a name to a value.
_BINDERS = "for|macro|call|set|with|import|from"


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
        if not _is_option(parser):
            parser.fail(
                "{% cache %} takes a name, seconds, and after that only options "
                f"(known: {', '.join(sorted(_OPTIONS))})"
            )
        token = next(parser.stream)
        if token.value not in _OPTIONS:
            known = f"(known: {', '.join(sorted(_OPTIONS))})"
            hint = near(token.value, _OPTIONS)
            if token.value in _SECONDS:
                hint = "; the seconds stand behind the name"
            parser.fail(
                f"{{% cache %}} takes no {token.value}={hint} {known}", token.lineno
            )
        if token.value in found:
            parser.fail(f"{{% cache %}} got {token.value}= twice", token.lineno)
        parser.stream.expect("assign")
        found[token.value] = parser.parse_expression()
    return found


def _is_option(parser: Parser) -> bool:
    is_name = parser.stream.current.type == "name"
    return is_name and parser.stream.look().type == "assign"
