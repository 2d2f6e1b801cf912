"""The kit finds what is wrong with a backend."""

from __future__ import annotations

import shutil
import tempfile
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from dogpile.cache.api import BackendSetType, CacheBackend, KeyType, Lease
from dogpile.cache.backends.dbm import DBMBackend
from dogpile.cache.backends.memory import MemoryBackend
from dogpile.cache.testing import BackendModel, BackendSuite

# The first counterexample will do: nobody reads it.
FEW = settings(
    max_examples=300,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
)


class ForgetsToDelete(MemoryBackend):
    def delete(self, key: KeyType) -> None:
        """Do nothing."""


class StoresUnderAnyLease(DBMBackend):
    def commit(
        self, lease: Lease, value: BackendSetType, *, ttl: float | None = None
    ) -> bool:
        self.put(lease.key, value)
        return True


class ModelOf(BackendModel):
    def make_backend(self) -> CacheBackend:
        self.folder = tempfile.mkdtemp()
        return self.made()

    def made(self) -> CacheBackend:
        return DBMBackend({"filename": f"{self.folder}/cache"})

    def teardown(self) -> None:
        super().teardown()
        if self.backend is not None:
            shutil.rmtree(self.folder)


class ModelOfForgetful(ModelOf):
    def made(self) -> CacheBackend:
        return ForgetsToDelete({})


class ModelOfCareless(ModelOf):
    def made(self) -> CacheBackend:
        return StoresUnderAnyLease({"filename": f"{self.folder}/cache"})


@pytest.mark.parametrize("model", [ModelOfForgetful, ModelOfCareless])
def test_the_model_finds_a_broken_promise(model: Any) -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(model, settings=FEW)


def test_a_model_without_a_backend_says_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="make_backend"):
        BackendModel().make_backend()


def test_the_suite_finds_a_broken_promise() -> None:
    backend = ForgetsToDelete({})

    with pytest.raises(AssertionError):
        BackendSuite().test_a_deleted_key_is_no_value(backend)
