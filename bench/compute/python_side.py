"""Gridpact's Python engine as a process of the benchmark; runs in .venv."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import highspy
import numpy as np
import scipy

from bench.compute.lane import Answer, Measure, serve
from gridpact.compute.kinds import computations
from gridpact.compute.solve.warm_models import WarmModels
from gridpact.contracts.channels import KINDS, LIMITS
from gridpact.kit.wire import decode, encode


class Task:
    """A task of any kind, whole: bytes in, bytes out, as a worker computes it."""

    def __init__(self, source: str, kind: str, answer: Callable[[Any], Answer]) -> None:
        self._body = Path(source).read_bytes()
        self._kind = KINDS[kind]
        self._compute = computations(WarmModels())[kind].compute
        self._answer = answer

    def call(self, measure: Measure) -> None:
        with measure("task"):
            wanted = decode(self._kind.input, self._body, LIMITS)
            self._result = self._compute(wanted, _unheard)
            encode(self._result)

    def answer(self) -> Answer:
        return self._answer(self._result)


def _unheard(*_: object, **__: object) -> None:
    """Takes the reports of progress."""


def dispatch(source: str) -> Task:
    return Task(source, "dispatch", lambda result: {"cost": result.cost})


def power_flow(source: str) -> Task:
    return Task(source, "power-flow", lambda result: {"voltage": _voltage(result.states[0])})


def _voltage(state: Any) -> list[float]:
    voltage = np.asarray(state.voltage_pu) * np.exp(1j * np.deg2rad(state.angle_deg))
    return [*voltage.real.tolist(), *voltage.imag.tolist()]


def main() -> None:
    serve(
        {"dispatch": dispatch, "power_flow": power_flow},
        lambda: {
            "highs (Gridpact's Python engine)": highspy.Highs().version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
    )


if __name__ == "__main__":
    main()
