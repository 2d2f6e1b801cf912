"""What a section has rendered: as it is stored, and as a page gets it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

from markupsafe import Markup

# The errors that handlers have answered while a section is rendered.
_handled: ContextVar[list[object] | None] = ContextVar("_handled", default=None)


class Unstored(NamedTuple):
    """What a section has rendered, and must not be stored.

    :param odd_type: what it is, where it is no text.
    """

    value: Any
    odd_type: str | None


def note_handled(error: object) -> None:
    """Keep the sections that are being rendered from being stored.

    :param error: an error in a part of them, which a handler has answered.
    """
    handled = _handled.get()
    if handled is not None:
        handled.append(error)


def render(creation_function: Callable[[], Any]) -> Any:
    """Render a section.

    :return: the text as it is stored, or what is :class:`Unstored`.
    """
    handled: list[object] = []
    token = _handled.set(handled)
    try:
        text = creation_function()
    finally:
        _handled.reset(token)
    if not isinstance(text, str):
        return Unstored(text, type(text).__name__)
    return Unstored(text, None) if handled else written(text)


def written(text: str) -> Any:
    """Return a text as it is stored, under whatever serializer."""
    plain = str.__str__(text)
    # It must be told apart from a text that is not safe.
    return [plain] if isinstance(text, Markup) else plain


def read(payload: Any) -> Any:
    """Return what a page gets of what a region has."""
    if isinstance(payload, Unstored):
        if payload.odd_type is None:
            note_handled(payload)  # it is a part of sections around it
        return payload.value
    if isinstance(payload, list):
        return Markup(payload[0])  # noqa: S704 - it was one when it was stored
    return payload
