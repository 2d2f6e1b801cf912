"""Install the project in each way there is, and compare what one can import.

    python .ci/dist.py PROJECT FOLDER

Builds sdist and wheel from the project, installs the wheel, the sdist, the
project in editable mode, and the wheel over the 1.x release, each in a fresh
environment without any other package, and asks each what it holds.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OLD_RELEASE = "dogpile.cache==1.5.0"

# Run by the Python of each environment. The folders are walked one by one, as
# in an editable install they do not lie within each other.
INVENTORY = """
import importlib, importlib.metadata, importlib.resources, importlib.util
import json, pkgutil

# Below these a module may need a package of somebody else as soon as it is imported:
# it is itself imported when it is asked for.
OPTIONAL = tuple("dogpile.cache." + name + "." for name in (
    "backends", "cli", "exporters", "integrations", "plugins", "testing"))
OURS = {"dogpile", "dogpile_cache", "integrations"}
names, broken = {"dogpile", "dogpile.cache", "dogpile.cache.integrations"}, {}
for top in sorted(names):
    folders = importlib.import_module(top).__path__
    for found in pkgutil.walk_packages(folders, top + "."):
        # Reached by way of the package above, where the install is editable.
        if not found.name.startswith("dogpile.cache._dogpile"):
            names.add(found.name)
for name in sorted(names):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not name.startswith(OPTIONAL) or error.name.partition(".")[0] in OURS:
            broken[name] = repr(error)
    except Exception as error:
        broken[name] = repr(error)
faces = {name: sorted(getattr(importlib.import_module(name), "__all__", ()))
         for name in ("dogpile", "dogpile.cache", "dogpile.cache.integrations")}
typed = [name for name in ("dogpile", "dogpile.cache")
         if importlib.resources.files(name).joinpath("py.typed").is_file()]
print(json.dumps({
    "names": sorted(names), "faces": faces, "typed": typed, "broken": broken,
    "version": importlib.metadata.version("dogpile.cache"),
    "requires": [need for need in importlib.metadata.requires("dogpile.cache") or ()
                 if "extra ==" not in need],
    "others": sorted(top for top in ("dogpile_cache", "integrations", "tests")
                     if importlib.util.find_spec(top)),
}))
"""


@dataclass(frozen=True)
class Installer:
    """Fresh environments below a folder.

    :param folder: where they are made.
    """

    folder: Path

    def install(self, name: str, *steps: tuple[str, ...]) -> dict[str, Any]:
        """Install into a fresh environment, and return what it holds.

        :param name: names the environment.
        :param steps: the arguments of each call of ``pip install``.
        """
        place = self.folder / name
        run(sys.executable, "-m", "venv", str(place))
        python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
        for step in steps:
            run(str(python), "-m", "pip", "install", "--quiet", *step)
        answer = run(str(python), "-I", "-c", INVENTORY, cwd=place)
        held: dict[str, Any] = json.loads(answer)
        return held


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a program, and return what it prints; end where it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        check=False,
        text=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def faults_of(name: str, held: dict[str, Any], model: dict[str, Any]) -> list[str]:
    """Return what is wrong with one installation.

    :param held: what it holds.
    :param model: what the wheel holds.
    """
    faults = [
        f"{module} cannot be imported: {error}"
        for module, error in held["broken"].items()
    ]
    if held["typed"] != ["dogpile", "dogpile.cache"]:
        faults.append(f"py.typed is only in {held['typed']}")
    if held["requires"]:
        faults.append(f"it needs {held['requires']}")
    if held["others"]:
        faults.append(f"it also installs {held['others']}")
    faults += [
        f"its {part} differ: {difference(held[part], model[part])}"
        for part in ("names", "faces", "version")
        if held[part] != model[part]
    ]
    return [f"{name}: {fault}" for fault in faults]


def difference(ours: Any, theirs: Any) -> str:
    """Return what one holds beyond the other."""
    if isinstance(ours, list):
        return f"{sorted(set(ours) ^ set(theirs))}"
    return f"{ours} instead of {theirs}"


def main(project: Path, folder: Path) -> int:
    """Build, install and compare.

    :param project: the folder with ``pyproject.toml``.
    :param folder: where to build; what is in it is removed.
    :return: how many faults there are.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # The wheel is built from the sdist.
    run(sys.executable, "-m", "build", "--outdir", str(folder), str(project))
    [wheel] = map(str, folder.glob("*.whl"))
    [sdist] = map(str, folder.glob("*.tar.gz"))
    installer = Installer(folder)
    model = installer.install("wheel", (wheel,))
    others = {
        "sdist": installer.install("sdist", (sdist,)),
        "editable": installer.install("editable", ("--editable", str(project))),
        "over 1.x": installer.install(
            "over", ("--no-deps", OLD_RELEASE), ("--no-deps", wheel)
        ),
    }
    faults = faults_of("wheel", model, model)
    for name, held in others.items():
        faults += faults_of(name, held, model)
    for fault in faults:
        print(fault)
    print(
        f"{Path(wheel).name}, {Path(sdist).name}, editable, over 1.x: "
        f"{len(model['names'])} modules each, {len(faults)} faults"
    )
    return len(faults)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()) > 0)
