"""The small tools that 1.x offered beside the cache, for who still uses them.

Their 1.x paths, :mod:`dogpile.util` and :mod:`dogpile.cache.util`, re-export them.
"""

from __future__ import annotations

import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, MutableMapping, MutableSet
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar, overload

from dogpile.cache.exception import PluginNotFound

__all__ = [
    "ArgSpec",
    "KeyReentrantMutex",
    "LockError",
    "Mutex",
    "NameRegistry",
    "PluginLoader",
    "ReadWriteMutex",
    "coerce_string_conf",
    "inspect_getargspec",
    "memoized_property",
    "repr_obj",
    "to_list",
]

_Value = TypeVar("_Value")
_Item = TypeVar("_Item")
_Default = TypeVar("_Default")
_Listed = TypeVar("_Listed", bound="list[Any] | tuple[Any, ...]")


class NameRegistry(Generic[_Value]):
    """One object for each identifier, for as long as somebody holds it.

    Two threads that ask for the same identifier get the same object; it is
    created once. When the last reference to it is gone, so is its entry.

    :param creator: called with the identifier, and with whatever else was
        given to :meth:`get`; what it returns must take weak references.
    """

    def __init__(self, creator: Callable[..., _Value]) -> None:
        self.creator = creator
        self._values: weakref.WeakValueDictionary[Any, _Value] = (
            weakref.WeakValueDictionary()
        )
        # Reentrant: a creator may ask for another identifier.
        self._mutex = threading.RLock()

    def get(self, identifier: Any, *args: Any, **kw: Any) -> _Value:
        """Return the object of an identifier, created if there is none.

        :param identifier: anything hashable.
        :param args: handed to the creator, if it is called.
        :param kw: likewise.
        """
        # Only a live object is a hit: the entry may die between two looks.
        value = self._values.get(identifier)
        if value is not None:
            return value
        with self._mutex:
            value = self._values.get(identifier)
            if value is None:
                value = self.creator(identifier, *args, **kw)
                self._values[identifier] = value
            return value


class LockError(Exception):
    """A lock was given back by somebody who does not hold it."""


