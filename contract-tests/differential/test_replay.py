"""Python and Julia replay schedules to the same powers, costs, deviations and violations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec import Struct

from gridpact.compute.replay import replay
from gridpact.contracts.messages import ReplayResult
from gridpact.kit.series import Float64Series
from tests.compute.engines import answers
from tests.compute.test_replay import any_replay


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
    inputs = [any_replay(seed) for seed in (*range(1000, 1150), 50154)]
    for ours, theirs in answers(julia, "replay", replay, inputs):
        assert isinstance(ours, ReplayResult), ours
        assert_same(ours, theirs)
