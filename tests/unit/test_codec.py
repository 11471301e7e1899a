import pytest

from edgememory import codec
from edgememory.errors import CorruptEntryError
from edgememory.models import Entry, Snapshot
from edgememory.testing.examples import entry_at, full_entry


def test_the_document_is_readable_and_its_format_stands_first() -> None:
    document = codec.encode(Entry(snapshot=Snapshot(version=7, exists=True, name="Zoë"), synced_at=1.5)).decode()
    assert document.startswith('{"format":1,"synced_at":1.5,')
    assert '"snapshot":{"version":7,"exists":true,"name":"Zoë"}' in document


def test_every_field_survives() -> None:
    assert codec.decode(codec.encode(full_entry())) == full_entry()


def test_text_decodes_as_bytes_do() -> None:
    assert codec.decode(codec.encode(entry_at(5)).decode()) == entry_at(5)


def test_fields_of_later_versions_are_ignored() -> None:
    raw = '{"format":1,"new":[1],"synced_at":1.0,"snapshot":{"version":5,"exists":true,"newer":{"a":1}}}'
    assert codec.decode(raw) == Entry(snapshot=Snapshot(version=5, exists=True), synced_at=1.0)


def test_another_format_is_corrupt_and_said_to_be_so() -> None:
    raw = codec.encode(entry_at(5)).replace(b'"format":1', b'"format":2')
    with pytest.raises(CorruptEntryError, match=r"format 2; this version reads format 1"):
        codec.decode(raw)


@pytest.mark.parametrize("seconds", ["-0.000001", "1e10", "1e308", "1e999", "NaN", "null", '"1"', "true"])
@pytest.mark.parametrize("field", ["synced_at", "tentative_at"])
def test_a_time_that_no_order_can_hold_is_corrupt(field: str, seconds: str) -> None:
    raw = f'{{"format":1,"synced_at":1.0,"{field}":{seconds},"snapshot":{{"version":5,"exists":true}}}}'
    with pytest.raises(CorruptEntryError):
        codec.decode(raw)


@pytest.mark.parametrize("version", ["-1", str(2**53 + 1), "1.0", "true", '"1"', "9" * 400])
def test_a_version_that_is_none_is_corrupt(version: str) -> None:
    with pytest.raises(CorruptEntryError):
        codec.decode(f'{{"format":1,"synced_at":1.0,"snapshot":{{"version":{version},"exists":true}}}}')


@pytest.mark.parametrize("raw", ["\ud800", b"\xed\xa0\x80", b'{"format":1,"x":"\\ud800"}'])
def test_a_lone_surrogate_is_corrupt(raw: str | bytes) -> None:
    with pytest.raises(CorruptEntryError):
        codec.decode(raw)


def test_an_entry_that_was_erased_after_its_version_is_corrupt() -> None:
    entry = Entry(snapshot=Snapshot(version=3, exists=True, erased_at=4), synced_at=1.0)
    with pytest.raises(CorruptEntryError, match="erased after its version"):
        codec.decode(codec.encode(entry))
