"""A backend around a backend: each method passes on to the one it proxies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dogpile.cache.api import (
    BackendFormatted,
    BackendSetType,
    CacheBackend,
    CacheMutex,
    Capabilities,
    Deserializer,
    KeyManglerType,
    KeyType,
    Lease,
    SerializedReturnType,
    Serializer,
)

# A lease is renewed for that long, in seconds, before a proxy writes under it.
_MOMENT = 5.0


# What a class may do in a way of its own; and how one shows that it knows leases.
_WAYS = frozenset(
    {
        *("get", "set", "put", "delete", "get_multi", "set_multi", "delete_multi"),
        *("get_serialized", "set_serialized"),
        *("get_serialized_multi", "set_serialized_multi"),
    }
)
_LEASING = frozenset({"lease", "commit"})
#: What the modules of our backends are called.
OUR_BACKENDS = "dogpile.cache.backends."


def own_ways(backend: object) -> frozenset[str]:
    """Return what a class does otherwise than the backend of ours that it derives from.

    As classes for 1.x do, which know no leases, and no ``ttl``: both would go past
    what they do.
    """
    own: set[str] = set()
    for kind in type(backend).__mro__:
        if kind.__module__.startswith(OUR_BACKENDS):
            return frozenset() if own & _LEASING else frozenset(own & _WAYS)
        own.update(vars(kind))
    return frozenset()


class ProxyBackend(CacheBackend):
    """Subclass it, and override what is to be done differently.

    Hand classes or instances to ``configure(wrap=[…])``; the first one is the
    outermost. The proxied backend is :attr:`proxied`.
    """

    # Of the proxied backend: what it does otherwise than one of ours.
    _inner_ways: frozenset[str] = frozenset()

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self.proxied: Any = None

    def wrap(self, backend: CacheBackend) -> ProxyBackend:
        """Proxy a backend.

        :return: this proxy.
        """
        self.proxied = backend
        self._inner_ways = own_ways(backend)
        # Asked for on the outside, they are those of the backend inside.
        self.key_mangler: KeyManglerType | None = backend.key_mangler
        self.serializer: Serializer | None = backend.serializer
        self.deserializer: Deserializer | None = backend.deserializer
        return self

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]  # read only
        """Those of the proxied backend, less what a proxy would bypass."""
        inner: Capabilities = self.proxied.capabilities
        return Capabilities(
            leases=inner.leases,
            scope=inner.scope,
            inline=inner.inline,
            lasting=inner.lasting,
            network=inner.network,
        )

    def get(self, key: KeyType) -> BackendFormatted:
        """Return what the proxied backend has."""
        found: BackendFormatted = self.proxied.get(key)
        return found

    def set(self, key: KeyType, value: BackendSetType) -> None:
        """Store a value in the proxied backend."""
        if type(self).put is not ProxyBackend.put:
            self.put(key, value)
        else:
            self.proxied.set(key, value)

    def put(self, key: KeyType, value: BackendSetType) -> None:
        """Store a value in the proxied backend."""
        if type(self).set is not ProxyBackend.set:
            self.set(key, value)
        else:
            self.proxied.set(key, value)

    def delete(self, key: KeyType) -> None:
        """Delete a value from the proxied backend."""
        self.proxied.delete(key)

    def get_multi(self, keys: Sequence[KeyType]) -> Sequence[BackendFormatted]:
        """Return what the proxied backend has, for each key."""
        found: Sequence[BackendFormatted] = self.proxied.get_multi(keys)
        return found

    def set_multi(self, mapping: Mapping[KeyType, BackendSetType]) -> None:
        """Store values in the proxied backend."""
        self.proxied.set_multi(mapping)

    def delete_multi(self, keys: Sequence[KeyType]) -> None:
        """Delete values from the proxied backend."""
        self.proxied.delete_multi(keys)

    def get_serialized(self, key: KeyType) -> SerializedReturnType:
        """Return the bytes that the proxied backend has."""
        found: SerializedReturnType = self.proxied.get_serialized(key)
        return found

    def get_serialized_multi(
        self, keys: Sequence[KeyType]
    ) -> Sequence[SerializedReturnType]:
        """Return the bytes that the proxied backend has, for each key."""
        found: Sequence[SerializedReturnType] = self.proxied.get_serialized_multi(keys)
        return found

    def set_serialized(self, key: KeyType, value: bytes) -> None:
        """Store bytes in the proxied backend."""
        self.proxied.set_serialized(key, value)

    def set_serialized_multi(self, mapping: Mapping[KeyType, bytes]) -> None:
        """Store bytes in the proxied backend."""
        self.proxied.set_serialized_multi(mapping)

    def has_lock_timeout(self) -> bool:
        """Return whether the proxied backend's mutexes end by themselves."""
        return bool(self.proxied.has_lock_timeout())

    def get_mutex(self, key: KeyType) -> CacheMutex | None:
        """Return the proxied backend's mutex."""
        mutex: CacheMutex | None = self.proxied.get_mutex(key)
        return mutex

    def lease(self, key: KeyType, seconds: float, **how: Any) -> Lease:
        """Ask the proxied backend for a lease."""
        lease: Lease = self.proxied.lease(key, seconds, **how)
        if self._overrides("get", "get_serialized"):
            return lease._replace(found=self._read(key))
        return lease

    def lease_multi(self, keys: Sequence[KeyType], seconds: float) -> list[Lease]:
        """Ask the proxied backend for leases."""
        return [self.lease(key, seconds) for key in keys]

    def renew(self, lease: Lease, seconds: float) -> bool:
        """Renew a lease of the proxied backend."""
        return bool(self.proxied.renew(lease, seconds))

    def commit(
        self, lease: Lease, value: BackendSetType, *, ttl: float | None = None
    ) -> bool:
        """Store a created value, by this proxy's own way of storing."""
        if not self._overrides("set", "put", "set_serialized"):
            return bool(self.proxied.commit(lease, value, ttl=ttl))
        if not self.proxied.renew(lease, _MOMENT):
            return False
        if self.serializer is None:
            self.set(lease.key, value)
        else:
            self.set_serialized(lease.key, value)  # type: ignore[arg-type]  # bytes
        return True

    def commit_multi(
        self,
        values: Sequence[tuple[Lease, BackendSetType]],
        *,
        ttl: float | None = None,
    ) -> list[bool]:
        """Store many created values."""
        return [self.commit(lease, value, ttl=ttl) for lease, value in values]

    def release(self, lease: Lease, failure: bytes | None = None) -> None:
        """End a lease of the proxied backend."""
        self.proxied.release(lease, failure)

    def release_multi(
        self, leases: Sequence[Lease], failure: bytes | None = None
    ) -> None:
        """End leases of the proxied backend."""
        for lease in leases:
            self.proxied.release(lease, failure)

    def is_leased(self, key: KeyType) -> bool:
        """Return whether somebody holds the lease of the key now."""
        return bool(self.proxied.is_leased(key))

    def _overrides(self, *names: str) -> bool:
        return any(
            name in self._inner_ways
            or getattr(type(self), name) is not getattr(ProxyBackend, name)
            for name in names
        )

    def _read(self, key: KeyType) -> BackendFormatted:
        return self.get(key) if self.serializer is None else self.get_serialized(key)

    def close(self) -> None:
        """Close the proxied backend."""
        self.proxied.close()


class Overridden(ProxyBackend):
    """Around one of ours that does something in :func:`own_ways`: asks it in these."""


def asked(backend: CacheBackend, before: CacheBackend | None) -> CacheBackend:
    """Return what is asked in the place of a backend: itself, mostly.

    :param before: what was asked until now.
    """
    if not own_ways(backend):
        return backend
    if isinstance(before, Overridden) and before.proxied is backend:
        return before
    return Overridden().wrap(backend)
