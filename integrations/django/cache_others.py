"""What other backends of Django call their ``OPTIONS``, and where that stands here."""

from __future__ import annotations

from collections.abc import Iterable

from dogpile.cache import ValidationError

_POOL = "as a parameter of the URL, such as ?max_connections=100"
_PLACES = {
    "CLIENT_CLASS": "nowhere: leave it out; sentinels and clusters have "
    "OPTIONS['backend'], as 'dogpile.cache.redis_sentinel'",
    "COMPRESSOR": "in OPTIONS['compressor'], as 'zlib', 'lz4' or 'zstd'",
    "CONNECTION_FACTORY": "nowhere: leave it out",
    "CONNECTION_POOL_CLASS": _POOL,
    "CONNECTION_POOL_KWARGS": _POOL,
    "IGNORE_EXCEPTIONS": "nowhere: it is the default, and "
    "OPTIONS['on_backend_error'] = 'raise' is the opposite",
    "LOG_IGNORED_EXCEPTIONS": "nowhere: listen to the event backend_error",
    "MAX_CONNECTIONS": _POOL,
    "PARSER_CLASS": "in OPTIONS['arguments']['connection_kwargs']",
    "PICKLE_VERSION": "nowhere: leave it out",
    "POOL_CLASS": _POOL,
    "SENTINELS": "in OPTIONS['arguments'], with OPTIONS['backend'] = "
    "'dogpile.cache.redis_sentinel'",
    "SENTINEL_KWARGS": "in OPTIONS['arguments']['sentinel_kwargs']",
    "SERIALIZER": "in OPTIONS['serializer'], as 'pickle', 'json' or 'msgpack'",
}
# In one case or the other, these are arguments of the backend by their own names.
_ARGUMENTS = frozenset(
    {"db", "host", "password", "port", "username"}
    | {"socket_connect_timeout", "socket_keepalive", "socket_timeout"}
)
# What is meant in one case only: in the other it is an option here.
_UPPER_ONLY = frozenset({"COMPRESSOR", "SERIALIZER"})


def refuse_others(options: Iterable[object]) -> None:
    """Refuse an option of another backend.

    :raises ValidationError: there is one; it says where the same stands here.
    """
    for name in options:
        place = _place_of(str(name))
        if place:
            raise ValidationError(f"OPTIONS[{name!r}] stands here {place}")


def _place_of(name: str) -> str:
    if name.lower() in _ARGUMENTS:
        argument = name.lower()
        url = " or in the URL" if "socket" not in argument else ""
        return f"in OPTIONS['arguments'][{argument!r}]{url}"
    if name.upper() in _UPPER_ONLY and not name.isupper():
        return ""
    return _PLACES.get(name.upper(), "")
