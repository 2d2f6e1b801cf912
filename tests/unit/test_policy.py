"""Fresh, early, stale or gone: the table of states, and a model of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given, settings, strategies as st

from dogpile.cache import Policy
from dogpile.cache.api import value_version
from dogpile.cache.exception import ValidationError
from dogpile.cache.policy import (
    EARLY,
    FRESH,
    MISS,
    POLICY_FIELDS,
    STALE,
    Verdict,
    check,
    fresh_until,
    invalidity,
    judge,
    kept_for,
    lifetime_of,
    seconds,
)

BORN = 1000.0
HOUR = Policy(expiration_time=60)
NEVER_STALE = Policy(expiration_time=60, grace=0)
WITH_GRACE = Policy(expiration_time=60, grace=30)


class Case(NamedTuple):
    says: str
    metadata: Mapping[str, Any]
    policy: Policy
    age: float
    verdict: Verdict
    marks: Mapping[str, str] = {}
    u: float = 0.0
    explicit: bool = False


def tagged(mark: str) -> dict[str, Any]:
    return {"t": {"tag": mark}}


CASES = [
    # Fresh, and for how long.
    Case("what was just created is fresh", {}, HOUR, 0, FRESH),
    Case("it is fresh to the last moment", {}, HOUR, 59.999, FRESH),
    Case("without an expiration it never ages", {}, Policy(), 1e9, FRESH),
    Case("an expiration of 0 is past at once", {}, Policy(expiration_time=0), 0, STALE),
    # Stale, in the classic way: grace=None.
    Case("at its expiry it is stale", {}, HOUR, 60, STALE),
    Case("without a grace it stays stale", {}, HOUR, 1e9, STALE),
    # grace=0: never served.
    Case("with no grace it is gone at its expiry", {}, NEVER_STALE, 60, MISS),
    Case("with no grace it was fresh before", {}, NEVER_STALE, 59, FRESH),
    # grace=n.
    Case("within its grace it is stale", {}, WITH_GRACE, 89.999, STALE),
    Case("at the end of its grace it is gone", {}, WITH_GRACE, 90, MISS),
    # x and g: what the value was stored with.
    Case("its own lifetime is longer", {"x": 120}, HOUR, 119, FRESH),
    Case("its own lifetime is shorter", {"x": 10}, HOUR, 10, STALE),
    Case("its own lifetime is for ever", {"x": None}, HOUR, 1e9, FRESH),
    Case("its own grace is longer", {"g": 300}, WITH_GRACE, 350, STALE),
    Case("its own grace is none", {"g": 0}, WITH_GRACE, 60, MISS),
    Case("its own grace is the classic one", {"g": None}, WITH_GRACE, 1e9, STALE),
    # explicit: the reader names its expiration, unless the creator (c) has.
    Case(
        "a reader that names a time goes before x",
        {"x": 120},
        HOUR,
        61,
        STALE,
        explicit=True,
    ),
    Case(
        "the creator goes before a reader that names a time",
        {"x": 120, "c": 1},
        HOUR,
        61,
        FRESH,
        explicit=True,
    ),
    Case(
        "a reader that names a time lets it be shortened",
        {"x": 45},
        Policy(expiration_time=60, jitter=0.5),
        45,
        STALE,
        explicit=True,
    ),
    Case(
        "but not made longer",
        {"x": 120},
        Policy(expiration_time=60, jitter=0.5),
        60,
        STALE,
        explicit=True,
    ),
    # Versions of the format and of the code.
    Case("another format is gone", {"v": value_version + 1}, HOUR, 0, MISS),
    Case("another version of the code is gone", {"n": "1"}, HOUR, 0, MISS),
    Case(
        "a value without a version is gone",
        {},
        Policy(expiration_time=60, version="1"),
        0,
        MISS,
    ),
    Case(
        "the same version is fresh",
        {"n": "1"},
        Policy(expiration_time=60, version="1"),
        0,
        FRESH,
    ),
    # Generations.
    Case("the same marks are fresh", tagged("h.s"), HOUR, 0, FRESH, {"tag": "h.s"}),
    Case("another hard id is gone", tagged("h.s"), HOUR, 0, MISS, {"tag": "H.s"}),
    Case("another soft id is stale", tagged("h.s"), HOUR, 0, STALE, {"tag": "h.S"}),
    Case("both ids differ: gone", tagged("h.s"), HOUR, 0, MISS, {"tag": "H.S"}),
    Case("a lost record is a miss", tagged("h.s"), HOUR, 0, MISS),
    Case("a record that began after it", {}, HOUR, 0, MISS, {"tag": "h."}),
    Case("a soft one that began after it", {}, HOUR, 0, STALE, {"tag": ".s"}),
    Case("a record that was never written", {}, HOUR, 0, FRESH, {"tag": ""}),
    Case(
        "stale by a soft invalidation, and never served",
        tagged("h.s"),
        NEVER_STALE,
        0,
        MISS,
        {"tag": "h.S"},
    ),
    Case(
        "softly invalidated, and past its grace by age",
        tagged("h.s"),
        WITH_GRACE,
        90,
        MISS,
        {"tag": "h.S"},
    ),
    Case(
        "hard in one record, soft in another: gone",
        {"t": {"one": "h.s", "two": "h.s"}},
        HOUR,
        0,
        MISS,
        {"one": "h.S", "two": "H."},
    ),
    # A clock that has moved back.
    Case("a little ahead of the clock is fresh", {}, HOUR, -60, FRESH),
    Case("far ahead of the clock it has expired", {}, HOUR, -60.5, STALE),
    Case("far ahead, and never served", {}, NEVER_STALE, -61, MISS),
    Case("far ahead, and for ever: expired, too", {}, Policy(), -61, STALE),
    Case(
        "no skew is allowed",
        {},
        Policy(expiration_time=60, max_clock_skew=0),
        -0.5,
        STALE,
    ),
    Case(
        "a skew of an hour is allowed",
        {},
        Policy(expiration_time=60, max_clock_skew=3600),
        -3600,
        FRESH,
    ),
    # Early refresh: d seconds of creation, an eagerness, and a random number.
    Case(
        "the luck of the draw refreshes early",
        {"d": 10},
        Policy(expiration_time=60, early=1),
        50,
        EARLY,
        u=0.9,
    ),
    Case(
        "bad luck does not",
        {"d": 10},
        Policy(expiration_time=60, early=1),
        50,
        FRESH,
        u=0.1,
    ),
    Case(
        "without an eagerness nothing is early",
        {"d": 10},
        HOUR,
        59,
        FRESH,
        u=0.999,
    ),
    Case(
        "what took no time is not refreshed early",
        {},
        Policy(expiration_time=60, early=1),
        59,
        FRESH,
        u=0.999,
    ),
    Case(
        "past its expiry it is stale, not early",
        {"d": 10},
        Policy(expiration_time=60, early=1),
        60,
        STALE,
        u=0.9,
    ),
    Case(
        "what never expires is never early",
        {"d": 10},
        Policy(early=1),
        1e9,
        FRESH,
        u=0.999,
    ),
    # A failed refresh says when to try again, and changes nothing here.
    Case("a note of failures is no age", {"f": [1, 1e12]}, HOUR, 59, FRESH),
    Case("a note of failures keeps nothing", {"f": [1, 1e12]}, WITH_GRACE, 90, MISS),
    Case("a validator is no age", {"e": "etag"}, HOUR, 60, STALE),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_the_table_of_states(case: Case) -> None:
    metadata = {"ct": BORN, "v": value_version, **case.metadata}

    verdict = judge(
        metadata,
        BORN + case.age,
        case.policy,
        case.marks,
        case.u,
        explicit=case.explicit,
    )

    assert verdict is case.verdict


def test_a_value_without_a_format_is_of_the_current_one() -> None:
    verdict = judge({"ct": BORN}, BORN, HOUR)

    assert verdict is FRESH


# Quarters of seconds: exact as floats, so that the model may calculate otherwise.
times = st.integers(-2000, 8000).map(lambda quarters: quarters / 4)
lengths = st.integers(0, 1200).map(lambda quarters: quarters / 4)
limits = st.none() | lengths
ids = st.sampled_from(["", "a", "b"])
marks = st.builds("{}.{}".format, ids, ids).map(
    lambda mark: "" if mark == "." else mark
)
generations = st.dictionaries(st.sampled_from(["region", "tag"]), marks)
policies = st.builds(
    Policy,
    expiration_time=limits,
    grace=limits,
    early=st.sampled_from([0.0, 0.5, 1.0, 4.0]),
    jitter=st.sampled_from([0.0, 0.5]),
    version=st.sampled_from([None, "1"]),
    max_clock_skew=lengths,
)
metadatas = st.fixed_dictionaries(
    {"ct": lengths.map(lambda length: 1000.0 + length)},
    optional={
        "v": st.sampled_from([value_version, value_version, 2]),
        "x": limits,
        "g": limits,
        "d": lengths,
        "c": st.just(1),
        "n": st.just("1"),
        "t": generations.map(
            lambda held: {name: held[name] for name in held if held[name]}
        ),
        "e": st.just("etag"),
        "f": st.just([1, 1e12]),
    },
)
SEVERITY = [FRESH, EARLY, STALE, MISS]


def model(
    metadata: Mapping[str, Any],
    now: float,
    policy: Policy,
    held: Mapping[str, str],
    u: float,
    *,
    explicit: bool,
) -> Verdict:
    """Ask each rule by itself, and take the worst answer."""
    reader_decides = "x" not in metadata or (explicit and "c" not in metadata)
    lifetime = policy.expiration_time if reader_decides else metadata["x"]
    if policy.jitter and reader_decides and lifetime is not None:
        stored = metadata.get("x")
        lifetime = min(lifetime, math.inf if stored is None else stored)
    grace = metadata.get("g", policy.grace)
    expiry = math.inf if lifetime is None else metadata["ct"] + lifetime
    answers = [
        FRESH,
        FRESH if metadata.get("v", value_version) == value_version else MISS,
        FRESH if metadata.get("n") == policy.version else MISS,
        STALE if now < metadata["ct"] - policy.max_clock_skew else FRESH,
        STALE if now >= expiry else FRESH,
        MISS if grace is not None and now >= expiry + grace else FRESH,
        *by_generation(metadata.get("t", {}), held),
    ]
    worst = max(answers, key=SEVERITY.index)
    if worst is STALE and grace == 0:
        return MISS
    eagerness = metadata.get("d", 0.0) * policy.early
    if worst is not FRESH or not eagerness or expiry == math.inf:
        return worst
    threshold = 1 - math.exp(-(expiry - now) / eagerness)
    assume(abs(u - threshold) > 1e-9)  # there the two may round otherwise
    return EARLY if u > threshold else FRESH


def by_generation(carried: Mapping[str, str], held: Mapping[str, str]) -> list[Verdict]:
    answers = [MISS for name in carried if name not in held]
    for name, mark in held.items():
        hard, soft = (mark or ".").split(".")
        own_hard, own_soft = (carried.get(name) or ".").split(".")
        answers.append(FRESH if hard == own_hard else MISS)
        answers.append(FRESH if soft == own_soft else STALE)
    return answers


@settings(max_examples=400, deadline=None)
@given(
    metadata=metadatas,
    age=times,
    policy=policies,
    held=generations,
    u=st.floats(0, 0.999),
    explicit=st.booleans(),
)
def test_judge_says_what_the_model_says(
    metadata: dict[str, Any],
    age: float,
    policy: Policy,
    held: dict[str, str],
    u: float,
    explicit: bool,
) -> None:
    now = metadata["ct"] + age

    verdict = judge(metadata, now, policy, held, u, explicit=explicit)

    assert verdict is model(metadata, now, policy, held, u, explicit=explicit)


@settings(max_examples=200, deadline=None)
@given(
    metadata=metadatas,
    age=lengths,
    later=lengths,
    policy=policies.map(lambda policy: policy.merged({"early": 0})),
    held=generations,
)
def test_nothing_gets_fresher_by_waiting(
    metadata: dict[str, Any],
    age: float,
    later: float,
    policy: Policy,
    held: dict[str, str],
) -> None:
    now = metadata["ct"] + age

    before = judge(metadata, now, policy, held)
    after = judge(metadata, now + later, policy, held)

    assert SEVERITY.index(before) <= SEVERITY.index(after)


@settings(max_examples=200, deadline=None)
@given(
    metadata=metadatas.map(
        lambda given: {k: given[k] for k in given if k not in "vnt"}
    ),
    share=st.floats(0, 0.999),
    policy=policies.map(
        lambda policy: policy.merged({"version": None, "early": policy.early / 8})
    ),
    u=st.floats(0, 0.9999),
)
def test_before_fresh_until_it_is_fresh_whatever_the_draw(
    metadata: dict[str, Any], share: float, policy: Policy, u: float
) -> None:
    # Where the refresh may come at any time, there is no such time.
    end = max(fresh_until(metadata, policy), metadata["ct"])
    end = min(end, metadata["ct"] + 1e6)

    now = metadata["ct"] + share * (end - metadata["ct"])
    verdict = judge(metadata, now, policy, {}, u)

    assert verdict is FRESH or end == metadata["ct"]


@settings(max_examples=200, deadline=None)
@given(
    metadata=metadatas.map(
        lambda given: {k: v for k, v in given.items() if v is not None}
    ),
    later=lengths,
    policy=st.builds(Policy, expiration_time=lengths, grace=lengths),
    held=generations,
)
def test_nobody_wants_what_is_older_than_it_is_kept_for(
    metadata: dict[str, Any], later: float, policy: Policy, held: dict[str, str]
) -> None:
    kept = kept_for(metadata, policy)
    assert kept is not None

    verdict = judge(metadata, metadata["ct"] + kept + later, policy, held)

    assert verdict is MISS


@settings(max_examples=200, deadline=None)
@given(metadata=metadatas, policy=policies, held=generations)
def test_invalidity_is_what_is_left_without_an_age(
    metadata: dict[str, Any], policy: Policy, held: dict[str, str]
) -> None:
    ageless = policy.merged({"expiration_time": None, "grace": None, "early": 0})
    without_age = {name: metadata[name] for name in metadata if name not in "xgc"}

    verdict = invalidity(metadata, policy, held)

    assert verdict is judge(without_age, metadata["ct"], ageless, held)


def test_what_may_be_stale_for_ever_is_kept_for_ever() -> None:
    assert kept_for({"ct": BORN}, Policy(expiration_time=60)) is None
    assert kept_for({"ct": BORN}, Policy(grace=30)) is None
    assert kept_for({"ct": BORN}, WITH_GRACE) == 90


def test_the_lifetime_is_the_one_that_goes_first() -> None:
    stored, chosen = {"ct": BORN, "x": 5}, {"ct": BORN, "x": 5, "c": 1}

    assert lifetime_of({"ct": BORN}, HOUR) == 60
    assert lifetime_of(stored, HOUR) == 5
    assert lifetime_of(stored, HOUR, explicit=True) == 60
    assert lifetime_of(chosen, HOUR, explicit=True) == 5


class TestMerging:
    def test_what_is_given_replaces_what_was(self) -> None:
        region = Policy(expiration_time=60, grace=30)

        merged = region.merged({"grace": 5, "early": 1})

        assert merged == Policy(expiration_time=60, grace=5, early=1.0)
        assert region == Policy(expiration_time=60, grace=30)

    def test_nothing_given_is_the_same_policy(self) -> None:
        policy = Policy(expiration_time=60)

        assert policy.merged({}) is policy

    def test_a_policy_cannot_be_changed(self) -> None:
        policy: Any = Policy()

        with pytest.raises(AttributeError):
            policy.grace = 5

    @pytest.mark.parametrize(
        ("name", "given", "kept"),
        [
            ("expiration_time", timedelta(minutes=2), 120.0),
            ("expiration_time", 1.5, 1.5),
            ("expiration_time", 0, 0),
            ("expiration_time", None, None),
            ("expiration_time", -1, None),
            ("expiration_time", math.inf, None),
            ("grace", timedelta(seconds=1), 1.0),
            ("grace", None, None),
            ("early", True, 1.0),
            ("early", 0, 0.0),
            ("soft_timeout", timedelta(milliseconds=50), 0.05),
            ("hard_timeout", None, None),
            ("lease_time", 0.5, 0.5),
            ("jitter", 1, 1.0),
            ("tags", "one", ("one",)),
            ("tags", ["one", "two"], ("one", "two")),
            ("tags", (), ()),
            ("version", 2, "2"),
            ("version", None, None),
            ("should_cache_fn", bool, bool),
            ("on_backend_error", "stale", "stale"),
            ("max_clock_skew", 0, 0),
        ],
    )
    def test_a_field_takes(self, name: str, given: Any, kept: Any) -> None:
        assert check(name, given) == kept
        assert getattr(Policy().merged({name: given}), name) == kept

    @pytest.mark.parametrize(
        ("name", "given"),
        [
            ("expiration_time", -5),
            ("expiration_time", "60"),
            ("expiration_time", True),
            ("expiration_time", math.nan),
            ("expiration_time", timedelta(seconds=-2)),
            ("expiration_time", timedelta(seconds=-1)),
            ("grace", -1),
            ("grace", -0.5),
            ("grace", "1m"),
            ("early", -1),
            ("early", math.inf),
            ("early", "often"),
            ("soft_timeout", None),
            ("soft_timeout", -3),
            ("hard_timeout", -3),
            ("hard_timeout", -1),
            ("lease_time", 0),
            ("lease_time", None),
            ("retry_after", None),
            ("jitter", 1.5),
            ("jitter", -0.1),
            ("jitter", "some"),
            ("tags", [1]),
            ("tags", [""]),
            ("tags", 7),
            ("version", ["1"]),
            ("should_cache_fn", "yes"),
            ("on_backend_error", "ignore"),
            ("max_clock_skew", -1),
        ],
    )
    def test_a_field_refuses(self, name: str, given: Any) -> None:
        with pytest.raises(ValidationError, match=name):
            Policy().merged({name: given})

    def test_an_unknown_field_is_told_the_nearest(self) -> None:
        with pytest.raises(ValidationError, match="did you mean 'expiration_time'"):
            Policy().merged({"expiration": 60})

    def test_a_field_like_none_is_told_all(self) -> None:
        with pytest.raises(ValidationError) as caught:
            Policy().merged({"zzz": 60})

        assert all(name in str(caught.value) for name in POLICY_FIELDS)
        assert "did you mean" not in str(caught.value)


def test_seconds_names_the_setting_that_is_wrong() -> None:
    with pytest.raises(ValidationError, match="patience"):
        seconds("patience", -3)
