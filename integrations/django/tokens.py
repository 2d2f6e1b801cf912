"""Whether a part of a template has shown what is its client's own.

That is the CSRF token, and the nonce of a Content Security Policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.template.context import Context
from django.utils.functional import SimpleLazyObject

from dogpile.cache.integrations.django.csp import NONCE, VARIABLE

_FLAG = "CSRF_COOKIE_NEEDS_UPDATE"
_VARIABLES = ("csrf_token", VARIABLE)


class TokenWatch:
    """What was seen while a part was rendered."""

    def __init__(self) -> None:
        self.is_used = False

    def watched(self, token: Any) -> Any:
        """Return a token that tells when it is shown, whoever made it before."""

        def show() -> Any:
            self.is_used = True
            return token

        return SimpleLazyObject(show)


@contextmanager
def watch_token(context: Context) -> Iterator[TokenWatch]:
    """Watch for the tokens, in the context and asked for of its request."""
    watch = TokenWatch()
    top = context.dicts[-1]
    kept = {name: top[name] for name in _VARIABLES if name in top}
    for name in _VARIABLES:
        token = context.get(name)
        if token is not None:
            top[name] = watch.watched(token)
    try:
        with _watched_request(_request_of(context), watch):
            yield watch
    finally:
        for name in _VARIABLES:
            top.pop(name, None)
        top.update(kept)


@contextmanager
def _watched_request(request: Any, watch: TokenWatch) -> Iterator[None]:
    """Watch for what is asked of a request; ``None`` for none."""
    found = getattr(request, "META", None)
    meta: dict[str, Any] = found if isinstance(found, dict) else {}
    # Set already where the page has shown the token before this part.
    before = meta.pop(_FLAG, None)
    nonce = getattr(request, NONCE, None)
    if nonce is not None:
        setattr(request, NONCE, watch.watched(nonce))
    try:
        yield
    finally:
        watch.is_used = watch.is_used or bool(meta.get(_FLAG))
        if before is not None:
            meta[_FLAG] = before
        if nonce is not None:
            setattr(request, NONCE, nonce)


def _request_of(context: Context) -> Any:
    return getattr(context, "request", None) or context.get("request")
