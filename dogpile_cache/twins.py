"""The operations of a region for event loops: ``aget`` and its like."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from dogpile.cache import operations, update as updates
from dogpile.cache.api import CachedValue
from dogpile.cache.creation import Call, Many
from dogpile.cache.flow import follow
from dogpile.cache.flow_multi import answer_many
from dogpile.cache.policy import FRESH, Policy
from dogpile.cache.ports import in_thread, loop_ports
from dogpile.cache.storage import Storage

T = TypeVar("T")


class AsyncTwins:
    """Each method of a region that does I/O, as a coroutine.

    A region serves threads and any number of event loops at once. What a
    twin takes, returns and raises is what its sync method does.
    """

    storage: Storage

    def _wishes(
        self,
        expiration_time: Any,
        should_cache_fn: Callable[[Any], bool] | None,
        policy: Mapping[str, Any],
    ) -> tuple[Policy, bool]:
        raise NotImplementedError

    def _by_age(self, expiration_time: Any, ignore_expiration: bool | None) -> bool:
        raise NotImplementedError

    def _call(
        self,
        key: Any,
        creator: Callable[..., Any],
        policy: Policy,
        *,
        explicit: bool,
        creator_args: tuple[Any, Any] | None = None,
        takes_creation: bool | None = None,
        in_place: bool = False,
    ) -> Call:
        raise NotImplementedError

    def iter_keys(self, start: str = "") -> Iterator[str]:
        """Yield the stored keys that begin so; a region has it."""
        raise NotImplementedError

    async def aget(
        self,
        key: Any,
        expiration_time: Any = None,
        ignore_expiration: bool | None = None,
    ) -> Any:
        """Return a stored payload; the twin of ``get()``."""
        wished, explicit = self._wishes(expiration_time, None, {})
        value = await operations.get(
            loop_ports(),
            self.storage,
            key,
            wished,
            by_age=self._by_age(expiration_time, ignore_expiration),
            explicit=explicit,
        )
        return value.payload

    async def aget_value_metadata(
        self,
        key: Any,
        expiration_time: Any = None,
        ignore_expiration: bool | None = None,
    ) -> CachedValue | None:
        """Return a stored value; the twin of ``get_value_metadata()``."""
        wished, explicit = self._wishes(expiration_time, None, {})
        value = await operations.get(
            loop_ports(),
            self.storage,
            key,
            wished,
            by_age=self._by_age(expiration_time, ignore_expiration),
            explicit=explicit,
        )
        return value if isinstance(value, CachedValue) else None

    async def aget_multi(
        self,
        keys: Sequence[Any],
        expiration_time: Any = None,
        ignore_expiration: bool | None = None,
    ) -> list[Any]:
        """Return stored payloads; the twin of ``get_multi()``."""
        wished, explicit = self._wishes(expiration_time, None, {})
        return await operations.get_multi(
            loop_ports(),
            self.storage,
            list(keys),
            wished,
            by_age=self._by_age(expiration_time, ignore_expiration),
            explicit=explicit,
        )

    async def aget_or_create(
        self,
        key: Any,
        creator: Callable[..., Any],
        expiration_time: Any = None,
        should_cache_fn: Callable[[Any], bool] | None = None,
        creator_args: tuple[Any, Any] | None = None,
        *,
        in_place: bool = False,
        **policy: Any,
    ) -> Any:
        """Return a payload, created if need be; the twin of ``get_or_create()``.

        :param creator: a coroutine function, or a plain one, which runs in a
            thread unless it is marked by :func:`dogpile.cache.quick`.
        :param in_place: wait for it in this task, never in the background.
        """
        wished, explicit = self._wishes(expiration_time, should_cache_fn, policy)
        call = self._call(
            key,
            creator,
            wished,
            explicit=explicit,
            creator_args=creator_args,
            in_place=in_place,
        )
        return await self._aanswer(call)

    async def _aanswer(self, call: Call) -> Any:
        storage, ports = self.storage, loop_ports()
        seen = await operations.look(
            ports,
            storage,
            call.key,
            call.policy,
            call.records,
            explicit=call.explicit,
        )
        if seen.verdict is FRESH:
            if "hit" in storage.events.wanted:
                storage.events.emit("hit", call.name)
            return seen.value.payload
        return await follow(ports, storage, call, seen)

    async def aget_or_create_multi(
        self,
        keys: Sequence[Any],
        creator: Callable[..., Any],
        expiration_time: Any = None,
        should_cache_fn: Callable[[Any], bool] | None = None,
        **policy: Any,
    ) -> list[Any]:
        """Return payloads; the twin of ``get_or_create_multi()``."""
        wished, explicit = self._wishes(expiration_time, should_cache_fn, policy)
        storage = self.storage
        many = Many(creator, wished, explicit, storage.records_for(wished))
        return await answer_many(loop_ports(), storage, many, list(keys))

    async def aput(self, key: Any, value: T, **policy: Any) -> T:
        """Store a value; the twin of ``put()``."""
        wished, _ = self._wishes(None, None, policy)
        return await self._aput(key, value, wished)

    async def _aput(self, key: Any, value: T, policy: Policy) -> T:
        await operations.put(loop_ports(), self.storage, key, value, policy)
        return value

    async def aset(self, key: Any, value: T, **policy: Any) -> T:
        """Store a value; the twin of ``set()``."""
        return await self.aput(key, value, **policy)

    async def aput_multi(self, mapping: Mapping[Any, Any], **policy: Any) -> None:
        """Store values; the twin of ``put_multi()``."""
        wished, _ = self._wishes(None, None, policy)
        await operations.put_multi(loop_ports(), self.storage, mapping, wished)

    async def aset_multi(self, mapping: Mapping[Any, Any], **policy: Any) -> None:
        """Store values; the twin of ``set_multi()``."""
        await self.aput_multi(mapping, **policy)

    async def aupdate(
        self,
        key: Any,
        change: Callable[[CachedValue | None], Any],
        **policy: Any,
    ) -> Any:
        """Replace a value by what is made of it; the twin of ``update()``.

        :param change: a plain function, as of ``update()``.
        """
        wished, _ = self._wishes(None, None, policy)
        return await updates.update(loop_ports(), self.storage, key, change, wished)

    async def adelete(self, key: Any) -> None:
        """Remove a value; the twin of ``delete()``."""
        await operations.delete_multi(loop_ports(), self.storage, [key])

    async def adelete_multi(self, keys: Sequence[Any]) -> None:
        """Remove values; the twin of ``delete_multi()``."""
        await operations.delete_multi(loop_ports(), self.storage, list(keys))

    async def ainvalidate(self, hard: bool = True) -> None:
        """Invalidate the region; the twin of ``invalidate()``."""
        storage = self.storage
        await operations.invalidate(loop_ports(), storage, (storage.record,), hard=hard)

    async def ainvalidate_tags(self, *tags: str, hard: bool = True) -> None:
        """Invalidate what has a tag; the twin of ``invalidate_tags()``."""
        storage = self.storage
        await operations.invalidate(
            loop_ports(), storage, storage.tag_records(tags), hard=hard
        )

    async def aiter_keys(self, start: str = "") -> AsyncIterator[str]:
        """Yield the stored keys that begin so; the twin of ``iter_keys()``."""
        for key in await in_thread(lambda: list(self.iter_keys(start))):
            yield key

    async def akey_is_locked(self, key: Any) -> bool:
        """Return whether a value is being created; as ``key_is_locked()``."""
        return await operations.is_locked(loop_ports(), self.storage, key)
