"""Sites and assets in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgspec
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from gridpact.assets.domain import Asset, AssetDraft, Site, SiteDraft
from gridpact.kit.database import Database
from gridpact.kit.pages import Cursor

_SITE = """site_id::text, organisation_id::text, name, time_zone, currency, latitude, longitude,
    max_import_power_kw, max_export_power_kw, created_time"""

_ASSET = """asset_id::text, organisation_id::text, site_id::text, name, type, specification,
    created_time"""


class PostgresAssetStore:
    """The AssetStore in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert_site(
        self, organisation_id: str, site_id: str, draft: SiteDraft
    ) -> Site | None:
        rows = await self._rows(
            f"""
            INSERT INTO assets.sites (site_id, organisation_id, name, time_zone, currency,
                latitude, longitude, max_import_power_kw, max_export_power_kw)
            VALUES (%(site_id)s, %(organisation_id)s, %(name)s, %(time_zone)s, %(currency)s,
                %(latitude)s, %(longitude)s, %(max_import_power_kw)s, %(max_export_power_kw)s)
            ON CONFLICT (organisation_id, name) DO NOTHING
            RETURNING {_SITE}""",
            {**asdict(draft), "site_id": site_id, "organisation_id": organisation_id},
        )
        return _site(rows[0]) if rows else None

    async def find_site(self, organisation_id: str, site_id: str) -> Site | None:
        rows = await self._rows(
            f"SELECT {_SITE} FROM assets.sites WHERE organisation_id = %s AND site_id = %s",
            [organisation_id, site_id],
        )
        return _site(rows[0]) if rows else None

    async def list_sites(
        self, organisation_id: str, before: Cursor | None, limit: int
    ) -> list[Site]:
        rows = await self._rows(
            f"""
            SELECT {_SITE} FROM assets.sites
            WHERE organisation_id = %s AND {_older("site_id", before)}
            ORDER BY created_time DESC, site_id DESC LIMIT %s""",
            [organisation_id, *_position(before), limit],
        )
        return [_site(row) for row in rows]

    async def insert_asset(
        self, organisation_id: str, asset_id: str, draft: AssetDraft
    ) -> Asset | None:
        rows = await self._rows(
            f"""
            INSERT INTO assets.assets
                (asset_id, organisation_id, site_id, name, type, specification)
            VALUES (%s, %s, %s, %s, %s, %s)
            ON CONFLICT (site_id, name) DO NOTHING
            RETURNING {_ASSET}""",
            [
                asset_id,
                organisation_id,
                draft.site_id,
                draft.name,
                draft.type.value,
                Jsonb(draft.specification),
            ],
        )
        return _asset(rows[0]) if rows else None

    async def find_asset(self, organisation_id: str, asset_id: str) -> Asset | None:
        rows = await self._rows(
            f"SELECT {_ASSET} FROM assets.assets WHERE organisation_id = %s AND asset_id = %s",
            [organisation_id, asset_id],
        )
        return _asset(rows[0]) if rows else None

    async def list_assets(
        self, organisation_id: str, site_id: str, before: Cursor | None, limit: int
    ) -> list[Asset]:
        rows = await self._rows(
            f"""
            SELECT {_ASSET} FROM assets.assets
            WHERE organisation_id = %s AND site_id = %s AND {_older("asset_id", before)}
            ORDER BY created_time DESC, asset_id DESC LIMIT %s""",
            [organisation_id, site_id, *_position(before), limit],
        )
        return [_asset(row) for row in rows]

    async def _rows(
        self, statement: str, parameters: Sequence[object] | Mapping[str, object]
    ) -> list[DictRow]:
        async with (
            self._database.transaction() as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            await cursor.execute(statement.encode(), parameters)
            return await cursor.fetchall()


def _older(identifier: str, before: Cursor | None) -> str:
    return f"(created_time, {identifier}) < (%s, %s)" if before else "true"


def _position(before: Cursor | None) -> tuple[object, ...]:
    return (before.time, before.identifier) if before else ()


def _site(row: Mapping[str, Any]) -> Site:
    return msgspec.convert(row, Site)


def _asset(row: Mapping[str, Any]) -> Asset:
    return msgspec.convert(row, Asset)
