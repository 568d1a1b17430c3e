"""What a person sees of a power flow."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType

from gridpact.cli.network_report import plan_check_report, power_flow_report
from gridpact.compute.plan_check import plan_check
from gridpact.contracts.messages import PlanCheckInput
from gridpact.contracts.rest import PlanCheckResult, PowerFlowResult
from gridpact.kit.wire import build, to_json
from tests.compute.networks import solve
from tests.compute.test_dispatch_plan import silent
from tests.compute.test_plan_check import village
from tests.compute.test_power_flow import island, overloaded


def shown(report: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(report)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_snapshot_shows_losses_and_worst_voltage_by_name() -> None:
    result = solve(island(islands="DE_ENERGISE"))
    text = shown(power_flow_report(PowerFlowResult.model_validate_json(to_json(result))))
    assert "1 of 1 slots" in text
    assert f"{result.by_slot.losses_mw[0]:.4f} MW" in text
    assert f"{result.states[0].voltage_pu[1]:.4f} p.u.  Village" in text
    assert "without supply" in text


def test_slots_that_diverge_and_limits_that_break_are_named() -> None:
    network = overloaded(1.0, slots=2)
    network["network"]["loads"][0]["profile"] = "Growth"
    network["profiles"] = [{"name": "Growth", "unit": "FACTOR", "values": [0.9, 3.0]}]
    text = shown(power_flow_report(PowerFlowResult.model_validate_json(to_json(solve(network)))))
    assert "1 of 2 slots" in text
    assert "slot 1 does not converge, worst at Village" in text
    assert "Village" in text.split("outside its limit")[1]


def test_a_plan_shows_who_is_to_blame() -> None:
    result = plan_check(build(PlanCheckInput, village()), silent)
    text = shown(plan_check_report(PlanCheckResult.model_validate_json(to_json(result))))
    assert "limits break in 1 slot, in 0 of them without the plan too" in text
    rows = text.split("because of")[1].split("converged")[0]
    assert "Battery" in rows
    assert "Solar park" not in rows  # it helps
