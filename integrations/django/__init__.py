"""The Django integration; its names are loaded when they are first asked for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dogpile.cache.integrations.django.cache import DogpileCache as DogpileCache

# INSTALLED_APPS imports this package before the applications are ready.
_HOMES = {"DogpileCache": "cache"}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
