"""What the backends of servers share: arguments, addresses, keys, errors, forks."""

from __future__ import annotations

import datetime
import errno
import gc
import os

import pytest
from hypothesis import given, strategies as st

from dogpile.cache.backends.address import (
    Address,
    check_url,
    host_in,
    parse_address,
    port_in,
    server_list,
)
from dogpile.cache.backends.network import (
    flag_in,
    import_client,
    integer_in,
    key_prefix,
    plain_key,
    seconds_in,
    watch_forks,
    wrapped,
)
from dogpile.cache.exception import (
    BackendError,
    BackendUnavailable,
    ConfigurationError,
    ValidationError,
    ValueTooLarge,
)
from dogpile.cache.testing.concurrency import in_child

SCHEMES = ("redis", "rediss", "unix")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, None), (2, 2.0), ("0.5", 0.5), (datetime.timedelta(minutes=1), 60.0)],
)
def test_seconds_are_read(value: object, expected: float | None) -> None:
    assert seconds_in({"socket_timeout": value}, "socket_timeout", 9) == expected


@pytest.mark.parametrize("value", [0, -1, "soon", True, [], float("inf"), float("nan")])
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="socket_timeout"):
        seconds_in({"socket_timeout": value}, "socket_timeout", 9)


@pytest.mark.parametrize(("value", "expected"), [(0, 0), ("6379", 6379), (7, 7)])
def test_whole_numbers_are_read(value: object, expected: int) -> None:
    assert integer_in({"port": value}, "port", 1) == expected


@pytest.mark.parametrize("value", [-1, "-1", 1.0, "1.5", True, None, "secret"])
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="port=") as caught:
        integer_in({"port": value}, "port", 1)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "expected"), [(1, 1), ("6379", 6379), (65535, 65535)]
)
def test_ports_are_read(value: object, expected: int) -> None:
    assert port_in({"port": value}, "port", 1) == expected


@pytest.mark.parametrize("value", [0, -1, 65536, "70000", 1.5, True, None, "secret"])
def test_what_is_no_port_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match=r"^port= must be .*1 to 65535") as caught:
        port_in({"port": value}, "port", 1)

    assert "secret" not in str(caught.value)
    assert not isinstance(value, int) or f"not {value}" in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "10.0.0.1", "::1", "fe80::1%eth0"])
def test_hosts_are_read(host: str) -> None:
    assert host_in({"host": host}, "host", "other") == host
    assert host_in({"host": None}, "host", "other") == "other"


@pytest.mark.parametrize("host", ["", " ", 5, "a:1", "a/b", "redis://a", "x:secret@a"])
def test_what_is_no_host_is_refused(host: object) -> None:
    with pytest.raises(ValidationError, match=r"^host= must name a host") as caught:
        host_in({"host": host}, "host", "other")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), ("Yes", True), ("off", False), (0, False), (None, False)],
)
def test_flags_are_read(value: object, expected: bool) -> None:
    assert flag_in({"ssl": value}, "ssl", True) is expected


@pytest.mark.parametrize("value", ["perhaps", 1.0, [], object()])
def test_what_is_no_flag_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="ssl="):
        flag_in({"ssl": value}, "ssl", True)


def test_what_is_not_given_has_its_default() -> None:
    assert seconds_in({}, "a", 2.0) == 2.0
    assert integer_in({}, "a", 7) == 7
    assert flag_in({}, "a", True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host", Address("host", 11211)),
        (" host:1 ", Address("host", 1)),
        ("127.0.0.1:65535", Address("127.0.0.1", 65535)),
        ("::1", Address("::1", 11211)),
        ("[::1]", Address("::1", 11211)),
        ("[fe80::1%eth0]:5", Address("fe80::1%eth0", 5)),
        ("/run/a socket", Address("", 0, "/run/a socket")),
        ("unix:/run/socket", Address("", 0, "/run/socket")),
    ],
)
def test_addresses_are_read(text: str, expected: Address) -> None:
    assert parse_address(text, 11211) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", None, 11211, "two words", "host:", "host:port", "host:0"),
        *("host:65536", "user@host", "http://host", "[::1", "host/0"),
    ],
)
def test_what_is_no_address_is_refused(text: object) -> None:
    with pytest.raises(ValidationError):
        parse_address(text, 11211)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("127.0.0.1, 10.0.0.1", ["127.0.0.1", "10.0.0.1"]),
        (["a:1", " b:2 "], ["a:1", "b:2"]),
        (("a",), ["a"]),
        ("a,,b,", ["a", "b"]),
    ],
)
def test_servers_are_listed(value: object, expected: list[str]) -> None:
    assert server_list(value) == expected


