"""The code blocks of reStructuredText: found, and run in their order."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_DIRECTIVE = re.compile(r"\.\. (?:code-block|sourcecode|code)::(?:\s+(\S+))?\s*\Z")
_OTHER_DIRECTIVE = re.compile(r"\.\. [\w:-]+::(?:\s|\Z)")
_OPTION = re.compile(r":[\w-]+:(?:\s|\Z)")
#: What a block without a language is; Sphinx decides by looking at it.
PLAIN = ""


class Block(NamedTuple):
    """A code block.

    :param page: the file that it is in.
    :param line: of its first line, from 1 on.
    :param language: ``"doctest"`` for what has prompts, else what the page
        says, or :data:`PLAIN`.
    :param text: without its indentation.
    """

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Return the code blocks of a page, in their order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return list(_blocks(page, lines))


def _blocks(page: Path, lines: Sequence[str]) -> Iterator[Block]:
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        at += 1
        directive = _DIRECTIVE.match(line)
        if line.startswith(">>>"):
            end = at
            while end < len(lines) and lines[end].strip():
                end += 1
            yield _block(page, lines, at - 1, end, "doctest")
            at = end
        elif directive or (line.endswith("::") and not _OTHER_DIRECTIVE.match(line)):
            outer = _indentation(lines[at - 1])
            while directive and at < len(lines) and _OPTION.match(lines[at].strip()):
                at += 1
            start, end = _body(lines, at, outer)
            if start < end:
                language = (directive[1] if directive else None) or PLAIN
                yield _block(page, lines, start, end, language)
                at = end


def _body(lines: Sequence[str], at: int, outer: int) -> tuple[int, int]:
    """Return where the lines begin and end that are indented deeper."""
    while at < len(lines) and not lines[at].strip():
        at += 1
    end = at
    for number in range(at, len(lines)):
        if lines[number].strip():
            if _indentation(lines[number]) <= outer:
                break
            end = number + 1
    return at, end


def _block(
    page: Path, lines: Sequence[str], start: int, end: int, language: str
) -> Block:
    body = lines[start:end]
    depth = min(_indentation(line) for line in body if line.strip())
    text = "\n".join(line[depth:] for line in body) + "\n"
    if text.startswith(">>>"):
        language = "doctest"
    return Block(page, start + 1, language, text)


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def run(block: Block, names: dict[str, Any]) -> None:
    """Run a block of Python, with prompts or without.

    :param names: what it finds defined; it adds its own.
    :raises AssertionError: what it prints is not what the page shows.
    """
    if block.language == "doctest":
        _run_doctest(block, names)
        return
    # Errors name the page and its line.
    source = "\n" * (block.line - 1) + block.text
    exec(compile(source, str(block.page), "exec", dont_inherit=True), names)


def _run_doctest(block: Block, names: dict[str, Any]) -> None:
    test = doctest.DocTestParser().get_doctest(
        block.text, names, str(block), str(block.page), block.line - 1
    )
    # It works on a copy, and the next block wants what this one defined.
    test.globs = names
    check(test)


def check(test: doctest.DocTest) -> None:
    """Run a doctest.

    :raises AssertionError: what it prints is not what is written there.
    """
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test, out=told.append, clear_globs=False)
    assert not told, "".join(told)
