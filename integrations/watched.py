"""A request's variables that note which were read that may be the client's.

A page may only depend on what is in its key, so that what is read, and is not in
the key, makes the page one that is not kept. Servers and middlewares put more into
an environ than anybody knows: the raw address, the client's certificate, its user.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# What the key tells, or what is the same for all requests that the key stands for.
_OF_ALL = frozenset(
    {
        *("REQUEST_METHOD", "PATH_INFO", "SCRIPT_NAME", "QUERY_STRING"),
        *("SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "SERVER_SOFTWARE"),
        *("CONTENT_TYPE", "CONTENT_LENGTH", "GATEWAY_INTERFACE"),
        # Who uses the token is found by what Django notes of it.
        *("CSRF_COOKIE", "CSRF_COOKIE_NEEDS_UPDATE"),
    }
)


class WatchedEnviron(dict[str, Any]):
    """An environ that notes which variables were read that the key knows not."""

    def __init__(self, environ: Mapping[str, Any]) -> None:
        super().__init__(environ)
        self.seen: set[str] = set()

    def _note(self, name: object) -> None:
        if not isinstance(name, str) or name in _OF_ALL or name.startswith("wsgi."):
            return
        self.seen.add(name)

    def __getitem__(self, name: str) -> Any:
        self._note(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a variable, or the default."""
        self._note(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self._note(name)
        return super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        self._note_all()
        return super().__iter__()

    def keys(self) -> Any:
        """Return the names."""
        self._note_all()
        return super().keys()

    def values(self) -> Any:
        """Return the values."""
        self._note_all()
        return super().values()

    def items(self) -> Any:
        """Return the variables."""
        self._note_all()
        return super().items()

    def copy(self) -> dict[str, Any]:
        """Return a dictionary, all of which counts as read."""
        self._note_all()
        return dict(super().items())

    def pop(self, name: str, *default: Any) -> Any:
        """Remove a variable, and return it."""
        self._note(name)
        return super().pop(name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return a variable, set to the default if it was not."""
        self._note(name)
        return super().setdefault(name, default)

    def __or__(self, other: Any) -> Any:
        self._note_all()
        return dict(super().items()) | other

    def _note_all(self) -> None:
        for name in super().__iter__():
            self._note(name)
