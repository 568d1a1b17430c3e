"""What demand and reserve no commitment can meet: docs/compute/unit-commitment.md, "No plan"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridpact.compute.model.unit_commitment.fleet import Fleet, Series
from gridpact.compute.model.unit_commitment.formulate import Slack, formulate
from gridpact.compute.solve.highs import Solution
from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError
from gridpact.kit.shapes import number
from gridpact.kit.violation import Violation

TIME_LIMIT_S = 60.0
RELATIVE_GAP = 1e-4
TOLERANCE_MW = 1e-4
MOST_VIOLATIONS = 100


def infeasible(fleet: Fleet) -> GridpactError | None:
    """INFEASIBLE, naming each slot whose demand or reserve cannot be met, and by how much.

    As little as possible is given up in all slots together, reserve before demand. None where
    nothing has to be given up: then there is a plan. Raises SolverError.
    """
    formulation = formulate(fleet, elastic=True)
    found = formulation.program.solve(time_limit_s=TIME_LIMIT_S, relative_gap=RELATIVE_GAP)
    if not found.has_values:
        words = "no plan meets demand and reserve, and where it fails was not found in time"
        return GridpactError(Reason.INFEASIBLE, words)
    said = [gap for gap in _given_up(fleet, formulation.slack, found) if gap.slots.size]
    if not said:
        return None
    return GridpactError(
        Reason.INFEASIBLE,
        "no plan meets demand and reserve: " + ", and ".join(gap.summary for gap in said),
        violations=[violation for gap in said for violation in gap.violations][:MOST_VIOLATIONS],
    )


@dataclass(frozen=True, slots=True)
class _Gap:
    """What is given up of one series of the input; ``sign`` is the direction in which it gives."""

    field: str
    series_mw: Series
    amount_mw: Series
    sign: int
    words: str

    @property
    def slots(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.amount_mw > TOLERANCE_MW)

    @property
    def summary(self) -> str:
        worst = int(np.argmax(self.amount_mw))
        return f"{self.words} by {_rounded(self.amount_mw[worst])} MW in slot {worst}" + (
            f", the worst of {self.slots.size} slots" if self.slots.size > 1 else ""
        )

    @property
    def violations(self) -> Iterator[Violation]:
        bound = "at most" if self.sign < 0 else "at least"
        for slot in self.slots:
            wanted, amount = float(self.series_mw[slot]), float(self.amount_mw[slot])
            words = (
                f"must be {bound} {_rounded(wanted + self.sign * amount)}; it is "
                f"{number(wanted)} ({self.words} by {_rounded(amount)} MW)"
            )
            yield Violation(f"{self.field}[{slot}]", "feasible", words)


def _given_up(fleet: Fleet, slack: Slack, found: Solution) -> list[_Gap]:
    demand, reserve = fleet.demand_mw, fleet.reserve_requirement_mw
    net = found.value(slack.missing_power) - found.value(slack.surplus_power)
    missing = found.value(slack.missing_reserve)
    return [
        _Gap("demand_mw", demand, net, -1, "it exceeds what the units can produce"),
        _Gap("demand_mw", demand, -net, 1, "it falls short of what the units must produce"),
        _Gap("reserve_requirement_mw", reserve, missing, -1, "it exceeds what the units can hold"),
    ]


def _rounded(value: float) -> str:
    """To a tenth of a kW: what is finer is the solver's tolerance."""
    return number(round(float(value), 4) + 0.0)
