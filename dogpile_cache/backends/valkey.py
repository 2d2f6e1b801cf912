"""Values and leases in a Valkey: alone, behind sentinels, or a cluster."""

from __future__ import annotations

from dogpile.cache.backends.redis import (
    RedisBackend,
    RedisClusterBackend,
    RedisSentinelBackend,
)
from dogpile.cache.backends.redis_settings import VALKEY

__all__ = ["ValkeyBackend", "ValkeyClusterBackend", "ValkeySentinelBackend"]

_OWN_ARGUMENTS = {"valkey_expiration_time"}


class ValkeyBackend(RedisBackend):
    """Keep values in a Valkey server.

    The arguments are those of the Redis backend; ``valkey_expiration_time`` is
    another name of ``redis_expiration_time``.
    """

    argument_names = RedisBackend.argument_names | _OWN_ARGUMENTS
    _library = VALKEY


class ValkeySentinelBackend(RedisSentinelBackend):
    """Keep values in the master that Valkey sentinels name."""

    argument_names = RedisSentinelBackend.argument_names | _OWN_ARGUMENTS
    _library = VALKEY


class ValkeyClusterBackend(RedisClusterBackend):
    """Keep values in a Valkey cluster."""

    argument_names = RedisClusterBackend.argument_names | _OWN_ARGUMENTS
    _library = VALKEY
