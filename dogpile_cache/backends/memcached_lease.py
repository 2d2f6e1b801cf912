"""Leases on memcached, out of ``add``, ``gets`` and ``cas`` alone.

Where a key has no value, the lease is a mark in the value's own place, put
there by ``add``; the commit replaces it by ``cas``. Where a key has a value
that has expired, the mark lies beside it under a key of its own, and names the
cas id of that value: as soon as the value is another one, the mark is void. So
whoever writes to a key or deletes it voids its lease, and need not know of it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from dogpile.cache.api import NO_VALUE, Lease
from dogpile.cache.backends.memcached_settings import LONGEST_KEY, LONGEST_RELATIVE
from dogpile.cache.backends.memcached_text import Swap
from dogpile.cache.backends.memcached_wire import Unfit, stamp

#: Begins every mark. What comes from a codec begins with a byte of its own.
PREFIX = b"\x00dogpile-lease:"

# No key that was mangled begins so: see mangle_key().
_BESIDE = "~l:"
_LEFTOVER_SECONDS = 5
# An absolute time in the year 1970: what is stored with it is gone at once.
_GONE = LONGEST_RELATIVE + 1
# How often to start anew when others write to the same keys at the same time.
_ROUNDS = 5


class LeasingClient(Protocol):
    """What leases need of a client."""

    def take_many(
        self, marks: Mapping[str, bytes], time: int
    ) -> Mapping[str, tuple[Any, int]]:
        """Add the values of keys that have none; return all with cas ids."""

    def read_many(self, keys: Sequence[str]) -> Mapping[str, tuple[Any, int]]:
        """Return the values of the keys that have one, with cas ids."""

    def swap_many(self, swaps: Sequence[Swap], time: int) -> list[bool | None]:
        """Store values where the cas id is still the same."""


class Mark(NamedTuple):
    """What stands for a lease.

    :param token: its holder's.
    :param basis: the cas id of the value beside it; 0 where there is none.
    :param failure: what the holder left; ``None`` while it holds the lease.
    """

    token: str
    basis: int = 0
    failure: bytes | None = None

    def write(self) -> bytes:
        """Return the mark as it is stored."""
        kind = b"h" if self.failure is None else b"f"
        token = self.token.encode("ascii")
        return b"%b%b%b:%d:%b" % (PREFIX, kind, token, self.basis, self.failure or b"")

    @classmethod
    def read(cls, raw: object) -> Mark | None:
        """Return what is stored as a mark, ``None`` if it is something else."""
        if not isinstance(raw, bytes) or not raw.startswith(PREFIX):
            return None
        try:
            token, basis, failure = raw[len(PREFIX) + 1 :].split(b":", 2)
            is_held = raw[len(PREFIX)] == ord("h")
            return cls(token.decode("ascii"), int(basis), None if is_held else failure)
        except ValueError:
            # Cut short by somebody else: nobody's.
            return cls("", -1, b"")

    def is_void(self, basis: int) -> bool:
        """Return whether the value beside it was written to since."""
        return self.basis != basis


class Hold(NamedTuple):
    """What the holder of a lease remembers of it.

    :param place: the key that the mark lies under.
    :param mark_id: the mark's cas id; 0 if that is not known.
    :param value_id: the cas id of the value beside it; 0 for none.
    :param since: when the ids were asked for, as serial numbers go.
    """

    place: str
    mark_id: int
    value_id: int
    since: int


class Terms(NamedTuple):
    """On what terms somebody asks for leases.

    :param token: by which the caller knows its leases again, even if the answer
        to its question is lost and it asks once more.
    :param time: of the mark, as memcached counts it.
    :param after: the token that the caller has been waiting for.
    :param steal: take it from a holder that is alive.
    """

    token: str
    time: int
    after: str | None = None
    steal: bool = False

    def minds(self, mark: Mark) -> bool:
        """Return whether a mark stands in the way of the caller."""
        if mark.failure is not None:
            # Unless it is the one asked for, it failed and nobody waits for it.
            return mark.token == self.after
        return not (self.steal and self.after in (None, mark.token))


def place_beside(key: str) -> str:
    """Return the key for the mark of a key that has a value."""
    if len(key) > LONGEST_KEY:
        key = hashlib.sha256(key.encode()).hexdigest()
    return _BESIDE + key


def ask(client: LeasingClient, keys: Sequence[str], terms: Terms) -> list[Lease]:
    """Ask for the leases of keys, and read the keys."""
    answers: dict[str, Lease] = {}
    pending = list(dict.fromkeys(keys))
    for _ in range(_ROUNDS):
        answers.update(_Round(client, terms).ask(pending))
        pending = [key for key in pending if key not in answers]
        if not pending:
            break
    for key in pending:
        # Others write to it all the time: one of them has it.
        answers[key] = Lease(key, "", granted=False)
    return [answers[key] for key in keys]


class _Place(NamedTuple):
    """Where the mark for a key is to lie, and what the key has now."""

    key: str
    place: str
    mark: Mark
    found: Any = NO_VALUE
    value_id: int = 0


class _Round:
    """One attempt to get leases; what others wrote to meanwhile has no answer."""

    def __init__(self, client: LeasingClient, terms: Terms) -> None:
        self._client = client
        self._terms = terms
        self._answers: dict[str, Lease] = {}
        self._swaps: list[tuple[_Place, Swap]] = []

    def ask(self, keys: Sequence[str]) -> dict[str, Lease]:
        """Ask for the leases of keys, and return those that are decided."""
        places = [_Place(key, key, Mark(self._terms.token)) for key in keys]
        with_value = self._mark(places)
        if with_value:
            self._mark(with_value)
        self._swap()
        return self._answers

    def _mark(self, places: Sequence[_Place]) -> list[_Place]:
        """Put marks where nothing is.

        :return: the places beside the values that were found.
        """
        marks = {each.place: each.mark.write() for each in places}
        # Before it is asked: a connection that is older has seen all of it.
        since = stamp()
        taken = self._client.take_many(marks, self._terms.time)
        beside: list[_Place] = []
        for each in places:
            if each.place not in taken:
                continue
            raw, cas = taken[each.place]
            if not cas:
                raise Unfit("leases need cas ids, and the server runs without (-C)")
            mark = Mark.read(raw)
            if mark is not None or each.value_id:
                self._decide(each, mark or Mark("", -1), cas, since)
            else:
                place = place_beside(each.key)
                own = Mark(self._terms.token, cas)
                # What only another client's own coding understands is no value.
                found = raw if isinstance(raw, bytes) else NO_VALUE
                beside.append(_Place(each.key, place, own, found, cas))
        return beside

    def _decide(self, each: _Place, mark: Mark, cas: int, since: int) -> None:
        """Answer by the mark that lies there, or note that it is to be replaced."""
        key, terms = each.key, self._terms
        is_void = mark.is_void(each.value_id)
        if mark.token == terms.token and not is_void:
            self._grant(each, Hold(each.place, cas, each.value_id, since))
        elif is_void or not terms.minds(mark):
            self._swaps.append((each, Swap(each.place, each.mark.write(), cas)))
        else:
            self._answers[key] = Lease(key, mark.token, False, each.found, mark.failure)

    def _swap(self) -> None:
        if not self._swaps:
            return
        swaps = [swap for _, swap in self._swaps]
        done = self._client.swap_many(swaps, self._terms.time)
        for (each, _), is_ours in zip(self._swaps, done, strict=True):
            if is_ours:
                # Its id was not told, only that it is ours.
                self._grant(each, Hold(each.place, 0, each.value_id, stamp()))

    def _grant(self, each: _Place, hold: Hold) -> None:
        self._answers[each.key] = Lease(
            each.key, self._terms.token, True, each.found, state=hold
        )


def renew(client: LeasingClient, lease: Lease, time: int) -> bool:
    """Let a lease end later.

    :return: whether it is still its holder's.
    """
    hold: Hold = lease.state
    for _ in range(_ROUNDS):
        cas = _own_mark(client, lease)
        if not cas:
            return False
        mark = Mark(lease.token, hold.value_id).write()
        if client.swap_many([Swap(hold.place, mark, cas)], time)[0]:
            return True
    return False


def _own_mark(client: LeasingClient, lease: Lease) -> int:
    """Return the cas id of a lease's mark, 0 if the lease has ended."""
    hold: Hold = lease.state
    keys = [hold.place, lease.key] if hold.value_id else [hold.place]
    stored = client.read_many(keys)
    if hold.value_id and stored.get(lease.key, (None, 0))[1] != hold.value_id:
        return 0
    return _id_if_ours(lease, stored)


