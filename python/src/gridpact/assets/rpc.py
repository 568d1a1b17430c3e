"""gridpact.assets.v1.AssetsService: decode, call, encode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from gridpact.assets.domain import Asset, AssetType, Site, SiteDraft
from gridpact.assets.service import AssetService
from gridpact.contracts.proto.gridpact.assets.v1 import Asset as AssetMessage
from gridpact.contracts.proto.gridpact.assets.v1 import (
    AssetsServiceBase,
    CreateAssetRequest,
    CreateAssetResponse,
    CreateSiteRequest,
    CreateSiteResponse,
    GetAssetRequest,
    GetAssetResponse,
    GetSiteRequest,
    GetSiteResponse,
    ListAssetsRequest,
    ListAssetsResponse,
    ListSitesRequest,
    ListSitesResponse,
)
from gridpact.contracts.proto.gridpact.assets.v1 import AssetType as TypeMessage
from gridpact.contracts.proto.gridpact.assets.v1 import Site as SiteMessage
from gridpact.kit.caller import Access, caller
from gridpact.kit.errors import GridpactError
from gridpact.kit.pages import checked_page_size
from gridpact.kit.violation import Violation

_TYPES = {
    AssetType.BATTERY: TypeMessage.BATTERY,
    AssetType.PV: TypeMessage.PV,
    AssetType.LOAD: TypeMessage.LOAD,
    AssetType.TARIFF: TypeMessage.TARIFF,
}


class AssetsRpc(AssetsServiceBase):
    """The service of sites and assets."""

    ACCESS: ClassVar[Mapping[str, Access]] = {
        "CreateSite": Access.ENGINEER,
        "GetSite": Access.VIEWER,
        "ListSites": Access.VIEWER,
        "CreateAsset": Access.ENGINEER,
        "GetAsset": Access.VIEWER,
        "ListAssets": Access.VIEWER,
    }

    def __init__(self, service: AssetService) -> None:
        self._service = service

    async def create_site(self, message: CreateSiteRequest) -> CreateSiteResponse:
        if message.site is None:
            raise _invalid("site", "required", "is required")
        draft = SiteDraft(
            name=message.site.name,
            time_zone=message.site.time_zone,
            currency=message.site.currency,
            latitude=message.site.latitude,
            longitude=message.site.longitude,
            max_import_power_kw=message.site.max_import_power_kw,
            max_export_power_kw=message.site.max_export_power_kw,
        )
        site = await self._service.create_site(caller().organisation_id, draft)
        return CreateSiteResponse(site=_site(site))

    async def get_site(self, message: GetSiteRequest) -> GetSiteResponse:
        site = await self._service.get_site(caller().organisation_id, message.site_id)
        return GetSiteResponse(site=_site(site))

    async def list_sites(self, message: ListSitesRequest) -> ListSitesResponse:
        sites, next_cursor = await self._service.list_sites(
            caller().organisation_id, message.cursor, checked_page_size(message.page_size)
        )
        return ListSitesResponse(sites=[_site(site) for site in sites], next_cursor=next_cursor)

    async def create_asset(self, message: CreateAssetRequest) -> CreateAssetResponse:
        if message.asset is None:
            raise _invalid("asset", "required", "is required")
        asset = await self._service.create_asset(
            caller().organisation_id,
            message.asset.site_id,
            message.asset.name,
            _type(message.asset.type),
            message.asset.specification_json,
        )
        return CreateAssetResponse(asset=_asset(asset))

    async def get_asset(self, message: GetAssetRequest) -> GetAssetResponse:
        asset = await self._service.get_asset(caller().organisation_id, message.asset_id)
        return GetAssetResponse(asset=_asset(asset))

    async def list_assets(self, message: ListAssetsRequest) -> ListAssetsResponse:
        assets, next_cursor = await self._service.list_assets(
            caller().organisation_id,
            message.site_id,
            message.cursor,
            checked_page_size(message.page_size),
        )
        return ListAssetsResponse(
            assets=[_asset(asset) for asset in assets], next_cursor=next_cursor
        )


def _type(message: TypeMessage) -> AssetType:
    for type, known in _TYPES.items():
        if message == known:
            return type
    raise _invalid("type", "enum", f"must be one of {', '.join(_TYPES)}")


def _site(site: Site) -> SiteMessage:
    return SiteMessage(
        site_id=site.site_id,
        name=site.name,
        time_zone=site.time_zone,
        currency=site.currency,
        latitude=site.latitude,
        longitude=site.longitude,
        max_import_power_kw=site.max_import_power_kw,
        max_export_power_kw=site.max_export_power_kw,
        created_time=site.created_time,
    )


def _asset(asset: Asset) -> AssetMessage:
    return AssetMessage(
        asset_id=asset.asset_id,
        site_id=asset.site_id,
        name=asset.name,
        type=_TYPES[asset.type],
        specification_json=msgspec.json.encode(asset.specification),
        created_time=asset.created_time,
    )


def _invalid(field: str, rule: str, message: str) -> GridpactError:
    return GridpactError.invalid([Violation(field, rule, message)])
