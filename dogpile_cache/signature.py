"""The parameters of a function, and source that takes the same ones. Pure."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import inspect


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


def signature_of(fn: Callable[..., object]) -> inspect.Signature:
    """Return a function's signature, whether or not its annotations resolve."""
    import inspect

    if sys.version_info >= (3, 14):
        from annotationlib import Format

        # Annotations may name what is imported for type checkers only.
        return inspect.signature(fn, annotation_format=Format.FORWARDREF)
    return inspect.signature(fn)


def shape_of(signature: inspect.Signature) -> Shape:
    """Return the parameters of a signature."""
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


def has_receiver(fn: Callable[..., object], shape: Shape) -> bool:
    """Return whether a function is a method, whose first argument is its receiver."""
    home = fn.__qualname__.rpartition(".")[0]
    if not home or home.endswith("<locals>"):
        return False
    return shape.positional[:1] in {("self",), ("cls",)}


def takes(fn: Callable[..., object], args: tuple[Any, ...]) -> bool:
    """Return whether a function could be called with arguments by position."""
    import inspect

    try:
        inspect.signature(fn).bind(*args)
    except TypeError:
        return False
    return True
