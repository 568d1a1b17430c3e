"""Python and Julia find commitments of the same cost, and refuse the same fleets."""

from __future__ import annotations

import json

import pytest

from gridpact.cli.importing.pglib_uc import submission_of
from gridpact.compute.unit_commitment import unit_commitment
from gridpact.contracts.messages import UnitCommitmentInput, UnitCommitmentResult
from gridpact.kit.wire import build
from tests.compute.commitment_checker import check, schedule_of
from tests.compute.engines import answers, answers_of_julia
from tests.compute.fleets import Json, as_pglib, random_fleet
from tests.compute.household import DATA

FLEETS = 150


def assert_sound(fleet: Json, result: UnitCommitmentResult) -> None:
    """The plan keeps every rule, costs what it says, and tells nothing better than itself."""
    verdict = check(as_pglib(fleet), schedule_of(result), period_h=fleet["slot_duration_s"] / 3600)
    assert verdict.broken == []
    assert verdict.cost == pytest.approx(result.cost, rel=1e-9, abs=1e-6)
    assert result.bound <= result.cost


@pytest.mark.timeout(300)
def test_both_engines_answer_alike(julia: str) -> None:
    played = [random_fleet(seed, units=1 + seed % 6, slots=1 + seed % 14) for seed in range(FLEETS)]
    planned = 0
    for seed, (fleet, (ours, theirs)) in enumerate(
        zip(played, answers(julia, "unit-commitment", unit_commitment, played), strict=True)
    ):
        if isinstance(ours, str) or isinstance(theirs, str):
            # Which slots give way is open where as little can be given up in others.
            assert str(ours).partition(" ")[0] == str(theirs).partition(" ")[0], f"fleet {seed}"
            continue
        planned += 1
        assert isinstance(ours, UnitCommitmentResult)
        assert isinstance(theirs, UnitCommitmentResult)
        assert theirs.cost == pytest.approx(ours.cost, rel=1e-6, abs=1e-6), f"fleet {seed}"
        assert_sound(fleet, ours)
        assert_sound(fleet, theirs)
        names = [unit.name for unit in theirs.thermal_units]
        assert names == [unit.name for unit in ours.thermal_units], f"fleet {seed}"
    assert planned > FLEETS / 2


@pytest.mark.timeout(300)
def test_julia_plans_a_large_fleet_within_its_gap(julia: str) -> None:
    """Enough units and slots that it looks for a first plan before it searches."""
    fleet = random_fleet(7, units=30, slots=40)
    fleet["options"] = {"time_limit_s": 60, "relative_gap": 0.02}
    given = [build(UnitCommitmentInput, fleet)]
    (result,) = answers_of_julia(julia, "unit-commitment", given)
    assert isinstance(result, UnitCommitmentResult)
    assert_sound(fleet, result)
    assert result.status == "OPTIMAL"
    assert result.relative_gap <= 0.02


@pytest.mark.full
@pytest.mark.timeout(900)
def test_julia_commits_the_rts_gmlc_day_within_half_a_percent_of_the_published_bound(
    julia: str,
) -> None:
    file = DATA / "pglib-uc" / "2020-01-27.json"
    if not file.is_file():
        pytest.skip("PGLib-UC's 2020-01-27 (../shared/data, GRIDPACT_DATA) is not here")
    text = file.read_bytes()
    fleet = submission_of(text, start_time="2020-01-27T00:00:00Z", currency="USD")["input"]
    fleet["options"] = {"time_limit_s": 240, "relative_gap": 0.004}
    (result,) = answers_of_julia(julia, "unit-commitment", [build(UnitCommitmentInput, fleet)])
    assert isinstance(result, UnitCommitmentResult)
    verdict = check(json.loads(text), schedule_of(result))
    assert verdict.broken == []
    assert verdict.cost == pytest.approx(result.cost, rel=1e-9)
    assert result.cost <= 1.005 * 1_227_027
