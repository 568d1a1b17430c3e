"""Tasks that are sent in advance: how they wait for a worker, and what ends them before that."""

from __future__ import annotations

import time

import pytest

from gridpact.contracts.messages import Accepted, Progress, Result
from tests.heavy import long_linear
from tests.nodes import Bridge, Node, error_of, result_of

pytestmark = pytest.mark.timeout(300)  # Julia compiles at its first start

QUEUE_OF_WORKER = 128
HELD_MS = 3_000
FOREVER_MS = 600_000


def hold(bridge: Bridge, hold_ms: int = FOREVER_MS) -> int:
    """Has the node's worker held; the task's fencing token."""
    token = bridge.ask("probe", {"hold_ms": hold_ms})
    while not isinstance(message := bridge.receive(), Accepted):
        assert isinstance(message, Progress)
    assert message.fencing_token == token
    return token


def end(bridge: Bridge, token: int) -> None:
    """Cancels a task, whose end is what the node says next."""
    bridge.cancel(token)
    error = error_of(bridge.answer())
    assert (error.reason, error.fencing_token) == ("CANCELLED", token)


def test_tasks_wait_for_a_worker_in_the_order_in_which_they_came(node: Node) -> None:
    with node.bridge() as bridge:
        asked = [bridge.ask("probe", {"hold_ms": 1}) for _ in range(20)]
        assert [bridge.answer().fencing_token for _ in asked] == asked


def test_task_is_accepted_when_a_worker_has_taken_it(node: Node) -> None:
    """While it waits, the bridge may have it back."""
    with node.bridge() as bridge:
        first, second = (bridge.ask("probe", {"hold_ms": 200}) for _ in range(2))
        said = [bridge.receive() for _ in range(2)]
        while not isinstance(said[-1], Result) or said[-1].fencing_token != second:
            said.append(bridge.receive())
        told = [(type(it), it.fencing_token) for it in said if isinstance(it, Accepted | Result)]
        assert told == [(Accepted, first), (Result, first), (Accepted, second), (Result, second)]


def test_task_that_waits_ends_by_cancel_or_deadline_and_no_worker_is_killed_for_it(
    node: Node,
) -> None:
    workers = set(node.workers())
    with node.bridge() as bridge:
        held = hold(bridge, HELD_MS)
        first, second, third = (bridge.ask("probe", {}) for _ in range(3))
        end(bridge, second)
        asked = time.monotonic()
        late = bridge.ask("probe", {}, remaining_ms=300)
        error = error_of(bridge.answer())
        assert time.monotonic() - asked >= 0.3
        assert (error.reason, error.fencing_token) == ("TASK_TIMEOUT", late)
        assert "0.3 s" in error.message
        assert [bridge.answer().fencing_token for _ in range(3)] == [held, first, third]
    assert workers <= set(node.workers())


def test_more_tasks_than_workers_and_queue_are_refused_whosever_they_are(node: Node) -> None:
    with node.bridge() as first, node.bridge() as second:
        room = first.welcome.capacity + first.welcome.queue
        assert room == 1 + QUEUE_OF_WORKER
        held = hold(first)
        waiting = [first.ask("probe", {}) for _ in range(room - 3)]
        # What two bridges say at once comes in any order.
        second.ask("probe", {})
        second.until_others(1)
        waiting.append(first.ask("probe", {}))
        end(first, waiting.pop())
        waiting.append(first.ask("probe", {}))
        beyond = first.ask("probe", {})
        error = error_of(first.answer())
        assert (error.reason, error.retryable, error.fencing_token) == ("NODE_BUSY", True, beyond)
        # Not as busy, which would be tried again.
        unknown = first.ask_packed("riddle", ("identity", b"\x80"))
        error = error_of(first.answer())
        assert (error.reason, error.retryable, error.fencing_token) == (
            "KIND_UNKNOWN",
            False,
            unknown,
        )
        end(first, held)
        assert [first.answer().fencing_token for _ in waiting] == waiting
        result_of("probe", second.answer())


def test_others_are_no_more_than_the_workers_however_many_tasks_they_have(node: Node) -> None:
    with node.bridge() as late:
        with node.bridge() as first:
            hold(first)
            for _ in range(5):
                first.ask("probe", {"hold_ms": FOREVER_MS})
            late.until_others(1)
        # What waited went with its bridge: nothing stands before this one.
        late.until_others(0)
        late.ask("probe", {})
        result_of("probe", late.answer())


def test_worker_that_dies_takes_only_its_own_task_with_it(node: Node) -> None:
    node.until_quiet()
    with node.bridge() as bridge:
        lost = bridge.ask("dispatch", long_linear())
        waiting = [bridge.ask("probe", {}) for _ in range(3)]
        node.until_computing(0.3, bridge).kill()
        error = error_of(bridge.answer())
        assert (error.reason, error.retryable, error.fencing_token) == ("WORKER_LOST", True, lost)
        for token in waiting:
            last = bridge.answer()
            result_of("probe", last)
            assert last.fencing_token == token
