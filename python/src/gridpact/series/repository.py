"""Series and their values in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from psycopg.rows import DictRow, dict_row

from gridpact.kit.database import Database
from gridpact.kit.pages import Cursor
from gridpact.series.domain import Series, SeriesDraft

_SERIES = """series_id::text, organisation_id::text, site_id::text, asset_id::text, name, quantity,
    slot_duration_s, created_time"""

# One array parameter in binary form is faster than COPY into a temporary table and an INSERT from
# there. A value that stays the same is not written again.
_WRITE = """
INSERT INTO series.values (organisation_id, series_id, time, value)
SELECT organisation_id, series_id,
       %(start_time)s + (position - 1) * slot_duration_s * interval '1 second', value
FROM series.series, unnest(%(values)b::float8[]) WITH ORDINALITY AS slot (value, position)
WHERE organisation_id = %(organisation_id)s AND series_id = %(series_id)s
ON CONFLICT (series_id, time) DO UPDATE SET value = excluded.value
    WHERE values.value <> excluded.value
"""

_READ = """
SELECT array_agg(coalesce(value, 'NaN') ORDER BY position) AS values
FROM generate_series(0, %(count)s - 1) AS position
LEFT JOIN series.values
    ON organisation_id = %(organisation_id)s AND series_id = %(series_id)s
    AND time = %(from_time)s + position * %(slot_duration)s
"""


class PostgresSeriesStore:
    """The SeriesStore in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(
        self, organisation_id: str, series_id: str, draft: SeriesDraft
    ) -> Series | None:
        rows = await self._rows(
            f"""
            INSERT INTO series.series (series_id, organisation_id, site_id, asset_id, name,
                quantity, slot_duration_s)
            VALUES (%(series_id)s, %(organisation_id)s, %(site_id)s, %(asset_id)s, %(name)s,
                %(quantity)s, %(slot_duration_s)s)
            ON CONFLICT (site_id, name) DO NOTHING
            RETURNING {_SERIES}""",
            {
                **asdict(draft),
                "quantity": draft.quantity.value,
                "series_id": series_id,
                "organisation_id": organisation_id,
            },
        )
        return _series(rows[0]) if rows else None

    async def find(self, organisation_id: str, series_id: str) -> Series | None:
        rows = await self._rows(
            f"SELECT {_SERIES} FROM series.series WHERE organisation_id = %s AND series_id = %s",
            [organisation_id, series_id],
        )
        return _series(rows[0]) if rows else None

    async def list_page(
        self, organisation_id: str, site_id: str, before: Cursor | None, limit: int
    ) -> list[Series]:
        older = "(created_time, series_id) < (%s, %s)" if before else "true"
        position = [before.time, before.identifier] if before else []
        rows = await self._rows(
            f"""
            SELECT {_SERIES} FROM series.series
            WHERE organisation_id = %s AND site_id = %s AND {older}
            ORDER BY created_time DESC, series_id DESC LIMIT %s""",
            [organisation_id, site_id, *position, limit],
        )
        return [_series(row) for row in rows]

    async def write(
        self, series: Series, start_time: datetime, values: NDArray[np.float64]
    ) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(
                _WRITE,
                {
                    "organisation_id": series.organisation_id,
                    "series_id": series.series_id,
                    "start_time": start_time,
                    "values": values.tolist(),
                },
            )

    async def read(
        self, series: Series, from_time: datetime, to_time: datetime
    ) -> NDArray[np.float64]:
        [row] = await self._rows(
            _READ,
            {
                "organisation_id": series.organisation_id,
                "series_id": series.series_id,
                "from_time": from_time,
                "slot_duration": series.slot_duration,
                "count": (to_time - from_time) // series.slot_duration,
            },
        )
        return np.array(row["values"], dtype=np.float64)

    async def _rows(
        self, statement: str, parameters: Sequence[object] | Mapping[str, object]
    ) -> list[DictRow]:
        async with (
            self._database.transaction() as connection,
            connection.cursor(row_factory=dict_row, binary=True) as cursor,
        ):
            await cursor.execute(statement.encode(), parameters)
            return await cursor.fetchall()


def _series(row: Mapping[str, Any]) -> Series:
    return msgspec.convert(row, Series)
