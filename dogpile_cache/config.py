"""From settings to the parts of a region: coercion, and the backend's making."""

from __future__ import annotations

import enum
import re
import sys
import warnings
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from dogpile.cache.api import BytesBackend, CacheBackend, missing_methods
from dogpile.cache.codecs import CODEC_SETTINGS, SECRET_SETTINGS, build_chain
from dogpile.cache.exception import ConfigurationError, ValidationError
from dogpile.cache.policy import POLICY_FIELDS
from dogpile.cache.proxy import OUR_BACKENDS, ProxyBackend
from dogpile.cache.registry import BACKENDS

#: The settings of a region beside its policy and its codec.
REGION_SETTINGS = frozenset(
    {"backend", "arguments", "wrap", "replace_existing_backend", "generation_ttl"}
)

# Policy fields whose text may have a unit, such as "5m".
_DURATIONS = frozenset(
    {
        "expiration_time",
        "grace",
        "soft_timeout",
        "hard_timeout",
        "lease_time",
        "retry_after",
        "max_clock_skew",
        "generation_ttl",
    }
)
# Settings that are text, even if they look like a number.
_TEXTS = frozenset(
    {
        "backend",
        "encryption_key",
        "filename",
        "host",
        "password",
        "service_name",
        "signing_key",
        "synchronous",
        "url",
        "username",
        "version",
        "wrap",
    }
)
_UNITS = {
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 7 * 86400.0,
}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*\Z")
_WORDS: Mapping[str, Any] = {
    "true": True,
    "yes": True,
    "on": True,
    "false": False,
    "no": False,
    "off": False,
    "none": None,
}


_HERE = "dogpile.cache."
_EXAMPLES = {
    "sentinels": "['10.0.0.1:26379']",
    "startup_nodes": "['10.0.0.1:6379']",
    "host": "'10.0.0.1'",
    "url": "'10.0.0.1'",
    "filename": "'/path/of/a/file'",
    "max_entries": 1000,
}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dogpile.cache.codecs import Chain


class Parts(NamedTuple):
    """What a region is made of.

    :param backend: the outermost proxy, or the backend itself.
    :param actual: the backend inside.
    :param coder: for a backend of bytes.
    """

    backend: CacheBackend
    actual: CacheBackend
    coder: Chain | None


class Unknown(enum.Enum):
    """What is made of arguments that a backend does not know."""

    #: 1.x took any: they are told of, but for one that is spelled like a known one.
    TOLD = enum.auto()
    #: Of a file, that other programs may share: one alone that no backend knows is
    #: a mistake, too.
    WEIGHED = enum.auto()
    #: Each is a mistake.
    REFUSED = enum.auto()


def assemble(
    backend: Any,
    arguments: Any,
    *,
    wrap: Iterable[Any],
    codec: Mapping[str, Any],
    context: str,
    unknown: Unknown = Unknown.TOLD,
) -> Parts:
    """Make a backend, its proxies and its codec.

    :param backend: the backend's name, or its class.
    :param arguments: for the backend's constructor.
    :param wrap: proxies, as classes or instances; the first is the outermost.
    :param codec: settings of the codec.
    :param context: what stored values are bound to: the region's name.
    :param unknown: what is made of arguments that the backend does not know; but
        for ``TOLD`` they stood in a file.
    :raises ConfigurationError: something in there is no use.
    """
    kind = backend_class(backend)
    given = {} if arguments is None else arguments
    if isinstance(given, Mapping):
        _check_arguments(kind, given, unknown)
    elif str(getattr(kind, "__module__", "")).startswith(OUR_BACKENDS):
        # Others may take what they like, as they could in 1.x.
        raise ValidationError(
            f"arguments= of {_name(backend)} must be a dictionary, as in "
            f"arguments={{{_example(kind)}}}, not of type {type(given).__name__}"
        )
    actual = kind(given) if unknown is Unknown.TOLD else _made(kind, given)
    if not isinstance(actual, CacheBackend):
        raise ConfigurationError(
            f"backend {backend!r} made something of type {type(actual).__name__}, no "
            "CacheBackend: derive the class from dogpile.cache.CacheBackend"
        )
    outer = actual
    for proxy in reversed(list(wrap)):
        outer = wrapped(proxy, outer)
    coder = _coder(actual, codec, context)
    if coder is not None and coder.is_unguarded_pickle and outer is actual:
        trust_values(outer, is_trusting=True)
    return Parts(outer, actual, coder)


def trust_values(backend: Any, *, is_trusting: bool) -> None:
    """Say of a backend whether its client may make values of what it reads.

    It may where the region pickles, signs nothing, and has no proxy that might
    look at the bytes first.
    """
    while hasattr(backend, "proxied"):
        backend = backend.proxied
    trust = getattr(backend, "trust_values", None)
    if trust is not None:
        trust(is_trusting=is_trusting)


def _example(kind: Any) -> str:
    """Return an argument that shows what the arguments of a backend look like."""
    known: frozenset[str] = kind.argument_names
    for name, value in _EXAMPLES.items():
        if name in known:
            return f"{name!r}: {value}"
    return ""


