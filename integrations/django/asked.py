"""A request that may be answered from the cache, and what it has of its client."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from dogpile.cache.integrations.django.csp import has_shown_nonce
from dogpile.cache.integrations.django.model_tags import tag_names
from dogpile.cache.integrations.django.transactions import written_tags
from dogpile.cache.integrations.pages import Shelf, ViewOptions, page_tags


class Asked(NamedTuple):
    """A request that may be answered from the cache.

    :param fn: the view.
    :param key: of the page.
    :param query: the canonical one.
    :param wish: ``"no-cache"`` for a new page.
    """

    fn: Any
    options: ViewOptions
    request: HttpRequest
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shelf: Shelf
    key: str
    query: str
    wish: str

    def tags(self) -> tuple[str, ...]:
        """Return the tags of the page."""
        found = page_tags(self.view, self.options.tags, self.kwargs)
        return tag_names(found)

    @property
    def view(self) -> str:
        """What the view is called: by its route, else by its module."""
        match = self.request.resolver_match
        if match is not None and match.view_name:
            return str(match.view_name)
        return name_of(self.fn)

    def is_touched(self, *, is_async: bool = False) -> bool:
        """Return whether an open transaction has written what the page is of."""
        if not self.options.tags:
            return False
        written = written_tags(is_async=is_async)
        return bool(written) and not written.isdisjoint(self.tags())


def name_of(fn: Any) -> str:
    """Return what a view is called in keys."""
    of_class = getattr(fn, "view_class", None)
    named = fn if of_class is None else of_class
    name = getattr(named, "__qualname__", type(named).__qualname__)
    return f"{getattr(named, '__module__', '')}.{name}"


def has_session(request: Any) -> bool:
    """Return whether the session was read or changed; asking is no reading."""
    session = request.__dict__.get("session")
    # In the background it stands for one that is not there.
    if session is None or type(session) is SimpleLazyObject:
        return False
    accessed = getattr(session, "accessed", False)
    return bool(accessed or getattr(session, "modified", False))


def of_client(request: Any) -> str:
    """Return what of Django's own belongs to the client, and was used; or ``""``."""
    if request.META.get("CSRF_COOKIE_NEEDS_UPDATE"):
        return "csrf"
    messages = getattr(request, "_messages", None)
    if messages is not None and (messages.used or messages.added_new):
        return "messages"
    if has_shown_nonce(request):
        return "csp"
    return ""
