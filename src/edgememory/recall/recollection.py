"""What a session remembers when it is asked."""

import logging
from collections.abc import Mapping
from functools import partial

import anyio

from edgememory.errors import StoreError
from edgememory.models import UserKey, Version
from edgememory.recall.deep import candidates, meaning_of, read_in_portions
from edgememory.recall.language import Language
from edgememory.recall.local import LocalRecall
from edgememory.recall.query import Candidates, Filters, Item, Match
from edgememory.recall.rank import query_for
from edgememory.recall.vectors import similarities
from edgememory.runtime import Runtime
from edgememory.view import View

_log = logging.getLogger("edgememory")

DEEP_TIMEOUT = 5.0
"""Seconds after which a deep search is given up, long after whoever asked has gone on without it."""


class Recollection:
    """One session's: its index, and which facts were of use."""

    def __init__(self, runtime: Runtime, user: UserKey | None, view: View, language: Language) -> None:
        self.used: dict[str, None] = {}
        """The keys of the facts that were found, in the order of their first finding."""
        self._runtime = runtime
        self._user = user
        self._view = view
        self._language: Language = language
        self._local = LocalRecall(language)

    async def find(
        self, text: str, *, limit: int, filters: Filters, timeout: float, found: Candidates | None = None
    ) -> list[Match]:
        """Find what the session knows of. *found* is what a deep search for *text* has brought."""
        near = await self._near(text, timeout)
        view = self._view
        if view.ended:  # only asked now: it may have come to that meanwhile
            return []
        changes = {**view.waiting, **view.own}
        matches = self._local.search(text, view.snapshot, changes, limit=limit, filters=filters, found=found, near=near)
        self.used |= {key: None for match in matches if (key := self._local.key_of(match)) is not None}
        return matches

    async def _near(self, text: str, timeout: float) -> Mapping[str, float]:
        """Compare *text* with the vectors that the entry brought along, where that needs nobody's answer."""
        embedder, entry = self._runtime.embedder, self._view.entry
        if embedder is None or not embedder.local or entry is None or entry.vectors is None:
            return {}
        if entry.vectors.model != embedder.model:
            return {}
        vector = await meaning_of(text, embedder, timeout=timeout)  # its model may still be loading
        return {} if vector is None else similarities(entry.vectors, vector)

    async def find_deep(self, text: str, *, limit: int, filters: Filters, timeout: float) -> list[Match]:
        """Ask for the whole history too. What it says counts from when it arrives, be that after *timeout*.

        A caller who is not identified has none.
        """
        user = self._user
        if user is None:
            return await self.find(text, limit=limit, filters=filters, timeout=timeout)
        found: list[Candidates] = []
        arrived = anyio.Event()

        async def search() -> None:
            try:
                embedder = self._runtime.embedder
                vector = await meaning_of(text, embedder)
                query = query_for(text, self._language, filters, vector=vector, embedder=embedder)
                if not query.terms and vector is None:
                    return
                brought = await candidates(self._runtime.tiered, user, query, limit=limit, timeout=DEEP_TIMEOUT)
                await read_in_portions(brought.items, partial(self._bring, as_of=brought.version))
                found.append(brought)
            except StoreError as error:
                _log.info("recalled without the whole history: %s", error)
            finally:
                arrived.set()

        if text and not self._view.ended:
            self._runtime.background.start(search)
            with anyio.move_on_after(timeout):
                await arrived.wait()
        brought = found[0] if found else None
        return await self.find(text, limit=limit, filters=filters, timeout=timeout, found=brought)

    def _bring(self, item: Item, *, as_of: Version) -> None:
        """Keep what was found, unless it comes from before a deletion that the session has heard of and outlived."""
        if not self._view.ended and as_of >= self._view.snapshot.erased_at:
            self._local.bring(item)
