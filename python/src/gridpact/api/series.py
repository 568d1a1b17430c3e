"""The operations tagged ``series``."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Any, cast
from zoneinfo import ZoneInfo

import numpy as np
import orjson
from fastapi import Depends, Query
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from gridpact.api import series_csv
from gridpact.api.answers import answer, json_answer
from gridpact.api.bodies import JSON, checked_media_type, json_body, parsed, read_body
from gridpact.api.negotiation import answer_as
from gridpact.api.parameters import Cursor, PageSize, SeriesId
from gridpact.api.services import Services, fields_renamed
from gridpact.contracts import rest
from gridpact.contracts.proto.gridpact.assets.v1 import GetSiteRequest
from gridpact.contracts.proto.gridpact.series.v1 import (
    CreateSeriesRequest,
    GetSeriesRequest,
    IngestValuesRequest,
    ListSeriesRequest,
    Quantity,
    QueryValuesRequest,
    Series,
)
from gridpact.kit.instants import format_instant, parse_instant

CSV = "text/csv"

NewSeries = Annotated[rest.SeriesDraft, json_body(rest.SeriesDraft)]
AnswerAs = Annotated[str, answer_as(JSON, CSV)]

_VALUES: TypeAdapter[rest.SeriesValues] = TypeAdapter(rest.SeriesValues)


async def _values_body(request: Request) -> rest.SeriesValues | bytes:
    """The values as JSON says them, or the CSV, which only the series can tell how to read."""
    body = await read_body(request)
    media_type = checked_media_type(request, JSON, CSV)
    return body if media_type == CSV else parsed(_VALUES, body)


NewValues = Annotated[rest.SeriesValues | bytes, Depends(_values_body)]


class TimeSeries:
    """Time series: what they are, and their values."""

    def __init__(self, services: Services) -> None:
        self._series = services.series
        self._assets = services.assets

    async def list_series(
        self,
        site_id: Annotated[rest.Identifier, Query()],
        page_size: PageSize = 50,
        cursor: Cursor = None,
    ) -> Response:
        response = await self._series.list_series(
            ListSeriesRequest(site_id=site_id, page_size=page_size, cursor=cursor or "")
        )
        items = [_series(each) for each in response.series]
        return answer(rest.SeriesPage(items=items, next_cursor=response.next_cursor or None))

    async def create_series(self, draft: NewSeries) -> Response:
        response = await self._series.create_series(
            CreateSeriesRequest(
                series=Series(
                    site_id=draft.site_id,
                    asset_id=draft.asset_id or "",
                    name=draft.name,
                    quantity=Quantity[draft.quantity.upper()],
                    slot_duration_s=draft.slot_duration_s,
                )
            )
        )
        series = _series(response.series)
        return answer(series, 201, location=f"/v1/series/{series.series_id}")

    async def get_series(self, series_id: SeriesId) -> Response:
        return answer(_series(await self._found(series_id)))

    async def query_values(
        self,
        series_id: SeriesId,
        media_type: AnswerAs,
        from_time: Annotated[rest.Instant, Query(alias="from")],
        to_time: Annotated[rest.Instant, Query(alias="to")],
    ) -> Response:
        with fields_renamed({"from_time": "from", "to_time": "to"}):
            response = await self._series.query_values(
                QueryValuesRequest(
                    series_id=series_id,
                    from_time=parse_instant(from_time),
                    to_time=parse_instant(to_time),
                )
            )
        series, start = response.series, response.start_time
        assert series is not None
        assert start is not None
        values = np.frombuffer(response.values_f64, "<f8")
        if media_type == CSV:
            slot = timedelta(seconds=series.slot_duration_s)
            body = await asyncio.to_thread(series_csv.written, start, slot, values)
            return Response(body, media_type=f"{CSV}; charset=utf-8")
        # rest.SeriesWindow by hand: orjson writes a whole array at once, and NaN as null.
        window = {
            "series_id": series_id,
            "quantity": _quantity(series.quantity),
            "slot_duration_s": series.slot_duration_s,
            "start_time": format_instant(start),
            "values": np.ascontiguousarray(values),
        }
        return json_answer(orjson.dumps(window, option=orjson.OPT_SERIALIZE_NUMPY))

    async def ingest_values(self, series_id: SeriesId, values: NewValues) -> Response:
        column = (
            await self._from_csv(series_id, values)
            if isinstance(values, bytes)
            else series_csv.Column(parse_instant(values.start_time), values.values)
        )
        with fields_renamed({"values_f64": "values"}):
            response = await self._series.ingest_values(
                IngestValuesRequest(
                    series_id=series_id,
                    start_time=column.start_time,
                    values_f64=np.array(column.values, "<f8").tobytes(),
                )
            )
        return answer(
            rest.IngestReport(
                series_id=series_id,
                written_count=response.written_count,
                first_time=_instant(response.first_time),
                last_time=_instant(response.last_time),
            )
        )

    async def _from_csv(self, series_id: str, body: bytes) -> series_csv.Column:
        series = await self._found(series_id)
        zone = None
        if series_csv.has_local_times(series_csv.decoded(body)):
            response = await self._assets.get_site(GetSiteRequest(site_id=series.site_id))
            assert response.site is not None
            zone = ZoneInfo(response.site.time_zone)
        slot = timedelta(seconds=series.slot_duration_s)
        return await asyncio.to_thread(series_csv.parse, body, slot, zone)

    async def _found(self, series_id: str) -> Series:
        response = await self._series.get_series(GetSeriesRequest(series_id=series_id))
        assert response.series is not None
        return response.series


def _series(series: Series | None) -> rest.Series:
    assert series is not None
    return rest.Series(
        series_id=series.series_id,
        site_id=series.site_id,
        asset_id=series.asset_id or None,
        name=series.name,
        quantity=_quantity(series.quantity),
        slot_duration_s=series.slot_duration_s,
        created_time=_instant(series.created_time),
    )


def _quantity(quantity: Quantity) -> rest.Quantity:
    return cast("Any", (quantity.name or "").lower())


def _instant(instant: datetime | None) -> str:
    assert instant is not None
    return format_instant(instant)
