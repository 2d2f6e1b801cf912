"""Whoever imports an integration without its framework is told what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dogpile.cache.integrations.missing import refuse_missing

USE = """
import sys
sys.modules[{framework!r}] = None  # as if it were not installed
import dogpile.cache.integrations.{framework} as integration
integration.{name}
"""


@pytest.mark.parametrize(
    ("framework", "name"),
    [("flask", "DogpileCache"), ("mako", "TemplateLookup"), ("django", "cached")],
)
def test_a_missing_framework_is_told_with_its_extra(framework: str, name: str) -> None:
    source = USE.format(framework=framework, name=name)

    ran = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=False
    )

    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == (
        f"ModuleNotFoundError: dogpile.cache.integrations.{framework} needs "
        f"{framework.title()}: pip install 'dogpile.cache[{framework}]'"
    )


@pytest.mark.parametrize("name", ["jinja2", "json.no_such_module", None])
def test_what_else_is_missing_is_told_as_it_is(name: str | None) -> None:
    refuse_missing(ModuleNotFoundError("told by Python", name=name), "json")
