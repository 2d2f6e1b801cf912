"""The backend that stores nothing."""

from __future__ import annotations

from dogpile.cache.api import NO_VALUE, CachedValue, CacheMutex
from dogpile.cache.backends.null import NullBackend

VALUE = CachedValue("payload", {"ct": 0.0, "v": 3})


def test_what_is_put_is_gone() -> None:
    backend = NullBackend({})

    backend.put("key", VALUE)
    backend.set("key", VALUE)
    backend.set_multi({"key": VALUE, "other": VALUE})

    assert backend.get("key") is NO_VALUE
    assert list(backend.get_multi(["key", "other"])) == [NO_VALUE, NO_VALUE]


def test_it_is_called_in_place() -> None:
    assert NullBackend({}).capabilities.inline


def test_its_mutex_keeps_nobody_out() -> None:
    mutex = NullBackend({}).get_mutex("key")

    assert isinstance(mutex, CacheMutex)
    assert mutex.acquire()
    assert mutex.acquire(False)
    assert not mutex.locked()
    mutex.release()


def test_arguments_are_passed_over() -> None:
    assert NullBackend({"filename": "whatever"}).get("key") is NO_VALUE
