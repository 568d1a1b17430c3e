"""Where work may go: the bookkeeping of free workers."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gridpact.bridge.domain import AHEAD_MS, Fleet

LANES = ("auto", "julia", "python")


@dataclass(frozen=True, eq=False)
class FleetNode:
    node_id: str
    engine: str
    capacity: int
    kinds: tuple[str, ...] = ("probe",)
    engine_version: str = "0.0.1"
    queue: int = 0


class FleetMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet()
        self.busy: dict[FleetNode, int] = {}
        self.others: dict[FleetNode, int] = {}

    def nodes_of(self, lane: str) -> list[FleetNode]:
        engines = {node.engine for node in self.busy}
        wanted = lane if lane != "auto" else "julia" if "julia" in engines else "python"
        return [node for node in self.busy if node.engine == wanted]

    @rule(engine=st.sampled_from(["julia", "python"]), capacity=st.integers(1, 3))
    def join(self, engine: str, capacity: int) -> None:
        node = FleetNode(f"node-{len(self.busy)}", engine, capacity)
        self.fleet.join(node)
        self.busy[node] = 0
        self.others[node] = 0

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(list(self.busy)))
        self.fleet.leave(node)
        del self.busy[node]
        del self.others[node]
        # Its attempts let go of it afterwards.
        self.fleet.release(node, "probe")

    @rule(lane=st.sampled_from(LANES))
    def take(self, lane: str) -> None:
        free = [node for node in self.nodes_of(lane) if self.free(node)]
        node = self.fleet.take(lane, "probe")
        assert (node is None) == (not free)
        if node is not None:
            assert isinstance(node, FleetNode)
            assert node in free
            self.busy[node] += 1

    @rule(lane=st.sampled_from(LANES))
    def take_of_an_unknown_kind(self, lane: str) -> None:
        assert self.fleet.take(lane, "unheard-of") is None
        assert not self.fleet.knows(lane, "unheard-of")
        assert self.fleet.knows(lane, "probe") == bool(self.nodes_of(lane))

    @precondition(lambda self: any(self.busy.values()))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from([node for node, busy in self.busy.items() if busy]))
        self.fleet.release(node, "probe")
        self.busy[node] -= 1

    @precondition(lambda self: self.busy)
    @rule(data=st.data(), count=st.integers(0, 3))
    def note_others(self, data: st.DataObject, count: int) -> None:
        node = data.draw(st.sampled_from(list(self.busy)))
        self.fleet.note_others(node, count)
        self.others[node] = count

    @precondition(lambda self: any(self.busy.values()))
    @rule(data=st.data())
    def note_full(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from([node for node, busy in self.busy.items() if busy]))
        self.fleet.note_full(node)
        self.fleet.release(node, "probe")
        self.busy[node] -= 1
        self.others[node] = node.capacity - self.busy[node]
        assert not self.free(node)

    def free(self, node: FleetNode) -> int:
        return max(0, node.capacity - self.busy[node] - self.others[node])

    @invariant()
    def free_workers_agree(self) -> None:
        for lane in LANES:
            expected = sum(self.free(node) for node in self.nodes_of(lane))
            assert self.fleet.free_count(lane, "probe") == expected
            capacity = sum(
                max(0, node.capacity - self.others[node]) for node in self.nodes_of(lane)
            )
            assert self.fleet.capacity(lane, "probe") == capacity


TestFleet = FleetMachine.TestCase


def test_one_quick_task_does_not_make_a_kind_quick() -> None:
    fleet, node = fleet_with(FleetNode("a", "python", 1))
    fleet.worked(node, "probe", 0.1)
    assert not fleet.is_quick(node, "probe")
    known_to_take(fleet, node, "probe", 0.1)
    assert fleet.is_quick(node, "probe")
    fleet.worked(node, "probe", 200.0)
    assert not fleet.is_quick(node, "probe")


class TestAhead:
    """What nodes with a queue are sent before a worker is free."""

    def test_is_nothing_of_a_kind_that_nobody_has_timed(self) -> None:
        fleet, node = fleet_with(FleetNode("a", "python", 1, queue=8))
        assert fleet.take("auto", "probe") is node
        assert fleet.take("auto", "probe") is None

    def test_is_as_much_as_the_workers_are_done_with_in_time(self) -> None:
        fleet, node = fleet_with(FleetNode("a", "python", 2, queue=100))
        known_to_take(fleet, node, "probe", AHEAD_MS / 4.1)
        assert fleet.free_count("auto", "probe") == 2 + 8
        taken = 0
        while fleet.take("auto", "probe") is not None:
            taken += 1
        # The last ones are expected to be done in time.
        assert taken == 8
        fleet.release(node, "probe")
        assert fleet.free_count("auto", "probe") == 1

    def test_is_at_most_the_queue(self) -> None:
        fleet, node = fleet_with(FleetNode("a", "python", 2, queue=3))
        known_to_take(fleet, node, "probe", 0.0)
        assert [fleet.take("auto", "probe") for _ in range(6)] == [node] * 5 + [None]

    def test_is_nothing_behind_a_task_of_a_slow_kind(self) -> None:
        kinds = ("probe", "dispatch")
        fleet, node = fleet_with(FleetNode("a", "python", 1, kinds, queue=8))
        known_to_take(fleet, node, "probe", 0.1)
        known_to_take(fleet, node, "dispatch", 10 * AHEAD_MS)
        assert fleet.take("auto", "dispatch") is node
        assert fleet.take("auto", "probe") is None
        fleet.release(node, "dispatch")
        assert [fleet.take("auto", "probe") for _ in range(2)] == [node] * 2

    def test_comes_after_every_idle_worker(self) -> None:
        fleet, quick = fleet_with(FleetNode("a", "python", 1, queue=8))
        idle = FleetNode("b", "python", 2)
        fleet.join(idle)
        known_to_take(fleet, quick, "probe", 0.1)
        taken = [fleet.take("auto", "probe") for _ in range(4)]
        assert (taken.count(idle), taken.count(quick)) == (2, 2)
        assert taken[3] is quick


def fleet_with(node: FleetNode) -> tuple[Fleet, FleetNode]:
    fleet = Fleet()
    fleet.join(node)
    return fleet, node


def known_to_take(fleet: Fleet, node: FleetNode, kind: str, ms: float) -> None:
    """The node has worked on so many tasks of the kind that nothing else is remembered."""
    for _ in range(200):
        fleet.worked(node, kind, ms)
