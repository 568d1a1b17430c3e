"""Two bridges at one node: each is told what the other one takes."""

from __future__ import annotations

import pytest

from tests.nodes import Node, result_of

pytestmark = pytest.mark.timeout(300)  # Julia compiles at its first start

ROUNDS = 5
# Far below the interval of heartbeats: what is told with these alone goes unheard in some round.
HOLD_MS = 300


def test_a_worker_that_another_takes_is_told_at_once_and_told_when_it_is_free(node: Node) -> None:
    with node.bridge() as first, node.bridge() as second:
        for _ in range(ROUNDS):
            first.ask("probe", {"hold_ms": HOLD_MS})
            second.until_others(1)
            result_of("probe", first.answer())
            second.until_others(0)
        second.ask("probe", {"hold_ms": HOLD_MS})
        first.until_others(1)
        first.until_others(0)
        result_of("probe", second.answer())


def test_a_bridge_that_comes_later_or_leaves_is_told_as_well(node: Node) -> None:
    with node.bridge() as late:
        with node.bridge() as first:
            first.ask("probe", {"hold_ms": 60_000})
            late.until_others(1)
            with node.bridge() as newest:
                newest.until_others(1)
        late.until_others(0)
