"""Gridpact's Python engine as a process of the benchmark; runs in .venv."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from itertools import cycle, repeat
from pathlib import Path
from typing import Any

import highspy
import numpy as np
import scipy

from bench.compute.lane import Answer, Lane, Measure, Missing, serve
from gridpact.compute.kinds import computations
from gridpact.compute.solve.warm_models import WarmModels
from gridpact.contracts.channels import KINDS, LIMITS
from gridpact.kit.wire import decode, encode


class Task:
    """A task of any kind, whole: bytes in, bytes out, as a worker computes it."""

    def __init__(self, kind: str, bodies: Iterator[bytes]) -> None:
        if kind not in (known := computations(WarmModels())):
            raise Missing(f"the Python engine does not compute {kind}")
        self._compute = known[kind].compute
        self._input = KINDS[kind].input
        self._bodies = bodies

    def call(self, measure: Measure) -> None:
        body = next(self._bodies)
        with measure("task"):
            wanted = decode(self._input, body, LIMITS)
            self.result: Any = self._compute(wanted, _unheard)
            encode(self.result)


def _unheard(*_: object, **__: object) -> None:
    """Takes the reports of progress."""


class Plan(Task):
    """Any kind whose answer is its cost."""

    def __init__(self, source: str, kind: str) -> None:
        super().__init__(kind, repeat(Path(source).read_bytes()))

    def answer(self) -> Answer:
        return {"cost": self.result.cost}


class PowerFlow(Task):
    """Of one slot."""

    def __init__(self, source: str) -> None:
        super().__init__("power-flow", repeat(Path(source).read_bytes()))

    def answer(self) -> Answer:
        (state,) = self.result.states
        voltage = np.asarray(state.voltage_pu) * np.exp(1j * np.deg2rad(state.angle_deg))
        return {"voltage": [*voltage.real.tolist(), *voltage.imag.tolist()]}


class Steps(Task):
    """Those of a controller, one in each call."""

    def __init__(self, source: str) -> None:
        super().__init__("mpc-step", cycle(_bodies(Path(source).read_bytes())))
        self._last_costs: deque[float] = deque(maxlen=10)

    def call(self, measure: Measure) -> None:
        super().call(measure)
        self._last_costs.append(self.result.cost)

    def answer(self) -> Answer:
        return {"cost_of_last_steps": list(self._last_costs)}


def _bodies(data: bytes) -> Iterator[bytes]:
    """What `bench.compute.inputs.write_steps` wrote."""
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from("<q", data, at)
        yield data[at + 8 : at + 8 + size]
        at += 8 + size


def dispatch(source: str) -> Lane:
    return Plan(source, "dispatch")


def unit_commitment(source: str) -> Lane:
    return Plan(source, "unit-commitment")


def main() -> None:
    serve(
        {
            "dispatch": dispatch,
            "mpc_step": Steps,
            "power_flow": PowerFlow,
            "unit_commitment": unit_commitment,
        },
        lambda: {
            "highs (Gridpact's Python engine)": highspy.Highs().version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
    )


if __name__ == "__main__":
    main()
