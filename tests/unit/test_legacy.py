"""The small 1.x tools, by their 1.x names."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from dogpile.cache.exception import DogpileCacheException, PluginNotFound
from dogpile.cache.legacy import (
    KeyReentrantMutex,
    LockError,
    NameRegistry,
    PluginLoader,
    ReadWriteMutex,
    coerce_string_conf,
    inspect_getargspec,
    memoized_property,
    repr_obj,
    to_list,
)

PLACES = """
dogpile: Lock NeedRegenerationException __version__ lock util
dogpile.core: Lock NameRegistry NeedRegenerationException ReadWriteMutex
dogpile.core: nameregistry readwrite_lock
dogpile.lock: Lock NeedRegenerationException
dogpile.util: KeyReentrantMutex NameRegistry PluginLoader ReadWriteMutex
dogpile.util: coerce_string_conf memoized_property to_list
dogpile.util.compat: ArgSpec FullArgSpec inspect_getargspec inspect_getfullargspec
dogpile.util.langhelpers: KeyReentrantMutex Mutex PluginLoader coerce_string_conf
dogpile.util.langhelpers: memoized_property to_list
dogpile.util.nameregistry: NameRegistry
dogpile.util.readwrite_lock: LockError ReadWriteMutex
dogpile.cache: CacheRegion make_region register_backend api backends region util
dogpile.cache.backends: register_backend _backend_loader
dogpile.cache.backends.file: AbstractFileLock DBMBackend FileLock
"""


@pytest.mark.parametrize("line", PLACES.split("\n")[1:-1])
def test_names_are_where_1_x_had_them(line: str) -> None:
    place, names = line.split(": ")
    # In a process that has imported nothing else.
    source = f"import {place}\n[getattr({place}, name) for name in {names.split()}]"
    subprocess.run([sys.executable, "-c", source], check=True)


WAIT = 30.0  # for what happens at once; only a failing test waits that long


class Named:
    def __init__(self, name: str, *rest: object, **more: object) -> None:
        self.name = name
        self.rest = rest
        self.more = more


class TestNameRegistry:
    def test_the_same_identifier_gives_the_same_object(self) -> None:
        registry = NameRegistry(Named)

        first = registry.get("one")

        assert registry.get("one") is first
        assert registry.get("two") is not first

    def test_the_creator_gets_whatever_else_was_given(self) -> None:
        registry = NameRegistry(Named)

        named = registry.get("one", 1, two=2)

        assert (named.name, named.rest, named.more) == ("one", (1,), {"two": 2})

    def test_an_object_that_nobody_holds_is_created_anew(self) -> None:
        created: list[str] = []

        def create(name: str) -> Named:
            created.append(name)
            return Named(name)

        registry = NameRegistry(create)

        registry.get("one")
        gc.collect()
        registry.get("one")

        assert created == ["one", "one"]

    def test_threads_that_ask_at_once_share_one_creation(self) -> None:
        barrier = threading.Barrier(8)
        created: list[str] = []

        def create(name: str) -> Named:
            created.append(name)
            return Named(name)

        registry = NameRegistry(create)

        def ask(_: int) -> Named:
            barrier.wait(WAIT)
            return registry.get("one")

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(ask, range(8)))

        assert created == ["one"]
        assert len(set(map(id, found))) == 1

    def test_a_creator_may_ask_for_another_identifier(self) -> None:
        def create(name: str) -> Named:
            return Named(name, registry.get("parent") if name == "child" else None)

        registry = NameRegistry(create)

        child = registry.get("child")

        assert child.rest == (registry.get("parent"),)

    def test_a_creator_that_fails_leaves_nothing_behind(self) -> None:
        answers: list[Callable[[], Named]] = [lambda: Named("one"), fail]
        registry = NameRegistry(lambda name: answers.pop()())

        with pytest.raises(ZeroDivisionError):
            registry.get("one")

        assert registry.get("one").name == "one"


def fail() -> Named:
    raise ZeroDivisionError


class TestReadWriteMutex:
    def test_many_read_at_once(self) -> None:
        mutex = ReadWriteMutex()

        assert mutex.acquire_read_lock()
        assert mutex.acquire_read_lock(False)

    def test_a_reader_keeps_a_writer_out(self) -> None:
        mutex = ReadWriteMutex()
        mutex.acquire_read_lock()

        assert not mutex.acquire_write_lock(False)

        mutex.release_read_lock()
        assert mutex.acquire_write_lock(False)

    def test_a_writer_keeps_everybody_out(self) -> None:
        mutex = ReadWriteMutex()
        mutex.acquire_write_lock()

        assert not mutex.acquire_read_lock(False)
        assert not mutex.acquire_write_lock(False)

        mutex.release_write_lock()
        assert mutex.acquire_read_lock(False)

    def test_a_refused_writer_does_not_keep_readers_out(self) -> None:
        mutex = ReadWriteMutex()
        mutex.acquire_read_lock()

        mutex.acquire_write_lock(False)

        assert mutex.acquire_read_lock(False)

    def test_a_writer_waits_for_the_last_reader(self) -> None:
        mutex = ReadWriteMutex()
        mutex.acquire_read_lock()
        mutex.acquire_read_lock()

        with a_waiting_writer(mutex) as written:
            mutex.release_read_lock()
            wrote_too_early = written.is_set()
            mutex.release_read_lock()

        assert written.is_set()
        assert not wrote_too_early

    def test_a_waiting_writer_comes_before_later_readers(self) -> None:
        mutex = ReadWriteMutex()
        mutex.acquire_read_lock()

        with a_waiting_writer(mutex) as written:
            was_let_in = mutex.acquire_read_lock(False)
            mutex.release_read_lock()

        assert written.is_set()
        assert not was_let_in
        assert mutex.acquire_read_lock(False)

    def test_an_interrupted_writer_keeps_nobody_out(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mutex = ReadWriteMutex()
        mutex.acquire_read_lock()
        monkeypatch.setattr(threading.Condition, "wait", interrupt)

        with pytest.raises(KeyboardInterrupt):
            mutex.acquire_write_lock()

        assert mutex.acquire_read_lock(False)

    def test_giving_back_what_nobody_reads_is_refused(self) -> None:
        mutex = ReadWriteMutex()

        with pytest.raises(LockError, match="more often than"):
            mutex.release_read_lock()

        assert mutex.acquire_write_lock(False)

    def test_only_the_writer_gives_the_write_lock_back(self) -> None:
        mutex = ReadWriteMutex()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(mutex.acquire_write_lock).result(WAIT)

        with pytest.raises(LockError, match="does not have the write lock"):
            mutex.release_write_lock()

        assert not mutex.acquire_read_lock(False)


class AnnouncedCondition(threading.Condition):
    """Says when somebody begins to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.has_waiter = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.has_waiter.set()
        return super().wait(timeout)


