"""Wires the series service."""

from __future__ import annotations

from gridpact.kit.database import Database
from gridpact.series.contract import GeneratedContract
from gridpact.series.places import Assets, AssetsPlaces
from gridpact.series.repository import PostgresSeriesStore
from gridpact.series.rpc import SeriesRpc
from gridpact.series.service import SeriesService


def build_series(database: Database, assets: Assets) -> SeriesRpc:
    """The service on a database that is open while it serves."""
    store = PostgresSeriesStore(database)
    return SeriesRpc(SeriesService(store, GeneratedContract(), AssetsPlaces(assets)))
