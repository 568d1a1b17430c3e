"""`gridpact run`: a file in, the result of the running platform out."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from gridpact.contracts.channels import LIMITS
from gridpact.contracts.messages import DispatchResult
from gridpact.kit.wire import decode, to_json
from tests.compute.household import OPTIMA, household_input
from tests.system.under_test import PlatformUnderTest


@pytest.mark.parametrize("slots", OPTIMA)
async def test_prints_exactly_the_stored_result_which_costs_the_optimum(
    platform: PlatformUnderTest, engine: str, slots: int, tmp_path: Path
) -> None:
    file = tmp_path / "dispatch.json"
    file.write_text(json.dumps(household_input(slots)), encoding="utf-8")
    command = (sys.executable, "-m", "gridpact.cli", "run", str(file), "--json")
    options = ("--engine", engine, "--state-dir", str(platform.state_dir))
    running = await asyncio.create_subprocess_exec(
        *command, *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    printed, said = await running.communicate()
    assert (running.returncode, said) == (0, b"")
    stored = decode(DispatchResult, await platform.newest_result(), LIMITS)
    assert printed == to_json(stored) + b"\n"
    assert json.loads(printed)["cost"] == pytest.approx(OPTIMA[slots], abs=1e-6)
