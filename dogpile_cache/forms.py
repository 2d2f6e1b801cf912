"""The canonical forms of values whose types are known. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from types import NoneType
from typing import Any

from dogpile.cache.names import bare, kind_of, name_of

#: Writes a value that stands inside of another one.
Write = Callable[[Any], str]


def _write_integer(value: int) -> str:
    try:
        return int.__repr__(value)
    except ValueError:  # more digits than the interpreter writes in decimal
        return hex(value)


def write_enum(value: enum.Enum) -> str:
    """Return the form of a member, whatever its value is."""
    name = name_of(type(value))
    if isinstance(value, enum.Flag):  # a combination has no name everywhere
        return f"{name}({value.value!r})"
    return f"{name}.{bare(value.name)}"


def _write_tuple(value: Iterable[object], write: Write) -> str:
    parts = [write(content) for content in value]
    return f"({parts[0]},)" if len(parts) == 1 else f"({','.join(parts)})"


def _write_list(value: Iterable[object], write: Write) -> str:
    return f"[{','.join(map(write, value))}]"


def _write_set(value: Iterable[object], write: Write) -> str:
    inner = ",".join(sorted(map(write, value)))
    return f"{{{inner}}}" if inner else "set()"


def _write_dict(value: Any, write: Write) -> str:
    pairs = sorted((write(key), write(content)) for key, content in value.items())
    return f"{{{','.join(f'{key}:{content}' for key, content in pairs)}}}"


def _write_slice(value: Any, write: Write) -> str:
    return ",".join(map(write, (value.start, value.stop, value.step)))


def _write_deque(value: Any, write: Write) -> str:
    return f"{_write_list(value, write)},{write(value.maxlen)}"


def _write_partial(value: Any, write: Write) -> str:
    return ",".join(map(write, (value.func, value.args, value.keywords)))


def _write_method(value: Any, write: Write) -> str:
    return f"{write(value.__self__)},{write(value.__func__)}"


def _write_moment(value: Any, write: Write) -> str:
    parts = [repr(value.isoformat())]
    if value.fold:
        parts.append("fold=1")
    zone = value.tzinfo
    if zone is not None and not _is_plain_offset(zone):
        parts.append(write(zone))
    return ",".join(parts)


def _write_duration(value: Any, write: Write) -> str:
    return ",".join(map(write, (value.days, value.seconds, value.microseconds)))


def _write_zone(value: Any, write: Write) -> str:
    # The arguments it was made with: the offset, and a name if it has one.
    return ",".join(map(write, value.__getinitargs__()))


def _is_plain_offset(zone: Any) -> bool:
    # Then the offset, which the ISO form tells, is all there is to it.
    is_standard = kind_of(type(zone)) == "datetime.timezone"
    return is_standard and len(zone.__getinitargs__()) == 1


LITERALS: dict[type, Write] = {
    int: _write_integer,
    str: repr,
    bool: repr,
    NoneType: repr,
    float: repr,
    bytes: repr,
    complex: repr,
    type(Ellipsis): repr,
}

BRACKETED: dict[type, Callable[[Any, Write], str]] = {
    tuple: _write_tuple,
    list: _write_list,
    dict: _write_dict,
    set: _write_set,
}

# By name, so that none of these modules must be imported: whoever has such a
# value has done it. ``None``: the repr hides what matters.
FORMS: dict[str, Callable[[Any, Write], str] | None] = {
    "int": lambda value, write: _write_integer(value),
    "float": lambda value, write: float.__repr__(value),
    "complex": lambda value, write: complex.__repr__(value),
    "str": lambda value, write: str.__repr__(value),
    "bytes": lambda value, write: bytes.__repr__(value),
    "bytearray": lambda value, write: repr(bytes(value)),
    "tuple": _write_tuple,
    "list": _write_list,
    "dict": _write_dict,
    "mappingproxy": _write_dict,
    "set": _write_set,
    "frozenset": _write_set,
    "range": _write_slice,
    "slice": _write_slice,
    "collections.OrderedDict": lambda value, write: _write_list(value.items(), write),
    "collections.deque": _write_deque,
    "functools.partial": _write_partial,
    "types.SimpleNamespace": lambda value, write: _write_dict(vars(value), write),
    "method": _write_method,
    "datetime.datetime": _write_moment,
    "datetime.date": lambda value, write: repr(value.isoformat()),
    "datetime.time": _write_moment,
    "datetime.timedelta": _write_duration,
    "datetime.timezone": _write_zone,
    "uuid.UUID": lambda value, write: repr(str(value)),
    "decimal.Decimal": lambda value, write: repr(str(value)),
    "fractions.Fraction": lambda value, write: f"{value.numerator},{value.denominator}",
    "pathlib.PurePath": lambda value, write: repr(value.as_posix()),
    "pathlib.PosixPath": lambda value, write: repr(value.as_posix()),
    "re.Pattern": lambda value, write: f"{write(value.pattern)},{value.flags}",
    "re.Match": None,
    "_io._IOBase": None,
    "_socket.socket": None,
}
