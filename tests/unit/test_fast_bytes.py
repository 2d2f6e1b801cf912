"""The short ways to stored bytes say what the general ways say."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st
from shelf import CHAINS, Shelf, region_on

from dogpile.cache import NO_VALUE, CacheRegion
from dogpile.cache.api import Capabilities
from dogpile.cache.backends.memcached_settings import mangle_key, mangle_keys
from dogpile.cache.codecs import plain
from dogpile.cache.exception import BackendUnavailable
from dogpile.cache.testing import FakeClock

KEYS = ("a", "b", "c")


class Away(Shelf):
    """The same on a network."""

    capabilities = Capabilities(multi=True, network=True, lasting=False)


class Refused(Exception):
    """What the creators here raise, so that nothing changes by asking."""


def refuse(*keys: Any) -> Any:
    raise Refused


def answer(act: Callable[[], Any]) -> Any:
    """Return what something returns, or the kind of its error."""
    try:
        return act()
    except Refused:
        return Refused


def shelf_of(region: CacheRegion) -> Shelf:
    shelf = region.actual_backend
    assert isinstance(shelf, Shelf)
    return shelf


def armed(region: CacheRegion) -> CacheRegion:
    """Ask until the short ways know what fresh values look like."""
    for _ in range(3):
        region.get("nothing")
        answer(lambda: region.get_or_create("nothing", refuse))
    return region


@pytest.mark.parametrize("chain", CHAINS)
class TestAHit:
    def test_is_one_look_at_the_backend(self, chain: str) -> None:
        region = region_on({}, FakeClock(), **CHAINS[chain])
        region.put("a", "x" * 100)
        armed(region)
        shelf = shelf_of(region)
        before = shelf.reads

        values = [region.get("a"), region.get_or_create("a", refuse)]
        many = [region.get_multi(["a", "a"]), region.get_or_create_multi(["a"], refuse)]

        assert values == ["x" * 100] * 2
        assert many == [["x" * 100] * 2, ["x" * 100]]
        assert shelf.reads - before == 4

    def test_takes_the_short_way(self, chain: str) -> None:
        region = region_on({}, FakeClock(), **CHAINS[chain])
        region.put("a", 1)
        armed(region)
        hidden: Any = region
        hidden._get = hidden._get_multi = refuse
        hidden._get_or_create = hidden._get_or_create_multi = refuse

        assert region.get("a") == 1
        assert region.get_or_create("a", refuse) == 1
        assert region.get_multi(["a"]) == [1]
        assert region.get_or_create_multi(["a"], refuse) == [1]

    def test_goes_where_views_are_if_it_is_large(
        self, chain: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(plain, "LARGE", 10)
        region = region_on({}, FakeClock(), **CHAINS[chain])
        region.put("a", 1)
        armed(region)
        hidden: Any = region
        hidden._get = refuse

        assert answer(lambda: region.get("a")) is Refused

    def test_after_an_invalidation_too(self, chain: str) -> None:
        region = region_on({}, FakeClock(), **CHAINS[chain])
        region.put("a", 1)
        armed(region)

        region.invalidate()

        assert region.get("a") is NO_VALUE
        assert answer(lambda: region.get_or_create("a", refuse)) is Refused
        assert region.get_multi(["a"]) == [NO_VALUE]
        region.put("a", 2)
        armed(region)
        assert region.get("a") == region.get_or_create("a", refuse) == 2


class TestNothingIsReadTwice:
    @pytest.mark.parametrize(
        "raw", [None, b"", b"rubbish", b"\xa0", b"\xa01700000000.5|\x80", b"\xa0x|N."]
    )
    def test_of_what_is_no_hit(self, raw: bytes | None) -> None:
        stored: dict[Any, bytes] = {}
        region = armed(region_on(stored, FakeClock()))
        if raw is not None:
            stored["a"] = raw
        shelf = shelf_of(region)
        before = shelf.reads

        values = [region.get("a"), *region.get_multi(["a"])]

        assert values == [NO_VALUE, NO_VALUE]
        assert shelf.reads - before == 2

    def test_of_a_backend_that_fails(self) -> None:
        region = region_on({}, FakeClock(), kind=Away)
        region.put("a", 1)
        armed(region)
        shelf = shelf_of(region)
        shelf.fault = BackendUnavailable("shelf", "get", "it fell over")
        before = shelf.reads

        assert region.get("a") is NO_VALUE
        # From the second call on the breaker does not even ask.
        assert region.get_or_create("a", lambda: 2) == 2
        assert region.get_multi(["a"]) == [NO_VALUE]
        assert shelf.reads - before == 1

    def test_and_an_error_may_be_wanted(self) -> None:
        region = region_on({}, FakeClock(), kind=Away, on_backend_error="raise")
        armed(region)
        shelf_of(region).fault = BackendUnavailable("shelf", "get", "it fell over")

        with pytest.raises(BackendUnavailable, match="it fell over"):
            region.get("a")
        with pytest.raises(BackendUnavailable):
            region.get_or_create("a", refuse)
        with pytest.raises(BackendUnavailable):
            region.get_multi(["a"])
        with pytest.raises(BackendUnavailable):
            region.get_or_create_multi(["a"], refuse)


class TestWhoMayHaveIt:
    def test_a_way_that_somebody_kept_goes_along(self) -> None:
        clock = FakeClock()
        region = region_on({}, clock)
        region.put("a", 1)
        kept = armed(region).get, region.get_or_create, region.get_multi

        region.configure(Shelf, arguments={"stored": {}}, replace_existing_backend=True)

        assert kept[0]("a") is NO_VALUE
        assert kept[1]("a", lambda: 2) == 2
        assert kept[2](["a"]) == [2]

    def test_nobody_who_reads_in_a_way_of_his_own(self) -> None:
        class Own(CacheRegion):
            def get(self, *args: Any, **options: Any) -> Any:
                return "own"

        region = Own(clock=FakeClock()).configure(Shelf, arguments={"stored": {}})

        assert region.get("a") == "own"

    def test_nobody_who_looks_at_the_age(self) -> None:
        clock = FakeClock()
        region = CacheRegion(clock=clock, ignore_expiration=False).configure(
            Shelf, arguments={"stored": {}}, expiration_time=60
        )
        region.put("a", 1)
        armed(region)

        clock.advance(61)

        assert region.get("a") is NO_VALUE
        assert region.get("a", ignore_expiration=True) == 1

    def test_an_invalidation_while_they_learn_is_seen(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = FakeClock()
        region = region_on({}, clock)
        region.put("a", 1)
        path: Any = region._bytes
        storage: Any = region.storage
        learn = storage.marks.known

        def meanwhile(names: Any) -> Any:
            marks = learn(names)
            monkeypatch.undo()
            region.invalidate()
            return marks

        region.get("a")
        path._space["known"] = path._space["known"]._replace(until=0.0)
        monkeypatch.setattr(storage.marks, "known", meanwhile)
        path.arm()

        assert region.get("a") is NO_VALUE
        assert answer(lambda: region.get_or_create("a", refuse)) is Refused


def values_of(region: CacheRegion) -> list[Any]:
    """Return what all the ways of reading have."""
    return [
        *(region.get(key) for key in KEYS),
        *(answer(lambda key=key: region.get_or_create(key, refuse)) for key in KEYS),
        region.get_multi(KEYS),
        answer(lambda: region.get_or_create_multi(KEYS, refuse)),
    ]


keys = st.sampled_from(KEYS)
lengths = st.sampled_from(
    [0.0, 0.1, 0.5, 0.9, 1.0, 7.4, 59.0, 59.95, 60.0, 61.0, 700.0]
)
STEPS = st.one_of(
    st.tuples(st.just("put"), keys, st.sampled_from([{}, {"expiration_time": 5}])),
    st.tuples(st.just("tag"), keys),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("spoil"), keys, st.integers(0, 60), st.integers(0, 255)),
    st.tuples(st.just("swap"), keys, keys),
    st.tuples(st.just("invalidate"), st.booleans()),
    st.tuples(st.just("invalidate tag"), st.booleans()),
    st.tuples(st.just("advance"), lengths),
    st.tuples(st.just("jump"), lengths, st.sampled_from([-1, 1])),
    st.tuples(st.just("read")),
)
POLICIES = st.fixed_dictionaries(
    {"expiration_time": st.sampled_from([None, 0.05, 60, 600, 1e9])},
    optional={
        "grace": st.sampled_from([0, None]),
        "version": st.just("2"),
        "max_clock_skew": st.sampled_from([0, 60, 1e9]),
        "generation_ttl": st.sampled_from([0, 0.5, 1.0, 3600]),
    },
)


def spoil(stored: dict[Any, bytes], key: str, place: int, bits: int) -> None:
    """Flip bits of a stored value; those of its payload might make any pickle."""
    raw = stored.get(key, b"")
    head, bar, _ = raw.partition(b"|")
    if head:
        spoilt = bytearray(raw)
        spoilt[place % len(head + bar)] ^= bits
        stored[key] = bytes(spoilt)


def swap(stored: dict[Any, bytes], key: str, other: str) -> None:
    """Store one key's bytes under another key."""
    if key in stored:
        stored[other] = stored[key]


