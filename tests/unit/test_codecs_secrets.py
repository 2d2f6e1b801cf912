"""Keys and payloads never appear in anything that a person or a log may see."""

from __future__ import annotations

import base64
import enum
import io
import logging
import pickle
import traceback
from typing import Any

import pytest

from dogpile.cache.api import CachedValue
from dogpile.cache.codecs import Chain, build_chain
from dogpile.cache.exception import DogpileCacheException

# A part of every secret, in every form that it could be printed in.
MARK = "xyzzy"
SIGNING_KEY = f"{MARK}-signing-key-of-many-bytes"
ENCRYPTION_KEY = f"{MARK}-encryption-key-of-many-bytes"
FERNET_KEY = base64.urlsafe_b64encode(f"{MARK}{'0' * 27}".encode()).decode()
KEY = "module:function|7"
METADATA = {"ct": 1_700_000_000.25, "v": 3}

TRACES = (
    MARK,
    MARK.encode().hex(),
    base64.b64encode(MARK.encode()).decode()[:6],
    FERNET_KEY[:8],
)

CHAINS: dict[str, dict[str, Any]] = {
    "plain": {},
    "json": {"serializer": "json"},
    "msgpack": {"serializer": "msgpack"},
    "compressed": {"compressor": "zlib", "compress_above": 0},
    "signed": {"signing_key": SIGNING_KEY},
    "encrypted": {"encryption_key": ENCRYPTION_KEY},
    "fernet": {"encryption_key": f"fernet:{FERNET_KEY}"},
    "all": {
        "serializer": "json",
        "compressor": "zlib",
        "signing_key": [SIGNING_KEY, SIGNING_KEY + "2"],
        "encryption_key": [ENCRYPTION_KEY, f"fernet:{FERNET_KEY}"],
    },
}


class Colour(enum.Enum):
    RED = f"{MARK}-red"


class Quoting:
    """Quotes what it holds wherever it can."""

    def __repr__(self) -> str:
        return MARK

    def __reduce__(self) -> tuple[object, ...]:
        raise ValueError(MARK)


class Slippery:
    """Quotes what it holds when it is unpickled."""

    def __setstate__(self, state: object) -> None:
        raise ValueError(state)

    def __getstate__(self) -> dict[str, str]:
        return {"password": MARK}


@pytest.fixture(params=list(CHAINS.values()), ids=list(CHAINS))
def chain(request: pytest.FixtureRequest) -> Chain:
    return build_chain(request.param, context="users")


@pytest.fixture
def log() -> Any:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def everything_said(error: BaseException) -> str:
    printed = "".join(traceback.format_exception(error))
    # The lines of the source, which a traceback quotes, are not what is meant.
    lines = [line for line in printed.splitlines() if not line.startswith("    ")]
    return "\n".join([*lines, repr(error), str(error), repr(vars(error))])


def assert_silent(text: str) -> None:
    assert [trace for trace in TRACES if trace in text] == []


def test_a_representation_has_no_secrets(chain: Chain) -> None:
    assert_silent(repr(chain) + str(chain) + f"{chain}")


def test_the_parts_of_a_chain_have_no_secrets_in_theirs(chain: Chain) -> None:
    parts = [getattr(chain, name, None) for name in Chain.__slots__]
    links = [
        getattr(part, name, None)
        for part in parts
        for name in getattr(type(part), "__slots__", ())
    ]

    assert_silent(repr(parts) + repr(links))


@pytest.mark.parametrize(
    "payload",
    [
        Quoting(),
        [MARK, Quoting()],
        {MARK: {MARK: [Quoting()]}},
        {MARK: {1, 2, MARK}, "lock": logging.Handler()},
        f"{MARK}\udc80",
        {MARK: lambda: None},
    ],
)
def test_a_value_that_is_refused_is_not_quoted(
    chain: Chain, payload: Any, log: io.StringIO
) -> None:
    said = ""
    try:
        chain.encode(KEY, CachedValue(payload, METADATA))
    except DogpileCacheException as error:
        said = everything_said(error)

    assert_silent(said + log.getvalue())


def test_metadata_that_is_refused_is_not_quoted(chain: Chain) -> None:
    with pytest.raises(DogpileCacheException) as caught:
        chain.encode(KEY, CachedValue(1, {**METADATA, "e": {MARK, Quoting()}}))

    assert_silent(everything_said(caught.value))


def test_bytes_that_are_refused_are_not_quoted(chain: Chain, log: io.StringIO) -> None:
    raw = chain.encode(KEY, CachedValue([MARK] * 3, METADATA))
    broken = [raw[:n] for n in range(len(raw))]
    broken += [raw[:n] + b"\xff" + raw[n:] for n in range(len(raw))]
    broken += [b"\xa0" + MARK.encode() + b"|" + MARK.encode(), MARK.encode()]

    said = []
    for each in broken:
        try:
            chain.decode(KEY, each)
        except DogpileCacheException as error:
            said.append(everything_said(error))

    assert said
    assert_silent("\n".join(said) + log.getvalue())


@pytest.mark.parametrize("settings", [{}, {"signing_key": SIGNING_KEY}])
def test_a_type_that_quotes_while_it_is_unpickled_is_not_printed(
    settings: dict[str, Any],
) -> None:
    chain = Chain(**settings)
    raw = chain.encode(KEY, CachedValue(Slippery(), METADATA))

    with pytest.raises(DogpileCacheException) as caught:
        chain.decode(KEY, raw)

    assert_silent(everything_said(caught.value))
    assert "ValueError" in str(caught.value)
    # A debugger finds it all the same.
    assert isinstance(caught.value.__context__, ValueError)


def test_a_member_of_an_enum_that_is_gone_is_not_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chain = Chain()
    raw = chain.encode(KEY, CachedValue(Colour.RED, METADATA))
    monkeypatch.setattr(Colour, "_value2member_map_", {})
    monkeypatch.setattr(Colour, "_member_map_", {})

    with pytest.raises(DogpileCacheException) as caught:
        chain.decode(KEY, raw)

    assert_silent(everything_said(caught.value))


@pytest.mark.parametrize(
    "settings",
    [
        {"signing_key": f"{MARK}-short"},
        {"signing_key": [SIGNING_KEY, MARK]},
        {"signing_key": {SIGNING_KEY: 1}},
        {"signing_key": [[SIGNING_KEY]]},
        {"signing_key": f"{SIGNING_KEY},,"},
        {"encryption_key": MARK.encode()},
        {"encryption_key": f"fernet:{ENCRYPTION_KEY}"},
        {"encryption_key": f"fernet:{FERNET_KEY[:-8]}"},
        {"encryption_key": f"fernet:{FERNET_KEY}é"},
        {"encryption_key": f"{ENCRYPTION_KEY}, fernet:{MARK}"},
        {"signing_key": SIGNING_KEY, "serializer": "yaml"},
        {"signing_key": SIGNING_KEY, "compresor": "zlib"},
    ],
)
def test_settings_that_are_refused_do_not_quote_keys(
    settings: dict[str, Any], log: io.StringIO
) -> None:
    with pytest.raises(DogpileCacheException) as caught:
        build_chain(settings, context="users")

    assert_silent(everything_said(caught.value) + log.getvalue())


def test_a_chain_is_not_pickled_with_its_keys() -> None:
    chain = Chain(signing_key=SIGNING_KEY)

    with pytest.raises(TypeError) as caught:
        pickle.dumps(chain)

    assert_silent(everything_said(caught.value))
