"""`edgememory reembed`."""

from pathlib import Path

import anyio
import click
from rich.progress import Progress

from edgememory.config import Config, config_from_env, read_config
from edgememory.errors import ConfigError, EdgeMemoryError
from edgememory.parts import configured_embedder
from edgememory.stores.postgres.embeddings import open_embeddings


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="The configuration; else the environment.")
def command(config: Path | None) -> None:
    """Let the origin's vectors be those of the configured embedder.

    Run it once before an embedder is first used, and whenever another takes its place: from then on, agents that have
    the old one configured find by words alone. It may be interrupted, and run again: it goes on where it was.
    """
    try:
        anyio.run(reembed, config_from_env() if config is None else read_config(config, region="any"))
    except EdgeMemoryError as error:
        raise click.ClickException(str(error)) from error


async def reembed(config: Config) -> None:
    """Prepare the database, fill in what has no vector of this model, and index it."""
    if config.embedder is None:
        raise ConfigError("there is no [embedder] in the configuration: see docs/how-to/models.md")
    embedder = configured_embedder(config.embedder)
    await embedder.warm()
    try:
        async with open_embeddings(config.origin.dsn, embedder) as embeddings:
            await embeddings.prepare()
            with Progress() as progress:
                task = progress.add_task(f"vectors of {embedder.model}", total=await embeddings.waiting())
                while done := await embeddings.fill():
                    progress.advance(task, done)
            click.echo("building the index")
            await embeddings.index()
    finally:
        await embedder.aclose()
    click.echo(f"the vectors are those of {embedder.model}, {embedder.dimensions} dimensions")
