"""A full disk, a read-only folder, a file that is gone, a clock that is set."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from crowd import (
    PATIENCE,
    SHARED,
    Creator,
    Maker,
    clock_of,
    never,
    pass_until_done,
    result,
    results,
    settle,
    start,
)

from dogpile.cache import NO_VALUE, CacheRegion
from dogpile.cache.exception import BackendError
from dogpile.cache.testing.concurrency import in_child

NOBODY = 65534
HOUR = 3600.0
#: More than there is room for.
LARGE = os.urandom(3_000_000)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Return a folder on a disk of two megabytes."""
    folder = tempfile.mkdtemp()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", folder]
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        os.rmdir(folder)
        pytest.skip("only root mounts a small disk")
    yield Path(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)
    os.rmdir(folder)


@pytest.fixture(autouse=True)
def _forget_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    # It warns once for each function.
    monkeypatch.setattr("dogpile.cache.leader._warned", set())


def errors_of(region: CacheRegion) -> list[Any]:
    """Return the list to which the errors of the backend will be added."""
    seen: list[Any] = []
    region.on("backend_error", lambda event: seen.append(event.details["error"]))
    return seen


def file_of(region: CacheRegion) -> str:
    backend: Any = region.actual_backend
    return str(backend.filename)


@pytest.mark.parametrize("kind", SHARED)
class TestAFullDisk:
    def use(self, region: CacheRegion) -> None:
        """Use a region whose disk has no room for a large value."""
        seen = errors_of(region)
        region.put("kept", "value")

        with pytest.warns(RuntimeWarning, match="could not be stored"):
            created = region.get_or_create("large", lambda: LARGE)
        with pytest.raises(BackendError, match=file_of(region)):
            region.put("large", LARGE)
        with pytest.raises(BackendError, match=file_of(region)):
            region.put("kept", LARGE)

        assert created == LARGE
        assert [type(error) for error in seen[:1]] == [BackendError]
        assert file_of(region) in str(seen[0])
        assert region.get("large") is NO_VALUE
        assert not region.key_is_locked("large")
        assert region.get("kept") in ("value", NO_VALUE)
        assert region.get_or_create("small", lambda: "small") == "small"

    def test_it_costs_nobody_a_value(self, kind: str, small_disk: Path) -> None:
        maker = Maker(small_disk)

        self.use(maker(kind))

        maker.close()

    def test_nor_does_a_file_that_may_not_grow(self, make: Maker, kind: str) -> None:
        def act() -> None:
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            with warnings.catch_warnings():
                self.use(make(kind))

        assert in_child(act) == 0

    def test_a_crowd_gets_the_value_of_one_creation(
        self, kind: str, small_disk: Path
    ) -> None:
        maker = Maker(small_disk)
        region = maker(kind)
        region.put("kept", "value")
        creator = Creator(LARGE)

        crowd = [start(region.get_or_create, "large", creator.plain) for _ in range(10)]
        clock_of(region).wait_for_sleepers(9, PATIENCE)
        creator.finish()
        with pytest.warns(RuntimeWarning, match="could not be stored"):
            found = results(crowd)
        maker.close()

        assert all(value == LARGE for value in found)
        assert creator.calls == 1

    def test_when_there_is_room_again_all_is_well(
        self, kind: str, small_disk: Path
    ) -> None:
        maker = Maker(small_disk)
        region = maker(kind)
        region.put("kept", "value")
        ballast = small_disk / "ballast"
        with pytest.raises(OSError, match="No space"):
            fill(ballast)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            assert region.get_or_create("key", lambda: "created") == "created"
        ballast.unlink()

        region.put("key", "stored")
        assert region.get("key") == "stored"
        assert region.get_or_create("other", lambda: "created") == "created"
        maker.close()


