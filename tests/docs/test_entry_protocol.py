"""The page of the entry protocol names what the Worker answers."""

import re

from tests.docs.fences import ROOT

PAGE = (ROOT / "docs/reference/entry-protocol.md").read_text(encoding="utf-8")
WORKER = (ROOT / "src/edgememory/cloudflare/worker.js").read_text(encoding="utf-8")


def test_the_page_names_every_error() -> None:
    documented = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert set(documented) == set(re.findall(r'refusal\((\d{3}), "(\w+)"', WORKER))


def test_the_page_names_every_call() -> None:
    documented = re.findall(r"^\| `(GET|POST|PUT) (/v1/[^`? ]+)", PAGE, re.MULTILINE)
    routes = re.findall(r"^  \[/\^(\S+)\$/, \{ (.+) \}\],$", WORKER, re.MULTILINE)
    served = {
        (method, pattern.replace("\\/", "/").replace("([^/]+)", "{key}"))
        for pattern, handlers in routes
        for method in re.findall(r"([A-Z]+): ", handlers)
    }
    assert set(documented) == served | {("GET", "/v1/health")}
