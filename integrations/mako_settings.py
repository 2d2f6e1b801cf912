"""What tags and lookups of Mako say about caching: read, checked, and told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mako.runtime import UNDEFINED  # type: ignore[import-untyped]  # no types

from dogpile.cache import Policy, ValidationError
from dogpile.cache.integrations.options import near, read_seconds, spelled_seconds

#: What may tell apart the versions of a template.
FINGERPRINTS: tuple[str | None, ...] = ("source", "tree", "starttime", None)

# What a tag may say behind `cache_`, beside `key`.
_OF_TAGS = frozenset({"region", "timeout", "grace", "tags", "vary", "fingerprint"})
_OF_ONE = frozenset({"key"})
_BEAKERS = frozenset({"dir", "expire", "manager", "type", "url"})
# What a lookup may be given that begins with `cache_`; Mako's own among it.
_OF_LOOKUPS = frozenset(
    {
        *("cache_regions", "cache_region", "cache_fingerprint"),
        *("cache_args", "cache_impl", "cache_enabled"),
        *("cache_type", "cache_dir", "cache_url"),
    }
)
# What Mako itself puts into a context: seldom what a name was meant to be.
_MAKOS = frozenset(
    {"caller", "capture", "local", "loop", "next", "pageargs", "parent", "self"}
)
_PLAIN = frozenset({int, float})


def check_fingerprint(kind: Any, where: str) -> None:
    """Refuse what is no kind of fingerprint.

    :raises ValidationError: it is none.
    """
    if kind not in FINGERPRINTS and kind != "None":
        raise ValidationError(
            f"{where}: cache_fingerprint takes 'source', 'tree', 'starttime' or None, "
            f"not {kind!r}"
        )


def check_lookup(settings: Mapping[str, Any]) -> None:
    """Refuse what a lookup, or a template, does not take for caching.

    :raises ValidationError: it names the nearest one, or where it belongs.
    """
    for name in settings:
        if not name.startswith("cache_") or name in _OF_LOOKUPS:
            continue
        own = name.removeprefix("cache_")
        hint = near(name, _OF_LOOKUPS)
        if own in _OF_TAGS:
            hint = f": write cache_args={{{own!r}: …}}"
        raise ValidationError(f"a lookup takes no {name}={hint}")
    given = settings.get("cache_args")
    if given is not None and not isinstance(given, Mapping):
        raise ValidationError(
            "cache_args takes a dictionary of what tags may say, such as "
            f"{{'timeout': 60}}, not {given!r}"
        )
    check_arguments(given or {}, "the lookup")


def check_arguments(given: Mapping[str, Any], where: str) -> None:
    """Refuse of ``cache_args`` what only a tag may say.

    :param where: it was found, for the error.
    :raises ValidationError: there is such an argument.
    """
    for name in _OF_ONE.intersection(given):
        raise ValidationError(
            f"{where}: cache_args takes no {name!r}, which would be that of every "
            f"section: write cache_{name} in the section's tag"
        )


def unknown_of_tag(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a tag has said that nothing understands, each with a hint."""
    found = []
    for name in settings.keys() - _OF_TAGS:
        # The lookup's regions come with it; those of a tag are a mistake.
        if name == "regions" and not isinstance(settings[name], str):
            continue
        hint = near(f"cache_{name}", [f"cache_{each}" for each in _OF_TAGS])
        if name in _BEAKERS:
            hint = ", which is Beaker's: here a region has it"
        found.append((name, f"nothing understands cache_{name}{hint}"))
    return found


def names_of(option: str, given: Any, where: str) -> list[str]:
    """Return names, given as a text with commas, or one by one.

    :param option: what they were given as.
    :param where: the template, for the error.
    :raises ValidationError: they are none.
    """
    if given is None:
        return []
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        given = str(given)  # a text of which an expression is all
    if not isinstance(given, (str, Iterable)):
        raise ValidationError(
            f"{where}: {option} takes names, parted by commas, not {given!r}"
        )
    parts = given.split(",") if isinstance(given, str) else given
    return [str(part).strip() for part in parts if str(part).strip()]


def value_of(path: str, context: Any, where: str) -> Any:
    """Return what a section varies by.

    :param path: a name in the context, and what is asked of its value.
    :param where: the template and the section, for the error.
    :raises ValidationError: the context, or the value, has nothing of that name:
        all who are to be told apart would get one text.
    """
    name, *steps = path.split(".")
    try:
        value = context[name]
    except KeyError:
        value = UNDEFINED
    if value is UNDEFINED:
        hint = near(name, {*context.keys()} - _MAKOS)
        raise ValidationError(
            f"{where} has cache_vary={path!r}, and the context has no {name!r}{hint}; "
            "give it to render(), None where there is none"
        )
    for step in steps:
        try:
            value = getattr(value, step)
        except AttributeError as error:
            raise ValidationError(
                f"{where} has cache_vary={path!r}: {error}"
            ) from error
    return value


def seconds_of(option: str, given: Any, where: str) -> Any:
    """Return a duration in seconds.

    :param option: what it was given as.
    :param given: a number, or a text such as ``"5m"``; a timeout of -1 is for
        ever, as in 1.x.
    :param where: the template, for the error.
    :raises ValidationError: it is none, or negative.
    """
    if type(given) in _PLAIN and given >= 0:
        return given
    try:
        if option == "cache_timeout" and spelled_seconds(option, given) == -1:
            return None
        read = read_seconds(option, given)
        return Policy().merged({"grace": read}).grace
    except ValidationError as error:
        told = str(error).replace("grace is not", f"{option} is not", 1)
        raise ValidationError(f"{where}: {told}") from None


def whole_seconds(given: str) -> str:
    """Return a timeout as Mako takes it in a tag: in digits.

    :raises ValidationError: it says no whole seconds.

    >>> whole_seconds("5m"), whole_seconds("60")
    ('300', '60')
    """
    text = given.strip()
    if text == "-1" or text.isdigit():
        return given
    read = read_seconds("cache_timeout", text)
    if read is None or read != int(read):
        raise ValidationError(f"cache_timeout takes whole seconds, not {given!r}")
    return str(int(read))
