"""The golden cases keep the contract, and the reference engine answers them as it is written down.

Both engines answer them through the whole platform in python/tests/system/test_kinds.py.
"""

from __future__ import annotations

import pytest

from gridpact.cli.importing.matpower import submission_of
from gridpact.contracts.channels import KINDS
from gridpact.contracts.rest import TaskFailure
from gridpact.kit.wire import build
from tests.golden import FOLDER, Case, Json, cases, compared, differences, reference, rendered

CASES = cases()


def test_every_kind_has_cases() -> None:
    assert {case.kind for case in CASES} == KINDS.keys() - {"probe"}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_submission_and_answer_are_what_the_contract_allows(case: Case) -> None:
    """And the answer's file is as `--write` would write it."""
    assert case.submission["kind"] == case.kind
    build(KINDS[case.kind].input, case.submission["input"])
    if case.fails:
        TaskFailure.model_validate(case.answer)
    else:
        build(KINDS[case.kind].result, case.answer)
    assert case.answer_file.read_text("utf-8") == rendered(case.answer) + "\n"


def test_the_reference_engine_answers_so() -> None:
    different = [
        f"{case}: {words}"
        for case, answer in reference(CASES)
        for words in differences(case, answer)
    ]
    assert different == []


@pytest.mark.parametrize(
    ("number", "moved", "same"),
    [(2.0, 1e-6, True), (2.0, 5e-6, False), (2000.0, 1e-3, True), (2000.0, 5e-3, False)],
)
def test_costs_differ_by_a_millionth_at_most(number: float, moved: float, same: bool) -> None:
    found = list(compared({"cost": number}, {"cost": number + moved}))
    assert (found == []) == same


@pytest.mark.parametrize(
    ("found", "path"),
    [
        ({"voltage_pu": [1.0, 0.98 + 2e-8], "status": "OPTIMAL", "slots": 2}, "voltage_pu[1]"),
        ({"voltage_pu": [1.0], "status": "OPTIMAL", "slots": 2}, "voltage_pu"),
        ({"voltage_pu": [1.0, 0.98], "status": "TIME_LIMIT", "slots": 2}, "status"),
        ({"voltage_pu": [1.0, 0.98], "status": "OPTIMAL"}, "slots"),
        ({"voltage_pu": [1.0, 0.98], "status": "OPTIMAL", "slots": 2, "cost": 0}, "cost"),
    ],
)
def test_what_differs_is_found(found: Json, path: str) -> None:
    golden = {"voltage_pu": [1.0, 0.98], "status": "OPTIMAL", "slots": 2}
    assert [where for where, _ in compared(golden, found)] == [path]


def test_the_14_buses_are_what_import_makes_of_their_file() -> None:
    """The MATPOWER file beside it is the original, which documentation shows how to import."""
    text = (FOLDER / "power-flow" / "pglib_opf_case14_ieee.m").read_text("utf-8")
    made, _ = submission_of(text)
    wanted = Case("power-flow", "ieee-14").submission
    assert made == {name: wanted[name] for name in made}