@contextmanager
def a_waiting_writer(mutex: ReadWriteMutex) -> Iterator[threading.Event]:
    """Run the body while a writer waits; the event says that it has written."""
    condition = mutex._condition = AnnouncedCondition()
    written = threading.Event()

    def write() -> None:
        mutex.acquire_write_lock()
        written.set()
        mutex.release_write_lock()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        assert condition.has_waiter.wait(WAIT)
        yield written
        writing.result(WAIT)


def interrupt(*_: object) -> bool:
    raise KeyboardInterrupt


class TestKeyReentrantMutex:
    def test_its_holder_takes_further_keys(self) -> None:
        mutex_for = KeyReentrantMutex.factory(threading.Lock())
        foo, bar = mutex_for("foo"), mutex_for("bar")

        assert foo.acquire()
        assert bar.acquire()
        assert not bar.acquire(False)
        bar.release()
        assert bar.acquire(False)

    def test_the_lock_below_is_free_after_the_last_key(self) -> None:
        lock = threading.Lock()
        mutex_for = KeyReentrantMutex.factory(lock)
        foo, bar = mutex_for("foo"), mutex_for("bar")
        foo.acquire()
        bar.acquire()

        foo.release()
        is_still_held = lock.locked()
        bar.release()

        assert is_still_held
        assert not lock.locked()

    def test_another_thread_waits_for_any_key(self) -> None:
        mutex_for = KeyReentrantMutex.factory(threading.Lock())
        mutex_for("foo").acquire()

        with ThreadPoolExecutor(1) as pool:
            taken = pool.submit(mutex_for("bar").acquire, False).result(WAIT)

        assert not taken

    def test_every_thread_sees_which_keys_are_held(self) -> None:
        mutex_for = KeyReentrantMutex.factory(threading.Lock())
        mutex_for("foo").acquire()

        with ThreadPoolExecutor(1) as pool:
            foo, bar = pool.map(lambda key: mutex_for(key).locked(), ["foo", "bar"])

        assert (foo, bar) == (True, False)

    def test_waiting_for_oneself_is_refused(self) -> None:
        foo = KeyReentrantMutex.factory(threading.Lock())("foo")
        foo.acquire()

        with pytest.raises(RuntimeError, match="'foo' already"):
            foo.acquire()

    def test_a_thread_without_any_key_cannot_release(self) -> None:
        foo = KeyReentrantMutex.factory(threading.Lock())("foo")

        with pytest.raises(AssertionError, match="this thread didn't do the acquire"):
            foo.release()

    def test_a_key_that_is_not_held_cannot_be_released(self) -> None:
        mutex_for = KeyReentrantMutex.factory(threading.Lock())
        mutex_for("foo").acquire()

        with pytest.raises(AssertionError, match="No acquire held for key 'bar'"):
            mutex_for("bar").release()


