"""`edgememory doctor`."""

import logging
import os
from functools import partial
from pathlib import Path

import anyio
import click
import msgspec

from edgememory.config import config_from_env, read_config
from edgememory.doctor import Report, examine, log_report, rendered
from edgememory.errors import ConfigError


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="The configuration; else the environment.")
@click.option("--region", help="As for the agents; else EDGEMEMORY_REGION, else FLY_REGION.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--offline", is_flag=True, help="Only the configuration: ask nobody.")
@click.option("--as-agent", is_flag=True, help="Log it, as an agent does that calls edgememory.doctor.log_report.")
def command(config: Path | None, region: str | None, as_json: bool, offline: bool, as_agent: bool) -> None:
    """Say what is wrong, seen from here, and what to do.

    Tries each tier and the outbox: the way there, who we are to it, a read, a probe that is written and read back, and
    how long reads take; and asks the models about a made-up sentence. Exits with 1 if something is wrong, with 2 if the
    configuration is.
    """
    try:
        settings = config_from_env() if config is None else read_config(config, region=region)
    except ConfigError as error:
        click.echo(msgspec.json.encode({"problems": [str(error)]}).decode() if as_json else f"WRONG {error}")
        raise SystemExit(2) from error
    if offline:
        click.echo(msgspec.json.encode({"problems": []}).decode() if as_json else "the configuration is valid")
        return
    report: Report | None
    if as_agent:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        report = anyio.run(partial(log_report, settings, region=region))
    else:
        report = anyio.run(partial(examine, settings, region=region))
        lines = [_json(report)] if as_json else rendered(report)
        click.echo(os.linesep.join(lines))
    if report is None or report.problems:
        raise SystemExit(1)


def _json(report: Report) -> str:
    document = msgspec.to_builtins(report) | {"problems": report.problems}
    return msgspec.json.encode(document).decode()
