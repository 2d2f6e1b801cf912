"""The commands ``flask dogpile …``: look at an application's cache, and clear it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from flask.cli import AppGroup

from dogpile.cache import BackendError, CacheRegion, ConfigurationError
from dogpile.cache.integrations.commands import (
    Asking,
    NoSuchValue,
    Unanswered,
    as_json,
    lines_of,
    say_regions,
    say_value,
)
from dogpile.cache.integrations.flask.endpoints import regions_of
from dogpile.cache.integrations.flask.extension import DogpileCache
from dogpile.cache.integrations.flask.state import current_state

cli: AppGroup = AppGroup(
    "dogpile", help="Look at the cache of the application, and clear it."
)

_REGION = click.option("--region", "name", help="Its name; else the default region.")
_JSON = click.option("--json", "is_json", is_flag=True, help="Answer in JSON.")


@contextmanager
def _asking() -> Iterator[None]:
    """End a command with what went wrong."""
    try:
        with Asking(current_state().regions):
            yield
    except (BackendError, ConfigurationError, NoSuchValue, Unanswered) as error:
        raise click.ClickException(str(error)) from error


def _region(name: str | None) -> CacheRegion:
    return current_state().region(name)


def _tell(said: Any, text: str, *, is_json: bool) -> None:
    if is_json:
        click.echo(as_json(said))
    elif text:
        click.echo(text)


@cli.command("regions")
@_JSON
def show_regions(is_json: bool) -> None:
    """List the regions with their backends."""
    with _asking():
        state = current_state()
        said = say_regions(state.regions, state.default)
    _tell(said, lines_of(said), is_json=is_json)


@cli.command("get")
@click.argument("key")
@_REGION
@_JSON
def show(key: str, name: str | None, is_json: bool) -> None:
    """Show the value of a key."""
    with _asking():
        said = say_value(name or current_state().default, _region(name), key)
    _tell(said, repr(said["value"]), is_json=is_json)


@cli.command("delete")
@click.argument("keys", nargs=-1, required=True)
@_REGION
@_JSON
def delete(keys: tuple[str, ...], name: str | None, is_json: bool) -> None:
    """Remove the values of keys."""
    with _asking():
        _region(name).delete_multi(keys)
    _tell({"deleted": keys}, "", is_json=is_json)


@cli.command("invalidate")
@click.option("--tag", "tags", multiple=True, help="A tag; repeatable.")
@click.option("--view", "views", multiple=True, help="An endpoint; repeatable.")
@click.option(
    "--fragment",
    "fragments",
    multiple=True,
    help="The name of a part of a template; repeatable.",
)
@click.option("--soft", is_flag=True, help="Leave the values as stale ones.")
@_JSON
def invalidate(
    tags: tuple[str, ...],
    views: tuple[str, ...],
    fragments: tuple[str, ...],
    soft: bool,
    is_json: bool,
) -> None:
    """Invalidate what has a tag, for every process."""
    named = {"tag": tags, "view": views, "fragment": fragments}
    done = {kind: names for kind, names in named.items() if names}
    for kind, names in done.items():
        if not all(names):
            raise click.UsageError(f"--{kind} takes a name, and got an empty one")
    if not done:
        raise click.UsageError(
            "name one of --tag, --view, --fragment; `clear` takes all"
        )
    cache = DogpileCache()
    with _asking():
        # Before anything is invalidated: one that is misspelt must not do half.
        for view in views:
            regions_of(view, {})
        for view in views:
            cache.invalidate_view(view, hard=not soft)
        for fragment in fragments:
            cache.invalidate_fragment(fragment, hard=not soft)
        if tags:
            cache.invalidate_tags(*tags, hard=not soft)
    _tell({"invalidated": done, "soft": soft}, "", is_json=is_json)


@cli.command("clear")
@_REGION
@_JSON
def clear(name: str | None, is_json: bool) -> None:
    """Invalidate a whole region, for every process."""
    with _asking():
        _region(name).invalidate()
        cleared = name or current_state().default
    _tell({"cleared": cleared}, "", is_json=is_json)
