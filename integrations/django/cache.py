"""The backend of ``CACHES``: a thin handle on a region of the process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from dogpile.cache import NO_VALUE
from dogpile.cache.integrations.django.cache_async import AsyncTwins
from dogpile.cache.integrations.django.cache_core import paired
from dogpile.cache.integrations.django.cache_keys import PAGE, Pattern
from dogpile.cache.integrations.django.cache_lock import CacheLock
from dogpile.cache.integrations.django.cache_values import (
    Add,
    Increment,
    Put,
    Replace,
    Touch,
)

__all__ = ["DogpileCache"]


class DogpileCache(AsyncTwins):
    """A cache of Django's on a region.

    ``BACKEND`` of an alias of ``CACHES``. ``LOCATION`` is the name of a region of
    ``DOGPILE_CACHE_REGIONS``, a URL, or a backend's name; with
    ``OPTIONS["backend"]`` it names a region of the alias's own. ``OPTIONS`` takes
    the settings of a region, ``MAX_ENTRIES`` and ``CULL_FREQUENCY``.

    Where methods take ``policy``, that is ``tags=``, which
    :meth:`invalidate_tags` takes, and other fields of
    :class:`~dogpile.cache.Policy`, such as ``grace=``.
    """

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """Return a value, or the default."""
        made = self.make_and_validate_key(key, version)
        return self._found(self._store.get(made, ignore_expiration=False), default)

    def get_many(
        self, keys: Iterable[Any], version: int | None = None
    ) -> dict[Any, Any]:
        """Return the values that there are, by key, in one round trip."""
        made = self._keys(keys, version)
        found = self._store.get_multi(list(made), ignore_expiration=False)
        return {key: self._values.unpack(each) for key, each in paired(made, found)}

    def has_key(self, key: Any, version: int | None = None) -> bool:
        """Return whether there is a value."""
        made = self.make_and_validate_key(key, version)
        return self._store.get(made, ignore_expiration=False) is not NO_VALUE

    def get_or_set(
        self,
        key: Any,
        default: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        **policy: Any,
    ) -> Any:
        """Return a value; of a whole crowd one thread creates it where need be.

        :param default: the value, or a function that returns it.
        """
        made = self.make_and_validate_key(key, version)
        policy = self._policy(policy)
        making = self._making(made, default, timeout, policy)
        if self._is_written(policy):
            return making.value()
        is_behind = self._is_behind(policy)
        if is_behind or not self._store.policy.early:
            found = self._store.get(made, ignore_expiration=False)
            if found is not NO_VALUE:
                making.discard()
                return self._values.unpack(found)
        if is_behind:
            return making.value()
        answer = self._store.get_or_create(made, making.create, **policy)
        making.discard()
        return self._values.unpack(self._values.shared(answer))

    def set(  # type: ignore[override]  # None says nothing of nx and xx
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        nx: bool = False,
        xx: bool = False,
        **policy: Any,
    ) -> bool:
        """Store a value; return whether it was."""
        made = self.make_and_validate_key(key, version)
        lifetime = self._lifetime(timeout)
        policy = self._policy(policy)
        if self._is_written(policy):
            return False
        with self._spare(made):
            payload = self._pack(value)
            if lifetime == 0:
                return self._drop(made, nx=nx, xx=xx)
            self._cull()
            if nx or xx:
                change = Add(payload) if nx else Replace(payload)
                stored = self._store.update(
                    made, change, expiration_time=lifetime, **policy
                )
                return stored is not NO_VALUE
            self._store.put(made, payload, expiration_time=lifetime, **policy)
            return True
        with self._spare(made):
            # What is there now is older than what could not be stored.
            self._store.delete(made)
        return False

    def _drop(self, made: str, *, nx: bool, xx: bool) -> bool:
        """Do what storing a value for no time at all comes to."""
        is_there = (nx or xx) and (
            self._store.get(made, ignore_expiration=False) is not NO_VALUE
        )
        if nx:
            return not is_there
        self._store.delete(made)
        return is_there or not xx

    def set_many(
        self,
        data: dict[Any, Any],
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        **policy: Any,
    ) -> list[Any]:
        """Store values in one round trip; return the keys of those that failed."""
        made = self._keys(data, version)
        lifetime = self._lifetime(timeout)
        policy = self._policy(policy)
        if self._is_written(policy):
            return list(data)
        with self._spare(*made):
            if lifetime == 0:
                self._store.delete_multi(list(made))
                return []
            packed = {each: self._pack(data[key]) for each, key in made.items()}
            self._cull()
            self._store.put_multi(packed, expiration_time=lifetime, **policy)
            return []
        return [
            key
            for key, value in data.items()
            if not self.set(key, value, timeout, version, **policy)
        ]

    def add(
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        **policy: Any,
    ) -> bool:
        """Store a value unless there is one; return whether it was stored."""
        made = self.make_and_validate_key(key, version)
        lifetime = self._lifetime(timeout)
        policy = self._policy(policy)
        if self._is_written(policy):
            return False
        with self._spare(made):
            change = Add(self._pack(value))
            if lifetime == 0:
                return self._drop(made, nx=True, xx=False)
            self._cull()
            stored = self._store.update(
                made, change, expiration_time=lifetime, **policy
            )
            return stored is not NO_VALUE
        return True

    def touch(
        self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        """Have a value live from now on; return whether there is one."""
        made = self.make_and_validate_key(key, version)
        lifetime = self._lifetime(timeout)
        with self._spare(made):
            if lifetime == 0:
                return self._drop(made, nx=False, xx=True)
            change = Touch(lifetime, self._store.clock.time)
            return self._store.update(made, change) is not NO_VALUE
        return False

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Remove a value; return whether there was one."""
        made = self.make_and_validate_key(key, version)
        with self._spare(made):
            return self._drop(made, nx=False, xx=True)
        return False

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """Remove values in one round trip."""
        made = list(self._keys(keys, version))
        with self._spare(*made):
            self._store.delete_multi(made)

    def clear(self) -> None:
        """Remove all values of the alias, and of no other ``KEY_PREFIX``."""
        if self._store.actual_backend.capabilities.inline:
            self._store.delete_multi(list(self._store.iter_keys()))
        self._store.invalidate()

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add to a number, whose time goes on; return the sum.

        :raises ValueError: there is none.
        """
        made = self.make_and_validate_key(key, version)
        with self._spare(made):
            change = Increment(self._values, delta)
            stored = self._store.update(made, change)
            if stored is not NO_VALUE:
                number: int = self._values.unpack(stored)
                return number
        raise self._missing(key)

    def incr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Give a value another version, which it bears for the time it has left.

        :raises ValueError: there is none.
        """
        before = self.version if version is None else version
        made = self.make_and_validate_key(key, before)
        with self._spare(made):
            value = self._store.get_value_metadata(made, ignore_expiration=False)
            if value is not None:
                after = self.make_and_validate_key(key, before + delta)
                self._store.update(after, Put(value))
                self._store.delete(made)
                return before + delta
        raise self._missing(key)

    # Beyond Django

    def ttl(self, key: Any, version: int | None = None) -> int | None:
        """Return the whole seconds that a value has left; 0 for none."""
        made = self.make_and_validate_key(key, version)
        value = self._store.get_value_metadata(made, ignore_expiration=False)
        return self._left(value)

    def persist(self, key: Any, version: int | None = None) -> bool:
        """Have a value live for ever; return whether there is one."""
        return self.touch(key, None, version)

    def expire(self, key: Any, timeout: Any, version: int | None = None) -> bool:
        """Have a value live for some seconds; return whether there is one."""
        return self.touch(key, timeout, version)

    def iter_keys(
        self, pattern: str = "*", version: int | None = None
    ) -> Iterator[str]:
        """Yield the keys of values that match a pattern, such as ``"user:*"``.

        :raises ConfigurationError: the backend cannot tell its keys.
        """
        wanted = Pattern(self, pattern, version)
        page: list[str] = []
        for made in self._store.iter_keys(wanted.start):
            if wanted.matches(made):
                page.append(made)
            if len(page) == PAGE:
                for key in self._living(wanted, page):
                    yield key
                page = []
        for key in self._living(wanted, page):
            yield key

    def _living(self, wanted: Pattern, page: list[str]) -> list[str]:
        """Return the keys that have a value: others may have been invalidated."""
        found = self._store.get_multi(page, ignore_expiration=False)
        return [
            wanted.key(made)
            for made, each in zip(page, found, strict=True)
            if each is not NO_VALUE
        ]

    def keys(self, pattern: str = "*", version: int | None = None) -> list[str]:
        """Return the keys of values that match a pattern."""
        return list(self.iter_keys(pattern, version))

    def delete_pattern(self, pattern: str, version: int | None = None) -> int:
        """Remove what matches a pattern; return how many that were."""
        wanted = Pattern(self, pattern, version)
        found = [
            made for made in self._store.iter_keys(wanted.start) if wanted.matches(made)
        ]
        self._store.delete_multi(found)
        return len(found)

    def invalidate_tags(self, *tags: Any, hard: bool = True) -> None:
        """Invalidate what was stored with one of the tags."""
        self._store.invalidate_tags(*self._policy({"tags": tags})["tags"], hard=hard)

    def lock(
        self,
        key: Any,
        version: int | None = None,
        timeout: float | None = 60,
        sleep: float = 0.1,
        *,
        blocking: bool = True,
        blocking_timeout: float | None = None,
    ) -> CacheLock:
        """Return a lock that all processes share which share the cache's values.

        It is a context manager, of threads and of event loops. Unlike the rest
        of a cache it raises where the server does not answer.

        :param timeout: seconds after which it ends by itself, whoever holds it.
        :param sleep: seconds between two tries.
        :param blocking: whether to wait for it.
        :param blocking_timeout: seconds to wait at most; ``None`` for ever.
        """
        return CacheLock(
            self._store,
            f"{self.make_and_validate_key(key, version)}:lock",
            lifetime=self._lifetime(timeout),
            sleep=sleep,
            blocking=blocking,
            blocking_timeout=blocking_timeout,
        )

    def on(self, event: str, listener: Callable[[Any], object]) -> Callable[[], None]:
        """Call a function at each event of a kind, as a region's ``on()`` does.

        :param event: such as ``"backend_error"``, or ``"*"``.
        :return: what ends it.
        """
        return self._store.on(event, listener)

    def stats(self) -> dict[str, float]:
        """Return counts of events, from the first time they were asked for."""
        return self._store.stats()
