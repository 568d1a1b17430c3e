"""The operations tagged ``sites``."""

from __future__ import annotations

from typing import Annotated, Any, cast

from pydantic import TypeAdapter
from starlette.responses import Response

from gridpact.api.answers import answer
from gridpact.api.bodies import json_body
from gridpact.api.parameters import AssetId, Cursor, PageSize, SiteId
from gridpact.api.services import Services
from gridpact.contracts import rest
from gridpact.contracts.proto.gridpact.assets.v1 import (
    Asset,
    AssetType,
    CreateAssetRequest,
    CreateSiteRequest,
    GetAssetRequest,
    GetSiteRequest,
    ListAssetsRequest,
    ListSitesRequest,
    Site,
)
from gridpact.kit.instants import format_instant

NewSite = Annotated[rest.SiteDraft, json_body(rest.SiteDraft)]
NewAsset = Annotated[rest.AssetDraft, json_body(rest.AssetDraft)]

_TYPES: dict[AssetType, str] = {
    AssetType.BATTERY: "battery",
    AssetType.PV: "pv",
    AssetType.LOAD: "load",
    AssetType.TARIFF: "tariff",
}
_TYPE_OF = {word: number for number, word in _TYPES.items()}
_SPECIFICATIONS: dict[str, TypeAdapter[Any]] = {
    "battery": TypeAdapter(rest.Battery),
    "pv": TypeAdapter(rest.Pv),
    "load": TypeAdapter(rest.Load),
    "tariff": TypeAdapter(rest.Tariff),
}


class Sites:
    """Sites and what stands on them."""

    def __init__(self, services: Services) -> None:
        self._assets = services.assets

    async def list_sites(self, page_size: PageSize = 50, cursor: Cursor = None) -> Response:
        response = await self._assets.list_sites(
            ListSitesRequest(page_size=page_size, cursor=cursor or "")
        )
        items = [_site(site) for site in response.sites]
        return answer(rest.SitePage(items=items, next_cursor=response.next_cursor or None))

    async def create_site(self, draft: NewSite) -> Response:
        response = await self._assets.create_site(
            CreateSiteRequest(
                site=Site(
                    name=draft.name,
                    time_zone=draft.time_zone,
                    currency=draft.currency,
                    latitude=draft.latitude,
                    longitude=draft.longitude,
                    max_import_power_kw=draft.max_import_power_kw,
                    max_export_power_kw=draft.max_export_power_kw,
                )
            )
        )
        site = _site(response.site)
        return answer(site, 201, location=f"/v1/sites/{site.site_id}")

    async def get_site(self, site_id: SiteId) -> Response:
        response = await self._assets.get_site(GetSiteRequest(site_id=site_id))
        return answer(_site(response.site))

    async def list_assets(
        self, site_id: SiteId, page_size: PageSize = 50, cursor: Cursor = None
    ) -> Response:
        response = await self._assets.list_assets(
            ListAssetsRequest(site_id=site_id, page_size=page_size, cursor=cursor or "")
        )
        items = [_asset(asset) for asset in response.assets]
        return answer(rest.AssetPage(items=items, next_cursor=response.next_cursor or None))

    async def create_asset(self, site_id: SiteId, draft: NewAsset) -> Response:
        specification = getattr(draft, draft.type)
        response = await self._assets.create_asset(
            CreateAssetRequest(
                asset=Asset(
                    site_id=site_id,
                    name=draft.name,
                    type=_TYPE_OF[draft.type],
                    specification_json=specification.to_json(),
                )
            )
        )
        asset = _asset(response.asset)
        return answer(asset, 201, location=f"/v1/assets/{asset.asset_id}")

    async def get_asset(self, asset_id: AssetId) -> Response:
        response = await self._assets.get_asset(GetAssetRequest(asset_id=asset_id))
        return answer(_asset(response.asset))


def _site(site: Site | None) -> rest.Site:
    assert site is not None
    assert site.created_time is not None
    return rest.Site(
        site_id=site.site_id,
        name=site.name,
        time_zone=site.time_zone,
        currency=site.currency,
        latitude=site.latitude,
        longitude=site.longitude,
        max_import_power_kw=site.max_import_power_kw,
        max_export_power_kw=site.max_export_power_kw,
        created_time=format_instant(site.created_time),
    )


def _asset(asset: Asset | None) -> rest.Asset:
    assert asset is not None
    assert asset.created_time is not None
    word = _TYPES[asset.type]
    specification = {word: _SPECIFICATIONS[word].validate_json(asset.specification_json)}
    return rest.Asset(
        asset_id=asset.asset_id,
        site_id=asset.site_id,
        type=cast("Any", word),
        name=asset.name,
        created_time=format_instant(asset.created_time),
        **specification,
    )
