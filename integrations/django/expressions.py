"""What a tag of a template is given: read so that nothing unknown passes for a value.

Django shows what is unknown as ``string_if_invalid``. In a key that is one value for
everybody, so that one client's text would be shown to all.
"""

from __future__ import annotations

import copy
from typing import Any

from django.template.base import FilterExpression, VariableDoesNotExist
from django.template.context import Context

from dogpile.cache import ConfigurationError

# Who writes one of them has said what is meant by nothing.
_DEFAULTS = frozenset({"default", "default_if_none"})


def read(expression: FilterExpression, context: Context, what: str) -> Any:
    """Return the value of an expression.

    :param what: it is given for, as the error says it.
    :raises ConfigurationError: a variable of it is unknown, or its lookup has
        failed, and it has no default.
    """
    try:
        if not expression.is_var:
            return expression.resolve(context)
        value = _value(expression, context)
        if not expression.filters:
            return value
        filtered: Any = copy.copy(expression)
        filtered.is_var, filtered.var = False, value
        return filtered.resolve(context)
    except VariableDoesNotExist as error:
        raise ConfigurationError(_unknown(expression, what)) from error


def _value(expression: FilterExpression, context: Any) -> Any:
    """Return the value of the variable of an expression, before its filters.

    :raises VariableDoesNotExist: there is no such variable.
    """
    has_default = any(
        function.__name__ in _DEFAULTS for function, _ in expression.filters
    )
    variable: Any = expression.var
    whole = context.template
    context.template = _Nowhere
    try:
        value = variable.resolve(context)
    except VariableDoesNotExist:
        if not has_default:
            raise
        return None
    finally:
        context.template = whole
    if value is not _FAILED:
        return value
    if has_default:
        return None
    raise VariableDoesNotExist("a lookup of %s has failed", (expression,))


def _unknown(expression: FilterExpression, what: str) -> str:
    return (
        f"there is no variable {expression}, as {what}: is it misspelt, or not in "
        f"quotes? What may be missing has a default, as in {expression.var}"
        "|default_if_none:0"
    )


_FAILED: Any = object()


class _Engine:
    string_if_invalid = _FAILED


class _Nowhere:
    """Stands for a template that tells a lookup that fails from any value."""

    engine = _Engine
