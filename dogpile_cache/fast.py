"""The short ways to a value whose backend keeps its entries in this process.

A hit is a look-up, a comparison of readers and one of times; a plain miss is a
flight without passengers. Whatever is neither takes the general way. Entries
are read payload first: one that is dropped or changed meanwhile shows it by
what is read after. Of many keys only those take the general way that have to.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, MutableMapping
from types import FunctionType
from typing import Any, NamedTuple

from dogpile.cache.api import NO_VALUE, NoValue
from dogpile.cache.creation import Skipped
from dogpile.cache.creator import checked
from dogpile.cache.fast_templates import ENTRIES
from dogpile.cache.flight import ABANDONED, lead, unlead
from dogpile.cache.invalidation import carried
from dogpile.cache.policy import Policy
from dogpile.cache.records import records_now
from dogpile.cache.storage import Storage


class Plain(NamedTuple):
    """What a creation needs to know under a policy that asks for nothing more.

    :param lifetime: seconds.
    :param rest: metadata beyond ``ct`` and ``v``; ``None`` for none.
    :param epoch: the one in which all this holds.
    :param reader: whom an entry is judged for that was created so.
    """

    lifetime: float
    rest: Mapping[str, Any] | None
    epoch: object
    reader: object


class _IsNoPayload(dict[type, bool]):
    """By type: whether what a creator returned cannot be stored as it is."""

    def __missing__(self, kind: type) -> bool:
        is_none = hasattr(kind, "__await__") or issubclass(kind, (NoValue, Skipped))
        self[kind] = is_none
        return is_none


_is_no_payload = _IsNoPayload()


class _Unfit(NamedTuple):
    """An entry that is never handed out."""

    payload: None = None
    born: float = math.inf
    until: float = -math.inf
    reader: None = None


class _Nowhere(dict[Any, _Unfit]):
    """In place of entries: whoever looks into it takes the general way."""

    def __missing__(self, key: Any) -> _Unfit:
        return _UNFIT

    def get(self, key: Any, default: Any = None) -> _Unfit:
        """Return what is never handed out."""
        return _UNFIT


_UNFIT = _Unfit()
_NOWHERE = _Nowhere()


#: Returned where the general way has to be taken.
OTHERWISE: Any = object()


class FastPath:
    """The short ways of one region.

    :param region: whose instance attributes they become.
    :param storage: whose entries they look into.
    """

    def __init__(self, region: Any, storage: Storage) -> None:
        self._region = region
        self._storage = storage
        backend: Any = storage.actual
        self._backend = backend
        self._entries: Any = storage.entries
        self._space: dict[str, Any] = {}
        self._is_bounded: bool = backend.is_bounded
        # Functions, each with its code for one reader alone, and for several.
        self._bodies: list[tuple[Any, tuple[Any, Any]]] = []
        self._flights = storage.flights
        self._clock = storage.clock.source

    @staticmethod
    def fits(storage: Storage) -> bool:
        """Return whether there are short ways to what a storage holds."""
        return storage.entries is not None and storage.invalidator is None

    def bind(self, kind: Any) -> None:
        """Make the reading operations of the region short.

        :param kind: the class whose own methods they replace; those of a
            subclass are left alone.
        """
        region = self._region
        own: Any = type(region)
        space: MutableMapping[str, Any] = region.__dict__
        storage = self._storage
        self._space.update(
            entries=self._entries,
            key_of=storage.coding.key,
            keys_of=storage.coding.keys,
            clock=storage.clock.source,
            NO_VALUE=NO_VALUE,
            OTHERWISE=OTHERWISE,
            FunctionType=FunctionType,
            create=self.create,
        )
        self.start_epoch()
        for name, source in ENTRIES.items():
            method = getattr(kind, name)
            self._space[f"general_{name}"] = method.__get__(region)
            by_age = name in ("get", "get_multi") and not region.ignore_expiration
            if getattr(own, name) is method and not by_age:
                space[name] = self._compile(name, source)
        with self._backend.lock:
            self._backend.watchers[self] = _weakly(self)
            self._choose_bodies()

    def _choose_bodies(self) -> None:
        """Look at readers only if there are entries of others; under the lock."""
        backend = self._backend
        only = backend.only_reader
        is_mixed = backend.is_mixed or (
            only is not None and only is not self._space["reader"]
        )
        self._space["is_mixed"] = is_mixed
        for function, bodies in self._bodies:
            # The same function, for whoever has it already.
            function.__code__ = bodies[is_mixed]

    def _compile(self, name: str, source: str) -> Any:
        """Return a short way, of which there may be one for each kind of entries."""
        made = self._made(name, source.replace("IS_CURRENT", "True"))
        if "IS_CURRENT" in source:
            strict = source.replace("IS_CURRENT", "entry.reader is reader")
            strict = strict.replace("or is_mixed", "")
            bodies = (made.__code__, self._made(name, strict).__code__)
            self._bodies.append((made, bodies))
        return made

    def _made(self, name: str, text: str) -> Any:
        # Compared to a closure: no cells, and only the steps that are needed.
        storage = self._storage
        is_same = not storage.prefix and storage.mangler is None
        words = {
            "STORED_KEYS": "keys" if is_same else "keys_of(keys)",
            "STORED_KEY": "key" if is_same else "key_of(key)",
            "MARK": "entry.hit = True" if self._is_bounded else "pass",
        }
        for word, meant in words.items():
            text = text.replace(word, meant)
        exec(text, self._space)  # noqa: S102 - the templates below, nothing else
        made: Callable[..., Any] = self._space.pop(name)
        made.__doc__ = getattr(type(self._region), name).__doc__
        made.__module__ = __name__
        return made

    def retire(self) -> None:
        """Have whoever still holds the short ways take the general one."""
        self._space["entries"] = _NOWHERE

    def start_epoch(self) -> None:
        """Have what was judged before be judged anew."""
        # Of several at once the last one must see what is there then.
        with self._backend.lock:
            storage = self._storage
            self._space["reader"] = storage.local.reader(storage.policy.version)
            self._space["plain"] = self.plain(storage.policy)
            self._choose_bodies()
        for function in list(self._region._functions):
            function.forget()

    def plain(self, policy: Policy) -> Plain | None:
        """Return what a plain creation needs to know, if it is one."""
        storage = self._storage
        if policy.merged(_PLAIN) != policy or self._region.async_creation_runner:
            return None
        epoch = self._backend.epoch
        marks = records_now(storage, storage.records)
        if policy.expiration_time is None and storage.was_soft(marks):
            return None
        metadata = storage.metadata(0.0, policy, marks)
        rest = {n: metadata[n] for n in metadata if n not in ("ct", "v")}
        if carried(marks):
            rest["t"] = carried(marks)
        lifetime = policy.expiration_time
        seconds = math.inf if lifetime is None else lifetime
        reader = storage.local.reader(policy.version)
        return Plain(seconds, rest or None, epoch, reader)

    def create(
        self,
        key: Any,
        creator: Callable[[], Any],
        plain: Plain,
        known: dict[Any, Any] | None = None,
        arguments: Any = None,
    ) -> Any:
        """Create a missing value that nobody else creates.

        :param key: as it is stored.
        :param known: entries by arguments, to which the new one is added.
        :param arguments: that it is for.
        :return: the payload, or ``OTHERWISE`` if somebody else is at it.
        """
        if plain.epoch is not self._backend.epoch:
            return OTHERWISE
        flights = self._flights
        flight, is_leader = flights.board(key)
        if not is_leader:
            return OTHERWISE
        token = lead(flight)
        payload: Any = ABANDONED
        failure: Exception | None = None
        try:
            if key in self._entries:
                return OTHERWISE
            born = self._clock.time()
            value = creator()
            if _is_no_payload[type(value)]:
                payload = checked(creator, value)
                return payload
            payload = value
            until = born + plain.lifetime
            with self._backend.lock:
                if not flight.void and self._backend.epoch is plain.epoch:
                    entry = self._backend.place(
                        key, value, born, until, plain.rest, plain.reader
                    )
                    if known is not None:
                        # An invalidation begins another epoch, and clears them then.
                        known[arguments] = entry
        except Exception as error:
            failure = error
            self._storage.events.emit_failure(key, error, is_raised=True)
            raise
        else:
            return value
        finally:
            unlead(token)
            flights.land(flight, payload, failure)


def _weakly(path: FastPath) -> Callable[[], None]:
    reference = weakref.ref(path)

    def choose() -> None:
        found = reference()
        if found is not None:
            found._choose_bodies()

    return choose


# What a policy must not have for a creation to be plain.
_PLAIN: Mapping[str, Any] = {
    "early": 0.0,
    "hard_timeout": None,
    "jitter": 0.0,
    "tags": (),
    "should_cache_fn": None,
}
