"""What is made of measured times: rounds, summaries, ratios, and the report as JSON. No I/O."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Times = Mapping[int, float]
"""Milliseconds of one call, by the number of the round in which it was measured."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours ÷ peer. Of several peers, or ways to call one, the fastest counts."""

    name: str
    ours: str
    peers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """A ratio of medians over the rounds in which both took part, and the spread of the rounds'."""

    ratio: float
    least: float
    most: float
    peer: str
    rounds: int


@dataclass(slots=True)
class Report:
    """All that a run found out; ``as_json`` is what bench/results/compute.json holds."""

    machine: dict[str, Any]
    versions: dict[str, str]
    command: str
    inputs: dict[str, str] = field(default_factory=dict[str, str])
    times: dict[str, Times] = field(default_factory=dict[str, Times])
    solves: dict[str, int] = field(default_factory=dict[str, int])
    peak_memory_mib: dict[str, float] = field(default_factory=dict[str, float])
    ratios: list[Ratio] = field(default_factory=list[Ratio])
    missing: list[str] = field(default_factory=list[str])

    def as_json(self) -> dict[str, Any]:
        compared = {each.name: compare(each, self.times) for each in self.ratios}
        found = {name: one for name, one in compared.items() if one is not None}
        return {
            "machine": self.machine,
            "versions": self.versions,
            "command": self.command,
            "inputs": self.inputs,
            "cases": {name: self._case(name, times) for name, times in self.times.items()},
            "ratios": {name: _rounded(one.ratio) for name, one in found.items()},
            "ratio_details": {
                name: {
                    "peer": one.peer,
                    "rounds": one.rounds,
                    "least": _rounded(one.least),
                    "most": _rounded(one.most),
                }
                for name, one in found.items()
            },
            "missing": self.missing,
        }

    def _case(self, name: str, times: Times) -> dict[str, Any]:
        case: dict[str, Any] = {
            "ms": [_rounded(ms) for ms in summary(times.values())],
            "rounds": len(times),
        }
        if name in self.solves:
            median, _, _ = summary(times.values())
            case["us_per_solve"] = _rounded(median * 1e3 / self.solves[name])
        if name in self.peak_memory_mib:
            case["peak_memory_mib"] = round(self.peak_memory_mib[name], 1)
        return case


def order(lanes: Sequence[str], number: int) -> list[str]:
    """In which order the lanes run in a round: each goes first, and after each other, in turn."""
    turned = number // 2 % len(lanes)
    turn = [*lanes[turned:], *lanes[:turned]]
    return turn[::-1] if number % 2 else turn


def summary(ms: Iterable[float]) -> tuple[float, float, float]:
    """Median, least and most."""
    values = list(ms)
    return statistics.median(values), min(values), max(values)


def compare(wanted: Ratio, times: Mapping[str, Times]) -> Compared | None:
    """None where ours, or every peer, has no time."""
    ours = times.get(wanted.ours, {})
    candidates: list[Compared] = []
    for peer in wanted.peers:
        both = sorted(set(ours) & set(times.get(peer, {})))
        if not both:
            continue
        theirs = times[peer]
        each = [ours[number] / theirs[number] for number in both]
        candidates.append(
            Compared(
                ratio=statistics.median(ours[number] for number in both)
                / statistics.median(theirs[number] for number in both),
                least=min(each),
                most=max(each),
                peer=peer,
                rounds=len(both),
            )
        )
    # The fastest peer is the one beside which ours looks slowest.
    return max(candidates, key=lambda one: one.ratio, default=None)


def difference(
    found: Mapping[str, float | list[float]], known: Mapping[str, float | list[float]]
) -> dict[str, float]:
    """How far each number of an answer is from the known one: relative where it is one number
    (absolute below 1e-9), the largest absolute difference where it is a list. A number that is
    missing or NaN, or a list of another length, is infinitely far."""
    return {name: _distance(found.get(name), value) for name, value in known.items()}


def _distance(found: float | list[float] | None, known: float | list[float]) -> float:
    if isinstance(known, list):
        if not isinstance(found, list) or len(found) != len(known):
            return float("inf")
        far = [abs(a - b) for a, b in zip(found, known, strict=True)]
        return float("inf") if any(map(math.isnan, far)) else max(far, default=0.0)
    if found is None or isinstance(found, list) or math.isnan(found):
        return float("inf")
    return abs(found - known) / (abs(known) if abs(known) > 1e-9 else 1.0)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