@pytest.mark.parametrize("value", ["", ",", [], None, 5, [5], ["a", object()]])
def test_no_servers_are_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="url="):
        server_list(value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://localhost:6379/0?socket_timeout=1",
        "rediss://user:p%40ss@[::1]:6379/12",
        "redis://:word@host//3",
        "unix:///run/redis.sock?db=1",
    ],
)
def test_urls_are_passed_on(url: str) -> None:
    assert check_url(url, SCHEMES) == url


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "localhost:6379",
        "memcached://localhost",
        "redis://host:0",
        "redis://host:99999",
        "redis://host/first",
        "redis://host?db=-1",
        "unix://",
        "http://host/secret",
        "redis://:secret/word@host:6379",
        "redis://:secret[word@host:6379",
    ],
)
def test_urls_that_lead_nowhere_are_refused_unshown(url: object) -> None:
    with pytest.raises(ValidationError, match="url=") as caught:
        check_url(url, SCHEMES)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["user:42", "!", "}", "a~b", "x" * 250])
def test_a_plain_key_stays_as_it_is(key: str) -> None:
    assert plain_key(key, 250) == key


@pytest.mark.parametrize(
    "key",
    ["", "two words", "tab\t", "nul\0", "grüße", "x" * 251, "~x", b"raw", 5, None],
)
def test_any_other_key_is_hashed(key: object) -> None:
    hashed = plain_key(key, 250)

    assert hashed.startswith("~")
    assert len(hashed) == 65
    assert hashed == plain_key(key, 250)


@given(st.text() | st.binary() | st.integers(), st.text() | st.binary() | st.integers())
def test_no_two_keys_become_one(one: object, other: object) -> None:
    same = type(one) is type(other) and one == other
    as_text = {type(one), type(other)} == {str, int} and str(one) == str(other)

    assert (plain_key(one, 250) == plain_key(other, 250)) == same or as_text


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("key", "'key'"),
        (b"raw", "'raw'"),
        (5, "'5'"),
        ("x" * 1000, "'" + "x" * 40 + "…'"),
        ("two\nlines", r"'two\nlines'"),
    ],
)
def test_an_error_shows_the_beginning_of_a_key(key: object, shown: str) -> None:
    assert key_prefix(key) == shown


def test_errors_of_the_system_mean_that_nobody_answers() -> None:
    error = wrapped("name", "get", OSError(errno.ECONNREFUSED, "Connection refused"))

    assert type(error) is BackendUnavailable
    assert str(error) == "name failed at get(): Connection refused"


class _ClientError(Exception):
    """What a client raises."""


def test_errors_of_a_client_are_told_by_kind_and_not_by_word() -> None:
    told = wrapped("name", "get", _ClientError("secret"))
    gone = wrapped("name", "get", _ClientError("secret"), gone=(_ClientError,))

    assert type(told) is BackendError
    assert type(gone) is BackendUnavailable
    assert "_ClientError" in str(told)
    assert "secret" not in str(told)
    assert str(wrapped("name", "get", _ClientError(), reason="why")).endswith(": why")


def test_our_own_errors_are_left_alone() -> None:
    error = ValueTooLarge("name", "set", "why")

    assert wrapped("other", "get", error) is error


def test_a_missing_library_is_told_with_its_extra() -> None:
    with pytest.raises(ConfigurationError, match=r"dogpile\.cache\[extra\]"):
        import_client("no_such_library.part", backend="name", extra="extra")


def test_a_library_that_is_there_is_imported() -> None:
    assert import_client("json.decoder", backend="name", extra="extra").JSONDecoder


class _Owner:
    """Counts how often it started afresh."""

    def __init__(self) -> None:
        self.starts = 0

    def start_afresh(self) -> None:
        self.starts += 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_whoever_watches_starts_afresh_in_the_child_alone() -> None:
    owner, forgotten = _Owner(), _Owner()
    watch_forks(owner)
    watch_forks(forgotten)
    del forgotten
    gc.collect()

    def look() -> None:
        assert owner.starts == 1

    assert in_child(look) == 0
    assert owner.starts == 0
