"""What a format string, or a callable, reads off the arguments of a call. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from dogpile.cache.canonical import canonical, has_address
from dogpile.cache.exception import UncacheableArgument, ValidationError
from dogpile.cache.signature import Shape, signature_of

#: Reads something off the bound arguments of a call.
Reader = Callable[[Mapping[str, Any]], Any]

# What is None in a piece: the field of a text that ends with no field.
_Piece = tuple[str, "str | None", "str | None", "str | None"]


def reader_for(spec: str | Callable[..., Any], shape: Shape, function: str) -> Reader:
    """Return what reads a text, or a callable's result, off a bound call.

    :param spec: a format string, or a callable.
    :param function: the function's qualified name, for the errors.
    :raises ValidationError: where a format string names an unknown field.
    """
    if isinstance(spec, str):
        return format_fields(spec, shape.names, function=function)
    named = _named(spec, shape.names)
    if named is not None:
        return lambda bound: spec(**{name: bound[name] for name in named})
    return lambda bound: spec(*_positionals(bound, shape), **_keywords(bound, shape))


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
            check_name(_root(field), names, f"{function}(): {template!r}")
        if spec and "{" in spec:
            raise ValidationError(f"{function}(): {template!r}: a field in a field")
    return _Template(pieces, function)


def check_name(name: str, known: Sequence[str], where: str) -> None:
    """Refuse what is not the name of a parameter.

    :param where: it was found, for the error.
    :raises ValidationError: it is none; the nearest one is told.
    """
    if name in known:
        return
    import difflib

    nearest = difflib.get_close_matches(name, known, 1)
    if nearest:
        hint = f"did you mean {nearest[0]!r}?"
    else:
        hint = f"there are {', '.join(known)}" if known else "there are none"
    raise ValidationError(f"{where} names no parameter {name!r}; {hint}")


def required_text(text: object, function: str, option: str) -> str:
    """Return what the callable of an option has returned, if it is a string.

    :raises ValidationError: it is none.
    """
    if isinstance(text, str):
        return text
    kind = type(text).__qualname__
    raise ValidationError(f"{function}(): {option}= must return a string, not {kind}")


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


def _named(spec: Callable[..., Any], names: Sequence[str]) -> list[str] | None:
    """Return the parameters that a callable names, unless it takes others."""
    try:
        parameters = signature_of(spec).parameters.values()
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


def _root(field: str) -> str:
    return field.partition(".")[0].partition("[")[0]


def _look_up(field: str, bound: Mapping[str, Any]) -> Any:
    import string

    return string.Formatter().get_field(field, (), bound)[0]