class Circle:
    computed = 0

    @memoized_property
    def area(self) -> int:
        """What it covers."""
        self.computed += 1
        return 3


class TestMemoizedProperty:
    def test_it_is_computed_once(self) -> None:
        circle = Circle()

        assert (circle.area, circle.area, circle.computed) == (3, 3, 1)

    def test_deleted_it_is_computed_again(self) -> None:
        circle = Circle()
        assert circle.area == 3

        del circle.__dict__["area"]

        assert (circle.area, circle.computed) == (3, 2)

    def test_the_class_shows_its_docstring(self) -> None:
        assert Circle.area.__doc__ == "What it covers."


class TestReprObj:
    def test_what_is_short_stays(self) -> None:
        assert repr(repr_obj(["foo"])) == "['foo']"

    def test_what_is_long_is_cut_in_the_middle(self) -> None:
        assert (
            repr(repr_obj(["a" * 6, "b" * 6], max_chars=8))
            == "['aa ... (12 characters truncated) ... bb']"
        )

    @pytest.mark.parametrize("max_chars", [0, 1])
    def test_next_to_nothing_may_be_kept(self, max_chars: int) -> None:
        text = repr(repr_obj(["secret"], max_chars=max_chars))

        assert text == f" ... ({10 - max_chars} characters truncated) ... "

    def test_two_of_equal_value_are_equal(self) -> None:
        assert repr_obj(["foo"]) == repr_obj(["foo"])
        assert repr_obj(["foo"]) != repr_obj(["bar"])
        assert repr_obj(["foo"]) != ["foo"]

    def test_it_is_made_only_for_a_record_that_is_written(self) -> None:
        logger = logging.getLogger("tests.repr_obj")
        logger.setLevel(logging.WARNING)

        logger.debug("keys: %s", repr_obj(Unrepresentable()))


class Unrepresentable(list[str]):
    def __repr__(self) -> str:
        raise AssertionError("nobody asked for it")