class ReadWriteMutex:
    """A lock for many readers or one writer, among the threads of a process.

    A writer that waits comes before readers that arrive later, so that a
    steady stream of readers does not keep it out. The lock is not reentrant:
    a reader that asks again while a writer waits would wait for itself.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition(threading.Lock())
        self._readers = 0
        # The thread that writes, or that waits for the last reader to leave.
        self._writer: threading.Thread | None = None

    def acquire_read_lock(self, wait: bool = True) -> bool:
        """Take the lock for reading.

        :param wait: whether to wait for a writer to leave.
        :return: whether it was taken.
        """
        with self._condition:
            if not self._wait_for(lambda: self._writer is None, wait):
                return False
            self._readers += 1
            return True

    def release_read_lock(self) -> None:
        """Give back the lock that was taken for reading.

        :raises LockError: nobody reads.
        """
        with self._condition:
            if self._readers == 0:
                raise LockError(
                    "release_read_lock() was called more often than acquire_read_lock()"
                )
            self._readers -= 1
            if self._readers == 0:
                self._condition.notify_all()

    def acquire_write_lock(self, wait: bool = True) -> bool:
        """Take the lock for writing.

        :param wait: whether to wait for readers and another writer to leave.
        :return: whether it was taken.
        """
        with self._condition:
            if not self._wait_for(lambda: self._writer is None, wait):
                return False
            self._writer = threading.current_thread()
            taken = False
            try:
                taken = self._wait_for(lambda: self._readers == 0, wait)
            finally:
                # An interrupted wait must not keep everybody else out.
                if not taken:
                    self._leave_as_writer()
            return taken

    def release_write_lock(self) -> None:
        """Give back the lock that was taken for writing.

        :raises LockError: this thread does not hold it.
        """
        with self._condition:
            if self._writer is not threading.current_thread():
                raise LockError(
                    "release_write_lock() was called by a thread that does not "
                    "have the write lock"
                )
            self._leave_as_writer()

    def _wait_for(self, is_free: Callable[[], bool], wait: bool) -> bool:
        return self._condition.wait_for(is_free, None if wait else 0)

    def _leave_as_writer(self) -> None:
        self._writer = None
        self._condition.notify_all()


class Mutex(Protocol):
    """What :class:`KeyReentrantMutex` asks of the lock below it."""

    def acquire(self, wait: bool = ..., /) -> Any:
        """Take the lock, and return whether it was taken."""

    def release(self) -> Any:
        """Give the lock back."""


class KeyReentrantMutex:
    """A lock that its holder may take again, once for each further key.

    One lock below serves all the keys: the thread that has it takes other
    keys without waiting, every other thread waits.

    :param key: the key that this object stands for.
    :param mutex: the lock below.
    :param keys: the keys that are held, by thread; shared by all the
        objects of one ``mutex``, see :meth:`factory`.
    """

    def __init__(
        self,
        key: str,
        mutex: Mutex,
        keys: MutableMapping[int, MutableSet[str]],
    ) -> None:
        self.key = key
        self.mutex = mutex
        self.keys = keys

    @classmethod
    def factory(cls, mutex: Mutex) -> Callable[[str], KeyReentrantMutex]:
        """Return a function from a key to its object, all above one lock."""
        # Holds one thread at most, as only one can have the lock below.
        keys: MutableMapping[int, MutableSet[str]] = defaultdict(set)

        def for_key(key: str) -> KeyReentrantMutex:
            return cls(key, mutex, keys)

        return for_key

    def acquire(self, wait: bool = True) -> bool:
        """Take the key.

        :param wait: whether to wait until the lock below is free.
        :return: whether it was taken.
        :raises RuntimeError: this thread holds the key already, and would
            wait for itself.
        """
        thread = threading.get_ident()
        held = self.keys.get(thread)
        if held is None:
            if not self.mutex.acquire(wait):
                return False
            self.keys[thread].add(self.key)
            return True
        if self.key not in held:
            held.add(self.key)
            return True
        if wait:
            raise RuntimeError(
                f"this thread holds the key {self.key!r} already, and would wait "
                "for itself; release() it first, or ask with acquire(False)"
            )
        return False

    def release(self) -> None:
        """Give the key back, and with its last key the lock below.

        :raises AssertionError: this thread does not hold the key.
        """
        thread = threading.get_ident()
        held = self.keys.get(thread)
        if held is None:
            raise AssertionError("this thread didn't do the acquire")
        if self.key not in held:
            raise AssertionError(f"No acquire held for key '{self.key}'")
        held.remove(self.key)
        if not held:
            del self.keys[thread]
            self.mutex.release()

    def locked(self) -> bool:
        """Return whether a thread of this process holds the key."""
        return any(self.key in held for held in list(self.keys.values()))


class memoized_property(Generic[_Value]):
    """A property that is computed once, and then stands in ``__dict__``.

    It may be set and deleted like any attribute; deleted, it is computed
    again when it is next asked for.

    :param fget: the method that computes it.
    :param doc: its docstring, where the method's own will not do.
    """

    def __init__(self, fget: Callable[[Any], _Value], doc: str | None = None) -> None:
        self.fget = fget
        self.__doc__ = doc or fget.__doc__
        self.__name__: str = fget.__name__

    @overload
    def __get__(
        self, obj: None, cls: type | None = None
    ) -> memoized_property[_Value]: ...

    @overload
    def __get__(self, obj: object, cls: type | None = None) -> _Value: ...

    def __get__(
        self, obj: object | None, cls: type | None = None
    ) -> memoized_property[_Value] | _Value:
        if obj is None:
            return self
        value = obj.__dict__[self.__name__] = self.fget(obj)
        return value


class repr_obj:
    """A value whose representation is cut in the middle where it is long.

    It is made only when a log record that holds the object is written.

    :param value: what to represent.
    :param max_chars: how much of the representation to keep.
    """

    __slots__ = ("max_chars", "value")

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # equal by what may change

    def __init__(self, value: Iterable[str], max_chars: int = 300) -> None:
        self.value: Iterable[str] = value
        self.max_chars: int = max_chars

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, repr_obj):
            return NotImplemented
        return bool(self.value == other.value)

    def __repr__(self) -> str:
        text = repr(self.value)
        surplus = len(text) - self.max_chars
        if surplus <= 0:
            return text
        half = self.max_chars // 2
        return (
            f"{text[:half]} ... ({surplus} characters truncated) ... "
            f"{text[len(text) - half :]}"
        )


def coerce_string_conf(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the strings of a settings file into what they stand for.

    Numbers, ``true`` and ``false`` in any case, and ``None`` become values;
    other strings lose the blanks around them, and what is no string stays.

    >>> coerce_string_conf({"time": "60", "pause": "0.1", "on": "True", "to": "db "})
    {'time': 60, 'pause': 0.1, 'on': True, 'to': 'db'}
    """
    return {
        name: _coerce(value.strip()) if isinstance(value, str) else value
        for name, value in settings.items()
    }


