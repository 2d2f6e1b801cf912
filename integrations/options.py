"""What decorators and tags are given: checked where it is written, by its name."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from dogpile.cache import CacheRegion, Clock, Policy, ValidationError

#: What a policy takes, wherever options are given.
POLICY: frozenset[str] = frozenset(field.name for field in dataclasses.fields(Policy))
#: What a cached view takes.
OF_VIEWS: frozenset[str] = POLICY | {
    *("region", "vary", "query", "unless", "response_filter", "key"),
}
#: What a function that remembers takes.
OF_FUNCTIONS: frozenset[str] = POLICY | {
    *("region", "namespace", "key", "ignore", "to_str", "function_key_generator"),
}

# From what others call an option to what it is here.
_ELSEWHERE = {
    "cache": "region",
    "cache_timeout": "expiration_time",
    "key_prefix": "key",
    "make_cache_key": "key",
    "query_string": "query",
    "timeout": "expiration_time",
    "vary_on_headers": "vary",
}
_LIFETIMES = frozenset({"expiration_time", "cache_timeout"})
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS["w"] = 7 * _UNITS["d"]
_DURATION = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w|)\s*").fullmatch
_FLAGS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0", "none", ""), False),
}


def near(wrong: object, known: Iterable[str]) -> str:
    """Return the hint at what was meant by a misspelt name; ``""`` for none.

    >>> near("regoin", ["region", "tags"])
    "; did you mean 'region'?"
    """
    found = get_close_matches(str(wrong), list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def shown(value: object) -> str:
    """Return a setting as an error may show it: a server's URL has a password.

    >>> shown("redis://:secret@localhost"), shown(["u:secret@host"]), shown(5)
    ("'…@localhost'", 'a list', '5')
    """
    text = repr(value)
    if "@" not in text:
        return text
    if isinstance(value, str):
        return repr(f"…{value[value.rindex('@') :]}")
    return f"a {type(value).__name__}"


def refuse_unknown(what: str, given: Iterable[str], known: Collection[str]) -> None:
    """Refuse an option that there is not.

    :param what: takes the options, as the error says it.
    :raises ValidationError: there is no such option; it names the nearest one.
    """
    for name in given:
        if name in known:
            continue
        meant = _ELSEWHERE.get(name, "")
        hint = f"; here it is {meant!r}" if meant in known else near(name, known)
        raise ValidationError(
            f"{what} has no option {name!r}{hint} (known: {', '.join(sorted(known))})"
        )


def read_text(name: str, value: Any, what: str) -> Any:
    """Return a text, or ``None``.

    :param what: it takes, as the error says it.
    :raises ValidationError: it is neither.
    """
    if value is None or isinstance(value, str):
        return value
    raise ValidationError(f"{name} takes {what}, not {shown(value)}")


def read_function(name: str, value: Any, what: str) -> Any:
    """Return a function, or ``None``.

    :param what: it takes, as the error says it.
    :raises ValidationError: it is neither.
    """
    if value is None or callable(value):
        return value
    raise ValidationError(f"{name} takes {what}, not {value!r}")


def check_call(name: str, given: Any, count: int) -> None:
    """Refuse a function that cannot be called as it will be.

    :param count: the number of arguments that it is given.
    :raises ValidationError: it takes another number.
    """
    try:
        inspect.signature(given).bind(*(None,) * count)
    except ValueError:
        return  # one of C's, that says nothing of itself
    except TypeError as error:
        if not callable(given):
            return
        what = "no argument" if count == 0 else "one argument"
        raise ValidationError(
            f"{name} takes a function that is called with {what}: {error}"
        ) from None


def read_names(name: str, value: Any, what: str) -> tuple[Any, ...]:
    """Return several texts, given one or several, or ``None``.

    :param what: it takes, as the error says it.
    :raises ValidationError: they are none.
    """
    given = () if value is None else (value,) if isinstance(value, str) else value
    found = tuple(given) if isinstance(given, Iterable) else (None,)
    if all(isinstance(each, str) and each for each in found):
        return found
    raise ValidationError(f"{name} takes {what}, not {value!r}")


def read_tags(value: Any) -> tuple[Any, ...]:
    """Return the tags of a view or of a function as a tuple.

    :raises ValidationError: one is neither a text nor a function.
    """
    is_one = isinstance(value, str) or callable(value)
    given = () if value is None else (value,) if is_one else value
    found = tuple(given) if isinstance(given, Iterable) else (None,)
    if all((isinstance(each, str) and each) or callable(each) for each in found):
        return found
    raise ValidationError(
        f"tags takes names, format strings such as 'user:{{id}}', or functions of the "
        f"arguments, not {value!r}"
    )


def read_seconds(name: str, value: Any) -> Any:
    """Return a duration as a policy takes it: a text such as ``"5m"`` is read.

    :raises ValidationError: it is a text of another kind, or negative.

    >>> read_seconds("grace", "5m"), read_seconds("grace", 7)
    (300.0, 7)
    """
    found = spelled_seconds(name, value)
    refuse_negative({name: found})
    return found


def spelled_seconds(name: str, value: Any) -> Any:
    """Return what a text such as ``"5m"`` says in seconds; else the value itself.

    :raises ValidationError: it is a text of another kind.
    """
    if not isinstance(value, str):
        return value
    if value.strip().lower() == "none":
        return None
    read = _DURATION(value)
    if read is None:
        raise ValidationError(
            f"{name} takes seconds, or a text such as '30s', '5m' or '2h', "
            f"not {value!r}"
        )
    return float(read[1]) * _UNITS[read[2]]


def refuse_negative(options: Mapping[str, Any]) -> None:
    """Refuse a number below 0, -1 included, which regions take for "never" (1.x).

    :raises ValidationError: one of the options is such a number.
    """
    for name, value in options.items():
        if name != "version" and isinstance(value, (int, float)) and value < 0:
            none = "None for ever" if name in _LIFETIMES else "None"
            raise ValidationError(
                f"{name} is {value:g}: it takes seconds from 0 on, or {none}"
            )


def read_view(fn: Any) -> Any:
    """Return what is decorated as a view.

    :raises ValidationError: it is none.
    """
    if callable(fn) and not isinstance(fn, type):
        return fn
    if isinstance(fn, type):
        raise ValidationError(
            f"{fn.__name__} is a class: decorate its method, or what as_view() returns"
        )
    raise ValidationError(f"a view is decorated, a function or a method, not {fn!r}")


def readable_twice(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a function, of which none is used up by being read.

    >>> readable_twice({"tags": map(str, [1, 2])})
    {'tags': ('1', '2')}
    """
    return {
        name: tuple(value) if isinstance(value, Iterator) else value
        for name, value in options.items()
    }


