"""From a call to a key: plans, generators and manglers. Pure."""

from __future__ import annotations

import sys
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

from dogpile.cache.canonical import (
    PLAIN_FORMS,
    KeyLimit,
    Receiver,
    bare,
    canonical,
    has_address,
    limited,
    location,
)
from dogpile.cache.exception import UncacheableArgument, ValidationError

if TYPE_CHECKING:
    import inspect

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

#: Reads something off the bound arguments of a call.
Reader = Callable[[Mapping[str, Any]], Any]


class Shape(NamedTuple):
    """The parameters of a function, and the source to generate its like.

    :param positional: the parameters that can be given by position.
    :param star: the name behind ``*``, or nothing.
    :param named: the parameters that can be given by name only.
    :param double: the name behind ``**``, or nothing.
    :param header: what stands between the parentheses of ``def``.
    :param defaults: what the names mean that stand for defaults in it.
    :param mark: what every name begins with that generated source adds; no
        parameter does.
    """

    positional: tuple[str, ...]
    star: str
    named: tuple[str, ...]
    double: str
    header: str
    defaults: Mapping[str, object]
    mark: str

    @property
    def names(self) -> tuple[str, ...]:
        """All parameters, in the order of the signature."""
        names = (*self.positional, self.star, *self.named, self.double)
        return tuple(filter(None, names))

    @property
    def forward(self) -> str:
        """The source of the arguments that pass every parameter on."""
        parts = [*self.positional, *(f"{name}={name}" for name in self.named)]
        if self.star:
            parts.insert(len(self.positional), f"*{self.star}")
        if self.double:
            parts.append(f"**{self.double}")
        return ", ".join(parts)

    @property
    def bound(self) -> str:
        """The source of a dictionary of all parameters."""
        return "{" + ", ".join(f"{name!r}: {name}" for name in self.names) + "}"

    def generate(
        self, body: str, names: Mapping[str, object], *, like: Callable[..., object]
    ) -> Callable[..., Any]:
        """Make a function with these parameters.

        :param body: its source, indented by at least one blank.
        :param names: what the names mean that the body adds.
        :param like: the function whose name it takes, for its errors.
        """
        space: dict[str, Any] = {**self.defaults, **names}
        # The parameters' names are a signature's, all the rest is ours.
        exec(f"def key({self.header}):\n{body}", space)  # noqa: S102  # as said
        made: Callable[..., Any] = space["key"]
        made.__name__ = getattr(like, "__name__", "key")
        made.__qualname__ = getattr(like, "__qualname__", "key")
        return made


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
        return _reader(spec, self.shape, self.function)

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
        self.is_method: bool = _is_method(fn, shape)
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
    shape = _shape(_signature(fn))
    return KeyPlan(
        fn,
        shape,
        prefix=_prefix(fn, function, namespace, version),
        is_method=_is_method(fn, shape),
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
    shape = _shape(_signature(fn))
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


def format_fields(
    template: str, names: Sequence[str], *, function: str = ""
) -> Callable[[Mapping[str, Any]], str]:
    """Return what fills a format string from the bound arguments of a call.

    :param template: as ``"user:{user_id}"`` or ``"{user.id}"``.
    :param names: the parameters that there are.
    :param function: the function's qualified name, for the errors.
    :raises ValidationError: where it is no format string, or a field in it is
        none of the parameters.
    """
    import string

    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValidationError(f"{function}(): {template!r}: {error}") from error
    for _, field, spec, _ in pieces:
        if field is not None:
            _check_name(_root(field), names, f"{function}(): {template!r}")
        if spec and "{" in spec:
            raise ValidationError(f"{function}(): {template!r}: a field in a field")
    return _Template(pieces, function)


class _Template:
    """Fills a format string; plain fields without the help of a formatter."""

    __slots__ = ("_function", "_pieces")

    def __init__(self, pieces: Iterable[_Piece], function: str) -> None:
        self._pieces = tuple(pieces)
        self._function = function

    def __call__(self, bound: Mapping[str, Any]) -> str:
        texts = []
        for literal, field, spec, conversion in self._pieces:
            texts.append(literal)
            if field is not None:
                value = bound[field] if field in bound else _look_up(field, bound)
                texts.append(self._write(field, value, spec, conversion))
        return "".join(texts)

    def _write(
        self, field: str, value: Any, spec: str | None, conversion: str | None
    ) -> str:
        if not spec and not conversion:
            if type(value) is str or type(value) is int:
                return str(value)
            return canonical(value, function=self._function, parameter=_root(field))
        if conversion:
            import string

            value = string.Formatter().convert_field(value, conversion)
        text = format(value, spec or "")
        if has_address(text):
            kind = type(value).__qualname__
            raise UncacheableArgument(self._function, _root(field), kind)
        return text


def function_key_generator(
    namespace: str | None,
    fn: Callable[..., object],
    to_str: Callable[[Any], str] = str,
) -> Callable[..., str]:
    """Return a generator of keys in the form of 1.x.

    The arguments are joined by blanks, so that calls with different arguments
    can have one key: it is there for who needs the old keys.
    """
    lead, names, _ = _classic(namespace, fn)

    def generate_key(*args: Any, **kwargs: Any) -> str:
        _refuse_keywords(kwargs)
        return lead + " ".join(map(to_str, args[_starts_at(names) :]))

    return generate_key


def function_multi_key_generator(
    namespace: str | None,
    fn: Callable[..., object],
    to_str: Callable[[Any], str] = str,
) -> Callable[..., list[str]]:
    """Return a generator of one key for each argument, in the form of 1.x."""
    lead, names, _ = _classic(namespace, fn)

    def generate_keys(*args: Any, **kwargs: Any) -> list[str]:
        _refuse_keywords(kwargs)
        return [lead + to_str(arg) for arg in args[_starts_at(names) :]]

    return generate_keys


def kwarg_function_key_generator(
    namespace: str | None,
    fn: Callable[..., object],
    to_str: Callable[[Any], str] = str,
) -> Callable[..., str]:
    """Return a generator of keys in the form of 1.x that takes keywords.

    The arguments, defaults included, stand in the order of their names.
    """
    lead, names, defaults = _classic(namespace, fn)
    start = _starts_at(names)

    def generate_key(*args: Any, **kwargs: Any) -> str:
        if len(args) > len(names):
            raise TypeError(f"{lead}: more arguments than parameters")
        given = {
            **defaults,
            **dict(zip(names[start:], args[start:], strict=False)),
            **kwargs,
        }
        return lead + " ".join(to_str(given[name]) for name in sorted(given))

    return generate_key


def sha1_mangle_key(key: str | bytes) -> str:
    """Return the SHA-1 of a key, in hexadecimal (the 1.x mangler)."""
    from hashlib import sha1

    content = key.encode() if isinstance(key, str) else key
    return sha1(content, usedforsecurity=False).hexdigest()


def length_conditional_mangler(
    length: int, mangler: Callable[[str], str]
) -> Callable[[str], str]:
    """Return a mangler that leaves keys alone that are shorter than a length."""

    def mangle(key: str) -> str:
        return mangler(key) if len(key) >= length else key

    return mangle


def _qualified_name(fn: Callable[..., object]) -> str:
    name = getattr(fn, "__qualname__", None)
    if isinstance(name, str):
        return name
    raise ValidationError(
        f"a {type(fn).__qualname__} has no name to make keys of: cache a function"
    )


def _signature(fn: Callable[..., object]) -> inspect.Signature:
    import inspect

    if sys.version_info >= (3, 14):
        from annotationlib import Format

        # Annotations may name what is imported for type checkers only.
        return inspect.signature(fn, annotation_format=Format.FORWARDREF)
    return inspect.signature(fn)


def _shape(signature: inspect.Signature) -> Shape:
    parameters = signature.parameters
    mark = "_k"
    while any(name.startswith(mark) for name in parameters):
        mark += "_"
    kinds: dict[int, list[str]] = {kind: [] for kind in range(5)}
    defaults: dict[str, object] = {}
    sources: dict[str, str] = {}
    for name, parameter in parameters.items():
        kinds[parameter.kind].append(name)
        sources[name] = name
        if parameter.default is not parameter.empty:
            defaults[f"{mark}{len(defaults)}"] = parameter.default
            sources[name] += f"={mark}{len(defaults) - 1}"
    only, both, star, named, double = kinds.values()
    pieces = [sources[name] for name in only] + ["/"] * bool(only)
    pieces += [sources[name] for name in both]
    pieces += [f"*{name}" for name in star] or ["*"] * bool(named)
    pieces += [sources[name] for name in named] + [f"**{name}" for name in double]
    return Shape(
        positional=(*only, *both),
        star="".join(star),
        named=tuple(named),
        double="".join(double),
        header=", ".join(pieces),
        defaults=defaults,
        mark=mark,
    )


def _is_method(fn: Callable[..., object], shape: Shape) -> bool:
    home = fn.__qualname__.rpartition(".")[0]
    if not home or home.endswith("<locals>"):
        return False
    return shape.positional[:1] in {("self",), ("cls",)}


def _prefix(
    fn: Callable[..., object], name: str, namespace: str | None, version: object
) -> str:
    file = getattr(fn, "__globals__", {}).get("__file__")
    prefix = f"{location(fn.__module__, file)}:{bare(name)}"
    if version is not None:
        prefix += f"@{bare(str(version))}"
    if namespace is not None:
        prefix += f"|{bare(namespace)}"
    if isinstance(fn, MethodType):  # its receiver is settled, and no argument
        parameter = "cls" if isinstance(fn.__self__, type) else "self"
        lead = Receiver(fn.__qualname__, fn.__module__, parameter)(fn.__self__)
        prefix = f"{prefix}|{lead}".removesuffix("|")
    return prefix


def _ignored(
    ignore: str | Iterable[str], shape: Shape, function: str
) -> frozenset[str]:
    ignored = frozenset((ignore,) if isinstance(ignore, str) else ignore)
    # With **kwargs, any name can be a parameter.
    for name in () if shape.double else sorted(ignored):
        _check_name(name, shape.names, f"{function}(): ignore={name!r}")
    return ignored


def _check_name(name: str, known: Sequence[str], where: str) -> None:
    if name in known:
        return
    import difflib

    nearest = difflib.get_close_matches(name, known, 1)
    if nearest:
        hint = f"did you mean {nearest[0]!r}?"
    else:
        hint = f"there are {', '.join(known)}" if known else "there are none"
    raise ValidationError(f"{where} names no parameter {name!r}; {hint}")


def _own_key(
    spec: str | Callable[..., str],
    shape: Shape,
    function: str,
    namespace: str | None,
    version: object,
) -> Callable[[Mapping[str, Any]], str]:
    read = _reader(spec, shape, function)
    lead = "" if namespace is None else f"{namespace}|"
    tail = "" if version is None else f"@{version}"

    def make(bound: Mapping[str, Any]) -> str:
        return f"{lead}{_checked(read(bound), function, 'key')}{tail}"

    return make


def _written(to_str: Callable[[Any], str], value: Any, function: str) -> str:
    return bare(_checked(to_str(value), function, "to_str"))


def _checked(text: object, function: str, option: str) -> str:
    if isinstance(text, str):
        return text
    kind = type(text).__qualname__
    raise ValidationError(f"{function}(): {option}= must return a string, not {kind}")


def _reader(spec: str | Callable[..., Any], shape: Shape, function: str) -> Reader:
    if isinstance(spec, str):
        return format_fields(spec, shape.names, function=function)
    named = _named(spec, shape.names)
    if named is not None:
        return lambda bound: spec(**{name: bound[name] for name in named})
    return lambda bound: spec(*_positionals(bound, shape), **_keywords(bound, shape))


def _named(spec: Callable[..., Any], names: Sequence[str]) -> list[str] | None:
    """Return the parameters that a callable names, unless it takes others."""
    try:
        parameters = _signature(spec).parameters.values()
    except (TypeError, ValueError):  # built in, and mute about its parameters
        return None
    for parameter in parameters:
        by_name = parameter.kind in {
            parameter.POSITIONAL_OR_KEYWORD,
            parameter.KEYWORD_ONLY,
        }
        is_known = parameter.name in names or parameter.default is not parameter.empty
        if not (by_name and is_known):
            return None
    return [parameter.name for parameter in parameters if parameter.name in names]


def _positionals(bound: Mapping[str, Any], shape: Shape) -> list[Any]:
    return [*(bound[name] for name in shape.positional), *bound.get(shape.star, ())]


def _keywords(bound: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    return {
        **{name: bound[name] for name in shape.named},
        **bound.get(shape.double, {}),
    }


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


def _root(field: str) -> str:
    return field.partition(".")[0].partition("[")[0]


def _look_up(field: str, bound: Mapping[str, Any]) -> Any:
    import string

    return string.Formatter().get_field(field, (), bound)[0]


def _classic(
    namespace: str | None, fn: Callable[..., object]
) -> tuple[str, tuple[str, ...], dict[str, Any]]:
    """Return what a 1.x generator needs: lead, positional names, defaults."""
    parameters = _signature(fn).parameters
    names = _shape(_signature(fn)).positional
    defaults = {
        name: parameters[name].default
        for name in names
        if parameters[name].default is not parameters[name].empty
    }
    lead = f"{fn.__module__}:{fn.__name__}|"
    return lead if namespace is None else f"{lead}{namespace}|", names, defaults


def _starts_at(names: Sequence[str]) -> int:
    return names[:1] in {("self",), ("cls",)}


def _refuse_keywords(kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        raise ValueError(
            "dogpile.cache's default key creation function does not accept keyword "
            "arguments; kwarg_function_key_generator does"
        )


# What is None in a piece: the field of a text that ends with no field.
_Piece = tuple[str, "str | None", "str | None", "str | None"]

_NOTED: weakref.WeakValueDictionary[str, Callable[..., object]] = (
    weakref.WeakValueDictionary()
)