_WORDS = {"true": True, "false": False}


def _coerce(text: str) -> Any:
    if text == "None":
        return None
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    # int() and float() take more than a settings file means: 1_000, nan, inf.
    if "_" in text or not any(map(str.isdigit, text)):
        return text
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


@overload
def to_list(x: None, default: _Default) -> _Default: ...
@overload
def to_list(x: None, default: None = None) -> None: ...
@overload
def to_list(x: _Listed, default: object = None) -> _Listed: ...  # type: ignore[overload-overlap]  # the first that fits is meant
@overload
def to_list(x: _Item, default: object = None) -> list[_Item]: ...
def to_list(x: Any, default: Any = None) -> Any:
    """Put a value into a list, unless it is a list or a tuple.

    :param x: the value.
    :param default: what to return for ``None``.

    >>> to_list("127.0.0.1")
    ['127.0.0.1']
    """
    if x is None:
        return default
    if isinstance(x, (list, tuple)):
        return x
    return [x]


class PluginLoader:
    """Loads objects by name: registered ones, then those of entry points.

    :param group: the group of entry points to look into.
    """

    #: Raised by :meth:`load`.
    NotFound: ClassVar[type[PluginNotFound]] = PluginNotFound

    def __init__(self, group: str) -> None:
        self.group = group
        #: What was loaded so far, by name.
        self.impls: dict[str, Any] = {}
        self._places: dict[str, tuple[str, str]] = {}

    def register(self, name: str, modulepath: str, objname: str) -> None:
        """Name an object that is no installed entry point.

        It is imported when it is first asked for.

        :param modulepath: the import path of its module.
        :param objname: its name in there.
        """
        self._places[name] = (modulepath, objname)
        self.impls.pop(name, None)

    def load(self, name: str) -> Any:
        """Return the object of a name.

        :raises PluginNotFound: nothing has that name.
        """
        if name not in self.impls:
            self.impls[name] = self._load(name)
        return self.impls[name]

    def _load(self, name: str) -> Any:
        place = self._places.get(name)
        if place is not None:
            from importlib import import_module

            modulepath, objname = place
            return getattr(import_module(modulepath), objname)
        # Takes milliseconds: only who asks for an entry point pays for it.
        from importlib.metadata import entry_points

        for point in entry_points(group=self.group, name=name):
            return point.load()
        raise self.NotFound(
            f"Can't load plugin {self.group} {name}: register() it, or install a "
            f"distribution with an entry point of that name in group {self.group!r}"
        )


class ArgSpec(NamedTuple):
    """The parameters of a function, as Python 2 told them."""

    args: list[str]
    varargs: str | None
    keywords: str | None
    defaults: tuple[Any, ...] | None


def inspect_getargspec(func: Callable[..., Any]) -> ArgSpec:
    """Return the parameters of a function; those of a method include ``self``.

    :raises TypeError: it has no signature that could be read.

    >>> inspect_getargspec(lambda a, b=1, *rest: None)
    ArgSpec(args=['a', 'b'], varargs='rest', keywords=None, defaults=(1,))
    """
    import inspect

    spec = inspect.getfullargspec(func)
    return ArgSpec(spec.args, spec.varargs, spec.varkw, spec.defaults)
