"""Python and Julia replay schedules to the same powers, costs, deviations and violations."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import Struct

from gridpact.compute.replay import replay
from gridpact.contracts.channels import LIMITS
from gridpact.contracts.messages import ReplayInput, ReplayResult
from gridpact.kit.series import Float64Series
from gridpact.kit.wire import build, decode, encode
from tests.compute.test_replay import any_replay, silent

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


def assert_same(ours: Any, theirs: Any, at: str = "") -> None:
    """The same but for rounding."""
    assert type(ours) is type(theirs), at
    if isinstance(ours, Struct):
        for name in ours.__struct_fields__:
            if name != "message":  # numbers in words
                assert_same(getattr(ours, name), getattr(theirs, name), f"{at}.{name}")
    elif isinstance(ours, Float64Series):
        np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-9, err_msg=at)
    elif isinstance(ours, float):
        assert theirs == pytest.approx(ours, rel=1e-9, abs=1e-9), at
    elif isinstance(ours, list):
        assert len(ours) == len(theirs), at
        for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(one, other, f"{at}[{i}]")
    else:
        assert ours == theirs, at


@pytest.mark.timeout(300)
def test_replays_are_the_same(julia: str) -> None:
    inputs = [build(ReplayInput, any_replay(seed)) for seed in range(1000, 1150)]
    done = subprocess.run(
        [julia, "--startup-file=no", "--project=julia", HERE / "compute.jl"],
        cwd=ROOT,
        input="".join(f"ReplayInput {encode(each).hex()}\n" for each in inputs),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for wanted, line in zip(inputs, done.stdout.splitlines(), strict=True):
        said, _, data = line.partition(" ")
        assert said == "result", line
        assert_same(replay(wanted, silent), decode(ReplayResult, bytes.fromhex(data), LIMITS))