def take(step: tuple[Any, ...], region: CacheRegion, clock: FakeClock) -> None:
    name, *given = step
    stored = shelf_of(region).stored
    acts: dict[str, Callable[..., Any]] = {
        "put": lambda key, how: region.put(key, [clock.time()], **how),
        "tag": lambda key: region.put(key, "tagged", tags=("tag",)),
        "delete": region.delete,
        "spoil": lambda *how: spoil(stored, *how),
        "swap": lambda *keys: swap(stored, *keys),
        "invalidate": lambda hard: region.invalidate(hard=hard),
        "invalidate tag": lambda hard: region.invalidate_tags("tag", hard=hard),
        "advance": clock.advance,
        "jump": lambda seconds, sign: clock.jump(seconds * sign),
        "read": lambda: None,
    }
    acts[name](*given)


def is_time(text: bytes) -> bool:
    try:
        return float(text) == float(repr(float(text)))
    except ValueError:
        return False


@pytest.mark.parametrize("chain", CHAINS)
@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(STEPS, max_size=25),
    start=st.sampled_from([0.5, 8.0, 999.2, 9_999_950.3, 1_700_000_000.0]),
    policy=POLICIES,
)
def test_both_ways_say_the_same(
    chain: str, steps: list[tuple[Any, ...]], start: float, policy: dict[str, Any]
) -> None:
    clock = FakeClock(start)
    stored: dict[Any, bytes] = {}
    how = {**CHAINS[chain], **policy}
    short = region_on(stored, clock, **how)
    general = region_on(stored, clock, is_short=False, **how)

    for step in steps:
        # Both hear of it at once: what the other knows may be a second old.
        take(step, short, clock)
        general.storage.shared.marks.clear()
        general.storage.shared.version = object()
        if step[0] == "spoil" and chain != "signed":
            # A header that no chain writes is not looked at by the short ways.
            for key in KEYS:
                if not _has_time(stored.get(key, b"")):
                    stored.pop(key, None)
        if policy["expiration_time"] is None and step == ("invalidate", False):
            return  # nothing gets stale, which is refused
        assert values_of(short) == values_of(general)
        assert values_of(short) == values_of(general)


