"""Every documented use, for the type checkers: this is read, and never run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from typing_extensions import assert_type

from dogpile import Lock, NeedRegenerationException
from dogpile.cache import (
    NO_VALUE,
    BytesBackend,
    CacheBackend,
    CachedValue,
    CacheRegion,
    Creation,
    DogpileCacheException,
    Policy,
    ProxyBackend,
    make_region,
    quick,
    register_backend,
)
from dogpile.cache.api import CacheMutex, CacheReturnType, KeyType, NoValue
from dogpile.cache.events import Event
from dogpile.cache.exception import RegionNotConfigured, ValidationError
from dogpile.cache.region import RegionInvalidationStrategy
from dogpile.cache.util import (
    function_key_generator,
    length_conditional_mangler,
    sha1_mangle_key,
)

# Making regions


def make() -> None:
    assert_type(make_region(), CacheRegion)
    assert_type(make_region("pages"), CacheRegion)
    assert_type(make_region(name="pages", expiration_time=60), CacheRegion)
    assert_type(
        make_region(
            "dogpile.cache.dbm", expiration_time=360, arguments={"filename": "file.dbm"}
        ),
        CacheRegion,
    )
    region = make_region().configure(
        "dogpile.cache.pylibmc",
        expiration_time=3600,
        arguments={
            "url": ["127.0.0.1"],
            "binary": True,
            "behaviors": {"tcp_nodelay": True, "ketama": True},
        },
    )
    assert_type(region, CacheRegion)
    make_region().configure(
        "dogpile.cache.memory",
        timedelta(minutes=5),
        {"max_entries": 1000},
        wrap=[LoggingProxy, LoggingProxy()],
        grace=60,
        early=1.0,
        soft_timeout=0.05,
        hard_timeout=timedelta(seconds=2),
        jitter=0.1,
        tags=["pages"],
        version="2",
        on_backend_error="stale",
        generation_ttl=0,
        replace_existing_backend=True,
    )
    make_region().configure(DictionaryBackend)
    make_region().configure(
        "dogpile.cache.sqlite", serializer="json", compressor="zlib", signing_key=["k"]
    )
    make_region(
        function_key_generator=my_key_generator,
        key_mangler=length_conditional_mangler(250, sha1_mangle_key),
    )
    make_region(function_key_generator=function_key_generator, key_mangler=False)
    make_region(ignore_expiration=False, statistics=True)


def configure(settings: Mapping[str, Any]) -> None:
    assert_type(
        make_region().configure_from_config(settings, "cache.local."), CacheRegion
    )
    make_region().configure_from_config({"cache": {"local": {}}}, "cache.local")


def my_key_generator(fn: Callable[..., Any]) -> Callable[..., str]:
    namespace = fn.__name__

    def generate_key(*arg: Any) -> str:
        return namespace + "_".join(str(s) for s in arg)

    return generate_key


# Using a region


def read(region: CacheRegion) -> None:
    value = region.get("key")
    if value is NO_VALUE:
        value = None
    region.get("key", expiration_time=60)
    region.get("key", ignore_expiration=False)
    region.get(("any", "key"))
    assert_type(region.get_multi(["a", "b"]), list[Any])
    metadata = region.get_value_metadata("key")
    assert_type(metadata, CachedValue | None)
    if metadata is not None:
        assert_type(metadata.cached_time, float)
        assert_type(metadata.age, float)
    assert_type(region.key_is_locked("key"), bool)
    assert_type(region.is_configured, bool)
    assert_type(region.expiration_time, float | None)
    assert_type(region.policy, Policy)


def write(region: CacheRegion) -> None:
    assert_type(region.put("key", 5), int)
    assert_type(region.set("key", "text"), str)
    assert_type(region.put("key", b"", expiration_time=60, tags=["red"]), bytes)
    region.put_multi({"a": 1, "b": 2})
    region.set_multi({"a": 1}, expiration_time=timedelta(hours=1))
    region.delete("key")
    region.delete_multi(["a", "b"])
    region.update("visits", lambda old: old.payload + 1 if old else 1, tags=["n"])
    assert_type(list(region.iter_keys("user:")), list[str])
    region.invalidate()
    region.invalidate(hard=False)
    region.invalidate_tags("red", "blue", hard=False)
    region.expiration_time = 60
    region.key_mangler = sha1_mangle_key


def create(region: CacheRegion) -> None:
    region.get_or_create("key", lambda: 5)
    region.get_or_create("key", load, creator_args=((5,), {}))
    region.get_or_create("key", create_with_context)
    region.get_or_create("key", load_all, 60, bool)
    region.get_or_create("key", load_all, grace=60, tags=("red",), hard_timeout=2)
    assert_type(region.get_or_create_multi(["a", "b"], load_many), list[Any])


def create_with_context(creation: Creation) -> Any:
    if creation.stale is not None:
        assert_type(creation.stale, CachedValue)
        return creation.not_modified()
    creation.validator = "etag"
    creation.expires(timedelta(minutes=5))
    creation.tag("red", "blue")
    assert_type(creation.is_stored, bool)
    if creation.cancelled:
        return creation.skip(None)
    return 5


def load(number: int) -> int:
    return number


def load_all() -> list[int]:
    return []


def load_many(*keys: str) -> Sequence[int]:
    return [len(key) for key in keys]


def close(region: CacheRegion) -> None:
    region.close()
    with region as entered:
        assert_type(entered, CacheRegion)


def divide(region: CacheRegion) -> None:
    users = region.namespace("users", expiration_time=60)
    assert_type(users, CacheRegion)
    users.put("key", 5)


def listen(region: CacheRegion) -> None:
    def note(event: Event) -> None:
        assert_type(event.name, str)
        assert_type(event.region, str | None)
        assert_type(event.details, Mapping[str, Any])

    stop = region.on("create", note)
    stop()
    region.on("*", note)
    stats = region.stats()
    assert_type(stats["hit_ratio"], float)


# Event loops


async def use_in_a_loop(region: CacheRegion) -> None:
    await region.aget("key", expiration_time=60)
    assert_type(await region.aget_multi(["a"]), list[Any])
    assert_type(await region.aget_value_metadata("key"), CachedValue | None)
    assert_type(await region.aput("key", 5, tags=["red"]), int)
    assert_type(await region.aset("key", "text"), str)
    await region.aput_multi({"a": 1})
    await region.aset_multi({"a": 1})
    await region.adelete("key")
    await region.adelete_multi(["a"])
    await region.aupdate("visits", lambda old: NO_VALUE)
    assert_type([key async for key in region.aiter_keys("user:")], list[str])
    await region.ainvalidate(hard=False)
    await region.ainvalidate_tags("red")
    assert_type(await region.akey_is_locked("key"), bool)
    await region.aget_or_create("key", aload_all)
    await region.aget_or_create("key", quick(load_all), grace=60)
    assert_type(await region.aget_or_create_multi(["a"], load_many), list[Any])
    async with region as entered:
        assert_type(entered, CacheRegion)
    await region.aclose()


async def aload_all() -> list[int]:
    return []


# Decorators keep signatures

region = make_region()


@region.cache_on_arguments
def bare(user_id: int, name: str = "") -> bytes:
    return name.encode() * user_id


@region.cache_on_arguments()
def with_parentheses(user_id: int, /, *names: str, limit: int = 5) -> list[str]:
    return [*names][:limit] * user_id


@region.cache_on_arguments("users", 60, bool, repr, function_key_generator)
def as_in_1x(user_id: int) -> int:
    return user_id


@region.cache_on_arguments(
    namespace="users",
    expiration_time=lambda: 60,
    should_cache_fn=lambda value: value is not None,
    key="user:{user_id}",
    ignore=["session"],
    tags=["user:{user_id}", "users"],
    version=2,
    grace=60,
)
def with_options(user_id: int, session: object) -> int | None:
    return user_id


@region.cache_on_arguments(tags=lambda user_id: f"user:{user_id}")
async def coroutine(user_id: int) -> bytes:
    return b"" * user_id


@region.cache_multi_on_arguments
def many(*user_ids: int) -> list[str]:
    return [str(user_id) for user_id in user_ids]


@region.cache_multi_on_arguments(namespace="users", expiration_time=60, asdict=True)
def many_as_dictionary(*user_ids: int) -> dict[int, str]:
    return {user_id: str(user_id) for user_id in user_ids}


@region.cache_multi_on_arguments()
async def many_in_a_loop(*user_ids: int) -> list[str]:
    return [str(user_id) for user_id in user_ids]


class Repository:
    @region.cache_on_arguments()
    def method(self, user_id: int) -> bytes:
        return b"" * user_id

    @classmethod
    @region.cache_on_arguments()
    def of_class(cls, user_id: int) -> bytes:
        return b"" * user_id

    @staticmethod
    @region.cache_on_arguments()
    def static(user_id: int) -> bytes:
        return b"" * user_id

    @region.cache_on_arguments()
    async def in_a_loop(self, user_id: int) -> bytes:
        return b"" * user_id

    @region.cache_multi_on_arguments()
    def many(self, *user_ids: int) -> list[bytes]:
        return [b"" * user_id for user_id in user_ids]

    def __cache_key__(self) -> str:
        return "repository"


def call(repository: Repository) -> None:
    assert_type(bare(1), bytes)
    assert_type(bare(1, name="x"), bytes)
    assert_type(with_parentheses(1, "a", "b", limit=2), list[str])
    assert_type(as_in_1x(1), int)
    assert_type(with_options(1, session=None), int | None)
    assert_type(many(1, 2), list[str])
    assert_type(many_as_dictionary(1, 2), dict[int, str])
    assert_type(repository.method(1), bytes)
    assert_type(Repository.of_class(1), bytes)
    assert_type(Repository.static(1), bytes)
    assert_type(repository.many(1, 2), list[bytes])


async def call_in_a_loop(repository: Repository) -> None:
    assert_type(await coroutine(1), bytes)
    assert_type(await repository.in_a_loop(1), bytes)
    assert_type(await many_in_a_loop(1, 2), list[str])


def call_wrongly(repository: Repository) -> None:
    bare("1")  # type: ignore[arg-type]  # a number
    bare()  # type: ignore[call-arg]  # one is missing
    bare(1, limit=5)  # type: ignore[call-arg]  # there is no such one
    repository.method("1")  # type: ignore[arg-type]  # a number
    many("1")  # type: ignore[arg-type]  # a number


# Writing backends


class DictionaryBackend(CacheBackend):
    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.cache: dict[KeyType, CachedValue] = {}

    def get(self, key: KeyType) -> CacheReturnType:
        return self.cache.get(key, NO_VALUE)

    def put(self, key: KeyType, value: Any) -> None:
        self.cache[key] = value

    def delete(self, key: KeyType) -> None:
        self.cache.pop(key)


class OwnBytesBackend(BytesBackend):
    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.cache: dict[KeyType, bytes] = {}

    def get_serialized(self, key: KeyType) -> Any:
        return self.cache.get(key, NO_VALUE)

    def set_serialized(self, key: KeyType, value: bytes) -> None:
        self.cache[key] = value

    def delete(self, key: KeyType) -> None:
        self.cache.pop(key, None)

    def get_mutex(self, key: KeyType) -> CacheMutex | None:
        return None


class LoggingProxy(ProxyBackend):
    def set(self, key: KeyType, value: Any) -> None:
        logging.info("setting %r", key)
        self.proxied.set(key, value)


class OwnStrategy(RegionInvalidationStrategy):
    def invalidate(self, hard: bool = True) -> None: ...


register_backend("dictionary", "mypackage.mybackend", "DictionaryBackend")


def tell_apart(value: CacheReturnType) -> int:
    if value is NO_VALUE:
        assert_type(value.payload, NoValue)
        return 0
    assert_type(value.payload, Any)
    return len(value)


def fail(region: CacheRegion) -> None:
    try:
        region.get("key")
    except RegionNotConfigured:
        region.configure("dogpile.cache.null")
    except ValidationError as error:
        logging.warning("%s", error)
    except DogpileCacheException:
        raise


def lock_by_hand(mutex: CacheMutex) -> None:
    def read_value() -> tuple[int, float]:
        raise NeedRegenerationException

    with Lock(mutex, lambda: (5, 1000.0), read_value, expiretime=60) as value:
        logging.info("%d", value)
