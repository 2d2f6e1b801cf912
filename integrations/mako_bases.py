"""The classes of Mako that others here derive from, with the types it leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    class TemplateBase:
        """Mako's ``Template``."""

        uri: str
        filename: str | None
        module: Any
        lookup: Any
        cache_args: dict[str, Any]

        def __init__(self, text: Any = None, *given: Any, **settings: Any) -> None: ...
        def __getattr__(self, name: str) -> Any:
            """Return whatever else it has."""

        @property
        def cache(self) -> Any:
            """What the template's sections are kept by."""

        @property
        def code(self) -> str:
            """The module that it was compiled to."""

        @property
        def source(self) -> str:
            """The template as it was written."""

        def render(self, *args: Any, **data: Any) -> Any:
            """Return a text, or bytes where there is an ``output_encoding``."""

        def render_unicode(self, *args: Any, **data: Any) -> str:
            """Return a text."""

        def render_context(self, context: Any, *args: Any, **kwargs: Any) -> None:
            """Render into a context."""

        def has_def(self, name: str) -> bool:
            """Return whether there is such a def."""

        def get_def(self, name: str) -> Any:
            """Return a def as a template."""

        def list_defs(self) -> list[str]:
            """Return the names of all defs."""

    class TemplateLookupBase:
        """Mako's ``TemplateLookup``."""

        directories: list[str]
        template_args: dict[str, Any]

        def __init__(
            self, directories: Any = None, *given: Any, **settings: Any
        ) -> None: ...
        def __getattr__(self, name: str) -> Any:
            """Return whatever else it has."""

        def get_template(self, uri: str) -> Any:
            """Return the template of a URI."""

        def has_template(self, uri: str) -> bool:
            """Return whether there is a template of a URI."""

        def put_string(self, uri: str, text: str) -> None:
            """Place a template that is made of a text."""

        def put_template(self, uri: str, template: Any) -> None:
            """Place a template."""

        def adjust_uri(self, uri: str, relativeto: str | None) -> str:
            """Return a URI, made absolute."""

        def filename_to_uri(self, filename: str) -> str:
            """Return the URI of a file."""

    class LexerBase:
        """Mako's ``Lexer``."""

        filename: str | None

        def parse(self) -> Any:
            """Return the template as a tree."""

    class CacheImplBase:
        """Mako's ``CacheImpl``."""

        cache: Any
        pass_context: bool

        def __init__(self, cache: Any) -> None: ...
        def get_or_create(
            self, key: Any, creation_function: Callable[[], Any], **kw: Any
        ) -> Any:
            """Return a section's text."""

        def set(self, key: Any, value: Any, **kw: Any) -> None:
            """Store a section's text."""

        def get(self, key: Any, **kw: Any) -> Any:
            """Return a section's text, if it is stored."""

        def invalidate(self, key: Any, **kw: Any) -> None:
            """Forget a section's text."""

else:
    from mako.cache import CacheImpl as CacheImplBase
    from mako.lexer import Lexer as LexerBase
    from mako.lookup import TemplateLookup as TemplateLookupBase
    from mako.template import Template as TemplateBase

__all__ = ["CacheImplBase", "LexerBase", "TemplateBase", "TemplateLookupBase"]
