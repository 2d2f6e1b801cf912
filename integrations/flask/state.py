"""What an application has of the cache: its regions, and how it uses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Request, current_app, has_app_context

from dogpile.cache import CacheRegion, ConfigurationError, regions
from dogpile.cache.integrations.options import near, read_flag, read_text, shown
from dogpile.cache.integrations.pages import Shelf
from dogpile.cache.integrations.settings import build_region, build_regions

NAME = "dogpile.cache"
TRUST = "DOGPILE_CACHE_TRUST_CLIENT"

_WHERE = "app.config"


class State:
    """The regions of an application.

    :param default: the name of the region that is meant where none is named.
    :param http_headers: whether caches and clients are told about pages.
    :param trust: whether a client's ``no-cache`` is obeyed; or a function of
        the request that says so.
    """

    def __init__(
        self,
        found: Mapping[str, CacheRegion],
        *,
        default: str,
        http_headers: bool,
        trust: bool | Callable[[Request], Any],
    ) -> None:
        self.regions = found
        self.default = default
        self.http_headers = http_headers
        self._trust = trust
        self._shelves: dict[str | None, Shelf] = {}
        #: The decorated functions of this application.
        self.functions: dict[Any, Any] = {}

    def region(self, name: str | None = None) -> CacheRegion:
        """Return a region.

        :param name: ``None`` for the default one.
        :raises ConfigurationError: there is none of that name.
        """
        wanted = self.default if name is None else name
        found = self.regions.get(wanted)
        if found is None:
            told = _no_region(wanted, self.regions)
            if name is None:
                told += "; say by DOGPILE_CACHE_DEFAULT_REGION which one is meant"
            raise ConfigurationError(told)
        return found

    def shelf(self, name: str | None) -> Shelf:
        """Return the shelf of a region."""
        found = self._shelves.get(name)
        if found is None:
            found = self._shelves[name] = Shelf(self.region(name))
        return found

    def is_trusted(self, asked: Request) -> bool:
        """Return whether the client may ask for a new page."""
        trust = self._trust
        return bool(trust(asked)) if callable(trust) else trust


def _no_region(name: object, known: Mapping[str, CacheRegion]) -> str:
    return (
        f"the application has no region {shown(name)}{near(name, known)} "
        f"(known: {', '.join(sorted(known))})"
    )


def build_state(app: Flask) -> State:
    """Build the regions that an application's settings name.

    :raises ConfigurationError: a setting is no use.
    """
    config = app.config
    built = build_regions(
        config,
        secret_key=app.secret_key,
        fallbacks=config.get("SECRET_KEY_FALLBACKS") or (),
        known=(TRUST,),
    )
    if not _flag(config, "DOGPILE_CACHE_ENABLED"):
        built = {name: build_region(name, "dogpile.cache.null") for name in built}
    prefix = config.get("DOGPILE_CACHE_KEY_PREFIX", app.name)
    if isinstance(prefix, int) and not isinstance(prefix, bool):
        prefix = str(prefix)  # what looks like a number in the environment is one
    read_text(f"DOGPILE_CACHE_KEY_PREFIX in {_WHERE}", prefix, "a text or None")
    found = {name: _prefixed(region, prefix) for name, region in built.items()}
    default = config.get("DOGPILE_CACHE_DEFAULT_REGION")
    if default is None:
        default = next(iter(found)) if len(found) == 1 else "default"
    elif default not in found:
        raise ConfigurationError(
            f"DOGPILE_CACHE_DEFAULT_REGION: {_no_region(default, found)}"
        )
    trust = config.get(TRUST, False)
    return State(
        found,
        default=default,
        http_headers=_flag(config, "DOGPILE_CACHE_HTTP_HEADERS"),
        trust=trust if callable(trust) else read_flag(f"{TRUST} in {_WHERE}", trust),
    )


def _flag(config: Mapping[str, Any], name: str) -> bool:
    return read_flag(f"{name} in {_WHERE}", config.get(name, True))


def _prefixed(region: CacheRegion, prefix: str | None) -> CacheRegion:
    """Keep applications apart that share a backend."""
    if not prefix or region.actual_backend.capabilities.scope == "process":
        return region
    found = region.namespace(prefix)
    if region.name is not None:
        # Whoever looks a region of the process up shares its values.
        regions[region.name] = found
    return found


def state_of(app: Flask) -> State:
    """Return the state of an application.

    :raises ConfigurationError: the extension was not initialised with it.
    """
    found = app.extensions.get(NAME)
    if found is None:
        raise ConfigurationError(
            f"the application {app.name!r} has no cache: call cache.init_app(app) "
            "before it is used"
        )
    state: State = found
    return state


def behind(proxy: Any) -> Any:
    """Return the object that a proxy of Flask stands for at the moment."""
    return proxy._get_current_object()  # noqa: SLF001 - what Werkzeug documents


def current_state() -> State:
    """Return the state of the current application.

    :raises ConfigurationError: there is none here.
    """
    if not has_app_context():
        raise ConfigurationError(
            "the cache was used outside of an application: use it in a view, or "
            "in `with app.app_context():`"
        )
    return state_of(current_app)


def regions_here() -> Mapping[str, CacheRegion]:
    """Return the regions of the current application; none outside of one."""
    state = current_app.extensions.get(NAME) if has_app_context() else None
    return {} if state is None else state.regions
