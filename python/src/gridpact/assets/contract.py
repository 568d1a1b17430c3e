"""The generated shapes of sites and assets behind the port `AssetContract`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from zoneinfo import available_timezones

import msgspec
from pydantic import BaseModel, ValidationError

from gridpact.assets.domain import AssetDraft, AssetType, SiteDraft
from gridpact.contracts import rest
from gridpact.kit.errors import GridpactError
from gridpact.kit.rest import violations_from
from gridpact.kit.violation import Violation

_DRAFTS: Mapping[AssetType, type[BaseModel]] = {
    AssetType.BATTERY: rest.BatteryAssetDraft,
    AssetType.PV: rest.PvAssetDraft,
    AssetType.LOAD: rest.LoadAssetDraft,
    AssetType.TARIFF: rest.TariffAssetDraft,
}

# Names of the time zone database that are no places: they mean another thing on each machine.
_NO_PLACES = {"Factory", "localtime", "posixrules"}


class GeneratedContract:
    """The AssetContract of this release."""

    def __init__(self) -> None:
        self._time_zones = frozenset(available_timezones() - _NO_PLACES)

    def check_site(self, draft: SiteDraft) -> list[Violation]:
        members = {name: value for name, value in asdict(draft).items() if value is not None}
        try:
            rest.SiteDraft.model_validate(members)
        except ValidationError as error:
            return violations_from(error.errors())
        if draft.time_zone not in self._time_zones:
            words = "must be a time zone that there is, for example Europe/Berlin"
            return [Violation("time_zone", "known", words)]
        return []

    def read_asset(
        self, site_id: str, name: str, type: AssetType, specification_json: bytes
    ) -> AssetDraft:
        specification = _parse(specification_json, type)
        try:
            checked = _DRAFTS[type].model_validate(
                {"type": type.value, "name": name, type.value: specification}
            )
        except ValidationError as error:
            raise GridpactError.invalid(violations_from(error.errors())) from error
        # As it was checked: whole numbers in one form, nothing that the schema does not name.
        members = checked.model_dump(mode="json", exclude_unset=True)
        return AssetDraft(site_id=site_id, name=name, type=type, specification=members[type.value])


def _parse(specification_json: bytes, type: AssetType) -> object:
    try:
        return msgspec.json.decode(specification_json)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        words = f"must be JSON: {error}"
        raise GridpactError.invalid([Violation(type.value, "type", words)]) from error
