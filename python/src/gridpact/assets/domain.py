"""What a site and an asset are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteDraft:
    """What is said of a site: where it is and what its grid connection allows.

    ``time_zone`` is an IANA name, ``currency`` ISO 4217; positions are in degrees north and east.
    """

    name: str
    time_zone: str
    currency: str
    latitude: float | None = None
    longitude: float | None = None
    max_import_power_kw: float | None = None
    max_export_power_kw: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Site(SiteDraft):
    """A place with one grid connection, owned by one organisation."""

    site_id: str
    organisation_id: str
    created_time: datetime


class AssetType(StrEnum):
    """What an asset is; also the name of its schema."""

    BATTERY = "battery"
    PV = "pv"
    LOAD = "load"
    TARIFF = "tariff"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetDraft:
    """What is said of an asset; ``specification`` has the shape of its type's schema."""

    site_id: str
    name: str
    type: AssetType
    specification: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset(AssetDraft):
    """Something on a site."""

    asset_id: str
    organisation_id: str
    created_time: datetime