def _made(kind: Any, arguments: Any) -> Any:
    """Make a backend from configuration, in its own way if it has one (1.x)."""
    own = getattr(kind, "from_config_dict", None)
    inherited = CacheBackend.from_config_dict.__func__  # type: ignore[attr-defined]
    if own is None or getattr(own, "__func__", None) is inherited:
        return kind(arguments)
    start = "arguments."
    return own({f"{start}{name}": value for name, value in arguments.items()}, start)


def argument(arguments: Any, name: str) -> Any:
    """Return an argument of a backend, or ``None``."""
    return arguments.get(name) if isinstance(arguments, Mapping) else None


def backend_class(backend: Any) -> Any:
    """Return the class of a backend.

    :param backend: its name, or the class.
    :raises PluginNotFound: no backend has that name.
    :raises ConfigurationError: it lacks one of the three methods.
    """
    kind = BACKENDS.load(backend) if isinstance(backend, str) else backend
    if isinstance(kind, type):
        missing = list(missing_methods(kind))
        if missing:
            raise ConfigurationError(
                f"backend {_name(backend)} ({kind.__module__}.{kind.__qualname__}) "
                f"has no method {' and no method '.join(f'{m}()' for m in missing)}: "
                "a backend needs get(key), put(key, value) and delete(key)"
            )
    elif not callable(kind):
        raise ConfigurationError(
            f"backend takes a name or a class, not the type {type(kind).__name__}"
        )
    return kind


def _name(backend: Any) -> str:
    return repr(backend) if isinstance(backend, str) else backend.__name__


def _check_arguments(kind: Any, arguments: Mapping[str, Any], unknown: Unknown) -> None:
    known: frozenset[str] = getattr(kind, "argument_names", frozenset())
    if not known:
        return  # a backend of somebody else's, who checks it
    others = [str(name) for name in arguments if name not in known]
    if not others:
        return
    for name in others:
        near = get_close_matches(name, known, n=1, cutoff=0.7)
        if near:
            raise ValidationError(
                _unknown_text(kind, [name], f"; did you mean {near[0]!r}?")
            )
    text = _unknown_text(kind, others)
    if unknown is Unknown.REFUSED:
        raise ValidationError(text)
    is_alone = unknown is Unknown.WEIGHED and len(others) == 1
    if is_alone and not BACKENDS.has_argument(others[0]):
        raise ValidationError(text)
    # Programs share one set between backends.
    warnings.warn(text, UserWarning, stacklevel=_outside())


def _outside() -> int:
    """Return how far up the stack, for a warning, this package ends."""
    level, frame = 1, sys._getframe(1).f_back  # noqa: SLF001 - as warnings do
    while frame is not None and str(frame.f_globals.get("__name__")).startswith(_HERE):
        level, frame = level + 1, frame.f_back
    return level + 1


def _unknown_text(kind: Any, names: list[str], hint: str = "") -> str:
    told = ", ".join(map(repr, names))
    some = f"argument {told}" if len(names) == 1 else f"argument of {told}"
    known = ", ".join(sorted(kind.argument_names))
    return f"{kind.__name__} knows no {some}{hint} (known: {known})"


def wrapped(proxy: Any, backend: CacheBackend) -> CacheBackend:
    """Return a backend inside a proxy.

    :param proxy: a ``ProxyBackend`` class or instance.
    :raises ValidationError: it is neither.
    """
    kind = proxy if isinstance(proxy, type) else type(proxy)
    if not issubclass(kind, ProxyBackend):
        raise ValidationError(
            f"wrap takes ProxyBackend classes or instances, and {kind.__name__} is none"
        )
    made: ProxyBackend = proxy() if kind is proxy else proxy
    return made.wrap(backend)


def _coder(
    actual: CacheBackend, codec: Mapping[str, Any], context: str
) -> Chain | None:
    given = {name: value for name, value in codec.items() if value is not None}
    own = actual.serializer
    if own is None and not given:
        return None
    if own is None and "serializer" not in given and "deserializer" not in given:
        raise ConfigurationError(
            f"{type(actual).__name__} stores objects, not bytes, so that "
            f"{', '.join(sorted(given))} would have no effect; name a serializer, "
            "or use dogpile.cache.memory_pickle"
        )
    if own is not None and own is not BytesBackend.serializer:
        given.setdefault("serializer", own)
        given.setdefault("deserializer", actual.deserializer)
    return build_chain(given, context=context)


