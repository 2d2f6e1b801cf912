"""What becomes of models, and whose tags that invalidates.

Django tells of each row that is saved or deleted, and of many-to-many relations that
change. It does not tell of rows that a deletion changes elsewhere: those that pointed
to the deleted one by ``SET_NULL`` and its like, and those at the other ends of its
many-to-many relations. They are looked up before it is gone.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.apps import apps
from django.db.models import CASCADE, DO_NOTHING, PROTECT, RESTRICT, Model
from django.db.models.signals import (
    class_prepared,
    m2m_changed,
    post_delete,
    post_save,
    pre_delete,
)

from dogpile.cache.integrations.django.model_tags import (
    check_setting,
    invalidate,
    is_covered,
    relatives,
    tags_of,
)
from dogpile.cache.integrations.django.transactions import when_committed

_UID = "dogpile.cache.changes"
_SIGNALS = (post_save, pre_delete, post_delete, m2m_changed)
# Rows that point to a deleted one are left as they are, or deleted and told about.
_LEAVING: tuple[Any, ...] = (CASCADE, DO_NOTHING, PROTECT, RESTRICT)


class Echo(NamedTuple):
    """Rows of another model that a deletion changes.

    :param model: theirs.
    :param through: of a many-to-many relation; else ``None``.
    :param field: of the model, that points to what is deleted; else ``""``.
    """

    model: type[Model]
    through: type[Model] | None
    field: str


def connect() -> None:
    """Listen to what becomes of the models; once the applications are ready."""
    _listen_to_all()
    class_prepared.connect(_hear_of_model, dispatch_uid=_UID)


def relisten() -> None:
    """Listen anew, after the setting was changed."""
    _echoes.cache_clear()
    for model in apps.get_models(include_auto_created=True):
        for signal in _SIGNALS:
            signal.disconnect(sender=model, dispatch_uid=_UID)
    _listen_to_all()


def _listen_to_all() -> None:
    for model in apps.get_models(include_auto_created=True):
        listen(model)
        if not model._meta.auto_created and _echoes(_concrete(model)):
            # It may be one that is not covered itself.
            pre_delete.connect(_hear_of_deletion, sender=model, dispatch_uid=_UID)
    check_setting()


def listen(model: type[Model]) -> None:
    """Listen to what becomes of a model.

    Only to those that are covered: a model that somebody listens to is deleted
    row by row, because each is told.
    """
    m2m_changed.connect(_hear_of_relation, sender=model, dispatch_uid=_UID)
    if is_covered(_concrete(model)._meta.label) and not model._meta.auto_created:
        post_save.connect(_hear_of_row, sender=model, dispatch_uid=_UID)
        post_delete.connect(_hear_of_row, sender=model, dispatch_uid=_UID)
        pre_delete.connect(_hear_of_deletion, sender=model, dispatch_uid=_UID)


def _hear_of_model(*, sender: type[Model], **_: Any) -> None:
    # Whom it has to do with is not known before others are prepared, too.
    relatives.cache_clear()
    _echoes.cache_clear()
    listen(sender)


def _concrete(model: type[Model]) -> type[Model]:
    return model._meta.concrete_model or model


# Rows


def _hear_of_row(*, instance: Model, using: str, **_: Any) -> None:
    when_committed(tags_of(instance), using, invalidate)


def _hear_of_deletion(*, instance: Model, using: str, **_: Any) -> None:
    """Hear of a row before it is deleted, while others still point to it."""
    tags: set[str] = set()
    for echo in _echoes(_concrete(type(instance))):
        if echo.through is not None:
            keys = _related(echo.through, instance, echo.model, using)
            tags |= _tags_of_keys(echo.model, keys)
        else:
            tags |= _tags_of_pointing(echo, instance, using)
    when_committed(_covered(tags), using, invalidate)


def _tags_of_pointing(echo: Echo, instance: Model, using: str) -> set[str]:
    manager: Any = echo.model._base_manager
    family = relatives(echo.model)
    rows = manager.using(using).filter(**{echo.field: instance})
    attributes = {attribute for _, attribute in family}
    return {
        tag
        for row in rows.values(*attributes)
        for label, attribute in family
        for tag in (label, f"{label}:{row[attribute]}")
    }


@functools.cache
def _echoes(model: type[Model]) -> tuple[Echo, ...]:
    """Return whom the deletion of a row changes, without anybody's telling.

    What points to the model's parents is found when the parents' rows are deleted.
    """
    found = [
        Echo(field.related_model, field.remote_field.through, "")
        for field in model._meta.local_many_to_many
    ]
    near: Any = model._meta.get_fields(include_parents=False, include_hidden=True)
    for relation in near:
        if not relation.auto_created or relation.concrete:
            continue
        other: Any = relation.related_model
        if relation.many_to_many:
            found.append(Echo(other, relation.through, ""))
        elif relation.on_delete not in _LEAVING:
            found.append(Echo(other, None, relation.field.name))
    return tuple(
        echo
        for echo in dict.fromkeys(found)  # one relation may lead to itself
        if is_covered(_concrete(echo.model)._meta.label)
    )


# Many-to-many relations


def _hear_of_relation(
    *,
    sender: type[Model],
    instance: Model,
    action: str,
    model: type[Model],
    pk_set: set[Any] | None,
    using: str,
    **_: Any,
) -> None:
    if action in ("pre_add", "pre_remove", "post_clear"):
        return
    if action == "pre_clear":
        # After it, nothing tells any more whom it had to do with.
        keys = set(_related(sender, instance, model, using))
    else:
        keys = _primary(sender, model, pk_set or set(), using)
    tags = tags_of(instance) | {label for label, _ in relatives(model)}
    tags |= _tags_of_keys(model, iter(keys))
    when_committed(_covered(tags), using, invalidate)


def _tags_of_keys(model: type[Model], keys: Iterator[Any]) -> set[str]:
    labels = [label for label, _ in relatives(model)]
    return {
        tag for key in keys for label in labels for tag in (label, f"{label}:{key}")
    }


def _covered(tags: set[str]) -> set[str]:
    return {tag for tag in tags if is_covered(tag.partition(":")[0])}


def _related(
    through: type[Model], instance: Model, model: type[Model], using: str
) -> Iterator[Any]:
    """Return the keys of the rows of a model that an instance is related to."""
    rows: Any = through._base_manager.using(using)
    targets = _links(through, model)
    for source in _links(through, type(instance)):
        for target in targets:
            if target is source:
                continue
            # By what they point to, which need not be a primary key.
            yield from rows.filter(**{source.name: instance}).values_list(
                f"{target.name}__pk", flat=True
            )


def _primary(
    through: type[Model], model: type[Model], keys: set[Any], using: str
) -> set[Any]:
    """Return the primary keys of rows that a signal names as the relation does."""
    found: set[Any] = set()
    rows: Any = model._base_manager.using(using)
    for link in _links(through, model):
        named = link.target_field
        if named.primary_key:
            found |= keys
        elif keys:
            chosen = rows.filter(**{f"{named.name}__in": keys})
            found.update(chosen.values_list("pk", flat=True))
    return found


def _links(through: type[Model], model: type[Model]) -> list[Any]:
    """Return the fields of a relation that point to rows of a model."""
    return [
        field
        for field in through._meta.fields
        if field.is_relation and _leads_to(field, model)
    ]


def _leads_to(field: Any, model: type[Model]) -> bool:
    other = field.related_model
    return isinstance(other, type) and issubclass(model, other)
