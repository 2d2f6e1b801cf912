"""A backend of bytes in a dictionary, and regions on it that go the short ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dogpile.cache import NO_VALUE, CacheRegion
from dogpile.cache.api import BytesBackend, Capabilities
from dogpile.cache.testing import FakeClock

#: Settings of a region, by the name of what they make of its values.
CHAINS: dict[str, dict[str, Any]] = {
    "pickle": {},
    "json": {"serializer": "json"},
    "signed": {"signing_key": b"0123456789abcdef"},
    "compressed": {"compressor": "zlib", "compress_above": 10},
}


class Shelf(BytesBackend):
    """Bytes in a dictionary that other regions may share, and a count of reads."""

    capabilities = Capabilities(multi=True)

    def __init__(self, arguments: Any) -> None:
        self.stored: dict[Any, bytes] = arguments["stored"]
        self.reads = 0
        self.fault: Exception | None = None

    def get_serialized(self, key: Any) -> Any:
        return self.get_serialized_multi([key])[0]

    def get_serialized_multi(self, keys: Sequence[Any]) -> list[Any]:
        self.reads += 1
        if self.fault is not None:
            raise self.fault
        return [self.stored.get(key, NO_VALUE) for key in keys]

    def set_serialized(self, key: Any, value: bytes) -> None:
        self.stored[key] = value

    def get(self, key: Any) -> Any:
        return self.get_serialized(key)

    def set(self, key: Any, value: Any) -> None:
        self.stored[key] = value

    def delete(self, key: Any) -> None:
        self.stored.pop(key, None)


def region_on(
    stored: dict[Any, bytes],
    clock: FakeClock,
    *,
    kind: type[Shelf] = Shelf,
    is_short: bool = True,
    **how: Any,
) -> CacheRegion:
    """Return a region whose backend keeps its values in a dictionary.

    :param is_short: somebody who listens has it take the general ways.
    """
    how.setdefault("expiration_time", 60)
    region = CacheRegion("pages", clock=clock).configure(
        kind, arguments={"stored": stored}, **how
    )
    if not is_short:
        region.on("*", lambda event: None)
    return region
