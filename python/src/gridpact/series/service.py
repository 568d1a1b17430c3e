"""What people do with series. Everything acts within one organisation."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError, not_found
from gridpact.kit.identifiers import is_identifier, new_identifier
from gridpact.kit.pages import Cursor
from gridpact.series.domain import Series, SeriesDraft
from gridpact.series.ports import Places, SeriesContract, SeriesStore


class SeriesService:
    """The use cases of gridpact.series.v1.SeriesService."""

    def __init__(self, store: SeriesStore, contract: SeriesContract, places: Places) -> None:
        self._store = store
        self._contract = contract
        self._places = places

    async def create(self, organisation_id: str, draft: SeriesDraft) -> Series:
        """Stores a series.

        INVALID_ARGUMENT, NOT_FOUND for its site or asset, or ALREADY_EXISTS when the site has a
        series of that name.
        """
        violations = self._contract.check_draft(draft)
        if violations:
            raise GridpactError.invalid(violations)
        await self._places.require(draft.site_id, draft.asset_id)
        series = await self._store.insert(organisation_id, new_identifier(), draft)
        if series is None:
            words = f"there is a series named {draft.name} already"
            raise GridpactError(Reason.ALREADY_EXISTS, words, resource="series", name=draft.name)
        return series

    async def get(self, organisation_id: str, series_id: str) -> Series:
        """The series, or NOT_FOUND."""
        known = is_identifier(series_id)
        series = await self._store.find(organisation_id, series_id) if known else None
        if series is None:
            raise not_found("series", series_id)
        return series

    async def list_page(
        self, organisation_id: str, site_id: str, cursor: str, page_size: int
    ) -> tuple[list[Series], str]:
        """A page of a site's series, newest first, and the cursor of the next one.

        The cursor is empty on the last page; NOT_FOUND for the site.
        """
        before = Cursor.decode(cursor)
        await self._places.require(site_id, None)
        series = await self._store.list_page(organisation_id, site_id, before, page_size + 1)
        if len(series) <= page_size:
            return series, ""
        last = series[page_size - 1]
        return series[:page_size], Cursor(last.created_time, last.series_id).encode()

    async def write(
        self,
        organisation_id: str,
        series_id: str,
        start_time: datetime,
        values: NDArray[np.float64],
    ) -> Series:
        """Writes consecutive slots, all or none; NOT_FOUND or INVALID_ARGUMENT."""
        series = await self.get(organisation_id, series_id)
        violations = series.check_values(start_time, values)
        if violations:
            raise GridpactError.invalid(violations)
        await self._store.write(series, start_time, values)
        return series

    async def read(
        self, organisation_id: str, series_id: str, from_time: datetime, to_time: datetime
    ) -> tuple[Series, NDArray[np.float64]]:
        """The values of a half-open window, NaN for holes; NOT_FOUND or INVALID_ARGUMENT."""
        series = await self.get(organisation_id, series_id)
        violations = series.check_window(from_time, to_time)
        if violations:
            raise GridpactError.invalid(violations)
        return series, await self._store.read(series, from_time, to_time)
