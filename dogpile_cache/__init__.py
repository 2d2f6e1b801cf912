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
    from dogpile.cache.creation import Creation as Creation
    from dogpile.cache.policy import Policy as Policy
    from dogpile.cache.ports import quick as quick
    from dogpile.cache.proxy import ProxyBackend as ProxyBackend
    from dogpile.cache.region import (
        CacheRegion as CacheRegion,
        make_region as make_region,
    )
    from dogpile.cache.registry import register_backend as register_backend

_HOMES = {
    "NO_VALUE": "api",
    "BytesBackend": "api",
    "CacheBackend": "api",
    "CachedValue": "api",
    "Creation": "creation",
    "Policy": "policy",
    "quick": "ports",
    "ProxyBackend": "proxy",
    "CacheRegion": "region",
    "make_region": "region",
    "register_backend": "registry",
    "DogpileCacheException": "exception",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    # The rooms are loaded when first asked for: importing costs next to nothing.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
