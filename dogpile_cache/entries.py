"""The values of a backend that keeps them as entries in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dogpile.cache.api import CacheBackend, CachedValue, KeyType
from dogpile.cache.flight import Flight, FlightTable
from dogpile.cache.policy import Policy, fresh_until

# Sets of marks whose mapping is remembered.
_MANY = 1000


class LocalEntries:
    """Writes entries and voids flights under the lock of the backend.

    :param actual: the backend.
    :param flights: the creations under way.
    :param policy: the region's.
    :param records: that the region looks at.
    """

    def __init__(
        self,
        actual: CacheBackend,
        flights: FlightTable,
        policy: Policy,
        records: tuple[str, ...],
    ) -> None:
        self._backend: Any = actual
        self._flights = flights
        self._policy = policy
        self._records = records
        # Always together: an epoch, and its readers by their versions.
        self._known: tuple[object, dict[str | None, object]] = None, {}
        self._shared_rests: dict[tuple[tuple[str, str], ...], Mapping[str, Any]] = {}

    @property
    def epoch(self) -> object:
        """What is replaced when entries of this process have to be judged anew."""
        return getattr(self._backend, "epoch", None)

    def reader(self, version: str | None) -> object:
        """Return what entries bear that were judged for this region's readers.

        Regions that look at the same records by the same policy are one; a
        namespace and its region are not, nor are two versions of the code.
        Under the lock, where an epoch must not end meanwhile.

        :param version: of the values.
        """
        epoch, readers = self._known
        if epoch is not self.epoch:
            epoch, readers = self._known = self.epoch, {}
        found = readers.get(version)
        if found is None:
            who: object = self._records, self._policy, version
            try:
                hash(who)
            except TypeError:  # a function of the policy has no hash
                who = self, version
            found = readers[version] = self._backend.reader(who)
        return found

    def commit(self, flight: Flight, value: CachedValue) -> Any:
        """Store what a flight created, unless it was voided.

        :return: the entry, or ``None`` if it was refused.
        """
        backend = self._backend
        metadata = value.metadata
        rest = None if len(metadata) == 2 else self._rest(metadata)
        until = fresh_until(metadata, self._policy)
        with backend.lock:
            if flight.void:
                return None
            reader = self.reader(metadata.get("n"))
            return backend.place(
                flight.key, value.payload, metadata["ct"], until, rest, reader
            )

    def put(self, values: Mapping[KeyType, CachedValue], epoch: object) -> bool:
        """Store values, and void their keys' flights.

        :param epoch: the one that the values' marks were read in.
        :return: False if it has ended meanwhile: nothing is stored.
        """
        backend = self._backend
        with backend.lock:
            if backend.epoch is not epoch:
                return False
            for key, (payload, metadata) in values.items():
                rest = None if len(metadata) == 2 else self._rest(metadata)
                until = fresh_until(metadata, self._policy)
                reader = self.reader(metadata.get("n"))
                backend.place(key, payload, metadata["ct"], until, rest, reader)
                self._flights.void(key)
        return True

    def restamp(self, key: KeyType, epoch: object) -> None:
        """Note that an entry was found fresh, for the short ways of this region.

        :param epoch: the one that began before it was judged.
        """
        backend = self._backend
        entry = backend.entries.get(key)
        if entry is None or backend.epoch is not epoch:
            return
        version = None if entry.rest is None else entry.rest.get("n")
        if entry.reader is self.reader(version):
            return
        with backend.lock:
            if backend.epoch is epoch and entry.reader is not None:
                # The policy may be another one than it was stored under.
                until = fresh_until(entry.metadata(), self._policy)
                reader = self.reader(version)
                # In place of the old one: others remember how long that is fresh.
                backend.place(key, entry.payload, entry.born, until, entry.rest, reader)

    def delete(self, key: KeyType) -> None:
        """Delete a value, and void the key's flight."""
        backend = self._backend
        with backend.lock:
            backend.remove(key)
            self._flights.void(key)

    def _rest(self, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        rest = {name: metadata[name] for name in metadata if name not in ("ct", "v")}
        if len(rest) == 1 and "t" in rest:
            # All that is created under the same marks shares one mapping.
            marks = tuple(sorted(rest["t"].items()))
            if len(self._shared_rests) > _MANY:
                self._shared_rests.clear()
            return self._shared_rests.setdefault(marks, rest)
        return rest
