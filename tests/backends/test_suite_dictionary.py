"""The promises of every backend, kept by the smallest one there can be."""

from __future__ import annotations

from typing import Any

import pytest

from dogpile.cache.api import NO_VALUE, CacheBackend
from dogpile.cache.testing import BackendSuite


class DictionaryBackend(CacheBackend):
    """The design document's example, as it stands there."""

    def __init__(self, arguments: Any) -> None:
        self.cache: dict[Any, Any] = {}

    def get(self, key: Any) -> Any:
        return self.cache.get(key, NO_VALUE)

    def put(self, key: Any, value: Any) -> None:
        self.cache[key] = value

    def delete(self, key: Any) -> None:
        self.cache.pop(key)


class TestDictionaryBackend(BackendSuite):
    delete_raises = (KeyError,)

    @pytest.fixture
    def backend(self) -> DictionaryBackend:
        return DictionaryBackend({})


class SetBackend(CacheBackend):
    """The same as a 1.x program writes it."""

    def __init__(self, arguments: Any) -> None:
        self.cache: dict[Any, Any] = {}

    def get(self, key: Any) -> Any:
        return self.cache.get(key, NO_VALUE)

    def set(self, key: Any, value: Any) -> None:
        self.cache[key] = value

    def delete(self, key: Any) -> None:
        self.cache.pop(key, None)


class TestSetBackend(BackendSuite):
    @pytest.fixture
    def backend(self) -> SetBackend:
        return SetBackend({})
