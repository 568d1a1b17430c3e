"""The benchmark calls the engine as a worker does; here once, so that no drift stays unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.compute import python_side
from bench.compute.lane import Measure
from gridpact.compute.kinds import computations
from gridpact.compute.solve.warm_models import WarmModels
from gridpact.kit.wire import encode


@pytest.mark.parametrize(
    ("kind", "lane", "answered"),
    [
        ("dispatch", python_side.dispatch, "cost"),
        ("power-flow", python_side.power_flow, "voltage"),
    ],
)
def test_a_lane_computes_and_answers(
    tmp_path: Path, kind: str, lane: type[python_side.Task], answered: str
) -> None:
    body = tmp_path / "body"
    body.write_bytes(encode(computations(WarmModels())[kind].rehearsals()[0]))
    task, measure = lane(str(body)), Measure()

    task.call(measure)

    assert list(measure.ms) == ["task"]
    assert list(task.answer()) == [answered]
