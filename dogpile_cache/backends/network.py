"""What the backends of servers share: arguments, time-outs, keys, errors, forks."""

from __future__ import annotations

import functools
import hashlib
import importlib
import math
import os
import re
import weakref
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Protocol

from dogpile.cache.exception import (
    BackendError,
    BackendUnavailable,
    ConfigurationError,
    ValidationError,
)

#: Seconds that a connection may take to stand, where nothing else is said.
CONNECT_SECONDS = 2.0
#: Seconds that a server may keep silent in an answer, where nothing else is said.
READ_SECONDS = 2.0

# Shown of a key in an error: enough to find it, too little to leak much.
_PREFIX_LENGTH = 40
# Begins a key that was hashed; a key of the user's that begins so is hashed too,
# so that no two keys are ever stored under one name.
_HASHED = "~"
_PLAIN_KEY = re.compile(r"[!-}][!-~]*")
#: Whether a text is a key as it stands, whatever its length.
is_plain: Callable[[str], re.Match[str] | None] = _PLAIN_KEY.fullmatch


def import_client(module: str, *, backend: str, extra: str) -> ModuleType:
    """Import a client library.

    :param module: what to import.
    :param backend: the registered name of the backend that needs it.
    :param extra: the extra of the distribution that brings it.
    :raises ConfigurationError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"{backend} needs the package {module.partition('.')[0]!r}: "
            f"pip install 'dogpile.cache[{extra}]'"
        ) from error


def seconds_in(
    arguments: Mapping[str, Any], name: str, default: float | None
) -> float | None:
    """Read an argument that is a number of seconds, or ``None`` for no limit.

    :raises ValidationError: it is neither.
    """
    value = arguments.get(name, default)
    if value is None:
        return None
    if hasattr(value, "total_seconds"):
        value = value.total_seconds()
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ValidationError(
            f"{name}= must be a number of seconds above 0, or None{but_given(value)}"
        )
    return seconds


def seconds_or_none(arguments: Mapping[str, Any], name: str) -> float | None:
    """Read an argument that is a number of seconds; 0 and ``None`` for no limit.

    :raises ValidationError: it is none of these.
    """
    value = arguments.get(name)
    is_zero = isinstance(value, (int, float, str)) and str(value) in ("0", "0.0")
    return None if is_zero else seconds_in(arguments, name, None)


def integer_in(arguments: Mapping[str, Any], name: str, default: int) -> int:
    """Read an argument that is a number without a fraction.

    :raises ValidationError: it is something else.
    """
    value = arguments.get(name, default)
    try:
        number = int(value) if isinstance(value, (int, str)) else -1
    except ValueError:
        number = -1
    if number < 0 or isinstance(value, bool):
        raise ValidationError(
            f"{name}= must be a whole number from 0 on{but_given(value)}"
        )
    return number


def but_given(value: object) -> str:
    """Tell a number that is of no use; what is none may be anything, a secret even."""
    is_number = isinstance(value, (int, float)) or (
        isinstance(value, str) and re.fullmatch(r"\s*[-+]?[0-9.]{1,20}\s*", value)
    )
    return f", not {value}" if is_number else f", not of type {type(value).__name__}"


def flag_in(arguments: Mapping[str, Any], name: str, default: bool) -> bool:
    """Read an argument that is true or false, in Python's or a file's words.

    :raises ValidationError: it is neither.
    """
    value = arguments.get(name, default)
    if isinstance(value, str):
        word = value.strip().lower()
        if word in {"true", "yes", "on", "1"}:
            return True
        if word in {"false", "no", "off", "0", ""}:
            return False
    elif value is None or isinstance(value, int):
        return bool(value)
    raise ValidationError(f"{name}= must be True or False{but_given(value)}")


def plain_key(key: object, max_bytes: int) -> str:
    """Return a key of printable ASCII without blanks, at most so long.

    What is longer, or has other characters, is hashed (never truncated).

    >>> plain_key("user:42", 250)
    'user:42'
    >>> plain_key("two words", 250)[:12]
    '~a03f1d61164'
    """
    if isinstance(key, str):
        if len(key) <= max_bytes and is_plain(key):
            return key
        raw = key.encode("utf-8", "surrogatepass")
    elif isinstance(key, bytes):
        raw = b"\0bytes:" + key
    else:
        raw = f"\0{type(key).__qualname__}:{key!r}".encode("utf-8", "surrogatepass")
    return _HASHED + hashlib.sha256(raw).hexdigest()


def are_plain_keys(text: str, max_bytes: int) -> bool:
    r"""Return whether :func:`plain_key` leaves all keys of some lines alone.

    >>> are_plain_keys("user:42\nuser:43", 250)
    True
    """
    return _plain_lines(max_bytes).fullmatch(text) is not None


@functools.cache
def _plain_lines(max_bytes: int) -> re.Pattern[str]:
    line = f"{_PLAIN_KEY.pattern[:-1]}{{0,{max_bytes - 1}}}"
    return re.compile(f"{line}(?:\n{line})*")


def key_prefix(key: object) -> str:
    """Return what an error may show of a key."""
    text = key.decode("latin-1") if isinstance(key, bytes) else str(key)
    if len(text) > _PREFIX_LENGTH:
        text = text[:_PREFIX_LENGTH] + "…"
    return ascii(text) if not text.isprintable() else repr(text)


def wrapped(
    backend: str,
    operation: str,
    error: Exception,
    *,
    gone: tuple[type[Exception], ...] = (),
    reason: str | None = None,
) -> BackendError:
    """Make a client's error one of ours; the caller raises it.

    :param backend: the registered name.
    :param operation: the method that failed.
    :param error: what the client raised; one of ours is returned as it is.
    :param gone: the client's errors that mean that nobody answers; those of
        the operating system always do.
    :param reason: what to say, where the kind of the error is too little. A
        client's own words may hold a value: they are left out.
    """
    if isinstance(error, BackendError):
        return error
    if reason is None:
        kind = type(error)
        reason = f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
    lost = isinstance(error, (OSError, *gone))
    return (BackendUnavailable if lost else BackendError)(backend, operation, reason)


def spell_tls(error: object, trust: str) -> str | None:
    """Return what a failure of TLS means, ``None`` if it is none.

    :param error: the error, or its text.
    :param trust: the argument that says whom to trust.
    """
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        why = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0]
        return (
            f"the server's certificate is not trusted ({why or 'it does not say why'});"
            f" name its authority in {trust}"
        )
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:
        return "the server speaks no TLS on that port"
    if "SSL" in text and ("EOF" in text or "ALERT" in text):
        return "the server refuses TLS as it is spoken to it"
    return None


class Forkable(Protocol):
    """Whoever holds what a forked child must not share with its parent."""

    def start_afresh(self) -> None:
        """Forget sockets and locks; called in the child, right after the fork."""


def watch_forks(owner: Forkable) -> None:
    """Have ``start_afresh()`` of the owner called in each forked child.

    :param owner: is referred to weakly.
    """
    _owners.add(owner)


_owners: weakref.WeakSet[Forkable] = weakref.WeakSet()


def _start_afresh() -> None:
    for owner in list(_owners):
        owner.start_afresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
