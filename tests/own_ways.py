"""Backends as programs for 1.x derive them from ours, with its signatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dogpile.cache import NO_VALUE, CachedValue, CacheRegion

# What the others find who do not undo it.
MARK = b"\x00turned:"


def turning(base: type) -> Any:
    """Return a class that stores bytes turned round, and reads them back.

    Whoever goes past it reads nonsense, and stores what it cannot read.
    """

    class Turning(base):
        def get_serialized(self, key: Any) -> Any:
            return back(super().get_serialized(key))

        def get_serialized_multi(self, keys: Sequence[Any]) -> Any:
            return [back(raw) for raw in super().get_serialized_multi(keys)]

        def set_serialized(self, key: Any, value: bytes) -> None:
            super().set_serialized(key, MARK + value[::-1])

        def set_serialized_multi(self, mapping: Mapping[Any, bytes]) -> None:
            turned = {key: MARK + value[::-1] for key, value in mapping.items()}
            super().set_serialized_multi(turned)

    return Turning


def back(raw: Any) -> Any:
    if raw is NO_VALUE:
        return raw
    assert raw.startswith(MARK), raw
    return raw[len(MARK) :][::-1]


def boxing(base: type) -> Any:
    """Return a class that stores each value in a box."""

    class Boxing(base):
        def get(self, key: Any) -> Any:
            return unboxed(super().get(key))

        def get_multi(self, keys: Sequence[Any]) -> Any:
            return [unboxed(super(Boxing, self).get(key)) for key in keys]

        def set(self, key: Any, value: Any) -> None:
            super().set(key, CachedValue(["box", value], value.metadata))

        def set_multi(self, mapping: Mapping[Any, Any]) -> None:
            for key, value in mapping.items():
                self.set(key, value)

    return Boxing


def unboxed(found: Any) -> Any:
    if found is NO_VALUE:
        return found
    assert found.payload[0] == "box", found
    return found.payload[1]


async def use(region: CacheRegion) -> None:
    """Write and read in every way, as often as the short ways need to be learned."""
    for turn in range(3):
        region.put("put", turn)
        assert region.get("put") == turn
        assert region.get_or_create("put", refuse) == turn
        assert region.get_or_create(f"made {turn}", lambda: "made") == "made"
        assert region.get(f"made {turn}") == "made"
        region.put_multi({"one": 1, "two": turn})
        assert region.get_multi(["one", "none", "two"]) == [1, NO_VALUE, turn]
        keys = ["one", f"three {turn}"]
        assert region.get_or_create_multi(keys, lambda *asked: [3] * len(asked)) == [
            1,
            3,
        ]
        assert region.get_or_create_multi(keys, refuse) == [1, 3]
        await region.aput("later", turn)
        assert await region.aget("later") == turn
        assert await region.aget_or_create("later", refuse) == turn
        made = await region.aget_or_create(f"later {turn}", lambda: "made")
        assert made == region.get(f"later {turn}") == "made"
        assert region.update("put", lambda found: found.payload + 1) == turn + 1
        assert region.get("put") == turn + 1
        region.delete("one")
        assert region.get("one") is NO_VALUE
    region.invalidate()
    assert region.get("put") is NO_VALUE
    assert region.get_or_create("put", lambda: "anew") == "anew"
    assert region.get("put") == "anew"


def refuse(*keys: Any) -> Any:
    raise AssertionError(f"{keys} are there")
