"""The HTTP caching rules, apart from any framework."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
from hypothesis import given, strategies as st

from dogpile.cache import ValidationError
from dogpile.cache.integrations import http
from dogpile.cache.integrations.http import Outcome, make_page

Pairs = list[tuple[str, str]]


def key_of(
    path: str = "/",
    query: str = "",
    *,
    host: str = "example.org",
    root: str = "",
    vary: tuple[str, ...] = (),
    **environ: str,
) -> str:
    canonical = http.canonical_query(query)
    assert canonical is not None
    varied = tuple(http.vary_names(vary))
    return http.page_key("http", host, root, path, canonical, varied, environ)


class TestWhatIsPassed:
    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get"])
    def test_only_get_and_head_are_answered(self, method: str) -> None:
        assert http.why_passed(method, {}) == ("method", "")

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_a_plain_request_is_answered(self, method: str) -> None:
        assert http.why_passed(method, {"CONTENT_LENGTH": "0"}) is None

    @pytest.mark.parametrize(
        ("environ", "detail"),
        [
            ({"HTTP_AUTHORIZATION": "Basic eA=="}, "authorization"),
            ({"CONTENT_LENGTH": "3"}, "body"),
            ({"HTTP_TRANSFER_ENCODING": "chunked"}, "body"),
        ],
    )
    def test_what_the_key_does_not_tell_is_passed(
        self, environ: dict[str, str], detail: str
    ) -> None:
        assert http.why_passed("GET", environ) == ("bypass", detail)

    @pytest.mark.parametrize(
        ("environ", "wish"),
        [
            ({}, ""),
            ({"HTTP_CACHE_CONTROL": "max-age=5"}, ""),
            ({"HTTP_CACHE_CONTROL": "no-cache"}, "no-cache"),
            ({"HTTP_CACHE_CONTROL": "Max-Age=0"}, "no-cache"),
            ({"HTTP_CACHE_CONTROL": "no-store, no-cache"}, "no-store"),
            ({"HTTP_PRAGMA": "no-cache"}, "no-cache"),
            ({"HTTP_PRAGMA": "no-cache", "HTTP_CACHE_CONTROL": "max-age=5"}, ""),
        ],
    )
    def test_wishes_are_understood(self, environ: dict[str, str], wish: str) -> None:
        assert http.wish_of(environ) == wish


class TestKey:
    def test_what_is_separated_cannot_run_together(self) -> None:
        keys = [
            key_of("/a", "b=1"),
            key_of("/a?b=1"),
            key_of("/a%3Fb=1"),
            key_of("/a", "b=1#"),
            key_of("/a#=x"),
            key_of("/a", host="example.org/a"),
            key_of("/", "b=1", root="/a"),
            key_of("/|/a", "b=1"),
            key_of("|/a", "b=1"),
        ]

        assert len(set(keys)) == len(keys)

    def test_the_host_is_in_it_whatever_its_case(self) -> None:
        assert key_of(host="Example.ORG") == key_of(host="example.org")
        assert key_of(host="evil.example") != key_of(host="example.org")

    def test_headers_are_in_it_if_they_are_named(self) -> None:
        german = key_of(vary=("Accept-Language",), HTTP_ACCEPT_LANGUAGE="de")

        assert german != key_of(vary=("Accept-Language",))
        assert german != key_of(vary=("Accept-Language",), HTTP_ACCEPT_LANGUAGE="en")
        assert key_of(HTTP_ACCEPT_LANGUAGE="de") == key_of()

    def test_blanks_in_headers_mean_nothing(self) -> None:
        named = ("Accept-Language",)

        assert key_of(vary=named, HTTP_ACCEPT_LANGUAGE="de, en") == key_of(
            vary=named, HTTP_ACCEPT_LANGUAGE=" de,en "
        )

    def test_an_empty_header_is_not_a_missing_one(self) -> None:
        assert key_of(vary=("X-A",), HTTP_X_A="") != key_of(vary=("X-A",))

    @given(
        st.lists(
            st.tuples(st.text(), st.text(), st.text(), st.text()),
            min_size=2,
            max_size=2,
            unique=True,
        )
    )
    def test_different_requests_have_different_keys(self, asked: list[Any]) -> None:
        keys = {
            http.page_key("http", "h", root, path, "", ("HTTP_A", "HTTP_B"), environ)
            for root, path, a, b in asked
            for environ in [{"HTTP_A": "#" + a, "HTTP_B": "#" + b}]
        }

        parted = {
            (root, path, http._normal("#" + a), http._normal("#" + b))
            for root, path, a, b in asked
        }
        assert len(keys) == len(parted)

    @pytest.mark.parametrize(
        ("raw", "canonical"),
        [
            ("", ""),
            ("b=2&a=1", "a=1&b=2"),
            ("a=2&a=1", "a=2&a=1"),
            ("b=1&a=2&b=0", "a=2&b=1&b=0"),
            ("a", "a="),
            ("a=%41", "a=A"),
            ("a=1%262", "a=1%262"),
            ("a=%FF", "a=%FF"),
            ("a=+", "a=+"),
            ("&&", ""),
        ],
    )
    def test_a_query_has_one_form(self, raw: str, canonical: str) -> None:
        assert http.canonical_query(raw) == canonical

    @given(st.text(alphabet="ab=&%12+;", max_size=12))
    def test_the_form_of_a_form_is_itself(self, raw: str) -> None:
        once = http.canonical_query(raw)

        assert once is not None
        assert http.canonical_query(once) == once

    def test_only_named_parameters_count(self) -> None:
        assert http.canonical_query("utm=x&page=2&q=y", ("page", "q")) == "page=2&q=y"

    def test_a_flood_of_parameters_is_refused(self) -> None:
        assert http.canonical_query("a&" * 2000) is None

    def test_a_selection_is_made_of_what_views_say(self) -> None:
        assert http.select_query(True)("b=1&a=2") == "a=2&b=1"
        assert http.select_query(("a",))("b=1&a=2") == "a=2"
        assert http.select_query("a")("b=1&a=2") == "a=2"
        assert http.select_query(None)("b=1") == ""

    def test_odd_selections_are_refused(self) -> None:
        with pytest.raises(ValidationError, match="query takes True, None or names"):
            http.select_query([1])  # type: ignore[list-item]  # on purpose

    @pytest.mark.parametrize("name", ["*", "", "a b", "Authorization"])
    def test_odd_headers_are_refused(self, name: str) -> None:
        with pytest.raises(ValidationError, match="vary"):
            http.vary_names([name])


class TestWhatIsKept:
    def why(self, headers: Pairs, status: int = 200, **facts: Any) -> str:
        return http.why_not_kept(status, headers, **facts)

    @pytest.mark.parametrize("status", [200, 203, 204, 301, 308])
    def test_answers_for_everybody_are_kept(self, status: int) -> None:
        assert self.why([], status) == ""

    @pytest.mark.parametrize("status", [206, 302, 303, 304, 307, 400, 404, 410, 500])
    def test_errors_and_answers_for_the_moment_are_not(self, status: int) -> None:
        assert self.why([], status) == "status"

    @pytest.mark.parametrize(
        ("name", "value", "reason"),
        [
            ("Set-Cookie", "a=b", "set-cookie"),
            ("set-cookie", "a=b", "set-cookie"),
            ("Cache-Control", "private", "private"),
            ("Cache-Control", 'Private="x"', "private"),
            ("Cache-Control", "max-age=60, no-store", "no-store"),
            ("Cache-Control", "no-cache", "no-cache"),
            ("Cache-Control", "max-age=0", "max-age"),
            ("Cache-Control", "s-maxage=0, max-age=60", "max-age"),
            ("Cache-Control", "max-age=soon", "max-age"),
            ("Vary", "*", "vary"),
            ("Vary", "Accept-Language", "vary-accept-language"),
            ("Vary", "Cookie", "vary-cookie"),
            ("Content-Range", "bytes 0-1/2", "status"),
        ],
    )
    def test_what_a_response_forbids_is_not_kept(
        self, name: str, value: str, reason: str
    ) -> None:
        assert self.why([("Content-Type", "text/html"), (name, value)]) == reason

    @pytest.mark.parametrize(
        "value", ["max-age=60", "public", "s-maxage=60, max-age=0", "must-revalidate"]
    )
    def test_what_a_response_allows_is(self, value: str) -> None:
        assert self.why([("Cache-Control", value)]) == ""

    def test_two_headers_of_a_name_are_one(self) -> None:
        told = [("Cache-Control", "max-age=60"), ("Cache-Control", "private")]

        assert self.why(told) == "private"

    def test_what_is_in_the_key_may_vary(self) -> None:
        told = [("Vary", "Accept-Language, X-A")]

        assert self.why(told, varied={"HTTP_ACCEPT_LANGUAGE", "HTTP_X_A"}) == ""
        assert self.why(told, varied={"HTTP_X_A"}) == "vary-accept-language"

    def test_streams_sessions_and_unkeyed_headers_are_not_kept(self) -> None:
        assert self.why([], is_stream=True) == "stream"
        assert self.why([], has_session=True) == "session"
        assert self.why([], unkeyed=["HTTP_HOST"]) == ""
        assert self.why([], unkeyed=["HTTP_X_FORWARDED_HOST"]) == (
            "unkeyed-x-forwarded-host"
        )
        assert self.why([], unkeyed=["HTTP_A"], varied=["HTTP_A"]) == ""

    @pytest.mark.parametrize(
        ("told", "given_time", "lifetime", "may_be_stale"),
        [
            ("", 60.0, 60.0, True),
            ("", None, None, True),
            ("max-age=10", 60.0, 10.0, True),
            ("max-age=100", 60.0, 60.0, True),
            ("max-age=10", None, 10.0, True),
            ("max-age=10, s-maxage=20", 60.0, 20.0, False),
            ("must-revalidate", 60.0, 60.0, False),
            ("proxy-revalidate", 60.0, 60.0, False),
        ],
    )
    def test_a_response_may_live_shorter_than_the_view_says(
        self,
        told: str,
        given_time: float | None,
        lifetime: float | None,
        may_be_stale: bool,
    ) -> None:
        found = http.lifetime_of([("Cache-Control", told)], given_time)

        assert found == (lifetime, may_be_stale)


class TestWhatIsTold:
    def told(self, headers: Pairs, **how: Any) -> dict[str, str]:
        options: dict[str, Any] = {
            "vary": (),
            "lifetime": 60.0,
            "grace": None,
            "is_invalidated": False,
            **how,
        }
        vary, lifetime, grace = (
            options.pop(name) for name in ("vary", "lifetime", "grace")
        )
        return dict(
            http.told_headers(headers, b"body", vary, lifetime, grace, **options)
        )

    def test_a_page_says_how_long_it_is_fresh(self) -> None:
        assert self.told([])["Cache-Control"] == "max-age=60"
        assert self.told([], grace=600.0)["Cache-Control"] == (
            "max-age=60, stale-while-revalidate=600, stale-if-error=600"
        )

    @pytest.mark.parametrize("how", [{"is_invalidated": True}, {"lifetime": None}])
    def test_a_page_that_may_change_any_time_is_asked_for(
        self, how: dict[str, Any]
    ) -> None:
        assert self.told([], **how)["Cache-Control"] == "no-cache"

    @pytest.mark.parametrize("name", ["Cache-Control", "Expires", "ETag", "etag"])
    def test_what_the_view_said_stays(self, name: str) -> None:
        told = self.told([(name, "said")])

        assert told[name] == "said"
        if name != name.lower():
            assert name.lower() not in {n.lower() for n in told if n != name}

    def test_what_belongs_to_a_connection_is_not_kept(self) -> None:
        told = self.told([("Connection", "close"), ("Date", "x"), ("Age", "5")])

        assert set(told) == {"ETag", "Cache-Control"}

    def test_vary_names_each_header_once(self) -> None:
        told = self.told([("Vary", "X-A, x-b")], vary=["X-B", "X-C"])

        assert told["Vary"] == "X-A, x-b, X-C"

    def test_the_validator_is_weak_and_of_the_body(self) -> None:
        assert http.etag_of(b"a").startswith('W/"')
        assert http.etag_of(b"a") != http.etag_of(b"b")

    @pytest.mark.parametrize(
        ("wanted", "is_same"),
        [
            ('"x"', True),
            ('W/"x"', True),
            ('"y", W/"x"', True),
            ("*", True),
            ('"y"', False),
            ("x", False),
            ("", False),
        ],
    )
    def test_etags_are_compared_weakly(self, wanted: str, is_same: bool) -> None:
        environ = {"HTTP_IF_NONE_MATCH": wanted}

        assert http.is_not_modified(environ, 'W/"x"', "") is is_same

    @pytest.mark.parametrize(
        ("since", "is_same"),
        [
            ("Sun, 06 Nov 1994 08:49:37 GMT", True),
            ("Sun, 06 Nov 1994 08:49:38 GMT", True),
            ("Sun, 06 Nov 1994 08:49:36 GMT", False),
            ("yesterday", False),
        ],
    )
    def test_times_are_compared_without_an_etag(
        self, since: str, is_same: bool
    ) -> None:
        modified = "Sun, 06 Nov 1994 08:49:37 GMT"
        environ = {"HTTP_IF_MODIFIED_SINCE": since}

        assert http.is_not_modified(environ, "", modified) is is_same
        assert not http.is_not_modified(
            {**environ, "HTTP_IF_NONE_MATCH": '"other"'}, '"x"', modified
        )
        assert not http.is_not_modified(environ, "", "")

    def test_a_304_says_nothing_of_the_content(self) -> None:
        told = [("ETag", '"x"'), ("Content-Type", "a"), ("Vary", "b"), ("Age", "1")]

        assert http.not_modified_headers(told) == [
            ("ETag", '"x"'),
            ("Vary", "b"),
            ("Age", "1"),
        ]

    @pytest.mark.parametrize(
        ("outcome", "told"),
        [
            (Outcome(), "dogpile; hit"),
            (Outcome(ttl=37.9), "dogpile; hit; ttl=37"),
            (Outcome(ttl=-0.5), "dogpile; hit; ttl=-1"),
            (Outcome(ttl=math.inf), "dogpile; hit"),
            (
                Outcome("uri-miss", 60.0, is_stored=True),
                "dogpile; fwd=uri-miss; ttl=60; stored",
            ),
            (
                Outcome("uri-miss", is_collapsed=True),
                "dogpile; fwd=uri-miss; collapsed",
            ),
            (Outcome("method"), "dogpile; fwd=method"),
            (
                Outcome("uri-miss", detail="set-cookie"),
                "dogpile; fwd=uri-miss; detail=set-cookie",
            ),
            (
                Outcome("bypass", detail='a "b"\r\n'),
                'dogpile; fwd=bypass; detail="a ?b???"',
            ),
        ],
    )
    def test_the_outcome_is_told(self, outcome: Outcome, told: str) -> None:
        assert str(outcome) == told


class TestPage:
    def page(self, lifetime: float | None = 60.0) -> http.Page:
        return make_page(
            200,
            [("ETag", '"x"'), ("Last-Modified", "then")],
            b"body",
            100.0,
            101.0,
            lifetime,
            may_be_stale=True,
            extras=[("reason_phrase", "Fine")],
        )

    def test_a_page_tells_its_age(self) -> None:
        told = dict(http.hit_headers(self.page(), 137.5))

        assert told["Age"] == "37"
        assert told["Cache-Status"] == "dogpile; hit; ttl=22"

    def test_a_stale_page_tells_that_it_is(self) -> None:
        told = dict(http.hit_headers(self.page(), 170.0))

        assert (told["Age"], told["Cache-Status"]) == ("70", "dogpile; hit; ttl=-10")

    def test_a_clock_that_went_back_makes_no_negative_age(self) -> None:
        assert dict(http.hit_headers(self.page(), 90.0))["Age"] == "0"

    def test_a_page_for_ever_has_no_end(self) -> None:
        told = dict(http.hit_headers(self.page(None), 1e9))

        assert told["Cache-Status"] == "dogpile; hit"

    def test_pages_survive_pickle_and_plain_lists(self) -> None:
        page = self.page()

        assert http.read_page(pickle.loads(pickle.dumps(page))) == page
        headers = [list(pair) for pair in page.headers]
        extras = [list(pair) for pair in page.extras]
        as_list = [*page[:1], headers, *page[2:-1], extras]
        assert http.read_page(as_list) == page

    def test_a_page_that_was_kept_without_extras_is_none(self) -> None:
        assert http.read_page(list(self.page()[:-1])) is None

    @pytest.mark.parametrize("payload", [None, "text", (), [1, 2], [None] * 9])
    def test_what_is_no_page_is_none(self, payload: object) -> None:
        assert http.read_page(payload) is None
