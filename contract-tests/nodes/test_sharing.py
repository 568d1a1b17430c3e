"""Two bridges at one node: each is told what the other one takes."""

from __future__ import annotations

import time

import pytest

from tests.nodes import Node, result_of

pytestmark = pytest.mark.timeout(300)  # Julia compiles at its first start

# Far below the interval of heartbeats: this one comes because something has changed.
SOON_S = 1.0


def test_a_worker_that_another_takes_is_told_at_once_and_told_when_it_is_free(node: Node) -> None:
    with node.bridge() as first, node.bridge() as second:
        asked = time.monotonic()
        first.ask("probe", {"hold_ms": 1500})
        assert second.others() == 1
        assert time.monotonic() - asked < SOON_S
        assert second.others() == 0
        assert time.monotonic() - asked < 1.5 + SOON_S
        result_of("probe", first.answer())
        second.ask("probe", {})
        result_of("probe", second.answer())
        assert first.others() in (0, 1)


def test_a_bridge_that_comes_later_or_leaves_is_told_as_well(node: Node) -> None:
    with node.bridge() as late:
        with node.bridge() as first:
            first.ask("probe", {"hold_ms": 60_000})
            assert late.others() == 1
            with node.bridge() as newest:
                assert newest.others() == 1
        assert late.others() == 0
