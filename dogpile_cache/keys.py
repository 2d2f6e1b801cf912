"""From a call to a key: how the calls of a function become keys. Pure."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MethodType
from typing import Any

from dogpile.cache.canonical import PLAIN_FORMS, canonical
from dogpile.cache.exception import ValidationError
from dogpile.cache.generators import (
    function_key_generator,
    function_multi_key_generator,
    kwarg_function_key_generator,
)
from dogpile.cache.mangler import (
    KeyLimit,
    length_conditional_mangler,
    limited,
    sha1_mangle_key,
)
from dogpile.cache.names import bare, location
from dogpile.cache.reader import (
    Reader,
    check_name,
    format_fields,
    reader_for,
    required_text,
)
from dogpile.cache.receiver import Receiver
from dogpile.cache.signature import Shape, has_receiver, shape_of, signature_of

__all__ = [
    "KeyLimit",
    "KeyPlan",
    "MultiKeyPlan",
    "Shape",
    "canonical",
    "compile_key",
    "format_fields",
    "function_key_generator",
    "function_multi_key_generator",
    "kwarg_function_key_generator",
    "length_conditional_mangler",
    "limited",
    "multi_plan",
    "multi_prefix",
    "note_function",
    "plan",
    "sha1_mangle_key",
]


class KeyPlan:
    """How the calls of one function become keys; made by :func:`plan`.

    Its ``prefix`` is what the keys of the function begin with, ``parameters``
    are those in the key. Where ``is_method`` is true, the first argument is an
    instance or a class, of which the class is in the key. With
    ``has_own_key`` the keys are made by ``key=`` alone.
    """

    __slots__ = (
        "_bind",
        "_ignored",
        "_own",
        "_to_str",
        "fn",
        "has_own_key",
        "is_method",
        "parameters",
        "prefix",
        "receive",
        "shape",
    )

    def __init__(
        self,
        fn: Callable[..., object],
        shape: Shape,
        *,
        prefix: str,
        is_method: bool,
        ignored: frozenset[str],
        to_str: Callable[[Any], str] | None,
        own: Callable[[Mapping[str, Any]], str] | None,
    ) -> None:
        names = shape.names
        self.fn: Callable[..., object] = fn
        self.shape: Shape = shape
        self.prefix: str = prefix
        self.is_method: bool = is_method
        self.has_own_key: bool = own is not None
        self.parameters: tuple[str, ...] = tuple(
            n for n in names[is_method:] if n not in ignored
        )
        self._ignored = ignored
        self._to_str = to_str
        self._own = own
        self._bind = shape.generate(f" return {shape.bound}", {}, like=fn)
        self.receive: Receiver | None = None
        if is_method and names[0] not in ignored:
            self.receive = Receiver(fn.__qualname__, fn.__module__, names[0])

    @property
    def is_canonical(self) -> bool:
        """Whether nobody else has a say in the keys."""
        return self._own is None and self._to_str is None

    @property
    def function(self) -> str:
        """The function's qualified name."""
        name: str = self.fn.__qualname__
        return name

    def key(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Return the key of a call.

        :raises UncacheableArgument: where an argument cannot be in a key.
        :raises TypeError: where the arguments do not fit the signature.
        """
        return self.text(self.bound(args, kwargs))

    def bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call by parameter, defaults included."""
        bound: dict[str, Any] = self._bind(*args, **kwargs)
        return bound

    def text(self, bound: Mapping[str, Any]) -> str:
        """Return the key of a call whose arguments are bound already."""
        if self._own is not None:
            return self._own(bound)
        lead = self.receive(bound[self.shape.names[0]]) if self.receive else ""
        parts = [self._part(name, bound[name]) for name in self.parameters]
        return f"{self.prefix}|{lead}{','.join(parts)}"

    def reader(self, spec: str | Callable[..., Any]) -> Reader:
        """Return what reads a text, or a callable's result, off a bound call.

        :param spec: a format string over the parameters, or a callable, which
            is given the parameters that it names, else all arguments.
        :raises ValidationError: where a format string names an unknown field.
        """
        return reader_for(spec, self.shape, self.function)

    def starred(self, content: Iterable[object]) -> str:
        """Return the part of the key for the surplus positional arguments."""
        parts = (self._write(self.shape.star, item) for item in content)
        return f"*({','.join(parts)})"

    def doubled(self, content: Mapping[str, object]) -> str:
        """Return the part of the key for the surplus keyword arguments."""
        names = sorted(content.keys() - self._ignored)
        parts = (f"{name!r}:{self._write(name, content[name])}" for name in names)
        return f"**{{{','.join(parts)}}}"

    def _part(self, name: str, value: Any) -> str:
        if name == self.shape.star:
            return self.starred(value)
        if name == self.shape.double:
            return self.doubled(value)
        return self._write(name, value)

    def _write(self, name: str, value: Any) -> str:
        if self._to_str is None:
            return canonical(value, function=self.function, parameter=name)
        return _written(self._to_str, value, self.function)


class MultiKeyPlan:
    """How each argument of a function becomes a key; see :func:`multi_plan`."""

    __slots__ = ("_receive", "_to_str", "function", "is_method", "parameter", "prefix")

    def __init__(
        self,
        fn: Callable[..., object],
        shape: Shape,
        *,
        prefix: str,
        to_str: Callable[[Any], str] | None,
        always: bool,
    ) -> None:
        self.function: str = fn.__qualname__
        self.prefix: str = prefix
        self.is_method: bool = has_receiver(fn, shape)
        self.parameter: str = shape.star or (*shape.positional, "")[-1]
        self._to_str = to_str
        self._receive = Receiver(
            self.function, fn.__module__, (*shape.names, "")[0], always=always
        )

    def keys(self, args: Sequence[Any]) -> list[str]:
        """Return the key of each argument; of a method without the first."""
        lead = f"{self.prefix}|"
        if self.is_method:
            if not args:
                raise TypeError(f"{self.function}() lacks the instance to call it on")
            lead += self._receive(args[0])
        return [lead + self._write(arg) for arg in args[self.is_method :]]

    def _write(self, value: Any) -> str:
        if self._to_str is None:
            return canonical(value, function=self.function, parameter=self.parameter)
        return _written(self._to_str, value, self.function)


def plan(
    fn: Callable[..., object],
    *,
    namespace: str | None = None,
    ignore: str | Iterable[str] = (),
    key: str | Callable[..., str] | None = None,
    version: object = None,
    to_str: Callable[[Any], str] | None = None,
) -> KeyPlan:
    """Settle how the calls of a function become keys.

    :param namespace: sets keys apart from those of the same function elsewhere.
    :param ignore: parameters that have no part in the key.
    :param key: a format string over the parameters, or a callable, that makes
        the whole key; namespace and version are put around it.
    :param version: of the code; another version has other keys.
    :param to_str: writes the arguments, instead of :func:`canonical`.
    :raises ValidationError: where a name is not one of the parameters.
    """
    function = _qualified_name(fn)
    shape = shape_of(signature_of(fn))
    return KeyPlan(
        fn,
        shape,
        prefix=_prefix(fn, function, namespace, version),
        is_method=has_receiver(fn, shape),
        ignored=_ignored(ignore, shape, function),
        to_str=to_str,
        own=None if key is None else _own_key(key, shape, function, namespace, version),
    )


def multi_plan(
    fn: Callable[..., object],
    *,
    namespace: str | None = None,
    version: object = None,
    to_str: Callable[[Any], str] | None = None,
) -> MultiKeyPlan:
    """Settle how each argument of a function becomes a key of its own.

    The parameters are those of :func:`plan`.
    """
    prefix = multi_prefix(fn, namespace, version)
    shape = shape_of(signature_of(fn))
    return MultiKeyPlan(
        fn, shape, prefix=prefix, to_str=to_str, always=namespace is not None
    )


def multi_prefix(
    fn: Callable[..., object], namespace: str | None = None, version: object = None
) -> str:
    """Return what the keys of a multi-key function begin with.

    With a namespace, it has the form that it had in 1.x.
    """
    name = _qualified_name(fn) if namespace is None else fn.__name__
    return _prefix(fn, name, namespace, version)


def compile_key(plan: KeyPlan) -> Callable[..., str]:
    """Generate the fastest function from a call's arguments to its key.

    It has the parameters of the planned function, and returns what
    :meth:`KeyPlan.key` does.
    """
    mark = plan.shape.mark
    names = {
        f"{mark}text": plan.text,
        f"{mark}lead": plan.receive,
        f"{mark}starred": plan.starred,
        f"{mark}doubled": plan.doubled,
        f"{mark}forms": PLAIN_FORMS,
        f"{mark}type": type,
        f"{mark}int": int,
        f"{mark}str": str,
    }
    body = f" return {mark}text({plan.shape.bound})"
    if plan.is_canonical:
        body = f"{_fast_body(plan)}\n{body}"
    return plan.shape.generate(body, names, like=plan.fn)


def note_function(plan: KeyPlan, fn: Callable[..., object]) -> None:
    """Warn where the keys of two functions begin alike.

    A factory that runs again, or a module that is loaded again, makes the same
    function once more, and that is none.
    """
    place = _place(fn)
    if plan.has_own_key or place is None:
        return
    known = _NOTED.get(plan.prefix)
    _NOTED[plan.prefix] = fn
    if known is not None and (before := _place(known)) != place:
        warnings.warn(
            f"{plan.prefix} is cached at {before}, and again at {place}: they share "
            "their keys, and get each other's values; rename one, or give it a "
            "namespace",
            stacklevel=3,
        )


def _qualified_name(fn: Callable[..., object]) -> str:
    name = getattr(fn, "__qualname__", None)
    if isinstance(name, str):
        return name
    raise ValidationError(
        f"what has the type {type(fn).__qualname__} has no name to make keys of: "
        "cache a function"
    )


def _prefix(
    fn: Callable[..., object], name: str, namespace: str | None, version: object
) -> str:
    prefix = f"{location(fn.__module__, _file_of(fn))}:{bare(name)}"
    if version is not None:
        prefix += f"@{bare(str(version))}"
    if namespace is not None:
        prefix += f"|{bare(namespace)}"
    if isinstance(fn, MethodType):  # its receiver is settled, and no argument
        parameter = "cls" if isinstance(fn.__self__, type) else "self"
        lead = Receiver(fn.__qualname__, fn.__module__, parameter)(fn.__self__)
        prefix = f"{prefix}|{lead}".removesuffix("|")
    return prefix


def _file_of(fn: Callable[..., object]) -> str | None:
    """Return the file that a function was written in, whatever it is wrapped into."""
    import inspect

    file: str | None = getattr(inspect.unwrap(fn), "__globals__", {}).get("__file__")
    return file


def _ignored(
    ignore: str | Iterable[str], shape: Shape, function: str
) -> frozenset[str]:
    ignored = frozenset((ignore,) if isinstance(ignore, str) else ignore)
    # With **kwargs, any name can be a parameter.
    for name in () if shape.double else sorted(ignored):
        check_name(name, shape.names, f"{function}(): ignore={name!r}")
    return ignored


def _own_key(
    spec: str | Callable[..., str],
    shape: Shape,
    function: str,
    namespace: str | None,
    version: object,
) -> Callable[[Mapping[str, Any]], str]:
    read = reader_for(spec, shape, function)
    lead = "" if namespace is None else f"{namespace}|"
    tail = "" if version is None else f"@{version}"

    def make(bound: Mapping[str, Any]) -> str:
        return f"{lead}{required_text(read(bound), function, 'key')}{tail}"

    return make


def _written(to_str: Callable[[Any], str], value: Any, function: str) -> str:
    return bare(required_text(to_str(value), function, "to_str"))


def _fast_body(plan: KeyPlan) -> str:
    """Write what makes keys of all that needs no names for its errors."""
    shape, mark = plan.shape, plan.shape.mark
    surplus = {
        shape.star: f"{mark}starred({shape.star})",
        shape.double: f"{mark}doubled({shape.double})",
    }
    plain = [name for name in plan.parameters if name not in surplus]
    by_class = {name: f"{mark}forms[{mark}type({name})]({name})" for name in plain}
    lines = [" try:"]
    if plain:
        exact = {name: f"{name}!r" for name in plain}
        is_exact = "({0}type({1}) is {0}int or {0}type({1}) is {0}str)"
        guard = " and ".join(is_exact.format(mark, name) for name in plain)
        lines += [f"  if {guard}:", f"   return {_f_string(plan, exact | surplus)}"]
    lines += [f"  return {_f_string(plan, by_class | surplus)}"]
    # What is refused, or too long for repr(), is told or written by the plan.
    return "\n".join([*lines, " except ValueError:", "  pass"])


def _f_string(plan: KeyPlan, sources: Mapping[str, str]) -> str:
    lead = repr(f"{plan.prefix}|").replace("{", "{{").replace("}", "}}")
    receiver = (
        f"{{{plan.shape.mark}lead({plan.shape.names[0]})}}" if plan.receive else ""
    )
    parts = ",".join(f"{{{sources[name]}}}" for name in plan.parameters)
    return f"f{lead} f'{receiver}{parts}'"


def _place(fn: Callable[..., object]) -> str | None:
    import inspect

    code = getattr(inspect.unwrap(fn), "__code__", None)
    return code and f"{code.co_filename}:{code.co_firstlineno}"


_NOTED: weakref.WeakValueDictionary[str, Callable[..., object]] = (
    weakref.WeakValueDictionary()
)
