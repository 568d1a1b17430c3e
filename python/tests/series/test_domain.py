"""The grid of a series, alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpact.series.domain import MAX_SLOT_COUNT, Quantity, Series

START = datetime(2026, 6, 1, tzinfo=UTC)

slot_durations = st.sampled_from([60, 300, 600, 900, 1800, 3600])


def series(slot_duration_s: int = 900) -> Series:
    return Series(
        series_id="s",
        organisation_id="o",
        site_id="p",
        asset_id=None,
        name="Load",
        quantity=Quantity.POWER_KW,
        slot_duration_s=slot_duration_s,
        created_time=START,
    )


@given(slot_durations, st.integers(-(2**31), 2**31))
def test_whole_multiples_of_the_slot_are_on_the_grid(slot_duration_s: int, seconds: int) -> None:
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    found = series(slot_duration_s).check_grid("start_time", time)
    assert (found == []) == (seconds % slot_duration_s == 0)


def test_a_microsecond_is_off_the_grid() -> None:
    [found] = series().check_grid("from_time", START + timedelta(microseconds=1))
    assert (found.field, found.rule) == ("from_time", "grid")


class TestCheckValues:
    @pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1.000001e9, -2e9])
    def test_names_the_first_value_that_is_wrong(self, wrong: float) -> None:
        found = series().check_values(START, np.array([1.0, -1e9, wrong, wrong]))
        assert [violation.field for violation in found] == ["values[2]"]

    @pytest.mark.parametrize(("count", "wrong"), [(0, True), (1, False), (35136, False)])
    def test_limits_the_count(self, count: int, wrong: bool) -> None:
        assert bool(series().check_values(START, np.zeros(count))) == wrong
        assert series().check_values(START, np.zeros(MAX_SLOT_COUNT + 1))

    def test_refuses_slots_after_the_last_year(self) -> None:
        last = datetime(9999, 12, 31, 23, 45, tzinfo=UTC)
        [found] = series().check_values(last, np.zeros(2))
        assert found.field == "start_time"


class TestCheckWindow:
    def test_takes_up_to_a_year_of_quarter_hours(self) -> None:
        year = MAX_SLOT_COUNT * timedelta(seconds=900)
        assert series().check_window(START, START + year) == []
        [found] = series().check_window(START, START + year + timedelta(seconds=900))
        assert (found.field, found.rule) == ("to_time", "range")

    def test_refuses_an_empty_window(self) -> None:
        [found] = series().check_window(START, START)
        assert (found.field, found.rule) == ("to_time", "order")

    def test_names_both_ends(self) -> None:
        second = timedelta(seconds=1)
        found = series().check_window(START + second, START + 1000 * second)
        assert [violation.field for violation in found] == ["from_time", "to_time"]
