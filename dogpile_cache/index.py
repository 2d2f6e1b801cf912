"""From the arguments of a decorated function straight to the entry.

An index knows, of entries in this process, the arguments that they are for.
``1``, ``True`` and ``1.0`` are one key to a dictionary; so exact integers and
strings stand in one dictionary, and all else beside its types in another. Of two
arguments the one that varies less leads to a dictionary by the other one: to look
twice takes less time than to make a pair and its hash.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from dogpile.cache.fast import OTHERWISE
from dogpile.cache.keys import KeyPlan
from dogpile.cache.policy import fresh_until, lifetime_of
from dogpile.cache.storage import Storage

# Beyond that, the arguments are faster told by their key.
_MOST_PARAMETERS = 6
# From so many dictionaries within the dictionary on they must have so many
# entries each: fewer take more room than pairs do.
_MANY_ROWS = 64
_ENTRIES_A_ROW = 4
# Types whose equal values have equal keys.
_SAFE = frozenset({bool, type(None), bytes, float})
# Those that need no look at their values.
_INDEXED = frozenset({int, str})
_PLAIN_KINDS = frozenset({int, str, type})


# The order of two arguments, and the entries by them.
_Layout: TypeAlias = "tuple[tuple[int, int] | None, dict[Any, Any]]"


class Function(Protocol):
    """What an index asks of the function that it is for."""

    region: Any
    plan: KeyPlan
    _uses_generator: bool

    @property
    def is_static(self) -> bool:
        """Whether the policy is the same for each call."""

    def compile_anew(self) -> None:
        """Write the call anew, as the index has another layout."""

    def policy(self, arguments: Any) -> Any:
        """Return the policy of a call."""


class Index:
    """The entries of one function by its arguments.

    :param function: the one that it is for.
    """

    def __init__(self, function: Any) -> None:
        self._function: Function = function
        # What ``order`` says, and the entries: always together.
        self._layout: _Layout = None, {}
        # How many there were: each has names of its own.
        self._layouts = 0
        self._typed: dict[Any, Any] = {}
        self._storage: Storage | None = None
        self._most = 1024
        self._clock: Any = None
        self._space: dict[str, Any] = {}
        self._mark = ""
        self._explicit = False
        self._fast: Any = None
        self._entries: Any = None
        self._backend: Any = None
        self._plain_creation: Any = None
        self._is_mangled = True
        self._version: str | None = None
        self._count = 0
        #: The places of two arguments in the order in which they are looked up,
        #: one after the other; ``None`` to look up all at once.
        self.order: tuple[int, int] | None = None
        self._before: tuple[int, int] | None = None

    @property
    def is_marking(self) -> bool:
        """Whether a hit has to be marked, for the eviction."""
        return bool(self._backend is not None and self._backend.is_bounded)

    def fill(self, space: dict[str, Any], mark: str) -> None:
        """Give the generated call the names that it uses."""
        self._space, self._mark = space, mark
        names = {
            "type": type,
            "int": int,
            "str": str,
            "clock": None,
            "KeyError": KeyError,
            "TypeError": TypeError,
            "NameError": NameError,
        }
        space.update({f"{mark}{name}": value for name, value in names.items()})
        self._begin()

    def _begin(self) -> None:
        # Others than before: a creation under way may yet add an entry to those.
        self._typed = {}
        self._count = 0
        # Who is still in the call as it was must not find them: a coroutine that
        # waits to be awaited would take f(b, a) for f(a, b).
        self._space.pop(self.plain_name, None)
        self._space.pop(self.typed_name, None)
        self._layouts += 1
        self._layout = self.order, {}
        self._space[self.plain_name] = self._plain
        self._space[self.typed_name] = self._typed

    @property
    def _plain(self) -> dict[Any, Any]:
        return self._layout[1]

    @property
    def plain_name(self) -> str:
        """What the generated call knows the plain entries by."""
        return f"{self._mark}plain{self._layouts}"

    @property
    def typed_name(self) -> str:
        """What it knows the others by."""
        return f"{self._mark}typed{self._layouts}"

    def bind(self) -> bool:
        """Fit the index to the region's backend.

        :return: whether there is anything to be remembered.
        """
        function = self._function
        self._storage = None
        self.order = None
        self._begin()
        region = function.region
        if region._fast is None or not _is_indexable(function):
            return False
        plan = function.plan
        if len(plan.parameters) + (plan.receive is not None) == 2:
            # There are few classes, and what has a default mostly keeps it.
            self.order = (0, 1) if plan.receive is not None else (1, 0)
            self._before = None
            self._begin()
        self._storage = region.storage
        self._fast = region._fast
        self._entries = self._storage.entries
        self._backend = self._storage.actual
        self._is_mangled = bool(
            self._storage.prefix or self._storage.mangler is not None
        )
        self.clear()
        self._explicit = function._explicit  # type: ignore[attr-defined]
        self._space[f"{self._mark}clock"] = self._storage.clock.source
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._plain.clear()
        self._typed.clear()
        self._count = 0
        if self._storage is not None:
            policy = self._function.policy(None)
            self._version = policy.version
            self._plain_creation = self._fast.plain(policy)

    def create(
        self, key: Any, creator: Callable[[], Any], parts: tuple[Any, ...]
    ) -> Any:
        """Create a missing value in the short way, and remember its entry.

        :param key: as the function makes it.
        :param parts: the arguments, a method's receiver as its class.
        :return: the payload, or ``OTHERWISE``.
        """
        storage, plain = self._storage, self._plain_creation
        if storage is None or plain is None:
            return OTHERWISE
        if self._is_mangled:
            key = storage.coding.key(key)
        if key in self._entries:
            return OTHERWISE
        if len(parts) == 1 and type(parts[0]) in _INDEXED:
            known = self._plain
            payload = self._fast.create(key, creator, plain, known, parts[0])
            self._count = len(known) + len(self._typed)
            if self._count > self._most:
                self._prune(len(self._entries))
            return payload
        payload = self._fast.create(key, creator, plain)
        if payload is not OTHERWISE:
            entry = self._entries.get(key)
            if entry is not None and self._is_mine(entry):
                self._keep(entry, parts)
        return payload

    def remember(self, key: Any, parts: tuple[Any, ...]) -> None:
        """Remember the entry of a key by the arguments that it is for.

        :param key: as it is stored.
        :param parts: the arguments, a method's receiver as its class.
        """
        storage = self._storage
        if storage is None:
            return
        entry = self._entries.get(key)
        if entry is None or not self._is_mine(entry):
            return
        if self._has_own_lifetime(storage, entry):
            self._keep(entry, parts)

    def _keep(self, entry: Any, parts: tuple[Any, ...]) -> None:
        for part in parts:
            kind = type(part)
            if kind is not int and kind is not str:
                self._keep_typed(entry, parts)
                return
        self._add_plain(parts, entry)

    def _keep_typed(self, entry: Any, parts: tuple[Any, ...]) -> None:
        types = tuple(map(type, parts))
        if all(kind in _PLAIN_KINDS for kind in types):
            if all(map(_is_safe, parts, types)):
                self._add_plain(parts, entry)
        elif all(map(_is_safe, parts, types)):
            self._add(self._layout, self._typed, parts + types, entry)

    def _add_plain(self, parts: tuple[Any, ...], entry: Any) -> None:
        layout = self._layout
        order, rows = layout
        if order is None:
            self._add(layout, rows, parts[0] if len(parts) == 1 else parts, entry)
            return
        row, place = (parts[number] for number in order)
        self._add(layout, None, place, entry, row)
        if len(rows) > max(_MANY_ROWS, self._count // _ENTRIES_A_ROW):
            self._change_order(layout)

    def _change_order(self, layout: _Layout) -> None:
        """Look the arguments up the other way round; if that is no better, at once."""
        with self._backend.lock:
            if self._layout is not layout:
                return
            before, self._before = self._before, self.order
            if before is None and self.order is not None:
                self.order = self.order[1], self.order[0]
            else:
                self.order = None
            self._begin()
            self._function.compile_anew()

    def _add(
        self,
        layout: _Layout,
        known: dict[Any, Any] | None,
        arguments: Any,
        entry: Any,
        row: Any = None,
    ) -> None:
        """Add an entry, unless the layout or the epoch is another one by now.

        :param known: where to; ``None`` for a row of the layout's.
        """
        # An invalidation changes the epoch first and clears the index after it.
        with self._backend.lock:
            if self._layout is layout and self._is_mine(entry):
                if known is None:
                    known = layout[1].setdefault(row, {})
                self._count += arguments not in known
                known[arguments] = entry
            if self._count > self._most:
                self._prune(len(self._entries))

    def _is_mine(self, entry: Any) -> bool:
        """Return whether an entry was judged for the function's callers."""
        storage = self._storage
        if storage is None:
            return False
        return bool(entry.reader is storage.local.reader(self._version))

    def _has_own_lifetime(self, storage: Storage, entry: Any) -> bool:
        """Return whether the entry is fresh for as long as the function says."""
        policy = self._function.policy(None)
        region = storage.policy
        rest = entry.rest
        if rest is None:
            same = policy.expiration_time == region.expiration_time
            return bool(same and policy.early == region.early)
        metadata = entry.metadata()
        mine = lifetime_of(metadata, policy, explicit=self._explicit)
        if mine != lifetime_of(metadata, region):
            return False
        return fresh_until(metadata, policy) == fresh_until(metadata, region)

    def _prune(self, live: int) -> None:
        with self._backend.lock:
            order, plain = self._layout
            rows = [plain] if order is None else list(plain.values())
            for known in (*rows, self._typed):
                for key in [k for k, e in list(known.items()) if e.reader is None]:
                    known.pop(key, None)
            if order is not None:
                for row in [row for row, known in plain.items() if not known]:
                    del plain[row]
            self._count = sum(map(len, (*rows, self._typed)))
            if self._count > 4 * live + 1024:
                # Many for one entry: classes of one name, most of them gone.
                plain.clear()
                self._typed.clear()
                self._count = 0
            self._most = max(1024, 2 * live, 2 * self._count)


