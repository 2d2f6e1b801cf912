"""``manage.py dogpile …``: look at the cache of the project, and clear it."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from functools import partial
from typing import Any

from django.apps import apps
from django.core.cache.backends.base import InvalidCacheBackendError
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.urls import NoReverseMatch

from dogpile.cache import BackendError, CacheRegion, ConfigurationError
from dogpile.cache.integrations.commands import (
    Asking,
    NoSuchValue,
    Unanswered,
    as_json,
    lines_of,
    say_regions,
    say_value,
)
from dogpile.cache.integrations.django import (
    invalidate_fragment,
    invalidate_model,
    invalidate_view,
    regions,
)
from dogpile.cache.integrations.django.routes import check_view
from dogpile.cache.integrations.everywhere import invalidate_everywhere, try_all
from dogpile.cache.integrations.options import near


class Command(BaseCommand):
    """Look at the cache of the project, and clear it."""

    help = "Look at the cache of the project, and clear it."
    # It has to work when something is wrong with the project.
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own form

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Describe the sub-commands."""
        parts = parser.add_subparsers(dest="part", required=True, metavar="command")
        told = ArgumentParser(add_help=False)
        told.add_argument("--json", action="store_true", help="Answer in JSON.")
        one = ArgumentParser(add_help=False, parents=[told])
        one.add_argument("--region", help="Its name; else the default region.")
        parts.add_parser(
            "regions", parents=[told], help="List the regions with their backends."
        )
        get = parts.add_parser("get", parents=[one], help="Show the value of a key.")
        get.add_argument("key")
        delete = parts.add_parser(
            "delete", parents=[one], help="Remove the values of keys."
        )
        delete.add_argument("keys", nargs="+", metavar="key")
        invalidate = parts.add_parser(
            "invalidate",
            parents=[told],
            help="Invalidate what has a tag, for every process.",
        )
        for name, text in _KINDS.items():
            what = f"{text[0].upper()}{text[1:]}; repeatable."
            invalidate.add_argument(f"--{name}", action="append", default=[], help=what)
        invalidate.add_argument(
            "--soft", action="store_true", help="Leave the values as stale ones."
        )
        parts.add_parser(
            "clear",
            parents=[one],
            help="Invalidate a whole region, for every process.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run a sub-command."""
        try:
            said, text = _PARTS[options["part"]](options)
        except (
            BackendError,
            ConfigurationError,
            InvalidCacheBackendError,
            NoReverseMatch,
            NoSuchValue,
            Unanswered,
        ) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(as_json(said))
        elif text:
            self.stdout.write(text)


_KINDS = {
    "tag": "a tag",
    "view": "the name of a view, as in reverse()",
    "model": "a model, such as shop.Book, or one row of it: shop.Book:7",
    "fragment": "the name of a part of a template",
}
_Said = tuple[Any, str]


def _region(options: dict[str, Any]) -> CacheRegion:
    return regions.region(options["region"])


def _show_regions(options: dict[str, Any]) -> _Said:
    said = say_regions(regions, regions.default)
    return said, lines_of(said)


def _name(options: dict[str, Any]) -> str:
    return options["region"] or regions.default


def _of_cache(options: dict[str, Any], keys: list[str]) -> list[str]:
    """Return how a cache writes keys, if the region is that of an alias."""
    cache = regions.cache_of(_name(options))
    return [] if cache is None else [cache.make_key(key) for key in keys]


def _show(options: dict[str, Any]) -> _Said:
    key = options["key"]
    others = _of_cache(options, [key])
    said = say_value(_name(options), _region(options), key, *others)
    return said, repr(said["value"])


def _delete(options: dict[str, Any]) -> _Said:
    region, keys = _region(options), options["keys"]
    with Asking({_name(options): region}):
        region.delete_multi([*keys, *_of_cache(options, keys)])
    return {"deleted": keys}, ""


def _invalidate(options: dict[str, Any]) -> _Said:
    for kind in _KINDS:
        if not all(options[kind]):
            raise CommandError(f"--{kind} takes {_KINDS[kind]}, not an empty text")
    if not any(options[kind] for kind in _KINDS):
        named = ", ".join(f"--{kind}" for kind in _KINDS)
        raise CommandError(f"name one of {named}; `clear` takes all")
    is_hard = not options["soft"]
    # Before anything is invalidated: one that is misspelt must not do half.
    models = [_model(label) for label in options["model"]]
    for view in options["view"]:
        check_view(view, {})
    calls: list[Callable[[], object]] = [
        *(partial(invalidate_view, each, hard=is_hard) for each in options["view"]),
        *(
            partial(invalidate_fragment, each, hard=is_hard)
            for each in options["fragment"]
        ),
    ]
    if models:
        calls.append(partial(invalidate_model, *models, hard=is_hard))
    if options["tag"]:
        tags = options["tag"]
        calls.append(
            partial(invalidate_everywhere, regions.values(), tags, hard=is_hard)
        )
    with Asking(regions):
        try_all(calls)
    done = {kind: options[kind] for kind in _KINDS if options[kind]}
    return {"invalidated": done, "soft": not is_hard}, ""


def _model(label: str) -> Any:
    name, colon, key = label.partition(":")
    try:
        model = apps.get_model(name)
    except (LookupError, ValueError) as error:
        raise CommandError(
            f"there is no model {name!r}: it takes application and model, as in "
            f"shop.Book{_nearest_model(name)}"
        ) from error
    if not colon:
        return model
    try:
        return model(pk=_key(model, key))
    except (ValidationError, ValueError) as error:
        raise CommandError(
            f"{label!r} names no row: a primary key of {model._meta.label} stands "
            "behind the colon; without the colon all of its rows are meant"
        ) from error


def _key(model: Any, key: str) -> Any:
    if not key:
        raise ValueError(key)
    return model._meta.pk.to_python(key)


def _nearest_model(name: str) -> str:
    """Return the hint at what was meant; an application may have been left out."""
    labels = [model._meta.label for model in apps.get_models()]
    last = name.rpartition(".")[2].lower()
    same = [each for each in labels if each.rpartition(".")[2].lower() == last]
    return near(same[0], same) if same else near(name, labels)


def _clear(options: dict[str, Any]) -> _Said:
    region = _region(options)
    with Asking({_name(options): region}):
        region.invalidate()
    return {"cleared": _name(options)}, ""


_PARTS = {
    "regions": _show_regions,
    "get": _show,
    "delete": _delete,
    "invalidate": _invalidate,
    "clear": _clear,
}
