"""The texts that keys consist of: canonical forms, receivers, legal keys. Pure."""

from __future__ import annotations

import enum
import functools
import os.path
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import (
    BuiltinFunctionType,
    FunctionType,
    MemberDescriptorType,
    ModuleType,
    NoneType,
)
from typing import Any

from dogpile.cache.exception import UncacheableArgument, ValidationError

__all__ = [
    "PLAIN_FORMS",
    "KeyLimit",
    "Receiver",
    "bare",
    "cache_key_hook",
    "canonical",
    "has_address",
    "limited",
    "location",
    "name_of",
]

#: Writes a value that stands inside of another one.
Write = Callable[[Any], str]


def canonical(value: object, *, function: str = "", parameter: str = "") -> str:
    """Return the text that stands for a value, in every process the same.

    Values that differ in type or content have different texts, and a text
    ends where its value ends: what follows it cannot be taken for a part.

    :param function: the cached function's qualified name, for the error.
    :param parameter: the parameter that the value was given for.
    :raises UncacheableArgument: where a value has no such text.

    >>> canonical({"b": (1, True), "a": "1"})
    "{'a':'1','b':(1,True)}"
    """
    literal = _LITERALS.get(type(value))
    if literal is not None:
        return literal(value)
    try:
        return _Writer(function, parameter).write(value)
    except RecursionError:
        kind = f"too deeply nested {type(value).__qualname__}"
        raise UncacheableArgument(function, parameter, kind) from None


def bare(text: str) -> str:
    """Return a name as it is, or quoted where it could be taken for more."""
    if text.isprintable() and text and _MARKS.isdisjoint(text):
        return text
    return repr(text)


def location(module: str | None, file: str | None = None) -> str:
    """Return where code lives: its module, for a script the file's name.

    :param file: the script's file, where it is known better than by the
        module ``__main__`` of this process.
    """
    if module in _SCRIPTS:
        file = file or getattr(sys.modules.get("__main__"), "__file__", None)
        module = os.path.normpath(file) if file else "__main__"
    return bare(_MOVED.get(str(module), str(module)))


def name_of(cls: type) -> str:
    """Return a class's location and qualified name."""
    module = cls.__module__
    if module in _SCRIPTS:  # which script that is may change, as in runpy
        return f"{location(module)}:{bare(cls.__qualname__)}"
    return _name(module, cls.__qualname__)


@functools.lru_cache(maxsize=1024)
def _name(module: str, name: str) -> str:
    if module == "builtins":
        return bare(name)
    return f"{location(module)}:{bare(name)}"


def has_address(text: str) -> bool:
    """Return whether a ``repr`` tells where in memory its object lies."""
    return any(rest[:1] in _HEX for rest in text.split(" at 0x")[1:])


def cache_key_hook(value: object) -> Callable[[], object] | None:
    """Return a value's method ``__cache_key__``, if its class has one."""
    cls = type(value)
    hook = _hook_of(cls) if hasattr(cls, "__cache_key__") else None
    if hook is None:
        return None
    bound: Callable[[], object] = hook.__get__(value, cls)
    return bound


def limited(
    max_bytes: int, *, forbid_controls: bool = False, ascii_only: bool = False
) -> KeyLimit:
    """Return a mangler for a backend that does not take every key.

    :param max_bytes: of a key in UTF-8; at least 65.
    :param forbid_controls: whether blanks, control characters and the empty
        key are illegal.
    :param ascii_only: whether everything beyond ASCII is illegal.
    :raises ValidationError: where the limit leaves no room for a hash.
    """
    if max_bytes < _HASH_ROOM:
        raise ValidationError(
            f"max_bytes={max_bytes} leaves no room for hashed keys: give it at least "
            f"{_HASH_ROOM}"
        )
    return KeyLimit(max_bytes, forbid_controls, ascii_only)


