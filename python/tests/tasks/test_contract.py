"""What the contracts say of an input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from gridpact.contracts.channels import KINDS
from gridpact.tasks.contract import GeneratedContract

SCHEMAS = Path(__file__).parents[3] / "contracts" / "schemas"


@pytest.mark.parametrize(
    ("member", "changes", "affinity"),
    [
        (None, {}, None),
        ("currency", {"currency": "CHF"}, "CHF"),
        ("options", {}, ""),  # stands for an optional member that is not there
    ],
)
def test_an_input_names_the_model_it_builds_on(
    member: str | None,
    changes: dict[str, Any],
    affinity: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kinds = {**KINDS, "dispatch": replace(KINDS["dispatch"], affinity=member)}
    monkeypatch.setattr("gridpact.tasks.contract.KINDS", kinds)
    schema = yaml.safe_load((SCHEMAS / "dispatch-input.yaml").read_text("utf-8"))
    data = msgspec.msgpack.encode(schema["examples"][0] | changes)
    assert GeneratedContract().pack_input("dispatch", data).affinity == affinity
