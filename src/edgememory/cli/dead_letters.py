"""`edgememory dead-letters`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import anyio
import click

from edgememory.config import Config, FileOutboxConfig, config_from_env, read_config
from edgememory.errors import ConfigError, EdgeMemoryError
from edgememory.models import DeadLetter
from edgememory.parts import configured_outbox


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="The configuration; else the environment.")
@click.option("--region", help="As for the agents; else EDGEMEMORY_REGION, else FLY_REGION.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many to show, the newest first."
)
def command(config: Path | None, region: str | None, limit: int) -> None:
    """Show the changes that the origin refused: when, why, and what they were.

    They hold what callers said.
    """
    try:
        settings = config_from_env() if config is None else read_config(config, region=region)
        outbox = settings.outbox
        if isinstance(outbox, FileOutboxConfig) and not Path(outbox.path).exists():
            raise ConfigError(f"outbox.path: there is no {outbox.path}: no agent has used that outbox here")
        letters = anyio.run(_read, settings, limit)
    except EdgeMemoryError as error:
        raise click.ClickException(str(error)) from error
    for letter in letters:
        at = datetime.fromtimestamp(letter.at, UTC).isoformat(timespec="seconds")
        click.echo(f"{at} {letter.user.namespace} {letter.user.user_id}: {letter.error}")
        click.echo(f"  {letter.body.decode(errors='replace')}")
    if not letters:
        click.echo("there are no dead letters")


async def _read(config: Config, limit: int) -> Sequence[DeadLetter]:
    outbox = configured_outbox(config)
    try:
        return await outbox.dead_letters(limit=limit)
    finally:
        await outbox.aclose()