class KeyLimit:
    """Hashes the keys that are too long or illegal; see :func:`limited`.

    A legal string stays as it is. Any other value becomes ``~`` and its
    canonical form, and what is then no legal key becomes its beginning, ``~``
    and a SHA-256. A string that looks like one of these two is hashed, so
    that two keys never become one.
    """

    __slots__ = ("_ascii_only", "_digest", "_forbid_controls", "_max_bytes")

    def __init__(self, max_bytes: int, forbid_controls: bool, ascii_only: bool) -> None:
        from hashlib import sha256

        self._digest = sha256
        self._max_bytes = max_bytes
        self._forbid_controls = forbid_controls
        self._ascii_only = ascii_only

    def __call__(self, key: object) -> str:
        """Return a legal key."""
        if isinstance(key, str):
            if type(key) is not str:
                key = str.__str__(key)  # the content, whatever it is shown as
            if key[:1] != "~" and self._is_legal(key):
                return key
            return self._hash(key, b"")
        text = "~" + self._canonical(key)
        # No string in UTF-8 begins with this byte.
        return text if self._is_legal(text) else self._hash(text, b"\xff")

    def _is_legal(self, key: str) -> bool:
        if key[-_HASH_ROOM : 1 - _HASH_ROOM] == "~":
            return False
        if self._forbid_controls and not (key and key.isprintable() and " " not in key):
            return False
        if key.isascii():
            return len(key) <= self._max_bytes
        return not self._ascii_only and self._fits(key)

    def _fits(self, key: str) -> bool:
        try:
            return len(key.encode()) <= self._max_bytes
        except UnicodeEncodeError:  # a lone surrogate has no bytes
            return False

    def _canonical(self, key: object) -> str:
        try:
            return canonical(key)
        except UncacheableArgument:
            raise ValidationError(
                f"a {type(key).__qualname__} cannot be a key for this backend: its "
                "representation changes from process to process; give a string"
            ) from None

    def _hash(self, key: str, salt: bytes) -> str:
        digest = self._digest(salt + key.encode("utf-8", "surrogatepass")).hexdigest()
        room = self._max_bytes - _HASH_ROOM
        head = key[:room].replace(" ", "_")
        if not (head.isascii() and head.isprintable()):
            head = "".join(char if self._may_stand(char) else "_" for char in head)
            head = head.encode()[:room].decode("utf-8", "ignore")
        return f"{head}~{digest}"

    def _may_stand(self, char: str) -> bool:
        # Surrogates and controls are not printable.
        return char.isprintable() and (char.isascii() or not self._ascii_only)


class Receiver:
    """Writes what a method's key says of the object that it is called on.

    That is its class, and what its ``__cache_key__()`` returns. Nothing at
    all, where it is of the very class that the method is written in.

    :param function: the method's qualified name.
    :param module: the method's module.
    :param parameter: ``"self"`` or ``"cls"``.
    :param always: whether to name the method's own class too.
    """

    __slots__ = ("_function", "_home", "_known", "_name", "_parameter")

    def __init__(
        self, function: str, module: str, parameter: str, *, always: bool = False
    ) -> None:
        home, _, name = function.rpartition(".")
        if name.startswith("__") and not name.endswith("__"):
            name = f"_{home.rpartition('.')[2].lstrip('_')}{name}"
        self._function = function
        self._home = None if always else (module, home)
        self._name = name
        self._parameter = parameter
        # By id, for classes come and go: an entry leaves with its class.
        self._known: dict[int, tuple[weakref.ref[type], str, bool]] = {}

    def __call__(self, receiver: object) -> str:
        """Return the part of the key, with the sign that ends it.

        :raises ValidationError: where the method cannot be called on it.
        """
        cls = receiver if isinstance(receiver, type) else type(receiver)
        known = self._known.get(id(cls))
        if known is None or known[0]() is not cls:
            known = self._learn(cls)
        if known[2]:
            return self._write_own(receiver)
        return known[1]

    def _learn(self, cls: type) -> tuple[weakref.ref[type], str, bool]:
        if not any(self._name in vars(base) for base in cls.__mro__ if _is_open(base)):
            raise self._refusal(f"not {_kind(cls)}")
        text = ""
        if (cls.__module__, cls.__qualname__) != self._home:
            text = f"{self._parameter}={name_of(cls)}|"
        has_own = self._parameter == "self" and _hook_of(cls) is not None
        key, known = id(cls), self._known
        gone = weakref.ref(cls, lambda _: known.pop(key, None))
        known[key] = (gone, text, has_own)
        return known[key]

    def _write_own(self, receiver: object) -> str:
        if isinstance(receiver, type) and cache_key_hook(receiver) is None:
            raise self._refusal("whose __cache_key__() is in the key, not the class")
        text = canonical(receiver, function=self._function, parameter=self._parameter)
        return f"{self._parameter}={text}|"

    def _refusal(self, reason: str) -> ValidationError:
        return ValidationError(
            f"{self._function}() is a method: the first argument must be the object "
            f"that it is called on, {reason}; pass the instance first, as in "
            "invalidate(instance, ...)"
        )


