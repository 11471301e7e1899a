"""What edgememory asks of a Cloudflare account, through Cloudflare's own package. Every method is a request or two."""

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files

import msgspec
from msgspec import Struct

from edgememory.errors import ConfigError

try:
    from cloudflare import APIConnectionError, APIStatusError, Cloudflare, NotFoundError
except ImportError as error:
    raise ImportError(f"this needs the extra `cloudflare` ({error}): pip install 'edgememory[cloudflare]'") from error

SCRIPTS = "Workers Scripts: Edit"
KV = "Workers KV Storage: Edit"
DOMAINS = "Zone / Workers Routes: Edit and Zone: Read"
ACCOUNTS = "Account Settings: Read (or set CLOUDFLARE_ACCOUNT_ID)"
"""Permissions, as the dashboard names them where API tokens are made."""


class Script(Struct, frozen=True):
    """A Worker of the account."""

    tags: tuple[str, ...]
    migration_tag: str | None
    bindings: Mapping[str, str]
    """What each binding leads to: a namespace's id, a class; empty for a secret."""


class Upload(Struct, frozen=True):
    """A version of the Worker, to be put there."""

    code: str
    namespace: str
    """Its id."""
    migrates: bool
    """Whether the objects' classes are made by it."""
    secrets: Mapping[str, str]
    """New ones. Those that there are stay as they are."""
    tags: tuple[str, ...]


class Account:
    """One account, as an API token sees it.

    Its methods raise `ConfigError` with what Cloudflare said, and which permission is needed.
    """

    def __init__(self, client: Cloudflare, account_id: str) -> None:
        self._client = client
        self._id = account_id

    @classmethod
    def found(cls, token: str, account_id: str | None) -> "Account":
        """Return the account of this id, or the one that the token sees."""
        client = Cloudflare(api_token=token)
        if account_id is not None:
            return cls(client, account_id)
        with _asking(ACCOUNTS):
            seen = [(str(account.id), str(account.name)) for account in client.accounts.list()]
        if len(seen) == 1:
            return cls(client, seen[0][0])
        if not seen:
            raise ConfigError(f"the token sees no account: it needs the permission {ACCOUNTS}")
        names = "".join(f"\n  {id}  {name}" for id, name in seen)
        raise ConfigError(f"the token sees several accounts: set CLOUDFLARE_ACCOUNT_ID to one of{names}")

    def script(self, name: str) -> Script | None:
        with _asking(SCRIPTS):
            script = next(
                (each for each in self._client.workers.scripts.list(account_id=self._id) if each.id == name), None
            )
            if script is None:
                return None
            settings = self._client.workers.scripts.script_and_version_settings.get(name, account_id=self._id)
        bindings: dict[str, str] = {}
        for binding in settings.bindings or []:
            fields = binding.to_dict()
            bindings[str(fields.get("name"))] = str(fields.get("namespace_id") or fields.get("class_name") or "")
            if fields.get("class_name"):
                bindings[str(fields.get("name"))] = str(fields["class_name"])
        return Script(tuple(script.tags or ()), script.migration_tag, bindings)

    def namespace(self, title: str) -> str | None:
        """Return the id of the namespace of this title."""
        with _asking(KV):
            spaces = self._client.kv.namespaces.list(account_id=self._id, per_page=100)
            return next((space.id for space in spaces if space.title == title), None)

    def make_namespace(self, title: str) -> str:
        with _asking(KV):
            made = self._client.kv.namespaces.create(account_id=self._id, title=title)
        assert made is not None, "an answer without a namespace would have been an error"
        return made.id

    def delete_namespace(self, id: str) -> None:
        with _asking(KV):
            self._client.kv.namespaces.delete(id, account_id=self._id)

    def upload(self, name: str, upload: Upload) -> None:
        """Put a version there, which takes calls at once."""
        settings = _settings()
        bindings = [
            {"type": "kv_namespace", "name": "ENTRIES", "namespace_id": upload.namespace},
            *(
                {"type": "durable_object_namespace", "name": each.name, "class_name": each.class_name}
                for each in settings.durable_objects.bindings
            ),
            *({"type": "secret_text", "name": secret, "text": text} for secret, text in upload.secrets.items()),
        ]
        metadata: dict[str, object] = {
            "main_module": "worker.js",
            "compatibility_date": settings.compatibility_date,
            "observability": settings.observability,
            "bindings": bindings,
            "keep_bindings": ["secret_text"],
            "tags": upload.tags,
        }
        if upload.migrates:
            # A second migration will need steps: those after the Worker's own tag.
            (migration,) = settings.migrations
            metadata["migrations"] = {"new_tag": migration.tag, "new_sqlite_classes": migration.new_sqlite_classes}
        parts: dict[str, tuple[str | None, bytes, str]] = {
            "metadata": (None, msgspec.json.encode(metadata), "application/json"),
            "worker.js": ("worker.js", upload.code.encode(), "application/javascript+module"),
        }
        with _asking(SCRIPTS):
            # Not `scripts.update`, which sends the metadata in pieces.
            self._client.put(
                f"/accounts/{self._id}/workers/scripts/{name}",
                cast_to=object,
                files=parts,
                options={"headers": {"Content-Type": "multipart/form-data"}},
            )

    def set_secret(self, name: str, secret: str, text: str) -> None:
        with _asking(SCRIPTS):
            self._client.workers.scripts.secrets.update(
                name, account_id=self._id, name=secret, text=text, type="secret_text"
            )

    def delete_script(self, name: str) -> None:
        """Delete the Worker, and its objects with all that they hold."""
        with _asking(SCRIPTS):
            self._client.workers.scripts.delete(name, account_id=self._id, force=True)

    def publish(self, name: str) -> str:
        """Give the Worker its address at workers.dev, and return it."""
        address = self.address(name)
        with _asking(SCRIPTS):
            self._client.workers.scripts.subdomain.create(name, account_id=self._id, enabled=True)
        return address

    def address(self, name: str) -> str:
        with _asking(SCRIPTS):
            try:
                subdomain = self._client.workers.subdomains.get(account_id=self._id).subdomain
            except NotFoundError:
                raise ConfigError(
                    "the account has no workers.dev subdomain yet: open Workers in the dashboard once, or name a"
                    " --domain of yours"
                ) from None
        return f"https://{name}.{subdomain}.workers.dev"

    def attach(self, name: str, domain: str) -> str:
        """Let a host name lead to the Worker, and return the address."""
        for taken in self.domains():
            if taken[0] == domain and taken[1] != name:
                raise ConfigError(f"{domain} leads to the Worker {taken[1]} already: take another domain, or detach it")
        with _asking(DOMAINS):
            self._client.workers.domains.update(account_id=self._id, hostname=domain, service=name)
        return f"https://{domain}"

    def domains(self) -> Sequence[tuple[str, str, str]]:
        """Return host names, the Workers that they lead to, and the ids of that."""
        with _asking(SCRIPTS):
            return [(d.hostname, d.service, d.id) for d in self._client.workers.domains.list(account_id=self._id)]

    def detach(self, id: str) -> None:
        with _asking(DOMAINS):
            self._client.workers.domains.delete(id, account_id=self._id)


