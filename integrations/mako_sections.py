"""What a template caches, and what tells its versions apart.

Both are read from what Mako keeps of a template: the generated code says which
sections there are before any of them was rendered.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from mako.exceptions import (  # type: ignore[import-untyped]  # Mako has no types
    TemplateLookupException,
)

# How the generated code asks for what is cached.
_CALL = "_ctx_get_or_create"
_NAME = "__M_defname"
# What leads from a layout to the page that it is rendered for.
_PAGES = frozenset({"next", "self"})
_LITERAL_FILES = re.compile(
    r"""<%(?:include|inherit|namespace)\b
        (?:[^"'>]|"[^"]*"|'[^']*')*?
        \bfile\s*=\s*(?:"(?P<double>[^"$]*)"|'(?P<single>[^'$]*)')""",
    re.VERBOSE,
)
# The settings of a template that its source does not show.
_COMPILED_WITH = (
    "default_filters",
    "buffer_filters",
    "imports",
    "future_imports",
    "enable_loop",
    "strict_undefined",
)


class Section(NamedTuple):
    """A part of a template that is cached.

    :param name: as of ``render_menu``; a def inside a def has its own name.
    :param key: Mako's key; ``None`` where each rendering computes it.
    :param settings: what the tags say, where it is not computed.
    :param computed: the settings that each rendering computes.
    :param is_around: it may show parts of a page that inherits from it.
    """

    name: str
    key: str | None
    settings: Mapping[str, Any]
    computed: frozenset[str]
    is_around: bool

    @property
    def varies(self) -> bool:
        """Whether there may be several values under its key."""
        return "vary" in self.settings or "vary" in self.computed


def read_sections(template: Any) -> list[Section]:
    """Return the sections that a template caches, in their order."""
    try:
        code = template.code
    except OSError:
        return []  # another process has removed the file that Mako has written
    tree = ast.parse(code)
    around = {
        function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and _shows_others(function)
    }
    return [
        _section(node, around)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == _CALL
    ]


def _shows_others(function: ast.FunctionDef) -> bool:
    return any(
        (isinstance(node, ast.Name) and node.id in _PAGES)
        # A block is rendered as context['self'].its_name().
        or (isinstance(node, ast.Constant) and node.value == "self")
        for node in ast.walk(function)
    )


def _section(call: ast.Call, around: set[str]) -> Section:
    settings: dict[str, Any] = {}
    computed: set[str] = set()
    for keyword in call.keywords:
        name = str(keyword.arg)
        try:
            settings[name] = ast.literal_eval(keyword.value)
        except ValueError:
            computed.add(name)
    name = str(settings.pop(_NAME))
    key = call.args[0]
    literal = key.value if isinstance(key, ast.Constant) else None
    return Section(
        name,
        literal if isinstance(literal, str) else None,
        settings,
        frozenset(computed),
        name in around,
    )


def page_of(context: Any, template: Any) -> str:
    """Return the URI of the rendered page, where the template is none.

    :param template: whose section is rendered.
    """
    uri = getattr(context.get("self"), "uri", None)
    return "" if uri in (None, template.uri) else str(uri)


# Fingerprints


def source_fingerprint(template: Any) -> str:
    """Return what is another one as soon as the template is."""
    digest = blake2b(digest_size=16)
    for name in _COMPILED_WITH:
        digest.update(f"{name}={getattr(template, name, None)!r};".encode())
    digest.update(_source(template).encode("utf-8", "surrogatepass"))
    if _was_touched(template):
        # The source is a newer one than what this process has compiled.
        digest.update(repr(template.last_modified).encode())
    return digest.hexdigest()


def _source(template: Any) -> str:
    try:
        source = template.source
    except OSError:
        return ""  # the file is gone; the template is still there
    return source.decode("utf-8", "replace") if isinstance(source, bytes) else source


def _was_touched(template: Any) -> bool:
    if template.filename is None:
        return False
    try:
        found = os.stat(template.filename)
    except OSError:
        return True
    # A copy may keep the time of its original, but not when it was put there.
    changed = max(found.st_mtime, found.st_ctime)
    return bool(changed > template.last_modified)


class TreeFingerprint:
    """Tells apart a template together with all that it names literally.

    :param template: the first one.
    """

    def __init__(self, template: Any) -> None:
        self._template = template
        self._known: tuple[list[Any], str] = ([], "")

    def read(self) -> str:
        """Return the fingerprint, computed anew if one of them was reloaded."""
        templates, known = self._known
        if templates and all(
            _reloaded(self._template, each) is each for each in templates
        ):
            return known
        templates = list(_tree(self._template, set()))
        digest = blake2b(digest_size=16)
        for each in templates:
            digest.update(f"{each.uri}\0{source_fingerprint(each)}\0".encode())
        self._known = (templates, digest.hexdigest())
        return self._known[1]


def _reloaded(first: Any, template: Any) -> Any:
    if template is first or first.lookup is None:
        return template
    return _found(first.lookup, template.uri)


def _found(lookup: Any, uri: str) -> Any:
    try:
        return lookup.get_template(uri)
    except TemplateLookupException:
        return None  # the rendering says so


def _tree(template: Any, seen: set[str]) -> Iterator[Any]:
    seen.add(template.uri)
    yield template
    if template.lookup is None:
        return
    for found in _LITERAL_FILES.finditer(_source(template)):
        name = found["double"] or found["single"]
        if not name:
            continue
        uri = template.lookup.adjust_uri(name, template.uri)
        inner = None if uri in seen else _found(template.lookup, uri)
        if inner is not None:
            yield from _tree(inner, seen)
