"""What ends a task besides its result: a cancel, its deadline."""

from __future__ import annotations

import time
from typing import Any

import psutil
import pytest
from msgspec import UNSET

from gridpact.contracts.messages import Progress, Result
from tests.heavy import long_linear, long_search
from tests.nodes import Node, error_of, result_of

pytestmark = pytest.mark.timeout(300)  # Julia compiles at its first start

# The node promises half a second, but the machine may be busy. The tasks take far longer than this.
SOON_S = 10.0
HEAVY = pytest.mark.parametrize("wanted", [long_search(), long_linear()], ids=["search", "linear"])


@HEAVY
def test_cancel_is_obeyed_at_once(node: Node, wanted: dict[str, Any]) -> None:
    """The worker is gone, and the next task does not wait for another to start."""
    node.until_quiet()
    with node.bridge() as bridge:
        token = bridge.ask("dispatch", wanted)
        worker = node.until_computing(1.0, bridge)
        asked = time.monotonic()
        bridge.cancel(token)
        error = error_of(bridge.answer())
        assert time.monotonic() - asked < SOON_S
        assert (error.reason, error.retryable, error.fencing_token) == ("CANCELLED", False, token)
        asked = time.monotonic()
        bridge.ask("probe", {})
        result_of("probe", bridge.answer())
        assert time.monotonic() - asked < SOON_S
        psutil.wait_procs([worker], timeout=5)
        assert worker.pid not in [process.pid for process in node.workers()]


@HEAVY
def test_deadline_is_kept_by_the_node(node: Node, wanted: dict[str, Any]) -> None:
    """A worker in the middle of what cannot end in time is stopped in time."""
    node.until_quiet()
    with node.bridge() as bridge:
        asked = time.monotonic()
        bridge.ask("dispatch", wanted, remaining_ms=1_000)
        answer = bridge.answer()
        assert time.monotonic() - asked < 1.0 + SOON_S
        if isinstance(answer, Result):
            # A quick machine has found a plan by then, and brings it in time.
            assert result_of("dispatch", answer).status == "TIME_LIMIT"
        else:
            error = error_of(answer)
            assert (error.reason, error.retryable) == ("TASK_TIMEOUT", False)
            assert "1 s" in error.message
            assert "timeout_s" in error.message
        bridge.ask("probe", {})
        result_of("probe", bridge.answer())


def test_deadline_says_how_long_the_task_had(node: Node) -> None:
    node.until_quiet()
    with node.bridge() as bridge:
        asked = time.monotonic()
        bridge.ask("probe", {"hold_ms": 60_000}, remaining_ms=700)
        error = error_of(bridge.answer())
        assert 0.7 <= time.monotonic() - asked < 0.7 + SOON_S
        assert error.reason == "TASK_TIMEOUT"
        assert "0.7 s" in error.message
        assert "timeout_s" in error.message


def test_search_brings_its_best_plan_before_the_deadline(node: Node) -> None:
    node.until_quiet()
    with node.bridge() as bridge:
        asked = time.monotonic()
        bridge.ask("dispatch", long_search(slots=800), remaining_ms=15_000)
        reports, last = bridge.heard()
        took = time.monotonic() - asked
        plan = result_of("dispatch", last)
        assert took > 7.0 or plan.status == "OPTIMAL"
        assert 1 <= len(reports) <= 1 + 10 * took
        # What is proven at once leaves nothing to tell of the search.
        assert told(reports) or plan.status == "OPTIMAL"


def told(reports: list[Progress]) -> bool:
    """Whether some report says what was found and proven, and none the impossible."""
    known = [(it.objective, it.bound, it.relative_gap) for it in reports]
    complete = [each for each in known if UNSET not in each]
    return bool(complete) and all(bound <= objective for objective, bound, _ in complete)