def read_settings(
    config: Mapping[str, Any], prefix: str, *, strict: bool = False
) -> dict[str, Any]:
    """Read the settings of one region.

    :param config: flat keys that bear the prefix, or nested mappings.
    :param prefix: as in ``"cache.local."``; its last dot may be left out.
    :param strict: without a prefix, refuse what may be for others, too.
    :return: the settings by name; the arguments as one mapping.
    :raises ValidationError: a name that nothing understands, or no backend.
    """
    if not isinstance(config, Mapping):
        raise ValidationError(
            "the settings must be a mapping, as of a file's section, not of type "
            f"{type(config).__name__}"
        )
    prefix = (prefix or "").rstrip(".")
    start = f"{prefix}." if prefix else ""
    settings: dict[str, Any] = {}
    arguments: dict[str, Any] = {}
    nested = _descend(config, prefix)
    flat = {
        name[len(start) :]: value
        for name, value in config.items()
        if str(name).startswith(start)
    }
    for name, value in {**nested, **flat}.items():
        if nested is config and isinstance(value, Mapping) and name != "arguments":
            continue
        if name == "arguments" and isinstance(value, Mapping):
            arguments.update(
                (each, coerce(each, given)) for each, given in value.items()
            )
        elif name == "arguments" and value is not None:
            raise ValidationError(
                f"{start}arguments must be a mapping, not of type "
                f"{type(value).__name__}; flat, one of them is {start}arguments.NAME"
            )
        elif name.startswith("arguments."):
            each = name.removeprefix("arguments.")
            arguments[each] = coerce(each, value)
        elif name in _KNOWN:
            settings[name] = coerce(name, value)
        elif start or strict or get_close_matches(name, _KNOWN, n=1):
            raise ValidationError(_unknown(start, name))
        else:
            # Nothing sets a region's own apart there: the rest is the program's.
            warnings.warn(_unknown(start, name), UserWarning, stacklevel=_outside())
    if "backend" not in settings:
        raise ValidationError(_without_backend(f"{start}backend", config))
    settings["arguments"] = arguments
    return settings


_KNOWN = REGION_SETTINGS | POLICY_FIELDS | CODEC_SETTINGS


def _without_backend(name: str, config: Mapping[str, Any]) -> str:
    # The prefix is misspelt more often than the setting is left out.
    others = [str(other) for other in config if str(other).endswith("backend")]
    near = get_close_matches(name, others, n=1)
    hint = f"; did you mean the prefix of {near[0]!r}?" if near else ""
    return f"there is no setting {name}, and a region needs one{hint}"


def _unknown(start: str, name: str) -> str:
    near = get_close_matches(name, _KNOWN, n=1)
    hint = f"; did you mean {start + near[0]!r}?" if near else ""
    return (
        f"nothing understands the setting {start + name!r}{hint} "
        f"(known: {', '.join(sorted(_KNOWN))}, and arguments.…)"
    )


def _descend(config: Mapping[str, Any], prefix: str) -> Mapping[str, Any]:
    """Return the nested mapping that a dotted prefix leads to, if any."""
    found: Any = config
    whole = config.get(prefix)
    if isinstance(whole, Mapping):
        return whole
    for step in prefix.split(".") if prefix else ():
        found = found.get(step) if isinstance(found, Mapping) else None
    if not prefix:
        return {}
    return found if isinstance(found, Mapping) else {}


def coerce(name: str, value: Any) -> Any:
    """Return the value that a text stands for, as it comes from a file.

    :param name: the setting's; some are text whatever they look like.

    >>> coerce("expiration_time", "5m"), coerce("max_entries", "100")
    (300.0, 100)
    >>> coerce("url", "127.0.0.1, 10.0.0.1"), coerce("filename", "7")
    (['127.0.0.1', '10.0.0.1'], '7')
    """
    if not isinstance(value, str) or name in SECRET_SETTINGS:
        return value
    text = value.strip()
    if name in ("url", "wrap") and "," in text:
        return [part.strip() for part in text.split(",") if part.strip()]
    if text.lower() == "none":
        return None
    if name in _TEXTS:
        return text
    if name == "tags":
        return [part.strip() for part in text.split(",") if part.strip()]
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    number = _number(name, text)
    return value if number is None else number


def _number(name: str, text: str) -> float | None:
    if name in _DURATIONS or "time" in name:
        match = _DURATION.match(text)
        if match is not None:
            return float(match[1]) * _UNITS[match[2]]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def load_proxies(names: Any) -> list[Any]:
    """Return proxies that settings name by their import paths.

    :param names: paths like ``"mypackage.proxies:LoggingProxy"``, or what
        ``wrap`` takes anyway.
    """
    from importlib import import_module

    if names is None:
        return []
    proxies = []
    if isinstance(names, str):
        names = [names]
    if not isinstance(names, Iterable):
        raise ValidationError(
            "wrap= must be a list of ProxyBackend classes, instances or import paths, "
            f"not of type {type(names).__name__}"
        )
    for each in names:
        if not isinstance(each, str):
            proxies.append(each)
            continue
        module, _, attribute = each.replace(":", ".").rpartition(".")
        try:
            proxies.append(getattr(import_module(module), attribute))
        except (ImportError, AttributeError, ValueError) as error:
            raise ValidationError(
                f"wrap names {each!r}, which cannot be imported: {error} (a path is "
                "'package.module:Class')"
            ) from error
    return proxies
