"""Where a server listens: addresses, hosts, ports and URLs out of arguments."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from dogpile.cache.backends.network import but_given, integer_in
from dogpile.cache.exception import ValidationError

_PORTS = 65536
# So many a port has at most.
_DIGITS = 5
# Shown of an address that cannot be read.
_SHOWN = 60
_HOST = re.compile(r"[^\s:@/\[\]]+")
_SIX = re.compile(r"[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(?:%\w+)?")


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
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


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
            f"{name}= must {verb} a port, a whole number from 1 to 65535"
            + but_given(value)
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
    return url


def _has_no_db(parts: urllib.parse.SplitResult) -> bool:
    """Return whether the query names a database by something else than a number."""
    named = urllib.parse.parse_qs(parts.query, keep_blank_values=True).get("db", [])
    return not all(re.fullmatch("[0-9]*", each) for each in named)


def _refuse_port(url: str) -> None:
    """Tell a port that is none, unless it might be the beginning of a password."""
    match = re.match(r"[a-z]+://(?:[^/?#]*@)?[^/?#@]*:(\d{1,20})(?:[/?#][^@]*)?$", url)
    if match is None or 0 < int(match[1]) < _PORTS:
        return
    # Digits before an @ that is missing may be a password.
    given = f"the port {match[1]}" if len(match[1]) <= _DIGITS else "a port too long"
    raise ValidationError(f"url= has {given}: a port is a whole number from 1 to 65535")


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
        # Whatever else stands there may be a password.
        given = "a port that is none, of the host " + repr(host[:_SHOWN])
        if re.fullmatch(f"[0-9-]{{0,{_DIGITS}}}", port):
            given = f"the port {port!r}, in {text[:_SHOWN]!r}"
        return ValidationError(
            f"{name}= has {given}: a port is a whole number from 1 to 65535"
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
