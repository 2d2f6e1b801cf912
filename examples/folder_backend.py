"""A backend of one's own: each value is a file in a folder.

    python examples/folder_backend.py

``docs/writing_backends.rst`` tells how it is made.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dogpile.cache import NO_VALUE, BytesBackend, make_region
from dogpile.cache.api import Capabilities


class FolderBackend(BytesBackend):
    """Keeps each value in a file; for all processes of a machine.

    :param arguments: ``folder``: where the files are.
    """

    capabilities = Capabilities(scope="machine")
    argument_names = frozenset({"folder"})

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.folder = arguments["folder"]

    def get_serialized(self, key: Any) -> Any:
        """Return the bytes stored under the key, or NO_VALUE."""
        try:
            with open(self._path(key), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return NO_VALUE

    def set_serialized(self, key: Any, value: bytes) -> None:
        """Store bytes under the key; who reads meanwhile gets the old ones."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        descriptor, path = tempfile.mkstemp(dir=self.folder)
        try:
            with open(descriptor, "wb") as file:
                file.write(value)
            os.replace(path, self._path(key))
        except BaseException:
            os.unlink(path)
            raise

    def delete(self, key: Any) -> None:
        """Remove the file, if there is one."""
        with suppress(FileNotFoundError):
            os.unlink(self._path(key))

    def _path(self, key: Any) -> str:
        # Any key makes a file name that way, and no key leads out of the folder.
        name = hashlib.sha256(repr(key).encode("utf-8", "surrogatepass")).hexdigest()
        return os.path.join(self.folder, name)


def main() -> None:
    """Use it."""
    with tempfile.TemporaryDirectory() as folder:
        region = make_region("users", expiration_time=60)
        region.configure(FolderBackend, arguments={"folder": folder})

        print(region.get_or_create("user 7", lambda: {"name": "Ann"}))
        print(region.get("user 7"))
        print("files:", len(os.listdir(folder)))
        region.delete("user 7")
        print("files:", len(os.listdir(folder)))


if __name__ == "__main__":
    main()
