"""The text that stands for a value, in every process the same. Pure."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Iterator, Mapping
from types import (
    BuiltinFunctionType,
    FunctionType,
    MemberDescriptorType,
    ModuleType,
)
from typing import Any

from dogpile.cache.exception import UncacheableArgument
from dogpile.cache.forms import BRACKETED, FORMS, LITERALS, Write, write_enum
from dogpile.cache.names import bare, kind_of, location, name_of

_ABSENT = object()
_POINTER_BYTES = (sys.maxsize.bit_length() + 1) // 8
_HEX = frozenset("0123456789abcdefABCDEF")
# Up to here the bytes of an array stand in the key themselves.
_LONGEST_HEX = 32


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
    literal = LITERALS.get(type(value))
    if literal is not None:
        return literal(value)
    try:
        return _Writer(function, parameter).write(value)
    except RecursionError:
        kind = f"too deeply nested {type(value).__qualname__}"
        raise UncacheableArgument(function, parameter, kind) from None


def has_address(text: str) -> bool:
    """Return whether a ``repr`` tells where in memory its object lies."""
    return any(rest[:1] in _HEX for rest in text.split(" at 0x")[1:])


def cache_key_hook(value: object) -> Callable[[], object] | None:
    """Return a value's method ``__cache_key__``, if its class has one."""
    cls = type(value)
    hook = hook_of(cls) if hasattr(cls, "__cache_key__") else None
    if hook is None:
        return None
    bound: Callable[[], object] = hook.__get__(value, cls)
    return bound


def hook_of(cls: type) -> Any:
    """Return the method ``__cache_key__`` that a class's instances have."""
    # Only the class's own: not the metaclass's, which speaks for the class.
    for base in cls.__mro__:
        if "__cache_key__" in vars(base):
            return vars(base)["__cache_key__"]
    return None


class _Writer:
    """Writes one argument, and knows which containers it is inside of."""

    __slots__ = ("_function", "_open", "_parameter")

    def __init__(self, function: str, parameter: str) -> None:
        self._function = function
        self._parameter = parameter
        self._open: set[int] = set()

    def write(self, value: Any) -> str:
        """Return the text of a value, at whatever depth."""
        literal = LITERALS.get(type(value))
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
        bracketed = BRACKETED.get(cls)
        if bracketed is not None:
            return bracketed(value, self.write)
        form = FORMS.get(kind_of(cls))
        if form is not None:
            return f"{name_of(cls)}({form(value, self.write)})"
        if (hook := cache_key_hook(value)) is not None:
            return f"{name_of(cls)}({self.write(hook())})"
        if issubclass(cls, (type, FunctionType, BuiltinFunctionType)):
            return self._write_definition(value)
        if issubclass(cls, enum.Enum):
            return write_enum(value)
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
        key = next((key for key in map(kind_of, cls.__mro__) if key in FORMS), None)
        form = FORMS[key] if key else None
        fields = _fields(cls)
        if fields is None and form is None:
            # What offers itself as an array abridges its repr.
            if key is not None or hasattr(cls, "__array__"):
                raise self._refusal(kind_of(cls))
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
            raise self._refusal(kind_of(type(value)))
        text = repr(value)
        if has_address(text) or _is_abridged(text):
            raise self._refusal(kind_of(type(value)))
        return text

    def _refusal(self, kind: str) -> UncacheableArgument:
        return UncacheableArgument(self._function, self._parameter, kind)


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


class _PlainForms(dict[type, Write]):
    def __missing__(self, cls: type) -> Write:
        return canonical


#: What writes a value, by its exact class: plain ones at once, all others by
#: :func:`canonical`. An integer of thousands of digits is a ValueError here.
PLAIN_FORMS: Mapping[type, Write] = _PlainForms(dict.fromkeys(LITERALS, repr))
