"""The command line on a whole platform: every process real, every boundary crossed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.compute.household import OPTIMA, household_input

GRIDPACT = (sys.executable, "-m", "gridpact.cli")

INPUT: dict[str, Any] = {
    "start_time": "2026-06-01T00:00:00Z",
    "slot_duration_s": 3600,
    "slots": 2,
    "currency": "EUR",
    "batteries": [
        {
            "name": "Battery",
            "battery": {
                "capacity_kwh": 10,
                "max_charge_power_kw": 5,
                "max_discharge_power_kw": 5,
                "charge_efficiency": 1,
                "discharge_efficiency": 1,
            },
            "initial_energy_kwh": 5,
            "final_energy_kwh": 5,
        }
    ],
    "loads": [{"name": "House", "power_kw": [1, 1]}],
    "tariff": {"import_price_per_kwh": [0.1, 0.3], "export_price_per_kwh": [0, 0]},
    "grid": {"max_import_power_kw": 30, "max_export_power_kw": 20},
}


class Shell:
    """Runs `gridpact` against the platform of these tests."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir

    def __call__(
        self, command: str, *options: str, stdin: object = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(command, *options),
            input=None if stdin is None else json.dumps(stdin),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def command(self, command: str, *options: str) -> Sequence[str]:
        return (*GRIDPACT, command, "--state-dir", str(self.state_dir), *options)


@pytest.fixture(scope="module")
def gridpact(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A command line on a platform of its own, which is stopped afterwards."""
    shell = Shell(tmp_path_factory.mktemp("state"))
    started = shell("up", "--detach", "--workers", "1")
    assert started.returncode == 0, started.stderr
    yield shell
    assert shell("down").returncode == 0


@pytest.fixture(params=["julia", "python"])
def engine(request: pytest.FixtureRequest, gridpact: Shell) -> str:
    """Each engine that the platform runs."""
    need_engine(gridpact, request.param)
    return request.param


def need_engine(gridpact: Shell, engine: str) -> None:
    processes = json.loads(gridpact("status", "--json").stdout)["processes"]
    if f"compute-{engine}" not in {process["name"] for process in processes}:
        pytest.skip(f"no {engine} engine runs on this machine")


@pytest.mark.parametrize("slots", OPTIMA)
def test_household_costs_its_optimum_through_the_platform(
    gridpact: Shell, engine: str, slots: int
) -> None:
    done = gridpact("run", "-", "--engine", engine, "--json", stdin=household_input(slots))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cost"] == pytest.approx(OPTIMA[slots], abs=1e-6)


def test_both_engines_give_the_same_costs_and_reasons(gridpact: Shell) -> None:
    """In a problem with one best plan they agree in everything."""
    need_engine(gridpact, "julia")
    answers = [
        json.loads(gridpact("run", "-", "--json", "--engine", engine, stdin=INPUT).stdout)
        for engine in ("julia", "python")
    ]
    julia, python = answers
    assert julia["cost"] == pytest.approx(python["cost"], abs=1e-9)
    for key in ("reasons", "power_kw", "energy_kwh", "marginal_value_per_kwh"):
        assert julia["batteries"][0][key] == pytest.approx(python["batteries"][0][key], abs=1e-6)


def test_shows_a_table_and_a_chart_for_people(gridpact: Shell) -> None:
    done = gridpact("run", "-", "--time-zone", "Europe/Berlin", stdin=INPUT)
    assert done.returncode == 0
    assert "Mon 01 Jun 02:00" in done.stdout
    assert "savings" in done.stdout
    assert "\x1b" not in done.stdout


def test_bad_input_is_a_problem_that_names_the_field(gridpact: Shell) -> None:
    done = gridpact("run", "-", stdin=INPUT | {"slots": 3})
    assert (done.returncode, done.stdout) == (1, "")
    assert "INVALID_ARGUMENT" in done.stderr
    assert "input.loads[0].power_kw" in done.stderr


def test_no_plan_is_a_failure_with_the_way_out(gridpact: Shell) -> None:
    narrow = {"max_import_power_kw": 0, "max_export_power_kw": 0}
    batteries = [INPUT["batteries"][0] | {"initial_energy_kwh": 0, "final_energy_kwh": 1}]
    strict = {"grid": narrow, "batteries": batteries, "on_conflict": "FAIL"}
    done = gridpact("run", "-", stdin=INPUT | strict)
    assert (done.returncode, done.stdout) == (1, "")
    assert "INFEASIBLE" in done.stderr
    assert "grid.max_import_power_kw must be at least 1.5" in done.stderr


def test_wrong_use_is_told_from_failure(gridpact: Shell, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{", encoding="utf-8")
    assert gridpact("run", str(tmp_path / "missing.json")).returncode == 2
    assert gridpact("run", str(broken)).returncode == 2
    assert gridpact("run", "-", "--engine", "abacus", stdin=INPUT).returncode == 2


def test_interrupted_run_cancels_its_task(gridpact: Shell) -> None:
    """The worker is free again long before the task would have ended."""
    options = ("run", "-", "--kind", "probe", "--engine", "python")
    with subprocess.Popen(
        gridpact.command(*options), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdin is not None
        running.stdin.write(b'{"hold_ms": 600000}')
        running.stdin.close()
        # The one worker of this engine is held once a second task has to wait.
        while gridpact(*options, "--timeout", "1", stdin={}).returncode == 0:
            pass
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 130
    assert gridpact(*options, "--timeout", "30", stdin={}).returncode == 0


def test_demo_uses_the_running_platform_and_leaves_it(gridpact: Shell) -> None:
    """Twice: the second time everything is there already."""
    for _ in range(2):
        done = gridpact("demo")
        assert done.returncode == 0, done.stderr
    assert gridpact("status").returncode == 0
    record = json.loads((gridpact.state_dir / "demo.json").read_text(encoding="utf-8"))
    assert [run["slots"] for run in record["runs"]] == [96, 672]
    assert record["engine"] in ("julia", "python")
    for run in record["runs"]:
        assert run["savings"] == pytest.approx(run["baseline_cost"] - run["cost"])
        assert 0 < run["solve_ms"] < run["request_to_push_ms"]


def test_without_a_platform_says_how_to_start_one(tmp_path: Path) -> None:
    done = Shell(tmp_path)("run", "-", stdin=INPUT)
    assert done.returncode == 1
    assert "gridpact up" in done.stderr


def test_demo_alone_leaves_nothing_running(tmp_path: Path) -> None:
    started = time.time()
    done = Shell(tmp_path)("demo", "--engine", "python", "--workers", "1")
    assert done.returncode == 0, done.stderr
    # The ports of the next platform may be others: no address may be promised.
    assert "`gridpact status` tells its address" in done.stdout.splitlines()[-1]
    assert "http://" not in done.stdout
    left = [
        process.cmdline()
        for process in psutil.process_iter()
        if process.create_time() >= started and str(tmp_path) in " ".join(process.cmdline())
    ]
    assert left == []
