"""What people do with sites and assets. Everything acts within one organisation."""

from __future__ import annotations

from gridpact.assets.domain import Asset, AssetType, Site, SiteDraft
from gridpact.assets.ports import AssetContract, AssetStore
from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError, not_found
from gridpact.kit.identifiers import is_identifier, new_identifier
from gridpact.kit.pages import Cursor


class AssetService:
    """The use cases of gridpact.assets.v1.AssetsService."""

    def __init__(self, store: AssetStore, contract: AssetContract) -> None:
        self._store = store
        self._contract = contract

    async def create_site(self, organisation_id: str, draft: SiteDraft) -> Site:
        """Stores a site; INVALID_ARGUMENT, or ALREADY_EXISTS when its name is taken."""
        violations = self._contract.check_site(draft)
        if violations:
            raise GridpactError.invalid(violations)
        site = await self._store.insert_site(organisation_id, new_identifier(), draft)
        if site is None:
            raise _already_exists("site", draft.name)
        return site

    async def get_site(self, organisation_id: str, site_id: str) -> Site:
        """The site, or NOT_FOUND."""
        known = is_identifier(site_id)
        site = await self._store.find_site(organisation_id, site_id) if known else None
        if site is None:
            raise not_found("site", site_id)
        return site

    async def list_sites(
        self, organisation_id: str, cursor: str, page_size: int
    ) -> tuple[list[Site], str]:
        """A page, newest first, and the cursor of the next one (empty on the last)."""
        before = Cursor.decode(cursor)
        sites = await self._store.list_sites(organisation_id, before, page_size + 1)
        if len(sites) <= page_size:
            return sites, ""
        last = sites[page_size - 1]
        return sites[:page_size], Cursor(last.created_time, last.site_id).encode()

    async def create_asset(
        self,
        organisation_id: str,
        site_id: str,
        name: str,
        type: AssetType,
        specification_json: bytes,
    ) -> Asset:
        """Stores an asset.

        INVALID_ARGUMENT, NOT_FOUND for the site, or ALREADY_EXISTS when the site has that name.
        """
        await self.get_site(organisation_id, site_id)
        draft = self._contract.read_asset(site_id, name, type, specification_json)
        asset = await self._store.insert_asset(organisation_id, new_identifier(), draft)
        if asset is None:
            raise _already_exists("asset", name)
        return asset

    async def get_asset(self, organisation_id: str, asset_id: str) -> Asset:
        """The asset, or NOT_FOUND."""
        known = is_identifier(asset_id)
        asset = await self._store.find_asset(organisation_id, asset_id) if known else None
        if asset is None:
            raise not_found("asset", asset_id)
        return asset

    async def list_assets(
        self, organisation_id: str, site_id: str, cursor: str, page_size: int
    ) -> tuple[list[Asset], str]:
        """A page of a site's assets, as ``list_sites``; NOT_FOUND for the site."""
        before = Cursor.decode(cursor)
        await self.get_site(organisation_id, site_id)
        assets = await self._store.list_assets(organisation_id, site_id, before, page_size + 1)
        if len(assets) <= page_size:
            return assets, ""
        last = assets[page_size - 1]
        return assets[:page_size], Cursor(last.created_time, last.asset_id).encode()


def _already_exists(resource: str, name: str) -> GridpactError:
    words = f"there is a {resource} named {name} already"
    return GridpactError(Reason.ALREADY_EXISTS, words, resource=resource, name=name)
