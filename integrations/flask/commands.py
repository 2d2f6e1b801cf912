"""The commands ``flask dogpile …``: look at an application's cache, and clear it."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from dogpile.cache import NO_VALUE, BackendError, CacheRegion, ConfigurationError
from dogpile.cache.integrations.flask.extension import DogpileCache
from dogpile.cache.integrations.flask.state import current_state

cli: AppGroup = AppGroup(
    "dogpile", help="Look at the cache of the application, and clear it."
)

_REGION = click.option("--region", "name", help="Its name; else the default region.")


def _region(name: str | None) -> CacheRegion:
    try:
        return current_state().region(name)
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error


@cli.command("regions")
def show_regions() -> None:
    """List the regions with their backends."""
    try:
        state = current_state()
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error
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
    try:
        found = _region(name).get(key)
    except BackendError as error:
        raise click.ClickException(str(error)) from error
    if found is NO_VALUE:
        raise click.ClickException(f"there is no value under {key!r}")
    click.echo(repr(found))


@cli.command("delete")
@click.argument("keys", nargs=-1, required=True)
@_REGION
def delete(keys: tuple[str, ...], name: str | None) -> None:
    """Remove the values of keys."""
    try:
        _region(name).delete_multi(keys)
    except BackendError as error:
        raise click.ClickException(str(error)) from error


@cli.command("invalidate")
@click.option("--tag", "tags", multiple=True, help="A tag; may be repeated.")
@click.option("--view", "views", multiple=True, help="An endpoint; may be repeated.")
@click.option("--soft", is_flag=True, help="Leave the values as stale ones.")
def invalidate(tags: tuple[str, ...], views: tuple[str, ...], soft: bool) -> None:
    """Invalidate what has a tag, or the pages of a view, for every process."""
    if not tags and not views:
        raise click.UsageError("name a --tag or a --view; `clear` takes all")
    cache = DogpileCache()
    try:
        if tags:
            cache.invalidate_tags(*tags, hard=not soft)
        for view in views:
            cache.invalidate_view(view, hard=not soft)
    except (BackendError, ConfigurationError) as error:
        raise click.ClickException(str(error)) from error


@cli.command("clear")
@_REGION
def clear(name: str | None) -> None:
    """Invalidate a whole region, for every process."""
    try:
        _region(name).invalidate()
    except BackendError as error:
        raise click.ClickException(str(error)) from error
