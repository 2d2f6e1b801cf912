"""What is remembered of keys is what would be made anew, whatever has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from zoneinfo import ZoneInfo

import pytest

pytest.importorskip("django")

import django_site  # noqa: F401 - it configures Django
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from django.test import AsyncRequestFactory, RequestFactory
from django.utils import timezone, translation
from django.utils.functional import SimpleLazyObject
from hypothesis import given, strategies as st

from dogpile.cache.integrations.django import page_keys as rooms
from dogpile.cache.integrations.django.page_keys import PageKeys
from dogpile.cache.integrations.pages import ViewOptions, read_options


class ByHeader(WSGIRequest):
    """Is for whatever host a header of its own tells."""

    def get_host(self) -> str:
        return str(self.META.get("HTTP_X_OWN", "none"))


class ByRawHost(WSGIRequest):
    """Has a header of its own that tells its host."""

    def _get_raw_host(self) -> str:
        return str(self.META.get("HTTP_X_OWN", "none"))


class Told(WSGIRequest):
    """Was told its host by a middleware."""

    def __init__(self, environ: Any) -> None:
        super().__init__(environ)
        if own := self.META.get("HTTP_X_OWN"):
            self.get_host = lambda: str(own)  # type: ignore[method-assign]


class ToldRaw(WSGIRequest):
    """Was told by a middleware what its host is to be found in."""

    def __init__(self, environ: Any) -> None:
        super().__init__(environ)
        if own := self.META.get("HTTP_X_OWN"):
            self._get_raw_host = lambda: str(own)


class Behind(WSGIRequest):
    """Was encrypted where a header of its own tells."""

    @property
    def scheme(self) -> str:
        return str(self.META.get("HTTP_X_OWN", "http"))


def options(*vary: str, query: Any = True, key: Any = None) -> ViewOptions:
    return read_options(None, None, (), vary, query, None, None, key, {})


OPTIONS = [
    options(),
    options("X-Own"),
    options(query=["page"]),
    options(query=None),
    options(key="own"),
    options(key=lambda request: request.path_info),
]
LEFT_OUT: Any = object()
HEADERS: dict[str, list[Any]] = {
    "HTTP_HOST": ["a.test", "b.test", "a.test:81", "bad host", LEFT_OUT],
    "HTTP_X_OWN": [LEFT_OUT, "one", "two"],
    "HTTP_X_FORWARDED_HOST": [LEFT_OUT, "b.test"],
    "HTTP_X_FORWARDED_PROTO": [LEFT_OUT, "https"],
    "SCRIPT_NAME": [LEFT_OUT, "/app"],
    "wsgi.url_scheme": [LEFT_OUT, "https"],
    "QUERY_STRING": ["page=1&x=2", "x=2&page=1", "x=2", "\xc3\xa4=1", LEFT_OUT],
}
PROXY = "HTTP_X_FORWARDED_PROTO", "https"
SETTINGS: dict[str, list[Any]] = {
    "ALLOWED_HOSTS": [["a.test"], ["b.test"], ["*"], []],
    "DEBUG": [False, True],
    "USE_X_FORWARDED_HOST": [False, True],
    "SECURE_PROXY_SSL_HEADER": [None, PROXY],
    "USE_I18N": [True, False],
    "USE_TZ": [True, False],
    "LANGUAGE_CODE": ["en-us", "de"],
    "TIME_ZONE": ["UTC", "Asia/Tokyo"],
}
KINDS = [WSGIRequest, ASGIRequest, ByHeader, ByRawHost, Told, ToldRaw, Behind]
OTHERS: dict[str, list[Any]] = {
    "kind": KINDS,
    "path": ["/", "/a", "/a%3Fb"],
    "options": OPTIONS,
    "name": ["view", "other"],
    "prefix": ["", "prefix"],
    "language": [None, "fr", "de"],
    "zone": [None, ZoneInfo("Asia/Tokyo"), timezone.get_fixed_timezone(60)],
}
EVERYTHING = {**HEADERS, **SETTINGS, **OTHERS}
# The first of each is usual, and has what is remembered at all.
FIRST = {name: values[0] for name, values in EVERYTHING.items()}
USUAL = st.fixed_dictionaries(
    {
        name: st.sampled_from([*values[:1] * 20, *values])
        for name, values in EVERYTHING.items()
    }
)
UNUSUAL = st.fixed_dictionaries(
    {name: st.sampled_from(values) for name, values in EVERYTHING.items()}
)
# What matters only together with something else: what is there, and what changes.
PAIRS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"HTTP_X_OWN": "one"}, {"kind": ByHeader}),
    ({"kind": ByHeader, "HTTP_X_OWN": "one"}, {"HTTP_X_OWN": "two"}),
    ({"kind": ByRawHost, "HTTP_X_OWN": "a.test"}, {"HTTP_X_OWN": "b.test"}),
    ({"kind": Told}, {"HTTP_X_OWN": "two"}),
    ({"kind": ToldRaw}, {"HTTP_X_OWN": "b.test"}),
    ({"kind": Behind, "HTTP_X_OWN": "one"}, {"HTTP_X_OWN": "two"}),
    ({"QUERY_STRING": HEADERS["QUERY_STRING"][3]}, {"kind": ASGIRequest}),
    ({"SECURE_PROXY_SSL_HEADER": PROXY}, {"HTTP_X_FORWARDED_PROTO": "https"}),
    (
        {"ALLOWED_HOSTS": [], "DEBUG": True, "HTTP_HOST": "localhost"},
        {"DEBUG": False},
    ),
]


def request_of(kind: Any, path: str, meta: dict[str, Any]) -> HttpRequest:
    if kind is ASGIRequest:
        request: HttpRequest = AsyncRequestFactory().get(path)
        told = {n: v for n, v in meta.items() if n != "wsgi.url_scheme"}
        request.META.update(told)
        return request
    return kind(RequestFactory().get(path).environ | meta)  # type: ignore[no-any-return]


def answer(make: Callable[..., Any], *given: Any) -> Any:
    try:
        return make(*given)
    except DisallowedHost as error:
        return str(error)


@contextmanager
def changed(chosen: dict[str, Any]) -> Iterator[None]:
    """Change settings as nobody is told of it."""
    before = {name: getattr(settings, name) for name in chosen}
    for name, value in chosen.items():
        setattr(settings, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(settings, name, value)


# One for all that follows, as in a process that goes on.
keys = PageKeys()


def both_ways(case: dict[str, Any]) -> tuple[Any, Any]:
    """Return what is found, and what would be made, where a case holds."""
    meta = {name: case[name] for name in HEADERS if case[name] is not LEFT_OUT}
    request = request_of(case["kind"], case["path"], meta)
    asked = case["name"], case["options"], case["prefix"], request
    with ExitStack() as stack:
        stack.enter_context(changed({name: case[name] for name in SETTINGS}))
        if case["language"] is not None:
            stack.enter_context(translation.override(case["language"]))
        if case["zone"] is not None:
            stack.enter_context(timezone.override(case["zone"]))
        for name in SETTINGS:
            getattr(settings, name)  # which is kept at hand from here on
        return answer(keys.key, *asked), answer(rooms._made, *asked)


@given(USUAL, UNUSUAL)
def test_what_is_remembered_is_what_would_be_made(
    case: dict[str, Any], other: dict[str, Any]
) -> None:
    for name in case:
        for each in (case, {**case, name: other[name]}, case):
            found, made = both_ways(each)
            assert found == made


@pytest.mark.parametrize(("case", "changes"), PAIRS)
def test_so_it_is_where_one_thing_matters_with_another(
    case: dict[str, Any], changes: dict[str, Any]
) -> None:
    for each in (case, {**case, **changes}, case):
        found, made = both_ways({**FIRST, **each})
        assert found == made


def test_hosts_may_be_changed_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ALLOWED_HOSTS", ["a.test"])
    request = request_of(WSGIRequest, "/", {"HTTP_HOST": "a.test"})
    for _ in range(3):
        assert keys.key("view", OPTIONS[0], "", request) is not None

    settings.ALLOWED_HOSTS[:] = ["b.test"]

    with pytest.raises(DisallowedHost):
        keys.key("view", OPTIONS[0], "", request)


def test_a_second_request_asks_django_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = PageKeys()
    first, second = (
        request_of(WSGIRequest, "/a", {"HTTP_HOST": "testserver"}) for _ in range(2)
    )
    found = [keys.key("view", OPTIONS[0], "", first) for _ in range(2)]
    monkeypatch.setattr(rooms, "_made", None)

    assert keys.key("view", OPTIONS[0], "", second) == found[0] == found[1]


def test_no_more_is_remembered_than_a_thousand_addresses() -> None:
    keys = PageKeys()
    for number in range(2100):
        asked = {"HTTP_HOST": "testserver", "QUERY_STRING": f"page={number}"}
        keys.key("view", OPTIONS[0], "", request_of(WSGIRequest, "/", asked))
    asked["QUERY_STRING"] = "x" * 2000
    keys.key("view", OPTIONS[0], "", request_of(WSGIRequest, "/", asked))

    assert 0 < len(keys._known) <= 1000
    assert max(len(key) for key, _ in keys._known.values()) < 200


def test_what_no_key_shows_of_a_query_takes_no_room() -> None:
    keys = PageKeys()
    for query in (None, ["page"]):
        for size in (1, 2000):
            asked = {"HTTP_HOST": "testserver", "QUERY_STRING": "x" * size}
            request = request_of(WSGIRequest, "/", asked)
            assert keys.key("view", options(query=query), "", request) is not None

    assert len(keys._known) == 2
    assert "x" * 2000 not in str(keys._known)


def test_a_wrapped_request_has_the_key_of_what_it_wraps() -> None:
    request = request_of(WSGIRequest, "/a", {"HTTP_HOST": "testserver"})
    wrapped: Any = SimpleLazyObject(lambda: request)

    found = keys.key("view", OPTIONS[0], "", wrapped)

    assert found == keys.key("view", OPTIONS[0], "", request)


def test_what_a_project_puts_in_the_place_of_djangos_own_is_not_seen_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert rooms._if_djangos(HttpRequest.get_host) is HttpRequest.get_host
    assert rooms._if_djangos(HttpRequest.scheme) is HttpRequest.scheme

    monkeypatch.setattr(HttpRequest, "get_host", ByHeader.get_host)
    monkeypatch.setattr(HttpRequest, "scheme", Behind.scheme)

    assert rooms._if_djangos(HttpRequest.get_host) is None
    assert rooms._if_djangos(HttpRequest.scheme) is None


def test_settings_that_change_while_a_key_is_made_leave_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = PageKeys()
    request = request_of(WSGIRequest, "/a", {"HTTP_HOST": "testserver"})
    keys.key("view", OPTIONS[0], "", request)  # which asks for the settings

    def made(*given: Any) -> tuple[str, str]:
        keys._forget()
        return "made of the old ones", ""

    monkeypatch.setattr(rooms, "_made", made)
    keys.key("other", OPTIONS[0], "", request)

    assert keys._known == {}
