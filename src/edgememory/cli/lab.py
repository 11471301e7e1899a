"""`edgememory lab`."""

from pathlib import Path

import anyio
import click
import msgspec

try:
    from rich.console import Console

    from edgememory.lab.progress import shown_progress
    from edgememory.lab.run import run
    from edgememory.lab.table import show
    from edgememory.lab.world import judged
except ModuleNotFoundError as error:
    raise ImportError(f"The lab needs the extra `lab` ({error}): pip install 'edgememory[lab]'") from error

QUICK, FULL = 50, 500
REPORT = Path("build/lab/report.json")
_WIDTH = 100


@click.command()
@click.option("--quick", is_flag=True, help=f"{QUICK} calls a scenario instead of {FULL}.")
def command(quick: bool) -> None:
    """Measure what callers wait for, on real servers far apart.

    Starts a Postgres (Geneva), a Redis (the region's edge) and links that are as slow as the real ones, plays calls
    through the library, prints a table and leaves build/lab/report.json. Fails if anything that was said is lost.
    """
    play(QUICK if quick else FULL)


def play(count: int) -> None:
    """Play *count* calls of each scenario, show and save the report.

    Raises:
        SystemExit: something was lost, or a session was not what it should have been.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    with shown_progress(console) as progress:
        played = anyio.run(run, count, progress)
    show(played, judged(played.report), console)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_bytes(msgspec.json.format(msgspec.json.encode(played.report)) + b"\n")
    console.print(f"the report is in {REPORT}", highlight=False)
    if played.report.lost or played.failures:
        raise SystemExit(1)
