"""What every asset's module writes into: the program, and what is decided or may give way in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from gridpact.compute.model.dispatch.site import Indices, Series, Site
from gridpact.compute.solve.highs import Block, Coefficient, LinearProgram, Solution


class Way(IntEnum):
    """Which of two opposite flows may run in a slot. Forward is import, and charging."""

    BOTH = 0
    CHOICE = 1
    FORWARD = 2
    BACKWARD = 3


Ways = NDArray[np.int8]
"""A `Way` for every slot of a pair of flows."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a program need not decide any more, by the key of what it is about.

    ``ways`` of each pair of opposite flows, and the values of whole variables.
    """

    ways: Mapping[str, Ways] = field(default_factory=dict[str, Ways])
    whole: Mapping[str, Series] = field(default_factory=dict[str, Series])


@dataclass(frozen=True, slots=True)
class Flows:
    """Two opposite flows in kW, forward and backward as in `Way`, in the slots at ``slots``.

    ``runs_forward`` are the binary variables of those that are a choice.
    """

    forward: Block
    backward: Block
    ways: Ways
    runs_forward: Block
    slots: Indices
    has_losses: bool  # if not, both at once are the same as their difference

    def values(self, solution: Solution) -> tuple[Series, Series]:
        return solution.value(self.forward), solution.value(self.backward)

    def net_kw(self, solution: Solution) -> Series:
        forward, backward = self.values(solution)
        return forward - backward


@dataclass(frozen=True, slots=True)
class Part:
    """Variables that count in a power: item i in slot ``slots[i]``."""

    slots: Indices
    coefficient: Coefficient
    variables: Block


@dataclass(frozen=True, slots=True)
class Power:
    """What an asset takes from the site in each slot, in kW: what is given, and what is decided."""

    given_kw: Series
    parts: tuple[Part, ...] = ()

    def value(self, solution: Solution) -> Series:
        power = self.given_kw.copy()
        for part in self.parts:
            np.add.at(power, part.slots, part.coefficient * solution.value(part.variables))
        return power


def add_power(program: LinearProgram, rows: Block, sign: float, power: Power) -> None:
    """Adds what is decided of a power to rows of the slots from the first on."""
    for part in power.parts:
        within = part.slots < len(rows)
        coefficient = np.broadcast_to(part.coefficient, len(part.slots))[within]
        program.extend(rows[part.slots[within]], (sign * coefficient, part.variables[within]))


class Draft:
    """The program of one future while its assets write it.

    ``decisions`` are kept, and ``relief`` gives the variable by which a limit may give way.
    """

    def __init__(
        self,
        program: LinearProgram,
        site: Site,
        decisions: Decisions,
        relief: Mapping[str, Block],
    ) -> None:
        self.program = program
        self.site = site
        self.flows: dict[str, Flows] = {}
        self.whole: dict[str, Block] = {}
        self._decisions = decisions
        self._relief = relief

    def relief(self, field: str) -> Block | None:
        """The variable (kW or kWh) by which the limit at this input field may give way."""
        return self._relief.get(field)

    def yes_or_no(self, key: str, count: int, cost: float = 0.0) -> Block:
        """Variables that are 0 or 1, or what was decided for them."""
        decided = self._decisions.whole.get(key)
        if decided is None:
            block = self.program.variables(count, upper=1.0, cost=cost, whole=True)
        else:
            block = self.program.variables(count, lower=decided, upper=decided, cost=cost)
        self.whole[key] = block
        return block

    def opposite_flows(
        self,
        key: str,
        slots: Indices,
        *,
        limits_kw: tuple[Series, Series],
        most_kw: tuple[Series, Series] | None = None,
        costs: tuple[Coefficient, Coefficient] = (0.0, 0.0),
        least_forward_kw: float = 0.0,
        has_losses: bool = False,
    ) -> Flows:
        """Two flows within their limits, and a binary variable for every slot that is a choice.

        ``most_kw`` is what can flow in a slot in any case. It stands in the rows of the choices
        only: as a bound it would take part in the duals. With ``least_forward_kw`` the forward flow
        is that much at least, or nothing; this makes every slot a choice from the start.
        """
        program = self.program
        undecided = Way.CHOICE if least_forward_kw > 0 else Way.BOTH
        ways = self._decisions.ways.get(key)
        if ways is None:
            ways = np.full(len(slots), undecided, dtype=np.int8)
        forward = program.variables(
            len(slots),
            lower=np.where(ways == Way.FORWARD, least_forward_kw, 0.0),
            upper=np.where(ways == Way.BACKWARD, 0.0, limits_kw[0]),
            cost=costs[0],
        )
        backward = program.variables(
            len(slots), upper=np.where(ways == Way.FORWARD, 0.0, limits_kw[1]), cost=costs[1]
        )
        chosen = np.flatnonzero(ways == Way.CHOICE)
        runs_forward = program.variables(chosen.size, upper=1.0, whole=True)
        if chosen.size:
            most_forward, most_backward = (
                limit[chosen] if most is None else np.minimum(limit, most)[chosen]
                for limit, most in zip(limits_kw, most_kw or (None, None), strict=True)
            )
            program.at_most(0.0, (1.0, forward[chosen]), (-most_forward, runs_forward))
            program.at_most(most_backward, (1.0, backward[chosen]), (most_backward, runs_forward))
            if least_forward_kw > 0:
                program.at_most(0.0, (least_forward_kw, runs_forward), (-1.0, forward[chosen]))
        flows = Flows(forward, backward, ways, runs_forward, slots, has_losses)
        self.flows[key] = flows
        return flows

    def no_power(self) -> Series:
        return np.zeros(self.site.slots)
