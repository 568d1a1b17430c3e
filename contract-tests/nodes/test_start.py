"""What is ready is warm: the first task of a kind is not slower than the tenth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gridpact.contracts.channels import KINDS
from gridpact.contracts.messages import Error
from tests.nodes import Bridge, Node, result_of, started

pytestmark = pytest.mark.timeout(300)  # Julia compiles at its first start

SCHEMAS = Path(__file__).parents[2] / "contracts" / "schemas"
AT_MOST_SLOWER_S = 1.0


@pytest.fixture(scope="module", params=["julia", "python"])
def fresh(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A node that no test has used before; every kind is asked once here."""
    with started(request.param) as node:
        yield node


@pytest.mark.parametrize("kind", KINDS)
def test_first_task_of_a_kind_is_as_fast_as_the_tenth(fresh: Node, kind: str) -> None:
    """With the example of its contract, which no worker has rehearsed; in seconds of CPU time,
    which a busy machine does not change."""
    text = (SCHEMAS / f"{kind}-input.yaml").read_text("utf-8")
    wanted = yaml.safe_load(text)["examples"][0]
    fresh.until_quiet()
    with fresh.bridge() as bridge:
        seconds = [time_of(fresh, bridge, kind, wanted) for _ in range(10)]
    assert seconds[0] - seconds[9] < AT_MOST_SLOWER_S


def time_of(node: Node, bridge: Bridge, kind: str, wanted: dict[str, Any]) -> float:
    before = node.cpu_seconds()
    bridge.ask(kind, wanted)
    last = bridge.answer()
    if isinstance(last, Error) and last.reason == "KIND_UNKNOWN":
        pytest.xfail(f"not computed yet: {last.message}")
    result_of(kind, last)
    return node.cpu_seconds() - before