class _Writer:
    """Writes one argument, and knows which containers it is inside of."""

    __slots__ = ("_function", "_open", "_parameter")

    def __init__(self, function: str, parameter: str) -> None:
        self._function = function
        self._parameter = parameter
        self._open: set[int] = set()

    def write(self, value: Any) -> str:
        """Return the text of a value, at whatever depth."""
        literal = _LITERALS.get(type(value))
        if literal is not None:
            return literal(value)
        if id(value) in self._open:
            raise self._refusal(f"{type(value).__qualname__} that contains itself")
        self._open.add(id(value))
        try:
            return self._write_object(value)
        finally:
            self._open.discard(id(value))

    def _write_object(self, value: Any) -> str:
        cls = type(value)
        bracketed = _BRACKETED.get(cls)
        if bracketed is not None:
            return bracketed(value, self.write)
        form = _FORMS.get(_kind(cls))
        if form is not None:
            return f"{name_of(cls)}({form(value, self.write)})"
        if (hook := cache_key_hook(value)) is not None:
            return f"{name_of(cls)}({self.write(hook())})"
        if issubclass(cls, (type, FunctionType, BuiltinFunctionType)):
            return self._write_definition(value)
        if issubclass(cls, enum.Enum):
            return _write_enum(value)
        if cls.__module__ == "numpy" and hasattr(cls, "tobytes"):
            return self._write_numpy(value)
        return self._write_instance(value)

    def _write_definition(self, value: Any) -> str:
        name: str = value.__qualname__
        module: str | None = value.__module__
        if "<lambda>" in name:
            raise self._refusal("lambda")
        if "<locals>" in name:
            kind = "class" if isinstance(value, type) else "function"
            raise self._refusal(f"{kind} defined inside a function")
        if isinstance(value, type):
            return f"<{name_of(value)}>"
        owner = getattr(value, "__self__", None)
        if owner is not None and not isinstance(owner, ModuleType):
            raise self._refusal("bound method")
        return f"<{location(module)}:{bare(name)}>"

    def _write_numpy(self, value: Any) -> str:
        dtype = value.dtype
        # Of other kinds the bytes are addresses of the real content.
        if dtype.hasobject or dtype.kind not in "biufcmMSUV":
            raise self._refusal(f"numpy value of dtype {dtype}")
        content: bytes = value.tobytes()
        if len(content) > _LONGEST_HEX:
            import hashlib

            content = hashlib.sha256(content).digest()
        kind = dtype.str if dtype.names is None else dtype.descr
        parts = (self.write(kind), self.write(value.shape), content.hex())
        return f"{name_of(type(value))}({','.join(parts)})"

    def _write_instance(self, value: Any) -> str:
        cls = type(value)
        key = next((key for key in map(_kind, cls.__mro__) if key in _FORMS), None)
        form = _FORMS[key] if key else None
        fields = _fields(cls)
        if fields is None and form is None:
            # What offers itself as an array abridges its repr.
            if key is not None or hasattr(cls, "__array__"):
                raise self._refusal(_kind(cls))
            return f"{name_of(cls)}({self._stable_repr(value)!r})"
        state = _state(value) if fields is None else fields
        found = ((name, getattr(value, name, _ABSENT)) for name in state)
        parts = [form(value, self.write)] if form else []
        parts += [f"{bare(n)}={self.write(v)}" for n, v in found if v is not _ABSENT]
        if fields is None and _may_hide(cls):
            parts.append(repr(self._stable_repr(value)))
        return f"{name_of(cls)}({','.join(parts)})"

    def _stable_repr(self, value: object) -> str:
        default: object = object.__repr__
        if type(value).__repr__ is default:
            raise self._refusal(_kind(type(value)))
        text = repr(value)
        if has_address(text) or _is_abridged(text):
            raise self._refusal(_kind(type(value)))
        return text

    def _refusal(self, kind: str) -> UncacheableArgument:
        return UncacheableArgument(self._function, self._parameter, kind)


def _hook_of(cls: type) -> Any:
    # Only the class's own: not the metaclass's, which speaks for the class.
    for base in cls.__mro__:
        if "__cache_key__" in vars(base):
            return vars(base)["__cache_key__"]
    return None


