"""The measured household beside this repository, where it is there: third-party, never copied."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

DATA = Path(os.environ.get("GRIDPACT_DATA", Path(__file__).parents[4] / "shared" / "data"))
FOLDER = DATA / "household-15min"
OPTIMA = {96: -1.448137, 672: -7.096413}


def household_input(slots: int) -> dict[str, Any]:
    """The problem in the contract's form; skips the test in a clone that lies alone."""
    file = FOLDER / f"dispatch-{slots}.json"
    if not file.is_file():
        pytest.skip("the measured household (../shared/data, GRIDPACT_DATA) is not here")
    given = json.loads(file.read_text(encoding="utf-8"))
    battery = given["battery"]
    start = datetime.fromisoformat(given["first_slot"]).astimezone(UTC)
    return {
        "start_time": f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "slot_duration_s": int(given["slot_hours"] * 3600),
        "slots": given["slots"],
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
