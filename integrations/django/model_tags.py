"""Models as tags: their names, and what invalidates them.

A model class in ``tags=`` stands for the tag ``app.Book``, an instance for
``app.Book:pk``. Both are invalidated when a transaction has committed whose signals
have told of a change. ``update()``, ``bulk_create()``, raw SQL and other programs send
no signals: call :func:`invalidate_model` after those.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable
from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.db import router
from django.db.models import Manager, Model, QuerySet

from dogpile.cache import BackendError, ConfigurationError, ValidationError
from dogpile.cache.integrations.django.handler import MODEL_TAGS, WHERE, regions
from dogpile.cache.integrations.django.transactions import when_committed
from dogpile.cache.integrations.options import near

log: logging.Logger = logging.getLogger(__name__)

# Written at each request of some sites, and the content of no page.
_UNTAGGED = frozenset({"sessions.Session", "admin.LogEntry"})


# Names


def tag_names(tags: Any) -> tuple[str, ...]:
    """Return the names of tags: of models, of their instances, and of texts.

    :param tags: one of them, or several.
    :raises ValidationError: one of them is none of these.
    """
    return tuple(_name_of(tag) for tag in listed(tags))


def listed(tags: Any) -> list[Any]:
    """Return tags as a list, given one or several.

    :raises ValidationError: they are neither.
    """
    if tags is None:
        return []
    if isinstance(tags, (str, Model)) or callable(tags):
        return [tags]
    if not isinstance(tags, Iterable):
        raise ValidationError(_no_tag(tags))
    return list(tags)


def _name_of(tag: Any) -> str:
    if isinstance(tag, str):
        return tag
    if isinstance(tag, Model):
        if tag.pk is None:
            raise ValidationError(
                f"a {tag._meta.label} without a primary key is no tag: save it first"
            )
        return f"{model_tag(type(tag))}:{tag.pk}"
    if isinstance(tag, type) and issubclass(tag, Model):
        return model_tag(tag)
    raise ValidationError(_no_tag(tag))


def _no_tag(tag: object) -> str:
    return (
        "tags takes names, models, instances of models, or functions that return "
        f"those, not a {type(tag).__name__}"
    )


def model_tag(model: type[Model]) -> str:
    """Return the tag of a model: ``app.Book``; of a proxy it is its model's.

    :raises ValidationError: nothing would invalidate it.
    """
    options = model._meta
    if options.abstract:
        raise ValidationError(
            f"{model.__name__} is abstract, so that nothing is saved as it: name the "
            "models that inherit from it"
        )
    concrete = options.concrete_model or model
    label: str = concrete._meta.label
    if not is_covered(label):
        raise ValidationError(
            f"nothing would invalidate the tag of {label}: {MODEL_TAGS} in {WHERE} "
            "leaves it out"
        )
    return label


def is_covered(label: str) -> bool:
    """Return whether changes of a model invalidate its tags.

    :param label: such as ``"app.Book"``.
    :raises ConfigurationError: the setting is no use.
    """
    chosen = getattr(settings, MODEL_TAGS, True)
    if chosen is True:
        return label not in _UNTAGGED
    if not chosen:
        return False
    if isinstance(chosen, str) or not isinstance(chosen, Iterable):
        raise ConfigurationError(
            f"{MODEL_TAGS} in {WHERE} takes True, False, or a list of applications "
            'and models, such as ["shop", "blog.Post"]'
        )
    names = {str(name).lower() for name in chosen}
    return label.lower() in names or label.partition(".")[0].lower() in names


def check_setting() -> None:
    """Check that the setting names what there is.

    :raises ConfigurationError: it does not; it names the nearest that there is.
    """
    chosen = getattr(settings, MODEL_TAGS, True)
    known = {config.label for config in apps.get_app_configs()}
    known |= {model._meta.label for model in apps.get_models()}
    lowered = {name.lower() for name in known}
    for name in () if isinstance(chosen, (bool, str)) else chosen or ():
        if str(name).lower() not in lowered:
            raise ConfigurationError(
                f"{MODEL_TAGS} in {WHERE}: there is neither an application nor a "
                f"model {name!r}{near(name, known)}"
            )


@functools.cache
def relatives(model: type[Model]) -> tuple[tuple[str, str], ...]:
    """Return what a row of a model is one of: labels, attributes of keys.

    A row of a model that inherits from another has columns there; and what
    inherits from it shows its columns, under keys that are not known here.
    """
    concrete = model._meta.concrete_model or model
    found = {concrete._meta.label: concrete._meta.pk.attname}
    for parent in concrete._meta.get_parent_list():
        of_parent = parent._meta.concrete_model or parent
        found[of_parent._meta.label] = of_parent._meta.pk.attname
    for other in apps.get_models():
        if concrete in other._meta.get_parent_list() and not other._meta.proxy:
            found.setdefault(other._meta.label, concrete._meta.pk.attname)
    return tuple(found.items())


def tags_of(instance: Model) -> set[str]:
    """Return the tags that a change of a row invalidates."""
    tags = set()
    for label, attribute in relatives(type(instance)):
        tags |= {label, f"{label}:{getattr(instance, attribute, None)}"}
    return tags


# Invalidation


def invalidate_model(
    *models: type[Model] | Model, using: str | None = None, hard: bool = True
) -> None:
    """Invalidate what has the tags of models, or of instances.

    For what sends no signals: ``update()``, ``bulk_create()``, raw SQL. Inside
    a transaction it waits for the commit, and what has the tags is neither read
    nor stored until then.

    :param models: a class stands for all that has the tag of the class, an
        instance for its own tag and the one of its class.
    :param using: the alias of the database whose commit is waited for; without,
        the one that the model is written to.
    :param hard: the values are gone; else they are stale.
    """
    chosen = invalidate if hard else _invalidate_softly
    for each in models:
        # All of them before anything is invalidated.
        model_tag(_model_of(each))
    for each in models:
        model = _model_of(each)
        if isinstance(each, Model):
            tags = tags_of(each)
        else:
            tags = {label for label, _ in relatives(each)}
        when_committed(tags, using or router.db_for_write(model), chosen)


def _model_of(given: Any) -> type[Model]:
    if isinstance(given, Model):
        return type(given)
    if isinstance(given, type) and issubclass(given, Model):
        return given
    hint = ""
    if isinstance(given, str):
        hint = "; a name is a tag, which invalidate_tags() of a region takes"
    elif isinstance(given, (QuerySet, Manager)):
        hint = f"; name its model, {given.model.__name__}, or give its rows with *"
    raise ValidationError(
        f"invalidate_model() takes models and instances of them, not {_shown(given)}"
        f"{hint}"
    )


def _shown(given: Any) -> str:
    if isinstance(given, (str, int, float, type(None))):
        return repr(given)
    return f"a {type(given).__name__}"


async def ainvalidate_model(
    *models: type[Model] | Model, using: str | None = None, hard: bool = True
) -> None:
    """Invalidate what has the tags of models; twin of ``invalidate_model()``."""
    await sync_to_async(invalidate_model)(*models, using=using, hard=hard)


def _invalidate_softly(tags: set[str]) -> None:
    invalidate(tags, hard=False)


def invalidate(tags: set[str], *, hard: bool = True) -> None:
    """Invalidate tags in every region of the project."""
    names = sorted(tags)
    done: set[int] = set()
    for name in regions:
        region = regions[name]
        if id(region) in done:
            continue
        done.add(id(region))
        try:
            region.invalidate_tags(*names, hard=hard)
        except BackendError as error:
            # What was committed stays so: the request must not fail for it.
            log.error(  # noqa: TRY400 - the cause is named
                "region %r could not be told that %s changed, and may serve what was "
                "before until it expires: %s",
                name,
                ", ".join(names),
                error,
            )
