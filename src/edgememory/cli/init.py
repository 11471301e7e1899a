"""`edgememory init`."""

from pathlib import Path

import click

from edgememory.errors import ConfigError
from edgememory.starter import Answers, CacheKind, OutboxKind, configuration, environment, parse_replicas

_CONFIGURATION, _ENVIRONMENT = "edgememory.toml", ".env.example"


@click.command()
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), default=".", help="Where to write.")
@click.option(
    "--namespace", default="default", prompt="A namespace, which separates applications that share a database"
)
@click.option(
    "--cache",
    type=click.Choice(["redis", "upstash", "workers", "none"]),
    default="redis",
    prompt="The cache beside your agents",
)
@click.option(
    "--outbox",
    type=click.Choice(["file", "redis", "workers"]),
    default="redis",
    prompt="Where changes wait: in a file, if the agents have a disk that outlives them, else in a Redis or a Worker",
)
@click.option(
    "--replicas", default="", prompt="Names of read replicas, separated by commas; none if empty", show_default=False
)
def command(folder: Path, namespace: str, cache: CacheKind, outbox: OutboxKind, replicas: str) -> None:
    """Ask four questions, and write an annotated configuration.

    Writes edgememory.toml, and .env.example with the environment variables that it takes its values from. Answers that
    are given as options are not asked for. Nothing is overwritten.
    """
    try:
        answers = Answers(namespace=namespace, cache=cache, outbox=outbox, replicas=parse_replicas(replicas))
        texts = {_CONFIGURATION: configuration(answers), _ENVIRONMENT: environment(answers)}
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    if present := [name for name in texts if (folder / name).exists()]:
        raise click.ClickException(f"{' and '.join(present)} stand in {folder} already: move them away")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        click.echo(f"wrote {folder / name}")
    click.echo(
        f"Next: set what {_ENVIRONMENT} names, then run\n  edgememory migrate --config {folder / _CONFIGURATION}\n"
        f"  edgememory doctor --config {folder / _CONFIGURATION}"
    )
