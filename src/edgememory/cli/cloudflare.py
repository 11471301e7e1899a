"""`edgememory cloudflare`."""

import os
from collections.abc import Generator
from contextlib import contextmanager

import click
from httpx import Client

from edgememory.cloudflare import deployment
from edgememory.cloudflare.account import Account
from edgememory.errors import EdgeMemoryError

_NO_TOKEN = """\
CLOUDFLARE_API_TOKEN is not set. Make a token in the dashboard, under My Profile / API Tokens, with the permissions
  Account / Workers Scripts: Edit
  Account / Workers KV Storage: Edit
  Account / Account Settings: Read
and, for --domain, Zone / Workers Routes: Edit and Zone / Zone: Read"""

_PASTE = """
Paste into edgememory.toml:

key_secret = {{ env = "EDGEMEMORY_KEY_SECRET" }}

[[caches]]
type = "workers"
url = "{url}"
token = {{ env = "EDGEMEMORY_WORKERS_TOKEN" }}

[outbox]
type = "workers"
url = "{url}"
token = {{ env = "EDGEMEMORY_WORKERS_TOKEN" }}
"""

_name = click.option("--name", default="edgememory", show_default=True, help="The Worker's, and its KV namespace's.")
_url = click.option("--url", envvar="EDGEMEMORY_WORKERS_URL", help="The Worker's address; else EDGEMEMORY_WORKERS_URL.")


@click.group()
def command() -> None:
    """Put the Worker to Cloudflare, and look after it.

    Takes the API token from CLOUDFLARE_API_TOKEN and, where it sees several accounts, CLOUDFLARE_ACCOUNT_ID.
    """


@command.command()
@_name
@click.option("--domain", help="A host name of a zone of the account; else an address at workers.dev.")
@click.option("--dry-run", is_flag=True, help="Only look, and say what would be done.")
def deploy(name: str, domain: str | None, dry_run: bool) -> None:
    """Make or update the Worker and what it needs; print the configuration. May be repeated."""
    with _plainly(), Client(timeout=10) as client:
        deployed = deployment.deploy(_account(), name, domain=domain, dry_run=dry_run, say=click.echo)
        if deployed is None:
            return
        if deployed.token is not None:  # before anything else can fail: it is shown once
            click.echo(f"\nThe agents' token, shown this once:\nEDGEMEMORY_WORKERS_TOKEN={deployed.token}")
        click.echo(_PASTE.format(url=deployed.url))
        location = deployment.wait_until_healthy(client, deployed.url)
        click.echo(f"The Worker is healthy{'' if location is None else f', seen from {location}'}.")


@command.command()
@_name
def status(name: str) -> None:
    """Say what there is, and whether it runs this version's code and answers."""
    with _plainly(), Client(timeout=10) as client:
        found = deployment.status(_account(), name)
        if not found.is_there:
            raise click.ClickException(f"there is no Worker {name}: `edgememory cloudflare deploy` puts it there")
        code = "that of this version" if found.is_current else "another version's: `edgememory cloudflare deploy`"
        click.echo(f"Worker {name}\ncode: {code}")
        for address in found.addresses:
            location = deployment.wait_until_healthy(client, address)
            click.echo(f"{address}: healthy{'' if location is None else f', seen from {location}'}")


@command.command()
@_name
@_url
@click.option("--finish", is_flag=True, help="Let the token in EDGEMEMORY_WORKERS_TOKEN be the only one.")
def rotate_token(name: str, url: str | None, finish: bool) -> None:
    """Give the agents another token, without locking any out.

    First without --finish, with the present token in EDGEMEMORY_WORKERS_TOKEN: prints a new one, and both are valid.
    Give it to all agents; then with --finish and the new token there.
    """
    with _plainly(), Client(timeout=10) as client:
        address, current = _needed("EDGEMEMORY_WORKERS_URL", url), _needed("EDGEMEMORY_WORKERS_TOKEN")
        if finish:
            deployment.finish_rotation(_account(), name, url=address, current=current, client=client)
            click.echo("Only the token in EDGEMEMORY_WORKERS_TOKEN is valid from now on.")
        else:
            token = deployment.begin_rotation(_account(), name, url=address, current=current, client=client)
            click.echo(f"Both are valid. The new one, shown this once:\nEDGEMEMORY_WORKERS_TOKEN={token}")
            click.echo("Give it to all agents; then set it here, and rotate again with --finish.")


@command.command()
@_name
@_url
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--lose-changes", is_flag=True, help="Even if changes wait in the outboxes, or nobody can look.")
def destroy(name: str, url: str | None, yes: bool, lose_changes: bool) -> None:
    """Delete the Worker, its Durable Objects and its KV, once nothing waits in the outboxes."""
    with _plainly(), Client(timeout=10) as client:
        account = _account()
        is_there = account.script(name) is not None
        if is_there and not lose_changes:
            address, token = _needed("EDGEMEMORY_WORKERS_URL", url), _needed("EDGEMEMORY_WORKERS_TOKEN")
            if count := deployment.waiting(client, address, token):
                raise click.ClickException(
                    f"{count} changes wait in the outboxes: `edgememory work` delivers them; --lose-changes loses them"
                )
        if is_there and not yes:
            click.confirm(f"Delete the Worker {name} and all that it holds?", abort=True)
        deployment.destroy(account, name, click.echo)
        click.echo("Nothing is left.")


def _account() -> Account:
    token = os.environ.get("CLOUDFLARE_API_TOKEN")
    if not token:
        raise click.ClickException(_NO_TOKEN)
    return Account.found(token, os.environ.get("CLOUDFLARE_ACCOUNT_ID") or None)


def _needed(variable: str, given: str | None = None) -> str:
    value = given or os.environ.get(variable)
    if not value:
        raise click.ClickException(f"{variable} is not set: it says which Worker your agents use, and how")
    return value.rstrip("/")


@contextmanager
def _plainly() -> Generator[None]:
    try:
        yield
    except EdgeMemoryError as error:
        raise click.ClickException(str(error)) from error
