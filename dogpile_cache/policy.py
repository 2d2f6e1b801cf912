"""Is this entry fresh, early, stale or gone? Pure: no clock, no lock, no backend."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, Literal, TypeAlias

from dogpile.cache.api import value_version
from dogpile.cache.exception import ValidationError

OnBackendError: TypeAlias = Literal["raise", "miss", "stale"]


class Verdict(enum.Enum):
    """What a reader may do with an entry."""

    FRESH = "fresh"
    EARLY = "early"  # fresh, and this reader refreshes it in the background
    STALE = "stale"  # past its time, within its grace
    MISS = "miss"


FRESH, EARLY, STALE, MISS = Verdict.FRESH, Verdict.EARLY, Verdict.STALE, Verdict.MISS

# At 12 mean waits before the expiry, one read in 160,000 would refresh early.
_EARLIEST = 12.0
_NO_MARKS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Policy:
    """How long a value stays fresh, and what happens around that.

    Policies merge: region < namespace < decorator < call < creator.

    :param expiration_time: seconds a value is fresh; ``None`` for ever.
    :param grace: seconds past expiry that a value may be served for;
        ``None``: as long as one caller creates; ``0``: never.
    :param early: how eagerly values are refreshed before they expire: the
        factor *beta* of XFetch, 1.0 being its usual value; 0 for never.
        Vattani, Chierichetti, Lowenstein: *Optimal Probabilistic Cache
        Stampede Prevention*, PVLDB 8(8), 2015.
    :param soft_timeout: seconds the creator's caller waits for the new value
        before it takes the stale one; only with ``grace``.
    :param hard_timeout: seconds a creation may take; ``None`` for ever.
    :param lease_time: seconds a creation may keep others waiting before one
        of them takes over; more than your slowest creator takes.
    :param retry_after: seconds after a failed refresh until the next one.
    :param jitter: the share of ``expiration_time``, 0 to 1, by which lifetimes
        are shortened at random, so that values do not expire together.
    :param tags: names whose invalidation makes the value invalid.
    :param version: of the code; a value of another version is a miss.
    :param should_cache_fn: says of a created value whether to store it.
    :param on_backend_error: ``"raise"``, ``"miss"`` (which ``None`` means,
        too) or ``"stale"``: serve what this process read last.
    :param max_clock_skew: seconds that a creation may lie in the future.
    """

    expiration_time: float | None = None
    grace: float | None = None
    early: float = 0.0
    soft_timeout: float = 0.0
    hard_timeout: float | None = None
    lease_time: float = 10.0
    retry_after: float = 1.0
    jitter: float = 0.0
    tags: tuple[str, ...] = ()
    version: str | None = None
    should_cache_fn: Callable[[Any], bool] | None = None
    on_backend_error: OnBackendError | None = None
    max_clock_skew: float = 60.0

    def merged(self, settings: Mapping[str, Any]) -> Policy:
        """Return this policy with some fields replaced.

        :param settings: fields by name; durations in seconds or as
            :class:`~datetime.timedelta`.
        :raises ValidationError: an unknown name, or a value out of range.
        """
        if not settings:
            return self
        return replace(
            self, **{name: check(name, value) for name, value in settings.items()}
        )


POLICY_FIELDS = frozenset(field.name for field in fields(Policy))


def check(name: str, value: Any) -> Any:
    """Check one field of a policy, and bring it into its plain form.

    :raises ValidationError: an unknown name, or a value that is no use.
    """
    checker = _CHECKS.get(name)
    if checker is None:
        near = get_close_matches(name, POLICY_FIELDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValidationError(
            f"{name!r} is no setting of a region or of a call{hint} "
            f"(known: {', '.join(sorted(POLICY_FIELDS))})"
        )
    return checker(name, value)


def seconds(name: str, value: Any) -> float | None:
    """Return a duration in seconds.

    :param value: a number, a :class:`~datetime.timedelta`, ``None``, or -1
        (which in 1.x code means "never").
    :raises ValidationError: it is none of these, or negative.
    """
    if value is None or value == -1:
        return None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValidationError(
            f"{name} is not a number or timedelta. It is {value!r}: give seconds, a "
            "timedelta, or None for ever"
        )
    if not value >= 0:
        raise ValidationError(
            f"{name} is {value}: it takes seconds from 0 on, or None for ever"
        )
    return None if value == math.inf else value


def _new_seconds(name: str, value: Any) -> float | None:
    # Not in 1.x, where -1 has a meaning.
    if value == -1:
        raise ValidationError(
            f"{name} is {value}: it takes seconds from 0 on, or None for no limit"
        )
    return seconds(name, value)


def _some_seconds(name: str, value: Any) -> float:
    checked = seconds(name, value)
    if checked is None:
        raise ValidationError(f"{name} takes seconds from 0 on, not {value!r}")
    return checked


def _positive(name: str, value: Any) -> float:
    checked = _some_seconds(name, value)
    if checked == 0:
        raise ValidationError(f"{name} takes more than 0 seconds")
    return checked


def _factor(name: str, value: Any) -> float:
    # A bare ``early=True`` reads well, and means XFetch's usual factor.
    if not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValidationError(f"{name} takes a number from 0 on, not {value!r}")
    return float(value)


def _share(name: str, value: Any) -> float:
    if not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValidationError(f"{name} takes a share from 0 to 1, not {value!r}")
    return float(value)


def _names(name: str, value: Any) -> tuple[str, ...]:
    names: Iterable[Any] = (value,) if isinstance(value, str) else value
    try:
        found = tuple(names)
    except TypeError:
        found = (None,)
    if not all(isinstance(item, str) and item for item in found):
        raise ValidationError(f"{name} takes names, not {value!r}")
    return found


def _version(name: str, value: Any) -> str | None:
    if value is None or isinstance(value, (str, int)):
        return None if value is None else str(value)
    raise ValidationError(f"{name} takes a string or a number, not {value!r}")


def _function(name: str, value: Any) -> Any:
    if value is None or callable(value):
        return value
    raise ValidationError(f"{name} takes a function of the value, not {value!r}")


def _on_error(name: str, value: Any) -> Any:
    if value in ("raise", "miss", "stale", None):
        return value
    raise ValidationError(f"{name} takes 'raise', 'miss' or 'stale', not {value!r}")


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "expiration_time": seconds,
    "grace": _new_seconds,
    "early": _factor,
    "soft_timeout": _some_seconds,
    "hard_timeout": _new_seconds,
    "lease_time": _positive,
    "retry_after": _some_seconds,
    "jitter": _share,
    "tags": _names,
    "version": _version,
    "should_cache_fn": _function,
    "on_backend_error": _on_error,
    "max_clock_skew": _some_seconds,
}


def judge(
    metadata: Mapping[str, Any],
    now: float,
    policy: Policy,
    generations: Mapping[str, str] = _NO_MARKS,
    u: float = 0.0,
    *,
    explicit: bool = False,
) -> Verdict:
    """Judge an entry by its age, its version and its generations.

    :param metadata: of the stored value.
    :param now: seconds since the epoch.
    :param generations: the marks that the reader's records have now.
    :param u: a random number from 0 to below 1, for the early refresh.
    :param explicit: the reader itself names its ``expiration_time``, which
        then goes before the one that the value was stored with.

    >>> judge({"ct": 100.0}, 161.0, Policy(expiration_time=60, grace=30))
    <Verdict.STALE: 'stale'>
    """
    invalidated = invalidity(metadata, policy, generations)
    if invalidated is MISS:
        return MISS
    born = metadata["ct"]
    grace = metadata.get("g", policy.grace)
    if born - now > policy.max_clock_skew:
        return MISS if grace == 0 else STALE
    lifetime = lifetime_of(metadata, policy, explicit=explicit)
    left = math.inf if lifetime is None else born + lifetime - now
    if left > 0:
        if invalidated is STALE:
            return MISS if grace == 0 else STALE
        if policy.early and _is_early(metadata, left, policy.early, u):
            return EARLY
        return FRESH
    if grace is None or left > -grace:
        return STALE
    return MISS


def invalidity(
    metadata: Mapping[str, Any],
    policy: Policy,
    generations: Mapping[str, str] = _NO_MARKS,
) -> Verdict:
    """Judge an entry whatever its age.

    :return: FRESH; STALE after a soft invalidation; MISS after a hard one, or
        for a value of another version.
    """
    if metadata.get("v", value_version) != value_version:
        return MISS
    if metadata.get("n") != policy.version:
        return MISS
    return _compare(metadata.get("t", _NO_MARKS), generations)


def lifetime_of(
    metadata: Mapping[str, Any], policy: Policy, *, explicit: bool = False
) -> float | None:
    """Return the seconds that a value is fresh for; ``None`` for ever."""
    if "x" not in metadata:
        return policy.expiration_time
    stored: float | None = metadata["x"]
    if not explicit or "c" in metadata:
        return stored
    if policy.jitter and stored is not None and policy.expiration_time is not None:
        # It was shortened at random, which is what the reader asked for, too.
        return min(stored, policy.expiration_time)
    return policy.expiration_time


def fresh_until(metadata: Mapping[str, Any], policy: Policy) -> float:
    """Return the time before which :func:`judge` says FRESH, whatever ``u``.

    Generations are not looked at. A chance of an early refresh below one in
    a hundred thousand is taken for none.
    """
    lifetime = lifetime_of(metadata, policy)
    if lifetime is None:
        return math.inf
    end: float = metadata["ct"] + lifetime
    if policy.early:
        end -= metadata.get("d", 0.0) * policy.early * _EARLIEST
    return end


def kept_for(metadata: Mapping[str, Any], policy: Policy) -> float | None:
    """Return the seconds after which no reader wants the value any more.

    :return: ``None`` where a stale value of any age may still be served.
    """
    lifetime = lifetime_of(metadata, policy)
    grace = metadata.get("g", policy.grace)
    if lifetime is None or grace is None:
        return None
    kept: float = lifetime + grace
    return kept


def _compare(carried: Mapping[str, str], now: Mapping[str, str]) -> Verdict:
    # Most values carry no mark, and most regions were never invalidated.
    verdict = FRESH
    for name, mark in now.items():
        old = carried.get(name, "")
        if old == mark:
            continue
        if old.partition(".")[0] != mark.partition(".")[0]:
            return MISS
        verdict = STALE
    for name in carried:
        if name not in now:  # a record that is lost invalidates
            return MISS
    return verdict


def _is_early(metadata: Mapping[str, Any], left: float, early: float, u: float) -> bool:
    return bool(-metadata.get("d", 0.0) * early * math.log(1.0 - u) >= left)
