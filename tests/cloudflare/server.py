"""The part of Cloudflare's API that deploying uses, on loopback: it keeps state, and takes nothing it does not know.

Paths, envelopes and fields are those of the API's reference (developers.cloudflare.com/api) and of the page "Multipart
upload metadata". What answers at the Worker's address is not here.
"""

import json
import re
from collections.abc import Callable
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.loopback import LoopbackServer

ACCOUNT = "0123456789abcdef0123456789abcdef"
_METADATA = {
    "main_module",
    "compatibility_date",
    "observability",
    "bindings",
    "keep_bindings",
    "tags",
    "migrations",
}


class RefusedError(Exception):
    """Answered as an error, in Cloudflare's envelope."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class CloudflareServer(LoopbackServer):
    """State is public: tests look at it, and change it."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.token = "api-token"
        self.accounts = {ACCOUNT: "Clinic"}
        self.lacks: set[str] = set()
        """Of `scripts`, `kv` and `zones`: what the token may not touch."""
        self.namespaces: dict[str, str] = {}
        """Titles, by id."""
        self.scripts: dict[str, dict[str, Any]] = {}
        self.subdomain: str | None = "clinic"
        self.domains: dict[str, dict[str, str]] = {}
        self.written: list[str] = []
        """What has changed something, as method and path."""

    @property
    def api(self) -> str:
        return f"{self.url}/client/v4"


