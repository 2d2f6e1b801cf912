"""Whether a part of a template has shown the CSRF token of its client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.template.context import Context
from django.utils.functional import SimpleLazyObject

_FLAG = "CSRF_COOKIE_NEEDS_UPDATE"
_TOKEN = "csrf_token"  # noqa: S105 - a variable's name


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
    """Watch for the token, in the context and asked for of its request."""
    watch = TokenWatch()
    meta = _meta_of(context)
    # Set already where the page has shown the token before this part.
    before = meta.pop(_FLAG, None)
    top = context.dicts[-1]
    kept = {_TOKEN: top[_TOKEN]} if _TOKEN in top else {}
    token = context.get(_TOKEN)
    if token is not None:
        top[_TOKEN] = watch.watched(token)
    try:
        yield watch
    finally:
        top.pop(_TOKEN, None)
        top.update(kept)
        watch.is_used = watch.is_used or bool(meta.get(_FLAG))
        if before is not None:
            meta[_FLAG] = before


def _meta_of(context: Context) -> dict[str, Any]:
    request = getattr(context, "request", None) or context.get("request")
    meta = getattr(request, "META", None)
    return meta if isinstance(meta, dict) else {}
