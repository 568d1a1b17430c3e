"""From the message that asks to the message that answers."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from gridpact.compute.dispatch import dispatch
from gridpact.compute.kinds import computations, probe
from gridpact.compute.solve.warm_models import WarmModels
from gridpact.contracts.channels import KINDS, LIMITS
from gridpact.contracts.errors import Reason
from gridpact.contracts.messages import DispatchInput, DispatchResult, ProbeInput
from gridpact.kit.errors import GridpactError
from gridpact.kit.wire import build, decode, encode
from tests.compute.household import OPTIMA, household_input
from tests.compute.test_dispatch_plan import silent

COMPUTATIONS = computations(WarmModels())


@pytest.mark.parametrize("slots", OPTIMA)
def test_reaches_the_known_optimum_of_the_household(slots: int) -> None:
    result = dispatch(build(DispatchInput, household_input(slots)), silent)
    assert result.cost == pytest.approx(OPTIMA[slots], abs=1e-6)
    assert result.savings == pytest.approx(result.baseline_cost - result.cost)


def dispatch_input(**changed: Any) -> DispatchInput:
    given: dict[str, Any] = {
        "start_time": "2026-06-01T00:00:00Z",
        "slot_duration_s": 3600,
        "slots": 2,
        "currency": "EUR",
        "batteries": [
            {
                "name": "Battery",
                "battery": {
                    "capacity_kwh": 4,
                    "max_charge_power_kw": 2,
                    "max_discharge_power_kw": 2,
                    "charge_efficiency": 1,
                    "discharge_efficiency": 1,
                    "wear_cost_per_kwh": 0.05,
                },
                "initial_energy_kwh": 0,
            }
        ],
        "pv": [{"name": "Roof", "available_power_kw": [3, 0], "curtailable": True}],
        "loads": [{"name": "House", "power_kw": [0.5, 1]}, {"name": "Car", "power_kw": [0.5, 0]}],
        "tariff": {"import_price_per_kwh": [0.3, 0.3], "export_price_per_kwh": [-0.1, 0]},
        "grid": {"max_import_power_kw": 5, "max_export_power_kw": 5},
    }
    return build(DispatchInput, given | changed)


def test_answers_in_the_contract_s_words_and_signs() -> None:
    """Surplus is stored as far as it helps and the rest curtailed; every number by hand."""
    result = dispatch(dispatch_input(), silent)
    assert result.status == "OPTIMAL"
    battery, roof = result.batteries[0], result.pv[0]
    assert sum(battery.power_kw) >= 0
    assert battery.power_kw[1] == pytest.approx(-1.0)
    assert battery.reasons[1] == "DISCHARGE_TO_LOAD"
    assert result.grid_power_kw.tolist() == pytest.approx([0.0, 0.0])
    assert roof.power_kw[0] == pytest.approx(-1.0 - battery.power_kw[0])
    assert roof.curtailed_energy_kwh == pytest.approx(3.0 + roof.power_kw[0])
    assert result.wear_cost == pytest.approx(0.05)
    assert result.energy_cost == pytest.approx(0.0)
    assert result.baseline_cost == pytest.approx(0.3)
    assert result.savings == pytest.approx(0.25)


def test_result_obeys_its_own_contract() -> None:
    """What a reader would refuse is not sent: encoding checks shapes and rules."""
    result = dispatch(dispatch_input(), silent)
    assert decode(DispatchResult, encode(result), LIMITS) == result


def test_absent_options_mean_their_defaults() -> None:
    assert dispatch_input().options is UNSET
    assert dispatch(dispatch_input(options={"time_limit_s": 5}), silent).status == "OPTIMAL"


def test_no_plan_is_an_error_with_violations() -> None:
    with pytest.raises(GridpactError) as raised:
        dispatch(
            dispatch_input(
                grid={"max_import_power_kw": 0, "max_export_power_kw": 0},
                loads=[{"name": "House", "power_kw": [9, 9]}],
                on_conflict="FAIL",
            ),
            silent,
        )
    assert raised.value.reason is Reason.INFEASIBLE
    assert raised.value.violations[0].field == "grid.max_import_power_kw"


def test_reports_its_stages_in_order() -> None:
    heard: list[tuple[float, str]] = []

    def hear(fraction: float, stage: str, **_: object) -> None:
        heard.append((fraction, stage))

    dispatch(dispatch_input(), hear)
    assert [stage for _, stage in heard] == ["build", "solve", "explain"]
    assert [fraction for fraction, _ in heard] == sorted(fraction for fraction, _ in heard)


def test_probe_holds_and_pads() -> None:
    answer = probe(ProbeInput(hold_ms=5, result_bytes=3), silent)
    assert answer.held_ms >= 5
    assert answer.padding == "xxx"


def test_computes_every_kind_of_the_contract() -> None:
    assert set(COMPUTATIONS) == set(KINDS)


@pytest.mark.parametrize("kind", COMPUTATIONS)
def test_kind_brings_a_rehearsal_of_itself(kind: str) -> None:
    rehearsals = COMPUTATIONS[kind].rehearsals()
    assert rehearsals
    for wanted in rehearsals:
        assert isinstance(wanted, KINDS[kind].input)
        assert decode(KINDS[kind].input, encode(wanted), LIMITS) == wanted
        assert isinstance(COMPUTATIONS[kind].compute(wanted, silent), KINDS[kind].result)
