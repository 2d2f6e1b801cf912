"""The regions of a project's settings, built when they are first asked for.

The interface: :data:`regions`, as Django's ``caches``. Its names are those of
``DOGPILE_CACHE_REGIONS`` and ``DOGPILE_CACHE_URL``, and the aliases of ``CACHES``
that are kept by ``DogpileCache``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from django.conf import settings
from django.core.signals import setting_changed

from dogpile.cache import CacheRegion, ConfigurationError, regions as of_process
from dogpile.cache.integrations.options import near, read_flag, read_text
from dogpile.cache.integrations.settings import build_region, build_regions

MODEL_TAGS = "DOGPILE_CACHE_MODEL_TAGS"
TRUST = "DOGPILE_CACHE_TRUST_CLIENT"
WHERE = "the settings of Django"
BACKEND = "dogpile.cache.integrations.django.DogpileCache"

_OURS = "DOGPILE_CACHE_"
_REGIONS = "DOGPILE_CACHE_REGIONS"
_URL = "DOGPILE_CACHE_URL"
_REBUILDING = frozenset({"CACHES", "SECRET_KEY", "SECRET_KEY_FALLBACKS"})


class Built(NamedTuple):
    """What was built from the settings.

    :param are_given: the settings name them; else it is the one of the defaults.
    """

    regions: dict[str, CacheRegion]
    are_given: bool


class Regions(Mapping[str, CacheRegion]):
    """The regions of the project by name: ``regions["local"]``.

    Settings that change, as by ``override_settings``, have them built anew.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._built: Built | None = None
        self._found: dict[str | None, CacheRegion] = {}
        self._watchers: list[Callable[[], None]] = []

    def __getitem__(self, name: str) -> CacheRegion:
        """Return a region.

        :raises ConfigurationError: there is none of that name.
        """
        found = self._found.get(name)
        return found if found is not None else self._find(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def get(self, name: str, default: Any = None) -> Any:
        """Return a region, or the default if there is none of that name."""
        if name not in self:
            return default
        return self[name]

    def region(self, name: str | None = None) -> CacheRegion:
        """Return a region.

        :param name: ``None`` for the default one.
        :raises ConfigurationError: there is none of that name.
        """
        found = self._found.get(name)
        return found if found is not None else self._find(name)

    @property
    def default(self) -> str:
        """The name of the region that is meant where none is named.

        :raises ConfigurationError: ``DOGPILE_CACHE_DEFAULT_REGION`` names none.
        """
        wanted = getattr(settings, "DOGPILE_CACHE_DEFAULT_REGION", None)
        names = self._names()
        if wanted is None:
            return names[0] if len(names) == 1 else "default"
        if wanted not in names:
            raise ConfigurationError(
                f"DOGPILE_CACHE_DEFAULT_REGION in {WHERE}: {_no_region(wanted, names)}"
            )
        return str(wanted)

    @property
    def configured(self) -> Mapping[str, CacheRegion]:
        """The regions that the settings name, without those of ``CACHES``.

        Without any it is a bounded memory region named ``default``.

        :raises ConfigurationError: a setting is no use.
        """
        return self._build().regions

    @property
    def built(self) -> Mapping[str, CacheRegion]:
        """The regions that were asked for already; building none."""
        found = {} if self._built is None else dict(self._built.regions)
        found.update((n, each) for n, each in self._found.items() if n is not None)
        return found

    def cache_of(self, name: str) -> Any:
        """Return the cache of ``CACHES`` whose region has a name.

        :return: ``None`` if the name is not an alias, or another region's.
        """
        built = self._build()
        if name not in _aliases() or (name in built.regions and built.are_given):
            return None
        from django.core.cache import caches

        return caches[name]

    def on_reset(self, watcher: Callable[[], None]) -> None:
        """Call a function whenever the regions are to be built anew."""
        self._watchers.append(watcher)

    def reset(self) -> None:
        """Close the regions; they are built anew when they are asked for."""
        with self._lock:
            dropped, self._found = self._found, {}
            built, self._built = self._built, None
        for watcher in self._watchers:
            watcher()
        closing = {id(each): each for each in dropped.values()}
        if built is not None:
            closing.update((id(each), each) for each in built.regions.values())
        for region in closing.values():
            region.close()

    # What there is

    def _find(self, name: str | None) -> CacheRegion:
        wanted = self.default if name is None else name
        # Without the lock: an alias leads to code with a lock of its own.
        found = self._look_up(wanted)
        self._found[name] = self._found[wanted] = found
        return found

    def _look_up(self, name: str) -> CacheRegion:
        built = self._build()
        if name in built.regions and built.are_given:
            return built.regions[name]
        if name in _aliases():
            return _region_of_alias(name)
        if name in built.regions:
            return built.regions[name]
        raise ConfigurationError(f"{WHERE}: {_no_region(name, self._names())}")

    def _names(self) -> list[str]:
        built = self._build()
        aliases = _aliases()
        if aliases and not built.are_given:
            # The defaults' region stands only where nothing else does.
            return aliases
        return list(dict.fromkeys([*built.regions, *aliases]))

    def _build(self) -> Built:
        with self._lock:
            if self._built is None:
                self._built = _built_now()
            return self._built


regions: Regions = Regions()


def reset_on_change(*, setting: str, **_: Any) -> None:
    """Hear that a setting was changed, as tests do."""
    if setting in _REBUILDING or setting.startswith(_OURS):
        regions.reset()


# Before Django's own hearers: they drop the handles that lead to the regions.
setting_changed.connect(reset_on_change, dispatch_uid="dogpile.cache.regions")


def _built_now() -> Built:
    given = {
        name: getattr(settings, name)
        for name in dir(settings)
        if name.startswith((_OURS, "cache."))
    }
    are_given = any(
        value and (name == _URL or name.startswith((_REGIONS, "cache.")))
        for name, value in given.items()
    )
    found = build_regions(given, **signing(), where=WHERE, known=(MODEL_TAGS, TRUST))
    if not is_on("DOGPILE_CACHE_ENABLED"):
        found = {name: build_region(name, "dogpile.cache.null") for name in found}
    prefix = read_text(
        f"DOGPILE_CACHE_KEY_PREFIX in {WHERE}",
        given.get("DOGPILE_CACHE_KEY_PREFIX"),
        "a text",
    )
    if prefix:
        found = {name: prefixed(region, prefix) for name, region in found.items()}
    return Built(found, are_given)


def is_on(name: str, *, default: bool = True) -> bool:
    """Return a setting that is on or off; a text from the environment will do.

    :raises ValidationError: it is neither.
    """
    return read_flag(f"{name} in {WHERE}", getattr(settings, name, default))


def signing() -> dict[str, Any]:
    """Return the secrets that values are signed with, as keyword arguments."""
    return {
        "secret_key": settings.SECRET_KEY,
        "fallbacks": tuple(settings.SECRET_KEY_FALLBACKS),
    }


def prefixed(region: CacheRegion, prefix: str) -> CacheRegion:
    """Keep projects apart that share a backend.

    :param prefix: of all the region's keys.
    """
    if region.actual_backend.capabilities.scope == "process":
        return region
    found = region.namespace(prefix)
    if region.name is not None:
        # Whoever looks a region of the process up shares its values.
        of_process[region.name] = found
    return found


def _aliases() -> list[str]:
    """Return the aliases of ``CACHES`` whose backend has a region."""
    return [
        alias
        for alias, chosen in settings.CACHES.items()
        if has_region(chosen.get("BACKEND", ""))
    ]


def has_region(backend: Any) -> bool:
    """Return whether a backend of ``CACHES`` is ours, or inherits from it.

    :param backend: its import path.
    """
    if backend == BACKEND:
        return True
    if not isinstance(backend, str) or backend.startswith("django.core.cache."):
        return False
    from django.utils.module_loading import import_string

    try:
        kind = import_string(backend)
    except ImportError:
        return False
    # Asked by a mark, as the class itself is made with what is found here.
    return getattr(kind, "has_region", None) is True


def _region_of_alias(alias: str) -> CacheRegion:
    from django.core.cache import caches

    handle: Any = caches[alias]
    found: CacheRegion = handle.region
    return found


def _no_region(name: str, known: list[str]) -> str:
    if name in settings.CACHES:
        backend = settings.CACHES[name].get("BACKEND")
        return (
            f"there is no region {name!r}: CACHES[{name!r}] is kept by {backend!r}, "
            f"and a region by {BACKEND!r}"
        )
    told = ", ".join(sorted(known))
    return f"there is no region {name!r}{near(name, known)} (known: {told})"
