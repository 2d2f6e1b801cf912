"""The package above :mod:`dogpile.cache`, with its 1.x names.

They are looked up when they are first asked for, so that importing
``dogpile.cache`` brings nothing in that it does not need.
"""

from __future__ import annotations

__all__ = ["Lock", "NeedRegenerationException", "__version__"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dogpile.cache.lock import Lock, NeedRegenerationException

    __version__: str
else:
    # Unseen by type checkers, for which any name would be right then.

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            value = version("dogpile.cache")
        elif name in __all__:
            from dogpile.cache import lock

            value = getattr(lock, name)
        elif name in ("lock", "util"):  # which 1.x had imported
            from importlib import import_module

            value = import_module(f"{__name__}.{name}")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
