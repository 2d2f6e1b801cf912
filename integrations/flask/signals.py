"""Signals of Flask: what became of the request of a cached view.

``page_answered`` is sent by the application, with the view's ``endpoint`` and the
``outcome``: what ``Cache-Status`` says, as
:class:`~dogpile.cache.integrations.http.Outcome`. Nothing is made up for it while
nobody listens.
"""

from __future__ import annotations

from blinker import NamedSignal, Namespace
from flask import Flask

from dogpile.cache.integrations.http import Outcome

_signals = Namespace()

page_answered: NamedSignal = _signals.signal("dogpile-page-answered")


def tell(app: Flask, endpoint: str | None, outcome: Outcome) -> None:
    """Tell who listens how a request was answered."""
    if page_answered.receivers:
        page_answered.send(app, endpoint=endpoint, outcome=outcome)
