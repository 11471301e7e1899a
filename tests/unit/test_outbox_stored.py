import pytest

from edgememory.outbox.stored import decode, encode
from edgememory.testing.outbox_contract import said

WHOLE = said()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"{",
        b"\xff",
        encode(WHOLE)[:-1],
        encode(WHOLE).replace(b"hello", b"\xff\xfe"),
        encode(WHOLE).replace(b"message_added", b"mood_felt"),
        encode(said()),
        b'{"kind":"message_added","new":' + b"[" * 100_000,
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_bytes_that_are_not_the_change_are_none(raw: bytes) -> None:
    assert decode(WHOLE.id, raw) is None


def test_a_stored_change_comes_back() -> None:
    assert decode(WHOLE.id, encode(WHOLE)) == WHOLE