def worker_code() -> str:
    return (files("edgememory.cloudflare") / "worker.js").read_text(encoding="utf-8")


class _Binding(Struct):
    name: str
    class_name: str


class _Objects(Struct):
    bindings: list[_Binding]


class _Migration(Struct):
    tag: str
    new_sqlite_classes: list[str]


class _Settings(Struct):
    """What `wrangler.jsonc` says: the one place where classes and the date stand."""

    compatibility_date: str
    observability: dict[str, object]
    durable_objects: _Objects
    migrations: list[_Migration]


def _settings() -> _Settings:
    text = (files("edgememory.cloudflare") / "wrangler.jsonc").read_text(encoding="utf-8")
    return msgspec.json.decode(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE), type=_Settings)


@contextmanager
def _asking(permission: str) -> Generator[None]:
    """Say plainly what Cloudflare does not take."""
    try:
        yield
    except APIStatusError as error:
        said = "; ".join(f"{each.message} ({each.code})" for each in error.errors) or error.message
        if error.status_code in (401, 403):
            raise ConfigError(
                f"Cloudflare refuses it: {said}.\n"
                f"  CLOUDFLARE_API_TOKEN must be valid, and have the permission {permission} on this account."
            ) from error
        raise ConfigError(f"Cloudflare says: {said}") from error
    except APIConnectionError as error:
        raise ConfigError(f"Cloudflare's API cannot be reached: {error}") from error
