"""What `OriginStore.search` promises: part of `OriginContract`."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import anyio
import pytest
from msgspec.structs import replace

from edgememory.changes import Change
from edgememory.models import UserKey
from edgememory.recall.deep import reranked
from edgememory.recall.language import Language
from edgememory.recall.query import ALL, Filters, Match
from edgememory.recall.rank import query_for
from edgememory.store import OriginStore
from edgememory.testing.talk import Talk

AT = datetime(2026, 3, 2, tzinfo=UTC)


async def found(store: OriginStore, user: UserKey, text: str, filters: Filters = ALL) -> list[Match]:
    query = query_for(text, "english", filters)
    return await reranked(await store.search(user, query, limit=20), query, text, limit=20)


class SearchContract:
    """Subclass `OriginContract`, which has these tests too."""

    async def test_a_word_finds_its_other_forms_in_all_that_was_said(self, store: OriginStore, user: UserKey) -> None:
        talk = Talk()
        changes: list[Change] = [talk.says(f"We talked about thing {number}") for number in range(30)]
        changes += [talk.says("I bought two knives"), talk.remembers("Likes sailing"), talk.sums_up("Buying a boat")]
        await store.commit(user, changes)
        assert next(match.text for match in await found(store, user, "did she buy knives?")) == "I bought two knives"
        assert {match.kind for match in await found(store, user, "sail boats")} == {"fact", "summary"}

    async def test_one_users_texts_are_found_by_no_other(self, store: OriginStore, user: UserKey) -> None:
        talk = Talk()
        await store.commit(user, [talk.says("Rex is my dog")])
        await store.commit(UserKey(user.namespace, user.user_id + "x"), [talk.says("Fido is my dog")])
        assert [match.text for match in await found(store, user, "dog")] == ["Rex is my dog"]

    async def test_what_stands_beside_a_hit_is_found_too(self, store: OriginStore, user: UserKey) -> None:
        talk = Talk()
        said = ["Good morning", "Which instrument do you play?", "The cello, since I was six.", "How nice", "Goodbye"]
        await store.commit(user, [talk.says(text) for text in said])
        first, *rest = await found(store, user, "instrument")
        assert first.text == said[1]
        assert first.why.words == ("instrument",)
        assert rest[0].text == said[2]
        assert rest[0].why.beside

    async def test_nothing_is_lent_to_another_conversation(self, store: OriginStore, user: UserKey) -> None:
        one, other = Talk("one"), Talk("other")
        said = [one.says("Which instrument?"), other.says("How is the weather?"), one.says("The cello.")]
        await store.commit(user, said)
        assert [match.text for match in await found(store, user, "instruments")] == ["Which instrument?", "The cello."]

    async def test_another_conversation_comes_before_the_third_match_of_one(
        self, store: OriginStore, user: UserKey
    ) -> None:
        one, other = Talk("one"), Talk("other")
        between = ("bread", "milk", "eggs", "rice")
        said = [one.says(text) for text in ("tea", *between, "tea", *between, "tea")]
        await store.commit(user, [*said, other.says("tea today")])
        matches = [match.text for match in await found(store, user, "tea")]
        assert matches[:4] == ["tea", "tea", "tea today", "tea"]

    async def test_a_question_counts_less_than_what_says_the_same(self, store: OriginStore, user: UserKey) -> None:
        said = ["Anna plays the cello", "Does Anna play the cello?"]
        await store.commit(user, [Talk(session).says(text) for session, text in zip("ab", said, strict=True)])
        assert [match.text for match in await found(store, user, "the cello of Anna")] == said

    async def test_a_fact_that_was_replaced_is_found_only_if_asked_for(self, store: OriginStore, user: UserKey) -> None:
        talk = Talk()
        await store.commit(user, [talk.remembers("Lives in Bern")])
        await store.commit(user, [talk.remembers("Lives in Lisbon", replaces="Lives in Bern")])
        assert [match.text for match in await found(store, user, "lives")] == ["Lives in Lisbon"]
        former = {match.text: match for match in await found(store, user, "lives", Filters(former=True))}
        assert former["Lives in Lisbon"].valid_until is None
        assert former["Lives in Bern"].valid_until is not None

    async def test_a_fact_that_was_replaced_at_an_unknown_time_is_former_too(
        self, store: OriginStore, user: UserKey
    ) -> None:
        talk, uuid4 = Talk(), "{}1111111-1111-4111-8111-111111111111"
        old, new = talk.remembers("Lives in Bern"), talk.remembers("Lives in Lisbon", replaces="Lives in Bern")
        await store.commit(user, [replace(old, id=uuid4.format(1)), replace(new, id=uuid4.format(2))])
        assert [match.text for match in await found(store, user, "lives")] == ["Lives in Lisbon"]
        assert len(await found(store, user, "lives", Filters(former=True))) == 2

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            (Filters(kinds=("fact",)), {"likes tea"}),
            (Filters(kinds=("message",)), {"tea please", "tea is ready"}),
            (Filters(role="assistant"), {"tea is ready"}),
            (Filters(session_id="elsewhere"), set[str]()),
            (Filters(kinds=("message",), after=AT + timedelta(days=1)), {"tea is ready"}),
            (Filters(kinds=("message",), before=AT + timedelta(days=1)), {"tea please"}),
            (Filters(metadata={"channel": 1}), {"tea please"}),
            (Filters(metadata={"channel": True}), set[str]()),
            (Filters(agent_id="desk"), set[str]()),
        ],
    )
    async def test_filters_say_what_may_be_found(
        self, store: OriginStore, user: UserKey, filters: Filters, expected: set[str]
    ) -> None:
        talk = Talk()
        await store.commit(
            user,
            [
                talk.says("tea please", at=AT, metadata={"channel": 1}),
                talk.says("tea is ready", role="assistant", at=AT + timedelta(days=2)),
                talk.remembers("likes tea"),
            ],
        )
        assert {match.text for match in await found(store, user, "tea", filters)} == expected

    @pytest.mark.parametrize(
        "id", ["ffffffff-ffff-7fff-8fff-ffffffffffff", "e677d21f-dc00-7000-8000-000000000000", str(UUID(int=7 << 76))]
    )
    async def test_what_was_made_at_no_time_is_found(self, store: OriginStore, user: UserKey, id: str) -> None:
        await store.commit(user, [replace(Talk().remembers("likes tea"), id=id)])
        assert [(match.text, match.at) for match in await found(store, user, "tea")] == [("likes tea", None)]
        for filters in (Filters(after=AT), Filters(before=AT)):
            assert await found(store, user, "tea", filters) == []

    @pytest.mark.parametrize(
        "text", ["'; DROP TABLE edgememory.users; --", "a & b | !c <-> d:*", "(tea", "\\x00 %", "t" * 999]
    )
    async def test_operators_are_words(self, store: OriginStore, user: UserKey, text: str) -> None:
        await store.commit(user, [Talk().says("nothing of the kind")])
        assert await found(store, user, text) == []

    @pytest.mark.parametrize("text", ["", "  ", "?!", "where are you", "x" * 100_000])
    async def test_what_asks_for_nothing_finds_nothing(self, store: OriginStore, user: UserKey, text: str) -> None:
        await store.commit(user, [Talk().says("where are you? I am here")])
        assert await found(store, user, text) == []

    async def test_of_a_long_query_the_first_words_count(self, store: OriginStore, user: UserKey) -> None:
        query = " ".join(f"word{number}" for number in range(12_000))
        assert len(query) > 100_000
        await store.commit(user, [Talk("a").says("word63 it is"), Talk("b").says("word64 it is")])
        assert [match.text for match in await found(store, user, query)] == ["word63 it is"]

    @pytest.mark.parametrize(
        ("language", "said", "asked"),
        [
            ("german", "Ich habe zwei Häuser", "haus"),
            ("french", "Mes filles mangent des pommes", "pomme"),
            ("spanish", "Tengo muchos gatos", "gato"),
            ("portuguese", "Gosto de viagens longas", "longa"),
            ("italian", "Ho molti gatti", "gatto"),
            ("simple", "私の犬は東京にいます", "東京"),
            ("simple", "我的猫叫咪咪", "猫"),
            ("simple", "मुझे हिन्दी सीखना है।", "हिन्दी है"),
            ("simple", "எனக்கு தமிழ் பிடிக்கும்", "தமிழ்"),
            ("simple", "اسمي مُحَمَّد", "مُحَمَّد"),
            ("simple", "אמר שָׁלוֹם", "שָׁלוֹם"),
            ("turkish", "İstanbul'da", "istanbul"),
            ("turkish", "izmir", "İzmir"),
            ("simple", "μεγάλος δρόμος", "ΜΕΓΆΛΟΣ"),
            ("simple", "من می\u200cروم", "می\u200cروم"),
        ],
    )
    async def test_each_language_has_its_stems(
        self, store: OriginStore, user: UserKey, language: Language, said: str, asked: str
    ) -> None:
        await store.commit(user, [Talk().says(said, language=language)])
        query = query_for(asked, language)
        matches = await reranked(await store.search(user, query, limit=5), query, asked, limit=5)
        assert [match.text for match in matches] == [said]

    async def test_no_punctuation_and_no_emoji_is_part_of_a_word(self, store: OriginStore, user: UserKey) -> None:
        beside = ("“", "”", "—", "…", "¿", "\xb4", "؟", "।", "、", "🍕", "❤️", "👩\u200d👧", "👍🏽", "🇵🇹")
        said = [f"{mark}tea{mark}milk" for mark in beside]
        await store.commit(user, [Talk(text).says(text) for text in said])
        assert {match.text for match in await found(store, user, "tea")} == {*said}
        assert {match.text for match in await found(store, user, "milk")} == {*said}

    async def test_what_is_searched_of_a_long_text_is_shown(self, store: OriginStore, user: UserKey) -> None:
        searched = "é " * 4092 + "zebra é "
        await store.commit(user, [Talk().says(searched + "giraffe " * 9_000)])
        assert [match.text for match in await found(store, user, "zebra")] == [searched]
        assert await found(store, user, "giraffe") == []
        query = query_for("giraffe", "english")
        assert (await store.search(user, query, limit=20)).frequencies == (0,)

    async def test_long_texts_without_spaces_are_taken_at_once(self, store: OriginStore, user: UserKey) -> None:
        talk, said = Talk(), "".join(map(chr, range(0x5000, 0x7000)))
        with anyio.fail_after(5):
            await store.commit(user, [talk.says(said, language="simple") for _ in range(16)])

    async def test_a_deleted_user_has_nothing_to_be_found(self, store: OriginStore, user: UserKey) -> None:
        await store.commit(user, [Talk().says("a secret")])
        await store.delete(user)
        assert await found(store, user, "secret") == []

    async def test_what_is_found_says_of_which_version_it_is(self, store: OriginStore, user: UserKey) -> None:
        async def version() -> int:
            return (await store.search(user, query_for("tea", "english"), limit=5)).version

        assert await version() == (await store.get(user)).snapshot.version
        await store.commit(user, [Talk().says("tea please")])
        assert await version() == (await store.get(user)).snapshot.version > 0
        assert await version() < (await store.delete(user)).snapshot.version == await version()
