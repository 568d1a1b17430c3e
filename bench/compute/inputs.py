"""The inputs: data with known answers where they are at hand, else what this repository carries."""

from __future__ import annotations

import csv
import json
import os
import struct
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from bench.compute.lane import Missing
from bench.machine import PEER_PYTHON, ROOT
from gridpact.cli.demo_site import read_demo_site
from gridpact.cli.importing import pandapower, pglib_uc
from gridpact.compute.kinds import computations
from gridpact.compute.solve.warm_models import WarmModels
from gridpact.contracts.messages import (
    DispatchInput,
    DispatchResult,
    MpcStepInput,
    PowerFlowInput,
    UnitCommitmentInput,
)
from gridpact.kit.series import Float64Series
from gridpact.kit.wire import build, encode, to_json

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


def write_steps(folder: Path, given: dict[str, Any], slots: int, count: int) -> dict[str, Path]:
    """The steps of a controller with a horizon of ``slots`` over a longer problem, in both forms.

    What is measured at each step is what the plan before it meant to reach, and a seeded error.
    """
    random = np.random.default_rng(96)
    battery = given["batteries"][0]
    least = battery["battery"].get("min_energy_kwh", 0.0)
    most = battery["battery"]["capacity_kwh"]
    energy_kwh, problems, steps = battery["initial_energy_kwh"], [], []
    for first in range(count):
        window = slice(first, first + slots)
        start = datetime.fromisoformat(given["start_time"])
        start += timedelta(seconds=first * given["slot_duration_s"])
        problem = {
            **given,
            "start_time": f"{start:%Y-%m-%dT%H:%M:%SZ}",
            "slots": slots,
            "batteries": [{**battery, "initial_energy_kwh": energy_kwh}],
            "pv": [
                {**pv, "available_power_kw": pv["available_power_kw"][window]} for pv in given["pv"]
            ],
            "loads": [{**load, "power_kw": load["power_kw"][window]} for load in given["loads"]],
            "tariff": {
                price: given["tariff"][price][window]
                for price in ("import_price_per_kwh", "export_price_per_kwh")
            },
        }
        message = build(DispatchInput, problem)
        problems.append(json.loads(to_json(message)))
        steps.append(encode(MpcStepInput(controller_id="Home", problem=message)))
        reached = _planned(message).batteries[0].energy_kwh[0]
        energy_kwh = float(np.clip(reached + random.normal(0, 0.005 * most), least, most))
    packed, plain = folder / f"mpc_step_{slots}.steps", folder / f"mpc_step_{slots}.json"
    packed.write_bytes(b"".join(struct.pack("<q", len(step)) + step for step in steps))
    plain.write_text(json.dumps(problems), encoding="utf-8")
    return {"msgpack": packed, "json": plain}


def _planned(problem: DispatchInput) -> DispatchResult:
    """The plan of the Python engine, without the line that HiGHS prints when it is first used."""
    sys.stdout.flush()
    printed = os.dup(1)
    with open(os.devnull, "w", encoding="ascii") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        plan = computations(WarmModels())["dispatch"].compute(problem, lambda *_, **__: None)
        return cast("DispatchResult", plan)
    finally:
        os.dup2(printed, 1)
        os.close(printed)


def write_unit_commitment(folder: Path) -> Path:
    """The task of RTS-GMLC 2020-01-27, 73 thermal units and 48 hours, as our engines take it."""
    file = data_folder() / "pglib-uc" / "2020-01-27.json"
    if not file.is_file():
        raise Missing(f"{file} is not here; set GRIDPACT_DATA")
    submission = pglib_uc.submission_of(
        file.read_bytes(), start_time="2020-01-27T00:00:00Z", currency="USD"
    )
    options = {"time_limit_s": 240, "relative_gap": 0.005}
    packed = folder / "unit_commitment.msgpack"
    wanted = build(UnitCommitmentInput, {**submission["input"], "options": options})
    packed.write_bytes(encode(wanted))
    return packed


SLOTS_A_YEAR = 35_040


def network_of_pandapower(folder: Path, name: str) -> dict[str, Any]:
    """A network of `pandapower.networks`, as `gridpact import pandapower` reads it."""
    if not PEER_PYTHON.exists():
        raise Missing("networks come from pandapower, and bench/.venv is not here")
    target = folder / f"{name}.json"
    if not target.exists():
        module = "bench.compute.peers.networks"
        subprocess.run([PEER_PYTHON, "-m", module, name, target], cwd=ROOT, check=True)
    submission, _ = pandapower.submission_of(target.read_bytes())
    return submission["input"]["network"]


def write_power_flow(folder: Path, name: str) -> Path:
    """The task of one power flow from a flat start, as our engines take it."""
    network = network_of_pandapower(folder, name)
    wanted = build(PowerFlowInput, {"network": network, "options": {"start": "FLAT"}})
    packed = folder / f"{name}.msgpack"
    packed.write_bytes(encode(wanted))
    return packed


def write_power_flow_year(folder: Path, name: str) -> dict[str, Path]:
    """The task of a year of quarter hours, and the same factors for a peer as `.npz`.

    Twelve profiles of days, weeks, seasons and chance, from 45 to 105 % of each load; generators
    follow the mean of the loads. The seed is fixed.
    """
    network = network_of_pandapower(folder, name)
    profiles = _load_profiles(np.random.default_rng(20260101), count=12)
    loads, units = network["loads"], network["generators"]
    share = np.bincount(
        np.arange(len(loads)) % len(profiles),
        [load["active_power_mw"] for load in loads],
        minlength=len(profiles),
    )
    generation = share @ profiles / share.sum()
    for number, load in enumerate(loads):
        load["profile"] = f"load {number % len(profiles)}"
    followers = [unit for unit in units if unit["role"] == "PV"]
    for unit in followers:
        unit["profile"] = "generation"
    named = {f"load {number}": values for number, values in enumerate(profiles)}
    named["generation"] = generation
    given = {
        "network": network,
        "slots": SLOTS_A_YEAR,
        "start_time": "2026-01-01T00:00:00Z",
        "slot_duration_s": 900,
        "profiles": [
            {"name": profile, "unit": "FACTOR", "values": Float64Series(values)}
            for profile, values in named.items()
        ],
        "options": {"start": "FLAT", "report": "EXTREMES"},
    }
    packed, factors = folder / f"{name}-year.msgpack", folder / f"{name}-year.npz"
    packed.write_bytes(encode(build(PowerFlowInput, given)))
    np.savez(
        factors,
        load=profiles.T[:, np.arange(len(loads)) % len(profiles)],
        generator=np.repeat(generation[:, None], len(followers), axis=1),
    )
    return {"msgpack": packed, "npz": factors}


def _load_profiles(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Factors, one row a profile."""
    slot = np.arange(SLOTS_A_YEAR)
    day, week, year = (2 * np.pi * slot / (96 * days) for days in (1, 7, 365))
    rows: list[NDArray[np.float64]] = []
    for _ in range(count):
        late, noise = random.uniform(0, 2 * np.pi, 3), random.normal(0, 0.01, SLOTS_A_YEAR)
        wander = np.array(lfilter([1.0], [1.0, -0.97], noise))
        shape = 0.14 * np.sin(day + late[0]) + 0.05 * np.sin(2 * day + late[1])
        shape += 0.04 * np.sin(week + late[2]) + 0.06 * np.cos(year)
        rows.append(np.clip(0.75 + shape + wander, 0.45, 1.05))
    return np.array(rows)


def _second_column(file: Path) -> list[float]:
    with file.open(encoding="utf-8", newline="") as lines:
        return [float(row["value"]) for row in csv.DictReader(lines)]
