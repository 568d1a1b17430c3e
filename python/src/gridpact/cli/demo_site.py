"""The folder `demo/`: what its site.yaml says, and the CSV files beside it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ConfigDict

from gridpact.contracts.rest import (
    Battery,
    BatteryAssetDraft,
    DispatchBattery,
    DispatchGrid,
    DispatchInput,
    DispatchLoad,
    DispatchPv,
    DispatchTariff,
    Load,
    LoadAssetDraft,
    Price,
    Pv,
    PvAssetDraft,
    SiteDraft,
    Tariff,
    TariffAssetDraft,
)
from gridpact.kit.instants import format_instant
from gridpact.platform.options import repository


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str


class DemoBattery(_Part):
    """The battery, and what it holds when a plan begins and shall hold when it ends."""

    battery: Battery
    initial_energy_kwh: float
    final_energy_kwh: float


class DemoPv(_Part):
    """The PV plant and the series of its power, generation negative."""

    pv: Pv
    power_series: str


class DemoLoad(_Part):
    """The load and the series of its power."""

    load: Load
    power_series: str


class DemoTariff(_Part):
    """A series of import prices and one export price."""

    import_price_series: str
    export_price_per_kwh: float


class DemoSite(BaseModel):
    """The site of the demo; series are named by their CSV files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: SiteDraft
    battery: DemoBattery
    pv: DemoPv
    load: DemoLoad
    tariff: DemoTariff
    first_slot: datetime
    slot_duration_s: int

    @property
    def time_zone(self) -> ZoneInfo:
        return ZoneInfo(self.site.time_zone)

    def start_of(self, slot: int) -> str:
        """The instant at which a slot begins; slot after the last one: at which that one ends."""
        first = self.first_slot.replace(tzinfo=self.time_zone).timestamp()
        instant = first + slot * self.slot_duration_s
        return format_instant(datetime.fromtimestamp(instant, self.time_zone))

    @property
    def series(self) -> dict[str, str]:
        """The CSV files, and the quantity that each holds."""
        return {
            self.pv.power_series: "power_kw",
            self.load.power_series: "power_kw",
            self.tariff.import_price_series: "price_per_kwh",
        }

    @property
    def assets(self) -> tuple[BatteryAssetDraft | PvAssetDraft | LoadAssetDraft, ...]:
        """What stands on the site; the tariff needs its series first (`tariff_asset`)."""
        return (
            BatteryAssetDraft(type="battery", name=self.battery.name, battery=self.battery.battery),
            PvAssetDraft(type="pv", name=self.pv.name, pv=self.pv.pv),
            LoadAssetDraft(type="load", name=self.load.name, load=self.load.load),
        )

    def tariff_asset(self, import_price_series_id: str) -> TariffAssetDraft:
        return TariffAssetDraft(
            type="tariff",
            name=self.tariff.name,
            tariff=Tariff(
                import_price=Price(series_id=import_price_series_id),
                export_price=Price(fixed_per_kwh=self.tariff.export_price_per_kwh),
            ),
        )

    def dispatch_input(self, slots: int, values: dict[str, list[float]]) -> DispatchInput:
        """The schedule of the first slots; ``values`` are those of each series, by its file."""
        limits = self.site
        return DispatchInput(
            start_time=self.start_of(0),
            slot_duration_s=self.slot_duration_s,
            slots=slots,
            currency=limits.currency,
            batteries=[
                DispatchBattery(
                    name=self.battery.name,
                    battery=self.battery.battery,
                    initial_energy_kwh=self.battery.initial_energy_kwh,
                    final_energy_kwh=self.battery.final_energy_kwh,
                )
            ],
            pv=[
                DispatchPv(
                    name=self.pv.name,
                    curtailable=self.pv.pv.curtailable,
                    # Stored power of generation is negative, what is available is an amount.
                    available_power_kw=[
                        0.0 - power for power in values[self.pv.power_series][:slots]
                    ],
                )
            ],
            loads=[
                DispatchLoad(name=self.load.name, power_kw=values[self.load.power_series][:slots])
            ],
            tariff=DispatchTariff(
                import_price_per_kwh=values[self.tariff.import_price_series][:slots],
                export_price_per_kwh=[self.tariff.export_price_per_kwh] * slots,
            ),
            grid=DispatchGrid(
                max_import_power_kw=limits.max_import_power_kw or 0.0,
                max_export_power_kw=limits.max_export_power_kw or 0.0,
            ),
        )


def read_demo_site(folder: Path) -> DemoSite:
    """What site.yaml in the folder says. Raises FileNotFoundError and pydantic's error."""
    content = yaml.safe_load((folder / "site.yaml").read_text(encoding="utf-8"))
    return DemoSite.model_validate(content)


def default_demo_folder() -> Path:
    """`demo/` of the clone, else of the working folder."""
    return (repository() or Path.cwd()) / "demo"
