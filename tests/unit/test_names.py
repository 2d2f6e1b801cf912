"""What code is called in keys."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import textwrap

from dogpile.cache.names import bare


class TestScripts:
    SCRIPT = """
        import dataclasses, multiprocessing
        from dogpile.cache.keys import plan

        @dataclasses.dataclass
        class Point:
            x: int

        def load(point): ...

        def show(_):
            return plan(load).key((Point(1),), {})

        if __name__ == "__main__":
            print(show(None))
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(show, [None])[0])
    """

    def test_the_file_of_a_script_is_its_location(self, tmp_path: pathlib.Path) -> None:
        script = tmp_path / "report.py"
        script.write_text(textwrap.dedent(self.SCRIPT))

        out = subprocess.run(
            [sys.executable, str(script)],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout.split()

        place = bare(str(script))
        assert out == [f"{place}:load|{place}:Point(x=1)"] * 2

    def test_it_is_the_file_of_what_is_wrapped(self, tmp_path: pathlib.Path) -> None:
        (tmp_path / "wrapping.py").write_text(
            "import functools\n"
            "def wrapped(fn):\n"
            "    return functools.wraps(fn)(lambda *args: fn(*args))\n"
        )
        script = tmp_path / "report.py"
        script.write_text(
            "from wrapping import wrapped\n"
            "from dogpile.cache.keys import plan\n"
            "@wrapped\n"
            "@wrapped\n"
            "def load(number): ...\n"
            "print(plan(load).key((1,), {}))\n"
        )

        ran = subprocess.run(
            [sys.executable, str(script)], check=True, capture_output=True, text=True
        )

        assert ran.stdout.strip() == f"{bare(str(script))}:load|1"