def fill(path: Path) -> None:
    """Write until there is no room left."""
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@contextmanager
def nobody_writes(folder: Path) -> Iterator[None]:
    """Take away the right to write in a folder, in a process that ends with it."""
    owned = [folder, *folder.iterdir()]
    for path in owned:
        path.chmod(0o500 if path == folder else 0o400)
    if os.geteuid() != 0:
        yield
    else:
        # Root may always write: become somebody else, who owns it.
        for path in owned:
            os.chown(path, NOBODY, NOBODY)
        parents = [path for path in folder.parents if path.stat().st_mode & 0o077 == 0]
        for path in parents:
            path.chmod(0o711)
        os.seteuid(NOBODY)
        yield
        os.seteuid(0)
        for path in owned:
            os.chown(path, 0, 0)
    for path in owned:
        path.chmod(0o700 if path == folder else 0o600)


@pytest.mark.parametrize("kind", SHARED)
class TestAReadOnlyFolder:
    @pytest.mark.parametrize("has_file", [True, False])
    def test_values_are_created_and_put_is_an_error(
        self, tmp_path: Path, kind: str, has_file: bool
    ) -> None:
        folder = tmp_path / "cache"
        folder.mkdir(mode=0o700)
        maker = Maker(folder)
        if has_file:
            before = maker(kind)
            before.put("stored", "value")
            before.close()

        def act() -> None:
            with nobody_writes(folder), warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                region = maker(kind)
                seen = errors_of(region)
                assert region.get_or_create("key", lambda: "created") == "created"
                assert seen
                assert file_of(region) in str(seen[0]) or str(folder) in str(seen[0])
                with pytest.raises(BackendError, match=str(folder)):
                    region.put("key", "value")
                with pytest.raises(BackendError, match=str(folder)):
                    region.delete("stored")

        assert in_child(act) == 0
        assert maker(kind).get("stored") == ("value" if has_file else NO_VALUE)
        maker.close()


@pytest.mark.parametrize("kind", SHARED)
class TestAFileThatIsGone:
    def remove(self, region: CacheRegion) -> None:
        folder, name = os.path.split(file_of(region))
        for each in os.listdir(folder):
            if each.startswith(name):
                os.unlink(os.path.join(folder, each))

    def test_values_are_created_anew(self, make: Maker, kind: str) -> None:
        region = make(kind)
        region.put("key", "old")

        self.remove(region)
        clock_of(region).advance(1)

        assert region.get_or_create("key", lambda: "new") == "new"
        assert region.get("key") == "new"

    def test_amid_a_creation_nothing_hangs_and_nobody_loses_the_value(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind)
        creator = Creator("value")
        crowd = [start(region.get_or_create, "key", creator.plain) for _ in range(5)]
        creator.await_call()
        clock_of(region).wait_for_sleepers(4, PATIENCE)

        self.remove(region)
        creator.finish()
        pass_until_done(clock_of(region), crowd)

        assert results(crowd) == ["value"] * 5
        assert not region.key_is_locked("key")

    def test_what_was_invalidated_does_not_come_back(
        self, make: Maker, kind: str
    ) -> None:
        region = make(kind, generation_ttl=0)
        region.put("key", "old")
        region.invalidate()

        self.remove(region)
        region.put("other", "value")
        clock_of(region).advance(1)

        assert region.get("key") is NO_VALUE
        assert region.get("other") == "value"


JUMPS = (-24 * HOUR, -HOUR, -61.0, 61.0, HOUR, 24 * HOUR)


