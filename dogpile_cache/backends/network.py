"""What the backends of servers share: arguments, time-outs, keys, errors, forks."""

from __future__ import annotations

import functools
import hashlib
import importlib
import math
import os
import re
import urllib.parse
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, NamedTuple, Protocol

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
_PORTS = 65536
# Shown of an address that cannot be read.
_SHOWN = 60
_HOST = re.compile(r"[^\s:@/\[\]]+")
_SIX = re.compile(r"[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(?:%\w+)?")
_PLAIN_KEY = re.compile(r"[!-}][!-~]*")
#: Whether a text is a key as it stands, whatever its length.
is_plain: Callable[[str], re.Match[str] | None] = _PLAIN_KEY.fullmatch


class Address(NamedTuple):
    """Where a server listens.

    :param host: its name or number; empty for a socket in the file system.
    :param port: its port.
    :param path: the socket's path, or empty.
    """

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        """As a person writes it."""
        if self.path:
            return self.path
        return (
            f"[{self.host}]:{self.port}"
            if ":" in self.host
            else ":".join((self.host, str(self.port)))
        )


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
            f"{name}= must be a number of seconds above 0, or None{_but(value)}"
        )
    return seconds


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
        raise ValidationError(f"{name}= must be a whole number from 0 on{_but(value)}")
    return number


def port_in(arguments: Mapping[str, Any], name: str, default: int) -> int:
    """Read an argument that is the number of a port.

    :raises ValidationError: it is none.
    """
    value = arguments.get(name, default)
    try:
        port = integer_in({name: value}, name, default)
    except ValidationError:
        port = 0
    if not 0 < port < _PORTS:
        verb = "be" if name == "port" else "name"
        raise ValidationError(
            f"{name}= must {verb} a port, a whole number from 1 to 65535{_but(value)}"
        )
    return port


def host_in(arguments: Mapping[str, Any], name: str, default: str) -> str:
    """Read an argument that is the name or the number of a host.

    :raises ValidationError: it is none.
    """
    value = arguments.get(name)
    host = default if value is None else value
    if isinstance(host, str) and (_HOST.fullmatch(host) or _SIX.fullmatch(host)):
        return host
    given = f"of type {type(host).__name__}"
    if isinstance(host, str):
        given = f"{host[:_SHOWN]!r}" if "@" not in host else "a whole address"
    hint = "; a port goes into port=, a whole address into url="
    raise ValidationError(
        f"{name}= must name a host, such as 'localhost' or '10.0.0.1', not {given}"
        + (hint if name == "host" else "")
    )


def _but(value: object) -> str:
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
    raise ValidationError(f"{name}= must be True or False{_but(value)}")


def check_url(url: object, schemes: Iterable[str]) -> str:
    """Refuse a URL that no client could follow, without showing it.

    :param schemes: those that the client knows. Of all but ``unix`` the path is
        the number of a database, or empty.
    :return: the URL.
    :raises ValidationError: it is no URL, or of another scheme.
    """
    known = ", ".join(f"{scheme}://" for scheme in schemes)
    if not isinstance(url, str):
        raise ValidationError(
            f"url= must be a string that begins with one of {known}; "
            f"it has the type {type(url).__name__}"
        )
    scheme, mark, _ = url.partition("://")
    if not mark or scheme not in schemes:
        given = re.fullmatch(r"[a-z][a-z0-9+.-]{0,20}", scheme) if mark else None
        raise ValidationError(
            f"url= must begin with one of {known}"
            + (f", not with {scheme}://" if given else "")
        )
    _refuse_port(url)
    try:
        parts = urllib.parse.urlsplit(url)
        sound = parts.port != 0
    except ValueError:
        sound = False
    if scheme == "unix":
        if not sound or not parts.path.strip("/"):
            raise ValidationError(
                "url= must name a socket by its path, as in unix:///run/redis.sock"
            )
        return url
    if not sound or not re.fullmatch(r"/*[0-9]*/*", parts.path) or _has_no_db(parts):
        # The text may hold a password: it is not shown.
        raise ValidationError(
            f"url= must look like {scheme}://user:password@host:port/database, the "
            "port a number from 1 to 65535, the database one from 0 on; a user name "
            "or password with any of / ? # @ : % in it must be percent-encoded"
        )
    if not parts.hostname:
        raise ValidationError(
            f"url= names no host; it must look like {scheme}://localhost:6379/0"
        )
    return url