def _is_open(cls: type) -> bool:
    # Only a class that is written in Python can have got a cached method.
    return cls.__flags__ & (_HEAP_TYPE | _IMMUTABLE_TYPE) == _HEAP_TYPE


def _kind(cls: type) -> str:
    module = cls.__module__
    if module == "builtins":
        return cls.__qualname__
    return f"{_MOVED.get(module, module)}.{cls.__qualname__}"


def _fields(cls: type) -> list[str] | None:
    if hasattr(cls, "__dataclass_fields__"):
        import dataclasses

        return [field.name for field in dataclasses.fields(cls)]
    if hasattr(cls, "__attrs_attrs__"):
        return [field.name for field in cls.__attrs_attrs__]
    return None


def _state(value: object) -> list[str]:
    """Name what a subclass of a known class adds to its instances."""
    names: set[str] = set()
    for cls in type(value).__mro__:
        if not _is_standard(cls):
            names.update(_slots(cls))
            names.update(getattr(value, "__dict__", ()))
    return sorted(names)


def _may_hide(cls: type) -> bool:
    """Return whether a class is larger than what Python sees of it explains."""
    return any(_undeclared(base) > 0 for base in cls.__mro__ if not _is_standard(base))


def _undeclared(cls: type) -> int:
    own = vars(cls)
    slots = sum(isinstance(member, MemberDescriptorType) for member in own.values())
    declared = slots + ("__dict__" in own) + ("__weakref__" in own)
    base = cls.__base__ or object
    return cls.__basicsize__ - base.__basicsize__ - declared * _POINTER_BYTES


def _is_standard(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in sys.stdlib_module_names


def _slots(cls: type) -> Iterator[str]:
    slots = cls.__dict__.get("__slots__", ())
    for slot in (slots,) if isinstance(slots, str) else slots:
        if slot.startswith("__") and not slot.endswith("__"):
            yield f"_{cls.__name__.lstrip('_')}{slot}"
        elif slot not in {"__dict__", "__weakref__"}:
            yield slot


def _is_abridged(text: str) -> bool:
    if "..." not in text and "…" not in text:
        return False
    import re

    # An ellipsis in a string is content; outside of one, something is left out.
    outside = re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", "", text)
    return "..." in outside or "…" in outside


def _write_integer(value: int) -> str:
    try:
        return int.__repr__(value)
    except ValueError:  # more digits than the interpreter writes in decimal
        return hex(value)


def _write_enum(value: enum.Enum) -> str:
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
    return _kind(type(zone)) == "datetime.timezone" and len(zone.__getinitargs__()) == 1


_ABSENT = object()
# A hash in hexadecimal, and the sign before it.
_HASH_ROOM = 65
_HEAP_TYPE = 1 << 9
_IMMUTABLE_TYPE = 1 << 8
_POINTER_BYTES = (sys.maxsize.bit_length() + 1) // 8
_HEX = frozenset("0123456789abcdefABCDEF")
_MARKS = frozenset("'\"|()[]{}=,@ ")
_SCRIPTS = frozenset({"__main__", "__mp_main__"})
# One version of Python says more than the others.
_MOVED = {"pathlib._local": "pathlib"}
# Up to here the bytes of an array stand in the key themselves.
_LONGEST_HEX = 32

_LITERALS: dict[type, Write] = {
    int: _write_integer,
    str: repr,
    bool: repr,
    NoneType: repr,
    float: repr,
    bytes: repr,
    complex: repr,
    type(Ellipsis): repr,
}


class _PlainForms(dict[type, Write]):
    def __missing__(self, cls: type) -> Write:
        return canonical


#: What writes a value, by its exact class: plain ones at once, all others by
#: :func:`canonical`. An integer of thousands of digits is a ValueError here.
PLAIN_FORMS: Mapping[type, Write] = _PlainForms(dict.fromkeys(_LITERALS, repr))

_BRACKETED: dict[type, Callable[[Any, Write], str]] = {
    tuple: _write_tuple,
    list: _write_list,
    dict: _write_dict,
    set: _write_set,
}

# By name, so that none of these modules must be imported: whoever has such a
# value has done it. ``None``: the repr hides what matters.
_FORMS: dict[str, Callable[[Any, Write], str] | None] = {
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
