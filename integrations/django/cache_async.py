"""The cache for event loops: ``aget`` and its like, on the region's own coroutines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from dogpile.cache.integrations.django.cache_keys import Pattern
from dogpile.cache.integrations.django.cache_steps import CacheSteps, arun


class AsyncTwins(CacheSteps):
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
        return await arun(self._get_many_steps(keys, version))

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        """Return whether there is a value."""
        return await arun(self._has_steps(self.make_and_validate_key(key, version)))

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
        return await arun(
            self._get_or_set_steps(
                key, default, timeout, version, policy, is_async=True
            )
        )

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
        return await arun(
            self._set_steps(
                key, value, timeout, version, policy, nx=nx, xx=xx, is_async=True
            )
        )

    async def aset_many(
        self,
        data: dict[Any, Any],
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        **policy: Any,
    ) -> list[Any]:
        """Store values in one round trip; return the keys of those that failed."""
        return await arun(
            self._set_many_steps(data, timeout, version, policy, is_async=True)
        )

    async def aadd(
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        **policy: Any,
    ) -> bool:
        """Store a value unless there is one; return whether it was stored."""
        return await arun(
            self._add_steps(key, value, timeout, version, policy, is_async=True)
        )

    async def atouch(
        self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        """Have a value live from now on; return whether there is one."""
        return await arun(self._touch_steps(key, timeout, version))

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        """Remove a value; return whether there was one."""
        return await arun(self._delete_steps(key, version))

    async def adelete_many(
        self, keys: Iterable[Any], version: int | None = None
    ) -> None:
        """Remove values in one round trip."""
        await arun(self._delete_many_steps(keys, version))

    async def aclear(self) -> None:
        """Remove all values of the alias, and of no other ``KEY_PREFIX``."""
        await arun(self._clear_steps())

    async def aincr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add to a number, whose time goes on; return the sum.

        :raises ValueError: there is none.
        """
        return await arun(self._incr_steps(key, delta, version))

    async def aincr_version(
        self, key: Any, delta: int = 1, version: int | None = None
    ) -> int:
        """Give a value another version, which it bears for the time it has left.

        :raises ValueError: there is none.
        """
        return await arun(self._incr_version_steps(key, delta, version))

    # Beyond Django

    async def attl(self, key: Any, version: int | None = None) -> int | None:
        """Return the whole seconds that a value has left; 0 for none."""
        return await arun(self._ttl_steps(key, version))

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
        async for made in self._store.aiter_keys(wanted.start):
            if wanted.fills_page(made):
                found = await self._store.aget_multi(
                    wanted.page, ignore_expiration=False
                )
                for key in wanted.living(found):
                    yield key
        found = await self._store.aget_multi(wanted.page, ignore_expiration=False)
        for key in wanted.living(found):
            yield key

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
        await arun(self._invalidate_steps(tags, hard=hard))
