"""Regions within a region: own keys, own policy, own invalidation."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

from dogpile.cache import NO_VALUE, CacheRegion, make_region
from dogpile.cache.exception import RegionNotConfigured, ValidationError
from dogpile.cache.keys import sha1_mangle_key
from dogpile.cache.testing import FakeClock

Create = Callable[[], int]


@pytest.fixture
def users(region: CacheRegion) -> CacheRegion:
    return region.namespace("users")


class TestKeys:
    def test_the_same_key_is_another_one(
        self, region: CacheRegion, users: CacheRegion
    ) -> None:
        region.put("key", "of the region")
        users.put("key", "of the namespace")

        found = [region.get("key"), users.get("key")]

        assert found == ["of the region", "of the namespace"]

    def test_two_namespaces_are_apart(self, region: CacheRegion) -> None:
        users, pages = region.namespace("users"), region.namespace("pages")

        users.put("key", "of users")

        assert pages.get("key") is NO_VALUE

    def test_the_same_name_is_the_same_namespace(self, region: CacheRegion) -> None:
        region.namespace("users").put("key", "payload")

        found = region.namespace("users").get("key")

        assert found == "payload"

    def test_a_namespace_may_have_namespaces(self, users: CacheRegion) -> None:
        admins = users.namespace("admins")

        users.put("key", "of users")
        admins.put("key", "of admins")

        assert users.get("key") == "of users"
        assert admins.get("key") == "of admins"

    def test_the_whole_key_is_mangled(self, make_each: Any) -> None:
        region = make_each(key_mangler=sha1_mangle_key)

        region.namespace("users").put("key", "payload")

        assert region.backend.get(sha1_mangle_key("users:key")) is not NO_VALUE
        assert region.namespace("users").get("key") == "payload"

    def test_each_operation_keeps_to_its_keys(
        self, region: CacheRegion, users: CacheRegion, create: Create
    ) -> None:
        region.put_multi({"a": "a", "b": "b"})

        created = [
            users.get_or_create("a", create),
            users.get_or_create("a", create),
            *users.get_or_create_multi(["a", "b"], lambda *keys: [*keys]),
        ]
        users.delete("a")
        users.delete_multi(["b"])

        assert created == [1, 1, 1, "b"]
        assert users.get_multi(["a", "b"]) == [NO_VALUE, NO_VALUE]
        assert region.get_multi(["a", "b"]) == ["a", "b"]

    def test_a_key_is_locked_in_its_own_namespace(
        self, region: CacheRegion, users: CacheRegion
    ) -> None:
        seen: list[bool] = []

        def create() -> str:
            seen.extend([region.key_is_locked("key"), users.key_is_locked("key")])
            return "payload"

        users.get_or_create("key", create)

        assert seen == [False, True]

    def test_a_creator_may_need_the_same_key_of_the_region(
        self, region: CacheRegion, users: CacheRegion
    ) -> None:
        value = users.get_or_create(
            "key", lambda: region.get_or_create("key", lambda: "inner")
        )

        assert value == "inner"

    def test_a_function_may_be_decorated(
        self, region: CacheRegion, users: CacheRegion, create: Create
    ) -> None:
        @users.cache_on_arguments()
        def f(argument: int) -> int:
            return create()

        values = [f(1), f(1), f(2)]
        users.invalidate()
        values.append(f(1))

        assert values == [1, 1, 2, 3]
        assert region.get(f.key(1)) is NO_VALUE  # type: ignore[attr-defined]


class TestPolicy:
    def test_it_has_the_regions_policy(self, make_each: Any) -> None:
        region = make_each(expiration_time=60, grace=5)

        assert region.namespace("users").policy == region.policy

    def test_what_it_says_goes_before_the_regions(
        self, region: CacheRegion, clock: FakeClock, create: Create
    ) -> None:
        users = region.namespace("users", expiration_time=5)
        users.get_or_create("key", create)
        region.get_or_create("key", create)

        clock.advance(5)

        assert users.get_or_create("key", create) == 3
        assert region.get_or_create("key", create) == 2

    def test_a_call_goes_before_it(
        self, region: CacheRegion, clock: FakeClock, create: Create
    ) -> None:
        users = region.namespace("users", expiration_time=5)
        users.get_or_create("key", create, expiration_time=50)

        clock.advance(20)

        assert users.get_or_create("key", create) == 1

    @pytest.mark.parametrize("backend", ["sqlite", "dbm"])
    def test_another_version_of_the_code_has_other_values(
        self, make: Any, backend: str
    ) -> None:
        before, after = make(backend), make(backend)
        before.namespace("users", version="1").put("key", "first")

        found = after.namespace("users", version="2").get("key")

        assert found is NO_VALUE

    def test_tags_of_its_own_are_its_own(self, region: CacheRegion) -> None:
        users, pages = region.namespace("users"), region.namespace("pages")
        users.put("key", 1, tags=["red"])
        pages.put("key", 2, tags=["red"])

        users.invalidate_tags("red")

        assert users.get("key") is NO_VALUE
        assert pages.get("key") == 2

    @pytest.mark.parametrize("name", ["", None, 7, b"users"])
    def test_it_needs_a_name(self, region: CacheRegion, name: Any) -> None:
        with pytest.raises(ValidationError, match="needs a name"):
            region.namespace(name)

    def test_a_setting_that_nobody_knows_is_refused(self, region: CacheRegion) -> None:
        with pytest.raises(ValidationError, match="did you mean 'grace'"):
            region.namespace("users", grce=5)

    def test_its_events_bear_its_name(self, make: Any) -> None:
        users = make("memory", name="pages").namespace("users")
        seen = []
        users.on("put", lambda event: seen.append((event.region, event.key)))

        users.put("key", "payload")

        assert seen == [("pages/users", "key")]


class TestInvalidation:
    def test_it_is_invalidated_alone(
        self, region: CacheRegion, users: CacheRegion
    ) -> None:
        pages = region.namespace("pages")
        for each in (region, users, pages):
            each.put("key", "payload")

        users.invalidate()

        assert users.get("key") is NO_VALUE
        assert region.get("key") == pages.get("key") == "payload"

    def test_it_goes_with_the_region(
        self, region: CacheRegion, users: CacheRegion
    ) -> None:
        admins = users.namespace("admins")
        users.put("key", "payload")
        admins.put("key", "payload")

        region.invalidate()

        assert users.get("key") is NO_VALUE
        assert admins.get("key") is NO_VALUE

    def test_it_goes_at_once_however_often_it_was_read(
        self, region: CacheRegion, users: CacheRegion
    ) -> None:
        users.put("key", "payload")
        before = [users.get("key") for _ in range(3)]

        region.invalidate()

        assert before == ["payload"] * 3
        assert users.get("key") is NO_VALUE

    def test_its_namespaces_go_with_it(
        self, region: CacheRegion, users: CacheRegion
    ) -> None:
        admins = users.namespace("admins")
        admins.put("key", "payload")
        region.put("key", "payload")

        users.invalidate()

        assert admins.get("key") is NO_VALUE
        assert region.get("key") == "payload"

    def test_softly_its_values_are_stale(self, users: CacheRegion) -> None:
        users.put("key", "old")
        seen = []

        def create() -> str:
            seen.append(users.get_or_create("key", lambda: "unused"))
            return "new"

        users.invalidate(hard=False)
        value = users.get_or_create("key", create)

        assert seen == ["old"]
        assert value == "new"

    def test_a_late_creation_is_not_stored(
        self, region: CacheRegion, users: CacheRegion
    ) -> None:
        def create_late() -> str:
            region.invalidate()
            return "made of what was before"

        users.get_or_create("key", create_late)

        assert users.get("key") is NO_VALUE

    def test_a_short_way_that_somebody_holds_hears_of_it(self, make: Any) -> None:
        region = make("memory", expiration_time=60)
        users = region.namespace("users")
        users.put("key", "old")
        get, get_or_create = users.get, users.get_or_create

        region.invalidate()

        assert get("key") is NO_VALUE
        assert get_or_create("key", lambda: "new") == "new"


class TestLife:
    def test_it_can_be_made_before_the_region_is_configured(self) -> None:
        region = make_region("pages")
        users = region.namespace("users", expiration_time=5)

        with pytest.raises(RegionNotConfigured):
            users.get("key")
        region.configure("dogpile.cache.memory", 60)

        assert users.put("key", "payload") == "payload"
        assert users.get("key") == "payload"
        assert users.expiration_time == 5
        assert region.expiration_time == 60

    def test_it_hears_of_another_configuration(self) -> None:
        region = make_region("dogpile.cache.memory")
        users = region.namespace("users")
        users.put("key", "payload")

        region.configure("dogpile.cache.memory", 60, replace_existing_backend=True)

        assert users.backend is region.backend
        assert users.get("key") is NO_VALUE
        assert users.expiration_time == 60

    def test_one_that_nobody_holds_is_forgotten(self, make: Any) -> None:
        region = make("memory")
        for _ in range(20):
            region.namespace("users").put("key", "payload")

        gc.collect()

        assert not list(region._children)
        assert len(region.storage.shared.watchers) == 1

    def test_its_name_tells_where_it_is(self) -> None:
        region = make_region("pages")

        assert (
            region.namespace("users").namespace("admins").name == "pages/users/admins"
        )
