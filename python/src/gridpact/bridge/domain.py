"""What the bridge knows and decides, without any I/O.

A delivery from the queue is **held** from its receipt until its message is acknowledged, handed
back or given up. While it is held it may wait for a free worker, or be an attempt at one node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

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
    """The owner of tasks has refused; ``reason`` is one of contracts/errors.yaml.

    dead_letter_error: not empty when the task has no attempt left: what became of the last one.
    """

    reason: str
    retry_after: timedelta = timedelta(0)
    dead_letter_error: str = ""


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
    """Nothing came of the attempt; another may do better.

    ``excused``: neither task nor worker is to blame, so the attempt does not count.
    """

    reason: str
    message: str
    excused: bool = False


Outcome = Succeeded | Failed | HandedBack

NODE_BUSY = "NODE_BUSY"


@dataclass(frozen=True, slots=True)
class Ending:
    """An attempt that is over."""

    lease: Lease
    engine: str
    engine_version: str
    outcome: Outcome
    # Of an attempt that has not been opened: how long ago it was begun.
    early_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """A task that wants an attempt; ``begun_early``: a worker has it already."""

    task_id: str
    begun_early: bool = False


@dataclass(frozen=True, slots=True)
class Completed:
    """The owner of tasks has committed an ending.

    dead_letter_error: not empty when the task ended for want of another attempt: what became of
    the last one.
    """

    task_ended: bool
    dead_letter_error: str = ""


@dataclass(frozen=True, slots=True)
class Header:
    """The properties of a queue message (ComputeTaskHeaders).

    ``claim_bytes``: the size of the payload that the owner of tasks has kept; None when it is here.
    ``timeout_epoch_ms``: the task's timeout by the owner's clock; None unless its first attempt may
    begin early.
    """

    task_id: str
    kind: str
    encoding: str
    traceparent: str | None
    affinity_key: str | None = None
    claim_bytes: int | None = None
    timeout_epoch_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The message has had its effect: remove it."""


