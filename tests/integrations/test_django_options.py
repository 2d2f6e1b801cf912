"""What ``cached`` of Django is given: read once, however often it decorates."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("django")

import django_site  # noqa: F401 - it configures Django
from django.test import override_settings

from dogpile.cache.integrations.django import cached, regions


@pytest.fixture(autouse=True)
def _region() -> Iterator[None]:
    with override_settings(DOGPILE_CACHE_REGIONS={"default": {"backend": "memory"}}):
        yield


def test_ignored_names_may_come_from_a_generator() -> None:
    decorate = cached(60, ignore=(name for name in ["asked_by"]))

    @decorate
    def price(article: int, asked_by: str) -> str:
        return f"{article} for {asked_by}"

    @decorate
    def weight(article: int, asked_by: str) -> str:
        return f"{article} for {asked_by}"

    for function in (price, weight):
        assert function(1, "ann") == "1 for ann"
        assert function(1, "bob") == "1 for ann"


def test_tags_may_come_from_a_generator() -> None:
    made: list[int] = []

    @cached(60, tags=(name for name in ["a", "b"]))
    def count() -> int:
        made.append(1)
        return len(made)

    assert count() == 1
    regions["default"].invalidate_tags("b")
    assert count() == 2
