"""The asynchronous twins of a Redis backend, and its clients, one per event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from dogpile.cache.api import KeyType, Lease, SerializedReturnType
from dogpile.cache.backends.redis_clients import Clients
from dogpile.cache.backends.redis_core import (
    RedisCore,
    granted_of,
    is_unknown,
    unknown_in,
)
from dogpile.cache.backends.redis_errors import is_nonsense
from dogpile.cache.backends.redis_scripts import (
    Call,
    as_value,
    held_call,
    lease_call,
    lease_name,
    release_call,
    renew_call,
)
from dogpile.cache.exception import BackendError

Answer = TypeVar("Answer")

#: How long a waiter rests where nobody can tell it anything.
PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class _Site:
    """What one event loop has.

    :param gate: lets so many tasks through at once.
    :param keeper: closes the clients when the loop shuts its generators down.
    """

    clients: Clients
    gate: asyncio.Semaphore
    keeper: AsyncGenerator[None, None]


class PerLoop:
    """Clients for each event loop that asks for some, closed with the loop.

    A forked child has loops of its own, and leaves its parent's clients alone.

    :param make: makes those of the running loop.
    """

    def __init__(self, make: Callable[[], Clients]) -> None:
        self._make = make
        self._sites: dict[asyncio.AbstractEventLoop, _Site] = {}
        self._openings: dict[asyncio.AbstractEventLoop, asyncio.Task[_Site]] = {}

    async def site(self) -> _Site:
        """Return what the running loop has; it is made by whoever asks first."""
        loop = asyncio.get_running_loop()
        site = self._sites.get(loop)
        if site is not None:
            return site
        opening = self._openings.get(loop)
        if opening is None:
            opening = self._openings[loop] = loop.create_task(self._open(loop))
            opening.add_done_callback(self._opened)
        # Who is cancelled leaves it to the others.
        return await asyncio.shield(opening)

    def current(self) -> _Site | None:
        """Return what the running loop has, if it has got so far."""
        return self._sites.get(asyncio.get_running_loop())

    async def aclose(self) -> None:
        """Close the clients of the running loop."""
        site = self.current()
        if site is not None:
            await site.keeper.aclose()

    async def _open(self, loop: asyncio.AbstractEventLoop) -> _Site:
        clients = self._make()
        try:
            await clients.aopen()
        except BaseException:
            await clients.aclose()
            raise
        gate = asyncio.Semaphore(clients.at_once)
        site = _Site(clients, gate, self._keep(loop, clients))
        await anext(site.keeper)
        # Those loops were closed without a word: nobody can close anything there.
        for gone in [one for one in list(self._sites) if one.is_closed()]:
            self._sites.pop(gone, None)
        self._sites[loop] = site
        return site

    def _opened(self, opening: asyncio.Task[_Site]) -> None:
        self._openings.pop(opening.get_loop(), None)
        if not opening.cancelled():
            # Looked at, in case that nobody is left to whom it matters.
            opening.exception()

    async def _keep(
        self, loop: asyncio.AbstractEventLoop, clients: Clients
    ) -> AsyncGenerator[None, None]:
        # asyncio.run() ends every generator that is still open, and then its loop.
        try:
            yield
        finally:
            self._sites.pop(loop, None)
            await clients.aclose()


class RedisTwins(RedisCore):
    """The operations for event loops; parent class of the backend."""

    _per_loop: PerLoop

    async def aget_serialized(self, key: KeyType) -> SerializedReturnType:
        """Return the bytes stored under the key, or :data:`NO_VALUE`."""
        try:
            site = await self._per_loop.site()
            async with site.gate:
                answer = await site.clients.reader.get(key)
            return as_value(answer)  # type: ignore[no-any-return]  # checked there
        except Exception as error:  # noqa: BLE001 - _afail() raises it as ours
            await self._afail("get", error)

    async def aget_serialized_multi(
        self, keys: Sequence[KeyType]
    ) -> Sequence[SerializedReturnType]:
        """Return the bytes stored under each key, in their order."""
        if not keys:
            return []
        try:
            site = await self._per_loop.site()
            reader = site.clients.reader
            async with site.gate:
                read = reader.mget_nonatomic if self._is_sharded else reader.mget
                return self._as_values(keys, await read(list(keys)))
        except Exception as error:  # noqa: BLE001 - _afail() raises it as ours
            await self._afail("get_multi", error)

    async def aset_serialized(
        self, key: KeyType, value: bytes, ttl: float | None = None
    ) -> None:
        """Store bytes under the key, and void its lease."""
        await self._arun("put", self._set_call(key, value, ttl))

    async def aset_serialized_multi(
        self, mapping: Mapping[KeyType, bytes], ttl: float | None = None
    ) -> None:
        """Store the bytes of each key, and void the leases of all."""
        calls = [self._set_call(key, mapping[key], ttl) for key in mapping]
        await self._arun_many("put_multi", calls)

    async def adelete(self, key: KeyType) -> None:
        """Remove the value, and void the lease of its key."""
        await self._arun("delete", self._delete_call(key))

    async def adelete_multi(self, keys: Sequence[KeyType]) -> None:
        """Remove the values of all the keys, and void their leases."""
        await self._arun_many("delete_multi", [self._delete_call(key) for key in keys])

    async def alease(
        self,
        key: KeyType,
        seconds: float,
        *,
        after: str | None = None,
        steal: bool = False,
    ) -> Lease:
        """Ask for the right to create the value of a key, and read the key."""
        return await self._arun("lease", lease_call(key, seconds, after, steal))

    async def alease_multi(
        self, keys: Sequence[KeyType], seconds: float
    ) -> list[Lease]:
        """Ask for the leases of many keys, in one round trip."""
        calls = [lease_call(key, seconds) for key in keys]
        answers = await self._aask("lease_multi", calls)
        try:
            return self._checked("lease_multi", answers)
        except BackendError:
            # Nobody would create for these.
            with contextlib.suppress(BackendError):
                await self.arelease_multi(granted_of(answers))
            raise

    async def arenew(self, lease: Lease, seconds: float) -> bool:
        """Let a lease end later; return whether it is still the caller's."""
        return await self._arun("renew", renew_call(lease, seconds))

    async def acommit(
        self, lease: Lease, value: bytes, *, ttl: float | None = None
    ) -> bool:
        """Store the created value and end the lease, in one step."""
        return await self._arun("commit", self._commit_call(lease, value, ttl))

    async def acommit_multi(
        self,
        values: Sequence[tuple[Lease, bytes]],
        *,
        ttl: float | None = None,
    ) -> list[bool]:
        """Store many created values, in one round trip.

        :raises ValueTooLarge: one of them has more than ``max_value_bytes``; the
            others are stored.
        """
        calls, refused = self._commits(values, ttl)
        stored = await self._arun_many("commit_multi", calls)
        if refused is not None:
            raise refused
        return stored

    async def arelease(self, lease: Lease, failure: bytes | None = None) -> None:
        """End a lease without a value."""
        await self._arun("release", release_call(lease, failure, self.notify))

    async def arelease_multi(
        self, leases: Sequence[Lease], failure: bytes | None = None
    ) -> None:
        """End many leases without a value, in one round trip."""
        calls = [release_call(lease, failure, self.notify) for lease in leases]
        await self._arun_many("release_multi", calls)

    async def ais_leased(self, key: KeyType) -> bool:
        """Return whether somebody holds the lease of the key now."""
        return await self._arun("is_leased", held_call(key)) > 0

    async def await_for(self, key: KeyType, seconds: float) -> None:
        """Wait until the lease of a key ends, or nearly so, or time is up.

        :param seconds: how long at most. It may come back earlier.
        """
        try:
            writer = (await self._per_loop.site()).clients.writer
            if not self.notify or not hasattr(writer, "pubsub"):
                left = await self._arun("wait_for", held_call(key))
                await self.clock.asleep(min(seconds, left, PAUSE))
                return
            async with writer.pubsub() as channel:
                await channel.subscribe(lease_name(key))
                await channel.get_message(timeout=seconds)
                # It may have ended before anybody listened.
                left = await self._arun("wait_for", held_call(key))
                if left > 0:
                    await channel.get_message(timeout=min(seconds, left))
        except Exception as error:  # noqa: BLE001 - _afail() raises it as ours
            await self._afail("wait_for", error)

    async def aclose(self) -> None:
        """Close the clients of the running event loop, and those for threads."""
        await self._per_loop.aclose()
        self.close()

    async def _afail(self, operation: str, error: Exception) -> NoReturn:
        if is_nonsense(error):
            site = self._per_loop.current()
            if site is not None:
                await site.clients.adrop_idle()
        super()._fail(operation, error)

    async def _arun(self, operation: str, call: Call[Answer]) -> Answer:
        try:
            site = await self._per_loop.site()
            async with site.gate:
                return call.read(await self._aevaluate(site.clients.writer, call))
        except Exception as error:  # noqa: BLE001 - _afail() raises it as ours
            await self._afail(operation, error)

    async def _aevaluate(self, client: Any, call: Call[Any]) -> Any:
        try:
            return await client.execute_command(*call.command())
        except Exception as error:
            if not is_unknown(error):
                raise
        return await client.execute_command(*call.command(whole=True))

    async def _arun_many(
        self, operation: str, calls: Sequence[Call[Answer]]
    ) -> list[Answer]:
        answers = await self._aask(operation, calls)
        return self._checked(operation, answers)

    async def _aask(
        self, operation: str, calls: Sequence[Call[Answer]]
    ) -> list[Answer | Exception]:
        """Send many calls in one round trip; return answers and errors."""
        if not calls:
            return []
        try:
            site = await self._per_loop.site()
            async with site.gate:
                client = site.clients.writer
                answers = await self._pipeline(client, calls).execute(
                    raise_on_error=False
                )
                unknown = unknown_in(answers)
                if unknown:
                    again = [calls[place] for place in unknown]
                    pipeline = self._pipeline(client, again, whole=True)
                    told = await pipeline.execute(raise_on_error=False)
                    for place, answer in zip(unknown, told, strict=True):
                        answers[place] = answer
                return self._read_all(calls, answers)
        except Exception as error:  # noqa: BLE001 - _afail() raises it as ours
            await self._afail(operation, error)
