"""A page that is kept, in Flask: a request beside one of a hand-written cache.

The floor is what one writes by hand: a dictionary from ``request.full_path`` to
what the view returned and when that ends. Each contestant answers the same request
by the application's WSGI call.
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
    Readings,
    Row,
    Run,
    Stopwatch,
    by_turns,
    ratio,
)

_LIFETIME = 3600
_PAGE = "<p>text</p>" * 200


def _view(slug: str) -> str:
    return _PAGE


def _by_hand(app: Any) -> Callable[[Any], Any]:
    from flask import request

    pages: dict[str, tuple[Any, float]] = {}

    def cached(view: Any) -> Any:
        def answer(**view_args: Any) -> Any:
            key = request.full_path
            found = pages.get(key)
            if found is not None and time.time() < found[1]:
                return found[0]
            made = view(**view_args)
            pages[key] = made, time.time() + _LIFETIME
            return made

        return answer

    return cached


def _ours(app: Any) -> Callable[[Any], Any]:
    from dogpile.cache.integrations.flask import DogpileCache

    return DogpileCache(app).cached(_LIFETIME)


def _flask_caching(app: Any) -> Any:
    from flask_caching import Cache

    app.config["CACHE_TYPE"] = "SimpleCache"
    return Cache(app).cached(_LIFETIME, query_string=True)


def _run(decorator: Callable[[Any], Callable[[Any], Any]]) -> Run:
    from flask import Flask
    from werkzeug.test import EnvironBuilder

    app = Flask("site")
    app.secret_key = "a secret of many bytes"
    app.add_url_rule("/post/<slug>", "post", decorator(app)(_view))
    environ = EnvironBuilder("/post/first?page=2&order=new").get_environ()

    def answer(status: str, headers: Any, error: Any = None) -> Any:
        return None

    def run(count: int) -> float:
        wsgi = app.wsgi_app
        with Stopwatch() as watch:
            for _ in range(count):
                b"".join(wsgi(dict(environ), answer))
        return watch.seconds

    return run


def pages(effort: Effort) -> Readings:
    """Measure requests for a page that is kept."""
    runs = {FLOOR: _run(_by_hand), OURS: _run(_ours)}
    if rivals.find("flask_caching") is not None:
        runs["Flask-Caching"] = _run(_flask_caching)
    return {"flask page": by_turns(runs, effort, seconds=0.02)}


FIGURES: tuple[Figure, ...] = ()
if rivals.find("flask") is not None:
    FIGURES = (
        Figure(
            "flask",
            "A kept page in Flask, by request",
            (Row("flask page", "µs", ratio(1.15)),),
            pages,
            with_classic=False,
        ),
    )
