"""The benchmark calls the engine as a worker does; here once, so that no drift stays unseen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.compute import python_side
from bench.compute.lane import Lane, Measure
from gridpact.compute.kinds import computations
from gridpact.compute.solve.warm_models import WarmModels
from gridpact.kit.wire import encode


@pytest.mark.parametrize(
    ("kind", "prepare", "answered"),
    [("dispatch", python_side.dispatch, "cost"), ("power-flow", python_side.PowerFlow, "voltage")],
)
def test_a_lane_computes_and_answers(
    tmp_path: Path, kind: str, prepare: Callable[[str], Lane], answered: str
) -> None:
    wanted = computations(WarmModels())[kind].rehearsals()[0]
    body = tmp_path / "body"
    body.write_bytes(encode(wanted))
    lane, measure = prepare(str(body)), Measure()

    lane.call(measure)

    assert list(measure.ms) == ["task"]
    assert list(lane.answer()) == [answered]
