"""What templates may write for caching that Mako's own syntax refuses. Pure."""

from __future__ import annotations

import re

from dogpile.cache import ValidationError
from dogpile.cache.integrations.mako_settings import whole_seconds

# What is left as it is: what shows, explains or computes tags, and is none.
_OTHER = r"""
    <%doc>.*?</%doc>
  | <%(?:!|(?=\s)).*?%>
  | ^[ \t]*\#\#[^\n]*
"""
_ATTRIBUTES = r"""(?:[^"'>]|"[^"]*"|'[^']*')*"""
_TAGS = re.compile(
    rf"(?P<other>{_OTHER})"
    rf"|(?P<tag><%(?:page|def|block|text)\b{_ATTRIBUTES}>)",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
_TEXT_END = "</%text>"
_ATTRIBUTE = re.compile(
    r"""(?P<bare>\bcached\s*=\s*(?P<value>[A-Za-z_]\w*))
      | (?P<odd>\bcached\s*=\s*["'](?!True\b|False\b|None\b)[A-Za-z_]\w*["'])
      | (?P<name>\w+)(?P<equals>\s*=\s*)(?P<quoted>"[^"]*"|'[^']*')""",
    re.VERBOSE,
)
# As Mako parts an attribute into texts and expressions.
_EXPRESSION = re.compile(r"(\${(?:[^$]*?{.+|.+?)})", re.DOTALL)
# Of these the parts are joined, which for numbers takes str().
_JOINED = frozenset({"cache_key", "cache_region", "cache_tags", "cache_vary"})


def translate(source: str) -> str:
    """Return a template's source as Mako takes it; its lines stay.

    Within the tags ``page``, ``def``, ``block`` and ``text`` a bare ``cached=True``
    is quoted, and an expression beside a text, as in ``cache_tags="user:${id}"``,
    may have a value of any type; a timeout may have a unit. This is a preprocessor
    for Mako.

    :raises ValidationError: a timeout of a tag is no use.

    >>> translate('<%def name="menu()" cached=True>')
    '<%def name="menu()" cached="True">'
    """
    pieces: list[str] = []
    at = 0
    while (found := _TAGS.search(source, at)) is not None:
        pieces.append(source[at : found.start()])
        tag = found["tag"]
        if tag is None:
            pieces.append(found["other"])
        else:
            line = source.count("\n", 0, found.start()) + 1
            pieces.append(_translate_tag(tag, line))
        at = found.end()
        if tag is not None and tag.startswith("<%text") and not tag.endswith("/>"):
            end = source.find(_TEXT_END, at)
            end = len(source) if end < 0 else end
            pieces.append(source[at:end])
            at = end
    pieces.append(source[at:])
    return "".join(pieces)


def _translate_tag(tag: str, line: int) -> str:
    try:
        return _ATTRIBUTE.sub(_translate_attribute, tag)
    except ValidationError as error:
        raise ValidationError(f"the tag {tag} in line {line}: {error}") from None


def _translate_attribute(found: re.Match[str]) -> str:
    if found["odd"] or found["value"] not in (None, "True", "False"):
        said = found[0].partition("=")[2].strip()
        raise ValidationError(f"cached takes True or False, not {said}")
    if found["bare"]:
        return f'cached="{found["value"]}"'
    quote, text = found["quoted"][0], found["quoted"][1:-1]
    if found["name"] == "cache_timeout" and "${" not in text:
        return f"cache_timeout{found['equals']}{quote}{whole_seconds(text)}{quote}"
    if found["name"] not in _JOINED:
        return found[0]
    parts = [part for part in _EXPRESSION.split(text) if part]
    if len(parts) == 1:
        return found[0]
    joined = "".join(
        f"${{str({part[2:-1]})}}" if _EXPRESSION.fullmatch(part) else part
        for part in parts
    )
    return f"{found['name']}{found['equals']}{quote}{joined}{quote}"
