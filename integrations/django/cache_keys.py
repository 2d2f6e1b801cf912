"""From a pattern to keys, for backends that can tell what they have."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from django.core.cache.backends.base import BaseCache

from dogpile.cache import NO_VALUE, ConfigurationError

#: Keys that are looked at in one step.
PAGE = 500

# A text that is in no prefix, and that no key function changes.
_MARK = "dogpile-mark"
_CLASS = re.compile(r"\[(\^?)([^\]]+)\]")


class Pattern:
    r"""A pattern of keys, such as ``"user:*"``, with those of one version.

    It has the signs of a Redis: ``*``, ``?``, ``[ab]``, ``[a-z]``, ``[^a]``, and
    ``\`` before one that stands for itself.

    :param cache: whose ``KEY_PREFIX``, ``VERSION`` and ``KEY_FUNCTION`` it is.
    :raises ConfigurationError: from the keys that the function makes there is no
        way back.
    """

    def __init__(self, cache: BaseCache, pattern: str, version: int | None) -> None:
        made = str(cache.make_key(_MARK, version))
        self._start, mark, self._end = made.partition(_MARK)
        if not mark or cache.make_key("a", version) != f"{self._start}a{self._end}":
            raise ConfigurationError(
                "the keys that KEY_FUNCTION makes do not tell what they were made "
                "from, so that they cannot be matched: use tags"
            )
        #: How all stored keys begin that may match.
        self.start: str = self._start + re.split(r"[*?\[\\]", pattern, maxsplit=1)[0]
        #: What was found, and is to be asked whether it has a value yet.
        self.page: list[str] = []
        self._matches = re.compile(translated(pattern), re.DOTALL).fullmatch

    def key(self, made: str) -> str:
        """Return the key that a stored one was made from."""
        return made[len(self._start) : len(made) - len(self._end)]

    def fills_page(self, made: str) -> bool:
        """Take a stored key if it matches; return whether the page is full."""
        if self.matches(made):
            self.page.append(made)
        return len(self.page) >= PAGE

    def living(self, found: Iterable[Any]) -> list[str]:
        """Return the keys of the page that have a value, and begin the next one.

        Others may have been invalidated.

        :param found: what the region has for the keys of the page.
        """
        page, self.page = self.page, []
        return [
            self.key(made)
            for made, each in zip(page, found, strict=True)
            if each is not NO_VALUE
        ]

    def matches(self, made: str) -> bool:
        """Return whether a stored key does."""
        if len(made) < len(self._start + self._end) or not made.endswith(self._end):
            return False
        return self._matches(self.key(made)) is not None


def translated(pattern: str) -> str:
    r"""Return a pattern as a regular expression.

    >>> translated("a?[^b]*"), translated(r"\*")
    ('a.[^b].*', '\\*')
    """
    made = ""
    place = 0
    while place < len(pattern):
        sign = pattern[place]
        place += 1
        listed = _CLASS.match(pattern, place - 1) if sign == "[" else None
        if listed is not None:
            inner = re.sub(r"([\\\[&~|])", r"\\\1", listed[2])
            made += f"[{listed[1]}{inner}]"
            place = listed.end()
        elif sign in "*?":
            made += ".*" if sign == "*" else "."
        else:
            if sign == "\\" and place < len(pattern):
                sign = pattern[place]
                place += 1
            made += re.escape(sign)
    return made
