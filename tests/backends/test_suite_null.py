"""The promises of every backend that one without values can keep."""

from __future__ import annotations

import pytest

from dogpile.cache.backends.null import NullBackend
from dogpile.cache.testing import BackendSuite


class TestNullBackend(BackendSuite):
    stores = False

    @pytest.fixture
    def backend(self) -> NullBackend:
        return NullBackend({})