def _id_if_ours(lease: Lease, stored: Mapping[str, tuple[Any, int]]) -> int:
    hold: Hold = lease.state
    raw, cas = stored.get(hold.place, (None, 0))
    mark = Mark.read(raw)
    is_ours = mark is not None and mark.failure is None and mark.token == lease.token
    return cas if is_ours else 0


def commit(
    client: LeasingClient, values: Sequence[tuple[Lease, bytes]], time: int
) -> list[bool]:
    """Store created values, and end their leases.

    :return: for each, whether it was stored.
    """
    answers = [False] * len(values)
    pending = _still_held(client, values)
    swaps = {
        index: _first_swap(lease, value)
        for index, (lease, value) in enumerate(values)
        if index in pending
    }
    for _ in range(_ROUNDS):
        if not swaps:
            break
        done = client.swap_many(list(swaps.values()), time)
        unsure: list[int] = []
        for index, is_stored in zip(swaps, done, strict=True):
            if is_stored:
                answers[index] = True
            elif is_stored is None or not values[index][0].state.value_id:
                unsure.append(index)
        swaps = _read_again(client, values, unsure)
    return answers


def _still_held(
    client: LeasingClient, values: Sequence[tuple[Lease, bytes]]
) -> set[int]:
    """Return which leases there is no reason to refuse yet.

    A mark in the value's own place is looked at by the ``cas`` itself. One
    beside the value is not: it may have ended, or be somebody else's.
    """
    places = [lease.state.place for lease, _ in values if lease.state.value_id]
    stored = client.read_many(places) if places else {}
    return {
        index
        for index, (lease, _) in enumerate(values)
        if not lease.state.value_id or _id_if_ours(lease, stored)
    }


