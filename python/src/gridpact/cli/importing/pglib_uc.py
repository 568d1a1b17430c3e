"""PGLib-UC instances (https://github.com/power-grid-lib/pglib-uc) as `unit-commitment` submissions.

Periods of an hour, powers in MW, times and lags in hours, costs in a currency that the file does
not name.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from pydantic import ValidationError

from gridpact.cli.importing.error import ImportFileError
from gridpact.contracts.rest import UnitCommitmentSubmission
from gridpact.kit.rest import violations_from

SLOT_DURATION_S = 3600


class _Point(msgspec.Struct):
    mw: float
    cost: float


class _Startup(msgspec.Struct):
    lag: float
    cost: float


class _Thermal(msgspec.Struct):
    must_run: int
    power_output_minimum: float
    power_output_maximum: float
    ramp_up_limit: float
    ramp_down_limit: float
    ramp_startup_limit: float
    ramp_shutdown_limit: float
    time_up_minimum: float
    time_down_minimum: float
    power_output_t0: float
    unit_on_t0: int
    time_up_t0: float
    time_down_t0: float
    startup: list[_Startup]
    piecewise_production: list[_Point]


class _Renewable(msgspec.Struct):
    power_output_minimum: list[float]
    power_output_maximum: list[float]


class _Instance(msgspec.Struct):
    time_periods: int
    demand: list[float]
    reserves: list[float]
    thermal_generators: dict[str, msgspec.Raw]
    renewable_generators: dict[str, msgspec.Raw]


_Form = TypeVar("_Form")


def start_in(file_name: str) -> str:
    """Midnight of the date that a file is named by, or of 2020-01-01 where it is by none."""
    found = re.search(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", file_name)
    return f"{found[0] if found else '2020-01-01'}T00:00:00Z"


def submission_of(text: bytes, *, start_time: str, currency: str) -> dict[str, Any]:
    """The submission that computes an instance. Raises ImportFileError."""
    instance = _read(text, _Instance, "")
    submission: dict[str, Any] = {
        "kind": "unit-commitment",
        "input": {
            "start_time": start_time,
            "slot_duration_s": SLOT_DURATION_S,
            "slots": instance.time_periods,
            "currency": currency,
            "demand_mw": instance.demand,
            "reserve_requirement_mw": instance.reserves,
            "thermal_units": [
                _thermal_unit(name, _read(unit, _Thermal, f"thermal_generators.{name}"))
                for name, unit in instance.thermal_generators.items()
            ],
            "renewable_units": [
                _renewable_unit(name, _read(unit, _Renewable, f"renewable_generators.{name}"))
                for name, unit in instance.renewable_generators.items()
            ],
        },
    }
    try:
        UnitCommitmentSubmission.model_validate(submission)
    except ValidationError as error:
        broken = [
            f"{_named(found.field, submission)} {found.message} ({found.rule})"
            for found in violations_from(error.errors())
        ]
        raise ImportFileError("\n".join(broken)) from error
    return submission


def _thermal_unit(name: str, unit: _Thermal) -> dict[str, Any]:
    initially = (
        {"initial_power_mw": unit.power_output_t0, "initial_duration_h": unit.time_up_t0}
        if unit.unit_on_t0
        else {"initial_duration_h": unit.time_down_t0}
    )
    return {
        "name": name,
        "must_run": bool(unit.must_run),
        "min_power_mw": unit.power_output_minimum,
        "max_power_mw": unit.power_output_maximum,
        "ramp_up_mw_per_h": unit.ramp_up_limit,
        "ramp_down_mw_per_h": unit.ramp_down_limit,
        "startup_limit_mw": unit.ramp_startup_limit,
        "shutdown_limit_mw": unit.ramp_shutdown_limit,
        "min_up_time_h": unit.time_up_minimum,
        "min_down_time_h": unit.time_down_minimum,
        **initially,
        "startup_categories": [
            {"min_off_time_h": category.lag, "cost": category.cost} for category in unit.startup
        ],
        "production_cost": [
            {"power_mw": point.mw, "cost_per_h": point.cost} for point in unit.piecewise_production
        ],
    }


def _renewable_unit(name: str, unit: _Renewable) -> dict[str, Any]:
    return {
        "name": name,
        "min_power_mw": unit.power_output_minimum,
        "max_power_mw": unit.power_output_maximum,
    }


def _read(text: bytes | msgspec.Raw, form: type[_Form], at: str) -> _Form:
    try:
        return msgspec.json.decode(text, type=form)
    except msgspec.DecodeError as error:
        words, _, place = str(error).partition(" - at `$")
        path = f"{at}{place.rstrip('`')}".lstrip(".")
        raise ImportFileError(f"{path}: {words}" if path else words) from error


def _named(field: str, submission: dict[str, Any]) -> str:
    """A path of the contract, with the name of the unit that it leads to."""
    for units in ("thermal_units", "renewable_units"):
        before, found, after = field.partition(f"{units}[")
        if found:
            index, _, rest = after.partition("]")
            name = submission["input"][units][int(index)]["name"]
            return f"{before}{found}{index}] ({name}){rest}"
    return field
