"""One request whose page was not found at once, in a thread or in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from threading import get_ident
from typing import Any

from asgiref.sync import sync_to_async
from django.http.response import HttpResponseBase

from dogpile.cache import NO_VALUE, ConfigurationError, Creation
from dogpile.cache.integrations.django import apart
from dogpile.cache.integrations.django.asked import Asked
from dogpile.cache.integrations.django.responses import told
from dogpile.cache.integrations.django.snapshots import ahas_old_view, has_old_view
from dogpile.cache.integrations.django.turn import REFUSALS, BaseTurn
from dogpile.cache.integrations.django.watch import Watch
from dogpile.cache.integrations.http import Outcome

# A page may vary by more than it did the last time; each is learned once.
_MOST_LESSONS = 4


class Turn(BaseTurn):
    """A request in a thread."""

    _thread = 0  # that it is answered in

    def answer(self, now: float) -> HttpResponseBase:
        """Answer the request.

        :param now: when it was asked, in seconds since the epoch.
        """
        asked, region = self._asked, self._region
        self._thread = get_ident()
        if asked.is_touched():
            return self._uncached("transaction")
        if asked.wish:
            region.delete(self._key)
        is_behind = bool(asked.options.tags) and has_old_view()
        if self._only_reads(is_behind=is_behind):
            found = self._found(region.get(self._key), now)
            if found is not None:
                return found
            return self._uncached("snapshot") if is_behind else self._alone()
        for _ in range(_MOST_LESSONS):
            if self._shelf.is_passing(self._key, now):
                return self._alone()
            payload = region.get_or_create(
                self._key,
                self.create,
                asked.options.expiration_time,
                **self._settings(),
            )
            if not self._has_lesson(payload):
                return self._concluded(payload, now) or self._alone()
        return self._alone()

    def _uncached(self, detail: str) -> HttpResponseBase:
        asked = self._asked
        response = asked.fn(asked.request, *asked.args, **asked.kwargs)
        return told(response, Outcome("bypass", detail=detail))

    def _alone(self) -> HttpResponseBase:
        """Make the response for this request, and keep nothing of it."""
        return self._passed(*self._rendered(self._request))

    def create(self, creation: Creation) -> Any:
        """Make the page; what is not everybody's is set aside for its client."""
        started = self._shelf.clock.time()
        if get_ident() != self._thread:
            return apart.run_apart(lambda: self._create_apart(started, creation))
        try:
            response, self._detail = self._rendered(self._request)
        except Exception as error:  # noqa: BLE001 - raised again unless it is personal
            self._failed(error)
            return NO_VALUE
        return self._result(response, started, creation)

    def _create_apart(self, started: float, creation: Creation) -> Any:
        """Make the page in the background, where there is no client."""
        request = self._keyed_request
        try:
            with apart.in_locale(*self._locale):
                response = self._call(request)
        except REFUSALS:
            reason = "status"
        else:
            reason = self._apart(response, request)
        if not reason:
            return self._page(response, started, creation)
        # It is another page now, such as none.
        self._region.delete(self._key)
        return NO_VALUE

    def _rendered(self, request: Any) -> tuple[Any, str]:
        """Call the view, and return its response, and why it must not be kept."""
        response = self._call(request)
        return response, self._judged(response, request)

    def _call(self, request: Any) -> Any:
        asked = self._asked
        with self._watching(request):
            response = asked.fn(request, *asked.args, **asked.kwargs)
            if hasattr(response, "__await__"):
                response.close()
                raise ConfigurationError(
                    f"the view {asked.view!r} returned a coroutine, but is no "
                    "coroutine function: decorate as_view(), or its dispatch()"
                )
            if not getattr(response, "is_rendered", True):
                response = response.render()
        return response

    def _watching(self, request: Any) -> Watch:
        self._watch = Watch(request, self._asked.query)
        return self._watch


class AsyncTurn(BaseTurn):
    """A request in an event loop: the twin of :class:`Turn`."""

    is_async = True

    def __init__(self, asked: Asked, keyed: Collection[str]) -> None:
        super().__init__(asked, keyed)
        self._task = asyncio.current_task()

    async def answer(self, now: float) -> HttpResponseBase:
        """Answer the request; the twin of ``Turn.answer()``."""
        asked, region = self._asked, self._region
        if asked.is_touched(is_async=True):
            return await self._uncached("transaction")
        if asked.wish:
            await region.adelete(self._key)
        is_behind = bool(asked.options.tags) and await ahas_old_view()
        if self._only_reads(is_behind=is_behind):
            found = self._found(await region.aget(self._key), now)
            if found is not None:
                return found
            if is_behind:
                return await self._uncached("snapshot")
            return await self._alone()
        for _ in range(_MOST_LESSONS):
            if self._shelf.is_passing(self._key, now):
                return await self._alone()
            payload = await region.aget_or_create(
                self._key,
                self.create,
                asked.options.expiration_time,
                **self._settings(),
            )
            if not self._has_lesson(payload):
                return self._concluded(payload, now) or await self._alone()
        return await self._alone()

    async def _uncached(self, detail: str) -> HttpResponseBase:
        asked = self._asked
        response = await asked.fn(asked.request, *asked.args, **asked.kwargs)
        return told(response, Outcome("bypass", detail=detail))

    async def _alone(self) -> HttpResponseBase:
        return self._passed(*await self._rendered(self._request))

    async def create(self, creation: Creation) -> Any:
        """Make the page; the twin of ``Turn.create()``."""
        started = self._shelf.clock.time()
        if asyncio.current_task() is not self._task:
            return await apart.arun_apart(lambda: self._create_apart(started, creation))
        try:
            response, self._detail = await self._rendered(self._request)
        except Exception as error:  # noqa: BLE001 - raised again unless it is personal
            self._failed(error)
            return NO_VALUE
        return self._result(response, started, creation)

    async def _create_apart(self, started: float, creation: Creation) -> Any:
        request = self._keyed_request
        try:
            with apart.in_locale(*self._locale):
                response = await self._call(request)
        except REFUSALS:
            reason = "status"
        else:
            reason = self._apart(response, request)
        if not reason:
            return self._page(response, started, creation)
        await self._region.adelete(self._key)
        return NO_VALUE

    async def _rendered(self, request: Any) -> tuple[Any, str]:
        response = await self._call(request)
        return response, self._judged(response, request)

    async def _call(self, request: Any) -> Any:
        asked = self._asked
        self._watch = Watch(request, asked.query)
        with self._watch:
            response = await asked.fn(request, *asked.args, **asked.kwargs)
            if not getattr(response, "is_rendered", True):
                response = await sync_to_async(response.render)()
        return response
