"""What is said where the framework of an integration is not installed."""

from __future__ import annotations


def refuse_missing(error: ModuleNotFoundError, framework: str) -> None:
    """Say which extra brings a framework, if it is what was not found.

    :param error: of an import; where it tells of something else, nothing is done.
    :param framework: its module, which its extra is named like.
    :raises ModuleNotFoundError: it is not installed.
    """
    if str(error.name).partition(".")[0] == framework and not _is_there(framework):
        raise ModuleNotFoundError(
            f"dogpile.cache.integrations.{framework} needs {framework.title()}: "
            f"pip install 'dogpile.cache[{framework}]'",
            name=framework,
        ) from error


def _is_there(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None
