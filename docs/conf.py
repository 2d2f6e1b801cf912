"""How Sphinx makes pages of the documentation; warnings are errors in tox.

What can be read off the project is read off it, so that no page is behind it:
``differences`` lists where the 1.x test-suite and this package differ, ``rooms``
what each module is there for, ``floors`` who may import whom.
"""

from __future__ import annotations

import ast
import importlib.metadata
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]

project = "dogpile.cache"
copyright = "the dogpile.cache authors and contributors"
author = "the dogpile.cache authors and contributors"
release = importlib.metadata.version("dogpile.cache")
version = release

extensions = ["sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"dogpile.cache {release}"
exclude_patterns = ["_build"]
# The source is beside it already, in the repository.
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
# The test kit is documented where its packages are not installed.
autodoc_mock_imports = ["hypothesis", "pytest"]
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 72
# Annotations name what is Python's own, and type variables.
nitpick_ignore_regex = [
    (r"py:(class|obj|data|exc)", r"(?!dogpile\.).*"),
    (r"py:class", r"dogpile\.cache\.[\w.]+\.[A-Z]"),
    # Of an argument of configure() that is not for others.
    (r"py:class", r"dogpile\.cache\.config\.Unknown"),
]


class Differences(SphinxDirective):
    """Where the 1.x test-suite and this package differ, and why."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a list of the tests for each kind of difference."""
        path = Path(__file__).with_name(self.arguments[0])
        self.env.note_dependency(str(path))
        content = read_toml(path)
        lines: list[str] = []
        for kind, meaning in content["kinds"].items():
            found = [d for d in content.get("difference", []) if d["kind"] == kind]
            if not found:
                continue
            lines += [f"**{meaning}**", ""]
            for difference in found:
                reason = difference["reason"].strip().splitlines()
                lines += [f"* {reason[0]}", *(f"  {line}" for line in reason[1:]), ""]
                lines += [f"  * ``{test}``" for test in difference["tests"]]
                lines.append("")
        return self.parse_text_to_nodes("\n".join(lines))


class Rooms(SphinxDirective):
    """What the modules of a folder are there for, as they say themselves."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a table of modules and the first lines of their docstrings."""
        lines = [".. list-table::", "   :widths: 24 76", ""]
        for path in sorted((ROOT / self.arguments[0]).glob("[!_]*.py")):
            self.env.note_dependency(str(path))
            text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            purpose = (text or "").partition("\n")[0]
            lines += [f"   * - ``{path.name}``", f"     - {purpose}"]
        return self.parse_text_to_nodes("\n".join(lines))


class Floors(SphinxDirective):
    """Who may import whom, as the checks know it."""

    def run(self) -> list[nodes.Node]:
        """Return the layers of the contract, from the top."""
        path = ROOT / "pyproject.toml"
        self.env.note_dependency(str(path))
        contracts = read_toml(path)["tool"]["importlinter"]["contracts"]
        [layers] = [each["layers"] for each in contracts if each["type"] == "layers"]
        text = "\n".join(layers)
        return [nodes.literal_block(text, text, language="text")]


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a file holds."""
    content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    return content


def setup(app: Sphinx) -> None:
    """Make the directives known."""
    app.add_directive("differences", Differences)
    app.add_directive("rooms", Rooms)
    app.add_directive("floors", Floors)
