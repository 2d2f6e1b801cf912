"""Bad input: each a clear error that says what to do, and nothing is lost by it."""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dogpile.cache import (
    NO_VALUE,
    CacheBackend,
    CacheRegion,
    DogpileCacheException,
    exception,
    make_region,
)
from dogpile.cache.exception import (
    BackendError,
    CodecError,
    ConfigurationError,
    CoroutineCreatorError,
    CreationCycleError,
    CreationError,
    CreationTimeout,
    CreatorMismatch,
    CreatorTimeout,
    PluginNotFound,
    RegionAlreadyConfigured,
    RegionNotConfigured,
    UncacheableArgument,
    Unserializable,
    ValidationError,
)

Create = Callable[[], int]
SECRET = "hunter2-is-the-secret"  # what no message may show
PICKLING = ("memory_pickle", "sqlite", "dbm")


class Secret:
    """A value that shows itself wherever it is shown, and does not pickle."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __repr__(self) -> str:
        return SECRET

    __str__ = __repr__


class TestTree:
    """Four branches that a caller may want to tell apart."""

    @pytest.mark.parametrize(
        ("branch", "kinds"),
        [
            (
                ConfigurationError,
                [
                    ValidationError,
                    PluginNotFound,
                    RegionAlreadyConfigured,
                    RegionNotConfigured,
                    UncacheableArgument,
                    CoroutineCreatorError,
                ],
            ),
            (
                BackendError,
                [
                    exception.BackendUnavailable,
                    exception.UnsafeFile,
                    exception.ValueTooLarge,
                ],
            ),
            (CodecError, [exception.CantDeserializeException, Unserializable]),
            (CreationError, [CreatorTimeout, CreationCycleError, CreatorMismatch]),
        ],
    )
    def test_each_error_hangs_on_its_branch(
        self, branch: type[Exception], kinds: list[type[Exception]]
    ) -> None:
        assert issubclass(branch, DogpileCacheException)
        assert all(issubclass(kind, branch) for kind in kinds)

    def test_the_docstring_draws_the_tree(self) -> None:
        kinds = [
            each
            for each in vars(exception).values()
            if isinstance(each, type) and issubclass(each, Exception)
        ]

        assert all(kind.__name__ in str(exception.__doc__) for kind in kinds)

    def test_each_is_what_python_would_raise_too(self) -> None:
        assert issubclass(ValidationError, ValueError)
        assert issubclass(UncacheableArgument, ValueError)
        assert issubclass(CoroutineCreatorError, TypeError)
        assert issubclass(CreatorTimeout, TimeoutError)
        assert issubclass(CreatorMismatch, ValueError)
        assert CreationTimeout is CreatorTimeout

    @pytest.mark.parametrize(
        "error",
        [
            BackendError("dogpile.cache.x", "get", "because"),
            BackendError("dogpile.cache.x", "get"),
            exception.ValueTooLarge("dogpile.cache.x", "put", "too large"),
            CreationCycleError(("a", "b", "a")),
            CreatorMismatch("nothing was stored"),
            ValidationError("wrong"),
            UncacheableArgument("f", "a", "object"),
        ],
    )
    def test_an_error_crosses_processes(self, error: Exception) -> None:
        copy = pickle.loads(pickle.dumps(error))

        assert type(copy) is type(error)
        assert str(copy) == str(error)
        assert vars(copy) == vars(error)


class TestConfiguration:
    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("dogpile.cache.memroy", "dogpile.cache.memory"),
            ("dogpile.cache.sqlit", "dogpile.cache.sqlite"),
            ("redis", "dogpile.cache.redis"),
        ],
    )
    def test_a_wrong_backend_is_told_the_nearest(self, name: str, hint: str) -> None:
        region = make_region("pages")

        with pytest.raises(PluginNotFound) as caught:
            region.configure(name)

        assert name in str(caught.value)
        assert f"'{hint}'" in str(caught.value)
        assert not region.is_configured

    def test_a_wrong_backend_beside_a_name_is_told_at_once(self) -> None:
        with pytest.raises(PluginNotFound, match=r"dogpile\.cache\.memory"):
            make_region("dogpile.cache.memroy", name="pages")

    def test_a_lock_timeout_that_is_none_is_told_by_its_name(self) -> None:
        region = make_region("pages")

        with pytest.raises(ValidationError, match=r"^lock_timeout is not a number"):
            region.configure("dogpile.cache.memory", arguments={"lock_timeout": "ten"})

        assert not region.is_configured

    def test_arguments_without_a_backend_are_told(self) -> None:
        with pytest.raises(
            ValidationError,
            match=r"'memory' is none .*did you mean 'dogpile\.cache\.memory'",
        ):
            make_region("memory", arguments={"max_entries": 10})

    def test_a_region_named_like_a_backend_is_told_the_backends_name(self) -> None:
        region = make_region("sqllite")

        with pytest.raises(RegionNotConfigured, match=r"'dogpile\.cache\.sqlite'"):
            region.get("key")

    def test_a_misspelt_backend_is_no_regions_name(self) -> None:
        with pytest.raises(
            PluginNotFound, match=r"did you mean 'dogpile\.cache\.memory'"
        ):
            make_region("dogpile.cache.memroy")

    def test_settings_of_a_backend_without_one_are_told(self) -> None:
        with pytest.raises(ValidationError, match=r"signing_key.*configure\(\)"):
            make_region("pages", signing_key=SECRET)

    @pytest.mark.parametrize(
        "configure",
        [
            lambda given: make_region(**given),
            lambda given: make_region().configure("dogpile.cache.memory", **given),
            lambda given: make_region("dogpile.cache.memory", **given),
            lambda given: make_region("dogpile.cache.memory").namespace("a", **given),
            lambda given: make_region("dogpile.cache.memory").put("a", 1, **given),
            lambda given: make_region("dogpile.cache.memory").get_or_create(
                "a", int, **given
            ),
            lambda given: make_region().cache_on_arguments(**given),
        ],
    )
    def test_a_wrong_setting_is_refused_wherever_it_is_given(
        self, configure: Callable[[dict[str, Any]], Any]
    ) -> None:
        with pytest.raises(ValidationError, match="did you mean 'expiration_time'"):
            configure({"expiraton_time": 5})
        with pytest.raises(ValidationError, match="expiration_time is -5"):
            configure({"expiration_time": -5})

    def test_an_argument_that_no_backend_knows_is_told(self, tmp_path: Path) -> None:
        filename = str(tmp_path / "file")

        with pytest.raises(ValidationError, match="did you mean 'filename'"):
            make_region().configure(
                "dogpile.cache.sqlite",
                arguments={"filename": filename, "filenam": filename},
            )

    def test_a_region_is_not_configured_twice(self, make: Any) -> None:
        region = make("memory", name="pages")
        region.put("key", "payload")

        with pytest.raises(
            RegionAlreadyConfigured, match=r"MemoryBackend.*replace_existing_backend"
        ):
            region.configure("dogpile.cache.null")

        assert region.get("key") == "payload"

    def test_a_region_is_not_used_before(self) -> None:
        region = make_region("pages")

        with pytest.raises(RegionNotConfigured, match=r"'pages'.*configure\(\)"):
            region.get("key")
        with pytest.raises(RegionNotConfigured, match=r"configure\(\)"):
            _ = region.backend

    @pytest.mark.parametrize("missing", ["get", "put", "delete"])
    def test_a_backend_without_a_method_is_refused(self, missing: str) -> None:
        methods = {
            name: lambda self, *given: None
            for name in ("get", "put", "delete")
            if name != missing
        }
        kind = type("Incomplete", (CacheBackend,), methods)
        region = make_region()

        with pytest.raises(
            ConfigurationError, match=rf"Incomplete.*no method {missing}\(\)"
        ):
            region.configure(kind)

        assert not region.is_configured

    def test_a_class_that_is_no_backend_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="no method"):
            make_region().configure(dict)

    def test_a_secret_is_not_told(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            make_region(
                "dogpile.cache.memory_pickle", signing_key=SECRET[:10], name="pages"
            )

        assert SECRET[:10] not in str(caught.value)


class TestCreators:
    @pytest.fixture
    def coroutine(self) -> Callable[[], Any]:
        async def create() -> int:
            return 1

        return create

    def test_a_coroutine_creator_is_refused_in_a_sync_call(
        self, region: CacheRegion, coroutine: Callable[[], Any]
    ) -> None:
        with pytest.raises(CoroutineCreatorError, match=r"create.*aget_or_create\(\)"):
            region.get_or_create("key", coroutine)

        assert region.get("key") is NO_VALUE
        assert not region.key_is_locked("key")

    def test_a_coroutine_creator_is_refused_where_one_has_expired(
        self, region: CacheRegion, coroutine: Callable[[], Any], clock: Any
    ) -> None:
        region.put("key", "old")
        clock.advance(60)

        with pytest.raises(CoroutineCreatorError):
            region.get_or_create("key", coroutine)

        assert region.get("key") == "old"

    def test_a_coroutine_creator_of_many_is_refused(self, region: CacheRegion) -> None:
        async def create(*keys: str) -> list[str]:
            return [*keys]

        create_many: Any = create
        with pytest.raises(CoroutineCreatorError, match=r"create.*aget_or_create"):
            region.get_or_create_multi(["a"], create_many)

        assert region.get("a") is NO_VALUE

    def test_a_creator_that_takes_too_much_is_its_own_error(
        self, region: CacheRegion
    ) -> None:
        def create(one: int, two: int) -> int:
            return one + two

        with pytest.raises(TypeError, match=r"create\(\) missing 2"):
            region.get_or_create("key", create)

        assert region.get("key") is NO_VALUE

    @pytest.mark.parametrize("returned", [[1], [1, 2, 3], None, 5])
    def test_a_creator_that_miscounts_stores_nothing(
        self, region: CacheRegion, returned: Any
    ) -> None:
        region.put("c", "kept")

        with pytest.raises(CreatorMismatch, match="nothing was stored"):
            region.get_or_create_multi(["a", "b", "c"], lambda *keys: returned)

        assert region.get_multi(["a", "b", "c"]) == [NO_VALUE, NO_VALUE, "kept"]


class TestValues:
    @pytest.fixture(params=PICKLING)
    def region(self, make: Any, request: pytest.FixtureRequest) -> CacheRegion:
        made: CacheRegion = make(request.param, name="pages", expiration_time=60)
        return made

    def test_put_refuses_what_does_not_pickle(self, region: CacheRegion) -> None:
        region.put("key", "old")

        with pytest.raises(Unserializable, match="'key'") as caught:
            region.put("key", Secret())

        assert SECRET not in str(caught.value)
        assert region.get("key") == "old"

    def test_put_refuses_many_of_which_one_does_not_pickle(
        self, region: CacheRegion
    ) -> None:
        region.put("a", "old")

        with pytest.raises(Unserializable, match="'b'"):
            region.put_multi({"a": "new", "b": Secret()})

        assert region.get_multi(["a", "b"]) == ["old", NO_VALUE]

    def test_a_refused_put_still_voids_nothing_that_is_good(
        self, region: CacheRegion, create: Create
    ) -> None:
        with pytest.raises(Unserializable):
            region.put("key", Secret())

        assert region.get_or_create("key", create) == 1
        assert region.get_or_create("key", create) == 1

    def test_a_created_value_that_does_not_pickle_is_returned(
        self, region: CacheRegion, request: pytest.FixtureRequest
    ) -> None:
        def create_secret() -> Any:
            return Secret()

        # Warned of once for each function of the program.
        create_secret.__qualname__ = request.node.name
        with pytest.warns(RuntimeWarning, match="could not be stored") as caught:
            values = [region.get_or_create("key", create_secret) for _ in range(3)]

        assert all(isinstance(value, Secret) for value in values)
        assert len(caught) == 1
        assert request.node.name in str(caught[0].message)
        assert SECRET not in str(caught[0].message)
        assert region.get("key") is NO_VALUE
        assert not region.key_is_locked("key")

    def test_it_goes_to_the_events(
        self, region: CacheRegion, request: pytest.FixtureRequest
    ) -> None:
        def create_secret() -> Any:
            return Secret()

        create_secret.__qualname__ = request.node.name
        seen = []
        region.on("backend_error", lambda event: seen.append(event.details["error"]))

        with pytest.warns(RuntimeWarning, match="could not be stored"):
            region.get_or_create("key", create_secret)

        assert [type(error) for error in seen] == [Unserializable]

    def test_the_old_value_stays(
        self, region: CacheRegion, clock: Any, request: pytest.FixtureRequest
    ) -> None:
        def create_secret() -> Any:
            return Secret()

        create_secret.__qualname__ = request.node.name
        region.put("key", "old")
        clock.advance(60)

        with pytest.warns(RuntimeWarning, match="could not be stored"):
            region.get_or_create("key", create_secret)

        assert region.get("key") == "old"

    def test_loops_are_told_the_same(
        self, region: CacheRegion, request: pytest.FixtureRequest
    ) -> None:
        async def create_secret() -> Any:
            return Secret()

        create_secret.__qualname__ = request.node.name

        async def scenario() -> Any:
            with pytest.raises(Unserializable):
                await region.aput("key", Secret())
            return await region.aget_or_create("key", create_secret)

        with pytest.warns(RuntimeWarning, match="could not be stored"):
            value = asyncio.run(scenario())

        assert isinstance(value, Secret)
        assert region.get("key") is NO_VALUE


class TestArguments:
    def test_one_without_a_stable_representation_is_refused(
        self, region: CacheRegion, create: Create
    ) -> None:
        @region.cache_on_arguments()
        def f(user: object) -> int:
            return create()

        with pytest.raises(UncacheableArgument) as caught:
            f(object())

        text = str(caught.value)
        assert "'user'" in text
        assert "ignore=['user']" in text
        assert "__cache_key__" in text
        assert " a object" not in text
        assert create() == 1

    def test_its_own_text_is_not_told(self, region: CacheRegion) -> None:
        @region.cache_on_arguments()
        def f(user: object) -> int:
            return 1

        with pytest.raises(UncacheableArgument) as caught:
            f(threading.Lock())

        assert "0x" not in str(caught.value)
        assert "lock" in str(caught.value)


class Fallen(CacheBackend):
    """Has fallen down, and says so of the operation that it was asked for."""

    def __init__(self, arguments: Any) -> None:
        pass

    def get(self, key: Any) -> Any:
        raise BackendError("shelf", "get", "it fell down")

    def set(self, key: Any, value: Any) -> None:
        raise BackendError("shelf", "set", "it fell down")

    def delete(self, key: Any) -> None:
        raise BackendError("shelf", "delete", "it fell down")


@pytest.mark.parametrize(
    ("act", "operation"),
    [
        (lambda region: region.get("key"), "get"),
        (lambda region: region.get_multi(["a", "b"]), "get_multi"),
        (lambda region: region.get_or_create("key", str), "get_or_create"),
        (
            lambda region: region.get_or_create_multi(["a", "b"], list),
            "get_or_create_multi",
        ),
        (lambda region: region.put("key", 1), "put"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_fault_is_told_of_what_was_called(act: Any, operation: str) -> None:
    region = CacheRegion("pages").configure(Fallen, on_backend_error="raise")

    with pytest.raises(
        BackendError, match=rf"^shelf failed at {operation}\(\): it fell"
    ):
        act(region)


class TestSilence:
    """No value ever appears in a message, a repr or a log."""

    @pytest.fixture(params=["memory", "memory_pickle", "sqlite", "dbm", "dictionary"])
    def region(self, make: Any, request: pytest.FixtureRequest) -> CacheRegion:
        made: CacheRegion = make(
            request.param, name="pages", expiration_time=60, grace=30
        )
        return made

    def test_the_events_show_no_value(self, region: CacheRegion, clock: Any) -> None:
        seen: list[Any] = []
        region.on("*", seen.append)

        region.put("key", SECRET)
        region.get("key")
        region.get_or_create("other", lambda: SECRET)
        region.get_or_create_multi(["a", "b"], lambda *keys: [SECRET, SECRET])
        clock.advance(61)
        region.get_or_create("key", lambda: SECRET)
        region.close()
        region.get_multi(["key", "a"])
        region.delete("key")

        assert seen
        assert SECRET not in repr(seen)

    def test_the_logs_show_no_value(
        self, region: CacheRegion, clock: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)

        region.put("key", SECRET)
        clock.advance(61)
        region.get_or_create("key", lambda: 1 / 0)
        region.close()
        with pytest.raises(CreatorMismatch):
            region.get_or_create_multi(["a", "b"], lambda *keys: [SECRET])

        assert caplog.records
        assert SECRET not in caplog.text

    def test_the_representations_show_no_value(self, region: CacheRegion) -> None:
        region.put("key", SECRET)

        shown = [region, region.backend, region.storage, region.policy, region.events]

        assert SECRET not in repr(shown)
        assert SECRET not in str(region)

    def test_an_error_of_many_shows_no_value(self, region: CacheRegion) -> None:
        with pytest.raises(CreatorMismatch) as caught:
            region.get_or_create_multi(["a", "b"], lambda *keys: [SECRET])

        assert SECRET not in str(caught.value)

    def test_no_arguments_are_shown(self, tmp_path: Path) -> None:
        region = make_region(
            "dogpile.cache.sqlite",
            arguments={"filename": str(tmp_path / "cache")},
            signing_key=SECRET,
        )

        with region, pytest.raises(RegionAlreadyConfigured) as caught:
            region.configure("dogpile.cache.null")

        assert SECRET not in str(caught.value)
        assert SECRET not in repr([region, region.backend, region.storage.coder])


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, each in vars(exception).items()
        if isinstance(each, type) and issubclass(each, Exception)
    ],
)
def test_an_error_is_found_where_a_user_looks(name: str) -> None:
    import dogpile.cache

    assert getattr(dogpile.cache, name) is getattr(exception, name)
    assert name in dogpile.cache.__all__


class TestFiles:
    @pytest.mark.parametrize("backend", ["dbm", "sqlite"])
    @pytest.mark.parametrize(
        ("call", "given"), [("put", ("key", 1)), ("put_multi", ({"a": 1, "b": 2},))]
    )
    def test_what_fails_has_the_name_of_the_call_and_a_way_out(
        self, tmp_path: Path, backend: str, call: str, given: tuple[Any, ...]
    ) -> None:
        place = tmp_path / "link"
        place.symlink_to(tmp_path / "file")
        (tmp_path / "file").write_bytes(b"precious")
        region = make_region().configure(
            f"dogpile.cache.{backend}", arguments={"filename": str(place)}
        )

        with pytest.raises(exception.UnsafeFile) as caught:
            getattr(region, call)(*given)

        told = str(caught.value)
        assert told.startswith(f"dogpile.cache.{backend} failed at {call}(): ")
        assert "is a symbolic link" in told
        assert "in filename=" in told
