"""The command `edgememory`. Each command group is a module of its own, imported when it is asked for."""

from collections.abc import Mapping
from importlib import import_module
from typing import NamedTuple

try:
    import click
except ModuleNotFoundError as error:
    raise SystemExit("The command needs the extra `cli`: pip install 'edgememory[cli]'") from error


class _Place(NamedTuple):
    module: str
    help: str


_COMMANDS: Mapping[str, _Place] = {
    "cloudflare": _Place("cloudflare", "Put the Worker to Cloudflare, and look after it."),
    "dead-letters": _Place("dead_letters", "Show the changes that the origin refused."),
    "doctor": _Place("doctor", "Say what is wrong, seen from here, and what to do."),
    "init": _Place("init", "Ask four questions, and write an annotated configuration."),
    "lab": _Place("lab", "Measure what callers wait for, on real servers far apart."),
    "migrate": _Place("migrate", "Bring the schema of the origin's database up to date."),
    "reembed": _Place("reembed", "Make the origin's vectors those of the configured embedder."),
    "work": _Place("work", "Deliver what waits in the outbox, until stopped."),
}


class _Lazy(click.Group):
    """Imports a command when it is used; help needs only its one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        try:
            command: object = import_module(f"edgememory.cli.{place.module}").command
        except ImportError as error:
            raise click.ClickException(str(error)) from error
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.help) for name, place in _COMMANDS.items()])


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="edgememory")
def main() -> None:
    """Each user's memory near the agent, and nothing lost."""