class _Handler(BaseHTTPRequestHandler):
    server: CloudflareServer
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        try:
            result: object = self._result(url.path, parse_qs(url.query), body)
            status, errors = 200, []
        except RefusedError as refused:
            result, status, errors = None, refused.status, [{"code": refused.code, "message": str(refused)}]
        envelope: dict[str, object] = {"success": status == 200, "errors": errors, "messages": [], "result": result}
        if isinstance(result, list):
            envelope["result_info"] = {"page": 1, "per_page": 100, "count": len(result), "total_count": len(result)}
        document = json.dumps(envelope).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(document)))
        self.end_headers()
        self.wfile.write(document)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the names that the base class looks for

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _result(self, path: str, query: dict[str, list[str]], body: bytes) -> object:
        server = self.server
        if self.headers.get("Authorization") != f"Bearer {server.token}":
            raise RefusedError(401, 10000, "Authentication error")
        if path == "/client/v4/accounts" and self.command == "GET":
            page = int(query.get("page", ["1"])[0])
            return [{"id": id, "name": name} for id, name in server.accounts.items()] if page == 1 else []
        for pattern, area, handlers in _ROUTES:
            match = re.fullmatch(rf"/client/v4/accounts/(\w+){pattern}", path)
            if match is None:
                continue
            if match[1] not in server.accounts:
                raise RefusedError(403, 10000, "Authentication error")
            if self.command not in handlers:
                raise RefusedError(405, 10405, "Method not allowed for this authentication scheme")
            if area in server.lacks or (area == "domains" and self.command != "GET" and "zones" in server.lacks):
                raise RefusedError(403, 10000, "Authentication error")
            if self.command != "GET":
                server.written.append(f"{self.command} {path.removeprefix(f'/client/v4/accounts/{match[1]}')}")
            return handlers[self.command](self, match.groups()[1:], query, body)
        raise RefusedError(404, 7003, f"Could not route to {path}, perhaps your object identifier is invalid?")

    def _json(self, body: bytes, *names: str) -> dict[str, Any]:
        if self.headers.get_content_type() != "application/json":
            raise RefusedError(415, 10015, "Unsupported content type")
        fields: dict[str, Any] = json.loads(body)
        if set(fields) != set(names):
            raise RefusedError(400, 10026, f"expected {sorted(names)}, got {sorted(fields)}")
        return fields

    def _script(self, name: str) -> dict[str, Any]:
        if name not in self.server.scripts:
            raise RefusedError(404, 10007, "This Worker does not exist on your account.")
        return self.server.scripts[name]

    # KV

    def list_namespaces(self, groups: tuple[str, ...], query: dict[str, list[str]], body: bytes) -> object:
        if int(query.get("page", ["1"])[0]) > 1:
            return []
        return [{"id": id, "title": title} for id, title in self.server.namespaces.items()]

    def make_namespace(self, groups: tuple[str, ...], query: dict[str, list[str]], body: bytes) -> object:
        title = self._json(body, "title")["title"]
        if title in self.server.namespaces.values():
            raise RefusedError(400, 10014, "a namespace with this account ID and title already exists")
        id = f"{len(self.server.namespaces) + 1:032x}"
        self.server.namespaces[id] = title
        return {"id": id, "title": title}

    def delete_namespace(self, groups: tuple[str, ...], query: dict[str, list[str]], body: bytes) -> object:
        if self.server.namespaces.pop(groups[0], None) is None:
            raise RefusedError(404, 10013, "namespace not found")
        return None

    # Workers

    def list_scripts(self, groups: tuple[str, ...], query: dict[str, list[str]], body: bytes) -> object:
        return [
            {"id": name, "tags": script["tags"], "migration_tag": script["migration_tag"]}
            for name, script in self.server.scripts.items()
        ]

    def settings(self, groups: tuple[str, ...], query: dict[str, list[str]], body: bytes) -> object:
        script = self._script(groups[0])
        shown = [{name: value for name, value in each.items() if name != "text"} for each in script["bindings"]]
        return {"bindings": shown, "tags": script["tags"]}

    def upload(self, groups: tuple[str, ...], query: dict[str, list[str]], body: bytes) -> object:
        header = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = BytesParser(policy=HTTP).parsebytes(header + body)
        if message.get_content_type() != "multipart/form-data":
            raise RefusedError(415, 10015, "Unsupported content type")
        parts: dict[str, Any] = {}
        for part in message.iter_parts():
            name = part.get_param("name", header="Content-Disposition")
            parts[str(name)] = (part.get_content_type(), part.get_payload(decode=True))
        metadata = json.loads(parts.pop("metadata")[1])
        if unknown := set(metadata) - _METADATA:
            raise RefusedError(400, 10021, f"unknown metadata: {unknown}")
        kind, code = parts[metadata["main_module"]]
        if kind != "application/javascript+module" or b"export default" not in code:
            raise RefusedError(400, 10021, "the main module is no module")
        old = self.server.scripts.get(groups[0], {"bindings": [], "migration_tag": None, "classes": set()})
        self.server.scripts[groups[0]] = {
            "code": code.decode(),
            "tags": metadata["tags"],
            "compatibility_date": metadata["compatibility_date"],
            "enabled": old.get("enabled", False),
            **self._migrated(old, metadata),
        }
        return {"id": groups[0]}

    def _migrated(self, old: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
        tag, classes = old["migration_tag"], set(old["classes"])
        if (migration := metadata.get("migrations")) is not None:
            if migration.get("old_tag") != tag:
                raise RefusedError(412, 10079, f"the Worker's migration tag is {tag}")
            if again := classes & set(migration["new_sqlite_classes"]):
                raise RefusedError(
                    400, 10074, f"Cannot apply new-class migration to class {again} that is already there"
                )
            tag, classes = migration["new_tag"], classes | set(migration["new_sqlite_classes"])
        kept = [each for each in old["bindings"] if each["type"] in metadata.get("keep_bindings", [])]
        for binding in metadata["bindings"]:
            match binding:
                case {"type": "kv_namespace", "name": str(), "namespace_id": id} if id in self.server.namespaces:
                    pass
                case {"type": "durable_object_namespace", "name": str(), "class_name": name} if name in classes:
                    pass
                case {"type": "secret_text", "name": str(), "text": str()}:
                    pass
                case _:
                    raise RefusedError(400, 10021, f"no valid binding: {binding}")
        names = {each["name"] for each in metadata["bindings"]}
        bindings = [*metadata["bindings"], *(each for each in kept if each["name"] not in names)]
        return {"bindings": bindings, "migration_tag": tag, "classes": classes}

    def delete_script(self, groups: tuple[str, ...], query: dict[str, list[str]], body: bytes) -> object:
        script = self._script(groups[0])
        if script["classes"] and query.get("force") != ["true"]:
            raise RefusedError(400, 10064, "objects would be lost: force")
        del self.server.scripts[groups[0]]
        return None

    def set_secret(self, groups: tuple[str, ...], query: dict[str, list[str]], body: bytes) -> object:
        fields = self._json(body, "name", "text", "type")
        script = self._script(groups[0])
        script["bindings"] = [each for each in script["bindings"] if each["name"] != fields["name"]] + [fields]
        return {"name": fields["name"], "type": "secret_text"}

    def get_subdomain(self, groups: tuple[str, ...], query: dict[str, list[str]], body: bytes) -> object:
        if self.server.subdomain is None:
            raise RefusedError(404, 10007, "workers.dev subdomain not found")
        return {"subdomain": self.server.subdomain}

    def publish(self, groups: tuple[str, ...], query: dict[str, list[str]], body: bytes) -> object:
        self._script(groups[0])["enabled"] = self._json(body, "enabled")["enabled"]
        return {"enabled": True, "previews_enabled": True}

    # Domains

    def list_domains(self, groups: tuple[str, ...], query: dict[str, list[str]], body: bytes) -> object:
        return list(self.server.domains.values())

    def attach(self, groups: tuple[str, ...], query: dict[str, list[str]], body: bytes) -> object:
        fields = self._json(body, "hostname", "service")
        self._script(fields["service"])
        if not fields["hostname"].endswith(".clinic.example"):
            raise RefusedError(400, 100116, "no zone of this account holds the host name")
        zone = {"zone_id": "z", "zone_name": "clinic.example", "cert_id": "c", "environment": "production"}
        self.server.domains[fields["hostname"]] = {"id": f"d{len(self.server.domains)}", **zone, **fields}
        return self.server.domains[fields["hostname"]]

    def detach(self, groups: tuple[str, ...], query: dict[str, list[str]], body: bytes) -> object:
        host = next((host for host, domain in self.server.domains.items() if domain["id"] == groups[0]), None)
        if host is None:
            raise RefusedError(404, 100117, "no such domain")
        del self.server.domains[host]
        return None


_Handle = Callable[[_Handler, tuple[str, ...], dict[str, list[str]], bytes], object]
_ROUTES: list[tuple[str, str, dict[str, _Handle]]] = [
    ("/storage/kv/namespaces", "kv", {"GET": _Handler.list_namespaces, "POST": _Handler.make_namespace}),
    ("/storage/kv/namespaces/([^/]+)", "kv", {"DELETE": _Handler.delete_namespace}),
    ("/workers/scripts", "scripts", {"GET": _Handler.list_scripts}),
    ("/workers/scripts/([^/]+)", "scripts", {"PUT": _Handler.upload, "DELETE": _Handler.delete_script}),
    ("/workers/scripts/([^/]+)/settings", "scripts", {"GET": _Handler.settings}),
    ("/workers/scripts/([^/]+)/secrets", "scripts", {"PUT": _Handler.set_secret}),
    ("/workers/scripts/([^/]+)/subdomain", "scripts", {"POST": _Handler.publish}),
    ("/workers/subdomain", "scripts", {"GET": _Handler.get_subdomain}),
    ("/workers/domains", "domains", {"GET": _Handler.list_domains, "PUT": _Handler.attach}),
    ("/workers/domains/([^/]+)", "domains", {"DELETE": _Handler.detach}),
]
