"""Take the pictures of the examples that the pages show.

    tox exec -e browser -- python docs/screenshots.py

runs each example, and writes what a real browser makes of it to ``docs/img``.
"""

from __future__ import annotations

import io
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser import browsing  # noqa: E402 - from the folder of the tests
from sites import running  # noqa: E402 - as above

#: Bytes: whoever clones the repository gets all of them.
LARGEST = 100_000


class Picture(NamedTuple):
    """A picture of a page.

    :param program: of the example, and the options before its port.
    :param path: of the page.
    :param height: in pixels.
    """

    program: tuple[str, ...]
    path: str
    height: int


PICTURES = {
    "mako_site.png": Picture(("mako_site/birds.py",), "/birds/red-kite", 660),
    "flask_blog.png": Picture(("flask_blog/blog.py",), "/post/the-lake-in-winter", 790),
    "django_shop.png": Picture(
        ("django_shop/manage.py", "open_shop"), "/product/basil/", 570
    ),
}


def main() -> None:
    """Take all of them."""
    with browsing() as browser:
        for name, picture in PICTURES.items():
            program, *options = picture.program
            with tempfile.TemporaryDirectory() as folder:
                own = [] if options else ["--folder", folder]
                with (
                    redirect_stdout(io.StringIO()),  # what the example says
                    running(
                        program, Path(folder), *options, *own, SHOP_FOLDER=folder
                    ) as site,
                ):
                    browser.visit(site.address + picture.path)
                    file = ROOT / "docs" / "img" / name
                    browser.picture(file, picture.height)
            size = file.stat().st_size
            print(f"{file.relative_to(ROOT)}: {size} bytes")
            if size > LARGEST:
                sys.exit(f"{name} is too large")


if __name__ == "__main__":
    main()
