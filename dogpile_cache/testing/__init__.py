"""What tests of caches need; nothing here is for production.

``FakeClock`` and ``ChaosBackend`` need the standard library alone,
``BackendSuite`` needs pytest and ``BackendModel`` hypothesis: each is
imported when it is first asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dogpile.cache.testing.chaos import ChaosBackend as ChaosBackend
    from dogpile.cache.testing.clock import FakeClock as FakeClock
    from dogpile.cache.testing.model import BackendModel as BackendModel
    from dogpile.cache.testing.suite import BackendSuite as BackendSuite

__all__ = ["BackendModel", "BackendSuite", "ChaosBackend", "FakeClock"]

_ROOMS = {
    "BackendModel": "model",
    "BackendSuite": "suite",
    "ChaosBackend": "chaos",
    "FakeClock": "clock",
}


# Out of sight of type checkers, which would take any name for one of ours.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _ROOMS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        room = f"{__name__}.{_ROOMS[name]}"
        if name == "BackendSuite":
            import pytest

            # Its failures shall show what was compared.
            pytest.register_assert_rewrite(room, f"{room}_values")
        value = getattr(import_module(room), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
