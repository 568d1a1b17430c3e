"""Wires the assets service."""

from __future__ import annotations

from gridpact.assets.contract import GeneratedContract
from gridpact.assets.repository import PostgresAssetStore
from gridpact.assets.rpc import AssetsRpc
from gridpact.assets.service import AssetService
from gridpact.kit.database import Database


def build_assets(database: Database) -> AssetsRpc:
    """The service on a database that is open while it serves."""
    return AssetsRpc(AssetService(PostgresAssetStore(database), GeneratedContract()))
