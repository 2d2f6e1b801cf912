"""The backend that fails as planned."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dogpile.cache.api import NO_VALUE, CachedValue
from dogpile.cache.backends.dbm import DBMBackend
from dogpile.cache.backends.memory import MemoryBackend
from dogpile.cache.exception import BackendUnavailable, ValidationError
from dogpile.cache.testing import BackendSuite, ChaosBackend, FakeClock

VALUE = CachedValue("payload", {"ct": 0.0, "v": 3})


def wrapped(**plan: Any) -> ChaosBackend:
    chaos = ChaosBackend(**plan)
    chaos.wrap(MemoryBackend({}))
    return chaos


def leasing(folder: Path, **plan: Any) -> ChaosBackend:
    chaos = ChaosBackend(**plan)
    chaos.wrap(DBMBackend({"filename": folder / "cache"}))
    return chaos


class TestWithoutAPlanItIsTheBackend(BackendSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path, clock: FakeClock) -> ChaosBackend:
        chaos = leasing(tmp_path)
        chaos.proxied.clock = clock
        return chaos


def attempt(chaos: ChaosBackend, key: str) -> str:
    try:
        return str(chaos.get(key))
    except BackendUnavailable as error:
        return error.reason


def test_a_seed_fixes_what_happens() -> None:
    keys = [f"key {n}" for n in range(50)]
    one, two = (wrapped(seed=3, errors=0.5) for _ in range(2))

    answers = [[attempt(chaos, key) for key in keys] for chaos in (one, two)]

    assert answers[0] == answers[1]
    assert len(set(answers[0])) == 3  # a miss, refused, and not answered


def test_another_seed_is_another_plan() -> None:
    keys = [f"key {n}" for n in range(50)]

    answers = [
        [attempt(wrapped(seed=seed, errors=0.5), key) for key in keys]
        for seed in (1, 2)
    ]

    assert answers[0] != answers[1]


def test_the_order_of_keys_does_not_change_the_plan() -> None:
    keys = [f"key {n}" for n in range(50)]
    forth, back = (wrapped(seed=3, errors=0.5) for _ in range(2))

    there = {key: attempt(forth, key) for key in keys}
    again = {key: attempt(back, key) for key in reversed(keys)}

    assert there == again


def test_a_share_of_the_operations_fails() -> None:
    chaos = wrapped(seed=5, errors=0.2)

    failed = [attempt(chaos, f"key {n}") != str(NO_VALUE) for n in range(1000)]

    assert 150 < failed.count(True) < 250


@pytest.mark.parametrize(
    "operate",
    [
        lambda chaos: chaos.get("key"),
        lambda chaos: chaos.get_serialized("key"),
        lambda chaos: chaos.get_multi(["key"]),
        lambda chaos: chaos.get_serialized_multi(["key"]),
        lambda chaos: chaos.put("key", VALUE),
        lambda chaos: chaos.set("key", VALUE),
        lambda chaos: chaos.set_multi({"key": VALUE}),
        lambda chaos: chaos.set_serialized("key", b"bytes"),
        lambda chaos: chaos.set_serialized_multi({"key": b"bytes"}),
        lambda chaos: chaos.delete("key"),
        lambda chaos: chaos.delete_multi(["key"]),
        lambda chaos: chaos.lease("key", 10),
        lambda chaos: chaos.lease_multi(["key"], 10),
        lambda chaos: chaos.is_leased("key"),
    ],
)
def test_while_it_is_down_everything_raises(
    operate: Callable[[ChaosBackend], object],
) -> None:
    chaos = wrapped()
    chaos.is_down = True

    with pytest.raises(BackendUnavailable, match="chaos failed at"):
        operate(chaos)


def test_when_it_is_up_again_nothing_was_done_meanwhile() -> None:
    chaos = wrapped()
    chaos.is_down = True
    with pytest.raises(BackendUnavailable):
        chaos.put("key", VALUE)

    chaos.is_down = False

    assert chaos.get("key") is NO_VALUE


def test_a_lost_write_is_acknowledged() -> None:
    chaos = wrapped(lost_writes=1.0)

    chaos.put("key", VALUE)
    chaos.set_multi({"other": VALUE})

    assert list(chaos.get_multi(["key", "other"])) == [NO_VALUE, NO_VALUE]


def test_a_lost_commit_is_acknowledged(tmp_path: Path) -> None:
    chaos = leasing(tmp_path, lost_writes=1.0)
    leases = chaos.lease_multi(["a", "b", "c"], 10)

    answers = [
        chaos.commit(leases[0], b"value"),
        chaos.commit_multi([(lease, b"value") for lease in leases[1:]]),
    ]

    assert answers == [True, [True, True]]
    assert list(chaos.get_multi(["a", "b", "c"])) == [NO_VALUE] * 3


def test_a_delete_is_never_lost() -> None:
    chaos = wrapped(lost_writes=1.0)
    chaos.proxied.put("key", VALUE)

    chaos.delete("key")

    assert chaos.get("key") is NO_VALUE


def test_half_of_the_failures_were_done() -> None:
    chaos = wrapped(seed=1, errors=1.0)
    keys = [f"key {n}" for n in range(200)]

    for key in keys:
        with pytest.raises(BackendUnavailable):
            chaos.put(key, VALUE)

    stored = [chaos.proxied.get(key) == VALUE for key in keys]
    assert stored == [fate.is_unanswered for fate in chaos.fates]
    assert 60 < stored.count(True) < 140


def test_the_plan_is_for_the_operations_named() -> None:
    chaos = wrapped(errors=1.0, operations={"get"})

    chaos.put("key", VALUE)

    with pytest.raises(BackendUnavailable):
        chaos.get("key")
    assert chaos.proxied.get("key") == VALUE


def test_a_late_answer_takes_the_clocks_time() -> None:
    clock = FakeClock()
    chaos = wrapped(delays=1.0, delay=8.0)
    chaos.clock = clock
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(chaos.get("key")))
    thread.start()
    clock.wait_for_sleepers(1)

    clock.advance(8)
    thread.join(5)

    assert answers == [NO_VALUE]
    assert 0 < chaos.fates[0].delay < 8


def test_a_backend_that_may_be_late_is_not_called_in_place() -> None:
    assert wrapped().capabilities.inline
    assert not wrapped(delays=0.1).capabilities.inline


def test_it_tells_what_happened() -> None:
    chaos = wrapped()

    chaos.put("key", VALUE)
    chaos.get_multi(["key", "other"])

    told = [(fate.operation, fate.key) for fate in chaos.fates]
    assert told == [("put", "key"), ("get_multi", ("key", "other"))]


@pytest.mark.parametrize("name", ["delays", "errors", "lost_writes"])
@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_from_0_to_1(name: str, share: float) -> None:
    with pytest.raises(ValidationError, match=f"{name} is a share"):
        wrapped(**{name: share})