class TestCoerceStringConf:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("-1", -1),
            ("+1", 1),
            (" 60 ", 60),
            ("0.1", 0.1),
            ("-3.14e-10", -3.14e-10),
            (".5", 0.5),
            ("5.", 5.0),
            ("2e3", 2000.0),
            ("true", True),
            ("FALSE", False),
            ("None", None),
            (" 127.0.0.1 ", "127.0.0.1"),
            ("none", "none"),
            ("nan", "nan"),
            ("-inf", "-inf"),
            ("1_000", "1_000"),
            ("0x10", "0x10"),
            ("5m", "5m"),
            ("", ""),
        ],
    )
    def test_a_string_becomes_what_it_stands_for(
        self, text: str, value: object
    ) -> None:
        coerced = coerce_string_conf({"name": text})["name"]

        assert coerced == value
        assert type(coerced) is type(value)

    def test_what_is_no_string_stays(self) -> None:
        urls = [" a "]

        assert coerce_string_conf({"url": urls})["url"] is urls


def test_to_list_leaves_lists_and_tuples_alone() -> None:
    several = ["a"]

    assert to_list(several) is several
    assert to_list(("a",)) == ("a",)
    assert to_list("a") == ["a"]
    assert to_list(None) is None
    assert to_list(None, "b") == "b"


class TestPluginLoader:
    def test_a_registered_object_is_imported_when_asked_for(self) -> None:
        loader = PluginLoader("tests.nothing")

        loader.register("mutex", "dogpile.cache.legacy", "ReadWriteMutex")

        assert loader.impls == {}
        assert loader.load("mutex") is ReadWriteMutex
        assert loader.impls == {"mutex": ReadWriteMutex}

    def test_the_last_registration_counts(self) -> None:
        loader = PluginLoader("tests.nothing")
        loader.register("tool", "dogpile.cache.legacy", "ReadWriteMutex")
        loader.load("tool")

        loader.register("tool", "dogpile.cache.legacy", "NameRegistry")

        assert loader.load("tool") is NameRegistry

    def test_an_installed_entry_point_is_found(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        installed = tmp_path / "tool-1.dist-info"
        installed.mkdir()
        (installed / "METADATA").write_text("Name: tool\nVersion: 1\n")
        (installed / "entry_points.txt").write_text(
            "[tests.tools]\nregistry = dogpile.cache.legacy:NameRegistry\n"
        )
        monkeypatch.syspath_prepend(tmp_path)

        assert PluginLoader("tests.tools").load("registry") is NameRegistry

    def test_an_unknown_name_says_what_to_do(self) -> None:
        loader = PluginLoader("tests.nothing")

        with pytest.raises(loader.NotFound, match=r"tests\.nothing nobody") as caught:
            loader.load("nobody")

        assert isinstance(caught.value, PluginNotFound)
        assert isinstance(caught.value, DogpileCacheException)

    def test_a_module_that_does_not_import_says_so(self) -> None:
        loader = PluginLoader("tests.nothing")
        loader.register("broken", "dogpile.cache.no_such_room", "Nothing")

        with pytest.raises(ModuleNotFoundError, match="no_such_room"):
            loader.load("broken")


class TestInspectGetargspec:
    def test_a_function_shows_its_parameters(self) -> None:
        def function(a: int, b: int = 1, *rest: int, **more: int) -> None: ...

        spec = inspect_getargspec(function)

        assert (spec.args, spec.defaults) == (["a", "b"], (1,))
        assert (spec.varargs, spec.keywords) == ("rest", "more")
        assert tuple(spec) == (["a", "b"], "rest", "more", (1,))

    def test_a_method_shows_self(self) -> None:
        assert inspect_getargspec(NameRegistry(Named).get).args[0] == "self"

    def test_what_cannot_be_called_is_refused(self) -> None:
        with pytest.raises(TypeError):
            inspect_getargspec(1)  # type: ignore[arg-type]  # wrong on purpose
