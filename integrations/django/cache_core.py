"""What the blocking and the asynchronous half of the cache decide alike."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import islice
from types import TracebackType
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from dogpile.cache import (
    NO_VALUE,
    BackendError,
    CachedValue,
    CacheRegion,
    Unserializable,
)
from dogpile.cache.integrations.django.cache_settings import AGES, keeper
from dogpile.cache.integrations.django.cache_values import Making, Pickled, Plain
from dogpile.cache.integrations.django.transactions import written_tags
from dogpile.cache.integrations.options import refuse_negative

_OF_SETTINGS = frozenset(
    {"region", "default_timeout", "_store", "_values", "_is_culled"}
)


class CacheCore(BaseCache):
    """Settings, keys, times and failures of a cache; no I/O.

    The settings are read at the first use, which raises
    ``InvalidCacheBackendError`` where one is no use: Django's system checks make
    every cache, and have to come to say what is wrong with it.

    :param location: ``LOCATION`` of the alias.
    :param params: the other settings of the alias.
    """

    #: Its aliases stand among the regions of the project.
    has_region = True
    #: The alias as a region, for whatever a cache of Django's cannot do.
    region: CacheRegion
    default_timeout: float | None
    _store: CacheRegion
    _values: Plain | Pickled
    _is_culled: bool

    def __init__(self, location: Any, params: dict[str, Any]) -> None:
        self._settings = location, params
        options = params.get("OPTIONS")
        if not isinstance(options, Mapping):
            # Django would fail here already, and less clearly.
            params = {**params, "OPTIONS": {}}
        try:
            super().__init__(params)
            is_keyed = callable(self.key_func)
        except (ImportError, AttributeError, ValueError):
            is_keyed = False
        if not is_keyed:
            # Told at the first use, too, and with the alias.
            super().__init__({**params, "KEY_FUNCTION": self._refuse_key})
        # Django takes a setting that is no use for one that is not there.
        del self.default_timeout

    def __getattr__(self, name: str) -> Any:
        """Read the settings, and keep what they come to."""
        if name not in _OF_SETTINGS:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}"
            )
        kept = keeper.find(*self._settings)
        self.region = kept.region
        self.default_timeout = kept.timeout
        self._store = kept.store
        self._values = kept.values
        self._is_culled = kept.is_culled
        return vars(self)[name]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self.region!r}>"

    # Keys and times

    def _refuse_key(self, key: Any, prefix: str, version: Any) -> str:
        """Make no key, where there is no function that makes them."""
        keeper.find(*self._settings)
        raise AssertionError(key)

    def _keys(self, keys: Iterable[Any], version: int | None) -> dict[str, Any]:
        """Return the caller's keys by those that are stored."""
        return {self.make_and_validate_key(key, version): key for key in keys}

    def _lifetime(self, timeout: Any) -> float | None:
        """Return how long a value lives.

        :param timeout: seconds, or a ``timedelta``, or the default.
        :return: 0 where it is not stored at all, ``None`` for ever.
        """
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        if timeout is None:
            return None
        if isinstance(timeout, timedelta):
            timeout = timeout.total_seconds()
        try:
            lifetime = float(timeout)
        except (TypeError, ValueError):
            raise ValueError(
                f"timeout takes seconds, a timedelta, or None for ever, not {timeout!r}"
            ) from None
        if math.isnan(lifetime):
            raise ValueError("timeout takes seconds, or None for ever, not NaN")
        if lifetime == math.inf:
            return None
        return max(lifetime, 0.0)

    def _policy(self, policy: dict[str, Any]) -> dict[str, Any]:
        """Return what a call says of its value, as a region takes it."""
        refuse_negative(policy)
        if "expiration_time" in policy:
            raise TypeError("a cache of Django's takes timeout=, not expiration_time=")
        if "tags" in policy:
            policy["tags"] = _names(policy["tags"])
        return policy

    def _is_written(self, policy: Mapping[str, Any], *, is_async: bool = False) -> bool:
        """Return whether an open transaction has written what a value is made of.

        Nobody else sees what it has written, and it may be rolled back: such
        values are neither read nor stored.
        """
        tags: Iterable[str] = policy.get("tags", ())
        return bool(tags) and not written_tags(is_async=is_async).isdisjoint(tags)

    def _left(self, value: CachedValue | None) -> int | None:
        """Return the seconds that a value has left; 0 for none, ``None`` for ever."""
        if value is None:
            return 0
        lifetime: float | None = value.metadata.get("x", AGES)
        if lifetime is None:
            return None
        left = value.cached_time + lifetime - self._store.clock.time()
        # What is there has something left.
        return max(math.ceil(left), 1)

    # Values

    def _found(self, stored: Any, default: Any) -> Any:
        return default if stored is NO_VALUE else self._values.unpack(stored)

    def _making(
        self,
        key: str,
        default: Any,
        lifetime: float | None,
        policy: dict[str, Any],
        *,
        is_async: bool,
    ) -> Making:
        def on_refusal(error: Exception) -> None:
            self._store.events.emit("backend_error", key, error=error)

        # The region would ask it of a pickle.
        asked = policy.pop("should_cache_fn", self.region.policy.should_cache_fn)
        return Making(
            self._values,
            default,
            lifetime,
            jitter=self._store.policy.jitter,
            should_cache_fn=asked,
            is_uncommitted=lambda: self._is_written(policy, is_async=is_async),
            on_refusal=on_refusal,
        )

    def _cull(self) -> None:
        """Make room for one more, if this process has as many as it may have."""
        if not self._is_culled:
            return
        backend: Any = self._store.actual_backend
        count = len(backend)
        if count < self._max_entries:
            return
        # As Django counts: all of them, or that share of them.
        surplus = count
        if self._cull_frequency:
            surplus = count // self._cull_frequency
        backend.delete_multi(list(islice(backend.iter_keys(""), surplus)))

    # Failures

    def _spare(self, *keys: Any) -> Spared:
        """Return what keeps a page from failing with the cache's server."""
        return Spared(self, keys)

    def _missing(self, key: Any) -> ValueError:
        return ValueError(f"Key '{key}' not found")


class Spared:
    """A failing backend is an event, unless the region says to raise.

    A value that does not become bytes is the caller's own mistake, which leaves
    under the name that it has with Django's caches.
    """

    __slots__ = ("_cache", "_keys")

    def __init__(self, cache: CacheCore, keys: tuple[Any, ...]) -> None:
        self._cache = cache
        self._keys = keys

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if isinstance(error, Unserializable):
            raise pickle.PicklingError(str(error)) from error
        if not isinstance(error, BackendError):
            return False
        store = self._cache._store  # noqa: SLF001 - two halves of one room
        if store.policy.on_backend_error == "raise":
            return False
        for key in self._keys:
            store.events.emit("backend_error", key, error=error)
        return True


def _names(tags: Any) -> tuple[str, ...]:
    if isinstance(tags, str):
        return (tags,)
    if isinstance(tags, (list, tuple, set, frozenset)) and all(
        isinstance(tag, str) for tag in tags
    ):
        return tuple(tags)
    # Models are only there when the applications are.
    from dogpile.cache.integrations.django.model_tags import tag_names

    return tag_names(tags)


def paired(keys: Mapping[str, Any], stored: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield the caller's keys, each with what is stored, where something is."""
    for key, found in zip(keys.values(), stored, strict=True):
        if found is not NO_VALUE:
            yield key, found
