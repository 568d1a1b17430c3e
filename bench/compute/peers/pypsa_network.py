"""PyPSA on the same dispatch problem: network built and optimised (linopy, HiGHS on one thread)."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pandas as pd
import pypsa

from bench.compute.lane import Answer, Measure, serve
from bench.compute.peers.highs import Site, read_site


class Dispatch:
    """Everything new in each call, as with the others."""

    def __init__(self, source: str) -> None:
        self._site = read_site(source)

    def call(self, measure: Measure) -> None:
        with measure():
            network = network_of(self._site)
            status, condition = network.optimize(
                solver_name="highs", solver_options={"threads": 1}, log_to_console=False
            )
        if (status, condition) != ("ok", "optimal"):
            raise RuntimeError(f"PyPSA ended with {status}, {condition}")
        self._objective = float(network.objective)

    def answer(self) -> Answer:
        return {"cost": self._objective}


def network_of(site: Site) -> pypsa.Network:
    """One bus. Stored energy counts from the battery's minimum, because PyPSA's begins at 0."""
    slots, battery = len(site.load_kw), site.battery
    least = battery.get("min_energy_kwh", 0.0)
    most = battery.get("max_energy_kwh", battery["capacity_kwh"])
    network = pypsa.Network()
    network.set_snapshots(range(slots))
    network.snapshot_weightings.loc[:, :] = site.hours
    network.add("Bus", "site")
    network.add("Load", "load", bus="site", p_set=site.load_kw)
    network.add(
        "Generator",
        "import",
        bus="site",
        p_nom=site.max_import_kw,
        marginal_cost=site.import_price,
    )
    network.add(
        "Generator",
        "export",
        bus="site",
        p_nom=site.max_export_kw,
        p_min_pu=-1.0,
        p_max_pu=0.0,
        marginal_cost=site.export_price,
    )
    if site.curtailable_kw.any():
        peak = float(site.curtailable_kw.max())
        network.add("Generator", "pv", bus="site", p_nom=peak, p_max_pu=site.curtailable_kw / peak)
    end = np.full(slots, np.nan)
    if site.final_kwh is not None:
        end[-1] = site.final_kwh - least
    discharge = battery["max_discharge_power_kw"]
    network.add(
        "StorageUnit",
        "battery",
        bus="site",
        p_nom=discharge,
        p_min_pu=-battery["max_charge_power_kw"] / discharge,
        max_hours=(most - least) / discharge,
        efficiency_store=battery["charge_efficiency"],
        efficiency_dispatch=battery["discharge_efficiency"],
        marginal_cost=battery.get("wear_cost_per_kwh", 0.0),
        state_of_charge_initial=site.initial_kwh - least,
        state_of_charge_set=pd.Series(end, index=network.snapshots),
    )
    return network


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    serve({"dispatch": Dispatch}, lambda: {"pypsa": pypsa.__version__})


if __name__ == "__main__":
    main()
