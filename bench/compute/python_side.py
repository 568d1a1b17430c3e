"""Gridpact's Python engine as a process of the benchmark; runs in .venv."""

from __future__ import annotations

from pathlib import Path

import highspy
import numpy as np
import scipy

from bench.compute.lane import Answer, Measure, serve
from gridpact.compute.kinds import COMPUTATIONS
from gridpact.contracts.channels import KINDS, LIMITS
from gridpact.kit.wire import decode, encode


class Task:
    """A task of any kind, whole: bytes in, bytes out, as the worker computes it."""

    def __init__(self, source: str, kind: str, answered: tuple[str, ...]) -> None:
        self._body = Path(source).read_bytes()
        self._kind = kind
        self._answered = answered

    def call(self, measure: Measure) -> None:
        with measure("task"):
            wanted = decode(KINDS[self._kind].input, self._body, LIMITS)
            self._result = COMPUTATIONS[self._kind](wanted, _unheard)
            encode(self._result)

    def answer(self) -> Answer:
        return {name: getattr(self._result, name) for name in self._answered}


def _unheard(*_: object) -> None:
    """Takes the reports of progress."""


def main() -> None:
    serve(
        {"dispatch": lambda source: Task(source, "dispatch", ("cost",))},
        lambda: {
            "highs (Gridpact's Python engine)": highspy.Highs().version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
    )


if __name__ == "__main__":
    main()
