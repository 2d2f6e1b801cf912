"""A panel for Flask-DebugToolbar: what the regions did for a request.

``DEBUG_TB_PANELS = [..., "dogpile.cache.integrations.flask.panel.DogpilePanel"]``
"""

from __future__ import annotations

from typing import Any

from flask_debugtoolbar.panels import DebugPanel

from dogpile.cache.integrations.flask.state import current_state
from dogpile.cache.integrations.panel import TITLE, Recorder, Told, content, subtitle

_NOTHING: Told = {"rows": [], "counts": {}, "is_cut": False}


class DogpilePanel(DebugPanel):
    """Shows each event of the regions, with its key, and how long it took."""

    name = "DogpileCache"
    has_content = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._recorder: Recorder | None = None
        self._told = _NOTHING

    def nav_title(self) -> str:
        """Return the name in the bar."""
        return TITLE

    def nav_subtitle(self) -> str:
        """Return the sum in one line."""
        return subtitle(self._told)

    def title(self) -> str:
        """Return the title."""
        return TITLE

    def url(self) -> str:
        """Return where the panel leads: nowhere."""
        return ""

    def content(self) -> str:
        """Return the panel as HTML."""
        return content(self._told)

    def process_request(self, request: Any) -> None:
        """Begin to record."""
        self._recorder = Recorder(current_state().regions)
        self._recorder.start()

    def process_response(self, request: Any, response: Any) -> None:
        """End it."""
        if self._recorder is not None:
            self._recorder.stop()
            self._told = self._recorder.told()
