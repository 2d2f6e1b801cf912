"""The short ways to a value whose backend keeps its entries in this process.

A hit is a look-up, a comparison of epochs and one of times; whatever is not a
hit takes the general way. Entries are read payload first: one that is dropped
or changed meanwhile shows it by what is read after.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

from dogpile.cache.api import NO_VALUE
from dogpile.cache.storage import Storage



class FastPath:
    """The short ways of one region.

    :param region: whose instance attributes they become.
    :param storage: whose entries they look into.
    """

    def __init__(self, region: Any, storage: Storage) -> None:
        self._region = region
        self._storage = storage
        self._backend: Any = storage.actual
        self._set_epoch: list[Callable[[object], None]] = []
        #: What entries must have been judged under to be handed out at once.
        self.epoch: object = self._backend.epoch

    @staticmethod
    def fits(storage: Storage) -> bool:
        """Return whether there are short ways to what a storage holds."""
        return storage.entries is not None and storage.invalidator is None

    def bind(self, kind: type) -> None:
        """Make ``get`` and ``get_or_create`` of the region short.

        :param kind: the class whose own methods they replace; those of a
            subclass are left alone.
        """
        region, own = self._region, type(self._region)
        space: MutableMapping[str, Any] = region.__dict__
        if own.get is kind.get and region.ignore_expiration:  # type: ignore[attr-defined]
            space["get"] = self._make_get(kind.get.__get__(region))  # type: ignore[attr-defined]
        if own.get_or_create is kind.get_or_create:  # type: ignore[attr-defined]
            space["get_or_create"] = self._make_get_or_create(
                kind.get_or_create.__get__(region)  # type: ignore[attr-defined]
            )

    def start_epoch(self) -> None:
        """Have what was judged before be judged anew."""
        self.epoch = self._backend.epoch
        for set_epoch in self._set_epoch:
            set_epoch(self.epoch)
        for function in list(self._region._functions):
            function.forget()

    def restamp(self, key: Any, epoch: object) -> None:
        """Note that an entry was found fresh.

        :param epoch: the one that began before it was judged.
        """
        entry = self._storage.entries.get(key)  # type: ignore[union-attr]
        if entry is not None and entry.epoch is not epoch:
            with self._backend.lock:
                if self._backend.epoch is epoch:
                    entry.epoch = epoch

    def _key_of(self) -> Callable[[Any], Any] | None:
        storage = self._storage
        if not storage.prefix and storage.mangler is None:
            return None
        return storage.key

    def _make_get(self, general: Callable[..., Any]) -> Callable[..., Any]:
        entries: Any = self._storage.entries
        key_of = self._key_of()
        epoch = self.epoch

        def get(
            key: Any,
            expiration_time: Any = None,
            ignore_expiration: bool | None = None,
        ) -> Any:
            """Return a stored payload, whatever its age, or ``NO_VALUE``."""
            try:
                entry = entries[key if key_of is None else key_of(key)]
            except KeyError:
                return NO_VALUE
            payload = entry.payload
            if (
                entry.epoch is epoch
                and expiration_time is None
                and ignore_expiration is not False
            ):
                entry.hit = True
                return payload
            return general(key, expiration_time, ignore_expiration)

        def set_epoch(new: object) -> None:
            nonlocal epoch
            epoch = new

        self._set_epoch.append(set_epoch)
        return get

    def _make_get_or_create(self, general: Callable[..., Any]) -> Callable[..., Any]:
        entries: Any = self._storage.entries
        key_of = self._key_of()
        clock = self._storage.clock.source
        call_for = self._region._call
        answer_missing = self._region._answer_missing
        policy = self._storage.policy
        epoch = self.epoch

        def get_or_create(
            key: Any,
            creator: Any,
            expiration_time: Any = None,
            should_cache_fn: Any = None,
            creator_args: Any = None,
            **settings: Any,
        ) -> Any:
            """Return the payload of a key; one caller creates it where need be."""
            try:
                entry = entries[key if key_of is None else key_of(key)]
            except KeyError:
                if settings or expiration_time is not None or should_cache_fn:
                    return general(
                        key,
                        creator,
                        expiration_time,
                        should_cache_fn,
                        creator_args,
                        **settings,
                    )
                call = call_for(
                    key, creator, policy, explicit=False, creator_args=creator_args
                )
                return answer_missing(call)
            payload = entry.payload
            if (
                entry.epoch is epoch
                and expiration_time is None
                and entry.born <= clock.time() < entry.until
                and not settings
            ):
                entry.hit = True
                return payload
            return general(
                key,
                creator,
                expiration_time,
                should_cache_fn,
                creator_args,
                **settings,
            )

        def set_epoch(new: object) -> None:
            nonlocal epoch
            epoch = new

        self._set_epoch.append(set_epoch)
        return get_or_create


