"""`gridpact import pglib-uc`."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gridpact.cli.__main__ import app
from gridpact.cli.importing.error import ImportFileError
from gridpact.cli.importing.pglib_uc import start_in, submission_of
from tests.compute.fleets import as_pglib, random_fleet

FLEET = random_fleet(1, units=3, slots=4, slot_duration_s=3600)


def converted(instance: Any) -> dict[str, Any]:
    text = json.dumps(instance).encode()
    return submission_of(text, start_time="2020-01-27T00:00:00Z", currency="USD")


def refusal(change: Any) -> str:
    instance = copy.deepcopy(as_pglib(FLEET))
    change(instance)
    with pytest.raises(ImportFileError) as refused:
        converted(instance)
    return str(refused.value)


@pytest.mark.parametrize("seed", range(40))
def test_is_the_inverse_of_writing_a_fleet_as_pglib(seed: int) -> None:
    instance = as_pglib(random_fleet(seed, units=4, slots=6, slot_duration_s=3600))
    given = converted(instance)["input"]
    again = as_pglib(given)
    assert again == instance


def test_names_a_key_that_is_missing() -> None:
    words = refusal(lambda instance: instance["thermal_generators"]["Unit 1"].pop("must_run"))
    assert words.startswith("thermal_generators.Unit 1")
    assert "must_run" in words


def test_names_a_key_of_the_wrong_type() -> None:
    def change(instance: Any) -> None:
        instance["thermal_generators"]["Unit 0"]["startup"][0]["lag"] = "soon"

    assert refusal(change).startswith("thermal_generators.Unit 0.startup[0].lag: Expected `float`")


def test_names_the_unit_and_the_rule_of_a_value_that_the_contract_refuses() -> None:
    def change(instance: Any) -> None:
        instance["thermal_generators"]["Unit 0"]["ramp_startup_limit"] = -1

    words = refusal(change)
    assert "thermal_units[0] (Unit 0).startup_limit_mw" in words
    assert "(minimum)" in words


def test_names_a_series_that_is_too_short() -> None:
    words = refusal(lambda instance: instance["demand"].pop())
    assert "input.demand_mw must have 4 values (slots); it has 3 (length-equals)" in words


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b'{"time_periods": 1}'])
def test_refuses_what_is_no_instance(text: bytes) -> None:
    with pytest.raises(ImportFileError):
        submission_of(text, start_time="2020-01-27T00:00:00Z", currency="USD")


def test_takes_the_start_from_the_name_of_the_file() -> None:
    assert start_in("2020-07-06.json") == "2020-07-06T00:00:00Z"
    assert start_in("ca.json") == "2020-01-01T00:00:00Z"


def test_command_writes_the_submission(tmp_path: Path) -> None:
    file = tmp_path / "2020-01-27.json"
    file.write_text(json.dumps(as_pglib(FLEET)))
    done = CliRunner().invoke(app, ["import", "pglib-uc", str(file), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    written = json.loads((tmp_path / "out").read_text())
    assert written["kind"] == "unit-commitment"
    assert written["input"]["start_time"] == "2020-01-27T00:00:00Z"


def test_command_says_what_is_wrong_by_file(tmp_path: Path) -> None:
    file = tmp_path / "broken.json"
    file.write_text("{}")
    done = CliRunner().invoke(app, ["import", "pglib-uc", str(file)])
    assert done.exit_code == 2
    assert "broken.json" in done.output