def check_function(fn: Any, region: Any, options: Mapping[str, Any]) -> None:
    """Check what a function that remembers is decorated with.

    :param region: the name of one.
    :raises ValidationError: something of it is no use.
    """
    if not callable(fn) and not isinstance(fn, (classmethod, staticmethod)):
        raise ValidationError(
            f"a function is decorated, not {fn!r}: write @cache.memoize() above it, "
            "with its parentheses"
        )
    refuse_unknown("a function that remembers", options, OF_FUNCTIONS)
    read_text("region", region, "the name of a region")
    refuse_negative(options)
    read_tags(options.get("tags"))
    read_names("ignore", options.get("ignore"), "names of parameters")
    if not isinstance(options.get("key"), str):
        read_function("key", options.get("key"), "a format string or a function")
    for name in ("to_str", "function_key_generator"):
        read_function(name, options.get(name), "a function")
    Policy().merged({"version": options.get("version")})
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise ValidationError(
            f"{fn.__qualname__}() is a generator, which is read once: return a list"
        )
    # Says what else is wrong: a region that has no backend decorates as any other.
    CacheRegion().cache_on_arguments(**options)(fn)


def take_made_with(settings: dict[str, Any]) -> dict[str, Any]:
    """Take what a region is made with out of its settings, and check it.

    The others are those of ``configure()``.

    :raises ValidationError: something of it is no use, or misspelt.
    """
    for name in settings:
        if not isinstance(name, str):
            raise ValidationError(f"a setting has a text for a name, not {name!r}")
        close = get_close_matches(name, _MADE_WITH, n=1, cutoff=0.85)
        if close and name not in _MADE_WITH:
            raise ValidationError(
                f"nothing understands the setting {name!r}; did you mean {close[0]!r}?"
            )
    found = {name: settings.pop(name) for name in _MADE_WITH.keys() & settings.keys()}
    return {name: _MADE_WITH[name](name, value) for name, value in found.items()}


def _read_clock(name: str, value: Any) -> Any:
    if isinstance(value, Clock):
        return value
    raise ValidationError(f"{name} takes a dogpile.cache.Clock, not {value!r}")


def _read_callable(name: str, value: Any) -> Any:
    return read_function(name, value, "a function")


def read_flag(name: str, value: Any) -> bool:
    """Return a setting that is on or off; of the environment it is a text.

    :param name: the setting's, with the place where it was found.
    :raises ValidationError: it is neither.
    """
    found = _FLAGS.get(str(value).strip().lower())
    if found is None or not isinstance(value, (bool, int, str, type(None))):
        raise ValidationError(f"{name} takes True or False, not {value!r}")
    return found


def _read_mangler(name: str, value: Any) -> Any:
    """Return a function, or whether there is one (1.x)."""
    if isinstance(value, bool) or str(value).strip().lower() in _FLAGS:
        return read_flag(name, value)
    return read_function(name, value, "a function, True or False")


_MADE_WITH: Mapping[str, Callable[[str, Any], Any]] = {
    "async_creation_runner": _read_callable,
    "clock": _read_clock,
    "function_key_generator": _read_callable,
    "function_multi_key_generator": _read_callable,
    "ignore_expiration": read_flag,
    "key_mangler": _read_mangler,
    "statistics": read_flag,
}
