"""The port Sites through gridpact.assets.v1.AssetsService, in this process or in another."""

from __future__ import annotations

from typing import Protocol

from gridpact.contracts.proto.gridpact.assets.v1 import GetSiteRequest, GetSiteResponse


class GetSite(Protocol):
    """The one method that is needed, as the generated server base and client stub both have it."""

    async def get_site(self, message: GetSiteRequest, /) -> GetSiteResponse: ...


class AssetsSites:
    """The Sites that the assets service knows. Calls carry the caller along."""

    def __init__(self, assets: GetSite) -> None:
        self._assets = assets

    async def require(self, site_id: str) -> None:
        await self._assets.get_site(GetSiteRequest(site_id=site_id))