def _has_no_db(parts: urllib.parse.SplitResult) -> bool:
    """Return whether the query names a database by something else than a number."""
    named = urllib.parse.parse_qs(parts.query, keep_blank_values=True).get("db", [])
    return not all(re.fullmatch("[0-9]+", each) for each in named)


def _refuse_port(url: str) -> None:
    """Tell a port that is none, unless it might be the beginning of a password."""
    match = re.match(r"[a-z]+://(?:[^/?#]*@)?[^/?#@]*:(\d{1,20})(?:[/?#][^@]*)?$", url)
    if match is not None and not 0 < int(match[1]) < _PORTS:
        raise ValidationError(
            f"url= has the port {match[1]}: a port is a whole number from 1 to 65535"
        )


def parse_address(text: object, default_port: int, *, name: str = "url") -> Address:
    """Read ``host``, ``host:port``, ``[::1]:port`` or the path of a socket.

    :param name: the argument's, for the errors.
    :raises ValidationError: it is none of them.
    """
    if not isinstance(text, str) or not text.strip():
        given = "an empty one" if isinstance(text, str) else type(text).__name__
        raise ValidationError(
            f"{name}= must name a server as a string such as '127.0.0.1' or "
            f"'host:port', not {given}"
        )
    text = text.strip()
    if text.startswith(("/", "unix:")):
        return Address("", 0, text.removeprefix("unix:"))
    match = re.fullmatch(
        r"(?:\[(?P<six>[0-9a-fA-F:.%\w]+)\]|(?P<host>[^\s:@/\[\]]+))(?::(?P<port>\d{1,5}))?",
        text,
    )
    port = int(match["port"] or default_port) if match else 0
    if match is None or not 0 < port < _PORTS:
        if _SIX.fullmatch(text):
            return Address(text, default_port)
        raise unreadable_address(text, name)
    return Address(match["six"] or match["host"], port)


def unreadable_address(text: str, name: str) -> ValidationError:
    """Return the error that tells what is wrong with an address.

    :param name: the argument's.
    """
    # Where there may be a password, nothing is shown.
    shown = "" if "@" in text else f", not {text[:_SHOWN]!r}"
    host, _, port = text.rpartition(":")
    if "://" in text:
        return ValidationError(
            f"{name}= takes a server without a scheme, as in 'host:port'{shown}"
        )
    if shown and host and (host.startswith("[") or ":" not in host):
        return ValidationError(
            f"{name}= has the port {port[:_SHOWN]!r}, in {text[:_SHOWN]!r}: a port is "
            "a whole number from 1 to 65535"
        )
    return ValidationError(
        f"{name}= must name a server as 'host', 'host:port', '[::1]:port' or "
        f"'/path/of/a/socket'{shown}"
    )


def server_list(value: object) -> list[str]:
    """Read one server, several with commas between them, or a sequence.

    :return: the servers, as they were written.
    :raises ValidationError: there is none.
    """
    if isinstance(value, str):
        found = [part.strip() for part in value.split(",")]
    elif isinstance(value, Iterable):
        found = [part.strip() if isinstance(part, str) else part for part in value]
    else:
        found = []
    servers = [part for part in found if part]
    if not servers or not all(isinstance(part, str) for part in servers):
        raise ValidationError(
            "url= must name at least one server, each as a string, as in "
            "'127.0.0.1' or ['10.0.0.1:11211', '10.0.0.2:11211']"
        )
    return servers


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


def spell_tls(error: object) -> str | None:
    """Return what a failure of TLS means, ``None`` if it is none.

    :param error: the error, or its text.
    """
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        why = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0]
        return (
            f"the server's certificate is not trusted ({why or 'it does not say why'});"
            " trust its authority: tls_context=, or ssl_ca_certs in connection_kwargs="
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
