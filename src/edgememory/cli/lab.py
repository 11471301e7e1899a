"""`edgememory lab`."""

from collections.abc import Iterable
from pathlib import Path

import anyio
import click
import msgspec

try:
    from rich.console import Console

    from edgememory.lab.assemble import assemble
    from edgememory.lab.geography import World, read_world
    from edgememory.lab.markdown import table
    from edgememory.lab.page import picture, render
    from edgememory.lab.progress import shown_progress
    from edgememory.lab.report import Report
    from edgememory.lab.run import Plan, run
    from edgememory.lab.scenarios.playbook import AT_CLOUDFLARE, SCENARIOS
    from edgememory.lab.servers.worker import NoRuntimeError, installed_runtime
    from edgememory.lab.table import show
except ModuleNotFoundError as error:
    raise ImportError(f"The lab needs the extra `lab` ({error}): pip install 'edgememory[lab]'") from error

from edgememory.errors import ConfigError

QUICK, FULL = 50, 500
"""Calls of each scenario, over all regions together."""
FOLDER = Path("build/lab")
_WIDTH = 110


@click.command()
@click.option("--quick", is_flag=True, help=f"Two regions, and {QUICK} calls a scenario instead of {FULL}.")
@click.option("--region", "regions", multiple=True, metavar="NAME", help="Play this region only; may be repeated.")
@click.option("--scenario", "scenarios", multiple=True, metavar="NAME", help="Play this one only; may be repeated.")
@click.option("--world", type=click.Path(path_type=Path), help="Who is where and how far apart; see the documentation.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, and nothing else, on standard output.")
def command(
    quick: bool, regions: tuple[str, ...], scenarios: tuple[str, ...], world: Path | None, as_json: bool
) -> None:
    """Measure what callers wait for, on real servers far apart.

    Starts a Postgres (Geneva), replicas of it, in each region a Redis and Cloudflare's runtime, and links that are as
    slow as the real ones, plays calls through the library, prints tables and leaves build/lab/report.json and
    report.html, and what other pages may show: report.svg and report.md. Fails if anything that was said is lost.
    """
    try:
        known = read_world(world)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    chosen = _named("scenario", scenarios, SCENARIOS)
    plan = Plan(
        world=known,
        regions=_named("region", regions, known.callers) or (_two(known) if quick else known.callers),
        scenarios=chosen or tuple(SCENARIOS),
        count=QUICK if quick else FULL,
    )
    if set(plan.scenarios) & set(AT_CLOUDFLARE) and (lack := _lack_of_cloudflare(known)) is not None:
        if chosen:
            raise click.ClickException(lack)
        click.echo(f"without {', '.join(AT_CLOUDFLARE)}: {lack}", err=True)
        others = tuple(name for name in plan.scenarios if name not in AT_CLOUDFLARE)
        plan = msgspec.structs.replace(plan, scenarios=others)
    play(msgspec.structs.replace(plan, count=-(-plan.count // len(plan.regions))), as_json=as_json)


def _lack_of_cloudflare(world: World) -> str | None:
    """Say why the Worker cannot be played; `None`: it can."""
    if world.kv is None:
        return "the world file says nothing of Cloudflare, in [kv]"
    try:
        installed_runtime()
    except NoRuntimeError as error:
        return str(error)
    return None


def play(plan: Plan, *, as_json: bool) -> None:
    """Play, show and save the report.

    Raises:
        SystemExit: something was lost, or a session was not what it should have been.
    """
    console = Console(stderr=as_json)
    if not console.is_terminal:
        console = Console(width=_WIDTH, stderr=as_json)
    with shown_progress(console) as progress:
        report = assemble(plan, anyio.run(run, plan, progress))
    _save(report)
    if as_json:
        click.echo(_json(report))
    else:
        show(report, console)
        console.print(f"the report is in {FOLDER}/report.html and report.json", highlight=False)
    if report.lost or report.failures:
        raise SystemExit(1)


def _save(report: Report) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "report.json").write_bytes(_json(report) + b"\n")
    for name, content in (("html", render(report)), ("svg", picture(report)), ("md", table(report))):
        (FOLDER / f"report.{name}").write_text(content, encoding="utf-8")


def _json(report: Report) -> bytes:
    return msgspec.json.format(msgspec.json.encode(report))


def _named(what: str, names: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return those of *known* that are named, in its order."""
    known, wanted = tuple(known), set(names)
    unknown = sorted(wanted - set(known))
    if unknown:
        raise click.BadParameter(f"there is no {what} {', '.join(unknown)}: there are {', '.join(known)}")
    return tuple(name for name in known if name in wanted)


def _two(world: World) -> tuple[str, ...]:
    """The regions whose agents are farthest from the origin, and nearest to it: in between lie the others."""

    def far(name: str) -> float:
        return world.link(world.region(name).agent, world.origin).round_trip

    chosen = {max(world.callers, key=far), min(world.callers, key=far)}
    return tuple(name for name in world.callers if name in chosen)
