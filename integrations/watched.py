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
        *("CONTENT_LENGTH", "GATEWAY_INTERFACE"),
        # Who uses the token is found by what Django notes of it.
        *("CSRF_COOKIE", "CSRF_COOKIE_NEEDS_UPDATE"),
    }
)


class Watched(dict[str, Any]):
    """A dictionary that notes what was read of it.

    What CPython reads of a dictionary without asking its class, as
    ``dict.get(it, name)`` does, is not seen.

    :param given: what stands in it.
    :param seen: what is noted.
    """

    def __init__(self, given: Mapping[str, Any], seen: set[str]) -> None:
        super().__init__(given)
        self.seen = seen

    def _note(self, name: object) -> None:
        """Note that one name was read."""
        raise NotImplementedError

    def _note_all(self) -> None:
        for name in super().__iter__():
            self._note(name)

    def __getitem__(self, name: str) -> Any:
        self._note(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return what has a name, or the default."""
        self._note(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self._note(name)
        return super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        self._note_all()
        return super().__iter__()

    def __len__(self) -> int:
        self._note_all()
        return super().__len__()

    def __repr__(self) -> str:
        # As a page for debugging shows all of it.
        self._note_all()
        return super().__repr__()

    def __eq__(self, other: object) -> bool:
        self._note_all()
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # as of any dictionary

    def keys(self) -> Any:
        """Return the names."""
        self._note_all()
        return super().keys()

    def values(self) -> Any:
        """Return the values."""
        self._note_all()
        return super().values()

    def items(self) -> Any:
        """Return names and values."""
        self._note_all()
        return super().items()

    def copy(self) -> dict[str, Any]:
        """Return a dictionary, all of which counts as read."""
        self._note_all()
        return dict(super().items())

    def pop(self, name: str, *default: Any) -> Any:
        """Remove what has a name, and return it."""
        self._note(name)
        return super().pop(name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return what has a name, set to the default if nothing had it."""
        self._note(name)
        return super().setdefault(name, default)

    def __or__(self, other: Any) -> Any:
        self._note_all()
        return dict(super().items()) | other


class WatchedEnviron(Watched):
    """An environ that notes which variables were read that the key knows not."""

    def __init__(self, environ: Mapping[str, Any]) -> None:
        super().__init__(environ, set())

    def _note(self, name: object) -> None:
        if not isinstance(name, str) or name in _OF_ALL or name.startswith("wsgi."):
            return
        self.seen.add(name)
