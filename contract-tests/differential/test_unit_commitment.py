"""Python and Julia find commitments of the same cost, and refuse the same fleets."""

from __future__ import annotations

import pytest

from gridpact.compute.unit_commitment import unit_commitment
from gridpact.contracts.messages import UnitCommitmentResult
from tests.compute.commitment_checker import check, schedule_of
from tests.compute.engines import answers
from tests.compute.fleets import Json, as_pglib, random_fleet

FLEETS = 150


def assert_sound(fleet: Json, result: UnitCommitmentResult) -> None:
    """The plan keeps every rule, costs what it says, and tells nothing better than itself."""
    verdict = check(as_pglib(fleet), schedule_of(result), period_h=fleet["slot_duration_s"] / 3600)
    assert verdict.broken == []
    assert verdict.cost == pytest.approx(result.cost, rel=1e-9, abs=1e-6)
    assert result.bound <= result.cost


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
