"""What a person sees of a unit commitment."""

from __future__ import annotations

import io

from rich.console import Console

from gridpact.cli.commitment_report import unit_commitment_report
from gridpact.contracts.rest import UnitCommitmentResult
from tests.golden import Case


def test_a_commitment_shows_when_each_unit_runs_and_what_it_costs() -> None:
    answer = Case("unit-commitment", "day").answer
    answer["thermal_units"].append(
        answer["thermal_units"][2] | {"name": "Reserve plant", "commitment": [0] * 12, "starts": []}
    )
    console = Console(file=io.StringIO(), width=100)
    console.print(unit_commitment_report(UnitCommitmentResult.model_validate(answer)))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "65,769.00 EUR  at most 0.000% above the best plan" in text
    (row,) = [line.split() for line in text.splitlines() if line.startswith("Gas turbine")]
    assert row[2:] == ["█·····███···", "4", "2", "92.0", "6,000.00", "CAPACITY"]
    assert "1 of 4 units never run" in text
    assert "Reserve plant" not in text
