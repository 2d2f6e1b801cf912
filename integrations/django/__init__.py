"""The Django integration; its names are loaded when they are first asked for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dogpile.cache.integrations.django.cache import DogpileCache as DogpileCache
    from dogpile.cache.integrations.django.fragments import (
        invalidate_fragment as invalidate_fragment,
    )
    from dogpile.cache.integrations.django.functions import cached as cached
    from dogpile.cache.integrations.django.handler import regions as regions
    from dogpile.cache.integrations.django.model_tags import (
        ainvalidate_model as ainvalidate_model,
        invalidate_model as invalidate_model,
        tag_names as tag_names,
    )
    from dogpile.cache.integrations.django.views import (
        cache_page as cache_page,
        cached_view as cached_view,
        invalidate_view as invalidate_view,
    )

# INSTALLED_APPS imports this package before the applications are ready.
_HOMES = {
    "DogpileCache": "cache",
    "ainvalidate_model": "model_tags",
    "cache_page": "views",
    "cached": "functions",
    "cached_view": "views",
    "invalidate_fragment": "fragments",
    "invalidate_model": "model_tags",
    "invalidate_view": "views",
    "regions": "handler",
    "tag_names": "model_tags",
}

__all__ = list(_HOMES)


# Out of sight of type checkers, which would take any name for one of ours.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        from dogpile.cache.integrations.missing import refuse_missing

        try:
            value = getattr(import_module(f"{__name__}.{home}"), name)
        except ModuleNotFoundError as error:
            refuse_missing(error, "django")
            raise
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
