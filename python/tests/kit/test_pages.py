from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError
from gridpact.kit.identifiers import is_identifier, new_identifier
from gridpact.kit.instants import format_instant, parse_instant
from gridpact.kit.pages import Cursor, checked_page_size

# hypothesis wants the limits without a zone.
FIRST, LAST = datetime(1, 1, 2), datetime(9999, 12, 30)  # noqa: DTZ001
INSTANTS = st.datetimes(FIRST, LAST, timezones=st.just(UTC))


@given(INSTANTS, st.uuids())
def test_a_cursor_comes_back_as_it_was(time: datetime, identifier: object) -> None:
    cursor = Cursor(time, str(identifier))
    assert Cursor.decode(cursor.encode()) == cursor


@given(INSTANTS, st.uuids())
def test_a_cursor_is_what_the_contract_says(time: datetime, identifier: object) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,256}", Cursor(time, str(identifier)).encode())


@given(st.text(min_size=1, max_size=40) | st.binary(min_size=1).map(bytes.hex))
def test_any_other_text_is_refused(text: str) -> None:
    try:
        cursor = Cursor.decode(text)
    except GridpactError as error:
        refusal = error
    else:
        assert cursor is not None
        assert Cursor.decode(cursor.encode()) == cursor
        return
    assert refusal.reason is Reason.CURSOR_INVALID


def test_no_cursor_is_the_first_page() -> None:
    assert Cursor.decode("") is None


@pytest.mark.parametrize(("asked", "given"), [(0, 50), (1, 1), (200, 200)])
def test_page_sizes_within_the_limits_are_taken(asked: int, given: int) -> None:
    assert checked_page_size(asked) == given


@pytest.mark.parametrize("asked", [-1, 201, 2**31 - 1])
def test_page_sizes_beyond_the_limits_are_refused(asked: int) -> None:
    with pytest.raises(GridpactError) as raised:
        checked_page_size(asked)
    assert raised.value.violations[0].field == "page_size"


@given(INSTANTS)
def test_an_instant_comes_back_as_it_was(instant: datetime) -> None:
    text = format_instant(instant)
    assert parse_instant(text) == instant
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", text)


def test_identifiers_sort_by_their_time() -> None:
    identifiers = [new_identifier() for _ in range(1000)]
    assert identifiers == sorted(identifiers)
    assert all(map(is_identifier, identifiers))
