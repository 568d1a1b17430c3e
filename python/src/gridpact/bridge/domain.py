"""What the bridge knows and decides, without any I/O.

A delivery from the queue is **held** from its receipt until its message is acknowledged, handed
back or given up. While it is held it may wait for a free worker, or be an attempt at one node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from gridpact.kit.violation import Violation


@dataclass(frozen=True, slots=True)
class Lease:
    """What an attempt holds at the owner of tasks; ``fencing_token`` is its number."""

    task_id: str
    fencing_token: int


@dataclass(frozen=True, slots=True)
class Opened:
    """The owner of tasks has opened an attempt."""

    lease: Lease
    attempt: int
    remaining_ms: int
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """The owner of tasks has refused; ``reason`` is one of contracts/errors.yaml."""

    reason: str
    retry_after: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Renewed:
    """The lease goes on."""

    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an attempt is; ``fraction`` is 0 to 1."""

    fraction: float
    stage: str
    objective: float | None = None
    bound: float | None = None
    relative_gap: float | None = None


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The node brought a result: MsgPack, packed as ``encoding`` (identity or zstd) says."""

    encoding: str
    body: bytes
    solve_ms: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The node says that the task cannot be done; CANCELLED when it was asked to stop."""

    reason: str
    message: str
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True, slots=True)
class HandedBack:
    """Nothing came of the attempt; another may do better."""

    reason: str
    message: str


Outcome = Succeeded | Failed | HandedBack


@dataclass(frozen=True, slots=True)
class Ending:
    """An attempt that is over."""

    lease: Lease
    engine: str
    engine_version: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Completed:
    """The owner of tasks has committed an ending."""

    task_ended: bool


@dataclass(frozen=True, slots=True)
class Header:
    """The properties of a queue message (ComputeTaskHeaders)."""

    task_id: str
    kind: str
    encoding: str
    traceparent: str | None
    affinity_key: str | None = None


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The message has had its effect: remove it."""


@dataclass(frozen=True, slots=True)
class Return:
    """The message shall be delivered again after ``delay``."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class Leave:
    """The message belongs to somebody else by now: do nothing."""


Disposal = Acknowledge | Return | Leave

AT_ONCE = timedelta(0)

# A worker that died may die again of the same task; its neighbours go first.
RETRY_DELAY = timedelta(milliseconds=200)


def after_refused_opening(refused: Refused) -> Disposal:
    """What becomes of a message whose task cannot be attempted now."""
    if refused.reason == "LEASE_HELD":
        return Return(refused.retry_after)
    # NOT_FOUND, TASK_TERMINAL, ATTEMPTS_EXHAUSTED, TASK_TIMEOUT: there is nothing left to do.
    return Acknowledge()


def after_ending(answer: Completed | Refused, attempt: int) -> Disposal:
    """What becomes of a message whose attempt number ``attempt`` is over."""
    match answer:
        case Completed(task_ended=True) | Refused(reason="TASK_TERMINAL"):
            return Acknowledge()
        case Completed():
            return Return(RETRY_DELAY * attempt)
        case Refused():
            return Leave()


class Node(Protocol):
    """A connected compute node, as it introduced itself. ``capacity`` is its number of workers."""

    @property
    def node_id(self) -> str: ...
    @property
    def engine(self) -> str: ...
    @property
    def engine_version(self) -> str: ...
    @property
    def kinds(self) -> Sequence[str]: ...
    @property
    def capacity(self) -> int: ...


class Fleet:
    """The connected nodes and their free workers.

    The lane ``auto`` goes to Julia nodes while one is connected, and to the others otherwise; a
    lane named like an engine goes to nodes of that engine.
    """

    def __init__(self) -> None:
        self._busy: dict[Node, int] = {}

    def join(self, node: Node) -> None:
        """A node has connected; all its workers are free."""
        self._busy[node] = 0

    def leave(self, node: Node) -> None:
        """A node is gone."""
        del self._busy[node]

    def free_count(self, lane: str) -> int:
        """How many tasks of the lane could be started now."""
        return sum(node.capacity - self._busy[node] for node in self._nodes_of(lane))

    def knows(self, lane: str, kind: str) -> bool:
        """Whether a connected node of the lane computes the kind at all."""
        return any(kind in node.kinds for node in self._nodes_of(lane))

    def take(self, lane: str, kind: str) -> Node | None:
        """A free worker for the kind, at the node with most of them; None when all are busy."""
        able = [node for node in self._nodes_of(lane) if kind in node.kinds]
        node = max(able, key=self._free, default=None)
        if node is None or self._free(node) <= 0:
            return None
        self._busy[node] += 1
        return node

    def release(self, node: Node) -> None:
        """A worker of the node is free again; of a node that is gone, nothing is left to free."""
        if node in self._busy:
            self._busy[node] -= 1

    def _free(self, node: Node) -> int:
        return node.capacity - self._busy[node]

    def _nodes_of(self, lane: str) -> list[Node]:
        if lane != "auto":
            return [node for node in self._busy if node.engine == lane]
        julia = [node for node in self._busy if node.engine == "julia"]
        return julia or list(self._busy)