@pytest.mark.parametrize("jump", JUMPS)
class TestAClockThatIsSet:
    def test_a_value_is_not_fresh_for_longer_than_it_should_be(
        self, make: Maker, kind: str, jump: float
    ) -> None:
        region = make(kind, expiration_time=60, grace=0)
        region.put("key", "old")

        clock_of(region).jump(jump)

        assert region.get_or_create("key", lambda: "new") == "new"
        clock_of(region).advance(59)
        assert region.get_or_create("key", never) == "new"
        clock_of(region).advance(2)
        assert region.get_or_create("key", lambda: "newer") == "newer"

    def test_back_and_forth_no_value_outlives_its_time(
        self, make: Maker, kind: str, jump: float
    ) -> None:
        region = make(kind, expiration_time=60, grace=0)
        clock = clock_of(region)
        region.put("key", "old")

        clock.jump(jump)
        region.get_or_create("key", lambda: "between")
        clock.jump(-jump)
        # Its own time, and what may be ahead without being expired.
        clock.advance(60 + 61)

        assert region.get_or_create("key", lambda: "new") == "new"

    def test_a_refresh_that_failed_is_tried_again(
        self, make: Maker, kind: str, jump: float
    ) -> None:
        region = make(kind, expiration_time=60, grace=300, retry_after=3)
        region.put("key", "old")
        # Even by a clock that is set back a minute it has expired.
        clock_of(region).advance(130)
        creator = Creator(ValueError("broken"))
        creator.finish()
        assert region.get_or_create("key", creator.plain) == "old"
        settle(region)

        clock_of(region).jump(jump)
        # So far ahead of the clock it may stand without being doubted.
        clock_of(region).advance(3.1 + 61)
        region.get_or_create("key", lambda: "new")
        settle(region)

        assert region.get_or_create("key", never) == "new"

    def test_what_was_invalidated_stays_so(
        self, make: Maker, kind: str, jump: float
    ) -> None:
        region = make(kind, generation_ttl=0)
        tagged: dict[str, Any] = {"tags": ("tag",)}
        region.put("hard", "old")
        region.put("tagged", "old", **tagged)
        region.invalidate_tags("tag")
        region.invalidate()
        region.put("after", "value")

        clock_of(region).jump(jump)

        assert region.get_multi(["hard", "tagged"]) == [NO_VALUE, NO_VALUE]
        assert region.get("after") in ("value", NO_VALUE)
        assert region.get_or_create("tagged", lambda: "new", **tagged) == "new"
        clock_of(region).jump(-jump)
        assert region.get("hard") is NO_VALUE

    def test_an_invalidation_after_it_holds(
        self, make: Maker, kind: str, jump: float
    ) -> None:
        region = make(kind, generation_ttl=0)
        region.put("key", "old")

        clock_of(region).jump(jump)
        region.invalidate()
        clock_of(region).jump(-jump)

        assert region.get("key") is NO_VALUE

    def test_a_creation_amid_it_ends(self, make: Maker, kind: str, jump: float) -> None:
        region = make(kind, expiration_time=60, grace=0, lease_time=10)
        creator = Creator("value")
        crowd = [start(region.get_or_create, "key", creator.plain) for _ in range(3)]
        creator.await_call()
        clock_of(region).wait_for_sleepers(2, PATIENCE)

        clock_of(region).jump(jump)
        creator.finish()
        pass_until_done(clock_of(region), crowd)

        assert results(crowd) == ["value"] * 3
        clock_of(region).advance(121)
        assert region.get_or_create("key", lambda: "new") == "new"

    def test_a_wait_takes_no_longer(self, make: Maker, kind: str, jump: float) -> None:
        region = make(kind, lease_time=10)
        late = Creator("late")
        leader = start(region.get_or_create, "key", late.plain)
        late.await_call()
        heir = start(region.get_or_create, "key", lambda: "heir")
        clock_of(region).wait_for_sleepers(1, PATIENCE)

        clock_of(region).jump(jump)
        clock_of(region).advance(10)
        pass_until_done(clock_of(region), [heir])
        late.finish()

        assert result(heir) == "heir"
        assert result(leader) == "late"
        assert region.get("key") == "heir"


@pytest.mark.parametrize("kind", SHARED)
@pytest.mark.parametrize("jump", JUMPS)
def test_a_dead_holder_stops_nobody_for_longer(
    make: Maker, kind: str, jump: float
) -> None:
    region = make(kind, lease_time=10)

    def hold() -> None:
        region.get_or_create("key", lambda: os._exit(0))

    assert in_child(hold) == 0
    clock_of(region).jump(jump)
    heir = start(region.get_or_create, "key", lambda: "heir")
    pass_until_done(clock_of(region), [heir], step=0.2)

    assert result(heir) == "heir"
    # It asks four times a second.
    assert clock_of(region).monotonic() <= 10 + PATIENCE
