"""The kind `mpc-step`: a dispatch that goes on from the last step of its controller."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from msgspec import UNSET

from gridpact.compute.dispatch import dispatch, dispatch_rehearsals
from gridpact.compute.model.progress import Progress
from gridpact.compute.solve.warm_models import WarmModels
from gridpact.compute.solve.warm_program import WarmProgram
from gridpact.contracts.messages import (
    AssetSetPoints,
    DispatchResult,
    MpcStepInput,
    MpcStepReason,
    MpcStepResult,
)
from gridpact.kit.errors import GridpactError
from gridpact.kit.series import Float64Series
from gridpact.kit.violation import Violation


def mpc_step(models: WarmModels) -> Callable[[MpcStepInput, Progress], MpcStepResult]:
    """The computation of a step that keeps its model in ``models``."""

    def compute(wanted: MpcStepInput, progress: Progress) -> MpcStepResult:
        """What to do now, and the plan behind it. Raises GridpactError as `dispatch` does."""
        began = time.perf_counter()
        # The name of the kind keeps apart what other kinds keep under the same one.
        key = f"mpc-step {wanted.controller_id}"
        kept = models.take(key)
        warm = kept if isinstance(kept, WarmProgram) else WarmProgram()
        warm.used = False
        try:
            plan = dispatch(wanted.problem, progress, warm)
        except GridpactError as error:
            raise _of_problem(error) from error
        models.keep(key, warm)
        count = wanted.control_slots
        return MpcStepResult(
            controller_id=wanted.controller_id,
            control_slots=count,
            set_points=[*_set_points(plan, count)],
            reasons=[*_first_reasons(plan)],
            cost=plan.cost,
            warm=warm.used,
            solve_ms=(time.perf_counter() - began) * 1000,
            plan=plan,
        )

    return compute


def mpc_step_rehearsals() -> Sequence[MpcStepInput]:
    """A first step, and the next one from what it has left."""
    steps = [MpcStepInput(controller_id="a rehearsal", problem=it) for it in dispatch_rehearsals()]
    return steps * 2


def _of_problem(error: GridpactError) -> GridpactError:
    """The error with the fields that it blames below `problem`."""
    violations = [
        Violation(f"problem.{each.field}" if each.field else "problem", each.rule, each.message)
        for each in error.violations
    ]
    return GridpactError(error.reason, error.message, violations=violations, **error.meta)


def _set_points(plan: DispatchResult, count: int) -> Iterator[AssetSetPoints]:
    """What each asset shall do in the first slots, in the order of the contract."""

    def first(series: Float64Series) -> Float64Series:
        return Float64Series(np.asarray(series)[:count])

    for battery in plan.batteries:
        yield AssetSetPoints(name=battery.name, power_kw=first(battery.power_kw))
    for plant in plan.pv:
        reasons = [] if plant.reasons is UNSET else plant.reasons[:count]
        limited = Float64Series([float(why != "FULL_OUTPUT") for why in reasons])
        yield AssetSetPoints(name=plant.name, power_kw=first(plant.power_kw), limited=limited)
    for its in (*plan.flexible_loads, *plan.cycles, *plan.electric_vehicles, *plan.heat_pumps):
        yield AssetSetPoints(name=its.name, power_kw=first(its.power_kw))
    for generator in plan.generators:
        power, running = first(generator.power_kw), first(generator.running)
        yield AssetSetPoints(name=generator.name, power_kw=power, running=running)


def _first_reasons(plan: DispatchResult) -> Iterator[MpcStepReason]:
    """Why each asset does so in the first slot, in the same order."""
    for battery in plan.batteries:
        yield MpcStepReason(name=battery.name, reason=battery.reasons[0])
    for plant in plan.pv:
        if plant.reasons is not UNSET:
            yield MpcStepReason(name=plant.name, reason=plant.reasons[0])
    for load in plan.flexible_loads:
        yield MpcStepReason(name=load.name, reason=load.reasons[0])
    for cycle in plan.cycles:
        yield MpcStepReason(name=cycle.name, reason=cycle.reason)
    for its in (*plan.electric_vehicles, *plan.heat_pumps, *plan.generators):
        yield MpcStepReason(name=its.name, reason=its.reasons[0])
