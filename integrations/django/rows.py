"""Arguments whose texts are no keys: rows, query sets and requests.

Instances of models are known by their primary keys.
"""

from __future__ import annotations

import functools
from typing import Any

from django.db.models import Model, QuerySet
from django.http import HttpRequest

from dogpile.cache import ValidationError


class Stead:
    """Stands for an argument while a key is made of it."""

    def __init__(self, instance: Any) -> None:
        self.instance = instance

    def __getattr__(self, name: str) -> Any:
        """Return what the argument has, for tags such as ``"{book.pk}"``."""
        return getattr(self.instance, name)

    def __format__(self, spec: str) -> str:
        return format(self.instance, spec)


class Asker(Stead):
    """Stands for a request, whose text is the same for all clients."""

    def __cache_key__(self) -> str:
        """Refuse to be part of a key.

        :raises ValidationError: always.
        """
        raise ValidationError(
            "a request cannot be part of a cache key, as its text leaves the client "
            "out: hand over what is needed of it, such as request.user.pk, or name it "
            "in ignore= if nothing hangs upon it"
        )


class Row(Stead):
    """Stands for an instance while a key is made of it.

    The texts of two instances may be the same, and say nothing of their keys.
    """

    def __cache_key__(self) -> tuple[Any, ...]:
        """Return what tells the row from others.

        :raises ValidationError: it is in no table yet.
        """
        instance = self.instance
        if instance.pk is None:
            raise ValidationError(
                f"a {instance._meta.label} without a primary key cannot be part of "
                "a cache key: save it first"
            )
        return instance._meta.label, instance._state.db, instance.pk


@functools.cache
def _row_class(model: type[Model], method: str) -> type[Row]:
    """Return what a method of a model may be called on."""
    names = {
        "__module__": model.__module__,
        "__qualname__": model.__qualname__,
        method: None,
    }
    return type(model.__name__, (Row,), names)


def keyed(value: Any, function: str) -> Any:
    """Return what stands for an argument in a key.

    :param function: the name of the function that it is given to.
    :raises ValidationError: it is a query, whose result may be any.
    """
    if isinstance(value, Model):
        return _row_class(type(value), function)(value)
    if isinstance(value, HttpRequest):
        return Asker(value)
    if isinstance(value, QuerySet):
        raise ValidationError(
            f"{function}() was given a query set, whose text is no key: give it the "
            "keys of the rows, as list(rows.values_list('pk', flat=True))"
        )
    return value


_WITHOUT_A_TEXT = (Model, QuerySet, HttpRequest)


def keyed_all(
    args: tuple[Any, ...], kwargs: dict[str, Any], function: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what stands for the arguments of a call in its key."""
    # A loop, for most calls have none.
    for value in (*args, *kwargs.values()):
        if isinstance(value, _WITHOUT_A_TEXT):
            break
    else:
        return args, kwargs
    return (
        tuple(keyed(value, function) for value in args),
        {name: keyed(value, function) for name, value in kwargs.items()},
    )


def meant(value: Any) -> Any:
    """Return the argument that something stands for."""
    return value.instance if isinstance(value, Stead) else value


def meant_all(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments that something stands for."""
    return (
        tuple(meant(value) for value in args),
        {name: meant(value) for name, value in kwargs.items()},
    )
