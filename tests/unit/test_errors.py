import pytest

from edgememory.errors import (
    ConfigError,
    CorruptEntryError,
    ErrorMap,
    StoreBlockedError,
    StoreError,
    StoreRejectedError,
    StoreUnavailableError,
    translated,
)


class DriverError(Exception):
    pass


class RefusedError(DriverError):
    pass


class PasswordError(RefusedError):
    pass


ERRORS: ErrorMap = {
    DriverError: StoreUnavailableError,
    RefusedError: StoreRejectedError,
    PasswordError: StoreBlockedError,
}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (DriverError("a"), StoreUnavailableError),
        (RefusedError("a"), StoreRejectedError),
        (PasswordError("a"), StoreBlockedError),
        (TimeoutError("a"), StoreUnavailableError),
        (OSError("a"), StoreUnavailableError),
        (ConnectionRefusedError("a"), StoreUnavailableError),
    ],
)
def test_the_most_derived_listed_class_decides(theirs: Exception, ours: type[StoreError]) -> None:
    with pytest.raises(ours, match=r"^shop\.get: a$") as caught, translated(ERRORS, store="shop", operation="get"):
        raise theirs
    assert type(caught.value) is ours
    assert caught.value.__cause__ is theirs
    assert (caught.value.store, caught.value.operation) == ("shop", "get")


def test_an_error_without_words_is_named() -> None:
    with pytest.raises(StoreUnavailableError, match="DriverError"), translated(ERRORS, store="s", operation="o"):
        raise DriverError


@pytest.mark.parametrize(
    "error",
    [
        KeyError("bug"),
        KeyboardInterrupt(),
        CorruptEntryError("not an entry"),
        StoreBlockedError("a", store="inner", operation="put"),
    ],
)
def test_bugs_and_our_own_errors_are_let_through(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, translated(ERRORS, store="s", operation="o"):
        raise error
    assert caught.value is error


def test_our_own_errors_are_let_through_where_a_table_lists_what_they_derive_from() -> None:
    with pytest.raises(ConfigError), translated({ValueError: StoreRejectedError}, store="s", operation="o"):
        raise ConfigError("url is wrong")


def test_a_table_may_overrule_what_holds_everywhere() -> None:
    table: ErrorMap = {PermissionError: StoreBlockedError}
    with pytest.raises(StoreBlockedError), translated(table, store="file", operation="open"):
        raise PermissionError
