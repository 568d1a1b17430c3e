"""lightsim2grid (C++) with its fastest solver, Newton-Raphson by KLU, on the nets of pandapower."""

from __future__ import annotations

import numpy as np
from lightsim2grid import __version__
from lightsim2grid.algorithm import AlgorithmType
from lightsim2grid.network import init_from_pandapower
from lightsim2grid.timeSerie import TimeSeriesCPP

from bench.compute.lane import Answer, Measure, serve
from bench.compute.peers.pandapower_flow import TOLERANCE_PU, case_of

MOST_ITERATIONS = 30


class PowerFlow:
    """A grid model in memory to voltages and flows.

    Everything is built anew in each call: admittance matrix, its analysis, Newton-Raphson, flows.
    ``newton`` is what lightsim2grid measures itself around its algorithm in that call. ``repeat``
    is the next call from the same start, in which lightsim2grid keeps matrix and analysis.
    """

    def __init__(self, name: str) -> None:
        net = case_of(name)
        self.model = init_from_pandapower(net, pp_orig_file="pandapower_v3")
        self.model.change_algorithm(AlgorithmType.NRSing_KLU)  # one slack
        slack_angle = np.deg2rad(net.ext_grid.va_degree.to_numpy()[0])
        self.flat = np.full(self.model.total_bus(), np.exp(1j * slack_angle))
        self.net = net

    def call(self, measure: Measure) -> None:
        self.model.tell_solver_need_reset()
        start, again = self.flat.copy(), self.flat.copy()  # they become the result
        with measure():
            self._voltage = self.model.ac_pf(start, MOST_ITERATIONS, TOLERANCE_PU)
        measure.add("newton", self.model.get_computation_time() * 1e3)
        with measure("repeat"):
            self.model.ac_pf(again, MOST_ITERATIONS, TOLERANCE_PU)

    def answer(self) -> Answer:
        return {"voltage": [*self._voltage.real.tolist(), *self._voltage.imag.tolist()]}


class Year:
    """All slots of a series: TimeSeriesCPP, each from the one before, then the flows in ampere.

    ``solve`` is without the flows. The source names the net and the file of factors.
    """

    def __init__(self, source: str) -> None:
        name, factors = source.split(" ", 1)
        single = PowerFlow(name)
        self._single = single
        net, model = single.net, single.model
        with np.load(factors) as given:
            load, generator = given["load"], given["generator"]
        self._samples = np.arange(0, len(load), SAMPLE_INTERVAL)
        planned = np.array([one.target_p_mw for one in model.get_generators()])
        generated = np.tile(planned, (len(load), 1))
        generated[:, : len(net.gen)] *= generator
        self._given = tuple(
            np.ascontiguousarray(values)
            for values in (
                generated,
                np.tile(net.sgen.p_mw.to_numpy(), (len(load), 1)),
                load * net.load.p_mw.to_numpy(),
                load * net.load.q_mvar.to_numpy(),
            )
        )
        model.ac_pf(single.flat.copy(), MOST_ITERATIONS, TOLERANCE_PU)

    def call(self, measure: Measure) -> None:
        series = TimeSeriesCPP(self._single.model)
        series.change_algorithm(AlgorithmType.NRSing_KLU)
        start = self._single.flat.copy()
        with measure():
            with measure("solve"):
                converged = series.compute_Vs(*self._given, start, MOST_ITERATIONS, TOLERANCE_PU)
            series.compute_flows()
        if converged != 1:
            raise RuntimeError("a slot did not converge")
        self._voltage = series.get_voltages()

    def answer(self) -> Answer:
        magnitude = np.abs(self._voltage)
        sample = self._voltage[self._samples].ravel()
        return {
            "lowest_by_slot": magnitude.min(axis=1).tolist(),
            "highest_by_slot": magnitude.max(axis=1).tolist(),
            "lowest_by_bus": magnitude.min(axis=0).tolist(),
            "highest_by_bus": magnitude.max(axis=0).tolist(),
            "sampled_voltage": [*sample.real.tolist(), *sample.imag.tolist()],
        }


SAMPLE_INTERVAL = 1460
"""Of every so many slots the first one's voltages are compared: every 15 days and 5 hours."""


def main() -> None:
    serve(
        {"power_flow": PowerFlow, "power_flow_year": Year},
        lambda: {"lightsim2grid": __version__},
    )


if __name__ == "__main__":
    main()
