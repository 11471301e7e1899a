"""`edgememory cloudflare` against an API on loopback that keeps state; the Worker at the address is the real one."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from click.testing import CliRunner, Result

from edgememory.cli import cloudflare as cli
from edgememory.cli.cloudflare import command
from edgememory.cloudflare import deployment
from edgememory.cloudflare.account import worker_code
from edgememory.config import read_config
from edgememory.errors import ConfigError
from tests.cloudflare.server import ACCOUNT, CloudflareServer
from tests.loopback import serving
from tests.worker.client import append, caller, new_key
from tests.worker.server import TOKEN, WorkerServer

URL = "https://edgememory.clinic.workers.dev"

Run = Callable[..., Result]


class ToWorker(httpx.HTTPTransport):
    """Leads every address to the Worker on loopback, and remembers which were asked for."""

    def __init__(self, worker: WorkerServer) -> None:
        super().__init__()
        self._worker = httpx.URL(worker.url)
        self.hosts: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.hosts.append(request.url.host)
        request.url = request.url.copy_with(scheme="http", host=self._worker.host, port=self._worker.port)
        return super().handle_request(request)


@pytest.fixture
def cloudflare(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudflareServer]:
    with serving(CloudflareServer()) as server:
        monkeypatch.setenv("CLOUDFLARE_BASE_URL", server.api)
        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", server.token)
        for name in ("CLOUDFLARE_ACCOUNT_ID", "EDGEMEMORY_WORKERS_URL", "EDGEMEMORY_WORKERS_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        yield server


@pytest.fixture
def edge(empty_worker: WorkerServer, monkeypatch: pytest.MonkeyPatch) -> ToWorker:
    transport = ToWorker(empty_worker)
    monkeypatch.setattr(cli, "Client", lambda timeout: httpx.Client(timeout=timeout, transport=transport))
    return transport


@pytest.fixture
def run(cloudflare: CloudflareServer, edge: ToWorker) -> Run:
    def run(*arguments: str, input: str | None = None) -> Result:
        done = CliRunner().invoke(command, arguments, input=input)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return run


def secret(cloudflare: CloudflareServer, name: str = "TOKENS") -> str:
    bindings = cloudflare.scripts["edgememory"]["bindings"]
    return next(str(binding["text"]) for binding in bindings if binding["name"] == name)


def shown_token(done: Result) -> str:
    return next(line.partition("=")[2] for line in done.output.splitlines() if line.startswith("EDGEMEMORY_WORKERS_TO"))


def test_the_first_deployment_makes_everything_and_prints_what_to_paste(
    run: Run, cloudflare: CloudflareServer, edge: ToWorker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    done = run("deploy")
    assert done.exit_code == 0, done.output
    script = cloudflare.scripts["edgememory"]
    assert script["code"] == worker_code()
    assert script["classes"] == {"UserObject", "IndexObject"}
    assert script["migration_tag"] == "v1"
    assert script["enabled"]
    assert script["compatibility_date"] >= "2026-07-01"
    assert list(cloudflare.namespaces.values()) == ["edgememory"]
    assert len(shown_token(done)) >= 40
    assert shown_token(done) == secret(cloudflare)
    assert edge.hosts == ["edgememory.clinic.workers.dev"]
    assert "healthy" in done.output
    pasted = done.output.split("Paste into edgememory.toml:")[1].split("The Worker is")[0]
    path = tmp_path_factory.mktemp("pasted") / "edgememory.toml"
    path.write_text(pasted.replace("{ env =", "{ env =") + '[origin]\ndsn = "postgres://geneva/memory"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEMEMORY_WORKERS_TOKEN", shown_token(done))
        patch.setenv("EDGEMEMORY_KEY_SECRET", "0123456789abcdef")
        config = read_config(path)
    assert (config.caches[0].url, config.outbox.__struct_config__.tag) == (URL, "workers")


def test_a_second_deployment_changes_nothing_and_shows_no_token(run: Run, cloudflare: CloudflareServer) -> None:
    run("deploy")
    before, token = dict(cloudflare.scripts["edgememory"]), secret(cloudflare)
    cloudflare.written.clear()
    done = run("deploy")
    assert done.exit_code == 0, done.output
    assert cloudflare.written == ["POST /workers/scripts/edgememory/subdomain"]
    assert cloudflare.scripts["edgememory"] == before
    assert "EDGEMEMORY_WORKERS_TOKEN=" not in done.output
    assert token not in done.output


def test_another_version_of_the_code_is_put_there_and_keeps_the_token_and_the_objects(
    run: Run, cloudflare: CloudflareServer
) -> None:
    run("deploy")
    token, script = secret(cloudflare), cloudflare.scripts["edgememory"]
    script["tags"], script["code"] = ["edgememory", "code-older"], "older"
    assert "another version's" in run("status").output
    done = run("deploy")
    assert done.exit_code == 0, done.output
    assert cloudflare.scripts["edgememory"]["code"] == worker_code()
    assert cloudflare.scripts["edgememory"]["migration_tag"] == "v1"
    assert secret(cloudflare) == token
    assert len(cloudflare.namespaces) == 1
    assert "that of this version" in run("status").output


def test_a_deployment_that_broke_off_is_taken_up(run: Run, cloudflare: CloudflareServer) -> None:
    cloudflare.lacks = {"scripts"}
    assert run("deploy").exit_code == 1
    cloudflare.lacks = set()
    cloudflare.namespaces["f" * 32] = "edgememory"
    assert run("deploy").exit_code == 0
    assert list(cloudflare.namespaces) == ["f" * 32]
    assert cloudflare.scripts["edgememory"]["bindings"][0]["namespace_id"] == "f" * 32


def test_a_dry_run_changes_nothing(run: Run, cloudflare: CloudflareServer, edge: ToWorker) -> None:
    done = run("deploy", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "Worker edgememory: would be made" in done.output
    run("deploy")
    cloudflare.written.clear()
    assert "Worker edgememory: stays" in run("deploy", "--dry-run").output
    assert cloudflare.written == []
    assert len(edge.hosts) == 1


def test_a_domain_leads_to_the_worker(run: Run, cloudflare: CloudflareServer, edge: ToWorker) -> None:
    for _ in range(2):
        done = run("deploy", "--domain", "memory.clinic.example")
        assert done.exit_code == 0, done.output
    assert 'url = "https://memory.clinic.example"' in done.output
    assert edge.hosts == ["memory.clinic.example"] * 2
    assert not cloudflare.scripts["edgememory"]["enabled"]
    assert "https://memory.clinic.example: healthy" in run("status").output
    cloudflare.domains["memory.clinic.example"]["service"] = "shop"
    assert "leads to the Worker shop" in run("deploy", "--domain", "memory.clinic.example").output


@pytest.mark.parametrize(
    ("lacks", "options", "told"),
    [
        ("kv", [], "Workers KV Storage: Edit"),
        ("scripts", [], "Workers Scripts: Edit"),
        ("zones", ["--domain", "memory.clinic.example"], "Workers Routes: Edit"),
    ],
)
def test_a_permission_that_the_token_lacks_is_named(
    run: Run, cloudflare: CloudflareServer, lacks: str, options: list[str], told: str
) -> None:
    cloudflare.lacks = {lacks}
    done = run("deploy", *options)
    assert done.exit_code == 1
    assert told in done.output
    assert "Authentication error (10000)" in done.output
    assert cloudflare.token not in done.output


def test_what_is_in_the_way_is_said(run: Run, cloudflare: CloudflareServer, monkeypatch: pytest.MonkeyPatch) -> None:
    cloudflare.scripts["shop"] = {"tags": [], "migration_tag": None, "classes": set(), "bindings": []}
    done = run("deploy", "--name", "shop")
    assert "the name shop is taken" in done.output
    assert "the name shop is taken" in run("destroy", "--name", "shop", "--yes", "--lose-changes").output
    assert "there is no Worker" in run("status").output
    cloudflare.subdomain = None
    assert "no workers.dev subdomain" in run("deploy").output
    cloudflare.accounts["f" * 32] = "Other"
    assert "CLOUDFLARE_ACCOUNT_ID" in run("deploy").output
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    cloudflare.subdomain = "clinic"
    assert run("deploy").exit_code == 0
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "another")
    assert "must be valid" in run("deploy").output
    monkeypatch.delenv("CLOUDFLARE_API_TOKEN")
    done = run("deploy")
    assert done.exit_code == 1
    assert "CLOUDFLARE_API_TOKEN is not set" in done.output
    assert "Workers KV Storage: Edit" in done.output


def test_a_token_is_rotated_without_locking_anybody_out(
    run: Run, cloudflare: CloudflareServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("deploy")
    assert "EDGEMEMORY_WORKERS_URL is not set" in run("rotate-token").output
    monkeypatch.setenv("EDGEMEMORY_WORKERS_URL", URL + "/")
    monkeypatch.setenv("EDGEMEMORY_WORKERS_TOKEN", "of another Worker".replace(" ", "-"))
    before = secret(cloudflare)
    for options in ([], ["--finish"]):
        assert "EDGEMEMORY_WORKERS_TOKEN right?" in run("rotate-token", *options).output
    assert secret(cloudflare) == before
    monkeypatch.setenv("EDGEMEMORY_WORKERS_TOKEN", TOKEN)
    new = shown_token(run("rotate-token"))
    assert secret(cloudflare) == f"{new} {TOKEN}"
    done = run("rotate-token", "--finish")
    assert (done.exit_code, secret(cloudflare)) == (0, TOKEN)
    assert "there is no Worker gone" in run("rotate-token", "--name", "gone").output


def test_destroying_asks_and_leaves_nothing_and_may_be_repeated(
    run: Run, cloudflare: CloudflareServer, empty_worker: WorkerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("deploy", "--domain", "memory.clinic.example")
    assert "EDGEMEMORY_WORKERS_URL is not set" in run("destroy", "--yes").output
    monkeypatch.setenv("EDGEMEMORY_WORKERS_URL", URL)
    monkeypatch.setenv("EDGEMEMORY_WORKERS_TOKEN", TOKEN)
    with caller(empty_worker) as client:
        append(client, new_key(), "one")
    assert "1 changes wait" in run("destroy", "--yes").output
    empty_worker.empty_outboxes()
    assert run("destroy", input="n\n").exit_code == 1
    assert "edgememory" in cloudflare.scripts
    done = run("destroy", input="y\n")
    assert done.exit_code == 0, done.output
    assert (cloudflare.scripts, cloudflare.namespaces, cloudflare.domains) == ({}, {}, {})
    assert run("destroy", "--yes").exit_code == 0


def test_a_worker_that_never_answers_is_given_up() -> None:
    now = 0.0

    def pause(seconds: float) -> None:
        nonlocal now
        now += seconds

    def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(404, text="not yet") if now < 60 else httpx.Response(200, json={"protocol": 2})

    with httpx.Client(transport=httpx.MockTransport(respond)) as client, pytest.raises(ConfigError, match="status"):
        deployment.wait_until_healthy(client, URL, clock=lambda: now, pause=pause)
    assert now >= deployment.HEALTHY_WITHIN
