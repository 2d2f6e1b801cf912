"""The Content Security Policy of Django 6: a nonce for each response, made when shown.

Nothing of it is imported, as Django 5.2 has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.utils.functional import SimpleLazyObject, empty

#: Where its middleware keeps the nonce at a request, and templates in their context.
NONCE = "_csp_nonce"
VARIABLE = "csp_nonce"
# What its decorators tell the middleware, at a response.
_OVERRIDES = ("_csp_config", "_csp_ro_config")


if TYPE_CHECKING:
    _Lazy = SimpleLazyObject[str]
else:
    _Lazy = SimpleLazyObject


class NobodysNonce(_Lazy):
    """A nonce in the background: a page that shows it is not kept."""

    def __init__(self) -> None:
        super().__init__(lambda: "")

    def __bool__(self) -> bool:
        return vars(self)["_wrapped"] is not empty


def has_shown_nonce(request: Any) -> bool:
    """Return whether the nonce of a request was made; asking does not make it."""
    return bool(getattr(request, NONCE, None))


def overrides_of(response: Any) -> list[tuple[str, Any]]:
    """Return the policies that a response has of its own, as any codec takes them."""
    return [
        (name, _plain(getattr(response, name)))
        for name in _OVERRIDES
        if hasattr(response, name)
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(str(each) for each in value)
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value if isinstance(value, (bool, type(None))) else str(value)
