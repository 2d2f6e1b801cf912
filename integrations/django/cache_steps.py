"""What each operation of the cache decides, written once for threads and event loops.

An operation is a generator. It yields what has to be asked of the region, and is sent
the answer: by a loop that calls, or by one that awaits.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import Any, TypeVar

from dogpile.cache import NO_VALUE, BackendError, Unserializable
from dogpile.cache.integrations.django import snapshots
from dogpile.cache.integrations.django.cache_core import CacheCore, paired
from dogpile.cache.integrations.django.cache_values import (
    Add,
    Increment,
    Put,
    Replace,
    Touch,
    discard,
)

T = TypeVar("T")

#: What an operation has an answer to; whatever else is raised ends it.
FAILURES = (BackendError, Unserializable)


#: Whose method is to be called, its name, and with what; for event loops it has a twin
#: whose name begins with an ``a``.
Step = tuple[Any, str, tuple[Any, ...], dict[str, Any]]
Steps = Generator[Step, Any, T]

_FRESH = {"ignore_expiration": False}
_NOTHING: dict[str, Any] = {}


def run(steps: Steps[T]) -> T:
    """Go through an operation in a thread, and return what it comes to."""
    answer: Any = None
    failure: BaseException | None = None
    while True:
        try:
            target, name, args, kwargs = (
                steps.send(answer) if failure is None else steps.throw(failure)
            )
        except StopIteration as end:
            made: T = end.value
            return made
        try:
            answer, failure = getattr(target, name)(*args, **kwargs), None
        except FAILURES as error:
            failure = error


async def arun(steps: Steps[T]) -> T:
    """Go through an operation in an event loop; the twin of ``run()``."""
    answer: Any = None
    failure: BaseException | None = None
    while True:
        try:
            target, name, args, kwargs = (
                steps.send(answer) if failure is None else steps.throw(failure)
            )
        except StopIteration as end:
            made: T = end.value
            return made
        try:
            answer, failure = await getattr(target, f"a{name}")(*args, **kwargs), None
        except FAILURES as error:
            failure = error


class CacheSteps(CacheCore):
    """The operations, with the arguments of Django's; what they do is not done here."""

    def _get_many_steps(
        self, keys: Iterable[Any], version: int | None
    ) -> Steps[dict[Any, Any]]:
        made = self._keys(keys, version)
        found = yield self._store, "get_multi", (list(made),), _FRESH
        return {key: self._values.unpack(each) for key, each in paired(made, found)}

    def _has_steps(self, made: str) -> Steps[bool]:
        found = yield self._store, "get", (made,), _FRESH
        return found is not NO_VALUE

    def _get_or_set_steps(
        self,
        key: Any,
        default: Any,
        timeout: Any,
        version: int | None,
        policy: dict[str, Any],
        *,
        is_async: bool = False,
    ) -> Steps[Any]:
        made = self.make_and_validate_key(key, version)
        lifetime = self._lifetime(timeout)
        is_written = is_behind = False
        if policy:
            policy = self._policy(policy)
            is_written = self._is_written(policy, is_async=is_async)
        if not is_written and policy.get("tags"):
            # What is made now may be older than an invalidation.
            is_behind = yield snapshots, "has_old_view", (), _NOTHING
        if not is_written and (is_behind or not self._store.policy.early):
            found = yield self._store, "get", (made,), _FRESH
            if found is not NO_VALUE:
                discard(default)
                return self._values.unpack(found)
        making = self._making(made, default, lifetime, policy, is_async=is_async)
        if is_written or is_behind:
            return (yield making, "value", (), _NOTHING)
        creator = making.acreate if is_async else making.create
        answer = yield self._store, "get_or_create", (made, creator), policy
        discard(default)
        return self._values.unpack(self._values.shared(answer))

    def _refusal_steps(
        self, policy: Mapping[str, Any], *, is_async: bool
    ) -> Steps[bool]:
        """Return whether a value may be older than its tags, or is nobody else's."""
        if not policy.get("tags"):
            return False
        if self._is_written(policy, is_async=is_async):
            return True
        is_behind: bool = yield snapshots, "has_old_view", (), _NOTHING
        return is_behind

    def _set_steps(
        self,
        key: Any,
        value: Any,
        timeout: Any,
        version: int | None,
        policy: dict[str, Any],
        *,
        nx: bool = False,
        xx: bool = False,
        is_async: bool = False,
    ) -> Steps[bool]:
        made = self.make_and_validate_key(key, version)
        lifetime = self._lifetime(timeout)
        policy = self._policy(policy)
        if (yield from self._refusal_steps(policy, is_async=is_async)):
            return False
        settings = {**policy, "expiration_time": lifetime}
        with self._spare(made):
            payload = self._values.pack(value)
            if lifetime == 0:
                return (yield from self._drop_steps(made, nx=nx, xx=xx))
            self._cull()
            if nx or xx:
                change = Add(payload) if nx else Replace(payload)
                stored = yield self._store, "update", (made, change), settings
                return stored is not NO_VALUE
            yield self._store, "put", (made, payload), settings
            return True
        with self._spare(made):
            # What is there now is older than what could not be stored.
            yield self._store, "delete", (made,), _NOTHING
        return False

    def _drop_steps(self, made: str, *, nx: bool, xx: bool) -> Steps[bool]:
        """Do what storing a value for no time at all comes to."""
        is_there = (nx or xx) and (yield from self._has_steps(made))
        if nx:
            return not is_there
        yield self._store, "delete", (made,), _NOTHING
        return is_there or not xx

    def _set_many_steps(
        self,
        data: dict[Any, Any],
        timeout: Any,
        version: int | None,
        policy: dict[str, Any],
        *,
        is_async: bool = False,
    ) -> Steps[list[Any]]:
        if not isinstance(data, Mapping):
            raise TypeError(
                f"set_many() takes a dictionary from keys to values, not {data!r}"
            )
        made = self._keys(data, version)
        lifetime = self._lifetime(timeout)
        policy = self._policy(policy)
        if (yield from self._refusal_steps(policy, is_async=is_async)):
            return list(data)
        with self._spare(*made):
            if lifetime == 0:
                yield self._store, "delete_multi", (list(made),), _NOTHING
                return []
            packed = {each: self._values.pack(data[key]) for each, key in made.items()}
            self._cull()
            settings = {**policy, "expiration_time": lifetime}
            yield self._store, "put_multi", (packed,), settings
            return []
        failed: list[Any] = []
        for key, value in data.items():
            one = self._set_steps(
                key, value, timeout, version, policy, is_async=is_async
            )
            if not (yield from one):
                failed.append(key)
        return failed

    def _add_steps(
        self,
        key: Any,
        value: Any,
        timeout: Any,
        version: int | None,
        policy: dict[str, Any],
        *,
        is_async: bool = False,
    ) -> Steps[bool]:
        made = self.make_and_validate_key(key, version)
        lifetime = self._lifetime(timeout)
        policy = self._policy(policy)
        if (yield from self._refusal_steps(policy, is_async=is_async)):
            return False
        with self._spare(made):
            change = Add(self._values.pack(value))
            if lifetime == 0:
                return (yield from self._drop_steps(made, nx=True, xx=False))
            self._cull()
            settings = {**policy, "expiration_time": lifetime}
            stored = yield self._store, "update", (made, change), settings
            return stored is not NO_VALUE
        return True

    def _touch_steps(self, key: Any, timeout: Any, version: int | None) -> Steps[bool]:
        made = self.make_and_validate_key(key, version)
        lifetime = self._lifetime(timeout)
        with self._spare(made):
            if lifetime == 0:
                return (yield from self._drop_steps(made, nx=False, xx=True))
            change = Touch(lifetime, self._store.clock.time)
            stored = yield self._store, "update", (made, change), _NOTHING
            return stored is not NO_VALUE
        return False

    def _delete_steps(self, key: Any, version: int | None) -> Steps[bool]:
        made = self.make_and_validate_key(key, version)
        with self._spare(made):
            return (yield from self._drop_steps(made, nx=False, xx=True))
        return False

    def _delete_many_steps(
        self, keys: Iterable[Any], version: int | None
    ) -> Steps[None]:
        made = list(self._keys(keys, version))
        with self._spare(*made):
            yield self._store, "delete_multi", (made,), _NOTHING

    def _clear_steps(self) -> Steps[None]:
        if self._store.actual_backend.capabilities.inline:
            # Nobody waits for it: they are in this process.
            made = list(self._store.iter_keys())
            yield self._store, "delete_multi", (made,), _NOTHING
        yield self._store, "invalidate", (), _NOTHING

    def _incr_steps(self, key: Any, delta: int, version: int | None) -> Steps[int]:
        made = self.make_and_validate_key(key, version)
        with self._spare(made):
            change = Increment(self._values, delta)
            stored = yield self._store, "update", (made, change), _NOTHING
            if stored is not NO_VALUE:
                number: int = self._values.unpack(stored)
                return number
        raise self._missing(key)

    def _incr_version_steps(
        self, key: Any, delta: int, version: int | None
    ) -> Steps[int]:
        before = self.version if version is None else version
        made = self.make_and_validate_key(key, before)
        with self._spare(made):
            value = yield self._store, "get_value_metadata", (made,), _FRESH
            if value is not None:
                after = self.make_and_validate_key(key, before + delta)
                yield self._store, "update", (after, Put(value)), _NOTHING
                yield self._store, "delete", (made,), _NOTHING
                return before + delta
        raise self._missing(key)

    # Beyond Django

    def _ttl_steps(self, key: Any, version: int | None) -> Steps[int | None]:
        made = self.make_and_validate_key(key, version)
        value = yield self._store, "get_value_metadata", (made,), _FRESH
        return self._left(value)

    def _invalidate_steps(self, tags: Any, *, hard: bool) -> Steps[None]:
        names = self._policy({"tags": tags})["tags"]
        yield self._store, "invalidate_tags", names, {"hard": hard}
