"""The kind `plan-check`: its input message in, its result message out.

Each scheduled asset is a load with profiles of its own; without the plan these are 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from msgspec import UNSET

from gridpact.compute.model.network import (
    Complex,
    Indices,
    Loads,
    Mask,
    Network,
    Powers,
    Real,
    islands,
)
from gridpact.compute.model.power_flow import LIMIT_TOLERANCE_PU, Outcome, PowerFlow, State
from gridpact.compute.model.progress import Progress
from gridpact.compute.power_flow import (
    OVERLOAD_PERCENT,
    Report,
    network_of,
    options_of,
    power_flow_rehearsals,
    profile_values_of,
    refusals,
    refuse_large_report,
    result_of,
    solved_slots,
)
from gridpact.contracts.messages import (
    DispatchAssetPower,
    PlanCheckInput,
    PlanCheckResult,
    PlanConnection,
    PlanOverload,
    PlanVoltageViolation,
    PowerFlowOptions,
)
from gridpact.kit.errors import GridpactError
from gridpact.kit.series import Float64Series

MOST_VIOLATIONS = 10_000
"""Of either sort, so many may be listed."""

MOST_BLAMED = 10
"""So many assets a violation may name."""


def plan_check(wanted: PlanCheckInput, progress: Progress) -> PlanCheckResult:
    """Whether a network carries a schedule. Raises GridpactError as `power_flow` does."""
    progress(0.0, "build")
    options = PowerFlowOptions() if wanted.options is UNSET else wanted.options
    refuse_large_report(wanted.network, wanted.slots, options)
    background = network_of(wanted.network, wanted.profiles)
    parts = islands(background)
    if refused := list(refusals(wanted, options, background, parts)):
        raise GridpactError.invalid(refused)
    plan = _plan_of(wanted, background)
    network = replace(background, loads=plan.beside(background.loads))
    live = ~parts.dead_buses
    flow = PowerFlow(network.without(parts.dead_buses), parts.dead_buses, options_of(options))
    given = profile_values_of(wanted.profiles, wanted.slots)
    every_state = options.report == "ALL"
    report = Report(flow.network, live, wanted.slots, every_state=every_state)
    check = _Check(flow, plan, live, given)
    for slot, found in solved_slots(flow, np.hstack([given, plan.values]), report, progress):
        if report.violations[slot]:
            check.blame(slot, found)
    progress(0.95, "report")
    return PlanCheckResult(
        within_limits=not report.divergences and not check.violated,
        violated_slot_count=check.violated,
        violated_without_plan_slot_count=check.violated_without_plan,
        voltage_violations=check.voltage_violations,
        overloads=check.overloads,
        power_flow=result_of(wanted, network, parts, report),
    )


def plan_check_rehearsals() -> Sequence[PlanCheckInput]:
    """A village that a battery overloads."""
    return [
        PlanCheckInput(
            network=power_flow_rehearsals()[0].network,
            slots=2,
            schedule=[
                DispatchAssetPower(name="Battery", power_kw=Float64Series([20_000.0, -1000.0]))
            ],
            connections=[PlanConnection(asset="Battery", bus="B", power_factor=0.95)],
        )
    ]


@dataclass(frozen=True, slots=True)
class _Plan:
    """The scheduled assets: where they are, what they take, and the profiles that say when.

    ``values`` has a row for each slot, and two columns for each asset: its power and the size of
    it, which are two more profiles after those of the input.
    """

    names: Sequence[str]
    loads: Loads
    values: Real

    def beside(self, loads: Loads) -> Loads:
        """These loads, and the assets after them."""

        def both(one: Powers, other: Powers) -> Powers:
            return Powers(
                np.concatenate([one.coefficient, other.coefficient]),
                np.concatenate([one.profile, other.profile]),
            )

        return Loads(
            in_service=np.concatenate([loads.in_service, self.loads.in_service]),
            bus=np.concatenate([loads.bus, self.loads.bus]),
            active_power_pu=both(loads.active_power_pu, self.loads.active_power_pu),
            reactive_power_pu=both(loads.reactive_power_pu, self.loads.reactive_power_pu),
        )

    def fed_pu(self, profile_values: Real, bus_count: int) -> Complex:
        """What each asset feeds into the buses in a slot: a row for each bus, a column each."""
        loads = self.loads
        taken = loads.active_power_pu.at(profile_values) + 1j * loads.reactive_power_pu.at(
            profile_values
        )
        fed = np.zeros((bus_count, len(self.names)), dtype=np.complex128)
        fed[loads.bus, np.arange(len(self.names))] = -taken
        return fed


def _plan_of(wanted: PlanCheckInput, network: Network) -> _Plan:
    connection_of = {connection.asset: connection for connection in wanted.connections}
    connections = [connection_of[asset.name] for asset in wanted.schedule]
    bus_of = {name: i for i, name in enumerate(network.buses.names)}
    count = len(connections)
    first = 1 + len(wanted.profiles)
    kilowatt = 1 / (1000 * network.base_power_mva)
    ratio = np.array(
        [
            (1 if each.reactive_power == "CONSUMED" else -1)
            * math.sqrt(1 - each.power_factor**2)
            / each.power_factor
            for each in connections
        ]
    )
    power = np.array([asset.power_kw for asset in wanted.schedule]).T.reshape(wanted.slots, count)
    places: Indices = np.arange(first, first + count, dtype=np.intp)
    loads = Loads(
        in_service=np.ones(count, dtype=np.bool_),
        bus=np.array([bus_of[each.bus] for each in connections], dtype=np.intp),
        active_power_pu=Powers(np.full(count, kilowatt), places),
        reactive_power_pu=Powers(kilowatt * ratio, places + count),
    )
    names = [asset.name for asset in wanted.schedule]
    return _Plan(names, loads, np.hstack([power, np.abs(power)]))


class _Check:
    """What is known of a plan so far."""

    def __init__(self, flow: PowerFlow, plan: _Plan, live: Mask, given: Real) -> None:
        self._flow, self._plan, self._live, self._given = flow, plan, live, given
        self._idle_before: Outcome | None = None
        self.violated = 0
        self.violated_without_plan = 0
        self.voltage_violations: list[PlanVoltageViolation] = []
        self.overloads: list[PlanOverload] = []

    def blame(self, slot: int, found: Outcome) -> None:
        """Says of a violated slot what would be without the plan, and which assets push where."""
        values = np.concatenate([self._given[slot], self._plan.values[slot]])
        state, idle = self._flow.state(found, values), self._idle(slot)
        self.violated += 1
        if idle is not None:
            self.violated_without_plan += any(np.any(each) for each in self._outside(idle))
        fed = self._plan.fed_pu(values, len(state.voltage_pu))
        changes = self._flow.changes(found, fed)
        if changes is None:
            return
        buses, branches = self._flow.network.buses, self._flow.network.branches
        below, above, overloaded = self._outside(state)
        for i in np.flatnonzero(below | above).tolist():
            if len(self.voltage_violations) == MOST_VIOLATIONS:
                break
            low = bool(below[i])
            change = changes.voltage_pu[i]
            worst = _worst(change if low else -change)
            self.voltage_violations.append(
                PlanVoltageViolation(
                    slot=slot,
                    bus=buses.names[i],
                    limit="MIN" if low else "MAX",
                    limit_pu=float((buses.min_voltage_pu if low else buses.max_voltage_pu)[i]),
                    voltage_pu=float(state.voltage_pu[i]),
                    voltage_without_plan_pu=UNSET if idle is None else float(idle.voltage_pu[i]),
                    assets=[self._plan.names[a] for a in worst],
                    voltage_changes_pu=Float64Series(change[worst]),
                )
            )
        for i in np.flatnonzero(overloaded).tolist():
            if len(self.overloads) == MOST_VIOLATIONS:
                break
            change = changes.loading_percent[i]
            worst = _worst(-change)
            self.overloads.append(
                PlanOverload(
                    slot=slot,
                    branch=branches.names[i],
                    loading_percent=float(state.loading_percent[i]),
                    loading_without_plan_percent=(
                        UNSET if idle is None else float(idle.loading_percent[i])
                    ),
                    assets=[self._plan.names[a] for a in worst],
                    loading_changes_percent=Float64Series(change[worst]),
                )
            )

    def _idle(self, slot: int) -> State | None:
        """The slot with every asset idle; None where that has no solution."""
        values = np.concatenate([self._given[slot], np.zeros(self._plan.values.shape[1])])
        found = self._flow.solve(values, self._idle_before)
        if not found.converged:
            return None
        self._idle_before = found
        return self._flow.state(found, values)

    def _outside(self, state: State) -> tuple[Mask, Mask, Mask]:
        """Buses below and above their limits, and branches above theirs."""
        buses = self._flow.network.buses
        below = self._live & (state.voltage_pu < buses.min_voltage_pu - LIMIT_TOLERANCE_PU)
        above = self._live & (state.voltage_pu > buses.max_voltage_pu + LIMIT_TOLERANCE_PU)
        return below, above, state.loading_percent > OVERLOAD_PERCENT


def _worst(changes: Real) -> list[int]:
    """The assets with the lowest changes first; equal ones in the order of the schedule."""
    return np.argsort(changes, kind="stable")[:MOST_BLAMED].tolist()
