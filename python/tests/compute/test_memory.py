"""What a worker may use, and how one ends that wants more."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from gridpact.compute.serve.memory import (
    OUT_OF_MEMORY_EXIT,
    machine_memory_bytes,
    private_mib,
    share_mib,
)
from gridpact.kit.settings import (
    LEAST_WORKER_MEMORY_MIB,
    ComputeSettings,
    SettingsError,
    read_settings,
)

TASK_ID = "01981f6e-7c00-7000-8000-000000000004"
LIMITED = "from gridpact.compute.serve.memory import limit_memory; limit_memory(300); "


def run(code: str) -> str:
    command = [sys.executable, "-c", LIMITED + code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_share_is_three_quarters_of_the_machine_over_its_workers() -> None:
    assert 0 < machine_memory_bytes() <= psutil.virtual_memory().total
    assert share_mib(1) == pytest.approx(0.75 * machine_memory_bytes() / 2**20, abs=1)
    assert share_mib(1) >= share_mib(2) >= share_mib(10**9) == LEAST_WORKER_MEMORY_MIB


@pytest.mark.parametrize("setting", ["255", "-1", "much", "1.5e3"])
def test_setting_is_a_number_that_leaves_room_for_a_task(setting: str) -> None:
    environment = {"GRIDPACT_COMPUTE_SECRET": "s", "GRIDPACT_WORKER_MEMORY_MIB": setting}
    with pytest.raises(SettingsError, match="GRIDPACT_WORKER_MEMORY_MIB"):
        read_settings(ComputeSettings, environment)
    settings = read_settings(ComputeSettings, environment | {"GRIDPACT_WORKER_MEMORY_MIB": "700"})
    assert settings.worker_memory_mib == 700


def test_own_memory_of_a_process_is_what_it_has_written_to() -> None:
    before = private_mib(os.getpid())
    held = b"x" * (100 << 20)
    assert 90 <= private_mib(os.getpid()) - before <= 130
    assert len(held)
    assert private_mib(2**22) == 0  # no such process


def test_allocation_beyond_the_limit_fails() -> None:
    code = """
try:
    bytearray(1 << 30)
except MemoryError:
    print("refused")
"""
    assert run(f"exec({code!r})") == "refused\n"
    assert run("bytearray(100 << 20); print(open('/proc/self/oom_score_adj').read())") == "500\n\n"


def test_worker_that_is_refused_memory_ends_as_the_front_knows_it() -> None:
    code = f"""
from gridpact.compute.kinds import Computation
from gridpact.compute.serve import worker
from gridpact.contracts.messages import ProbeInput, TaskMessage
from gridpact.kit.wire import encode
worker.computations = lambda _: {{"probe": Computation(lambda *_: bytearray(1 << 30), list)}}
worker.Computer().answer(TaskMessage(task_id={TASK_ID!r}, kind="probe", attempt=1, fencing_token=1,
    remaining_ms=60_000, encoding="identity", body=encode(ProbeInput())), lambda _: None)
"""
    command = [sys.executable, "-c", LIMITED + f"exec({code!r})"]
    assert subprocess.run(command, check=False).returncode == OUT_OF_MEMORY_EXIT
