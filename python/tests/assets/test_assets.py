"""Sites and assets, on a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gridpact.assets.contract import GeneratedContract
from gridpact.assets.domain import AssetType, SiteDraft
from gridpact.assets.repository import PostgresAssetStore
from gridpact.assets.service import AssetService
from gridpact.contracts.errors import Reason
from gridpact.kit.database import Database
from gridpact.kit.errors import GridpactError
from gridpact.kit.identifiers import new_identifier

OWNER = new_identifier()

BATTERY = {
    "capacity_kwh": 10,
    "max_charge_power_kw": 5,
    "max_discharge_power_kw": 5,
    "charge_efficiency": 0.95,
    "discharge_efficiency": 0.95,
}


def draft(**changes: Any) -> SiteDraft:
    members: dict[str, Any] = {"name": "Farm", "time_zone": "Europe/Berlin", "currency": "EUR"}
    return SiteDraft(**(members | changes))


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[AssetService]:
    async with Database(database_url).opened() as database:
        yield AssetService(PostgresAssetStore(database), GeneratedContract())


async def refused(call: Any) -> GridpactError:
    with pytest.raises(GridpactError) as caught:
        await call
    return caught.value


class TestCreateSite:
    async def test_stores_what_was_said(self, service: AssetService) -> None:
        said = draft(latitude=-33.9, longitude=151.2, max_import_power_kw=0.0)
        site = await service.create_site(OWNER, said)
        assert (site.name, site.latitude, site.longitude) == ("Farm", -33.9, 151.2)
        assert (site.max_import_power_kw, site.max_export_power_kw) == (0.0, None)
        assert await service.get_site(OWNER, site.site_id) == site

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"name": " Farm"}, "name"),
            ({"name": ""}, "name"),
            ({"time_zone": "Europe/Atlantis"}, "time_zone"),
            ({"time_zone": "Europe"}, "time_zone"),
            ({"time_zone": "../etc/passwd"}, "time_zone"),
            ({"time_zone": "localtime"}, "time_zone"),
            ({"currency": "eur"}, "currency"),
            ({"latitude": 90.1}, "latitude"),
            ({"longitude": float("nan")}, "longitude"),
            ({"max_import_power_kw": -1.0}, "max_import_power_kw"),
        ],
    )
    async def test_names_the_field_that_is_wrong(
        self, service: AssetService, changes: dict[str, Any], field: str
    ) -> None:
        error = await refused(service.create_site(OWNER, draft(**changes)))
        assert error.reason is Reason.INVALID_ARGUMENT
        assert {violation.field for violation in error.violations} == {field}
        assert await service.list_sites(OWNER, "", 10) == ([], "")

    async def test_takes_a_name_once_an_organisation(self, service: AssetService) -> None:
        await service.create_site(OWNER, draft())
        error = await refused(service.create_site(OWNER, draft(currency="CHF")))
        assert error.reason is Reason.ALREADY_EXISTS
        await service.create_site(new_identifier(), draft())


class TestGetSite:
    async def test_hides_the_sites_of_others_and_ids_that_are_none(
        self, service: AssetService
    ) -> None:
        site = await service.create_site(OWNER, draft())
        for owner, site_id in (
            (new_identifier(), site.site_id),
            (OWNER, new_identifier()),
            (OWNER, "' OR true --"),
        ):
            error = await refused(service.get_site(owner, site_id))
            assert error.reason is Reason.NOT_FOUND


class TestListSites:
    async def test_goes_through_all_sites_once_newest_first(self, service: AssetService) -> None:
        made = [await service.create_site(OWNER, draft(name=f"Site {i}")) for i in range(5)]
        await service.create_site(new_identifier(), draft())
        seen, cursor = await service.list_sites(OWNER, "", 2)
        while cursor:
            page, cursor = await service.list_sites(OWNER, cursor, 2)
            seen += page
        assert seen == made[::-1]


class TestCreateAsset:
    @pytest.mark.parametrize(
        ("type", "specification"),
        [
            (AssetType.BATTERY, BATTERY),
            (AssetType.PV, {"peak_power_kw": 9.9, "curtailable": True}),
            (AssetType.LOAD, {}),
            (
                AssetType.TARIFF,
                {
                    "import_price": {"series_id": "01981f6e-7c00-7000-8000-000000000001"},
                    "export_price": {"fixed_per_kwh": -0.01},
                },
            ),
        ],
    )
    async def test_stores_what_was_said_and_no_more(
        self, service: AssetService, type: AssetType, specification: dict[str, Any]
    ) -> None:
        site = await service.create_site(OWNER, draft())
        asset = await service.create_asset(
            OWNER, site.site_id, "Thing", type, json.dumps(specification).encode()
        )
        assert asset.specification == specification
        assert await service.get_asset(OWNER, asset.asset_id) == asset
        assert await service.list_assets(OWNER, site.site_id, "", 10) == ([asset], "")

    @pytest.mark.parametrize(
        ("specification", "field"),
        [
            (BATTERY | {"capacity_kwh": -1}, "battery.capacity_kwh"),
            (BATTERY | {"min_energy_kwh": 11}, "battery.min_energy_kwh"),
            (BATTERY | {"colour": "red"}, "battery.colour"),
            ([], "battery"),
            ("{", "battery"),
            ('{"capacity_kwh": NaN}', "battery"),
        ],
    )
    async def test_names_the_field_that_is_wrong(
        self, service: AssetService, specification: Any, field: str
    ) -> None:
        site = await service.create_site(OWNER, draft())
        text = specification if isinstance(specification, str) else json.dumps(specification)
        error = await refused(
            service.create_asset(OWNER, site.site_id, "B", AssetType.BATTERY, text.encode())
        )
        assert error.reason is Reason.INVALID_ARGUMENT
        assert field in {violation.field for violation in error.violations}
        assert await service.list_assets(OWNER, site.site_id, "", 10) == ([], "")

    async def test_takes_a_name_once_a_site(self, service: AssetService) -> None:
        site = await service.create_site(OWNER, draft())
        await service.create_asset(OWNER, site.site_id, "Load", AssetType.LOAD, b"{}")
        error = await refused(
            service.create_asset(OWNER, site.site_id, "Load", AssetType.LOAD, b"{}")
        )
        assert error.reason is Reason.ALREADY_EXISTS

    async def test_refuses_the_site_of_another_organisation(self, service: AssetService) -> None:
        site = await service.create_site(OWNER, draft())
        intruder = new_identifier()
        for call in (
            service.create_asset(intruder, site.site_id, "Load", AssetType.LOAD, b"{}"),
            service.list_assets(intruder, site.site_id, "", 10),
        ):
            assert (await refused(call)).reason is Reason.NOT_FOUND
        assert await service.list_assets(OWNER, site.site_id, "", 10) == ([], "")
