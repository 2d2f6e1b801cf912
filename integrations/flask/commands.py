"""The commands ``flask dogpile …``: look at an application's cache, and clear it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask.cli import AppGroup

from dogpile.cache import NO_VALUE, BackendError, CacheRegion, ConfigurationError
from dogpile.cache.integrations.commands import Asking, Unanswered
from dogpile.cache.integrations.flask.extension import DogpileCache
from dogpile.cache.integrations.flask.state import current_state

cli: AppGroup = AppGroup(
    "dogpile", help="Look at the cache of the application, and clear it."
)

_REGION = click.option("--region", "name", help="Its name; else the default region.")


@contextmanager
def _asking() -> Iterator[None]:
    """End a command with what went wrong."""
    try:
        with Asking(current_state().regions.values()):
            yield
    except (BackendError, ConfigurationError, Unanswered) as error:
        raise click.ClickException(str(error)) from error


def _region(name: str | None) -> CacheRegion:
    return current_state().region(name)


@cli.command("regions")
def show_regions() -> None:
    """List the regions with their backends."""
    with _asking():
        state = current_state()
    for name, region in sorted(state.regions.items()):
        lifetime = region.expiration_time
        fresh = "for ever" if lifetime is None else f"{lifetime:g} s"
        mark = " (default)" if region is state.regions.get(state.default) else ""
        backend = type(region.actual_backend).__name__
        click.echo(f"{name}{mark}: {backend}, fresh {fresh}")


@cli.command("get")
@click.argument("key")
@_REGION
def show(key: str, name: str | None) -> None:
    """Show the value of a key."""
    with _asking():
        found = _region(name).get(key)
    if found is NO_VALUE:
        raise click.ClickException(f"there is no value under {key!r}")
    click.echo(repr(found))


@cli.command("delete")
@click.argument("keys", nargs=-1, required=True)
@_REGION
def delete(keys: tuple[str, ...], name: str | None) -> None:
    """Remove the values of keys."""
    with _asking():
        _region(name).delete_multi(keys)


@cli.command("invalidate")
@click.option("--tag", "tags", multiple=True, help="A tag; may be repeated.")
@click.option("--view", "views", multiple=True, help="An endpoint; may be repeated.")
@click.option("--soft", is_flag=True, help="Leave the values as stale ones.")
def invalidate(tags: tuple[str, ...], views: tuple[str, ...], soft: bool) -> None:
    """Invalidate what has a tag, or the pages of a view, for every process."""
    if not tags and not views:
        raise click.UsageError("name a --tag or a --view; `clear` takes all")
    cache = DogpileCache()
    with _asking():
        if tags:
            cache.invalidate_tags(*tags, hard=not soft)
        for view in views:
            cache.invalidate_view(view, hard=not soft)


@cli.command("clear")
@_REGION
def clear(name: str | None) -> None:
    """Invalidate a whole region, for every process."""
    with _asking():
        _region(name).invalidate()
