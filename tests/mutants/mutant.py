"""A planted bug."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """*old* stands exactly once in *path* (under `src/edgememory`); *new* takes its place."""

    name: str
    path: str
    old: str
    new: str
    suite: tuple[str, ...] = ()
    """The tests that must fail; else the suite that needs no server."""
