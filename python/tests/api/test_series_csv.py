from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpact.api import series_csv
from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError

QUARTER = timedelta(minutes=15)
BERLIN = ZoneInfo("Europe/Berlin")
# Clocks change by an hour, by half an hour, at midnight, not at all; one skipped a whole day.
ZONES = [
    ZoneInfo(name)
    for name in (
        "Europe/Berlin",
        "Australia/Lord_Howe",
        "America/Sao_Paulo",
        "Asia/Kathmandu",
        "Pacific/Apia",
        "America/St_Johns",
        "UTC",
    )
]
VALUES = st.floats(-1e9, 1e9, allow_nan=False)


def csv(*lines: str) -> bytes:
    return "\n".join([series_csv.HEADER, *lines, ""]).encode()


def refusals(body: bytes, zone: ZoneInfo | None = None) -> list[tuple[str, str]]:
    with pytest.raises(GridpactError) as raised:
        series_csv.parse(body, QUARTER, zone)
    assert raised.value.reason is Reason.INVALID_ARGUMENT
    return [(violation.field, violation.rule) for violation in raised.value.violations]


@given(
    st.sampled_from(ZONES),
    st.datetimes(datetime(2005, 1, 1), datetime(2037, 1, 1)),  # noqa: DTZ001
    st.lists(VALUES, min_size=9, max_size=150),
)
def test_local_times_come_back_as_the_instants_they_were(
    zone: ZoneInfo, begin: datetime, values: list[float]
) -> None:
    """Nine slots and more, so that an hour that occurs twice does not stay undecided."""
    start = begin.replace(minute=0, second=0, microsecond=0, tzinfo=UTC)
    instants = [start + i * QUARTER for i in range(len(values))]
    local = [instant.astimezone(zone).replace(tzinfo=None).isoformat() for instant in instants]
    body = csv(*(f"{time},{value!r}" for time, value in zip(local, values, strict=True)))
    column = series_csv.parse(body, QUARTER, zone)
    assert (column.start_time, column.values) == (start, values)


@pytest.mark.parametrize("day", [(2026, 3, 29, 92), (2026, 10, 25, 100), (2026, 6, 1, 96)])
def test_a_local_day_has_92_96_or_100_quarters(day: tuple[int, int, int, int]) -> None:
    year, month, number, count = day
    start = datetime(year, month, number, tzinfo=BERLIN).astimezone(UTC)
    lines = [
        (start + i * QUARTER).astimezone(BERLIN).replace(tzinfo=None).isoformat()
        for i in range(count)
    ]
    column = series_csv.parse(csv(*(f"{line},1" for line in lines)), QUARTER, BERLIN)
    assert len(column.values) == count
    assert lines[-1].endswith("T23:45:00")


def test_the_hour_that_occurs_twice_is_told_apart_by_order_alone() -> None:
    second = csv("2026-10-25T02:30:00,1", "2026-10-25T02:45:00,1", "2026-10-25T03:00:00,1")
    column = series_csv.parse(second, QUARTER, BERLIN)
    assert column.start_time == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    first = csv("2026-10-25T02:30:00,1", "2026-10-25T02:45:00,1", "2026-10-25T02:00:00,1")
    column = series_csv.parse(first, QUARTER, BERLIN)
    assert column.start_time == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_an_hour_that_never_occurs_is_named() -> None:
    body = csv("2026-03-29T01:45:00,1", "2026-03-29T02:00:00,1", "2026-03-29T03:00:00,1")
    assert ("line 3", "time") in refusals(body, BERLIN)


