"""`edgememory migrate`."""

import os
from pathlib import Path

import anyio
import click

from edgememory.config import read_origin
from edgememory.errors import ConfigError, StoreError
from edgememory.stores.postgres import migrate


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="The configuration; else EDGEMEMORY_ORIGIN_DSN.")
def command(config: Path | None) -> None:
    """Bring the schema of the origin's database up to date."""
    try:
        applied = anyio.run(migrate, _dsn(config))
    except (ConfigError, StoreError) as error:
        raise click.ClickException(str(error)) from error
    for migration in applied:
        click.echo(f"applied {migration.number:04} {migration.name}")
    if not applied:
        click.echo("the schema is up to date")


def _dsn(config: Path | None) -> str:
    if config is not None:
        return read_origin(config).dsn
    dsn = os.environ.get("EDGEMEMORY_ORIGIN_DSN")
    if not dsn:
        raise ConfigError("no database: pass --config, or set EDGEMEMORY_ORIGIN_DSN to the primary's DSN")
    return dsn
