"""What the command line shows of the examples of the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from gridpact.cli.control_report import mpc_step_report, replay_report
from gridpact.contracts.rest import MpcStepResult, ReplayResult

SCHEMAS = Path(__file__).parents[3] / "contracts" / "schemas"


def example(name: str) -> Any:
    return yaml.safe_load((SCHEMAS / f"{name}.yaml").read_text("utf-8"))["examples"][0]


def shown(report: object) -> str:
    console = Console(width=120, record=True, quiet=True)
    with console.capture() as capture:
        console.quiet = False
        console.print(report)
    return capture.get()


def test_a_replay_shows_cost_and_what_was_not_followed() -> None:
    text = shown(replay_report(ReplayResult.model_validate(example("replay-result"))))
    for words in ("0.37 EUR", "+0.27 EUR", "Home battery", "EMPTY", "every limit was kept"):
        assert words in text


def test_a_step_shows_set_points_and_reasons() -> None:
    text = shown(mpc_step_report(MpcStepResult.model_validate(example("mpc-step-result"))))
    for words in ("OPTIMAL, cost 0.10 EUR", "from the last step", "-0.4", "DISCHARGE_TO_LOAD"):
        assert words in text