def _has_time(raw: bytes) -> bool:
    return is_time(raw[1:].partition(b"|")[0].partition(b";")[0])


@given(
    st.lists(
        st.one_of(
            st.text(max_size=6),
            st.sampled_from(["", "a", "~a", "a b", "a\nb", "x" * 246, "x" * 248]),
            st.binary(max_size=3),
            st.integers(),
        )
    )
)
def test_keys_are_mangled_together_as_one_by_one(many: list[Any]) -> None:
    assert mangle_keys(many) == [mangle_key(key) for key in many]


@pytest.mark.parametrize("read", ["get_multi", "get_or_create_multi"])
@pytest.mark.parametrize("place", range(3))
def test_nothing_is_loaded_that_has_another_form(read: str, place: int) -> None:
    loaded: list[bytes] = []

    def loads(raw: bytes) -> Any:
        loaded.append(bytes(raw))
        return raw.decode()

    region = region_on({}, FakeClock(), serializer=str.encode, deserializer=loads)
    region.put_multi({key: key for key in KEYS})
    armed(region)
    shelf_of(region).stored[KEYS[place]] = b"\x7fcompressed|to anything"
    loaded.clear()

    act = {
        "get_multi": lambda: region.get_multi(KEYS),
        "get_or_create_multi": lambda: region.get_or_create_multi(KEYS, refuse),
    }
    answer(act[read])

    assert loaded
    assert b"to anything" not in loaded


def test_a_payload_of_any_size_is_found() -> None:
    region = region_on({}, FakeClock())
    large = pickle.dumps(list(range(30_000)))
    region.put("a", large)
    armed(region)

    assert region.get("a") == region.get_or_create("a", refuse) == large
    assert region.get_multi(["a"]) == [large]


@pytest.mark.parametrize("chain", ["pickle", "signed"])
@example(start=1.98, lifetime=8.0, skew=0.0, lead=0.0, steps=[0.46, -0.44])
@settings(max_examples=150, deadline=None)
@given(
    start=st.sampled_from([2.0, 93.5, 9_999_950.3, 1_700_000_000.0, 1_700_000_000.05]),
    lifetime=st.sampled_from([0.4, 5.0, 9.95, 60.0]),
    skew=st.sampled_from([0.0, 0.3, 60.0]),
    lead=st.floats(0, 1.5),
    steps=st.lists(
        st.floats(-0.6, 0.6).map(lambda number: round(number, 2)), min_size=8
    ),
)
def test_both_ways_say_the_same_to_the_moment(
    chain: str,
    start: float,
    lifetime: float,
    skew: float,
    lead: float,
    steps: list[float],
) -> None:
    clock = FakeClock(start)
    stored: dict[Any, bytes] = {}
    how: dict[str, Any] = {
        **CHAINS[chain],
        "expiration_time": lifetime,
        "max_clock_skew": skew,
        "grace": 0,
        "generation_ttl": 3600,
    }
    short = region_on(stored, clock, **how)
    general = region_on(stored, clock, is_short=False, **how)
    short.put("a", 1)
    clock.jump(max(lifetime - lead, 0.0))

    for step in steps:
        clock.jump(step)
        assert values_of(short) == values_of(general)
        short.put("b", clock.time())
