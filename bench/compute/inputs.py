"""The inputs: data with known answers where they are at hand, else what this repository carries."""

from __future__ import annotations

import csv
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gridpact.cli.demo_site import read_demo_site
from gridpact.contracts.messages import DispatchInput
from gridpact.kit.wire import build, encode, to_json

ROOT = Path(__file__).resolve().parents[2]
HOUSEHOLD_OPTIMA = {96: -1.448137, 672: -7.096413}


def data_folder() -> Path:
    """GRIDPACT_DATA, else the folder of third-party data beside the repository, if there is one."""
    named = os.environ.get("GRIDPACT_DATA")
    return Path(named) if named else ROOT.parent / "shared" / "data"


class Household:
    """A measured house, battery and PV, whose optima are known (../shared/data)."""

    words = "household-15min: a measured house with battery and PV, optimum known"

    def __init__(self) -> None:
        self._folder = data_folder() / "household-15min"

    def is_here(self) -> bool:
        return all((self._folder / f"dispatch-{slots}.json").is_file() for slots in (96, 672))

    def dispatch(self, slots: int) -> dict[str, Any]:
        given = json.loads((self._folder / f"dispatch-{slots}.json").read_text(encoding="utf-8"))
        battery = given["battery"]
        start = datetime.fromisoformat(given["first_slot"]).astimezone(UTC)
        return {
            "start_time": f"{start:%Y-%m-%dT%H:%M:%SZ}",
            "slot_duration_s": int(given["slot_hours"] * 3600),
            "slots": slots,
            "currency": "EUR",
            "batteries": [
                {
                    "name": "Battery",
                    "battery": {
                        "capacity_kwh": battery["capacity_kwh"],
                        "min_energy_kwh": battery["min_energy_kwh"],
                        "max_charge_power_kw": battery["max_power_kw"],
                        "max_discharge_power_kw": battery["max_power_kw"],
                        "charge_efficiency": battery["charge_efficiency"],
                        "discharge_efficiency": battery["discharge_efficiency"],
                    },
                    "initial_energy_kwh": battery["initial_energy_kwh"],
                    "final_energy_kwh": battery["final_energy_kwh"],
                }
            ],
            "pv": [
                {
                    "name": "Roof",
                    "available_power_kw": given["pv_kw"],
                    "curtailable": given["pv_curtailable"],
                }
            ],
            "loads": [{"name": "House", "power_kw": given["load_kw"]}],
            "tariff": {
                "import_price_per_kwh": given["import_price_eur_per_kwh"],
                "export_price_per_kwh": given["export_price_eur_per_kwh"],
            },
            "grid": {
                "max_import_power_kw": given["grid_limit_kw"],
                "max_export_power_kw": given["grid_limit_kw"],
            },
        }

    def optimum(self, slots: int) -> float | None:
        return HOUSEHOLD_OPTIMA[slots]


class Demo:
    """The house of demo/: measured tariff, standard profile, PV of a reference year."""

    words = "demo/: a house with battery and curtailable PV"

    def is_here(self) -> bool:
        return True

    def dispatch(self, slots: int) -> dict[str, Any]:
        folder = ROOT / "demo"
        site = read_demo_site(folder)
        values = {file: _second_column(folder / file) for file in site.series}
        wanted = site.dispatch_input(slots, values)
        return wanted.model_dump(mode="json", exclude_none=True)

    def optimum(self, slots: int) -> float | None:
        return None


House = Household | Demo


def house(wanted: str) -> House:
    """``household``, ``demo``, or ``auto``: the first where its data is here, else the second.

    Raises FileNotFoundError.
    """
    household = Household()
    if wanted == "demo" or (wanted == "auto" and not household.is_here()):
        return Demo()
    if not household.is_here():
        raise FileNotFoundError(f"{data_folder()}/household-15min is not here; set GRIDPACT_DATA")
    return household


def write_dispatch(folder: Path, name: str, given: dict[str, Any]) -> dict[str, Path]:
    """The same problem for each reader: as the message that our engines take, and as JSON."""
    message = build(DispatchInput, given)
    packed, plain = folder / f"{name}.msgpack", folder / f"{name}.json"
    packed.write_bytes(encode(message))
    plain.write_bytes(to_json(message))
    return {"msgpack": packed, "json": plain}


def _second_column(file: Path) -> list[float]:
    with file.open(encoding="utf-8", newline="") as lines:
        return [float(row["value"]) for row in csv.DictReader(lines)]
