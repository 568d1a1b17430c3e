"""gridpact.series.v1.SeriesService: decode, call, encode."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gridpact.contracts.proto.gridpact.series.v1 import (
    CreateSeriesRequest,
    CreateSeriesResponse,
    GetSeriesRequest,
    GetSeriesResponse,
    IngestValuesRequest,
    IngestValuesResponse,
    ListSeriesRequest,
    ListSeriesResponse,
    QueryValuesRequest,
    QueryValuesResponse,
    SeriesServiceBase,
)
from gridpact.contracts.proto.gridpact.series.v1 import Quantity as QuantityMessage
from gridpact.contracts.proto.gridpact.series.v1 import Series as SeriesMessage
from gridpact.kit.caller import Access, caller
from gridpact.kit.errors import GridpactError
from gridpact.kit.pages import checked_page_size
from gridpact.kit.violation import Violation
from gridpact.series.domain import Quantity, Series, SeriesDraft
from gridpact.series.service import SeriesService

_QUANTITIES = {
    Quantity.POWER_KW: QuantityMessage.POWER_KW,
    Quantity.ENERGY_KWH: QuantityMessage.ENERGY_KWH,
    Quantity.PRICE_PER_KWH: QuantityMessage.PRICE_PER_KWH,
    Quantity.TEMPERATURE_CELSIUS: QuantityMessage.TEMPERATURE_CELSIUS,
    Quantity.IRRADIANCE_W_PER_M2: QuantityMessage.IRRADIANCE_W_PER_M2,
}


class SeriesRpc(SeriesServiceBase):
    """The service of time series."""

    ACCESS: ClassVar[Mapping[str, Access]] = {
        "CreateSeries": Access.ENGINEER,
        "GetSeries": Access.VIEWER,
        "ListSeries": Access.VIEWER,
        "IngestValues": Access.OPERATOR,
        "QueryValues": Access.VIEWER,
    }

    def __init__(self, service: SeriesService) -> None:
        self._service = service

    async def create_series(self, message: CreateSeriesRequest) -> CreateSeriesResponse:
        if message.series is None:
            raise _invalid("series", "required", "is required")
        draft = SeriesDraft(
            site_id=message.series.site_id,
            asset_id=message.series.asset_id or None,
            name=message.series.name,
            quantity=_quantity(message.series.quantity),
            slot_duration_s=message.series.slot_duration_s,
        )
        series = await self._service.create(caller().organisation_id, draft)
        return CreateSeriesResponse(series=_series(series))

    async def get_series(self, message: GetSeriesRequest) -> GetSeriesResponse:
        series = await self._service.get(caller().organisation_id, message.series_id)
        return GetSeriesResponse(series=_series(series))

    async def list_series(self, message: ListSeriesRequest) -> ListSeriesResponse:
        series, next_cursor = await self._service.list_page(
            caller().organisation_id,
            message.site_id,
            message.cursor,
            checked_page_size(message.page_size),
        )
        return ListSeriesResponse(
            series=[_series(item) for item in series], next_cursor=next_cursor
        )

    async def ingest_values(self, message: IngestValuesRequest) -> IngestValuesResponse:
        start_time = _required("start_time", message.start_time)
        values = _values(message.values_f64)
        series = await self._service.write(
            caller().organisation_id, message.series_id, start_time, values
        )
        return IngestValuesResponse(
            written_count=len(values),
            first_time=start_time,
            last_time=start_time + (len(values) - 1) * series.slot_duration,
        )

    async def query_values(self, message: QueryValuesRequest) -> QueryValuesResponse:
        from_time = _required("from_time", message.from_time)
        to_time = _required("to_time", message.to_time)
        series, values = await self._service.read(
            caller().organisation_id, message.series_id, from_time, to_time
        )
        return QueryValuesResponse(
            series=_series(series),
            start_time=from_time,
            values_f64=values.astype("<f8", copy=False).tobytes(),
        )


def _required(field: str, time: datetime | None) -> datetime:
    if time is None:
        raise _invalid(field, "required", "is required")
    return time


def _values(data: bytes) -> NDArray[np.float64]:
    if len(data) % 8:
        raise _invalid("values", "type", f"must be whole doubles; it has {len(data)} bytes")
    return np.frombuffer(data, "<f8").astype(np.float64, copy=False)


def _quantity(message: QuantityMessage) -> Quantity:
    for quantity, known in _QUANTITIES.items():
        if message == known:
            return quantity
    raise _invalid("quantity", "enum", f"must be one of {', '.join(_QUANTITIES)}")


def _series(series: Series) -> SeriesMessage:
    return SeriesMessage(
        series_id=series.series_id,
        site_id=series.site_id,
        asset_id=series.asset_id or "",
        name=series.name,
        quantity=_QUANTITIES[series.quantity],
        slot_duration_s=series.slot_duration_s,
        created_time=series.created_time,
    )


def _invalid(field: str, rule: str, message: str) -> GridpactError:
    return GridpactError.invalid([Violation(field, rule, message)])
