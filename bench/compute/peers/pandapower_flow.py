"""pandapower with numba: one AC power flow by Newton-Raphson, from a flat start, on one thread."""

from __future__ import annotations

import warnings
from functools import partial

import numba
import numpy as np
import pandapower
import pandapower.networks

from bench.compute.lane import Answer, Lane, Measure, serve

TOLERANCE_PU = 1e-8


class PowerFlow:
    """A net in memory to its result tables: what `runpp` does.

    ``solve`` is the time that pandapower itself measures around admittance matrix, Newton-Raphson
    and flows, without the way from the tables and back.
    """

    def __init__(self, name: str, *, lightsim2grid: bool) -> None:
        self._net = case_of(name)
        self._lightsim2grid = lightsim2grid

    def call(self, measure: Measure) -> None:
        with measure():
            run(self._net, lightsim2grid=self._lightsim2grid)
        measure.add("solve", self._net._ppc["et"] * 1e3)

    def answer(self) -> Answer:
        found = self._net.res_bus
        voltage = found.vm_pu.to_numpy() * np.exp(1j * np.deg2rad(found.va_degree.to_numpy()))
        return {"voltage": [*voltage.real.tolist(), *voltage.imag.tolist()]}


def case_of(name: str) -> pandapower.pandapowerNet:
    warnings.filterwarnings("ignore")
    return getattr(pandapower.networks, name)()


def run(net: pandapower.pandapowerNet, *, lightsim2grid: bool) -> None:
    """The fastest call that gives the whole result; 1e-8 p.u. for every bus."""
    pandapower.runpp(
        net,
        numba=True,
        lightsim2grid=lightsim2grid,
        init="flat",
        calculate_voltage_angles=True,
        check_connectivity=False,
        tolerance_mva=TOLERANCE_PU * net.sn_mva,
        max_iteration=30,
    )


def main() -> None:
    lanes: dict[str, partial[Lane]] = {
        "power_flow": partial(PowerFlow, lightsim2grid=False),
        "power_flow_lightsim2grid": partial(PowerFlow, lightsim2grid=True),
    }
    serve(lanes, lambda: {"pandapower": pandapower.__version__, "numba": numba.__version__})


if __name__ == "__main__":
    main()
