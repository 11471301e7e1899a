"""The Worker at Cloudflare: put there, looked at, given another token, taken away. Each may be repeated."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from secrets import token_urlsafe
from time import monotonic, sleep

import httpx
from msgspec import Struct

from edgememory.cloudflare.account import Account, Script, Upload, worker_code
from edgememory.errors import ConfigError

HEALTHY_WITHIN = 120.0
"""Seconds. A new workers.dev address takes up to a minute, a domain's certificate longer."""
_LOOK_EVERY = 2.0
_OURS = "edgememory"
_BINDINGS = {"USERS": "UserObject", "INDEX": "IndexObject"}

Say = Callable[[str], None]


class Deployed(Struct, frozen=True):
    """What agents need to know."""

    url: str
    token: str | None
    """`None` where the Worker had one: it cannot be read back."""


class Status(Struct, frozen=True):
    """What there is."""

    is_there: bool
    is_current: bool = False
    """Whether it runs the code of this version of edgememory."""
    addresses: Sequence[str] = ()


def deploy(account: Account, name: str, *, domain: str | None, dry_run: bool, say: Say) -> Deployed | None:
    """Make or bring up to date what the Worker needs, and the Worker. `None` after a dry run, which only looks.

    Raises:
        ConfigError: says what is in the way.
    """
    script = account.script(name)
    _check_ours(name, script)
    tags = _tags()
    namespace = None if script is None else script.bindings["ENTRIES"]
    namespace = namespace or account.namespace(name)
    if dry_run:
        say(f"KV namespace {name}: {'stays' if namespace else 'would be made'}")
        state = "would be made" if script is None else ("stays" if script.tags == tags else "would be updated")
        say(f"Worker {name}: {state}")
        say(f"Durable Objects: {'would be made' if script is None else 'stay'}")
        say(f"token: {'would be made' if script is None else 'stays'}")
        say(f"address: {'https://' + domain if domain else 'at workers.dev'}")
        return None
    if namespace is None:
        namespace = account.make_namespace(name)
        say(f"made the KV namespace {name}")
    token = token_urlsafe(32) if script is None else None
    if script is None or script.tags != tags:
        account.upload(
            name,
            Upload(
                code=worker_code(),
                namespace=namespace,
                migrates=script is None or script.migration_tag is None,
                secrets={} if token is None else {"TOKENS": token},
                tags=tags,
            ),
        )
        say(f"{'made' if script is None else 'updated'} the Worker {name}")
    url = account.publish(name) if domain is None else account.attach(name, domain)
    say(f"it answers at {url}")
    return Deployed(url, token)


def wait_until_healthy(
    client: httpx.Client,
    url: str,
    *,
    clock: Callable[[], float] = monotonic,
    pause: Callable[[float], None] = sleep,
) -> str | None:
    """Wait for the Worker's first answer, and return the location that gave it.

    Raises:
        ConfigError: there was none in `HEALTHY_WITHIN` seconds.
    """
    ends = clock() + HEALTHY_WITHIN
    while True:
        try:
            answer = client.get(f"{url}/v1/health")
            if answer.status_code == 200 and (health := answer.json()).get("protocol") == 1:
                location: str | None = health.get("location")
                return location
            said = f"HTTP {answer.status_code}"
        except (httpx.HTTPError, ValueError, AttributeError) as error:
            said = str(error) or type(error).__name__
        if clock() >= ends:
            raise ConfigError(
                f"{url}/v1/health does not answer as the Worker does ({said}), {HEALTHY_WITHIN:.0f} s after it was put"
                " there.\n  A new domain may take longer: try `edgememory cloudflare status` in a few minutes."
            )
        pause(_LOOK_EVERY)


def status(account: Account, name: str) -> Status:
    script = account.script(name)
    if script is None:
        return Status(is_there=False)
    _check_ours(name, script)
    domains = [f"https://{host}" for host, service, _ in account.domains() if service == name]
    return Status(is_there=True, is_current=script.tags == _tags(), addresses=domains or [account.address(name)])


def begin_rotation(account: Account, name: str, *, url: str, current: str, client: httpx.Client) -> str:
    """Let a new token do what *current* does, which stays valid; return the new one."""
    _check_there(account, name)
    _check_token(client, url, current)
    token = token_urlsafe(32)
    account.set_secret(name, "TOKENS", f"{token} {current}")
    return token


def finish_rotation(account: Account, name: str, *, url: str, current: str, client: httpx.Client) -> None:
    """Let *current*, which all agents must use by now, be the only token."""
    _check_there(account, name)
    _check_token(client, url, current)
    account.set_secret(name, "TOKENS", current)


def waiting(client: httpx.Client, url: str, token: str) -> int:
    """Return how many changes wait in the Worker's outboxes.

    Raises:
        ConfigError: it cannot be asked.
    """
    try:
        answer = client.get(f"{url}/v1/outbox/depth?now=0", headers={"Authorization": f"Bearer {token}"})
    except httpx.HTTPError as error:
        raise ConfigError(f"{url} cannot be asked what waits: {error}") from error
    if answer.status_code != 200:
        raise ConfigError(
            f"{url} does not say what waits: HTTP {answer.status_code}. Is EDGEMEMORY_WORKERS_TOKEN right?"
        )
    changes: int = answer.json()["changes"]
    return changes


def destroy(account: Account, name: str, say: Say) -> None:
    """Delete the Worker, all that its objects hold, and its KV."""
    script = account.script(name)
    _check_ours(name, script)
    for host, service, id in account.domains():
        if service == name:
            account.detach(id)
            say(f"detached {host}")
    if script is not None:
        account.delete_script(name)
        say(f"deleted the Worker {name} and its Durable Objects")
    namespace = account.namespace(name) if script is None else script.bindings["ENTRIES"]
    if namespace is not None:
        account.delete_namespace(namespace)
        say(f"deleted the KV namespace of {name}")


def _tags() -> tuple[str, ...]:
    """Tell by the Worker's tags whose it is, and which code it runs."""
    return (_OURS, "code-" + sha256(worker_code().encode()).hexdigest()[:16])


def _check_ours(name: str, script: Script | None) -> None:
    if script is None:
        return
    if "ENTRIES" not in script.bindings or any(script.bindings.get(each) != kind for each, kind in _BINDINGS.items()):
        raise ConfigError(f"the name {name} is taken by another Worker of this account: take another with --name")


def _check_there(account: Account, name: str) -> None:
    script = account.script(name)
    if script is None:
        raise ConfigError(f"there is no Worker {name}: `edgememory cloudflare deploy` puts it there")
    _check_ours(name, script)


def _check_token(client: httpx.Client, url: str, token: str) -> None:
    """What is no token of the Worker now must not become one: its agents could not say it."""
    waiting(client, url, token)
