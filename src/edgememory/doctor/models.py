"""Tries out what makes vectors, and what reads calls: by a made-up sentence."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime

from edgememory.config import (
    EmbedderConfig,
    ExtractorConfig,
    OpenAIEmbedderConfig,
    OpenAIExtractorConfig,
    OriginConfig,
    type_of,
)
from edgememory.doctor.network import place_of
from edgememory.doctor.report import Part
from edgememory.doctor.steps import Steps, Wrong
from edgememory.extract.extractor import Conversation
from edgememory.models import Message, Snapshot
from edgememory.parts import configured_embedder, configured_extractor, configured_origin
from edgememory.recall.embedder import Embedder

SENTENCE = "I moved to Lisbon last week."


async def embedder_part(config: EmbedderConfig, origin: OriginConfig) -> Part:
    """Have it embed a sentence, and ask the origin whether its vectors are of this model."""
    steps, url = Steps(), config.url if isinstance(config, OpenAIEmbedderConfig) else None
    async with AsyncExitStack() as stack:
        try:
            await steps.reach(place_of(url) if url else None)
            embedder = await steps.step("load", lambda: _loaded(config, stack))
            await steps.step("embed", lambda: embedder.embed((SENTENCE,)), timeout=_timeout(config))
            await steps.step("schema", lambda: _check(embedder, origin))
        except Wrong:
            pass
    at = str(place_of(url)) if url else config.model
    return Part(name="embedder", type=type_of(config), at=at, steps=tuple(steps.taken))


async def _loaded(config: EmbedderConfig, stack: AsyncExitStack) -> Embedder:
    embedder = configured_embedder(config)
    stack.push_async_callback(embedder.aclose)
    await embedder.warm()
    return embedder


async def _check(embedder: Embedder, origin: OriginConfig) -> None:
    store = configured_origin(origin)
    try:
        await store.check_embedder(embedder.model, embedder.dimensions)
    finally:
        await store.aclose()


async def extractor_part(config: ExtractorConfig) -> Part:
    """Have it read a call of one sentence."""
    steps, url = Steps(), config.url if isinstance(config, OpenAIExtractorConfig) else None
    try:
        await steps.reach(place_of(url) if url else None)
        await steps.step("extract", lambda: _extract(config), timeout=_timeout(config))
    except Wrong:
        pass
    at = str(place_of(url)) if url else "this process"
    return Part(name="extractor", type=type_of(config), at=at, steps=tuple(steps.taken))


async def _extract(config: ExtractorConfig) -> None:
    extractor = configured_extractor(config)
    said = Message(id="doctor", session_id="doctor", role="user", text=SENTENCE, at=datetime.now(UTC))
    nobody = Snapshot(version=0, exists=False)
    try:
        await extractor.extract(Conversation(session_id="doctor", messages=(said,), known=nobody))
    finally:
        await extractor.aclose()


def _timeout(config: EmbedderConfig | ExtractorConfig) -> float:
    """Return how long its user waits for a model."""
    return config.timeout if isinstance(config, OpenAIEmbedderConfig | OpenAIExtractorConfig) else 0.0
