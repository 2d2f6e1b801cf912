"""What a region and its namespaces share."""

from __future__ import annotations

from dogpile.cache.shared import Pending


class TestPending:
    def test_nothing_pending_is_not_waited_for(self) -> None:
        assert Pending().wait(0)

    def test_what_has_begun_is_waited_for_until_it_ends(self) -> None:
        pending = Pending()

        pending.begin()
        during = pending.wait(0)
        pending.end()

        assert (during, pending.wait(0)) == (False, True)
