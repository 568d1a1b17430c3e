from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

PROGRAM = """
import asyncio, sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from gridpact.kit.process import run_process

@dataclass(frozen=True)
class Settings:
    color: str
    log_level: str = "info"

@asynccontextmanager
async def serving(settings):
    {body}

sys.exit(run_process("example", Settings, serving))
"""


def started(body: str, **environment: str) -> subprocess.Popen[str]:
    program = PROGRAM.format(body=textwrap.indent(textwrap.dedent(body), "    ").strip())
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | {"GRIDPACT_COLOR": "red"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until(process: subprocess.Popen[str], event: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if f"event={event}" in line or event in line:
            return
    pytest.fail(f"{event} never came")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_says_ready_and_leaves_cleanly(number: signal.Signals) -> None:
    process = started("yield {'color': settings.color}\nprint('left', flush=True)")
    until(process, "ready color=red")
    process.send_signal(number)
    out, _ = process.communicate(timeout=5)
    assert "left" in out
    assert process.returncode == 0


def test_a_process_that_is_still_starting_can_be_stopped() -> None:
    process = started("print('waiting', flush=True)\nawait asyncio.Event().wait()\nyield {}")
    until(process, "waiting")
    began = time.monotonic()
    process.terminate()
    assert process.wait(5) == 0
    assert time.monotonic() - began < 3
    process.communicate()


def test_a_background_task_that_fails_ends_the_process() -> None:
    process = started(
        """
        async def fail():
            raise RuntimeError("broken inside")
        async with asyncio.TaskGroup() as group:
            yield {}
            group.create_task(fail())
            await asyncio.Event().wait()
        """
    )
    until(process, "ready")
    process.terminate()
    out, _ = process.communicate(timeout=5)
    assert process.returncode == 1
    assert "broken inside" in out


def test_missing_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    process = started("yield {}", GRIDPACT_COLOR="")
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 2
    assert "GRIDPACT_COLOR is not set" in out
