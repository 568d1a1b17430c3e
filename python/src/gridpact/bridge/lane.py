"""What the bridge holds of the queue: one lane a topic, and in it the deliveries that are ours."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from gridpact.bridge.domain import (
    Acknowledge,
    Bury,
    Disposal,
    Header,
    LaneRules,
    Leave,
    Opened,
    Outcome,
    Progress,
    Return,
)
from gridpact.bridge.ports import WorkingNode
from gridpact.broker.port import (
    BrokerUnavailable,
    Consumer,
    Delivery,
    MessageId,
    Receipt,
    ReceiptExpired,
)
from gridpact.kit.group_commit import GroupCommit
from gridpact.kit.log import Log

log = Log(__name__)

# An empty queue answers after this long, so that a bridge that stops need not abandon a receive.
_WAIT = timedelta(seconds=1)
# Under load, so that a call of the queue is about many. Nobody waits for it.
_ACKNOWLEDGING_PAUSE_S = 0.02
# Two bad deliveries in a row leave time for whoever mends the sender; then it is a dead letter.
_POISON_DELAY = timedelta(seconds=1)
BATCH_COUNT = 256
"""How many items one call to the queue or to the owner of tasks is about, at most."""


@dataclass(eq=False)
class Held:
    """A delivery that is ours, on its way through these:

    - *waiting* in its lane: no place at a node (``node`` None, not placed);
    - *placed*: a node has room for it; then an attempt, opened, or early;
    - *sent* (``sent_s``), then *accepted* by a worker, or *recalled* before, which is waiting again
      as the same attempt (``opened`` stays);
    - *settled*: ``outcome`` is there, and the place is free; only the owner and the queue have to
      hear of it.

    A cancel may be sent once, and a verdict be given, from when there is an attempt.
    """

    lane: Lane
    delivery: Delivery
    header: Header
    # The attempt; one that began early is not opened at the owner yet.
    opened: Opened | None = None
    is_early: bool = False
    # What the owner will be told when it is.
    early_progress: Progress | None = None
    opened_s: float = 0.0
    # It has a place at the node, or has been found to need none.
    is_placed: bool = False
    node: WorkingNode | None = None
    # 0 until the node where it has its place has been sent it.
    sent_s: float = 0.0
    # A worker has it.
    is_accepted: bool = False
    # Set when the payload of a claim takes up no memory here any more.
    is_off: asyncio.Event = field(default_factory=asyncio.Event)
    # The node was asked to give it back because another worker is idle.
    is_recalled: bool = False
    outcome: asyncio.Future[Outcome] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    cancel_sent: bool = False
    # Strikes when the node owes the outcome for too long.
    overdue: asyncio.TimerHandle | None = None
    # Set when the outcome is nobody's business, as another attempt owns the task: what becomes of
    # the message.
    verdict: Disposal | None = None

    def settle(self, outcome: Outcome) -> None:
        """Ends the attempt; the first outcome counts."""
        if self.overdue is not None:
            self.overdue.cancel()
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Lane:
    """One topic of the queue: its receipts, extended and disposed of one batch at a time.

    waiting: deliveries for which no worker was free yet, the oldest first.
    """

    def __init__(
        self,
        rules: LaneRules,
        consumer: Consumer,
        holder: str,
        invisible_duration: timedelta,
        max_attempts: int,
    ) -> None:
        self._holder = holder
        self._max_attempts = max_attempts
        self.rules = rules
        self.waiting: deque[Held] = deque()
        self._came_empty = True
        self._consumer = consumer
        self._invisible_duration = invisible_duration
        # Of everything held, the message that brings it back, and the newest receipt for it.
        self._receipts: dict[Held, tuple[MessageId, Receipt]] = {}
        # Extending replaces receipts, so nothing may be acknowledged while it is under way.
        self._lock = asyncio.Lock()
        self._acknowledging = GroupCommit(
            self._acknowledge,
            max_count=BATCH_COUNT,
            pause_s=_ACKNOWLEDGING_PAUSE_S,
        )

    async def receive(self, max_count: int) -> Sequence[Delivery]:
        """Up to ``max_count`` deliveries; none after a while."""
        # Who waits for work of every kind, and gets all kinds at once, would get too much.
        count = 1 if self._came_empty else max_count
        deliveries = await self._consumer.receive(count, self._invisible_duration, _WAIT)
        self._came_empty = not deliveries
        return deliveries

    def hold(self, held: Held) -> None:
        """From now on the delivery's invisibility is extended."""
        self._receipts[held] = (held.delivery.message_id, held.delivery.receipt)

    async def adopt(self, held: Held, delivery: Delivery) -> None:
        """What is held came once more; the newer receipt counts.

        It came because the receipt ran out, or in a second message, as the owner publishes when it
        takes the first for lost. One message is enough: the older one is removed.
        """
        async with self._lock:
            if held not in self._receipts:
                # It was let go of meanwhile. Delivered the next time, the message finds that out.
                return
            message_id, receipt = self._receipts[held]
            self._receipts[held] = (delivery.message_id, delivery.receipt)
            held.delivery = delivery
            if message_id != delivery.message_id:
                await self._consumer.acknowledge([receipt])

    async def extend(self) -> None:
        """Extends the invisibility of everything held; a lost receipt is only told."""
        async with self._lock:
            items = list(self._receipts.items())
            for start in range(0, len(items), BATCH_COUNT):
                chunk = items[start : start + BATCH_COUNT]
                outcomes = await self._consumer.change_invisibility(
                    [receipt for _, (_, receipt) in chunk], self._invisible_duration
                )
                for (held, (message_id, _)), outcome in zip(chunk, outcomes, strict=True):
                    if isinstance(outcome, ReceiptExpired):
                        log.warning("receipt-expired", task_id=held.header.task_id)
                    elif held in self._receipts:
                        self._receipts[held] = (message_id, outcome)

    async def dispose(self, held: Held, disposal: Disposal) -> None:
        """Lets go of a delivery. When the broker is away, the message comes back by itself."""
        try:
            match disposal:
                case Acknowledge():
                    await self._acknowledging.add(held)
                case Return(delay):
                    async with self._lock:
                        await self._consumer.hand_back(self._taken(held), delay)
                case Bury(error):
                    log.error("dead-letter", task_id=held.header.task_id, error=error)
                    async with self._lock:
                        await self._consumer.bury(self._taken(held), error, self._holder)
                case Leave():
                    pass
        except BrokerUnavailable as error:
            log.warning("disposal-failed", task_id=held.header.task_id, cause=str(error))
        finally:
            self._receipts.pop(held, None)

    async def refuse(self, delivery: Delivery, error: str) -> None:
        """Returns a delivery that cannot be read, the last time as a dead letter."""
        log.error("message-refused", message_id=delivery.message_id, cause=error)
        if delivery.attempt < self._max_attempts:
            await self._consumer.change_invisibility([delivery.receipt], _POISON_DELAY)
        else:
            await self._consumer.bury(delivery, error, self._holder)

    def _taken(self, held: Held) -> Delivery:
        """The delivery with its newest receipt, not extended any more."""
        _, receipt = self._receipts.pop(held)
        return replace(held.delivery, receipt=receipt)

    async def _acknowledge(self, batch: Sequence[Held]) -> Sequence[None]:
        async with self._lock:
            receipts = [self._receipts.pop(held)[1] for held in batch]
            outcomes = await self._consumer.acknowledge(receipts)
        for held, outcome in zip(batch, outcomes, strict=True):
            if outcome is not None:
                # It comes once more and is acknowledged then, because its task has ended.
                log.info("acknowledged-late", task_id=held.header.task_id)
        return [None] * len(batch)
