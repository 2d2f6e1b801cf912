"""Every documented use, as type checkers see it; it is checked, and not run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from dogpile.cache import (
    NO_VALUE,
    CacheBackend,
    CachedValue,
    CacheRegion,
    Creation,
    Policy,
    ProxyBackend,
    make_region,
    quick,
    register_backend,
)
from dogpile.cache.testing import FakeClock

region = make_region("dogpile.cache.memory", expiration_time=timedelta(minutes=5))
other: CacheRegion = make_region(name="other").configure("dogpile.cache.null")
configured: CacheRegion = make_region().configure_from_config({}, "cache.")
policy: Policy = Policy(expiration_time=60, grace=600)
register_backend("mine", "mypackage.mybackend", "MyBackend")


@region.cache_on_arguments
def bare(number: int, text: str = "") -> str:
    return text * number


@region.cache_on_arguments(expiration_time=60, tags="number:{number}")
def options(number: int) -> list[int]:
    return [number]


@region.cache_on_arguments()
async def coroutine(number: int) -> float:
    return number / 2


@region.cache_multi_on_arguments()
def many(*numbers: int) -> Sequence[int]:
    return numbers


class Shop:
    @region.cache_on_arguments()
    def price(self, article: int) -> float:
        return article / 100

    @classmethod
    @region.cache_on_arguments()
    def open(cls, day: str) -> bool:
        return day != "Sunday"


text: str = bare(1, text="a")
numbers: list[int] = options(1)
price: float = Shop().price(1)
is_open: bool = Shop.open("Monday")
sequence: Sequence[int] = many(1, 2)
stored: int = region.put("key", 5)
clock = FakeClock()
tested = make_region("dogpile.cache.memory", clock=clock, expiration_time=60)


def conditional(creation: Creation) -> str:
    creation.tag("page")
    creation.expires(30)
    if creation.stale is not None and creation.validator == "etag":
        kept: str = creation.not_modified()
        return kept
    creation.validator = "etag"
    return "page"


async def awaited() -> None:
    half: float = await coroutine(3)
    await region.aput("half", half)
    found = await region.aget("half")
    if found is NO_VALUE:
        await region.aget_or_create("half", quick(lambda: half))
    async with region:
        await region.ainvalidate(hard=False)


class Dictionary(CacheBackend):
    def __init__(self, arguments: object) -> None:
        self.cache: dict[str, CachedValue] = {}


class Logging(ProxyBackend):
    def delete(self, key: object) -> None:
        self.proxied.delete(key)


with region.namespace("pages", expiration_time=10) as pages:
    pages.get_or_create("page", conditional, grace=60)
    pages.get_or_create_multi(["a", "b"], lambda *keys: [key.upper() for key in keys])
    metadata: CachedValue | None = pages.get_value_metadata("page")
    pages.invalidate_tags("page")
