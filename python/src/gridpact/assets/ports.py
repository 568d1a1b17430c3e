"""What the use cases of assets need from outside."""

from __future__ import annotations

from typing import Protocol

from gridpact.assets.domain import Asset, AssetDraft, AssetType, Site, SiteDraft
from gridpact.kit.pages import Cursor
from gridpact.kit.violation import Violation


class AssetContract(Protocol):
    """The schemas of sites and assets."""

    def check_site(self, draft: SiteDraft) -> list[Violation]:
        """What is wrong with a site."""
        ...

    def read_asset(
        self, site_id: str, name: str, type: AssetType, specification_json: bytes
    ) -> AssetDraft:
        """The draft of an asset; INVALID_ARGUMENT when its schema refuses it."""
        ...


class AssetStore(Protocol):
    """Sites and assets. Everything belongs to an organisation; the rest is not there for it."""

    async def insert_site(
        self, organisation_id: str, site_id: str, draft: SiteDraft
    ) -> Site | None:
        """Stores a site; None when the organisation has one of that name."""
        ...

    async def find_site(self, organisation_id: str, site_id: str) -> Site | None:
        """The site of that id."""
        ...

    async def list_sites(
        self, organisation_id: str, before: Cursor | None, limit: int
    ) -> list[Site]:
        """Up to ``limit`` sites, newest first, behind the cursor."""
        ...

    async def insert_asset(
        self, organisation_id: str, asset_id: str, draft: AssetDraft
    ) -> Asset | None:
        """Stores an asset of a site that exists; None when the site has one of that name."""
        ...

    async def find_asset(self, organisation_id: str, asset_id: str) -> Asset | None:
        """The asset of that id."""
        ...

    async def list_assets(
        self, organisation_id: str, site_id: str, before: Cursor | None, limit: int
    ) -> list[Asset]:
        """Up to ``limit`` assets of the site, newest first, behind the cursor."""
        ...
