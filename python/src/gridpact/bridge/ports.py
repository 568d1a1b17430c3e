"""What the bridge needs from others, besides the broker (gridpact.broker.port)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from gridpact.bridge.domain import (
    Completed,
    Ending,
    Header,
    Lease,
    Node,
    Opened,
    Opening,
    Outcome,
    Progress,
    Refused,
    Renewed,
)


class TaskOwner(Protocol):
    """The service that owns the tasks. Calls raise GridpactError when it cannot be reached."""

    def remaining_ms(self, timeout_epoch_ms: int) -> int | None:
        """How long until then by the owner's clock; None while that is not known."""
        ...

    async def open_attempts(self, openings: Sequence[Opening]) -> Sequence[Opened | Refused]:
        """Opens one attempt a task, in order; all are committed together."""
        ...

    async def fetch_payload(self, lease: Lease, size: int) -> bytes | Refused:
        """The payload of a claim, which should have this size.

        Refused with LEASE_STALE, PAYLOAD_LOST, MESSAGE_MALFORMED when it has another size, or
        whatever else asking again would not mend.
        """
        ...

    async def renew_leases(self, leases: Sequence[Lease]) -> Sequence[Renewed | Refused]:
        """Extends leases, in order."""
        ...

    async def report_progress(self, reports: Sequence[tuple[Lease, Progress]]) -> None:
        """Stores and publishes progress."""
        ...

    async def complete_attempts(self, endings: Sequence[Ending]) -> Sequence[Completed | Refused]:
        """Ends attempts, in order; all are committed together. May be repeated."""
        ...


class CancelWishes(Protocol):
    """Who wants which task cancelled. May miss some: a renewed lease tells them too."""

    def wishes(self) -> AsyncIterator[str]:
        """The ids of tasks, for ever."""
        ...


class WorkingNode(Node, Protocol):
    """A connected node. What is sent leaves in order, and never keeps the sender waiting.

    A node that is gone, or does not read, takes it in silence: its NodeHost hears of the loss.
    """

    def send_task(self, opened: Opened, header: Header, body: bytes) -> None:
        """Sends the task, its body untouched; ContractError when the contract refuses it."""
        ...

    def send_cancel(self, lease: Lease) -> None:
        """Asks the node to stop; it answers with an outcome."""
        ...

    def drop(self, why: str) -> None:
        """Breaks the connection to a node that does not do what it must; a new one is tried."""
        ...


class NodeHost(Protocol):
    """Whom a connection tells what its node does."""

    def joined(self, node: WorkingNode) -> None:
        """The node has proved itself and can work."""
        ...

    def left(self, node: WorkingNode) -> None:
        """The connection is gone, and with it every attempt at the node."""
        ...

    def shared(self, node: WorkingNode, others_count: int) -> None:
        """So many workers of the node are at work for other bridges."""
        ...

    def accepted(self, lease: Lease) -> None:
        """A worker has taken the task, and the node has read all of it."""
        ...

    def progressed(self, lease: Lease, progress: Progress) -> None:
        """A worker is so far."""
        ...

    def ended(self, lease: Lease, outcome: Outcome) -> None:
        """A worker is done."""
        ...
