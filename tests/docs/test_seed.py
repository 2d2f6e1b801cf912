"""The design document: each of its code blocks runs, literally."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from code_blocks import blocks_of, run
from usual_ports import served

from dogpile.cache import NO_VALUE, CachedValue, make_region, registry
from dogpile.cache.exception import RegionNotConfigured

SEED = Path(__file__).parents[2] / "docs" / "seed.rst"
#: Of the document as it was written: SHA-256.
DIGEST = "53db59253fac10a80b2e691ff81fd37dd7d5bcd52d533ce7f82ef645d252e9e8"
#: How each of its blocks begins, in their order.
BEGINNINGS = {
    "pylibmc": "from dogpile.cache import make_region\n\nregion = make_region().conf",
    "backend": "from dogpile.cache import CacheBackend, NO_VALUE",
    "entry point": 'entry_points="""',
    "registration": "from dogpile.cache import register_backend",
    "use": 'from dogpile.cache import make_region\n\nregion = make_region("dict',
    "value": "(payload, metadata)",
    "key generator": "def my_key_generator(fn):",
    "config": "local_region = make_region()",
    "mako": "from dogpile.cache import make_region\nfrom mako.lookup import",
    "template": '<%def name="mysection()" cached=True',
}
BLOCKS = dict(zip(BEGINNINGS, blocks_of(SEED), strict=False))
# Where the document takes memcached to be.
PORT = 11211
MAKO = "dogpile.cache.integrations.mako"
# Not there, it is no server that is missing, which in CI would be a failure.
needs_mako = (
    pytest.mark.server
    if importlib.util.find_spec(MAKO) and importlib.util.find_spec("mako")
    else pytest.mark.skip(reason=f"there is no {MAKO}, or no Mako")
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that the blocks run in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install ``mypackage.mybackend``, which holds the document's backend."""
    home = folder / "installed"
    (home / "mypackage").mkdir(parents=True)
    (home / "mypackage" / "__init__.py").touch()
    (home / "mypackage" / "mybackend.py").write_text(BLOCKS["backend"].text)
    monkeypatch.syspath_prepend(home)
    monkeypatch.setattr(registry.BACKENDS, "_places", dict(registry.BACKENDS._places))
    yield home
    for name in ("mypackage", "mypackage.mybackend"):
        sys.modules.pop(name, None)


@pytest.fixture
def memcached() -> Iterator[None]:
    """Run memcached at its usual port, unless there is one already."""
    pytest.importorskip("pylibmc", reason="pylibmc is not installed")
    with served(servers._new_memcached, PORT):
        yield


def names_after(*blocks: str, **given: Any) -> dict[str, Any]:
    """Return what is defined after some blocks have run.

    :param given: what is defined before.
    """
    names: dict[str, Any] = {
        "__name__": "__main__",
        "__file__": "program.py",
        # The document imports it in one of its blocks, and not in each.
        "make_region": make_region,
        **given,
    }
    for block in blocks:
        run(BLOCKS[block], names)
    return names


def plus(a: int, b: int) -> int:
    return a + b


def test_it_is_the_document_as_it_was_written() -> None:
    text = SEED.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")[2]

    assert hashlib.sha256(text).hexdigest() == DIGEST


def test_every_block_has_its_test() -> None:
    blocks = blocks_of(SEED)

    assert len(blocks) == len(BEGINNINGS)
    for block, beginning in zip(blocks, BEGINNINGS.values(), strict=True):
        assert block.text.startswith(beginning)


def test_a_backend_has_three_methods() -> None:
    kind = names_after("backend")["DictionaryBackend"]

    backend = kind({})
    backend.put("key", "value")
    before = backend.get("key")
    backend.delete("key")

    assert before == "value"
    assert backend.get("key") is NO_VALUE


def test_a_backend_is_found_by_its_entry_point(package: Path) -> None:
    text = names_after("entry point")["entry_points"]
    distribution = package / "mypackage-1.0.dist-info"
    distribution.mkdir()
    lines = [line.strip() for line in text.strip().splitlines()]
    (distribution / "entry_points.txt").write_text("\n".join(lines))
    (distribution / "METADATA").write_text("Name: mypackage\nVersion: 1.0\n")

    told = subprocess.run(
        [sys.executable, "-c", f"{BLOCKS['use'].text}\nprint(data, region)"],
        env={**os.environ, "PYTHONPATH": str(package)},
        text=True,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout

    assert told == "somevalue <CacheRegion None (DictionaryBackend)>\n"


@pytest.mark.usefixtures("package")
def test_a_backend_is_found_when_it_is_registered() -> None:
    names = names_after("registration", "use")
    region = names["region"]

    assert names["data"] == "somevalue"
    assert region.get("somekey") == "somevalue"
    assert type(region.backend).__module__ == "mypackage.mybackend"


@pytest.mark.usefixtures("package")
def test_its_values_are_pairs_of_payload_and_metadata() -> None:
    region = names_after("registration", "use")["region"]
    [stored] = region.backend.cache.values()

    payload, metadata = stored
    pair = eval(BLOCKS["value"].text, {"payload": payload, "metadata": metadata})

    assert isinstance(stored, CachedValue)
    assert isinstance(stored, tuple)
    assert stored == pair
    assert payload == "somevalue"
    # The creation time, and the version.
    assert set(metadata) == {"ct", "v"}


@pytest.mark.usefixtures("package")
def test_deleting_is_idempotent_whatever_the_backend() -> None:
    region = names_after("registration", "use")["region"]

    for _ in range(2):
        region.delete("somekey")

    assert region.get("somekey") is NO_VALUE


def test_keys_come_from_a_generator(folder: Path) -> None:
    region = names_after("key generator")["region"]

    add = region.cache_on_arguments(plus)

    assert add(1, 2) == 3
    assert add.key(1, 2) == "plus1_2"
    assert region.get("plus1_2") == 3
    assert region.expiration_time == 300
    assert list(folder.glob("file.dbm*"))


# No server, but the client library that comes with the servers' tests.
@pytest.mark.server
def test_regions_are_configured_from_a_dictionary() -> None:
    pytest.importorskip("pylibmc", reason="pylibmc is not installed")

    names = names_after("config")

    local, memcached = names["local_region"], names["memcached_region"]
    assert type(local.backend).__name__ == "DBMBackend"
    assert Path(local.backend.filename).parts[-3:] == ("path", "to", "dbmfile.dbm")
    assert type(memcached.backend).__name__ == "PylibmcBackend"
    assert memcached.backend.url == ["127.0.0.1", "10.0.0.1"]


# No server, but the client library that comes with the servers' tests.
@pytest.mark.server
def test_regions_decorate_before_they_are_configured(folder: Path) -> None:
    pytest.importorskip("pylibmc", reason="pylibmc is not installed")
    block = BLOCKS["config"]
    before, _, after = block.text.partition("# later")
    names: dict[str, Any] = {"make_region": make_region}
    run(block._replace(text=before), names)

    add = names["local_region"].cache_on_arguments(plus)

    with pytest.raises(RegionNotConfigured, match="configure"):
        add(1, 2)
    # The same in a folder that may be written to.
    after = after.replace("/path/to", folder.as_posix())
    run(block._replace(text=f"# later{after}"), names)

    assert add(1, 2) == 3
    assert add.get(1, 2) == 3


@pytest.mark.server
@pytest.mark.usefixtures("memcached")
def test_functions_are_cached_in_memcached() -> None:
    asked: list[int] = []

    class Database:
        def lookup_user_by_id(self, user_id: int) -> dict[str, int]:
            asked.append(user_id)
            return {"id": user_id}

    names = names_after("pylibmc", some_database=Database())
    load_user_info = names["load_user_info"]
    with names["region"]:
        load_user_info.invalidate(5)

        users = [load_user_info(5), load_user_info(user_id=5)]

    assert users == [{"id": 5}, {"id": 5}]
    assert asked == [5]
    assert names["region"].expiration_time == 3600


@needs_mako
@pytest.mark.usefixtures("memcached")
def test_mako_templates_are_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    # Mako's own class takes no regions: ours is to be imported in its place.
    ours = importlib.import_module(MAKO).TemplateLookup
    monkeypatch.setattr("mako.lookup.TemplateLookup", ours)
    names: dict[str, Any] = {}
    # Mako's own lookup knows no cache_regions; ours does.
    block = BLOCKS["mako"]
    run(block._replace(text=block.text.replace("mako.lookup", MAKO)), names)
    lookup = names["mako_lookup"]
    section = BLOCKS["template"].text
    section = section.replace("content", "${made()}")
    lookup.put_string("page.mako", section + "${mysection()}")
    made: list[str] = []

    def make() -> str:
        made.append("content")
        return made[-1]

    with names["my_regions"]["memcached"]:
        lookup.get_template("page.mako").cache.invalidate_def("mysection")
        texts = [lookup.get_template("page.mako").render(made=make) for _ in range(2)]

    assert [text.strip() for text in texts] == ["some content that's cached"] * 2
    assert made == ["content"]