@pytest.mark.parametrize(
    ("lines", "field", "rule"),
    [
        (["2026-06-01T00:00Z,1", "nonsense,1"], "line 3", "time"),
        (["2026-06-01T00:00Z,1", "2026-06-01T00:15Z,nan"], "line 3", "value"),
        (["2026-06-01T00:00Z,1", "2026-06-01T00:15Z,"], "line 3", "value"),
        (["2026-06-01T00:00Z,1", "2026-06-01T00:15Z,1e10"], "line 3", "value"),
        (["2026-06-01T00:00Z,1", "2026-06-01T00:15Z,1,2"], "line 3", "columns"),
        (["2026-06-01T00:00Z,1", "2026-06-01T00:30Z,1"], "line 3", "order"),
        (["2026-06-01T00:00Z,1", "2026-06-01T00:00Z,1"], "line 3", "order"),
        (["2026-06-01T00:00Z,1", "", "2026-06-01T00:30Z,1"], "line 4", "order"),
        (["2026-06-01T00:07Z,1"], "line 2", "grid"),
        (["2026-02-30T00:00Z,1"], "line 2", "time"),
        (["2026-06-01T00:00Z,1", "2026-06-01T00:15,1"], "line 3", "time"),
        ([], "line 2", "min-items"),
    ],
)
def test_a_bad_line_is_named(lines: list[str], field: str, rule: str) -> None:
    assert refusals(csv(*lines))[0] == (field, rule)


def test_every_bad_line_is_named_in_order_whatever_is_wrong_with_it() -> None:
    """A line that cannot be read takes its slot, so the lines after it are not out of place."""
    body = csv(
        "2026-06-01T00:00Z,1",
        "nonsense,1",
        "2026-06-01T00:30Z,1,2",
        "2026-06-01T00:45Z,many",
        "2026-06-01T01:00Z,1",
        "2026-06-01T02:00Z,1",
        "2026-06-01T02:15Z,1",
        "2026-06-01T02:30Z,",
    )
    assert refusals(body) == [
        ("line 3", "time"),
        ("line 4", "columns"),
        ("line 5", "value"),
        ("line 7", "order"),
        ("line 9", "value"),
    ]


@pytest.mark.parametrize("header", ["", "value,time", "time;value", "2026-06-01T00:00Z,1"])
def test_the_header_must_be_there(header: str) -> None:
    assert refusals(f"{header}\n2026-06-01T00:00Z,1\n".encode()) == [("line 1", "header")]


def test_a_byte_order_mark_windows_ends_and_spaces_are_taken() -> None:
    body = b"\xef\xbb\xbfTime, Value\r\n2026-06-01 02:00:00+02:00 , 1\r\n2026-06-01T00:15Z,2"
    column = series_csv.parse(body, QUARTER, None)
    assert column == series_csv.Column(datetime(2026, 6, 1, tzinfo=UTC), [1.0, 2.0])


def test_at_most_35136_slots_and_100_violations() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    lines = [f"{(start + i * QUARTER).isoformat()},1" for i in range(35137)]
    assert len(series_csv.parse(csv(*lines[:-1]), QUARTER, None).values) == 35136
    assert refusals(csv(*lines)) == [("line 35138", "max-items")]
    assert len(refusals(csv(*["x,y"] * 500))) == 100


def test_what_is_no_text_is_malformed() -> None:
    with pytest.raises(GridpactError) as raised:
        series_csv.parse(b"time,value\n\xff", QUARTER, None)
    assert raised.value.reason is Reason.BODY_MALFORMED


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    try:
        series_csv.parse(body, QUARTER, BERLIN)
        series_csv.parse(b"time,value\n" + body, QUARTER, BERLIN)
    except GridpactError as error:
        refused = error
    else:
        return
    assert refused.reason in (Reason.INVALID_ARGUMENT, Reason.BODY_MALFORMED)


@given(st.lists(VALUES | st.just(float("nan")), min_size=1, max_size=50))
def test_what_is_written_reads_back(values: list[float]) -> None:
    start = datetime(2026, 6, 1, tzinfo=UTC)
    text = series_csv.written(start, QUARTER, np.array(values)).decode().splitlines()
    assert text[0] == series_csv.HEADER
    back = [float(line.partition(",")[2] or "nan") for line in text[1:]]
    np.testing.assert_array_equal(back, values)
