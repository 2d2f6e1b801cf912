"""What a method's key says of the object that it is called on. Pure."""

from __future__ import annotations

import weakref

from dogpile.cache.canonical import cache_key_hook, canonical, hook_of
from dogpile.cache.exception import ValidationError
from dogpile.cache.names import kind_of, name_of

_HEAP_TYPE = 1 << 9
_IMMUTABLE_TYPE = 1 << 8


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
            raise self._refusal(f"not {kind_of(cls)}")
        text = ""
        if (cls.__module__, cls.__qualname__) != self._home:
            text = f"{self._parameter}={name_of(cls)}|"
        has_own = self._parameter == "self" and hook_of(cls) is not None
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


def _is_open(cls: type) -> bool:
    # Only a class that is written in Python can have got a cached method.
    return cls.__flags__ & (_HEAP_TYPE | _IMMUTABLE_TYPE) == _HEAP_TYPE
