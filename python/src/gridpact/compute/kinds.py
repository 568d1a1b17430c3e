"""Each kind of task: its input message in, its result message out.

Adding a kind is a schema, a model, and one entry of `computations` with a rehearsal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from gridpact.compute.dispatch import dispatch, dispatch_rehearsals
from gridpact.compute.model.progress import Progress
from gridpact.compute.mpc_step import mpc_step, mpc_step_rehearsals
from gridpact.compute.plan_check import plan_check, plan_check_rehearsals
from gridpact.compute.power_flow import power_flow, power_flow_rehearsals
from gridpact.compute.replay import replay, replay_rehearsals
from gridpact.compute.solve.warm_models import WarmModels
from gridpact.compute.unit_commitment import unit_commitment, unit_commitment_rehearsals
from gridpact.contracts.messages import ProbeInput, ProbeResult
from gridpact.kit.wire import Message


def probe(wanted: ProbeInput, progress: Progress) -> ProbeResult:
    """Holds the worker for a while and answers."""
    started = time.perf_counter()
    while (held_ms := (time.perf_counter() - started) * 1000) < wanted.hold_ms:
        progress(held_ms / wanted.hold_ms, "hold")
        time.sleep(min(100.0, wanted.hold_ms - held_ms) / 1000)
    return ProbeResult(held_ms=held_ms, padding="x" * wanted.result_bytes)


_Compute = Callable[[Message, Progress], Message]


@dataclass(frozen=True, slots=True)
class Computation:
    """How a kind is computed.

    ``rehearsals`` gives the inputs, at least one, that a worker computes before it is ready, so
    that the first task finds loaded whatever its path needs.
    """

    compute: _Compute
    rehearsals: Callable[[], Sequence[Message]]


def computations(models: WarmModels) -> Mapping[str, Computation]:
    """How each kind is computed; ``models`` is where one may keep what it has built."""
    return {
        "dispatch": Computation(cast("_Compute", dispatch), dispatch_rehearsals),
        "plan-check": Computation(cast("_Compute", plan_check), plan_check_rehearsals),
        "power-flow": Computation(cast("_Compute", power_flow), power_flow_rehearsals),
        "unit-commitment": Computation(
            cast("_Compute", unit_commitment), unit_commitment_rehearsals
        ),
        "mpc-step": Computation(cast("_Compute", mpc_step(models)), mpc_step_rehearsals),
        "replay": Computation(cast("_Compute", replay), replay_rehearsals),
        "probe": Computation(cast("_Compute", probe), lambda: [ProbeInput(hold_ms=1)]),
    }
