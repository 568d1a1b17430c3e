"""What a process of the benchmark does: it prepares lanes and calls them when told to.

A lane is one way to solve one input. Requests come as lines of words separated by tabs, answers go
as lines of JSON:

    prepare LANE INPUT    {} or {"missing": why}
    call LANE COUNT       {"ms": {MEASURE: [ms of each call]}}
    answer LANE           {NAME: number or list}: the solution of the last call
    versions              {NAME: version}

bench/compute/julia_side.jl speaks the same.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

Answer = dict[str, float | list[float]]


class Missing(Exception):
    """Why a lane cannot run here."""


class Lane(Protocol):
    """A prepared input: ``call`` is what is timed."""

    def call(self, measure: Measure) -> None:
        """Solve once; ``with measure(name):`` stands around what counts."""

    def answer(self) -> Answer:
        """The solution of the last call."""
        ...


class Measure:
    """Collects milliseconds by name."""

    def __init__(self) -> None:
        self.ms: dict[str, list[float]] = {}

    def __call__(self, name: str = "") -> AbstractContextManager[None]:
        return _Span(self, name)

    def add(self, name: str, ms: float) -> None:
        """For what the program measured itself."""
        self.ms.setdefault(name, []).append(ms)


class _Span:
    def __init__(self, measure: Measure, name: str) -> None:
        self._measure = measure
        self._name = name

    def __enter__(self) -> None:
        self._began = time.perf_counter_ns()

    def __exit__(self, *_: object) -> None:
        self._measure.add(self._name, (time.perf_counter_ns() - self._began) / 1e6)


def serve(
    lanes: Mapping[str, Callable[[str], Lane]], versions: Callable[[], Mapping[str, str]]
) -> None:
    """Answers requests until standard input ends."""
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    prepared: dict[str, Lane] = {}
    for line in sys.stdin:
        reply = _answer(line.rstrip("\n").split("\t"), lanes, versions, prepared)
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


def _answer(
    words: list[str],
    lanes: Mapping[str, Callable[[str], Lane]],
    versions: Callable[[], Mapping[str, str]],
    prepared: dict[str, Lane],
) -> Mapping[str, Any]:
    match words:
        case ["prepare", name, source]:
            if name not in lanes:
                return {"missing": f"there is no lane {name}"}
            try:
                prepared[name] = lanes[name](source)
            except Missing as why:
                return {"missing": str(why)}
            return {}
        case ["call", name, count]:
            measure = Measure()
            gc.collect()  # what earlier calls left behind is not this one's
            for _ in range(int(count)):
                prepared[name].call(measure)
            return {"ms": measure.ms}
        case ["answer", name]:
            return prepared[name].answer()
        case ["versions"]:
            return versions()
        case _:
            raise ValueError(f"not understood: {words}")
