"""A cache whose crowd never gets through: one creation a key, in every scope."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dogpile.cache.api import (
        NO_VALUE as NO_VALUE,
        BytesBackend as BytesBackend,
        CacheBackend as CacheBackend,
        CachedValue as CachedValue,
    )
    from dogpile.cache.canonical import canonical
    from dogpile.cache.clock import Clock as Clock
    from dogpile.cache.creation import Creation as Creation
    from dogpile.cache.creator import quick as quick
    from dogpile.cache.exception import (
        BackendError as BackendError,
        BackendUnavailable as BackendUnavailable,
        CantDeserializeException as CantDeserializeException,
        CodecError as CodecError,
        ConfigurationError as ConfigurationError,
        CoroutineCreatorError as CoroutineCreatorError,
        CreationCycleError as CreationCycleError,
        CreationError as CreationError,
        CreationTimeout as CreationTimeout,
        CreatorMismatch as CreatorMismatch,
        CreatorTimeout as CreatorTimeout,
        DogpileCacheException as DogpileCacheException,
        PluginNotFound as PluginNotFound,
        RegionAlreadyConfigured as RegionAlreadyConfigured,
        RegionNotConfigured as RegionNotConfigured,
        UncacheableArgument as UncacheableArgument,
        UnsafeFile as UnsafeFile,
        Unserializable as Unserializable,
        ValidationError as ValidationError,
        ValueTooLarge as ValueTooLarge,
    )
    from dogpile.cache.policy import Policy as Policy
    from dogpile.cache.proxy import ProxyBackend as ProxyBackend
    from dogpile.cache.region import (
        CacheRegion as CacheRegion,
        make_region as make_region,
    )
    from dogpile.cache.registry import (
        BACKENDS as BACKENDS,
        regions as regions,
        register_backend as register_backend,
    )

    canonical_text = canonical

# From a name to its room, and to its name in there if that is another one.
_HOMES = {
    "NO_VALUE": "api",
    "BytesBackend": "api",
    "CacheBackend": "api",
    "CachedValue": "api",
    "canonical_text": "canonical:canonical",
    "Clock": "clock",
    "Creation": "creation",
    "Policy": "policy",
    "quick": "creator",
    "ProxyBackend": "proxy",
    "CacheRegion": "region",
    "make_region": "region",
    "BACKENDS": "registry",
    "register_backend": "registry",
    "regions": "registry",
    "BackendError": "exception",
    "BackendUnavailable": "exception",
    "CantDeserializeException": "exception",
    "CodecError": "exception",
    "ConfigurationError": "exception",
    "CoroutineCreatorError": "exception",
    "CreationCycleError": "exception",
    "CreationError": "exception",
    "CreationTimeout": "exception",
    "CreatorMismatch": "exception",
    "CreatorTimeout": "exception",
    "DogpileCacheException": "exception",
    "PluginNotFound": "exception",
    "RegionAlreadyConfigured": "exception",
    "RegionNotConfigured": "exception",
    "UncacheableArgument": "exception",
    "UnsafeFile": "exception",
    "Unserializable": "exception",
    "ValidationError": "exception",
    "ValueTooLarge": "exception",
}

__all__ = list(_HOMES)

# What 1.x had imported by itself: ``dogpile.cache.util`` is there without asking.
_ROOMS = frozenset({"api", "backends", "exception", "proxy", "region", "util"})


def __getattr__(name: str) -> object:
    # The rooms are loaded when first asked for: importing costs next to nothing.
    home = _HOMES.get(name)
    if home is None and name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if home is None:
        return import_module(f"{__name__}.{name}")
    room, _, attribute = home.partition(":")
    value: object = getattr(import_module(f"{__name__}.{room}"), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
