"""What the doctor has found: as it is written with `--json`, and as people read it. Pure."""

from collections.abc import Iterator, Sequence

from msgspec import Struct


class Step(Struct, frozen=True):
    """One thing that was tried."""

    name: str
    milliseconds: float
    problem: str | None = None
    """What is wrong, and what to do; `None` if it went well."""


class Waits(Struct, frozen=True):
    """Of 20 reads on an open connection. Milliseconds."""

    p50: float
    p99: float


class Part(Struct, frozen=True, kw_only=True):
    """The origin, a cache, a replica, the outbox, the embedder or the extractor."""

    name: str
    type: str
    at: str
    """Host and port, a path, or a model in this process. Never what is secret of an address."""
    steps: tuple[Step, ...]
    """Those after a problem were not tried."""
    cold_ms: float | None = None
    """The first read, connecting included."""
    warm_ms: Waits | None = None
    timeout_ms: float | None = None
    location: str | None = None
    """Cloudflare's, that answers here: an airport."""
    notes: tuple[str, ...] = ()

    @property
    def problem(self) -> str | None:
        found = next((step for step in self.steps if step.problem is not None), None)
        if found is not None:
            return f"{found.name}: {found.problem}"
        if self.warm_ms is not None and self.timeout_ms is not None and self.warm_ms.p99 > self.timeout_ms:
            return (
                f"one read in a hundred takes {self.warm_ms.p99:.0f} ms, and its timeout is {self.timeout_ms:.0f} ms:"
                " raise the timeout, or put it nearer to the agents"
            )
        return None


class Report(Struct, frozen=True, kw_only=True):
    """All of it."""

    region: str | None
    """This agent's."""
    parts: tuple[Part, ...]

    @property
    def problems(self) -> Sequence[str]:
        return [f"{part.name}: {part.problem}" for part in self.parts if part.problem is not None]


def rendered(report: Report) -> Iterator[str]:
    """Yield the report in lines."""
    yield f"region: {report.region or 'not known (none is needed, unless caches name theirs)'}"
    for part in report.parts:
        yield ""
        yield f"{part.name} ({part.type}, {part.at}{'' if part.location is None else f', seen from {part.location}'})"
        for step in part.steps:
            if step.problem is None:
                yield f"  ok    {step.name:<14} {step.milliseconds:8.1f} ms"
            else:
                yield f"  WRONG {step.name}: {step.problem}"
        if part.cold_ms is not None:
            yield f"        cold           {part.cold_ms:8.1f} ms"
        if part.warm_ms is not None:
            yield f"        warm           {part.warm_ms.p50:8.1f} ms p50, {part.warm_ms.p99:.1f} ms p99"
        yield from (f"        {note}" for note in part.notes)
    yield ""
    yield from (f"WRONG {problem}" for problem in report.problems)
    if not report.problems:
        yield "nothing is wrong"
