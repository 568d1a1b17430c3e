"""Series and their values, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridpact.contracts.errors import Reason
from gridpact.kit.database import Database
from gridpact.kit.errors import GridpactError, not_found
from gridpact.kit.identifiers import new_identifier
from gridpact.series.contract import GeneratedContract
from gridpact.series.domain import Quantity, Series, SeriesDraft
from gridpact.series.repository import PostgresSeriesStore
from gridpact.series.service import SeriesService

OWNER = new_identifier()
SITE_ID = new_identifier()
START = datetime(2026, 3, 29, tzinfo=UTC)
SLOT = timedelta(seconds=900)


class OneSite:
    """Places of which one site is there, without assets."""

    async def require(self, site_id: str, asset_id: str | None) -> None:
        if site_id != SITE_ID:
            raise not_found("site", site_id)
        if asset_id is not None:
            raise not_found("asset", asset_id)


def draft(**changes: Any) -> SeriesDraft:
    members: dict[str, Any] = {
        "site_id": SITE_ID,
        "asset_id": None,
        "name": "Load",
        "quantity": Quantity.POWER_KW,
        "slot_duration_s": 900,
    }
    return SeriesDraft(**(members | changes))


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[SeriesService]:
    async with Database(database_url).opened() as database:
        yield SeriesService(PostgresSeriesStore(database), GeneratedContract(), OneSite())


@pytest.fixture
async def series(service: SeriesService) -> Series:
    return await service.create(OWNER, draft())


async def refused(call: Any) -> GridpactError:
    with pytest.raises(GridpactError) as caught:
        await call
    return caught.value


class TestCreate:
    async def test_stores_what_was_said(self, service: SeriesService, series: Series) -> None:
        assert await service.get(OWNER, series.series_id) == series
        assert await service.list_page(OWNER, SITE_ID, "", 10) == ([series], "")

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"name": " x"}, Reason.INVALID_ARGUMENT),
            ({"slot_duration_s": 901}, Reason.INVALID_ARGUMENT),
            ({"site_id": "here"}, Reason.INVALID_ARGUMENT),
            ({"site_id": new_identifier()}, Reason.NOT_FOUND),
            ({"asset_id": new_identifier()}, Reason.NOT_FOUND),
            ({"quantity": Quantity.PRICE_PER_KWH}, Reason.ALREADY_EXISTS),
        ],
    )
    async def test_refuses_what_is_wrong_unknown_or_taken(
        self,
        service: SeriesService,
        series: Series,
        changes: dict[str, Any],
        reason: Reason,
    ) -> None:
        assert (await refused(service.create(OWNER, draft(**changes)))).reason is reason


class TestGet:
    async def test_hides_the_series_of_others(self, service: SeriesService, series: Series) -> None:
        intruder, values = new_identifier(), np.zeros(1)
        for call in (
            service.get(intruder, series.series_id),
            service.get(OWNER, "no id"),
            service.write(intruder, series.series_id, START, values),
            service.read(intruder, series.series_id, START, START + SLOT),
        ):
            assert (await refused(call)).reason is Reason.NOT_FOUND


class TestListPage:
    async def test_goes_through_all_series_once_newest_first(self, service: SeriesService) -> None:
        made = [await service.create(OWNER, draft(name=f"S{i}")) for i in range(5)]
        seen, cursor = await service.list_page(OWNER, SITE_ID, "", 2)
        while cursor:
            page, cursor = await service.list_page(OWNER, SITE_ID, cursor, 2)
            seen += page
        assert seen == made[::-1]


slots = st.integers(-20, 20)
numbers = st.floats(-1e9, 1e9, allow_nan=False)


class TestValues:
    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.tuples(slots, st.lists(numbers, min_size=1, max_size=12)), max_size=4))
    async def test_a_window_shows_what_was_written_last(
        self, service: SeriesService, writes: list[tuple[int, list[float]]]
    ) -> None:
        series = await service.create(OWNER, draft(name=new_identifier()))
        expected = np.full(64, np.nan)
        for first, values in writes:
            start = START + first * SLOT
            await service.write(OWNER, series.series_id, start, np.array(values))
            expected[first + 24 : first + 24 + len(values)] = values
        _, found = await service.read(OWNER, series.series_id, START - 24 * SLOT, START + 40 * SLOT)
        np.testing.assert_array_equal(found, expected)

    async def test_a_year_of_quarter_hours_goes_in_one_call(
        self, service: SeriesService, series: Series
    ) -> None:
        values = np.random.default_rng(7).normal(size=35_136)
        for _ in range(2):
            await service.write(OWNER, series.series_id, START, values)
        _, found = await service.read(OWNER, series.series_id, START, START + 35_136 * SLOT)
        np.testing.assert_array_equal(found, values)

    async def test_one_wrong_value_keeps_all_out(
        self, service: SeriesService, series: Series
    ) -> None:
        error = await refused(
            service.write(OWNER, series.series_id, START, np.array([1.0, np.nan]))
        )
        assert [violation.field for violation in error.violations] == ["values[1]"]
        _, found = await service.read(OWNER, series.series_id, START, START + 2 * SLOT)
        assert np.isnan(found).all()

    async def test_refuses_a_window_off_the_grid(
        self, service: SeriesService, series: Series
    ) -> None:
        second = timedelta(seconds=1)
        error = await refused(service.read(OWNER, series.series_id, START + second, START + SLOT))
        assert [violation.field for violation in error.violations] == ["from_time"]