def _first_swap(lease: Lease, value: bytes) -> Swap:
    hold: Hold = lease.state
    cas = hold.value_id or hold.mark_id
    # An id that is not known is taken for one that is older than everything.
    return Swap(lease.key, value, cas, hold.since if cas else 0)


def _read_again(
    client: LeasingClient, values: Sequence[tuple[Lease, bytes]], unsure: Sequence[int]
) -> dict[int, Swap]:
    """Return how to store what was not stored, where that is still right.

    A mark may have been renewed meanwhile, and ids that are older than the
    connection have to be read again.
    """
    if not unsure:
        return {}
    stored = client.read_many([values[index][0].key for index in unsure])
    swaps: dict[int, Swap] = {}
    for index in unsure:
        lease, value = values[index]
        if lease.state.value_id:
            raw, cas = stored.get(lease.key, (None, 0))
            is_same = cas == lease.state.value_id and raw == lease.found
        else:
            cas = _id_if_ours(lease, stored)
            is_same = cas != 0
        if is_same:
            swaps[index] = Swap(lease.key, value, cas)
    return swaps


def release(
    client: LeasingClient, leases: Sequence[Lease], failure: bytes | None
) -> None:
    """End leases without a value; what is no longer ours is left alone.

    :param failure: what those who wait for them are to be told.
    """
    time = _GONE if failure is None else _LEFTOVER_SECONDS
    swaps = [_ending(lease, lease.state.mark_id, failure) for lease in leases]
    for _ in range(_ROUNDS):
        done = client.swap_many(swaps, time)
        again = [
            lease for lease, is_done in zip(leases, done, strict=True) if not is_done
        ]
        if not again:
            return
        stored = client.read_many([lease.state.place for lease in again])
        ids = [(lease, _id_if_ours(lease, stored)) for lease in again]
        leases = [lease for lease, cas in ids if cas]
        swaps = [_ending(lease, cas, failure, None) for lease, cas in ids if cas]
        if not leases:
            return


def _ending(
    lease: Lease, cas: int, failure: bytes | None, since: int | None = 0
) -> Swap:
    hold: Hold = lease.state
    if since == 0 and cas:
        since = hold.since
    mark = Mark(lease.token, hold.value_id, failure or b"").write()
    return Swap(hold.place, mark, cas, since)


def is_leased(client: LeasingClient, key: str) -> bool:
    """Return whether somebody holds the lease of a key now."""
    place = place_beside(key)
    stored = client.read_many([key, place])
    if key not in stored:
        return False
    raw, cas = stored[key]
    mark = Mark.read(raw)
    if mark is not None:
        return mark.failure is None
    mark = Mark.read(stored.get(place, (None, 0))[0])
    return mark is not None and mark.failure is None and not mark.is_void(cas)


def new_token() -> str:
    """Return a token that nobody else has."""
    return os.urandom(12).hex()
