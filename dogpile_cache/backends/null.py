"""Nothing is stored: every read is a miss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dogpile.cache.api import (
    NO_VALUE,
    BackendFormatted,
    BackendSetType,
    CacheBackend,
    CacheMutex,
    Capabilities,
    KeyType,
)

__all__ = ["NullBackend", "NullLock"]


class NullLock(CacheMutex):
    """A mutex that keeps nobody out."""

    def acquire(self, wait: bool = True) -> bool:
        """Return that it was taken."""
        return True

    def release(self) -> None:
        """Do nothing."""

    def locked(self) -> bool:
        """Return that nobody holds it."""
        return False


class NullBackend(CacheBackend):
    """Turns the caching of a region off, and leaves the program as it is.

    :param arguments: none; whatever is given is passed over.
    """

    capabilities: Capabilities = Capabilities(inline=True)

    def get(self, key: KeyType) -> BackendFormatted:
        """Return :data:`NO_VALUE`."""
        return NO_VALUE

    def put(self, key: KeyType, value: BackendSetType) -> None:
        """Store nothing."""

    set = put

    def delete(self, key: KeyType) -> None:
        """Do nothing: there is nothing to remove."""

    def get_multi(self, keys: Sequence[KeyType]) -> Sequence[BackendFormatted]:
        """Return :data:`NO_VALUE` for each key."""
        return [NO_VALUE] * len(keys)

    def set_multi(self, mapping: Mapping[KeyType, BackendSetType]) -> None:
        """Store nothing."""

    def delete_multi(self, keys: Sequence[KeyType]) -> None:
        """Do nothing."""

    def get_mutex(self, key: KeyType) -> CacheMutex:
        """Return a mutex that keeps nobody out: each caller creates alone."""
        return NullLock()
