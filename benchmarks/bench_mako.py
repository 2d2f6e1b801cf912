"""A section that is kept, in a Mako template: rendered by each implementation.

The floor is what one writes by hand: a dictionary from the section's name to what it
was rendered as and when that ends, looked at in the template.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import rivals
from measure import (
    FLOOR,
    OURS,
    Effort,
    Figure,
    Limit,
    Readings,
    Row,
    Run,
    by_turns,
)

_LIFETIME = 3600
_SECTION = "<p>text</p>" * 200
_BEAKER = "Beaker"

_CACHED = f"""
<%def name="section()" cached="True" cache_timeout="{_LIFETIME}">{_SECTION}</%def>
<h1>page</h1>${{section()}}
"""
_BY_HAND = f"""
<%!
    from mako.runtime import capture
%>
<%def name="section()">{_SECTION}</%def>
<h1>page</h1>${{kept("section", lambda: capture(context, section))}}
"""


class _Kept:
    """A cache as one writes it by hand."""

    def __init__(self) -> None:
        self._sections: dict[str, tuple[str, float]] = {}

    def __call__(self, name: str, render: Callable[[], str]) -> str:
        found = self._sections.get(name)
        if found is not None and time.time() < found[1]:
            return found[0]
        made = render()
        self._sections[name] = made, time.time() + _LIFETIME
        return made


def _rendering(template: Any, **names: Any) -> Run:
    render = template.render
    assert _SECTION in render(**names)

    def run(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            render(**names)
        return time.perf_counter() - began

    return run


def _ours() -> Run:
    from dogpile.cache import make_region
    from dogpile.cache.integrations.mako import Template

    region = make_region("dogpile.cache.memory", expiration_time=_LIFETIME)
    return _rendering(
        Template(
            _CACHED,
            cache_impl="dogpile.cache",
            cache_args={"regions": {"default": region}},
        )
    )


def _beaker() -> Run:
    from beaker.cache import CacheManager
    from mako.template import Template

    manager = CacheManager(type="memory")
    return _rendering(
        Template(_CACHED, cache_impl="beaker", cache_args={"manager": manager})
    )


def sections(effort: Effort) -> Readings:
    """Measure pages with a section that is kept."""
    from mako.template import Template

    runs = {
        FLOOR: _rendering(Template(_BY_HAND), kept=_Kept()),
        OURS: _ours(),
    }
    if rivals.find("beaker") is not None:
        runs[_BEAKER] = _beaker()
    return {"mako page": by_turns(runs, effort, seconds=0.02)}


FIGURES: tuple[Figure, ...] = ()
if rivals.find("mako") is not None:
    FIGURES = (
        Figure(
            "mako",
            "A page of Mako with a kept section",
            (Row("mako page", "µs", (Limit(1.0, _BEAKER),)),),
            sections,
            with_classic=False,
        ),
    )