def _is_indexable(function: Function) -> bool:
    plan = function.plan
    shape = plan.shape
    return (
        function.is_static
        and not function._uses_generator
        and plan.is_canonical
        and not shape.star
        and not shape.double
        and 0 < len(plan.parameters) + (plan.receive is not None) <= _MOST_PARAMETERS
    )


def _is_safe(part: Any, kind: type) -> bool:
    if kind is float:
        # Of the zeros two are equal, and no nan is.
        return bool(part == part and part != 0.0)
    if kind is type:
        return "__cache_key__" not in dir(part)
    return kind is int or kind is str or kind in _SAFE


def indexed_body(plan: KeyPlan, general: str, index: Index, *, is_marking: bool) -> str:
    """Write the body of a call that looks into the index first.

    :param general: the statement for all that is not found there, with a
        field for the arguments that it is to be remembered by.
    :param index: of which layout.
    :param is_marking: whether a hit has to be marked.
    """
    mark = plan.shape.mark
    parts = list(plan.parameters)
    guarded = list(plan.parameters)
    if plan.receive is not None:
        receiver = plan.shape.names[0]
        # Of an instance only the class is in the key.
        parts.insert(0, receiver if receiver == "cls" else f"{mark}type({receiver})")
    exact = "({0}type({1}) is {0}int or {0}type({1}) is {0}str)"
    guard = " and ".join(exact.format(mark, name) for name in guarded) or "True"
    whole = ", ".join(parts)
    types = ", ".join(f"{mark}type({part})" for part in parts)
    remembered = f", ({whole},)"
    place = f"[{whole}]"
    if index.order is not None:
        place = "".join(f"[{parts[number]}]" for number in index.order)
    hit = f"   {mark}entry.hit = True\n" if is_marking else ""
    return (
        f" try:\n"
        f"  if {guard}:\n"
        f"   {mark}entry = {index.plain_name}{place}\n"
        f"  else:\n"
        f"   {mark}entry = {index.typed_name}[{whole}, {types}]\n"
        f"  {mark}payload = {mark}entry.payload\n"
        f"  {mark}now = {mark}clock.time()\n"
        f"  if {mark}now < {mark}entry.until and {mark}now >= {mark}entry.born:\n"
        f"{hit}"
        f"   return {mark}payload\n"
        f" except ({mark}KeyError, {mark}TypeError, {mark}NameError):\n"
        f"  pass\n" + general.format(parts=remembered)
    )
