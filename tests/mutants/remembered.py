"""Bugs of what is found again, and of what a call leaves behind."""

from tests.mutants.mutant import Mutant

_WORDS = ("tests/unit/test_words.py",)
_CONTEXT = ("tests/unit/test_context.py",)
_SESSIONS = ("tests/unit/test_recall.py", "tests/unit/test_recall_embedders.py")
_VECTORS = ("tests/integration/test_vectors.py",)
_ORIGIN = ("tests/contract/test_memory_origin.py",)
_POSTGRES = ("tests/contract/test_postgres_primary.py", "-k", "found or lent or extracted or claimed")
_EXTRACTION = ("tests/unit/test_extraction.py",)
_MODEL = ("tests/faults/test_openai_extractor.py",)

RECALL = (
    Mutant(
        "a session finds what its filters leave out",
        "recall/local.py",
        "            and suits(item, without_metadata if id in told else filters)\n",
        "",
        _SESSIONS,
    ),
    Mutant(
        "what was refused is found",
        "recall/local.py",
        "return item.id not in shown and item.id not in self._brought",
        "return False",
        _SESSIONS,
    ),
    Mutant(
        "a deep search brings back what was forgotten",
        "recall/local.py",
        "fact.id > item.id or (is_over and not former)",
        "is_over and not former",
        _SESSIONS,
    ),
    Mutant(
        "a replica brings back what a deletion erased",
        "recall/deep.py",
        "found.version >= tiered.deletion(user).version",
        "found.version >= 0",
        _SESSIONS,
    ),
    Mutant(
        "a replaced fact is found unasked",
        "stores/memory_origin.py",
        "state if query.filters.former else replace(state, former=())",
        "state",
        _ORIGIN,
    ),
    Mutant(
        "Postgres finds a replaced fact unasked",
        "stores/postgres/sql/0005_search.sql",
        "(former_ OR f.replaced IS NULL OR f.replaced <= f.id)",
        "true",
        _POSTGRES,
    ),
    Mutant(
        "a message lends to another conversation",
        "recall/items.py",
        "last.get(message.session_id))\n        last[message.session_id]",
        'last.get(""))\n        last[""]',
        _ORIGIN,
    ),
    Mutant(
        "in Postgres a message lends to another conversation",
        "stores/postgres/sql/0005_search.sql",
        "p.session_id = m.session_id AND p.id > m.id",
        "p.id > m.id",
        _POSTGRES,
    ),
    Mutant("stop words are words", "recall/words.py", "if word in _stop_words(self._language):", "if False:", _WORDS),
    Mutant("one conversation takes all places", "recall/rank.py", "left *= OF_THE_SAME_TALK", "left *= 1", _ORIGIN),
    Mutant("long texts are ranked in one go", "recall/deep.py", "            await checkpoint()\n", "", _SESSIONS),
    Mutant("a question counts in full", "recall/rank.py", " * _telling(items[id].text)", "", _ORIGIN),
    Mutant(
        "vectors of another model are compared",
        "recall/recollection.py",
        "if entry.vectors.model != embedder.model:",
        "if False:",
        _VECTORS,
    ),
    Mutant(
        "the fence can be closed",
        "context.py",
        "        line = line.replace(bracket, escaped)\n",
        "        pass\n",
        _CONTEXT,
    ),
)

EXTRACTION = (
    Mutant("a lease keeps nobody away", "stores/memory_extractions.py", "held.due = now + lease", "pass", _ORIGIN),
    Mutant(
        "in Postgres a lease keeps nobody away",
        "stores/postgres/sql/0006_extractions.sql",
        "e.due <= clock_timestamp()",
        "true",
        _POSTGRES,
    ),
    Mutant(
        "what two have extracted is committed twice",
        "stores/memory_extractions.py",
        "if held is None or held.done:",
        "if held is None:",
        _ORIGIN,
    ),
    Mutant(
        "what a model makes up is believed",
        "extract/extraction.py",
        "checked(await self._extractor.extract(conversation), conversation)",
        "await self._extractor.extract(conversation)",
        _EXTRACTION,
    ),
    Mutant(
        "a session is read before all of it has arrived",
        "extract/extraction.py",
        "if any(change.session_id == awaiting.session_id for change in waiting):",
        "if False:",
        _EXTRACTION,
    ),
    Mutant(
        "what was said can close what delimits it",
        "extract/prompt.py",
        '.replace(b"<", b"\\\\u003c")',
        "",
        _MODEL,
    ),
)
