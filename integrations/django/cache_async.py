"""The cache for event loops: ``aget`` and its like, on the region's own coroutines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from dogpile.cache import NO_VALUE
from dogpile.cache.integrations.django.cache_core import CacheCore, paired
from dogpile.cache.integrations.django.cache_keys import PAGE, Pattern
from dogpile.cache.integrations.django.cache_values import (
    Add,
    Increment,
    Put,
    Replace,
    Touch,
)


class AsyncTwins(CacheCore):
    """Each method of the cache as a coroutine.

    What a twin takes, returns and raises is what its blocking method does.
    """

    async def aget(
        self, key: Any, default: Any = None, version: int | None = None
    ) -> Any:
        """Return a value, or the default."""
        made = self.make_and_validate_key(key, version)
        return self._found(
            await self._store.aget(made, ignore_expiration=False), default
        )

    async def aget_many(
        self, keys: Iterable[Any], version: int | None = None
    ) -> dict[Any, Any]:
        """Return the values that there are, by key, in one round trip."""
        made = self._keys(keys, version)
        found = await self._store.aget_multi(list(made), ignore_expiration=False)
        return {key: self._values.unpack(each) for key, each in paired(made, found)}

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        """Return whether there is a value."""
        made = self.make_and_validate_key(key, version)
        return await self._store.aget(made, ignore_expiration=False) is not NO_VALUE

    async def aget_or_set(
        self,
        key: Any,
        default: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        **policy: Any,
    ) -> Any:
        """Return a value; of a whole crowd one task creates it where need be.

        :param default: the value, an awaitable, or a function, with ``async``
            or without; a plain one runs where Django runs blocking code.
        """
        made = self.make_and_validate_key(key, version)
        policy = self._policy(policy)
        making = self._making(made, default, timeout, policy, is_async=True)
        if self._is_written(policy, is_async=True):
            return await making.avalue()
        is_behind = await self._ais_behind(policy)
        if is_behind or not self._store.policy.early:
            found = await self._store.aget(made, ignore_expiration=False)
            if found is not NO_VALUE:
                making.discard()
                return self._values.unpack(found)
        if is_behind:
            return await making.avalue()
        answer = await self._store.aget_or_create(made, making.acreate, **policy)
        making.discard()
        return self._values.unpack(self._values.shared(answer))

    async def aset(  # type: ignore[override]  # None says nothing of nx and xx
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
        if self._is_written(policy, is_async=True):
            return False
        with self._spare(made):
            payload = self._pack(value)
            if lifetime == 0:
                return await self._adrop(made, nx=nx, xx=xx)
            self._cull()
            if nx or xx:
                change = Add(payload) if nx else Replace(payload)
                stored = await self._store.aupdate(
                    made, change, expiration_time=lifetime, **policy
                )
                return stored is not NO_VALUE
            await self._store.aput(made, payload, expiration_time=lifetime, **policy)
            return True
        with self._spare(made):
            # What is there now is older than what could not be stored.
            await self._store.adelete(made)
        return False

    async def _adrop(self, made: str, *, nx: bool, xx: bool) -> bool:
        """Do what storing a value for no time at all comes to."""
        is_there = (nx or xx) and (
            await self._store.aget(made, ignore_expiration=False) is not NO_VALUE
        )
        if nx:
            return not is_there
        await self._store.adelete(made)
        return is_there or not xx

    async def aset_many(
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
        if self._is_written(policy, is_async=True):
            return list(data)
        with self._spare(*made):
            if lifetime == 0:
                await self._store.adelete_multi(list(made))
                return []
            packed = {each: self._pack(data[key]) for each, key in made.items()}
            self._cull()
            await self._store.aput_multi(packed, expiration_time=lifetime, **policy)
            return []
        return [
            key
            for key, value in data.items()
            if not await self.aset(key, value, timeout, version, **policy)
        ]

    async def aadd(
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
        if self._is_written(policy, is_async=True):
            return False
        with self._spare(made):
            change = Add(self._pack(value))
            if lifetime == 0:
                return await self._adrop(made, nx=True, xx=False)
            self._cull()
            stored = await self._store.aupdate(
                made, change, expiration_time=lifetime, **policy
            )
            return stored is not NO_VALUE
        return True

    async def atouch(
        self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        """Have a value live from now on; return whether there is one."""
        made = self.make_and_validate_key(key, version)
        lifetime = self._lifetime(timeout)
        with self._spare(made):
            if lifetime == 0:
                return await self._adrop(made, nx=False, xx=True)
            change = Touch(lifetime, self._store.clock.time)
            return await self._store.aupdate(made, change) is not NO_VALUE
        return False

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        """Remove a value; return whether there was one."""
        made = self.make_and_validate_key(key, version)
        with self._spare(made):
            return await self._adrop(made, nx=False, xx=True)
        return False

    async def adelete_many(
        self, keys: Iterable[Any], version: int | None = None
    ) -> None:
        """Remove values in one round trip."""
        made = list(self._keys(keys, version))
        with self._spare(*made):
            await self._store.adelete_multi(made)

    async def aclear(self) -> None:
        """Remove all values of the alias, and of no other ``KEY_PREFIX``."""
        if self._store.actual_backend.capabilities.inline:
            await self._store.adelete_multi([k async for k in self._store.aiter_keys()])
        await self._store.ainvalidate()

    async def aincr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add to a number, whose time goes on; return the sum.

        :raises ValueError: there is none.
        """
        made = self.make_and_validate_key(key, version)
        with self._spare(made):
            change = Increment(self._values, delta)
            stored = await self._store.aupdate(made, change)
            if stored is not NO_VALUE:
                number: int = self._values.unpack(stored)
                return number
        raise self._missing(key)

    async def aincr_version(
        self, key: Any, delta: int = 1, version: int | None = None
    ) -> int:
        """Give a value another version, which it bears for the time it has left.

        :raises ValueError: there is none.
        """
        before = self.version if version is None else version
        made = self.make_and_validate_key(key, before)
        with self._spare(made):
            value = await self._store.aget_value_metadata(made, ignore_expiration=False)
            if value is not None:
                after = self.make_and_validate_key(key, before + delta)
                await self._store.aupdate(after, Put(value))
                await self._store.adelete(made)
                return before + delta
        raise self._missing(key)

    # Beyond Django

    async def attl(self, key: Any, version: int | None = None) -> int | None:
        """Return the whole seconds that a value has left; 0 for none."""
        made = self.make_and_validate_key(key, version)
        value = await self._store.aget_value_metadata(made, ignore_expiration=False)
        return self._left(value)

    async def apersist(self, key: Any, version: int | None = None) -> bool:
        """Have a value live for ever; return whether there is one."""
        return await self.atouch(key, None, version)

    async def aexpire(self, key: Any, timeout: Any, version: int | None = None) -> bool:
        """Have a value live for some seconds; return whether there is one."""
        return await self.atouch(key, timeout, version)

    async def aiter_keys(
        self, pattern: str = "*", version: int | None = None
    ) -> AsyncIterator[str]:
        """Yield the keys of values that match a pattern, such as ``"user:*"``.

        :raises ConfigurationError: the backend cannot tell its keys.
        """
        wanted = Pattern(self, pattern, version)
        page: list[str] = []
        async for made in self._store.aiter_keys(wanted.start):
            if wanted.matches(made):
                page.append(made)
            if len(page) == PAGE:
                for key in await self._aliving(wanted, page):
                    yield key
                page = []
        for key in await self._aliving(wanted, page):
            yield key

    async def _aliving(self, wanted: Pattern, page: list[str]) -> list[str]:
        """Return the keys that have a value: others may have been invalidated."""
        found = await self._store.aget_multi(page, ignore_expiration=False)
        return [
            wanted.key(made)
            for made, each in zip(page, found, strict=True)
            if each is not NO_VALUE
        ]

    async def akeys(self, pattern: str = "*", version: int | None = None) -> list[str]:
        """Return the keys of values that match a pattern."""
        return [key async for key in self.aiter_keys(pattern, version)]

    async def adelete_pattern(self, pattern: str, version: int | None = None) -> int:
        """Remove what matches a pattern; return how many that were."""
        wanted = Pattern(self, pattern, version)
        found = [
            made
            async for made in self._store.aiter_keys(wanted.start)
            if wanted.matches(made)
        ]
        await self._store.adelete_multi(found)
        return len(found)

    async def ainvalidate_tags(self, *tags: Any, hard: bool = True) -> None:
        """Invalidate what was stored with one of the tags."""
        await self._store.ainvalidate_tags(
            *self._policy({"tags": tags})["tags"], hard=hard
        )