@dataclass(frozen=True, slots=True)
class Return:
    """The message shall be delivered again after ``delay``. The owner counts attempts: its queue
    need not."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class Bury:
    """The message shall be a dead letter; ``error`` says why."""

    error: str


@dataclass(frozen=True, slots=True)
class Leave:
    """The message belongs to somebody else by now: do nothing."""


Disposal = Acknowledge | Return | Bury | Leave

AT_ONCE = timedelta(0)

# A worker that died may die again of the same task; its neighbours go first.
RETRY_DELAY = timedelta(milliseconds=200)
LONGEST_RETRY_DELAY = timedelta(seconds=2)


def after_refused_opening(refused: Refused) -> Disposal:
    """What becomes of a message whose task cannot be attempted now."""
    not_yet = refused.reason == "NOT_FOUND" and refused.retry_after
    if refused.reason == "LEASE_HELD" or not_yet:
        return Return(refused.retry_after)
    if refused.reason == "LEASE_STALE":
        # Begun early, though it was not the first attempt. Next time it is opened before.
        return Return(AT_ONCE)
    if refused.dead_letter_error:
        return Bury(refused.dead_letter_error)
    # NOT_FOUND, TASK_TERMINAL, ATTEMPTS_EXHAUSTED, TASK_TIMEOUT: there is nothing left to do.
    return Acknowledge()


def after_refused_payload(refused: Refused) -> Outcome:
    """What becomes of an attempt whose payload the owner of tasks does not give."""
    match refused.reason:
        case "PAYLOAD_LOST":
            return Failed(refused.reason, "the input of the task is gone; submit it again")
        case "MESSAGE_MALFORMED":
            return Failed(refused.reason, "the message claims another size than the payload has")
        case _:
            return HandedBack(refused.reason, "the payload could not be fetched")


def after_ending(answer: Completed | Refused, attempt: int, *, excused: bool = False) -> Disposal:
    """What becomes of a message whose attempt number ``attempt`` is over.

    ``excused``: it was handed back, and there is no reason to wait with the next one.
    """
    if answer.dead_letter_error:
        return Bury(answer.dead_letter_error)
    match answer:
        case Completed(task_ended=True) | Refused(reason="TASK_TERMINAL"):
            return Acknowledge()
        case Completed():
            return Return(AT_ONCE if excused else min(RETRY_DELAY * attempt, LONGEST_RETRY_DELAY))
        case Refused():
            return Leave()


class Node(Protocol):
    """A connected compute node, as it introduced itself.

    ``capacity`` is its number of workers, ``queue`` how many tasks more it takes in advance.
    """

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
    @property
    def queue(self) -> int: ...


AHEAD_MS = 25.0
"""A worker may have so much work before it: what it costs to bring it the next task is less."""

EARLY_MS = 5.0
"""Where a kind takes no longer, a first attempt begins before it is opened."""

# How much of the newest time goes into what a kind takes.
_NEWEST_SHARE = 1 / 8


class Fleet:
    """The connected nodes and their free workers.

    A node that has a queue is sent tasks in advance, while all that it has are of kinds that take
    it so short that they are done within AHEAD_MS: as far as the last ones tell.

    Tasks of the choice `auto` go to Julia nodes while one is connected, and to the others
    otherwise; those of a choice named like an engine go to nodes of that engine. Of a kind that
    none of these computes, every node counts as able: whoever asks finds out with `knows`.
    """

    def __init__(self) -> None:
        # Of each node, how many tasks of each kind it has.
        self._placed: dict[Node, Counter[str]] = {}
        # And how many of its workers are at work for other bridges.
        self._others: dict[Node, int] = {}
        # How long a task of the kind takes at the node.
        self._pace_ms: dict[tuple[Node, str], float] = {}

    def join(self, node: Node) -> None:
        """A node has connected; all its workers are free."""
        self._placed[node] = Counter()
        self._others[node] = 0

    def leave(self, node: Node) -> None:
        """A node is gone."""
        del self._placed[node]
        del self._others[node]
        for each in [each for each in self._pace_ms if each[0] is node]:
            del self._pace_ms[each]

    def note_others(self, node: Node, count: int) -> None:
        """So many workers of the node are at work for other bridges."""
        if node in self._others:
            self._others[node] = count

    def note_full(self, node: Node) -> None:
        """The node had no room for the task that it was given last: others have taken it."""
        if node in self._others:
            self._others[node] = node.capacity - max(0, self._placed[node].total() - 1)

    def capacity(self, choice: str, kind: str) -> int:
        """How many tasks of the kind could be at work at once, with what others leave of nodes."""
        return sum(self._workers(node) for node in self._able(choice, kind))

    def idle_count(self, choice: str, kind: str) -> int:
        """How many workers for the kind have nothing to do."""
        return sum(max(0, self._idle(node)) for node in self._able(choice, kind))

    def free_count(self, choice: str, kind: str) -> int:
        """How many tasks of the kind could be sent now."""
        return sum(
            max(0, self._idle(node)) + self._ahead(node, kind) for node in self._able(choice, kind)
        )

    def wants(self, choice: str, kind: str) -> int:
        """How many tasks of the kind to fetch: nothing while all workers have enough before them,
        so that what is fetched in advance comes many at a time."""
        return sum(
            max(0, self._idle(node)) + (ahead if 2 * ahead >= self._most_ahead(node, kind) else 0)
            for node in self._able(choice, kind)
            for ahead in [self._ahead(node, kind)]
        )

    def knows(self, choice: str, kind: str) -> bool:
        """Whether a connected node computes the kind at all."""
        return any(kind in node.kinds for node in self._nodes_of(choice))

    def take(self, choice: str, kind: str) -> Node | None:
        """A place for a task: at the node with most idle workers, or else with most room before
        them; None when there is none."""
        able = [node for node in self._nodes_of(choice) if kind in node.kinds]
        node = max(able, key=self._idle, default=None)
        if node is None:
            return None
        if self._idle(node) <= 0:
            node = max(able, key=lambda it: self._ahead(it, kind))
            if self._ahead(node, kind) == 0:
                return None
        self._placed[node][kind] += 1
        return node

    def release(self, node: Node, kind: str) -> None:
        """The node has a task less; of a node that is gone, nothing is left to free."""
        if node in self._placed:
            self._placed[node][kind] -= 1

    def worked(self, node: Node, kind: str, solve_ms: float) -> None:
        """A worker of the node took so long for a task."""
        if node in self._placed:
            # One quick task does not make a kind quick: what was not known counts as too long.
            before_ms = self._pace(node, kind)
            self._pace_ms[node, kind] = before_ms + (solve_ms - before_ms) * _NEWEST_SHARE

    def is_quick(self, node: Node, kind: str) -> bool:
        """Whether a task of the kind is done about as soon as its attempt would be opened."""
        return self._pace(node, kind) <= EARLY_MS

    def _workers(self, node: Node) -> int:
        """How many of its workers others leave us."""
        return max(0, node.capacity - self._others[node])

    def _idle(self, node: Node) -> int:
        return self._workers(node) - self._placed[node].total()

    def _ahead(self, node: Node, kind: str) -> int:
        """How many tasks of the kind the node may be sent beyond those that its workers have."""
        placed = self._placed[node]
        left_ms = AHEAD_MS * self._workers(node)
        for each, count in placed.items():
            if count:
                left_ms -= count * self._pace(node, each)
        room = self._workers(node) + node.queue - max(self._workers(node), placed.total())
        return max(0, min(room, int(left_ms / self._pace(node, kind))))

    def _most_ahead(self, node: Node, kind: str) -> int:
        return min(node.queue, int(AHEAD_MS * self._workers(node) / self._pace(node, kind)))

    def _pace(self, node: Node, kind: str) -> float:
        """How long a task takes: too long where nobody has seen one, never no time at all."""
        return max(self._pace_ms.get((node, kind), AHEAD_MS * node.capacity), 0.01)

    def _able(self, choice: str, kind: str) -> list[Node]:
        nodes = self._nodes_of(choice)
        return [node for node in nodes if kind in node.kinds] or nodes

    def _nodes_of(self, choice: str) -> list[Node]:
        if choice != "auto":
            return [node for node in self._placed if node.engine == choice]
        julia = [node for node in self._placed if node.engine == "julia"]
        return julia or list(self._placed)


@dataclass(frozen=True, slots=True)
class LaneRules:
    """One topic of the queue, and how it is served.

    is_urgent: free workers go to it before they go to lanes that are not.
    concurrency: how many tasks of its kind are at work at once, in all lanes of the kind together;
        None for as many as there are workers.
    """

    choice: str
    kind: str
    is_urgent: bool = False
    concurrency: int | None = None


LONGEST_URGENT_RUN = 8
"""So many urgent tasks in a row begin while others wait; then it is the turn of one of those."""

Taking = TypeVar("Taking", bound=Hashable)


class Turns(Generic[Taking]):
    """Who is asked first when a worker is free.

    The urgent come first, but no more than LONGEST_URGENT_RUN times in a row while others wait;
    among equals it goes round.
    """

    def __init__(self, urgent: Iterable[Taking], others: Iterable[Taking]) -> None:
        self._urgent = dict.fromkeys(urgent)
        self._others = dict.fromkeys(others)
        self._run = 0

    def order(self) -> list[Taking]:
        """Everybody, in the order in which they may have the next worker."""
        if self._run >= LONGEST_URGENT_RUN:
            return [*self._others, *self._urgent]
        return [*self._urgent, *self._others]

    def served(self, taking: Taking, *, others_wait: bool) -> None:
        """Tells who has had a worker, and whether one that is not urgent waits for one too."""
        same = self._urgent if taking in self._urgent else self._others
        del same[taking]
        same[taking] = None
        self._run = self._run + 1 if same is self._urgent and others_wait else 0
