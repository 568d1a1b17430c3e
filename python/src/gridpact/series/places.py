"""The port Places through gridpact.assets.v1.AssetsService, in this process or in another."""

from __future__ import annotations

from typing import Protocol

from gridpact.contracts.proto.gridpact.assets.v1 import (
    GetAssetRequest,
    GetAssetResponse,
    GetSiteRequest,
    GetSiteResponse,
)
from gridpact.kit.errors import not_found


class Assets(Protocol):
    """The two methods that are needed, as the generated server base and client stub have them."""

    async def get_site(self, message: GetSiteRequest, /) -> GetSiteResponse: ...

    async def get_asset(self, message: GetAssetRequest, /) -> GetAssetResponse: ...


class AssetsPlaces:
    """The Places that the assets service knows. Calls carry the caller along."""

    def __init__(self, assets: Assets) -> None:
        self._assets = assets

    async def require(self, site_id: str, asset_id: str | None) -> None:
        await self._assets.get_site(GetSiteRequest(site_id=site_id))
        if asset_id is None:
            return
        response = await self._assets.get_asset(GetAssetRequest(asset_id=asset_id))
        if response.asset is None or response.asset.site_id != site_id:
            raise not_found("asset", asset_id)
