"""Writes a network of `pandapower.networks` as JSON in the form of contracts/schemas/network.yaml.

    bench/.venv/bin/python -m bench.compute.peers.networks case118 NETWORK.json

Branches are those of pandapower's own admittance model, so the impedances are the same numbers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandapower
from pandapower.pypower import idx_brch

from bench.compute.peers.pandapower_flow import case_of, run


def network_of(net: pandapower.pandapowerNet) -> dict[str, Any]:
    """The network in service; names of buses are pandapower's indices."""
    run(net, lightsim2grid=False)
    unknown = {"ward", "xward", "impedance", "dcline", "storage", "motor", "trafo3w", "switch"}
    if found := [name for name in sorted(unknown) if len(net[name])]:
        raise ValueError(f"not converted: {', '.join(found)}")
    return {
        "base_power_mva": float(net.sn_mva),
        "frequency_hz": float(net.f_hz),
        "buses": [
            {"name": str(bus), "nominal_voltage_kv": float(row.vn_kv)}
            for bus, row in net.bus.iterrows()
        ],
        "branches": _branches(net),
        "generators": [
            *(_slack(at, row) for at, row in net.ext_grid.iterrows() if row.in_service),
            *(
                {
                    "name": f"generator {at}",
                    "bus": str(row.bus),
                    "role": "PV",
                    "active_power_mw": float(row.p_mw * row.scaling),
                    "voltage_setpoint_pu": float(row.vm_pu),
                }
                for at, row in net.gen.iterrows()
                if row.in_service
            ),
            *(
                {
                    "name": f"static generator {at}",
                    "bus": str(row.bus),
                    "role": "PQ",
                    "active_power_mw": float(row.p_mw * row.scaling),
                    "reactive_power_mvar": float(row.q_mvar * row.scaling),
                }
                for at, row in net.sgen.iterrows()
                if row.in_service
            ),
        ],
        "loads": [
            {
                "name": f"load {at}",
                "bus": str(row.bus),
                "active_power_mw": float(row.p_mw * row.scaling),
                "reactive_power_mvar": float(row.q_mvar * row.scaling),
            }
            for at, row in net.load.iterrows()
            if row.in_service
        ],
        "shunts": [
            {
                "name": f"shunt {at}",
                "bus": str(row.bus),
                "conductance_mw": float(row.p_mw * row.step * _rated(net, row)),
                "susceptance_mvar": float(-row.q_mvar * row.step * _rated(net, row)),
            }
            for at, row in net.shunt.iterrows()
            if row.in_service
        ],
    }


def _slack(at: Any, row: Any) -> dict[str, Any]:
    return {
        "name": f"external grid {at}",
        "bus": str(row.bus),
        "role": "SLACK",
        "voltage_setpoint_pu": float(row.vm_pu),
        "voltage_angle_deg": float(row.va_degree),
    }


def _rated(net: pandapower.pandapowerNet, shunt: Any) -> float:
    return float(net.bus.vn_kv[shunt.bus] / shunt.vn_kv) ** 2


def _branches(net: pandapower.pandapowerNet) -> list[dict[str, Any]]:
    numbers = net._pd2ppc_lookups["bus"]
    bus_of = {int(numbers[bus]): str(bus) for bus in net.bus.index}
    branches = []
    for kind, name in (("line", "LINE"), ("trafo", "TRANSFORMER")):
        first, end = net._pd2ppc_lookups["branch"].get(kind, (0, 0))
        for at, row in zip(net[kind].index, net._ppc["branch"][first:end].real, strict=True):
            if not row[idx_brch.BR_STATUS]:
                continue
            branches.append(
                {
                    "name": f"{kind} {at}",
                    "kind": name,
                    "from_bus": bus_of[int(row[idx_brch.F_BUS])],
                    "to_bus": bus_of[int(row[idx_brch.T_BUS])],
                    "resistance_pu": float(row[idx_brch.BR_R]),
                    "reactance_pu": float(row[idx_brch.BR_X]),
                    "charging_conductance_pu": float(row[idx_brch.BR_G]),
                    "charging_susceptance_pu": float(row[idx_brch.BR_B]),
                    "tap_ratio": float(row[idx_brch.TAP] or 1.0),
                    "phase_shift_deg": float(row[idx_brch.SHIFT]),
                }
            )
    asymmetric = net._ppc["branch"][:, [idx_brch.BR_R_ASYM, idx_brch.BR_X_ASYM]].real
    if np.any(asymmetric):
        raise ValueError("not converted: asymmetric branches")
    return branches


def main() -> None:
    name, target = sys.argv[1:]
    Path(target).write_text(json.dumps(network_of(case_of(name))), encoding="utf-8")


if __name__ == "__main__":
    main()
